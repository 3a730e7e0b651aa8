//! A source: one log with all its generations, oldest first, the one with the live name last.
//!
//! A look finds out what there is and changes the list of generations; a read gives bytes of those that are known. So
//! whoever keeps a checkpoint can write a changed list down before bytes of it are on their way. Time and hints come in
//! as arguments; nothing here waits.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use crate::checkpoint::state::{DoneState, GenerationState, SourceState};
use crate::file::identity::{Identity, Origin};
use crate::file::open::Stamp;
use crate::log::agenda::Agenda;
use crate::log::chain::Chain;
use crate::log::copies::TornCopy;
use crate::log::done::Done;
use crate::log::drain::{Outcome, drain};
use crate::log::finish::judge;
use crate::log::generation::Generation;
use crate::log::happening::Happening;
use crate::log::life::Phase;
use crate::log::live_name::LiveName;
use crate::log::reading::Hands;
use crate::log::replaced::Before;
use crate::log::settings::{Hints, Settings, Surroundings};
use crate::log::walk::Walks;
use crate::names::siblings::Unlisted;
use crate::out::lines::{GenerationId, SourceId};
use crate::out::output::{Output, Standing};

/// One followed log.
#[derive(Debug)]
pub struct Source {
    pub(crate) id: SourceId,
    pub(crate) name: LiveName,
    pub(crate) settings: Arc<Settings>,
    pub(crate) chain: Chain,
    pub(crate) done: Done,
    /// What was delivered last, until it is decided whether the live file holds it again.
    pub(crate) before: Option<Before>,
    /// Packed files that end too early: they may still be written.
    pub(crate) torn: Vec<TornCopy>,
    /// Packed files that are gone through.
    pub(crate) walks: Walks,
    /// The directory of which it was said that it cannot be listed.
    pub(crate) unlisted: Option<Unlisted>,
    /// Files of which it was said that they cannot be read.
    pub(crate) told: HashSet<Identity>,
    pub(crate) agenda: Agenda,
    pub(crate) happenings: Vec<Happening>,
}

impl Source {
    /// A source that is followed for the first time.
    pub fn new(id: SourceId, path: PathBuf, settings: Arc<Settings>) -> Source {
        Source {
            id,
            name: LiveName::new(path),
            done: Done::new(Vec::new(), settings.since_ns),
            settings,
            chain: Chain::new(id),
            before: None,
            torn: Vec::new(),
            walks: Walks::default(),
            unlisted: None,
            told: HashSet::new(),
            agenda: Agenda::default(),
            happenings: Vec::new(),
        }
    }

    /// A source that a checkpoint knows.
    pub fn restore(id: SourceId, state: SourceState, settings: Arc<Settings>) -> Source {
        let mut source = Source::new(id, state.path.clone(), settings);
        source.done = Done::new(state.done.clone(), state.since_ns);
        source.agenda = Agenda::restore(state);
        source
    }

    /// Which one.
    pub fn id(&self) -> SourceId {
        self.id
    }

    /// The path that is followed.
    pub fn path(&self) -> &Path {
        self.name.path()
    }

    /// Other settings from now on.
    pub fn set_settings(&mut self, settings: Arc<Settings>) {
        self.settings = settings;
    }

    /// Whether one glance at the path tells that all is as it was: the only generation, read to its end, has the live
    /// name and did not change. So an idle file costs one system call, and not a look.
    pub fn is_unchanged(&self) -> bool {
        let is_settled = self.agenda.is_clear() && self.chain.len() == 1;
        let is_kept_back = |live: &Generation| live.twin.as_ref().is_some_and(|twin| !twin.is_said);
        let is_settled = is_settled && self.before.is_none() && !self.live().is_some_and(is_kept_back);
        let Some(live) = self.live().filter(|live| is_settled && live.is_at_rest()) else { return false };
        let Ok(metadata) = fs::symlink_metadata(self.name.path()) else { return false };
        let is_same = Identity::from(&metadata) == live.inode && live.at_end == Some(Stamp::from(&metadata));
        metadata.is_file() && is_same && !live.is_written_over() && !self.done.has_grown()
    }

    /// A writer closed the file of a generation.
    pub fn closed(&mut self, generation: GenerationId, now: Instant) {
        if let Some(generation) = self.chain.by_id(generation) {
            generation.closed = Some(now);
            (generation.asked.times, generation.asked.next) = (0, None);
            generation.at_end = None;
        }
    }

    /// Finds out what there is. Gives no bytes.
    pub fn look(&mut self, now: Instant, hints: Hints, around: &mut dyn Surroundings) {
        for generation in self.chain.iter_mut() {
            if hints.content {
                generation.at_end = None;
                generation.try_again(now);
            }
        }
        let (task, mut lists) = self.agenda.begin_look(hints.names, now);
        let is_new = task.is_first && task.restored.is_none();
        // That nothing was there is to be known too: what comes and is rotated before the next run is of our time.
        if is_new {
            self.done.begin_empty();
        }
        if let Some(state) = &task.restored {
            self.take_up(state, now, around);
        }
        lists |= self.done.has_grown();
        lists |= self.look_at_name(is_new, now, around);
        // What was kept back and has another name is judged under that.
        self.chain.drop_kept_back();
        // What it had before was copied before that: the copies are found now, and come first.
        lists |= self.chain.live_mut().is_some_and(Generation::peek);
        if lists {
            self.verify();
        }
        let is_sought = self.end_truncated(now);
        self.agenda.note_cut(is_sought && task.restored.is_none());
        lists |= is_sought;
        if lists {
            let task = self.agenda.resume(task);
            self.list(&task, now, around);
            if self.is_comparing() {
                return self.agenda.postpone(task);
            }
        }
        self.place_live(now, around);
        self.wake(false, now);
        if self.settings.is_batch && !self.wants_descriptor() {
            self.give_up_next();
        }
        self.let_go(now);
    }

    /// Takes generations off the list that are finished and delivered.
    fn let_go(&mut self, now: Instant) {
        let mut index = 0;
        while index < self.chain.len() {
            // In a batch the live one is over as well, and stays for the checkpoint: more may come before the next.
            if !self.chain[index].is_over() || self.chain[index].is_live() {
                index += 1;
                continue;
            }
            if let Some(generation) = self.chain.remove(index) {
                self.finish(&generation, now);
            }
        }
    }

    /// Of files that have no name any more all that was read is all that anybody will get: they are finished, whoever
    /// still has them open. For the end of the program; `true`: there was one.
    pub fn conclude_nameless(&mut self) -> bool {
        let is_read = |generation: &&mut Generation| generation.is_open() && generation.at_end.is_some();
        let is_nameless = |generation: &&mut Generation| !generation.has_name && generation.life.is_reading();
        let nameless = self.chain.iter_mut().filter(is_read).filter(is_nameless);
        nameless.map(|generation| generation.life.finish()).count() > 0
    }

    fn finish(&mut self, generation: &Generation, now: Instant) {
        self.done.add_copies_of(generation.id);
        if self.live().is_none_or(|live| !live.is_placed) && !self.settings.is_batch {
            self.before = Some(Before::of(generation, now));
        }
        if self.chain.iter().any(|other| other.inode == generation.inode) {
            // The life of an inode that goes on in another generation.
            return;
        }
        let GenerationState { origin, offset, guard, head, copy, .. } = generation.state();
        let origin = copy.map_or(origin, |identity| Origin { identity, epoch: 0 });
        self.tell(Happening::Finished { identity: origin.identity, offset });
        if generation.has_name && generation.file().is_some() {
            self.done.put_aside(generation.path.clone(), generation.inode, offset, Some(generation.id));
        }
        // Where a look has just made its end uncertain again, the file itself tells whether it is as it was read.
        let is_as_read = |stamp: &Stamp| stamp.size == offset;
        let of_file = || Some(Stamp::from(&generation.file()?.metadata().ok()?)).filter(is_as_read);
        let changed_ns = generation.at_end.or_else(of_file).map_or(0, |stamp| stamp.changed_ns());
        self.done.set(DoneState { origin, offset: Some(offset), guard, head, size: offset, changed_ns });
    }

    /// Reads what is there into `output`, as far as it has room, at most about `budget_bytes`. Changes no list of
    /// generations; `buffer` is at least [`BUFFER_BYTES`](crate::log::reading::BUFFER_BYTES) long.
    pub fn read(
        &mut self,
        output: &mut dyn Output,
        buffer: &mut [u8],
        budget_bytes: usize,
        now: Instant,
        now_ns: i64,
    ) -> Standing {
        if self.is_comparing() {
            // What is compared may come first. Others do not wait for it.
            output.note(self.id, Standing::AtEnd);
            return Standing::AtEnd;
        }
        let settings = Arc::clone(&self.settings);
        let mut hands = Hands {
            source: self.id,
            output,
            buffer,
            bytes_max: budget_bytes,
            line_bytes_max: settings.line_bytes_max,
            now,
            now_ns,
            happenings: &mut self.happenings,
        };
        let mut left = budget_bytes;
        let mut standing = Standing::Ended;
        let mut late = 0;
        for index in 0..self.chain.len() {
            let has_successor_begun = self.chain.iter().skip(index + 1).any(|later| later.cursor.put() > 0);
            let generation = self.chain.at(index);
            let before = generation.cursor.put();
            let outcome = drain(generation, &mut hands, &settings, &mut left);
            if has_successor_begun {
                late += generation.cursor.put() - before;
            }
            standing = match (outcome, standing) {
                (Outcome::Behind, _) => Standing::Behind,
                (Outcome::AtEnd, _) => Standing::AtEnd,
                (Outcome::Finished, standing) => standing,
            };
            let may_go_on = outcome == Outcome::Finished
                || (outcome == Outcome::AtEnd
                    && generation.life.is_reading()
                    && judge(&generation.facts(now), &settings).0.may_pass);
            if !may_go_on {
                break;
            }
        }
        if settings.is_batch && self.agenda.wants_descriptor() {
            standing = Standing::Behind;
        } else if !settings.is_batch && standing == Standing::Ended {
            standing = Standing::AtEnd;
        }
        if late > 0 {
            hands.happenings.push(Happening::Late { bytes: late });
        }
        hands.output.note(self.id, standing);
        standing
    }

    /// An output delivered bytes of it. How many more than were known to be.
    pub fn delivered(&mut self, generation: GenerationId, offset: u64) -> u64 {
        let Some(generation) = self.chain.by_id(generation) else { return 0 };
        let before = generation.cursor.delivered();
        generation.cursor.deliver(offset);
        generation.cursor.delivered() - before
    }

    /// Whether anybody looked at it in this run.
    pub fn was_looked_at(&self) -> bool {
        !self.agenda.is_untouched()
    }

    /// Whether a checkpoint can say something of it: of a file that nobody looked at, the next run knows as little.
    pub fn is_known(&self) -> bool {
        self.agenda.is_known()
    }

    /// What a checkpoint is to say.
    pub fn state(&self) -> SourceState {
        if let Some(state) = self.agenda.restored() {
            return state.clone();
        }
        // What is kept back is none of ours for the next run.
        let own = || self.chain.iter().filter(|generation| generation.twin.is_none());
        let kept_back = self.chain.iter().filter_map(|generation| Some(&generation.twin.as_ref()?.file));
        SourceState {
            path: self.name.path().to_path_buf(),
            generations: own().map(Generation::state).collect(),
            is_live: own().next_back().is_some_and(Generation::is_live),
            done: self.done.files().iter().chain(kept_back).cloned().collect(),
            since_ns: self.done.since_ns(),
            left_ns: 0,
        }
    }

    /// Whether the list of generations changed since this was last asked: a checkpoint must know of it before more
    /// bytes are read.
    pub fn take_changed(&mut self) -> bool {
        self.done.take_changed() | self.chain.take_changed()
    }

    /// What happened since this was last asked.
    pub fn take_happenings(&mut self) -> Vec<Happening> {
        std::mem::take(&mut self.happenings)
    }

    /// When it wants a look, and a read after it, without a hint. `None`: not before something changes.
    pub fn next_look(&self, now: Instant) -> Option<Instant> {
        if self.agenda.is_untouched() || self.wants_look() {
            return Some(now);
        }
        let waiting = self.chain.iter().filter_map(|generation| generation.next_look(&self.settings, now));
        let name = self.name.next_look(&self.settings, now);
        let doubt = self.live().and_then(|live| live.doubt).map(|doubt| doubt.ends());
        let twin = self.live().and_then(|live| live.twin.as_ref()?.due(now));
        let waiting = waiting.chain(doubt).chain(twin);
        waiting.chain(self.agenda.list_at()).chain(name).min()
    }

    /// Whether a read found what only a look can deal with: a truncation, or a generation that is done with.
    pub fn wants_look(&self) -> bool {
        self.agenda.is_cut()
            || self.is_comparing()
            || self.chain.iter().any(|generation| {
                let is_to_go = generation.is_over() && !generation.is_live();
                is_to_go || generation.wants_peek() || matches!(generation.life.phase(), Phase::Cut(_))
            })
    }

    /// Whether a file could not be opened because no descriptor was left.
    pub fn wants_descriptor(&self) -> bool {
        self.agenda.wants_descriptor()
    }

    /// Whether nothing has its name, and nothing that had it is left to be read.
    pub fn is_gone(&self) -> bool {
        self.is_away() && self.chain.is_empty()
    }

    /// Whether nothing has its name.
    pub fn is_away(&self) -> bool {
        self.name.is_away()
    }

    /// How many files it has open.
    pub fn descriptors_open(&self) -> usize {
        let before = self.before.iter().filter(|before| before.file.is_some()).count();
        let compared = usize::from(self.walks.is_open());
        self.chain.iter().filter(|generation| generation.is_open()).count() + before + compared
    }

    /// Closes the files that were read to their ends and delivered, to be opened again when they grew, and those of
    /// which nothing is left to be read; how many. `may_break`: and those that were not, to be opened at the next look.
    pub fn park(&mut self, may_break: bool) -> usize {
        let before = self.before.as_mut().and_then(|before| before.file.take());
        let mut parked = usize::from(before.is_some());
        for generation in self.chain.iter_mut().filter(|generation| generation.may_park(may_break)) {
            generation.park();
            if may_break {
                generation.at_end = None;
            }
            parked += 1;
        }
        parked
    }

    /// How many files that would close.
    pub fn parkable(&self, may_break: bool) -> usize {
        self.chain.iter().filter(|generation| generation.may_park(may_break)).count()
    }

    /// Whether the file that is read next is closed, to be opened again.
    pub fn is_next_parked(&self) -> bool {
        self.next_read().is_some_and(|index| self.chain[index].is_parked())
    }

    /// Whether nothing of it can be read before a file is opened.
    pub fn is_shut(&self) -> bool {
        let next = self.next_read().map(|index| &self.chain[index]);
        next.is_none_or(|next| next.is_parked() || matches!(next.life.phase(), Phase::Sought { .. }))
    }

    /// The first generation of which something is left.
    pub(crate) fn next_read(&self) -> Option<usize> {
        let is_passed = |generation: &Generation| matches!(generation.life.phase(), Phase::Hidden { .. });
        self.chain.iter().position(|generation| !generation.is_concluded() && !is_passed(generation))
    }

    /// Whether all its generations are closed, to be opened again when they grew.
    pub fn is_parked(&self) -> bool {
        !self.chain.is_empty() && self.chain.iter().all(Generation::is_parked)
    }

    /// When one of its files was last seen to have grown.
    pub fn last_growth(&self) -> Option<Instant> {
        self.chain.iter().map(|generation| generation.grown).max()
    }

    /// The file with the live name.
    pub fn live(&self) -> Option<&Generation> {
        self.chain.live()
    }

    /// All generations, oldest first.
    pub fn generations(&self) -> impl Iterator<Item = &Generation> {
        self.chain.iter()
    }

    /// All files that it follows or followed, as far as it remembers them.
    pub fn inodes(&self) -> Vec<Identity> {
        let (generations, done) = self
            .agenda
            .restored()
            .map_or((&[][..], self.done.files()), |state| (state.generations.as_slice(), state.done.as_slice()));
        let known = generations.iter().flat_map(|saved| [saved.copy, Some(saved.origin.identity)]).flatten();
        let own = self.chain.iter().filter(|generation| generation.twin.is_none());
        let here = own.flat_map(|generation| [generation.inode, generation.origin.identity]);
        let done = done.iter().filter(|done| done.offset.is_some()).map(|done| done.origin.identity);
        known.chain(here).chain(done).collect()
    }

    /// Whether it follows this file, or is done with it.
    pub fn knows(&self, identity: &Identity) -> bool {
        self.done.get(identity).is_some() || self.chain.iter().any(|generation| generation.inode == *identity)
    }

    pub(crate) fn tell(&mut self, happening: Happening) {
        self.happenings.push(happening);
    }
}
