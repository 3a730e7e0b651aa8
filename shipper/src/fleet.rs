//! Which pipe has its turn when: a pure plan, without clock, files or threads.
//!
//! Invariants: a pipe has one turn at a time, and there are at most [`TURNS_MAX`] turns in all; whoever has been due
//! longest is next. Each pipe that is not at its turn has its goods, here a `T`, at home.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Requests under way at most.
pub const TURNS_MAX: usize = 4;

/// All pipes, by their log directories.
pub struct Fleet<T> {
    pipes: BTreeMap<PathBuf, Vessel<T>>,
    turns: usize,
}

struct Vessel<T> {
    /// `None`: it has its turn.
    at_home: Option<T>,
    /// When its next turn is due. `None`: not before there is news.
    due: Option<Instant>,
    /// There was news while it had its turn.
    has_news: bool,
    /// It goes after this turn.
    is_gone: bool,
}

impl<T> Default for Fleet<T> {
    fn default() -> Fleet<T> {
        Fleet { pipes: BTreeMap::new(), turns: 0 }
    }
}

impl<T> Fleet<T> {
    /// One more pipe, due at once.
    pub fn add(&mut self, dir: PathBuf, pipe: T, now: Instant) {
        let vessel = Vessel { at_home: Some(pipe), due: Some(now), has_news: false, is_gone: false };
        let before = self.pipes.insert(dir, vessel);
        assert!(before.is_none(), "a directory is one pipe's");
    }

    /// A pipe is no more: at once, or after its turn.
    pub fn remove(&mut self, dir: &Path) {
        if let Some(vessel) = self.pipes.get_mut(dir) {
            vessel.is_gone = true;
            if vessel.at_home.is_some() {
                self.pipes.remove(dir);
            }
        }
    }

    /// Whether a directory is a pipe's.
    pub fn has(&self, dir: &Path) -> bool {
        self.pipes.contains_key(dir)
    }

    /// How many pipes there are.
    pub fn len(&self) -> usize {
        self.pipes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.pipes.is_empty()
    }

    /// How many have their turn.
    pub fn turns(&self) -> usize {
        self.turns
    }

    /// A log may have more: its turn is due after `linger`, if it is not anyway.
    pub fn news(&mut self, dir: &Path, now: Instant, linger: Duration) {
        let Some(vessel) = self.pipes.get_mut(dir) else { return };
        if vessel.at_home.is_none() {
            vessel.has_news = true;
        } else if vessel.due.is_none() {
            vessel.due = Some(now + linger);
        }
    }

    /// Whatever waits is due at once.
    pub fn hurry(&mut self, now: Instant) {
        for vessel in self.pipes.values_mut().filter(|vessel| vessel.due.is_some_and(|due| due > now)) {
            vessel.due = Some(now);
        }
    }

    /// The pipe whose turn it is, which is taken along. `None`: nobody's, or there are enough.
    pub fn begin(&mut self, now: Instant) -> Option<(PathBuf, T)> {
        if self.turns == TURNS_MAX {
            return None;
        }
        let due = self.pipes.iter_mut().filter(|(_, vessel)| vessel.at_home.is_some());
        let due =
            due.filter(|(_, vessel)| vessel.due.is_some_and(|due| due <= now)).min_by_key(|(_, vessel)| vessel.due);
        let (dir, vessel) = due?;
        self.turns += 1;
        debug_assert!(self.turns <= TURNS_MAX, "{} turns at a time", self.turns);
        (vessel.due, vessel.has_news) = (None, false);
        Some((dir.clone(), vessel.at_home.take().expect("it was at home")))
    }

    /// Its turn is over; the next one is due at `due`, or with the next news.
    pub fn end(&mut self, dir: &Path, pipe: T, due: Option<Instant>, now: Instant, linger: Duration) {
        assert!(self.turns > 0, "it had a turn");
        self.turns -= 1;
        let Some(vessel) = self.pipes.get_mut(dir) else { return };
        if vessel.is_gone {
            self.pipes.remove(dir);
            return;
        }
        debug_assert!(vessel.at_home.is_none(), "it had its turn");
        vessel.at_home = Some(pipe);
        vessel.due = due.or(vessel.has_news.then(|| now + linger));
    }

    /// When the next turn is due. `None`: not before there is news, or a turn is over.
    pub fn next_due(&self) -> Option<Instant> {
        if self.turns == TURNS_MAX {
            return None;
        }
        self.pipes.values().filter(|vessel| vessel.at_home.is_some()).filter_map(|vessel| vessel.due).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINGER: Duration = Duration::from_secs(1);

    fn fleet(count: usize, now: Instant) -> Fleet<usize> {
        let mut fleet = Fleet::default();
        (0..count).for_each(|n| fleet.add(dir(n), n, now + Duration::from_millis(n as u64)));
        fleet
    }

    fn dir(n: usize) -> PathBuf {
        PathBuf::from(format!("/logs/{n}"))
    }

    #[test]
    fn four_have_their_turn_and_whoever_was_due_longest_is_next() {
        let now = Instant::now();
        let (mut fleet, later) = (fleet(6, now), now + LINGER);
        let begun: Vec<usize> = std::iter::from_fn(|| fleet.begin(later)).map(|(_, n)| n).collect();
        assert_eq!((begun, fleet.turns(), fleet.next_due()), (vec![0, 1, 2, 3], 4, None));
        fleet.end(&dir(2), 2, Some(later), later, LINGER);
        assert_eq!(fleet.begin(later), Some((dir(4), 4)), "one that is due again waits for the others");
        fleet.end(&dir(0), 0, None, later, LINGER);
        assert_eq!([fleet.begin(later), fleet.begin(later)], [Some((dir(5), 5)), None]);
    }

    #[test]
    fn news_make_a_pipe_due_after_a_while_and_never_put_it_off() {
        let now = Instant::now();
        let mut fleet = fleet(1, now);
        let (path, pipe) = fleet.begin(now).unwrap();
        fleet.news(&path, now, LINGER);
        fleet.end(&path, pipe, None, now, LINGER);
        assert_eq!(fleet.next_due(), Some(now + LINGER), "of news during its turn");
        fleet.news(&path, now + LINGER / 2, LINGER);
        assert_eq!(fleet.next_due(), Some(now + LINGER), "of more news before it");
        let (path, pipe) = fleet.begin(now + LINGER).unwrap();
        fleet.end(&path, pipe, Some(now + LINGER * 60), now + LINGER, LINGER);
        fleet.news(&path, now + LINGER, LINGER);
        assert_eq!(fleet.next_due(), Some(now + LINGER * 60), "a receiver is not hurried by news");
        fleet.hurry(now + LINGER);
        assert!(fleet.begin(now + LINGER).is_some());
    }

    #[test]
    fn a_pipe_that_is_gone_ends_its_turn_first() {
        let now = Instant::now();
        let mut fleet = fleet(2, now);
        let (path, pipe) = fleet.begin(now + LINGER).unwrap();
        fleet.remove(&dir(0));
        fleet.remove(&dir(1));
        assert_eq!((fleet.len(), fleet.has(&path)), (1, true));
        fleet.end(&path, pipe, Some(now), now, LINGER);
        assert!(fleet.is_empty() && fleet.turns() == 0);
    }
}
