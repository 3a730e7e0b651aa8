//! Bytes to standard output or a pager, and what of them was accepted.
//!
//! Invariant: a place of a log that [`Printer::accepted`] gives has behind it only lines that were not taken yet, and
//! before it only lines of which `write(2)` took the last byte. What a pipe holds counts as taken: whether whoever
//! reads it has used it, nobody here can know.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::unistd;
use standpipe_common::error::{Cannot, Error, Stop};
use standpipe_common::standard::OUTPUT;

use super::log::Position;

/// Bytes that are gathered before a system call.
const BUFFER_BYTES: usize = 256 << 10;

/// Why it does not go on.
#[derive(Debug)]
pub enum Failed {
    /// Nobody reads any more.
    Closed,
    /// The rest cannot be done.
    Stop(Stop),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Failed {
        Failed::Stop(error.into())
    }
}

/// Writes lines out.
pub struct Printer {
    out: OwnedFd,
    buffer: Vec<u8>,
    /// Bytes that were given to it.
    given: u64,
    /// Bytes that the output took.
    taken: u64,
    /// Places of which the line ends with this byte, if they are kept.
    places: Option<VecDeque<Milestone>>,
    accepted: Vec<Option<Position>>,
}

struct Milestone {
    end: u64,
    log: usize,
    position: Position,
}

impl Printer {
    /// Writes to `out`. `keeps_places`: how far it got is asked later.
    pub fn new(out: OwnedFd, keeps_places: bool) -> Printer {
        Printer {
            out,
            buffer: Vec::with_capacity(BUFFER_BYTES),
            given: 0,
            taken: 0,
            places: keeps_places.then(VecDeque::new),
            accepted: Vec::new(),
        }
    }

    /// What it writes to.
    pub fn out(&self) -> BorrowedFd<'_> {
        self.out.as_fd()
    }

    /// Whether anything was given to it.
    pub fn has_any(&self) -> bool {
        self.given > 0
    }

    /// Whether places are kept.
    pub fn keeps_places(&self) -> bool {
        self.places.is_some()
    }

    /// Writes bytes, now or later.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Failed> {
        self.given += bytes.len() as u64;
        if self.buffer.len() + bytes.len() <= BUFFER_BYTES {
            self.buffer.extend_from_slice(bytes);
            return Ok(());
        }
        self.write_out()?;
        if bytes.len() < BUFFER_BYTES {
            self.buffer.extend_from_slice(bytes);
            return Ok(());
        }
        let done = put(&self.out, bytes, &mut self.taken);
        self.settle();
        done
    }

    /// Says that everything up to `position` of a log has been given.
    pub fn reach(&mut self, log: usize, position: Position) {
        let end = self.given;
        let last = self.places.as_ref().and_then(VecDeque::back);
        debug_assert!(last.is_none_or(|last| last.end <= end), "a place before one that was given");
        match &mut self.places {
            Some(places) if end > self.taken => places.push_back(Milestone { end, log, position }),
            Some(_) => self.accept(log, position),
            None => {}
        }
    }

    /// Writes what has gathered.
    pub fn flush(&mut self) -> Result<(), Failed> {
        self.write_out()
    }

    /// How far the lines of a log were taken.
    pub fn accepted(&self, log: usize) -> Option<Position> {
        self.accepted.get(log).cloned().flatten()
    }

    /// Notes the places up to which everything was taken.
    fn settle(&mut self) {
        debug_assert!(self.taken <= self.given, "{} bytes taken of {}", self.taken, self.given);
        while let Some(places) = &mut self.places
            && places.front().is_some_and(|place| place.end <= self.taken)
            && let Some(Milestone { log, position, .. }) = places.pop_front()
        {
            self.accept(log, position);
        }
    }

    fn accept(&mut self, log: usize, position: Position) {
        if self.accepted.len() <= log {
            self.accepted.resize(log + 1, None);
        }
        self.accepted[log] = Some(position);
    }

    fn write_out(&mut self) -> Result<(), Failed> {
        let done = put(&self.out, &self.buffer, &mut self.taken);
        self.buffer.clear();
        self.settle();
        done
    }
}

fn put(out: &OwnedFd, mut bytes: &[u8], taken: &mut u64) -> Result<(), Failed> {
    while !bytes.is_empty() {
        match unistd::write(out, bytes) {
            Ok(count) => {
                *taken += count as u64;
                bytes = &bytes[count..];
            }
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => wait(out.as_fd()).cannot("write to", OUTPUT)?,
            Err(Errno::EPIPE) => return Err(Failed::Closed),
            Err(errno) => return Err(Error::new("write to", OUTPUT, errno).into()),
        }
    }
    Ok(())
}

/// Waits until an output takes more: somebody may have set it not to block.
fn wait(out: BorrowedFd<'_>) -> io::Result<()> {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    match poll(&mut [PollFd::new(out, PollFlags::POLLOUT)], PollTimeout::NONE) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}
