//! Lines on their way to an output.
//!
//! - the words that all share: [`lines`], [`output`];
//! - what is found in a line: [`timestamp`], [`level`], [`fields`]; what a record holds: [`unwrap`];
//! - [`order`]: lines of several files by their times; [`mod@format`]: what they look like; [`stdout`];
//! - [`outputs`]: all of them.

pub mod fields;
pub mod format;
pub mod level;
pub mod lines;
pub mod order;
pub mod output;
pub mod outputs;
pub mod stdout;
pub mod timestamp;
pub mod unwrap;
