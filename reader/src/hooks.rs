//! Which archive a hook gets next: all that have a `.todo`, one at a time a pipe, again and again until it succeeds.
//!
//! Invariants: the `.todo` files alone say what is left to do, so a kill loses none; each stands before its archive has
//! its name and goes when the hook has succeeded: at least once. A failure is one line and delays the others of the
//! pipe a while, but does not stop them: the next try is the next archive's. Nothing of the reader waits for a hook.
//! Whose turn it is says [`crate::due`], one archive a turn.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use standpipe_common::archive::Archive;
use standpipe_common::error::{Cannot, Result};
use standpipe_common::part::{PartKind, PartName};
use standpipe_common::retry::Retry;

use crate::disk::Dir;
use crate::due::DueQueue;
use crate::hook::{self, Facts};
use crate::listing::{Listing, SELF, is_todo, remove_todo};
use crate::monitor::Monitor;
use crate::status::format::Step;
use crate::status::problems::ProblemKind;
use crate::title;
use crate::upkeep::{HookCall, Order};

/// Hooks that run at the same time, each of another pipe.
const HOOKS_MAX: usize = 4;
/// The first wait after a failure.
const RETRY_SPAN: Duration = Duration::from_secs(1);
/// The longest one.
const RETRY_SPAN_MAX: Duration = Duration::from_secs(300);

/// Lanes whose hook may have something to do.
#[derive(Clone, Debug, Default)]
pub struct HookQueue {
    work: Arc<Monitor<HookWork>>,
}

#[derive(Debug, Default)]
struct HookWork {
    lanes: BTreeMap<OsString, HookedLane>,
    /// Lanes to be looked at, and none whose hook runs; one that failed, from when it is tried again.
    due: DueQueue<Instant>,
    running: usize,
}

#[derive(Debug)]
struct HookedLane {
    order: Order,
    hook: HookRun,
    /// The archive that could not be handed over, and when the next try is.
    failed: Option<(PartName, Retry)>,
    /// The archive whose failure stands in the status.
    shown: Option<PartName>,
    /// Its pipe is gone: it goes when it has had all.
    is_leaving: bool,
}

/// Whether its hook runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HookRun {
    No,
    Yes,
    /// It does, and something came up since: it is looked at again afterwards.
    Again,
}

/// What became of one look at a lane.
enum Delivery {
    /// Nothing is left.
    Idle,
    /// One archive is handed over, there may be more.
    Done(PartName),
    /// This one could not be handed over.
    Failed(PartName, String),
    /// Nobody can look for archives now.
    Blind(String),
}

impl HookQueue {
    /// A lane may have archives that its hook has not had.
    pub fn put(&self, name: &OsStr, order: &Order) {
        if order.upkeep.hook.is_none() {
            // One that it had is run no more.
            if let Some(lane) = self.work.lock().lanes.get_mut(name) {
                lane.order = order.clone();
                lane.show_well();
            }
            return;
        }
        self.work.change(|work| {
            let lane = work.lanes.entry(name.to_owned()).or_insert_with(|| HookedLane::new(order.clone()));
            lane.order = order.clone();
            lane.is_leaving = false;
            work.make_due(name);
        });
    }

    /// A lane is no more, once its hook has had what is left.
    pub fn forget(&self, name: &OsStr) {
        let mut work = self.work.lock();
        if let Some(lane) = work.lanes.get_mut(name) {
            lane.is_leaving = true;
        }
        work.drop_idle(name);
    }

    /// Waits until every hook has had every archive, at most `span`. `false`: some is left.
    pub fn wait_idle(&self, span: Duration) -> bool {
        self.work.wait_while(span, |work| work.is_working())
    }

    /// Starts the thread that runs hooks in the log root `root`, with this umask instead of ours. They get the rights of
    /// the thread that calls this.
    pub fn start(&self, root: &Dir, umask: u32) -> Result<()> {
        self.start_thread(root, move |queue, root| {
            queue.work.wait_while(Duration::MAX, |work| work.due.is_empty());
            // Or as many as can be had: one is enough.
            (1..HOOKS_MAX).try_for_each(|_| queue.start_thread(root, move |queue, root| queue.run(root, umask))).ok();
            queue.run(root, umask);
        })
    }

    fn start_thread(&self, root: &Dir, work: impl FnOnce(&HookQueue, &Dir) + Send + 'static) -> Result<()> {
        let (queue, root) = (self.clone(), root.try_clone()?);
        let path = root.path().to_path_buf();
        let work = move || work(&queue, &root);
        thread::Builder::new().name("hook".to_owned()).spawn(work).map(drop).cannot("start the hooks of", path)
    }

    fn run(&self, root: &Dir, umask: u32) {
        loop {
            let (name, order, after) = self.next();
            let outcome = hand_over_next(root, &name, &order, after.as_ref(), umask).unwrap_or_else(|error| {
                log::error!("{}: {error}", title::of(&name));
                Delivery::Blind(error.to_string())
            });
            self.work.change(|work| work.note(&name, outcome));
        }
    }

    /// The next lane to look at, and the archive that failed last; waits until there is one.
    fn next(&self) -> (OsString, Order, Option<PartName>) {
        let mut work = self.work.lock();
        loop {
            let now = Instant::now();
            while let Some((name, _)) = work.due.take(now) {
                let Some(lane) = work.lanes.get_mut(&name) else { continue };
                debug_assert_eq!(lane.hook, HookRun::No, "one hook runs at a time");
                lane.hook = HookRun::Yes;
                let next = (name, lane.order.clone(), lane.failed.as_ref().map(|(part, _)| part.clone()));
                work.running += 1;
                return next;
            }
            let rest = work.due.next_at().map_or(Duration::MAX, |at| at.saturating_duration_since(now));
            work = self.work.wait(work, rest);
        }
    }
}

impl HookedLane {
    fn new(order: Order) -> HookedLane {
        HookedLane { order, hook: HookRun::No, failed: None, shown: None, is_leaving: false }
    }

    /// What a look came to, for `reader status`. A failure stands until the hook has had that archive, or all.
    fn show(&mut self, outcome: &Delivery) {
        let gauge = &self.order.gauge;
        match outcome {
            Delivery::Failed(_, cause) | Delivery::Blind(cause) => {
                gauge.failed(Step::Hook);
                gauge.problem(ProblemKind::Hook, Some(cause));
                if let Delivery::Failed(part, _) = outcome {
                    self.shown = Some(part.clone());
                }
            }
            Delivery::Done(part) if self.shown.as_ref() == Some(part) => self.show_well(),
            Delivery::Done(_) => {}
            Delivery::Idle => self.show_well(),
        }
    }

    fn show_well(&mut self) {
        self.shown = None;
        self.order.gauge.problem(ProblemKind::Hook, None);
    }
}

impl HookWork {
    fn is_working(&self) -> bool {
        self.running > 0 || !self.due.is_empty()
    }

    /// Unless it waits after a failure.
    fn make_due(&mut self, name: &OsStr) {
        let Some(lane) = self.lanes.get_mut(name) else { return };
        if lane.hook != HookRun::No {
            lane.hook = HookRun::Again;
        } else if lane.failed.is_none() {
            self.due.put(name, Instant::now());
        }
    }

    /// Forgets a lane that is leaving and has nothing to do.
    fn drop_idle(&mut self, name: &OsStr) {
        let is_idle = |lane: &HookedLane| lane.is_leaving && lane.hook == HookRun::No;
        if self.lanes.get(name).is_some_and(is_idle) && !self.due.contains(name) {
            self.lanes.remove(name);
        }
    }

    fn note(&mut self, name: &OsStr, outcome: Delivery) {
        debug_assert!((1..=HOOKS_MAX).contains(&self.running), "{} hooks run", self.running);
        self.running -= 1;
        let Some(lane) = self.lanes.get_mut(name) else { return };
        let hook = std::mem::replace(&mut lane.hook, HookRun::No);
        debug_assert_ne!(hook, HookRun::No, "a hook ended that did not run");
        lane.show(&outcome);
        match outcome {
            Delivery::Idle | Delivery::Blind(_) => {
                lane.failed = None;
                if hook == HookRun::Again {
                    self.make_due(name);
                }
                self.drop_idle(name);
            }
            Delivery::Done(_) => {
                lane.failed = None;
                self.make_due(name);
            }
            Delivery::Failed(part, _) => {
                let fresh = || Retry::new(RETRY_SPAN, RETRY_SPAN_MAX);
                let mut retry = lane.failed.take().map_or_else(fresh, |(_, retry)| retry);
                let now = Instant::now();
                self.due.put(name, now + retry.failed(now));
                lane.failed = Some((part, retry));
            }
        }
    }
}

/// Hands over the oldest archive that has a `.todo`, or, where one failed, the one after it.
fn hand_over_next(root: &Dir, name: &OsStr, order: &Order, after: Option<&PartName>, umask: u32) -> Result<Delivery> {
    let dir = root.existing_sub(name)?;
    let todos = Listing::read(&dir)?.todos;
    let mut todos = todos.iter().filter(|part| is_todo(&dir, part));
    let next = todos.clone().find(|part| after.is_none_or(|after| *part > after)).or_else(|| todos.next());
    let (Some(part), Some(hook)) = (next, &order.upkeep.hook) else { return Ok(Delivery::Idle) };
    match standing(&dir, part)? {
        Some(PartKind::Archive) => {}
        // It is still being made.
        Some(_) => return Ok(Delivery::Idle),
        // Somebody removed the archive: there is nothing to hand over.
        None => {
            remove_todo(&dir, part)?;
            return Ok(Delivery::Done(part.clone()));
        }
    }
    match hand_over(&dir, name, part, hook, umask) {
        Ok(()) => {
            remove_todo(&dir, part)?;
            Ok(Delivery::Done(part.clone()))
        }
        Err(error) => {
            let cause = format!("{}: {error}", part.file(PartKind::Archive));
            log::error!("{}: {cause}; retrying later", title::of(name));
            Ok(Delivery::Failed(part.clone(), cause))
        }
    }
}

/// What stands of a part while the archiver goes on. The listing that has its `.todo` may have neither of the two, if
/// one took the place of the other in its middle; a segment goes only once its archive has its name.
fn standing(dir: &Dir, part: &PartName) -> Result<Option<PartKind>> {
    let has = |kind| match dir.stat(part.file(kind)) {
        Ok(_) => Ok(true),
        Err(Errno::ENOENT) => Ok(false),
        Err(errno) => Err(errno).cannot("inspect", dir.path_of(part.file(kind))),
    };
    let is_segment = has(PartKind::Segment)?;
    let is_archive = has(PartKind::Archive)?;
    Ok(if is_archive { Some(PartKind::Archive) } else { is_segment.then_some(PartKind::Segment) })
}

fn hand_over(dir: &Dir, name: &OsStr, part: &PartName, hook: &HookCall, umask: u32) -> Result<()> {
    let archive_name = part.file(PartKind::Archive);
    // Its name may be a moment old: what a hook has had must not be gone after a power cut, nor come again with less.
    dir.sync()?;
    let path = dir.path_of(&archive_name);
    let path = path::absolute(&path).cannot("find", &path)?;
    let archive = Archive::open(dir.open_read(&archive_name)?, &path)?;
    let directory = path.parent().and_then(path::Path::file_name);
    let pipe = if name == SELF { directory.unwrap_or(name) } else { name };
    let facts = Facts::of(&archive, path.clone(), pipe.to_owned())?;
    drop(archive);
    hook::run(&hook.hook, hook.timeout, umask, &facts)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use standpipe_common::part::Pattern;

    use super::*;

    #[test]
    fn what_stands_of_a_part_is_asked_by_its_names_and_not_by_a_listing_of_before() {
        let dir = tempfile::tempdir().unwrap();
        let part = Pattern::default().born(0, None);
        let [segment, archive] = [PartKind::Segment, PartKind::Archive].map(|kind| dir.path().join(part.file(kind)));
        let stands = || standing(&Dir::open(dir.path()).unwrap(), &part).unwrap();
        assert_eq!(stands(), None);
        fs::write(&segment, "line\n").unwrap();
        assert_eq!(stands(), Some(PartKind::Segment));
        fs::write(&archive, "packed").unwrap();
        assert_eq!(stands(), Some(PartKind::Archive), "both, for a moment");
        fs::remove_file(&segment).unwrap();
        assert_eq!(stands(), Some(PartKind::Archive));
    }
}
