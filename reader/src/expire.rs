//! Removes the parts that the limits no longer allow: those of one log by its own, those of all by free space.
//!
//! Runs on the archiver's thread, which alone touches sealed parts. A log that cannot be looked at is one line, said
//! once; the others go on. Which parts go is decided in [`crate::retention`].

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use standpipe_common::clock;
use standpipe_common::error::{Cannot, Error, Result};
use standpipe_common::policy::Floor;

use crate::disk::Dir;
use crate::listing::{Listing, STATE_FILE, has_reader};
use crate::queue::ArchiveQueue;
use crate::retention::{self, Because};
use crate::status::board::Gauge;
use crate::stock::Stock;
use crate::upkeep::Order;

/// Whoever removes parts.
#[derive(Debug)]
pub struct Expirer {
    queue: ArchiveQueue,
    /// What was said last of a log that could not be looked at.
    said: BTreeMap<OsString, String>,
}

impl Expirer {
    /// For the lanes of that queue.
    pub fn new(queue: ArchiveQueue) -> Expirer {
        Expirer { queue, said: BTreeMap::new() }
    }

    /// Removes from one log what its own limits ask for, and from all what is missing of free space on its disk.
    pub fn expire(&mut self, root: &Dir, lane: &OsStr, dir: &Dir, order: &Order) {
        let done = Stock::look(dir, lane, order, self.is_orphan(lane)).and_then(|stock| self.apply_limits(stock));
        self.say(lane, done);
        if is_short(dir, order).unwrap_or(false) {
            self.make_room(root, &[]);
        }
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
    pub fn orphans(&self, root: &Dir) -> Vec<(OsString, Dir, Order)> {
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
            let newest = Listing::read(&dir).ok().and_then(|listing| listing.newest().cloned());
            if let (Some(active), Some(upkeep)) = (newest, self.queue.orphan_upkeep(&name)) {
                let gauge = Gauge::default();
                orphans.push((name, dir, Order { dir: identity, active, upkeep, gauge }));
            }
        }
        orphans
    }

    fn is_orphan(&self, lane: &OsStr) -> bool {
        self.queue.orphan_upkeep(lane).is_some()
    }

    fn apply_limits(&self, stock: Option<Stock>) -> Result<()> {
        let Some(stock) = stock else { return Ok(()) };
        let gone = retention::plan(&stock.stored, stock.other_bytes, &stock.keep, clock::now_ns());
        gone.into_iter().try_for_each(|(place, because)| self.remove(&stock, place, because))
    }

    /// All logs of one file system.
    fn free_disk(&self, stocks: &[Stock], lanes: &[OsString]) -> Result<()> {
        let dir = stocks[0].dir();
        let space = dir.space().cannot("look at the free space of", dir.path())?;
        let floor = |stock: &Stock| stock.keep.free.at().unwrap_or(Floor::Bytes(0));
        let views: Vec<_> = stocks
            .iter()
            .map(|stock| retention::Stock {
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

    fn remove(&self, stock: &Stock, place: usize, because: Because) -> Result<()> {
        if stock.is_orphan {
            let remove = || stock.remove(place, because);
            return self.queue.while_orphan(stock.lane(), remove).unwrap_or(Ok(()));
        }
        stock.remove(place, because)
    }

    fn say(&mut self, lane: &OsStr, done: Result<()>) {
        let sentence = match done {
            Ok(()) => {
                self.said.remove(lane);
                return;
            }
            Err(error) => told(&error),
        };
        if self.said.get(lane) != Some(&sentence) {
            log::error!("{sentence}");
            self.said.insert(lane.to_owned(), sentence);
        }
    }
}

fn told(error: &Error) -> String {
    format!("{error}; old parts stay there")
}

fn is_short(dir: &Dir, order: &Order) -> Option<bool> {
    let floor = order.upkeep.keep?.free.at()?;
    let space = dir.space().ok()?;
    Some(space.free < floor.bytes(space.total))
}
