//! `LOGS/.status`: the reader seen from outside, by whoever may read the log root, whether it runs or not.
//!
//! - [`format`](mod@format): the layout of the file, without any file;
//! - [`board`]: the file at work: one slot a lane, plain stores;
//! - [`lag`]: how far each receiver of a log is behind;
//! - [`problems`]: what stands in the way of a pipe, in a file of its own;
//! - [`snapshot`]: one look at it all;
//! - [`show`]: `reader status`.
//!
//! It is a convenience: what is stored is told by the parts alone, and a reader that cannot keep the file drains on.

pub mod board;
pub mod format;
pub mod lag;
pub mod problems;
pub mod show;
pub mod snapshot;

/// Name of the file in a log root.
pub const STATUS: &str = ".status";
