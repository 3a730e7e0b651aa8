//! The cursor of one log on disk, and the lock of whoever may write it.
//!
//! It is written to a file beside it, synced, renamed and its name synced: a kill at any moment leaves the old one or the
//! new one, and so does a disk that is full. It can be read by whoever may read `.standpipe` there.

use std::fs::File;
use std::io::Read;

use nix::errno::Errno;
use nix::unistd::{Gid, Uid, fchown, geteuid};
use standpipe_common::cursor::{self, Cursor, Receiver};
use standpipe_common::error::{Cannot, Result};
use standpipe_common::own;
use standpipe_reader::cursors;
use standpipe_reader::disk::{self, Dir, FileMode};
use standpipe_reader::listing::STATE_FILE;

/// Permissions where no file tells others.
const MODE: u32 = 0o640;

/// A cursor that no other process writes.
pub struct CursorFile {
    dir: Dir,
    receiver: Receiver,
    /// Held as long as it is open.
    _lock: File,
}

impl CursorFile {
    /// Locks the cursor of a receiver in `dir`. `None`: another process has it.
    pub fn lock(dir: Dir, receiver: &Receiver) -> Result<Option<CursorFile>> {
        let name = receiver.lock_file();
        let lock = dir.open_or_create(&name, MODE)?;
        if !lock.metadata().cannot("inspect", dir.path_of(&name))?.is_file() {
            return Err(own::refusal(&dir.path_of(&name)));
        }
        share(&dir, &lock).cannot("give", dir.path_of(&name))?;
        let is_ours = disk::try_lock(&lock).cannot("lock", dir.path_of(&name))?;
        Ok(is_ours.then(|| CursorFile { dir, receiver: receiver.clone(), _lock: lock }))
    }

    /// What it says. `None`: there is none.
    ///
    /// # Errors
    /// The disk's; it is damaged, or of a later version.
    pub fn read(&self) -> Result<Option<Cursor>> {
        cursors::read(&self.dir, &self.receiver)
    }

    /// Puts it in place.
    pub fn write(&self, cursor: &Cursor) -> Result<()> {
        let (name, fresh) = (self.receiver.file(), self.receiver.fresh_file());
        self.require_cursor(&name)?;
        self.require_cursor(&fresh)?;
        self.dir.remove(&fresh)?;
        let file = self.dir.create(&fresh, FileMode { mode: MODE, group: None })?;
        let shared = share(&self.dir, &file).cannot("give", self.dir.path_of(&fresh));
        let written = shared.and_then(|()| {
            disk::write_at(&file, cursor.text().as_bytes(), 0).cannot("write", self.dir.path_of(&fresh))?;
            disk::sync(&file).cannot("sync", self.dir.path_of(&fresh))
        });
        if let Err(error) = written {
            // What it has of a full disk may be what others need.
            self.dir.remove(&fresh).ok();
            return Err(error);
        }
        self.dir.rename_over(&fresh, &name)?;
        self.dir.sync()
    }

    /// Refuses to replace what is no cursor, whole or cut off by a kill.
    fn require_cursor(&self, name: &str) -> Result<()> {
        let file = match self.dir.open_read(name) {
            Err(error) if error.errno() == Some(Errno::ENOENT) => return Ok(()),
            file => file?,
        };
        let mut head = Vec::new();
        file.take(cursor::BEGIN.len() as u64).read_to_end(&mut head).cannot("read", self.dir.path_of(name))?;
        let is_cursor = cursor::BEGIN.starts_with(&head) || head.iter().all(|byte| *byte == 0);
        if is_cursor { Ok(()) } else { Err(own::refusal(&self.dir.path_of(name))) }
    }
}

/// Gives a file the readers of `.standpipe`; where root made it, its owner, too: that is who sends the log else.
fn share(dir: &Dir, file: &File) -> nix::Result<()> {
    let Ok(like) = dir.stat(STATE_FILE) else { return Ok(()) };
    if geteuid().is_root() {
        fchown(file, Some(Uid::from_raw(like.st_uid)), Some(Gid::from_raw(like.st_gid)))?;
    }
    disk::set_mode(file, FileMode { mode: like.st_mode & 0o777, group: None })
}
