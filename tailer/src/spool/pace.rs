//! How fast a spool is read: its `rate_limit`, and the backlog that it makes.
//!
//! A file begins when the limit lets it. Inside a file, which is in one piece, it rests only while nobody else wants
//! the output: others would wait for it as well. What went beyond the limit is paid back before the next file begins.

use std::time::Instant;

use super::part::PART_BYTES_MIN;
use crate::turns::rate::{Backlog, Rate, Throttle};

/// What keeps it, and when it went on.
#[derive(Debug)]
pub struct Pace {
    /// `None`: as fast as it can be.
    throttle: Option<Throttle>,
    /// When its output last took something of it.
    fed_at: Option<Instant>,
    /// A file was begun since the last look.
    has_begun: bool,
}

impl Pace {
    /// With this limit.
    pub fn new(rate: Option<Rate>, now: Instant) -> Pace {
        Pace { throttle: rate.map(|rate| Throttle::new(rate, now)), fed_at: None, has_begun: false }
    }

    /// From now on without a limit.
    pub fn release(&mut self) {
        self.throttle = None;
    }

    /// Whether it has one.
    pub fn is_limited(&self) -> bool {
        self.throttle.is_some()
    }

    /// Whether that keeps something that has waited for a while.
    pub fn is_backlog(&self) -> bool {
        self.throttle.as_ref().is_some_and(Throttle::is_backlog)
    }

    /// Until when it keeps what waits.
    pub fn rests_until(&self, now: Instant) -> Option<Instant> {
        self.throttle.as_ref().and_then(Throttle::rests_until).filter(|until| *until > now)
    }

    /// How many bytes may be put now. 0: none. `is_urgent`: others wait for the end of a file.
    pub fn allowance(&mut self, is_urgent: bool, now: Instant) -> usize {
        let Some(throttle) = &mut self.throttle else { return usize::MAX };
        let allowed = throttle.allowance(now);
        if is_urgent {
            return usize::MAX;
        }
        if allowed == 0 { 0 } else { allowed.max(PART_BYTES_MIN) }
    }

    /// So much was put.
    pub fn pay(&mut self, bytes: u64, lines: u64) {
        if let Some(throttle) = &mut self.throttle {
            throttle.take(bytes, lines);
        }
    }

    /// Its output took something now.
    pub fn feed(&mut self, now: Instant) {
        self.fed_at = Some(now);
    }

    /// When it last did.
    pub fn fed_at(&self) -> Option<Instant> {
        self.fed_at
    }

    /// A file is begun, or a look made.
    pub fn set_begun(&mut self, has_begun: bool) {
        self.has_begun = has_begun;
    }

    /// Whether a file was begun since the last look.
    pub fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// A backlog that begins, or ends, which is when a look finds nothing more; and the limit.
    pub fn note(&mut self, is_at_end: bool, now: Instant) -> Option<(Backlog, Rate)> {
        let throttle = self.throttle.as_mut()?;
        let rate = throttle.rate();
        throttle.note(is_at_end, now).map(|backlog| (backlog, rate))
    }
}
