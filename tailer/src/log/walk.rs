//! Going through packed files, some of them in each look: what unpacks to 300 GB stalls nobody but its own log.
//!
//! A [`Passage`] stops where the budget of a look is used up, and goes on there in the next one. As long as more is asked for
//! than could be gone through nothing is decided and nothing read of its source, so that its lines keep their order. One
//! file of a source is open at a time.
//!
//! A packed file is unpacked at most once as long as it does not change: after that it is on the list of its source, done
//! with, or remembered as a copy.

use std::collections::{HashMap, HashSet};
use std::io::{self, ErrorKind, Read};
use std::time::{Duration, Instant};

use nix::errno::Errno;

use crate::file::guard::GUARD_BYTES_MAX;
use crate::file::identity::Identity;
use crate::file::open::errno;
use crate::file::packed::goes_on;
use crate::log::candidate::{Candidate, Obstacle, Torn, open_packed};
use crate::log::eyes::Eyes;
use crate::log::memory::Memory;
use crate::log::ours::Ours;
use crate::log::sample::{Sample, Sampler};
use crate::log::settings::Surroundings;

/// What a packed file is gone through for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Aim {
    /// To compare it.
    Compare {
        /// What it ends too early for does not change any more: damaged, it ends where it is damaged.
        is_torn: bool,
    },
    /// For a sample there.
    At(u64),
    /// To go on behind this offset of it.
    Behind(u64),
}

/// Which file, as it was when it was found, and what for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Errand {
    identity: Identity,
    stamp: (u64, i64),
    aim: Aim,
}

/// One packed file on the way through it.
#[derive(Debug)]
struct Passage {
    errand: Errand,
    sampler: Sampler,
    /// Where samples are taken, in order; the first of them are.
    stops: Option<Vec<u64>>,
    samples: Vec<Sample>,
}

/// Samples of a packed file.
#[derive(Clone, Debug)]
pub(crate) struct Samples {
    /// By offset; the first is of its beginning.
    pub(crate) all: Vec<Sample>,
    /// The last is of its end.
    pub(crate) is_whole: bool,
}

impl Samples {
    /// At an offset, if it is among them or they tell of it.
    pub(crate) fn sample(&self, offset: u64) -> Option<Sample> {
        if let Some(sample) = self.all.iter().find(|sample| sample.at == offset) {
            return Some(sample.clone());
        }
        let begin = self.all.first()?;
        if offset <= begin.head.len() as u64 {
            return Some(Sample { at: offset, before: begin.head[..offset as usize].to_vec(), ..begin.clone() });
        }
        self.all.last().filter(|last| self.is_whole && last.at < offset).cloned()
    }
}

/// Why it cannot be unpacked so far.
#[derive(Clone, Copy, Debug)]
struct Failure {
    kind: ErrorKind,
    errno: Option<i32>,
}

impl From<Failure> for io::Error {
    fn from(failure: Failure) -> io::Error {
        failure.errno.map_or_else(|| failure.kind.into(), io::Error::from_raw_os_error)
    }
}

/// A packed file that ends too early, or is damaged: it may still be written.
#[derive(Debug)]
struct TornCopy {
    identity: Identity,
    stamp: (u64, i64),
    /// Since when it is as it is.
    since: Instant,
}

/// Those of one source.
#[derive(Debug, Default)]
pub(crate) struct Walks {
    open: Option<Passage>,
    through: HashMap<Errand, Result<Samples, Failure>>,
    /// What this look asked for.
    wanted: HashSet<Errand>,
    /// It asked for more than could be gone through.
    is_behind: bool,
    torn: Vec<TornCopy>,
}

/// Unpacks what is packed, as far as it may be a copy of what is ours. What cannot be unpacked yet stays unknown; what does
/// not change any more, and ends too early, is taken for what can be had of it. `here` are all files that are there.
pub(crate) fn unpack(ours: Ours<'_>, candidates: &mut [Candidate], here: &HashSet<Identity>, eyes: &mut Eyes<'_>) {
    eyes.walks.torn.retain(|torn| candidates.iter().any(|candidate| candidate.identity == torn.identity));
    for candidate in candidates.iter_mut().filter(|candidate| candidate.is_packed) {
        let torn_since = eyes.walks.torn_since(candidate);
        let patience = if eyes.settings.is_batch { Duration::ZERO } else { eyes.settings.reconcile };
        let is_final = torn_since.is_some_and(|since| eyes.now.saturating_duration_since(since) >= patience);
        if eyes.walks.end_changed(candidate) || (torn_since.is_some() && !is_final) {
            eyes.list_again();
            continue;
        }
        let changed = candidate.changed();
        let ends = |head: &[u8]| {
            if ours.was_plain(head, &changed, here).is_some() { Vec::new() } else { ours.ends_of(head) }
        };
        let Err(error) = candidate.unpack(ends, is_final, eyes.walks, eyes.around) else { continue };
        if goes_on(&error) {
            continue;
        }
        if eyes.lacks_descriptor(errno(&error)) {
            // It is unpacked when there is one.
        } else if error.kind() == ErrorKind::Unsupported {
            candidate.obstacle = Some(Obstacle::Packing(error.to_string()));
            continue;
        } else if let Some(errno) = error.raw_os_error() {
            candidate.obstacle = Some(Obstacle::Errno(Errno::from_raw(errno)));
        } else if error.kind() != ErrorKind::NotFound {
            eyes.walks.note_torn(candidate, eyes.now);
        }
        eyes.list_again();
    }
}

impl Walks {
    /// Whether the last look asked for more than could be gone through.
    pub(crate) fn are_under_way(&self) -> bool {
        self.is_behind
    }

    /// Whether a file is open.
    pub(crate) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// A look begins to ask for them.
    pub(crate) fn begin(&mut self) {
        self.wanted.clear();
        self.is_behind = false;
    }

    /// A look has asked for all that it wants. What is decided needs none of them any more.
    pub(crate) fn end(&mut self) {
        if !self.is_behind {
            self.wanted.clear();
        }
        debug_assert!(self.open.is_none() || self.is_behind, "what is open goes on in the next look");
        self.open.take_if(|walk| !self.wanted.contains(&walk.errand));
        self.through.retain(|errand, _| self.wanted.contains(errand));
    }

    /// From here on other places of other files matter.
    pub(crate) fn begin_anew(&mut self) {
        *self = Walks { torn: std::mem::take(&mut self.torn), ..Walks::default() };
    }

    /// Since when a packed file is torn, as it is.
    fn torn_since(&self, candidate: &Candidate) -> Option<Instant> {
        let is_it = |torn: &&TornCopy| torn.identity == candidate.identity && torn.stamp == candidate.stamp();
        self.torn.iter().find(is_it).map(|torn| torn.since)
    }

    fn note_torn(&mut self, candidate: &Candidate, since: Instant) {
        self.torn.retain(|torn| torn.identity != candidate.identity);
        self.torn.push(TornCopy { identity: candidate.identity, stamp: candidate.stamp(), since });
    }

    /// Whether a file changed since it was begun to be compared: somebody still writes to it, and it is begun anew later.
    fn end_changed(&mut self, candidate: &Candidate) -> bool {
        let is_changed = |walk: &mut Passage| {
            let Errand { identity, stamp, .. } = walk.errand;
            identity == candidate.identity && stamp != candidate.stamp()
        };
        self.open.take_if(is_changed).is_some()
    }

    /// Samples of a packed file: of its beginning, and at the stops that a file with that beginning has.
    ///
    /// # Errors
    /// `WouldBlock`: it goes on in the next look. Else those of opening and unpacking it.
    pub(crate) fn samples(
        &mut self,
        candidate: &Candidate,
        aim: Aim,
        stops: impl Fn(&[u8]) -> Vec<u64>,
        around: &mut dyn Surroundings,
    ) -> io::Result<Samples> {
        let errand = Errand { identity: candidate.identity, stamp: candidate.stamp(), aim };
        if let Some(Ok(samples)) = self.through.get(&errand) {
            self.wanted.insert(errand);
            return Ok(samples.clone());
        }
        let samples = self.go(errand, candidate, stops, around)?.into_samples();
        self.through.insert(errand, Ok(samples.clone()));
        Ok(samples)
    }

    /// The stream of a packed file from `seen` on, and what stands before `read` in it.
    ///
    /// # Errors
    /// As [`Walks::samples`].
    pub(crate) fn stream(
        &mut self,
        candidate: &Candidate,
        read: u64,
        seen: u64,
        around: &mut dyn Surroundings,
    ) -> io::Result<(Memory, Box<dyn Read>)> {
        let errand = Errand { identity: candidate.identity, stamp: candidate.stamp(), aim: Aim::Behind(seen) };
        let mut walk = self.go(errand, candidate, |_| vec![read, seen], around)?;
        walk.samples.truncate(1 + usize::from(read > 0));
        let Sample { head, before: tail, .. } = walk.samples.pop().ok_or(ErrorKind::UnexpectedEof)?;
        Ok((Memory::Bytes { head, tail }, walk.sampler.into_stream()))
    }

    /// Goes on with a walk, or begins it; returns it when it is through.
    fn go(
        &mut self,
        errand: Errand,
        candidate: &Candidate,
        stops: impl Fn(&[u8]) -> Vec<u64>,
        around: &mut dyn Surroundings,
    ) -> io::Result<Passage> {
        self.wanted.insert(errand);
        if let Some(Err(failure)) = self.through.get(&errand) {
            return Err((*failure).into());
        }
        let mut left = around.unpack_left().map_or(u64::MAX, |left| *left);
        if left == 0 || self.open.as_ref().is_some_and(|walk| walk.errand != errand) {
            self.is_behind = true;
            return Err(ErrorKind::WouldBlock.into());
        }
        let mut walk = match self.open.take() {
            Some(walk) => walk,
            None => Passage::begin(errand, candidate, around)?,
        };
        let went = walk.go_on(stops, &mut left);
        if let Some(budget) = around.unpack_left() {
            *budget = left;
        }
        match went {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.open = Some(walk);
                self.is_behind = true;
                Err(error)
            }
            Err(error) => {
                let failure = Failure { kind: error.kind(), errno: error.raw_os_error() };
                self.through.insert(errand, Err(failure));
                Err(error)
            }
            Ok(()) => Ok(walk),
        }
    }
}

impl Passage {
    fn begin(errand: Errand, candidate: &Candidate, around: &mut dyn Surroundings) -> io::Result<Passage> {
        let stream = open_packed(&candidate.path, &candidate.identity, around)?;
        let is_torn = errand.aim == Aim::Compare { is_torn: true };
        let sampler = Sampler::new(if is_torn { Box::new(Torn(stream)) } else { stream });
        Ok(Passage { errand, sampler, stops: None, samples: Vec::new() })
    }

    /// How much of its beginning is the first sample: to go on in it nothing may be read beyond where that is to be.
    fn first(&self) -> u64 {
        match self.errand.aim {
            Aim::Behind(_) => 0,
            Aim::At(offset) => offset.min(GUARD_BYTES_MAX as u64),
            Aim::Compare { .. } => GUARD_BYTES_MAX as u64,
        }
    }

    fn go_on(&mut self, stops: impl Fn(&[u8]) -> Vec<u64>, left: &mut u64) -> io::Result<()> {
        let first = self.first();
        if self.samples.is_empty() {
            self.samples.push(self.sampler.at_within(first, left)?);
        }
        let begin = &self.samples[0];
        let stops = self.stops.get_or_insert_with(|| {
            let mut stops = stops(&begin.head);
            stops.sort_unstable();
            stops.dedup();
            // A guard that stands before the end of the head is taken from it.
            stops.retain(|stop| *stop > first);
            stops
        });
        while self.samples.len() <= stops.len() {
            let sample = self.sampler.at_within(stops[self.samples.len() - 1], left)?;
            self.samples.push(sample);
        }
        Ok(())
    }

    fn into_samples(self) -> Samples {
        let last = self.stops.as_ref().and_then(|stops| stops.last().copied()).unwrap_or(self.first());
        let is_whole = self.samples.last().is_some_and(|sample| sample.at < last);
        debug_assert!(self.samples.is_sorted_by_key(|sample| sample.at), "one behind the other");
        Samples { all: self.samples, is_whole }
    }
}
