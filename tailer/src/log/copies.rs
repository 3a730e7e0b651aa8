//! The part of a look that tells of which known content a file beside the live one is a copy: of a generation on the
//! list, or of what is done with. Packed or not, running or at the start, it is told by what the file holds.
//!
//! A packed file is unpacked at most once as long as it does not change: after that it is on the list, done with, or
//! remembered as a copy.

use std::collections::HashSet;
use std::io::ErrorKind;
use std::ops::RangeInclusive;
use std::time::Instant;

use nix::errno::Errno;

use crate::checkpoint::state::DoneState;
use crate::file::guard::GUARD_BYTES_MAX;
use crate::file::identity::Identity;
use crate::file::open::{Found, errno, is_out_of_descriptors};
use crate::file::packed::goes_on;
use crate::log::candidate::{Candidate, Obstacle};
use crate::log::generation::Generation;
use crate::log::life::{Hand, Phase};
use crate::log::sample::{Fit, Sample};
use crate::log::settings::Surroundings;
use crate::log::source::Source;
use crate::log::walk::{Aim, Walks};
use crate::out::lines::GenerationId;

/// A file that begins as a generation on the list does, with all that it holds.
#[derive(Debug)]
pub(crate) struct Copy {
    pub(crate) of: GenerationId,
    /// What is remembered of it once that generation is done with.
    pub(crate) file: DoneState,
    stamp: (u64, i64),
}

/// A packed file that ends too early, or is damaged.
#[derive(Debug)]
pub(crate) struct TornCopy {
    identity: Identity,
    stamp: (u64, i64),
    /// Since when it is as it is.
    since: Instant,
}

impl Copy {
    pub(crate) fn new(candidate: &Candidate, of: GenerationId) -> Copy {
        Copy { of, file: candidate.as_done(), stamp: candidate.stamp() }
    }

    pub(crate) fn identity(&self) -> Identity {
        self.file.origin.identity
    }
}

impl Source {
    /// Whether a packed file is known as a copy of a generation whose bytes are still where they were.
    pub(crate) fn is_packed_copy(&self, found: &Found) -> bool {
        let stamp = (found.stamp.size, found.stamp.changed_ns());
        let is_there = |of| self.chain.iter().any(|generation| generation.id == of && !generation.is_sought());
        self.done.copies().any(|copy| copy.identity() == found.identity && copy.stamp == stamp && is_there(copy.of))
    }

    /// Unpacks what is packed. What cannot be unpacked yet stays unknown; what does not change any more, and ends too
    /// early, is taken for what can be had of it.
    pub(crate) fn unpack(
        &mut self,
        candidates: &mut [Candidate],
        here: &HashSet<Identity>,
        now: Instant,
        around: &mut dyn Surroundings,
    ) {
        self.torn.retain(|torn| candidates.iter().any(|candidate| candidate.identity == torn.identity));
        for candidate in candidates.iter_mut().filter(|candidate| candidate.is_packed) {
            let stamp = candidate.stamp();
            let torn = self.torn.iter().find(|torn| torn.identity == candidate.identity && torn.stamp == stamp);
            let patience = if self.settings.is_batch { std::time::Duration::ZERO } else { self.settings.reconcile };
            let is_final = torn.is_some_and(|torn| now.saturating_duration_since(torn.since) >= patience);
            if self.walks.end_changed(candidate) || (torn.is_some() && !is_final) {
                self.list_again(now);
                continue;
            }
            let changed = candidate.changed();
            let mut walks = std::mem::take(&mut self.walks);
            let ends = |head: &[u8]| {
                if self.was_plain(head, &changed, here).is_some() { Vec::new() } else { self.ends_of(head) }
            };
            let unpacked = candidate.unpack(ends, is_final, &mut walks, around);
            self.walks = walks;
            let Err(error) = unpacked else { continue };
            if goes_on(&error) {
                continue;
            }
            if is_out_of_descriptors(errno(&error)) {
                self.agenda.want_descriptor(true);
            } else if error.kind() == ErrorKind::Unsupported {
                candidate.obstacle = Some(Obstacle::Packing(error.to_string()));
                continue;
            } else if let Some(errno) = error.raw_os_error() {
                candidate.obstacle = Some(Obstacle::Errno(Errno::from_raw(errno)));
            } else if error.kind() != ErrorKind::NotFound {
                self.torn.retain(|torn| torn.identity != candidate.identity);
                self.torn.push(TornCopy { identity: candidate.identity, stamp, since: now });
            }
            self.list_again(now);
        }
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
    fn ends_of(&self, head: &[u8]) -> Vec<u64> {
        let of_one = |generation: &Generation| {
            let seen = generation.seen();
            let size = if let Phase::Sought { size: Some(size), .. } = generation.life.phase() { size } else { seen };
            // What is longer than it is no copy of it.
            [seen, seen + 1, size, size.saturating_add(1), generation.bytes_max().saturating_add(1)]
        };
        let of_chain = self.chain.iter().filter(|generation| generation.may_begin_with(head)).flat_map(of_one);
        let of_done = self.done.files().iter().filter(|done| done.may_begin_with(head));
        of_chain.chain(of_done.flat_map(|done| [done.size, done.size.saturating_add(1)])).collect()
    }

    /// The generation that begins with all that a file holds.
    pub(crate) fn copy_of(
        &self,
        candidate: &Candidate,
        walks: &mut Walks,
        around: &mut dyn Surroundings,
    ) -> Option<usize> {
        let head = candidate.head()?;
        if !self.chain.iter().any(|generation| generation.may_begin_with(&head)) {
            return None;
        }
        // What is longer than all that it may be a copy of is none, and was not gone through to its end.
        let all = candidate.all()?;
        self.chain.iter().rposition(|generation| {
            if !generation.may_begin_with(&head) || !candidate.may_be_copy_of(generation, &all) {
                return false;
            }
            let of = match generation.life.hand() {
                Hand::Open(file) => {
                    let size = file.metadata().ok().map(|metadata| metadata.len());
                    size.and_then(|size| Sample::of_file(file, size, all.at).ok())
                }
                Hand::Unpacking(_) => {
                    let original = Candidate::known(&generation.path, generation.inode);
                    let samples = walks.samples(&original, Aim::At(all.at), |_| vec![all.at], around);
                    samples.ok().and_then(|mut samples| samples.all.pop())
                }
                Hand::Parked => None,
            };
            // Of one that cannot be opened now it is a copy as far as is remembered of it.
            let mut seems_copy = || {
                let sample = candidate.sample(generation.seen(), walks, around).filter(|_| generation.is_parked());
                sample.is_some_and(|sample| sample.fit(generation) != Fit::No)
            };
            let is_same = |copy: &Copy| copy.of == generation.id && copy.identity() == candidate.identity;
            let was_copy = self.done.copies().any(is_same);
            of.map_or_else(|| was_copy || seems_copy(), |of| of.begins_with(&all))
        })
    }

    /// What is done with and of which a file is a copy, as far as that was read.
    pub(crate) fn done_copied_by(
        &self,
        candidate: &Candidate,
        walks: &mut Walks,
        around: &mut dyn Surroundings,
    ) -> Option<&DoneState> {
        let head = candidate.head()?;
        let may_be = |done: &&DoneState| done.may_begin_with(&head);
        self.done.files().iter().filter(may_be).find(|done| {
            if !candidate.is_packed && candidate.size != done.size {
                return false;
            }
            candidate.sample(done.size, walks, around).is_some_and(|sample| sample.is_copy_of(done))
        })
    }
}
