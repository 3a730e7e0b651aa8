//! `tailer` follows log files through every kind of rotation, into a pipe or to standard output.

pub mod guard;
pub mod identity;
pub mod lines;
pub mod output;
pub mod stage;
pub mod state;
