//! `tailer` follows log files through every kind of rotation, into a pipe or to standard output.

pub mod backoff;
pub mod budget;
pub mod checkpoint;
pub mod cli;
pub mod config;
pub mod events;
pub mod follow;
pub mod format;
pub mod guard;
pub mod identity;
pub mod lease;
pub mod level;
pub mod lines;
pub mod network;
pub mod open;
pub mod order;
pub mod output;
pub mod packed;
pub mod siblings;
pub mod source;
pub mod sources;
pub mod stage;
pub mod state;
pub mod stdout;
pub mod timestamp;
pub mod watch;
