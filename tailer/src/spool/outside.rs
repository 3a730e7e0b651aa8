//! A spool as it is seen from outside: what of it waits, and what keeps it.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

use crate::changed::Changed;
use crate::status::format::{Counts, Delay, Figures};

/// What the status file knows of it.
#[derive(Debug, Default)]
pub struct Shown {
    /// Something happened since it was stored.
    changed: Changed,
    delay: Delay,
    /// Bytes that were delivered.
    delivered_bytes: u64,
}

impl Shown {
    /// Of one that is to be seen although nothing happened to it yet.
    pub fn unseen() -> Shown {
        let mut shown = Shown::default();
        shown.note();
        shown
    }

    /// Something happened.
    pub fn note(&mut self) {
        self.changed.note();
    }

    /// Whether something did since it was last asked.
    pub fn take_changed(&mut self) -> bool {
        self.changed.take()
    }

    /// Files of so many bytes were delivered, or a part of one.
    pub fn count(&mut self, bytes: u64) {
        self.changed.note();
        self.delay.end_block();
        self.delivered_bytes += bytes;
    }

    /// Whether its output took nothing when that was shown last.
    pub fn is_blocked(&self) -> bool {
        self.delay.is_blocked()
    }

    /// What is to be said of it: where it is, since when files wait, and since when its output takes nothing of it.
    pub fn figures(
        &mut self,
        dir: Option<Metadata>,
        is_behind: bool,
        is_blocked: bool,
        orphans: u64,
        now_ns: i64,
    ) -> Figures {
        let (behind_ns, blocked_ns) = self.delay.note(is_behind, is_blocked, now_ns);
        let (dev, ino) = dir.map_or((0, 0), |metadata| (metadata.dev(), metadata.ino()));
        Figures {
            is_spool: true,
            dev,
            ino,
            offset: self.delivered_bytes,
            behind_ns,
            blocked_ns,
            counts: Counts { orphans, delivered_bytes: self.delivered_bytes, ..Counts::default() },
            ..Figures::default()
        }
    }
}
