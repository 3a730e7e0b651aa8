//! The part of a look that deals with the files around the live one: copies of it, generations that were never seen,
//! and files that are none of our business.

use std::collections::HashSet;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use nix::errno::Errno;

use crate::checkpoint::state::{DoneState, SourceState};
use crate::file::identity::{Identity, Origin};
use crate::file::lease::Writers;
use crate::file::open::{At, Found, Opened, Stamp, errno, is_out_of_descriptors, look};
use crate::file::packed::Packing;
use crate::log::agenda::Task;
use crate::log::candidate::{Candidate, Obstacle, open_packed};
use crate::log::copies::Copy;
use crate::log::generation::Generation;
use crate::log::happening::Happening;
use crate::log::life::Hand;
use crate::log::memory::Memory;
use crate::log::settings::Surroundings;
use crate::log::source::Source;
use crate::log::walk::Walks;

/// How often names are gone through while somebody renames them: a rotator is done within milliseconds.
pub(crate) const SURVEYS_MAX: usize = 32;

/// What stands at each path. While a rotator shifts names, a file can be at none of them for who goes through them one
/// by one, and the one after it seems to be the next. Two surveys that are equal tell that nobody did in between.
pub(crate) fn survey(live: &Path, around: &mut dyn Surroundings) -> Vec<(PathBuf, Option<Identity>)> {
    let paths = around.candidates().into_iter().chain([live.to_path_buf()]);
    let identity = |path: &PathBuf| fs::metadata(path).ok().map(|metadata| Identity::from(&metadata));
    paths.map(|path| (path.clone(), identity(&path))).collect()
}

/// What a file beside the live one is.
#[derive(Clone, Copy)]
enum Sighting {
    /// It cannot be said yet.
    Undecided,
    /// A copy of a generation that is on the list.
    CopyOf(usize),
    /// A copy of a file that is done with.
    Moved(Identity),
    /// The same, packed, which goes on behind what was read of it.
    GoesOn(Identity),
    /// It cannot be read, and may be one that was never seen.
    Unread,
    /// Not to be read.
    NotOurs,
    /// A generation that was never seen.
    Missed,
}

impl Source {
    /// Goes through the files around the live one.
    pub(crate) fn list(&mut self, task: &Task, now: Instant, around: &mut dyn Surroundings) {
        self.agenda.begin_list();
        self.chain.iter_mut().for_each(|generation| generation.seek_again(now));
        self.walks.begin();
        let (mut candidates, here) = self.unknown(now, around);
        // A closed file is opened under the name that it has by now: a copy of it is told by its content.
        let sought = self.sought();
        self.wake(!candidates.is_empty(), now);
        if self.end_truncated(now) || self.sought() > sought {
            around.refresh();
            return self.list(task, now, around);
        }
        self.unpack(&mut candidates, &here, now, around);
        if self.is_postponed(now) {
            return;
        }
        self.find_rests(&mut candidates, now, around);
        if self.is_postponed(now) {
            return;
        }
        if self.sought() > 0 {
            // It may be in one that cannot be unpacked yet.
            candidates.retain(|candidate| !candidate.is_packed);
        }
        let mut walks = std::mem::take(&mut self.walks);
        let mut judge = |candidate| self.judge(candidate, &here, task, &mut walks, around);
        let verdicts: Vec<Sighting> = candidates.iter().map(&mut judge).collect();
        self.walks = walks;
        if self.is_postponed(now) {
            return;
        }
        if self.verify() {
            // A file was truncated while others were compared with it: a copy of it may be taken for something else, or
            // is not among them yet.
            around.refresh();
            self.end_truncated(now);
            return self.list(task, now, around);
        }
        self.chain.iter_mut().for_each(Generation::confirm_first);
        let mut missed = Vec::new();
        for (candidate, verdict) in candidates.into_iter().zip(verdicts) {
            match verdict {
                Sighting::Undecided => self.list_again(now),
                Sighting::CopyOf(index) => {
                    self.done.note_copy(Copy::new(&candidate, self.chain[index].id));
                    // What was not read yet may be truncated unseen: then the copy alone has it.
                    if !candidate.is_packed && candidate.size > self.chain[index].seen() {
                        self.list_again(now);
                    }
                }
                Sighting::NotOurs => self.done.set(candidate.as_done()),
                Sighting::Moved(done) => self.move_done(done, &candidate, &here),
                Sighting::GoesOn(done) => self.go_on_behind(done, candidate, now, around),
                Sighting::Unread => {
                    self.tell_unread(&candidate);
                    if matches!(candidate.obstacle, Some(Obstacle::Packing(_))) {
                        self.done.set(candidate.as_done());
                    }
                }
                Sighting::Missed if around.may_be_missed(&candidate.path) => missed.push(candidate),
                Sighting::Missed => {}
            }
        }
        let ranks = if missed.is_empty() { Vec::new() } else { self.oldest_first(around.candidates()) };
        let rank = |path: &Path| ranks.iter().position(|other| other == path);
        missed.sort_by_key(|candidate| (candidate.order_ns(), rank(&candidate.path)));
        for candidate in missed {
            self.take_missed(candidate, &ranks, now, around);
        }
        if around.unlisted().is_none() {
            self.unlisted = None;
            // Not before: what is gone may have been packed.
            self.done.forget_gone(&here);
        }
        if !self.is_postponed(now) {
            self.walks.end();
        }
    }

    /// Whether nothing is to be decided before the next look, for a packed file is not gone through yet.
    fn is_postponed(&mut self, now: Instant) -> bool {
        let is_postponed = self.walks.are_under_way();
        if is_postponed {
            self.walks.end();
            self.agenda.list_by(now);
        }
        is_postponed
    }

    /// Rotated files by their names, oldest first. Most rotators give the newest the smallest number. Where files tell
    /// that numbers grow with time, it is the other way round: by the last changes, else by what was known before. Not
    /// by births: a copy is younger than the file that was truncated after it.
    fn oldest_first(&self, mut paths: Vec<PathBuf>) -> Vec<PathBuf> {
        let age = |path: &PathBuf| {
            let metadata = fs::metadata(path).ok()?;
            Some((metadata.mtime(), metadata.mtime_nsec(), !self.knows(&Identity::from(&metadata))))
        };
        let ages: Vec<_> = paths.iter().filter_map(age).collect();
        let (mut rising, mut falling) = (0, 0);
        for pair in ages.windows(2) {
            rising += usize::from(pair[0] < pair[1]);
            falling += usize::from(pair[0] > pair[1]);
        }
        if falling > rising {
            paths.reverse();
        }
        paths
    }

    /// Lists again before long, without a hint.
    pub(crate) fn list_again(&mut self, now: Instant) {
        let at = now + self.settings.reconcile.min(std::time::Duration::from_secs(1));
        self.agenda.list_by(at);
    }

    /// The files around the live one that are neither on the list nor done with, open, and all that are there. Those on
    /// the list are told their names.
    fn unknown(&mut self, now: Instant, around: &mut dyn Surroundings) -> (Vec<Candidate>, HashSet<Identity>) {
        for _ in 1..SURVEYS_MAX {
            let before = survey(self.path(), around);
            // Another file may have the live name since the look began: rotated files would be taken for older than
            // the one that had it.
            self.look_at_name(false, now, around);
            let candidates = self.unknown_at_once(now, around);
            // A directory of ten thousand logs is not listed again for each of them: not where there is nothing but the
            // live name, for nothing can have been shifted then; nor where nothing has that name, and all others are
            // known, for then nothing is decided.
            let is_alone = before.len() == 1;
            let is_away = before.last().is_some_and(|(_, live)| live.is_none()) && self.live().is_none();
            let is_all_known = candidates.0.is_empty() && self.is_all_here(&candidates.1);
            if (is_alone || is_away && is_all_known) && self.sought() == 0 {
                return candidates;
            }
            around.refresh();
            if survey(self.path(), around) == before {
                return candidates;
            }
        }
        self.unknown_at_once(now, around)
    }

    /// Whether every file that it knows is `here`.
    fn is_all_here(&self, here: &HashSet<Identity>) -> bool {
        let done = self.done.files().iter().map(|done| done.origin.identity);
        self.chain.iter().map(|generation| generation.inode).chain(done).all(|file| here.contains(&file))
    }

    fn unknown_at_once(&mut self, now: Instant, around: &mut dyn Surroundings) -> (Vec<Candidate>, HashSet<Identity>) {
        let mut candidates: Vec<Candidate> = Vec::new();
        let mut here = HashSet::new();
        for path in around.candidates() {
            let At::File(found) = look(&path) else { continue };
            let is_listed = !here.insert(found.identity);
            let is_others =
                |around: &mut dyn Surroundings| around.is_ours(&found.identity) || around.is_anothers(&found.identity);
            if is_listed || path == self.path() || is_others(around) {
                continue;
            }
            let mut is_packed = around.is_packed(&path);
            let mut is_ours = false;
            // One that is looked for is known again by what it holds.
            let is_this = |generation: &&mut Generation| generation.inode == found.identity && !generation.is_sought();
            for generation in self.chain.iter_mut().filter(is_this) {
                is_ours = true;
                if !generation.is_live() {
                    generation.path.clone_from(&path);
                }
            }
            let is_forgotten = self.done.has_forgotten() && found.identity.born_ns < self.done.since_ns();
            if is_ours || is_forgotten || self.is_done(&found, &path, is_packed, now) {
                continue;
            }
            let (mut file, mut obstacle) = (None, None);
            if !is_packed {
                match self.open_candidate(&found, now) {
                    Ok(opened) if Packing::of_file(&opened).is_some() => is_packed = true,
                    Ok(opened) => file = Some(opened),
                    Err(errno) if is_out_of_descriptors(errno) => {}
                    Err(errno) => obstacle = Some(Obstacle::Errno(errno)),
                }
            }
            if is_packed && self.is_packed_copy(&found) {
                continue;
            }
            candidates.push(Candidate { is_packed, file, obstacle, ..Candidate::found(path, &found) });
        }
        self.done.retain_aside(&here);
        (candidates, here)
    }

    /// Whether a file is done with. One that grew since is read on.
    fn is_done(&mut self, found: &Found, path: &Path, is_packed: bool, now: Instant) -> bool {
        let Some(done) = self.done.get(&found.identity) else { return false };
        let Some(offset) = done.offset.filter(|_| !is_packed) else { return true };
        if found.stamp.size <= offset {
            self.done.put_aside(path.to_path_buf(), found.identity, offset, None);
            return true;
        }
        let memory = Memory::Guards { head: done.head, tail: done.guard };
        let origin = done.origin;
        let Ok(file) = self.open_candidate(found, now) else { return true };
        let same = super::names::same_memory(&file, offset, &memory);
        let Some((offset, memory)) = same else {
            // Without births an inode number can come back with another file.
            let is_another = origin.identity.born_ns == 0;
            if is_another {
                self.done.take(&found.identity);
            }
            return !is_another;
        };
        self.done.take(&found.identity);
        let id = self.chain.new_id();
        let generation = Generation::new(id, origin, path.to_path_buf(), Hand::Open(file), now);
        self.chain.insert_before_live(generation.starting_at(offset, memory));
        true
    }

    fn open_candidate(&mut self, found: &Found, now: Instant) -> Result<File, Errno> {
        match found.open() {
            Opened::File(file) => Ok(file),
            Opened::Refused(_) => Err(Errno::EINVAL),
            Opened::Failed(errno) => {
                self.agenda.want_descriptor(is_out_of_descriptors(errno));
                self.list_again(now);
                Err(errno)
            }
        }
    }

    fn judge(
        &mut self,
        candidate: &Candidate,
        here: &HashSet<Identity>,
        task: &Task,
        walks: &mut Walks,
        around: &mut dyn Surroundings,
    ) -> Sighting {
        let restored = task.restored.as_ref();
        if candidate.obstacle.is_some() {
            return self.judge_unread(candidate, here);
        } else if candidate.is_packed {
            if candidate.unpacked.is_none() {
                return Sighting::Undecided;
            }
        } else {
            let Some(file) = &candidate.file else { return Sighting::Undecided };
            if candidate.size == 0 {
                let is_written = (self.settings.writers)(file) != Writers::Nobody;
                // One that is born after the live file may be a copy of it that was just begun.
                let is_copy = self.live().is_some_and(|live| candidate.age_ns() >= live.inode.born_ns);
                return if is_written && (is_copy || !task.is_first) { Sighting::Undecided } else { Sighting::Missed };
            }
        }
        if let Some(index) = self.copy_of(candidate, walks, around) {
            return Sighting::CopyOf(index);
        }
        // What was forgotten is older than all that is not. Else a file that could not be opened yet may be older than
        // what is known. The birth is that of the checkpoint: what is read now may be a copy, younger than its successor.
        let has_forgotten = self.done.has_forgotten();
        let oldest = restored.filter(|_| has_forgotten).and_then(|state| state.generations.first());
        let oldest_ns = oldest.map(|oldest| oldest.origin.identity.born_ns);
        let is_older = candidate.age_ns() < self.done.since_ns().max(oldest_ns.unwrap_or(i64::MIN));
        if is_older {
            return Sighting::NotOurs;
        }
        let was_plain = |head: Vec<u8>| self.was_plain(&head, &candidate.changed(), here);
        if let Some(done) = candidate.head().filter(|_| candidate.is_packed).and_then(was_plain) {
            return Sighting::Moved(done);
        }
        if let Some(done) = self.done_copied_by(candidate, walks, around) {
            let mut more =
                || candidate.sample(done.size + 1, walks, around).is_some_and(|sample| sample.at > done.size);
            let goes_on = done.offset.is_some() && candidate.is_packed && more();
            let identity = done.origin.identity;
            return if goes_on { Sighting::GoesOn(identity) } else { Sighting::Moved(identity) };
        }
        // What is older than the live file and not done with could not be opened yet.
        let is_younger = self.live().is_some_and(|live| candidate.age_ns() >= live.inode.born_ns);
        let is_stray = |state| is_younger && self.is_untouched(state);
        let was_there = task.is_first && restored.map_or(candidate.identity.born_ns == 0, is_stray);
        if was_there { Sighting::NotOurs } else { Sighting::Missed }
    }

    /// Of a file that cannot be read, its times have to do: it is what became of one that is known if that is not `here`
    /// any more and was changed last at the same time.
    fn judge_unread(&self, candidate: &Candidate, here: &HashSet<Identity>) -> Sighting {
        let is_done = |done: &DoneState| {
            let is_gone = done.offset.is_some() && !here.contains(&done.origin.identity);
            is_gone && done.changed_ns != 0 && candidate.changed().contains(&done.changed_ns)
        };
        let is_read = |generation: &Generation| {
            let metadata = generation.file().and_then(|file| file.metadata().ok()).filter(|all| all.nlink() == 0);
            metadata.is_some_and(|metadata| candidate.changed().contains(&Stamp::from(&metadata).changed_ns()))
        };
        let is_known = candidate.is_packed && (self.done.files().iter().any(is_done) || self.chain.iter().any(is_read));
        if is_known || candidate.age_ns() < self.done.since_ns() { Sighting::NotOurs } else { Sighting::Unread }
    }

    /// Says once that a file cannot be read.
    pub(crate) fn tell_unread(&mut self, candidate: &Candidate) {
        if let Some(obstacle) = &candidate.obstacle
            && self.told.insert(candidate.identity)
        {
            let (path, bytes, why) = (candidate.path.clone(), candidate.size, obstacle.to_string());
            self.tell(Happening::Unreadable { path, bytes, why });
        }
    }

    /// How many generations are looked for.
    fn sought(&self) -> usize {
        self.chain.iter().filter(|generation| generation.is_sought()).count()
    }

    /// Whether the file that had the live name when the checkpoint was written has it still, and was not truncated:
    /// then nothing can have been rotated since.
    fn is_untouched(&self, state: &SourceState) -> bool {
        // Of a file of which nothing was read, nobody can say whether it was truncated.
        let is_live = |generation: &Generation| {
            generation.is_live() && generation.life.is_reading() && generation.cursor.memory().says_something()
        };
        state.is_live && self.chain.len() == 1 && self.chain.iter().all(is_live) && {
            let (saved, now) = (&state.generations[0].origin, &self.chain[0].origin);
            saved == now
        }
    }

    /// A file is a copy of one that is done with. Where that is gone, it was packed or moved: what is known of it is
    /// known of the copy from now on, and of no other.
    fn move_done(&mut self, done: Identity, candidate: &Candidate, here: &HashSet<Identity>) {
        if here.contains(&done) {
            return self.done.set(candidate.as_done());
        }
        let Some(done) = self.done.take(&done) else { return };
        self.done.set(DoneState { origin: Origin { identity: candidate.identity, epoch: 0 }, ..done });
    }

    /// Somebody wrote to a file that was done with, and it was packed after that.
    fn go_on_behind(&mut self, done: Identity, candidate: Candidate, now: Instant, around: &mut dyn Surroundings) {
        let Some(offset) = self.done.get(&done).map(|done| done.offset.unwrap_or_default()) else { return };
        let Ok((memory, stream)) = self.walks.stream(&candidate, offset, offset, around) else {
            return self.list_again(now);
        };
        self.done.take(&done);
        let id = self.chain.new_id();
        let origin = Origin { identity: candidate.identity, epoch: 0 };
        self.tell(Happening::CopyMatched { path: candidate.path.clone(), offset, bytes: None });
        let generation = Generation::new(id, origin, candidate.path, Hand::Unpacking(stream), now);
        self.chain.insert_before_live(generation.starting_at(offset, memory));
    }

    fn take_missed(&mut self, candidate: Candidate, ranks: &[PathBuf], now: Instant, around: &mut dyn Surroundings) {
        let hand = match candidate.file {
            Some(file) => Hand::Open(file),
            None => match open_packed(&candidate.path, &candidate.identity, around) {
                Ok(stream) => Hand::Unpacking(stream),
                Err(error) => {
                    self.agenda.want_descriptor(is_out_of_descriptors(errno(&error)));
                    return self.list_again(now);
                }
            },
        };
        let id = self.chain.new_id();
        let origin = Origin { identity: candidate.identity, epoch: 0 };
        self.tell(Happening::Missed { path: candidate.path.clone(), identity: candidate.identity });
        let rank = |path: &PathBuf| ranks.iter().position(|other| other == path);
        let own = rank(&candidate.path);
        // A file that was truncated, written to and rotated is older than its copies by birth, and newer by name.
        let is_newer = |generation: &Generation| {
            let is_begun = generation.cursor.put() > 0 || generation.is_sought();
            generation.is_live() || (!is_begun && rank(&generation.path) > own)
        };
        let at = self.chain.iter().position(is_newer).unwrap_or(self.chain.len());
        self.chain.insert(at, Generation::new(id, origin, candidate.path, hand, now));
    }
}
