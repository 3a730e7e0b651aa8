//! Whose turn it is among lanes that want the same thread: whoever has been due longest.
//!
//! The rule of the archiver, of the syncer and of the hooks: the lane whose time is earliest is first, and among equal
//! times the one that was put in first. A turn is one step (one part archived, synced or handed over); a lane that has
//! more to do is put back with the time at which that step ended, behind all who were due before. So a lane waits for
//! at most one step of each other lane, whatever its name and however much the others have.
//!
//! Invariants: a lane is in here once, under its earliest time; `order` and `entries` hold the same lanes.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::time::Duration;

/// How often a test clock is looked at by whoever waits for a time of it.
pub const TEST_CLOCK_SPAN: Duration = Duration::from_millis(10);

/// Lanes, each with the time from which it is due. `T` is a clock's time: an `Instant`, or nanoseconds.
#[derive(Debug)]
pub struct DueQueue<T> {
    entries: BTreeMap<OsString, (T, u64)>,
    order: BTreeSet<(T, u64, OsString)>,
    /// How many were put in so far: who came first among equal times.
    count: u64,
}

impl<T: Ord + Copy> Default for DueQueue<T> {
    fn default() -> DueQueue<T> {
        DueQueue { entries: BTreeMap::new(), order: BTreeSet::new(), count: 0 }
    }
}

impl<T: Ord + Copy> DueQueue<T> {
    /// A lane is due from `at` on. One that is in here for an earlier time, or the same, keeps its place.
    pub fn put(&mut self, lane: &OsStr, at: T) {
        if self.entries.get(lane).is_some_and(|(due, _)| *due <= at) {
            return;
        }
        self.remove(lane);
        self.entries.insert(lane.to_owned(), (at, self.count));
        self.order.insert((at, self.count, lane.to_owned()));
        self.count += 1;
        debug_assert_eq!(self.entries.len(), self.order.len());
    }

    /// The first lane that is due by `now`, with the time from which it was. It is in here no more.
    pub fn take(&mut self, now: T) -> Option<(OsString, T)> {
        if self.next_at()? > now {
            return None;
        }
        let (at, _, lane) = self.order.pop_first()?;
        let entry = self.entries.remove(&lane);
        debug_assert!(entry.is_some_and(|(due, _)| due == at));
        Some((lane, at))
    }

    /// Whoever is due later than `at` is due from then on, in the same order: for a clock that was set back.
    pub fn hasten(&mut self, at: T) {
        let lanes: Vec<OsString> = self.order.iter().map(|(_, _, lane)| lane.clone()).collect();
        for lane in lanes {
            self.put(&lane, at);
        }
    }

    /// A lane is due no more.
    pub fn remove(&mut self, lane: &OsStr) {
        if let Some((at, count)) = self.entries.remove(lane) {
            let was_there = self.order.remove(&(at, count, lane.to_owned()));
            debug_assert!(was_there);
        }
    }

    /// When the next lane is due.
    pub fn next_at(&self) -> Option<T> {
        self.order.first().map(|(at, _, _)| *at)
    }

    /// Whether a lane is in here, due or not yet.
    pub fn contains(&self, lane: &OsStr) -> bool {
        self.entries.contains_key(lane)
    }

    /// Whether nobody is in here.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(queue: &mut DueQueue<u64>, now: u64) -> Option<String> {
        queue.take(now).map(|(lane, _)| lane.to_string_lossy().into_owned())
    }

    #[test]
    fn who_has_been_due_longest_is_first_whatever_it_is_called() {
        let mut queue = DueQueue::default();
        for (lane, at) in [("zzz", 3), ("aaa", 5), ("mmm", 3), ("later", 9)] {
            queue.put(OsStr::new(lane), at);
        }
        queue.put(OsStr::new("aaa"), 7);
        queue.put(OsStr::new("later"), 8);
        assert_eq!(queue.next_at(), Some(3));
        let order: Vec<_> = std::iter::from_fn(|| taken(&mut queue, 7)).collect();
        assert_eq!(order, ["zzz", "mmm", "aaa"]);
        assert!(!queue.is_empty() && queue.contains(OsStr::new("later")));
        queue.put(OsStr::new("zzz"), 9);
        queue.hasten(2);
        assert_eq!((queue.next_at(), taken(&mut queue, 2).as_deref()), (Some(2), Some("later")));
        queue.remove(OsStr::new("zzz"));
        queue.put(OsStr::new("later"), 9);
        queue.remove(OsStr::new("later"));
        assert_eq!((queue.is_empty(), queue.next_at(), taken(&mut queue, 9)), (true, None, None));
    }

    /// Lanes with backlogs of all sizes, each put back after its step: between two turns of one lane every other one
    /// that waits has exactly one.
    #[test]
    fn no_lane_waits_for_more_than_one_step_of_each_other() {
        let mut queue = DueQueue::default();
        let mut left = BTreeMap::from([("aaa", 1000), ("bbb", 30), ("ccc", 1), ("zzz", 7)]);
        for lane in left.keys() {
            queue.put(OsStr::new(lane), 0);
        }
        let mut last: BTreeMap<String, u64> = BTreeMap::new();
        for now in 1.. {
            let Some(lane) = taken(&mut queue, now) else { break };
            let more = left.get_mut(lane.as_str()).unwrap();
            *more -= 1;
            if *more > 0 {
                queue.put(OsStr::new(&lane), now);
            }
            let before = last.insert(lane, now).unwrap_or(0);
            assert!(now - before <= 4, "{now} {before}");
        }
        assert!(left.values().all(|more| *more == 0), "{left:?}");
    }
}
