//! How much of what waited at the start is delivered: for whoever sits at a terminal, until it has caught up.
//!
//! Invariant: nothing is shown any more once it was caught up with, or where there was no backlog to speak of.
//! Not here: whether anybody can see it ([`Progress`] asks for a terminal, the start whether lines go there), and who
//! else writes there ([`Printer`](crate::events::Printer) makes room first).

use std::time::Instant;

use standpipe_common::progress::Progress;
use standpipe_common::shown::size;

/// Less is there in an instant.
const BACKLOG_BYTES_MIN: u64 = 1 << 20;
/// That much of it is left where writers go on: this is no backlog any more.
const LEFT_SHARE: u64 = 100;

/// The line, and what there was most of.
#[derive(Debug)]
pub struct CatchUp {
    progress: Progress,
    most_bytes: u64,
}

impl CatchUp {
    /// Of a run that begins now, shown on standard error if that is a terminal.
    pub fn on_terminal() -> CatchUp {
        CatchUp { progress: Progress::on_terminal(), most_bytes: 0 }
    }

    /// One that is never seen.
    pub fn silent() -> CatchUp {
        CatchUp { progress: Progress::silent(), most_bytes: 0 }
    }

    /// Whether it is worth the while to find out how much is left.
    pub fn is_due(&self, now: Instant) -> bool {
        self.progress.is_due(now)
    }

    /// So much is left.
    pub fn show(&mut self, left_bytes: u64) {
        self.most_bytes = self.most_bytes.max(left_bytes);
        let (most, done) = (self.most_bytes, self.most_bytes - left_bytes);
        if most < BACKLOG_BYTES_MIN || left_bytes <= most / LEFT_SHARE {
            self.progress = Progress::silent();
            return;
        }
        let what = || format!("delivered {} of {}", size(done), size(most));
        self.progress.show(done as f64 / most as f64, what);
    }

    /// Makes room for other lines.
    pub fn clear(&mut self) {
        self.progress.clear();
    }
}
