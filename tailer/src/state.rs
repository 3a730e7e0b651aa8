//! What a source remembers from one run to the next: the content of a checkpoint, whatever its form on disk.

use std::path::PathBuf;

use crate::guard::Guard;
use crate::identity::{Identity, Origin};

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
    /// Files beside it that are done with (or never were ours), by identity: never read again.
    pub done: Vec<Identity>,
}

/// How far a generation is delivered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GenerationState {
    /// Which life of which inode.
    pub origin: Origin,
    /// Delivered up to here.
    pub offset: u64,
    /// What stands right before `offset`. `None`: not known, identity and size decide.
    pub guard: Option<Guard>,
    /// xxh3-64 of the last line before `offset`, newline included, if it is known.
    pub last_line_hash: Option<u64>,
    /// What the file begins with.
    pub head: Option<Guard>,
}
