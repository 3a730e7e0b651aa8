//! Several logs as one, by the time of arrival.
//!
//! Invariants: the lines of one log keep their order, whatever its clock did; of lines that arrived at the same time
//! those of the log named first come first. Backwards it is the same order turned round.

use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;

use standpipe_common::error::Result;

use super::backward::Backward;
use super::batch::{Batch, Chunk, Walk};
use super::context::Context;
use super::counts::Counts;
use super::forward::Forward;
use super::log::{Log, Position};
use super::pool::Pool;
use super::scan::Scan;

/// Blocks that are asked for at a time, beside as many as there are threads.
const AHEAD: usize = 2;

/// Which way a log is read.
enum Way {
    Forward(Forward),
    Backward(Backward),
}

/// A log that is being read.
pub struct Source {
    way: Way,
    context: Option<Context>,
    /// Lines before it only stand around others.
    matches_from: Option<Position>,
    batches: VecDeque<Batch>,
    batch: Option<Batch>,
    /// Of the batch, what comes next,
    next: Option<Chunk>,
    /// how far it was taken forwards,
    walk: Walk,
    /// or what is left of it backwards.
    left: Vec<Chunk>,
}

impl Source {
    /// A log on its way forwards.
    pub fn forward(forward: Forward, context: Option<Context>, matches_from: Option<Position>) -> Source {
        Source::new(Way::Forward(forward), context, matches_from)
    }

    /// A log on its way backwards.
    pub fn backward(backward: Backward) -> Source {
        Source::new(Way::Backward(backward), None, None)
    }

    fn new(way: Way, context: Option<Context>, matches_from: Option<Position>) -> Source {
        Source {
            way,
            context,
            matches_from,
            batches: VecDeque::new(),
            batch: None,
            next: None,
            walk: Walk::default(),
            left: Vec::new(),
        }
    }

    /// The lines that are next.
    pub fn batch(&self) -> &Batch {
        self.batch.as_ref().expect("there are lines that are next")
    }

    /// Behind the last line that was given, or is not wanted, once all was read forwards.
    pub fn end(&self) -> Option<Position> {
        match &self.way {
            Way::Forward(forward) => forward.end(),
            Way::Backward(_) => None,
        }
    }

    /// How many blocks there were.
    pub fn counts(&self) -> Counts {
        match &self.way {
            Way::Forward(forward) => forward.counts(),
            Way::Backward(backward) => backward.counts(),
        }
    }

    fn begin(&mut self, log: &mut Log, pool: &mut Pool) -> Result<()> {
        match &mut self.way {
            Way::Forward(forward) => forward.begin(log, pool),
            Way::Backward(backward) => backward.begin(log, pool),
        }
    }

    fn take_sentences(&mut self) -> Vec<String> {
        match &mut self.way {
            Way::Forward(forward) => forward.take_sentences(),
            Way::Backward(backward) => backward.take_sentences(),
        }
    }

    /// When the lines arrived that are next. `None`: that was all.
    fn look(&mut self, log: &mut Log, pool: &mut Pool) -> Result<Option<i64>> {
        while self.next.is_none() {
            self.next = match (&self.way, &self.batch) {
                (Way::Forward(_), Some(batch)) => batch.next_chunk(&mut self.walk),
                (Way::Backward(_), _) => self.left.pop(),
                _ => None,
            };
            debug_assert!(self.next.as_ref().is_none_or(|next| !next.run.range.is_empty()), "lines without a byte");
            if self.next.is_some() {
                break;
            }
            if let Some(old) = self.batch.take() {
                pool.give_back(old.raw);
            }
            let batch = if let Some(batch) = self.batches.pop_front() {
                batch
            } else {
                let next = match &mut self.way {
                    Way::Forward(forward) => forward.next(log, pool)?,
                    Way::Backward(backward) => backward.next(log, pool)?,
                };
                let Some(mut batch) = next else { return Ok(None) };
                if let Some(from) = &self.matches_from {
                    batch.forget_before(from);
                }
                if let Some(context) = &mut self.context {
                    self.batches = context.around(batch).into();
                    continue;
                }
                batch
            };
            self.walk = Walk::default();
            if let Way::Backward(_) = self.way {
                self.left = batch.chunks().collect();
            }
            self.batch = Some(batch);
        }
        Ok(self.next.as_ref().map(|chunk| chunk.time_ns))
    }
}

/// Logs that are read as one.
pub struct Merge {
    sources: Vec<Source>,
    frontier: Frontier,
    /// Whose lines were given last: what it has next is looked at when more is wanted. `None`: nothing was given yet.
    last: Option<usize>,
}

/// Of the logs that have more, the times of their next lines: the largest key is the first. Forwards a key is turned round.
struct Frontier {
    keys: BinaryHeap<(i64, usize)>,
    is_backward: bool,
}

impl Frontier {
    fn new(is_backward: bool) -> Frontier {
        Frontier { keys: BinaryHeap::new(), is_backward }
    }

    /// Of a log's next lines, or back from it.
    fn key(is_backward: bool, (time_ns, number): (i64, usize)) -> (i64, usize) {
        if is_backward { (time_ns, number) } else { (!time_ns, !number) }
    }

    fn push(&mut self, time_ns: i64, number: usize) {
        debug_assert!(
            self.keys.iter().all(|key| Frontier::key(self.is_backward, *key).1 != number),
            "log {number} twice"
        );
        self.keys.push(Frontier::key(self.is_backward, (time_ns, number)));
    }

    fn pop(&mut self) -> Option<usize> {
        self.keys.pop().map(|key| Frontier::key(self.is_backward, key).1)
    }

    /// Which of them comes first, if this one does not, which then takes its place.
    fn swap(&mut self, time_ns: i64, number: usize) -> usize {
        let key = Frontier::key(self.is_backward, (time_ns, number));
        let Some(mut first) = self.keys.peek_mut().filter(|first| **first > key) else { return number };
        Frontier::key(self.is_backward, std::mem::replace(&mut *first, key)).1
    }
}

/// Sentences on what could not be read.
pub type Sentences = Vec<String>;

impl Merge {
    /// All of them forwards.
    pub fn forward(sources: Vec<Source>) -> Merge {
        Merge { sources, frontier: Frontier::new(false), last: None }
    }

    /// All of them backwards.
    pub fn backward(sources: Vec<Source>) -> Merge {
        Merge { sources, frontier: Frontier::new(true), last: None }
    }

    /// Lines that arrived at one time, and the number of their log. `None`: that was all.
    pub fn next(
        &mut self,
        logs: &mut [Log],
        pool: &mut Pool,
        sentences: &mut Sentences,
    ) -> Result<Option<(usize, Chunk)>> {
        match self.last {
            None => {
                if self.sources.len() > 1 {
                    for (source, log) in self.sources.iter_mut().zip(&mut *logs) {
                        source.begin(log, pool)?;
                    }
                }
                for number in 0..self.sources.len() {
                    if let Some(time_ns) = self.look(number, logs, pool, sentences)? {
                        self.frontier.push(time_ns, number);
                    }
                }
            }
            Some(number) => {
                if let Some(time_ns) = self.look(number, logs, pool, sentences)? {
                    let next = self.frontier.swap(time_ns, number);
                    return Ok(Some(self.give(next)));
                }
            }
        }
        let next = self.frontier.pop();
        Ok(next.map(|number| self.give(number)))
    }

    fn give(&mut self, number: usize) -> (usize, Chunk) {
        self.last = Some(number);
        (number, self.sources[number].next.take().expect("it has just been looked at"))
    }

    fn look(&mut self, number: usize, logs: &mut [Log], pool: &mut Pool, said: &mut Sentences) -> Result<Option<i64>> {
        let source = &mut self.sources[number];
        if let Some(chunk) = &source.next {
            return Ok(Some(chunk.time_ns));
        }
        let time_ns = source.look(&mut logs[number], pool);
        said.extend(source.take_sentences());
        time_ns
    }

    /// A log that is read.
    pub fn source(&self, number: usize) -> &Source {
        &self.sources[number]
    }

    /// How many blocks there were in all of them.
    pub fn counts(&self) -> Counts {
        self.sources.iter().map(Source::counts).fold(Counts::default(), Counts::plus)
    }
}

/// How many blocks of one of several logs are asked for at a time.
pub fn ahead(logs: usize, pool: &Pool) -> usize {
    match (logs, pool.threads()) {
        (_, 1) => 1,
        (1, threads) => threads + AHEAD,
        // One is looked through while another is printed.
        _ => 1,
    }
}

/// Where the last `count` lines of all logs begin in each of them. `None` for a log of which all is among them.
pub fn starts_of_last(
    count: u64,
    logs: &mut [Log],
    froms: &[Option<Position>],
    scan: &Arc<Scan>,
    holds: bool,
    pool: &mut Pool,
) -> Result<(Vec<Option<Position>>, Counts)> {
    let many = logs.len();
    let ahead = ahead(many, pool);
    let sources = logs
        .iter()
        .zip(froms)
        .map(|(log, from)| Source::backward(Backward::new(log, scan.clone(), (from.clone(), None), ahead, holds)));
    let mut merge = Merge::backward(sources.collect());
    let mut starts: Vec<Option<Position>> = vec![None; many];
    let mut left = count;
    // Trouble is told when it is met on the way that prints.
    let mut untold = Sentences::new();
    while left > 0 {
        let Some((number, chunk)) = merge.next(logs, pool, &mut untold)? else {
            return Ok((froms.to_vec(), merge.counts()));
        };
        let batch = merge.source(number).batch();
        let most = usize::try_from(left).unwrap_or(usize::MAX);
        let (start, found) = super::batch::last_lines(&batch.raw, chunk.run.range, most);
        starts[number] = Some(batch.before(start));
        left -= found as u64;
    }
    for (number, start) in starts.iter_mut().enumerate() {
        if start.is_none() {
            *start = logs[number].end(holds, pool.scratch())?;
        }
    }
    Ok((starts, merge.counts()))
}
