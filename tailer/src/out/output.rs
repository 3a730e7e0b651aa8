//! Where lines go: what every output has in common.
//!
//! An output takes lines, and says later how far they are delivered; only then does a checkpoint count them.

use std::os::fd::RawFd;
use std::time::Instant;

use standpipe_common::error::Result;

use crate::out::lines::{GenerationId, Lines, SourceId};

/// Everything up to here left the tailer for good, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// Of which generation.
    pub generation: GenerationId,
    /// Offset behind the last byte.
    pub offset: u64,
}

/// What a source is at, for outputs that put several sources in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// More of it is there to be read now.
    Behind,
    /// All that is there was read; more may come.
    AtEnd,
    /// Nothing will come any more.
    Ended,
}

/// What an output waits for after a turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waits {
    /// It wants a turn at this moment at the latest.
    pub until: Option<Instant>,
    /// It wants a turn when this descriptor can be written.
    pub writable: Option<RawFd>,
}

/// An output.
pub trait Output {
    /// How many bytes of this source it takes now. 0: not before a later turn.
    fn room(&self, source: SourceId) -> usize;

    /// Whether that is all it will ever have for this source: what is longer has to come in pieces.
    fn is_room_final(&self, _source: SourceId) -> bool {
        self.is_empty()
    }

    /// Takes lines, at most as many bytes as it has room for (and one more if the newline was added).
    fn put(&mut self, lines: &Lines<'_>);

    /// Hears what a source is at, after each read of it.
    fn note(&mut self, source: SourceId, standing: Standing);

    /// From now on it takes lines of this source alone, or of all again: what it brings stays in one piece.
    fn hold(&mut self, source: SourceId, is_held: bool);

    /// Goes on as far as it can without waiting; adds what is delivered since the last turn.
    ///
    /// # Errors
    /// One that no later turn can mend.
    fn turn(&mut self, now: Instant, now_ns: i64, delivered: &mut Vec<Delivered>) -> Result<Waits>;

    /// From now on nothing is held back to be put in order or gathered: the program ends.
    fn hurry(&mut self);

    /// Whether all that was put is delivered.
    fn is_empty(&self) -> bool;
}
