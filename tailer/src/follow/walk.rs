//! Going through packed files, some of them in each look: what unpacks to 300 GB stalls nobody but its own log.
//!
//! A [`Walk`] stops where the budget of a look is used up, and goes on there in the next one. As long as one is under way
//! nothing is decided and nothing read of its source, so that its lines keep their order.

use std::io::{self, ErrorKind, Read};

use crate::follow::candidate::{Candidate, Torn, open_packed};
use crate::follow::memory::Memory;
use crate::follow::sample::{Sample, Sampler};
use crate::follow::settings::Surroundings;
use crate::guard::GUARD_BYTES_MAX;
use crate::identity::Identity;

/// What a walk of one source gets at least, however much others took in a round.
const SLICE_BYTES_MIN: u64 = 64 << 10;

/// What a packed file is gone through for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Aim {
    /// To compare it; damaged, it ends where it is damaged.
    Compare {
        /// What it ends too early for does not change any more.
        is_torn: bool,
    },
    /// To go on behind this offset of it.
    Behind(u64),
    /// To compare another one, which ends here, with it.
    Original(u64),
}

/// One packed file on the way through it.
#[derive(Debug)]
pub(crate) struct Walk {
    identity: Identity,
    stamp: (u64, i64),
    aim: Aim,
    sampler: Sampler,
    /// Where samples are taken, in order; the first of them are.
    stops: Option<Vec<u64>>,
    samples: Vec<Sample>,
    /// It was asked for in this look.
    is_wanted: bool,
}

/// Those of one source.
#[derive(Debug, Default)]
pub(crate) struct Walks(Vec<Walk>);

impl Walks {
    /// Whether one is not through.
    pub(crate) fn are_under_way(&self) -> bool {
        self.0.iter().any(|walk| !walk.is_through())
    }

    /// A look begins to ask for them.
    pub(crate) fn begin(&mut self) {
        self.0.iter_mut().for_each(|walk| walk.is_wanted = false);
    }

    /// A look has asked for all that it wants. What is decided needs none of them any more.
    pub(crate) fn end(&mut self) {
        if self.are_under_way() {
            self.0.retain(|walk| walk.is_wanted);
        } else {
            self.0.clear();
        }
    }

    /// Samples of a packed file: of its beginning, and at the stops that a file with that beginning has; and the last of
    /// those.
    ///
    /// # Errors
    /// `WouldBlock`: it goes on in the next look. Else those of opening and unpacking it.
    pub(crate) fn samples(
        &mut self,
        candidate: &Candidate,
        aim: Aim,
        stops: impl Fn(&[u8]) -> Vec<u64>,
        around: &mut dyn Surroundings,
    ) -> io::Result<(Vec<Sample>, u64)> {
        let mut walk = self.take(candidate, aim, around)?;
        walk.is_wanted = true;
        match walk.go_on(stops, around) {
            Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
            went => {
                let stops = walk.stops.as_deref().unwrap_or_default();
                let last = stops.last().copied().unwrap_or(GUARD_BYTES_MAX as u64);
                let samples = walk.samples.clone();
                self.0.push(walk);
                went.map(|()| (samples, last))
            }
        }
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
        let aim = Aim::Behind(seen);
        let (mut samples, _) = self.samples(candidate, aim, |_| vec![read, seen], around)?;
        let walk = self.take(candidate, aim, around)?;
        samples.truncate(1 + usize::from(read > 0));
        let Sample { head, before: tail, .. } = samples.pop().ok_or(ErrorKind::UnexpectedEof)?;
        Ok((Memory::Bytes { head, tail }, walk.sampler.into_stream()))
    }

    fn take(&mut self, candidate: &Candidate, aim: Aim, around: &mut dyn Surroundings) -> io::Result<Walk> {
        let (identity, stamp) = (candidate.identity, (candidate.size, candidate.changed_ns));
        let is_it = |walk: &Walk| walk.identity == identity && walk.stamp == stamp && walk.aim == aim;
        if let Some(at) = self.0.iter().position(is_it) {
            return Ok(self.0.swap_remove(at));
        }
        let stream = open_packed(&candidate.path, &identity, around)?;
        let is_torn = aim == Aim::Compare { is_torn: true };
        let sampler = Sampler::new(if is_torn { Box::new(Torn(stream)) } else { stream });
        Ok(Walk { identity, stamp, aim, sampler, stops: None, samples: Vec::new(), is_wanted: true })
    }
}

impl Walk {
    fn is_through(&self) -> bool {
        self.stops.as_ref().is_some_and(|stops| self.samples.len() > stops.len())
    }

    fn go_on(&mut self, stops: impl Fn(&[u8]) -> Vec<u64>, around: &mut dyn Surroundings) -> io::Result<()> {
        let mut left = around.unpack_budget().map_or(u64::MAX, |budget| (*budget).max(SLICE_BYTES_MIN));
        let before = left;
        let went = self.go_on_within(stops, &mut left);
        if let Some(budget) = around.unpack_budget() {
            *budget = budget.saturating_sub(before - left);
        }
        went
    }

    fn go_on_within(&mut self, stops: impl Fn(&[u8]) -> Vec<u64>, left: &mut u64) -> io::Result<()> {
        // To go on in it nothing may be read beyond where that is to be.
        let first = match self.aim {
            Aim::Behind(_) => 0,
            Aim::Original(at) => at.min(GUARD_BYTES_MAX as u64),
            Aim::Compare { .. } => GUARD_BYTES_MAX as u64,
        };
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
}
