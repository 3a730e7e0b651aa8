//! The holder from outside: one program, so that its tests run side by side.

mod check;
mod entries;
mod held;
mod limits;
mod policy;
mod stage;
mod stage_look;
mod start;
mod status;
mod unsafe_paths;
