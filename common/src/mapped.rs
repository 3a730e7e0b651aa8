//! Room for what is mapped: all of it is allocated first, so that a full disk is an error there, and no SIGBUS later.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use nix::fcntl::{FallocateFlags, fallocate};

use crate::rename::is_unsupported;
use crate::sys;

/// Gives a range of a file, to which nothing was written yet, its blocks; where the file system has no fallocate, by
/// writing zeros.
pub fn allocate(file: &File, range: Range<usize>) -> io::Result<()> {
    if range.start == 0 {
        // A help on btrfs only: without it a disk that fills up could make a store fail after all.
        sys::set_no_copy_on_write(file).ok();
    }
    match fallocate(file, FallocateFlags::empty(), range.start as i64, range.len() as i64) {
        Err(errno) if is_unsupported(errno) => file.write_all_at(&vec![0; range.len()], range.start as u64),
        allocated => Ok(allocated?),
    }
}
