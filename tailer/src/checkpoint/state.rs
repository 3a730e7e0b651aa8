//! What a source remembers from one run to the next: the content of a checkpoint, whatever its form on disk.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;

use crate::file::guard::{Guard, Head};
use crate::file::identity::{Identity, Origin};

/// All sources, by their paths. What did not change is shared by those who know it.
pub type States = BTreeMap<PathBuf, Rc<SourceState>>;

/// One source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceState {
    /// The path that is followed.
    pub path: PathBuf,
    /// Generations that are not done with, oldest first; the last one had the live name when it was last seen, unless
    /// `is_live` is false.
    pub generations: Vec<GenerationState>,
    /// Whether the last generation had the live name.
    pub is_live: bool,
    /// Files beside it that are done with, or never were ours: not read again.
    pub done: Vec<DoneState>,
    /// When it was first followed, ns since the epoch: what was born before and is not known was never ours. 0: not
    /// known.
    pub since_ns: i64,
    /// When it was followed no longer, ns since the epoch. 0: it is.
    pub left_ns: i64,
}

impl SourceState {
    /// Whether bytes of this file were delivered, or are to be.
    pub fn has_read(&self, file: &Identity) -> bool {
        let mut generations = self.generations.iter().map(GenerationState::inode);
        let mut done = self.done.iter().filter(|done| done.offset.is_some()).map(|done| done.origin.identity);
        generations.any(|other| other == *file) || done.any(|other| other == *file)
    }
}

/// A file that is done with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct DoneState {
    /// Which life of which inode.
    pub origin: Origin,
    /// How far it was read; what is appended later is read from here. `None`: it never was ours.
    pub offset: Option<u64>,
    /// What stands right before `offset`, or at its end if it never was ours.
    pub guard: Option<Guard>,
    /// What it begins with.
    pub head: Head,
    /// How long it was: by this, `guard` and `head` a copy of it is known, packed or not.
    pub size: u64,
    /// Its last change, ns since the epoch, which packers keep. 0: not known.
    pub changed_ns: i64,
}

impl DoneState {
    /// Whether a file that begins with `head` may be a copy of it, as far as that is known.
    pub fn may_begin_with(&self, head: &[u8]) -> bool {
        let is_known = self.size > 0 && self.guard.is_some_and(|guard| guard.len > 0);
        is_known && self.head.fits(head) != Some(false)
    }
}

/// How far a generation is delivered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct GenerationState {
    /// Which life of which inode.
    pub origin: Origin,
    /// Another file that its bytes are read from now: the copy of a truncated one.
    pub copy: Option<Identity>,
    /// Delivered up to here.
    pub offset: u64,
    /// What stands right before `offset`. `None`: not known, identity and size decide.
    pub guard: Option<Guard>,
    /// xxh3-64 of the last line that was delivered, newline included, if it is known.
    pub last_line_hash: Option<u64>,
    /// What the file begins with, before `offset` or behind it.
    pub head: Head,
}

impl GenerationState {
    /// The file that its bytes are read from.
    pub fn inode(&self) -> Identity {
        self.copy.unwrap_or(self.origin.identity)
    }
}
