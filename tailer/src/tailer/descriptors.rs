//! More files than can be open at once: who gives descriptors back, and who gets them.

use std::cmp::Reverse;

use super::Tailer;
use crate::budget;
use crate::events::Event;
use crate::follow::settings::Hints;
use crate::lines::SourceId;
use crate::roster::Followed;

/// Descriptors that a spool has at once: its directories, one that is listed, and a file.
const SPOOL_FILES: usize = 5;

impl Tailer {
    /// Closes at least `needed` files of sources that were read to their ends, as far as there are such; they are
    /// opened again when they grow.
    pub(super) fn park(&mut self, needed: usize) {
        // Several at once: choosing goes over all sources.
        let needed = needed.max(self.open_max / 8);
        let candidate = |followed: &Followed| budget::Candidate {
            source: followed.source.id(),
            priority: followed.file.priority,
            last_growth: followed.source.last_growth(),
            open: followed.source.parkable(),
        };
        for id in budget::choose(self.roster.iter().map(candidate), needed) {
            let Some(followed) = self.roster.get(id) else { continue };
            followed.source.park();
            self.open = self.open + followed.source.descriptors_open() - followed.open;
            followed.open = followed.source.descriptors_open();
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
        let before = self.open;
        self.park(self.starved.len().min(self.open_max / 2));
        let freed = before - self.open;
        let fed = freed.min(self.starved.len());
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
}
