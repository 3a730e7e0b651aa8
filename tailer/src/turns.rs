//! Whose turn it is: one entry for each log and each spool. Deliberately without a system call or a clock of its own:
//! whoever runs the loop looks, reads, and says here what came of it.
//!
//! Whether something of an entry is read next is its [`Stand`], and each stand but the first and the last is a list:
//!
//! | stand | how it comes there | until |
//! |---|---|---|
//! | `Idle` | it was taken to be read, and left nothing that can be | a look, or an end of what it waits for |
//! | `Ready` | it was looked at, has more, or what kept it is over | it is taken in its turn |
//! | `WaitsForRoom` | its output has too little | that has more |
//! | `Rests` | its limit | that is over |
//! | `Leaving` | the configuration names it no longer | it does again, or all is delivered |
//!
//! Beside that a log may be due for a look, and may *starve*: wait for a descriptor. Both concern files that it is to
//! open; it is read all the same, for it may have others open.

pub mod budget;
pub mod fair;
pub mod intake;
pub mod meter;
pub mod rate;
pub mod roster;
pub mod share;
pub mod slices;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use crate::log::settings::Hints;
use crate::out::lines::SourceId;
use crate::out::output::Output;
use crate::turns::fair::{Fair, Group};
use crate::turns::share::{Lots, Turn};

/// Whether something of a log or a spool is read next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stand {
    /// Nothing, as far as is known.
    Idle,
    /// Something may be.
    Ready,
    /// Its output has not enough room.
    WaitsForRoom,
    /// Its limit lets it be read then.
    Rests(Instant),
    /// What is on its way is delivered, and nothing more is read.
    Leaving,
}

/// A log with lines for which its output has not enough room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// For which output it waits.
    pub output: usize,
    /// The highest is served first.
    pub priority: i32,
    /// When some of its lines were taken last: it comes after those of its priority that have waited longer.
    pub fed_at: Option<Instant>,
    /// The room that was not enough.
    pub room: usize,
}

impl Waiting {
    /// Whether that output has more room for it.
    pub fn is_over(&self, source: SourceId, output: &dyn Output) -> bool {
        let room = output.room(source);
        room > self.room || (room > 0 && output.is_room_final(source))
    }
}

#[derive(Debug)]
struct Member {
    group: Group,
    stand: Stand,
    /// What it was told since the last look.
    hints: Hints,
    next_look: Option<Instant>,
}

impl Member {
    fn hint(&mut self, hints: Hints) {
        self.hints.names |= hints.names;
        self.hints.content |= hints.content;
    }
}

/// All of them.
#[derive(Debug, Default)]
pub struct Turns {
    entries: BTreeMap<SourceId, Member>,
    /// When they are to be looked at without a hint.
    agenda: BTreeSet<(Instant, SourceId)>,
    /// To be looked at.
    due: Fair,
    /// To be read.
    ready: Fair,
    rested: BTreeSet<(Instant, SourceId)>,
    /// Logs that wait for room.
    waiting: BTreeMap<SourceId, Waiting>,
    /// Outputs for which one of these has bytes that were seen.
    wanted: BTreeSet<usize>,
    starved: Fair,
    lots: Lots,
}

impl Turns {
    /// Puts those of a round in the order in which they are read.
    pub fn order(&mut self, turns: &mut [Turn]) {
        self.lots.order(turns);
    }

    /// Has one more.
    pub fn add(&mut self, id: SourceId, group: Group) {
        self.entries.insert(id, Member { group, stand: Stand::Idle, hints: Hints::default(), next_look: None });
    }

    /// Has it no longer.
    pub fn remove(&mut self, id: SourceId) {
        self.set(id, Stand::Idle);
        self.starved.remove(id);
        self.due.remove(id);
        if let Some(at) = self.entries.remove(&id).and_then(|entry| entry.next_look) {
            self.agenda.remove(&(at, id));
        }
    }

    /// It belongs to this group from now on.
    pub fn regroup(&mut self, id: SourceId, group: Group) {
        self.entries.entry(id).and_modify(|entry| entry.group = group);
    }

    /// How it stands.
    pub fn stand(&self, id: SourceId) -> Stand {
        self.entries.get(&id).map_or(Stand::Idle, |entry| entry.stand)
    }

    /// It stands so from now on, and is on the list of that.
    pub fn set(&mut self, id: SourceId, stand: Stand) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        match std::mem::replace(&mut entry.stand, stand) {
            Stand::Ready if stand != Stand::Ready => _ = self.ready.remove(id),
            Stand::Rests(until) => _ = self.rested.remove(&(until, id)),
            Stand::WaitsForRoom => _ = self.waiting.remove(&id),
            Stand::Ready | Stand::Idle | Stand::Leaving => {}
        }
        match stand {
            Stand::Ready => self.ready.push(entry.group, id),
            Stand::Rests(until) => _ = self.rested.insert((until, id)),
            Stand::WaitsForRoom | Stand::Idle | Stand::Leaving => {}
        }
        debug_assert_eq!(self.ready.has(id), stand == Stand::Ready);
    }

    /// It may have something to read.
    pub fn make_ready(&mut self, id: SourceId) {
        if self.stand(id) != Stand::Leaving {
            self.set(id, Stand::Ready);
        }
    }

    /// A log has more than there is room for.
    pub fn wait_for_room(&mut self, id: SourceId, waiting: Waiting) {
        self.set(id, Stand::WaitsForRoom);
        let before = self.waiting.insert(id, waiting);
        debug_assert!(before.is_none(), "who waits is on the list once");
    }

    /// Nothing more is read of a log.
    pub fn leave(&mut self, id: SourceId) {
        self.set(id, Stand::Leaving);
        self.starved.remove(id);
    }

    /// It is read again. Whether it was leaving.
    pub fn come_back(&mut self, id: SourceId) -> bool {
        let was_leaving = self.stand(id) == Stand::Leaving;
        if was_leaving {
            self.set(id, Stand::Idle);
        }
        was_leaving
    }

    /// Something tells that it is due for a look.
    pub fn hint(&mut self, id: SourceId, hints: Hints) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        entry.hint(hints);
        self.due.push(entry.group, id);
    }

    /// Something tells that all logs are.
    pub fn hint_logs(&mut self, hints: Hints) {
        let logs = self.entries.iter_mut().filter(|(_, entry)| matches!(entry.group, Group::Files(_)));
        for (id, entry) in logs {
            entry.hint(hints);
            self.due.push(entry.group, *id);
        }
    }

    /// What it was told since the last look.
    pub fn take_hints(&mut self, id: SourceId) -> Hints {
        self.entries.get_mut(&id).map_or_else(Hints::default, |entry| std::mem::take(&mut entry.hints))
    }

    /// It is due for a look at this moment at the latest, if no hint comes before.
    pub fn look_at(&mut self, id: SourceId, at: Instant) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        if let Some(before) = entry.next_look.replace(at) {
            self.agenda.remove(&(before, id));
        }
        self.agenda.insert((at, id));
        debug_assert!(self.agenda.len() <= self.entries.len());
    }

    /// Those whose time has come are due for a look, as long as no more than so many are.
    pub fn wake_due(&mut self, now: Instant, max: usize) {
        while self.due.len() < max
            && let Some((at, id)) = self.agenda.first().copied().filter(|(at, _)| *at <= now)
        {
            self.agenda.remove(&(at, id));
            if let Some(entry) = self.entries.get_mut(&id) {
                entry.next_look = None;
                self.due.push(entry.group, id);
            }
        }
    }

    /// Who is looked at next; it is due no longer. `is_pressed`: not all are in this round.
    pub fn take_due(&mut self, is_pressed: bool) -> Option<SourceId> {
        if is_pressed { self.due.pop_fair() } else { self.due.pop_oldest() }
    }

    /// How many are due for a look.
    pub fn due_count(&self) -> usize {
        self.due.len()
    }

    /// When the next one is due for a look, or rests no longer. `None`: never.
    pub fn next_due(&self, now: Instant) -> Option<Instant> {
        if !self.due.is_empty() {
            return Some(now);
        }
        self.agenda.first().into_iter().chain(self.rested.first()).map(|(at, _)| *at).min()
    }

    /// Those whose limits let them be read again are ready.
    pub fn wake_rested(&mut self, now: Instant) {
        while let Some((_, id)) = self.rested.first().copied().filter(|(until, _)| *until <= now) {
            self.set(id, Stand::Ready);
        }
    }

    /// When the first of those that a limit keeps goes on. `None`: a limit keeps nobody.
    pub fn rest_end(&self) -> Option<Instant> {
        self.rested.first().map(|(until, _)| *until)
    }

    /// How many are to be read.
    pub fn ready_count(&self) -> usize {
        self.ready.len()
    }

    /// Those that are to be read next, at most so many.
    pub fn take_ready(&mut self, max: usize) -> Vec<SourceId> {
        let is_pressed = self.ready.len() > max;
        let next = || {
            let id = if is_pressed { self.ready.pop_fair() } else { self.ready.pop_first() }?;
            self.entries.entry(id).and_modify(|entry| entry.stand = Stand::Idle);
            Some(id)
        };
        std::iter::from_fn(next).take(max).collect()
    }

    /// Those for whom their outputs have more room are ready: the highest priority first.
    pub fn rouse(&mut self, mut is_over: impl FnMut(SourceId, &Waiting) -> bool) -> Vec<SourceId> {
        let over = self.waiting.iter().filter(|(id, waiting)| is_over(**id, waiting));
        let mut over: Vec<_> = over.map(|(id, waiting)| (*id, *waiting)).collect();
        over.sort_by_key(|(_, waiting)| (waiting.output, Reverse(waiting.priority), waiting.fed_at));
        for (id, _) in &over {
            self.set(*id, Stand::Ready);
        }
        let is_awaited = |output: &usize| self.waiting.values().any(|waiting| waiting.output == *output);
        self.wanted.retain(is_awaited);
        over.into_iter().map(|(id, _)| id).collect()
    }

    /// Whether a log waits for room.
    pub fn is_any_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// A log has bytes for this output, which has no room for any.
    pub fn want(&mut self, output: usize) {
        self.wanted.insert(output);
    }

    /// Whether that is so, and it waits.
    pub fn is_wanted(&self, output: usize) -> bool {
        self.wanted.contains(&output)
    }

    /// A log waits for a descriptor. Whether it did not already.
    pub fn starve(&mut self, id: SourceId) -> bool {
        let Some(entry) = self.entries.get(&id).filter(|_| !self.starved.has(id)) else { return false };
        self.starved.push(entry.group, id);
        true
    }

    /// It waits for none any more.
    pub fn sate(&mut self, id: SourceId) {
        self.starved.remove(id);
    }

    /// Those that wait for one.
    pub fn starved(&self) -> &Fair {
        &self.starved
    }

    /// So many of them wait no longer: those of the highest priority, and of these who has waited longest.
    pub fn take_starved(&mut self, count: usize, mut priority: impl FnMut(&SourceId) -> i32) -> Vec<SourceId> {
        let mut all: Vec<SourceId> = self.starved.iter().collect();
        all.sort_by_cached_key(|id| Reverse(priority(id)));
        all.truncate(count);
        for id in &all {
            self.sate(*id);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const ALL: [u32; 4] = [0, 1, 2, 3];

    fn turns() -> Turns {
        let mut turns = Turns::default();
        for id in ALL {
            turns.add(SourceId(id), Group::Files(0));
        }
        turns
    }

    /// What is done, how an entry stands then, and on which lists it is.
    type Step<'a> = (&'a dyn Fn(&mut Turns), Stand, [bool; 3]);

    /// On which lists it is.
    fn lists(turns: &Turns, id: SourceId) -> [bool; 3] {
        let is_resting = turns.rested.iter().any(|(_, other)| *other == id);
        [turns.ready.has(id), turns.waiting.contains_key(&id), is_resting]
    }

    #[test]
    fn whoever_stands_somewhere_is_on_the_list_of_that_and_on_no_other() {
        let (mut turns, now, id) = (turns(), Instant::now(), SourceId(1));
        let waiting = Waiting { output: 0, priority: 0, fed_at: None, room: 0 };
        let ready: Step<'_> = (&|turns| turns.make_ready(id), Stand::Ready, [true, false, false]);
        let waits: Step<'_> = (&|turns| turns.wait_for_room(id, waiting), Stand::WaitsForRoom, [false, true, false]);
        let rests: Step<'_> = (&|turns| turns.set(id, Stand::Rests(now)), Stand::Rests(now), [false, false, true]);
        let idle: Step<'_> = (&|turns| turns.set(id, Stand::Idle), Stand::Idle, [false; 3]);
        let leaves: Step<'_> = (&|turns| turns.leave(id), Stand::Leaving, [false; 3]);
        let all = [ready, waits, rests, idle, leaves];
        for (before, ..) in all {
            for (step, stand, is_on) in all {
                turns.set(id, Stand::Idle);
                before(&mut turns);
                turns.come_back(id);
                step(&mut turns);
                assert_eq!((turns.stand(id), lists(&turns, id)), (stand, is_on));
            }
        }
        turns.leave(id);
        turns.make_ready(id);
        assert_eq!(turns.stand(id), Stand::Leaving, "it is read no more, whatever happens");
        turns.remove(id);
        assert_eq!(turns.entries.len(), ALL.len() - 1);
    }

    #[test]
    fn those_for_whom_there_is_room_go_on_by_priority_and_then_by_how_long_they_waited() {
        let (mut turns, now) = (turns(), Instant::now());
        let later = now + Duration::from_secs(1);
        for (id, (priority, fed_at)) in (0..).zip([(0, Some(now)), (0, None), (1, Some(later)), (0, Some(now))]) {
            turns.wait_for_room(SourceId(id), Waiting { output: 7, priority, fed_at, room: 0 });
        }
        turns.want(7);
        let roused = turns.rouse(|id, _| id != SourceId(3));
        assert_eq!(roused, [2, 1, 0].map(SourceId));
        assert!(turns.is_wanted(7) && turns.is_any_waiting());
        assert_eq!(turns.take_ready(9), roused, "in that order");
        turns.rouse(|_, _| true);
        assert!(!turns.is_wanted(7) && !turns.is_any_waiting());
    }

    #[test]
    fn who_waits_for_a_descriptor_is_read_all_the_same_and_the_highest_priority_gets_one_first() {
        let mut turns = turns();
        for id in [3, 1, 2] {
            assert!(turns.starve(SourceId(id)) && !turns.starve(SourceId(id)));
        }
        turns.make_ready(SourceId(3));
        assert_eq!(turns.take_starved(2, |id| i32::from(id.0 == 2)), [2, 3].map(SourceId));
        assert_eq!((turns.starved().first(), turns.starved().len()), (Some(SourceId(1)), 1));
        assert_eq!(turns.take_ready(1), [SourceId(3)]);
        turns.leave(SourceId(1));
        assert!(turns.starved().is_empty());
    }
}
