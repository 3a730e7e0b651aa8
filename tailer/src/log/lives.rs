//! The lives of a log: the generations that are read or looked for, the files that are done with, and what was delivered
//! before the live one. Only here is one of them begun, ended, given another name or another file.
//!
//! A file that takes the live name is opened at once, whatever is still to be read of its predecessors: it can be
//! unlinked a millisecond later.

mod rests;

use std::collections::HashSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Instant;

use nix::errno::Errno;

use crate::checkpoint::state::{DoneState, GenerationState, SourceState};
use crate::file::identity::{Identity, Origin};
use crate::file::open::{At, FoundFile, Opened, Stamp, errno, look};
use crate::log::candidate::{Candidate, Obstacle, open, open_packed};
use crate::log::chain::Chain;
use crate::log::done::Done;
use crate::log::eyes::Eyes;
use crate::log::finish::judge;
use crate::log::generation::Generation;
use crate::log::happening::Happening;
use crate::log::life::{Course, Hand};
use crate::log::live_name::LiveName;
use crate::log::memory::Memory;
use crate::log::ours::{Ours, Sighting};
use crate::log::reading::{Hands, Outcome, drain, verify};
use crate::log::replaced::{Before, Placing, place, place_cut};
use crate::log::restore;
use crate::log::settings::{Settings, StartAt};
use crate::log::truncation::end_life;
use crate::log::twin::{Keeping, keep_back};
use crate::out::lines::{GenerationId, SourceId};
use crate::out::output::Standing;

/// All of one log.
#[derive(Debug)]
pub(crate) struct Lives {
    chain: Chain,
    done: Done,
    /// What was delivered last, until it is decided whether the live file holds it again.
    before: Option<Before>,
}

impl Lives {
    /// No generation so far, and this is done with.
    pub(crate) fn new(id: SourceId, done: Vec<DoneState>, since_ns: i64) -> Lives {
        Lives { chain: Chain::new(id), done: Done::new(done, since_ns), before: None }
    }

    pub(crate) fn chain(&self) -> &Chain {
        &self.chain
    }

    pub(crate) fn done(&self) -> &Done {
        &self.done
    }

    /// What files are compared with.
    pub(crate) fn ours(&self) -> Ours<'_> {
        Ours::new(&self.chain, &self.done)
    }

    /// Whether a checkpoint is to say something else since this was last asked.
    pub(crate) fn take_changed(&mut self) -> bool {
        self.done.take_changed() | self.chain.take_changed()
    }

    /// How many files are open.
    pub(crate) fn descriptors_open(&self) -> usize {
        let before = self.before.iter().filter(|before| before.file.is_some()).count();
        self.chain.iter().filter(|generation| generation.is_open()).count() + before
    }

    /// Whether the only generation, read to its end, has the live name and did not change: so an idle file costs one
    /// system call, and not a look.
    pub(crate) fn is_unchanged(&self, path: &Path) -> bool {
        let Some(live) = self.chain.live().filter(|live| self.chain.len() == 1 && live.is_at_rest()) else {
            return false;
        };
        let is_settled =
            self.before.is_none() && live.beginning().twin().is_none_or(|twin| twin.said.current().is_some());
        let Some(metadata) = fs::symlink_metadata(path).ok().filter(|all| is_settled && all.is_file()) else {
            return false;
        };
        let is_same =
            Identity::from(&metadata) == live.inode() && live.extent().at_end() == Some(Stamp::from(&metadata));
        is_same && !live.is_written_over() && !self.done.has_grown()
    }

    /// The first generation of which something is left.
    pub(crate) fn next_read(&self) -> Option<usize> {
        let is_passed = |generation: &Generation| matches!(generation.life().course(), Course::Hidden { .. });
        self.chain.iter().position(|generation| !generation.is_concluded() && !is_passed(generation))
    }

    /// How many generations are looked for.
    pub(crate) fn sought(&self) -> usize {
        self.chain.iter().filter(|generation| generation.is_sought()).count()
    }

    /// Files changed: what failed may go now.
    pub(crate) fn try_again(&mut self, now: Instant) {
        for generation in self.chain.iter_mut() {
            generation.extent_mut().unsettle();
            generation.try_again(now);
        }
    }

    /// A writer closed the file of a generation.
    pub(crate) fn closed(&mut self, id: GenerationId, now: Instant) {
        if let Some(generation) = self.chain.by_id(id) {
            generation.closed(now);
        }
    }

    /// Bytes of a generation are delivered. How many more than were known to be.
    pub(crate) fn delivered(&mut self, id: GenerationId, offset: u64) -> u64 {
        let Some(generation) = self.chain.by_id(id) else { return 0 };
        let before = generation.cursor().delivered();
        generation.cursor_mut().deliver(offset);
        generation.cursor().delivered() - before
    }

    /// Closes the files that may be closed; how many.
    pub(crate) fn park(&mut self, may_break: bool) -> usize {
        let before = self.before.as_mut().and_then(|before| before.file.take());
        let mut parked = usize::from(before.is_some());
        for generation in self.chain.iter_mut().filter(|generation| generation.may_park(may_break)) {
            generation.park();
            if may_break {
                generation.extent_mut().unsettle();
            }
            parked += 1;
        }
        parked
    }

    /// Reads each in its turn, as far as `left` bytes reach. What that came to, and how many bytes were late: lines of a
    /// successor were given before them.
    pub(crate) fn read(&mut self, hands: &mut Hands<'_>, settings: &Settings, mut left: usize) -> (Standing, u64) {
        let mut standing = Standing::Ended;
        let mut late = 0;
        for index in 0..self.chain.len() {
            let has_successor_begun = self.chain.iter().skip(index + 1).any(|later| later.cursor().put() > 0);
            let generation = self.chain.at(index);
            let before = generation.cursor().put();
            let outcome = drain(generation, hands, settings, &mut left);
            if has_successor_begun {
                late += generation.cursor().put() - before;
            }
            standing = match outcome {
                Outcome::Behind => Standing::Behind,
                Outcome::AtEnd => Standing::AtEnd,
                Outcome::Finished => standing,
            };
            let may_pass = || judge(&generation.facts(hands.now), settings).0.may_pass;
            let is_passed = outcome == Outcome::AtEnd && generation.life().is_reading() && may_pass();
            if outcome != Outcome::Finished && !is_passed {
                break;
            }
        }
        (standing, late)
    }

    /// Of files that have no name any more all that was read is all that anybody will get: they are finished, whoever
    /// still has them open; `true`: there was one.
    pub(crate) fn conclude_nameless(&mut self) -> bool {
        let is_read = |generation: &&mut Generation| generation.is_open() && generation.extent().at_end().is_some();
        let is_nameless = |generation: &&mut Generation| !generation.has_name() && generation.life().is_reading();
        let nameless = self.chain.iter_mut().filter(is_read).filter(is_nameless);
        nameless.map(|generation| generation.life_mut().finish()).count() > 0
    }

    /// Takes generations off the list that are finished and delivered.
    pub(crate) fn let_go(&mut self, eyes: &mut Eyes<'_>) {
        let mut index = 0;
        while index < self.chain.len() {
            // In a batch the live one is over as well, and stays for the checkpoint: more may come before the next.
            if !self.chain[index].is_over() || self.chain[index].is_live() {
                index += 1;
            } else if let Some(generation) = self.chain.remove(index) {
                self.finish(&generation, eyes);
            }
        }
    }

    fn finish(&mut self, generation: &Generation, eyes: &mut Eyes<'_>) {
        debug_assert!(generation.is_over(), "all of it is delivered");
        self.done.add_copies_of(generation.id());
        if self.chain.live().is_none_or(|live| !live.beginning().is_decided()) && !eyes.settings.is_batch {
            self.before = Some(Before::of(generation, eyes.now));
        }
        if self.chain.iter().any(|other| other.inode() == generation.inode()) {
            // The life of an inode that goes on in another generation.
            return;
        }
        let GenerationState { origin, offset, guard, head, copy, .. } = generation.state();
        let origin = copy.map_or(origin, Origin::from);
        eyes.tell(Happening::Finished { identity: origin.identity, offset });
        if generation.has_name() && generation.file().is_some() {
            self.done.put_aside(generation.path().clone(), generation.inode(), offset, Some(generation.id()));
        }
        // Where a look has just made its end uncertain again, the file itself tells whether it is as it was read.
        let is_as_read = |stamp: &Stamp| stamp.size == offset;
        let of_file = || Some(Stamp::from(&generation.file()?.metadata().ok()?)).filter(is_as_read);
        let changed_ns = generation.extent().at_end().or_else(of_file).map_or(0, |stamp| stamp.changed_ns());
        self.done.set(DoneState { origin, offset: Some(offset), guard, head, size: offset, changed_ns });
    }

    /// That there are none is to be known too: what comes and is rotated before the next run is of our time.
    pub(crate) fn begin_empty(&mut self) {
        self.done.begin_empty();
    }

    /// Begins with what a checkpoint says.
    pub(crate) fn take_up(&mut self, state: &SourceState, path: &Path, eyes: &mut Eyes<'_>) {
        let generations = restore::generations(state, path, || self.chain.new_id(), eyes);
        let first_ns = generations.first().map_or(0, |first| first.inode().born_ns);
        self.chain.take_up(generations);
        if self.done.since_ns() == 0 {
            let known = state.generations.first().map_or(0, |first| first.origin.identity.born_ns);
            self.done.begin(if known == 0 { first_ns } else { known });
        }
    }

    /// Nobody has the live name that had it; `true`: somebody had.
    pub(crate) fn leave_live(&mut self, now: Instant) -> bool {
        self.chain.leave_live(now)
    }

    /// The live one is none of ours.
    pub(crate) fn remove_live(&mut self) {
        self.chain.remove_live();
    }

    /// One that had lost the live name has it again, if this is its file; `true`: it is.
    pub(crate) fn give_back_live(&mut self, file: &Identity, path: &Path, now: Instant) -> bool {
        let Some(index) = self.chain.iter().position(|other| other.inode() == *file) else { return false };
        self.chain.leave_live(now);
        self.chain.give_back_live(index, path, now);
        true
    }

    /// An overlay made another file of the live one at its first write: the number of an inode that we have open is not
    /// given to any other file.
    pub(crate) fn take_copied_up(&mut self, found: &FoundFile, name: &mut LiveName, eyes: &mut Eyes<'_>) -> bool {
        let number = |identity: &Identity| (identity.dev, identity.ino);
        let Some(live) = self.chain.live_mut().filter(|live| live.file().is_some()) else { return false };
        if number(&live.inode()) != number(&found.identity) {
            return false;
        }
        let Opened::File(file) = found.open() else { return false };
        if let Err(errno) = live.resume(file) {
            live.fail(errno, eyes.now, eyes.notes);
            return true;
        }
        name.renumber(found.identity);
        self.chain.alter_live().map(|live| live.renumber(found.identity)).is_some()
    }

    /// Another file has the live name from now on. Where it begins for us. `may_start_at_end`: nothing is known of it from
    /// an earlier run.
    pub(crate) fn begin_live(
        &mut self,
        found: &FoundFile,
        file: File,
        may_start_at_end: bool,
        path: &Path,
        eyes: &mut Eyes<'_>,
    ) -> u64 {
        self.chain.leave_live(eyes.now);
        let id = self.chain.new_id();
        let mut origin = Origin::from(found.identity);
        let mut start = None;
        if let Some(done) = self.done.take(&found.identity) {
            origin = done.origin;
            // An old file has the live name again: what was read of it is not read again.
            let offset = done.offset.unwrap_or(done.size);
            start = Memory::from(&done).same_in(&file, offset).map(|memory| (offset, memory));
            if start.is_none() {
                origin.epoch += 1;
            }
        } else if may_start_at_end {
            let Settings { start_at, since_ns, .. } = *eyes.settings;
            let is_too_old = eyes.settings.is_too_old(found.stamp.changed_ns());
            let is_new = since_ns > 0 && found.identity.born_ns >= since_ns;
            if is_too_old || (start_at == StartAt::End && !is_new) {
                start = Memory::at_end_of_lines(&file, found.stamp.size);
            }
            if is_too_old {
                let bytes = start.as_ref().map_or(0, |(offset, _)| *offset);
                eyes.tell(Happening::Ignored { path: path.to_path_buf(), bytes });
            }
        }
        let mut generation = Generation::new(id, origin, path.to_path_buf(), Hand::Open(file), eyes.now);
        generation.rename(true, eyes.now);
        if let Some((offset, memory)) = start {
            generation.cursor_mut().begin_at(offset, memory);
        }
        let offset = generation.cursor().read();
        self.chain.push(generation);
        offset
    }

    /// Sees the first bytes of the live one, if none was read before; whether there are some. What was kept back and has
    /// another name is judged under that.
    pub(crate) fn peek(&mut self) -> bool {
        self.chain.drop_kept_back();
        self.chain.live_mut().is_some_and(Generation::peek)
    }

    /// First bytes that are not there any more are forgotten.
    pub(crate) fn confirm_first(&mut self) {
        self.chain.iter_mut().for_each(Generation::confirm_first);
    }

    /// Where the live one begins for us, if that is to be decided.
    pub(crate) fn place_live(&mut self, eyes: &Eyes<'_>) -> Placing {
        let now = eyes.now;
        self.before.take_if(|before| before.is_forgotten(now));
        let Some(live) = self.chain.live().filter(|live| live.is_cut() || live.is_unplaced()) else {
            return Placing::Later;
        };
        let place = if live.is_cut() { place_cut } else { place };
        let last = self.chain.len().checked_sub(2).map(|last| Before::of(&self.chain[last], now));
        let before = last.as_ref().or(self.before.as_ref()).filter(|_| !eyes.settings.is_batch);
        self.chain.live_mut().map_or(Placing::Later, |live| place(live, before, now))
    }

    /// The live one begins here for us; what stands before was delivered, and so was an unfinished line that it has whole.
    pub(crate) fn put_live(&mut self, offset: u64, path: &Path, eyes: &mut Eyes<'_>) {
        self.before = None;
        let last = self.chain.len().checked_sub(2);
        let Some(live) = self.chain.live_mut() else { return };
        live.beginning_mut().decide();
        let file = live.file().filter(|_| offset > 0);
        let Some(memory) = file.and_then(|file| Memory::of_file(file, offset).ok().flatten()) else { return };
        let Some(live) = self.chain.alter_live() else { return };
        live.begin_behind(offset, memory, eyes.now);
        if let Some(last) = last {
            self.chain.at(last).cursor_mut().take_held();
        }
        eyes.notes.miss_nothing();
        eyes.tell(Happening::Replaced { path: path.to_path_buf(), offset });
    }

    /// Whether the live one, of so many bytes, is kept back.
    pub(crate) fn keep_back(&mut self, size: u64, eyes: &mut Eyes<'_>) -> Keeping {
        let kept = self.chain.live_mut().map_or(Keeping::No, |live| keep_back(live, size, eyes));
        if kept == Keeping::Anew {
            self.chain.alter_live();
        }
        kept
    }

    /// Finds truncations before files are compared; `true`: there was one.
    pub(crate) fn verify(&mut self) -> bool {
        let mut is_truncated = false;
        for generation in self.chain.iter_mut().filter(|generation| generation.life().is_reading()) {
            if let Ok(Some(truncation)) = verify(generation) {
                generation.life_mut().cut(truncation);
                is_truncated = true;
            }
        }
        is_truncated
    }

    /// Ends each life whose truncation showed, and begins the next; `true`: there was one whose rest is to be found.
    pub(crate) fn end_truncated(&mut self, eyes: &mut Eyes<'_>) -> bool {
        let mut is_sought = false;
        let mut index = 0;
        while index < self.chain.len() {
            if let Some((truncation, file)) = self.chain.at(index).life_mut().end() {
                let id = self.chain.new_id();
                let ended = self.chain.alter(index);
                let next = end_life(ended, truncation, file, id, eyes);
                is_sought |= ended.is_sought();
                if let Some(next) = next {
                    self.chain.insert(index + 1, next);
                }
                eyes.walks.begin_anew();
            }
            index += 1;
        }
        is_sought
    }

    /// Opens what was closed and grew since, and what could not be read. `all`: and what is as it was, for its names
    /// are known and others are to be compared with it.
    pub(crate) fn wake(&mut self, all: bool, eyes: &mut Eyes<'_>) {
        // In a batch a file is opened when it is its turn: nobody takes it away before.
        let next = self.next_read();
        for index in 0..self.chain.len() {
            let is_its_turn = !eyes.settings.is_batch || next == Some(index);
            let generation = self.chain.at(index);
            if generation.trouble() == Some(Errno::ESTALE) && !generation.must_wait(eyes.now) {
                generation.park();
            }
            if is_its_turn && generation.is_parked() && wake(generation, all, eyes) {
                self.chain.alter(index);
            }
        }
    }

    /// A batch does not wait for what cannot be opened.
    pub(crate) fn give_up_next(&mut self, eyes: &mut Eyes<'_>) {
        let Some(index) = self.next_read() else { return };
        let next = self.chain.at(index);
        if next.is_parked() {
            let errno = next.give_up_waiting();
            eyes.tell(Happening::OpenError { path: next.path().clone(), errno });
        }
    }

    /// A file that was found has this name; `true`: it is that of a generation. One that is looked for is known again by
    /// what it holds.
    pub(crate) fn note_name(&mut self, found: &FoundFile, path: &Path) -> bool {
        let is_this = |generation: &&mut Generation| generation.inode() == found.identity && !generation.is_sought();
        let mut is_ours = false;
        for generation in self.chain.iter_mut().filter(is_this) {
            is_ours = true;
            if !generation.is_live() {
                generation.set_path(path);
            }
        }
        is_ours
    }

    /// Whether a file is done with. One that grew since is read on.
    pub(crate) fn is_done(&mut self, found: &FoundFile, path: &Path, is_packed: bool, eyes: &mut Eyes<'_>) -> bool {
        let Some(done) = self.done.get(&found.identity) else { return false };
        let Some(offset) = done.offset.filter(|_| !is_packed) else { return true };
        if found.stamp.size <= offset {
            self.done.put_aside(path.to_path_buf(), found.identity, offset, None);
            return true;
        }
        let (memory, origin) = (Memory::from(done), done.origin);
        let Ok(file) = open(found, eyes) else { return true };
        let Some(memory) = memory.same_in(&file, offset) else {
            // Without births an inode number can come back with another file.
            let is_another = origin.identity.born_ns == 0;
            if is_another {
                self.done.take(&found.identity);
            }
            return !is_another;
        };
        self.done.take(&found.identity);
        self.begin_rotated(origin, path.to_path_buf(), Hand::Open(file), (offset, memory), eyes.now);
        true
    }

    /// Somebody wrote to a file that was done with, and it was packed after that.
    pub(crate) fn go_on_behind(&mut self, done: &Identity, candidate: Candidate, eyes: &mut Eyes<'_>) {
        let Some(offset) = self.done.get(done).map(|done| done.offset.unwrap_or_default()) else { return };
        let Ok((memory, stream)) = eyes.walks.stream(&candidate, offset, offset, eyes.around) else {
            return eyes.list_again();
        };
        self.done.take(done);
        eyes.tell(Happening::CopyMatched { path: candidate.path.clone(), offset, bytes: None });
        let hand = Hand::Unpacking(stream);
        self.begin_rotated(candidate.identity.into(), candidate.path, hand, (offset, memory), eyes.now);
    }

    /// A file that had lost the live name is read on behind all others that have.
    fn begin_rotated(&mut self, origin: Origin, path: PathBuf, hand: Hand, start: (u64, Memory), now: Instant) {
        let id = self.chain.new_id();
        let mut generation = Generation::new(id, origin, path, hand, now);
        generation.cursor_mut().begin_at(start.0, start.1);
        self.chain.insert_before_live(generation);
    }

    /// Acts on what a file was judged to be. One that was never seen, and may be read, is returned.
    pub(crate) fn settle(
        &mut self,
        candidate: Candidate,
        sighting: Sighting,
        here: &HashSet<Identity>,
        eyes: &mut Eyes<'_>,
    ) -> Option<Candidate> {
        match sighting {
            Sighting::Undecided => eyes.list_again(),
            Sighting::CopyOf(of) => {
                self.done.note_copy(&candidate, of);
                // What was not read yet may be truncated unseen: then the copy alone has it.
                let seen = self.chain.by_id(of).map_or(0, |of| of.seen());
                if !candidate.is_packed && candidate.size > seen {
                    eyes.list_again();
                }
            }
            Sighting::NotOurs => self.done.set(candidate.as_done()),
            Sighting::Moved(done) => self.done.add_copy(&done, &candidate, here),
            Sighting::GoesOn(done) => self.go_on_behind(&done, candidate, eyes),
            Sighting::Unread => {
                eyes.notes.tell_unread(&candidate);
                if matches!(candidate.obstacle, Some(Obstacle::Packing(_))) {
                    self.done.set(candidate.as_done());
                }
            }
            Sighting::Missed => return Some(candidate).filter(|missed| eyes.around.may_be_missed(&missed.path)),
        }
        None
    }

    /// Only these files are there: no other can grow.
    pub(crate) fn retain_aside(&mut self, here: &HashSet<Identity>) {
        self.done.retain_aside(here);
    }

    /// Of what is done with and is not there any more, the last few are remembered.
    pub(crate) fn forget_gone(&mut self, here: &HashSet<Identity>) {
        self.done.forget_gone(here);
    }

    /// A generation that was never seen is put in its place among the others, which names tell, oldest first.
    pub(crate) fn take_missed(&mut self, candidate: Candidate, ranks: &[PathBuf], eyes: &mut Eyes<'_>) {
        let hand = match candidate.file {
            Some(file) => Hand::Open(file),
            None => match open_packed(&candidate.path, &candidate.identity, eyes.around) {
                Ok(stream) => Hand::Unpacking(stream),
                Err(error) => {
                    eyes.lacks_descriptor(errno(&error));
                    return eyes.list_again();
                }
            },
        };
        let is_other = |other: &Generation| other.inode() != candidate.identity || !other.life().is_reading();
        debug_assert!(self.chain.iter().all(is_other), "no other is read from it");
        let id = self.chain.new_id();
        eyes.tell(Happening::Missed { path: candidate.path.clone(), identity: candidate.identity });
        let rank = |path: &PathBuf| ranks.iter().position(|other| other == path);
        let own = rank(&candidate.path);
        // A file that was truncated, written to and rotated is older than its copies by birth, and newer by name.
        let is_newer = |generation: &Generation| {
            let is_begun = generation.cursor().put() > 0 || generation.is_sought();
            generation.is_live() || (!is_begun && rank(generation.path()) > own)
        };
        let at = self.chain.iter().position(is_newer).unwrap_or(self.chain.len());
        self.chain.insert(at, Generation::new(id, candidate.identity.into(), candidate.path, hand, eyes.now));
    }
}

/// Opens a closed file where there is reason to; `true`: it is not what it was.
fn wake(generation: &mut Generation, all: bool, eyes: &mut Eyes<'_>) -> bool {
    let quiet = eyes.now.saturating_duration_since(generation.extent().grown());
    let is_drained = !generation.is_live() && quiet >= eyes.settings.drain_idle;
    let has_rest = generation.extent().size() > generation.cursor().read();
    let found = match look(generation.path()) {
        At::File(found) if found.identity == generation.inode() => found,
        At::Failed(errno) => {
            // Whether its name is gone is not known.
            eyes.lacks_descriptor(errno);
            return false;
        }
        _ => {
            // Its name is gone as well: one of the others may be a copy of it, and after so long nothing is expected of it
            // any more.
            if (all || has_rest) && !eyes.settings.is_batch {
                let size = if generation.extent().longest() > 0 { generation.known_size() } else { None };
                generation.life_mut().seek(eyes.now, size);
                eyes.agenda.list_by(eyes.now);
            } else if is_drained {
                generation.life_mut().finish();
            }
            return false;
        }
    };
    let is_unchanged = generation.extent().at_end() == Some(found.stamp);
    if is_unchanged && is_drained && !has_rest {
        generation.life_mut().finish();
        return false;
    }
    if is_unchanged && !is_drained && !all {
        return false;
    }
    let resumed = match found.open() {
        Opened::File(file) => generation.resume(file),
        Opened::Failed(errno) => Err(errno),
        Opened::Refused(_) => return false,
    };
    match resumed {
        Ok(is_another) => return is_another,
        Err(errno) if eyes.lacks_descriptor(errno) => {}
        // It is given up, and said, before the look is over.
        Err(errno) if eyes.settings.is_batch => generation.fail_silently(errno, eyes.now),
        Err(errno) => generation.fail(errno, eyes.now, eyes.notes),
    }
    false
}
