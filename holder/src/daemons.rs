//! Holder and reader of a pipes directory, whether or not they have any of its FIFOs open, and what else they may see at
//! a path: a service can have a `/tmp` of its own.
//!
//! It is known by the directory that a process was started for, or in. Nothing is opened but files of /proc.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use nix::libc;
use standpipe_common::fifo::Identity;

use crate::openers::{Process, Role, processes};

/// Words that stand for a command: a program that was started with one is no daemon.
const COMMANDS: [&str; 10] =
    ["status", "check", "stdin", "logs", "list", "verify", "reindex", "histogram", "rotate", "help"];

/// Those that serve `dir`, as far as they can be seen.
pub fn of_dir(dir: &Path) -> Vec<Rc<Process>> {
    let Ok(wanted) = fs::metadata(dir).map(|is| Identity::from(&is)) else { return Vec::new() };
    let serves = |process: &Process| process.role != Role::Stranger && is_for(process.pid, wanted);
    processes().into_iter().filter(serves).map(Rc::new).collect()
}

fn is_for(pid: u32, dir: Identity) -> bool {
    let proc = PathBuf::from(format!("/proc/{pid}"));
    let line = fs::read(proc.join("cmdline")).unwrap_or_default();
    let mut words = line.split(|byte| *byte == 0).skip(1).filter(|word| !word.is_empty()).peekable();
    if words.peek().is_some_and(|first| COMMANDS.iter().any(|command| command.as_bytes() == *first)) {
        return false;
    }
    let is_dir = |path: &Path| fs::metadata(path).is_ok_and(|is| Identity::from(&is) == dir);
    let cwd = proc.join("cwd");
    // A path that begins with `/` takes the place of the rest.
    let mut paths = words.map(|word| cwd.join(OsStr::from_bytes(word)));
    paths.any(|path| is_dir(&path)) || is_dir(&cwd)
}

/// Whether a process sees this FIFO under this path. `None`: nobody may ask.
pub fn sees(pid: u32, path: &Path, fifo: Identity) -> Option<bool> {
    match fs::metadata(as_seen_by(pid, path)) {
        Ok(there) => Some(Identity::from(&there) == fifo),
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR)) => Some(false),
        Err(_) => None,
    }
}

/// A path as it leads for a process.
pub fn as_seen_by(pid: u32, path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let inside = absolute.strip_prefix("/").unwrap_or(&absolute);
    PathBuf::from(format!("/proc/{pid}/root")).join(inside)
}

/// One process for each world of mounts that is not ours, as far as they can be seen.
pub fn other_worlds() -> Vec<u32> {
    let world = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/mnt")).ok();
    let mut known = vec![world("self")];
    let mut firsts = Vec::new();
    for process in processes() {
        let its = world(&process.pid.to_string());
        if its.is_some() && !known.contains(&its) {
            known.push(its);
            firsts.push(process.pid);
        }
    }
    firsts
}
