//! Lines that were found, with the bytes they stand in.

use std::ops::Range;
use std::sync::Arc;

use memchr::{memchr, memchr_iter, memrchr};
use standpipe_common::archive::Mark;
use standpipe_common::sys;

use super::log::Position;
use super::part::{Part, time_at};
use super::scan::{Scan, Scanned};

/// What of a batch is fetched from memory while lines of other logs are shown.
const SOON_BYTES: usize = 256;

/// Lines of one part, in order.
pub struct Batch {
    /// The part in which they begin.
    pub part: Arc<Part>,
    /// The block in which they begin.
    pub block: usize,
    /// Where the bytes begin in the part.
    pub base: u64,
    /// Whole lines, or one line.
    pub raw: Vec<u8>,
    /// The marks in force, if times matter.
    pub marks: Vec<Mark>,
    /// Lines that arrived in time.
    pub timed: Vec<Range<usize>>,
    /// Lines that are wanted.
    pub runs: Vec<Run>,
    /// Where its only line ends, if that is in another block.
    pub after: Option<Position>,
}

/// Lines that are shown one behind the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Where they stand.
    pub range: Range<usize>,
    /// They are what was looked for, not what stands around it.
    pub is_match: bool,
    /// Something between them and what was shown before is left out.
    pub opens_group: bool,
}

impl Run {
    fn of_match(range: Range<usize>) -> Run {
        Run { range, is_match: true, opens_group: false }
    }
}

/// Lines that arrived at the same time.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// When, ns since the epoch; 0 if times do not matter.
    pub time_ns: i64,
    /// Where they stand, and what they are.
    pub run: Run,
}

/// How far the chunks of a batch were taken.
#[derive(Clone, Copy, Debug, Default)]
pub struct Walk {
    /// In which run.
    run: usize,
    /// Behind the last chunk.
    start: usize,
    /// The first mark behind where we are.
    mark: usize,
}

impl Batch {
    /// What was found in a block.
    pub fn of_block(scanned: Scanned) -> Batch {
        Batch {
            part: scanned.part,
            block: scanned.number,
            base: scanned.base,
            raw: scanned.raw,
            marks: scanned.marks,
            timed: scanned.timed,
            runs: scanned.runs.into_iter().map(Run::of_match).collect(),
            after: None,
        }
    }

    /// One line that was put together, wanted or not. `None`: it did not arrive in time.
    pub fn of_line(line: Line, scan: &Scan) -> Option<Batch> {
        if line.raw.is_empty() || !scan.overlaps(line.time_ns, line.time_ns) {
            return None;
        }
        let wanted = scan.patterns.as_ref().is_none_or(|patterns| patterns.is_match(&line.raw));
        let all = 0..line.raw.len();
        let mut batch = Batch::beside(line);
        batch.runs.extend(wanted.then(|| Run::of_match(all)));
        Some(batch)
    }

    /// One line that is not wanted itself.
    pub fn beside(line: Line) -> Batch {
        let Line { part, block, start, raw, time_ns, after } = line;
        let marks = vec![Mark { offset: start, time_ns }];
        let all = 0..raw.len();
        Batch { part, block, base: start, raw, marks, timed: vec![all], runs: Vec::new(), after: Some(after) }
    }

    /// The lines that are wanted, by the time of their arrival if that matters.
    pub fn chunks(&self) -> impl Iterator<Item = Chunk> {
        let mut walk = Walk::default();
        std::iter::from_fn(move || self.next_chunk(&mut walk))
    }

    /// The next of them. `None`: there is none.
    pub fn next_chunk(&self, walk: &mut Walk) -> Option<Chunk> {
        let run = loop {
            let run = self.runs.get(walk.run)?;
            if walk.start < run.range.end {
                break run;
            }
            walk.run += 1;
        };
        let start = walk.start.max(run.range.start);
        let offset = self.base + start as u64;
        walk.mark += self.marks[walk.mark..].iter().take_while(|mark| mark.offset <= offset).count();
        let time_ns = if self.marks.is_empty() { 0 } else { self.marks[walk.mark.saturating_sub(1)].time_ns };
        let other = self.marks[walk.mark..].iter().find(|mark| mark.time_ns != time_ns);
        walk.start = other.map_or(run.range.end, |mark| self.line_end_at(mark.offset, run.range.end));
        if walk.start < run.range.end {
            let soon = walk.start..run.range.end.min(walk.start + SOON_BYTES);
            sys::prefetch(&self.raw[soon]);
        }
        let opens_group = run.opens_group && start == run.range.start;
        Some(Chunk { time_ns, run: Run { range: start..walk.start, is_match: run.is_match, opens_group } })
    }

    /// Lines before this place are wanted no more.
    pub fn forget_before(&mut self, place: &Position) {
        let all = match self.part.name().cmp(&place.part) {
            std::cmp::Ordering::Less => self.raw.len(),
            std::cmp::Ordering::Equal => usize::try_from(place.offset.saturating_sub(self.base)).unwrap_or(usize::MAX),
            std::cmp::Ordering::Greater => 0,
        };
        self.runs.retain_mut(|run| {
            run.range.start = run.range.start.max(all);
            run.range.start < run.range.end
        });
    }

    /// When the line arrived that begins there.
    pub fn time_ns(&self, start: usize) -> i64 {
        time_at(&self.marks, self.base + start as u64)
    }

    /// Behind the line that ends there.
    pub fn after(&self, end: usize) -> Position {
        match &self.after {
            Some(after) if end == self.raw.len() => after.clone(),
            _ => Position { part: self.part.name().clone(), offset: self.base + end as u64 },
        }
    }

    /// Before the line that begins there.
    pub fn before(&self, start: usize) -> Position {
        Position { part: self.part.name().clone(), offset: self.base + start as u64 }
    }

    /// Where the line ends before `offset`, which should be a line's beginning; `limit` at most.
    fn line_end_at(&self, offset: u64, limit: usize) -> usize {
        let at = usize::try_from(offset - self.base).unwrap_or(limit).min(limit);
        if self.raw[at - 1] == b'\n' {
            return at;
        }
        memchr(b'\n', &self.raw[at..limit]).map_or(limit, |newline| at + newline + 1)
    }
}

/// A line that was put together from several blocks, or what is left of one.
pub struct Line {
    /// The part in which it begins.
    pub part: Arc<Part>,
    /// The block in which it begins.
    pub block: usize,
    /// Where it begins in the part.
    pub start: u64,
    /// Its bytes so far.
    pub raw: Vec<u8>,
    /// When it arrived.
    pub time_ns: i64,
    /// Behind its last byte so far.
    pub after: Position,
}

impl Line {
    /// What begins at `start` of a block and ends with the block's bytes at `end`.
    pub fn of(scanned: &Scanned, range: Range<usize>) -> Line {
        let start = scanned.base + range.start as u64;
        let after = Position { part: scanned.part.name().clone(), offset: scanned.base + range.end as u64 };
        Line {
            part: scanned.part.clone(),
            block: scanned.number,
            start,
            raw: scanned.raw[range.clone()].to_vec(),
            time_ns: scanned.time_ns(range.start),
            after,
        }
    }

    /// Adds what follows.
    pub fn join(&mut self, rest: Line) {
        self.raw.extend(rest.raw);
        self.after = rest.after;
    }

    /// Whether it is whole.
    pub fn is_whole(&self) -> bool {
        self.raw.last() == Some(&b'\n')
    }
}

/// The lines of a text, one by one, each with its newline.
pub fn lines(text: &[u8], range: Range<usize>) -> impl Iterator<Item = Range<usize>> + '_ {
    let mut start = range.start;
    std::iter::from_fn(move || {
        if start >= range.end {
            return None;
        }
        let end = memchr(b'\n', &text[start..range.end]).map_or(range.end, |newline| start + newline + 1);
        let line = start..end;
        start = end;
        Some(line)
    })
}

/// How many lines a text has; the last one may have no newline.
pub fn count(text: &[u8]) -> u64 {
    memchr_iter(b'\n', text).count() as u64 + u64::from(text.last().is_some_and(|last| *last != b'\n'))
}

/// Where the last `count` lines of `range` begin, and how many there are.
pub fn last_lines(text: &[u8], range: Range<usize>, count: usize) -> (usize, usize) {
    let mut start = range.end;
    for found in 0..count {
        if start == range.start {
            return (start, found);
        }
        start = memrchr(b'\n', &text[range.start..start - 1]).map_or(range.start, |newline| range.start + newline + 1);
    }
    (start, count)
}

/// Where the first `count` lines of `range` end, and how many there are.
pub fn first_lines(text: &[u8], range: Range<usize>, count: usize) -> (usize, usize) {
    let mut end = range.start;
    let mut found = 0;
    for line in lines(text, range).take(count) {
        end = line.end;
        found += 1;
    }
    (end, found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_from_both_ends() {
        let text = b"a\nbb\n\nc";
        assert_eq!(lines(text, 0..7).collect::<Vec<_>>(), [0..2, 2..5, 5..6, 6..7]);
        for (count, first, last) in [(0, (0, 0), (7, 0)), (1, (2, 1), (6, 1)), (2, (5, 2), (5, 2)), (9, (7, 4), (0, 4))]
        {
            assert_eq!(first_lines(text, 0..7, count), first, "{count}");
            assert_eq!(last_lines(text, 0..7, count), last, "{count}");
        }
        assert_eq!(last_lines(text, 2..5, 3), (2, 1));
    }
}
