//! The status file at work: one slot a lane; beside it, what stands in the way of one.
//!
//! Invariants: the file is made anew at each start and renamed over the one before, so whoever has that one open keeps
//! it. A file that cannot be kept is one warning, and every [`Gauge`] is then a stub.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::time::Duration;

use standpipe_common::archive::Summary;
use standpipe_common::board::{Berth, STATE_AT, Sheet};
use standpipe_common::boot::{self, BOOT_ID_BYTES};
use standpipe_common::error::{Error, Result};
use standpipe_common::shown::Shown as _;
use standpipe_common::units::Limit;
use standpipe_common::{called, clock, mapped_text};

use super::STATUS;
use super::format::{self, LAYOUT, Step};
use super::problems::{Problem, ProblemKind, Problems};
use crate::disk::{Dir, FileMode};
use crate::sandbox::Sandbox;

const FRESH: &str = ".status.new";
/// Whoever may read the logs may read this.
const MODE: FileMode = FileMode { mode: 0o640, group: None };

/// The file, or its absence.
#[derive(Debug)]
pub struct Board {
    kept: Option<(Arc<Dir>, Sheet)>,
    /// `None`: their file cannot be kept.
    problems: Option<Arc<Problems>>,
}

impl Board {
    /// Makes the file in the log root `dir`, whose lock we have. That it cannot be kept is said here.
    pub fn make(dir: &Dir, sandbox: &Sandbox) -> Board {
        // One descriptor for both files: each more is one pipe less.
        let home = dir.try_clone().map(Arc::new);
        let none = |home: &Arc<Dir>| Problems::none(Arc::clone(home)).inspect_err(|error| log::warn!("{error}")).ok();
        let problems = home.as_ref().ok().and_then(none);
        let kept = home.and_then(|home| make(&home, sandbox).map(|sheet| (home, sheet)));
        if let Err(error) = &kept {
            log::warn!("{error}; `{}` cannot show this reader", called::short("reader", "status"));
            // One of the reader before us would be taken for that of this one.
            dir.remove_own(STATUS, is_beginning).ok();
        }
        Board { kept: kept.ok(), problems: problems.map(Arc::new) }
    }

    /// Removes the file, at the end of the work.
    pub fn clear_away(&self) {
        if let Some((dir, _)) = &self.kept {
            dir.remove_own(STATUS, is_beginning).unwrap_or_else(|error| log::warn!("{error}"));
        }
        if let Some(problems) = &self.problems {
            problems.clear();
        }
    }

    /// Of these kinds, these problems alone stand from here on.
    pub fn replace_problems(&self, kinds: &[ProblemKind], new: Vec<Problem>) {
        if let Some(problems) = &self.problems {
            problems.replace(kinds, new);
        }
    }

    /// A slot for one more lane.
    pub fn slot(&mut self, name: &OsStr) -> Gauge {
        let Some((_, sheet)) = &mut self.kept else { return Gauge::default() };
        let berth = sheet.berth().inspect(|berth| {
            berth.store_text(format::NAME_AT, &mapped_text::words(name.as_bytes(), format::NAME_MAX));
            berth.store(STATE_AT, format::WELL);
        });
        let berth = berth.inspect_err(|error| {
            log::warn!("{error}; `{}` cannot show {}", called::short("reader", "status"), name.shown());
        });
        let problems = self.problems.as_ref().map(|problems| (name.into(), Arc::clone(problems)));
        Gauge { berth: berth.ok(), problems }
    }

    /// Bytes were lost with a pipe whose lane is no more.
    pub fn lost(&self, bytes: usize) {
        self.kept.iter().for_each(|(_, sheet)| sheet.add(format::LOST_AT, bytes as u64));
    }

    /// Takes the slot of a lane back, which is no longer.
    pub fn release(&mut self, gauge: &Gauge) {
        if let (Some((_, sheet)), Some(berth)) = (&mut self.kept, &gauge.berth) {
            sheet.give_back(berth);
        }
        if let Some((name, problems)) = &gauge.problems {
            problems.forget(name);
        }
    }
}

fn is_beginning(head: &[u8]) -> bool {
    LAYOUT.is_beginning(head)
}

fn make(dir: &Dir, sandbox: &Sandbox) -> Result<Sheet> {
    dir.remove_own(FRESH, is_beginning)?;
    dir.require_own(STATUS, is_beginning)?;
    let sheet = Sheet::make(&LAYOUT, dir.create(FRESH, MODE)?, &dir.path_of(STATUS), clock::now_ns())?;
    sheet.store_all(format::SANDBOX_AT, &[sandbox_word(sandbox)]);
    sheet.store_all(format::BOOT_AT, &mapped_text::words(boot::id()?.as_bytes(), BOOT_ID_BYTES)[2..]);
    dir.rename_over(FRESH, STATUS)?;
    Ok(sheet)
}

fn sandbox_word(sandbox: &Sandbox) -> u64 {
    match sandbox {
        Sandbox::Off => format::SANDBOX_OFF,
        Sandbox::Unavailable => format::SANDBOX_UNAVAILABLE,
        Sandbox::On(_) => format::SANDBOX_ON,
    }
}

/// The slot of one lane. Clones are the same slot and may be used by other threads; none of its methods fails, and only
/// [`Gauge::problem`] makes a system call.
#[derive(Clone, Debug, Default)]
pub struct Gauge {
    berth: Option<Berth>,
    /// Under which name its problems stand, and where.
    problems: Option<(Arc<OsStr>, Arc<Problems>)>,
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
        self.berth.as_ref().is_some_and(|berth| berth.load(format::LINES_AT) == format::UNCOUNTED)
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

    /// What stands in the way of the lane in one matter; `None`: nothing any more.
    pub fn problem(&self, kind: ProblemKind, text: Option<&str>) {
        if let Some((name, problems)) = &self.problems {
            problems.set(name, kind, text);
        }
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
        self.store(STATE_AT, format::SICK);
    }

    /// It is read again. The last error stays.
    pub fn well(&self) {
        self.store(STATE_AT, format::WELL);
    }

    /// Something of the lane failed, such as an archive.
    pub fn error(&self, error: &Error, now_ns: i64) {
        let Some(berth) = &self.berth else { return };
        berth.store_text(format::ERROR_AT, &mapped_text::words(error.to_string().as_bytes(), format::ERROR_MAX));
        berth.store(format::ERROR_TIME_AT, now_ns as u64);
    }

    fn store(&self, offset: usize, word: u64) {
        self.berth.iter().for_each(|berth| berth.store(offset, word));
    }

    fn add(&self, offset: usize, more: u64) {
        self.berth.iter().for_each(|berth| berth.add(offset, more));
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
