//! `tailer` follows log files through every kind of rotation, into a pipe or to standard output.
//!
//! The rooms, in the order in which things go:
//! - [`cli`], [`config`], [`sources`]: what is to be followed, and what it is called; [`run`], [`signals`]: the loop;
//!   [`daemon`]: all that is at work, one round at a time; [`turns`]: whose turn it is;
//! - where to look: [`names`], [`around`]; [`mod@file`]: one file;
//! - one log through its rotations: [`log`]; many files of short-lived processes: [`spool`];
//! - lines on their way: [`out`]; [`stage`]: into a pipe exactly once;
//! - what the next run knows: [`checkpoint`]; what is told: [`events`], [`spacing`], [`catch_up`]; what can be seen from
//!   outside: [`status`], [`metrics`]; [`steady`], [`changed`]: the time, and whether something is new since one asked.

pub mod around;
pub mod catch_up;
pub mod changed;
pub mod checkpoint;
pub mod cli;
pub mod config;
pub mod daemon;
pub mod events;
pub mod file;
pub mod log;
pub mod metrics;
pub mod names;
pub mod out;
pub mod run;
pub mod signals;
pub mod sources;
pub mod spacing;
pub mod spool;
pub mod stage;
pub mod status;
pub mod steady;
pub mod taken;
pub mod turns;
