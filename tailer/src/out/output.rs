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

/// An output as whoever brings lines knows it.
pub trait Output {
    /// How many bytes of this source it takes now. 0: not before a later turn.
    fn room(&self, source: SourceId) -> usize;

    /// Whether that is all it will ever have for this source: what is longer has to come in pieces.
    fn is_room_final(&self, source: SourceId) -> bool;

    /// Takes lines, at most as many bytes as it has room for (and one more if the newline was added).
    fn put(&mut self, lines: &Lines<'_>);

    /// Hears what a source is at, after each read of it.
    fn note(&mut self, source: SourceId, standing: Standing);
}

/// An output as the loop knows it, which lets what was put go on.
pub trait Outlet: Output {
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

/// Whom all other sources wait for before an output takes lines of theirs.
#[derive(Debug, Default)]
pub struct RightOfWay {
    /// What it brings stays in one piece.
    held: Option<SourceId>,
    /// Its last line is not at its end.
    awaited: Option<SourceId>,
}

impl RightOfWay {
    /// Whether a source has to wait for another one.
    pub fn keeps_off(&self, source: SourceId) -> bool {
        [self.held, self.awaited].into_iter().flatten().any(|first| first != source)
    }

    /// All others wait for a source, or no longer.
    pub fn hold(&mut self, source: SourceId, is_held: bool) {
        self.held = is_held.then_some(source);
    }

    /// They wait for the end of a line of this source; or for that of none.
    pub fn await_end(&mut self, source: Option<SourceId>) {
        self.awaited = source;
    }

    /// Whether they wait for the end of a line whose source may not go on for ever: not of one that is held.
    pub fn is_for_an_end(&self) -> bool {
        self.awaited.is_some() && self.awaited != self.held
    }

    /// A source that ended brings no end of its line.
    pub fn note(&mut self, source: SourceId, standing: Standing) {
        if standing == Standing::Ended {
            self.awaited.take_if(|awaited| *awaited == source);
        }
    }
}
