//! The status file at work: one slot a source, written with plain stores into shared pages.
//!
//! Invariants: the file is made anew at each start and renamed over the one before; every page is allocated and writable
//! before a slot in it is given out, so a full disk makes no store fail; a store makes no system call, and a source is
//! stored at most ten times a second, after something happened to it. A file that cannot be kept, or no longer, is one
//! error, and nothing is stored from then on.

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::fcntl::{FallocateFlags, fallocate};
use standpipe_common::error::{Cannot, Error, Result};
use standpipe_common::mapped_text;
use standpipe_common::own;
use standpipe_common::rename::is_unsupported;
use standpipe_common::seam;
use standpipe_common::sys::{self, Words};

use super::format::{self, Figures, HEADER_BYTES, SLOT_BYTES, SLOTS_MAX};
use super::path_beside;
use crate::out::lines::SourceId;

/// Slots that a file begins with and grows by at least: eight pages.
const STEP_MIN: usize = 32;
/// Slots that it grows by at most: a MiB.
const STEP_MAX: usize = 1024;
/// Between two stores of a source.
const STORE_SPAN: Duration = Duration::from_millis(100);

/// The file, or its absence.
#[derive(Debug, Default)]
pub struct Board {
    kept: Option<Kept>,
    /// Sources to which something happened since they were stored.
    changed: BTreeSet<SourceId>,
    stored: Option<Instant>,
}

#[derive(Debug)]
struct Kept {
    path: PathBuf,
    file: File,
    words: Words,
    /// Slots that the file has room for.
    room: usize,
    /// Slots given out, from the first on.
    used: usize,
    /// Those of them that were given back.
    free: Vec<usize>,
    slots: HashMap<SourceId, Berth>,
}

/// The slot of a source, and what it says in words.
#[derive(Debug)]
struct Berth {
    at: usize,
    error: String,
}

impl Board {
    /// Makes the file beside `state`, whose lock we have.
    ///
    /// # Errors
    /// There is no room, or the kernel refuses. A file of before is gone then.
    pub fn make(state: &Path, now_ns: i64) -> Result<Board> {
        let path = path_beside(state);
        let kept = Kept::make(&path, now_ns);
        if kept.is_err() {
            // It would be taken for this run's.
            own::remove(&path, is_board).ok();
        }
        Ok(Board { kept: Some(kept?), ..Board::default() })
    }

    /// Something happened to this source.
    pub fn mark(&mut self, source: SourceId) {
        if self.kept.is_some() {
            self.changed.insert(source);
        }
    }

    /// When what changed is to be stored. `None`: nothing did.
    pub fn due(&self) -> Option<Instant> {
        let stored = self.stored.filter(|_| !self.changed.is_empty())?;
        Some(stored + STORE_SPAN)
    }

    /// Those that are to be stored now.
    pub fn take_due(&mut self, now: Instant) -> BTreeSet<SourceId> {
        if self.changed.is_empty() || self.due().is_some_and(|due| now < due) {
            return BTreeSet::new();
        }
        self.stored = Some(now);
        std::mem::take(&mut self.changed)
    }

    /// Stores what is to be said of a source; `error`: what is wrong with it, or nothing.
    ///
    /// # Errors
    /// The file cannot grow; nothing is stored any more.
    pub fn store(&mut self, source: SourceId, path: &Path, figures: &Figures, error: &str) -> Result<()> {
        let Some(kept) = &mut self.kept else { return Ok(()) };
        let stored = kept.store(source, path, figures, error);
        if stored.is_err() {
            own::remove_this(&kept.path, &kept.file).ok();
            self.kept = None;
        }
        stored
    }

    /// So many files are left out by `exclude`.
    pub fn set_excluded(&self, files: u64) {
        self.kept.iter().for_each(|kept| kept.words.store(format::EXCLUDED_AT, files));
    }

    /// A source is followed no longer.
    pub fn release(&mut self, source: SourceId) {
        self.changed.remove(&source);
        let Some(kept) = &mut self.kept else { return };
        let Some(place) = kept.slots.remove(&source) else { return };
        kept.words.store(place.at + format::STATE_AT, format::FREE);
        kept.free.push((place.at - HEADER_BYTES) / SLOT_BYTES);
        debug_assert_eq!(kept.free.len() + kept.slots.len(), kept.used);
    }
}

/// Whether a file that begins so is one of these.
fn is_board(head: &[u8]) -> bool {
    own::begins_with(&format::MAGIC.to_ne_bytes())(head)
}

impl Kept {
    fn make(path: &Path, now_ns: i64) -> Result<Kept> {
        let mut fresh = path.as_os_str().to_owned();
        fresh.push(".new");
        let fresh = PathBuf::from(fresh);
        own::remove(&fresh, is_board)?;
        own::require(path, is_board)?;
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create_new(true).mode(0o600).open(&fresh).cannot("make", &fresh)?;
        // A help on btrfs only, where a full disk could make a store fail after all.
        sys::set_no_copy_on_write(&file).ok();
        let words = map(&file, STEP_MIN).cannot("create", path)?;
        for (at, word) in [
            (0, format::MAGIC),
            (format::VERSION_AT, format::VERSION),
            (format::PID_AT, u64::from(std::process::id())),
            (format::START_AT, now_ns as u64),
            (format::SLOTS_AT, STEP_MIN as u64),
            (format::SLOT_BYTES_AT, SLOT_BYTES as u64),
        ] {
            words.store(at, word);
        }
        fs::rename(&fresh, path).cannot("create", path)?;
        let path = path.to_path_buf();
        Ok(Kept { path, file, words, room: STEP_MIN, used: 0, free: Vec::new(), slots: HashMap::new() })
    }

    fn store(&mut self, source: SourceId, path: &Path, figures: &Figures, error: &str) -> Result<()> {
        let at = match self.slots.get(&source) {
            Some(place) => place.at,
            None => self.begin(source, path)?,
        };
        for (offset, word) in figures.stores() {
            self.words.store(at + offset, word);
        }
        let is_new = self.slots.get_mut(&source).is_some_and(|place| {
            let is_new = place.error != error;
            if is_new {
                error.clone_into(&mut place.error);
            }
            is_new
        });
        if is_new {
            self.store_all(at + format::ERROR_AT, &mapped_text::words(error.as_bytes(), format::ERROR_MAX));
        }
        self.words.store(at + format::STATE_AT, format::USED);
        Ok(())
    }

    /// A slot for a source that has none, with its path.
    fn begin(&mut self, source: SourceId, path: &Path) -> Result<usize> {
        let index = match self.free.pop() {
            Some(index) => index,
            None => self.next()?,
        };
        let at = HEADER_BYTES + index * SLOT_BYTES;
        self.store_all(at + format::PATH_AT, &format::path_words(path.as_os_str().as_bytes()));
        self.store_all(at + format::ERROR_AT, &mapped_text::words(b"", format::ERROR_MAX));
        self.slots.insert(source, Berth { at, error: String::new() });
        Ok(at)
    }

    /// A slot that was never given out; the file grows where there is none.
    fn next(&mut self) -> Result<usize> {
        if self.used == self.room {
            let room = self.room + self.room.clamp(STEP_MIN, STEP_MAX);
            if room > SLOTS_MAX {
                return Err(Error::because("grow", &self.path, format!("all of its {} slots are in use", self.room)));
            }
            self.words = map(&self.file, room).cannot("grow", &self.path)?;
            self.words.store(format::SLOTS_AT, room as u64);
            self.room = room;
        }
        debug_assert!(self.used < self.room && self.free.is_empty(), "a slot that was given back comes first");
        self.used += 1;
        Ok(self.used - 1)
    }

    fn store_all(&self, at: usize, values: &[u64]) {
        for (index, word) in values.iter().enumerate() {
            self.words.store(at + 8 * index, *word);
        }
    }
}

/// Maps the file with room for so many slots.
fn map(file: &File, slots: usize) -> io::Result<Words> {
    seam::pass("status-grow")?;
    let bytes = HEADER_BYTES + slots * SLOT_BYTES;
    match fallocate(file, FallocateFlags::empty(), 0, bytes as i64) {
        Err(errno) if is_unsupported(errno) => file.set_len(bytes as u64)?,
        allocated => allocated?,
    }
    let words = Words::shared(file, bytes)?;
    words.populate(0..bytes)?;
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::format::{Content, decode};

    fn read(state: &Path) -> Content {
        decode(&fs::read(path_beside(state)).unwrap()).unwrap()
    }

    fn figures(offset: u64) -> Figures {
        Figures { offset, ..Figures::default() }
    }

    #[test]
    fn a_file_that_grows_keeps_what_its_sources_say() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state.json");
        let mut board = Board::make(&state, 5).unwrap();
        for index in 0..100 {
            let path = PathBuf::from(format!("/l/{index}"));
            board.store(SourceId(index), &path, &figures(u64::from(index)), "").unwrap();
        }
        let content = read(&state);
        assert_eq!((content.slots.len(), content.pid), (100, u64::from(std::process::id())));
        for (index, slot) in content.slots.iter().enumerate() {
            assert_eq!(slot.path.as_deref(), Some(format!("/l/{index}").as_bytes()));
            assert_eq!((slot.figures.offset, slot.error.as_deref()), (index as u64, Some(&b""[..])));
        }
    }

    #[test]
    fn a_slot_given_back_serves_the_next_source_without_a_trace() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state.json");
        let mut board = Board::make(&state, 5).unwrap();
        board.store(SourceId(0), Path::new("/l/long-name"), &figures(7), "ENOENT").unwrap();
        board.store(SourceId(1), Path::new("/l/b"), &figures(8), "").unwrap();
        assert_eq!(read(&state).slots[0].error.as_deref(), Some(&b"ENOENT"[..]));
        board.release(SourceId(0));
        assert_eq!(read(&state).slots.len(), 1);
        board.store(SourceId(2), Path::new("/l/c"), &figures(9), "").unwrap();
        let slots = read(&state).slots;
        let expected = (Some(&b"/l/c"[..]), 9, Some(&b""[..]));
        assert_eq!((slots[0].path.as_deref(), slots[0].figures.offset, slots[0].error.as_deref()), expected);
    }

    #[test]
    fn a_source_is_stored_ten_times_a_second_at_most() {
        let dir = tempfile::tempdir().unwrap();
        let mut board = Board::make(&dir.path().join("state.json"), 5).unwrap();
        let now = Instant::now();
        assert_eq!(board.due(), None);
        board.mark(SourceId(3));
        assert_eq!(board.take_due(now).len(), 1, "the first at once");
        board.mark(SourceId(3));
        board.mark(SourceId(4));
        assert_eq!(board.due(), Some(now + STORE_SPAN));
        assert_eq!(board.take_due(now + STORE_SPAN / 2).len(), 0);
        assert_eq!(board.take_due(now + STORE_SPAN).len(), 2);
        assert_eq!(board.due(), None);
        let mut none = Board::default();
        none.mark(SourceId(1));
        assert_eq!((none.due(), none.take_due(now).len()), (None, 0));
    }
}
