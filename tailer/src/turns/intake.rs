//! How much of what waits a round takes in: new files, looks and reads, each for as long as all the rest of the round took.
//!
//! A round that takes in for a moment only and then spends five times as long on all the rest (names that are listed, a
//! checkpoint, outputs) would take minutes for fifty thousand files; one without a bound would keep the lines of others.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::log::reading::BUFFER_BYTES;
use crate::sources::FoundSource;
use crate::turns::slices::Slices;

/// How long one step takes at least, if there is so much to do, and at most.
const SPAN_MIN: Duration = Duration::from_millis(20);
const SPAN_MAX: Duration = Duration::from_millis(100);

/// What waits, and for how long a round cares about it.
#[derive(Debug)]
pub struct Intake {
    /// New files that are still to be followed.
    pub arrivals: VecDeque<FoundSource>,
    /// How many that were due the last round had no time to look at.
    unlooked: usize,
    /// How much of packed files is gone through.
    pub slices: Slices,
    /// What is read into; it means nothing between reads.
    pub buffer: Vec<u8>,
    began: Instant,
    /// What its steps took so far.
    taken: Duration,
    span: Duration,
    /// None of them goes on behind that.
    until: Option<Instant>,
}

/// A step of a round.
#[derive(Clone, Copy, Debug)]
pub struct Leg {
    began: Instant,
    end: Instant,
}

impl Leg {
    /// Whether its time is over.
    pub fn is_over(self) -> bool {
        Instant::now() >= self.end
    }
}

impl Intake {
    /// Nothing waits.
    pub fn new(now: Instant) -> Intake {
        Intake {
            arrivals: VecDeque::new(),
            unlooked: 0,
            slices: Slices::default(),
            buffer: vec![0; BUFFER_BYTES],
            began: now,
            taken: Duration::ZERO,
            span: SPAN_MIN,
            until: None,
        }
    }

    /// A round begins.
    pub fn begin_round(&mut self) {
        (self.began, self.taken) = (Instant::now(), Duration::ZERO);
    }

    /// It ends: what it took beside its steps is what each of them may take in the next one.
    pub fn end_round(&mut self) {
        self.span = self.began.elapsed().saturating_sub(self.taken).clamp(SPAN_MIN, SPAN_MAX);
    }

    /// No step goes on behind that.
    pub fn end_at(&mut self, until: Instant) {
        self.until = Some(until);
    }

    /// Whether that is near: nothing is put off any more.
    pub fn is_ending(&self) -> bool {
        self.until.is_some()
    }

    /// A step begins.
    pub fn begin(&self) -> Leg {
        let began = Instant::now();
        let end = began + self.span;
        Leg { began, end: self.until.map_or(end, |until| until.min(end)) }
    }

    /// It ends.
    pub fn end(&mut self, step: Leg) {
        self.taken += step.began.elapsed();
    }

    /// So many that are due this round has no time to look at.
    pub fn leave(&mut self, unlooked: usize) {
        self.unlooked = unlooked;
    }

    /// Whether the last round had no time to look at all that were due.
    pub fn is_pressed(&self) -> bool {
        self.unlooked > 0
    }

    /// Whether there was no time for something that is due.
    pub fn is_left(&self) -> bool {
        self.is_pressed() || !self.arrivals.is_empty()
    }
}
