//! The tailer's parts at work, without its process: one program, so that its tests run side by side.

mod blank;
mod copies;
mod follower;
mod found;
mod late;
mod lines;
mod packed;
mod random;
mod replaced;
mod resuming;
mod rotation;
mod rounds;
mod several;
mod stage_kill;
mod truncation;
mod world;
