//! How fast a spool is read: its `rate_limit`, and the backlog that it makes.
//!
//! A file begins when the limit lets it. Inside a file, which is in one piece, it rests only while nobody else wants
//! the output: others would wait for it as well. What went beyond the limit is paid back before the next file begins.

use std::time::Instant;

use super::Spool;
use super::part::PART_BYTES_MIN;
use crate::events::Event;
use crate::rate::{Backlog, Throttle};

impl Spool {
    /// Has its limit from now on. A batch has none: nothing else is there to be spared.
    pub fn limit(&mut self, is_batch: bool, now: Instant) {
        let rate = self.config.rate_limit.filter(|_| !is_batch);
        self.throttle = rate.map(|rate| Throttle::new(rate, now));
    }

    /// Whether anything waits to be put, or is put in part.
    pub fn has_work(&self) -> bool {
        self.current.is_some() || !self.queue.is_empty()
    }

    /// Until when its limit keeps what waits. `None`: nothing waits, or it may go on.
    pub fn rests_until(&self, is_awaited: bool, now: Instant) -> Option<Instant> {
        if !self.has_work() || (is_awaited && self.current.is_some()) {
            return None;
        }
        self.throttle.as_ref()?.rests_until().filter(|until| *until > now)
    }

    /// When its limit is to be asked again, which may be over already. `None`: it is not what keeps it.
    pub fn rest_end(&self) -> Option<Instant> {
        self.throttle.as_ref().filter(|_| self.has_work())?.rests_until()
    }

    /// How many bytes may be put now. 0: none.
    pub(super) fn allowance(&mut self, is_awaited: bool, now: Instant) -> usize {
        let Some(throttle) = &mut self.throttle else { return usize::MAX };
        let allowed = throttle.allowance(now);
        if is_awaited && self.current.is_some() {
            return usize::MAX;
        }
        if allowed == 0 { 0 } else { allowed.max(PART_BYTES_MIN) }
    }

    /// So much was put.
    pub(super) fn pay(&mut self, bytes: u64, lines: u64) {
        if let Some(throttle) = &mut self.throttle {
            throttle.take(bytes, lines);
        }
    }

    /// Tells a backlog as it begins, and as it ends, which is when a look finds nothing more.
    pub(super) fn tell_backlog(&mut self, now: Instant) {
        let is_at_end = !self.has_work();
        if is_at_end && self.has_begun {
            // What became complete meanwhile belongs to it.
            self.looked_at = self.looked_at.filter(|_| self.throttle.is_none());
            return;
        }
        let Some(throttle) = &mut self.throttle else { return };
        let rate = throttle.rate();
        let backlog = throttle.note(is_at_end, now);
        let name = self.name();
        match backlog {
            Some(Backlog::Began) => self.events.push(Event::Backlog { name, rate, bytes: self.waiting_bytes() }),
            Some(Backlog::Ended(after)) => self.events.push(Event::BacklogOver { name, after }),
            None => {}
        }
    }
}
