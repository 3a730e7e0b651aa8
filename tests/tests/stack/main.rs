//! All programs together, and what holds for each of them: one program, so that its tests run side by side.

mod documentation;
mod harness;
mod kill;
mod power_cuts;
mod printable;
mod readme;
mod standard_descriptors;
