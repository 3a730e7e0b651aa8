//! All spools of the tailer.

use std::path::Path;
use std::time::{Duration, Instant};

use super::Spool;
use super::place::Neighbour;
use crate::events::Event;
use crate::identity::Origin;
use crate::lines::SourceId;
use crate::output::Delivered;
use crate::outputs::Outputs;
use crate::watch::{GlobId, Watch};

/// Most bytes of small files before it is another source's turn.
const TURN_BYTES: usize = 1 << 20;
/// Globs of the configuration are counted from 0; spools from here on.
const GLOBS_FROM: u32 = 1 << 31;

/// All of them, in the order of the configuration.
#[derive(Debug, Default)]
pub struct Spools {
    list: Vec<Spool>,
    /// Sources and spools begin in turn.
    is_first: bool,
    is_behind: bool,
}

impl Spools {
    /// Adds one.
    pub fn add(&mut self, spool: Spool) {
        self.is_first = true;
        self.list.push(spool);
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Spool> {
        self.list.iter()
    }

    /// Those that are not wanted any more begin no file.
    pub fn keep(&mut self, is_wanted: impl Fn(&Spool) -> bool) {
        self.list.iter_mut().filter(|spool| !is_wanted(spool)).for_each(Spool::leave);
    }

    /// Takes off those that nothing of is on its way any more. Which directories are free now.
    pub fn take_left(&mut self) -> Vec<Spool> {
        self.list.extract_if(.., |spool| spool.is_leaving() && spool.is_idle()).collect()
    }

    /// What those that left know of files that they could not remove goes to those that came in their places.
    pub fn inherit(&mut self, left: &mut [Spool]) {
        for old in left {
            let new = self.list.iter_mut().find(|spool| spool.config().dir == old.config().dir);
            if let Some(new) = new {
                new.inherit(old);
            }
        }
    }

    /// Where other sources live now, by the directory of each spool.
    pub fn set_neighbours(&mut self, of: impl Fn(&Path) -> Option<Vec<Neighbour>>) {
        for spool in &mut self.list {
            if let Some(neighbours) = of(&spool.config().dir) {
                spool.set_neighbours(neighbours);
            }
        }
    }

    /// Those that did not yet learn what their outputs know.
    pub fn take_up(&mut self, outputs: &mut Outputs) {
        for spool in self.list.iter_mut().filter(|spool| !spool.is_taken_up()) {
            spool.take_up(&outputs.positions_of(spool.output));
        }
    }

    /// The lives of files that outputs have to know; `None` if nobody knows which.
    pub fn origins(&self) -> Option<Vec<Origin>> {
        let are_known = self.list.iter().all(Spool::is_taken_up);
        are_known.then(|| self.list.iter().flat_map(Spool::origins).collect())
    }

    /// Names came to directories of these.
    pub fn hint(&mut self, globs: impl IntoIterator<Item = GlobId>) {
        for GlobId(glob) in globs {
            let id = glob.wrapping_sub(GLOBS_FROM);
            if let Some(spool) = self.list.iter_mut().find(|spool| spool.id() == SourceId(id)) {
                spool.hint();
            }
        }
    }

    /// Anything may have happened.
    pub fn hint_all(&mut self) {
        self.list.iter_mut().for_each(Spool::hint);
    }

    /// Looks at those that are due.
    pub fn look(&mut self, now: Instant, now_ns: i64, poll_interval: Duration, mut watch: Option<&mut Watch>) {
        for spool in &mut self.list {
            if spool.next_look(now).is_none_or(|at| at > now) {
                continue;
            }
            let glob = GlobId(GLOBS_FROM + spool.id().0);
            let is_watched = watch.as_mut().is_some_and(|watch| watch.add_directories(glob, &spool.directories()));
            spool.is_polled = !is_watched;
            spool.look(now, now_ns, poll_interval);
        }
    }

    /// Whether they are read before the other sources this time.
    pub fn take_turn(&mut self) -> bool {
        let is_inside = self.list.iter().any(Spool::is_inside);
        let is_first = is_inside || self.is_first;
        self.is_first = !self.is_first;
        is_first
    }

    /// Puts what there is and what there is room for.
    pub fn read(&mut self, outputs: &mut Outputs, buffer: &mut [u8], now_ns: i64) {
        // A file that was begun comes before all others of its output.
        let (inside, others): (Vec<_>, Vec<_>) = self.list.iter_mut().partition(|spool| spool.is_inside());
        for spool in inside.into_iter().chain(others) {
            if spool.is_taken_up() {
                spool.read(outputs.get_straight(spool.output), buffer, TURN_BYTES, now_ns);
            }
        }
    }

    /// Something is delivered. False: it is not of a spool.
    pub fn delivered(&mut self, delivered: Delivered) -> bool {
        let id = SourceId((delivered.generation.0 >> 32) as u32);
        let spool = self.list.iter_mut().find(|spool| spool.id() == id);
        spool.map(|spool| spool.delivered(delivered)).is_some()
    }

    /// Removes what is delivered, and tells outputs what they need not know of any more.
    pub fn remove_delivered(&mut self, outputs: &mut Outputs) {
        for spool in &mut self.list {
            // What a killed run left on its way counts as put, but is not delivered yet.
            if outputs.is_recovering(spool.output) {
                continue;
            }
            spool.remove_delivered();
            let gone = spool.take_gone();
            if !gone.is_empty() {
                outputs.forget(spool.output, &gone);
            }
        }
        // Now there may be room for what waits.
        self.is_behind =
            self.list.iter().any(|spool| spool.can_use(outputs.get_straight(spool.output).room(spool.id())));
    }

    /// Whether something waits for which there is room.
    pub fn is_behind(&self) -> bool {
        self.is_behind
    }

    /// When the next one is to be looked at.
    pub fn next_look(&self, now: Instant) -> Option<Instant> {
        self.list.iter().filter_map(|spool| spool.next_look(now)).min()
    }

    /// What happened since the last time.
    pub fn take_events(&mut self) -> Vec<Event> {
        self.list.iter_mut().flat_map(Spool::take_events).collect()
    }
}

/// Watches the directories of a spool no longer.
pub fn unwatch(watch: &mut Watch, spool: &Spool) {
    watch.add_directories(GlobId(GLOBS_FROM + spool.id().0), &[]);
}
