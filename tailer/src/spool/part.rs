//! The turn of one file: what is known of it is found out, decided upon, and done; and if it is to be delivered, it goes
//! into the output in as few parts as that has room for.
//!
//! While it is not put to its end the output takes nothing of others. A part ends with a line wherever a line ends in
//! it, so that an output that forms lines gets whole ones.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::time::Instant;

use memchr::{memchr_iter, memrchr};
use standpipe_common::error::Error;
use standpipe_common::shown::{Shown as _, counted};

use super::Spool;
use super::decide::{Decision, FileFacts, Rules, decide, elapsed};
use super::dir::Stands;
use super::ledger::Known;
use super::place::Place;
use super::remove::{After, Flight, remove};
use super::scan::Arrival;
use crate::events::Event;
use crate::file::identity::Origin;
use crate::file::lease::{self, Writers};
use crate::file::open::{errno, is_out_of_descriptors};
use crate::log::memory::Memory;
use crate::out::lines::{End, Lines};
use crate::out::output::{Outlet, Output};

/// Files that are looked at in one turn.
const LOOKS_MAX: usize = 4096;
/// Less room than this is not used for a part that is not the last.
pub const PART_BYTES_MIN: usize = 64 << 10;

/// What one turn of reading has.
pub struct PartHands<'a> {
    /// Where files go.
    pub output: &'a mut dyn Outlet,
    /// Others want the output: a file that was begun is put to its end, whatever its limit.
    pub is_awaited: bool,
    /// Its content means nothing between parts.
    pub buffer: &'a mut [u8],
    /// Most bytes of small files.
    pub bytes_max: usize,
    /// The monotonic clock.
    pub now: Instant,
    /// The wall clock, ns since the epoch.
    pub now_ns: i64,
}

/// The file that is being put.
#[derive(Debug)]
pub struct Current {
    file: File,
    flight: Flight,
    /// Put so far.
    offset: u64,
    /// What stands before that.
    memory: Memory,
    /// How what was put ends.
    ends: End,
}

impl Current {
    /// Goes on at `offset`, before which stands what `memory` says.
    pub fn new(file: File, flight: Flight, offset: u64, memory: Memory) -> Current {
        debug_assert!(offset < flight.end, "there is something to put");
        Current { file, flight, offset, memory, ends: End::Line }
    }

    /// Bytes that are not put yet.
    pub fn rest(&self) -> u64 {
        self.flight.end - self.offset
    }

    /// It is put to its end.
    fn landing(self) -> Flight {
        Flight { memory: self.memory.as_guards(), ..self.flight }
    }

    /// What it is part of.
    pub fn origin(&self) -> Origin {
        self.flight.origin
    }

    fn put(&mut self, output: &mut dyn Output, bytes: &[u8], len: usize, ends: End, now_ns: i64) {
        let start = self.offset;
        self.offset += len as u64;
        debug_assert!(self.offset <= self.flight.end);
        self.memory.push(&bytes[..len]);
        self.ends = ends;
        output.put(&Lines {
            source: self.flight.generation.source(),
            generation: self.flight.generation,
            origin: self.flight.origin,
            start,
            end: self.offset,
            bytes,
            ends,
            read_ns: now_ns,
            record: None,
        });
    }
}

impl Spool {
    /// Puts what there is, as far as there is room and its limit allows.
    pub fn read(&mut self, hands: &mut PartHands<'_>) {
        let (mut left, room) = (hands.bytes_max, hands.output.room(self.id));
        loop {
            // Asked first: a rest that is over is none.
            let allowed = self.pace.allowance(hands.is_awaited && self.current.is_some(), hands.now);
            if allowed == 0 || left == 0 || hands.output.room(self.id) <= 1 {
                break;
            }
            if self.current.is_none() && !self.begin_next(hands.now_ns) {
                break;
            }
            let Some(mut current) = self.current.take() else { break };
            match self.put_part(&mut current, hands, allowed) {
                Ok(None) => {
                    self.current = Some(current);
                    break;
                }
                Ok(Some(bytes)) => {
                    left = left.saturating_sub(bytes);
                    if current.rest() > 0 {
                        self.current = Some(current);
                    } else {
                        hands.output.hold(self.id, false);
                        self.ledger.put(current.landing());
                    }
                }
                Err(error) => self.abandon(current, hands, error),
            }
        }
        if hands.output.room(self.id) != room {
            self.pace.fed_at = Some(hands.now);
        }
        self.shown.note();
        self.tell_backlog(hands.now);
    }

    /// `None`: there is too little room.
    fn put_part(
        &mut self,
        current: &mut Current,
        hands: &mut PartHands<'_>,
        allowed: usize,
    ) -> io::Result<Option<usize>> {
        let PartHands { output, buffer, now_ns, .. } = hands;
        let room = output.room(self.id).min(buffer.len()).min(allowed);
        let rest = current.rest() as usize;
        let is_last = rest < room;
        if !is_last && room < PART_BYTES_MIN {
            return Ok(None);
        }
        // One less, for a newline that may be missing.
        let part = &mut buffer[..rest.min(room - 1)];
        current.file.read_exact_at(part, current.offset)?;
        let (len, ends) = match memrchr(b'\n', part) {
            Some(last) if last + 1 == part.len() => (part.len(), End::Line),
            _ if is_last => (part.len(), End::Added),
            Some(last) => (last + 1, End::Line),
            None => (part.len(), End::Open),
        };
        let added = usize::from(ends == End::Added);
        if added == 1 {
            buffer[len] = b'\n';
        }
        output.hold(self.id, !is_last);
        current.put(*output, &buffer[..len + added], len, ends, *now_ns);
        if let Some(throttle) = &mut self.pace.throttle {
            throttle.take(len as u64, memchr_iter(b'\n', &buffer[..len + added]).count() as u64);
        }
        Ok(Some(len))
    }

    /// A file that cannot be read to its end: what was put of it is delivered, the rest is tried again.
    fn abandon(&mut self, mut current: Current, hands: &mut PartHands<'_>, error: io::Error) {
        if current.ends == End::Open {
            current.put(hands.output, b"\n", 0, End::Added, hands.now_ns);
        }
        hands.output.hold(self.id, false);
        self.schedule.wait();
        let Flight { place, name, origin, .. } = current.flight;
        if self.voice.is_new(&name, "read") {
            let sentence = Error::new("read", place.dir.path_of(&name), error);
            self.voice.say(Event::Error(format!("{sentence}; retrying")));
        }
        let Current { offset, memory, .. } = current;
        self.ledger.abandon(origin, offset, memory.as_guards());
    }

    /// Goes on to the next file that is to be delivered, if there is one. False: nothing more is to be done now.
    fn begin_next(&mut self, now_ns: i64) -> bool {
        let Some(place) = self.site.opened().cloned() else { return false };
        for _ in 0..LOOKS_MAX {
            let Some(candidate) = self.queue.pop() else { return false };
            let was_begun = self.ledger.take_begun(&candidate.name);
            match self.examine(&place, &candidate, now_ns) {
                Ok(Some(current)) => {
                    self.ledger.fly(current.origin().identity);
                    self.current = Some(current);
                    return true;
                }
                Ok(None) => {}
                Err(error) if is_out_of_descriptors(errno(&error)) => {
                    // All are found again, in their order.
                    self.queue.clear();
                    if was_begun {
                        self.ledger.give_back_begun(candidate.name);
                    }
                    self.schedule.starve();
                    self.shown.note();
                    return false;
                }
                Err(error) => {
                    self.schedule.wait();
                    if self.voice.is_new(&candidate.name, "open") {
                        let path = place.dir.path_of(&candidate.name);
                        self.voice.say(Event::OpenError { path, errno: errno(&error) });
                    }
                }
            }
        }
        false
    }

    fn examine(&mut self, place: &Place, candidate: &Arrival, now_ns: i64) -> io::Result<Option<Current>> {
        let name = &*candidate.name;
        let looked = match place.dir.look(name)? {
            Stands::File(looked) => looked,
            Stands::Odd(what) => {
                self.voice.refuse(place.dir.path_of(name), name, what, "a regular file");
                return Ok(None);
            }
            Stands::Nothing => {
                self.remove_orphan(place, candidate, now_ns);
                return Ok(None);
            }
        };
        if self.ledger.is_flying(&looked.identity) {
            return Ok(None);
        }
        let mut file = None;
        let mut ask = || match file.get_or_insert_with(|| looked.open()) {
            Ok(file) => lease::ask(file),
            Err(_) => Writers::Unknown,
        };
        let Known { origin, offset, memory, before } = self.ledger.known(&looked)?;
        let facts = FileFacts {
            born_ns: if origin.epoch == 0 { looked.identity.born_ns } else { looked.written_ns },
            written_ns: looked.written_ns,
            size: looked.size,
            marked_ns: candidate.is_marked.then_some(candidate.stamp_ns),
        };
        let rules = Rules { has_markers: place.done.is_some(), max_age: self.config.max_age, stale: self.config.stale };
        let mut writers = None;
        let decision = decide(facts, rules, now_ns, || *writers.insert(ask()));
        if writers == Some(Writers::Unknown) {
            self.voice.tell_unknown(&place.dir, name, place.done.is_some());
        }
        if matches!(decision, Decision::Wait | Decision::Unknown) {
            self.schedule.wait();
            return Ok(None);
        }
        // When it was looked at it may have had a writer, who wrote its last line before the kernel was asked.
        let is_final = writers == Some(Writers::Nobody) && decision != Decision::RemoveStale;
        let end = if is_final { looked.size_now()? } else { looked.size };
        let (generation, marked_ns) = (self.ledger.new_id(), facts.marked_ns);
        let (place, name) = (place.clone(), candidate.name.clone());
        let flight = Flight { place, name, origin, generation, end, memory: memory.as_guards(), marked_ns };
        if decision == Decision::RemoveStale {
            self.remove_stale(&flight);
            return Ok(None);
        }
        if decision == Decision::DeliverStale && offset < end {
            let path = flight.place.dir.path_of(&flight.name).shown().to_string();
            self.voice.say(Event::Warning(format!("{path} has no marker after its max_age; delivering it anyway")));
        }
        if let Some(before) = before {
            self.ledger.begin_life(origin, before);
        }
        if offset >= end {
            // Nothing in it, or delivered by a run before: it is to be removed.
            self.ledger.land(flight);
            return Ok(None);
        }
        let file = match file {
            Some(opened) => opened?,
            None => looked.open()?,
        };
        Ok(Some(Current::new(file, flight, offset, memory)))
    }

    /// Removes a file that never became complete; told each time. If it stays and becomes complete after all, what was
    /// not delivered of it is.
    fn remove_stale(&mut self, flight: &Flight) {
        let path = flight.place.dir.path_of(&flight.name);
        if remove(flight, &mut self.ledger, &mut self.voice, &mut self.schedule) == After::Removed {
            let bytes = counted(flight.end, "byte");
            let sentence = format!("{} was never completed; removed it ({bytes})", path.shown());
            self.voice.say(Event::Warning(sentence));
        }
    }

    /// Removes a marker that has been without a file for long, if it is one.
    fn remove_orphan(&mut self, place: &Place, candidate: &Arrival, now_ns: i64) {
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
            Ok(()) => self.voice.count_orphan(),
            Err(error) => self.voice.tell_removal(done, &candidate.name, error),
        }
    }
}
