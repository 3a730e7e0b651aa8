//! What waits for the archiver: lanes with sealed segments, failures to be tried again, the hourly look, cries for room.
//!
//! Cries for room come first, then the hourly look, which makes every log due and nothing else; then whose turn it is by
//! [`crate::due`], one part a turn.
//!
//! Invariants: nobody who puts something in here waits for longer than a few stores; what waits is told by the log
//! directories alone, so only names and orders are held.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use standpipe_common::clock;
use standpipe_common::error::Error;
use standpipe_common::fifo::Identity;
use standpipe_common::retry::Retry;

use crate::disk::Dir;
use crate::due::{DueQueue, TEST_CLOCK_SPAN};
use crate::durable::SyncQueue;
use crate::hooks::HookQueue;
use crate::leap::ClockWatch;
use crate::monitor::Monitor;
use crate::spare::Spare;
use crate::title;
use crate::upkeep::{Order, Upkeep};

/// The first wait after a failure.
const RETRY_SPAN: Duration = Duration::from_secs(1);
/// The longest one.
const RETRY_SPAN_MAX: Duration = Duration::from_secs(60);
/// How often every log is looked at, whether anything was archived or not.
const ROUND_NS: i64 = 3_600_000_000_000;

/// What the archiver is to do.
#[derive(Debug)]
pub enum Task {
    /// A turn of a log. `archive`: no failure is to be waited out.
    Tend {
        /// The name of its lane, or what it had.
        lane: OsString,
        /// What it wants.
        order: Order,
        /// Whether to make an archive.
        archive: bool,
    },
    /// These lanes could not write for want of room.
    MakeRoom(Vec<OsString>),
    /// The hour is over: every log becomes due. The first time each lane has just been put in, and only the others do.
    Round {
        /// It is the first time.
        first: bool,
    },
}

/// What became of a turn.
#[derive(Debug)]
pub enum Tended {
    /// It had its step.
    Stepped {
        /// When it wants another turn, if it wants one.
        again: Option<Duration>,
    },
    /// Its limits were applied; its parts wait for the next try.
    NotTried,
    /// Its oldest part could not be archived.
    Failed(Error),
    /// There is no such log any more.
    Gone,
}

/// Lanes that have sealed segments, and more that can wait.
#[derive(Clone, Debug, Default)]
pub struct ArchiveQueue {
    shared: Arc<Shared>,
    sync: SyncQueue,
    hooks: HookQueue,
}

#[derive(Debug, Default)]
struct Shared {
    work: Monitor<Work>,
    /// Of its own, for it is held while a file of a log without a pipe is removed. Locked before `work`.
    pipes: Mutex<Option<PipesDir>>,
    /// Whether ages can be told.
    clock: Mutex<ClockWatch>,
    /// Room put by for the archiver.
    spare: Spare,
    /// The archiver needs what room there is.
    is_room_claimed: AtomicBool,
    /// No sealed part stays plain for a while any more.
    is_ending: AtomicBool,
}

/// As long as it is held, no lane that waits for room tries again.
#[derive(Debug)]
pub struct RoomClaim(Arc<Shared>);

impl Drop for RoomClaim {
    fn drop(&mut self) {
        self.0.is_room_claimed.store(false, Ordering::Release);
    }
}

#[derive(Debug, Default)]
struct Work {
    /// What each lane said last.
    orders: BTreeMap<OsString, Order>,
    /// Logs that no pipe has, as the last look found them. None of them is in `orders`.
    orphans: BTreeMap<OsString, Order>,
    /// Logs that want a turn; one that failed, from when it is tried again.
    due: DueQueue<Instant>,
    /// Lanes that are no more, but for what is due.
    leaving: BTreeSet<OsString>,
    failed: BTreeMap<OsString, Retry>,
    without_room: Vec<OsString>,
    /// When the last round was. `None`: none yet.
    round_ns: Option<i64>,
    busy: bool,
}

/// What becomes of logs that no pipe has.
#[derive(Clone, Debug, Default)]
pub struct Orphans {
    /// By name; `None`: they are left alone.
    pub own: BTreeMap<OsString, Option<Arc<Upkeep>>>,
    /// All others; `None`: they are left alone.
    pub others: Option<Arc<Upkeep>>,
}

/// The pipes of the directory, and what becomes of the logs of others.
#[derive(Clone, Debug)]
struct PipesDir {
    names: BTreeSet<OsString>,
    orphans: Orphans,
}

impl ArchiveQueue {
    /// Says that a lane has sealed segments.
    pub fn put(&self, lane: &OsStr, order: Order) {
        self.sync.sealed(lane, &order);
        self.shared.work.change(|work| {
            work.orphans.remove(lane);
            work.orders.insert(lane.to_owned(), order);
            work.due.put(lane, Instant::now());
            work.leaving.remove(lane);
        });
    }

    /// What becomes of a lane's sealed segments from now on.
    pub fn change(&self, lane: &OsStr, upkeep: &Arc<Upkeep>) {
        if let Some(order) = self.lock().orders.get_mut(lane) {
            order.upkeep = Arc::clone(upkeep);
        }
    }

    /// Directories that are the log of a pipe, by whatever name they stand in the root now.
    pub fn dirs_in_use(&self, root: &Dir) -> BTreeSet<Identity> {
        let names = self.pipes().as_ref().map(|pipes| pipes.names.clone()).unwrap_or_default();
        let orders = self.orders();
        let by_name =
            names.iter().chain(orders.keys()).filter_map(|name| root.existing_sub(name).ok()?.identity().ok());
        by_name.chain(orders.values().map(|order| order.dir)).collect()
    }

    /// A lane is no more: once its last segments are archived its log belongs to nobody, unless a pipe of that name
    /// comes back.
    pub fn forget(&self, lane: &OsStr) {
        self.shared.work.change(|work| {
            if work.orders.contains_key(lane) {
                work.due.put(lane, Instant::now());
                work.leaving.insert(lane.to_owned());
            }
        });
    }

    /// Whether other lanes than the one that is tended now wait.
    pub fn has_more(&self) -> bool {
        let now = Instant::now();
        self.lock().due.next_at().is_some_and(|at| at <= now)
    }

    /// What is to be made durable.
    pub fn sync(&self) -> &SyncQueue {
        &self.sync
    }

    /// The room that is put by for archives.
    pub fn spare(&self) -> &Spare {
        &self.shared.spare
    }

    /// What is to be handed over.
    pub fn hooks(&self) -> &HookQueue {
        &self.hooks
    }

    /// Says that a lane could not write for want of room.
    pub fn ask_room(&self, lane: &OsStr) {
        self.shared.work.change(|work| {
            if !work.without_room.iter().any(|asked| asked == lane) {
                work.without_room.push(lane.to_owned());
            }
        });
    }

    /// Claims the room that is let go next for the archiver.
    pub fn claim_room(&self) -> RoomClaim {
        self.shared.is_room_claimed.store(true, Ordering::Release);
        RoomClaim(Arc::clone(&self.shared))
    }

    /// Whether whoever waits for room is to wait longer.
    pub fn is_room_claimed(&self) -> bool {
        self.shared.is_room_claimed.load(Ordering::Acquire)
    }

    /// Says which pipes there are, held or not. Logs in the root of no such name, and of no lane, go on expiring as
    /// `orphans` says. To be called before a pipe that came back is attached.
    pub fn set_pipes(&self, names: BTreeSet<OsString>, orphans: Orphans) {
        *self.pipes() = Some(PipesDir { names, orphans });
    }

    /// Pipes without a lane: those whose link leads to nothing sound.
    pub fn idle_pipes(&self) -> Vec<OsString> {
        let pipes = self.pipes();
        let names = pipes.as_ref().map(|pipes| &pipes.names).into_iter().flatten();
        let orders = &self.lock().orders;
        names.filter(|name| !orders.contains_key(*name)).cloned().collect()
    }

    /// From here on no sealed part waits for the time that it was to stay plain.
    pub fn end(&self) {
        self.shared.is_ending.store(true, Ordering::Release);
        self.shared.work.change(|work| work.due.hasten(Instant::now()));
    }

    /// Whether that is so.
    pub fn is_ending(&self) -> bool {
        self.shared.is_ending.load(Ordering::Acquire)
    }

    /// Waits until nothing is left to do, at most `span`. `false`: something is.
    pub fn wait_idle(&self, span: Duration) -> bool {
        self.shared.work.wait_while(span, |work| work.is_working())
    }

    /// The next thing to do; waits until there is one.
    pub fn next(&self) -> Task {
        loop {
            if let Some(task) = self.next_within(Duration::MAX) {
                return task;
            }
        }
    }

    /// The next thing to do, if there is one within `span`.
    pub fn next_within(&self, span: Duration) -> Option<Task> {
        let began = Instant::now();
        let mut work = self.lock();
        loop {
            let now = Instant::now();
            let now_ns = clock::now_ns();
            if let Some(task) = work.next(now, now_ns) {
                debug_assert!(!work.busy, "one thread works it off, one task at a time");
                work.busy = true;
                return Some(task);
            }
            let left = span.checked_sub(now.duration_since(began)).filter(|left| !left.is_zero())?;
            let rest = work.rest(now, now_ns).min(left);
            work = self.shared.work.wait(work, rest);
        }
    }

    /// Makes logs due that no pipe has, and unless it is the `first` round, every lane's.
    pub fn put_all(&self, orphans: Vec<(OsString, Order)>, first: bool) {
        let now = Instant::now();
        self.shared.work.change(|work| {
            work.orphans = orphans.into_iter().filter(|(name, _)| !work.orders.contains_key(name)).collect();
            let lanes = work.orders.keys().filter(|_| !first);
            lanes.chain(work.orphans.keys()).for_each(|name| work.due.put(name, now));
        });
    }

    /// The task is done; `tended` says of which log, if it was one. Whoever failed is tried again later, and who has
    /// more waits for another turn.
    pub fn done(&self, tended: Option<(OsString, Tended)>) {
        self.shared.work.change(|work| {
            debug_assert!(work.busy, "what is done was given out");
            work.busy = false;
            if let Some((lane, outcome)) = tended
                && work.note(&lane, outcome)
            {
                self.sync.forget(&lane);
                self.hooks.forget(&lane);
            }
        });
    }

    /// What every lane said last.
    pub fn orders(&self) -> BTreeMap<OsString, Order> {
        self.lock().orders.clone()
    }

    /// What becomes of the log of this name, if no pipe has it.
    pub fn orphan_upkeep(&self, name: &OsStr) -> Option<Arc<Upkeep>> {
        self.orphan_of(self.pipes().as_ref(), name)
    }

    /// Does something to the log of that name, but only while no pipe has it: one that comes back waits.
    pub fn while_orphan<T>(&self, name: &OsStr, act: impl FnOnce() -> T) -> Option<T> {
        let pipes = self.pipes();
        self.orphan_of(pipes.as_ref(), name).map(|_| act())
    }

    fn orphan_of(&self, pipes: Option<&PipesDir>, name: &OsStr) -> Option<Arc<Upkeep>> {
        let PipesDir { names, orphans } = pipes?;
        let is_orphan = !names.contains(name) && !self.lock().orders.contains_key(name);
        is_orphan.then(|| orphans.own.get(name).unwrap_or(&orphans.others).clone())?
    }

    /// What is known of the wall clock. Whoever sees it step looks at it, so that no leap is missed between two tasks.
    pub fn clock(&self) -> MutexGuard<'_, ClockWatch> {
        self.shared.clock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pipes(&self) -> MutexGuard<'_, Option<PipesDir>> {
        self.shared.pipes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Work> {
        self.shared.work.lock()
    }
}

impl Work {
    /// A failure that is to be tried again is in `due` as well.
    fn is_working(&self) -> bool {
        self.busy || !self.due.is_empty()
    }

    fn next(&mut self, now: Instant, now_ns: i64) -> Option<Task> {
        if !self.without_room.is_empty() {
            return Some(Task::MakeRoom(std::mem::take(&mut self.without_room)));
        }
        // A clock that was set back begins a new hour.
        let is_over = self.round_ns.is_none_or(|last| !(last..last.saturating_add(ROUND_NS)).contains(&now_ns));
        if is_over {
            let first = self.round_ns.replace(now_ns).is_none();
            return Some(Task::Round { first });
        }
        while let Some((lane, _)) = self.due.take(now) {
            let Some(order) = self.orders.get(&lane).or(self.orphans.get(&lane)).cloned() else { continue };
            // A new segment does not make a failed lane due earlier, but its limits hold all the same.
            debug_assert!(!(self.orders.contains_key(&lane) && self.orphans.contains_key(&lane)), "a pipe or none");
            let archive = self.failed.get(&lane).is_none_or(|retry| retry.until(now).is_none());
            return Some(Task::Tend { lane, order, archive });
        }
        None
    }

    /// How long there is nothing to do.
    fn rest(&self, now: Instant, now_ns: i64) -> Duration {
        if clock::is_test() {
            return TEST_CLOCK_SPAN;
        }
        let left_ns = self.round_ns.map_or(0, |last| last.saturating_add(ROUND_NS).saturating_sub(now_ns));
        let round = Duration::from_nanos(left_ns.clamp(0, ROUND_NS) as u64);
        self.due.next_at().map_or(round, |at| round.min(at.saturating_duration_since(now)))
    }

    /// What became of a turn of a lane. `true`: it was its last one, the lane is no more.
    fn note(&mut self, lane: &OsStr, outcome: Tended) -> bool {
        match outcome {
            Tended::Failed(error) => self.fail(lane, &error),
            Tended::NotTried => {
                if let Some(due) = self.failed.get(lane).and_then(Retry::due) {
                    self.due.put(lane, due);
                }
            }
            Tended::Gone => {
                self.failed.remove(lane);
                self.orphans.remove(lane);
            }
            Tended::Stepped { again } => {
                if self.failed.remove(lane).is_some() {
                    log::info!("{}: archiving works again", title::of(lane));
                }
                if let Some(span) = again {
                    self.due.put(lane, Instant::now() + span);
                }
            }
        }
        debug_assert!(self.leaving.iter().all(|lane| self.orders.contains_key(lane)), "who leaves was there");
        // What it sealed since is due again, and comes first.
        if self.due.contains(lane) || !self.leaving.remove(lane) {
            return false;
        }
        self.orders.remove(lane);
        true
    }

    fn fail(&mut self, lane: &OsStr, error: &Error) {
        let fresh = || Retry::new(RETRY_SPAN, RETRY_SPAN_MAX);
        let now = Instant::now();
        let wait = self.failed.entry(lane.to_owned()).or_insert_with(fresh).failed(now);
        log::error!("{error}; keeping the part uncompressed, retrying in {} s", wait.as_secs());
        self.due.put(lane, now + wait);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::FileMode;
    use standpipe_common::part::Pattern;
    use standpipe_common::policy::Policy;

    fn order(n: i64) -> Order {
        let upkeep = Upkeep::from_policy(&Policy::default(), FileMode { mode: 0o640, group: None });
        Order {
            dir: Identity::default(),
            active: Pattern::default().born(n * 1_000_000_000, None),
            upkeep: Arc::new(upkeep),
            gauge: crate::status::board::Gauge::default(),
        }
    }

    #[test]
    fn what_a_leaving_lane_seals_while_it_is_tended_is_tended_too() {
        let queue = ArchiveQueue::default();
        let lane = OsStr::new("app");
        queue.put(lane, order(1));
        assert!(matches!(queue.next(), Task::Round { first: true }));
        queue.done(None);
        assert!(matches!(queue.next(), Task::Tend { .. }));
        queue.put(lane, order(2));
        queue.forget(lane);
        queue.done(Some((lane.to_owned(), Tended::Stepped { again: None })));
        let Task::Tend { order: told, .. } = queue.next() else { panic!("the last part is forgotten") };
        assert_eq!(told.active, order(2).active);
        queue.done(Some((lane.to_owned(), Tended::Stepped { again: None })));
        assert!(queue.orders().is_empty(), "it is no more");
    }

    #[test]
    fn a_busy_lane_keeps_neither_a_quiet_one_nor_the_hourly_look_waiting() {
        let mut work = Work { round_ns: Some(0), ..Work::default() };
        let start = Instant::now();
        for (lane, secs) in [("aaa", 0), ("zzz", 1)] {
            work.orders.insert(lane.into(), order(1));
            work.due.put(OsStr::new(lane), start + Duration::from_secs(secs));
        }
        let turn = |work: &mut Work, secs: u64| {
            let (now, now_ns) = (start + Duration::from_secs(secs), secs as i64 * 1_000_000_000);
            let task = work.next(now, now_ns).unwrap();
            let Task::Tend { lane, .. } = task else { return format!("{task:?}") };
            // It has more, and always will.
            work.due.put(&lane, now);
            lane.to_string_lossy().into_owned()
        };
        let turns: Vec<_> = [2, 3, 4, 3600].map(|secs| turn(&mut work, secs)).into();
        assert_eq!(turns, ["aaa", "zzz", "aaa", "Round { first: false }"]);
    }

    #[test]
    fn a_lane_that_failed_gets_its_limits_at_once_and_its_archive_at_the_next_try() {
        let mut work = Work { round_ns: Some(0), ..Work::default() };
        let (now, lane) = (Instant::now(), OsStr::new("app"));
        work.orders.insert(lane.to_owned(), order(1));
        assert!(!work.note(lane, Tended::Failed(Error::because("archive", "x", "no room"))));
        assert!(work.next(now, 0).is_none(), "it waits");
        work.due.put(lane, now);
        assert!(matches!(work.next(now, 0), Some(Task::Tend { archive: false, .. })));
        work.note(lane, Tended::NotTried);
        assert!(work.is_working() && work.next(now, 0).is_none());
        let later = now + 2 * RETRY_SPAN;
        assert!(matches!(work.next(later, 0), Some(Task::Tend { archive: true, .. })));
    }
}
