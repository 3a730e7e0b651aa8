//! One file on its way into the output, in as few parts as the output has room for.
//!
//! While it is not put to its end the output takes nothing of others. A part ends with a line wherever a line ends in
//! it, so that an output that forms lines gets whole ones.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::time::Instant;

use memchr::{memchr_iter, memrchr};
use standpipe_common::error::Error;

use super::Spool;
use super::known::Progress;
use super::remove::Flight;
use crate::events::Event;
use crate::follow::memory::Memory;
use crate::identity::Origin;
use crate::lines::{End, Lines};
use crate::output::Output;

/// Less room than this is not used for a part that is not the last.
pub const PART_BYTES_MIN: usize = 64 << 10;

/// What one turn of reading has.
pub struct Hands<'a> {
    /// Where files go.
    pub output: &'a mut dyn Output,
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
    /// Whether what was put ends inside a line.
    is_inside: bool,
}

impl Current {
    /// Goes on at `offset`, before which stands what `memory` says.
    pub fn new(file: File, flight: Flight, offset: u64, memory: Memory) -> Current {
        Current { file, flight, offset, memory, is_inside: false }
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
}

impl Spool {
    /// Whether something waits that can be put where there is so much room.
    pub fn can_use(&self, room: usize) -> bool {
        match &self.current {
            Some(current) => room >= PART_BYTES_MIN || current.flight.end - current.offset < room as u64,
            None => room > 1 && !self.queue.is_empty() && !self.is_leaving,
        }
    }

    /// Puts what there is, as far as there is room and its limit allows.
    pub fn read(&mut self, hands: &mut Hands<'_>) {
        let (mut left, room) = (hands.bytes_max, hands.output.room(self.id));
        loop {
            // Asked first: a rest that is over is none.
            let allowed = self.allowance(hands.is_awaited, hands.now);
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
                    if current.offset < current.flight.end {
                        self.current = Some(current);
                    } else {
                        hands.output.hold(self.id, false);
                        self.flights.push_back(current.landing());
                    }
                }
                Err(error) => self.abandon(current, hands, error),
            }
        }
        if hands.output.room(self.id) != room {
            self.fed_at = Some(hands.now);
        }
        self.shown.is_changed = true;
        self.tell_backlog(hands.now);
    }

    /// `None`: there is too little room.
    fn put_part(&mut self, current: &mut Current, hands: &mut Hands<'_>, allowed: usize) -> io::Result<Option<usize>> {
        let Hands { output, buffer, now_ns, .. } = hands;
        let room = output.room(self.id).min(buffer.len()).min(allowed);
        let rest = (current.flight.end - current.offset) as usize;
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
        put(self, current, *output, &buffer[..len + added], len, ends, *now_ns);
        let lines = if self.throttle.is_some() { memchr_iter(b'\n', &buffer[..len + added]).count() as u64 } else { 0 };
        self.pay(len as u64, lines);
        Ok(Some(len))
    }

    /// A file that cannot be read to its end: what was put of it is delivered, the rest is tried again.
    fn abandon(&mut self, mut current: Current, hands: &mut Hands<'_>, error: io::Error) {
        if current.is_inside {
            put(self, &mut current, hands.output, b"\n", 0, End::Added, hands.now_ns);
        }
        hands.output.hold(self.id, false);
        self.is_waiting = true;
        self.flying.remove(&current.origin().identity);
        let Flight { place, name, origin, .. } = current.flight;
        if self.said.is_new(&name, "read") {
            let sentence = Error::new("read", place.dir.path_of(&name), error);
            self.events.push(Event::Error(format!("{sentence}; retrying")));
        }
        let Current { offset, memory, .. } = current;
        self.known.insert(origin.identity, Progress { epoch: origin.epoch, offset, memory: memory.as_guards() });
    }
}

fn put(
    spool: &Spool,
    current: &mut Current,
    output: &mut dyn Output,
    bytes: &[u8],
    len: usize,
    ends: End,
    now_ns: i64,
) {
    let start = current.offset;
    current.offset += len as u64;
    current.memory.push(&bytes[..len]);
    current.is_inside = ends == End::Open;
    output.put(&Lines {
        source: spool.id,
        generation: current.flight.generation,
        origin: current.flight.origin,
        start,
        end: current.offset,
        bytes,
        ends,
        read_ns: now_ns,
        record: None,
    });
}
