//! The turn of one file: what is known of it is found out, decided upon, and done.

use std::ffi::OsStr;
use std::io;
use std::rc::Rc;

use standpipe_common::error::Error;
use standpipe_common::shown::Shown as _;

use super::decide::{Decision, Facts, Rules, decide, elapsed};
use super::dir::{Dir, Looked, Stands};
use super::known::Progress;
use super::part::Current;
use super::remove::Flight;
use super::scan::Candidate;
use super::{Place, Spool};
use crate::events::Event;
use crate::follow::memory::Memory;
use crate::identity::Origin;
use crate::lease::{self, Writers};
use crate::open::{errno, is_out_of_descriptors};

/// Files that are looked at in one turn.
const LOOKS_MAX: usize = 4096;

/// What is known of a file from before.
struct Known {
    /// Which of its lives this is.
    origin: Origin,
    /// How far that is delivered.
    offset: u64,
    /// What stands before that.
    memory: Memory,
    /// The life before, if this one was not met yet.
    before: Option<Origin>,
}

impl Spool {
    /// Goes on to the next file that is to be delivered, if there is one. False: nothing more is to be done now.
    pub(super) fn begin_next(&mut self, now_ns: i64) -> bool {
        let Some(place) = self.place.clone() else { return false };
        for _ in 0..LOOKS_MAX {
            let Some(candidate) = self.queue.pop() else { return false };
            let was_begun = self.begun.remove(&candidate.name);
            match self.examine(&place, &candidate, now_ns) {
                Ok(Some(current)) => {
                    self.flying.insert(current.origin().identity);
                    self.current = Some(current);
                    self.has_begun = true;
                    return true;
                }
                Ok(None) => {}
                Err(error) if is_out_of_descriptors(errno(&error)) => {
                    // All are found again, in their order.
                    self.queue.clear();
                    self.begun.extend(was_begun.then_some(candidate.name));
                    self.is_waiting = true;
                    self.is_starved = true;
                    self.shown.is_changed = true;
                    return false;
                }
                Err(error) => {
                    self.is_waiting = true;
                    if self.said.is_new(&candidate.name, "open") {
                        let path = place.dir.path_of(&candidate.name);
                        self.events.push(Event::OpenError { path, errno: errno(&error) });
                    }
                }
            }
        }
        false
    }

    fn examine(&mut self, place: &Place, candidate: &Candidate, now_ns: i64) -> io::Result<Option<Current>> {
        let name = &*candidate.name;
        let looked = match place.dir.look(name)? {
            Stands::File(looked) => looked,
            Stands::Odd(what) => {
                self.refuse(place.dir.path_of(name), name, what, "not a regular file");
                return Ok(None);
            }
            Stands::Nothing => {
                self.remove_orphan(place, candidate, now_ns);
                return Ok(None);
            }
        };
        if self.flying.contains(&looked.identity) {
            return Ok(None);
        }
        let mut file = None;
        let mut ask = || match file.get_or_insert_with(|| looked.open()) {
            Ok(file) => lease::ask(file),
            Err(_) => Writers::Unknown,
        };
        let Known { origin, offset, memory, before } = self.known(&looked)?;
        let facts = Facts {
            born_ns: if origin.epoch == 0 { looked.identity.born_ns } else { looked.written_ns },
            written_ns: looked.written_ns,
            size: looked.size,
            marked_ns: candidate.is_marked.then_some(candidate.stamp_ns),
        };
        let rules = Rules { has_markers: place.done.is_some(), max_age: self.config.max_age, stale: self.config.stale };
        let mut writers = None;
        let decision = decide(facts, rules, now_ns, || *writers.insert(ask()));
        if writers == Some(Writers::Unknown) {
            self.tell_unknown(place, name);
        }
        if matches!(decision, Decision::Wait | Decision::Unknown) {
            self.is_waiting = true;
            return Ok(None);
        }
        // When it was looked at it may have had a writer, who wrote its last line before the kernel was asked.
        let is_final = writers == Some(Writers::Nobody) && decision != Decision::RemoveStale;
        let end = if is_final { looked.size_now()? } else { looked.size };
        let (generation, marked_ns) = (self.next_generation(), facts.marked_ns);
        let (place, name) = (place.clone(), candidate.name.clone());
        let flight = Flight { place, name, origin, generation, end, memory: memory.as_guards(), marked_ns };
        if decision == Decision::RemoveStale {
            self.remove_stale(&flight);
            return Ok(None);
        }
        if decision == Decision::DeliverStale && offset < end {
            let path = flight.place.dir.path_of(&flight.name).shown().to_string();
            self.events.push(Event::Warning(format!("{path} has no marker after its max_age; delivering it anyway")));
        }
        if let Some(before) = before {
            // From now on only the new life counts.
            let anew = Progress { epoch: origin.epoch, offset: 0, memory: Memory::default() };
            self.known.insert(origin.identity, anew);
            self.gone.push(before);
        }
        if offset >= end {
            // Nothing in it, or delivered by a run before: it is to be removed.
            self.flying.insert(flight.origin.identity);
            self.landed.push(flight);
            return Ok(None);
        }
        let file = match file {
            Some(opened) => opened?,
            None => looked.open()?,
        };
        Ok(Some(Current::new(file, flight, offset, memory)))
    }

    /// Which life of the file this is, and how far it was delivered.
    fn known(&self, looked: &Looked) -> io::Result<Known> {
        let identity = looked.identity;
        let anew = |origin| Known { origin, offset: 0, memory: Memory::default(), before: None };
        let Some(Progress { epoch, offset, memory }) = self.known.get(&identity) else {
            return Ok(anew(Origin { identity, epoch: 0 }));
        };
        let origin = Origin { identity, epoch: *epoch };
        if let Some(memory) = memory.found_in(&looked.open()?, *offset)? {
            return Ok(Known { origin, offset: *offset, memory, before: None });
        }
        // It was written anew under the same name.
        Ok(Known { before: Some(origin), ..anew(Origin { epoch: epoch + 1, ..origin }) })
    }

    /// Removes a marker that has been without a file for long, if it is one.
    fn remove_orphan(&mut self, place: &Place, candidate: &Candidate, now_ns: i64) {
        let Some(done) = place.done.as_ref().filter(|_| candidate.is_marked) else { return };
        if elapsed(candidate.stamp_ns, now_ns) < self.config.max_age {
            return;
        }
        let removed = match done.marker(&candidate.name, None) {
            Ok(Some(brief)) if brief.odd.is_none() => done.remove(&candidate.name, "spool-orphan"),
            Ok(_) => return,
            Err(error) => Err(error),
        };
        match removed {
            Ok(()) => self.orphans += 1,
            Err(error) => self.tell_removal(done, &candidate.name, error),
        }
    }

    /// What the kernel does not tell, once.
    fn tell_unknown(&mut self, place: &Place, name: &OsStr) {
        if !self.said.is_new_unknown() {
            return;
        }
        let dir = place.dir.path.shown();
        self.events.push(if place.done.is_some() {
            Event::Note(format!(
                "file leases unavailable (need CAP_LEASE or file ownership): only markers show when files in {dir} are complete"
            ))
        } else {
            let cause =
                "file leases unavailable (need CAP_LEASE or file ownership): set `done`, so that markers show when a file is complete";
            Event::Error(Error::because("deliver", place.dir.path_of(name), cause).to_string())
        });
    }

    /// That something cannot be removed, once. It is tried again, but not soon: it may be so for all that there are.
    pub(super) fn tell_removal(&mut self, dir: &Rc<Dir>, name: &OsStr, error: io::Error) {
        if self.said.is_new_removal() {
            let sentence = Error::new("remove", dir.path_of(name), error);
            self.events.push(Event::Error(format!("{sentence}; delivering it anyway, like others in this state")));
        }
    }
}
