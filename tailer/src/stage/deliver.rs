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
use nix::errno::Errno;
use standpipe_common::error::Result;
use standpipe_common::shown::Shown as _;

use super::Stage;
use super::decide::Phase;
use super::gather::Runs;
use super::pieces::{self, PIECE_BYTES_MAX};
use super::record::{ENTRIES_MAX, Portion, Record};
use super::steps::{Pipes, Went};
use super::target::Found;
use crate::file::guard::Guard;
use crate::file::identity::Origin;
use crate::out::lines::{End, GenerationId, Lines, SourceId};
use crate::out::output::{Delivered, Output, Standing, Waits};

/// The longest that a line is gathered, and that a long one waits for an empty target.
const GATHER_SPAN: Duration = Duration::from_secs(1);
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
    /// Who brings the rest, as long as all others wait for it.
    awaited: Option<SourceId>,
    since: Option<Instant>,
}

impl OpenLine {
    /// What the record says of the last line.
    pub(super) fn left_in(record: &Record) -> Option<OpenLine> {
        let (origin, offset) = record.open_line()?;
        Some(OpenLine { generation: GenerationId::EARLIER, origin, offset, awaited: None, since: None })
    }
}

/// What comes after a piece of work.
enum Sequel {
    Again,
    Wait(Waits),
}

impl Output for Stage {
    fn room(&self, source: SourceId) -> usize {
        let is_held_off =
            self.held.is_some_and(|held| held != source) || self.awaited().is_some_and(|awaited| awaited != source);
        let (area, filled) = (self.file.record.area_bytes(), self.filling.bytes());
        // A little room is of no use: a line has to fit.
        if is_held_off || self.filling.len() + 1 >= ENTRIES_MAX || filled > area / 2 {
            return 0;
        }
        // A newline may come before, and one behind.
        area - filled - 1 - usize::from(self.open.is_some())
    }

    fn is_room_final(&self, _source: SourceId) -> bool {
        self.filling.is_empty()
    }

    fn put(&mut self, lines: &Lines<'_>) {
        if let Some(OpenLine { generation, origin, offset, .. }) =
            self.open.take_if(|open| !lines.go_on_from(open.origin == lines.origin))
        {
            let (start, end) = (offset, offset);
            let newline = Lines { generation, origin, start, end, bytes: b"\n", ends: End::Added, ..*lines };
            self.add(&newline);
        }
        self.add(lines);
        self.open = (lines.ends == End::Open).then_some(OpenLine {
            generation: lines.generation,
            origin: lines.origin,
            offset: lines.end,
            awaited: Some(lines.source),
            since: None,
        });
    }

    fn note(&mut self, source: SourceId, standing: Standing) {
        if standing == Standing::Ended
            && let Some(open) = self.open.as_mut().filter(|open| open.awaited == Some(source))
        {
            open.awaited = None;
        }
    }

    fn hold(&mut self, source: SourceId, is_held: bool) {
        self.held = is_held.then_some(source);
    }

    fn turn(&mut self, now: Instant, _now_ns: i64, delivered: &mut Vec<Delivered>) -> Result<Waits> {
        if self.since.is_none() && !self.filling.is_empty() {
            self.since = Some(now);
        }
        let open_until = self.wait_for_open_line(now);
        loop {
            if let Some(until) = self.connect(now) {
                return Ok(Waits { until: Some(until), writable: None });
            }
            match self.advance(now, delivered) {
                Ok(Sequel::Again) => {}
                Ok(Sequel::Wait(mut waits)) => {
                    waits.until = [waits.until, open_until].into_iter().flatten().min();
                    return Ok(waits);
                }
                Err(error) => self.lost(now, &error),
            }
        }
    }

    fn hurry(&mut self) {
        self.is_hurried = true;
    }

    fn is_empty(&self) -> bool {
        self.filling.is_empty() && self.file.record.word().phase == Phase::Idle
    }
}

impl Stage {
    fn add(&mut self, lines: &Lines<'_>) {
        let at = self.filling.bytes();
        self.file.record.area_mut(self.area)[at..at + lines.bytes.len()].copy_from_slice(lines.bytes);
        self.filling.add(lines);
    }

    /// The source whose line is not at its end, while all others wait for that.
    fn awaited(&self) -> Option<SourceId> {
        self.open?.awaited
    }

    /// Opens what is not open. Returns until when there is nothing to be done because the target cannot be opened.
    fn connect(&mut self, now: Instant) -> Option<Instant> {
        if self.target.raw_fd().is_some() {
            return None;
        }
        if let Some(until) = self.target_retry.until(now).or_else(|| self.locked_until(now)) {
            return Some(until);
        }
        if let Err(error) = self.target.open() {
            let reason = match error.errno() {
                Some(Errno::ENXIO) => "no reader or holder has it open; waiting".to_owned(),
                _ => error.to_string(),
            };
            if self.target_retry.failed(now, &reason) {
                self.said.error(reason);
            }
            return self.target_retry.until(now);
        }
        if self.target_retry.succeeded() {
            self.said.note("delivering again");
        }
        self.find_stage(now);
        self.locked_until(now)
    }

    /// When it is looked again whether somebody else still has the lock of the staging pipe. Until then the target is
    /// not open: two that deliver would mix.
    fn locked_until(&self, now: Instant) -> Option<Instant> {
        self.pipe_retry.until(now).filter(|_| self.target.is_locked_out())
    }

    /// Looks for the staging pipe. Whether another one, or none that can be used, is there now.
    fn find_stage(&mut self, now: Instant) -> bool {
        let before = self.target.stage();
        if before.is_none() && self.pipe_retry.until(now).is_some() {
            return false;
        }
        let was_locked_out = self.target.is_locked_out();
        match self.target.find_stage() {
            Ok(Found::Same) => {}
            Ok(Found::Opened { path, is_held }) => {
                let was_told = self.pipe_retry.succeeded();
                if was_locked_out {
                    self.said.note("delivering again");
                }
                if !is_held {
                    let path = path.shown();
                    self.said.warning(format!("no holder has {path} open: a crash may repeat what is in it"));
                } else if was_told && !was_locked_out {
                    self.said.note(format!("{} exists now: a crash no longer repeats lines", path.shown()));
                }
            }
            Ok(Found::Missing(path)) => {
                let reason = format!(
                    "{} does not exist: a crash may repeat a few lines; set `stage = true` in the policy of this pipe so \
                     that holder creates it",
                    path.shown()
                );
                if self.pipe_retry.failed(now, &reason) {
                    self.said.warning(reason);
                }
            }
            Err(error) => {
                let is_locked_out = self.target.is_locked_out();
                let what_comes = if is_locked_out { "waiting" } else { "a crash may repeat a few lines" };
                let reason = format!("{error}; {what_comes}");
                if self.pipe_retry.failed(now, &reason) {
                    self.said.error(reason);
                }
                if is_locked_out {
                    self.target.close();
                    return true;
                }
            }
        }
        self.target.stage() != before
    }

    fn advance(&mut self, now: Instant, delivered: &mut Vec<Delivered>) -> io::Result<Sequel> {
        if let Some(until) = self.wait_for_empty_target(now)? {
            return Ok(Sequel::Wait(Waits { until: Some(until), writable: None }));
        }
        match self.steps.step(&mut self.file.record, &mut self.target, &mut self.said)? {
            Went::On => Ok(Sequel::Again),
            Went::Delivered => {
                self.is_recovering = false;
                self.delivered += std::mem::take(&mut self.flying) as u64;
                let done = self.in_flight.drain(..);
                delivered.extend(done.map(|(generation, offset)| Delivered { generation, offset }));
                Ok(Sequel::Again)
            }
            Went::Full if self.target.is_current() => {
                Ok(Sequel::Wait(Waits { until: Some(now + LOOK_SPAN), writable: self.target.raw_fd() }))
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
        let Some(since) = self.since else { return Ok(Sequel::Wait(Waits::default())) };
        let bytes = self.filling.cut(self.due(now, since)?);
        if bytes == 0 {
            let until = (now + ASK_SPAN).min(since + GATHER_SPAN);
            return Ok(Sequel::Wait(Waits { until: Some(until), writable: None }));
        }
        if !self.target.is_current() {
            self.target.close();
            return Ok(Sequel::Again);
        }
        if self.find_stage(now) {
            return Ok(Sequel::Again);
        }
        let mut runs = self.filling.clone();
        let rest = runs.split_off(bytes);
        let Some(entries) = self.entries(&runs, now) else {
            return Ok(Sequel::Wait(Waits { until: self.record_retry.until(now), writable: None }));
        };
        let record = &mut self.file.record;
        let other = 1 - self.area;
        record.copy(self.area, bytes..bytes + rest.bytes(), other);
        self.steps.begin(record, &mut self.target, self.area, &entries)?;
        self.begins_inside = self.ends_inside;
        self.ends_inside = record.block().last() != Some(&b'\n');
        self.flying = runs.bytes();
        self.in_flight = runs.iter().map(|run| (run.generation, run.offset)).collect();
        self.since = (!rest.is_empty()).then_some(now);
        self.filling = rest;
        self.area = other;
        Ok(Sequel::Again)
    }

    /// How many bytes of what was gathered are to go now.
    fn due(&self, now: Instant, since: Instant) -> io::Result<usize> {
        let all = self.filling.bytes();
        let must = self.is_hurried || self.filling.len() >= ENTRIES_MAX || now >= since + GATHER_SPAN;
        if must || self.target.queued()? == 0 {
            return Ok(all);
        }
        Ok(pieces::full(self.file.record.area(self.area, all)))
    }

    /// What the record is to say of these runs. `None`: it has no room for their positions.
    fn entries(&mut self, runs: &Runs, now: Instant) -> Option<Vec<Portion>> {
        if self.record_retry.until(now).is_some() {
            return None;
        }
        let mut entries = Vec::with_capacity(runs.len());
        for run in runs.iter() {
            let slot = match self.slots.get(&run.origin) {
                Some(slot) => *slot,
                None => self.take_slot(run.origin, now)?,
            };
            if let Some(stops) = &run.stops {
                // The bytes of the file are others: its head is not known by them.
                let stop = stops.last().filter(|stop| stop.end == run.end).expect("a block ends at a stop");
                entries.push(Portion { slot, end: run.end, offset: stop.offset, guard: stop.guard });
                continue;
            }
            let bytes = &self.file.record.area(self.area, run.file_end)[run.begin..];
            // Of a newline alone that was added nothing is to be known: what was known before holds.
            let before = self.file.record.position(slot).filter(|_| bytes.is_empty());
            let guard = before.map_or(Guard::of_end(bytes), |before| before.guard);
            if let Some(head) = self.heads.add(slot, run.offset - bytes.len() as u64, bytes) {
                self.file.record.store_head(slot, head);
            }
            entries.push(Portion { slot, end: run.end, offset: run.offset, guard });
        }
        Some(entries)
    }

    fn take_slot(&mut self, origin: Origin, now: Instant) -> Option<usize> {
        loop {
            if let Some(slot) = self.file.record.take_slot(origin) {
                self.slots.insert(origin, slot);
                self.record_retry.succeeded();
                return Some(slot);
            }
            if let Err(error) = self.file.grow() {
                if self.record_retry.failed(now, &error.to_string()) {
                    self.said.error(format!("{error}; waiting"));
                }
                return None;
            }
        }
    }

    /// Until when the long line that comes next waits for the target to be empty.
    fn wait_for_empty_target(&mut self, now: Instant) -> io::Result<Option<Instant>> {
        let record = &self.file.record;
        let word = record.word();
        let (at, upto) = match word.phase {
            Phase::Moving if record.moved() == word.from => (word.from, word.upto),
            Phase::Direct => (record.moved(), word.end),
            _ => (0, 0),
        };
        let block = record.block();
        let is_at_start = if at == 0 { !self.begins_inside } else { block[at - 1] == b'\n' };
        let is_waiting = upto - at > PIECE_BYTES_MAX && is_at_start && pieces::is_long(&block[at..upto]);
        if !is_waiting || self.target.queued()? == 0 {
            self.long_until = None;
            return Ok(None);
        }
        let until = *self.long_until.get_or_insert(now + GATHER_SPAN);
        Ok((now < until && !self.is_hurried).then(|| until.min(now + ASK_SPAN)))
    }

    /// The target was replaced while a block was moving into it: the new one gets the rest, in whole lines.
    fn leave_replaced(&mut self) -> io::Result<()> {
        let record = &mut self.file.record;
        let (word, moved) = (record.word(), record.moved());
        let line_start = memrchr(b'\n', &record.block()[..moved]).map_or(0, |last| last + 1);
        if line_start < moved {
            self.said.note("it was replaced inside a line; sending the line again to the new one");
            match word.phase {
                Phase::Moving => self.steps.resend(record, &mut self.target, line_start)?,
                _ => record.store_moved(line_start),
            }
        }
        self.target.close();
        Ok(())
    }

    /// A step failed.
    fn lost(&mut self, now: Instant, error: &io::Error) {
        let errno = error.raw_os_error().map(Errno::from_raw);
        if errno == Some(Errno::EINTR) {
            return;
        }
        if errno.is_none() && self.target.stage().is_some() {
            // Our own sentence about a staging pipe that does not work.
            let reason = format!("cannot use the staging pipe: {error}; a crash may repeat a few lines");
            if self.pipe_retry.failed(now, &reason) {
                self.said.error(reason);
            }
            self.target.close_stage();
            return;
        }
        let reason = match errno {
            Some(Errno::EPIPE | Errno::ENXIO) => "no reader or holder has it open; waiting".to_owned(),
            Some(errno) => format!("cannot deliver: {}; retrying", errno.desc()),
            None => format!("cannot deliver: {error}; retrying"),
        };
        if self.target_retry.failed(now, &reason) {
            self.said.error(reason);
        }
        self.target.close();
    }

    /// Until when other sources wait for the rest of a line.
    fn wait_for_open_line(&mut self, now: Instant) -> Option<Instant> {
        // Who holds all others off goes on when there is room.
        let open = self.open.as_mut().filter(|open| open.awaited.is_some() && self.held != open.awaited)?;
        let until = *open.since.get_or_insert(now) + OPEN_SPAN;
        if now < until {
            return Some(until);
        }
        open.awaited = None;
        self.said.warning("a long line is unfinished; lines of other sources may come before its end");
        None
    }
}
