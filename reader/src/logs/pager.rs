//! The pager: standard output goes through it when that is a terminal.
//!
//! With more rights than the user has (sudo, set-user-ID) only `less` is started, and told to run nothing.

use std::env;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};

use nix::unistd::{getegid, geteuid, getgid, getuid};

/// A running pager.
pub struct Pager(Child);

/// Starts the pager that the user has chosen, `less` otherwise. `at_end`: it shows the end first. `None`: there is none
/// that can be started, or none is wanted.
pub fn start(at_end: bool) -> Option<(Pager, OwnedFd)> {
    let is_secure = env::var_os("SUDO_UID").is_some() || geteuid() != getuid() || getegid() != getgid();
    let chosen = env::var("PAGER").ok().filter(|_| !is_secure);
    if chosen.as_deref().is_some_and(|pager| pager.trim().is_empty() || pager.trim() == "cat") {
        return None;
    }
    let mut command = match &chosen {
        Some(pager) => {
            let mut command = Command::new("/bin/sh");
            command.arg("-c").arg(pager);
            command
        }
        None => Command::new("less"),
    };
    if env::var_os("LESS").is_none() || is_secure {
        command.env("LESS", if at_end { "FRX+G" } else { "FRX" });
    }
    if is_secure {
        command.env("LESSSECURE", "1").env_remove("LESSOPEN").env_remove("LESSCLOSE");
    }
    let mut child = command.stdin(Stdio::piped()).spawn().ok()?;
    let input = child.stdin.take().map(OwnedFd::from)?;
    Some((Pager(child), input))
}

impl Pager {
    /// Waits until the user has seen enough.
    pub fn wait(mut self) {
        // Control-C is for the pager.
        self.0.wait().ok();
    }
}
