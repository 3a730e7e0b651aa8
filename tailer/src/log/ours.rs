//! What is ours of the files beside the live one, as far as the generations on the list and what is done with tell: of
//! which known content one is a copy, which was never seen, and which is none of our business. Decides, and changes
//! nothing. Packed or not, running or at the start, a copy is told by what it holds.

use std::collections::HashSet;
use std::fs;
use std::ops::RangeInclusive;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use crate::checkpoint::state::{DoneState, SourceState};
use crate::file::guard::GUARD_BYTES_MAX;
use crate::file::identity::Identity;
use crate::file::lease::Writers;
use crate::file::open::{FoundFile, Stamp};
use crate::log::agenda::Task;
use crate::log::candidate::Candidate;
use crate::log::chain::Chain;
use crate::log::done::{Copy, Done};
use crate::log::eyes::Eyes;
use crate::log::generation::Generation;
use crate::log::life::{Course, Hand};
use crate::log::sample::{Fit, Sample};
use crate::log::walk::Aim;
use crate::out::lines::GenerationId;

/// What a file beside the live one is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Sighting {
    /// It cannot be said yet.
    Undecided,
    /// A copy of a generation that is on the list.
    CopyOf(GenerationId),
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

/// What is known of a log's own files.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ours<'a> {
    chain: &'a Chain,
    done: &'a Done,
}

impl<'a> Ours<'a> {
    pub(crate) fn new(chain: &'a Chain, done: &'a Done) -> Ours<'a> {
        Ours { chain, done }
    }

    /// Whether it is followed, or done with.
    pub(crate) fn has(&self, identity: &Identity) -> bool {
        self.done.get(identity).is_some() || self.chain.iter().any(|generation| generation.inode() == *identity)
    }

    /// Whether every file that is known is `here`.
    pub(crate) fn is_all_here(&self, here: &HashSet<Identity>) -> bool {
        let done = self.done.files().iter().map(|done| done.origin.identity);
        self.chain.iter().map(Generation::inode).chain(done).all(|file| here.contains(&file))
    }

    /// Whether it is older than all that is remembered: it may be done with, and forgotten.
    pub(crate) fn is_forgotten(&self, identity: &Identity) -> bool {
        self.done.has_forgotten() && identity.born_ns < self.done.since_ns()
    }

    /// Whether a packed file is known as a copy of a generation whose bytes are still where they were.
    pub(crate) fn is_packed_copy(&self, found: &FoundFile) -> bool {
        let stamp = (found.stamp.size, found.stamp.changed_ns());
        let is_there = |of| self.chain.iter().any(|generation| generation.id() == of && !generation.is_sought());
        self.done.copies().any(|copy| copy.identity() == found.identity && copy.stamp == stamp && is_there(copy.of))
    }

    /// Rotated files by their names, oldest first. Most rotators give the newest the smallest number. Where files tell
    /// that numbers grow with time, it is the other way round: by the last changes, else by what was known before. Not
    /// by births: a copy is younger than the file that was truncated after it.
    pub(crate) fn oldest_first(&self, mut paths: Vec<PathBuf>) -> Vec<PathBuf> {
        let age = |path: &PathBuf| {
            let metadata = fs::metadata(path).ok()?;
            Some((metadata.mtime(), metadata.mtime_nsec(), !self.has(&Identity::from(&metadata))))
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

    /// What a file is that is neither on the list nor done with; `here` are all that are there.
    pub(crate) fn judge(
        &self,
        candidate: &Candidate,
        here: &HashSet<Identity>,
        task: &Task,
        eyes: &mut Eyes<'_>,
    ) -> Sighting {
        debug_assert!(self.done.get(&candidate.identity).is_none(), "what is done with is not judged");
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
                let is_written = (eyes.settings.writers)(file) != Writers::Nobody;
                // One that is born after the live file may be a copy of it that was just begun.
                let may_be_copy = self.is_younger_than_live(candidate) || !task.is_first;
                return if is_written && may_be_copy { Sighting::Undecided } else { Sighting::Missed };
            }
        }
        if let Some(of) = self.copy_of(candidate, eyes) {
            return Sighting::CopyOf(of);
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
        if let Some(done) = self.done_copied_by(candidate, eyes) {
            let at = done.size + 1;
            let mut more = || candidate.sample(at, eyes.walks, eyes.around).is_some_and(|sample| sample.at == at);
            let goes_on = done.offset.is_some() && candidate.is_packed && more();
            let identity = done.origin.identity;
            return if goes_on { Sighting::GoesOn(identity) } else { Sighting::Moved(identity) };
        }
        // What is older than the live file and not done with could not be opened yet.
        let is_stray = |state| self.is_younger_than_live(candidate) && self.is_untouched(state);
        let was_there = task.is_first && restored.map_or(candidate.identity.born_ns == 0, is_stray);
        if was_there { Sighting::NotOurs } else { Sighting::Missed }
    }

    fn is_younger_than_live(&self, candidate: &Candidate) -> bool {
        self.chain.live().is_some_and(|live| candidate.age_ns() >= live.inode().born_ns)
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

    /// Whether the file that had the live name when the checkpoint was written has it still, and was not truncated:
    /// then nothing can have been rotated since.
    fn is_untouched(&self, state: &SourceState) -> bool {
        let Some(live) = self.chain.live().filter(|_| state.is_live && self.chain.len() == 1) else { return false };
        // Of a file of which nothing was read, nobody can say whether it was truncated.
        let is_known = live.life().is_reading() && live.cursor().memory().says_something();
        is_known && state.generations[0].origin == live.origin()
    }

    /// What is done with, is gone, and was packed into a file with this beginning that was `changed` then: so much that
    /// is the same tells it without unpacking all. Not where a generation on the list begins so as well.
    pub(crate) fn was_plain(
        &self,
        head: &[u8],
        changed: &RangeInclusive<i64>,
        here: &HashSet<Identity>,
    ) -> Option<Identity> {
        if head.len() < GUARD_BYTES_MAX || self.chain.iter().any(|generation| generation.may_begin_with(head)) {
            return None;
        }
        let was = |done: &&DoneState| {
            let is_whole = done.head.is_whole() && done.head.fits(head) == Some(true);
            is_whole && changed.contains(&done.changed_ns) && !here.contains(&done.origin.identity)
        };
        self.done.files().iter().find(was).map(|done| done.origin.identity)
    }

    /// Where a file with this beginning is to be looked at: at the ends of all that it may be a copy of, and behind.
    pub(crate) fn ends_of(&self, head: &[u8]) -> Vec<u64> {
        let of_one = |generation: &Generation| {
            let seen = generation.seen();
            let size =
                if let Course::Sought { size: Some(size), .. } = generation.life().course() { size } else { seen };
            // What is longer than it is no copy of it.
            [seen, seen + 1, size, size.saturating_add(1), generation.bytes_max().saturating_add(1)]
        };
        let of_chain = self.chain.iter().filter(|generation| generation.may_begin_with(head)).flat_map(of_one);
        let of_done = self.done.files().iter().filter(|done| done.may_begin_with(head));
        of_chain.chain(of_done.flat_map(|done| [done.size, done.size.saturating_add(1)])).collect()
    }

    /// The generation that begins with all that a file holds.
    fn copy_of(&self, candidate: &Candidate, eyes: &mut Eyes<'_>) -> Option<GenerationId> {
        let head = candidate.head()?;
        if !self.chain.iter().any(|generation| generation.may_begin_with(&head)) {
            return None;
        }
        // What is longer than all that it may be a copy of is none, and was not gone through to its end.
        let all = candidate.all()?;
        let is_original = |generation: &&Generation| {
            if !generation.may_begin_with(&head) || !candidate.may_be_copy_of(generation, &all) {
                return false;
            }
            let of = match generation.life().hand() {
                Hand::Open(file) => {
                    let size = file.metadata().ok().map(|metadata| metadata.len());
                    size.and_then(|size| Sample::of_file(file, size, all.at).ok())
                }
                Hand::Unpacking(_) => {
                    let original = Candidate::known(generation.path().clone(), generation.inode());
                    let samples = eyes.walks.samples(&original, Aim::At(all.at), |_| vec![all.at], eyes.around);
                    samples.ok().and_then(|mut samples| samples.all.pop())
                }
                Hand::Parked => None,
            };
            // Of one that cannot be opened now it is a copy as far as is remembered of it.
            let mut seems_copy = || {
                let sample = candidate.sample(generation.seen(), eyes.walks, eyes.around);
                let sample = sample.filter(|_| generation.is_parked());
                sample.is_some_and(|sample| sample.fit(generation) != Fit::No)
            };
            let is_same = |copy: &Copy| copy.of == generation.id() && copy.identity() == candidate.identity;
            let was_copy = self.done.copies().any(is_same);
            of.map_or_else(|| was_copy || seems_copy(), |of| of.begins_with(&all))
        };
        self.chain.iter().rev().find(is_original).map(Generation::id)
    }

    /// What is done with and of which a file is a copy, as far as that was read.
    fn done_copied_by(&self, candidate: &Candidate, eyes: &mut Eyes<'_>) -> Option<&'a DoneState> {
        let head = candidate.head()?;
        let may_be = |done: &&DoneState| done.may_begin_with(&head);
        self.done.files().iter().filter(may_be).find(|done| {
            if !candidate.is_packed && candidate.size != done.size {
                return false;
            }
            candidate.sample(done.size, eyes.walks, eyes.around).is_some_and(|sample| sample.is_copy_of(done))
        })
    }
}
