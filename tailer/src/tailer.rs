//! The tailer at work: its sources, its outputs and its checkpoint, one round at a time.
//!
//! A round looks at what is due, writes a changed list of generations down, reads, lets the outputs go on, and makes
//! positions durable once a second. Whose turn it is to be read is decided in `reading`; what is printed is printed in `telling`; which files there are, and what becomes
//! of them after a HUP, is in `roll`.

mod reading;
mod roll;
mod showing;
mod start;
mod telling;

use std::collections::HashMap;
use std::os::fd::RawFd;
use std::time::Instant;

use standpipe_common::error::Result;

use crate::around::{Around, Taken};
use crate::budget;
use crate::config::{Config, StartAt};
use crate::events::{Event, Printer};
use crate::follow::settings::Hints;
use crate::guard::Guard;
use crate::identity::Origin;
use crate::keeper::Keeper;
use crate::lines::{GenerationId, SourceId};
use crate::network;
use crate::output::{Delivered, Waits};
use crate::outputs::Outputs;
use crate::roster::{Followed, Roster};
use crate::siblings::directories::Directories;
use crate::status::board::Board;
use crate::watch::Watch;

/// Looks without a hint in one round.
const LOOKS_MAX: usize = 512;

/// All of it.
pub struct Tailer {
    config: Config,
    is_batch: bool,
    is_debug: bool,
    roster: Roster,
    outputs: Outputs,
    taken: Taken,
    directories: Directories,
    watch: Option<Watch>,
    /// It has more to tell than could be heard in one go, and nothing will say so.
    has_more_hints: bool,
    keeper: Option<Keeper>,
    board: Board,
    printer: Printer,
    /// Files that may be open at once.
    open_max: usize,
    /// Files that are.
    open: usize,
    /// Sources that wait for a descriptor.
    starved: Vec<SourceId>,
    is_starving_said: bool,
    waits: Vec<Waits>,
    buffer: Vec<u8>,
    /// Wall clock, never less than before.
    clock_ns: i64,
    /// When globs are expanded again.
    expand_at: Option<Instant>,
    /// What the directories of globs were like when they were expanded.
    glob_versions: Vec<Option<u64>>,
    /// When a tailer with this state was started for the first time, ns since the epoch.
    since_ns: i64,
    /// When this one was.
    began_ns: i64,
    /// What counts in place of what files say of their beginning, for the state was lost.
    start_at: Option<StartAt>,
    /// How far outputs had delivered each generation when the last run ended.
    positions: HashMap<Origin, (u64, Guard)>,
    has_color: bool,
    /// It was said whether leases tell of writers.
    are_leases_said: bool,
}

impl Tailer {
    /// Does what is due, once.
    ///
    /// # Errors
    /// Of an output, such that no later round can mend it.
    pub fn round(&mut self, now: Instant, now_ns: i64) -> Result<()> {
        self.clock_ns = self.clock_ns.max(now_ns);
        self.directories.begin_round(now);
        self.hear();
        self.expand(now);
        if self.look(now) {
            self.keep(false, now);
        }
        self.tell_leases();
        self.read(now);
        self.deliver(now)?;
        if self.keeper.as_ref().and_then(Keeper::due).is_some_and(|due| due <= now) {
            self.keep(true, now);
        }
        self.show(now);
        Ok(())
    }

    /// When the next round is due, if nothing happens before.
    pub fn due(&self, now: Instant) -> Option<Instant> {
        if self.is_behind() || self.has_more_hints {
            return Some(now);
        }
        let waits = self.waits.iter().filter_map(|waits| waits.until);
        let keeper = self.keeper.as_ref().and_then(Keeper::due);
        waits.chain(self.roster.next_due(now)).chain(keeper).chain(self.expand_at).chain(self.board.due()).min()
    }

    /// What the outputs wait for.
    pub fn waits(&self) -> &[Waits] {
        &self.waits
    }

    /// For the poll set.
    pub fn watch_fd(&self) -> Option<RawFd> {
        self.watch.as_ref().map(Watch::raw_fd)
    }

    /// Whether there is something to be read, and room for it.
    pub fn is_behind(&self) -> bool {
        self.roster.ready_count() > 0
    }

    /// Whether everything is delivered that was read, or could not be for want of room.
    pub fn is_delivered(&mut self) -> bool {
        self.outputs.is_empty() && !self.outputs.are_awaited()
    }

    /// Of a batch: whether there is nothing left to be done.
    pub fn is_done(&mut self) -> bool {
        let now = Instant::now();
        !self.is_behind() && self.is_delivered() && self.roster.next_due(now).is_none_or(|due| due > now)
    }

    /// Everything is looked at once more.
    pub fn last_look(&mut self) {
        let all: Vec<SourceId> = self.roster.iter().map(|followed| followed.source.id()).collect();
        for id in all {
            self.roster.hint(id, Hints { content: true, ..Hints::default() });
        }
    }

    /// Nothing is held back any more.
    pub fn hurry(&mut self) {
        self.outputs.hurry();
    }

    /// Writes the checkpoint.
    pub fn keep(&mut self, is_durable: bool, now: Instant) {
        let Some(keeper) = &mut self.keeper else { return };
        let states = self.roster.iter().map(|followed| followed.source.state()).collect();
        if let Some(sentence) = keeper.save(states, is_durable, now) {
            self.printer.print(&Event::Error(sentence));
        }
    }

    /// Takes what inotify tells as hints.
    fn hear(&mut self) {
        let Some(watch) = &mut self.watch else { return };
        let hints = watch.hints();
        if let Some(sysctl) = watch.warning() {
            self.printer.print(&Event::InotifyLimit { sysctl });
        }
        self.has_more_hints = hints.more;
        for id in hints.grown {
            self.roster.hint(id, Hints { content: true, ..Hints::default() });
        }
        for (id, _) in hints.closed {
            self.roster.hint(id, Hints { closed: true, ..Hints::default() });
        }
        for id in hints.names {
            self.roster.hint(id, Hints { names: true, ..Hints::default() });
        }
        if !hints.globs.is_empty() {
            self.expand_at = Some(Instant::now());
        }
        if hints.overflow {
            self.printer.print(&Event::Overflow);
            let all: Vec<SourceId> = self.roster.iter().map(|followed| followed.source.id()).collect();
            for id in all {
                self.roster.hint(id, Hints { names: true, content: true, closed: true });
            }
            self.expand_at = Some(Instant::now());
        }
    }

    /// Looks at all that is due. Whether a list of generations changed.
    fn look(&mut self, now: Instant) -> bool {
        let mut is_changed = false;
        for id in self.roster.take_due(now, LOOKS_MAX) {
            is_changed |= self.look_at(id, now);
        }
        if self.open > self.open_max {
            self.park(self.open - self.open_max);
        }
        self.feed_starved();
        is_changed
    }

    fn look_at(&mut self, id: SourceId, now: Instant) -> bool {
        let Some(followed) = self.roster.get(id).filter(|followed| !followed.is_leaving) else { return false };
        let mut hints = followed.take_hints();
        if hints == Hints::default()
            && followed.source.is_unchanged()
            && followed.siblings.is_unchanged(&mut self.directories)
        {
            let interval = followed.interval(self.config.poll_interval);
            self.roster.look_at(id, now + interval);
            return false;
        }
        if hints.names {
            add_names(followed, self.watch.as_mut());
        }
        hints.names |= followed.siblings.changed(&mut self.directories).unwrap_or(false);
        let Followed { source, siblings, .. } = followed;
        let mut around = Around { source: id, siblings, directories: &mut self.directories, taken: &self.taken };
        source.look(now, hints, &mut around);
        let is_changed = source.take_changed();

        let live = source.live().map(|generation| generation.inode);
        if followed.live != live {
            followed.live.and_then(|before| self.taken.live.remove(&before));
            live.map(|live| self.taken.live.insert(live, id));
            followed.live = live;
        }
        self.open = self.open + followed.source.descriptors_open() - followed.open;
        followed.open = followed.source.descriptors_open();
        if followed.source.wants_descriptor() {
            self.starved.push(id);
        }
        watch_files(followed, self.watch.as_mut());
        self.board.mark(id);
        self.roster.make_ready(id);
        self.tell_of(id);
        is_changed
    }

    /// Lets the outputs go on, and tells the sources what is delivered.
    fn deliver(&mut self, now: Instant) -> Result<()> {
        let (mut delivered, mut roused) = (Vec::new(), Vec::new());
        let turned = self.outputs.turn(now, self.clock_ns, &mut delivered, &mut roused);
        self.tell_of_outputs();
        if !delivered.is_empty()
            && let Some(keeper) = &mut self.keeper
        {
            keeper.note();
        }
        for Delivered { generation, offset } in delivered {
            let id = owner(generation);
            let Some(followed) = self.roster.get(id) else { continue };
            followed.source.delivered(generation, offset);
            followed.blocked_ns = None;
            self.board.mark(id);
            let is_due = followed.source.wants_look();
            let is_switching = followed.next_output != followed.output;
            if is_due {
                self.roster.hint(id, Hints::default());
            }
            if is_switching {
                self.roster.make_ready(id);
            }
        }
        for id in roused {
            if let Some(followed) = self.roster.get(id) {
                followed.is_waiting = false;
                followed.blocked_ns = None;
            }
            self.board.mark(id);
            self.roster.make_ready(id);
        }
        // Last, for what was delivered before a failure is delivered.
        self.waits = turned?;
        Ok(())
    }

    /// Closes at least `needed` files of sources that were read to their ends, as far as there are such; they are
    /// opened again when they grow.
    fn park(&mut self, needed: usize) {
        // Several at once: choosing goes over all sources.
        let needed = needed.max(self.open_max / 8);
        let candidate = |followed: &Followed| budget::Candidate {
            source: followed.source.id(),
            priority: followed.file.priority,
            last_growth: followed.source.last_growth(),
            open: followed.open,
            is_at_end: followed.open > 0,
        };
        for id in budget::choose(self.roster.iter().map(candidate), needed) {
            let Some(followed) = self.roster.get(id) else { continue };
            followed.source.park();
            self.open = self.open + followed.source.descriptors_open() - followed.open;
            followed.open = followed.source.descriptors_open();
        }
    }

    /// Gives descriptors to sources that could not open their files.
    fn feed_starved(&mut self) {
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
        for id in self.starved.drain(..fed).collect::<Vec<_>>() {
            self.roster.hint(id, Hints { content: true, ..Hints::default() });
        }
    }
}

/// The source of a generation.
fn owner(generation: GenerationId) -> SourceId {
    SourceId((generation.0 >> 32) as u32)
}

/// Watches the names of a source, along the way that its path takes now.
fn add_names(followed: &mut Followed, watch: Option<&mut Watch>) {
    let Some(watch) = watch else { return };
    let rotated = followed.siblings.watched();
    let path = followed.source.path();
    let is_watched = watch.add_names(followed.source.id(), path, rotated.as_deref());
    followed.is_polled = !is_watched || !network::is_local(path);
}

/// Watches the files that a source has open, and those no longer that it is done with. One that is parked stays watched.
fn watch_files(followed: &mut Followed, watch: Option<&mut Watch>) {
    let Some(watch) = watch else { return };
    let Followed { source, watched, is_polled, .. } = followed;
    watched.retain(|id| {
        let is_there = source.generations().any(|generation| generation.id == *id);
        if !is_there {
            watch.remove_file(*id);
        }
        is_there
    });
    for generation in source.generations() {
        if let Some(file) = generation.file()
            && !watched.contains(&generation.id)
        {
            if watch.add_file(source.id(), generation.id, file) {
                watched.insert(generation.id);
            } else {
                *is_polled = true;
            }
        }
    }
}
