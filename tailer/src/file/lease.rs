//! Whether anybody can still write to a file: asked of the kernel by a read lease that is given back at once.
//!
//! To be asked of quiet files only that are no longer the live ones: a writer that opens the file without blocking in
//! the microseconds of the lease would be refused. Not asked on network file systems, where the kernel knows its own
//! writers only. The program ignores SIGIO, with which the kernel would tell of a lease that is in somebody's way.

use std::fs::File;
use std::os::unix::fs::MetadataExt;

use nix::errno::Errno;
use nix::unistd::Uid;
use standpipe_common::capability::is_privileged_for_leases;
use standpipe_common::sys;

use crate::file::network::{self, FileSystem};
use crate::file::open::errno;

/// Who can write to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writers {
    /// Nobody has it open for writing, or mapped so.
    Nobody,
    /// Somebody has.
    Somebody,
    /// The kernel does not tell us: we neither own the file nor have `CAP_LEASE`, or the file system has no leases.
    Unknown,
}

/// Asks.
pub fn ask(file: &File) -> Writers {
    if !is_local(file) {
        return Writers::Unknown;
    }
    match sys::try_read_lease(file) {
        Ok(()) => Writers::Nobody,
        Err(error) if errno(&error) == Errno::EAGAIN => Writers::Somebody,
        Err(_) => Writers::Unknown,
    }
}

/// Whether the kernel would tell us of this file, found out without asking it.
pub fn is_available(file: &File) -> bool {
    let is_owner = || file.metadata().is_ok_and(|metadata| metadata.uid() == Uid::effective().as_raw());
    is_local(file) && (is_owner() || is_privileged_for_leases())
}

fn is_local(file: &File) -> bool {
    network::of(file).is_ok_and(|kind| kind == FileSystem::Local)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};

    use super::*;

    #[test]
    fn a_writer_is_seen_also_after_the_name_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let writer = OpenOptions::new().create(true).append(true).open(&path).unwrap();
        let file = File::open(&path).unwrap();
        assert_eq!(ask(&file), Writers::Somebody);
        fs::remove_file(&path).unwrap();
        assert_eq!(ask(&file), Writers::Somebody);
        drop(writer);
        assert_eq!(ask(&file), Writers::Nobody);
        assert_eq!(ask(&file), Writers::Nobody, "it was given back");
        assert!(is_available(&file));
    }

    #[test]
    fn what_has_no_leases_is_unknown() {
        let kernel = File::open("/proc/self/status").unwrap();
        assert_eq!(ask(&kernel), Writers::Unknown);
        assert!(!is_available(&kernel));
    }
}
