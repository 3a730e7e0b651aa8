//! Directories: a test's own, what is in one, and file systems of a test's own.

mod files;
mod mounts;
mod scratch;

pub use files::{check_generated, files_ending, files_of, name, names, replace};
pub use mounts::Mounted;
pub use scratch::{KEEP_ALL, Scratch, make_fifo, set_mode};
