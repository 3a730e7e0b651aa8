//! What a lane is called in messages: its name, or the log directory where it is standard input's, whose name is `.`.
//!
//! Invariant: a process that drains standard input has one log directory, set once before the first message.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use standpipe_common::name::Printable;
use standpipe_common::shown::Shown as _;

use crate::listing::SELF;

static LOG_DIR: OnceLock<PathBuf> = OnceLock::new();

/// This process drains standard input into that directory.
pub fn set_log_dir(path: &Path) {
    let is_first = LOG_DIR.set(path.to_path_buf()).is_ok();
    debug_assert!(is_first, "one process has one standard input");
}

/// The lane of that name, in messages.
pub fn of(lane: &OsStr) -> Printable<'_> {
    let log_dir = LOG_DIR.get().filter(|_| lane == SELF);
    log_dir.map_or(lane, |dir| dir.as_os_str()).shown()
}
