//! `tailer` follows log files through every kind of rotation, into a pipe or to standard output.
//!
//! The rooms, in the order in which things go:
//! - [`cli`], [`config`], [`sources`]: what is to be followed, and what it is called; [`run`], [`signals`]: the loop;
//!   [`tailer`]: all that is at work, one round at a time, with its [`roster`] of sources and the
//!   [`turns`] of all;
//! - the words that all share: [`identity`], [`guard`], [`lines`], [`output`], [`state`];
//! - where to look: [`watch`], [`siblings`], [`network`], [`around`]; [`open`], [`lease`], [`packed`]: one file;
//!   [`budget`]: more files than can be open; [`backoff`]: what failed;
//! - one log through its rotations: [`source`], [`follow`];
//! - lines on their way: [`order`], [`timestamp`], [`level`], [`mod@format`]; [`outputs`]: [`stdout`], and [`stage`], into a
//!   pipe exactly once;
//! - what the next run knows: [`keeper`], [`checkpoint`], [`held_back`]; what is told: [`events`], [`catch_up`]; [`steady`]: the time.

pub mod around;
pub mod backoff;
pub mod budget;
pub mod catch_up;
pub mod checkpoint;
pub mod cli;
pub mod config;
pub mod events;
pub mod fair;
pub mod fields;
pub mod follow;
pub mod format;
pub mod guard;
pub mod held_back;
pub mod identity;
pub mod intake;
pub mod keeper;
pub mod lease;
pub mod level;
pub mod lines;
pub mod meter;
pub mod metrics;
pub mod network;
pub mod open;
pub mod order;
pub mod output;
pub mod outputs;
pub mod packed;
pub mod rate;
pub mod roster;
pub mod run;
pub mod share;
pub mod siblings;
pub mod signals;
pub mod slices;
pub mod source;
pub mod sources;
pub mod spacing;
pub mod spool;
pub mod stage;
pub mod state;
pub mod status;
pub mod stdout;
pub mod steady;
pub mod tailer;
pub mod timestamp;
pub mod turns;
pub mod twins;
pub mod unwrap;
pub mod watch;
