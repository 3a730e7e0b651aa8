//! Steps on one open file of the log root: bytes, length, blocks, durability, locks. Each that changes the disk passes
//! the seam.

use std::fs::{File, TryLockError};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::thread;
use std::time::{Duration, Instant, UNIX_EPOCH};

use nix::errno::Errno;
use nix::fcntl::{self, FallocateFlags, FcntlArg};
use nix::libc;
use standpipe_common::rename::is_unsupported;
use standpipe_common::{mapped, seam, sys};

/// How long a child of ours may have our descriptors.
const CHILD_SPAN: Duration = Duration::from_millis(100);

/// Writes all of `bytes` at `offset`.
pub fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    let allowed = seam::pass_write("write", bytes.len())?;
    file.write_all_at(&bytes[..allowed], offset)?;
    if allowed < bytes.len() {
        seam::die();
    }
    Ok(())
}

/// Writes all of `bytes` at the end of a file, which is at `end` as far as is known: if somebody cut the file meanwhile,
/// they leave no hole.
pub fn append(file: &File, bytes: &[u8], end: u64) -> io::Result<()> {
    let allowed = seam::pass_write("write", bytes.len())?;
    let mut rest = &bytes[..allowed];
    while !rest.is_empty() {
        match sys::append(file, rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(taken) => rest = &rest[taken..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if cannot_append(&error) => {
                let taken = allowed - rest.len();
                file.write_all_at(rest, end + taken as u64)?;
                rest = &[];
            }
            Err(error) => return Err(error),
        }
    }
    if allowed < bytes.len() {
        seam::die();
    }
    Ok(())
}

/// The file system knows no appending but of files opened for it.
fn cannot_append(error: &io::Error) -> bool {
    matches!(error.raw_os_error().map(Errno::from_raw), Some(Errno::EOPNOTSUPP | Errno::ENOSYS))
}

/// Sets a file's length.
pub fn set_len(file: &File, len: u64) -> io::Result<()> {
    seam::pass("truncate")?;
    file.set_len(len)
}

/// Says when a file was written last, ns since the epoch.
pub fn set_modified(file: &File, time_ns: i64) -> io::Result<()> {
    seam::pass("times")?;
    let span = Duration::from_nanos(time_ns.unsigned_abs());
    file.set_modified(if time_ns < 0 { UNIX_EPOCH - span } else { UNIX_EPOCH + span })
}

/// Makes a file's content durable.
pub fn sync(file: &File) -> io::Result<()> {
    seam::pass("sync")?;
    file.sync_all()
}

/// Gives a new file `len` bytes of disk, to be mapped.
pub fn allocate(file: &File, len: usize) -> io::Result<()> {
    seam::pass("allocate")?;
    mapped::allocate(file, 0..len)
}

/// Reserves blocks for `range` of a file beyond its end, whose length stays as it is. `false`: this file system cannot.
pub fn reserve(file: &File, range: Range<u64>) -> io::Result<bool> {
    seam::pass("reserve")?;
    let len = range.end.saturating_sub(range.start) as i64;
    match fcntl::fallocate(file, FallocateFlags::FALLOC_FL_KEEP_SIZE, range.start as i64, len) {
        Ok(()) => Ok(true),
        Err(errno) if is_unsupported(errno) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// Makes a file's bytes durable, and its length.
pub fn sync_data(file: &File) -> io::Result<()> {
    seam::pass("sync-data")?;
    file.sync_data()
}

/// Takes the write lock on byte 0 of a file, which lasts as long as the file is open. `false`: another has it.
pub fn try_lock(file: &File) -> io::Result<bool> {
    match fcntl::fcntl(file, FcntlArg::F_OFD_SETLK(&first_byte(libc::F_WRLCK))) {
        Ok(_) => Ok(true),
        Err(Errno::EAGAIN | Errno::EACCES) => Ok(false),
        Err(errno) if has_no_such_locks(errno) => is_granted(file.try_lock()),
        Err(errno) => Err(errno.into()),
    }
}

/// Whether another has that lock; asking needs read permission only. A read lock, which needs no more, is none.
pub fn is_locked(file: &File) -> io::Result<bool> {
    let mut lock = first_byte(libc::F_RDLCK);
    match fcntl::fcntl(file, FcntlArg::F_OFD_GETLK(&mut lock)) {
        Ok(_) => Ok(i32::from(lock.l_type) != libc::F_UNLCK),
        // Taken for an instant, shared, for nobody can be asked.
        Err(errno) if has_no_such_locks(errno) => is_granted(file.try_lock_shared()).map(|granted| !granted),
        Err(errno) => Err(errno.into()),
    }
}

/// Network file systems may know no such locks, but those of flock.
fn has_no_such_locks(errno: Errno) -> bool {
    is_unsupported(errno) || errno == Errno::ENOLCK
}

fn is_granted(tried: Result<(), TryLockError>) -> io::Result<bool> {
    match tried {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Whether anybody has a file open for writing, as far as the kernel tells: asked of sealed files only, for a writer that
/// opens it in the microseconds of the lease waits for its end. A child of ours may have it between fork and exec.
pub fn is_written(file: &File) -> bool {
    let deadline = Instant::now() + CHILD_SPAN;
    loop {
        let is_refused = |error: io::Error| error.raw_os_error() == Some(libc::EAGAIN);
        if !sys::try_read_lease(file).is_err_and(is_refused) {
            return false;
        }
        if Instant::now() >= deadline {
            return true;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// When a file was made, ns since the epoch. `None`: this file system does not keep it.
pub fn birth_ns(metadata: &std::fs::Metadata) -> Option<i64> {
    let since = metadata.created().ok()?.duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(since.as_nanos()).ok()
}

/// When a file was last written, ns since the epoch.
pub fn modified_ns(metadata: &std::fs::Metadata) -> i64 {
    metadata.mtime().saturating_mul(1_000_000_000).saturating_add(metadata.mtime_nsec())
}

fn first_byte(kind: i32) -> libc::flock {
    libc::flock { l_type: kind as i16, l_whence: libc::SEEK_SET as i16, l_start: 0, l_len: 1, l_pid: 0 }
}
