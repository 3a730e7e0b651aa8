//! Makes segments durable that no archive will make so soon, on a thread of its own: an fsync may take its time, and
//! neither draining nor archiving waits for it.
//!
//! Invariants: draining never syncs; it says that it wrote, at most once a span. A file whose fsync failed is not
//! trusted: the kernel may have dropped what it could not write and says so only once. A sealed one is told; the
//! active one is to be sealed by its lane as well ([`SyncQueue::take_distrusted`]). `sync = "none"` is never here.
//!
//! Whose turn it is says [`crate::due`], one part a turn. What is written is durable within twice the span; where the
//! disk is too slow for that, a line says so.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use standpipe_common::error::{Cannot, Result};
use standpipe_common::part::{PartKind, PartName};
use standpipe_common::policy::Durability;
use standpipe_common::{clock, sys};

use crate::disk::{self, Dir};
use crate::due::{DueQueue, TEST_CLOCK_SPAN};
use crate::listing::Listing;
use crate::monitor::Monitor;
use crate::title;
use crate::upkeep::Order;

/// How long a sealed segment waits for its archive, which is durable by itself.
const ARCHIVE_SPAN: Duration = Duration::from_secs(60);

/// Lanes with something to make durable.
#[derive(Clone, Debug, Default)]
pub struct SyncQueue {
    work: Arc<Monitor<SyncWork>>,
}

#[derive(Debug, Default)]
struct SyncWork {
    lanes: BTreeMap<OsString, SyncedLane>,
    /// By the wall clock, ns since the epoch.
    due: DueQueue<i64>,
    /// The newest time that was seen: a clock that was set back makes everybody due.
    seen_ns: i64,
}

#[derive(Debug)]
struct SyncedLane {
    order: Order,
    /// Since when a turn is owed, ns since the epoch, until all that was due then is synced.
    owed_ns: Option<i64>,
    /// The newest sealed segment that was synced, or could not be.
    done: Option<PartName>,
    /// The active segment could not be synced.
    is_distrusted: bool,
    /// The disk could not keep to the span, which was said.
    is_late: bool,
}

/// A turn of a lane.
struct SyncTurn {
    name: OsString,
    order: Order,
    done: Option<PartName>,
}

impl SyncQueue {
    /// A lane has sealed segments.
    pub fn sealed(&self, name: &OsStr, order: &Order) {
        let span = match order.upkeep.sync {
            Durability::None => return,
            Durability::Every(span) => span,
            Durability::Seal if order.upkeep.level.is_none() => Duration::ZERO,
            Durability::Seal => ARCHIVE_SPAN,
        };
        let fresh =
            || SyncedLane { order: order.clone(), owed_ns: None, done: None, is_distrusted: false, is_late: false };
        self.work.change(|work| {
            work.lanes.entry(name.to_owned()).or_insert_with(fresh).order = order.clone();
            work.put(name, span);
        });
    }

    /// A lane wrote into its active segment.
    pub fn written(&self, name: &OsStr) {
        self.work.change(|work| {
            if let Some(lane) = work.lanes.get(name)
                && let Durability::Every(span) = lane.order.upkeep.sync
            {
                work.put(name, span);
            }
        });
    }

    /// Whether the active segment of a lane could not be synced since this was asked last.
    pub fn take_distrusted(&self, name: &OsStr) -> bool {
        self.work.lock().lanes.get_mut(name).is_some_and(|lane| std::mem::take(&mut lane.is_distrusted))
    }

    /// A lane is no more.
    pub fn forget(&self, name: &OsStr) {
        let mut work = self.work.lock();
        work.lanes.remove(name);
        work.due.remove(name);
    }

    /// Starts the thread, for the log root `root`.
    pub fn start(&self, root: Dir) -> Result<()> {
        let queue = self.clone();
        let path = root.path().to_path_buf();
        let work = move || {
            sys::lower_thread_priority();
            loop {
                let turn = queue.next();
                let more = queue.sync_next(&root, &turn);
                queue.end(&turn, more);
            }
        };
        thread::Builder::new().name("syncer".to_owned()).spawn(work).map(drop).cannot("start the syncer of", path)
    }

    /// The next turn; waits until there is one.
    fn next(&self) -> SyncTurn {
        let mut work = self.work.lock();
        loop {
            let now_ns = clock::now_ns();
            if let Some(turn) = work.next(now_ns) {
                return turn;
            }
            let rest = work.due.next_at().map(|at| Duration::from_nanos(at.saturating_sub(now_ns).max(0) as u64));
            let rest = rest.map(|rest| if clock::is_test() { rest.min(TEST_CLOCK_SPAN) } else { rest });
            work = self.work.wait(work, rest.unwrap_or(Duration::MAX));
        }
    }

    /// Syncs the oldest sealed segment of a log that has neither an archive nor been synced, or where there is none,
    /// under a span the active one. `true`: there is more.
    fn sync_next(&self, root: &Dir, turn: &SyncTurn) -> bool {
        let SyncTurn { name, order, done } = turn;
        let found = root.existing_sub(name).and_then(|dir| Listing::read(&dir).map(|listing| (dir, listing)));
        let Ok((dir, listing)) = found else { return false };
        let mut sealed = listing.segments_before(&order.active).filter(|(_, files)| !files.archive);
        let next = sealed.find(|(part, _)| done.as_ref().is_none_or(|done| *part > done));
        if let Some((part, _)) = next {
            if let Err(error) = sync_segment(&dir, part) {
                log::error!("{error}; recent lines may be lost in a power failure");
            }
            self.note(name, |lane| {
                debug_assert!(lane.done.as_ref().is_none_or(|done| done < part), "{part} was synced before");
                lane.done = Some(part.clone());
            });
            if sealed.next().is_some() {
                return true;
            }
        }
        if let (Durability::Every(_), Some(active)) = (order.upkeep.sync, listing.active())
            && let Err(error) = sync_segment(&dir, active)
        {
            self.note(name, |lane| lane.is_distrusted = true);
            log::error!("{error}; recent lines may be lost in a power failure; starting the next part");
        }
        if let Err(error) = dir.sync() {
            log::error!("{error}");
        }
        false
    }

    fn end(&self, turn: &SyncTurn, more: bool) {
        let now_ns = clock::now_ns();
        let mut work = self.work.lock();
        if more {
            work.due.put(&turn.name, now_ns);
        } else if let Some(lane) = work.lanes.get_mut(&turn.name) {
            lane.paid(&turn.name, now_ns);
        }
    }

    fn note(&self, name: &OsStr, note: impl FnOnce(&mut SyncedLane)) {
        if let Some(lane) = self.work.lock().lanes.get_mut(name) {
            note(lane);
        }
    }
}

impl SyncWork {
    fn put(&mut self, name: &OsStr, span: Duration) {
        self.due.put(name, clock::now_ns().saturating_add(span.as_nanos() as i64));
    }

    fn next(&mut self, now_ns: i64) -> Option<SyncTurn> {
        if now_ns < self.seen_ns {
            self.due.hasten(now_ns);
        }
        self.seen_ns = now_ns;
        loop {
            let (name, at_ns) = self.due.take(now_ns)?;
            let Some(lane) = self.lanes.get_mut(&name) else { continue };
            lane.owed_ns.get_or_insert(at_ns);
            return Some(SyncTurn { order: lane.order.clone(), done: lane.done.clone(), name });
        }
    }
}

impl SyncedLane {
    /// All that was owed is synced. A disk that is too slow for the span is one line, and so is its end.
    fn paid(&mut self, name: &OsStr, now_ns: i64) {
        let owed_ns = self.owed_ns.take();
        let (Durability::Every(span), Some(owed_ns)) = (self.order.upkeep.sync, owed_ns) else { return };
        let late = Duration::from_nanos(now_ns.saturating_sub(owed_ns).max(0) as u64);
        let was_late = std::mem::replace(&mut self.is_late, late > span);
        match (was_late, self.is_late) {
            (false, true) => log::warn!(
                "{}: the disk is too slow for `sync`: lines are durable {:.1} s after they arrive, not within {:.1} s",
                title::of(name),
                (span + late).as_secs_f64(),
                (2 * span).as_secs_f64(),
            ),
            (true, false) => log::info!("{}: the disk keeps up with `sync` again", title::of(name)),
            _ => {}
        }
    }
}

/// One that is gone meanwhile has a durable archive, or was removed.
fn sync_segment(dir: &Dir, name: &PartName) -> Result<()> {
    let file_name = name.file(PartKind::Segment);
    if !dir.stat(&file_name).is_ok_and(|stat| disk::is_ours(&stat)) {
        return Ok(());
    }
    let Ok(file) = dir.open_read(&file_name) else { return Ok(()) };
    disk::sync_data(&file).cannot("sync", dir.path_of(&file_name))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use standpipe_common::fifo::Identity;
    use standpipe_common::part::Pattern;
    use standpipe_common::policy::Policy;

    use super::*;
    use crate::disk::FileMode;
    use crate::status::board::Gauge;
    use crate::upkeep::Upkeep;

    const SPAN: Duration = Duration::from_nanos(100);

    fn state(lanes: &[(&str, i64)]) -> SyncWork {
        let upkeep = Upkeep::from_policy(&Policy::default(), FileMode { mode: 0o640, group: None });
        let upkeep = Arc::new(Upkeep { sync: Durability::Every(SPAN), ..upkeep });
        let mut state = SyncWork::default();
        for (name, at_ns) in lanes {
            let active = Pattern::default().born(0, None);
            let upkeep = Arc::clone(&upkeep);
            let order = Order { dir: Identity::default(), active, upkeep, gauge: Gauge::default() };
            let lane = SyncedLane { order, owed_ns: None, done: None, is_distrusted: false, is_late: false };
            state.lanes.insert(name.into(), lane);
            state.due.put(OsStr::new(name), *at_ns);
        }
        state
    }

    /// A slow disk, and lanes that are written to all the time: each is synced as often as the others.
    #[test]
    fn lanes_that_are_all_late_take_turns() {
        let names: Vec<String> = (0..10).map(|number| format!("p{number}")).collect();
        let lanes: Vec<_> = names.iter().map(|name| (name.as_str(), 100)).collect();
        let mut state = state(&lanes);
        let mut turns: BTreeMap<OsString, usize> = BTreeMap::new();
        for now_ns in (100..).step_by(70).take(100) {
            let turn = state.next(now_ns).expect("one is due");
            *turns.entry(turn.name.clone()).or_default() += 1;
            state.due.put(&turn.name, now_ns + 70 + 100);
        }
        assert!(turns.len() == 10 && turns.values().all(|count| *count == 10), "{turns:?}");
    }

    #[test]
    fn a_clock_that_was_set_back_makes_everybody_due() {
        let mut state = state(&[("app", 1_000), ("db", 900)]);
        assert!(state.next(500).is_none());
        let turns: Vec<_> = [400, 400].map(|now_ns| state.next(now_ns).map(|turn| turn.name)).into();
        assert_eq!(turns, [Some("db".into()), Some("app".into())]);
    }

    #[test]
    fn a_sync_is_late_when_it_ends_more_than_a_span_after_it_was_due() {
        let mut state = state(&[("app", 100)]);
        for (now_ns, is_late) in [(200, false), (201, true), (150, false)] {
            state.due.put(OsStr::new("app"), 100);
            state.next(100).expect("it is due");
            let lane = state.lanes.get_mut(OsStr::new("app")).unwrap();
            lane.paid(OsStr::new("app"), now_ns);
            assert_eq!(lane.is_late, is_late, "{now_ns}");
        }
    }
}
