//! Which parts of a log go. Pure: what is stored and the limits go in, what is to be removed comes out, with the reason.
//!
//! Invariants: the segment that is written is not among the parts; parts go in the order of [`Going`], and oldest
//! first within it, so never a newer one before an older one of the same state; no more go than the limits ask for.

use std::fmt;
use std::time::Duration;

use standpipe_common::policy::{Floor, Keep};
use standpipe_common::units::{ByteSize, Span};

use crate::leap::is_plausible;

/// When a part's turn comes, before its age counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Going {
    /// Archives, and plain segments that stay plain.
    First,
    /// Parts that a receiver has not had all of yet.
    AfterReceivers,
    /// Archives that the hook has not had yet.
    AfterHook,
    /// Segments that wait for the archiver, and will soon be smaller.
    Last,
}

/// A sealed part.
#[derive(Clone, Copy, Debug)]
pub struct Stored {
    /// Its files on disk.
    pub bytes: u64,
    /// What its removal gives back: nothing if a file of it has another name elsewhere.
    pub frees: u64,
    /// The newest arrival in it, ns since the epoch.
    pub newest_ns: i64,
    /// When its turn comes.
    pub going: Going,
}

/// The limit that a part was removed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Because {
    /// `keep_size`
    Size(u64),
    /// `keep_files`
    Files(u64),
    /// `keep_age`
    Age(Duration),
    /// `keep_free`
    Free(Floor),
}

impl Because {
    /// The key of the limit.
    pub fn key(self) -> &'static str {
        match self {
            Because::Size(_) => "keep_size",
            Because::Files(_) => "keep_files",
            Because::Age(_) => "keep_age",
            Because::Free(_) => "keep_free",
        }
    }
}

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self.key();
        match *self {
            Because::Size(bytes) => write!(f, "{key} {}", ByteSize(bytes)),
            Because::Files(files) => write!(f, "{key} {files}"),
            Because::Age(age) => write!(f, "{key} {}", Span(age)),
            Because::Free(floor) => write!(f, "{key} {floor}"),
        }
    }
}

/// The parts of one log that its own limits take, of `stored`, oldest first. `other_bytes` count, but stay. Without
/// `now_ns`, as after a leap of the clock, nothing is too old.
pub fn plan(stored: &[Stored], other_bytes: u64, keep: &Keep, now_ns: Option<i64>) -> Vec<(usize, Because)> {
    let mut bytes = other_bytes + stored.iter().map(|part| part.bytes).sum::<u64>();
    let mut files = stored.len() as u64;
    let at_most_ns = now_ns.map_or_else(|| vec![None; stored.len()], |now_ns| newest_possible(stored, now_ns));
    let is_old = |index: usize, age: Duration| {
        now_ns.zip(at_most_ns[index]).is_some_and(|(now_ns, newest_ns)| is_older(newest_ns, age, now_ns))
    };
    let mut gone = Vec::new();
    for index in in_order(stored) {
        let because = if let Some(limit) = keep.files.at().filter(|limit| files > *limit) {
            Because::Files(limit)
        } else if let Some(limit) = keep.size.at().filter(|limit| bytes > *limit) {
            Because::Size(limit)
        } else if let Some(age) = keep.age.at().filter(|age| is_old(index, *age)) {
            Because::Age(age)
        } else {
            break;
        };
        bytes -= stored[index].bytes;
        files -= 1;
        gone.push((index, because));
    }
    debug_assert!(
        gone.is_sorted_by_key(|(index, _)| (stored[*index].going, *index)),
        "whose turn comes first goes first"
    );
    gone
}

/// One log, as far as free space is concerned.
#[derive(Clone, Debug)]
pub struct StoredLog<'a> {
    /// Its parts, oldest first.
    pub stored: &'a [Stored],
    /// Its other files.
    pub other_bytes: u64,
    /// `keep_free` in bytes, on this file system.
    pub floor_bytes: u64,
    /// `keep_min`
    pub min: u64,
}

/// The parts that free space takes, as stock and part, where `free_bytes` are free. `at_least` parts go if any can,
/// however much is free: a quota does not show.
pub fn plan_free(stocks: &[StoredLog<'_>], free_bytes: u64, at_least: usize) -> Vec<(usize, usize)> {
    let mut left: Vec<Left> = stocks.iter().map(Left::of).collect();
    let mut free = free_bytes;
    let mut gone = Vec::new();
    loop {
        let forced = gone.len() < at_least;
        let gives = |stock: usize| left[stock].can_give(&stocks[stock], free, forced);
        let Some(stock) = (0..stocks.len()).filter(|stock| gives(*stock)).max_by_key(|stock| left[*stock].bytes) else {
            return gone;
        };
        let Some(part) = left[stock].going.pop() else { return gone };
        let stored = &stocks[stock].stored[part];
        left[stock].bytes -= stored.bytes;
        left[stock].files -= 1;
        debug_assert!(stored.frees > 0 && left[stock].files >= stocks[stock].min, "it gives nothing, or is kept");
        free = free.saturating_add(stored.frees);
        gone.push((stock, part));
    }
}

/// What is left of a stock while the plan is made.
struct Left {
    bytes: u64,
    files: u64,
    /// Whose turn comes, the next one last.
    going: Vec<usize>,
}

impl Left {
    fn of(stock: &StoredLog<'_>) -> Left {
        let mut going: Vec<usize> = in_order(stock.stored);
        going.retain(|index| stock.stored[*index].frees > 0);
        going.reverse();
        let bytes = stock.other_bytes + stock.stored.iter().map(|part| part.bytes).sum::<u64>();
        Left { bytes, files: stock.stored.len() as u64, going }
    }

    fn can_give(&self, stock: &StoredLog<'_>, free: u64, forced: bool) -> bool {
        !self.going.is_empty() && self.files > stock.min && (forced || free < stock.floor_bytes)
    }
}

fn in_order(stored: &[Stored]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..stored.len()).collect();
    order.sort_by_key(|index| (stored[*index].going, *index));
    order
}

/// The newest arrival that each part can have. A time that cannot be (in the future, from before there was a clock, or
/// earlier than that of a part before) is taken to be that of the next part which has one, and `None` where there is
/// no such part yet. So a clock that was wrong for a while keeps nothing for ever and takes nothing too early.
fn newest_possible(stored: &[Stored], now_ns: i64) -> Vec<Option<i64>> {
    let mut latest = i64::MIN;
    let mut newest: Vec<Option<i64>> = Vec::with_capacity(stored.len());
    for part in stored {
        let is_possible = is_plausible(part.newest_ns, now_ns) && part.newest_ns >= latest;
        latest = if is_possible { part.newest_ns } else { latest };
        newest.push(is_possible.then_some(part.newest_ns));
    }
    for index in (1..newest.len()).rev() {
        newest[index - 1] = newest[index - 1].or(newest[index]);
    }
    debug_assert!(newest.iter().flatten().is_sorted(), "no part is newer than the next");
    newest
}

fn is_older(newest_ns: i64, age: Duration, now_ns: i64) -> bool {
    i128::from(now_ns) - i128::from(newest_ns) > age.as_nanos() as i128
}

#[cfg(test)]
mod tests {
    use super::*;
    use standpipe_common::units::Limit;

    const OFF: Keep = Keep { size: Limit::Off, files: Limit::Off, age: Limit::Off, free: Limit::Off, min: 0 };
    const SIZE: Because = Because::Size(350);
    const FILES: Because = Because::Files(2);
    const AGE: Because = Because::Age(Duration::from_secs(10));

    /// Parts of 100 bytes whose newest arrivals are that many seconds after the epoch.
    fn parts(newest: &[(i64, Going)]) -> Vec<Stored> {
        let part = |&(second, going): &(i64, Going)| Stored {
            bytes: 100,
            frees: 100,
            newest_ns: second * 1_000_000_000,
            going,
        };
        newest.iter().map(part).collect()
    }

    type Taken = &'static [(usize, usize)];
    type Gone = &'static [(usize, Because)];

    fn planned(stored: &[Stored], keep: Keep, now: i64) -> Vec<(usize, Because)> {
        plan(stored, 50, &keep, Some(now * 1_000_000_000))
    }

    fn size(bytes: u64) -> Keep {
        Keep { size: Limit::At(bytes), ..OFF }
    }

    #[test]
    fn each_limit_alone_takes_the_oldest_until_it_holds() {
        use Going::First;
        let stored = parts(&[(1, First), (2, First), (3, First), (4, First)]);
        let files = |files| Keep { files: Limit::At(files), ..OFF };
        let age = Keep { age: Limit::At(Duration::from_secs(10)), ..OFF };
        let cases: [(Keep, i64, Gone); 9] = [
            (OFF, 1000, &[]),
            (size(450), 0, &[]),
            (size(449), 0, &[(0, Because::Size(449))]),
            (size(250), 0, &[(0, Because::Size(250)), (1, Because::Size(250))]),
            (files(4), 0, &[]),
            (files(2), 0, &[(0, FILES), (1, FILES)]),
            (age, 11, &[]),
            (age, 12, &[(0, AGE)]),
            (age, 14, &[(0, AGE), (1, AGE), (2, AGE)]),
        ];
        for (keep, now, gone) in cases {
            assert_eq!(planned(&stored, keep, now), gone, "{keep:?} at {now}");
        }
        let all = planned(&stored, size(1), 0);
        assert_eq!(all.len(), 4, "what is written now counts, but stays: {all:?}");
        assert_eq!(plan(&[], u64::MAX, &size(1), None), []);
    }

    #[test]
    fn limits_together_take_until_all_hold_and_each_names_its_own() {
        use Going::First;
        let stored = parts(&[(1, First), (2, First), (3, First), (4, First), (5, First)]);
        let keep = Keep {
            size: Limit::At(350),
            files: Limit::At(2),
            age: Limit::At(Duration::from_secs(10)),
            free: Limit::At(Floor::Percent(99)),
            min: 5,
        };
        assert_eq!(planned(&stored, keep, 0), [(0, FILES), (1, FILES), (2, FILES)], "keep_min is for keep_free alone");
        let keep = Keep { files: Limit::At(4), ..keep };
        assert_eq!(planned(&stored, keep, 0), [(0, Because::Files(4)), (1, SIZE)]);
        assert_eq!(planned(&stored, keep, 14), [(0, Because::Files(4)), (1, SIZE), (2, AGE)]);
    }

    #[test]
    fn a_clock_that_was_wrong_neither_keeps_for_ever_nor_takes_the_newer_first() {
        use Going::First;
        let age = Keep { age: Limit::At(Duration::from_secs(10)), ..OFF };
        let ahead = parts(&[(1, First), (9000, First), (3, First), (4, First)]);
        assert_eq!(planned(&ahead, age, 13), [(0, AGE)]);
        assert_eq!(planned(&ahead, age, 14), [(0, AGE), (1, AGE), (2, AGE)]);
        let ahead_now = parts(&[(1, First), (9000, First)]);
        assert_eq!(planned(&ahead_now, age, 100), [(0, AGE)]);
        // A boot in 1970 within 2026, and one before it.
        let day = 1_795_255_200;
        let behind = parts(&[(5, First), (day, First), (7, First), (day + 5, First), (8, First)]);
        assert_eq!(planned(&behind, age, day + 10), []);
        assert_eq!(planned(&behind, age, day + 11), [(0, AGE), (1, AGE)]);
        assert_eq!(planned(&behind, age, day + 16), [(0, AGE), (1, AGE), (2, AGE), (3, AGE)]);
        assert_eq!(plan(&behind, 0, &age, None), [], "the clock cannot be believed");
        let files = Keep { files: Limit::At(4), ..age };
        assert_eq!(plan(&behind, 0, &files, None), [(0, Because::Files(4))]);
    }

    #[test]
    fn what_waits_for_the_hook_and_then_what_waits_for_the_archiver_goes_last() {
        use Going::{AfterHook, AfterReceivers, First, Last};
        let stored = parts(&[(1, AfterHook), (2, First), (3, AfterHook), (4, First), (5, Last)]);
        let order = |bytes| planned(&stored, size(bytes), 0).into_iter().map(|(index, _)| index).collect::<Vec<_>>();
        assert_eq!(order(450), [1]);
        assert_eq!(order(350), [1, 3]);
        assert_eq!(order(250), [1, 3, 0]);
        assert_eq!(order(50), [1, 3, 0, 2, 4]);
        let age = Keep { age: Limit::At(Duration::from_secs(10)), ..OFF };
        assert_eq!(planned(&stored, age, 13), [(1, AGE)], "another one is left that is not spared");
        let shipped = parts(&[(1, AfterHook), (2, AfterReceivers), (3, First), (4, AfterReceivers), (5, Last)]);
        let all: Vec<_> = planned(&shipped, size(50), 0).into_iter().map(|(index, _)| index).collect();
        assert_eq!(all, [2, 1, 3, 0, 4]);
        let all_wait = parts(&[(1, AfterHook), (2, AfterHook)]);
        assert_eq!(planned(&all_wait, age, 12), [(0, AGE)], "nothing else is left");
    }

    fn stock(stored: &[Stored], floor_bytes: u64, min: u64) -> StoredLog<'_> {
        StoredLog { stored, other_bytes: 0, floor_bytes, min }
    }

    #[test]
    fn free_space_is_taken_from_the_pipe_that_has_most_down_to_what_it_keeps() {
        use Going::First;
        let (many, few) = (parts(&[(1, First); 4]), parts(&[(1, First); 2]));
        let cases: [(u64, u64, u64, Taken); 6] = [
            // free, floor of both, min of both, gone
            (1000, 1000, 0, &[]),
            (999, 1000, 0, &[(0, 0)]),
            (700, 1000, 0, &[(0, 0), (0, 1), (1, 0)]),
            (0, 1000, 0, &[(0, 0), (0, 1), (1, 0), (0, 2), (1, 1), (0, 3)]),
            (0, 1000, 2, &[(0, 0), (0, 1)]),
            (0, 1000, 10, &[]),
        ];
        for (free, floor, min, gone) in cases {
            let mut planned = plan_free(&[stock(&many, floor, min), stock(&few, floor, min)], free, 0);
            // Which of two equals comes first does not matter.
            planned.sort_unstable();
            let mut gone = gone.to_vec();
            gone.sort_unstable();
            assert_eq!(planned, gone, "{free} of {floor}, {min} stay");
        }
        assert_eq!(plan_free(&[stock(&many, 0, 3), stock(&few, 1000, 1)], 0, 0), [(1, 0)], "each by its own limits");
        assert_eq!(plan_free(&[stock(&few, 0, 0)], 1000, 1), [(0, 0)], "a quota does not show");
        assert_eq!(plan_free(&[stock(&few, 0, 2)], 1000, 1), []);
    }

    #[test]
    fn what_gives_no_space_back_is_not_taken_for_it() {
        let mut stored = parts(&[(1, Going::First); 3]);
        stored[0].frees = 0;
        assert_eq!(plan_free(&[stock(&stored, 150, 0)], 0, 0), [(0, 1), (0, 2)]);
    }
}
