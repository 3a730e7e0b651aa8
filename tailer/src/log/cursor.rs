//! How far a generation is: what was read, put and delivered of it, and what is remembered of the bytes before.
//!
//! Invariants: `delivered <= put <= read <= seen`, but for a hole behind what was put: if all before it is delivered, so is
//! the hole. Where `held` are the bytes between these two, an
//! unfinished line without a newline; `memory` is of the bytes before `read`; the marks are ends of what was put, in
//! their order.

use std::collections::VecDeque;
use std::fs::File;

use crate::file::guard::{GUARD_BYTES_MAX, Guard};
use crate::log::memory::Memory;

/// Most guards of bytes on their way that are kept.
const MARKS_MAX: usize = 1024;

/// A place in a generation.
#[derive(Debug, Default)]
pub struct Cursor {
    /// Given to the output up to here, but for zeros that nobody gets.
    read: u64,
    /// Behind the last byte that was put; `read` may be further, behind a hole.
    put: u64,
    delivered: u64,
    held: Vec<u8>,
    memory: Memory,
    last_line: LastLine,
    /// Zeros are being skipped: how many were.
    skipped: Option<u64>,
    marks: VecDeque<PutEnd>,
}

/// The line that ends at `read`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum LastLine {
    /// It was not given at once, or there is none.
    #[default]
    Unknown,
    /// A piece of it was given, and its end was not.
    Open,
    /// It was given at once: its hash, newline included.
    Whole(u64),
}

impl LastLine {
    fn hash(self) -> Option<u64> {
        if let LastLine::Whole(hash) = self { Some(hash) } else { None }
    }
}

/// An end of what was put and is not delivered.
#[derive(Clone, Copy, Debug)]
struct PutEnd {
    end: u64,
    /// Of the bytes before it.
    guard: Guard,
    /// Of the line before it.
    line_hash: Option<u64>,
}

impl Cursor {
    /// Given to the output up to here.
    pub fn read(&self) -> u64 {
        self.read
    }

    /// Behind the last byte that was put.
    pub fn put(&self) -> u64 {
        self.put
    }

    /// Delivered up to here.
    pub fn delivered(&self) -> u64 {
        self.delivered
    }

    /// Behind the last byte that was read.
    pub fn seen(&self) -> u64 {
        self.read + self.held.len() as u64
    }

    /// The unfinished line behind `read`.
    pub fn held(&self) -> &[u8] {
        &self.held
    }

    /// Of the bytes before `read`.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// What is remembered of the bytes before `seen`.
    pub fn remembered(&self) -> Memory {
        let mut memory = self.memory.clone();
        memory.push(&self.held);
        memory
    }

    /// Whether a piece of a line was given, and its end was not.
    pub fn is_inside_line(&self) -> bool {
        self.last_line == LastLine::Open
    }

    /// Whether a line is unfinished, held or given in part.
    pub fn has_open_line(&self) -> bool {
        self.is_inside_line() || !self.held.is_empty()
    }

    /// Whether nothing is on its way.
    pub fn is_delivered(&self) -> bool {
        self.delivered >= self.put
    }

    /// Bytes on their way.
    pub fn on_its_way(&self) -> u64 {
        self.put.saturating_sub(self.delivered)
    }

    /// What stands before this offset, of which `memory` is, is passed over.
    pub fn begin_at(&mut self, offset: u64, memory: Memory) {
        (self.read, self.put, self.delivered) = (offset, offset, offset);
        self.memory = memory;
        self.held.clear();
        self.check();
    }

    /// The same by a checkpoint, which has the hash of the line before it.
    pub fn restored(offset: u64, memory: Memory, last_line_hash: Option<u64>) -> Cursor {
        let last_line = last_line_hash.map_or(LastLine::Unknown, LastLine::Whole);
        let cursor = Cursor { read: offset, put: offset, delivered: offset, memory, last_line, ..Cursor::default() };
        cursor.check();
        cursor
    }

    /// The same bytes before `read` are known by this.
    pub fn know(&mut self, memory: Memory) {
        self.memory = memory;
    }

    /// Of the bytes before `read` no more is kept than tells them again, and of those behind it nothing.
    pub fn park(&mut self) {
        self.held = Vec::new();
        self.memory = self.memory.as_guards();
    }

    /// Bytes of an unfinished line were read.
    pub fn hold(&mut self, bytes: &[u8]) {
        debug_assert!(!bytes.contains(&b'\n'), "a whole line is given");
        self.held.extend_from_slice(bytes);
    }

    /// What was held goes on, or is gone.
    pub fn take_held(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.held)
    }

    /// Of the unfinished line there is only what ends here; how much is gone.
    pub fn cut_held(&mut self, end: u64) -> u64 {
        debug_assert!((self.read..=self.seen()).contains(&end), "what was given stays");
        let lost = self.seen() - end;
        self.held.truncate((end - self.read) as usize);
        lost
    }

    /// The next bytes were put. `line_hash`: of the last line; `None`: they end inside one.
    pub fn put_on(&mut self, bytes: &[u8], line_hash: Option<u64>) {
        debug_assert!(self.held.is_empty(), "what was held stands before them");
        self.read += bytes.len() as u64;
        self.put = self.read;
        self.memory.push(bytes);
        self.last_line = match line_hash {
            None => LastLine::Open,
            Some(_) if self.is_inside_line() => LastLine::Unknown,
            Some(hash) => LastLine::Whole(hash),
        };
        self.mark();
        self.check();
    }

    fn mark(&mut self) {
        if self.marks.len() == MARKS_MAX {
            // Every second one will do: a mark only says where a checkpoint may stand.
            let mut keep = false;
            self.marks.retain(|_| {
                keep = !keep;
                keep
            });
        }
        let (end, line_hash) = (self.read, self.last_line.hash());
        self.marks.extend(self.memory.tail_guard().map(|guard| PutEnd { end, guard, line_hash }));
    }

    /// Goes on behind bytes that nobody gets.
    pub fn skip(&mut self, bytes: u64) {
        debug_assert!(!self.has_open_line(), "a line ends before them");
        if self.is_delivered() {
            self.delivered = self.read + bytes;
        }
        self.read += bytes;
        self.last_line = LastLine::Unknown;
        self.memory.push(&vec![0; bytes.min(GUARD_BYTES_MAX as u64) as usize]);
        *self.skipped.get_or_insert(0) += bytes;
        self.check();
    }

    /// Whether the last bytes were passed over.
    pub fn is_skipping(&self) -> bool {
        self.skipped.is_some()
    }

    /// Others stand behind them: how many were.
    pub fn take_skipped(&mut self) -> Option<u64> {
        self.skipped.take()
    }

    /// Bytes up to here are delivered.
    pub fn deliver(&mut self, offset: u64) {
        self.delivered = self.delivered.max(offset);
        if self.delivered >= self.put {
            self.delivered = self.read;
        }
        while self.marks.len() > 1 && self.marks[1].end <= self.delivered {
            self.marks.pop_front();
        }
        self.check();
    }

    /// The hash of the last line before an offset, as far as it is known.
    pub fn line_hash_at(&self, offset: u64) -> Option<u64> {
        if offset == self.read {
            return self.last_line.hash();
        }
        self.marks.iter().find(|mark| mark.end == offset)?.line_hash
    }

    /// The greatest offset up to which it is delivered and whose guard is known, with that guard.
    ///
    /// Inside of what is on its way the file is asked, and believed if it still has what was read behind that.
    pub fn delivered_guard(&self, file: Option<&File>) -> (u64, Option<Guard>) {
        if self.delivered >= self.read {
            return (self.delivered, self.memory.tail_guard());
        }
        if let Some(mark) = self.marks.iter().find(|mark| mark.end == self.delivered) {
            return (self.delivered, Some(mark.guard));
        }
        if let Some(file) = file
            && let Ok(Some(Memory::Bytes { tail, .. })) = Memory::of_file(file, self.delivered)
            && let Ok(Some(after)) = Memory::of_file(file, self.read)
            && self.memory.tail_fits(after.tail()) == Some(true)
        {
            return (self.delivered, Some(Guard::of_end(&tail)));
        }
        match self.marks.iter().rev().find(|mark| mark.end <= self.delivered) {
            Some(mark) => (mark.end, Some(mark.guard)),
            None => (self.delivered, None),
        }
    }

    /// In debug builds: the invariants hold.
    fn check(&self) {
        debug_assert!(self.put <= self.read, "{} put, {} read", self.put, self.read);
        let is_all_delivered = self.delivered == self.read;
        debug_assert!(self.delivered <= self.put || is_all_delivered, "{} delivered, {} put", self.delivered, self.put);
        debug_assert!(self.marks.iter().is_sorted_by_key(|mark| mark.end), "in their order");
        debug_assert!(self.marks.back().is_none_or(|mark| mark.end <= self.put), "a mark is an end of what was put");
    }
}
