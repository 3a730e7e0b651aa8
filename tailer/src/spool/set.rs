//! All spools of the tailer.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use super::Spool;
use super::place::Neighbour;
use crate::events::Event;
use crate::file::identity::Origin;
use crate::names::watch::{Waiter, Watch};
use crate::out::lines::SourceId;
use crate::out::output::Delivered;
use crate::out::outputs::Outputs;
use crate::turns::Turns;
use crate::turns::share::Turn;

/// All of them, in the order of the configuration.
#[derive(Debug, Default)]
pub struct Spools {
    list: Vec<Spool>,
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
            spool.take_up(&outputs.positions_of(spool.output()));
        }
    }

    /// The lives of files that outputs have to know; `None` if nobody knows which.
    pub fn origins(&self) -> Option<Vec<Origin>> {
        let are_known = self.list.iter().all(Spool::is_taken_up);
        are_known.then(|| self.list.iter().flat_map(Spool::origins).collect())
    }

    /// Names came to directories of these.
    pub fn hint(&mut self, spools: &BTreeSet<SourceId>) {
        self.list.iter_mut().filter(|spool| spools.contains(&spool.id())).for_each(Spool::hint);
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
            let waiter = Waiter::Spool(spool.id());
            let is_watched = watch.as_mut().is_some_and(|watch| watch.add_directories(waiter, &spool.awaited()));
            spool.set_watched(is_watched);
            spool.look(now, now_ns, poll_interval);
        }
    }

    /// Says whose turn it may be, with the room that there is now.
    pub fn settle(&self, turns: &mut Turns, outputs: &mut Outputs, now: Instant) {
        for spool in &self.list {
            let is_awaited = outputs.is_ordered(spool.output()) || turns.is_wanted(spool.output());
            let room = outputs.get_straight(spool.output()).room(spool.id());
            turns.set(spool.id(), spool.stand(is_awaited, room, now));
        }
    }

    /// What one has in a round in which it is read. `None`: it is no spool.
    pub fn turn(&self, id: SourceId, outputs: &mut Outputs) -> Option<Turn> {
        let spool = self.list.iter().find(|spool| spool.id() == id)?;
        let has_room = outputs.get_straight(spool.output()).room(id) > 0;
        let (priority, is_inside, fed_at) = (spool.config().priority, spool.is_inside(), spool.fed_at());
        Some(Turn { id, output: spool.output(), priority, is_inside, has_room, fed_at })
    }

    /// Something is delivered. False: it is not of a spool.
    pub fn delivered(&mut self, delivered: Delivered) -> bool {
        self.get(delivered.generation.source()).map(|spool| spool.delivered(delivered)).is_some()
    }

    /// Removes what is delivered, and tells outputs what they need not know of any more.
    pub fn remove_delivered(&mut self, outputs: &mut Outputs) {
        for spool in &mut self.list {
            // What a killed run left on its way counts as put, but is not delivered yet.
            if outputs.is_recovering(spool.output()) {
                continue;
            }
            spool.remove_delivered();
            let gone = spool.take_gone();
            if !gone.is_empty() {
                outputs.forget(spool.output(), &gone);
            }
        }
    }

    /// When the next one is to be looked at.
    pub fn due(&self, now: Instant) -> Option<Instant> {
        self.list.iter().filter_map(|spool| spool.next_look(now)).min()
    }

    /// Whether a file that was begun keeps others from this output.
    pub fn hold(&self, output: usize) -> bool {
        self.list.iter().any(|spool| spool.output() == output && spool.is_inside())
    }

    /// Whether one could not open a file for want of descriptors.
    pub fn are_starved(&self) -> bool {
        self.list.iter().any(Spool::is_starved)
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
    watch.add_directories(Waiter::Spool(spool.id()), &[]);
}
