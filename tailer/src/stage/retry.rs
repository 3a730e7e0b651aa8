//! When something that failed is tried again, and that its failure is said once.

use std::time::Instant;

use standpipe_common::retry::{Once, Retry};

use super::message::{Messages, Severity};

/// One thing that can fail for a while.
#[derive(Debug, Default)]
pub struct Outage {
    retry: Retry,
    said: Once<String>,
}

impl Outage {
    /// When it is tried again, if that is not now.
    pub fn until(&self, now: Instant) -> Option<Instant> {
        self.retry.until(now)
    }

    /// It failed, for this reason, which is said if it is new.
    pub fn failed(&mut self, now: Instant, said: &mut Messages, severity: Severity, reason: &str) {
        self.retry.failed(now);
        if self.said.is_news(reason.to_owned()) {
            said.say(severity, reason);
        }
    }

    /// It went well. Whether a failure was said before.
    pub fn succeeded(&mut self) -> bool {
        self.retry.succeeded();
        self.said.end()
    }
}
