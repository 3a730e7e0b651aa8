//! Counts the lines of a log into rows.
//!
//! Invariants: each line counts once, when its first byte arrived, also where it goes over the end of a block or of a
//! part; one at the end of the log that has no newline yet counts as well. Without a pattern a block is read only if
//! lines of it lie in several rows, or nothing else tells how many it has.

use std::sync::Arc;

use standpipe_common::archive::Copied;
use standpipe_common::error::Result;

use super::rows::Rows;
use crate::logs::batch::{Batch, count};
use crate::logs::forward::Forward;
use crate::logs::log::Log;
use crate::logs::merge::ahead;
use crate::logs::part::Part;
use crate::logs::pool::Pool;
use crate::logs::scan::Scan;

/// The lowest and the highest time at which lines of a log arrived, as far as they are wanted.
pub fn span(log: &mut Log, scan: &Scan) -> Option<(i64, i64)> {
    let mut span: Option<(i64, i64)> = None;
    for number in 0..log.parts() {
        // What cannot be opened is said when it is counted.
        let Some(Ok(part)) = log.part(number) else { continue };
        for block in (0..part.blocks()).map(|number| part.block(number)) {
            if scan.overlaps(block.lowest_ns, block.highest_ns) {
                let (low, high) = (block.lowest_ns.max(scan.since_ns), block.highest_ns.min(scan.until_ns));
                span = Some(span.map_or((low, high), |span| (span.0.min(low), span.1.max(high))));
            }
        }
    }
    span
}

/// What is being counted.
pub struct Tally<'a> {
    /// Only lines that it means count.
    pub scan: Arc<Scan>,
    /// Where they count.
    pub rows: &'a mut Rows,
    /// Who reads them.
    pub pool: Pool,
    /// What could not be read.
    pub sentences: Vec<String>,
    /// The block that is read.
    pub raw: Vec<u8>,
}

impl Tally<'_> {
    /// Counts a log.
    pub fn count(&mut self, log: &mut Log) -> Result<()> {
        if self.scan.patterns.is_some() {
            self.count_matches(log)
        } else {
            self.count_all(log);
            Ok(())
        }
    }

    fn count_matches(&mut self, log: &mut Log) -> Result<()> {
        let ahead = ahead(1, &self.pool);
        let mut forward = Forward::new(log, self.scan.clone(), None, ahead, false);
        while let Some(batch) = forward.next(log, &mut self.pool)? {
            self.add_batch(&batch);
            self.pool.give_back(batch.raw);
        }
        self.sentences.extend(forward.take_sentences());
        Ok(())
    }

    fn add_batch(&mut self, batch: &Batch) {
        for chunk in batch.chunks() {
            self.rows.add(chunk.time_ns, count(&batch.raw[chunk.run.range]));
        }
    }

    fn count_all(&mut self, log: &mut Log) {
        let mut open = None;
        for number in 0..log.parts() {
            match log.part(number) {
                Some(Ok(part)) => self.count_part(&part, &mut open),
                // Expired meanwhile, or closed.
                other => {
                    self.sentences.extend(other.and_then(Result::err).map(|error| error.to_string()));
                    self.end_line(&mut open);
                }
            }
        }
        self.end_line(&mut open);
    }

    /// `open`: when the line began that goes on at the beginning of the part, and then at its end.
    fn count_part(&mut self, part: &Arc<Part>, open: &mut Option<i64>) {
        let mut gaps = Copied::default();
        for number in 0..part.blocks() {
            let block = part.block(number);
            if !block.begins_inside {
                self.end_line(open);
            }
            let (lowest, highest) = (self.place(block.lowest_ns), self.place(block.highest_ns));
            let counted = if lowest == highest {
                self.count_lines(part, number, open)
            } else {
                self.count_times(part, number, open)
            };
            if let Err(cause) = counted {
                self.end_line(open);
                gaps.add(part.gap(number, cause));
            }
        }
        if part.ends_torn() {
            self.end_line(open);
        }
        self.sentences.extend(gaps.gaps.iter().map(ToString::to_string));
        self.sentences.extend(part.damage());
    }

    /// A block whose lines all lie in one row, or in none.
    fn count_lines(&mut self, part: &Arc<Part>, number: usize, open: &mut Option<i64>) -> Result<()> {
        let block = part.block(number);
        let time_ns = block.highest_ns;
        let is_wanted = self.scan.overlaps(block.lowest_ns, time_ns);
        let mut lines = if is_wanted { part.lines(number, self.pool.scratch())? } else { 0 };
        if !block.unbroken && open.is_some() {
            lines = lines.saturating_sub(1);
            self.end_line(open);
        }
        self.add(time_ns, lines);
        if block.ends_inside {
            *open = open.or(Some(time_ns));
        }
        Ok(())
    }

    /// A block whose lines lie in several rows.
    fn count_times(&mut self, part: &Arc<Part>, number: usize, open: &mut Option<i64>) -> Result<()> {
        let block = part.block(number);
        let raw = std::mem::take(&mut self.raw);
        let mut scanned = self.scan.block(part.clone(), number, 0..u64::MAX, self.pool.scratch(), raw);
        if let Some(cause) = scanned.trouble.take() {
            return Err(cause);
        }
        if block.begins_inside {
            *open = open.or(Some(scanned.time_ns(0)));
        }
        if !block.unbroken {
            self.end_line(open);
        }
        if block.ends_inside {
            *open = open.or(Some(scanned.time_ns(scanned.whole.end)));
        }
        let batch = Batch::of_block(scanned);
        self.add_batch(&batch);
        self.raw = batch.raw;
        Ok(())
    }

    /// The line that goes on ends here.
    fn end_line(&mut self, open: &mut Option<i64>) {
        if let Some(time_ns) = open.take() {
            self.add(time_ns, 1);
        }
    }

    fn add(&mut self, time_ns: i64, lines: u64) {
        if self.scan.overlaps(time_ns, time_ns) {
            self.rows.add(time_ns, lines);
        }
    }

    /// The row of a time. One that is later never gives less.
    fn place(&self, time_ns: i64) -> i64 {
        match time_ns {
            time_ns if time_ns < self.scan.since_ns => i64::MIN,
            time_ns if time_ns > self.scan.until_ns => i64::MAX,
            time_ns => self.rows.place(time_ns),
        }
    }
}
