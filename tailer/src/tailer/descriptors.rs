//! More files than can be open at once: who gives descriptors back, and who gets them.

use std::cmp::Reverse;
use std::io;
use std::time::Instant;

use standpipe_common::error::{Cannot, Result};

use super::Tailer;
use crate::budget;
use crate::events::Event;
use crate::follow::settings::Hints;
use crate::lines::SourceId;
use crate::output::Waits;
use crate::roster::Followed;

/// Descriptors that a spool has at once: its directories, one that is listed, and a file.
const SPOOL_FILES: usize = 5;

impl Tailer {
    /// Closes at least `needed` files of sources that were read to their ends, as far as there are such; they are
    /// opened again when they grow.
    pub(super) fn park(&mut self, needed: usize) {
        // Several at once: choosing goes over all sources.
        let needed = needed.max(self.open_max / 8);
        let is_batch = self.is_batch;
        let candidate = |followed: &Followed| budget::Candidate {
            source: followed.source.id(),
            priority: followed.file.priority,
            last_growth: followed.source.last_growth(),
            open: followed.source.parkable(may_break(is_batch, followed)),
        };
        for id in budget::choose(self.roster.iter().map(candidate), needed) {
            let Some(followed) = self.roster.get(id) else { continue };
            followed.source.park(may_break(is_batch, followed));
            followed.recount(&mut self.open);
        }
    }

    /// Whether a look at a source has to wait until files are closed: it has none open and would open one. What is
    /// kept back for listings and checkpoints stays free where many files are new at once.
    pub(super) fn must_wait(&mut self, id: SourceId) -> bool {
        let (is_full, is_batch) = (self.open >= self.open_max, self.is_batch);
        let opens = |followed: &&mut Followed| followed.open == 0 && (is_batch || followed.source.looks == 0);
        let must_wait = is_full && self.roster.get(id).as_ref().is_some_and(opens);
        if must_wait {
            self.starve(id);
        }
        must_wait
    }

    /// Notes that a source waits for a descriptor.
    pub(super) fn starve(&mut self, id: SourceId) {
        let Some(followed) = self.roster.get(id) else { return };
        if !std::mem::replace(&mut followed.is_starved, true) {
            self.starved.push(id);
            self.open_starved = self.open;
        }
    }

    /// A source waits for none any more: it got one in another way, or is no source.
    pub(super) fn sate(&mut self, id: SourceId) {
        if self.roster.get(id).is_none_or(|followed| std::mem::take(&mut followed.is_starved)) {
            self.starved.retain(|other| *other != id);
        }
    }

    /// Gives descriptors to sources that could not open their files, the highest priority first.
    pub(super) fn feed_starved(&mut self) {
        if self.spools.are_starved() {
            self.park(SPOOL_FILES);
        }
        if self.starved.is_empty() {
            return;
        }
        if !std::mem::replace(&mut self.is_starving_said, true) {
            self.printer.print(&Event::Waiting { count: self.starved.len() });
        }
        self.park(self.starved.len().min(self.open_max / 2));
        let free = self.open_starved.min(self.open_max).saturating_sub(self.open);
        let fed = free.min(self.starved.len());
        if fed > 0 {
            let roster = &mut self.roster;
            let priority = |id: &SourceId| roster.get(*id).map(|followed| Reverse(followed.file.priority));
            self.starved.sort_by_cached_key(priority);
        }
        for id in self.starved.drain(..fed).collect::<Vec<_>>() {
            let Some(followed) = self.roster.get(id) else { continue };
            followed.is_starved = false;
            self.roster.hint(id, Hints { content: true, ..Hints::default() });
        }
    }

    /// Fails where a batch would wait for ever: all wait for descriptors of others, and no file can be closed before
    /// it was read to its end. Packed files are such.
    pub(super) fn check_stuck(&self, now: Instant) -> Result<()> {
        let waits = |waits: &Waits| waits.until.is_some() || waits.writable.is_some();
        let is_stuck = self.is_batch
            && !self.starved.is_empty()
            && !self.is_behind()
            && self.roster.next_due(now).is_none_or(|due| due > now)
            && !self.waits.iter().any(waits)
            && self.roster.iter().all(|followed| followed.source.parkable(may_break(true, followed)) == 0);
        let cause = || format!("{} wait for a descriptor: raise RLIMIT_NOFILE", self.starved.len());
        if is_stuck { Err(io::Error::other(cause())).cannot("read", "all files") } else { Ok(()) }
    }
}

/// Whether files may be closed that were not read to their ends: in a batch, where nobody writes to them, those of a
/// source that waits for room, or for another of its files.
fn may_break(is_batch: bool, followed: &Followed) -> bool {
    is_batch && (followed.is_waiting || (followed.is_starved && followed.source.is_shut()))
}
