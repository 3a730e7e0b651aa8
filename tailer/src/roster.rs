//! The followed sources, and when each of them is due for a look or a read.
//!
//! Deliberately without a system call of its own: whoever runs the loop looks, reads, and says so here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::config::FileConfig;
use crate::fair::Fair;
use crate::follow::settings::Hints;
use crate::identity::Identity;
use crate::lines::{GenerationId, SourceId};
use crate::rate::Throttle;
use crate::siblings::Siblings;
use crate::source::Source;
use crate::spacing::Spacing;
use crate::status::format::Counts;
use crate::unwrap::Unwrapper;

/// How often everything is looked at although nothing tells of a change.
pub const RECONCILE_SPAN: Duration = Duration::from_secs(5);

/// A source at work.
#[derive(Debug)]
pub struct Followed {
    /// It.
    pub source: Source,
    /// What it is called.
    pub name: String,
    /// By which entry of the configuration it is followed.
    pub entry: usize,
    /// What that says of it.
    pub file: FileConfig,
    /// Where its rotated generations are looked for.
    pub siblings: Siblings,
    /// Where files of it are besides: they were found under a glob, where other files are sources.
    pub also: BTreeSet<PathBuf>,
    /// How much was known of the beginning of its file when that was entered among those of all.
    pub head_level: usize,
    /// Which output takes its lines.
    pub output: usize,
    /// Which is to take them once the other one has delivered.
    pub next_output: usize,
    /// The configuration names it no longer: what is on its way is delivered, and nothing more is read.
    pub is_leaving: bool,
    /// Nothing tells of its changes.
    pub is_polled: bool,
    /// Generations whose files are watched.
    pub watched: BTreeSet<GenerationId>,
    /// What it followed under its live name when it was last looked at.
    pub live: Option<Identity>,
    /// How many files it had open then.
    pub open: usize,
    /// It is on the list of those that wait for room in its output.
    pub is_waiting: bool,
    /// It waits for a descriptor.
    pub is_starved: bool,
    /// When bytes of it were taken last.
    pub fed_at: Option<Instant>,
    /// Since when bytes of it wait, ns since the epoch, as the status file knows it.
    pub behind_ns: Option<i64>,
    /// Since when its output took nothing of what it has.
    pub blocked_ns: Option<i64>,
    /// What happened to it in this run.
    pub counts: Counts,
    /// How fast it may be read. `None`: as fast as it can be.
    pub throttle: Option<Throttle>,
    /// From records of its file to lines.
    pub unwrapper: Unwrapper,
    /// It was told that its text cannot be read.
    pub is_utf16_said: bool,
    /// It was told that its file ends in zeros.
    pub is_blank_said: bool,
    /// What is said of it, and how often.
    pub spacing: Spacing,
    /// What it held at first sight was skipped, for it was too old.
    pub was_too_old: bool,
    hints: Hints,
    next_look: Option<Instant>,
}

impl Followed {
    /// Counts its open files again, and with them those of all.
    pub fn recount(&mut self, all: &mut usize) {
        *all = *all + self.source.descriptors_open() - self.open;
        self.open = self.source.descriptors_open();
    }

    /// One that was not looked at yet.
    pub fn new(
        source: Source,
        name: String,
        (entry, file): (usize, FileConfig),
        siblings: Siblings,
        output: usize,
    ) -> Followed {
        Followed {
            entry,
            unwrapper: Unwrapper::new(file.format),
            is_utf16_said: false,
            is_blank_said: false,
            source,
            name,
            file,
            siblings,
            also: BTreeSet::new(),
            head_level: 0,
            output,
            next_output: output,
            is_leaving: false,
            is_polled: true,
            watched: BTreeSet::new(),
            live: None,
            open: 0,
            is_waiting: false,
            is_starved: false,
            fed_at: None,
            behind_ns: None,
            blocked_ns: None,
            counts: Counts::default(),
            throttle: None,
            spacing: Spacing::default(),
            was_too_old: false,
            hints: Hints { names: true, ..Hints::default() },
            next_look: None,
        }
    }

    /// Whether all that was read of it is delivered, but for pieces of a line whose end is not there.
    pub fn is_delivered(&self) -> bool {
        self.source.generations().all(|generation| {
            let is_held = |from| generation.cursor.delivered() >= from;
            generation.is_delivered() || self.unwrapper.held_from(generation.id).is_some_and(is_held)
        })
    }

    /// Is limited from now on as its entry says. A batch has no limits: nothing else is there to be spared.
    pub fn limit(&mut self, is_batch: bool, now: Instant) {
        let rate = self.file.rate_limit.filter(|_| !is_batch);
        if self.throttle.as_ref().map(Throttle::rate) != rate {
            self.throttle = rate.map(|rate| Throttle::new(rate, now));
        }
    }

    /// How long after a look the next one is due without a hint. None may come of what is written over zeros.
    pub fn interval(&self, poll_interval: Duration) -> Duration {
        if self.is_polled || self.source.blank_bytes() > 0 { poll_interval } else { RECONCILE_SPAN }
    }

    /// What it was told since the last look.
    pub fn take_hints(&mut self) -> Hints {
        std::mem::take(&mut self.hints)
    }
}

/// All of them.
#[derive(Debug, Default)]
pub struct Roster {
    /// In boxes: half of what the map has room for may be empty.
    followed: BTreeMap<SourceId, Box<Followed>>,
    agenda: BTreeSet<(Instant, SourceId)>,
    /// To be looked at.
    due: Fair,
    /// To be read, in turn.
    ready: Fair,
    /// Something happened to them since it was last asked who these are.
    touched: BTreeSet<SourceId>,
    /// Kept by their limits until then.
    rested: BTreeSet<(Instant, SourceId)>,
    made: u32,
}

impl Roster {
    /// A name for the next source.
    pub fn next_id(&mut self) -> SourceId {
        self.made += 1;
        SourceId(self.made - 1)
    }

    /// Adds one, due at once.
    pub fn add(&mut self, followed: Followed) {
        let id = followed.source.id();
        self.due.push(followed.entry, id);
        self.touch(id);
        self.followed.insert(id, Box::new(followed));
    }

    /// Takes one off.
    pub fn remove(&mut self, id: SourceId) -> Option<Box<Followed>> {
        let followed = self.followed.remove(&id)?;
        if let Some(at) = followed.next_look {
            self.agenda.remove(&(at, id));
        }
        Some(followed)
    }

    /// One of them.
    pub fn get(&mut self, id: SourceId) -> Option<&mut Followed> {
        self.followed.get_mut(&id).map(Box::as_mut)
    }

    /// All of them, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = &Followed> {
        self.followed.values().map(Box::as_ref)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.followed.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.followed.is_empty()
    }

    /// Which there are.
    pub fn ids(&self) -> Vec<SourceId> {
        self.followed.keys().copied().collect()
    }

    /// It may have something else to remember than before.
    pub fn touch(&mut self, id: SourceId) {
        self.touched.insert(id);
    }

    /// All may have.
    pub fn touch_all(&mut self) {
        self.touched.extend(self.followed.keys());
    }

    /// Those that may, once.
    pub fn take_touched(&mut self) -> impl Iterator<Item = &Followed> {
        let touched = std::mem::take(&mut self.touched);
        touched.into_iter().filter_map(|id| self.followed.get(&id)).map(Box::as_ref)
    }

    /// Something tells that it is due for a look.
    pub fn hint(&mut self, id: SourceId, hints: Hints) {
        let Some(followed) = self.followed.get_mut(&id) else { return };
        followed.hints.names |= hints.names;
        followed.hints.content |= hints.content;
        self.due.push(followed.entry, id);
    }

    /// Something tells that all are due for a look.
    pub fn hint_all(&mut self, hints: Hints) {
        for id in self.ids() {
            self.hint(id, hints);
        }
    }

    /// It is due for a look at this moment at the latest, if no hint comes before.
    pub fn look_at(&mut self, id: SourceId, at: Instant) {
        let Some(followed) = self.followed.get_mut(&id) else { return };
        if let Some(before) = followed.next_look.replace(at) {
            self.agenda.remove(&(before, id));
        }
        self.agenda.insert((at, id));
    }

    /// Those whose time has come are due for a look, as long as no more than so many are.
    pub fn wake_due(&mut self, now: Instant, max: usize) {
        while self.due.len() < max
            && let Some((at, id)) = self.agenda.first().copied().filter(|(at, _)| *at <= now)
        {
            self.agenda.remove(&(at, id));
            if let Some(followed) = self.followed.get_mut(&id) {
                followed.next_look = None;
                self.due.push(followed.entry, id);
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

    /// When the next one is due. `None`: never.
    pub fn next_due(&self, now: Instant) -> Option<Instant> {
        if !self.due.is_empty() {
            return Some(now);
        }
        self.agenda.first().into_iter().chain(self.rested.first()).map(|(at, _)| *at).min()
    }

    /// It may have something to read.
    pub fn make_ready(&mut self, id: SourceId) {
        if let Some(followed) = self.followed.get(&id) {
            self.ready.push(followed.entry, id);
        }
    }

    /// Its limit lets it be read again then.
    pub fn rest(&mut self, id: SourceId, until: Instant) {
        self.rested.insert((until, id));
    }

    /// Those whose limits let them be read again are ready.
    pub fn wake_rested(&mut self, now: Instant) {
        while let Some((_, id)) = self.rested.first().copied().filter(|(until, _)| *until <= now) {
            self.rested.pop_first();
            self.make_ready(id);
        }
    }

    /// Whether a limit keeps anything from being read.
    pub fn has_rested(&self) -> bool {
        !self.rested.is_empty()
    }

    /// When the first of those that a limit keeps goes on.
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
        let next = || if is_pressed { self.ready.pop_fair() } else { self.ready.pop_first() };
        std::iter::from_fn(next).take(max).collect()
    }
}
