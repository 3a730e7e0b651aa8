//! The tailer at work: its sources, its outputs and its checkpoint, one round at a time.
//!
//! A round looks at what is due, writes a changed list of generations down, reads, lets the outputs go on, and makes
//! positions durable once a second. In rooms of their own: `start`; `roll`, which files there are, and what becomes of
//! them after a HUP; `hearing`, what inotify watches and tells; `descriptors`, more files than can be open; `collect`,
//! spools; `reading`, whose turn it is; `telling`, what is printed; `showing`, what can be seen from outside.

mod collect;
mod descriptors;
mod hearing;
mod reading;
mod roll;
mod showing;
mod start;
mod telling;

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::os::fd::RawFd;
use std::thread;
use std::time::{Duration, Instant};

use standpipe_common::clock;
use standpipe_common::descriptors::Descriptors;
use standpipe_common::error::{Cannot, Error, Result};
use standpipe_common::metrics::exporter::Exporter;

use crate::around::{Around, Taken};
use crate::backoff::Backoff;
use crate::config::{Config, StartAt};
use crate::events::{Event, Printer};
use crate::follow::settings::Hints;
use crate::held_back::HeldBack;
use crate::identity::Origin;
use crate::intake::Intake;
use crate::keeper::{Keeper, Unsaved};
use crate::lines::SourceId;
use crate::output::{Delivered, Waits};
use crate::outputs::Outputs;
use crate::roster::{Followed, Roster};
use crate::share::Lots;
use crate::siblings::directories::Directories;
use crate::slices::Slices;
use crate::source::Source;
use crate::sources::globs::Globs;
use crate::spacing::Spacing;
use crate::spool::set::Spools;
use crate::stage::Position;
use crate::status::board::Board;
use crate::steady::Steady;
use crate::turns::{Stand, Turns};
use crate::watch::Watch;

use hearing::{add_names, watch_files};

/// How soon a batch, or a tailer that ends, asks again for descriptors that sources may have given back.
pub const FEED_SPAN: Duration = Duration::from_millis(2);
/// How long readers may take, at the end, for what was delivered last.
const TAKEN_SPAN: Duration = Duration::from_millis(200);
/// With so many to be looked at, nobody who was not hinted at is added.
const LOOKS_MAX: usize = 512;
/// Positions that pipes may know, or twice as many as there are generations, before those of finished ones are dropped.
const SLOTS_MAX: usize = 128;

/// All of it.
pub struct Tailer {
    config: Config,
    /// New files may appear, and be copies.
    has_globs: bool,
    is_batch: bool,
    is_debug: bool,
    roster: Roster,
    turns: Turns,
    intake: Intake,
    spools: Spools,
    outputs: Outputs,
    taken: Taken,
    directories: Directories,
    watch: Option<Watch>,
    /// It has more to tell than could be heard in one go, and nothing will say so.
    has_more_hints: bool,
    /// What is said of what it could not tell.
    overflows: Spacing,
    keeper: Keeper,
    board: Board,
    metrics: Option<Exporter>,
    printer: Printer,
    /// How many descriptors there may be, how many of them files that are followed, and when that is counted again.
    descriptors: Descriptors,
    open_max: usize,
    count_at: Instant,
    /// How many there were beside files when that was counted last, if the kernel says so.
    open_beside: Option<usize>,
    /// Files that are.
    open: usize,
    /// How many were open when the last source began to wait for a descriptor.
    open_starved: usize,
    /// How much of packed files is gone through in this round.
    slices: Slices,
    /// The last round gave some of them one.
    has_fed: bool,
    /// Whose turn it is where priorities differ.
    lots: Lots,
    is_starving_said: bool,
    /// Files that could not be opened or read.
    failures: usize,
    waits: Vec<Waits>,
    buffer: Vec<u8>,
    /// In a batch it stands still, see `start`.
    clock: Steady,
    globs: Globs,
    /// When sources are followed that could not be as the configuration says, and what was said of it.
    unfollowed: Backoff,
    complaints: BTreeSet<String>,
    /// There was a state.
    has_known: bool,
    /// When a tailer with this state was started for the first time, ns since the epoch.
    since_ns: i64,
    /// When this one was.
    began_ns: i64,
    /// What counts in place of what files say of their beginning, for the state was lost.
    start_at: Option<StartAt>,
    /// How far outputs had delivered each generation when the last run ended.
    positions: HashMap<Origin, Position>,
    /// How far they will have, once what that run left on its way has arrived.
    on_their_way: HashMap<Origin, Position>,
    held_back: HeldBack,
    has_color: bool,
    /// It was said how many files are watched.
    is_watching_said: bool,
    /// It was said whether leases tell of writers.
    are_leases_said: bool,
}

impl Tailer {
    /// Does what is due, once.
    ///
    /// # Errors
    /// Of an output, such that no later round can mend it.
    pub fn round(&mut self, now: Instant, now_ns: i64) -> Result<()> {
        if !self.is_batch {
            self.clock.follow(now, now_ns);
        }
        self.intake.begin_round();
        self.directories.begin_round(now);
        self.hear(now);
        self.expand(now);
        if self.look(now) {
            self.keep(false, now);
        }
        self.look_into_spools(now, now_ns);
        self.tell_leases();
        self.read(now, now_ns);
        let delivered = self.deliver(now);
        self.clear_spools(now);
        self.spools.settle(&mut self.turns, &mut self.outputs, now);
        delivered?;
        if self.keeper.due().is_some_and(|due| due <= now) {
            self.keep(true, now);
        }
        self.show(now, now_ns);
        self.tell_backlog_of_start(now);
        self.metrics.iter_mut().for_each(|metrics| metrics.turn(now));
        self.intake.end_round();
        Ok(())
    }

    /// When the next round is due, if nothing happens before.
    pub fn due(&self, now: Instant) -> Option<Instant> {
        if self.is_behind() || self.has_more_hints {
            return Some(now);
        }
        let waits = self.waits.iter().filter_map(|waits| waits.until);
        let feed = (self.is_batch && !self.turns.starved().is_empty()).then(|| now + FEED_SPAN);
        let (spools, unfollowed) = (self.spools.due(now), self.unfollowed.due());
        let metrics = self.metrics.as_ref().map(Exporter::due);
        let own = [self.keeper.due(), self.globs.due(now), feed, spools, unfollowed, self.board.due(), metrics];
        let own = own.into_iter().flatten();
        waits.chain(self.turns.next_due(now)).chain(own).min()
    }

    /// What the outputs wait for.
    pub fn waits(&self) -> &[Waits] {
        &self.waits
    }

    /// For the poll set.
    pub fn watch_fd(&self) -> Option<RawFd> {
        self.watch.as_ref().map(Watch::raw_fd)
    }

    /// Whether there is something to be read, and room for it, or to be looked at.
    pub fn is_behind(&self) -> bool {
        self.turns.ready_count() > 0 || self.is_looking()
    }

    /// Whether the last round had no time for all that was to be looked at.
    pub fn is_looking(&self) -> bool {
        self.intake.is_left()
    }

    /// Whether everything is delivered that was read, or could not be for want of room.
    pub fn is_delivered(&mut self) -> bool {
        self.outputs.is_empty() && !self.turns.is_any_waiting()
    }

    /// Of a batch: whether there is nothing left to be done.
    pub fn is_done(&mut self) -> bool {
        let now = Instant::now();
        let is_read = !self.is_behind() && self.turns.starved().is_empty();
        is_read && self.is_delivered() && self.turns.next_due(now).is_none_or(|due| due > now)
    }

    /// Of a batch that is done: fails if something could not be read.
    ///
    /// # Errors
    /// What was not read was said when it failed.
    pub fn check_whole(&self) -> Result<()> {
        match self.failures {
            0 => Ok(()),
            failures => Err(io::Error::other(format!("{failures} of them failed"))).cannot("read", "all files"),
        }
    }

    /// Whether a limit lets a source go on before that.
    pub fn rests_end_before(&self, end: Instant) -> bool {
        self.turns.rest_end().is_some_and(|until| until < end)
    }

    /// How many logs are followed.
    pub fn sources(&self) -> usize {
        self.roster.len()
    }

    /// Everything is looked at once more, as far as that can be done until `end`; a file that is as it was when it was
    /// read to its end costs a glance.
    pub fn last_look(&mut self, end: Instant) {
        self.intake.end_at(end);
        self.spools.hint_all();
        self.turns.hint_logs(Hints::default());
    }

    /// Last lines of files without a name are not left for a run that cannot find them; `true`: there was one.
    pub fn conclude_nameless(&mut self) -> bool {
        let mut was_one = false;
        for id in self.roster.ids() {
            if self.roster.get(id).is_some_and(|followed| followed.source.conclude_nameless()) {
                self.turns.make_ready(id);
                was_one = true;
            }
        }
        was_one
    }

    /// Nothing is held back any more.
    pub fn hurry(&mut self) {
        self.outputs.hurry();
    }

    /// Writes the checkpoint. What fails is said once, and tried again.
    fn keep(&mut self, is_durable: bool, now: Instant) {
        if let Err(Unsaved { error, is_first: true }) = self.save(is_durable, now) {
            let sentence = format!("{error}; a crash repeats lines delivered from now on");
            self.printer.print(&Event::Error(sentence));
        }
    }

    /// Writes the checkpoint for the next run.
    ///
    /// # Errors
    /// It cannot be written: that run repeats what was delivered since the last one that could.
    pub fn keep_last(&mut self, now: Instant) -> Result<()> {
        let repeated = |error| format!("{error}; the next run repeats lines delivered since the last save");
        let stored = |unsaved: Unsaved| Error::because("store", "the last state", repeated(unsaved.error));
        self.keeper.write_all_next();
        self.save(true, now).map_err(stored)?;
        if within_a_moment(|| self.outputs.flows().iter().all(|flow| flow.taken == flow.delivered)) {
            self.keeper.end()?;
        }
        Ok(())
    }

    /// Writes the last page of metrics, and leaves the terminal as it was.
    pub fn end_showing(&mut self) {
        self.metrics = None;
        self.printer.catch_up().clear();
    }

    fn save(&mut self, is_durable: bool, now: Instant) -> std::result::Result<(), Unsaved> {
        if !self.keeper.has_file() {
            return Ok(());
        }
        let touched = self.roster.take_touched().map(|followed| &followed.source);
        let mut states: Vec<_> = touched.filter(|source| source.is_known()).map(Source::state).collect();
        self.held_back.apply(&mut states);
        let flows = self.outputs.flows();
        self.keeper.save(states, &flows, is_durable, now, clock::now_ns())?;
        if is_durable {
            debug_assert!(!self.held_back.is_empty() || self.is_all_said(), "to whom something happens is touched");
            self.forget_finished();
        }
        Ok(())
    }

    /// Whether the checkpoint knows how far each source is.
    fn is_all_said(&self) -> bool {
        let mut known = self.roster.iter().map(|followed| &followed.source).filter(|source| source.is_known());
        known.all(|source| self.keeper.says(&source.state()))
    }

    /// Something happened to a source: that is shown and remembered.
    fn touch(&mut self, id: SourceId) {
        self.board.mark(id);
        self.roster.touch(id);
    }

    /// How many are on their way or may be.
    fn generations(&self) -> usize {
        let here = self.roster.iter().map(|followed| followed.source.generations().count());
        let others = self.keeper.others().map(|state| state.generations.len());
        here.chain(others).sum()
    }

    /// Looks at what is due, as far as its time goes. Whether a list of generations changed.
    fn look(&mut self, now: Instant) -> bool {
        self.slices.begin();
        self.turns.wake_due(now, LOOKS_MAX);
        let step = self.intake.begin();
        let (mut is_changed, mut left) = (false, self.turns.due_count());
        while left > 0
            && let Some(id) = self.turns.take_due(self.intake.is_pressed)
        {
            if !self.must_wait(id) {
                is_changed |= self.look_at(id, now);
            }
            left -= 1;
            if step.is_over() {
                break;
            }
        }
        self.intake.is_pressed = left > 0;
        self.intake.end(step);
        self.recount_descriptors(now);
        if self.open > self.open_max {
            self.park(self.open - self.open_max);
        }
        self.feed_starved();
        is_changed
    }

    fn look_at(&mut self, id: SourceId, now: Instant) -> bool {
        let is_here = self.turns.stand(id) != Stand::Leaving;
        let Some(followed) = self.roster.get(id).filter(|_| is_here) else { return false };
        let path = followed.source.path().to_path_buf();
        let mut hints = self.turns.take_hints(id);
        if hints == Hints::default()
            && followed.source.is_unchanged()
            && followed.siblings.is_unchanged(&mut self.directories)
        {
            let interval = followed.interval(self.config.poll_interval);
            self.turns.look_at(id, now + interval);
            self.tell_of(id);
            return false;
        }
        if hints.names {
            add_names(followed, self.watch.as_mut());
        }
        hints.names |= followed.siblings.changed(&mut self.directories);
        let Followed { source, siblings, also, .. } = followed;
        let mut around = Around::new(id, siblings, also, &mut self.directories, &self.taken, &self.config);
        let slice = self.slices.next();
        around.unpack_left = Some(slice);
        source.look(now, hints, &mut around);
        self.slices.took(slice - around.unpack_left.unwrap_or_default(), source.is_comparing());
        let met = around.met;
        let is_changed = source.take_changed();
        let head_level = source.head_level();
        if is_changed {
            self.taken.set(id, source.inodes());
        }
        if self.has_globs && (is_changed || head_level != followed.head_level) {
            followed.head_level = head_level;
            self.taken.twins.set(id, source.lives());
            if !self.taken.twins.seeking().is_empty() {
                // What it looks for may be in a file that nobody knows yet.
                self.globs.hint_all(now);
            }
        }
        followed.live = source.live().map(|generation| generation.inode);
        followed.recount(&mut self.open);
        let is_starved = followed.source.wants_descriptor();
        watch_files(followed, self.watch.as_mut());
        if is_starved {
            self.starve(id);
        } else {
            self.turns.sate(id);
        }
        self.touch(id);
        self.turns.make_ready(id);
        self.tell_of(id);
        if let Some(owner) = met {
            self.also_has(owner, path);
        }
        self.remove_if_gone(id);
        is_changed
    }

    /// Lets the outputs go on, and tells the sources what is delivered.
    fn deliver(&mut self, now: Instant) -> Result<()> {
        let (mut delivered, mut left) = (Vec::new(), Vec::new());
        let turned = self.outputs.turn(now, self.clock.now_ns(), &mut delivered);
        self.tell_of_outputs();
        let has_arrived = !self.held_back.is_empty() && !self.outputs.are_recovering();
        if has_arrived {
            self.held_back.clear();
            self.roster.touch_all();
        }
        if has_arrived || !delivered.is_empty() {
            self.keeper.note();
        }
        // What is delivered may be closed: who waits for a descriptor is looked at again.
        if let Some(id) = self.turns.starved().first().filter(|_| !delivered.is_empty()) {
            self.turns.hint(id, Hints::default());
        }
        for done @ Delivered { generation, offset } in delivered {
            if self.spools.delivered(done) {
                continue;
            }
            let id = generation.source();
            self.touch(id);
            let Some(followed) = self.roster.get(id) else { continue };
            followed.counts.delivered_bytes += followed.source.delivered(generation, offset);
            followed.blocked_ns = None;
            if self.turns.stand(id) == Stand::Leaving && followed.is_delivered() {
                left.push(id);
            }
            let is_due = followed.source.wants_look();
            let is_switching = followed.next_output != followed.output;
            if is_due {
                self.turns.hint(id, Hints::default());
            }
            if is_switching {
                self.turns.make_ready(id);
            }
        }
        for id in left {
            self.remove(id);
        }
        for id in self.turns.rouse(|id, waiting| waiting.is_over(id, self.outputs.get(waiting.output))) {
            if let Some(followed) = self.roster.get(id) {
                followed.blocked_ns = None;
            }
            self.board.mark(id);
        }
        // Last, for what was delivered before a failure is delivered.
        self.waits = turned?;
        self.check_stuck(now)
    }
}

/// Whether something comes true within a moment.
fn within_a_moment(mut is_true: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + TAKEN_SPAN;
    loop {
        match is_true() {
            false if Instant::now() < deadline => thread::sleep(TAKEN_SPAN / 20),
            is_true => return is_true,
        }
    }
}
