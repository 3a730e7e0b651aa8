//! How fast a spool is read: its `rate_limit`, and the backlog that it makes.
//!
//! A file begins when the limit lets it. Inside a file, which is in one piece, it rests only while nobody else wants
//! the output: others would wait for it as well. What went beyond the limit is paid back before the next file begins.

use std::time::Instant;

use super::Spool;
use super::part::PART_BYTES_MIN;
use crate::events::Event;
use crate::rate::{Backlog, Throttle};
use crate::turns::Stand;

impl Spool {
    /// Whether anything waits to be put, or is put in part.
    pub fn has_work(&self) -> bool {
        self.current.is_some() || !self.queue.is_empty()
    }

    /// Whether its files are read next, where its output has so much room; `is_awaited`: others want that.
    pub fn stand(&self, is_awaited: bool, room: usize, now: Instant) -> Stand {
        if !self.has_work() {
            return if self.is_leaving { Stand::Leaving } else { Stand::Idle };
        }
        let is_kept = !is_awaited || self.current.is_none();
        let rests_until = self.throttle.as_ref().filter(|_| is_kept).and_then(Throttle::rests_until);
        match rests_until.filter(|until| *until > now) {
            Some(until) => Stand::Rests(until),
            None if self.can_use(room) => Stand::Ready,
            None => Stand::WaitsForRoom,
        }
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
