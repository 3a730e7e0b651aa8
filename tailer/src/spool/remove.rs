//! Taking away what is delivered: the file first, then its marker.
//!
//! Right before a file goes it is looked at again: it must be the file that was delivered, no longer than it was, and
//! nobody may write it. What has grown since stays, and its rest is delivered when it is complete again.

use super::dir::{Name, Stands};
use super::known::Progress;
use super::{Place, Spool};
use crate::events::Event;
use crate::follow::memory::Memory;
use crate::identity::Origin;
use crate::lease::{self, Writers};
use crate::lines::GenerationId;
use crate::output::Delivered;
use standpipe_common::shown::Shown as _;

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
enum Now {
    /// It.
    Same,
    /// It, and there is or will be more in it.
    Longer,
    /// Another one, or nothing.
    Other,
}

/// What became of a file that was to be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    Removed,
    /// It was not there any more.
    Gone,
    /// It is there, or may be.
    Stays,
}

impl Spool {
    /// The output delivered something of this spool.
    pub fn delivered(&mut self, delivered: Delivered) {
        (self.shown.is_changed, self.shown.blocked_ns) = (true, None);
        while let Some(first) = self.flights.front() {
            // What comes later was put later.
            let is_there = first.generation == delivered.generation && first.end <= delivered.offset;
            if !is_there && first.generation >= delivered.generation {
                return;
            }
            let Some(flight) = self.flights.pop_front() else { return };
            self.shown.delivered_bytes += flight.end;
            self.landed.push(flight);
        }
    }

    /// Removes what is delivered. What stays is not to be delivered again.
    pub fn remove_delivered(&mut self) {
        for flight in std::mem::take(&mut self.landed) {
            let Origin { identity, epoch } = flight.origin;
            self.flying.remove(&identity);
            if self.remove(&flight) == After::Stays {
                self.known.insert(identity, Progress { epoch, offset: flight.end, memory: flight.memory });
            }
        }
    }

    /// Removes a file that never became complete; told each time. If it stays and becomes complete after all, what was
    /// not delivered of it is.
    pub(super) fn remove_stale(&mut self, flight: &Flight) {
        let path = flight.place.dir.path_of(&flight.name);
        if self.remove(flight) == After::Removed {
            let sentence = format!("{} was never complete; removed it, {} bytes", path.shown(), flight.end);
            self.events.push(Event::Warning(sentence));
        }
    }

    fn remove(&mut self, flight: &Flight) -> After {
        let dir = &flight.place.dir;
        let removed = match dir.look(&flight.name) {
            Ok(stands) => match now(&stands, flight) {
                // Another one: it may have another name by now, and the next look tells.
                Now::Other if flight.place.done.is_some() => {
                    self.forget(flight);
                    return After::Gone;
                }
                Now::Longer | Now::Other => {
                    self.is_waiting = true;
                    return After::Stays;
                }
                Now::Same => dir.remove(&flight.name, "spool-remove"),
            },
            Err(error) => Err(error),
        };
        match removed {
            Ok(()) => {
                self.remove_marker(flight);
                self.forget(flight);
                After::Removed
            }
            Err(error) => {
                self.tell_removal(dir, &flight.name, error);
                After::Stays
            }
        }
    }

    /// Only that which was seen: the next process of this name may have touched it.
    fn remove_marker(&mut self, flight: &Flight) {
        let (Some(done), Some(marked_ns)) = (&flight.place.done, flight.marked_ns) else { return };
        match done.marker(&flight.name, None) {
            Ok(Some(brief)) if brief.odd.is_none() && brief.written_ns == marked_ns => {
                if let Err(error) = done.remove(&flight.name, "spool-unmark") {
                    self.tell_removal(done, &flight.name, error);
                }
            }
            Ok(_) => {}
            Err(error) => self.tell_removal(done, &flight.name, error),
        }
    }

    fn forget(&mut self, flight: &Flight) {
        self.known.remove(&flight.origin.identity);
        self.gone.push(flight.origin);
    }
}

fn now(stands: &Stands, flight: &Flight) -> Now {
    let Stands::File(looked) = stands else { return Now::Other };
    if looked.identity != flight.origin.identity {
        return Now::Other;
    }
    let is_written = looked.open().is_ok_and(|file| lease::ask(&file) == Writers::Somebody);
    // Asked last: who wrote until just now has written all.
    let is_as_long = looked.size_now().is_ok_and(|len| len == flight.end);
    if is_as_long && !is_written { Now::Same } else { Now::Longer }
}
