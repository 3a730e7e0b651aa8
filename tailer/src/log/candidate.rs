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

use crate::checkpoint::state::DoneState;
use crate::file::guard::{GUARD_BYTES_MAX, Guard, Head};
use crate::file::identity::{Identity, Origin};
use crate::file::open::{At, FoundFile, Opened, look};
use crate::log::eyes::Eyes;
use crate::log::generation::Generation;
use crate::log::sample::Sample;
use crate::log::settings::Surroundings;
use crate::log::walk::{Aim, Samples, Walks};

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
    pub(crate) unpacked: Option<Samples>,
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

impl Candidate {
    /// A file that stands at `path`, not opened.
    pub(crate) fn found(path: PathBuf, found: &FoundFile) -> Candidate {
        let (size, changed_ns) = (found.stamp.size, found.stamp.changed_ns());
        Candidate { size, changed_ns, is_packed: false, ..Candidate::known(path, found.identity) }
    }

    /// A packed file that is known.
    pub(crate) fn known(path: PathBuf, identity: Identity) -> Candidate {
        Candidate {
            path,
            identity,
            size: 0,
            changed_ns: 0,
            is_packed: true,
            file: None,
            unpacked: None,
            obstacle: None,
        }
    }

    /// Unpacks it as far as it matters: `ends` says where, for a file that begins like this, and the last of them is
    /// behind all that it may be a copy of. `is_torn`: where it cannot be unpacked any further it ends.
    ///
    /// # Errors
    /// `WouldBlock`: not before the next look. Else it cannot be opened, or not be unpacked up to there.
    pub(crate) fn unpack(
        &mut self,
        ends: impl Fn(&[u8]) -> Vec<u64>,
        is_torn: bool,
        walks: &mut Walks,
        around: &mut dyn Surroundings,
    ) -> io::Result<()> {
        self.unpacked = Some(walks.samples(self, Aim::Compare { is_torn }, ends, around)?);
        Ok(())
    }

    /// Its first bytes. `None`: they cannot be read, or not yet.
    pub(crate) fn head(&self) -> Option<Vec<u8>> {
        match &self.unpacked {
            Some(unpacked) => unpacked.all.first().map(|begin| begin.head.clone()),
            None => Some(Sample::of_file(self.file.as_ref()?, self.size, 0).ok()?.head),
        }
    }

    /// Its size and its last change: with others it is not what it was.
    pub(crate) fn stamp(&self) -> (u64, i64) {
        (self.size, self.changed_ns)
    }

    /// Its head, and its end, if all of it was gone through.
    pub(crate) fn all(&self) -> Option<Sample> {
        match &self.unpacked {
            Some(unpacked) => unpacked.all.last().filter(|_| unpacked.is_whole).cloned(),
            None => Sample::of_file(self.file.as_ref()?, self.size, self.size).ok(),
        }
    }

    /// Its head, and what stands before `offset`. `None`: it cannot be read, or not yet.
    pub(crate) fn sample(&self, offset: u64, walks: &mut Walks, around: &mut dyn Surroundings) -> Option<Sample> {
        if !self.is_packed {
            return Sample::of_file(self.file.as_ref()?, self.size, offset).ok();
        }
        let known = self.unpacked.as_ref()?;
        if let Some(sample) = known.sample(offset) {
            return Some(sample);
        }
        walks.samples(self, Aim::At(offset), |_| vec![offset], around).ok()?.all.pop()
    }

    /// Whether it may be a copy of a generation, by their times; `all` is what it holds. A copy is born after what it is a
    /// copy of. A packed file has the last change of what was packed: where that holds little, so that two may hold the
    /// same, it was not packed before it was made.
    pub(crate) fn may_be_copy_of(&self, generation: &Generation, all: &Sample) -> bool {
        let of_ns = generation.origin().identity.born_ns;
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
        let origin = Origin { identity: self.identity, epoch: 0 };
        match self.all() {
            Some(Sample { head, at, before }) => {
                let guard = Some(Guard::of_end(&before));
                let (head, changed_ns) = (Head::of(&head), self.changed_ns);
                DoneState { origin, offset: None, guard, head, size: at, changed_ns }
            }
            None => DoneState { origin, size: self.size, ..DoneState::default() },
        }
    }
}

/// A stream that ends where it is damaged.
pub(crate) struct Torn(pub(crate) Box<dyn Read>);

impl Read for Torn {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer) {
            Err(error) if error.raw_os_error().is_none() && !is_for_later(error.kind()) => Ok(0),
            other => other,
        }
    }
}

fn is_for_later(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock)
}

/// Opens a file that was found; one that cannot be opened is looked at again.
pub(crate) fn open(found: &FoundFile, eyes: &mut Eyes<'_>) -> Result<File, Errno> {
    match found.open() {
        Opened::File(file) => Ok(file),
        Opened::Refused(_) => Err(Errno::EINVAL),
        Opened::Failed(errno) => {
            eyes.lacks_descriptor(errno);
            eyes.list_again();
            Err(errno)
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
