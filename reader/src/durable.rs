//! Makes segments durable that no archive will make so soon, on a thread of its own: an fsync may take its time, and
//! neither draining nor archiving waits for it.
//!
//! Invariants: draining never syncs; it says that it wrote, at most once a span. A file whose fsync failed is not
//! trusted: the kernel may have dropped what it could not write and says so only once. A sealed one is told; the
//! active one is to be sealed by its lane as well ([`SyncQueue::take_distrusted`]). `sync = "none"` is never here.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use standpipe_common::error::{Cannot, Result};
use standpipe_common::part::{PartKind, PartName};
use standpipe_common::policy::Durability;
use standpipe_common::{clock, sys};

use crate::disk::{self, Dir};
use crate::listing::Listing;
use crate::upkeep::Order;

/// How long a sealed segment waits for its archive, which is durable by itself.
const ARCHIVE_SPAN: Duration = Duration::from_secs(60);
/// How often a test clock is looked at.
const TEST_CLOCK_SPAN: Duration = Duration::from_millis(10);

/// Lanes with something to make durable.
#[derive(Clone, Debug, Default)]
pub struct SyncQueue {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    lanes: Mutex<BTreeMap<OsString, Lane>>,
    changed: Condvar,
}

#[derive(Debug)]
struct Lane {
    order: Order,
    /// From when somebody had something to sync to when it is due, ns since the epoch.
    waits: Option<Range<i64>>,
    /// The newest sealed segment that was synced, or could not be.
    done: Option<PartName>,
    /// The active segment could not be synced.
    is_distrusted: bool,
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
        let mut lanes = self.lock();
        let fresh = || Lane { order: order.clone(), waits: None, done: None, is_distrusted: false };
        let lane = lanes.entry(name.to_owned()).or_insert_with(fresh);
        lane.order = order.clone();
        self.wait(lane, span);
    }

    /// A lane wrote into its active segment.
    pub fn written(&self, name: &OsStr) {
        if let Some(lane) = self.lock().get_mut(name)
            && let Durability::Every(span) = lane.order.upkeep.sync
        {
            self.wait(lane, span);
        }
    }

    /// Whether the active segment of a lane could not be synced since this was asked last.
    pub fn take_distrusted(&self, name: &OsStr) -> bool {
        self.lock().get_mut(name).is_some_and(|lane| std::mem::take(&mut lane.is_distrusted))
    }

    /// A lane is no more.
    pub fn forget(&self, name: &OsStr) {
        self.lock().remove(name);
    }

    /// Starts the thread, for the log root `root`.
    pub fn start(&self, root: Dir) -> Result<()> {
        let queue = self.clone();
        let path = root.path().to_path_buf();
        let work = move || {
            sys::lower_thread_priority();
            loop {
                let (name, order, done) = queue.next();
                queue.sync_log(&root, &name, &order, done.as_ref());
            }
        };
        thread::Builder::new().name("syncer".to_owned()).spawn(work).map(drop).cannot("start the syncer of", path)
    }

    fn wait(&self, lane: &mut Lane, span: Duration) {
        let now_ns = clock::now_ns();
        let end = now_ns.saturating_add(span.as_nanos() as i64);
        // The span may be a shorter one since.
        if lane.waits.as_ref().is_none_or(|waits| end < waits.end) {
            lane.waits = Some(now_ns..end);
            self.shared.changed.notify_all();
        }
    }

    /// The next lane that is due, with what was synced of it; waits until there is one.
    fn next(&self) -> (OsString, Order, Option<PartName>) {
        let mut lanes = self.lock();
        loop {
            let now_ns = clock::now_ns();
            let mut rest = Duration::MAX;
            for (name, lane) in lanes.iter_mut() {
                let Some(waits) = &lane.waits else { continue };
                // A clock that was set back makes it due as well.
                if !waits.contains(&now_ns) {
                    lane.waits = None;
                    return (name.clone(), lane.order.clone(), lane.done.clone());
                }
                rest = rest.min(Duration::from_nanos((waits.end - now_ns) as u64));
            }
            let is_waiting = rest < Duration::MAX;
            rest = if is_waiting && clock::is_test() { rest.min(TEST_CLOCK_SPAN) } else { rest };
            let changed = &self.shared.changed;
            lanes = if is_waiting {
                changed.wait_timeout(lanes, rest).unwrap_or_else(PoisonError::into_inner).0
            } else {
                changed.wait(lanes).unwrap_or_else(PoisonError::into_inner)
            };
        }
    }

    /// Syncs the sealed segments of a log that have no archive, from `done` on, and under a span the active one.
    fn sync_log(&self, root: &Dir, lane: &OsStr, order: &Order, done: Option<&PartName>) {
        let found = root.existing_sub(lane).and_then(|dir| Listing::read(&dir).map(|listing| (dir, listing)));
        let Ok((dir, listing)) = found else { return };
        let mut names: Vec<_> = listing.segments_before(&order.active).filter(|(_, files)| !files.archive).collect();
        names.retain(|(name, _)| done.is_none_or(|done| *name > done));
        for (name, _) in names {
            if let Err(error) = sync_segment(&dir, name) {
                log::error!("{error}; what it holds may be gone if the power goes");
            }
            self.note(lane, |lane| lane.done = Some(name.clone()));
        }
        if let (Durability::Every(_), Some(active)) = (order.upkeep.sync, listing.active())
            && let Err(error) = sync_segment(&dir, active)
        {
            self.note(lane, |lane| lane.is_distrusted = true);
            log::error!("{error}; what it holds may be gone if the power goes, and the next part begins");
        }
        if let Err(error) = dir.sync() {
            log::error!("{error}");
        }
    }

    fn note(&self, name: &OsStr, note: impl FnOnce(&mut Lane)) {
        if let Some(lane) = self.lock().get_mut(name) {
            note(lane);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<OsString, Lane>> {
        self.shared.lanes.lock().unwrap_or_else(PoisonError::into_inner)
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
