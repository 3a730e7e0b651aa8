//! Whether a file is a copy of a generation: by its head it is told which generation it is a copy of, by the bytes
//! before the offset that reading can go on there. Guards alone would take a copy of a later generation for it.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};

use crate::checkpoint::state::DoneState;
use crate::file::guard::GUARD_BYTES_MAX;
use crate::file::packed::{TAKE_COST_BYTES, goes_on};
use crate::log::generation::Generation;
use crate::log::memory::{Memory, read_up_to};

/// What a file has at its beginning and before an offset.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Its first bytes, at most as many as a guard covers.
    pub head: Vec<u8>,
    /// The offset, or its end if it is shorter.
    pub at: u64,
    /// The bytes before that, at most as many as a guard covers.
    pub before: Vec<u8>,
}

/// How well a file fits a generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fit {
    /// It is no copy of it.
    No,
    /// It is one, and ends before the place that was reached.
    Short,
    /// It is one, and reading can go on in it.
    Full,
}

impl Sample {
    /// Of a file that is `size` bytes long.
    pub fn of_file(file: &File, size: u64, offset: u64) -> io::Result<Sample> {
        let at = size.min(offset);
        let mut head = vec![0; size.min(GUARD_BYTES_MAX as u64) as usize];
        let mut before = vec![0; at.min(GUARD_BYTES_MAX as u64) as usize];
        let read = read_up_to(file, &mut head, 0)?;
        head.truncate(read);
        let from = at - before.len() as u64;
        let read = read_up_to(file, &mut before, from)?;
        before.truncate(read);
        Ok(Sample { head, at: from + before.len() as u64, before })
    }

    /// Whether `all` of another file is what the file it is of begins with, where it was taken at the end of that.
    pub fn begins_with(&self, all: &Sample) -> bool {
        let both = self.head.len().min(all.head.len());
        self.at == all.at && self.head[..both] == all.head[..both] && self.before == all.before
    }

    /// How well the file it is of fits `generation`, where it was taken at `generation.seen()`.
    pub fn fit(&self, generation: &Generation) -> Fit {
        let memory = generation.cursor().remembered();
        let head_fits = memory.head_fits(&self.head);
        if !memory.says_something() || self.head.is_empty() || head_fits == Some(false) {
            return Fit::No;
        }
        let behind = generation.seen() - self.at;
        if behind == 0 {
            // Of what was not read yet, or was read from a packed file, only the head may be known.
            return if memory.tail_fits(&self.before).or(head_fits) == Some(true) { Fit::Full } else { Fit::No };
        }
        if head_fits.is_none() {
            // All that is known stands behind the end of this file.
            return Fit::No;
        }
        let tail = memory.tail();
        let known = tail.len().saturating_sub(behind as usize).min(self.before.len());
        let end = tail.len().saturating_sub(behind as usize);
        let is_same = tail[end - known..end] == self.before[self.before.len() - known..];
        if is_same { Fit::Short } else { Fit::No }
    }

    /// Whether the file it is of is a copy of one that is done with, where it was taken at the end of that.
    pub fn is_copy_of(&self, done: &DoneState) -> bool {
        let guard_fits = done.guard.and_then(|guard| guard.fits_end(&self.before)) == Some(true);
        self.at == done.size && guard_fits && done.head.fits(&self.head) != Some(false)
    }
}

/// Takes samples of a stream, one behind the other.
pub struct Sampler {
    stream: Box<dyn Read>,
    /// Of what was read of it.
    memory: Memory,
    at: u64,
    buffer: Vec<u8>,
}

impl Sampler {
    /// Of a stream that stands at its beginning.
    pub fn new(stream: Box<dyn Read>) -> Sampler {
        Sampler { stream, memory: Memory::default(), at: 0, buffer: vec![0; 64 << 10] }
    }

    /// The sample at `offset`, which is not before the last one. Of `left` what it cost is taken: what was read, and
    /// what each read took of the file.
    ///
    /// # Errors
    /// `WouldBlock`: it is further away than that; the next call goes on. Else those of the stream.
    pub fn at_within(&mut self, offset: u64, left: &mut u64) -> io::Result<Sample> {
        debug_assert!(self.at <= offset, "a stream is not wound back");
        while self.at < offset {
            if *left == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let most = (offset - self.at).min(self.buffer.len() as u64) as usize;
            let read = self.stream.read(&mut self.buffer[..most]);
            *left = left.saturating_sub((read.as_ref().map_or(0, |read| *read) + TAKE_COST_BYTES) as u64);
            match read {
                Ok(0) => break,
                Ok(read) => {
                    self.memory.push(&self.buffer[..read]);
                    self.at += read as u64;
                }
                Err(error) if goes_on(&error) => {}
                Err(error) => return Err(error),
            }
        }
        let Memory::Bytes { head, tail: before } = self.memory.clone() else {
            unreachable!("what is pushed is remembered as bytes");
        };
        Ok(Sample { head, at: self.at, before })
    }

    /// What is behind the last sample.
    pub fn into_stream(self) -> Box<dyn Read> {
        self.stream
    }
}

impl fmt::Debug for Sampler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sampler").field("at", &self.at).finish_non_exhaustive()
    }
}
