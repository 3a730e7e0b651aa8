//! The log root: its locks, the boot, and the log directories in it.
//!
//! Whose a root is is decided by a file that nobody else can open, for a read lock would keep us out; `.lock`, which
//! those who read logs can open, only tells that we run. One that somebody else has locked is replaced.
//!
//! `reader DIR` locks the log root, `reader stdin` its one log directory, which then is root and log directory in
//! one. So that the two never share a directory, each takes its own lock first and then looks at the other's.

use std::ffi::OsStr;
use std::fs::{File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::unistd::Uid;
use standpipe_common::error::{Cannot, Error, Result};
use standpipe_common::shown::Shown as _;
use standpipe_common::{boot, clock, own};

use crate::disk::{self, Dir, FileMode};
use crate::listing::{EXCLUSIVE, LOCK, Listing, SELF, has_reader};
use crate::log_dir::LogDir;
use crate::mailbox::{Home, Mailbox};
use crate::others;
use crate::record::Record;
use crate::recovery::{self, Settled};
use crate::sandbox::Sandbox;

/// Whoever may read the logs may ask whether a reader runs.
const LOCK_MODE: u32 = 0o640;

/// How long a lock is tried: a child of ours may have it between fork and exec.
const LOCK_SPAN: Duration = Duration::from_millis(300);

/// An open, locked log root.
#[derive(Debug)]
pub struct Root {
    dir: Dir,
    home: Home,
    sandbox: Sandbox,
    /// Held as long as we live.
    _locks: [File; 2],
}

impl Root {
    /// Opens and locks the log root at `path`, made if its parent exists.
    ///
    /// # Errors
    /// The disk's; another reader has it.
    pub fn open(path: &Path) -> Result<Root> {
        let dir = Dir::open_or_make(path)?;
        disk::refuse_if_others_may_write(&dir)?;
        let own = lock_own(&dir, EXCLUSIVE, 0o600)?.ok_or_else(|| is_taken(path))?;
        // That of a reader of an earlier version, which knows no other: only who owns it can lock it for writing.
        let told = match lock_own(&dir, LOCK, LOCK_MODE)? {
            Some(lock) => lock,
            None if has_reader(&dir)? => return Err(is_taken(path)),
            None => replace_lock(&dir)?,
        };
        let home = Home { root: dir.identity()?, boot: boot::id()? };
        Ok(Root { dir, home, sandbox: Sandbox::Off, _locks: [own, told] })
    }

    /// Opens and locks a log directory that is its own root.
    pub fn open_log_dir(path: &Path) -> Result<Root> {
        if let Ok(dir) = Dir::open(path) {
            // Before anything of ours is put there.
            others::refuse(&dir, &Listing::read(&dir)?)?;
        }
        let root = Root::open(path)?;
        let above = root.dir.parent()?;
        if has_reader(&above)? {
            let root = above.path().canonicalize().unwrap_or_else(|_| above.path().to_owned());
            let root = root.shown();
            let cause =
                format!("it is inside {root}, the log root of a running reader: choose a directory outside {root}");
            return Err(Error::because("use", path, cause));
        }
        Ok(root)
    }

    /// From here on this thread, and those that it starts, can change nothing but what is in the log root, where links in
    /// it lead, and in `others`.
    pub fn confine(&mut self, others: Vec<Dir>) -> Result<()> {
        let mut dirs = vec![self.dir.try_clone()?];
        for name in self.dir.names()? {
            if self.dir.read_link(&name).is_ok() {
                dirs.extend(self.dir.existing_sub(&name));
            }
        }
        dirs.extend(others);
        self.sandbox = Sandbox::enter(&dirs)?;
        Ok(())
    }

    /// Whether that is so.
    pub fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    /// The error of a log directory in the words of the sandbox, if that kept it from being written.
    pub fn explain(&self, lane: &OsStr, error: Error) -> Error {
        let is_kept = error.errno() == Some(Errno::EACCES)
            && self.dir.read_link(lane).is_ok()
            && self.dir.existing_sub(lane).is_ok_and(|dir| self.sandbox.keeps_from(&dir));
        if !is_kept {
            return error;
        }
        let cause =
            "this link was added or changed after reader started, so reader may not write there; restart reader";
        Error::because("use log directory", self.dir.path_of(lane), cause)
    }

    /// The directory, which nobody else has the lock of.
    pub fn dir(&self) -> &Dir {
        &self.dir
    }

    /// What ties a mailbox to this root and this boot.
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// The boot in which it was opened.
    pub fn boot(&self) -> &str {
        &self.home.boot
    }

    /// The log directory of a lane, made if need be.
    pub fn lane_dir(&self, lane: &OsStr) -> Result<Dir> {
        if lane == SELF {
            return self.dir.try_clone();
        }
        let dir = self.dir.sub(lane)?;
        refuse_if_locked(&dir, dir.path())?;
        Ok(dir)
    }

    /// Settles the chunk of a lane that we do not have: its link is gone. Its log directory tells enough.
    pub fn settle_without_lane(&self, mailbox: &mut Mailbox, record: &Record) -> Result<Settled> {
        if record.lane == SELF || self.dir.stat(&record.lane).is_err() {
            return Ok(Settled::Misfit("its log directory was removed".to_owned()));
        }
        let dir = self.lane_dir(&record.lane)?;
        let mode = FileMode { mode: 0o640, group: None };
        let mut log = LogDir::open(dir, self.boot(), mode, None, clock::now_ns())?;
        recovery::settle(mailbox, &mut log, None)
    }
}

/// Locks a file of ours, made if it is not there. `None`: somebody else has locked it.
fn lock_own(dir: &Dir, name: &str, mode: u32) -> Result<Option<File>> {
    let path = dir.path_of(name);
    let file = dir.open_or_create(name, mode)?;
    let metadata = file.metadata().cannot("inspect", &path)?;
    if !metadata.is_file() || metadata.uid() != Uid::effective().as_raw() {
        return Err(own::refusal(&path));
    }
    let deadline = Instant::now() + LOCK_SPAN;
    while !disk::try_lock(&file).cannot("lock", &path)? {
        if Instant::now() >= deadline {
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok(Some(file))
}

/// Puts another lock file in the place of one that others have locked: nobody can open it before it is ours.
fn replace_lock(dir: &Dir) -> Result<File> {
    const FRESH: &str = ".lock.new";
    dir.remove_own(FRESH, |_| false)?;
    let lock = dir.create(FRESH, FileMode { mode: 0o600, group: None })?;
    let path = dir.path_of(FRESH);
    if !disk::try_lock(&lock).cannot("lock", &path)? {
        return Err(Error::because("lock", path, "another process has locked it"));
    }
    lock.set_permissions(Permissions::from_mode(LOCK_MODE)).cannot("set the permissions of", &path)?;
    dir.rename_over(FRESH, LOCK)?;
    Ok(lock)
}

fn is_taken(path: &Path) -> Error {
    Error::because("use", path, "another reader is using it")
}

/// Refuses a directory that a reader of the other kind has.
fn refuse_if_locked(dir: &Dir, used: &Path) -> Result<()> {
    if has_reader(dir)? { Err(is_taken(used)) } else { Ok(()) }
}
