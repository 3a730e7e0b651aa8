//! The block that is being filled: which run of it came from which generation, and cutting it where a piece ends.
//!
//! The bytes themselves stand in an area of the record from the beginning; here is only what is said about them.
//! A run of what records of a file held has fewer bytes than the file: it is cut at its stops only, where a position is
//! known.

use std::time::Instant;

use super::deliver::GATHER_SPAN;
use super::record::Record;
use crate::file::guard::Guard;
use crate::file::identity::Origin;
use crate::out::lines::{End, GenerationId, Lines};

/// A run of a block that came from one generation, without a gap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Which generation.
    pub generation: GenerationId,
    /// Which life of which inode that is.
    pub origin: Origin,
    /// Where it begins in the block.
    pub begin: usize,
    /// Where its bytes of the file end in the block.
    pub file_end: usize,
    /// Where it ends: one more if a newline was added.
    pub end: usize,
    /// Where it ends in the file.
    pub offset: u64,
    /// Where it may be cut, if it is of what records held: the last of them may be behind its end. `None`: anywhere.
    pub stops: Option<Vec<Stop>>,
}

/// A place of a block at which a position of its file is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stop {
    /// In the block.
    pub end: usize,
    /// In the file.
    pub offset: u64,
    /// Of what stands before that.
    pub guard: Guard,
}

/// The runs of a block, in order, while it is being filled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Runs {
    list: Vec<Run>,
    /// The area of the record where their bytes stand: the one that has no block in flight.
    area: usize,
    /// Since when the oldest line waits there.
    since: Option<Instant>,
}

impl Runs {
    /// None yet.
    pub fn new(area: usize) -> Runs {
        Runs { area, ..Runs::default() }
    }

    /// Where their bytes stand.
    pub fn area(&self) -> usize {
        self.area
    }

    /// Bytes so far.
    pub fn bytes(&self) -> usize {
        self.list.last().map_or(0, |run| run.end)
    }

    /// How many runs.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// They wait from now on, if they do not already.
    pub fn begin_to_wait(&mut self, now: Instant) {
        if !self.is_empty() {
            self.since.get_or_insert(now);
        }
    }

    /// When they are to go at the latest. `None`: nothing waits.
    pub fn latest(&self) -> Option<Instant> {
        self.since.map(|since| since + GATHER_SPAN)
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Run> {
        self.list.iter()
    }

    /// Adds lines, with their bytes.
    pub fn put(&mut self, record: &mut Record, lines: &Lines<'_>) {
        let (at, word) = (self.bytes(), record.word());
        debug_assert!(word.area() != self.area || word.end() == 0, "the block in flight stands there");
        record.area_mut(self.area)[at..at + lines.bytes.len()].copy_from_slice(lines.bytes);
        self.add(lines);
    }

    /// Adds lines, to the last run if they go on with it.
    fn add(&mut self, lines: &Lines<'_>) {
        let begin = self.bytes();
        let end = begin + lines.bytes.len();
        let file_end = end - usize::from(lines.ends == End::Added);
        let stop = lines.record.map(|record| Stop { end, offset: lines.end, guard: record.guard });
        let is_stop = lines.record.is_some_and(|record| record.is_stop);
        match self.list.last_mut() {
            Some(Run { generation, end: last_end, file_end: last_file_end, offset, stops: Some(stops), .. })
                if *generation == lines.generation && stop.is_some() =>
            {
                (*last_file_end, *last_end, *offset) = (end, end, lines.end);
                stops.extend(stop.filter(|_| is_stop));
            }
            Some(last)
                if last.generation == lines.generation
                    && last.offset == lines.start
                    && last.file_end == last.end
                    && last.stops.is_none()
                    && stop.is_none() =>
            {
                (last.file_end, last.end, last.offset) = (file_end, end, lines.end);
            }
            _ => self.list.push(Run {
                generation: lines.generation,
                origin: lines.origin,
                begin,
                file_end: if stop.is_some() { end } else { file_end },
                end,
                offset: lines.end,
                stops: stop.map(|stop| if is_stop { vec![stop] } else { Vec::new() }),
            }),
        }
    }

    /// The last place up to `at` where a block may end; 0 if there is none.
    pub fn cut(&self, at: usize) -> usize {
        let Some(run) = self.list.iter().find(|run| run.begin < at && at <= run.end) else { return at };
        let Some(stops) = &run.stops else { return at };
        stops.iter().map(|stop| stop.end).rfind(|end| *end <= at).unwrap_or(run.begin)
    }

    /// Keeps what is before `at`, where it may be cut, and returns what is behind it, which is a block of its own then,
    /// in the other area.
    #[must_use]
    pub fn split_off(&mut self, at: usize) -> Runs {
        let bytes = self.bytes();
        let mut behind = Runs::new(1 - self.area);
        for run in self.list.iter().filter(|run| run.end > at) {
            let begin = run.begin.max(at) - at;
            let stops = run.stops.as_ref().map(|stops| {
                let later = stops.iter().filter(|stop| stop.end > at);
                later.map(|stop| Stop { end: stop.end - at, ..*stop }).collect()
            });
            behind.list.push(Run {
                begin,
                file_end: run.file_end.max(at) - at,
                end: run.end - at,
                stops,
                ..run.clone()
            });
        }
        self.list.retain(|run| run.begin < at);
        if let Some(last) = self.list.last_mut() {
            if let Some(stops) = &mut last.stops {
                stops.retain(|stop| stop.end <= at);
                last.offset = stops.last().map_or(last.offset, |stop| stop.offset);
            } else {
                last.offset -= last.file_end.saturating_sub(at) as u64;
            }
            last.file_end = last.file_end.min(at);
            last.end = last.end.min(at);
        }
        debug_assert_eq!((self.bytes(), behind.bytes()), (at, bytes - at));
        behind
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::out::lines::SourceId;

    fn lines(generation: u64, start: u64, bytes: &[u8], ends: End) -> Lines<'_> {
        let end = start + bytes.len() as u64 - u64::from(ends == End::Added);
        let generation = GenerationId(generation);
        Lines {
            source: SourceId(0),
            generation,
            origin: Origin::default(),
            start,
            end,
            bytes,
            ends,
            read_ns: 0,
            record: None,
        }
    }

    fn shape(runs: &Runs) -> Vec<(u64, usize, usize, usize, u64)> {
        runs.iter().map(|run| (run.generation.0, run.begin, run.file_end, run.end, run.offset)).collect()
    }

    #[test]
    fn lines_that_go_on_make_one_run() {
        let mut runs = Runs::default();
        runs.add(&lines(1, 100, b"a\nb\n", End::Line));
        runs.add(&lines(1, 104, b"c\n", End::Line));
        runs.add(&lines(2, 0, b"d\n", End::Line));
        // A gap: the bytes before its end are not those before it in the file.
        runs.add(&lines(2, 50, b"e\n", End::Added));
        runs.add(&lines(2, 51, b"f\n", End::Line));
        let expected = [(1, 0, 6, 6, 106), (2, 6, 8, 8, 2), (2, 8, 9, 10, 51), (2, 10, 12, 12, 53)];
        assert_eq!(shape(&runs), expected);
    }

    #[test]
    fn a_cut_knows_the_position_at_the_cut() {
        let mut runs = Runs::default();
        runs.add(&lines(1, 100, b"aa\nb\n", End::Line));
        runs.add(&lines(2, 0, b"d\ne\n", End::Added));
        for (at, before, behind) in [
            (3, vec![(1, 0, 3, 3, 103)], vec![(1, 0, 2, 2, 105), (2, 2, 5, 6, 3)]),
            (5, vec![(1, 0, 5, 5, 105)], vec![(2, 0, 3, 4, 3)]),
            (7, vec![(1, 0, 5, 5, 105), (2, 5, 7, 7, 2)], vec![(2, 0, 1, 2, 3)]),
            (9, vec![(1, 0, 5, 5, 105), (2, 5, 8, 9, 3)], vec![]),
        ] {
            let mut kept = runs.clone();
            assert_eq!(kept.cut(at), at);
            let rest = kept.split_off(at);
            assert_eq!((shape(&kept), shape(&rest)), (before, behind), "{at}");
        }
    }

    #[test]
    fn what_records_held_is_cut_where_a_position_is_known() {
        let record = |start: u64, end: u64, bytes: &'static [u8], is_stop: bool| {
            let record = crate::out::lines::Unwrapped {
                time: None,
                guard: Guard { len: end as u32, hash: 0 },
                goes_on: false,
                is_stop,
            };
            Lines { end, record: Some(record), ..lines(1, start, bytes, End::Line) }
        };
        let mut runs = Runs::default();
        runs.add(&lines(1, 0, b"plain\n", End::Line));
        runs.add(&record(6, 50, b"a\n", true));
        runs.add(&record(50, 50, b"b\n", false));
        runs.add(&record(50, 150, b"c\n", true));
        runs.add(&lines(1, 150, b"d\n", End::Line));
        assert_eq!(shape(&runs), [(1, 0, 6, 6, 6), (1, 6, 12, 12, 150), (1, 12, 14, 14, 152)]);
        for (at, cut) in [(3, 3), (6, 6), (7, 6), (8, 8), (10, 8), (12, 12), (13, 13)] {
            assert_eq!(runs.cut(at), cut, "{at}");
        }
        let rest = runs.split_off(8);
        assert_eq!(shape(&runs), [(1, 0, 6, 6, 6), (1, 6, 8, 8, 50)]);
        assert_eq!(shape(&rest), [(1, 0, 4, 4, 150), (1, 4, 6, 6, 152)]);
        assert_eq!((rest.cut(2), rest.cut(4)), (0, 4));
    }
}
