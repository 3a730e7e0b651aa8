//! The crash tests: who is killed at any moment, and the power that goes.

pub mod power_cuts;
pub mod reader;
pub mod tailer;
