//! Lines that are held of one source, and the order in which they come out: that of the file, or that of their keys.
//!
//! Lines lie in *chunks*, as they were put. Their order is one of *stretches*: lines that stand behind each other in a
//! chunk and in the file, and come out one after the other. A chunk is one stretch until lines have to be sorted; then
//! stretches change, and no line is moved. Lines in order cost nothing, then, but what it takes to hold them.
//!
//! Invariants:
//! - each line that is held is in one stretch; a chunk without any keeps its number alone;
//! - only the first line of the first stretch can have gone on in part;
//! - sorting leaves first what belongs to the line that went on last.

use std::collections::VecDeque;
use std::ops::Range;

use super::lane::{LineKind, Passable, Room};
use crate::out::lines::{End, GenerationId, Lines, SourceId};

/// What is counted of each line beside its bytes: its [`Line`], and a stretch and a place in the order where each line
/// is one of its own.
pub(super) const LINE_BYTES: usize = size_of::<Line>() + size_of::<Stretch>() + size_of::<Place>();

#[derive(Debug, Default)]
pub(super) struct Held {
    chunks: VecDeque<Chunk>,
    /// Number of the first of `chunks`.
    first_chunk: u64,
    stretches: VecDeque<Stretch>,
    /// Bytes of the first line that went on.
    piece: usize,
    /// Of the lines that are held.
    bytes: usize,
    /// The same, with lines that went on and whose chunks have others.
    memory: usize,
}

/// What was put at once.
#[derive(Debug)]
struct Chunk {
    bytes: Vec<u8>,
    lines: Vec<Line>,
    /// Of its lines that are held, without what the chunk takes itself.
    left: usize,
    /// All but `bytes` as it was put.
    frame: Lines<'static>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    pub key: i64,
    /// Its first byte, counted in the file from that of the chunk.
    pub from: u32,
    /// Behind its newline, in the bytes of the chunk.
    pub end: u32,
    pub kind: LineKind,
}

#[derive(Clone, Copy, Debug)]
struct Stretch {
    /// Number of its chunk.
    chunk: u64,
    /// Its lines there: the next, and the one behind the last.
    line: u32,
    stop: u32,
    /// Where it ends for a checkpoint: nothing before that comes out later.
    end: u64,
}

/// A line, by its chunk and its number there.
type Place = (u32, u32);

impl Held {
    pub(super) fn is_empty(&self) -> bool {
        self.stretches.is_empty()
    }

    /// Of the lines, with [`LINE_BYTES`] for each, and their chunks.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// What all chunks take, counted in the same way.
    pub(super) fn memory(&self) -> usize {
        self.memory
    }

    /// Whether lines of this chunk, or of one before it, are held still.
    pub(super) fn holds(&self, chunk: u64) -> bool {
        chunk >= self.first_chunk
    }

    /// The first line.
    pub(super) fn head(&self) -> Option<Line> {
        self.stretches.front().map(|stretch| self.chunk(stretch).lines[stretch.line as usize])
    }

    /// The first lines, so many of the first stretch.
    pub(super) fn first(&self, count: usize) -> &[Line] {
        let lines = self.stretches.front().map(|it| &self.chunk(it).lines[it.line as usize..it.stop as usize]);
        &lines.unwrap_or_default()[..count]
    }

    /// Takes lines behind all others; gives the number of their chunk.
    pub(super) fn put(&mut self, lines: &Lines<'_>, split: Vec<Line>) -> u64 {
        let number = self.first_chunk + self.chunks.len() as u64;
        self.stretches.push_back(Stretch { chunk: number, line: 0, stop: split.len() as u32, end: lines.end });
        let frame = Lines { bytes: &[], ..*lines };
        let mut chunk = Chunk { bytes: lines.bytes.to_vec(), lines: split, left: 0, frame };
        chunk.left = chunk.lines_memory();
        self.bytes += chunk.memory();
        self.memory += chunk.memory();
        self.chunks.push_back(chunk);
        number
    }

    /// The lines that come before `limit`, the next of all others; at least the first, with what follows it.
    pub(super) fn run(&self, source: SourceId, limit: (i64, u32), room: Room) -> Option<Passable<'_>> {
        let stretch = self.stretches.front()?;
        let chunk = self.chunk(stretch);
        let from = chunk.start(stretch.line) + self.piece;
        let (Room::Now(bytes_max) | Room::Final(bytes_max)) = room;
        let mut count = 0;
        let mut to = from;
        for (index, line) in chunk.lines[stretch.line as usize..stretch.stop as usize].iter().enumerate() {
            let is_before = index == 0 || line.kind == LineKind::Follows || (line.key, source.0) < limit;
            if !is_before || line.end as usize - from > bytes_max + chunk.added(line) {
                break;
            }
            count += 1;
            to = line.end as usize;
        }
        match room {
            _ if count > 0 => Some(Passable { lines: self.lines(stretch, from, to), count }),
            Room::Final(bytes_max) if bytes_max > 0 => {
                Some(Passable { lines: self.lines(stretch, from, from + bytes_max), count: 0 })
            }
            _ => None,
        }
    }

    /// The bytes from one place in its chunk to another, as lines of their file.
    fn lines(&self, stretch: &Stretch, from: usize, to: usize) -> Lines<'_> {
        let chunk = self.chunk(stretch);
        let ends = match chunk.frame.ends {
            ends if to == chunk.bytes.len() => ends,
            _ if chunk.bytes[to - 1] == b'\n' => End::Line,
            _ => End::Open,
        };
        let start = self.start(stretch) + (from - chunk.start(stretch.line)) as u64;
        let is_all = to == chunk.lines[stretch.stop as usize - 1].end as usize;
        let end = if is_all { stretch.end } else { stretch.end.min(start + (to - from) as u64) };
        Lines { start, end, bytes: &chunk.bytes[from..to], ends, ..chunk.frame }
    }

    /// What a run had went on: so many lines of the first stretch, or a piece of one.
    pub(super) fn take(&mut self, count: usize, len: usize) {
        let Some(stretch) = self.stretches.front_mut() else { return };
        let chunk = &mut self.chunks[(stretch.chunk - self.first_chunk) as usize];
        stretch.line += count as u32;
        if stretch.line == stretch.stop {
            self.stretches.pop_front();
        }
        self.piece = if count == 0 { self.piece + len } else { 0 };
        let gone = len + count * LINE_BYTES;
        self.bytes -= gone;
        chunk.left -= gone;
        if chunk.left == 0 {
            self.bytes -= size_of::<Chunk>();
            self.memory -= chunk.lines_memory();
            (chunk.bytes, chunk.lines) = (Vec::new(), Vec::new());
        }
        while self.chunks.front().is_some_and(|chunk| chunk.left == 0) {
            self.chunks.pop_front();
            self.first_chunk += 1;
            self.memory -= size_of::<Chunk>();
        }
        debug_assert!(self.bytes <= self.memory && self.stretches.is_empty() == (self.bytes == 0));
    }

    /// Puts the lines in the order of their keys. Those with the same key keep theirs, so records stay whole.
    pub(super) fn sort(&mut self) {
        let mut order: Vec<Place> =
            Vec::with_capacity(self.stretches.iter().map(|it| (it.stop - it.line) as usize).sum());
        for stretch in &self.stretches {
            let chunk = (stretch.chunk - self.first_chunk) as u32;
            order.extend((stretch.line..stretch.stop).map(|line| (chunk, line)));
        }
        let line = |place: &Place| &self.chunks[place.0 as usize].lines[place.1 as usize];
        let piece = usize::from(self.piece > 0);
        let begun = piece + order[piece..].iter().take_while(|place| line(place).kind == LineKind::Follows).count();
        order[begun..].sort_by_key(|place| line(place).key);
        let is_next = |one: &Place, next: &Place| {
            let chunk = &self.chunks[one.0 as usize];
            one.0 == next.0
                && one.1 + 1 == next.1
                && line(one).from as usize + chunk.len(one.1) == line(next).from as usize
        };
        let ends = self.ends();
        let stretch = |run: &[Place]| {
            let (chunk, line) = run[0];
            Stretch { chunk: self.first_chunk + u64::from(chunk), line, stop: line + run.len() as u32, end: 0 }
        };
        self.stretches = order.chunk_by(is_next).map(stretch).collect();
        self.set_ends(ends);
    }

    /// By generation: how far it was put.
    fn ends(&self) -> Vec<(GenerationId, u64)> {
        let mut ends: Vec<(GenerationId, u64)> = Vec::new();
        for stretch in &self.stretches {
            let generation = self.chunk(stretch).frame.generation;
            match ends.iter_mut().find(|(known, _)| *known == generation) {
                Some((_, end)) => *end = stretch.end.max(*end),
                None => ends.push((generation, stretch.end)),
            }
        }
        ends
    }

    /// Lets each stretch end where the first begins that comes after it: what stands before that is delivered then.
    fn set_ends(&mut self, mut ends: Vec<(GenerationId, u64)>) {
        for index in (0..self.stretches.len()).rev() {
            let stretch = self.stretches[index];
            let generation = self.chunk(&stretch).frame.generation;
            if let Some((_, safe)) = ends.iter_mut().find(|(known, _)| *known == generation) {
                self.stretches[index].end = *safe;
                *safe = self.start(&stretch).min(*safe);
            }
        }
    }

    /// Gives memory of lines back that went on: chunks take at most a third more than what is held of them.
    pub(super) fn compact(&mut self) {
        let mut packed: Vec<Option<Chunk>> = self.chunks.iter().map(Chunk::to_pack).collect();
        for stretch in &mut self.stretches {
            let index = (stretch.chunk - self.first_chunk) as usize;
            if let Some(chunk) = &mut packed[index] {
                let lines = chunk.append(&self.chunks[index], stretch.line..stretch.stop);
                (stretch.line, stretch.stop) = (lines.start, lines.end);
            }
        }
        for (chunk, packed) in self.chunks.iter_mut().zip(packed) {
            if let Some(packed) = packed {
                self.memory -= chunk.memory() - packed.memory();
                *chunk = packed;
            }
        }
        self.forget_empty();
    }

    /// Numbers chunks anew, without those that have no lines.
    fn forget_empty(&mut self) {
        let mut next = self.first_chunk;
        let number = |chunk: &Chunk| {
            let number = next;
            next += u64::from(chunk.left > 0);
            number
        };
        let numbers: Vec<u64> = self.chunks.iter().map(number).collect();
        for stretch in &mut self.stretches {
            stretch.chunk = numbers[(stretch.chunk - self.first_chunk) as usize];
        }
        let count = self.chunks.len();
        self.chunks.retain(|chunk| chunk.left > 0);
        self.memory -= (count - self.chunks.len()) * size_of::<Chunk>();
    }

    fn chunk(&self, stretch: &Stretch) -> &Chunk {
        &self.chunks[(stretch.chunk - self.first_chunk) as usize]
    }

    /// Where it begins in the file.
    fn start(&self, stretch: &Stretch) -> u64 {
        let chunk = self.chunk(stretch);
        chunk.frame.start + u64::from(chunk.lines[stretch.line as usize].from)
    }
}

impl Chunk {
    fn memory(&self) -> usize {
        size_of::<Chunk>() + self.lines_memory()
    }

    fn lines_memory(&self) -> usize {
        self.bytes.len() + self.lines.len() * LINE_BYTES
    }

    /// Where a line begins among its bytes.
    fn start(&self, line: u32) -> usize {
        line.checked_sub(1).map_or(0, |before| self.lines[before as usize].end as usize)
    }

    fn len(&self, line: u32) -> usize {
        self.lines[line as usize].end as usize - self.start(line)
    }

    /// 1 for a last line whose newline was added.
    fn added(&self, line: &Line) -> usize {
        usize::from(self.frame.ends == End::Added && line.end as usize == self.bytes.len())
    }

    /// One for the lines that are held of it, if more than a quarter went on.
    fn to_pack(&self) -> Option<Chunk> {
        let is_sparse = self.left > 0 && self.left < self.lines_memory() / 4 * 3;
        is_sparse.then(|| Chunk { bytes: Vec::new(), lines: Vec::new(), left: self.left, frame: self.frame })
    }

    /// Copies lines of another; gives their numbers here.
    fn append(&mut self, other: &Chunk, lines: Range<u32>) -> Range<u32> {
        let (from, to) = (other.start(lines.start), other.start(lines.end));
        let (at, first) = (self.bytes.len(), self.lines.len() as u32);
        self.bytes.extend_from_slice(&other.bytes[from..to]);
        let copied = other.lines[lines.start as usize..lines.end as usize].iter();
        self.lines.extend(copied.map(|line| Line { end: (line.end as usize - from + at) as u32, ..*line }));
        first..first + (lines.end - lines.start)
    }
}
