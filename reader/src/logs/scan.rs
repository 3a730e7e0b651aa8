//! What is looked for in a block, and what is found: the work of one thread on one block.
//!
//! Invariants of a [`Scanned`]: `whole` is the text from the first line that begins in the block to the last one that
//! ends in it; `timed` are whole lines of it that arrived in time, `runs` those of them that the patterns mean, both in
//! order and apart.
//!
//! A line that goes over the end of a block is nobody's here: whoever takes the blocks in order joins it.

use std::ops::Range;
use std::sync::Arc;

use memchr::{memchr, memrchr};
use standpipe_common::archive::Mark;
use standpipe_common::error::Error;

use super::demand::Demand;
use super::part::{Part, Scratch, time_at};
use super::pattern::Patterns;

/// What is looked for.
#[derive(Debug)]
pub struct Scan {
    /// Patterns that lines must meet.
    pub patterns: Option<Patterns>,
    /// Blocks may be left out that cannot have such a line, as their search filter tells.
    pub filtered: bool,
    /// No line that arrived earlier, ns since the epoch.
    pub since_ns: i64,
    /// No line that arrived later.
    pub until_ns: i64,
    /// The time of each line is asked.
    pub timed: bool,
}

impl Default for Scan {
    fn default() -> Scan {
        Scan { patterns: None, filtered: false, since_ns: i64::MIN, until_ns: i64::MAX, timed: false }
    }
}

impl Scan {
    /// The same times, whatever stands in the lines.
    #[must_use]
    pub fn without_patterns(&self) -> Scan {
        Scan { since_ns: self.since_ns, until_ns: self.until_ns, ..Scan::default() }
    }

    /// What a block must have in which a line is meant. `None`: nothing that its search filter is to tell.
    pub fn demand(&self) -> Option<&Demand> {
        self.patterns.as_ref().filter(|_| self.filtered)?.demand()
    }

    /// Whether lines are chosen by time.
    pub fn has_times(&self) -> bool {
        self.since_ns > i64::MIN || self.until_ns < i64::MAX
    }

    /// Whether anybody asks when lines arrived.
    pub fn needs_marks(&self) -> bool {
        self.timed || self.has_times()
    }

    /// Whether anything between these times can be wanted.
    pub fn overlaps(&self, lowest_ns: i64, highest_ns: i64) -> bool {
        lowest_ns <= self.until_ns && highest_ns >= self.since_ns
    }

    /// Reads a block of `part` and looks through it, as far as it lies in `bounds`, which begin and end with lines.
    pub fn block(
        &self,
        part: Arc<Part>,
        number: usize,
        bounds: Range<u64>,
        scratch: &mut Scratch,
        mut raw: Vec<u8>,
    ) -> Scanned {
        let block = part.block(number);
        let read = part.read(number, scratch, &mut raw);
        let marks = if self.needs_marks() { part.marks(number) } else { Ok(Vec::new()) };
        let (marks, trouble) = match (read, marks) {
            (Ok(()), Ok(marks)) => (marks, None),
            (Err(error), _) | (_, Err(error)) => {
                raw.clear();
                (Vec::new(), Some(error))
            }
        };
        let at =
            |offset: u64| usize::try_from(offset.saturating_sub(block.offset)).unwrap_or(usize::MAX).min(raw.len());
        let from = at(bounds.start);
        let until = at(bounds.end);
        let start = if block.begins_inside && bounds.start <= block.offset {
            memchr(b'\n', &raw[..until]).map_or(until, |newline| newline + 1)
        } else {
            from
        };
        let end = memrchr(b'\n', &raw[start.min(until)..until]).map_or(start.min(until), |newline| start + newline + 1);
        let mut scanned = Scanned {
            part,
            number,
            base: block.offset,
            limit: until,
            whole: start.min(until)..end,
            timed: Vec::new(),
            runs: Vec::new(),
            raw,
            marks,
            trouble,
        };
        scanned.look(self);
        scanned
    }
}

/// A block that was looked through.
pub struct Scanned {
    /// The part that it is in.
    pub part: Arc<Part>,
    /// Which block of it.
    pub number: usize,
    /// Where the block begins in the part.
    pub base: u64,
    /// Its bytes; none if it could not be read.
    pub raw: Vec<u8>,
    /// Of which so many are wanted.
    pub limit: usize,
    /// The marks in force, if times matter.
    pub marks: Vec<Mark>,
    /// Whole lines: from the first that begins in it to the last that ends there.
    pub whole: Range<usize>,
    /// Those that arrived in time.
    pub timed: Vec<Range<usize>>,
    /// Those that are wanted.
    pub runs: Vec<Range<usize>>,
    /// It could not be read.
    pub trouble: Option<Error>,
}

impl Scanned {
    /// What ends a line of the block before: all of it if that line does not end here.
    pub fn head(&self) -> &[u8] {
        &self.raw[..self.whole.start]
    }

    /// The beginning of a line that does not end here.
    pub fn tail(&self) -> &[u8] {
        &self.raw[self.whole.end..self.limit]
    }

    /// Whether its ranges lie in one another, and those of one kind in order and apart.
    pub fn holds_together(&self) -> bool {
        let are_apart = |ranges: &[Range<usize>]| ranges.windows(2).all(|pair| pair[0].end <= pair[1].start);
        let lie_in = |outer: &Range<usize>, inner: &[Range<usize>]| {
            inner.iter().all(|range| outer.start <= range.start && range.start < range.end && range.end <= outer.end)
        };
        let is_whole = self.whole.start <= self.whole.end && self.whole.end <= self.limit;
        let is_ordered = are_apart(&self.timed) && are_apart(&self.runs);
        is_whole
            && self.limit <= self.raw.len()
            && is_ordered
            && lie_in(&self.whole, &self.timed)
            && lie_in(&self.whole, &self.runs)
    }

    /// When the line arrived that begins at `start`.
    pub fn time_ns(&self, start: usize) -> i64 {
        time_at(&self.marks, self.base + start as u64)
    }

    fn look(&mut self, scan: &Scan) {
        self.timed = if scan.has_times() { self.in_time(scan) } else { vec![self.whole.clone()] };
        self.timed.retain(|range| !range.is_empty());
        match &scan.patterns {
            None => self.runs.clone_from(&self.timed),
            Some(patterns) => {
                for range in &self.timed {
                    let start = range.start;
                    patterns.select(&self.raw[range.clone()], &mut |run| {
                        self.runs.push(start + run.start..start + run.end);
                    });
                }
            }
        }
    }

    /// The whole lines that arrived in time.
    fn in_time(&self, scan: &Scan) -> Vec<Range<usize>> {
        let mut found: Vec<Range<usize>> = Vec::new();
        for (number, mark) in self.marks.iter().enumerate() {
            if !scan.overlaps(mark.time_ns, mark.time_ns) {
                continue;
            }
            let start = if number == 0 { self.whole.start } else { self.line_at(mark.offset) };
            let end = self.marks.get(number + 1).map_or(self.whole.end, |next| self.line_at(next.offset));
            match found.last_mut() {
                Some(last) if last.end == start => last.end = end,
                _ => found.push(start..end),
            }
        }
        found
    }

    /// Where the first line begins at or behind this offset of the part.
    fn line_at(&self, offset: u64) -> usize {
        let at = usize::try_from(offset.saturating_sub(self.base)).unwrap_or(usize::MAX);
        if at <= self.whole.start {
            return self.whole.start;
        }
        let before = (at - 1).min(self.whole.end);
        memchr(b'\n', &self.raw[before..self.whole.end]).map_or(self.whole.end, |newline| before + newline + 1)
    }
}
