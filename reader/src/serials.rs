//! Which number and which offset in its log a part has, archived or not.
//!
//! Invariants: the answer for a part never changes, whether it is the active segment, a sealed one or an archive, and
//! whatever becomes of the parts around it; what one part had is given to no other one.
//!
//! An archive says it itself. A segment's stands in `.standpipe` (see [`crate::state`]), written when the segment was made.
//! Where a kill came between the two, or there are more segments than that keeps, it follows from the parts before it, or
//! else from those after it. So a part that somebody removed by hand leaves a hole, and so does one that a limit took
//! before it was archived.

use nix::errno::Errno;
use standpipe_common::archive::Archive;
use standpipe_common::error::{Error, Result};
use standpipe_common::part::{PartKind, PartName};
use standpipe_common::serial::{LogId, Serial};

use crate::disk::Dir;
use crate::listing::Listing;

/// How often a directory is looked at anew in which parts vanish meanwhile.
const LOOKS_MAX: usize = 5;

/// The serial of a part of `dir`, which `listing` is a look at. `None`: a log that no writer has given an id yet.
///
/// # Errors
/// The disk's. ENOENT: the part is gone.
pub fn serial_of(dir: &Dir, listing: &Listing, name: &PartName) -> Result<Option<Serial>> {
    looked(dir, listing, |listing| {
        if let Some(said) = said(dir, listing, name) {
            return Ok(Some(said));
        }
        let Some(log) = listing.state.log else { return Ok(None) };
        let before = Following::of(dir, listing, log, Some(name))?;
        let after = if before.is_told { None } else { before_those_after(dir, listing, log, name)? };
        Ok(Some(after.unwrap_or(before.serial)))
    })
}

/// The serial of a part that is made after all of `listing`, in the log `log`.
///
/// # Errors
/// The disk's.
pub fn next_serial(dir: &Dir, listing: &Listing, log: LogId) -> Result<Serial> {
    looked(dir, listing, |listing| Following::of(dir, listing, log, None).map(|following| following.serial))
}

/// The id of the log that the newest archive of `dir` with one is of.
pub fn log_of_archives(dir: &Dir, listing: &Listing) -> Option<LogId> {
    let archives = listing.parts.iter().rev().filter(|(_, files)| files.archive);
    archives.map(|(name, _)| name).find_map(|name| Some(archive(dir, name)?.index().ok()?.serial?.log))
}

/// A part may be removed while its neighbors are looked at.
fn looked<T>(dir: &Dir, listing: &Listing, tell: impl Fn(&Listing) -> Result<T>) -> Result<T> {
    let is_absent = |told: &Result<T>| told.as_ref().is_err_and(|error| error.errno() == Some(Errno::ENOENT));
    let mut told = tell(listing);
    for _ in 1..LOOKS_MAX {
        if !is_absent(&told) {
            break;
        }
        told = tell(&Listing::read(dir)?);
    }
    told
}

/// What the archive itself, or else `.standpipe`, says of a part.
fn said(dir: &Dir, listing: &Listing, name: &PartName) -> Option<Serial> {
    let is_archived = listing.parts.get(name).is_some_and(|files| files.archive);
    let own = || archive(dir, name)?.index().ok()?.serial;
    is_archived.then(own).flatten().or_else(|| listing.state.serial_of(name.stem()))
}

/// What follows from the parts before a place.
struct Following {
    serial: Serial,
    /// One of them says its own.
    is_told: bool,
}

impl Following {
    /// Of those before `name`, or of all.
    fn of(dir: &Dir, listing: &Listing, log: LogId, name: Option<&PartName>) -> Result<Following> {
        let mut told = None;
        let mut between = Vec::new();
        for before in listing.stored().rev().filter(|before| name.is_none_or(|name| *before < name)) {
            told = said(dir, listing, before);
            if told.is_none_or(|said| said.log == log) {
                between.push(raw_bytes(dir, before)?);
            }
            // One of another log is an archive that somebody put here.
            told = told.filter(|said| said.log == log);
            if told.is_some() {
                break;
            }
        }
        let from = told.unwrap_or(Serial::first(log));
        let serial = between.into_iter().rev().fold(from, Serial::after);
        debug_assert!(serial.number >= from.number && serial.offset >= from.offset, "what follows is less");
        let lost = after_lost(listing, name);
        let (number, offset) = (serial.number.max(lost.0), serial.offset.max(lost.1));
        Ok(Following { serial: Serial { log, number, offset }, is_told: told.is_some() })
    }
}

/// What follows from the nearest part after `name` that says its own.
fn before_those_after(dir: &Dir, listing: &Listing, log: LogId, name: &PartName) -> Result<Option<Serial>> {
    let mut between = vec![raw_bytes(dir, name)?];
    for after in listing.stored().filter(|after| *after > name) {
        match said(dir, listing, after) {
            Some(serial) if serial.log == log => {
                let parts = between.iter().filter(|bytes| **bytes > 0).count() as u64;
                let offset = serial.offset.saturating_sub(between.iter().sum());
                return Ok(Some(Serial { log, number: serial.number.saturating_sub(parts), offset }));
            }
            Some(_) => {}
            None => between.push(raw_bytes(dir, after)?),
        }
    }
    Ok(None)
}

/// What comes after the newest part before `name` that `.standpipe` has and that is gone: its number is given no more.
/// With how many bytes it went nobody knows.
fn after_lost(listing: &Listing, name: Option<&PartName>) -> (u64, u64) {
    let lost = listing.state.parts.iter().filter(|part| {
        let lost = listing.part_of_stem(&part.stem);
        lost.is_none_or(|lost| !listing.is_stored(&lost) && name.is_none_or(|name| lost < *name))
    });
    lost.map(|part| (part.number.saturating_add(1), part.offset)).max().unwrap_or_default()
}

/// Bytes of the log in a part; a complete archive counts, whatever stands beside it, and one that cannot be read has none.
///
/// # Errors
/// The disk's. ENOENT: the part is gone.
pub fn raw_bytes(dir: &Dir, name: &PartName) -> Result<u64> {
    let archived = || archive(dir, name).map(|archive| archive.raw_bytes());
    if let Some(bytes) = archived() {
        return Ok(bytes);
    }
    let segment = name.file(PartKind::Segment);
    match dir.stat(&segment) {
        Ok(stat) => Ok(u64::try_from(stat.st_size).unwrap_or(0)),
        Err(_) if dir.stat(name.file(PartKind::Archive)).is_ok() => Ok(archived().unwrap_or(0)),
        Err(errno) => Err(Error::new("inspect", dir.path_of(segment), errno)),
    }
}

/// The complete archive of a part, if there is one that can be read.
fn archive(dir: &Dir, name: &PartName) -> Option<Archive> {
    let archive = dir.open_archive(name).ok()?;
    archive.complete().is_ok().then_some(archive)
}
