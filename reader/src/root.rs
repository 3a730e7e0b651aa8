//! The log root: its lock, the boot, and the log directories in it.
//!
//! `reader DIR` locks the log root, `reader stdin` its one log directory, which then is root and log directory in
//! one. So that the two never share a directory, each takes its own lock first and then looks at the other's.

use std::ffi::OsStr;
use std::fs::File;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use standpipe_common::error::{Cannot, Error, Result};
use standpipe_common::{boot, clock};

use crate::disk::{self, Dir, FileMode};
use crate::listing::{LOCK, Listing, SELF, has_reader};
use crate::log_dir::LogDir;
use crate::mailbox::{Home, Mailbox};
use crate::others;
use crate::record::Record;
use crate::recovery::{self, Settled};

/// How long a lock is tried: a child of ours may have it between fork and exec.
const LOCK_SPAN: Duration = Duration::from_millis(300);

/// An open, locked log root.
#[derive(Debug)]
pub struct Root {
    dir: Dir,
    home: Home,
    /// Held as long as we live.
    _lock: File,
}

impl Root {
    /// Opens and locks the log root at `path`, made if its parent exists.
    ///
    /// # Errors
    /// The disk's; another reader has it.
    pub fn open(path: &Path) -> Result<Root> {
        let dir = Dir::open_or_make(path)?;
        disk::refuse_if_others_may_write(&dir)?;
        let lock = dir.open_or_create(LOCK, 0o640)?;
        let deadline = Instant::now() + LOCK_SPAN;
        while !disk::try_lock(&lock).cannot("lock", dir.path_of(LOCK))? {
            if Instant::now() >= deadline {
                return Err(Error::because("use", path, "another reader has it"));
            }
            thread::sleep(Duration::from_millis(10));
        }
        let home = Home { root: dir.identity()?, boot: boot::id()? };
        Ok(Root { dir, home, _lock: lock })
    }

    /// Opens and locks a log directory that is its own root.
    pub fn open_log_dir(path: &Path) -> Result<Root> {
        if let Ok(dir) = Dir::open(path) {
            // Before anything of ours is put there.
            others::refuse(&dir, &Listing::read(&dir)?)?;
        }
        let root = Root::open(path)?;
        refuse_if_locked(&root.dir.parent()?, path)?;
        Ok(root)
    }

    /// The directory.
    pub fn dir(&self) -> &Dir {
        &self.dir
    }

    /// For mailboxes.
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// The boot.
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
            return Ok(Settled::Misfit("its log directory is gone".to_owned()));
        }
        let dir = self.lane_dir(&record.lane)?;
        let mode = FileMode { mode: 0o640, group: None };
        let mut log = LogDir::open(dir, self.boot(), mode, None, clock::now_ns())?;
        recovery::settle(mailbox, &mut log, None)
    }
}

/// Refuses a directory that a reader of the other kind has.
fn refuse_if_locked(dir: &Dir, used: &Path) -> Result<()> {
    if has_reader(dir)? { Err(Error::because("use", used, "another reader has it")) } else { Ok(()) }
}
