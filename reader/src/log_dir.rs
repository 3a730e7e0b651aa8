//! One log directory at work: its active segment, and the steps that begin and end parts.
//!
//! Invariants: the active segment is the newest name there, and `current` leads to it; an empty segment is never
//! sealed; sealing makes the next segment first. Between any two steps a crash leaves a directory that
//! [`LogDir::open`] takes up again. Nothing here compresses, and nothing but empty segments is removed.

use std::ffi::OsStr;

use nix::errno::Errno;
use standpipe_common::error::{Cannot, Error, Result};
use standpipe_common::part::{PartKind, PartName, Pattern};
use standpipe_common::serial::{LogId, Serial};
use standpipe_common::shown::{Shown as _, counted};

use crate::disk::{self, Dir, FileMode};
use crate::line_end;
use crate::listing::{CURRENT, Listing, STATE_FILE, remove_marks};
use crate::others;
use crate::pairs::Pairs;
use crate::segment::{Meddling, Segment};
use crate::serials::{log_of_archives, next_serial, serial_of};
use crate::state::{Numbered, PATTERNS_MAX, State};

/// An empty segment older than this gives way to one with a fresh name when its first byte comes.
const STALE_NS: i64 = 60_000_000_000;

/// Names that are tried for a new part where others stand in the way, a directory say, that are not ours.
const NAMES_MAX: usize = 1000;

/// A log directory, open, with its active segment.
#[derive(Debug)]
pub struct LogDir {
    dir: Dir,
    segment: Segment,
    /// Number and offset of the active segment in the log.
    serial: Serial,
    mode: FileMode,
    /// Sealed segments were there when it was opened.
    has_sealed: bool,
    filename: Pattern,
    /// By which parts, and so our own link, are known.
    patterns: Vec<Pattern>,
    /// That others write to the active segment was said.
    is_grown: bool,
    /// Why names are not made as they should.
    refusal: Option<Error>,
}

impl LogDir {
    /// Takes up a log directory: puts right what a crash left, cuts what a power cut left, finds or makes the active
    /// segment. `filename`: how new parts are named; `None`: as those before.
    ///
    /// # Errors
    /// The disk's; logs that are not ours in a directory that is not ours yet; files that are not ours, but would be
    /// taken for ours by a new `filename`.
    pub fn open(dir: Dir, boot: &str, mode: FileMode, filename: Option<&Pattern>, now_ns: i64) -> Result<LogDir> {
        disk::refuse_if_others_may_write(&dir)?;
        let mut listing = Listing::read(&dir)?;
        others::refuse(&dir, &listing)?;
        let mut filename = filename.or(listing.state.patterns.last()).cloned().unwrap_or_default();
        let rebooted = listing.has_state && listing.state.boot.as_deref() != Some(boot);
        if rebooted {
            cut_nuls(&dir, &listing, now_ns)?;
            if let Err(error) = Pairs::suspect(&dir, &listing, mode) {
                log::warn!("{error}");
            }
        }
        let is_named = listing.state.log.is_some();
        let log = log_id(&dir, &listing)?;
        listing.state.log = Some(log);
        if is_named {
            // Before empty parts go, from which it may follow.
            number_active(&dir, &mut listing)?;
        }
        drop_empty(&dir, &mut listing)?;
        let mut refusal = None;
        if !listing.state.patterns.contains(&filename) {
            match list_pattern(&dir, &mut listing, &filename, boot, mode) {
                // A wrong word in a policy stops no pipe: names go on as before.
                Err(error) if error.errno().is_none() && listing.has_state => {
                    filename = listing.state.patterns.last().cloned().unwrap_or_default();
                    refusal = Some(error);
                }
                listed => listed?,
            }
        }
        let (segment, serial) = match listing.active().filter(|name| is_writable(&dir, name)).cloned() {
            Some(name) if !rebooted || is_empty(&dir, &name) => {
                let open_before = line_end::part_before_is_open(&dir, &listing, &name);
                let serial = serial_of(&dir, &listing, &name)?.unwrap_or(Serial::first(log));
                (Segment::resume(&dir, name, open_before, now_ns)?, serial)
            }
            _ => {
                let serial = next_serial(&dir, &listing, log)?;
                (create_segment(&dir, &filename, listing.newest(), mode, false, now_ns)?, serial)
            }
        };
        let has_sealed = listing.segments_before(segment.name()).any(|(_, files)| !files.archive);
        let patterns = listing.state.patterns.clone();
        let unnumbered = listing.state.serial_of(segment.name().stem()).is_none();
        let number = unnumbered.then(|| Numbered::of(serial, segment.name().stem()));
        // A link leads to it now, whether or not one always did.
        if rebooted || !listing.has_state || !is_named || listing.state.unlinked_ns.is_some() {
            let newest = || listing.newest().map(|name| name.stem().to_owned());
            let before = listing.state.rebooted.clone();
            let rebooted = if rebooted { newest() } else { before };
            let mut state = State { boot: Some(boot.to_owned()), rebooted, unlinked_ns: None, ..listing.state };
            state.parts.extend(number);
            state.write(&dir, mode)?;
        } else if let Some(number) = number {
            add_number(&dir, &number);
        }
        let log = LogDir { dir, segment, serial, mode, has_sealed, filename, patterns, is_grown: false, refusal };
        log.point_current();
        Ok(log)
    }

    /// The directory, whatever stands under its name by now.
    pub fn dir(&self) -> &Dir {
        &self.dir
    }

    /// Why parts are not named as they should be, if they are not.
    pub fn refusal(&self) -> Option<&Error> {
        self.refusal.as_ref()
    }

    /// Sealed segments were there when it was opened.
    pub fn has_sealed(&self) -> bool {
        self.has_sealed
    }

    /// Makes sure that the active segment has room for `bytes` more, as far as a file system can promise that, and not
    /// beyond `rotate_size` for those that may come after.
    pub fn reserve(&mut self, bytes: u64, rotate_size: Option<u64>) -> Result<()> {
        self.segment.reserve(bytes, rotate_size).map_err(|cause| {
            let path = self.dir.path_of(self.segment.name().file(PartKind::Segment));
            Error::new("reserve room in", path, cause)
        })
    }

    /// The active segment.
    pub fn segment(&self) -> &Segment {
        &self.segment
    }

    /// The active segment, to put chunks into.
    pub fn segment_mut(&mut self) -> (&mut Segment, &Dir, FileMode) {
        (&mut self.segment, &self.dir, self.mode)
    }

    /// Seals the active segment and begins the next. Returns the sealed part, or `None` where there was nothing in it.
    pub fn rotate(&mut self, now_ns: i64) -> Result<Option<PartName>> {
        if self.segment.is_empty() {
            return Ok(None);
        }
        let next = self.next_segment(now_ns, self.segment.is_open())?;
        let serial = self.serial.after(self.segment.len());
        let sealed = self.go_on_in(next, serial).seal();
        self.is_grown = false;
        Ok(Some(sealed))
    }

    /// Before the first byte: an empty segment with a stale name gives way, so that a part's name tells its beginning.
    pub fn freshen(&mut self, now_ns: i64) -> Result<()> {
        let name = self.segment.name();
        let is_stale = || self.filename.is_past(name, now_ns, STALE_NS);
        if !self.segment.is_empty() || !is_stale() {
            return Ok(());
        }
        let next = self.next_segment(now_ns, self.segment.is_open())?;
        let stale = self.go_on_in(next, self.serial).seal();
        if is_empty(&self.dir, &stale) { self.dir.remove(stale.file(PartKind::Segment)) } else { Ok(()) }
    }

    /// Before each chunk: what somebody else did to the active segment, in a sentence. One that was cut or got bytes
    /// of others goes on from its end as it is; for one that was removed the next takes its place.
    pub fn look(&mut self, now_ns: i64) -> Result<Option<String>> {
        let path = self.dir.path_of(self.segment.name().file(PartKind::Segment));
        let Some(meddling) = self.segment.look(&self.dir, self.mode).cannot("inspect", &path)? else {
            return Ok(None);
        };
        let path = path.shown();
        Ok(match meddling {
            Meddling::Removed => Some(self.replace_segment("removed or replaced", now_ns)?),
            Meddling::Cut { from } => {
                let to = counted(self.segment.len(), "byte");
                Some(format!("{path} was truncated from {from} to {to} while being written; continuing at its new end"))
            }
            Meddling::Grown(_) if self.is_grown => None,
            Meddling::Grown(bytes) => {
                self.is_grown = true;
                let added = counted(bytes, "byte");
                Some(format!("another program added {added} to {path} while it was being written, kept in the log"))
            }
        })
    }

    /// Whether the active segment still stands under its name. If not (somebody removed or renamed it), the next one
    /// takes its place and the sentence says so.
    pub fn verify(&mut self, now_ns: i64) -> Result<Option<String>> {
        let stands = std::fs::metadata(self.dir.path())
            .is_ok_and(|found| self.dir.identity().is_ok_and(|own| own == (&found).into()));
        if !stands {
            return Err(Error::because(
                "write into",
                self.dir.path(),
                "the directory was removed, renamed or replaced",
            ));
        }
        let name = self.segment.name().file(PartKind::Segment);
        let ino = self.segment.ino();
        if self.dir.stat(&name).is_ok_and(|stat| stat.st_ino == ino) {
            return Ok(None);
        }
        self.replace_segment("removed or renamed", now_ns).map(Some)
    }

    fn replace_segment(&mut self, what: &str, now_ns: i64) -> Result<String> {
        let path = self.dir.path_of(self.segment.name().file(PartKind::Segment));
        let next = self.next_segment(now_ns, self.segment.is_open())?;
        let serial = self.serial.after(self.segment.len());
        self.go_on_in(next, serial);
        self.is_grown = false;
        Ok(format!("{} was {what} while being written; continuing in {}", path.shown(), self.segment.name()))
    }

    fn next_segment(&self, now_ns: i64, open: bool) -> Result<Segment> {
        create_segment(&self.dir, &self.filename, Some(self.segment.name()), self.mode, open, now_ns)
    }

    /// Makes `next` the active segment, with its number, and returns the one before.
    fn go_on_in(&mut self, next: Segment, serial: Serial) -> Segment {
        debug_assert!(next.name() > self.segment.name(), "{} comes after {}", next.name(), self.segment.name());
        debug_assert!(serial.log == self.serial.log && serial.number >= self.serial.number, "a number is given again");
        debug_assert!(serial.offset >= self.serial.offset, "an offset is given again");
        self.serial = serial;
        add_number(&self.dir, &Numbered::of(serial, next.name().stem()));
        let before = std::mem::replace(&mut self.segment, next);
        self.point_current();
        before
    }

    /// `current` is a convenience: that it cannot be set right is said, and stops nothing.
    fn point_current(&self) {
        let is_ours = |target: &OsStr| others::leads_to_segment(target, &self.patterns);
        if let Err(error) = self.dir.swap_link(&self.segment.name().file(PartKind::Segment), CURRENT, is_ours) {
            log::error!("{error}");
        }
    }
}

/// Makes the segment that comes after `last`.
fn create_segment(
    dir: &Dir,
    filename: &Pattern,
    last: Option<&PartName>,
    mode: FileMode,
    open: bool,
    now_ns: i64,
) -> Result<Segment> {
    let mut name = filename.born(now_ns, last);
    for _ in 1..NAMES_MAX {
        match Segment::create(dir, name.clone(), mode, open) {
            Err(error) if error.errno() == Some(Errno::EEXIST) => name = filename.born(now_ns, Some(&name)),
            other => return other,
        }
    }
    Segment::create(dir, name, mode, open)
}

/// The id of the log: as it was, or a new one.
fn log_id(dir: &Dir, listing: &Listing) -> Result<LogId> {
    let known = listing.state.log.or_else(|| log_of_archives(dir, listing));
    known.map_or_else(|| LogId::random().cannot("make an id for", dir.path()), Ok)
}

/// Writes down the number of the active segment where a kill came before that.
fn number_active(dir: &Dir, listing: &mut Listing) -> Result<()> {
    let Some(active) = listing.active().filter(|active| listing.state.serial_of(active.stem()).is_none()) else {
        return Ok(());
    };
    if let Some(serial) = serial_of(dir, listing, active)? {
        let number = Numbered::of(serial, active.stem());
        add_number(dir, &number);
        listing.state.parts.push(number);
    }
    Ok(())
}

/// Until it is written down it follows from the parts before.
fn add_number(dir: &Dir, number: &Numbered) {
    if let Err(error) = State::add_part(dir, number) {
        log::debug!("{error}");
    }
}

/// Writes down that names of parts are made by `filename` from now on, before the first is.
fn list_pattern(dir: &Dir, listing: &mut Listing, filename: &Pattern, boot: &str, mode: FileMode) -> Result<()> {
    let refuse = |cause: String| Err(Error::because("use log directory", dir.path(), cause));
    let foreign = |name: &OsStr| filename.gives(name) && PartName::parse(name, &listing.state.patterns).is_none();
    if let Some((name, _)) = dir.entries()?.into_iter().find(|(name, is_file)| *is_file && foreign(name)) {
        let name = name.shown();
        return refuse(format!(
            "{name} in it is not one of our parts, but its name fits filename = \"{filename}\"; move such files elsewhere, \
             or if reader wrote them, add the line `pattern {}` to {STATE_FILE} there",
            filename.listed()
        ));
    }
    let state = &mut listing.state;
    if !listing.has_state {
        state.boot = Some(boot.to_owned());
        // Without a part there is none of the built-in pattern either.
        state.patterns.retain(|_| !listing.parts.is_empty());
    }
    if state.patterns.len() >= PATTERNS_MAX {
        let files = listing.parts.keys().map(|name| name.file(PartKind::Segment)).collect::<Vec<_>>();
        state.patterns.retain(|pattern| files.iter().any(|file| pattern.gives(OsStr::new(file))));
    }
    if state.patterns.len() >= PATTERNS_MAX {
        return refuse(format!("its parts already use {PATTERNS_MAX} patterns of names, the maximum"));
    }
    state.patterns.push(filename.clone());
    state.write(dir, mode)?;
    listing.has_state = true;
    Ok(())
}

fn is_writable(dir: &Dir, name: &PartName) -> bool {
    dir.stat(name.file(PartKind::Segment)).is_ok_and(|stat| disk::is_ours(&stat))
}

fn is_empty(dir: &Dir, name: &PartName) -> bool {
    dir.stat(name.file(PartKind::Segment)).is_ok_and(|stat| disk::is_ours(&stat) && stat.st_size == 0)
}

/// Removes empty segments that are not active (traces of a clock step or a kill) and marks without a segment.
fn drop_empty(dir: &Dir, listing: &mut Listing) -> Result<()> {
    let active = listing.active().cloned();
    for (name, files) in &mut listing.parts {
        let segment = name.file(PartKind::Segment);
        // Beside an archive, or while somebody writes it, it is not ours.
        let is_over = || dir.open_read(&segment).is_ok_and(|file| !disk::is_written(&file));
        if files.segment && !files.archive && Some(name) != active.as_ref() && is_empty(dir, name) && is_over() {
            dir.remove(&segment)?;
            files.segment = false;
        }
        if files.marks && !files.segment {
            remove_marks(dir, name)?;
            files.marks = false;
        }
    }
    listing.parts.retain(|_, files| files.segment || files.archive);
    Ok(())
}

/// After another boot: cuts the NUL bytes that a file system leaves at the end of what it had not written.
fn cut_nuls(dir: &Dir, listing: &Listing, now_ns: i64) -> Result<()> {
    for (name, files) in &listing.parts {
        if !files.segment || files.archive || !is_writable(dir, name) {
            continue;
        }
        let file_name = name.file(PartKind::Segment);
        let mut segment = Segment::resume(dir, name.clone(), false, now_ns)?;
        let cut = segment.cut_nuls().cannot("cut", dir.path_of(&file_name))?;
        if cut > 0 {
            let path = dir.path_of(&file_name);
            let cut = counted(cut, "NUL byte");
            log::warn!("{}: removed {cut} at its end, left by a power failure", path.shown());
        }
        // Whoever follows it was not there either.
        segment.seal();
    }
    Ok(())
}
