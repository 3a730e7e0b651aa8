//! The part of a look that deals with truncated files: the life that ended, the one that began, and where the rest of
//! the first may be found.
//!
//! A copy of a truncated file was made before the truncation: one list of the files around it shows whether there is
//! one. Only while one of them cannot be judged is the answer waited for.

use std::fs::File;
use std::time::Instant;

use crate::file::guard::GUARD_BYTES_MAX;
use crate::file::identity::{Identity, Origin};
use crate::file::lease::Writers;
use crate::log::blank::Blank;
use crate::log::candidate::{Candidate, Obstacle};
use crate::log::choice::{Choice, choose};
use crate::log::generation::Generation;
use crate::log::happening::{Happening, Truncation};
use crate::log::life::{Hand, Phase};
use crate::log::memory::{Memory, read_up_to};
use crate::log::names::same_memory;
use crate::log::reading::verify;
use crate::log::replaced::Doubt;
use crate::log::sample::{Fit, Sample};
use crate::log::settings::Surroundings;
use crate::log::source::Source;
use crate::log::walk::Walks;
use crate::out::lines::GenerationId;

/// What is left of a file that was cut is at least so long, or more than half of it.
const CUT_BYTES_MIN: u64 = 32;

impl Source {
    /// Finds truncations before files are compared; `true`: there was one.
    pub(crate) fn verify(&mut self) -> bool {
        let mut is_truncated = false;
        for generation in self.chain.iter_mut().filter(|generation| generation.life.is_reading()) {
            if let Ok(Some(truncation)) = verify(generation) {
                generation.life.cut(truncation);
                is_truncated = true;
            }
        }
        is_truncated
    }

    /// Ends each life whose truncation showed, and begins the next; `true`: there was one whose rest is to be found.
    pub(crate) fn end_truncated(&mut self, now: Instant) -> bool {
        let mut is_sought = false;
        let mut index = 0;
        while index < self.chain.len() {
            if let Some((truncation, file)) = self.chain.at(index).life.end() {
                is_sought |= self.end_one(index, truncation, file, now);
                // From here on other places of other files matter.
                self.walks = Walks::default();
            }
            index += 1;
        }
        is_sought
    }

    /// `file` is what was read, and begins anew.
    fn end_one(&mut self, index: usize, truncation: Truncation, file: File, now: Instant) -> bool {
        let id = self.chain.new_id();
        let ended = self.chain.alter(index);
        let cut = if truncation == Truncation::SizeDecreased { cut_end(ended, &file) } else { None };
        if let Some(size) = cut.filter(|size| *size >= ended.cursor.read()) {
            // Only of the unfinished line something is gone.
            let lost = ended.cursor.cut_held(size);
            ended.life.go_on(Hand::Open(file));
            ended.at_end = None;
            ended.longest = size;
            self.tell(Happening::Truncated(Truncation::EndCut));
            self.tell(Happening::Lost { bytes: lost });
            return false;
        }
        let origin = Origin { epoch: ended.origin.epoch + 1, ..ended.origin };
        let mut next = Generation::new(id, origin, ended.path.clone(), Hand::Parked, now);
        next.rotated = ended.rotated;
        let was_live = ended.is_live();
        let gone = cut.map_or(0, |size| ended.seen() - size);
        ended.rename(false, now);
        let kept = cut.and_then(|size| Some((size, Memory::of_file(&file, size).ok()??)));
        if let Some((size, memory)) = kept {
            let held = ended.cursor.take_held();
            next = next.starting_at(size, memory);
            // It may be on its way back, unless it is so little that it would be there by chance.
            let may_come_back = was_live && !self.settings.is_batch && gone >= CUT_BYTES_MIN;
            next.doubt = may_come_back.then(|| Doubt::new(size, now));
            self.tell(Happening::Truncated(Truncation::EndCut));
            if !held.is_empty() {
                self.tell(Happening::Lost { bytes: held.len() as u64 });
            }
        } else {
            let size = ended.known_size();
            ended.life.seek(now, size);
            next.zeros_until = ended.seen();
            self.tell(Happening::Truncated(truncation));
        }
        next.life.go_on(Hand::Open(file));
        self.chain.insert(index + 1, next);
        cut.is_none()
    }

    /// Looks for the rest of each life that ended among files that are not known. What is taken is taken off the list.
    pub(crate) fn find_rests(&mut self, candidates: &mut Vec<Candidate>, now: Instant, around: &mut dyn Surroundings) {
        let sought: Vec<GenerationId> =
            self.chain.iter().filter(|generation| generation.is_sought()).map(|generation| generation.id).collect();
        for id in sought {
            let Some(index) = self.chain.iter().position(|generation| generation.id == id) else { continue };
            self.find_rest(index, candidates, now, around);
        }
    }

    fn find_rest(
        &mut self,
        index: usize,
        candidates: &mut Vec<Candidate>,
        now: Instant,
        around: &mut dyn Surroundings,
    ) {
        let Phase::Sought { since, size } = self.chain[index].life.phase() else { return };
        if self.find_renamed(index, now, around) {
            return;
        }
        let (fits, is_undecided) =
            judge(&self.chain[index], candidates, self.settings.writers, &mut self.walks, around);
        let choice = choose(&fits, candidates, &mut self.walks, around);
        if self.walks.are_under_way() {
            return;
        }
        let Some(choice) = choice else {
            if self.agenda.is_cut() {
                // It is looked for once more before it is missed.
            } else if self.lacks_descriptor(around)
                || (is_undecided && now.saturating_duration_since(since) < self.settings.reconcile)
            {
                self.list_again(now);
            } else if !self.go_on_in_live(index)
                && !self.find_elsewhere(index, now, around)
                && !self.hide(index, size, now, around)
            {
                self.give_up(index, size, candidates, around);
            }
            return;
        };
        let candidate = candidates.remove(choice.at);
        if choice.fit == Fit::Full {
            self.go_on_in(index, candidate, choice, now, around);
        } else {
            self.end_of_copy_was_passed(index, &candidate, size);
        }
    }

    /// Whether there are files that could not be looked at for want of a descriptor.
    fn lacks_descriptor(&mut self, around: &mut dyn Surroundings) -> bool {
        self.agenda.want_descriptor(around.was_short());
        self.agenda.wants_descriptor()
    }

    /// The file with the live name is a copy of a generation of the checkpoint that is nowhere else: it was restored, or
    /// moved from another file system.
    fn go_on_in_live(&mut self, index: usize) -> bool {
        let sought = &self.chain[index];
        let Some(live) = self.live().filter(|live| live.cursor.put() == 0 && live.cursor.read() == 0) else {
            return false;
        };
        let is_another_life = self.chain.iter().any(|other| other.inode == sought.inode && other.id != sought.id);
        let sample = live.file().map(|file| {
            let size = file.metadata().map_or(0, |metadata| metadata.len());
            Sample::of_file(file, size, sought.seen())
        });
        let is_copy = matches!(sample, Some(Ok(sample)) if sample.fit(sought) == Fit::Full);
        if sought.longest > 0 || is_another_life || !is_copy {
            return false;
        }
        let (Some(live), Some(mut sought)) = (self.chain.remove_live(), self.chain.remove(index)) else { return false };
        if let Some(file) = live.file()
            && let Some((_, memory)) = same_memory(file, sought.cursor.read(), sought.cursor.memory())
        {
            sought.cursor.know(memory);
        }
        sought.inode = live.inode;
        sought.path = live.path;
        sought.life = live.life;
        sought.blank = Blank::default();
        sought.rotated = None;
        let (path, offset) = (sought.path.clone(), sought.cursor.read());
        self.chain.push(sought);
        self.tell(Happening::CopyMatched { path, offset, bytes: None });
        true
    }

    /// No file has the rest, as far as can be told: of a generation that had nothing when that was last known, any
    /// younger file may have it, and is read from its beginning.
    fn give_up(&mut self, index: usize, size: Option<u64>, candidates: &[Candidate], around: &mut dyn Surroundings) {
        let is_unread = self.tell_all_unread(index, candidates, around);
        let generation = self.chain.alter(index);
        generation.life.finish();
        generation.has_name = false;
        let (seen, identity, is_restored) = (generation.seen(), generation.origin.identity, generation.longest == 0);
        let is_unknown = seen == 0 && !generation.cursor.memory().says_something();
        let has_next = self.chain.iter().filter(|other| other.inode == identity).count() > 1;
        let may_have_it = |candidate: &Candidate| candidate.changed_by_ns() >= identity.born_ns;
        let is_followed = is_unknown && self.chain.iter().any(|other| may_be_copy(other, identity, size));
        if is_unread || is_followed || (is_unknown && candidates.iter().any(may_have_it)) {
            // What it has is not gone.
        } else if is_restored && !has_next {
            self.tell(Happening::GenerationMissing { identity, offset: seen });
        } else {
            self.tell_lost(seen, size);
        }
    }

    /// The copy was made before we had read as far as we did: nothing is to be fetched from it.
    fn end_of_copy_was_passed(&mut self, index: usize, candidate: &Candidate, size: Option<u64>) {
        self.done.set(candidate.as_done());
        self.chain.alter(index).life.finish();
        let seen = self.chain[index].seen();
        let path = candidate.path.clone();
        self.tell(Happening::CopyMatched { path, offset: seen, bytes: Some(0) });
        self.tell_lost(seen, size);
    }

    /// Reads on in the file that was chosen. One that cannot be opened now is looked for again.
    pub(crate) fn go_on_in(
        &mut self,
        index: usize,
        candidate: Candidate,
        choice: Choice,
        now: Instant,
        around: &mut dyn Surroundings,
    ) {
        let generation = self.chain.at(index);
        let Phase::Sought { size, .. } = generation.life.phase() else { return };
        let seen = generation.seen();
        let mut had = candidate.size;
        let bytes = if candidate.is_packed {
            let end = candidate.sample(size.unwrap_or(0), &mut self.walks, around);
            had = end.map_or(u64::MAX, |sample| sample.at);
            let Ok((memory, stream)) = self.walks.stream(&candidate, generation.cursor.read(), seen, around) else {
                return self.list_again(now);
            };
            generation.cursor.know(memory);
            generation.life.go_on(Hand::Unpacking(stream));
            None
        } else {
            let Some(file) = candidate.file else { return self.list_again(now) };
            if let Some((_, memory)) = same_memory(&file, generation.cursor.read(), generation.cursor.memory()) {
                generation.cursor.know(memory);
            }
            generation.life.go_on(Hand::Open(file));
            Some(candidate.size.saturating_sub(seen))
        };
        let generation = self.chain.alter(index);
        generation.inode = candidate.identity;
        generation.path.clone_from(&candidate.path);
        generation.at_end = None;
        generation.has_name = true;
        generation.size = 0;
        generation.zeros_until = 0;
        generation.blank = Blank::default();
        // It was copied before it was truncated.
        generation.is_complete = size.is_some();
        generation.grown = now;
        self.tell(Happening::CopyMatched { path: candidate.path.clone(), offset: seen, bytes });
        if let Choice { files: files @ 2.., why, .. } = choice {
            self.tell(Happening::Ambiguous { path: candidate.path, files, why });
        }
        self.tell_lost(had, size);
    }

    fn tell_lost(&mut self, had: u64, size: Option<u64>) {
        let bytes = size.unwrap_or(0).saturating_sub(had);
        if bytes > 0 {
            self.tell(Happening::Lost { bytes });
        }
    }
}

/// Whether a file that is followed for itself may be the copy of a life of `identity` of which nothing was read, and
/// which had `size` bytes: it is younger, and has as many.
fn may_be_copy(other: &Generation, identity: Identity, size: Option<u64>) -> bool {
    let is_younger = other.inode != identity && other.inode.born_ns >= identity.born_ns;
    let has_as_many = |file: &File| file.metadata().is_ok_and(|all| size.is_none_or(|size| all.len() >= size));
    is_younger && !other.is_live() && other.file().is_none_or(has_as_many)
}

/// The size of a file whose end was cut off, where what is left is what was read and is no less than what is gone: a log
/// that begins anew with its usual first line is not taken for it.
fn cut_end(generation: &Generation, file: &File) -> Option<u64> {
    let size = file.metadata().ok()?.len();
    let seen = generation.seen();
    let memory = generation.cursor.remembered();
    let Memory::Bytes { head, tail } = &memory else { return None };
    let window = seen - tail.len() as u64;
    if size >= seen || size <= window || size < (seen - size).max(CUT_BYTES_MIN.min(seen / 2 + 1)) {
        return None;
    }
    let mut left = vec![0; (size - window) as usize];
    let mut first = vec![0; size.min(GUARD_BYTES_MAX as u64) as usize];
    let is_whole =
        read_up_to(file, &mut left, window).ok()? == left.len() && read_up_to(file, &mut first, 0).ok()? == first.len();
    (is_whole && tail[..left.len()] == *left && head[..first.len().min(head.len())] == *first).then_some(size)
}

/// Which of the files fit a life that ended, with where they end, as far as one byte behind what was seen; and whether
/// one that may be it cannot be judged yet. A snapshot from before the copy reaches less far.
pub(crate) fn judge(
    generation: &Generation,
    candidates: &mut [Candidate],
    writers: fn(&File) -> Writers,
    walks: &mut Walks,
    around: &mut dyn Surroundings,
) -> (Vec<(Fit, u64, usize)>, bool) {
    let mut fits = Vec::new();
    let mut is_undecided = false;
    if !generation.cursor.memory().says_something() && generation.cursor.held().is_empty() {
        return (fits, false);
    }
    for (index, candidate) in candidates.iter_mut().enumerate() {
        if candidate.head().is_some_and(|head| !generation.may_begin_with(&head)) {
            continue;
        }
        let Some(sample) = candidate.sample(generation.seen(), walks, around) else {
            // What is packed in a way that is not read stays so.
            is_undecided |= !matches!(candidate.obstacle, Some(Obstacle::Packing(_)));
            continue;
        };
        let fit = sample.fit(generation);
        let is_written = || candidate.file.as_ref().is_some_and(|file| writers(file) == Writers::Somebody);
        if fit == Fit::Short && is_written() {
            is_undecided = true;
        } else if fit != Fit::No {
            let more = if fit == Fit::Full { candidate.sample(generation.seen() + 1, walks, around) } else { None };
            fits.push((fit, more.unwrap_or(sample).at, index));
        }
    }
    (fits, is_undecided)
}
