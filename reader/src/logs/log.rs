//! The log of one pipe: its parts in order, and places in it.
//!
//! Invariants: which parts there are is looked up once, and again only by [`Log::refresh`]; each is opened by the name
//! it has when its turn comes. The newest is opened at once, so what is written to it later is not seen before the next
//! refresh, and two readings in between give the same.

use std::sync::Arc;

use nix::errno::Errno;
use standpipe_common::error::Result;
use standpipe_common::part::PartName;
use standpipe_common::shown::Shown as _;

use super::part::{self, Part, Scratch};
use crate::disk::Dir;
use crate::listing::Listing;

/// A place in a log, between two lines: what stands before it and what behind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The part that it stands in, there or not.
    pub part: PartName,
    /// Raw bytes of the part that stand before it.
    pub offset: u64,
}

/// The log of a pipe.
pub struct Log {
    name: String,
    dir: Dir,
    names: Vec<PartName>,
    newest: Option<Arc<Part>>,
    /// The part that was the newest when it was looked at before: what came to it then can be read, though it may have
    /// been removed since.
    seen: Option<Arc<Part>>,
    /// The times of its lines are wanted.
    timed: bool,
    /// Parts that were there when it was looked at and not any more when they were to be read.
    removed: u64,
}

impl Log {
    /// The log that stands in `dir` now.
    pub fn open(dir: Dir, timed: bool) -> Result<Log> {
        let path = dir.path().canonicalize().ok();
        let name = path.as_deref().unwrap_or(dir.path()).file_name().unwrap_or_default();
        let name = name.shown().to_string();
        let mut log = Log { name, dir, names: Vec::new(), newest: None, seen: None, timed, removed: 0 };
        log.names = log.look()?;
        log.open_newest(0);
        Ok(log)
    }

    /// What its pipe is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where its parts stand.
    pub fn dir(&self) -> &Dir {
        &self.dir
    }

    /// How many parts there are.
    pub fn parts(&self) -> usize {
        self.names.len()
    }

    /// The number of the first part that is not older than this one.
    pub fn number_of(&self, part: &PartName) -> usize {
        debug_assert!(self.names.is_sorted(), "parts are in order");
        self.names.partition_point(|name| name < part)
    }

    /// Whether it has a part of this name.
    pub fn has(&self, part: &PartName) -> bool {
        self.names.binary_search(part).is_ok()
    }

    /// The part of this stem, there or not. `None`: no part of this log was ever called so.
    pub fn part_of_stem(&self, stem: &str) -> Result<Option<PartName>> {
        Ok(Listing::read(&self.dir)?.part_of_stem(stem))
    }

    /// The name of a part.
    pub fn name_of(&self, number: usize) -> &PartName {
        &self.names[number]
    }

    /// From now on it is called by its path, as others have its name.
    pub fn call_by_path(&mut self) {
        self.name = self.dir.path().shown().to_string();
    }

    /// How many parts were removed while it was read, since this was asked last.
    pub fn take_removed(&mut self) -> u64 {
        std::mem::take(&mut self.removed)
    }

    /// Opens a part. `None`: it has been removed.
    pub fn part(&mut self, number: usize) -> Option<Result<Arc<Part>>> {
        let name = &self.names[number];
        if let Some(newest) = &self.newest
            && newest.name() == name
        {
            return Some(Ok(newest.clone()));
        }
        match self.open_part(number, 0) {
            Ok(part) => Some(Ok(Arc::new(part))),
            Err(error) if error.errno() == Some(Errno::ENOENT) => {
                let kept = self.seen.as_ref().filter(|seen| seen.name() == name).and_then(|seen| seen.again(0));
                self.removed += u64::from(kept.is_none());
                kept.map(|part| part.map(Arc::new))
            }
            Err(error) => Some(Err(error)),
        }
    }

    /// Behind the last line. `holds`: one that has no newline is none yet.
    pub fn end(&mut self, holds: bool, scratch: &mut Scratch) -> Result<Option<Position>> {
        let Some(part) = self.newest.clone() else { return Ok(None) };
        let at = |offset| Some(Position { part: part.name().clone(), offset });
        let mut number = part.blocks();
        if !holds || number == 0 || !part.block(number - 1).ends_inside {
            return Ok(at(part.len()));
        }
        let mut raw = Vec::new();
        while number > 0 {
            number -= 1;
            part.read(number, scratch, &mut raw)?;
            if let Some(newline) = memchr::memrchr(b'\n', &raw) {
                return Ok(at(part.block(number).offset + newline as u64 + 1));
            }
        }
        Ok(at(part.block(0).offset))
    }

    /// Looks again: what has come behind `seen` is there now, and what stands before its part is forgotten.
    pub fn refresh(&mut self, seen: Option<&Position>) -> Result<()> {
        self.names = self.look()?;
        self.names.retain(|name| seen.is_none_or(|seen| *name >= seen.part));
        // An archive does not grow: what was seen of it is all.
        let is_segment_of = |part: &Arc<Part>, seen: &Position| part.is_segment() && *part.name() == seen.part;
        self.seen =
            self.newest.take().or(self.seen.take()).filter(|part| seen.is_some_and(|seen| is_segment_of(part, seen)));
        if let Some(part) = &self.seen
            && self.names.first() != Some(part.name())
        {
            self.names.insert(0, part.name().clone());
        }
        self.grow(seen);
        Ok(())
    }

    /// The same where no part has come or gone: the newest may have got longer.
    pub fn grow(&mut self, seen: Option<&Position>) {
        let from = seen.filter(|seen| self.names.last() == Some(&seen.part)).map_or(0, |seen| seen.offset);
        self.open_newest(from);
    }

    fn open_newest(&mut self, from: u64) {
        // One that cannot be opened is said when its turn comes.
        let last = self.names.len().checked_sub(1);
        self.newest = last.and_then(|last| self.open_part(last, from).ok()).map(Arc::new);
    }

    fn open_part(&self, number: usize, from: u64) -> Result<Part> {
        let mut part = Part::open(&self.dir, &self.names[number], from, self.timed)?;
        if from == 0
            && !part.has_index()
            && let Some(before) = number.checked_sub(1)
            && part::ends_inside(&self.dir, &self.names[before])
        {
            part.begin_inside();
        }
        Ok(part)
    }

    fn look(&self) -> Result<Vec<PartName>> {
        Ok(Listing::read(&self.dir)?.completed(&self.dir)?.stored().cloned().collect())
    }
}
