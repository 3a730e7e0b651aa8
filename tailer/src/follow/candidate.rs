//! A file beside the live one that is not known yet, and what is asked about it before it is judged.
//!
//! A packed file is unpacked once: what it begins with says whose copy it may be, and only where it may be one it is
//! gone through, with a sample at each place that matters.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::follow::generation::Generation;
use crate::follow::memory::Memory;
use crate::follow::sample::{Sample, Sampler};
use crate::follow::settings::Surroundings;
use crate::guard::{GUARD_BYTES_MAX, Guard, Head};
use crate::identity::{Identity, Origin};
use crate::open::{At, Found, Opened, look};
use crate::state::DoneState;

/// Births are as old as the last tick of the kernel's clock, changes are not: so much later a change may seem to be than
/// the birth of the next file.
const TICK_NS: i64 = 20_000_000;

/// A file beside the live one that is not known.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub(crate) path: PathBuf,
    pub(crate) identity: Identity,
    pub(crate) size: u64,
    /// Last change of its content, ns since the epoch: a packed file keeps that of what was packed.
    pub(crate) changed_ns: i64,
    pub(crate) is_packed: bool,
    /// Open, unless it is packed or could not be opened.
    pub(crate) file: Option<File>,
    /// Of a packed file that was unpacked.
    pub(crate) unpacked: Option<Unpacked>,
    pub(crate) obstacle: Option<Obstacle>,
}

/// Why a file cannot be read, where time alone does not change that.
#[derive(Clone, Debug)]
pub(crate) enum Obstacle {
    /// As the kernel says.
    Errno(Errno),
    /// It is packed in a way that is not read.
    Packing(String),
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Obstacle::Errno(errno) => write!(f, "{errno:?}"),
            Obstacle::Packing(why) => f.write_str(why),
        }
    }
}

/// What a packed file holds, as far as that was of interest.
#[derive(Debug)]
pub(crate) struct Unpacked {
    /// By offset; the first is of its beginning.
    samples: Vec<Sample>,
    /// The last is of its end.
    is_whole: bool,
}

impl Candidate {
    /// A file that stands at `path`, not opened.
    pub(crate) fn found(path: PathBuf, found: &Found) -> Candidate {
        Candidate {
            path,
            identity: found.identity,
            size: found.stamp.size,
            changed_ns: found.stamp.changed_ns(),
            is_packed: false,
            file: None,
            unpacked: None,
            obstacle: None,
        }
    }

    /// Unpacks it as far as it matters: `ends` says where, for a file that begins like this. `is_torn`: where it cannot
    /// be unpacked any further it ends.
    ///
    /// # Errors
    /// It cannot be opened, or not be unpacked up to there.
    pub(crate) fn unpack(
        &mut self,
        ends: impl Fn(&[u8]) -> Vec<u64>,
        is_torn: bool,
        around: &mut dyn Surroundings,
    ) -> io::Result<()> {
        let stream = open_packed(&self.path, &self.identity, around)?;
        let mut sampler = Sampler::new(if is_torn { Box::new(Torn(stream)) } else { stream });
        let begin = sampler.at(GUARD_BYTES_MAX as u64)?;
        let mut ends = ends(&begin.head);
        ends.sort_unstable();
        ends.dedup();
        let mut unpacked = Unpacked { is_whole: begin.at < GUARD_BYTES_MAX as u64, samples: vec![begin] };
        if !ends.is_empty() {
            ends.push(u64::MAX);
            // A guard that stands before the end of the head is taken from it.
            for end in ends.into_iter().filter(|end| *end > GUARD_BYTES_MAX as u64) {
                unpacked.samples.push(sampler.at(end)?);
            }
            unpacked.is_whole = true;
        }
        self.unpacked = Some(unpacked);
        Ok(())
    }

    /// Its first bytes. `None`: they cannot be read, or not yet.
    pub(crate) fn head(&self) -> Option<Vec<u8>> {
        match &self.unpacked {
            Some(unpacked) => unpacked.samples.first().map(|begin| begin.head.clone()),
            None => Some(Sample::of_file(self.file.as_ref()?, self.size, 0).ok()?.head),
        }
    }

    /// Its head, and what stands before `offset`. `None`: it cannot be read, or not yet.
    pub(crate) fn sample(&self, offset: u64, around: &mut dyn Surroundings) -> Option<Sample> {
        if !self.is_packed {
            return Sample::of_file(self.file.as_ref()?, self.size, offset).ok();
        }
        let known = self.unpacked.as_ref()?;
        if let Some(sample) = known.sample(offset) {
            return Some(sample);
        }
        Sampler::new(open_packed(&self.path, &self.identity, around).ok()?).at(offset).ok()
    }

    /// Whether it may be a copy of a generation, by their times; `all` is what it holds. A copy is born after what it is a
    /// copy of. A packed file has the last change of what was packed: where that holds little, so that two may hold the
    /// same, it was not packed before it was made.
    pub(crate) fn may_be_copy_of(&self, generation: &Generation, all: &Sample) -> bool {
        let of_ns = generation.origin.identity.born_ns;
        if self.is_packed {
            return all.at >= GUARD_BYTES_MAX as u64 || self.changed_by_ns() >= of_ns - TICK_NS;
        }
        self.identity.born_ns == 0 || of_ns == 0 || self.identity.born_ns >= of_ns
    }

    /// By what it is older or newer than another: birth, and for a packed file the last change.
    pub(crate) fn age_ns(&self) -> i64 {
        if self.is_packed || self.identity.born_ns == 0 { self.changed_by_ns() } else { self.identity.born_ns }
    }

    /// The latest time at which its content can have changed.
    pub(crate) fn changed_by_ns(&self) -> i64 {
        self.changed_ns + self.grain_ns() - 1
    }

    /// When what it was packed from can have changed last.
    pub(crate) fn changed(&self) -> RangeInclusive<i64> {
        self.changed_ns..=self.changed_by_ns()
    }

    /// How fine its time of change is: some packers keep the microsecond of it, or the second, only.
    fn grain_ns(&self) -> i64 {
        let grains = [1_000_000_000, 1000];
        grains.into_iter().find(|grain| self.changed_ns % grain == 0).unwrap_or(1)
    }

    /// The same for putting files in order.
    pub(crate) fn order_ns(&self) -> i64 {
        let born_ns = self.identity.born_ns;
        if self.is_packed {
            self.changed_ns - TICK_NS
        } else if born_ns == 0 {
            self.changed_ns
        } else {
            born_ns
        }
    }

    /// It as a file that never was ours, with what tells a copy of it; of a packed one that is known if it was unpacked
    /// to its end.
    pub(crate) fn as_done(&self) -> DoneState {
        let whole = match &self.unpacked {
            Some(unpacked) => unpacked.sample(u64::MAX),
            None => self.file.as_ref().and_then(|file| Sample::of_file(file, self.size, self.size).ok()),
        };
        let origin = Origin { identity: self.identity, epoch: 0 };
        match whole {
            Some(Sample { head, at, before }) => {
                let guard = Some(Guard::of_end(&before));
                let (head, changed_ns) = (Head::of(&head), self.changed_ns);
                DoneState { origin, offset: None, guard, head, size: at, changed_ns }
            }
            None => DoneState { origin, size: self.size, ..DoneState::default() },
        }
    }
}

impl Unpacked {
    fn sample(&self, offset: u64) -> Option<Sample> {
        if let Some(sample) = self.samples.iter().find(|sample| sample.at == offset) {
            return Some(sample.clone());
        }
        let begin = self.samples.first()?;
        if offset <= begin.head.len() as u64 {
            return Some(Sample { at: offset, before: begin.head[..offset as usize].to_vec(), ..begin.clone() });
        }
        self.samples.last().filter(|last| self.is_whole && last.at < offset).cloned()
    }
}

/// A stream that ends where it is damaged.
struct Torn(Box<dyn Read>);

impl Read for Torn {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer) {
            Err(error) if error.raw_os_error().is_none() && error.kind() != io::ErrorKind::Interrupted => Ok(0),
            other => other,
        }
    }
}

/// The content of the packed file that stands at `path`, if that is the one that is meant.
pub(crate) fn open_packed(
    path: &Path,
    identity: &Identity,
    around: &mut dyn Surroundings,
) -> io::Result<Box<dyn Read>> {
    let found = match look(path) {
        At::File(found) if found.identity == *identity => found,
        At::Failed(errno) => return Err(errno.into()),
        _ => return Err(io::ErrorKind::NotFound.into()),
    };
    match found.open() {
        Opened::File(file) => around.unpack(file, path),
        Opened::Failed(errno) => Err(errno.into()),
        Opened::Refused(_) => Err(io::ErrorKind::InvalidInput.into()),
    }
}

/// The unpacked stream of a file from `seen` on, and what stands before `read` in it.
pub(crate) fn unpacked(
    candidate: &Candidate,
    read: u64,
    seen: u64,
    around: &mut dyn Surroundings,
) -> Option<(Memory, Box<dyn Read>)> {
    let mut sampler = Sampler::new(open_packed(&candidate.path, &candidate.identity, around).ok()?);
    let sample = sampler.at(read).ok()?;
    sampler.at(seen).ok()?;
    Some((Memory::Bytes { head: sample.head, tail: sample.before }, sampler.into_stream()))
}
