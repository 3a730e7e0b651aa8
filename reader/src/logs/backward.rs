//! One log from its end on, backwards.
//!
//! Invariants: the same lines as forwards, each once and whole, in batches from the newest to the oldest; inside a
//! batch they stand in order. What cannot be read is passed and said as forwards.

use std::collections::VecDeque;
use std::sync::Arc;

use standpipe_common::error::Result;

use super::ahead::{Ahead, Asked, Ledger, Plan};
use super::batch::{Batch, Line};
use super::counts::Counts;
use super::forward::LINE_BYTES_MAX;
use super::log::{Log, Position};
use super::part::Part;
use super::pool::Pool;
use super::scan::{Scan, Scanned};

/// How the reading of a log goes.
pub struct Backward {
    ahead: Ahead<BackwardPlan>,
    /// A line at the end that has no newline yet is left out.
    holds: bool,
    ready: VecDeque<Batch>,
    rest: Rest,
}

/// What is read next: the block before this one.
struct BackwardPlan {
    from: Option<Position>,
    until: Option<Position>,
    /// Parts that are left.
    parts: usize,
    part: Option<(usize, Arc<Part>)>,
    /// Blocks of it that are left.
    blocks: usize,
    /// A line that goes on in the block that was asked for last begins before it.
    inside: bool,
    /// What stands behind the next block.
    behind: Behind,
    /// Where the block behind the next one begins, if that is in the same part.
    next_offset: Option<u64>,
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

impl Plan for BackwardPlan {
    /// The number of its part, and what stands behind it.
    type Beside = (usize, Behind);

    fn next(&mut self, ledger: &mut Ledger, log: &mut Log, pool: &mut Pool) -> Result<Option<Asked<Self::Beside>>> {
        loop {
            let Some((part_number, part)) = self.part.clone() else {
                let Some(number) = self.parts.checked_sub(1) else { return Ok(None) };
                if self.from.as_ref().is_some_and(|from| *log.name_of(number) < from.part) {
                    return Ok(None);
                }
                self.parts = number;
                match log.part(number) {
                    Some(Ok(part)) => {
                        let missing = self.begin_part(number, part, ledger);
                        if !missing.is_empty() {
                            return Ok(Some(Asked::Lost(missing)));
                        }
                    }
                    gone => {
                        let missing = gone.and_then(Result::err).map(|error| error.to_string());
                        return Ok(Some(Asked::Lost(missing.into_iter().collect())));
                    }
                }
                continue;
            };
            let from = self.from.as_ref().filter(|from| from.part == *part.name()).map_or(0, |from| from.offset);
            let next = self.blocks.checked_sub(1).filter(|number| part.block(*number).end() > from);
            let Some(number) = next else {
                if part.begins_torn() {
                    self.behind = Behind::Damaged;
                }
                self.part = None;
                return Ok(Some(Asked::End(Vec::new())));
            };
            self.blocks = number;
            let block = part.block(number);
            let is_in_time = ledger.is_in_time(&part, block, pool);
            debug_assert!(self.next_offset.is_none_or(|next| next >= block.end()), "block {number} is given again");
            if self.next_offset.replace(block.offset).is_some_and(|next| next > block.end()) {
                self.behind = Behind::Damaged;
            }
            if !is_in_time {
                (self.behind, self.inside) = (Behind::Passed, false);
                continue;
            }
            if ledger.drops(&part, number, self.inside || self.behind == Behind::Damaged) {
                self.behind = Behind::Apart;
                continue;
            }
            self.inside = block.begins_inside;
            let behind = std::mem::replace(&mut self.behind, Behind::Asked);
            let until = self.until.as_ref().filter(|until| until.part == *part.name());
            let bounds = from..until.map_or(u64::MAX, |until| until.offset);
            return ledger.ask(part, number, bounds, (part_number, behind), pool);
        }
    }
}

impl BackwardPlan {
    /// Begins with the end of a part, and gives what is missing there.
    fn begin_part(&mut self, number: usize, part: Arc<Part>, ledger: &mut Ledger) -> Vec<String> {
        let until = self.until.as_ref().filter(|until| until.part == *part.name());
        self.blocks = match until {
            Some(until) => (until.offset.checked_sub(1)).map_or(0, |last| (part.block_at(last) + 1).min(part.blocks())),
            None => part.blocks(),
        };
        let damage = part.damage();
        let ends_torn = part.ends_torn();
        self.part = Some((number, part));
        self.next_offset = None;
        ledger.begin_part();
        if ends_torn {
            return damage;
        }
        ledger.say(damage);
        Vec::new()
    }
}

impl Backward {
    /// The log between two places, or from its beginning, or to its end; at most `ahead` blocks are asked for at a time.
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
        let rest = if until.is_some() { Rest::None } else { Rest::End };
        let (behind, next_offset) = (Behind::Asked, None);
        let plan = BackwardPlan { from, until, parts, part: None, blocks: 0, inside: false, behind, next_offset };
        Backward { ahead: Ahead::new(plan, scan, ahead.saturating_sub(1)), holds, ready: VecDeque::new(), rest }
    }

    /// Asks for the last block, where that of others is waited for before it.
    pub fn begin(&mut self, log: &mut Log, pool: &mut Pool) -> Result<()> {
        self.ahead.begin(log, pool)
    }

    /// The lines before those given last. `None`: that was all.
    pub fn next(&mut self, log: &mut Log, pool: &mut Pool) -> Result<Option<Batch>> {
        loop {
            if let Some(batch) = self.ready.pop_front() {
                return Ok(Some(batch));
            }
            match self.ahead.next(log, pool)? {
                None => {
                    self.ahead.end_part(Vec::new());
                    let plan = self.ahead.plan();
                    let first = plan.parts == 0 && plan.from.is_none();
                    let torn = std::mem::replace(&mut self.rest, Rest::Lost);
                    return Ok(if first { self.torn_line(torn) } else { None });
                }
                Some(Asked::Block(ticket, (part, behind))) => match pool.wait(ticket) {
                    Some(scanned) => self.take(scanned, part, behind, log, pool),
                    None => self.rest = Rest::Lost,
                },
                Some(Asked::Lost(missing)) => {
                    self.lose();
                    self.ahead.end_part(missing);
                }
                Some(Asked::End(missing)) => self.ahead.end_part(missing),
            }
        }
    }

    /// Sentences on what could not be read, once each.
    pub fn take_sentences(&mut self) -> Vec<String> {
        self.ahead.take_sentences()
    }

    /// How many blocks there were.
    pub fn counts(&self) -> Counts {
        self.ahead.counts()
    }

    /// Gives what is left of a line whose beginning cannot be read.
    fn lose(&mut self) {
        let torn = std::mem::replace(&mut self.rest, Rest::Lost);
        let line = self.torn_line(torn);
        self.ready.extend(line);
    }

    fn take(&mut self, mut scanned: Scanned, part: usize, behind: Behind, log: &mut Log, pool: &mut Pool) {
        if let Some(cause) = scanned.trouble.take() {
            self.lose();
            self.ahead.note_gap(scanned.part.gap(scanned.number, cause));
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
            let batch = Batch::of_line(line, self.ahead.scan());
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
            let batch = Batch::of_line(line, self.ahead.scan());
            self.ready.extend(batch);
            Rest::None
        } else {
            Rest::Line(line)
        };
    }

    /// What is left of a line whose beginning cannot be read.
    fn torn_line(&self, rest: Rest) -> Option<Batch> {
        if let Rest::Line(line) = rest { Batch::of_line(line, self.ahead.scan()) } else { None }
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
