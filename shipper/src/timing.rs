//! The time that each line is sent with: no two lines of a pipe have the same, and their order is that of the lines.
//!
//! A mark says when the bytes from its offset on arrived. A line has the time of its mark and one nanosecond more for each
//! byte between the two; so the same line has the same time whenever it is sent, from a segment or from its archive.
//! Where that is not later than the line before, because a clock was set back, it is the nanosecond after that line, unless
//! the clock went back by more than [`HELD_NS_MAX`]: times that were that wrong are not kept up.

use standpipe_common::archive::Mark;

/// How far a clock may go back and the times of lines still rise: a day.
pub const HELD_NS_MAX: i64 = 24 * 60 * 60 * 1_000_000_000;

/// The time of the line before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    last_ns: Option<i64>,
}

impl Timing {
    /// Behind a line of this time.
    pub fn behind(last_ns: Option<i64>) -> Timing {
        Timing { last_ns }
    }

    /// The time of the next line, which begins at `offset` of its part, under this mark.
    pub fn next(&mut self, mark: Mark, offset: u64) -> i64 {
        let told_ns = mark.time_ns.saturating_add((offset as i64).wrapping_sub(mark.offset as i64));
        let time_ns = match self.last_ns {
            Some(last_ns) if told_ns <= last_ns && last_ns.saturating_sub(told_ns) <= HELD_NS_MAX => {
                last_ns.saturating_add(1)
            }
            _ => told_ns,
        };
        let rises = |last_ns: i64| time_ns >= last_ns || last_ns.saturating_sub(time_ns) > HELD_NS_MAX;
        debug_assert!(self.last_ns.is_none_or(rises), "{time_ns} after {:?}", self.last_ns);
        self.last_ns = Some(time_ns);
        time_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: i64 = 1_795_255_200_000_000_000;

    #[test]
    fn a_line_has_the_time_of_its_mark_and_a_nanosecond_for_each_byte_behind_it() {
        let mark = Mark { offset: 1000, time_ns: T };
        for (offset, time_ns) in [(1000, T), (1001, T + 1), (5000, T + 4000), (990, T - 10)] {
            assert_eq!(Timing::default().next(mark, offset), time_ns, "{offset}");
            assert_eq!(Timing::behind(Some(T - 50)).next(mark, offset), time_ns, "{offset}, whatever was before");
        }
    }

    #[test]
    fn times_rise_where_the_clock_went_back_by_less_than_a_day() {
        for back_ns in [0, 1, 1_000_000_000, HELD_NS_MAX - 100] {
            let mut timing = Timing::behind(Some(T));
            let mark = Mark { offset: 0, time_ns: T - back_ns };
            let times: Vec<i64> = [0, 10, 20].map(|offset| timing.next(mark, offset)).to_vec();
            assert!(times.iter().is_sorted() && times[0] > T, "{back_ns}: {times:?}");
            assert_eq!(timing, Timing::behind(times.last().copied()), "a kill changes nothing");
        }
        let mut timing = Timing::behind(Some(T));
        let long_ago = Mark { offset: 0, time_ns: T - HELD_NS_MAX - 1000 };
        assert_eq!(timing.next(long_ago, 7), long_ago.time_ns + 7, "a clock that was a year ahead is not followed");
    }
}
