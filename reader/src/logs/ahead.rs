//! Blocks of one log that are asked for ahead of the one that is used, whichever way the log is read.
//!
//! Invariants: they are used in the order in which they are planned. The first may be enough, so none is asked for
//! beside it; then twice as many each time, up to a limit. What cannot be read becomes a sentence, part by part.
//!
//! Not here: which block is next and what is known of it ([`Plan`]), and what is made of the lines in it.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use standpipe_common::archive::{Copied, Gap};
use standpipe_common::error::Result;

use super::block::Block;
use super::counts::Counts;
use super::log::Log;
use super::part::Part;
use super::pool::{Job, Pool, Ticket};
use super::scan::Scan;
use super::sieve::Sieve;

/// What comes next on one way through a log.
pub trait Plan {
    /// What is known of a block beside what is in it.
    type Beside;

    /// The next block in which something can be wanted, or what stands in its place. `None`: that was all.
    fn next(&mut self, ledger: &mut Ledger, log: &mut Log, pool: &mut Pool) -> Result<Option<Asked<Self::Beside>>>;
}

/// What was planned.
pub enum Asked<B> {
    /// A block that is looked through, or will be.
    Block(Ticket, B),
    /// A part, or one end of it, cannot be read: these sentences say what is missing.
    Lost(Vec<String>),
    /// So much for a part, in which this is missing.
    End(Vec<String>),
}

/// The blocks of a log as far as they were planned: how many there were, and what of them is missing.
pub struct Ledger {
    scan: Arc<Scan>,
    /// Of the part that is planned.
    sieve: Sieve,
    counts: Counts,
    /// Of the part that is used.
    gaps: Copied,
    sentences: Vec<String>,
    /// Nothing is asked for beside the block that is planned.
    is_alone: bool,
}

impl Ledger {
    /// Another part is planned.
    pub fn begin_part(&mut self) {
        self.sieve = Sieve::default();
    }

    /// Counts a block. Whether it can have lines that arrived in time.
    pub fn is_in_time(&mut self, part: &Part, block: Block, pool: &mut Pool) -> bool {
        self.counts.total += 1;
        pool.pass(1.0 / part.blocks() as f64);
        self.scan.overlaps(block.lowest_ns, block.highest_ns)
    }

    /// Counts a block that has lines in time. Whether it need not be read all the same, which it must where `is_needed`.
    pub fn drops(&mut self, part: &Part, number: usize, is_needed: bool) -> bool {
        self.counts.wanted += 1;
        let drops = !is_needed && self.sieve.drops(&self.scan, part, number, &mut self.counts);
        self.counts.likely += u64::from(!drops);
        debug_assert!(self.counts.are_in_order(), "{:?}", self.counts);
        drops
    }

    /// Asks for a block.
    pub fn ask<B>(
        &self,
        part: Arc<Part>,
        number: usize,
        bounds: Range<u64>,
        beside: B,
        pool: &mut Pool,
    ) -> Result<Option<Asked<B>>> {
        let job = Job { scan: self.scan.clone(), part, number, bounds };
        Ok(Some(Asked::Block(pool.ask(job, self.is_alone)?, beside)))
    }

    /// What is missing is said now.
    pub fn say(&mut self, sentences: impl IntoIterator<Item = String>) {
        self.sentences.extend(sentences);
    }
}

/// A log on its way through a plan.
pub struct Ahead<P: Plan> {
    plan: P,
    ledger: Ledger,
    asked: VecDeque<Asked<P::Beside>>,
    /// Blocks that are asked for at a time, beside the one that is used.
    width: usize,
    width_max: usize,
}

impl<P: Plan> Ahead<P> {
    /// Nothing is asked for yet.
    pub fn new(plan: P, scan: Arc<Scan>, width_max: usize) -> Ahead<P> {
        let (gaps, sentences) = (Copied::default(), Vec::new());
        let ledger =
            Ledger { scan, sieve: Sieve::default(), counts: Counts::default(), gaps, sentences, is_alone: true };
        Ahead { plan, ledger, asked: VecDeque::new(), width: 0, width_max }
    }

    /// The plan, as far as it has come.
    pub fn plan(&self) -> &P {
        &self.plan
    }

    /// What is looked for.
    pub fn scan(&self) -> &Scan {
        &self.ledger.scan
    }

    /// How many blocks there were.
    pub fn counts(&self) -> Counts {
        self.ledger.counts
    }

    /// Asks for the first block, where that of others is waited for before it.
    pub fn begin(&mut self, log: &mut Log, pool: &mut Pool) -> Result<()> {
        self.ask_next(log, pool).map(drop)
    }

    /// From here on more are asked for at a time.
    pub fn widen(&mut self) {
        self.width = (self.width * 2).max(1).min(self.width_max);
        self.ledger.is_alone = self.width == 0;
    }

    /// What is used next. `None`: that was all.
    pub fn next(&mut self, log: &mut Log, pool: &mut Pool) -> Result<Option<Asked<P::Beside>>> {
        if self.asked.is_empty() {
            self.ask_next(log, pool)?;
        }
        let Some(next) = self.asked.pop_front() else { return Ok(None) };
        // Beside the first block nothing is looked through; beside each later one others are.
        while self.asked.len() < self.width && self.ask_next(log, pool)? {}
        debug_assert!(self.asked.len() <= self.width.max(1), "{} blocks ahead", self.asked.len());
        self.widen();
        Ok(Some(next))
    }

    fn ask_next(&mut self, log: &mut Log, pool: &mut Pool) -> Result<bool> {
        let next = self.plan.next(&mut self.ledger, log, pool)?;
        let is_there = next.is_some();
        self.asked.extend(next);
        Ok(is_there)
    }

    /// A block could not be read.
    pub fn note_gap(&mut self, gap: Gap) {
        self.ledger.gaps.add(gap);
    }

    /// The part that was used is at its end, where this is missing beside its gaps.
    pub fn end_part(&mut self, missing: Vec<String>) {
        let found = std::mem::take(&mut self.ledger.gaps);
        self.ledger.sentences.extend(found.gaps.iter().map(ToString::to_string));
        self.ledger.sentences.extend(missing);
    }

    /// Sentences on what could not be read, once each.
    pub fn take_sentences(&mut self) -> Vec<String> {
        std::mem::take(&mut self.ledger.sentences)
    }
}
