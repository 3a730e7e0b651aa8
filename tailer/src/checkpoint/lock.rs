//! The lock of a state file: one tailer at a time.
//!
//! It lies beside the state file, which is replaced at each save and would take its own lock along. The lock file is
//! never removed: who removes one may remove what another has just locked.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use nix::libc;
use standpipe_common::error::{Cannot, Error, Result};

use super::files::{is_forbidden, refused};

/// How long a lock is tried: a process that was killed may not be gone yet.
const LOCK_SPAN: Duration = Duration::from_millis(300);

/// Takes the lock at `lock` for the state file `path`; it lasts as long as the file is open.
pub(super) fn take(path: &Path, lock: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    let file = match options.open(lock) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(Error::because("use", path, "no such directory"));
        }
        Err(error) if is_forbidden(&error) => return Err(refused(path, "its directory", &error)),
        opened => opened.cannot("open", lock)?,
    };
    let deadline = Instant::now() + LOCK_SPAN;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(Error::new("lock", lock, error)),
            Err(TryLockError::WouldBlock) if Instant::now() >= deadline => {
                return Err(Error::because("use", path, "another tailer is using it"));
            }
            Err(TryLockError::WouldBlock) => thread::sleep(Duration::from_millis(10)),
        }
    }
}
