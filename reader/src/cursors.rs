//! How far receivers have got with a log: what their cursors say.
//!
//! A cursor is written by the program that ships (`standpipe_common::cursor`); here it is read, never written. One that
//! cannot be used, or is of another log, keeps nothing and is shown as a fault.

use std::io::Read;

use nix::errno::Errno;
use standpipe_common::cursor::{Cursor, FILE_BYTES_MAX, Receiver};
use standpipe_common::error::{Cannot, Error, Result};
use standpipe_common::part::PartName;

use crate::disk::Dir;
use crate::listing::Listing;
use crate::serials::raw_bytes;

/// The cursors of one log directory by receiver, each as it is or why it is of no use.
#[derive(Debug, Default)]
pub struct Cursors(Vec<(Receiver, Result<Cursor>)>);

impl Cursors {
    /// Reads those of `dir`, which `listing` is a look at.
    pub fn of(dir: &Dir, listing: &Listing) -> Cursors {
        let receivers = listing.cursors.iter();
        Cursors(receivers.filter_map(|receiver| Some((receiver.clone(), read_own(dir, listing, receiver)?))).collect())
    }

    /// The receivers that have not had all of a part.
    pub fn behind(&self, dir: &Dir, listing: &Listing, part: &PartName) -> Vec<Receiver> {
        let is_behind = |cursor: &Cursor| {
            let stands_in = listing.part_of_stem(cursor.part())?;
            // At its end it may stand until something comes after it.
            let has_all = || raw_bytes(dir, part).is_ok_and(|bytes| cursor.offset() >= bytes);
            Some(stands_in < *part || stands_in == *part && !has_all())
        };
        let behind = self.0.iter().filter(|(_, cursor)| cursor.as_ref().is_ok_and(|c| is_behind(c) == Some(true)));
        behind.map(|(receiver, _)| receiver.clone()).collect()
    }

    /// Each receiver with its cursor, or why that is of no use.
    pub fn into_all(self) -> Vec<(Receiver, Result<Cursor>)> {
        self.0
    }
}

/// The cursor of a receiver in `dir`, whichever log it is of. `None`: there is none.
///
/// # Errors
/// The disk's; it is damaged, or of a later version.
pub fn read(dir: &Dir, receiver: &Receiver) -> Result<Option<Cursor>> {
    let path = dir.path_of(receiver.file());
    let file = match dir.open_read(receiver.file()) {
        Err(error) if error.errno() == Some(Errno::ENOENT) => return Ok(None),
        file => file?,
    };
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX).read_to_end(&mut bytes).cannot("read", &path)?;
    Cursor::parse(&bytes).map(Some).map_err(|fault| Error::because("use cursor", path, fault.to_string()))
}

/// The same, of this log. `None`: it is gone.
fn read_own(dir: &Dir, listing: &Listing, receiver: &Receiver) -> Option<Result<Cursor>> {
    let own = |cursor: Cursor| match listing.state.log {
        Some(log) if log == cursor.serial().log => Ok(cursor),
        _ => {
            let cause = format!("it belongs to another log, {}", cursor.serial().log);
            Err(Error::because("use cursor", dir.path_of(receiver.file()), cause))
        }
    };
    read(dir, receiver).transpose().map(|cursor| cursor.and_then(own))
}
