//! `tailer` follows log files through every kind of rotation, into a pipe or to standard output.

pub mod cli;
pub mod config;
pub mod guard;
pub mod identity;
pub mod lines;
pub mod output;
pub mod sources;
pub mod state;
