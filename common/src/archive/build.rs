//! Builds an index from the raw bytes of a part as they go past, frame by frame, and from its marks.
//!
//! Invariant: what is kept of a frame is its size, its lines and whether it begins or ends inside a line; never its
//! bytes.
//!
//! [`Times`] tells what an index must say of a frame; whoever checks one asks the same.
//!
//! Not here: where frames end, and the index's layout.

use super::index::{FrameIndex, Index};
use super::marks::{self, Mark};

/// Stands in for the marks of a part that has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Guess {
    /// When the part was born, nanoseconds since the epoch.
    pub birth_ns: i64,
    /// When it was last written to.
    pub last_ns: i64,
}

/// Takes the frames of a part one after the other.
pub struct IndexBuilder {
    frames: Vec<Tally>,
    begins_inside: bool,
}

/// What is counted of a frame while its bytes are at hand.
struct Tally {
    raw: u64,
    lines: u32,
    ends_inside: bool,
}

impl IndexBuilder {
    /// `begins_inside`: the part's first byte continues the last line of the part before.
    pub fn new(begins_inside: bool) -> IndexBuilder {
        IndexBuilder { frames: Vec::new(), begins_inside }
    }

    /// Counts the next frame. An empty one is none.
    pub fn frame(&mut self, raw: &[u8]) {
        if let Some(&last) = raw.last() {
            let lines = memchr::memchr_iter(b'\n', raw).count() as u32;
            self.frames.push(Tally { raw: raw.len() as u64, lines, ends_inside: last != b'\n' });
        }
    }

    /// The index, which does not say yet which part of which log it is. `guess` counts only if no mark lies inside the part.
    pub fn finish(self, marks: Vec<Mark>, guess: Guess) -> Index {
        let raw_bytes = self.frames.iter().map(|tally| tally.raw).sum();
        let marks = marks::tidy(marks, raw_bytes);
        let mut inside = self.begins_inside;
        let mut start = 0;
        let mut frames = Vec::with_capacity(self.frames.len());
        for tally in &self.frames {
            let end = start + tally.raw;
            let own =
                marks.partition_point(|mark| mark.offset < end) - marks.partition_point(|mark| mark.offset < start);
            let times = Times::between(&marks, start, end).unwrap_or(Times::guessed(guess));
            frames.push(FrameIndex {
                first_ns: times.first,
                lowest_ns: times.lowest,
                highest_ns: times.highest,
                lines: tally.lines,
                marks: own as u32,
                begins_inside: inside,
                ends_inside: tally.ends_inside,
                goes_back: times.goes_back,
            });
            inside = tally.ends_inside;
            start = end;
        }
        debug_assert_eq!(start, raw_bytes, "the frames are the part");
        debug_assert_eq!(
            frames.iter().map(|frame| frame.marks as usize).sum::<usize>(),
            marks.len(),
            "marks of no frame"
        );
        Index {
            begins_inside: self.begins_inside,
            ends_inside: inside,
            guessed: marks.is_empty(),
            raw_bytes,
            lines: self.frames.iter().map(|tally| u64::from(tally.lines)).sum(),
            base_ns: marks.first().map_or(guess.birth_ns, |mark| mark.time_ns),
            serial: None,
            frames,
            marks: marks.into(),
        }
    }
}

/// The arrival times of a frame, as a [`FrameIndex`] has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// In force at its first byte.
    pub first: i64,
    /// The lowest.
    pub lowest: i64,
    /// The highest.
    pub highest: i64,
    /// They fall somewhere.
    pub goes_back: bool,
}

impl Times {
    /// Of the bytes from `start` to before `end`: the time in force at `start` and the marks inside. `None` without marks.
    pub fn between(marks: &[Mark], start: u64, end: u64) -> Option<Times> {
        let first = marks::time_at(marks, start)?;
        let inside = marks.partition_point(|mark| mark.offset < start)..marks.partition_point(|mark| mark.offset < end);
        let mut times = Times { first, lowest: first, highest: first, goes_back: false };
        let mut previous = first;
        for mark in &marks[inside] {
            times.lowest = times.lowest.min(mark.time_ns);
            times.highest = times.highest.max(mark.time_ns);
            times.goes_back |= mark.time_ns < previous;
            previous = mark.time_ns;
        }
        Some(times)
    }

    fn guessed(guess: Guess) -> Times {
        let Guess { birth_ns, last_ns } = guess;
        Times { first: birth_ns, lowest: birth_ns.min(last_ns), highest: birth_ns.max(last_ns), goes_back: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GUESS: Guess = Guess { birth_ns: 1000, last_ns: 2000 };

    fn build(begins_inside: bool, frames: &[&str], marks: &[(u64, i64)]) -> Index {
        let mut builder = IndexBuilder::new(begins_inside);
        for raw in frames {
            builder.frame(raw.as_bytes());
        }
        builder.finish(marks.iter().map(|&(offset, time_ns)| Mark { offset, time_ns }).collect(), GUESS)
    }

    #[test]
    fn the_mark_in_force_carries_over_into_later_frames() {
        let index = build(false, &["aaaa\n", "bb\ncc\n", "dd\n"], &[(0, 10), (8, 30)]);
        let times: Vec<_> = index.frames.iter().map(|f| (f.first_ns, f.lowest_ns, f.highest_ns)).collect();
        assert_eq!(times, [(10, 10, 10), (10, 10, 30), (30, 30, 30)]);
        assert_eq!((index.raw_bytes, index.lines, index.base_ns, index.guessed), (14, 4, 10, false));
    }

    #[test]
    fn a_clock_that_goes_back_is_flagged_in_its_frame_only() {
        let index = build(false, &["a\nb\n", "c\nd\n", "e\nf\n"], &[(0, 10), (4, 20), (6, 15), (8, 5), (10, 6)]);
        let flags: Vec<_> = index.frames.iter().map(|f| (f.lowest_ns, f.highest_ns, f.goes_back)).collect();
        assert_eq!(flags, [(10, 10, false), (15, 20, true), (5, 6, false)]);
    }

    #[test]
    fn lines_that_cross_frames_and_parts_are_flagged() {
        let inside = |index: &Index| index.frames.iter().map(|f| (f.begins_inside, f.ends_inside)).collect::<Vec<_>>();
        let index = build(true, &["a\nb", "b", "b\n", "c"], &[(2, 10)]);
        assert_eq!(inside(&index), [(true, true), (true, true), (true, false), (false, true)]);
        assert_eq!((index.begins_inside, index.ends_inside, index.lines), (true, true, 2));
        let whole = build(false, &["a\n"], &[(0, 10)]);
        assert_eq!((whole.begins_inside, whole.ends_inside), (false, false));
        assert_eq!(inside(&whole), [(false, false)]);
    }

    #[test]
    fn the_end_of_a_line_before_the_first_mark_has_its_time() {
        let index = build(true, &["end\n", "a\n"], &[(4, 50)]);
        assert_eq!(index.frames[0].first_ns, 50);
        assert_eq!(index.arrival_ns(0), 50);
    }

    #[test]
    fn without_marks_times_are_guessed_and_the_guess_is_told() {
        for marks in [&[][..], &[(2, 5)]] {
            let index = build(false, &["a\n"], marks);
            let FrameIndex { first_ns, lowest_ns, highest_ns, .. } = index.frames[0];
            assert_eq!((first_ns, lowest_ns, highest_ns, index.guessed), (1000, 1000, 2000, true), "{marks:?}");
            assert_eq!((index.base_ns, index.marks.len()), (1000, 0));
        }
    }

    #[test]
    fn a_part_without_bytes_has_no_frames() {
        let index = build(false, &[""], &[]);
        assert_eq!((index.frames.len(), index.raw_bytes, index.lowest_ns()), (0, 0, None));
        assert_eq!(Index::decode(&index.encode()), Ok(index));
    }
}
