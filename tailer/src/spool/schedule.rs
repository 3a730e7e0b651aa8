//! When a spool is looked at: as soon as something tells of a new name, now and then in any case, and sooner where
//! something is not complete yet. Pure.

use std::time::{Duration, Instant};

use crate::names::ear::{Ear, RECONCILE_SPAN};

/// The longest between two looks for files that never became complete.
pub const SWEEP_SPAN_MAX: Duration = Duration::from_secs(60);

/// What keeps it from a file, and nothing tells when that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lack {
    Nothing,
    /// Something is not complete yet.
    More,
    /// A file could not be opened for want of descriptors.
    Descriptor,
}

/// Its next look, and why it is not later.
#[derive(Debug)]
pub struct Schedule {
    ear: Ear,
    lack: Lack,
    /// `None`: it is to be looked at at once.
    looked_at: Option<Instant>,
    last_look: Instant,
    poll_interval: Duration,
    next_sweep: Instant,
}

impl Schedule {
    /// Due at once.
    pub fn new(now: Instant) -> Schedule {
        Schedule {
            ear: Ear::Polls,
            lack: Lack::Nothing,
            looked_at: None,
            last_look: now,
            poll_interval: RECONCILE_SPAN,
            next_sweep: now,
        }
    }

    /// This is how new names are heard of from now on.
    pub fn hear(&mut self, ear: Ear) {
        self.ear = ear;
    }

    /// Something is not complete yet.
    pub fn wait(&mut self) {
        if self.lack == Lack::Nothing {
            self.lack = Lack::More;
        }
    }

    /// A file could not be opened for want of descriptors.
    pub fn starve(&mut self) {
        self.lack = Lack::Descriptor;
    }

    /// Whether one could not at the last look that found the spool.
    pub fn is_starved(&self) -> bool {
        self.lack == Lack::Descriptor
    }

    /// Whether the last look was no later than that.
    pub fn is_before(&self, at: Option<Instant>) -> bool {
        at.is_some_and(|at| self.last_look <= at)
    }

    /// It is due at once.
    pub fn hint(&mut self) {
        self.looked_at = None;
    }

    /// When it is due. `None`: not while it has work for which there is room.
    pub fn next_look(&self, has_work: bool, is_blocked: bool, now: Instant) -> Option<Instant> {
        if has_work {
            // What came since is to be seen from outside, and older ones come first.
            return is_blocked.then(|| self.last_look + RECONCILE_SPAN);
        }
        let ear = if self.lack == Lack::Nothing { self.ear } else { Ear::Polls };
        let interval = ear.interval(self.poll_interval);
        Some(self.looked_at.map_or(now, |at| (at + interval).min(self.next_sweep)))
    }

    /// A look begins. Whether it is a sweep: files that never became complete are looked for, and all is judged anew.
    pub fn begin_look(&mut self, now: Instant, poll_interval: Duration) -> bool {
        (self.looked_at, self.last_look, self.poll_interval) = (Some(now), now, poll_interval);
        if self.lack == Lack::More {
            self.lack = Lack::Nothing;
        }
        self.next_sweep <= now
    }

    /// What is there is known: what could not be opened is tried again.
    pub fn found(&mut self) {
        self.lack = Lack::Nothing;
    }

    /// Nothing can be looked at before the next poll.
    pub fn put_off(&mut self, now: Instant) {
        self.next_sweep = now + self.poll_interval;
        self.wait();
    }

    /// The next sweep is an eighth of what a file may be old away, about.
    pub fn set_sweep(&mut self, max_age: Duration, now: Instant) {
        self.next_sweep = now + (max_age / 8).clamp(self.poll_interval, SWEEP_SPAN_MAX);
    }
}
