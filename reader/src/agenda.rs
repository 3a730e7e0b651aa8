//! Who is to be looked at, and when: lanes that are ready, that wake at a moment, whose part is due by the clock.
//!
//! Lanes are numbers here. A wake that is no longer wanted does no harm: the lane says so when it is looked at.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, VecDeque};
use std::time::{Duration, Instant};

/// How often the wall clock is looked at while a part is due by it: no timer follows when it is set.
const LOOK_SPAN: Duration = Duration::from_secs(3600);

/// One thread's agenda.
#[derive(Debug)]
pub struct Agenda {
    ready: VecDeque<usize>,
    /// By lane: it stands in `ready`.
    is_ready: Vec<bool>,
    wakes: BinaryHeap<Reverse<(Instant, usize)>>,
    dues: BTreeSet<(i64, usize)>,
    /// By lane: where it stands in `dues`.
    due_ns: Vec<Option<i64>>,
    started: Instant,
}

impl Agenda {
    /// Nothing to do; ticks count from `now`.
    pub fn new(now: Instant) -> Agenda {
        Agenda {
            ready: VecDeque::new(),
            is_ready: Vec::new(),
            wakes: BinaryHeap::new(),
            dues: BTreeSet::new(),
            due_ns: Vec::new(),
            started: now,
        }
    }

    /// Makes room for a lane of this number.
    pub fn add(&mut self, lane: usize) {
        if lane >= self.is_ready.len() {
            self.is_ready.resize(lane + 1, false);
            self.due_ns.resize(lane + 1, None);
        }
    }

    /// A lane may have bytes.
    pub fn make_ready(&mut self, lane: usize) {
        if !std::mem::replace(&mut self.is_ready[lane], true) {
            self.ready.push_back(lane);
        }
    }

    /// How many lanes are ready now: one round.
    pub fn round(&self) -> usize {
        self.ready.len()
    }

    /// The next ready lane.
    pub fn next_ready(&mut self) -> Option<usize> {
        let lane = self.ready.pop_front()?;
        let stood_in_line = std::mem::replace(&mut self.is_ready[lane], false);
        debug_assert!(stood_in_line, "lane {lane} is ready and does not know");
        Some(lane)
    }

    /// A lane is to be looked at then, or at no moment of its own.
    pub fn wake_at(&mut self, at: impl Into<Option<Instant>>, lane: usize) {
        self.wakes.extend(at.into().map(|at| Reverse((at, lane))));
    }

    /// A lane is to be looked at when the next tick begins. Ticks of all lanes fall on one grid, so that many busy
    /// lanes wake us as often as one.
    pub fn wake_at_tick(&mut self, now: Instant, tick: Duration, lane: usize) {
        let passed = now.duration_since(self.started).as_nanos() / tick.as_nanos().max(1);
        let next = (passed + 1).saturating_mul(tick.as_nanos());
        self.wake_at(self.started + Duration::from_nanos(u64::try_from(next).unwrap_or(u64::MAX)), lane);
    }

    /// A lane whose wake has come.
    pub fn next_wake(&mut self, now: Instant) -> Option<usize> {
        self.wakes.peek().filter(|Reverse((at, _))| *at <= now)?;
        self.wakes.pop().map(|Reverse((_, lane))| lane)
    }

    /// The part of a lane is due then, ns since the epoch; `None`: not by the clock.
    pub fn set_due(&mut self, lane: usize, due_ns: Option<i64>) {
        if let Some(before) = std::mem::replace(&mut self.due_ns[lane], due_ns) {
            let was_due = self.dues.remove(&(before, lane));
            debug_assert!(was_due, "lane {lane} is due at {before} and not among the dues");
        }
        self.dues.extend(due_ns.map(|due_ns| (due_ns, lane)));
    }

    /// A lane whose part is due; it is due no more until [`Agenda::set_due`] says so again.
    pub fn next_due(&mut self, now_ns: i64) -> Option<usize> {
        let (due_ns, lane) = self.dues.first().copied()?;
        if due_ns > now_ns {
            return None;
        }
        self.set_due(lane, None);
        Some(lane)
    }

    /// How long nothing is to be done. `None`: until something happens.
    pub fn timeout(&self, now: Instant, now_ns: i64) -> Option<Duration> {
        if !self.ready.is_empty() {
            return Some(Duration::ZERO);
        }
        let wake = self.wakes.peek().map(|Reverse((at, _))| at.saturating_duration_since(now));
        let due = self.dues.first().map(|(due_ns, _)| {
            let left = u64::try_from(due_ns.saturating_sub(now_ns)).unwrap_or(0);
            // A millisecond more, for the poll set counts in those.
            Duration::from_nanos(left).min(LOOK_SPAN) + Duration::from_millis(1)
        });
        wake.into_iter().chain(due).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_first_sets_the_timeout_and_comes_once() {
        let now = Instant::now();
        let span = Duration::from_millis;
        let mut agenda = Agenda::new(now);
        let (a, b) = (0, 1);
        agenda.add(b);
        assert_eq!(agenda.timeout(now, 0), None);
        agenda.wake_at(now + span(20), a);
        agenda.set_due(b, Some(5_000_000));
        agenda.set_due(b, Some(9_000_000));
        assert_eq!(agenda.timeout(now, 0), Some(span(10)));
        assert_eq!(agenda.next_due(8_999_999), None);
        assert_eq!((agenda.next_due(9_000_000), agenda.next_due(9_000_000)), (Some(b), None));
        assert_eq!(agenda.timeout(now, 0), Some(span(20)));
        assert_eq!((agenda.next_wake(now), agenda.next_wake(now + span(20))), (None, Some(a)));
        agenda.make_ready(b);
        agenda.make_ready(b);
        assert_eq!((agenda.round(), agenda.timeout(now, 0)), (1, Some(Duration::ZERO)));
        assert_eq!((agenda.next_ready(), agenda.next_ready()), (Some(b), None));
    }

    #[test]
    fn ticks_of_all_lanes_fall_on_one_grid() {
        let start = Instant::now();
        let span = Duration::from_micros;
        let mut agenda = Agenda::new(start);
        for (lane, at) in [1, 1500, 1999].into_iter().enumerate() {
            agenda.add(lane);
            agenda.wake_at_tick(start + span(at), span(2000), lane);
        }
        assert_eq!(agenda.timeout(start, 0), Some(span(2000)));
        let woken = std::iter::from_fn(|| agenda.next_wake(start + span(2000))).count();
        assert_eq!(woken, 3);
    }
}
