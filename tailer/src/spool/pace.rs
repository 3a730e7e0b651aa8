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
    pub throttle: Option<Throttle>,
    /// When its output last took something of it.
    pub fed_at: Option<Instant>,
}

impl Pace {
    /// With this limit.
    pub fn new(rate: Option<Rate>, now: Instant) -> Pace {
        Pace { throttle: rate.map(|rate| Throttle::new(rate, now)), fed_at: None }
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

    /// A backlog that begins, or ends, which is when a look finds nothing more; and the limit.
    pub fn note(&mut self, is_at_end: bool, now: Instant) -> Option<(Backlog, Rate)> {
        let throttle = self.throttle.as_mut()?;
        let rate = throttle.rate();
        throttle.note(is_at_end, now).map(|backlog| (backlog, rate))
    }
}
