//! The part of a look that deals with the live name: which file has it, and what to do when that is another one.
//!
//! A file that takes the live name is opened at once, whatever is still to be read of its predecessors: it can be
//! unlinked a millisecond later.

use std::time::{Duration, Instant};

use nix::errno::Errno;
use standpipe_common::clock;

use crate::file::identity::{Identity, Origin};
use crate::file::open::{At, Found, Opened, Refusal, errno, is_out_of_descriptors, look};
use crate::log::blank::{Blank, content_end};
use crate::log::generation::Generation;
use crate::log::happening::{Happening, Truncation};
use crate::log::life::Hand;
use crate::log::memory::Memory;
use crate::log::settings::{StartAt, Surroundings};
use crate::log::source::Source;
use crate::log::trouble::Trouble;

impl Source {
    /// Looks who has the live name; `true`: not the same as before. `may_start_at_end`: nothing is known of it from an
    /// earlier run.
    pub(crate) fn look_at_name(&mut self, may_start_at_end: bool, now: Instant, around: &mut dyn Surroundings) -> bool {
        match look(self.name.path()) {
            At::File(found) => {
                self.name.see(found.is_mount(), &self.settings, &mut self.happenings);
                if self.live().is_some_and(|live| live.inode == found.identity) || self.take_copied_up(&found, now) {
                    self.name.settle(&mut self.happenings);
                    false
                } else if around.is_ours(&found.identity) {
                    self.refuse(Refusal::Ours, now)
                } else if around.is_anothers(&found.identity) {
                    self.refuse(Refusal::Followed, now)
                } else {
                    self.take_live(&found, may_start_at_end, now)
                }
            }
            At::Missing => {
                let was_live = self.chain.leave_live(now);
                self.name.miss(&self.settings, now, &mut self.happenings);
                was_live
            }
            At::Refused(refusal) => self.refuse(refusal, now),
            At::Failed(errno) => {
                self.fail(errno, now);
                false
            }
        }
    }

    /// An overlay made another file of the live one at its first write: the number of an inode that we have open is not
    /// given to any other file.
    fn take_copied_up(&mut self, found: &Found, now: Instant) -> bool {
        let number = |identity: &Identity| (identity.dev, identity.ino);
        let Some(live) = self.chain.live_mut().filter(|live| live.file().is_some()) else { return false };
        if number(&live.inode) != number(&found.identity) {
            return false;
        }
        let Opened::File(file) = found.open() else { return false };
        if let Err(errno) = resume(live, file) {
            live.fail(errno, now, &mut self.happenings);
            return true;
        }
        self.name.renumber(found.identity);
        self.chain.alter_live().map(|live| live.inode = found.identity).is_some()
    }

    /// Another file has the live name.
    fn take_live(&mut self, found: &Found, may_start_at_end: bool, now: Instant) -> bool {
        if let Some(index) = self.chain.iter().position(|other| other.inode == found.identity) {
            // An older name was given back.
            self.chain.leave_live(now);
            self.chain.give_back_live(index, self.name.path(), now);
        } else {
            let file = match found.open() {
                Opened::File(file) => file,
                Opened::Refused(refusal) => return self.refuse(refusal, now),
                Opened::Failed(errno) => {
                    // Whoever had the name before has it no longer, although nobody can be read in its place.
                    let was_live = self.chain.leave_live(now);
                    self.fail(errno, now);
                    return was_live;
                }
            };
            self.chain.leave_live(now);
            let generation = self.live_generation(found, file, may_start_at_end, now);
            if self.name.last().is_none() {
                let path = self.path().to_path_buf();
                self.tell(Happening::Opened { path, identity: found.identity, offset: generation.cursor.read() });
            }
            self.chain.push(generation);
        }
        self.name.take(found.identity, &mut self.happenings);
        true
    }

    fn live_generation(
        &mut self,
        found: &Found,
        file: std::fs::File,
        may_start_at_end: bool,
        now: Instant,
    ) -> Generation {
        let id = self.chain.new_id();
        let mut origin = Origin { identity: found.identity, epoch: 0 };
        let mut start = None;
        if let Some(done) = self.done.take(&found.identity) {
            origin = done.origin;
            // An old file has the live name again: what was read of it is not read again.
            let offset = done.offset.unwrap_or(done.size);
            let known = Memory::Guards { head: done.head, tail: done.guard };
            start = same_memory(&file, offset, &known);
            if start.is_none() {
                origin.epoch += 1;
            }
        } else if may_start_at_end && self.is_too_old(found) {
            start = end_of_lines(&file, found.stamp.size);
            let bytes = start.as_ref().map_or(0, |(offset, _)| *offset);
            self.tell(Happening::Ignored { path: self.path().to_path_buf(), bytes });
        } else if may_start_at_end
            && self.settings.start_at == StartAt::End
            && !(self.settings.since_ns > 0 && found.identity.born_ns >= self.settings.since_ns)
        {
            start = end_of_lines(&file, found.stamp.size);
        }
        let mut generation = Generation::new(id, origin, self.path().to_path_buf(), Hand::Open(file), now);
        generation.rename(true, now);
        match start {
            Some((offset, memory)) => generation.starting_at(offset, memory),
            None => generation,
        }
    }

    fn is_too_old(&self, found: &Found) -> bool {
        let age_ns = clock::file_ns().saturating_sub(found.stamp.changed_ns());
        let age = Duration::from_nanos(u64::try_from(age_ns).unwrap_or(0));
        self.settings.ignore_older.is_some_and(|older| age > older)
    }

    pub(crate) fn refuse(&mut self, refusal: Refusal, now: Instant) -> bool {
        self.name.refuse(refusal, &self.settings, now, &mut self.happenings);
        self.chain.leave_live(now)
    }

    fn fail(&mut self, errno: Errno, now: Instant) {
        if is_out_of_descriptors(errno) {
            self.agenda.want_descriptor(true);
        } else {
            self.name.fail(errno, &self.settings, now, &mut self.happenings);
        }
    }

    /// A batch does not wait for what cannot be opened.
    pub(crate) fn give_up_next(&mut self) {
        let Some(index) = self.next_read() else { return };
        let next = self.chain.at(index);
        if next.is_parked() {
            next.life.finish();
            let errno = next.trouble.take().map_or(Errno::ENOENT, |trouble| trouble.errno);
            let path = next.path.clone();
            self.tell(Happening::OpenError { path, errno });
        }
    }

    /// Opens what was closed and grew since, and what could not be read. `all`: and what is as it was, for its names
    /// are known and others are to be compared with it.
    pub(crate) fn wake(&mut self, all: bool, now: Instant) {
        // In a batch a file is opened when it is its turn: nobody takes it away before.
        let next = self.next_read();
        for index in 0..self.chain.len() {
            let generation = self.chain.at(index);
            if generation
                .trouble
                .is_some_and(|trouble| trouble.errno == Errno::ESTALE && trouble.retry.until(now).is_none())
            {
                generation.park();
            }
            if !generation.is_parked() || (self.settings.is_batch && next != Some(index)) {
                continue;
            }
            let is_drained =
                !generation.is_live() && now.saturating_duration_since(generation.grown) >= self.settings.drain_idle;
            let found = match look(&generation.path) {
                At::File(found) if found.identity == generation.inode => found,
                At::Failed(errno) => {
                    // Whether its name is gone is not known.
                    self.agenda.want_descriptor(is_out_of_descriptors(errno));
                    continue;
                }
                _ => {
                    // Its name is gone as well: one of the others may be a copy of it, and after so long nothing is
                    // expected of it any more.
                    let has_rest = generation.size > generation.cursor.read();
                    if (all || has_rest) && !self.settings.is_batch {
                        let size = if generation.longest > 0 { generation.known_size() } else { None };
                        generation.life.seek(now, size);
                        self.agenda.list_by(now);
                    } else if is_drained {
                        generation.life.finish();
                    }
                    continue;
                }
            };
            let is_unchanged = generation.at_end == Some(found.stamp);
            let has_rest = generation.size > generation.cursor.read();
            if is_unchanged && is_drained && !has_rest {
                generation.life.finish();
            }
            let has_reason = all || !is_unchanged || (is_drained && has_rest);
            if !generation.life.is_reading() || !has_reason {
                continue;
            }
            let resumed = match found.open() {
                Opened::File(file) => resume(generation, file),
                Opened::Failed(errno) => Err(errno),
                Opened::Refused(_) => continue,
            };
            match resumed {
                Ok(true) => drop(self.chain.alter(index)),
                Ok(false) => {}
                Err(errno) => self.cannot_wake(index, errno, now),
            }
        }
    }

    fn cannot_wake(&mut self, index: usize, errno: Errno, now: Instant) {
        let generation = self.chain.at(index);
        if is_out_of_descriptors(errno) {
            self.agenda.want_descriptor(true);
        } else if self.settings.is_batch {
            // It is given up, and said, before the look is over.
            generation.trouble = Some(Trouble::after(generation.trouble, errno, now));
        } else {
            generation.fail(errno, now, &mut self.happenings);
        }
    }
}

/// Goes on in a file that was opened again; `true`: it is not what it was.
pub(crate) fn resume(generation: &mut Generation, file: std::fs::File) -> Result<bool, Errno> {
    let mut is_another = None;
    match Memory::of_file(&file, generation.cursor.read()).map_err(|error| errno(&error))? {
        Some(memory) if generation.cursor.memory().is_same(&memory) => generation.cursor.know(memory),
        Some(_) => is_another = Some(Truncation::ContentChanged),
        None => is_another = Some(Truncation::SizeDecreased),
    }
    generation.at_end = None;
    generation.blank = Blank::default();
    generation.life.go_on(Hand::Open(file));
    if let Some(truncation) = is_another {
        generation.life.cut(truncation);
    }
    Ok(is_another.is_some())
}

/// What a file has before `offset`, if that is what is known of it.
pub(crate) fn same_memory(file: &std::fs::File, offset: u64, known: &Memory) -> Option<(u64, Memory)> {
    known.found_in(file, offset).ok().flatten().map(|memory| (offset, memory))
}

/// Behind the last newline of the first `size` bytes; at the end of them if that line is too long to look for. Lines are
/// still to be written over the zeros that they end in.
fn end_of_lines(file: &std::fs::File, size: u64) -> Option<(u64, Memory)> {
    const LOOKED_AT_MAX: u64 = 1 << 20;
    let size = content_end(file, 0, size).ok()?;
    let from = size.saturating_sub(LOOKED_AT_MAX);
    let mut bytes = vec![0; (size - from) as usize];
    let read = crate::log::memory::read_up_to(file, &mut bytes, from).ok()?;
    let offset = match memchr::memrchr(b'\n', &bytes[..read]) {
        Some(newline) => from + newline as u64 + 1,
        None if from == 0 => 0,
        None => from + read as u64,
    };
    Some((offset, Memory::of_file(file, offset).ok()??))
}
