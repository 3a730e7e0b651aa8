//! One file on its way into the output, in as few parts as the output has room for.
//!
//! While it is not put to its end the output takes nothing of others. A part ends with a line wherever a line ends in
//! it, so that an output that forms lines gets whole ones.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use memchr::memrchr;
use standpipe_common::error::Error;

use super::remove::Flight;
use super::{Memory, Spool};
use crate::events::Event;
use crate::guard::Guard;
use crate::identity::Origin;
use crate::lines::{End, Lines};
use crate::output::Output;

/// Less room than this is not used for a part that is not the last.
const PART_BYTES_MIN: usize = 64 << 10;

/// The file that is being put.
#[derive(Debug)]
pub struct Current {
    file: File,
    flight: Flight,
    /// Put so far.
    offset: u64,
    /// Whether what was put ends inside a line.
    is_inside: bool,
}

impl Current {
    /// Goes on at `offset`.
    pub fn new(file: File, flight: Flight, offset: u64) -> Current {
        Current { file, flight, offset, is_inside: false }
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

    /// Puts what there is, at most so many bytes of small files, as far as there is room.
    pub fn read(&mut self, output: &mut dyn Output, buffer: &mut [u8], bytes_max: usize, now_ns: i64) {
        let mut left = bytes_max;
        while left > 0 && output.room(self.id) > 1 {
            if self.current.is_none() && !self.begin_next(now_ns) {
                return;
            }
            let Some(mut current) = self.current.take() else { return };
            match self.put_part(&mut current, output, buffer, now_ns) {
                Ok(None) => {
                    self.current = Some(current);
                    return;
                }
                Ok(Some(bytes)) => {
                    left = left.saturating_sub(bytes);
                    if current.offset < current.flight.end {
                        self.current = Some(current);
                    } else {
                        output.hold(self.id, false);
                        self.flying.insert(current.flight.origin.identity);
                        self.flights.push_back(current.flight);
                    }
                }
                Err(error) => self.abandon(current, output, error, now_ns),
            }
        }
    }

    /// `None`: there is too little room.
    fn put_part(
        &mut self,
        current: &mut Current,
        output: &mut dyn Output,
        buffer: &mut [u8],
        now_ns: i64,
    ) -> io::Result<Option<usize>> {
        let room = output.room(self.id).min(buffer.len());
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
        put(self, current, output, &buffer[..len + added], len, ends, now_ns);
        Ok(Some(len))
    }

    /// A file that cannot be read to its end: what was put of it is delivered, the rest is tried again.
    fn abandon(&mut self, mut current: Current, output: &mut dyn Output, error: io::Error, now_ns: i64) {
        if current.is_inside {
            put(self, &mut current, output, b"\n", 0, End::Added, now_ns);
        }
        output.hold(self.id, false);
        self.is_waiting = true;
        let Flight { place, name, origin, .. } = current.flight;
        if self.said.is_new(&name, "read") {
            let sentence = Error::new("read", place.dir.path_of(&name), error);
            self.events.push(Event::Error(format!("{sentence}; trying again")));
        }
        let memory = Memory { epoch: origin.epoch, offset: current.offset, guard: Guard::default() };
        self.memory.insert(origin.identity, memory);
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
    });
}
