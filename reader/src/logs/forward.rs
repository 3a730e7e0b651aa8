//! One log from a place on, in order.
//!
//! Invariants: every line is given once, whole, by the block in which it begins; a line that goes over the end of a
//! block or of a part is joined. Blocks in which nothing can be wanted are not read, unless a line that is wanted ends
//! there. What cannot be read is a gap, and the lines that it tears are given as far as they are there.
//!
//! A line longer than [`LINE_BYTES_MAX`] is given in pieces.

use std::collections::VecDeque;
use std::sync::Arc;

use standpipe_common::archive::Copied;
use standpipe_common::error::Result;

use super::batch::{Batch, Line};
use super::counts::Counts;
use super::log::{Log, Position};
use super::part::Part;
use super::pool::{Job, Pool, Ticket};
use super::scan::{Scan, Scanned};
use super::sieve::Sieve;

/// A longer line is searched, and printed, piece by piece.
pub const LINE_BYTES_MAX: usize = 8 << 20;

/// How the reading of a log goes.
pub struct Forward {
    scan: Arc<Scan>,
    from: Option<Position>,
    /// Blocks that are asked for at a time.
    ahead: usize,
    /// As many now, beside the one that is used.
    width: usize,
    /// A line at the end that has no newline yet is kept back.
    holds: bool,
    plan: Plan,
    asked: VecDeque<Asked>,
    ready: VecDeque<Batch>,
    /// A line whose end was not read yet.
    open: Option<Line>,
    /// The line before was torn.
    torn: bool,
    gaps: Gaps,
}

/// What is read next.
struct Plan {
    number: usize,
    part: Option<Arc<Part>>,
    block: usize,
    sieve: Sieve,
    head: Head,
    /// A line that is wanted goes on in the next block.
    inside: bool,
    reached: Option<Position>,
    counts: Counts,
}

/// What to do with the end of a line that began in an earlier block.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Head {
    /// It is joined to its beginning.
    Joins,
    /// Its line is not wanted.
    Dropped,
    /// Its beginning is lost.
    Torn,
}

enum Asked {
    Block {
        ticket: Ticket,
        head: Head,
        only_head: bool,
    },
    /// A part that stood here cannot be read.
    Lost,
    /// So much for a part, and what is missing of it; its last line may be torn.
    End {
        damage: Vec<String>,
        torn: bool,
    },
}

/// Gaps of one part, on the way to sentences.
#[derive(Default)]
struct Gaps {
    found: Copied,
    sentences: Vec<String>,
}

impl Gaps {
    fn end_part(&mut self) {
        let found = std::mem::take(&mut self.found);
        self.sentences.extend(found.gaps.iter().map(ToString::to_string));
    }
}

impl Forward {
    /// The log from `from` on, or from its beginning. `holds`: a line at the end without a newline is kept back.
    pub fn new(log: &Log, scan: Arc<Scan>, from: Option<Position>, ahead: usize, holds: bool) -> Forward {
        let number = from.as_ref().map_or(0, |from| log.number_of(&from.part));
        let head = if from.is_some() { Head::Dropped } else { Head::Torn };
        let reached = from.clone();
        let counts = Counts::default();
        let plan = Plan { number, part: None, block: 0, sieve: Sieve::default(), head, inside: false, reached, counts };
        Forward {
            scan,
            from,
            ahead,
            width: 0,
            holds,
            plan,
            asked: VecDeque::new(),
            ready: VecDeque::new(),
            open: None,
            torn: false,
            gaps: Gaps::default(),
        }
    }

    /// Asks for the first block, where that of others is waited for before it.
    pub fn begin(&mut self, log: &mut Log, pool: &mut Pool) -> Result<()> {
        self.width = self.width.max(1);
        let first = self.plan(log, pool)?;
        self.asked.extend(first);
        Ok(())
    }

    /// The next lines; in a batch there may be none that are wanted. `None`: that was all.
    pub fn next(&mut self, log: &mut Log, pool: &mut Pool) -> Result<Option<Batch>> {
        loop {
            if let Some(batch) = self.ready.pop_front() {
                return Ok(Some(batch));
            }
            if self.asked.is_empty()
                && let Some(asked) = self.plan(log, pool)?
            {
                self.asked.push_back(asked);
            }
            let Some(asked) = self.asked.pop_front() else {
                self.gaps.end_part();
                return Ok(if self.holds { None } else { self.close_line() });
            };
            // The first block may be enough. Beside each later one others are looked through.
            while self.asked.len() < self.width {
                let Some(asked) = self.plan(log, pool)? else { break };
                self.asked.push_back(asked);
            }
            self.width = (self.width * 2).clamp(1, self.ahead);
            match asked {
                Asked::Block { ticket, head, only_head } => match pool.wait(ticket) {
                    Some(scanned) => self.take(scanned, head, only_head, pool),
                    None => self.torn = true,
                },
                Asked::Lost => {
                    self.give_line();
                    self.torn = true;
                    self.gaps.end_part();
                }
                Asked::End { damage, torn } => {
                    if torn {
                        self.give_line();
                        self.torn = true;
                    }
                    self.gaps.end_part();
                    self.gaps.sentences.extend(damage);
                }
            }
        }
    }

    /// Sentences on what could not be read, once each.
    pub fn take_sentences(&mut self) -> Vec<String> {
        std::mem::take(&mut self.gaps.sentences)
    }

    /// Behind the last line that was given, or is not wanted, once all was read.
    pub fn end(&self) -> Option<Position> {
        let open = self.open.as_ref();
        let before = |line: &Line| Position { part: line.part.name().clone(), offset: line.start };
        open.map(before).or_else(|| self.plan.reached.clone())
    }

    /// How many blocks there were.
    pub fn counts(&self) -> Counts {
        self.plan.counts
    }

    /// Asks for the next block in which something can be wanted.
    fn plan(&mut self, log: &mut Log, pool: &mut Pool) -> Result<Option<Asked>> {
        loop {
            let Some(part) = self.plan.part.clone() else {
                if self.plan.number == log.parts() {
                    return Ok(None);
                }
                match log.part(self.plan.number) {
                    Some(Ok(part)) => self.begin_part(part),
                    None => return Ok(Some(self.pass_part())),
                    Some(Err(error)) => {
                        self.gaps.sentences.push(error.to_string());
                        return Ok(Some(self.pass_part()));
                    }
                }
                continue;
            };
            if self.plan.block == part.blocks() {
                self.plan.part = None;
                self.plan.number += 1;
                let damage = part.damage();
                let torn = part.ends_torn();
                return Ok(Some(Asked::End { damage, torn }));
            }
            let number = self.plan.block;
            let block = part.block(number);
            self.plan.block += 1;
            self.plan.counts.total += 1;
            pool.pass(1.0 / part.blocks() as f64);
            if self.is_behind_damage(&part, block.offset) {
                (self.plan.head, self.plan.inside) = (Head::Torn, false);
            }
            self.plan.reached = Some(Position { part: part.name().clone(), offset: block.end() });
            let only_head = !self.scan.overlaps(block.lowest_ns, block.highest_ns);
            if only_head && !self.plan.inside {
                self.plan.head = Head::Dropped;
                continue;
            }
            self.plan.counts.wanted += 1;
            let plan = &mut self.plan;
            if !plan.inside && plan.sieve.drops(&self.scan, &part, number, &mut plan.counts) {
                plan.head = Head::Dropped;
                continue;
            }
            plan.counts.likely += 1;
            let head = self.plan.head;
            self.plan.inside = block.ends_inside && (!only_head || block.unbroken);
            self.plan.head = if only_head && !self.plan.inside { Head::Dropped } else { Head::Joins };
            let from = self.from.as_ref().filter(|from| from.part == *part.name()).map_or(0, |from| from.offset);
            let job = Job { scan: self.scan.clone(), part, number, bounds: from..u64::MAX };
            let alone = self.width == 0;
            return Ok(Some(Asked::Block { ticket: pool.ask(job, alone)?, head, only_head }));
        }
    }

    /// Whether something of `part` is missing before `offset`.
    fn is_behind_damage(&self, part: &Part, offset: u64) -> bool {
        match &self.plan.reached {
            Some(reached) if reached.part == *part.name() => reached.offset < offset,
            _ => offset > 0 && part.begins_torn(),
        }
    }

    fn begin_part(&mut self, part: Arc<Part>) {
        let from = self.from.as_ref().filter(|from| from.part == *part.name());
        self.plan.block = from.map_or(0, |from| part.block_at(from.offset));
        self.plan.part = Some(part);
        self.plan.sieve = Sieve::default();
    }

    /// Goes on behind a part that cannot be read.
    fn pass_part(&mut self) -> Asked {
        self.plan.number += 1;
        self.plan.head = Head::Torn;
        self.plan.inside = false;
        Asked::Lost
    }

    fn take(&mut self, mut scanned: Scanned, head: Head, only_head: bool, pool: &Pool) {
        if let Some(cause) = scanned.trouble.take() {
            self.give_line();
            self.gaps.found.add(scanned.part.gap(scanned.number, cause));
            self.torn = true;
            return pool.give_back(scanned.raw);
        }
        if head == Head::Torn {
            self.give_line();
        }
        let torn = std::mem::take(&mut self.torn);
        if !scanned.head().is_empty() {
            match &mut self.open {
                Some(line) => {
                    line.raw.extend_from_slice(scanned.head());
                    line.after.part = scanned.part.name().clone();
                    line.after.offset = scanned.base + scanned.whole.start as u64;
                }
                None if torn || head == Head::Torn => self.open = Some(Line::of(&scanned, 0..scanned.whole.start)),
                None => {}
            }
        }
        if let Some(line) = self.open.as_ref().filter(|line| line.is_whole() || line.raw.len() > LINE_BYTES_MAX) {
            // The next piece is given for itself.
            self.torn = !line.is_whole();
            self.give_line();
        }
        if only_head {
            return pool.give_back(scanned.raw);
        }
        if !scanned.tail().is_empty() {
            self.open = Some(Line::of(&scanned, scanned.whole.end..scanned.limit));
        }
        if scanned.timed.is_empty() {
            pool.give_back(scanned.raw);
        } else {
            self.ready.push_back(Batch::of_block(scanned));
        }
    }

    fn give_line(&mut self) {
        let line = self.close_line();
        self.ready.extend(line);
    }

    /// The open line, whole or not, if it is wanted.
    fn close_line(&mut self) -> Option<Batch> {
        Batch::of_line(self.open.take()?, &self.scan)
    }
}
