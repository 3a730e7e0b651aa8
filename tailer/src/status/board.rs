//! The status file at work: one slot a source.
//!
//! Invariants: the file is made anew at each start and renamed over the one before; a source is stored at most ten times
//! a second, after something happened to it. A file that cannot be kept, or no longer, is one error, and nothing is
//! stored from then on.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::fs::{self, OpenOptions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use standpipe_common::board::{Berth, STATE_AT, Sheet};
use standpipe_common::error::{Cannot, Result};
use standpipe_common::mapped_text;
use standpipe_common::own;

use super::format::{self, Figures, LAYOUT};
use super::path_beside;
use crate::out::lines::SourceId;

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
    sheet: Sheet,
    slots: HashMap<SourceId, Seat>,
}

/// The slot of a source, and what it says in words.
#[derive(Debug)]
struct Seat {
    berth: Berth,
    error: String,
}

impl Board {
    /// Makes the file beside `state`, whose lock we have.
    ///
    /// # Errors
    /// There is no room, or the kernel refuses. A file of before is gone then.
    pub fn make(state: &Path, now_ns: i64) -> Result<Board> {
        let path = path_beside(state);
        let sheet = make(&path, now_ns).inspect_err(|_| {
            // It would be taken for this run's.
            own::remove(&path, is_beginning).ok();
        })?;
        Ok(Board { kept: Some(Kept { sheet, slots: HashMap::new() }), ..Board::default() })
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
            kept.sheet.remove().ok();
            self.kept = None;
        }
        stored
    }

    /// So many files are left out by `exclude`.
    pub fn set_excluded(&self, files: u64) {
        self.kept.iter().for_each(|kept| kept.sheet.store_all(format::EXCLUDED_AT, &[files]));
    }

    /// A source is followed no longer.
    pub fn release(&mut self, source: SourceId) {
        self.changed.remove(&source);
        let Some(kept) = &mut self.kept else { return };
        if let Some(slot) = kept.slots.remove(&source) {
            kept.sheet.give_back(&slot.berth);
        }
    }
}

fn is_beginning(head: &[u8]) -> bool {
    LAYOUT.is_beginning(head)
}

fn make(path: &Path, now_ns: i64) -> Result<Sheet> {
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    let fresh = PathBuf::from(fresh);
    own::remove(&fresh, is_beginning)?;
    own::require(path, is_beginning)?;
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create_new(true).mode(0o600).open(&fresh).cannot("make", &fresh)?;
    let sheet = Sheet::make(&LAYOUT, file, path, now_ns)?;
    fs::rename(&fresh, path).cannot("create", path)?;
    Ok(sheet)
}

impl Kept {
    fn store(&mut self, source: SourceId, path: &Path, figures: &Figures, error: &str) -> Result<()> {
        let slot = match self.slots.entry(source) {
            Entry::Occupied(slot) => slot.into_mut(),
            Entry::Vacant(none) => {
                let berth = self.sheet.berth()?;
                berth.store_text(format::PATH_AT, &format::path_words(path.as_os_str().as_bytes()));
                berth.store_text(format::ERROR_AT, &mapped_text::words(b"", format::ERROR_MAX));
                none.insert(Seat { berth, error: String::new() })
            }
        };
        figures.stores().for_each(|(offset, word)| slot.berth.store(offset, word));
        if slot.error != error {
            error.clone_into(&mut slot.error);
            slot.berth.store_text(format::ERROR_AT, &mapped_text::words(error.as_bytes(), format::ERROR_MAX));
        }
        slot.berth.store(STATE_AT, format::USED);
        Ok(())
    }
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
