//! One log from its end on, backwards.
//!
//! Invariants: the same lines as forwards, each once and whole, in batches from the newest to the oldest; inside a
//! batch they stand in order. What cannot be read is passed and said as forwards.

use std::collections::VecDeque;
use std::sync::Arc;

use standpipe_common::archive::{Copied, Gap};
use standpipe_common::error::Result;

use super::batch::{Batch, Line};
use super::forward::{Counts, LINE_BYTES_MAX};
use super::log::{Log, Position};
use super::part::Part;
use super::pool::{Job, Pool, Ticket};
use super::scan::{Scan, Scanned};

/// How the reading of a log goes.
pub struct Backward {
    scan: Arc<Scan>,
    from: Option<Position>,
    until: Option<Position>,
    ahead: usize,
    /// As many now: it begins with one, since the first may be enough.
    width: usize,
    /// A line at the end that has no newline yet is left out.
    holds: bool,
    plan: Plan,
    asked: VecDeque<Asked>,
    ready: VecDeque<Batch>,
    rest: Rest,
    found: Copied,
    sentences: Vec<String>,
}

/// What is read next: the block before this one.
struct Plan {
    /// Parts that are left.
    parts: usize,
    part: Option<(usize, Arc<Part>)>,
    /// Blocks of it that are left.
    blocks: usize,
    /// The block behind the next one is asked for.
    joined: bool,
    counts: Counts,
}

enum Asked {
    Block {
        ticket: Ticket,
        /// The number of its part.
        part: usize,
        /// The block behind it was asked for just before.
        joined: bool,
    },
    Lost(Option<Gap>),
    End,
}

/// The end of a line of which the beginning was not read yet.
enum Rest {
    /// There is nothing behind: this is the end of the log.
    End,
    /// There is none: what is behind begins with a line.
    None,
    /// It is this, put together so far.
    Line(Line),
    /// It was not read, or cannot be.
    Lost,
}

impl Backward {
    /// The log between two places, or from its beginning, or to its end.
    pub fn new(
        log: &Log,
        scan: Arc<Scan>,
        bounds: (Option<Position>, Option<Position>),
        ahead: usize,
        holds: bool,
    ) -> Backward {
        let (from, until) = bounds;
        let parts =
            until.as_ref().map_or(log.parts(), |until| log.number_of(&until.part) + usize::from(log.has(&until.part)));
        let plan = Plan { parts, part: None, blocks: 0, joined: true, counts: Counts::default() };
        let rest = if until.is_some() { Rest::None } else { Rest::End };
        Backward {
            scan,
            from,
            until,
            ahead,
            width: 1,
            holds,
            plan,
            asked: VecDeque::new(),
            ready: VecDeque::new(),
            rest,
            found: Copied::default(),
            sentences: Vec::new(),
        }
    }

    /// The lines before those given last. `None`: that was all.
    pub fn next(&mut self, log: &mut Log, pool: &mut Pool) -> Result<Option<Batch>> {
        loop {
            if let Some(batch) = self.ready.pop_front() {
                return Ok(Some(batch));
            }
            while self.asked.len() < self.width {
                let Some(asked) = self.plan(log, pool)? else { break };
                self.asked.push_back(asked);
            }
            self.width = (self.width * 2).min(self.ahead);
            match self.asked.pop_front() {
                None => {
                    self.end_part();
                    let first = self.plan.parts == 0 && self.from.is_none();
                    let torn = std::mem::replace(&mut self.rest, Rest::Lost);
                    return Ok(if first { self.torn_line(torn) } else { None });
                }
                Some(Asked::Block { ticket, part, joined }) => match pool.wait(ticket) {
                    Some(scanned) => self.take(scanned, part, joined, log, pool),
                    None => self.rest = Rest::Lost,
                },
                Some(Asked::Lost(gap)) => self.lose(gap),
                Some(Asked::End) => self.end_part(),
            }
        }
    }

    /// Sentences on what could not be read, once each.
    pub fn take_sentences(&mut self) -> Vec<String> {
        std::mem::take(&mut self.sentences)
    }

    /// How many blocks there were.
    pub fn counts(&self) -> Counts {
        self.plan.counts
    }

    fn plan(&mut self, log: &mut Log, pool: &mut Pool) -> Result<Option<Asked>> {
        loop {
            let Some((part_number, part)) = self.plan.part.clone() else {
                let Some(number) = self.plan.parts.checked_sub(1) else { return Ok(None) };
                if self.from.as_ref().is_some_and(|from| *log.name_of(number) < from.part) {
                    return Ok(None);
                }
                self.plan.parts = number;
                match log.part(number) {
                    Some(Ok(part)) => {
                        let gap = self.begin_part(number, part);
                        if gap.is_some() {
                            return Ok(Some(Asked::Lost(gap)));
                        }
                    }
                    None => return Ok(Some(Asked::Lost(None))),
                    Some(Err(error)) => {
                        self.sentences.push(error.to_string());
                        return Ok(Some(Asked::Lost(None)));
                    }
                }
                continue;
            };
            let from = self.from.as_ref().filter(|from| from.part == *part.name()).map_or(0, |from| from.offset);
            let next = self.plan.blocks.checked_sub(1).filter(|number| part.block(*number).end() > from);
            let Some(number) = next else {
                self.plan.part = None;
                return Ok(Some(Asked::End));
            };
            self.plan.blocks = number;
            self.plan.counts.total += 1;
            let block = part.block(number);
            if !self.scan.overlaps(block.lowest_ns, block.highest_ns) {
                self.plan.joined = false;
                continue;
            }
            let joined = std::mem::replace(&mut self.plan.joined, true);
            self.plan.counts.wanted += 1;
            let until = self.until.as_ref().filter(|until| until.part == *part.name());
            let bounds = from..until.map_or(u64::MAX, |until| until.offset);
            let job = Job { scan: self.scan.clone(), part, number, bounds };
            let alone = self.width == 1;
            return Ok(Some(Asked::Block { ticket: pool.ask(job, alone)?, part: part_number, joined }));
        }
    }

    /// Begins with the end of a part, and gives what is missing there.
    fn begin_part(&mut self, number: usize, part: Arc<Part>) -> Option<Gap> {
        let until = self.until.as_ref().filter(|until| until.part == *part.name());
        self.plan.blocks = match until {
            Some(until) => (until.offset.checked_sub(1)).map_or(0, |last| (part.block_at(last) + 1).min(part.blocks())),
            None => part.blocks(),
        };
        let gap = if until.is_none() { part.gap_at_end() } else { None };
        self.plan.part = Some((number, part));
        gap
    }

    fn lose(&mut self, gap: Option<Gap>) {
        let torn = std::mem::replace(&mut self.rest, Rest::Lost);
        let line = self.torn_line(torn);
        self.ready.extend(line);
        if let Some(gap) = gap {
            self.found.add(gap);
        }
    }

    fn end_part(&mut self) {
        let found = std::mem::take(&mut self.found);
        self.sentences.extend(found.gaps.iter().map(ToString::to_string));
    }

    fn take(&mut self, mut scanned: Scanned, part: usize, joined: bool, log: &mut Log, pool: &mut Pool) {
        if let Some(cause) = scanned.trouble.take() {
            let gap = scanned.part.gap(scanned.number, cause);
            self.lose(Some(gap));
            return pool.give_back(scanned.raw);
        }
        if !joined {
            self.rest = Rest::Lost;
        }
        // All of it belongs to a line that began before.
        let is_middle = scanned.whole.start == scanned.limit && !scanned.head().ends_with(b"\n");
        if is_middle && !scanned.head().is_empty() {
            self.lengthen(&scanned);
            return pool.give_back(scanned.raw);
        }
        if scanned.tail().is_empty() {
            self.rest = Rest::Lost;
        } else {
            let mut line = Line::of(&scanned, scanned.whole.end..scanned.limit);
            match std::mem::replace(&mut self.rest, Rest::Lost) {
                Rest::End if self.holds => line.raw.clear(),
                Rest::Line(rest) => line.join(rest),
                Rest::Lost if !joined => finish(&mut line, part, log, pool),
                Rest::End | Rest::None | Rest::Lost => {}
            }
            let batch = self.batch_of(line);
            self.ready.extend(batch);
        }
        let has_head = !scanned.head().is_empty();
        self.rest = if has_head { Rest::Line(Line::of(&scanned, 0..scanned.whole.start)) } else { Rest::None };
        if scanned.timed.is_empty() {
            pool.give_back(scanned.raw);
        } else {
            self.ready.push_back(Batch::of_block(scanned));
        }
    }

    /// Takes a block that lies wholly inside a line.
    fn lengthen(&mut self, scanned: &Scanned) {
        let mut line = Line::of(scanned, 0..scanned.limit);
        match std::mem::replace(&mut self.rest, Rest::Lost) {
            Rest::Line(rest) => line.join(rest),
            Rest::End if self.holds => return self.rest = Rest::End,
            Rest::End | Rest::None | Rest::Lost => {}
        }
        self.rest = if line.raw.len() > LINE_BYTES_MAX {
            let batch = self.batch_of(line);
            self.ready.extend(batch);
            Rest::None
        } else {
            Rest::Line(line)
        };
    }

    /// What is left of a line whose beginning cannot be read.
    fn torn_line(&self, rest: Rest) -> Option<Batch> {
        if let Rest::Line(line) = rest { self.batch_of(line) } else { None }
    }

    fn batch_of(&self, line: Line) -> Option<Batch> {
        let in_time = !self.scan.has_times() || self.scan.overlaps(line.time_ns, line.time_ns);
        let wanted = in_time && self.scan.patterns.as_ref().is_none_or(|patterns| patterns.is_match(&line.raw));
        (in_time && !line.raw.is_empty()).then(|| Batch::of_line(line, in_time, wanted))
    }
}

/// Reads the end of a line that goes on in blocks that nobody asked for, from block to block and part to part.
fn finish(line: &mut Line, mut number: usize, log: &mut Log, pool: &mut Pool) {
    let mut part = line.part.clone();
    let mut block = line.block + 1;
    let mut raw = Vec::new();
    while !line.is_whole() && line.raw.len() <= LINE_BYTES_MAX {
        if block == part.blocks() {
            number += 1;
            if number == log.parts() {
                return;
            }
            let Some(Ok(next)) = log.part(number) else { return };
            (part, block) = (next, 0);
            continue;
        }
        if part.read(block, pool.scratch(), &mut raw).is_err() {
            return;
        }
        let end = memchr::memchr(b'\n', &raw).map_or(raw.len(), |newline| newline + 1);
        line.raw.extend_from_slice(&raw[..end]);
        line.after = Position { part: part.name().clone(), offset: part.block(block).offset + end as u64 };
        block += 1;
    }
}
