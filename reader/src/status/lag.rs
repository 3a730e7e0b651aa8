//! How far each receiver of a log is behind: its cursor, held against what is stored.
//!
//! What counts is whole lines, for no other is sent; how long a receiver is behind is the age of the first line that it has
//! not had.

use standpipe_common::cursor::{Cursor, Receiver};
use standpipe_common::error::Result;

use crate::cursors::Cursors;
use crate::disk::Dir;
use crate::inventory::{Content, Inventory};
use crate::listing::Listing;
use crate::serials::{raw_bytes, serial_of};

/// How far a receiver is behind.
#[derive(Debug)]
pub struct Lag {
    /// Whose cursor it is.
    pub receiver: Receiver,
    /// Its cursor, and what stands behind that, or why that cannot be told.
    pub unsent: Result<(Cursor, Unsent)>,
}

/// What a receiver has not had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unsent {
    /// Bytes of whole lines.
    pub bytes: u64,
    /// When the first of them arrived, ns since the epoch. `None`: there are none.
    pub since_ns: Option<i64>,
}

/// How far each receiver of a log is behind.
///
/// # Errors
/// The directory cannot be read.
pub fn lags(dir: &Dir) -> Result<Vec<Lag>> {
    let listing = Listing::read(dir)?;
    let cursors = Cursors::of(dir, &listing).into_all();
    if cursors.is_empty() {
        return Ok(Vec::new());
    }
    // One look for all of them.
    let inventory = Inventory::at(dir, listing)?;
    let lag = |(receiver, cursor): (Receiver, Result<Cursor>)| {
        let unsent = cursor.and_then(|cursor| unsent(dir, &inventory, &cursor).map(|unsent| (cursor, unsent)));
        Lag { receiver, unsent }
    };
    Ok(cursors.into_iter().map(lag).collect())
}

fn unsent(dir: &Dir, inventory: &Inventory<'_>, cursor: &Cursor) -> Result<Unsent> {
    let Some(end) = end(dir, inventory)? else { return Ok(Unsent::default()) };
    let bytes = end.saturating_sub(cursor.serial().offset.saturating_add(cursor.offset()));
    if bytes == 0 {
        return Ok(Unsent::default());
    }
    let stands_in = inventory.listing().part_of_stem(cursor.part());
    let rest = inventory.names().iter().filter(|name| stands_in.as_ref().is_none_or(|part| *name >= part));
    for name in rest {
        let from = if Some(name) == stands_in.as_ref() { cursor.offset() } else { 0 };
        let since_ns = match inventory.open(name).map(|item| item.content) {
            Some(Content::Active(segment) | Content::Sealed(segment)) if from < segment.bytes => {
                Some(segment.arrival_ns(from))
            }
            Some(Content::Archive(archive, _)) if from < archive.raw_bytes() => {
                archive.index().ok().map(|index| index.arrival_ns(from))
            }
            _ => None,
        };
        if since_ns.is_some() {
            return Ok(Unsent { bytes, since_ns });
        }
    }
    Ok(Unsent { bytes, since_ns: None })
}

/// Where the last whole line of a log ends. `None`: it has no part.
fn end(dir: &Dir, inventory: &Inventory<'_>) -> Result<Option<u64>> {
    let Some(newest) = inventory.names().last() else { return Ok(None) };
    let Some(serial) = serial_of(dir, inventory.listing(), newest)? else { return Ok(None) };
    let Some(item) = inventory.open(newest) else { return Ok(Some(serial.offset)) };
    let bytes = match item.content {
        Content::Active(segment) | Content::Sealed(segment) => segment.whole_bytes()?,
        _ => raw_bytes(dir, newest)?,
    };
    Ok(Some(serial.offset.saturating_add(bytes)))
}
