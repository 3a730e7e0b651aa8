//! By what the followed files begin with: of which of them a new file is a copy so far.
//!
//! A file is entered under a hash of each length of its head, and asked for by the longest that a new one has, or by
//! the longest that was known of it: no file is compared with all others. Files count that hold at least as much as the
//! new one, byte for byte; and those whose bytes are not there any more, if the new one has all that was read of them.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fs::File;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

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

/// So many logs are remembered of which nothing is left: copies of them may still be looked at.
const RETIRED_MAX: usize = 32;

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
    /// In this file; so much was read of it when that was last noted, and the guard is of what was read.
    There { path: PathBuf, identity: Identity, read: u64, guard: Option<Guard> },
    /// It is done with; where it was when that was last noted, if it was there.
    Done { done: DoneState, path: Option<PathBuf> },
    /// They were truncated, or the file is gone, and the rest is looked for; the guard is of what was read.
    Sought { read: u64, guard: Option<Guard> },
    /// In a file without a name, that is open; so much was read of it.
    Nameless { read: u64, guard: Option<Guard> },
}

/// How much of the beginning of a file is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KnownHead {
    /// Bytes of it that were read, no more than a head has.
    pub read_bytes: u64,
    /// Of how many lengths what was seen has hashes.
    pub seen: usize,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Twins {
    /// By length, whether no longer one is known, and hash; many may begin alike.
    by_head: BTreeSet<(usize, bool, u64, SourceId)>,
    /// With how much was known of the newest.
    lives: HashMap<SourceId, (KnownHead, Box<[Original]>)>,
    /// Those of which the rest of a file is looked for.
    seeking: BTreeSet<SourceId>,
    /// Those that are followed no longer.
    retired: VecDeque<SourceId>,
}

impl Twins {
    /// These are the lives of a source now, in place of those that were.
    pub fn set(&mut self, source: SourceId, known: KnownHead, lives: Vec<Original>) {
        self.release(source);
        self.by_head.extend(keys(&lives, source));
        if lives.iter().any(|life| matches!(life.bytes, Bytes::Sought { .. })) {
            self.seeking.insert(source);
        }
        self.lives.insert(source, (known, lives.into_boxed_slice()));
    }

    /// How much was known of its newest file when its lives were set.
    pub fn known_head(&self, source: SourceId) -> KnownHead {
        self.lives.get(&source).map_or_else(KnownHead::default, |(known, _)| *known)
    }

    /// Sources of which the rest of a file is looked for: a new one may have it.
    pub fn seeking(&self) -> Vec<SourceId> {
        self.seeking.iter().copied().collect()
    }

    /// It is followed no longer, and nothing of it is left: what it was done with is remembered, of the last few.
    pub fn retire(&mut self, source: SourceId) {
        let (_, lives) = self.lives.get(&source).cloned().unwrap_or_default();
        let done: Vec<_> = lives
            .into_iter()
            .filter(|life| matches!(life.bytes, Bytes::Done { .. } | Bytes::Nameless { .. }))
            .collect();
        self.set(source, KnownHead::default(), done);
        self.retired.push_back(source);
        if self.retired.len() > RETIRED_MAX
            && let Some(first) = self.retired.pop_front()
        {
            self.release(first);
        }
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
        let last = head.hashes().len().checked_sub(1)?;
        let alike = |level: usize, hash: u64, is_longest: bool| {
            let key = |source| (level, is_longest, hash, SourceId(source));
            self.by_head.range(key(0)..=key(u32::MAX)).rev().map(|(.., source)| source)
        };
        // Of one that was shorter when its head was noted less is known than of this one.
        let levels = head.hashes().iter().copied().enumerate().rev();
        let shorter = levels.flat_map(|(level, hash)| alike(level, hash, true));
        let longer = alike(last, head.hashes()[last], false);
        let others = longer.chain(shorter).chain(&self.seeking).filter(|other| **other != of);
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
fn keys(lives: &[Original], source: SourceId) -> impl Iterator<Item = (usize, bool, u64, SourceId)> {
    lives.iter().flat_map(move |life| {
        let hashes = life.head.hashes();
        let key = move |(level, hash): (usize, &u64)| (level, level + 1 == hashes.len(), *hash, source);
        hashes.iter().enumerate().map(key)
    })
}

impl Original {
    /// A life that is followed.
    pub fn of_generation(generation: &Generation) -> Original {
        let known = generation.head();
        let head = known.or(generation.beginning().first().map_or(known, Head::of));
        let (read, guard) = (generation.cursor().read(), generation.cursor().memory().tail_guard());
        let bytes = if generation.is_sought() {
            Bytes::Sought { read, guard }
        } else if !generation.has_name() {
            Bytes::Nameless { read, guard }
        } else {
            Bytes::There { path: generation.path().clone(), identity: generation.inode(), read, guard }
        };
        Original { head, bytes }
    }

    fn begins_with(&self, file: &File, size: u64) -> bool {
        match &self.bytes {
            Bytes::There { path, identity, read, guard } => {
                let Ok(there) = open(path, identity) else { return false };
                let Some(there) = there else { return has_all(file, size, *read, *guard) };
                let there_bytes = there.metadata().map_or(0, |metadata| metadata.len());
                if there_bytes >= size && is_same(file, &there, size) {
                    return true;
                }
                // Truncated since it was looked at: what is left of what was read may be this.
                !has_all(&there, there_bytes, *read, *guard) && has_all(file, size, *read, *guard)
            }
            Bytes::Done { done, path } => {
                let sample = (done.size == size).then(|| Sample::of_file(file, size, size).ok()).flatten();
                let there = || {
                    path.as_ref()
                        .filter(|_| size < done.size)
                        .and_then(|path| open(path, &done.origin.identity).ok()?)
                };
                sample.is_some_and(|sample| sample.is_copy_of(done))
                    || there().is_some_and(|there| is_same(file, &there, size))
            }
            Bytes::Sought { read, guard } => has_all(file, size, *read, *guard),
            Bytes::Nameless { read, guard } => size == *read && has_all(file, size, *read, *guard),
        }
    }
}

/// The file of this identity, if it is there.
///
/// # Errors
/// Nobody can say.
fn open(path: &Path, identity: &Identity) -> Result<Option<File>, Errno> {
    match look(path) {
        At::File(found) if found.identity == *identity => match found.open() {
            Opened::File(file) => Ok(Some(file)),
            Opened::Refused(_) => Ok(None),
            Opened::Failed(errno) => Err(errno),
        },
        At::File(_) | At::Missing | At::Refused(_) => Ok(None),
        At::Failed(errno) => Err(errno),
    }
}

/// Whether a file of this size has all that was `read` of one that begins as it does.
fn has_all(file: &File, size: u64, read: u64, guard: Option<Guard>) -> bool {
    let memory = (size >= read).then(|| Memory::of_file(file, read).ok().flatten()).flatten();
    let guard = guard.filter(|guard| guard.len as usize >= HEAD_LENGTHS[0]);
    memory.is_some_and(|memory| guard.is_some_and(|guard| guard.fits_end(memory.tail()) == Some(true)))
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

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};

    use super::*;

    /// Lines that say which they are.
    fn lines(range: std::ops::Range<usize>) -> String {
        range.map(|n| format!("2026-11-28T10:00:00 line {n:06}\n")).collect::<Vec<_>>().concat()
    }

    /// A log of which so many bytes were read when it was noted, and what it is a copy of after `change`.
    fn is_copy(read: &str, change: impl FnOnce(&Path), new: &str) -> bool {
        let dir = tempfile::tempdir().unwrap();
        let (log, copy) = (dir.path().join("app.log"), dir.path().join("copy.log"));
        fs::write(&log, read).unwrap();
        let At::File(found) = look(&log) else { panic!() };
        let guard = Some(Guard::of_end(&read.as_bytes()[read.len().saturating_sub(4096)..]));
        let bytes = Bytes::There { path: log.clone(), identity: found.identity, read: read.len() as u64, guard };
        let mut twins = Twins::default();
        let original = Original { head: Head::of(&read.as_bytes()[..read.len().min(4096)]), bytes };
        twins.set(SourceId(1), KnownHead::default(), vec![original]);
        change(&log);
        fs::write(&copy, new).unwrap();
        let found = twins.original(&File::open(&copy).unwrap(), new.len() as u64, SourceId(2));
        assert!(found.is_none_or(|source| source == SourceId(1)));
        found.is_some()
    }

    fn truncate(path: &Path) {
        OpenOptions::new().write(true).truncate(true).open(path).unwrap();
    }

    #[test]
    fn a_file_is_a_copy_of_what_is_there_or_of_what_was_read_and_is_not_there_any_more() {
        // As long as the heads of which hashes are known, between two of them, and longer.
        for read in [1, 3, 20, 200] {
            let (all, more) = (lines(0..read), lines(0..read + 300));
            let append = |path: &Path| fs::write(path, lines(0..read + 500)).unwrap();
            let fill = |path: &Path| fs::write(path, lines(900..2000)).unwrap();
            let remove = |path: &Path| fs::remove_file(path).unwrap();
            assert!(is_copy(&all, |_| {}, &all), "{read}: of what is there");
            assert!(!is_copy(&all, |_| {}, &more), "{read}: it has more");
            assert!(is_copy(&all, append, &more), "{read}: of what is there by now");
            assert!(!is_copy(&all, append, &(all.clone() + &lines(700..701))), "{read}: it differs behind");
            for (what, change) in [("truncated", truncate as fn(&Path)), ("filled", fill), ("removed", remove)] {
                assert!(is_copy(&all, change, &all), "{read}: of what was {what}");
                assert!(is_copy(&all, change, &more), "{read}: of what was {what}, and more was not read");
                assert!(!is_copy(&all, change, &lines(300..900)), "{read}: another, and it was {what}");
            }
        }
        assert!(!is_copy(&lines(0..200), truncate, &lines(0..100)), "it has less than was read");
    }
}
