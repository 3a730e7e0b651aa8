//! What [`Source`](crate::log::source::Source) is made of.
//!
//! - [`settings`], [`happening`]: what it is told, and what it tells;
//! - [`memory`]: what is remembered of the bytes that were read, by which they are known again;
//! - [`generation`], [`reading`], [`drain`]: one life of one inode, and the way of its bytes to an output;
//! - [`cursor`]: how far a generation is; [`life`]: what becomes of it;
//! - `chain`: the generations of a log, in their order; `live_name`: the name that is followed; `done`: what is over;
//!   `agenda`: what the next look is to do;
//! - [`blank`]: the zeros that a file ends in;
//! - [`trouble`]: a file that cannot be opened or read for a while;
//! - [`finish`]: when such a life is over, and when the next one may be read. Pure;
//! - [`outside`]: what of a source waits, and why it is not read;
//! - [`sample`]: whether a file is a copy of another; `candidate`: a file beside the live one that is not known yet;
//!   `walk`: the way through a packed one; `choice`: which is read on where several fit;
//! - `names`, `truncation`, `siblings`, `copies`, `replaced`, `twin`, `search`, `restore`: the steps of a look,
//!   each a part of [`Source`](crate::log::source::Source).

pub(crate) mod agenda;
pub mod blank;
mod candidate;
pub(crate) mod chain;
mod choice;
pub(crate) mod copies;
pub mod cursor;
pub(crate) mod done;
pub mod drain;
pub mod finish;
pub mod generation;
pub mod happening;
pub mod life;
pub(crate) mod live_name;
pub mod memory;
mod names;
pub mod outside;
pub mod reading;
pub(crate) mod replaced;
mod restore;
pub mod sample;
mod search;
pub mod settings;
mod siblings;
pub mod source;
pub mod trouble;
mod truncation;
pub(crate) mod twin;
pub mod twins;
pub(crate) mod walk;
