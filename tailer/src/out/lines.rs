//! Lines on their way from a source to an output.

use memchr::{memchr, memrchr};

use crate::file::guard::Guard;
use crate::file::identity::Origin;
use crate::out::timestamp::Time;

/// A source, by its place in the list of sources. Never given to another source in one run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceId(pub u32);

/// A generation of a source: one life of an inode, for as long as this process knows of it. Never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GenerationId(pub u64);

impl GenerationId {
    /// Of what an earlier run delivered, and this one does not follow under a number of its own.
    pub const EARLIER: GenerationId = GenerationId(u64::MAX);

    /// The one of this number of a source.
    pub fn new(source: SourceId, number: u32) -> GenerationId {
        let id = GenerationId(u64::from(source.0) << 32 | u64::from(number));
        debug_assert_eq!(id.source(), source);
        id
    }

    /// Whose it is.
    pub fn source(self) -> SourceId {
        SourceId((self.0 >> 32) as u32)
    }
}

/// How a run of bytes ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With the newline of its last line.
    Line,
    /// Inside a line that is longer than what can be held; the next run of this generation goes on with it.
    Open,
    /// The file ended without a newline and nobody can complete it: the last byte of the run is a newline of ours,
    /// which no offset counts.
    Added,
}

/// Consecutive bytes of one generation: whole lines, unless [`End`] says otherwise.
#[derive(Clone, Copy, Debug)]
pub struct Lines<'a> {
    /// Whose they are.
    pub source: SourceId,
    /// Which generation.
    pub generation: GenerationId,
    /// Which life of which inode that is.
    pub origin: Origin,
    /// Offset of the first byte.
    pub start: u64,
    /// Offset behind the last byte that stands in the file.
    pub end: u64,
    /// The bytes; never empty.
    pub bytes: &'a [u8],
    /// How they end. Bytes with an [`End::Open`] or [`End::Added`] are one line or a piece of one.
    pub ends: End,
    /// When they were read: wall clock, ns since the epoch, never less than before.
    pub read_ns: i64,
    /// They are what a record of the file held, or a piece of that: one line, whose bytes are fewer than the file's.
    pub record: Option<Unwrapped>,
}

impl Lines<'_> {
    /// Whether they go on with a line that has no end yet; `is_same_life`: it began in their own generation.
    pub fn go_on_from(&self, is_same_life: bool) -> bool {
        is_same_life || self.record.is_some_and(|record| record.goes_on)
    }
}

/// What a record of a file says beside its line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unwrapped {
    /// When it was written.
    pub time: Option<Time>,
    /// Of what stands before `end` in the file.
    pub guard: Guard,
    /// It goes on with the line that is open, also where that began in another generation.
    pub goes_on: bool,
    /// `end` is behind it, and all before it came. Else it comes again from `end`, with what belongs together.
    pub is_stop: bool,
}

/// How much of `bytes` goes together where so many do at most: as many whole lines as fit, or one line that is longer
/// than that, or, of a line whose end is not there, all of it. 0 only for no bytes.
pub fn whole_lines(bytes: &[u8], bytes_max: usize) -> usize {
    if bytes.len() <= bytes_max {
        return bytes.len();
    }
    match memrchr(b'\n', &bytes[..bytes_max]) {
        Some(last) => last + 1,
        None => memchr(b'\n', &bytes[bytes_max..]).map_or(bytes.len(), |at| bytes_max + at + 1),
    }
}
