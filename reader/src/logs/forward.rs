//! One log from a place on, in order.
//!
//! Invariants: every line is given once, whole, by the block in which it begins; a line that goes over the end of a
//! block or of a part is joined. Blocks in which nothing can be wanted are not read, unless a line that is wanted ends
//! there. What cannot be read is a gap, and the lines that it tears are given as far as they are there.
//!
//! A line longer than [`LINE_BYTES_MAX`] is given in pieces.

use std::collections::VecDeque;
use std::sync::Arc;

use standpipe_common::error::Result;

use super::ahead::{Ahead, Asked, Ledger, Plan};
use super::batch::{Batch, Line};
use super::counts::Counts;
use super::log::{Log, Position};
use super::part::Part;
use super::pool::Pool;
use super::scan::{Scan, Scanned};

/// A longer line is searched, and printed, piece by piece.
pub const LINE_BYTES_MAX: usize = 8 << 20;

/// How the reading of a log goes.
pub struct Forward {
    ahead: Ahead<ForwardPlan>,
    /// A line at the end that has no newline yet is kept back.
    holds: bool,
    ready: VecDeque<Batch>,
    /// A line whose end was not read yet.
    open: Option<Line>,
    /// The line before was torn.
    torn: bool,
}

/// What is read next.
struct ForwardPlan {
    from: Option<Position>,
    number: usize,
    part: Option<Arc<Part>>,
    block: usize,
    head: Head,
    /// A line that is wanted goes on in the next block.
    inside: bool,
    reached: Option<Position>,
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

/// What is wanted of a block.
struct Share {
    head: Head,
    only_head: bool,
}

impl Plan for ForwardPlan {
    type Beside = Share;

    fn next(&mut self, ledger: &mut Ledger, log: &mut Log, pool: &mut Pool) -> Result<Option<Asked<Share>>> {
        loop {
            let Some(part) = self.part.clone() else {
                if self.number == log.parts() {
                    return Ok(None);
                }
                match log.part(self.number) {
                    Some(Ok(part)) => self.begin_part(part, ledger),
                    gone => {
                        ledger.say(gone.and_then(Result::err).map(|error| error.to_string()));
                        return Ok(Some(self.pass_part()));
                    }
                }
                continue;
            };
            if self.block == part.blocks() {
                (self.part, self.number) = (None, self.number + 1);
                let damage = part.damage();
                return Ok(Some(if part.ends_torn() { Asked::Lost(damage) } else { Asked::End(damage) }));
            }
            let number = self.block;
            let block = part.block(number);
            self.block += 1;
            let only_head = !ledger.is_in_time(&part, block, pool);
            if self.is_behind_damage(&part, block.offset) {
                (self.head, self.inside) = (Head::Torn, false);
            }
            let end = Position { part: part.name().clone(), offset: block.end() };
            debug_assert!(self.reached.as_ref().is_none_or(|reached| *reached <= end), "it goes back to {end:?}");
            self.reached = Some(end);
            if only_head && !self.inside || ledger.drops(&part, number, self.inside) {
                self.head = Head::Dropped;
                continue;
            }
            self.inside = block.ends_inside && (!only_head || block.unbroken);
            let goes_on = !only_head || self.inside;
            let head = std::mem::replace(&mut self.head, if goes_on { Head::Joins } else { Head::Dropped });
            let from = self.from.as_ref().filter(|from| from.part == *part.name()).map_or(0, |from| from.offset);
            return ledger.ask(part, number, from..u64::MAX, Share { head, only_head }, pool);
        }
    }
}

impl ForwardPlan {
    /// Whether something of `part` is missing before `offset`.
    fn is_behind_damage(&self, part: &Part, offset: u64) -> bool {
        match &self.reached {
            Some(reached) if reached.part == *part.name() => reached.offset < offset,
            _ => offset > 0 && part.begins_torn(),
        }
    }

    fn begin_part(&mut self, part: Arc<Part>, ledger: &mut Ledger) {
        let from = self.from.as_ref().filter(|from| from.part == *part.name());
        self.block = from.map_or(0, |from| part.block_at(from.offset));
        self.part = Some(part);
        ledger.begin_part();
    }

    /// Goes on behind a part that cannot be read.
    fn pass_part(&mut self) -> Asked<Share> {
        self.number += 1;
        (self.head, self.inside) = (Head::Torn, false);
        Asked::Lost(Vec::new())
    }
}

impl Forward {
    /// The log from `from` on, or from its beginning. `holds`: a line at the end without a newline is kept back.
    pub fn new(log: &Log, scan: Arc<Scan>, from: Option<Position>, ahead: usize, holds: bool) -> Forward {
        let number = from.as_ref().map_or(0, |from| log.number_of(&from.part));
        let head = if from.is_some() { Head::Dropped } else { Head::Torn };
        let reached = from.clone();
        let plan = ForwardPlan { from, number, part: None, block: 0, head, inside: false, reached };
        Forward { ahead: Ahead::new(plan, scan, ahead), holds, ready: VecDeque::new(), open: None, torn: false }
    }

    /// Asks for the first block, where that of others is waited for before it.
    pub fn begin(&mut self, log: &mut Log, pool: &mut Pool) -> Result<()> {
        self.ahead.widen();
        self.ahead.begin(log, pool)
    }

    /// The next lines; in a batch there may be none that are wanted. `None`: that was all.
    pub fn next(&mut self, log: &mut Log, pool: &mut Pool) -> Result<Option<Batch>> {
        loop {
            if let Some(batch) = self.ready.pop_front() {
                return Ok(Some(batch));
            }
            match self.ahead.next(log, pool)? {
                None => {
                    self.ahead.end_part(Vec::new());
                    return Ok(if self.holds { None } else { self.close_line() });
                }
                Some(Asked::Block(ticket, share)) => match pool.wait(ticket) {
                    Some(scanned) => self.take(scanned, share, pool),
                    None => self.torn = true,
                },
                Some(Asked::Lost(missing)) => {
                    self.give_line();
                    self.torn = true;
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

    /// Behind the last line that was given, or is not wanted, once all was read.
    pub fn end(&self) -> Option<Position> {
        let open = self.open.as_ref();
        let before = |line: &Line| Position { part: line.part.name().clone(), offset: line.start };
        open.map(before).or_else(|| self.ahead.plan().reached.clone())
    }

    /// How many blocks there were.
    pub fn counts(&self) -> Counts {
        self.ahead.counts()
    }

    fn take(&mut self, mut scanned: Scanned, Share { head, only_head }: Share, pool: &Pool) {
        if let Some(cause) = scanned.trouble.take() {
            self.give_line();
            self.ahead.note_gap(scanned.part.gap(scanned.number, cause));
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
        Batch::of_line(self.open.take()?, self.ahead.scan())
    }
}
