//! When something that failed is tried again, and that its failure is said once.

use std::time::Instant;

use crate::turns::backoff::Backoff;

/// One thing that can fail for a while.
#[derive(Debug, Default)]
pub struct Retry {
    backoff: Backoff,
    told: Option<String>,
}

impl Retry {
    /// When it is tried again, if that is not now.
    pub fn until(&self, now: Instant) -> Option<Instant> {
        self.backoff.due().filter(|at| *at > now)
    }

    /// It failed, for this reason. Whether that is new and to be said.
    pub fn failed(&mut self, now: Instant, reason: &str) -> bool {
        self.backoff.failed(now);
        let is_new = self.told.as_deref() != Some(reason);
        self.told = Some(reason.to_owned());
        is_new
    }

    /// It went well. Whether a failure was said before.
    pub fn succeeded(&mut self) -> bool {
        self.backoff.succeeded();
        self.told.take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_said_once_and_tried_again_ever_later() {
        let mut retry = Retry::default();
        let mut now = Instant::now();
        let mut spans = Vec::new();
        for turn in 0..7 {
            assert_eq!(retry.failed(now, "nobody reads"), turn == 0);
            let at = retry.until(now).unwrap();
            spans.push((at - now).as_secs());
            now = at;
            assert_eq!(retry.until(now), None);
        }
        assert_eq!(spans, [1, 2, 4, 8, 16, 30, 30]);
        assert!(retry.failed(now, "it is not a FIFO"));
        assert!(retry.succeeded());
        assert!(!retry.succeeded());
    }
}
