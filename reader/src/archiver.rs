//! The thread behind everybody else: makes archives of sealed segments and removes what the limits no longer allow.
//!
//! Invariants: it alone touches sealed parts, so nothing is removed that is being archived; nobody waits for it. What
//! is to be done says [`crate::queue`], how an archive is made [`crate::archiving`], what goes [`crate::expire`].

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use standpipe_common::error::{Cannot, Error, Result};
use standpipe_common::fifo::Identity;
use standpipe_common::{clock, sys};

use crate::archiving::{self, ArchiveTools, Backlog, How};
use crate::disk::Dir;
use crate::expire::{Expirer, is_short};
use crate::leap::{CLOCK_FILE, ClockWatch};
use crate::queue::{ArchiveQueue, Task, Tended};
use crate::status::board::Gauge;
use crate::status::format::Step;
use crate::status::problems::ProblemKind;
use crate::upkeep::Order;

/// After so long without work it holds nothing for the next.
const REST_SPAN: Duration = Duration::from_millis(500);

/// Starts the thread that works the queue off, in the log root `root`, and the one that makes segments durable.
pub fn start(queue: &ArchiveQueue, root: Dir) -> Result<()> {
    queue.sync().start(root.try_clone()?)?;
    *queue.clock() = ClockWatch::take_up(&root);
    look_at_clock(queue, &root);
    let queue = queue.clone();
    let path = root.path().to_path_buf();
    // Before a lane can fill the disk.
    queue.spare().put_by(&root);
    let work = move || {
        sys::lower_thread_priority();
        let expirer = Expirer::new(queue.clone());
        Archiver { expirer, queue, root, tools: ArchiveTools::default(), looked: BTreeSet::new() }.work();
    };
    thread::Builder::new().name("archiver".to_owned()).spawn(work).map(drop).cannot("start the archiver of", path)
}

/// Before anything is done by the wall clock.
fn look_at_clock(queue: &ArchiveQueue, root: &Dir) {
    queue.clock().look();
    let text = queue.clock().to_write();
    if let Some(Err(error)) = text.map(|text| root.put_note(CLOCK_FILE, &text)) {
        log::debug!("{error}");
    }
}

struct Archiver {
    queue: ArchiveQueue,
    root: Dir,
    tools: ArchiveTools,
    expirer: Expirer,
    /// Logs whose plain parts of an earlier boot were looked through.
    looked: BTreeSet<Identity>,
}

impl Archiver {
    fn work(&mut self) {
        loop {
            let task = self.queue.next_within(REST_SPAN).unwrap_or_else(|| self.rest());
            look_at_clock(&self.queue, &self.root);
            match task {
                Task::Tend { lane, order, archive } => {
                    let outcome = self.tend(&lane, &order, archive);
                    show(&outcome, &order.gauge);
                    self.queue.done(Some((lane, outcome)));
                }
                Task::MakeRoom(lanes) => {
                    if !self.shrink_held() {
                        self.expirer.make_room(&self.root, &lanes);
                    }
                    self.queue.done(None);
                }
                Task::Round { first } => {
                    let orphans = self.expirer.orphans(&self.root).into_iter();
                    self.queue.put_all(orphans.map(|(name, _, order)| (name, order)).collect(), first);
                    self.queue.done(None);
                }
            }
        }
    }

    /// Lets go of what the next archive is made with, and waits for it.
    fn rest(&mut self) -> Task {
        self.tools.put_down();
        sys::release_memory();
        self.queue.next()
    }

    fn tend(&mut self, lane: &OsStr, order: &Order, archive: bool) -> Tended {
        let done = match self.root.existing_sub(lane) {
            // Somebody removed the whole log: nothing is left to do.
            Err(error) if error.errno() == Some(Errno::ENOENT) => return Tended::Gone,
            dir => dir.and_then(|dir| self.tend_log(lane, &dir, order, archive)),
        };
        match done {
            Err(error) => Tended::Failed(error),
            // While a failure is waited out nothing was tried.
            Ok(_) if !archive => Tended::NotTried,
            Ok(left) => Tended::Stepped { again: if left.parts > 0 { Some(Duration::ZERO) } else { left.held } },
        }
    }

    /// Archives the oldest sealed segment of a log, and lets go what the limits ask for. What waits still.
    fn tend_log(&mut self, lane: &OsStr, dir: &Dir, order: &Order, archive: bool) -> Result<Backlog> {
        let is_pressed = !order.upkeep.after.is_zero() && self.expirer.is_pressed(lane, dir, order);
        let after = if is_pressed || self.queue.is_ending() { Duration::ZERO } else { order.upkeep.after };
        let done = self.archive_in_any_room(dir, order, archive, after);
        // Those that readers before us left to do, too.
        self.queue.hooks().put(lane, order);
        let can_shrink = done.as_ref().is_ok_and(|left| left.shrank || left.held.is_some());
        if is_short(dir, order) && self.shrink_held() || self.expirer.expire(&self.root, lane, dir, order, can_shrink) {
            // What room is missing may come of that, before anything is lost.
            return done.map(|left| Backlog { parts: left.parts.max(1), ..left });
        }
        if is_no_room(&done) {
            self.expirer.make_room(&self.root, &[lane.to_owned()]);
        }
        done
    }

    /// Archives one of the sealed parts that were to stay plain for a while. `false`: there is none.
    fn shrink_held(&mut self) -> bool {
        let orders = self.queue.orders().into_iter().filter(|(_, order)| !order.upkeep.after.is_zero());
        orders.into_iter().any(|(lane, order)| {
            let dir = self.root.existing_sub(&lane);
            let shrunk = dir.and_then(|dir| self.archive_in_any_room(&dir, &order, true, Duration::ZERO));
            shrunk.is_ok_and(|left| left.shrank)
        })
    }

    /// Archives, where no room is left into what is put by for that.
    fn archive_in_any_room(&mut self, dir: &Dir, order: &Order, archive: bool, after: Duration) -> Result<Backlog> {
        let mut done = self.archive(dir, order, archive, after);
        let room = if is_no_room(&done) { self.queue.spare().take_for(dir, order.upkeep.mode) } else { None };
        // Before any lane may try again as much is put by again.
        let claim = room.as_ref().map(|_| self.queue.claim_room());
        if room.is_some() {
            self.tools.room = room;
            done = self.archive(dir, order, archive, after);
            self.tools.room = None;
        }
        self.queue.spare().put_by(&self.root);
        drop(claim);
        done
    }

    fn archive(&mut self, dir: &Dir, order: &Order, archive: bool, after: Duration) -> Result<Backlog> {
        if order.upkeep.level.is_none() && self.looked.insert(order.dir) {
            archiving::tell_nuls(dir, &order.active)?;
        }
        let Some(level) = order.upkeep.level.filter(|_| archive) else { return Ok(Backlog::default()) };
        let others_wait = self.queue.has_more();
        let how = How {
            level,
            after,
            others_wait,
            filter: order.upkeep.filter,
            mode: order.upkeep.mode,
            has_hook: order.upkeep.hook.is_some(),
            tells_nuls: false,
        };
        archiving::archive_next(dir, &order.active, how, &mut self.tools, &order.gauge)
    }
}

/// What became of a turn of a lane, for `reader status`.
fn show(outcome: &Tended, gauge: &Gauge) {
    match outcome {
        Tended::Failed(error) => {
            gauge.error(error, clock::now_ns());
            gauge.failed(Step::Archive);
            gauge.problem(ProblemKind::Archive, Some(&error.to_string()));
        }
        Tended::NotTried => {}
        Tended::Stepped { .. } | Tended::Gone => gauge.problem(ProblemKind::Archive, None),
    }
}

fn is_no_room(done: &Result<Backlog>) -> bool {
    done.as_ref().is_err_and(Error::is_no_room)
}
