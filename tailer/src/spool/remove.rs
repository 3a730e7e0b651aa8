//! Taking away what is delivered: the file first, then its marker.
//!
//! Right before a file goes it is looked at again: it must be the file that was delivered, no longer than it was, and
//! nobody may write it. What has grown since stays, and its rest is delivered when it is complete again.

use super::dir::{Name, Stands};
use super::ledger::Ledger;
use super::place::Place;
use super::schedule::Schedule;
use super::voice::Voice;
use crate::file::identity::Origin;
use crate::file::lease::{self, Writers};
use crate::log::memory::Memory;
use crate::out::lines::GenerationId;

/// A file that was put, or needs not be.
#[derive(Clone, Debug)]
pub struct Flight {
    /// Where it stands.
    pub(super) place: Place,
    /// What it is called there.
    pub name: Name,
    /// Which life of which inode.
    pub origin: Origin,
    /// What the output calls it.
    pub generation: GenerationId,
    /// Its bytes.
    pub end: u64,
    /// What stands before that, once it was put.
    pub(super) memory: Memory,
    /// When its marker was touched, if it has one.
    pub marked_ns: Option<i64>,
}

/// What stands where the delivered file was.
enum AtName {
    /// It.
    Same,
    /// It, and there is or will be more in it.
    Longer,
    /// Another one, or nothing.
    Other,
}

/// What became of a file that was to be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// It, and its marker.
    Removed,
    /// It was not there any more.
    Gone,
    /// It is there, or may be.
    Stays,
}

/// Removes a file, and its marker.
pub fn remove(flight: &Flight, ledger: &mut Ledger, voice: &mut Voice, schedule: &mut Schedule) -> After {
    let dir = &flight.place.dir;
    let removed = match dir.look(&flight.name) {
        Ok(stands) => match now(&stands, flight) {
            // Another one: it may have another name by now, and the next look tells.
            AtName::Other if flight.place.done.is_some() => {
                ledger.forget(flight.origin);
                return After::Gone;
            }
            AtName::Longer | AtName::Other => {
                schedule.wait();
                return After::Stays;
            }
            AtName::Same => dir.remove(&flight.name, "spool-remove"),
        },
        Err(error) => Err(error),
    };
    match removed {
        Ok(()) => {
            remove_marker(flight, voice);
            ledger.forget(flight.origin);
            After::Removed
        }
        Err(error) => {
            voice.tell_removal(dir, &flight.name, error);
            After::Stays
        }
    }
}

/// Only that which was seen: the next process of this name may have touched it.
fn remove_marker(flight: &Flight, voice: &mut Voice) {
    let (Some(done), Some(marked_ns)) = (&flight.place.done, flight.marked_ns) else { return };
    match done.marker(&flight.name, None) {
        Ok(Some(brief)) if brief.odd.is_none() && brief.written_ns == marked_ns => {
            if let Err(error) = done.remove(&flight.name, "spool-unmark") {
                voice.tell_removal(done, &flight.name, error);
            }
        }
        Ok(_) => {}
        Err(error) => voice.tell_removal(done, &flight.name, error),
    }
}

fn now(stands: &Stands, flight: &Flight) -> AtName {
    let Stands::File(looked) = stands else { return AtName::Other };
    if looked.identity != flight.origin.identity {
        return AtName::Other;
    }
    let is_written = looked.open().is_ok_and(|file| lease::ask(&file) == Writers::Somebody);
    // Asked last: who wrote until just now has written all.
    let is_as_long = looked.size_now().is_ok_and(|len| len == flight.end);
    if is_as_long && !is_written { AtName::Same } else { AtName::Longer }
}
