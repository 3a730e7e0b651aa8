//! By what the followed files begin with: of which of them a new file is a copy so far.
//!
//! A file is entered under a hash of each length of its head, and asked for by the longest that a new one has: no file
//! is compared with all others. Only files that hold at least as much as the new one, byte for byte, count.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::path::PathBuf;

use crate::checkpoint::state::DoneState;
use crate::file::guard::{Guard, HEAD_LENGTHS, Head};
use crate::file::identity::Identity;
use crate::file::open::{At, Opened, look};
use crate::log::generation::Generation;
use crate::log::memory::{Memory, read_up_to};
use crate::log::sample::Sample;
use crate::out::lines::SourceId;

/// Of those that begin alike so many are compared. Where more do, it is a header that all have.
const COMPARED_MAX: usize = 64;

/// Files are compared as a whole up to this length; longer ones at both ends.
const WHOLE_BYTES_MAX: u64 = 16 << 20;

/// One file that is or was followed.
#[derive(Clone, Debug)]
pub struct Original {
    /// What it begins with.
    pub head: Head,
    /// Where its bytes are.
    pub bytes: Bytes,
}

/// Where the bytes of a file are.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "a field is named after what it holds")]
pub enum Bytes {
    /// In this file.
    There { path: PathBuf, identity: Identity },
    /// It is done with.
    Done(DoneState),
    /// They were truncated, or the file is gone, and the rest is looked for; the guard is of what was read.
    Sought { read: u64, guard: Option<Guard> },
}

/// All of them.
#[derive(Debug, Default)]
pub struct Twins {
    /// By length and hash; many may begin alike.
    by_head: BTreeSet<(usize, u64, SourceId)>,
    /// With how much was known of the beginning of the newest.
    lives: HashMap<SourceId, (usize, Box<[Original]>)>,
    /// Those of which the rest of a file is looked for.
    seeking: BTreeSet<SourceId>,
}

impl Twins {
    /// These are the lives of a source now, in place of those that were.
    pub fn set(&mut self, source: SourceId, head_level: usize, lives: Vec<Original>) {
        self.release(source);
        self.by_head.extend(keys(&lives, source));
        if lives.iter().any(|life| matches!(life.bytes, Bytes::Sought { .. })) {
            self.seeking.insert(source);
        }
        self.lives.insert(source, (head_level, lives.into_boxed_slice()));
    }

    /// How much was known of the beginning of its newest file when its lives were set.
    pub fn head_level(&self, source: SourceId) -> usize {
        self.lives.get(&source).map_or(0, |(head_level, _)| *head_level)
    }

    /// Sources of which the rest of a file is looked for: a new one may have it.
    pub fn seeking(&self) -> Vec<SourceId> {
        self.seeking.iter().copied().collect()
    }

    /// It is followed no longer.
    pub fn release(&mut self, source: SourceId) {
        self.seeking.remove(&source);
        for key in keys(&self.lives.remove(&source).unwrap_or_default().1, source) {
            self.by_head.remove(&key);
        }
    }

    /// Another source, of which a file of this size has nothing but what that begins with. A file that is too short to
    /// have a head is like none.
    pub fn original(&self, file: &File, size: u64, of: SourceId) -> Option<SourceId> {
        let begin = Sample::of_file(file, size, 0).ok()?;
        let head = Head::of(&begin.head);
        let (level, hash) = (head.hashes().len().checked_sub(1)?, *head.hashes().last()?);
        let alike = self.by_head.range((level, hash, SourceId(0))..=(level, hash, SourceId(u32::MAX)));
        let others = alike.rev().map(|(_, _, source)| source).chain(&self.seeking).filter(|other| **other != of);
        let has_it = |other: &&SourceId| {
            let fits = |life: &&Original| life.head.fits(&begin.head) != Some(false);
            self.lives
                .get(other)
                .is_some_and(|(_, lives)| lives.iter().filter(fits).any(|life| life.begins_with(file, size)))
        };
        others.take(COMPARED_MAX).find(has_it).copied()
    }
}

/// Under what a source with these lives is entered.
fn keys(lives: &[Original], source: SourceId) -> impl Iterator<Item = (usize, u64, SourceId)> {
    let hashes = lives.iter().flat_map(|life| life.head.hashes().iter().copied().enumerate());
    hashes.map(move |(level, hash)| (level, hash, source))
}

impl Original {
    /// A life that is followed.
    pub fn of_generation(generation: &Generation) -> Original {
        let known = generation.cursor().memory().head();
        let head = known.or(generation.beginning().first().map_or(known, Head::of));
        if generation.is_sought() {
            let (read, guard) = (generation.cursor().read(), generation.cursor().memory().tail_guard());
            return Original { head, bytes: Bytes::Sought { read, guard } };
        }
        let bytes = Bytes::There { path: generation.path().clone(), identity: generation.inode() };
        Original { head, bytes }
    }

    fn begins_with(&self, file: &File, size: u64) -> bool {
        match &self.bytes {
            Bytes::There { path, identity } => {
                let At::File(found) = look(path) else { return false };
                let is_it = found.identity == *identity && found.stamp.size >= size;
                is_it && matches!(found.open(), Opened::File(other) if is_same(file, &other, size))
            }
            Bytes::Done(done) => {
                let sample = (done.size == size).then(|| Sample::of_file(file, size, size).ok()).flatten();
                sample.is_some_and(|sample| sample.is_copy_of(done))
            }
            Bytes::Sought { read, guard } => {
                let memory = (size >= *read).then(|| Memory::of_file(file, *read).ok().flatten()).flatten();
                let guard = guard.filter(|guard| guard.len as usize >= HEAD_LENGTHS[0]);
                memory.is_some_and(|memory| guard.is_some_and(|guard| guard.fits_end(memory.tail()) == Some(true)))
            }
        }
    }
}

/// Whether the first bytes of two files are the same.
fn is_same(one: &File, other: &File, size: u64) -> bool {
    let (mut left, mut right) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    let mut from = 0;
    while from < size {
        let most = (size - from).min(left.len() as u64) as usize;
        let read =
            |file: &File, bytes: &mut [u8]| read_up_to(file, &mut bytes[..most], from).is_ok_and(|read| read == most);
        if !read(one, &mut left) || !read(other, &mut right) || left[..most] != right[..most] {
            return false;
        }
        from += most as u64;
        if size > WHOLE_BYTES_MAX && from < size - left.len() as u64 {
            from = size - left.len() as u64;
        }
    }
    true
}
