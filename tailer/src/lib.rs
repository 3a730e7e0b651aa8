//! `tailer` follows log files through every kind of rotation, into a pipe or to standard output.

pub mod follow;
pub mod guard;
pub mod identity;
pub mod lease;
pub mod lines;
pub mod open;
pub mod output;
pub mod source;
pub mod state;
