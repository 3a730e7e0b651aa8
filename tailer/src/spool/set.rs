//! All spools of the tailer.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use super::Spool;
use super::part::Hands;
use super::place::Neighbour;
use crate::events::Event;
use crate::identity::Origin;
use crate::lines::SourceId;
use crate::output::Delivered;
use crate::outputs::Outputs;
use crate::share::{Turn, Who};
use crate::watch::{GlobId, Watch};

/// Globs of the configuration are counted from 0; spools from here on.
const GLOBS_FROM: u32 = 1 << 31;

/// All of them, in the order of the configuration.
#[derive(Debug, Default)]
pub struct Spools {
    list: Vec<Spool>,
    is_behind: bool,
}

impl Spools {
    /// Adds one.
    pub fn add(&mut self, spool: Spool) {
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
    pub fn hint(&mut self, globs: &BTreeSet<GlobId>) {
        for GlobId(glob) in globs {
            let id = glob.wrapping_sub(GLOBS_FROM);
            if let Some(spool) = self.get(SourceId(id)) {
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
            let is_watched = watch.as_mut().is_some_and(|watch| watch.add_directories(glob, &spool.awaited()));
            spool.is_polled = !is_watched;
            spool.look(now, now_ns, poll_interval);
        }
    }

    /// Those that have something to be put, and are not kept by a limit.
    pub fn ready(&mut self, outputs: &mut Outputs, now: Instant) -> Vec<Turn> {
        let mut turns = Vec::new();
        for (index, spool) in self.list.iter().enumerate() {
            let output = spool.output;
            let is_resting = spool.rests_until(outputs.is_awaited(output), now).is_some();
            if !spool.has_work() || is_resting {
                continue;
            }
            turns.push(Turn {
                who: Who::Spool(index),
                output,
                priority: spool.config().priority,
                is_inside: spool.is_inside(),
                has_room: outputs.get_straight(output).room(spool.id()) > 0,
                fed_at: spool.fed_at,
            });
        }
        turns
    }

    /// What room there is for one.
    pub fn room(&self, index: usize, outputs: &mut Outputs) -> usize {
        let spool = &self.list[index];
        outputs.get_straight(spool.output).room(spool.id())
    }

    /// Puts what there is of one, at most so many bytes of small files.
    pub fn read(&mut self, index: usize, share: usize, outputs: &mut Outputs, buffer: &mut [u8], at: (Instant, i64)) {
        let spool = &mut self.list[index];
        let is_awaited = outputs.is_awaited(spool.output);
        let output = outputs.get_straight(spool.output);
        let (bytes_max, (now, now_ns)) = (share, at);
        let room = output.room(spool.id());
        spool.read(&mut Hands { output, is_awaited, buffer, bytes_max, now, now_ns });
        if output.room(spool.id()) != room {
            spool.fed_at = Some(now);
        }
    }

    /// Something is delivered. False: it is not of a spool.
    pub fn delivered(&mut self, delivered: Delivered) -> bool {
        let id = SourceId((delivered.generation.0 >> 32) as u32);
        self.get(id).map(|spool| spool.delivered(delivered)).is_some()
    }

    /// Removes what is delivered, and tells outputs what they need not know of any more.
    pub fn remove_delivered(&mut self, outputs: &mut Outputs, now: Instant) {
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
        self.is_behind = self.list.iter().any(|spool| {
            let is_resting = spool.rests_until(outputs.is_awaited(spool.output), now).is_some();
            !is_resting && spool.can_use(outputs.get_straight(spool.output).room(spool.id()))
        });
    }

    /// Whether something waits for which there is room.
    pub fn is_behind(&self) -> bool {
        self.is_behind
    }

    /// When the next one is to be looked at, or goes on after its limit kept it.
    pub fn due(&self, now: Instant) -> Option<Instant> {
        self.list.iter().flat_map(|spool| [spool.next_look(now), spool.rest_end()]).flatten().min()
    }

    /// Whether a file that was begun keeps others from this output.
    pub fn hold(&self, output: usize) -> bool {
        self.list.iter().any(|spool| spool.output == output && spool.is_inside())
    }

    /// Whether anything waits in any of them.
    pub fn have_work(&self) -> bool {
        self.list.iter().any(Spool::has_work)
    }

    /// Whether one could not open a file for want of descriptors.
    pub fn are_starved(&self) -> bool {
        self.list.iter().any(|spool| spool.is_starved)
    }

    /// The one of this number.
    pub fn get(&mut self, id: SourceId) -> Option<&mut Spool> {
        self.list.iter_mut().find(|spool| spool.id() == id)
    }

    /// Those to which something happened since this was asked last.
    pub fn take_changed(&mut self) -> Vec<SourceId> {
        self.list.iter_mut().filter_map(|spool| spool.take_changed().then_some(spool.id())).collect()
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
