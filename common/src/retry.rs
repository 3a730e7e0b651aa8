//! What failed is tried again, each time after twice as long; what lasts is said once.
//!
//! Invariants: a wait is never shorter than the first one nor longer than the longest; what is said is said again only
//! after it was something else, or over.

use std::time::{Duration, Instant};

/// When one thing that failed is to be tried again.
#[derive(Clone, Copy, Debug)]
pub struct Retry {
    first: Duration,
    longest: Duration,
    /// The last wait.
    wait: Duration,
    /// `None`: it did not fail.
    due: Option<Instant>,
}

impl Default for Retry {
    /// After 1, 2, 4 … 30 s.
    fn default() -> Retry {
        Retry::new(Duration::from_secs(1), Duration::from_secs(30))
    }
}

impl Retry {
    /// After `first`, then twice as long each time, up to `longest`.
    pub fn new(first: Duration, longest: Duration) -> Retry {
        debug_assert!(Duration::ZERO < first && first <= longest, "{first:?} to {longest:?}");
        Retry { first, longest, wait: Duration::ZERO, due: None }
    }

    /// It failed now; after how long it is due again.
    pub fn failed(&mut self, now: Instant) -> Duration {
        self.wait = self.wait.saturating_mul(2).clamp(self.first, self.longest);
        self.due = Some(now + self.wait);
        self.wait
    }

    /// It went well: the next failure is a first one. Whether it had failed.
    pub fn succeeded(&mut self) -> bool {
        self.wait = Duration::ZERO;
        self.due.take().is_some()
    }

    /// Something changed: what failed may go now, and if not, the waits begin anew.
    pub fn hasten(&mut self, now: Instant) {
        if self.succeeded() {
            self.due = Some(now);
        }
    }

    /// If it failed it is due then, whatever its wait.
    pub fn put_off(&mut self, due: Instant) {
        self.due = self.due.map(|_| due);
    }

    /// How long the last wait was. Zero: it did not fail.
    pub fn wait(&self) -> Duration {
        debug_assert!(self.due.is_some() || self.wait.is_zero(), "a wait without a failure");
        self.wait
    }

    /// When it is to be tried. `None`: it did not fail.
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// The same, if that is not now.
    pub fn until(&self, now: Instant) -> Option<Instant> {
        self.due.filter(|due| *due > now)
    }
}

/// What was said last, while it lasts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Once<T>(Option<T>);

impl<T> Default for Once<T> {
    fn default() -> Once<T> {
        Once(None)
    }
}

impl<T: PartialEq> Once<T> {
    /// It is so now. Whether that is to be said.
    pub fn is_news(&mut self, what: T) -> bool {
        let is_known = self.0.as_ref() == Some(&what);
        self.0 = Some(what);
        !is_known
    }

    /// It is so no more. Whether it was, and that is to be said.
    pub fn end(&mut self) -> bool {
        self.0.take().is_some()
    }

    /// What is so. `None`: nothing was said, or it is over.
    pub fn current(&self) -> Option<&T> {
        self.0.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_begin_anew_after_a_success() {
        let (mut retry, mut now) = (Retry::default(), Instant::now());
        assert_eq!((retry.due(), retry.until(now)), (None, None));
        for seconds in [1, 2, 4, 8, 16, 30, 30] {
            let wait = Duration::from_secs(seconds);
            assert_eq!((retry.failed(now), retry.wait()), (wait, wait));
            assert_eq!(retry.until(now), Some(now + wait));
            now += wait;
            assert_eq!((retry.due(), retry.until(now)), (Some(now), None));
        }
        assert!(retry.succeeded() && !retry.succeeded());
        assert_eq!(retry.failed(now), Duration::from_secs(1));
    }

    #[test]
    fn what_failed_can_be_hastened_and_put_off_and_what_did_not_stays_so() {
        let (mut retry, now) = (Retry::default(), Instant::now());
        retry.hasten(now);
        retry.put_off(now);
        assert_eq!(retry.due(), None);
        retry.failed(now);
        retry.failed(now);
        retry.put_off(now + Duration::from_millis(50));
        assert_eq!((retry.due(), retry.wait()), (Some(now + Duration::from_millis(50)), Duration::from_secs(2)));
        retry.hasten(now);
        assert_eq!((retry.until(now), retry.failed(now)), (None, Duration::from_secs(1)));
    }

    #[test]
    fn what_lasts_is_said_once_and_so_is_its_end() {
        let mut said = Once::default();
        assert!(!said.end() && said.current().is_none());
        for (what, is_news) in [("no room", true), ("no room", false), ("I/O", true), ("no room", true)] {
            assert_eq!((said.is_news(what), said.current()), (is_news, Some(&what)));
        }
        assert!(said.end() && !said.end() && said.is_news("no room"));
    }
}
