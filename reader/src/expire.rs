//! Removes the parts that the limits no longer allow: those of one log by its own, those of all by free space.
//!
//! Runs on the archiver's thread, which alone touches sealed parts. A log that cannot be looked at is one line, said
//! once; the others go on. Which parts go is decided in [`crate::retention`].
//!
//! A log that no link leads to keeps everything for a day from when that was first found, which stands in its
//! [`STATE_FILE`]: a link that is away for a deployment, or a pipes directory that was not mounted, costs nothing.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use standpipe_common::clock;
use standpipe_common::error::{Cannot, Error, Result};
use standpipe_common::policy::Floor;
use standpipe_common::retry::Once;
use standpipe_common::shown::Shown as _;

use crate::disk::{Dir, FileMode};
use crate::leap::{DAY_NS, shown};
use crate::listing::{Listing, STATE_FILE, has_reader};
use crate::queue::ArchiveQueue;
use crate::retention::{self, Because};
use crate::state::State;
use crate::status::board::Gauge;
use crate::stock::Stock;
use crate::upkeep::{Order, Upkeep};

/// How long a log that no link leads to keeps everything.
const UNLINKED_NS: i64 = DAY_NS;

/// Whoever removes parts.
#[derive(Debug)]
pub struct Expirer {
    queue: ArchiveQueue,
    /// Logs that no link leads to and that may expire, since when that is so, and whether it was announced.
    unlinked: BTreeMap<OsString, (i64, bool)>,
    /// What was said last of a log that could not be looked at.
    said: BTreeMap<OsString, Once<String>>,
}

impl Expirer {
    /// For the lanes of that queue.
    pub fn new(queue: ArchiveQueue) -> Expirer {
        Expirer { queue, unlinked: BTreeMap::new(), said: BTreeMap::new() }
    }

    /// Removes from one log what its own limits ask for, and from all what is missing of free space on its disk. `true`:
    /// nothing of that log, for what is held back there is to be archived first, which can be done (`can_shrink`).
    pub fn expire(&mut self, root: &Dir, lane: &OsStr, dir: &Dir, order: &Order, can_shrink: bool) -> bool {
        let stock = Stock::look(dir, lane, order, self.is_orphan(lane));
        let done = stock.and_then(|stock| stock.map_or(Ok(false), |stock| self.apply_limits(&stock, can_shrink)));
        let shrinks_first = done.as_ref().is_ok_and(|shrinks_first| *shrinks_first);
        self.say(lane, done.map(drop));
        if is_short(dir, order) {
            self.make_room(root, &[]);
        }
        shrinks_first
    }

    /// Whether limits on bytes would remove a part of a log as it stands.
    pub fn is_pressed(&self, lane: &OsStr, dir: &Dir, order: &Order) -> bool {
        let stock = Stock::look(dir, lane, order, self.is_orphan(lane)).ok().flatten();
        let gone = stock.map(|stock| retention::plan(&stock.stored, stock.other_bytes, &stock.keep, None));
        is_short(dir, order) || gone.is_some_and(|gone| takes_for_size(&gone))
    }

    /// Removes what is missing of free space on any disk; if `lanes` could not write, at least one part on theirs.
    pub fn make_room(&mut self, root: &Dir, lanes: &[OsString]) {
        let mut disks: BTreeMap<u64, Vec<Stock>> = BTreeMap::new();
        let logs = self.queue.orders().into_iter().filter_map(|(lane, order)| {
            let dir = root.existing_sub(&lane).ok()?;
            Some((lane, dir, order))
        });
        for (lane, dir, order) in logs.chain(self.orphans(root)) {
            match Stock::look(&dir, &lane, &order, self.is_orphan(&lane)) {
                Ok(Some(stock)) if stock.keep.free.at().is_some() => disks.entry(stock.device).or_default().push(stock),
                Ok(_) => {}
                Err(error) => self.say(&lane, Err(error)),
            }
        }
        for stocks in disks.values() {
            let done = self.free_disk(stocks, lanes);
            self.say(stocks[0].lane(), done);
        }
    }

    /// Logs in the root that no pipe has, each with what is to become of it.
    pub fn orphans(&mut self, root: &Dir) -> Vec<(OsString, Dir, Order)> {
        self.forget_links_that_came_back(root);
        let mut names = root.names().unwrap_or_default();
        names.retain(|name| !name.as_bytes().starts_with(b".") && self.is_orphan(name));
        if names.is_empty() {
            return Vec::new();
        }
        let in_use = self.queue.dirs_in_use(root);
        let mut orphans = Vec::new();
        for name in names {
            let Ok(dir) = root.existing_sub(&name) else { continue };
            // A link to the log of a pipe, or such a log that somebody renamed under its lane.
            let Ok(identity) = dir.identity() else { continue };
            if in_use.contains(&identity) {
                continue;
            }
            if dir.stat(STATE_FILE).is_err() || has_reader(&dir).unwrap_or(true) {
                continue;
            }
            let Ok(listing) = Listing::read(&dir) else { continue };
            if let (Some(active), Some(upkeep)) = (listing.newest().cloned(), self.queue.orphan_upkeep(&name)) {
                let upkeep = match self.may_expire(&name, &dir, &listing.state, &upkeep) {
                    Ok(true) => upkeep,
                    Ok(false) => Arc::new(Upkeep::clone(&upkeep).harmless()),
                    Err(error) => {
                        self.say(&name, Err(error));
                        continue;
                    }
                };
                let gauge = Gauge::default();
                orphans.push((name, dir, Order { dir: identity, active, upkeep, gauge }));
            }
        }
        orphans
    }

    /// Whether no link has led to a log for long enough. Notes when that began, where nothing says so yet or the clock
    /// was ahead then.
    fn may_expire(&mut self, name: &OsStr, dir: &Dir, state: &State, upkeep: &Upkeep) -> Result<bool> {
        let steady_ns = self.queue.clock().steady_ns();
        let now_ns = steady_ns.unwrap_or_else(clock::now_ns);
        if let Some(since_ns) = state.unlinked_ns.filter(|since_ns| *since_ns <= now_ns) {
            let is_over = steady_ns.is_some() && now_ns - since_ns >= UNLINKED_NS;
            if is_over && upkeep.keep.is_some() {
                self.unlinked.entry(name.to_owned()).or_insert((since_ns, false));
            }
            return Ok(is_over);
        }
        let note = || write_unlinked(dir, state.clone(), Some(now_ns));
        self.queue.while_orphan(name, note).unwrap_or(Ok(()))?;
        self.unlinked.remove(name);
        log::warn!("{}: no link leads to this log any more; keeping all of it for a day", name.shown());
        Ok(false)
    }

    /// A link that leads to no pipe is a link: it has no lane that would note it.
    fn forget_links_that_came_back(&mut self, root: &Dir) {
        for name in self.queue.idle_pipes() {
            let Ok(dir) = root.existing_sub(&name) else { continue };
            let Ok(state) = State::read(&dir) else { continue };
            if state.unlinked_ns.is_some() {
                let forgotten = write_unlinked(&dir, state, None);
                self.say(&name, forgotten);
            }
        }
    }

    fn is_orphan(&self, lane: &OsStr) -> bool {
        self.queue.orphan_upkeep(lane).is_some()
    }

    /// What goes, and what would do instead, is told by one look: a writer goes on between two.
    fn apply_limits(&mut self, stock: &Stock, can_shrink: bool) -> Result<bool> {
        let now_ns = self.queue.clock().steady_ns();
        let gone = retention::plan(&stock.stored, stock.other_bytes, &stock.keep, now_ns);
        let shrinks_first = stock.has_held && can_shrink;
        if takes_for_size(&gone) && (shrinks_first || stock.will_hold) {
            return Ok(shrinks_first);
        }
        gone.into_iter().try_for_each(|(place, because)| self.remove(stock, place, because)).map(|()| false)
    }

    /// All logs of one file system.
    fn free_disk(&mut self, stocks: &[Stock], lanes: &[OsString]) -> Result<()> {
        debug_assert!(stocks.iter().all(|stock| stock.device == stocks[0].device), "logs of several disks");
        let dir = stocks[0].dir();
        let space = dir.space().cannot("read the free space of", dir.path())?;
        let floor = |stock: &Stock| stock.keep.free.at().unwrap_or(Floor::Bytes(0));
        let views: Vec<_> = stocks
            .iter()
            .map(|stock| retention::StoredLog {
                stored: &stock.stored,
                other_bytes: stock.other_bytes,
                floor_bytes: floor(stock).bytes(space.total),
                min: stock.keep.min,
            })
            .collect();
        let is_asked = stocks.iter().any(|stock| lanes.iter().any(|lane| lane == stock.lane()));
        for (index, place) in retention::plan_free(&views, space.free, usize::from(is_asked)) {
            self.remove(&stocks[index], place, Because::Free(floor(&stocks[index])))?;
        }
        Ok(())
    }

    fn remove(&mut self, stock: &Stock, place: usize, because: Because) -> Result<()> {
        debug_assert!(place < stock.stored.len(), "a part that is not there");
        if stock.is_orphan {
            self.announce(stock.lane());
            let remove = || stock.remove(place, because);
            return self.queue.while_orphan(stock.lane(), remove).unwrap_or(Ok(()));
        }
        stock.remove(place, because)
    }

    /// Before the first part of a log goes that no link leads to.
    fn announce(&mut self, lane: &OsStr) {
        let Some((since_ns, is_announced)) = self.unlinked.get_mut(lane) else { return };
        if !std::mem::replace(is_announced, true) {
            let (lane, since) = (lane.shown(), shown(*since_ns));
            log::warn!(
                "{lane}: no link has led to this log since {since}; now removing its oldest parts by its limits"
            );
        }
    }

    fn say(&mut self, lane: &OsStr, done: Result<()>) {
        let sentence = match done {
            Ok(()) => {
                self.said.remove(lane);
                return;
            }
            Err(error) => told(&error),
        };
        if self.said.entry(lane.to_owned()).or_default().is_news(sentence.clone()) {
            log::error!("{sentence}");
        }
    }
}

fn takes_for_size(gone: &[(usize, Because)]) -> bool {
    gone.iter().any(|(_, because)| matches!(because, Because::Size(_)))
}

/// Since when no link leads to a log; its state file stays as readable as it is.
fn write_unlinked(dir: &Dir, state: State, unlinked_ns: Option<i64>) -> Result<()> {
    let mode = dir.stat(STATE_FILE).cannot("inspect", dir.path_of(STATE_FILE))?.st_mode & 0o777;
    State { unlinked_ns, ..state }.write(dir, FileMode { mode, group: None })
}

fn told(error: &Error) -> String {
    format!("{error}; keeping old parts there")
}

/// Whether less is free on its disk than a log is to leave.
pub fn is_short(dir: &Dir, order: &Order) -> bool {
    let floor = order.upkeep.keep.and_then(|keep| keep.free.at());
    floor.zip(dir.space().ok()).is_some_and(|(floor, space)| space.free < floor.bytes(space.total))
}
