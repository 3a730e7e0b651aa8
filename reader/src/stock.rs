//! One log directory as retention sees it: its sealed parts with their sizes and ages, and their removal.
//!
//! Invariants: only files that the listing knows as ours, and that are regular and our uid's, are counted or removed;
//! of a log that is written the active segment and what is newer are counted by their length, for the rest is reserve,
//! and never removed. What is to go is decided in [`crate::retention`].

use std::ffi::{OsStr, OsString};

use standpipe_common::cursor::Receiver;
use standpipe_common::error::Result;
use standpipe_common::part::{PartKind, PartName};
use standpipe_common::policy::Keep;

use crate::cursors::Cursors;
use crate::disk::{self, Dir};
use crate::listing::{CURRENT, Files, Listing, remove_marks, remove_todo};
use crate::retention::{Because, Going, Stored};
use crate::status::board::Gauge;
use crate::title;
use crate::upkeep::Order;

/// Unit in which the length of the active segment is counted.
const BLOCK_BYTES: u64 = 4096;

/// A log directory, looked at once.
#[derive(Debug)]
pub struct Stock {
    dir: Dir,
    lane: OsString,
    /// Nobody writes there: even the newest part is sealed.
    pub is_orphan: bool,
    /// The limits of its policy.
    pub keep: Keep,
    /// The file system that it lies on.
    pub device: u64,
    gauge: Gauge,
    names: Vec<Named>,
    /// Sealed parts, oldest first.
    pub stored: Vec<Stored>,
    /// Bytes of what is not sealed.
    pub other_bytes: u64,
    /// Sealed parts are held back, and take less once they are archived.
    pub has_held: bool,
    /// So will parts that were sealed since the order was given; the next one knows of them.
    pub will_hold: bool,
}

/// A sealed part by its name.
#[derive(Debug)]
struct Named {
    name: PartName,
    files: Files,
    has_todo: bool,
    /// Receivers that have not had all of it.
    behind: Vec<Receiver>,
}

impl Stock {
    /// Looks at the log directory of a lane, or, as `is_orphan`, of a pipe that is gone. `None`: nothing may be
    /// deleted there.
    pub fn look(dir: &Dir, lane: &OsStr, order: &Order, is_orphan: bool) -> Result<Option<Stock>> {
        let Some(keep) = order.upkeep.keep else { return Ok(None) };
        let listing = Listing::read(dir)?;
        let mut stock = Stock {
            dir: dir.try_clone()?,
            lane: lane.to_owned(),
            is_orphan,
            keep,
            device: dir.identity()?.dev,
            gauge: order.gauge.clone(),
            names: Vec::new(),
            stored: Vec::new(),
            other_bytes: 0,
            has_held: false,
            will_hold: !order.upkeep.after.is_zero()
                && listing.active().is_some_and(|active| !is_orphan && *active > order.active),
        };
        let cursors = Cursors::of(dir, &listing);
        for (name, files) in &listing.parts {
            let is_sealed = is_orphan || *name < order.active;
            let behind = cursors.behind(dir, &listing, name);
            let (name, has_todo) = (name.clone(), listing.todos.contains(name));
            stock.add(Named { name, files: *files, has_todo, behind }, is_sealed, order);
        }
        Ok(Some(stock))
    }

    /// The directory that was looked at.
    pub fn dir(&self) -> &Dir {
        &self.dir
    }

    /// The name of its pipe.
    pub fn lane(&self) -> &OsStr {
        &self.lane
    }

    fn add(&mut self, part: Named, is_sealed: bool, order: &Order) {
        let Named { name, files, .. } = &part;
        let of_kind = |is_there: bool, kind| {
            let stat = self.dir.stat(name.file(kind)).ok().filter(|_| is_there)?;
            disk::is_removable(&stat).then_some(stat)
        };
        let segment = of_kind(files.segment, PartKind::Segment);
        let archive = of_kind(files.archive, PartKind::Archive);
        let marks = of_kind(files.marks, PartKind::Marks);
        let files = Files { segment: segment.is_some(), archive: archive.is_some(), marks: marks.is_some() };
        let blocks = |stat: &nix::sys::stat::FileStat| stat.st_blocks as u64 * 512;
        let Some(newest) = archive.or(segment).filter(|stat| is_sealed && stat.st_size > 0) else {
            let written = segment.map_or(0, |stat| (stat.st_size as u64).next_multiple_of(BLOCK_BYTES));
            self.other_bytes += written + marks.as_ref().map_or(0, blocks);
            return;
        };
        let there = [segment, archive, marks];
        let bytes = there.iter().flatten().map(blocks).sum();
        let frees = there.iter().flatten().filter(|stat| stat.st_nlink == 1).map(blocks).sum();
        let going = match (files.archive, part.has_todo) {
            (true, true) if order.upkeep.hook.is_some() => Going::AfterHook,
            (false, _) if order.upkeep.level.is_some() => Going::Last,
            _ if !part.behind.is_empty() => Going::AfterReceivers,
            _ => Going::First,
        };
        self.has_held |= going == Going::Last && !order.upkeep.after.is_zero();
        let newest_ns = newest.st_mtime.saturating_mul(1_000_000_000).saturating_add(newest.st_mtime_nsec);
        self.names.push(Named { files, ..part });
        self.stored.push(Stored { bytes, frees, newest_ns, going });
    }

    /// Removes a part, by its place, with one line.
    pub fn remove(&self, place: usize, because: Because) -> Result<()> {
        let Named { name, files, has_todo, behind } = &self.names[place];
        // The archive last: what a crash leaves is still a whole part.
        if files.marks {
            remove_marks(&self.dir, name)?;
        }
        let there = [(files.segment, PartKind::Segment), (files.archive, PartKind::Archive)];
        for (_, kind) in there.into_iter().filter(|(is_there, _)| *is_there) {
            self.dir.remove(name.file(kind))?;
        }
        if *has_todo {
            remove_todo(&self.dir, name)?;
        }
        let leads_here = || self.dir.read_link(CURRENT).is_ok_and(|target| target == *name.file(PartKind::Segment));
        if self.is_orphan && place + 1 == self.names.len() && leads_here() {
            self.dir.remove(CURRENT)?;
        }
        self.gauge.removed(because.key());
        let kind = if files.archive { PartKind::Archive } else { PartKind::Segment };
        let copy = if files.archive && files.segment { " and the copy beside it" } else { "" };
        let (lane, file) = (title::of(&self.lane), name.file(kind));
        if behind.is_empty() {
            log::info!("{lane}: removed {file}{copy} ({because})");
        } else {
            let receivers: Vec<String> = behind.iter().map(ToString::to_string).collect();
            log::warn!(
                "{lane}: removed {file}{copy} ({because}) before all of it was sent to {}",
                receivers.join(", ")
            );
        }
        Ok(())
    }
}
