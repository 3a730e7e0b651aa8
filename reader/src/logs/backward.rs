//! One log from its end on, backwards.
//!
//! Invariants: the same lines as forwards, each once and whole, in batches from the newest to the oldest; inside a
//! batch they stand in order. What cannot be read is passed and said as forwards.

use std::collections::VecDeque;
use std::sync::Arc;

use standpipe_common::archive::Copied;
use standpipe_common::error::Result;

use super::batch::{Batch, Line};
use super::counts::Counts;
use super::forward::LINE_BYTES_MAX;
use super::log::{Log, Position};
use super::part::Part;
use super::pool::{Job, Pool, Ticket};
use super::scan::{Scan, Scanned};
use super::sieve::Sieve;

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
    sieve: Sieve,
    /// A line that goes on in the block that was asked for last begins before it.
    inside: bool,
    /// What stands behind the next block.
    behind: Behind,
    /// Where the block behind the next one begins, if that is in the same part.
    next_offset: Option<u64>,
    counts: Counts,
}

enum Asked {
    Block {
        ticket: Ticket,
        /// The number of its part.
        part: usize,
        behind: Behind,
    },
    /// A part that stood here cannot be read, or what is missing of one.
    Lost(Vec<String>),
    End,
}

/// What stands behind a block.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Behind {
    /// The one that was asked for just before.
    Asked,
    /// One in which nothing can be wanted.
    Passed,
    /// One that was not read either, which begins with a line.
    Apart,
    /// One that is damaged.
    Damaged,
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
        let plan = Plan {
            parts,
            part: None,
            blocks: 0,
            sieve: Sieve::default(),
            inside: false,
            behind: Behind::Asked,
            next_offset: None,
            counts: Counts::default(),
        };
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

    /// Asks for the last block, where that of others is waited for before it.
    pub fn begin(&mut self, log: &mut Log, pool: &mut Pool) -> Result<()> {
        let first = self.plan(log, pool)?;
        self.asked.extend(first);
        Ok(())
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
                Some(Asked::Block { ticket, part, behind }) => match pool.wait(ticket) {
                    Some(scanned) => self.take(scanned, part, behind, log, pool),
                    None => self.rest = Rest::Lost,
                },
                Some(Asked::Lost(damage)) => {
                    self.lose();
                    self.sentences.extend(damage);
                }
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
                        let damage = self.begin_part(number, part);
                        if !damage.is_empty() {
                            return Ok(Some(Asked::Lost(damage)));
                        }
                    }
                    None => return Ok(Some(Asked::Lost(Vec::new()))),
                    Some(Err(error)) => {
                        return Ok(Some(Asked::Lost(vec![error.to_string()])));
                    }
                }
                continue;
            };
            let from = self.from.as_ref().filter(|from| from.part == *part.name()).map_or(0, |from| from.offset);
            let next = self.plan.blocks.checked_sub(1).filter(|number| part.block(*number).end() > from);
            let Some(number) = next else {
                if part.begins_torn() {
                    self.plan.behind = Behind::Damaged;
                }
                self.plan.part = None;
                return Ok(Some(Asked::End));
            };
            self.plan.blocks = number;
            self.plan.counts.total += 1;
            pool.pass(1.0 / part.blocks() as f64);
            let block = part.block(number);
            if self.plan.next_offset.replace(block.offset).is_some_and(|next| next > block.end()) {
                self.plan.behind = Behind::Damaged;
            }
            if !self.scan.overlaps(block.lowest_ns, block.highest_ns) {
                (self.plan.behind, self.plan.inside) = (Behind::Passed, false);
                continue;
            }
            self.plan.counts.wanted += 1;
            let plan = &mut self.plan;
            let is_apart = !plan.inside && plan.behind != Behind::Damaged;
            if is_apart && plan.sieve.drops(&self.scan, &part, number, &mut plan.counts) {
                plan.behind = Behind::Apart;
                continue;
            }
            plan.counts.likely += 1;
            plan.inside = block.begins_inside;
            let behind = std::mem::replace(&mut plan.behind, Behind::Asked);
            let until = self.until.as_ref().filter(|until| until.part == *part.name());
            let bounds = from..until.map_or(u64::MAX, |until| until.offset);
            let job = Job { scan: self.scan.clone(), part, number, bounds };
            let alone = self.width == 1;
            return Ok(Some(Asked::Block { ticket: pool.ask(job, alone)?, part: part_number, behind }));
        }
    }

    /// Begins with the end of a part, and gives what is missing there.
    fn begin_part(&mut self, number: usize, part: Arc<Part>) -> Vec<String> {
        let until = self.until.as_ref().filter(|until| until.part == *part.name());
        self.plan.blocks = match until {
            Some(until) => (until.offset.checked_sub(1)).map_or(0, |last| (part.block_at(last) + 1).min(part.blocks())),
            None => part.blocks(),
        };
        let damage = part.damage();
        let ends_torn = part.ends_torn();
        self.plan.part = Some((number, part));
        self.plan.sieve = Sieve::default();
        self.plan.next_offset = None;
        if ends_torn {
            return damage;
        }
        self.sentences.extend(damage);
        Vec::new()
    }

    /// Gives what is left of a line whose beginning cannot be read.
    fn lose(&mut self) {
        let torn = std::mem::replace(&mut self.rest, Rest::Lost);
        let line = self.torn_line(torn);
        self.ready.extend(line);
    }

    fn end_part(&mut self) {
        let found = std::mem::take(&mut self.found);
        self.sentences.extend(found.gaps.iter().map(ToString::to_string));
    }

    fn take(&mut self, mut scanned: Scanned, part: usize, behind: Behind, log: &mut Log, pool: &mut Pool) {
        if let Some(cause) = scanned.trouble.take() {
            self.lose();
            self.found.add(scanned.part.gap(scanned.number, cause));
            return pool.give_back(scanned.raw);
        }
        match behind {
            Behind::Asked => {}
            Behind::Passed => self.rest = Rest::Lost,
            Behind::Apart => self.rest = Rest::None,
            Behind::Damaged => self.lose(),
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
                Rest::Lost if behind == Behind::Passed => finish(&mut line, part, log, pool),
                Rest::End | Rest::None | Rest::Lost => {}
            }
            let batch = Batch::of_line(line, &self.scan);
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
            let batch = Batch::of_line(line, &self.scan);
            self.ready.extend(batch);
            Rest::None
        } else {
            Rest::Line(line)
        };
    }

    /// What is left of a line whose beginning cannot be read.
    fn torn_line(&self, rest: Rest) -> Option<Batch> {
        if let Rest::Line(line) = rest { Batch::of_line(line, &self.scan) } else { None }
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
        let is_next = block == 0 || part.block(block - 1).end() == part.block(block).offset;
        if !is_next || part.read(block, pool.scratch(), &mut raw).is_err() {
            return;
        }
        let end = memchr::memchr(b'\n', &raw).map_or(raw.len(), |newline| newline + 1);
        line.raw.extend_from_slice(&raw[..end]);
        line.after = Position { part: part.name().clone(), offset: part.block(block).offset + end as u64 };
        block += 1;
    }
}
