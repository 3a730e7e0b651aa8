//! Programs: ours, built and started and ended, and all others that a test starts.

mod daemon;
mod proc;
mod process;
mod program;

pub use daemon::{Daemon, KILLED, Launch, Output, fed, holder, object, query, reader, reader_stdin, text};
pub use proc::{KeptOff, cpu_time, has_open, state_of};
pub use process::{Process, between_starts, command, dir};
pub use program::path;
pub(crate) use program::{profile_dir, starter, test_name};
