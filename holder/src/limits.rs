//! What the kernel allows this process: descriptors, memory for pipes, capabilities.
//!
//! Only asked here, but for the limit of descriptors, which is raised. What follows from the answers is decided in
//! [`crate::sizing`] and [`crate::create`].

use std::fs;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use standpipe_common::error::{Cannot, Result};

/// Descriptors that pipes may not use up: the directory and its policies must be readable on HUP.
const RESERVE: u64 = 8;

const PAGES_SOFT: &str = "/proc/sys/fs/pipe-user-pages-soft";
const NOFILE: &str = "RLIMIT_NOFILE";

/// The limit of open files, raised as far as it goes.
#[derive(Clone, Copy, Debug)]
pub struct Descriptors {
    hard: u64,
}

impl Descriptors {
    /// Raises the soft limit to the hard one, less a reserve.
    pub fn raise() -> Result<Descriptors> {
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).cannot("ask for", NOFILE)?;
        let descriptors = Descriptors { hard };
        descriptors.set(descriptors.for_pipes()).cannot("raise", NOFILE)?;
        Ok(descriptors)
    }

    /// How many there may be at all.
    pub fn hard(self) -> u64 {
        self.hard
    }

    /// Does `work` with the reserve at hand.
    pub fn with_reserve<T>(self, work: impl FnOnce() -> T) -> T {
        // Both steps stay below the hard limit, which the kernel never refuses.
        self.set(self.hard).ok();
        let done = work();
        self.set(self.for_pipes()).ok();
        done
    }

    fn for_pipes(self) -> u64 {
        self.hard.saturating_sub(RESERVE).max(RESERVE)
    }

    fn set(self, soft: u64) -> nix::Result<()> {
        setrlimit(Resource::RLIMIT_NOFILE, soft.min(self.hard), self.hard)
    }
}

/// A capability, by its bit.
#[derive(Clone, Copy, Debug)]
pub enum Capability {
    /// Giving files to others.
    Chown = 0,
    /// Among much else, pipes without limit.
    SysAdmin = 21,
    /// Pipes without limit.
    SysResource = 24,
}

/// Whether this process may do what `capability` allows. What cannot be read is not allowed.
pub fn is_capable(capability: Capability) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    effective(&status) >> capability as u32 & 1 == 1
}

/// The pages that the pipes of this user may have together. `None`: any number.
pub fn pipe_pages_soft() -> Option<u64> {
    // As the kernel's pipe_is_unprivileged_user() asks, which counts capabilities of the initial namespace alone.
    let privileged = is_capable(Capability::SysResource) || is_capable(Capability::SysAdmin);
    if privileged && is_initial_namespace() {
        return None;
    }
    let pages = fs::read_to_string(PAGES_SOFT).ok().and_then(|text| text.trim().parse().ok());
    pages.filter(|&pages| pages > 0)
}

fn is_initial_namespace() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.split_whitespace().eq(["0", "0", "4294967295"])
}

/// The effective set in the text of `/proc/PID/status`.
fn effective(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_effective_set_is_found_among_the_others() {
        assert_eq!(effective("CapPrm:\t00000000ffffffff\nCapEff:\t0000000001200001\n"), 0x0120_0001);
        assert_eq!(effective("Name:\tholder\n"), 0);
    }
}
