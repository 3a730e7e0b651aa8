//! What the window holds of one source: lines in the order of the file, each with its key; or in that of their keys, see
//! [`Sorting`].

use std::collections::VecDeque;

use memchr::memchr;

use super::Oddity;
use crate::lines::{End, GenerationId, Lines, SourceId};
use crate::output::Standing;
use crate::timestamp::Parser;

/// The key of lines whose time is not known at all.
pub(super) const NO_KEY: i64 = i64::MIN;

/// What counts of a lane for the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
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
pub(super) struct Run<'a> {
    pub lines: Lines<'a>,
    /// 0: a piece of a line.
    pub count: usize,
}

#[derive(Debug)]
pub(super) struct Lane {
    parser: Parser,
    chunks: VecDeque<Chunk>,
    /// Number of the first of `chunks`.
    first_chunk: u64,
    held_bytes: usize,
    standing: Option<Standing>,
    /// Of the last line that was put and said its time.
    key: i64,
    /// Whether the last line that was put is not at its end.
    is_open: bool,
    /// The next line belongs with it: only behind both a position is known.
    is_grouped: bool,
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
    /// How many bytes are gathered.
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

/// What was put at once.
#[derive(Debug)]
struct Chunk {
    bytes: Vec<u8>,
    lines: Vec<Line>,
    /// How many of `lines`, and of `bytes`, went on.
    gone: usize,
    gone_bytes: usize,
    /// All but `bytes` as it was put.
    frame: Lines<'static>,
}

#[derive(Clone, Copy, Debug)]
struct Line {
    key: i64,
    /// Behind its newline, in the bytes of the chunk.
    end: u32,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
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
            chunks: VecDeque::new(),
            first_chunk: 0,
            held_bytes: 0,
            standing: None,
            key: NO_KEY,
            is_open: false,
            is_grouped: false,
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

    /// How many bytes it is to hold; gathers no more if it has them.
    pub(super) fn gather(&mut self, bytes_max: usize) {
        let held_bytes = self.held_bytes;
        if let Some(sorting) = &mut self.sorting {
            sorting.bytes_max = bytes_max;
            if held_bytes >= bytes_max && !std::mem::replace(&mut sorting.is_ready, true) {
                self.sort();
            }
        }
    }

    /// Whether it gathers lines before any of them counts.
    pub(super) fn gathers(&self) -> bool {
        self.sorting.is_some_and(|sorting| !sorting.is_ready)
    }

    /// Puts what is held in the order of its keys. Lines with the same key keep theirs, so records stay whole.
    fn sort(&mut self) {
        if !self.sorting.as_mut().is_some_and(|sorting| std::mem::take(&mut sorting.is_unsorted)) {
            return;
        }
        let mut order: Vec<(i64, usize, usize)> = Vec::new();
        for (index, chunk) in self.chunks.iter().enumerate() {
            order.extend((chunk.gone..chunk.lines.len()).map(|line| (chunk.lines[line].key, index, line)));
        }
        order.sort_by_key(|(key, ..)| *key);
        let follows = |one: &(i64, usize, usize), next: &(i64, usize, usize)| one.1 == next.1 && one.2 + 1 == next.2;
        let runs = order.chunk_by(follows);
        let mut chunks: VecDeque<Chunk> = runs.map(|run| self.chunks[run[0].1].part(run[0].2, run.len())).collect();
        self.first_chunk += self.chunks.len() as u64;
        set_safe_ends(&mut chunks);
        self.chunks = chunks;
    }

    pub(super) fn set_parser(&mut self, parser: Parser) {
        self.parser = parser;
    }

    pub(super) fn place(&self) -> Place {
        match self.standing {
            _ if self.has_lines() && !self.gathers() => Place::Head(self.head_key()),
            Some(_) if self.has_lines() => Place::Behind,
            None | Some(Standing::Ended) => Place::Out,
            Some(Standing::Behind) => Place::Behind,
            Some(Standing::AtEnd) => Place::AtEnd,
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

    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    pub(super) fn has_lines(&self) -> bool {
        !self.chunks.is_empty()
    }

    /// Of the first line. [`NO_KEY`] if there is none.
    pub(super) fn head_key(&self) -> i64 {
        self.head().map_or(NO_KEY, |line| line.key)
    }

    /// Whether the first line belongs to the last that went on.
    pub(super) fn goes_on(&self) -> bool {
        self.head().is_some_and(|line| line.kind == Kind::Follows)
    }

    /// Whether lines of this chunk are held still.
    pub(super) fn holds(&self, chunk: u64) -> bool {
        chunk >= self.first_chunk
    }

    pub(super) fn take_oddity(&mut self, source: SourceId) -> Option<Oddity> {
        let (late, backward) = (std::mem::take(&mut self.late), std::mem::take(&mut self.backward));
        let is_untimed = self.untimed == Untimed::Found;
        if is_untimed {
            self.untimed = Untimed::Told;
        }
        (late + backward > 0 || is_untimed).then_some(Oddity { source, late, backward, is_untimed })
    }

    fn head(&self) -> Option<Line> {
        self.chunks.front().map(|chunk| chunk.lines[chunk.gone])
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
            at += newline.map_or(rest.len(), |newline| newline + 1);
            split.push(Line { key, end: at as u32, kind });
            self.is_open = newline.is_none();
            self.is_grouped = lines.record.is_some_and(|record| !record.is_stop);
        }
        // What stands before the first time of a file is as old as that, if both are put at once; a batch does not ask.
        if reads_times && let Some(first) = split.iter().position(|line| line.kind != Kind::Untimed) {
            let key = split[first].key;
            split[..first].iter_mut().for_each(|line| line.key = key);
        }
        self.standing.get_or_insert(Standing::Behind);
        self.held_bytes += lines.bytes.len();
        let frame = Lines { bytes: &[], ..*lines };
        self.chunks.push_back(Chunk { bytes: lines.bytes.to_vec(), lines: split, gone: 0, gone_bytes: 0, frame });
        self.first_chunk + self.chunks.len() as u64 - 1
    }

    fn key_of(&mut self, line: &[u8], lines: &Lines<'_>, untimed: i64) -> (i64, Kind) {
        let of_record = lines.record.and_then(|record| record.time);
        let found = if self.is_open || self.is_grouped {
            None
        } else {
            of_record.or_else(|| Some(self.parser.find(line, lines.read_ns)?.time))
        };
        match found {
            Some(time) if self.sorting.is_some() => {
                if let Some(sorting) = &mut self.sorting {
                    sorting.is_unsorted |= time.ns < sorting.top;
                    sorting.top = sorting.top.max(time.ns);
                }
                self.key = time.ns;
                (self.key, Kind::Timed)
            }
            Some(time) if time.ns < self.key => (self.key, Kind::Backward),
            Some(time) => {
                self.key = time.ns;
                (self.key, Kind::Timed)
            }
            None if self.key == NO_KEY => (untimed, Kind::Untimed),
            None => (self.key, Kind::Follows),
        }
    }

    /// The lines that come before `limit`, the next of all others; at least the first, with what follows it.
    pub(super) fn run(&self, source: SourceId, limit: (i64, u32), room: Room) -> Option<Run<'_>> {
        let chunk = self.chunks.front()?;
        let from = chunk.gone_bytes;
        let (Room::Now(bytes_max) | Room::Final(bytes_max)) = room;
        let mut count = 0;
        for (index, line) in chunk.lines[chunk.gone..].iter().enumerate() {
            let is_before = index == 0 || line.kind == Kind::Follows || (line.key, source.0) < limit;
            if !is_before || line.end as usize - from > bytes_max + chunk.added(line) {
                break;
            }
            count += 1;
        }
        match room {
            _ if count > 0 => {
                Some(Run { lines: chunk.lines(from, chunk.lines[chunk.gone + count - 1].end as usize), count })
            }
            Room::Final(bytes_max) if bytes_max > 0 => {
                Some(Run { lines: chunk.lines(from, from + bytes_max), count: 0 })
            }
            _ => None,
        }
    }

    /// What a run had went on. `newest` is the greatest key of all that went on before; gives the key of the last.
    pub(super) fn take(&mut self, count: usize, len: usize, newest: i64) -> i64 {
        let Some(chunk) = self.chunks.front_mut() else { return NO_KEY };
        let lines = &chunk.lines[chunk.gone..chunk.gone + count.max(1)];
        let key = lines[lines.len() - 1].key;
        for line in &lines[..count] {
            self.late += u64::from(line.key < newest && line.key != NO_KEY);
            self.backward += u64::from(line.kind == Kind::Backward);
        }
        chunk.gone += count;
        chunk.gone_bytes += len;
        self.held_bytes -= len;
        if let Some(sorting) = &mut self.sorting {
            sorting.is_ready &= self.standing == Some(Standing::Ended) || self.held_bytes >= sorting.bytes_max / 2;
        }
        if chunk.gone == chunk.lines.len() {
            self.chunks.pop_front();
            self.first_chunk += 1;
        }
        key
    }
}

impl Chunk {
    /// 1 for a last line whose newline was added.
    fn added(&self, line: &Line) -> usize {
        usize::from(self.frame.ends == End::Added && line.end as usize == self.bytes.len())
    }

    /// The bytes from one place to another, as lines of their file.
    fn lines(&self, from: usize, to: usize) -> Lines<'_> {
        let is_last = to == self.bytes.len();
        let ends = match self.frame.ends {
            ends if is_last => ends,
            _ if self.bytes[to - 1] == b'\n' => End::Line,
            _ => End::Open,
        };
        // Of what was put in order, its own end may be before it: there the first stands that comes later.
        let end = if is_last { self.frame.end } else { self.frame.end.min(self.frame.start + to as u64) };
        Lines { start: self.frame.start + from as u64, end, bytes: &self.bytes[from..to], ends, ..self.frame }
    }
    /// Some of its lines as a chunk.
    fn part(&self, line: usize, count: usize) -> Chunk {
        let from = line.checked_sub(1).map_or(0, |before| self.lines[before].end as usize);
        let to = self.lines[line + count - 1].end as usize;
        let frame = Lines { bytes: &[], ..self.lines(from, to) };
        let lines = self.lines[line..line + count].iter().map(|line| Line { end: line.end - from as u32, ..*line });
        Chunk { bytes: self.bytes[from..to].to_vec(), lines: lines.collect(), gone: 0, gone_bytes: 0, frame }
    }
}

/// Of chunks in another order than that of their files: each ends for a checkpoint where the first begins that comes
/// after it, for what stands before that is delivered then.
fn set_safe_ends(chunks: &mut VecDeque<Chunk>) {
    // By generation: how far it was read, and the least start of those that come later.
    let mut generations: Vec<(GenerationId, u64)> = Vec::new();
    for chunk in chunks.iter() {
        match generations.iter_mut().find(|(generation, _)| *generation == chunk.frame.generation) {
            Some((_, end)) => *end = chunk.frame.end.max(*end),
            None => generations.push((chunk.frame.generation, chunk.frame.end)),
        }
    }
    for chunk in chunks.iter_mut().rev() {
        if let Some((_, safe)) = generations.iter_mut().find(|(generation, _)| *generation == chunk.frame.generation) {
            chunk.frame.end = *safe;
            *safe = chunk.frame.start.min(*safe);
        }
    }
}
