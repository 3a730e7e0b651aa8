//! When to try again what failed: after 1, 2, 4 … 30 s.

use std::time::{Duration, Instant};

const FIRST: Duration = Duration::from_secs(1);
const MOST: Duration = Duration::from_secs(30);

/// The retries of one thing that fails or does not.
#[derive(Clone, Copy, Debug, Default)]
pub struct Backoff {
    failing: Option<Failing>,
}

#[derive(Clone, Copy, Debug)]
struct Failing {
    span: Duration,
    due: Instant,
}

impl Backoff {
    /// It failed now; returns after how long it is due again.
    pub fn failed(&mut self, now: Instant) -> Duration {
        let span = self.failing.map_or(FIRST, |failing| (failing.span * 2).min(MOST));
        self.failing = Some(Failing { span, due: now + span });
        span
    }

    /// It succeeded: the next failure is a first one.
    pub fn succeeded(&mut self) {
        self.failing = None;
    }

    /// Something hints that it may succeed now. The spans go on as they were if it does not.
    pub fn hurry(&mut self, now: Instant) {
        if let Some(failing) = &mut self.failing {
            failing.due = failing.due.min(now);
        }
    }

    /// When it is to be tried. `None`: it did not fail.
    pub fn due(&self) -> Option<Instant> {
        self.failing.map(|failing| failing.due)
    }

    /// Whether it may be tried now.
    pub fn is_due(&self, now: Instant) -> bool {
        self.due().is_none_or(|due| due <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_double_up_to_half_a_minute_and_start_over_after_a_success() {
        let mut backoff = Backoff::default();
        let mut now = Instant::now();
        assert!(backoff.is_due(now));
        for seconds in [1, 2, 4, 8, 16, 30, 30] {
            assert_eq!(backoff.failed(now), Duration::from_secs(seconds));
            now += Duration::from_millis(seconds * 1000 - 1);
            assert!(!backoff.is_due(now));
            now += Duration::from_millis(1);
            assert!(backoff.is_due(now));
        }
        backoff.succeeded();
        assert_eq!(backoff.due(), None);
        assert_eq!(backoff.failed(now), FIRST);
    }

    #[test]
    fn a_hint_makes_it_due_at_once_and_forgets_no_span() {
        let mut backoff = Backoff::default();
        let now = Instant::now();
        backoff.failed(now);
        backoff.failed(now);
        backoff.hurry(now);
        assert!(backoff.is_due(now));
        assert_eq!(backoff.failed(now), Duration::from_secs(4));
    }
}
