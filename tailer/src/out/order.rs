//! The window: puts lines of several sources in the order of their times, before another output.
//!
//! A line comes out when no other source can bring an earlier one: each has a line that is not earlier, or will bring
//! none (`Ended`), or was read to its end while some line has waited for the window. So a line waits for about the
//! window where no source is behind; and for one interval more where sources are polled, so that each was looked at
//! meanwhile. What is older than what came out already is late: it comes out at once, and is counted.
//!
//! Invariants:
//! - lines of one source keep their order: the key of a line is its time, but never less than the key before it; a line
//!   without a time has the key of the line before and follows it immediately, so a record of several lines stays whole
//!   (where lines of one source are sorted as well, the key is the time, and records keep their order);
//! - equal keys come out by source, then in the order of the file;
//! - nothing gets between the pieces of a line that is longer than what can be held;
//! - a batch knows no clock: a source counts by its lines and by its end alone, so the same files give the same order;
//! - it cannot be stuck: whom all wait for is either behind, has nothing held and therefore room, or is waited for no
//!   longer than the window.
//!
//! A source counts from the first that is heard of it: [`Output::note`] it before the first line of any is put.
//! Not here: what lines look like, and what is delivered; the inner output tells that.

mod held;
mod lane;

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use jiff::tz::TimeZone;
use standpipe_common::error::Result;

use crate::out::lines::{End, Lines, SourceId};
use crate::out::output::{Delivered, Outlet, Output, Standing, Waits};
use crate::out::timestamp::{Format, Parser};

use lane::{Lane, NO_KEY};

/// Most bytes that are held of one source.
const HELD_BYTES_MAX: usize = 1 << 20;
/// Most bytes that are held of one source where there are very many.
const HELD_BYTES_MIN: usize = 64 << 10;
/// What they share.
const SHARED_BYTES: usize = 64 << 20;
/// What lines share that are put in order within their sources, with what is noted of each: so much memory is taken,
/// and half of it again while what went on is cleared away.
const SORTED_BYTES: usize = 128 << 20;
/// Room behind that, so that any line fits that is not given in pieces.
const SORTED_ROOM: usize = 2 << 20;

/// What a source brought that is out of order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Oddity {
    /// Which source.
    pub source: SourceId,
    /// Lines that came out behind later ones of other sources.
    pub late: u64,
    /// Lines that stand behind later ones in their own file.
    pub backward: u64,
    /// It was read to its end, and none of its lines has a time. Said once.
    pub is_untimed: bool,
}

/// Until when a line waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// For so long, while sources are read to their ends; and for an interval of polling, if there is one.
    Window(Duration),
    /// For ever: until each source has a line or has ended.
    Batch,
    /// The same, and lines of one source are put in order as well: as many as can be held of them.
    Sorted,
}

impl Patience {
    fn is_batch(self) -> bool {
        !matches!(self, Patience::Window(_))
    }
}

/// Puts lines in order before they reach `O`.
#[derive(Debug)]
pub struct Window<O> {
    inner: O,
    patience: Patience,
    /// How long it may take until a source is looked at again.
    interval: Duration,
    zone: TimeZone,
    lanes: Vec<Lane>,
    /// Lanes with lines, by the key of their first.
    heads: BTreeSet<(i64, u32)>,
    /// Lanes without lines that will bring some; that may bring some.
    behind: usize,
    at_end: usize,
    /// What was put and when, oldest first: source, number of its chunk, read time.
    arrivals: VecDeque<(u32, u64, i64)>,
    /// The greatest key that came out.
    newest: i64,
    /// The source of what came out last, and how that ends.
    last: Option<(u32, End)>,
    is_hurried: bool,
}

/// A key and its source.
type Before = (i64, u32);

/// Less than any.
const NOTHING_MORE: Before = (i64::MIN, 0);

/// What may come out next.
enum Upcoming {
    /// Lines of this source: the first, and what is less than the key.
    Of(u32, Before),
    /// Nothing before this read time is so long ago as the window.
    Wait(i64),
    /// Nothing before something is put or noted.
    Nothing,
}

impl<O: Outlet> Window<O> {
    /// `zone`: that of times in lines that name none.
    pub fn new(inner: O, patience: Patience, zone: TimeZone) -> Window<O> {
        Window {
            inner,
            patience,
            interval: Duration::ZERO,
            zone,
            lanes: Vec::new(),
            heads: BTreeSet::new(),
            behind: 0,
            at_end: 0,
            arrivals: VecDeque::new(),
            newest: NO_KEY,
            last: None,
            is_hurried: false,
        }
    }

    /// Tells what times of a source look like. To be called before its first line.
    pub fn add(&mut self, source: SourceId, format: Format) {
        let parser = Parser::new(format, self.zone.clone());
        self.lane(source).set_parser(parser);
    }

    /// Some source is looked at only so often. From now on lines wait so much longer.
    pub fn allow_for(&mut self, interval: Duration) {
        self.interval = self.interval.max(interval);
    }

    /// The output behind it.
    pub fn inner(&mut self) -> &mut O {
        &mut self.inner
    }

    /// What was out of order since the last time this was asked.
    pub fn take_oddities(&mut self) -> Vec<Oddity> {
        let lanes = self.lanes.iter_mut().enumerate();
        lanes.filter_map(|(index, lane)| lane.take_oddity(SourceId(index as u32))).collect()
    }

    /// How much of one source is put in order at once.
    fn sorted_share(&self) -> usize {
        (SORTED_BYTES / self.lanes.len().max(1)).max(HELD_BYTES_MIN)
    }

    fn lane(&mut self, source: SourceId) -> &mut Lane {
        let index = source.0 as usize;
        while self.lanes.len() <= index {
            let lane = Lane::new(Parser::new(Format::Auto, self.zone.clone()));
            self.lanes.push(if self.patience == Patience::Sorted { lane.sorted() } else { lane });
        }
        &mut self.lanes[index]
    }

    /// Runs a change of a lane, and keeps what is known of all lanes in step with it.
    fn change<T>(&mut self, source: SourceId, change: impl FnOnce(&mut Lane) -> T) -> T {
        let before = self.lane(source).place();
        let result = change(self.lane(source));
        let after = self.lane(source).place();
        if before != after {
            self.count(before, source.0, false);
            self.count(after, source.0, true);
        }
        result
    }

    fn count(&mut self, place: lane::LanePlace, source: u32, is_there: bool) {
        let step = |count: &mut usize| if is_there { *count += 1 } else { *count -= 1 };
        match place {
            lane::LanePlace::Head(key) if is_there => drop(self.heads.insert((key, source))),
            lane::LanePlace::Head(key) => drop(self.heads.remove(&(key, source))),
            lane::LanePlace::Behind => step(&mut self.behind),
            lane::LanePlace::AtEnd => step(&mut self.at_end),
            lane::LanePlace::Out => {}
        }
    }

    /// Decides what may come out. `now_ns`: never less than the read time of a line.
    fn next(&mut self, now_ns: i64) -> Upcoming {
        let Some(&(key, first)) = self.heads.first() else { return Upcoming::Nothing };
        if let Some((last, ends)) = self.last {
            let (lane, is_open) = (&self.lanes[last as usize], ends == End::Open);
            if lane.has_lines() && (is_open || lane.goes_on()) {
                return Upcoming::Of(last, NOTHING_MORE);
            }
            // A source that ended inside its line brings no more of it.
            if is_open && !self.is_hurried && lane.place() != lane::LanePlace::Out {
                return Upcoming::Nothing;
            }
        }
        // Whatever the source that comes out brings, it is not to overtake the next of the others.
        let limit = self.heads.iter().nth(1).copied().unwrap_or((i64::MAX, u32::MAX));
        if self.is_hurried || self.behind + self.at_end == 0 {
            return Upcoming::Of(first, limit);
        }
        if key < self.newest && key != NO_KEY {
            return Upcoming::Of(first, limit.min((self.newest, 0)));
        }
        let Patience::Window(window) = self.patience else { return Upcoming::Nothing };
        if self.behind > 0 {
            return Upcoming::Nothing;
        }
        let wait_ns = (window + self.interval).as_nanos() as i64;
        let due_ns = self.oldest_ns().unwrap_or(i64::MIN).saturating_add(wait_ns);
        if now_ns >= due_ns { Upcoming::Of(first, limit) } else { Upcoming::Wait(due_ns) }
    }

    /// When the line that waits longest was read. Forgets what went on.
    fn oldest_ns(&mut self) -> Option<i64> {
        while let Some(&(source, chunk, read_ns)) = self.arrivals.front() {
            if self.lanes[source as usize].holds(chunk) {
                return Some(read_ns);
            }
            self.arrivals.pop_front();
        }
        None
    }

    /// Gives lines of one source to the inner output: as many as come before those of all others, at once. False: it
    /// has no room.
    fn hand_on(&mut self, source: u32, limit: Before) -> bool {
        let id = SourceId(source);
        let room = self.inner.room(id);
        let room = if self.inner.is_room_final(id) { lane::Room::Final(room) } else { lane::Room::Now(room) };
        let Some(run) = self.lanes[source as usize].run(id, limit, room) else { return false };
        let lines = run.lines;
        self.inner.put(&lines);
        self.last = Some((source, lines.ends));
        let (count, len) = (run.count, lines.bytes.len());
        let newest = self.newest;
        let last_key = self.change(id, |lane| lane.take(count, len, newest));
        debug_assert!(self.heads.len() + self.behind + self.at_end <= self.lanes.len(), "a lane counts once");
        self.newest = self.newest.max(last_key);
        true
    }
}

impl<O: Outlet> Output for Window<O> {
    fn room(&self, source: SourceId) -> usize {
        if self.patience == Patience::Sorted {
            let lane = self.lanes.get(source.0 as usize);
            let (held, gathers) = lane.map_or((0, true), |lane| (lane.memory_bytes(), lane.gathers()));
            return if gathers { (self.sorted_share() + SORTED_ROOM).saturating_sub(held) } else { 0 };
        }
        let share = (SHARED_BYTES / self.lanes.len().max(1)).clamp(HELD_BYTES_MIN, HELD_BYTES_MAX);
        let held = self.lanes.get(source.0 as usize).map_or(0, Lane::held_bytes);
        // A little room is of no use: a line has to fit.
        if held > share / 2 { 0 } else { share - held }
    }

    fn is_room_final(&self, source: SourceId) -> bool {
        // What others hold takes nothing from it; and they may hold it until this source brings its line.
        self.lanes.get(source.0 as usize).is_none_or(|lane| !lane.has_lines())
    }

    fn put(&mut self, lines: &Lines<'_>) {
        let reads_times = !self.patience.is_batch();
        let share = self.sorted_share();
        let chunk = self.change(lines.source, |lane| {
            let chunk = lane.put(lines, reads_times);
            lane.gather(share);
            chunk
        });
        if reads_times {
            self.oldest_ns();
            self.arrivals.push_back((lines.source.0, chunk, lines.read_ns));
        }
    }

    fn note(&mut self, source: SourceId, standing: Standing) {
        self.change(source, |lane| lane.note(standing));
        self.inner.note(source, standing);
    }
}

impl<O: Outlet> Outlet for Window<O> {
    fn hold(&mut self, source: SourceId, is_held: bool) {
        self.inner.hold(source, is_held);
    }

    fn turn(&mut self, now: Instant, now_ns: i64, delivered: &mut Vec<Delivered>) -> Result<Waits> {
        loop {
            let mut has_moved = false;
            let mut until = None;
            loop {
                match self.next(now_ns) {
                    Upcoming::Of(source, limit) if self.hand_on(source, limit) => has_moved = true,
                    Upcoming::Of(..) | Upcoming::Nothing => break,
                    Upcoming::Wait(due_ns) => {
                        until = Some(now + Duration::from_nanos(due_ns.saturating_sub(now_ns) as u64));
                        break;
                    }
                }
            }
            let waits = self.inner.turn(now, now_ns, delivered)?;
            if !has_moved {
                let until = [until, waits.until].into_iter().flatten().min();
                return Ok(Waits { until, ..waits });
            }
        }
    }

    fn hurry(&mut self) {
        self.is_hurried = true;
        self.inner.hurry();
    }

    fn is_empty(&self) -> bool {
        let is_gathering = self.patience == Patience::Sorted && self.lanes.iter().any(Lane::has_lines);
        self.heads.is_empty() && !is_gathering && self.inner.is_empty()
    }
}

#[cfg(test)]
mod tests;
