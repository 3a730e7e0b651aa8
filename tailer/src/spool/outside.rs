//! A spool as it is seen from outside: what of it waits, and what keeps it.

use std::os::unix::fs::MetadataExt;

use super::Spool;
use super::part::Current;
use crate::rate::Throttle;
use crate::status::format::{Counts, Figures};

/// What the status file knows of it.
#[derive(Debug, Default)]
pub struct Shown {
    /// Something happened since it was stored.
    pub(super) is_changed: bool,
    /// Since when files wait, ns since the epoch.
    behind_ns: Option<i64>,
    /// Since when its output took nothing of what it has.
    pub(super) blocked_ns: Option<i64>,
    /// Bytes that were delivered.
    pub(super) delivered_bytes: u64,
}

impl Shown {
    /// Of one that is to be seen although nothing happened to it yet.
    pub fn unseen() -> Shown {
        Shown { is_changed: true, ..Shown::default() }
    }
}

impl Spool {
    /// Complete files that are not delivered.
    pub fn waiting_files(&self) -> u64 {
        self.queue.files() + u64::from(self.current.is_some()) + self.flights.len() as u64
    }

    /// Their bytes, as long as they were when they were found.
    pub fn waiting_bytes(&self) -> u64 {
        let here = self.current.iter().map(Current::rest);
        let flying = self.flights.iter().map(|flight| flight.end);
        self.queue.bytes() + here.chain(flying).sum::<u64>()
    }

    /// Whether something happened since it was last asked.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.shown.is_changed)
    }

    /// What is to be said of it, and what is wrong with it; `is_full`: its output waits for room, `has_room`: it has
    /// some for this spool.
    pub fn figures(&mut self, is_full: bool, has_room: bool, now_ns: i64) -> (Figures, String) {
        let since = |is_so: bool, since: &mut Option<i64>| {
            *since = is_so.then(|| since.unwrap_or(now_ns));
            since.map_or(0, |since| since as u64)
        };
        let files = self.waiting_files();
        let behind_ns = since(files > 0, &mut self.shown.behind_ns);
        let is_blocked = (self.has_work() && !has_room) || (is_full && !self.flights.is_empty());
        let blocked_ns = since(is_blocked, &mut self.shown.blocked_ns);
        let metadata = self.place.as_ref().and_then(|place| place.dir.metadata().ok());
        let (dev, ino) = metadata.map_or((0, 0), |metadata| (metadata.dev(), metadata.ino()));
        let figures = Figures {
            is_spool: true,
            dev,
            ino,
            offset: self.shown.delivered_bytes,
            lag_bytes: self.waiting_bytes(),
            behind_ns,
            generations: files,
            open: u64::from(self.current.is_some()),
            counts: Counts { orphans: self.orphans, delivered_bytes: self.shown.delivered_bytes, ..Counts::default() },
            wants_descriptor: self.is_starved,
            is_limited: self.throttle.as_ref().is_some_and(Throttle::is_backlog),
            blocked_ns,
            ..Figures::default()
        };
        (figures, self.said.complaint().unwrap_or_default())
    }
}
