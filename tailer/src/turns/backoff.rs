//! When to try again what failed: after 1, 2, 4 … 30 s.

use std::time::{Duration, Instant};

/// How long after the last of so many failures in a row the next try is due.
pub fn retry_after(failed: u32) -> Duration {
    Duration::from_secs(1 << failed.saturating_sub(1).min(5)).min(Duration::from_secs(30))
}

/// The retries of one thing that fails or does not.
#[derive(Clone, Copy, Debug, Default)]
pub struct Backoff {
    failing: Option<Failing>,
}

#[derive(Clone, Copy, Debug)]
struct Failing {
    times: u32,
    due: Instant,
}

impl Backoff {
    /// It failed now; returns after how long it is due again.
    pub fn failed(&mut self, now: Instant) -> Duration {
        let times = self.failing.map_or(1, |failing| failing.times.saturating_add(1));
        let span = retry_after(times);
        self.failing = Some(Failing { times, due: now + span });
        span
    }

    /// It succeeded: the next failure is a first one.
    pub fn succeeded(&mut self) {
        self.failing = None;
    }

    /// When it is to be tried. `None`: it did not fail.
    pub fn due(&self) -> Option<Instant> {
        self.failing.map(|failing| failing.due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_become_rarer() {
        let retries: Vec<u64> = (1..=7).map(|failed| retry_after(failed).as_secs()).collect();
        assert_eq!(retries, [1, 2, 4, 8, 16, 30, 30]);
    }

    #[test]
    fn spans_double_up_to_half_a_minute_and_start_over_after_a_success() {
        let mut backoff = Backoff::default();
        let mut now = Instant::now();
        assert_eq!(backoff.due(), None);
        for seconds in [1, 2, 4, 8, 16, 30, 30] {
            assert_eq!(backoff.failed(now), Duration::from_secs(seconds));
            now += Duration::from_secs(seconds);
            assert_eq!(backoff.due(), Some(now));
        }
        backoff.succeeded();
        assert_eq!(backoff.due(), None);
        assert_eq!(backoff.failed(now), Duration::from_secs(1));
    }
}
