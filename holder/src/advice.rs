//! Commands for whoever asks, with `sudo` only where whoever asks lacks the right.
//!
//! Nothing here ends a process: a program that a supervisor runs would come back, or stay away for good. In a directory
//! of somebody else a command is run as that user, who could lead root's elsewhere by a link.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, Uid, User, access};
use standpipe_common::account;
use standpipe_common::name::Printable;
pub use standpipe_common::shell::quoted;

use crate::openers::Process;
use crate::supervisor;

/// So many processes are named, more are counted.
const NAMED_MAX: usize = 3;

/// A command that only root can run.
pub fn as_root(command: &str) -> String {
    as_user(0, command)
}

/// A command that only this user and root can run.
pub fn as_user(uid: u32, command: &str) -> String {
    let asker = Uid::effective();
    if asker.is_root() || asker.as_raw() == uid { command.to_owned() } else { format!("sudo {command}") }
}

/// A command that only the owner of a file and root can run, and that follows no link.
pub fn as_owner(path: &Path, command: &str) -> String {
    as_user(owner(path), command)
}

/// The command that changes the permissions of a file.
pub fn chmod(bits: &str, path: &Path) -> String {
    let command = format!("chmod {bits} {}", quoted(path));
    // It follows links.
    if stranger_around(path).is_some() { as_that_user(owner(path), &command) } else { as_owner(path, &command) }
}

/// A command that makes, moves or removes entries at `paths`, for which their directories must be writable.
pub fn as_writer(paths: &[&Path], command: &str) -> String {
    let strangers: Vec<_> = paths.iter().map(|path| stranger_around(path)).collect();
    match strangers.first() {
        Some(Some(uid)) if strangers.iter().all(|stranger| *stranger == Some(*uid)) => as_that_user(*uid, command),
        _ if paths.iter().all(|path| is_writable_around(path)) => command.to_owned(),
        _ => as_root(command),
    }
}

/// Who runs a command of [`as_writer`] for this path.
pub fn maker(path: &Path) -> u32 {
    let asker = || if is_writable_around(path) { Uid::effective().as_raw() } else { 0 };
    stranger_around(path).unwrap_or_else(asker)
}

/// Who else owns the directory of `path`, and so could put a link there. `None`: root, or whoever asks.
pub fn stranger_around(path: &Path) -> Option<u32> {
    let asker = Uid::effective().as_raw();
    let owner = fs::metadata(dir_around(path)).map_or(0, |metadata| metadata.uid());
    let may_write = asker != 0 && is_writable_around(path);
    (owner != 0 && owner != asker && !may_write).then_some(owner)
}

/// A command run by this user, whoever asks.
fn as_that_user(uid: u32, command: &str) -> String {
    match Uid::effective() {
        asker if asker.as_raw() == uid => command.to_owned(),
        asker if asker.is_root() => {
            let known = User::from_uid(Uid::from_raw(uid)).ok().flatten();
            let (gid, groups) = known.map_or((uid, "clear"), |user| (user.gid.as_raw(), "init"));
            format!("setpriv --reuid={uid} --regid={gid} --{groups}-groups -- {command}")
        }
        _ => format!("sudo -u '#{uid}' {command}"),
    }
}

fn owner(path: &Path) -> u32 {
    fs::symlink_metadata(path).map_or(0, |metadata| metadata.uid())
}

fn is_writable_around(path: &Path) -> bool {
    access(&dir_around(path), AccessFlags::W_OK | AccessFlags::X_OK).is_ok()
}

/// The nearest directory that is there.
fn dir_around(path: &Path) -> PathBuf {
    let dir = path.ancestors().skip(1).find(|dir| *dir == Path::new("") || dir.exists()).unwrap_or(Path::new("/"));
    if dir == Path::new("") { PathBuf::from(".") } else { dir.to_path_buf() }
}

/// The command that makes a program of ours that runs see what it does not see yet.
pub fn hang_up(process: &Process) -> String {
    supervisor::reload(process).unwrap_or_else(|| signal(process))
}

fn signal(process: &Process) -> String {
    as_user(process.uid, &format!("kill -HUP {}", process.pid))
}

/// The command that shows what these processes are.
pub fn who<'a>(processes: impl IntoIterator<Item = &'a Process>) -> String {
    let pids: Vec<_> = processes.into_iter().map(|process| process.pid.to_string()).collect();
    format!("ps -f -p {}", pids.join(","))
}

/// A process for people.
pub fn named(process: &Process) -> String {
    let user = account::user_name(Uid::from_raw(process.uid));
    format!("pid {} ({}, user {user})", process.pid, Printable(&process.command))
}

/// The first of several processes, and how many more there are.
pub fn listed<'a>(processes: impl ExactSizeIterator<Item = &'a Process>) -> String {
    let more = processes.len().saturating_sub(NAMED_MAX);
    let first = processes.take(NAMED_MAX).map(named).collect::<Vec<_>>().join(", ");
    if more == 0 { first } else { format!("{first} and {more} more") }
}
