//! What [`Source`](crate::log::source::Source) is made of.
//!
//! - [`settings`], [`happening`], `notes`: what it is told, and what it tells;
//! - `lives`: what there is of it, that is `chain`: its generations, in their order; `done`: what is over; and `replaced`:
//!   what it had before;
//! - [`generation`]: one life of one inode; [`cursor`]: how far it is; [`life`]: what becomes of it; `beginning`: where it
//!   begins for us; [`extent`]: how long its file is; [`blank`]: the zeros that this ends in; [`trouble`]: why it cannot be
//!   read for a while;
//! - [`reading`]: the way of its bytes to an output, to its end; [`finish`]: when that is final. Pure;
//! - `live_name`: the name that is followed; `agenda`: what the next look is to do;
//! - `looking`: a look, by `eyes`, and in which order it goes: `restore`, `truncation`, `ours`, `choice`, `replaced` and `twin`
//!   tell what follows from what it finds;
//! - [`memory`]: what is remembered of the bytes that were read, by which they are known again; [`sample`]: whether a file
//!   is a copy of another; `candidate`: a file beside the live one that is not known yet; `walk`: the way through a packed
//!   one; [`twins`]: what all followed files begin with.

pub(crate) mod agenda;
mod beginning;
pub mod blank;
mod candidate;
pub(crate) mod chain;
mod choice;
pub mod cursor;
pub(crate) mod done;
pub mod extent;
mod eyes;
pub mod finish;
pub mod generation;
pub mod happening;
pub mod life;
pub(crate) mod live_name;
mod lives;
mod looking;
pub mod memory;
pub mod notes;
mod ours;
pub mod reading;
pub(crate) mod replaced;
mod restore;
pub mod sample;
pub mod settings;
pub mod source;
pub mod trouble;
mod truncation;
pub(crate) mod twin;
pub mod twins;
pub(crate) mod walk;
