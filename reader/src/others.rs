//! What other loggers leave in a directory that is to be a log directory of ours: refused before anything is touched.
//!
//! svlogd, s6-log and multilog keep the newest lines in a regular file `current`, where we keep a link, and hold a lock
//! on `lock` while they run. Each refusal says what to do; nothing here changes anything.

use std::ffi::OsStr;
use std::path;

use nix::errno::Errno;
use nix::sys::stat::SFlag;
use standpipe_common::error::{Cannot, Error, Result};
use standpipe_common::part::{PartKind, PartName, Pattern};
use standpipe_common::shell::quoted;
use standpipe_common::shown::Shown as _;

use crate::disk::{self, Dir};
use crate::listing::{CURRENT, Listing, STATE_FILE, THEIR_LOCK};

/// Refuses a directory that another logger uses, or in which there is something that is not ours and that we would
/// replace or take for ours.
pub fn refuse(dir: &Dir, listing: &Listing) -> Result<()> {
    let refuse = |cause: String| Err(Error::because("use log directory", dir.path(), cause));
    if listing.has_their_lock && is_locked(dir)? {
        return refuse(format!("another logger is running there and has locked {THEIR_LOCK}; stop that logger first"));
    }
    if let Some(kind) = foreign_current(dir, &listing.state.patterns)? {
        return refuse(format!(
            "{CURRENT} in it is {kind}, not one of our links; move it aside to keep it: {}",
            aside(dir)?
        ));
    }
    match listing.foreign_logs.first().filter(|_| !listing.has_state) {
        Some(name) => refuse(format!(
            "{} in it is not one of our files; move such files elsewhere, or create an empty file {STATE_FILE} there to keep them",
            name.shown()
        )),
        None => Ok(()),
    }
}

/// Whether a link `current` with that target is ours: it leads to a segment in its own directory.
pub fn leads_to_segment(target: &OsStr, patterns: &[Pattern]) -> bool {
    PartName::parse(target, patterns).is_some_and(|(_, kind)| kind == PartKind::Segment)
}

/// What `current` is, if it is not our link.
fn foreign_current(dir: &Dir, patterns: &[Pattern]) -> Result<Option<&'static str>> {
    let path = dir.path_of(CURRENT);
    match dir.read_link(CURRENT) {
        Err(Errno::ENOENT) => return Ok(None),
        Ok(target) if leads_to_segment(&target, patterns) => return Ok(None),
        Ok(_) => return Ok(Some("a link to another place")),
        // Not a link.
        Err(Errno::EINVAL) => {}
        Err(errno) => return Err(Error::new("inspect", path, errno)),
    }
    let found = dir.stat(CURRENT).cannot("inspect", path)?;
    let is = |kind| disk::is_kind(&found, kind);
    Ok(Some(if is(SFlag::S_IFREG) {
        "a regular file"
    } else if is(SFlag::S_IFDIR) {
        "a directory"
    } else {
        "a special file"
    }))
}

/// The command that moves `current` to a name that is free.
fn aside(dir: &Dir) -> Result<String> {
    let name = dir.free_name(|number| match number {
        0 => format!("{CURRENT}.old"),
        _ => format!("{CURRENT}.old-{}", number + 1),
    });
    let whole = path::absolute(dir.path()).cannot("find", dir.path())?;
    Ok(format!("mv {} {}", quoted(&whole.join(CURRENT)), quoted(&whole.join(name))))
}

/// Whether anybody holds their lock, be it flock (svlogd, multilog) or fcntl (s6-log).
fn is_locked(dir: &Dir) -> Result<bool> {
    let found = dir.stat(THEIR_LOCK).is_ok_and(|stat| disk::is_kind(&stat, SFlag::S_IFREG));
    if !found {
        return Ok(false);
    }
    let file = match dir.open_read(THEIR_LOCK) {
        Err(error) if error.errno() == Some(Errno::ENOENT) => return Ok(false),
        opened => opened?,
    };
    let path = dir.path_of(THEIR_LOCK);
    if disk::is_locked(&file).cannot("inspect lock", &path)? {
        return Ok(true);
    }
    // Nobody can be asked about this kind of lock: it is taken for an instant, shared.
    match file.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(std::fs::TryLockError::WouldBlock) => Ok(true),
        Err(std::fs::TryLockError::Error(error)) => Err(Error::new("inspect lock", path, error)),
    }
}
