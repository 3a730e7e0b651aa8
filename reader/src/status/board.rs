//! The status file at work: one slot a lane, written with plain stores into shared pages.
//!
//! Invariants: the file is made anew at each start and renamed over the one before, so whoever has that one open keeps
//! it; every page is allocated and writable before a slot in it is given out, so a full disk makes no store fail. A
//! file that cannot be kept is one warning, and every [`Gauge`] is then a stub.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use standpipe_common::archive::Summary;
use standpipe_common::error::{Cannot, Error, Result};
use standpipe_common::shown::Shown as _;
use standpipe_common::sys::{self, Words};
use standpipe_common::units::Limit;
use standpipe_common::{boot, called, clock, mapped_text};

use super::STATUS;
use super::format::{self, HEADER_BYTES, SLOT_BYTES, SLOTS_MAX, Step};
use crate::disk::{self, Dir, FileMode};
use crate::sandbox::Sandbox;

const FRESH: &str = ".status.new";
/// Slots that a file begins with and grows by at least: five pages.
const STEP_MIN: usize = 32;
/// Slots that it grows by at most: 640 KiB.
const STEP_MAX: usize = 1024;
/// Whoever may read the logs may read this.
const MODE: FileMode = FileMode { mode: 0o640, group: None };

/// The file, or its absence.
#[derive(Debug)]
pub struct Board {
    kept: Option<Kept>,
}

#[derive(Debug)]
struct Kept {
    dir: Dir,
    file: File,
    sheet: Arc<Sheet>,
    /// Slots that the file has room for.
    slots: usize,
    /// Slots given out, from the first on.
    used: usize,
    /// Those of them that were given back.
    free: Vec<usize>,
}

/// The mapped file. Texts are written by one thread at a time.
#[derive(Debug)]
struct Sheet {
    words: Words,
    texts: Mutex<()>,
}

impl Board {
    /// Makes the file in the log root `dir`, whose lock we have. That it cannot be kept is said here.
    pub fn make(dir: &Dir, sandbox: &Sandbox) -> Board {
        let kept = dir.try_clone().and_then(|dir| Kept::make(dir, sandbox));
        if let Err(error) = &kept {
            log::warn!("{error}; `{}` cannot show this reader", called::short("reader", "status"));
            // One of the reader before us would be taken for that of this one.
            dir.remove_own(STATUS, format::is_beginning).ok();
        }
        Board { kept: kept.ok() }
    }

    /// Removes the file, at the end of the work.
    pub fn clear_away(&self) {
        if let Some(Kept { dir, .. }) = &self.kept {
            dir.remove_own(STATUS, format::is_beginning).unwrap_or_else(|error| log::warn!("{error}"));
        }
    }

    /// A slot for one more lane.
    pub fn slot(&mut self, name: &OsStr) -> Gauge {
        let Some(kept) = &mut self.kept else { return Gauge::default() };
        kept.slot(name).unwrap_or_else(|error| {
            log::warn!("{error}; `{}` cannot show {}", called::short("reader", "status"), name.shown());
            Gauge::default()
        })
    }

    /// Bytes were lost with a pipe whose lane is no more.
    pub fn lost(&self, bytes: usize) {
        self.kept.iter().for_each(|kept| kept.sheet.words.add(format::LOST_AT, bytes as u64));
    }

    /// Takes the slot of a lane back, which is no longer.
    pub fn release(&mut self, gauge: &Gauge) {
        if let (Some(kept), Some(place)) = (&mut self.kept, &gauge.place) {
            gauge.store(format::STATE_AT, format::FREE);
            kept.free.push((place.at - HEADER_BYTES) / SLOT_BYTES);
        }
    }
}

impl Kept {
    fn make(dir: Dir, sandbox: &Sandbox) -> Result<Kept> {
        dir.remove_own(FRESH, format::is_beginning)?;
        dir.require_own(STATUS, format::is_beginning)?;
        let file = dir.create(FRESH, MODE)?;
        let path = dir.path_of(STATUS);
        // A help on btrfs only, where a full disk could make a store fail after all.
        sys::set_no_copy_on_write(&file).ok();
        let sheet = map(&file, 0, STEP_MIN).cannot("create", &path)?;
        for (at, word) in [
            (0, format::MAGIC),
            (format::VERSION_AT, format::VERSION),
            (format::PID_AT, u64::from(std::process::id())),
            (format::START_AT, clock::now_ns() as u64),
            (format::SLOTS_AT, STEP_MIN as u64),
            (format::SLOT_BYTES_AT, SLOT_BYTES as u64),
            (format::SANDBOX_AT, sandbox_word(sandbox)),
        ] {
            sheet.words.store(at, word);
        }
        let boot = boot::id()?;
        store_all(&sheet.words, format::BOOT_AT, &mapped_text::words(boot.as_bytes(), boot::BOOT_ID_BYTES)[2..]);
        dir.rename_over(FRESH, STATUS)?;
        Ok(Kept { dir, file, sheet, slots: STEP_MIN, used: 0, free: Vec::new() })
    }

    fn slot(&mut self, name: &OsStr) -> Result<Gauge> {
        let index = match self.free.pop() {
            Some(index) => index,
            None => self.next()?,
        };
        let place = Place { sheet: Arc::clone(&self.sheet), at: HEADER_BYTES + index * SLOT_BYTES };
        for at in (0..SLOT_BYTES).step_by(8) {
            place.sheet.words.store(place.at + at, 0);
        }
        store_all(
            &place.sheet.words,
            place.at + format::NAME_AT,
            &mapped_text::words(name.as_bytes(), format::NAME_MAX),
        );
        let gauge = Gauge { place: Some(place) };
        gauge.store(format::STATE_AT, format::WELL);
        Ok(gauge)
    }

    /// A slot that was never given out; the file grows where there is none. Lanes keep the mapping they have.
    fn next(&mut self) -> Result<usize> {
        if self.used == self.slots {
            let path = self.dir.path_of(STATUS);
            let slots = self.slots + self.slots.clamp(STEP_MIN, STEP_MAX);
            if slots > SLOTS_MAX {
                return Err(Error::because("grow", path, format!("all of its {} slots are in use", self.slots)));
            }
            self.sheet = map(&self.file, self.slots, slots).cannot("grow", path)?;
            self.sheet.words.store(format::SLOTS_AT, slots as u64);
            self.slots = slots;
        }
        self.used += 1;
        Ok(self.used - 1)
    }
}

fn sandbox_word(sandbox: &Sandbox) -> u64 {
    match sandbox {
        Sandbox::Off => format::SANDBOX_OFF,
        Sandbox::Unavailable => format::SANDBOX_UNAVAILABLE,
        Sandbox::On(_) => format::SANDBOX_ON,
    }
}

/// Maps the file with room for `slots` slots, of which it has `before` already; the header comes with the first.
fn map(file: &File, before: usize, slots: usize) -> std::io::Result<Arc<Sheet>> {
    let end_of = |slots: usize| if slots == 0 { 0 } else { HEADER_BYTES + slots * SLOT_BYTES };
    let range = end_of(before)..end_of(slots);
    disk::allocate_range(file, range.start as u64..range.end as u64)?;
    let words = Words::shared(file, range.end)?;
    words.populate(range)?;
    Ok(Arc::new(Sheet { words, texts: Mutex::new(()) }))
}

fn store_all(words: &Words, at: usize, values: &[u64]) {
    for (index, word) in values.iter().enumerate() {
        words.store(at + 8 * index, *word);
    }
}

/// The slot of one lane. Clones are the same slot and may be used by other threads; none of its methods fails, blocks
/// or makes a system call.
#[derive(Clone, Debug, Default)]
pub struct Gauge {
    place: Option<Place>,
}

#[derive(Clone, Debug)]
struct Place {
    sheet: Arc<Sheet>,
    at: usize,
}

impl Gauge {
    /// A chunk arrived, with so many line ends if they were counted.
    pub fn took(&self, bytes: usize, lines: Option<usize>, now_ns: i64) {
        self.add(format::BYTES_AT, bytes as u64);
        match lines {
            Some(lines) if !self.is_uncounted() => self.add(format::LINES_AT, lines as u64),
            _ => self.store(format::LINES_AT, format::UNCOUNTED),
        }
        self.store(format::ARRIVAL_AT, now_ns as u64);
    }

    /// Lines came that were not counted, and so the number of all is not known.
    fn is_uncounted(&self) -> bool {
        self.place
            .as_ref()
            .is_some_and(|place| place.sheet.words.load(place.at + format::LINES_AT) == format::UNCOUNTED)
    }

    /// What a look at the pipe saw.
    pub fn pipe(&self, queued: usize, capacity: usize) {
        self.store(format::QUEUED_AT, queued as u64);
        self.store(format::CAPACITY_AT, capacity as u64);
    }

    /// The pipe is crowded since then; `None`: it is not.
    pub fn blocked(&self, since_ns: Option<i64>, warn_after: Limit<Duration>) {
        let after = warn_after.at().map_or(u64::MAX, |after| u64::try_from(after.as_nanos()).unwrap_or(u64::MAX));
        self.store(format::WARN_AFTER_AT, after);
        self.store(format::BLOCKED_AT, since_ns.map_or(0, |since| since as u64));
    }

    /// A part of that many bytes was sealed; whether it waits for its archive.
    pub fn sealed(&self, bytes: u64, is_waiting: bool) {
        self.add(format::PARTS_AT, 1);
        if is_waiting {
            self.add(format::BACKLOG_PARTS_AT, 1);
            self.add(format::BACKLOG_BYTES_AT, bytes);
        }
    }

    /// A part was archived, and that took so long.
    pub fn archived(&self, summary: &Summary, span: Duration) {
        self.add(format::ARCHIVED_PARTS_AT, 1);
        self.add(format::ARCHIVED_BYTES_AT, summary.raw_bytes);
        self.add(format::ARCHIVED_LINES_AT, summary.lines);
        self.add(format::ARCHIVE_BYTES_AT, summary.compressed_bytes);
        self.add(format::ARCHIVE_NS_AT, span.as_nanos() as u64);
    }

    /// A part was removed by this one of [`format::LIMITS`].
    pub fn removed(&self, limit: &str) {
        if let Some(index) = format::LIMITS.iter().position(|known| *known == limit) {
            self.add(format::REMOVED_AT + 8 * index, 1);
        }
    }

    /// Bytes were lost with a FIFO that was replaced.
    pub fn lost(&self, bytes: usize) {
        self.add(format::LOST_BYTES_AT, bytes as u64);
    }

    /// The pipe was crowded for so long, beside what was said before.
    pub fn crowded(&self, span: Duration) {
        self.add(format::CROWDED_NS_AT, span.as_nanos() as u64);
    }

    /// A step failed.
    pub fn failed(&self, step: Step) {
        self.add(format::FAILURES_AT + 8 * step as usize, 1);
    }

    /// So much waits to be archived, by the names that stand in the log directory.
    pub fn backlog(&self, parts: usize, bytes: u64) {
        self.store(format::BACKLOG_PARTS_AT, parts as u64);
        self.store(format::BACKLOG_BYTES_AT, bytes);
    }

    /// The lane is not read until something is mended; it is tried again then.
    pub fn sick(&self, error: &Error, retry_after: Duration) {
        let now_ns = clock::now_ns();
        self.error(error, now_ns);
        self.store(format::RETRY_AT, now_ns.saturating_add_unsigned(retry_after.as_nanos() as u64) as u64);
        self.store(format::STATE_AT, format::SICK);
    }

    /// It is read again. The last error stays.
    pub fn well(&self) {
        self.store(format::STATE_AT, format::WELL);
    }

    /// Something of the lane failed, such as an archive.
    pub fn error(&self, error: &Error, now_ns: i64) {
        let Some(Place { sheet, at }) = &self.place else { return };
        let text = mapped_text::words(error.to_string().as_bytes(), format::ERROR_MAX);
        let _writing = sheet.texts.lock().unwrap_or_else(PoisonError::into_inner);
        store_all(&sheet.words, at + format::ERROR_AT, &text);
        self.store(format::ERROR_TIME_AT, now_ns as u64);
    }

    fn store(&self, offset: usize, word: u64) {
        if let Some(Place { sheet, at }) = &self.place {
            sheet.words.store(at + offset, word);
        }
    }

    fn add(&self, offset: usize, more: u64) {
        if let Some(Place { sheet, at }) = &self.place {
            sheet.words.add(at + offset, more);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::format::{LastError, Status, decode};

    fn read(dir: &tempfile::TempDir) -> Status {
        decode(&std::fs::read(dir.path().join(STATUS)).unwrap()).unwrap()
    }

    #[test]
    fn a_file_that_grows_keeps_what_its_lanes_say() {
        let dir = tempfile::tempdir().unwrap();
        let mut board = Board::make(&Dir::open(dir.path()).unwrap(), &Sandbox::Off);
        let gauges: Vec<_> = (0..100).map(|index| board.slot(OsStr::new(&format!("pipe-{index}")))).collect();
        for (index, gauge) in gauges.iter().enumerate() {
            gauge.took(index, Some(2), 3);
            gauge.took(index, Some(2), 4);
        }
        let content = read(&dir);
        assert_eq!((content.slots.len(), content.pid), (100, u64::from(std::process::id())));
        for (index, slot) in content.slots.iter().enumerate() {
            assert_eq!(slot.name.as_deref(), Some(format!("pipe-{index}").as_bytes()));
            assert_eq!(
                (slot.taken.bytes, slot.taken.lines, slot.taken.arrival_ns),
                (2 * index as u64, Some(4), Some(4))
            );
        }
    }

    #[test]
    fn a_slot_given_back_serves_the_next_lane_without_a_trace() {
        let dir = tempfile::tempdir().unwrap();
        let mut board = Board::make(&Dir::open(dir.path()).unwrap(), &Sandbox::Off);
        let (old, _other) = (board.slot(OsStr::new("a-long-name")), board.slot(OsStr::new("b")));
        old.sick(&Error::because("write", "x", "no"), Duration::from_secs(1));
        assert_eq!(read(&dir).slots[0].error.text.as_deref(), Some(&b"cannot write x: no"[..]));
        board.release(&old);
        assert_eq!(read(&dir).slots.len(), 1);
        let _new = board.slot(OsStr::new("c"));
        let slots = read(&dir).slots;
        assert_eq!((slots[0].name.as_deref(), &slots[0].error), (Some(&b"c"[..]), &LastError::default()));
    }

    #[test]
    fn a_new_board_takes_the_name_and_old_readers_keep_their_file() {
        let dir = tempfile::tempdir().unwrap();
        let root = Dir::open(dir.path()).unwrap();
        let mut before = Board::make(&root, &Sandbox::Off);
        let gauge = before.slot(OsStr::new("a"));
        let _after = Board::make(&root, &Sandbox::Off);
        gauge.took(1, None, 1);
        assert_eq!(read(&dir).slots, []);
    }
}
