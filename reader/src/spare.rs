//! A little room put by for the archiver.
//!
//! Lanes fill a disk to its last byte with plain segments, and then there would be no room for the archives that would
//! make plenty. So some of it lies in a file without a name, which is let go when an archive does not fit: lanes that
//! wait for room try again so much later that the archiver comes first. A convenience: where it cannot be had, the
//! archiver waits for room like everybody else.

use std::fs::File;

use nix::fcntl::{FallocateFlags, fallocate};

use crate::disk::{Dir, FileMode};

/// Most of it: enough for the archive of a segment of 64 MiB, as logs go.
const SPARE_BYTES_MAX: u64 = 8 << 20;
/// And no more than this part of the file system.
const SPARE_SHARE: u64 = 16;

/// Room put by in a directory.
#[derive(Debug, Default)]
pub struct Spare {
    file: Option<File>,
}

impl Spare {
    /// Puts it by, unless it is. No step of the seam: nobody sees the file, and nothing depends on it.
    pub fn put_by(&mut self, dir: &Dir) {
        if self.file.is_none() {
            self.file = reserve(dir);
        }
    }

    /// Lets it go. `false`: there was none.
    pub fn let_go(&mut self) -> bool {
        self.file.take().is_some()
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
