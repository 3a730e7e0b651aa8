//! The files that a source is done with: they are remembered, so that none is read again. Those that are still there may
//! grow; those that are copies of what is still read are done with when that is.
//!
//! Invariants: a file is here once; of more than [`DONE_MAX`] the oldest are remembered by the time of their birth alone,
//! and nothing that is older than that time was ever ours.

use std::collections::HashSet;
use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};

use crate::changed::Changed;
use crate::checkpoint::state::DoneState;
use crate::file::identity::{Identity, Origin};
use crate::log::candidate::Candidate;
use crate::out::lines::GenerationId;

/// Most files that are remembered as done with.
const DONE_MAX: usize = 1024;

/// Most of them that are not there any more: copies of them may still come.
const GONE_MAX: usize = 32;

/// So many of those that are there, the newest by name, are looked at for more: each look costs a system call a file.
const ASIDE_MAX: usize = 4;

/// A file that is done with and is still there: somebody may append to it by its name.
#[derive(Debug)]
struct Aside {
    path: PathBuf,
    identity: Identity,
    /// How far it was read.
    offset: u64,
    /// As what it was read in this run.
    generation: Option<GenerationId>,
}

impl Aside {
    /// Whether it is longer than what was read of it.
    fn has_grown(&self) -> bool {
        let is_longer = |metadata: Metadata| metadata.len() > self.offset && Identity::from(&metadata) == self.identity;
        fs::metadata(&self.path).is_ok_and(is_longer)
    }
}

/// A file that begins as a generation on the list does, with all that it holds.
#[derive(Debug)]
pub(crate) struct Copy {
    pub(crate) of: GenerationId,
    /// What is remembered of it once that generation is done with.
    file: DoneState,
    pub(crate) stamp: (u64, i64),
}

impl Copy {
    pub(crate) fn identity(&self) -> Identity {
        self.file.origin.identity
    }
}

/// What a source is done with.
#[derive(Debug)]
pub struct Done {
    files: Vec<DoneState>,
    /// The newest of them that are there.
    aside: Vec<Aside>,
    /// Copies of what is not done with.
    copies: Vec<Copy>,
    /// What was born before that was never ours.
    since_ns: i64,
    changed: Changed,
}

impl Done {
    /// What a checkpoint says.
    pub fn new(files: Vec<DoneState>, since_ns: i64) -> Done {
        Done { files, aside: Vec::new(), copies: Vec::new(), since_ns, changed: Changed::default() }
    }

    /// All of them.
    pub fn files(&self) -> &[DoneState] {
        &self.files
    }

    /// What was born before that was never ours.
    pub fn since_ns(&self) -> i64 {
        self.since_ns
    }

    /// That was not known, and is now.
    pub fn begin(&mut self, since_ns: i64) {
        debug_assert_eq!(self.since_ns, 0, "it begins once");
        self.since_ns = since_ns;
    }

    /// That there are none is to be known to the next run.
    pub fn begin_empty(&mut self) {
        self.changed.note();
    }

    /// Whether a checkpoint is to say something else since this was last asked.
    pub fn take_changed(&mut self) -> bool {
        self.changed.take()
    }

    /// Whether some are remembered by the time of their birth alone.
    pub fn has_forgotten(&self) -> bool {
        self.files.len() >= DONE_MAX
    }

    /// What is known of a file.
    pub fn get(&self, file: &Identity) -> Option<&DoneState> {
        self.files.iter().find(|done| done.origin.identity == *file)
    }

    /// Where one is, as far as it is one of the newest that are there.
    pub fn path(&self, file: &Identity) -> Option<&Path> {
        self.aside.iter().find(|aside| aside.identity == *file).map(|aside| aside.path.as_path())
    }

    /// It is not done with any more.
    pub fn take(&mut self, file: &Identity) -> Option<DoneState> {
        let index = self.files.iter().position(|done| done.origin.identity == *file)?;
        self.changed.note();
        Some(self.files.remove(index))
    }

    /// It is done with, and that is known of it.
    pub fn set(&mut self, done: DoneState) {
        self.take(&done.origin.identity);
        self.changed.note();
        if self.has_forgotten() {
            let born_ns = |index: &usize| self.files[*index].origin.identity.born_ns;
            self.forget((0..self.files.len()).min_by_key(born_ns).unwrap_or(0));
        }
        self.files.push(done);
        debug_assert!(self.files.len() <= DONE_MAX, "the oldest are forgotten");
    }

    /// A file is a copy of one of them. Where that is not `here` any more, it was packed or moved: what is known of it is
    /// known of the copy from now on, and of no other.
    pub(crate) fn add_copy(&mut self, done: &Identity, copy: &Candidate, here: &HashSet<Identity>) {
        if here.contains(done) {
            self.set(copy.as_done());
        } else if let Some(done) = self.take(done) {
            self.set(DoneState { origin: Origin::from(copy.identity), ..done });
        }
    }

    /// It is a copy of a generation that is not done with.
    pub(crate) fn note_copy(&mut self, copy: &Candidate, of: GenerationId) {
        self.copies.retain(|other| other.identity() != copy.identity);
        debug_assert!(self.get(&copy.identity).is_none(), "a copy of what is not done with is not done with");
        self.copies.push(Copy { of, file: copy.as_done(), stamp: copy.stamp() });
    }

    /// Copies of what is not done with.
    pub(crate) fn copies(&self) -> impl Iterator<Item = &Copy> {
        self.copies.iter()
    }

    /// A generation is done with, and with it all copies of it. What is known of a copy already says more.
    pub fn add_copies_of(&mut self, generation: GenerationId) {
        let copies: Vec<Copy> = self.copies.extract_if(.., |copy| copy.of == generation).collect();
        for copy in copies {
            if self.get(&copy.identity()).is_none() {
                self.set(copy.file);
            }
        }
    }

    /// One is there, read so far.
    pub fn put_aside(&mut self, path: PathBuf, identity: Identity, offset: u64, as_read: Option<GenerationId>) {
        let before = self.aside.iter().position(|aside| aside.identity == identity).map(|at| self.aside.remove(at));
        let generation = as_read.or(before.and_then(|before| before.generation));
        self.aside.push(Aside { path, identity, offset, generation });
        self.aside.drain(..self.aside.len().saturating_sub(ASIDE_MAX));
        debug_assert!(self.aside.iter().filter(|aside| aside.identity == identity).count() == 1, "each is there once");
    }

    /// Whether what was read as this generation may still grow.
    pub fn is_aside(&self, generation: GenerationId) -> bool {
        self.aside.iter().any(|aside| aside.generation == Some(generation))
    }

    /// Whether one that is there has grown; asks the kernel.
    pub fn has_grown(&self) -> bool {
        self.aside.iter().any(Aside::has_grown)
    }

    /// Only these are `here`.
    pub fn retain_aside(&mut self, here: &HashSet<Identity>) {
        self.aside.retain(|aside| here.contains(&aside.identity));
    }

    /// Of those that are not `here` any more, the last few are remembered.
    pub fn forget_gone(&mut self, here: &HashSet<Identity>) {
        let is_gone = |done: &DoneState| done.origin.identity.born_ns > 0 && !here.contains(&done.origin.identity);
        let mut surplus = self.files.iter().filter(|done| is_gone(done)).count().saturating_sub(GONE_MAX);
        while surplus > 0
            && let Some(index) = self.files.iter().position(is_gone)
        {
            self.forget(index);
            surplus -= 1;
        }
    }

    /// It is remembered by the time of its birth alone.
    fn forget(&mut self, index: usize) {
        let done = self.files.remove(index);
        self.since_ns = self.since_ns.max(done.origin.identity.born_ns + 1);
        self.changed.note();
    }
}
