//! A little room put by for the archiver.
//!
//! Lanes fill a disk to its last byte with plain segments, and then there would be no room for the archives that would
//! make plenty. So some of it lies in a file without a name: where an archive does not fit it is written into that file,
//! so that nobody takes the room meanwhile. Lanes that wait for room do not try again before as much is put by again. A
//! convenience: where it cannot be had, the archiver waits for room like everybody else.
//!
//! It is put by before the first pipe is read, or, beside a service whose pipe may be quiet for ever, before the first
//! room is reserved for a busy lane: until then no archive can be large.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::fcntl::{FallocateFlags, fallocate};

use crate::disk::{self, Dir, FileMode};

/// Most of it: enough for the archive of a segment of 64 MiB, as logs go.
const SPARE_BYTES_MAX: u64 = 8 << 20;
/// And no more than this part of the file system.
const SPARE_SHARE: u64 = 16;

/// Room put by in a directory.
#[derive(Debug, Default)]
pub struct Spare {
    file: Mutex<Option<File>>,
    /// No lane has been busy yet.
    waits: AtomicBool,
}

impl Spare {
    /// Puts nothing by before a lane is busy.
    pub fn wait_for_need(&self) {
        self.waits.store(true, Ordering::Relaxed);
    }

    /// A lane is busy, with its log in `dir`: puts by what waited for that.
    pub fn need(&self, dir: &Dir) {
        if self.waits.load(Ordering::Relaxed) && self.waits.swap(false, Ordering::Relaxed) {
            self.put_by(dir);
        }
    }

    /// Puts it by, unless it is, or waits. No step of the seam: nobody sees the file, and nothing depends on it.
    pub fn put_by(&self, dir: &Dir) {
        let mut file = self.lock();
        if file.is_none() && !self.waits.load(Ordering::Relaxed) {
            *file = reserve(dir);
        }
    }

    /// The file, for an archive in `dir`. `None`: there is none, or it is none for that directory.
    pub fn take_for(&self, dir: &Dir, mode: FileMode) -> Option<File> {
        let is_beside = |file: &File| Some(file.metadata().ok()?.dev() == dir.identity().ok()?.dev);
        let file = self.lock().take_if(|file| is_beside(file) == Some(true))?;
        disk::set_mode(&file, mode).ok()?;
        Some(file)
    }

    fn lock(&self) -> MutexGuard<'_, Option<File>> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn reserve(dir: &Dir) -> Option<File> {
    let space = dir.space().ok()?;
    let bytes = (space.total / SPARE_SHARE).min(SPARE_BYTES_MAX);
    if space.free < bytes {
        return None;
    }
    let file = dir.unseen(FileMode { mode: 0o600, group: None }).ok()?;
    fallocate(&file, FallocateFlags::empty(), 0, bytes as i64).ok()?;
    Some(file)
}
