//! A source: one log with all its generations, oldest first, the one with the live name last.
//!
//! A look finds out what there is and changes the list of generations; a read gives bytes of those that are known. So
//! whoever keeps a checkpoint can write a changed list down before bytes of it are on their way. Time and hints come in
//! as arguments; nothing here waits.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use crate::checkpoint::state::{DoneState, GenerationState, SourceState};
use crate::file::identity::Identity;
use crate::file::open::Stamp;
use crate::log::agenda::Agenda;
use crate::log::blank::content_end;
use crate::log::chain::Chain;
use crate::log::eyes::Eyes;
use crate::log::generation::Generation;
use crate::log::happening::Happening;
use crate::log::life::Course;
use crate::log::live_name::LiveName;
use crate::log::lives::Lives;
use crate::log::looking::Looking;
use crate::log::notes::Notes;
use crate::log::reading::Hands;
use crate::log::settings::{Hints, Settings, StartAt, Surroundings};
use crate::log::twins::{Bytes, KnownHead, Original};
use crate::log::walk::Walks;
use crate::out::lines::{GenerationId, SourceId};
use crate::out::output::{Output, Standing};

/// One followed log.
#[derive(Debug)]
pub struct Source {
    id: SourceId,
    settings: Arc<Settings>,
    name: LiveName,
    lives: Lives,
    /// Packed files that are gone through.
    walks: Walks,
    agenda: Agenda,
    notes: Notes,
}

impl Source {
    /// A source that is followed for the first time.
    pub fn new(id: SourceId, path: PathBuf, settings: Arc<Settings>) -> Source {
        Source {
            id,
            name: LiveName::new(path),
            lives: Lives::new(id, Vec::new(), settings.since_ns),
            settings,
            walks: Walks::default(),
            agenda: Agenda::default(),
            notes: Notes::default(),
        }
    }

    /// A source that a checkpoint knows.
    pub fn restore(id: SourceId, state: SourceState, settings: Arc<Settings>) -> Source {
        let lives = Lives::new(id, state.done.clone(), state.since_ns);
        let source = Source::new(id, state.path.clone(), settings);
        Source { lives, agenda: Agenda::restore(state), ..source }
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
        self.agenda.is_clear() && self.lives.is_unchanged(self.name.path())
    }

    /// A writer closed the file of a generation.
    pub fn closed(&mut self, generation: GenerationId, now: Instant) {
        self.lives.closed(generation, now);
    }

    /// Finds out what there is. Gives no bytes.
    pub fn look(&mut self, now: Instant, hints: Hints, around: &mut dyn Surroundings) {
        let Source { settings, name, lives, walks, agenda, notes, .. } = self;
        Looking { name, lives, eyes: Eyes { settings, agenda, notes, walks, around, now } }.look(hints);
    }

    /// Of files that have no name any more all that was read is all that anybody will get: they are finished, whoever
    /// still has them open. For the end of the program; `true`: there was one.
    pub fn conclude_nameless(&mut self) -> bool {
        self.lives.conclude_nameless()
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
            notes: &mut self.notes,
        };
        let (mut standing, late) = self.lives.read(&mut hands, &settings, budget_bytes);
        if settings.is_batch && self.agenda.wants_descriptor() {
            standing = Standing::Behind;
        } else if !settings.is_batch && standing == Standing::Ended {
            standing = Standing::AtEnd;
        }
        if late > 0 {
            hands.notes.tell(Happening::Late { bytes: late });
        }
        hands.output.note(self.id, standing);
        standing
    }

    /// An output delivered bytes of it. How many more than were known to be.
    pub fn delivered(&mut self, generation: GenerationId, offset: u64) -> u64 {
        self.lives.delivered(generation, offset)
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
        let kept_back = self.chain().iter().filter_map(|generation| Some(&generation.beginning().twin()?.file));
        SourceState {
            path: self.name.path().to_path_buf(),
            generations: self.own().map(Generation::state).collect(),
            is_live: self.own().next_back().is_some_and(Generation::is_live),
            done: self.lives.done().files().iter().chain(kept_back).cloned().collect(),
            since_ns: self.lives.done().since_ns(),
            left_ns: 0,
        }
    }

    /// Whether the list of generations changed since this was last asked: a checkpoint must know of it before more
    /// bytes are read.
    pub fn take_changed(&mut self) -> bool {
        self.lives.take_changed()
    }

    /// What happened since this was last asked.
    pub fn take_happenings(&mut self) -> Vec<Happening> {
        self.notes.take()
    }

    /// When it wants a look, and a read after it, without a hint. `None`: not before something changes.
    pub fn next_look(&self, now: Instant) -> Option<Instant> {
        if self.agenda.is_untouched() || self.wants_look() {
            return Some(now);
        }
        let waiting = self.chain().iter().filter_map(|generation| generation.next_look(&self.settings, now));
        let name = self.name.next_look(&self.settings, now);
        let waiting = waiting.chain(self.live().and_then(|live| live.beginning().next_look(now)));
        waiting.chain(self.agenda.list_at()).chain(name).min()
    }

    /// Whether a read found what only a look can deal with: a truncation, or a generation that is done with.
    pub fn wants_look(&self) -> bool {
        self.agenda.is_cut()
            || self.is_comparing()
            || self.chain().iter().any(|generation| {
                let is_to_go = generation.is_over() && !generation.is_live();
                is_to_go || generation.wants_peek() || matches!(generation.life().course(), Course::Cut(_))
            })
    }

    /// Whether a file could not be opened because no descriptor was left.
    pub fn wants_descriptor(&self) -> bool {
        self.agenda.wants_descriptor()
    }

    /// Whether nothing has its name, and nothing that had it is left to be read.
    pub fn is_gone(&self) -> bool {
        self.is_away() && self.chain().is_empty()
    }

    /// Whether nothing has its name.
    pub fn is_away(&self) -> bool {
        self.name.is_away()
    }

    /// How many files it has open.
    pub fn descriptors_open(&self) -> usize {
        self.lives.descriptors_open() + usize::from(self.walks.is_open())
    }

    /// Closes the files that were read to their ends and delivered, to be opened again when they grew, and those of
    /// which nothing is left to be read; how many. `may_break`: and those that were not, to be opened at the next look.
    pub fn park(&mut self, may_break: bool) -> usize {
        self.lives.park(may_break)
    }

    /// How many files that would close.
    pub fn parkable(&self, may_break: bool) -> usize {
        self.chain().iter().filter(|generation| generation.may_park(may_break)).count()
    }

    /// Whether the file that is read next is closed, to be opened again.
    pub fn is_next_parked(&self) -> bool {
        self.lives.next_read().is_some_and(|index| self.chain()[index].is_parked())
    }

    /// Whether nothing of it can be read before a file is opened.
    pub fn is_shut(&self) -> bool {
        let next = self.lives.next_read().map(|index| &self.chain()[index]);
        next.is_none_or(|next| next.is_parked() || matches!(next.life().course(), Course::Sought { .. }))
    }

    /// When one of its files was last seen to have grown.
    pub fn last_growth(&self) -> Option<Instant> {
        self.chain().iter().map(|generation| generation.extent().grown()).max()
    }

    /// The file with the live name.
    pub fn live(&self) -> Option<&Generation> {
        self.chain().live()
    }

    /// All generations, oldest first.
    pub fn generations(&self) -> impl Iterator<Item = &Generation> {
        self.chain().iter()
    }

    /// Whether this generation is one of them, or done with and still there.
    pub fn may_grow(&self, id: GenerationId) -> bool {
        self.generations().any(|generation| generation.id() == id) || self.lives.done().is_aside(id)
    }

    /// All files that it follows or followed, as far as it remembers them.
    pub fn inodes(&self) -> Vec<Identity> {
        let (generations, done) = self.agenda.restored().map_or((&[][..], self.lives.done().files()), |state| {
            (state.generations.as_slice(), state.done.as_slice())
        });
        let known = generations.iter().flat_map(|saved| [saved.copy, Some(saved.origin.identity)]).flatten();
        let here = self.own().flat_map(|generation| [generation.inode(), generation.origin().identity]);
        let done = done.iter().filter(|done| done.offset.is_some()).map(|done| done.origin.identity);
        known.chain(here).chain(done).collect()
    }

    /// Whether a file that it begins to follow may be kept back.
    pub fn may_keep_back(&self) -> bool {
        self.agenda.restored().is_none() && self.settings.may_keep_back(self.agenda.is_first())
    }

    /// The file with its live name, if that may be kept back, and so may be the rest of another log.
    pub fn unbegun(&self) -> Option<Identity> {
        let is_unbegun =
            |live: &&Generation| live.seen() == 0 && !live.beginning().is_decided() && live.origin().epoch == 0;
        let live = self.own().next_back().filter(|last| last.is_live()).filter(is_unbegun)?;
        self.may_keep_back().then(|| live.inode())
    }

    /// What it follows and followed, by which copies of it are told.
    pub fn originals(&self) -> Vec<Original> {
        let saved = self.agenda.restored().into_iter().flat_map(|state| {
            let there = |saved: &GenerationState| Bytes::There {
                path: state.path.clone(),
                identity: saved.inode(),
                read: saved.offset,
                guard: saved.guard,
            };
            state.generations.iter().map(move |saved| Original { head: saved.head, bytes: there(saved) })
        });
        let done = self.lives.done().files().iter().filter(|done| done.offset.is_some() && done.size > 0);
        let path = |done: &DoneState| self.lives.done().path(&done.origin.identity).map(Path::to_path_buf);
        let bytes = |done: &DoneState| Bytes::Done { done: done.clone(), path: path(done) };
        let done = done.map(|done| Original { head: done.head, bytes: bytes(done) });
        self.own().map(Original::of_generation).chain(saved).chain(done).collect()
    }

    /// How much is known of what its newest file begins with.
    pub fn known_head(&self) -> KnownHead {
        self.chain().back().map_or_else(KnownHead::default, Generation::known_head)
    }

    /// Since when the rest of what was truncated is looked for, if the next look decides that.
    pub fn seeks_since(&self) -> Option<Instant> {
        let since = |generation: &Generation| match generation.life().course() {
            Course::Sought { since, .. } => Some(since),
            _ => None,
        };
        self.chain().iter().filter_map(since).min().filter(|_| self.agenda.is_cut())
    }

    /// Bytes of unfinished lines that are held until they are whole.
    pub fn held_bytes(&self) -> u64 {
        self.chain().iter().map(|generation| generation.cursor().held().len() as u64).sum()
    }

    /// Whether an output has the beginning of a line, and waits for the rest.
    pub fn is_inside_line(&self) -> bool {
        self.chain().iter().any(|generation| generation.cursor().is_inside_line())
    }

    /// Bytes that its files had when they were last looked at, and that were not read.
    pub fn unread_bytes(&self) -> u64 {
        self.chain().iter().map(unread_bytes).sum()
    }

    /// The most zeros that one of its files ends in, and that are not read.
    pub fn blank_bytes(&self) -> u64 {
        self.chain().iter().map(Generation::blank_bytes).max().unwrap_or(0)
    }

    /// How far the zeros were looked at that its files end in, and how much of packed ones gave nothing.
    pub fn looked_at_bytes(&self) -> u64 {
        self.chain().iter().map(|generation| generation.extent().looked_at()).sum()
    }

    /// Whether packed files are gone through before anything is decided, and read.
    pub fn is_comparing(&self) -> bool {
        self.walks.are_under_way()
    }

    /// Whether its name is a mount of its own, in which a rotation by renaming cannot be seen.
    pub fn is_mount(&self) -> bool {
        self.name.is_mount()
    }

    /// Bytes that are there and not delivered, but for an unfinished line at the end; asks the kernel.
    pub fn left_bytes(&self) -> u64 {
        let is_open = self.chain().back().is_some_and(Generation::is_open);
        let unopened = if is_open { 0 } else { self.unopened_bytes().unwrap_or(0) };
        self.own().map(left_bytes).sum::<u64>() + unopened
    }

    /// What the file under its name has beyond what was read of it, as far as that is to be delivered.
    fn unopened_bytes(&self) -> Option<u64> {
        let metadata = fs::metadata(self.path()).ok().filter(|_| !self.name.is_refused())?;
        let identity = Identity::from(&metadata);
        let known = self.agenda.restored().and_then(|state| state.generations.last());
        let from = if let Some(last) = self.chain().back() {
            (last.inode() == identity).then(|| last.extent().size().max(last.seen()))
        } else if let Some(known) = known {
            (known.origin.identity == identity).then_some(known.offset)
        } else if !self.agenda.is_untouched() || self.settings.start_at == StartAt::Beginning {
            None
        } else {
            return None;
        };
        Some(metadata.len().saturating_sub(from.unwrap_or(0)))
    }

    /// Whether its files have more now than was read; asks the kernel.
    pub fn has_unread(&self) -> bool {
        let has_more = |generation: &Generation| {
            let stamp = generation.file().and_then(|file| file.metadata().ok()).map(|metadata| Stamp::from(&metadata));
            let is_read = |stamp: Stamp| generation.extent().at_end() == Some(stamp) && generation.blank_bytes() > 0;
            stamp.is_some_and(|stamp| stamp.size > generation.seen() && !is_read(stamp))
        };
        self.own().any(has_more)
    }

    /// Why it is not read, as far as that is not a matter of time. `None`: it is read.
    pub fn complaint(&self) -> Option<String> {
        let of_one = self.chain().iter().find_map(Generation::trouble);
        self.name.complaint(of_one)
    }

    fn chain(&self) -> &Chain {
        self.lives.chain()
    }

    /// Its generations, but for what is kept back: that is none of its own.
    fn own(&self) -> impl DoubleEndedIterator<Item = &Generation> {
        self.chain().iter().filter(|generation| generation.beginning().twin().is_none())
    }
}

fn left_bytes(generation: &Generation) -> u64 {
    let seen = generation.seen();
    let len = generation.file().and_then(|file| Some((file, file.metadata().ok()?.len())));
    let unread = len.map_or_else(
        || unread_bytes(generation),
        |(file, len)| content_end(file, seen, len).unwrap_or(len).saturating_sub(seen),
    );
    // What is held is an unfinished line only where nothing follows it.
    let held = if unread > 0 { generation.cursor().held().len() as u64 } else { 0 };
    generation.cursor().on_its_way() + held + unread
}

fn unread_bytes(generation: &Generation) -> u64 {
    if generation.extent().at_end().is_some() || generation.beginning().twin().is_some() {
        0
    } else {
        generation.extent().size().saturating_sub(generation.seen()) - generation.blank_bytes()
    }
}
