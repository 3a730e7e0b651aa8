//! More files than can be open at once: who gives descriptors back, and who gets them.

use std::fs;
use std::io;
use std::time::{Duration, Instant};

use standpipe_common::error::{Cannot, Result};

use super::Tailer;
use crate::budget;
use crate::events::Event;
use crate::follow::settings::Hints;
use crate::lines::SourceId;
use crate::output::Waits;
use crate::roster::Followed;
use crate::turns::{Stand, Turns};

/// Descriptors that a spool has at once: its directories, one that is listed, and a file.
const SPOOL_FILES: usize = 5;

/// A name for each descriptor that is open; from Linux 6.2 on its size says how many that are.
const OPEN_DIR: &str = "/proc/self/fd";

/// How often it is counted what is open, while that matters.
const COUNT_SPAN: Duration = Duration::from_secs(1);

impl Tailer {
    /// Counts what is open beside followed files, from what the kernel says, and with it what those may have. Pipes that
    /// are not open yet will be.
    pub(super) fn share_descriptors(&mut self, now: Instant) {
        self.count_at = now + COUNT_SPAN;
        let limit = self.descriptors.hard();
        // What was inherited with a number beyond the limit takes none.
        let counts = |entry: &fs::DirEntry| {
            let number = entry.file_name().to_string_lossy().parse::<u64>();
            number.is_ok_and(|number| number < limit)
        };
        let Ok(entries) = fs::read_dir(OPEN_DIR) else { return };
        // The one of the listing itself is closed with it.
        let all = entries.flatten().filter(counts).count().saturating_sub(1);
        let others = all.saturating_sub(self.open) + self.outputs.pipes_to_open();
        let before = std::mem::replace(&mut self.open_max, budget::for_files(limit, others));
        if self.open_max > before {
            self.open_starved = self.open_max;
        }
    }

    /// Counts again where files come near the limit. A list of ten thousand takes the kernel 8 ms: where it says that as
    /// many are open beside followed files as the last time, that one still holds.
    pub(super) fn recount_descriptors(&mut self, now: Instant) {
        let is_near = !self.turns.starved().is_empty() || self.open >= self.open_max / 2;
        if !is_near || self.count_at > now {
            return;
        }
        self.count_at = now + COUNT_SPAN;
        let all = fs::metadata(OPEN_DIR).map_or(0, |dir| dir.len() as usize);
        let others = (all > 0).then(|| all.saturating_sub(self.open));
        if others.is_none() || others != self.open_beside {
            self.open_beside = others;
            self.share_descriptors(now);
        }
    }

    /// Closes at least `needed` files of sources that were read to their ends, as far as there are such; they are
    /// opened again when they grow.
    pub(super) fn park(&mut self, needed: usize) {
        // Several at once: choosing goes over all sources.
        let needed = needed.max(self.open_max / 8);
        let candidate = |followed: &Followed| budget::Candidate {
            source: followed.source.id(),
            priority: followed.file.priority,
            last_growth: followed.source.last_growth(),
            open: followed.source.parkable(self.is_batch && may_break(&self.turns, followed)),
        };
        for id in budget::choose(self.roster.iter().map(candidate), needed) {
            let Some(followed) = self.roster.get(id) else { continue };
            followed.source.park(self.is_batch && may_break(&self.turns, followed));
            followed.recount(&mut self.open);
        }
    }

    /// Whether a look at a source has to wait until files are closed: it has none open and would open one. What is
    /// kept back for listings and checkpoints stays free where many files are new at once.
    pub(super) fn must_wait(&mut self, id: SourceId) -> bool {
        let (is_full, is_batch) = (self.open >= self.open_max, self.is_batch);
        let opens = |followed: &&mut Followed| followed.open == 0 && (is_batch || !followed.source.was_looked_at());
        let must_wait = is_full && self.roster.get(id).as_ref().is_some_and(opens);
        if must_wait {
            self.starve(id);
        }
        must_wait
    }

    /// Notes that a source waits for a descriptor.
    pub(super) fn starve(&mut self, id: SourceId) {
        if self.turns.starve(id) {
            self.open_starved = self.open;
        }
    }

    /// Gives descriptors to sources that could not open their files, the highest priority first.
    pub(super) fn feed_starved(&mut self) {
        self.has_fed = false;
        if self.spools.are_starved() {
            self.park(SPOOL_FILES);
        }
        let starved = self.turns.starved().len();
        if starved == 0 {
            return;
        }
        // Once it is known how many they are.
        if !self.intake.is_pressed && !std::mem::replace(&mut self.is_starving_said, true) {
            let name = self.first_starved();
            self.printer.print(&Event::Waiting { name, more: starved - 1 });
        }
        self.park(starved.min(self.open_max / 2));
        let free = self.open_starved.min(self.open_max).saturating_sub(self.open);
        let fed = free.min(self.turns.starved().len());
        let priority = |id: &SourceId| self.roster.get(*id).map_or(0, |followed| followed.file.priority);
        let fed = if fed > 0 { self.turns.take_starved(fed, priority) } else { Vec::new() };
        self.has_fed = !fed.is_empty();
        for id in fed {
            self.turns.hint(id, Hints { content: true, ..Hints::default() });
        }
    }

    /// What the first of those that wait for a descriptor is called.
    fn first_starved(&mut self) -> String {
        let first = self.turns.starved().first().and_then(|id| self.roster.get(id));
        first.map_or_else(String::new, |followed| followed.name.clone())
    }

    /// Whether any source waits for a descriptor, or for the look that it was just given one for.
    pub fn is_starved(&self) -> bool {
        !self.turns.starved().is_empty() || self.has_fed || self.spools.are_starved()
    }

    /// Fails where a batch would wait for ever: all wait for descriptors of others, and no file can be closed before
    /// it was read to its end. Packed files are such.
    pub(super) fn check_stuck(&self, now: Instant) -> Result<()> {
        let waits = |waits: &Waits| waits.until.is_some() || waits.writable.is_some();
        let is_stuck = self.is_batch
            && !self.turns.starved().is_empty()
            && !self.is_behind()
            && self.turns.next_due(now).is_none_or(|due| due > now)
            && !self.waits.iter().any(waits)
            && self.roster.iter().all(|followed| followed.source.parkable(may_break(&self.turns, followed)) == 0);
        let cause = || {
            format!(
                "{} of them are waiting for file descriptors; raise the limit on open files: `ulimit -n`, LimitNOFILE=",
                self.turns.starved().len()
            )
        };
        if is_stuck { Err(io::Error::other(cause())).cannot("read", "all files") } else { Ok(()) }
    }
}

/// Whether files may be closed that were not read to their ends, in a batch, where nobody writes to them: those of a
/// source that waits for room, or for another of its files.
fn may_break(turns: &Turns, followed: &Followed) -> bool {
    let id = followed.source.id();
    turns.stand(id) == Stand::WaitsForRoom || (turns.starved().has(id) && followed.source.is_shut())
}
