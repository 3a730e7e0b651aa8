//! All programs together, and what holds for each of them: one program, so that its tests run side by side.

mod bundle;
mod documentation;
mod front;
mod harness;
mod house;
mod journal;
mod kill;
mod metrics;
mod names;
mod options;
mod power_cuts;
mod printable;
mod readme;
mod standard_descriptors;
mod version;
