//! When a spool is looked at: as soon as something tells of a new name, now and then in any case, and sooner where
//! something is not complete yet. Pure.

use std::time::{Duration, Instant};

use crate::turns::roster::RECONCILE_SPAN;

/// The longest between two looks for files that never became complete.
pub const SWEEP_SPAN_MAX: Duration = Duration::from_secs(60);

/// Its next look, and why it is not later.
#[derive(Debug)]
pub struct Schedule {
    /// Nothing tells of new names.
    pub is_polled: bool,
    /// Something is not complete yet.
    pub is_waiting: bool,
    /// A file could not be opened for want of descriptors.
    pub is_starved: bool,
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
            is_polled: true,
            is_waiting: false,
            is_starved: false,
            looked_at: None,
            last_look: now,
            poll_interval: RECONCILE_SPAN,
            next_sweep: now,
        }
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
        let interval = if self.is_polled || self.is_waiting { self.poll_interval } else { RECONCILE_SPAN };
        Some(self.looked_at.map_or(now, |at| (at + interval).min(self.next_sweep)))
    }

    /// A look begins. Whether it is a sweep: files that never became complete are looked for, and all is judged anew.
    pub fn begin_look(&mut self, now: Instant, poll_interval: Duration) -> bool {
        (self.looked_at, self.last_look, self.poll_interval) = (Some(now), now, poll_interval);
        self.is_waiting = false;
        self.next_sweep <= now
    }

    /// Nothing can be looked at before the next poll.
    pub fn put_off(&mut self, now: Instant) {
        self.next_sweep = now + self.poll_interval;
        self.is_waiting = true;
    }

    /// The next sweep is an eighth of what a file may be old away, about.
    pub fn set_sweep(&mut self, max_age: Duration, now: Instant) {
        self.next_sweep = now + (max_age / 8).clamp(self.poll_interval, SWEEP_SPAN_MAX);
    }
}
