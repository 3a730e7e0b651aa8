//! A wall clock that never goes back and never stands still: lines are stamped by it, and wait for it.
//!
//! Where the clock of the machine was set back, this one goes on at half its pace until the other has caught up.
//! Standing still would hold back for an hour what waits for 200 ms.

use std::time::Instant;

/// It.
#[derive(Debug)]
pub struct Steady {
    ns: i64,
    /// `None`: it stands still.
    at: Option<Instant>,
}

impl Steady {
    /// Begins at this time.
    pub fn new(now: Instant, now_ns: i64) -> Steady {
        Steady { ns: now_ns, at: Some(now) }
    }

    /// Stands at this time: what a batch makes of its files is to be a function of these alone.
    pub fn still(ns: i64) -> Steady {
        Steady { ns, at: None }
    }

    /// The clock of the machine says `now_ns`.
    pub fn follow(&mut self, now: Instant, now_ns: i64) {
        let Some(at) = self.at else { return };
        if now_ns >= self.ns {
            self.ns = now_ns;
        } else {
            self.ns += now.saturating_duration_since(at).as_nanos() as i64 / 2;
        }
        self.at = Some(now);
    }

    /// ns since the epoch.
    pub fn now_ns(&self) -> i64 {
        self.ns
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_clock_that_is_set_back_is_waited_for_at_half_its_pace() {
        let start = Instant::now();
        let mut steady = Steady::new(start, 1_000);
        let table = [
            (10, 1_010, 1_010),
            // The same time again, as a test clock gives it.
            (20, 1_010, 1_010),
            (30, 510, 1_015),
            (130, 610, 1_065),
            // Caught up.
            (1_230, 1_710, 1_710),
        ];
        for (passed, said, expected) in table {
            steady.follow(start + Duration::from_nanos(passed), said);
            assert_eq!(steady.now_ns(), expected, "after {passed} ns");
        }
        let mut still = Steady::still(7);
        for now_ns in [2, 1] {
            still.follow(start, now_ns);
        }
        assert_eq!(still.now_ns(), 7);
    }
}
