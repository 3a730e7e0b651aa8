//! The lines around those that were found: `-A`, `-B` and `-C`.
//!
//! Invariants: no line is shown twice; lines that lie further apart are told apart by the beginning of a group, as grep
//! does with `--`. Only lines that arrived in time are shown.

use std::collections::VecDeque;

use super::batch::{Batch, Line, Run, first_lines, last_lines, lines};

/// Shows lines around others, in the log of one pipe.
pub struct Context {
    before: usize,
    after: usize,
    /// The last lines that were not shown, at most `before` of them.
    last: VecDeque<Line>,
    /// So many lines are still to be shown.
    due: usize,
    between: Between,
}

/// What lies between the next line that is shown and the one before it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Between {
    /// None was shown yet.
    First,
    Nothing,
    /// Lines that are left out.
    Lines,
}

impl Context {
    /// So many lines before and behind each that was found.
    pub fn new(before: usize, after: usize) -> Context {
        Context { before, after, last: VecDeque::new(), due: 0, between: Between::First }
    }

    /// Puts to what was found in a batch the lines around it; lines of earlier batches come in batches of their own.
    pub fn around(&mut self, mut batch: Batch) -> Vec<Batch> {
        let matches = std::mem::take(&mut batch.runs);
        let mut earlier = Vec::new();
        let mut matches = matches.into_iter().map(|run| run.range).peekable();
        for timed in batch.timed.clone() {
            let mut at = timed.start;
            while let Some(found) = matches.next_if(|found| found.start < timed.end) {
                at = self.show_after(&mut batch, at, found.start);
                let (start, count) = last_lines(&batch.raw, at..found.start, self.before);
                if start == at {
                    let wanted = self.before - count;
                    self.show_last(wanted, &mut earlier);
                } else {
                    self.last.clear();
                    self.leave_out();
                }
                self.push(&mut batch, start..found.start, false);
                self.push(&mut batch, found.clone(), true);
                self.due = self.after;
                at = found.end;
            }
            at = self.show_after(&mut batch, at, timed.end);
            self.keep(&batch, at, timed.end);
        }
        earlier.push(batch);
        earlier
    }

    /// Shows the lines from `at` on that are still due, up to `limit` at most; returns where they end.
    fn show_after(&mut self, batch: &mut Batch, at: usize, limit: usize) -> usize {
        let (end, count) = first_lines(&batch.raw, at..limit, self.due);
        self.due -= count;
        self.push(batch, at..end, false);
        end
    }

    /// Shows the last `count` of the lines that were kept.
    fn show_last(&mut self, count: usize, earlier: &mut Vec<Batch>) {
        let passed = self.last.len().saturating_sub(count);
        if passed > 0 {
            self.leave_out();
        }
        for line in std::mem::take(&mut self.last).into_iter().skip(passed) {
            let all = 0..line.raw.len();
            let mut batch = Batch::beside(line);
            self.push(&mut batch, all, false);
            earlier.push(batch);
        }
    }

    fn push(&mut self, batch: &mut Batch, range: std::ops::Range<usize>, is_match: bool) {
        if range.start < range.end {
            debug_assert!(batch.runs.last().is_none_or(|last| last.range.end <= range.start), "a line is shown twice");
            let opens_group = self.between == Between::Lines;
            batch.runs.push(Run { range, is_match, opens_group });
            self.between = Between::Nothing;
        }
    }

    fn leave_out(&mut self) {
        if self.between == Between::Nothing {
            self.between = Between::Lines;
        }
    }

    /// Keeps the last lines of what was not shown.
    fn keep(&mut self, batch: &Batch, at: usize, end: usize) {
        let (start, count) = last_lines(&batch.raw, at..end, self.before);
        if start > at || self.before == 0 && at < end {
            self.leave_out();
            self.last.clear();
        }
        for line in lines(&batch.raw, start..end) {
            self.last.push_back(Line {
                part: batch.part.clone(),
                block: batch.block,
                start: batch.base + line.start as u64,
                raw: batch.raw[line.clone()].to_vec(),
                time_ns: batch.time_ns(line.start),
                after: batch.after(line.end),
            });
        }
        debug_assert!(count <= self.before);
        while self.last.len() > self.before {
            self.last.pop_front();
            self.leave_out();
        }
    }
}
