//! A source in the window: the keys of its lines, and what it counts for the others.

use memchr::memchr;

use super::Oddity;
use super::held::{Held, Line};
use crate::out::lines::{Lines, SourceId};
use crate::out::output::Standing;
use crate::out::timestamp::Parser;

/// The key of lines whose time is not known at all.
pub(super) const NO_KEY: i64 = i64::MIN;

/// What counts of a lane for the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LanePlace {
    /// It has lines, the first with this key.
    Head(i64),
    /// It has none yet.
    Behind,
    /// It has none, and may bring some.
    AtEnd,
    /// It brings none; or nobody has heard of it.
    Out,
}

/// What the inner output takes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Room {
    /// At the moment.
    Now(usize),
    /// Ever: a line that is longer goes in pieces.
    Final(usize),
}

/// Lines that may be handed on, and how many they are.
pub(super) struct Passable<'a> {
    pub lines: Lines<'a>,
    /// 0: a piece of a line.
    pub count: usize,
}

#[derive(Debug)]
pub(super) struct Lane {
    parser: Parser,
    held: Held,
    standing: Option<Standing>,
    /// Of the last line that was put and said its time.
    key: i64,
    /// The last line that was put is not at its end, or only behind the next one too a position is known.
    goes_on: bool,
    late: u64,
    backward: u64,
    /// None: the order of the file is kept.
    sorting: Option<Sorting>,
    /// It was asked at an end whether it has times, and whether it has none.
    untimed: Untimed,
}

/// Lines are gathered until there are many or all, and put in the order of their times before they count for others.
/// So those of a file are in order that are no further apart than what is held; the rest comes late.
#[derive(Clone, Copy, Debug)]
struct Sorting {
    /// How much memory is taken for that.
    bytes_max: usize,
    /// The greatest time that was put.
    top: i64,
    /// Some line has a time less than that of one before.
    is_unsorted: bool,
    /// Enough was gathered.
    is_ready: bool,
}

/// Whether a source has lines without any time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Untimed {
    /// Not known: it has no lines, or is not at its end.
    Unknown,
    /// It has; not told.
    Found,
    Told,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LineKind {
    /// With a time of its own.
    Timed,
    /// With one that is less than that of a line before.
    Backward,
    /// Without: it follows the one before.
    Follows,
    /// Without, and no line before has one.
    Untimed,
}

impl Lane {
    pub(super) fn new(parser: Parser) -> Lane {
        Lane {
            parser,
            held: Held::default(),
            standing: None,
            key: NO_KEY,
            goes_on: false,
            late: 0,
            backward: 0,
            sorting: None,
            untimed: Untimed::Unknown,
        }
    }

    /// From the start on its lines are put in order.
    pub(super) fn sorted(mut self) -> Lane {
        self.sorting = Some(Sorting { bytes_max: 0, top: NO_KEY, is_unsorted: false, is_ready: false });
        self
    }

    /// How much it is to hold; gathers no more if it has that.
    pub(super) fn gather(&mut self, bytes_max: usize) {
        let memory = self.held.memory();
        if let Some(sorting) = &mut self.sorting {
            sorting.bytes_max = bytes_max;
            if memory >= bytes_max && !std::mem::replace(&mut sorting.is_ready, true) {
                self.sort();
            }
        }
    }

    /// Whether it gathers lines before any of them counts.
    pub(super) fn gathers(&self) -> bool {
        self.sorting.is_some_and(|sorting| !sorting.is_ready)
    }

    /// Puts what is held in the order of its keys.
    fn sort(&mut self) {
        if self.sorting.as_mut().is_some_and(|sorting| std::mem::take(&mut sorting.is_unsorted)) {
            self.held.sort();
        }
    }

    pub(super) fn set_parser(&mut self, parser: Parser) {
        self.parser = parser;
    }

    pub(super) fn place(&self) -> LanePlace {
        match self.standing {
            _ if self.has_lines() && !self.gathers() => LanePlace::Head(self.head_key()),
            Some(_) if self.has_lines() => LanePlace::Behind,
            None | Some(Standing::Ended) => LanePlace::Out,
            Some(Standing::Behind) => LanePlace::Behind,
            Some(Standing::AtEnd) => LanePlace::AtEnd,
        }
    }

    pub(super) fn note(&mut self, standing: Standing) {
        // Nobody knows what stands in lines that are still to be read.
        let is_untimed = standing != Standing::Behind && self.has_lines() && self.key == NO_KEY;
        if is_untimed && self.untimed == Untimed::Unknown {
            self.untimed = Untimed::Found;
        }
        if let Some(sorting) = self.sorting.as_mut().filter(|_| standing == Standing::Ended)
            && !std::mem::replace(&mut sorting.is_ready, true)
        {
            self.sort();
        }
        self.standing = Some(standing);
    }

    /// Of its lines.
    pub(super) fn held_bytes(&self) -> usize {
        self.held.bytes()
    }

    /// The same, with what else is in memory because of them.
    pub(super) fn memory_bytes(&self) -> usize {
        self.held.memory()
    }

    pub(super) fn has_lines(&self) -> bool {
        !self.held.is_empty()
    }

    /// Of the first line. [`NO_KEY`] if there is none.
    pub(super) fn head_key(&self) -> i64 {
        self.held.head().map_or(NO_KEY, |line| line.key)
    }

    /// Whether the first line belongs to the last that went on.
    pub(super) fn goes_on(&self) -> bool {
        self.held.head().is_some_and(|line| line.kind == LineKind::Follows)
    }

    /// Whether lines of this chunk are held still.
    pub(super) fn holds(&self, chunk: u64) -> bool {
        self.held.holds(chunk)
    }

    pub(super) fn take_oddity(&mut self, source: SourceId) -> Option<Oddity> {
        let (late, backward) = (std::mem::take(&mut self.late), std::mem::take(&mut self.backward));
        let is_untimed = self.untimed == Untimed::Found;
        if is_untimed {
            self.untimed = Untimed::Told;
        }
        (late + backward > 0 || is_untimed).then_some(Oddity { source, late, backward, is_untimed })
    }

    /// Takes lines; gives the number of their chunk. `reads_times`: lines of a source of which no time is known go by
    /// the time at which they were read; else they come before all others.
    pub(super) fn put(&mut self, lines: &Lines<'_>, reads_times: bool) -> u64 {
        let untimed = if reads_times { lines.read_ns } else { NO_KEY };
        let mut split = Vec::new();
        let mut at = 0;
        while at < lines.bytes.len() {
            let rest = &lines.bytes[at..];
            let newline = memchr(b'\n', rest);
            let line = &rest[..newline.unwrap_or(rest.len())];
            let (key, kind) = self.key_of(line, lines, untimed);
            let from = at as u32;
            at += newline.map_or(rest.len(), |newline| newline + 1);
            split.push(Line { key, from, end: at as u32, kind });
            self.goes_on = newline.is_none() || lines.record.is_some_and(|record| !record.is_stop);
        }
        // What stands before the first time of a file is as old as that, if both are put at once; a batch does not ask.
        if reads_times && let Some(first) = split.iter().position(|line| line.kind != LineKind::Untimed) {
            let key = split[first].key;
            split[..first].iter_mut().for_each(|line| line.key = key);
        }
        self.standing.get_or_insert(Standing::Behind);
        split.shrink_to_fit();
        self.held.put(lines, split)
    }

    fn key_of(&mut self, line: &[u8], lines: &Lines<'_>, untimed: i64) -> (i64, LineKind) {
        let of_record = lines.record.and_then(|record| record.time);
        let found =
            if self.goes_on { None } else { of_record.or_else(|| Some(self.parser.find(line, lines.read_ns)?.time)) };
        if let (Some(time), Some(sorting)) = (found, &mut self.sorting) {
            sorting.is_unsorted |= time.ns < sorting.top;
            sorting.top = sorting.top.max(time.ns);
        }
        match found {
            Some(time) if time.ns < self.key && self.sorting.is_none() => (self.key, LineKind::Backward),
            Some(time) => {
                self.key = time.ns;
                (self.key, LineKind::Timed)
            }
            None if self.key == NO_KEY => (untimed, LineKind::Untimed),
            None => (self.key, LineKind::Follows),
        }
    }

    /// The lines that come before `limit`, the next of all others; at least the first, with what follows it.
    pub(super) fn run(&self, source: SourceId, limit: (i64, u32), room: Room) -> Option<Passable<'_>> {
        self.held.run(source, limit, room)
    }

    /// What a run had went on. `newest` is the greatest key of all that went on before; gives the key of the last.
    pub(super) fn take(&mut self, count: usize, len: usize, newest: i64) -> i64 {
        if !self.has_lines() {
            return NO_KEY;
        }
        let lines = self.held.first(count.max(1));
        let key = lines[lines.len() - 1].key;
        for line in &lines[..count] {
            self.late += u64::from(line.key < newest && line.key != NO_KEY);
            self.backward += u64::from(line.kind == LineKind::Backward);
        }
        debug_assert!(count > 0 || len > 0, "a run has lines, or a piece of one");
        self.held.take(count, len);
        let is_ended = self.standing == Some(Standing::Ended);
        let gathers_again =
            |sorting: &&mut Sorting| sorting.is_ready && !is_ended && self.held.bytes() < sorting.bytes_max / 2;
        if let Some(sorting) = self.sorting.as_mut().filter(gathers_again) {
            sorting.is_ready = false;
            self.held.compact();
        }
        key
    }
}
