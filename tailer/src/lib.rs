//! `tailer` follows log files through every kind of rotation, into a pipe or to standard output.

pub mod events;
pub mod format;
pub mod guard;
pub mod identity;
pub mod level;
pub mod lines;
pub mod order;
pub mod output;
pub mod state;
pub mod stdout;
pub mod timestamp;
