//! What waits for the archiver: lanes with sealed segments, failures to be tried again, the hourly look, cries for room.
//!
//! Invariants: nobody who puts something in here waits for longer than a few stores; what waits is told by the log
//! directories alone, so only names and orders are held.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use standpipe_common::clock;
use standpipe_common::error::Error;
use standpipe_common::fifo::Identity;

use crate::disk::Dir;
use crate::durable::SyncQueue;
use crate::hooks::HookQueue;
use crate::upkeep::{Order, Upkeep};

/// The first wait after a failure; it doubles up to [`RETRY_SPAN_MAX`].
const RETRY_SPAN: Duration = Duration::from_secs(1);
/// The longest wait after a failure.
const RETRY_SPAN_MAX: Duration = Duration::from_secs(60);
/// How often every log is looked at, whether anything was archived or not.
const ROUND_NS: i64 = 3_600_000_000_000;
/// How often a test clock is looked at.
const TEST_CLOCK_SPAN: Duration = Duration::from_millis(10);

/// What the archiver is to do.
#[derive(Debug)]
pub enum Task {
    /// A lane has sealed segments. `archive`: no failure is to be waited out.
    Tend {
        /// Its name.
        lane: OsString,
        /// What it wants.
        order: Order,
        /// Whether to make archives.
        archive: bool,
    },
    /// These lanes could not write for want of room.
    MakeRoom(Vec<OsString>),
    /// The hour is over: every log is looked at. The first time each lane has just been due, and only the others are.
    Round {
        /// It is the first time.
        first: bool,
    },
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
    state: Mutex<State>,
    changed: Condvar,
    /// Of its own, for it is held while a file of a log without a pipe is removed. Locked before `state`.
    pipes: Mutex<Option<Pipes>>,
}

#[derive(Debug, Default)]
struct State {
    /// What each lane said last.
    orders: BTreeMap<OsString, Order>,
    due: BTreeSet<OsString>,
    /// Lanes that are no more, but for what is due.
    leaving: BTreeSet<OsString>,
    failed: BTreeMap<OsString, Failure>,
    without_room: Vec<OsString>,
    /// When the last round was. `None`: none yet.
    round_ns: Option<i64>,
    busy: bool,
}

#[derive(Clone, Debug)]
struct Failure {
    retry_at: Instant,
    wait: Duration,
}

/// The pipes of the directory, and what becomes of the logs of others.
#[derive(Clone, Debug)]
struct Pipes {
    names: BTreeSet<OsString>,
    others: Arc<Upkeep>,
}

impl ArchiveQueue {
    /// Says that a lane has sealed segments.
    pub fn put(&self, lane: &OsStr, order: Order) {
        self.sync.sealed(lane, &order);
        let mut state = self.lock();
        state.orders.insert(lane.to_owned(), order);
        state.due.insert(lane.to_owned());
        state.leaving.remove(lane);
        drop(state);
        self.shared.changed.notify_all();
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
        let mut state = self.lock();
        if state.orders.contains_key(lane) {
            state.due.insert(lane.to_owned());
            state.leaving.insert(lane.to_owned());
        }
        drop(state);
        self.shared.changed.notify_all();
    }

    /// Whether other lanes than the one that is tended now wait.
    pub fn has_more(&self) -> bool {
        !self.lock().due.is_empty()
    }

    /// What is to be made durable.
    pub fn sync(&self) -> &SyncQueue {
        &self.sync
    }

    /// What is to be handed over.
    pub fn hooks(&self) -> &HookQueue {
        &self.hooks
    }

    /// Says that a lane could not write for want of room.
    pub fn ask_room(&self, lane: &OsStr) {
        let mut state = self.lock();
        if !state.without_room.iter().any(|asked| asked == lane) {
            state.without_room.push(lane.to_owned());
        }
        drop(state);
        self.shared.changed.notify_all();
    }

    /// Says which pipes there are, held or not. Logs in the root of no such name, and of no lane, go on expiring as
    /// `others` says; where that is `None` they are left alone. To be called before a pipe that came back is attached.
    pub fn set_pipes(&self, names: BTreeSet<OsString>, others: Option<Upkeep>) {
        // Nobody says any more what is to be run for them.
        let others = others.map(|others| Arc::new(Upkeep { hook: None, ..others }));
        *self.pipes() = others.map(|others| Pipes { names, others });
    }

    /// Waits until nothing is left to do, at most `span`. `false`: something is.
    pub fn wait_idle(&self, span: Duration) -> bool {
        let working = |state: &mut State| state.is_working();
        let (mut state, _) =
            self.shared.changed.wait_timeout_while(self.lock(), span, working).unwrap_or_else(PoisonError::into_inner);
        !state.is_working()
    }

    /// The next thing to do; waits until there is one.
    pub fn next(&self) -> Task {
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            let now_ns = clock::now_ns();
            if let Some(task) = state.next(now, now_ns) {
                state.busy = true;
                return task;
            }
            let span = state.rest(now, now_ns);
            state = self.shared.changed.wait_timeout(state, span).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The task is done. A lane whose segments could not be archived is tried again later.
    pub fn done(&self, tended: Option<(OsString, Result<(), Error>)>) {
        let mut state = self.lock();
        state.busy = false;
        match tended {
            Some((lane, Err(error))) => state.fail(lane, &error),
            Some((lane, Ok(()))) => {
                if state.failed.remove(&lane).is_some() {
                    log::info!("{}: archived again", lane.display());
                }
                // What it sealed since is due again, and comes first.
                if !state.due.contains(&lane) && state.leaving.remove(&lane) {
                    state.orders.remove(&lane);
                    self.sync.forget(&lane);
                    self.hooks.forget(&lane);
                }
            }
            None => {}
        }
        drop(state);
        self.shared.changed.notify_all();
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

    fn orphan_of(&self, pipes: Option<&Pipes>, name: &OsStr) -> Option<Arc<Upkeep>> {
        let pipes = pipes?;
        (!pipes.names.contains(name) && !self.lock().orders.contains_key(name)).then(|| pipes.others.clone())
    }

    fn pipes(&self) -> MutexGuard<'_, Option<Pipes>> {
        self.shared.pipes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_working(&mut self) -> bool {
        self.busy || !self.due.is_empty() || !self.failed.is_empty()
    }

    fn next(&mut self, now: Instant, now_ns: i64) -> Option<Task> {
        if !self.without_room.is_empty() {
            return Some(Task::MakeRoom(std::mem::take(&mut self.without_room)));
        }
        let retried = self.failed.iter().filter(|(_, failure)| failure.retry_at <= now).map(|(lane, _)| lane.clone());
        self.due.extend(retried);
        while let Some(lane) = self.due.pop_first() {
            let Some(order) = self.orders.get(&lane).cloned() else { continue };
            // A new segment does not make a failed lane due earlier, but its limits hold all the same.
            let archive = self.failed.get(&lane).is_none_or(|failure| failure.retry_at <= now);
            return Some(Task::Tend { lane, order, archive });
        }
        // A clock that was set back begins a new hour.
        let is_over = self.round_ns.is_none_or(|last| !(last..last.saturating_add(ROUND_NS)).contains(&now_ns));
        if is_over {
            let first = self.round_ns.replace(now_ns).is_none();
            return Some(Task::Round { first });
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
        let retry = self.failed.values().map(|failure| failure.retry_at.saturating_duration_since(now));
        retry.chain([round]).min().unwrap_or(round)
    }

    fn fail(&mut self, lane: OsString, error: &Error) {
        let wait = self.failed.get(&lane).map_or(RETRY_SPAN, |failure| (failure.wait * 2).min(RETRY_SPAN_MAX));
        log::error!("{error}; the segment stays plain, next try in {} s", wait.as_secs());
        self.failed.insert(lane, Failure { retry_at: Instant::now() + wait, wait });
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
        assert!(matches!(queue.next(), Task::Tend { .. }));
        queue.put(lane, order(2));
        queue.forget(lane);
        queue.done(Some((lane.to_owned(), Ok(()))));
        let Task::Tend { order: told, .. } = queue.next() else { panic!("the last part is forgotten") };
        assert_eq!(told.active, order(2).active);
    }
}
