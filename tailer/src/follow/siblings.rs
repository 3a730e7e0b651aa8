//! The part of a look that deals with the files around the live one: copies of it, generations that were never seen,
//! and files that are none of our business.

use std::collections::HashSet;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::follow::candidate::{Candidate, guards, unpacked};
use crate::follow::done::DONE_MAX;
use crate::follow::generation::{Generation, Phase, Place};
use crate::follow::happening::Happening;
use crate::follow::memory::Memory;
use crate::follow::sample::{Fit, Sample};
use crate::follow::settings::Surroundings;
use crate::guard::GUARD_BYTES_MAX;
use crate::identity::{Identity, Origin};
use crate::lease::Writers;
use crate::open::{At, Found, Opened, errno, is_out_of_descriptors, look};
use crate::source::Source;
use crate::state::{DoneState, SourceState};

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
enum Verdict {
    /// It cannot be said yet.
    Undecided,
    /// A copy of a generation that is on the list.
    CopyOf(usize),
    /// A packed copy of a file that is done with, which goes on behind what was read of it.
    GoesOn(Identity),
    /// Not to be read.
    NotOurs,
    /// A generation that was never seen.
    Missed,
}

impl Source {
    /// Goes through the files around the live one. `is_first`: nothing is known of them but what `restored` says.
    pub(crate) fn list(
        &mut self,
        is_first: bool,
        restored: Option<&SourceState>,
        now: Instant,
        around: &mut dyn Surroundings,
    ) {
        self.list_at = None;
        let mut candidates = self.unknown(now, around);
        // A closed file is opened under the name that it has by now: a copy of it is told by its content.
        self.wake(!candidates.is_empty(), now);
        if self.end_truncated(now) {
            around.refresh();
            return self.list(is_first, restored, now, around);
        }
        // What was packed while nobody looked may be a copy of a life that ended, or of one that was never seen.
        self.is_catching_up |= self.is_sought();
        self.find_rests(&mut candidates, now, around);
        let is_sought = self.is_sought();
        if is_sought {
            candidates.retain(|candidate| !candidate.is_packed);
        }
        let verdicts: Vec<Verdict> =
            candidates.iter().map(|candidate| self.judge(candidate, is_first, restored, around)).collect();
        if self.verify() {
            // A file was truncated while others were compared with it: a copy of it may be taken for something else, or
            // is not among them yet.
            around.refresh();
            self.end_truncated(now);
            return self.list(is_first, restored, now, around);
        }
        self.chain.iter_mut().for_each(Generation::confirm_first);
        self.is_catching_up &= is_sought;
        let mut missed = Vec::new();
        for (candidate, verdict) in candidates.into_iter().zip(verdicts) {
            match verdict {
                Verdict::Undecided => self.list_again(now),
                Verdict::CopyOf(index) => {
                    self.copies.retain(|(identity, _)| *identity != candidate.identity);
                    self.copies.push((candidate.identity, self.chain[index].id));
                    // What was not read yet may be truncated unseen: then the copy alone has it.
                    if !candidate.is_packed && candidate.size > self.chain[index].seen() {
                        self.list_again(now);
                    }
                }
                Verdict::NotOurs => {
                    let (head, tail) = guards(&candidate);
                    self.set_never_ours(candidate.identity, candidate.size, head, tail);
                }
                Verdict::GoesOn(done) => self.go_on_behind(done, candidate, now, around),
                Verdict::Missed => missed.push(candidate),
            }
        }
        let ranks = if missed.is_empty() { Vec::new() } else { self.oldest_first(around.candidates()) };
        let rank = |path: &Path| ranks.iter().position(|other| other == path);
        missed.sort_by_key(|candidate| (candidate.order_ns(), rank(&candidate.path)));
        for candidate in missed {
            self.take_missed(candidate, &ranks, now, around);
        }
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
        self.list_at = Some(self.list_at.map_or(at, |other| other.min(at)));
    }

    /// The files around the live one that are neither on the list nor done with, open. Those on the list are told their
    /// names.
    fn unknown(&mut self, now: Instant, around: &mut dyn Surroundings) -> Vec<Candidate> {
        for _ in 1..SURVEYS_MAX {
            let before = survey(&self.path, around);
            // Another file may have the live name since the look began: rotated files would be taken for older than
            // the one that had it.
            self.look_at_name(false, now, around);
            let candidates = self.unknown_at_once(now, around);
            // Where there is nothing but the live name, nothing can have been shifted: a directory of ten thousand
            // logs is not listed again for each of them.
            if before.len() == 1 {
                return candidates;
            }
            around.refresh();
            if survey(&self.path, around) == before {
                return candidates;
            }
        }
        self.unknown_at_once(now, around)
    }

    fn unknown_at_once(&mut self, now: Instant, around: &mut dyn Surroundings) -> Vec<Candidate> {
        let mut candidates: Vec<Candidate> = Vec::new();
        let mut here = HashSet::new();
        for path in around.candidates() {
            let At::File(found) = look(&path) else { continue };
            let is_listed = !here.insert(found.identity);
            if is_listed || around.is_ours(&found.identity) || path == self.path {
                continue;
            }
            let mut is_ours = false;
            for generation in self.chain.iter_mut().filter(|generation| generation.inode == found.identity) {
                is_ours = true;
                if !generation.is_live() {
                    generation.path.clone_from(&path);
                }
            }
            let is_forgotten = self.done.len() >= DONE_MAX && found.identity.born_ns < self.since_ns;
            if is_ours || self.is_done(&found, &path, now) || is_forgotten {
                continue;
            }
            let is_packed = around.is_packed(&path);
            let file = if is_packed { None } else { self.open_candidate(&found, now) };
            candidates.push(Candidate {
                path,
                identity: found.identity,
                size: found.stamp.size,
                changed_ns: found.stamp.changed_ns(),
                is_packed,
                file,
            });
        }
        self.forget_gone(&here);
        candidates
    }

    /// Whether a file is done with. One that grew since is read on.
    fn is_done(&mut self, found: &Found, path: &Path, now: Instant) -> bool {
        let Some(index) = self.done.iter().position(|done| done.origin.identity == found.identity) else {
            return false;
        };
        let done = &self.done[index];
        let Some(offset) = done.offset.filter(|offset| found.stamp.size > *offset) else { return true };
        let memory = Memory::Guards { head: done.head, tail: done.guard };
        let origin = done.origin;
        let Some(file) = self.open_candidate(found, now) else { return true };
        let same = super::names::same_memory(&file, offset, &memory);
        let Some((offset, memory)) = same else {
            // Without births an inode number can come back with another file.
            let is_another = origin.identity.born_ns == 0;
            if is_another {
                self.done.remove(index);
            }
            return !is_another;
        };
        self.done.remove(index);
        let id = self.new_id();
        let generation = Generation::new(id, origin, path.to_path_buf(), Place::Open(file), now);
        self.insert(generation.starting_at(offset, memory));
        true
    }

    fn open_candidate(&mut self, found: &Found, now: Instant) -> Option<File> {
        match found.open() {
            Opened::File(file) => Some(file),
            Opened::Refused(_) => None,
            Opened::Failed(errno) => {
                self.wants_descriptor |= is_out_of_descriptors(errno);
                self.list_again(now);
                None
            }
        }
    }

    fn judge(
        &mut self,
        candidate: &Candidate,
        is_first: bool,
        restored: Option<&SourceState>,
        around: &mut dyn Surroundings,
    ) -> Verdict {
        if candidate.is_packed {
            if !self.is_catching_up {
                return Verdict::NotOurs;
            }
        } else {
            let Some(file) = &candidate.file else { return Verdict::Undecided };
            if candidate.size == 0 {
                let is_written = (self.settings.writers)(file) != Writers::Nobody;
                return if is_written && !is_first { Verdict::Undecided } else { Verdict::Missed };
            }
        }
        if let Some(index) = self.copy_of(candidate, around) {
            return Verdict::CopyOf(index);
        }
        // What was forgotten is older than all that is not. Else a file that could not be opened yet may be older than
        // what is known. The birth is that of the checkpoint: what is read now may be a copy, younger than its successor.
        let has_forgotten = self.done.len() >= DONE_MAX;
        let oldest = restored.filter(|_| has_forgotten).and_then(|state| state.generations.first());
        let oldest_ns = oldest.map(|oldest| oldest.origin.identity.born_ns);
        let is_older = candidate.age_ns() < self.since_ns.max(oldest_ns.unwrap_or(i64::MIN));
        if is_older {
            return Verdict::NotOurs;
        }
        if let Some(done) = self.done_copied_by(candidate, around) {
            let mut has_more = || candidate.sample(done.size + 1, around).is_some_and(|sample| sample.at > done.size);
            let goes_on = done.offset.is_some() && candidate.is_packed && has_more();
            return if goes_on { Verdict::GoesOn(done.origin.identity) } else { Verdict::NotOurs };
        }
        // What is older than the live file and not done with could not be opened yet.
        let is_younger = self.live().is_some_and(|live| candidate.age_ns() >= live.inode.born_ns);
        let is_stray = |state| is_younger && self.is_untouched(state);
        let was_there = is_first && restored.map_or(candidate.identity.born_ns == 0, is_stray);
        if was_there { Verdict::NotOurs } else { Verdict::Missed }
    }

    fn is_sought(&self) -> bool {
        self.chain.iter().any(|generation| matches!(generation.phase, Phase::Sought { .. }))
    }

    /// The generation that begins with all that a file holds.
    fn copy_of(&self, candidate: &Candidate, around: &mut dyn Surroundings) -> Option<usize> {
        let all = candidate.sample(u64::MAX, around)?;
        self.chain.iter().rposition(|generation| {
            // A copy is born after what it is a copy of. A generation that has no more than the usual first lines is
            // told from a copy of the live one by that.
            let (born, of_ns) = (candidate.identity.born_ns, generation.origin.identity.born_ns);
            let may_be_copy = born == 0 || of_ns == 0 || born >= of_ns;
            let of = match &generation.place {
                Place::Open(file) => {
                    let size = file.metadata().ok().map(|metadata| metadata.len());
                    size.and_then(|size| Sample::of_file(file, size, all.at).ok())
                }
                Place::Packed(_) => {
                    let mut stream = around.unpack(&generation.path).ok();
                    stream.as_mut().and_then(|stream| Sample::of_stream(&mut **stream, all.at).ok())
                }
                Place::Away => None,
            };
            // Of one that cannot be opened now it is a copy as far as is remembered of it.
            let mut seems_copy = || {
                let sample = candidate.sample(generation.seen(), around).filter(|_| generation.is_parked());
                sample.is_some_and(|sample| sample.fit(generation) != Fit::No)
            };
            let was_copy = self.copies.contains(&(candidate.identity, generation.id));
            of.map_or_else(|| was_copy || (may_be_copy && seems_copy()), |of| may_be_copy && of.begins_with(&all))
        })
    }

    /// Whether the file that had the live name when the checkpoint was written has it still, and was not truncated:
    /// then nothing can have been rotated since.
    fn is_untouched(&self, state: &SourceState) -> bool {
        // Of a file of which nothing was read, nobody can say whether it was truncated.
        let is_live = |generation: &Generation| {
            generation.is_live() && generation.phase == Phase::Reading && generation.memory.says_something()
        };
        state.is_live && self.chain.len() == 1 && self.chain.iter().all(is_live) && {
            let (saved, now) = (&state.generations[0].origin, &self.chain[0].origin);
            saved == now
        }
    }

    /// The file that is done with and of which this is a copy, as far as that was read.
    fn done_copied_by(&self, candidate: &Candidate, around: &mut dyn Surroundings) -> Option<&DoneState> {
        // Most are told apart by their beginnings: to unpack a file once for each that is done with takes long.
        let begin = candidate.sample(GUARD_BYTES_MAX as u64, around)?;
        let may_be = |done: &&DoneState| done.size > 0 && done.head.fits(&begin.head) != Some(false);
        self.done.iter().filter(may_be).find(|done| {
            if !candidate.is_packed && candidate.size != done.size {
                return false;
            }
            candidate.sample(done.size, around).is_some_and(|sample| sample.is_copy_of(done))
        })
    }

    /// Somebody wrote to a file that was done with, and it was packed after that.
    fn go_on_behind(&mut self, done: Identity, candidate: Candidate, now: Instant, around: &mut dyn Surroundings) {
        let Some(index) = self.done.iter().position(|other| other.origin.identity == done) else { return };
        let offset = self.done[index].offset.unwrap_or_default();
        let Some((memory, stream)) = unpacked(&candidate, offset, offset, around) else { return self.list_again(now) };
        self.done.remove(index);
        let id = self.new_id();
        let origin = Origin { identity: candidate.identity, epoch: 0 };
        self.tell(Happening::CopyMatched { path: candidate.path.clone(), offset, bytes: None });
        let generation = Generation::new(id, origin, candidate.path, Place::Packed(stream), now);
        self.insert(generation.starting_at(offset, memory));
    }

    fn take_missed(&mut self, candidate: Candidate, ranks: &[PathBuf], now: Instant, around: &mut dyn Surroundings) {
        let place = match candidate.file {
            Some(file) => Place::Open(file),
            None => match around.unpack(&candidate.path) {
                Ok(stream) => Place::Packed(stream),
                Err(error) => {
                    self.wants_descriptor |= is_out_of_descriptors(errno(&error));
                    return self.list_again(now);
                }
            },
        };
        let id = self.new_id();
        let origin = Origin { identity: candidate.identity, epoch: 0 };
        self.tell(Happening::Missed { path: candidate.path.clone(), identity: candidate.identity });
        let rank = |path: &PathBuf| ranks.iter().position(|other| other == path);
        let own = rank(&candidate.path);
        // A file that was truncated, written to and rotated is older than its copies by birth, and newer by name.
        let is_newer = |generation: &Generation| {
            let is_begun = generation.put > 0 || matches!(generation.phase, Phase::Sought { .. });
            generation.is_live() || (!is_begun && rank(&generation.path) > own)
        };
        let at = self.chain.iter().position(is_newer).unwrap_or(self.chain.len());
        self.chain.insert(at, Generation::new(id, origin, candidate.path, place, now));
        self.is_changed = true;
    }

    /// Behind all that have lost the live name, before the one that has it.
    fn insert(&mut self, generation: Generation) {
        let at = self.chain.len() - usize::from(self.live().is_some());
        self.chain.insert(at, generation);
        self.is_changed = true;
    }
}
