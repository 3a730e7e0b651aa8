//! When the steps are taken: the stage as an output.
//!
//! Lines are *gathered* before they go: a page of a pipe takes one piece, however small, so single lines would fill the
//! target at 3 % of its bytes. A block goes when the target is empty, or with all its pieces that nothing can be added
//! to, or when its oldest line has waited a second. Nobody says when a pipe becomes empty, so while lines wait it is
//! asked every 2 ms.
//! A line that is longer than a piece waits up to a second for an empty target; the parts of a line that is longer than
//! a block follow each other with nothing of another source in between, unless its source left, or brings nothing for 10 s,
//! or an earlier run delivered the beginning. Whatever comes then begins a line: a newline of ours goes before it.
//! A target that nobody reads, or that is not there, is tried again and again; the block stays where it is.

use std::io;
use std::time::{Duration, Instant};

use memchr::memrchr;
use standpipe_common::error::Result;

use super::decide::BlockPhase;
use super::pieces::{self, PIECE_BYTES_MAX};
use super::record::{ENTRIES_MAX, Record};
use super::steps::Went;
use super::{InFlight, Stage};
use crate::file::identity::Origin;
use crate::out::lines::{End, GenerationId, Lines, SourceId};
use crate::out::output::{Delivered, Outlet, Output, Standing, Waits};

/// The longest that a line is gathered, and that a long one waits for an empty target.
pub(super) const GATHER_SPAN: Duration = Duration::from_secs(1);
/// How often a pipe is asked whether it is empty.
const ASK_SPAN: Duration = Duration::from_millis(2);
/// How often it is looked whether a full target was replaced.
const LOOK_SPAN: Duration = Duration::from_secs(1);
/// How long other sources wait for the rest of a line that was begun.
const OPEN_SPAN: Duration = Duration::from_secs(10);

/// A line whose beginning is on its way or delivered, and whose end was not put yet.
#[derive(Clone, Copy, Debug)]
pub struct OpenLine {
    generation: GenerationId,
    origin: Origin,
    /// Where it goes on in its file.
    offset: u64,
    /// Since when all others wait for its rest.
    since: Option<Instant>,
}

impl OpenLine {
    /// What the record says of the last line.
    pub(super) fn left_in(record: &Record) -> Option<OpenLine> {
        let (origin, offset) = record.open_line()?;
        Some(OpenLine { generation: GenerationId::EARLIER, origin, offset, since: None })
    }
}

/// What comes after a piece of work.
enum Sequel {
    Again,
    Wait(Waits),
}

impl Sequel {
    fn wait_until(until: Option<Instant>) -> Sequel {
        Sequel::Wait(Waits { until, writable: None })
    }
}

impl Output for Stage {
    fn room(&self, source: SourceId) -> usize {
        let (area, filled) = (self.positions.record().area_bytes(), self.gathered.bytes());
        // A little room is of no use: a line has to fit.
        if self.way.keeps_off(source) || self.gathered.len() + 1 >= ENTRIES_MAX || filled > area / 2 {
            return 0;
        }
        // A newline may come before, and one behind.
        area - filled - 1 - usize::from(self.open.is_some())
    }

    fn is_room_final(&self, _source: SourceId) -> bool {
        self.gathered.is_empty()
    }

    fn put(&mut self, lines: &Lines<'_>) {
        let record = self.positions.record_mut();
        if let Some(OpenLine { generation, origin, offset, .. }) =
            self.open.take_if(|open| !lines.go_on_from(open.origin == lines.origin))
        {
            let (start, end) = (offset, offset);
            let newline = Lines { generation, origin, start, end, bytes: b"\n", ends: End::Added, ..*lines };
            self.gathered.put(record, &newline);
        }
        self.gathered.put(record, lines);
        let Lines { generation, origin, end: offset, .. } = *lines;
        let is_open = lines.ends == End::Open;
        self.open = is_open.then_some(OpenLine { generation, origin, offset, since: None });
        self.way.await_end(is_open.then_some(lines.source));
    }

    fn note(&mut self, source: SourceId, standing: Standing) {
        self.way.note(source, standing);
    }
}

impl Outlet for Stage {
    fn hold(&mut self, source: SourceId, is_held: bool) {
        self.way.hold(source, is_held);
    }

    fn turn(&mut self, now: Instant, _now_ns: i64, delivered: &mut Vec<Delivered>) -> Result<Waits> {
        self.gathered.begin_to_wait(now);
        let open_until = self.wait_for_open_line(now);
        loop {
            if let Some(until) = self.reach.connect(&mut self.said, now) {
                return Ok(Waits { until: Some(until), writable: None });
            }
            match self.advance(now, delivered) {
                Ok(Sequel::Again) => {}
                Ok(Sequel::Wait(mut waits)) => {
                    waits.until = [waits.until, open_until].into_iter().flatten().min();
                    return Ok(waits);
                }
                Err(error) => self.reach.lost(&mut self.said, now, &error),
            }
        }
    }

    fn hurry(&mut self) {
        self.is_hurried = true;
    }

    fn is_empty(&self) -> bool {
        self.gathered.is_empty() && self.positions.record().word().phase() == BlockPhase::Idle
    }
}

impl Stage {
    fn advance(&mut self, now: Instant, delivered: &mut Vec<Delivered>) -> io::Result<Sequel> {
        if let until @ Some(_) = self.wait_for_empty_target(now)? {
            return Ok(Sequel::wait_until(until));
        }
        let target = &mut self.reach.target;
        match self.steps.step(self.positions.record_mut(), target, &mut self.said)? {
            Went::On => Ok(Sequel::Again),
            Went::Delivered => {
                if let Some(InFlight { bytes, mut delivers }) = self.in_flight.take() {
                    self.delivered += bytes as u64;
                    delivered.append(&mut delivers);
                }
                Ok(Sequel::Again)
            }
            Went::Full if target.is_current() => {
                Ok(Sequel::Wait(Waits { until: Some(now + LOOK_SPAN), writable: target.raw_fd() }))
            }
            Went::Full => {
                self.leave_replaced()?;
                Ok(Sequel::Again)
            }
            Went::Rest => self.next_block(now),
        }
    }

    /// Puts the next block in flight, if one is due.
    fn next_block(&mut self, now: Instant) -> io::Result<Sequel> {
        debug_assert!(self.in_flight.is_none(), "there is one block in flight at most");
        let Some(latest) = self.gathered.latest() else { return Ok(Sequel::wait_until(None)) };
        let bytes = self.due(now, latest)?;
        if bytes == 0 {
            return Ok(Sequel::wait_until(Some(latest.min(now + ASK_SPAN))));
        }
        if !self.reach.target.is_current() {
            self.reach.target.close();
            return Ok(Sequel::Again);
        }
        if self.reach.find_stage(&mut self.said, now) {
            return Ok(Sequel::Again);
        }
        let mut block = self.gathered.clone();
        let mut rest = block.split_off(bytes);
        let entries = match self.positions.entries(&block, &mut self.said, now) {
            Ok(entries) => entries,
            Err(until) => return Ok(Sequel::wait_until(until)),
        };
        let record = self.positions.record_mut();
        record.copy(block.area(), bytes..bytes + rest.bytes(), rest.area());
        self.steps.begin(record, &mut self.reach.target, block.area(), &entries)?;
        let delivers = block.iter().map(|run| Delivered { generation: run.generation, offset: run.offset }).collect();
        self.in_flight = Some(InFlight { bytes: block.bytes(), delivers });
        rest.begin_to_wait(now);
        self.gathered = rest;
        Ok(Sequel::Again)
    }

    /// How many bytes of what was gathered are to go now; all at the latest at that moment.
    fn due(&self, now: Instant, latest: Instant) -> io::Result<usize> {
        let all = self.gathered.bytes();
        let must = self.is_hurried || self.gathered.len() >= ENTRIES_MAX || now >= latest;
        let due = if must || self.reach.target.queued()? == 0 {
            all
        } else {
            pieces::full(self.positions.record().area(self.gathered.area(), all))
        };
        Ok(self.gathered.cut(due))
    }

    /// Until when the long line that comes next waits for the target to be empty.
    fn wait_for_empty_target(&mut self, now: Instant) -> io::Result<Option<Instant>> {
        let record = self.positions.record();
        let word = record.word();
        let (at, upto) = match word.phase() {
            BlockPhase::Moving if record.moved() == word.from() => (word.from(), word.upto()),
            BlockPhase::Direct => (record.moved(), word.end()),
            _ => (0, 0),
        };
        let block = record.block();
        let is_at_start = if at == 0 { !record.begins_inside() } else { block[at - 1] == b'\n' };
        let is_waiting = upto - at > PIECE_BYTES_MAX && is_at_start && pieces::is_long(&block[at..upto]);
        if !is_waiting || self.reach.target.queued()? == 0 {
            self.long_until = None;
            return Ok(None);
        }
        let until = *self.long_until.get_or_insert(now + GATHER_SPAN);
        Ok((now < until && !self.is_hurried).then(|| until.min(now + ASK_SPAN)))
    }

    /// The target was replaced while a block was moving into it: the new one gets the rest, in whole lines.
    fn leave_replaced(&mut self) -> io::Result<()> {
        let record = self.positions.record_mut();
        let (word, moved) = (record.word(), record.moved());
        let line_start = memrchr(b'\n', &record.block()[..moved]).map_or(0, |last| last + 1);
        if line_start < moved {
            self.said.note("it was replaced inside a line; sending the line again to the new one");
            match word.phase() {
                BlockPhase::Moving => self.steps.resend(record, &mut self.reach.target, line_start)?,
                _ => record.store_moved(line_start),
            }
        }
        self.reach.target.close();
        Ok(())
    }

    /// Until when other sources wait for the rest of a line.
    fn wait_for_open_line(&mut self, now: Instant) -> Option<Instant> {
        // Who holds all others off goes on when there is room.
        let open = self.open.as_mut().filter(|_| self.way.is_for_an_end())?;
        let until = *open.since.get_or_insert(now) + OPEN_SPAN;
        if now < until {
            return Some(until);
        }
        self.way.await_end(None);
        self.said.warning("a long line is unfinished; lines of other sources may come before its end");
        None
    }
}
