//! `STATE.status`: the tailer seen from outside, by whoever may read the directory of its state file, whether it runs
//! or not.
//!
//! - [`format`](mod@format): the layout of the file, without any file;
//! - [`board`]: the file at work: one slot a source, plain stores;
//! - [`snapshot`]: one look at it;
//! - [`found`]: which tailers can be seen at all;
//! - [`show`]: `tailer status`.
//!
//! It is a convenience: where reading goes on is told by the state file alone, and a tailer that cannot keep this one
//! follows on.

pub mod board;
pub mod format;
pub mod found;
pub mod show;
pub mod snapshot;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

const SUFFIX: &str = ".status";

/// Where the file is for a state file: beside it.
pub fn path_beside(state: &Path) -> PathBuf {
    let mut name = OsString::from(state);
    name.push(SUFFIX);
    name.into()
}
