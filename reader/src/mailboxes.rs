//! The mailbox files of a log root: found, made, kept in reserve, set aside, cleared away at the end.
//!
//! At start every one that is there is ours, for we have the lock. What is EMPTY or DONE serves again; what holds a
//! chunk waits for its recovery; what cannot be believed is set aside with one line. Where there are many lanes one EMPTY
//! mailbox is kept in reserve, for a lane whose disk fails keeps its own, and a full disk gives none. Where something of
//! ours is there that may be recovered or removed, none is needed to begin with: lanes wait until there is room for one.

use std::ffi::OsString;
use std::path::Path;

use jiff::Timestamp;
use standpipe_common::clock;
use standpipe_common::error::Result;
use standpipe_common::shown::{Shown as _, counted};

use crate::disk::Dir;
use crate::listing::STATE_FILE;
use crate::mailbox::{DATA_BYTES_MAX, Home, Mailbox, Phase, Unfit, peek};
use crate::record::Record;
use crate::shelf::{Shelf, open_read};
use crate::title;

/// Start of the names of mailboxes that were set aside.
pub const SALVAGED_PREFIX: &str = ".salvaged-";

/// How many mailboxes there are beside those that lanes keep, and how large new ones are.
#[derive(Clone, Copy, Debug)]
pub struct Supply {
    count: usize,
    data_bytes: usize,
}

impl Supply {
    /// For the lanes of a pipes directory: one to work with, and one in reserve.
    pub const MANY_LANES: Supply = Supply { count: 2, data_bytes: DATA_BYTES_MAX };
    /// For one lane, which needs none while it keeps its own. It stands beside each service, so it is as small as it can
    /// be without draining more slowly.
    pub const ONE_LANE: Supply = Supply { count: 1, data_bytes: 128 << 10 };
}

/// Mailboxes that lie ready.
#[derive(Debug)]
pub struct Mailboxes {
    shelf: Shelf,
    home: Home,
    supply: Supply,
    ready: Vec<Mailbox>,
}

impl Mailboxes {
    /// Takes up those of `shelf`, and makes sure that all of the `supply` is there to begin with, where new ones come. The
    /// second value holds chunks that wait for recovery.
    ///
    /// # Errors
    /// The disk's; no room for mailboxes in a log root that is new, where nothing could ever make some.
    pub fn take_up(shelf: Shelf, home: Home, supply: Supply) -> Result<(Mailboxes, Vec<Mailbox>)> {
        let mut mailboxes = Mailboxes { shelf, home, supply, ready: Vec::new() };
        let mut holding = Vec::new();
        let names = mailboxes.shelf.names()?;
        let is_new = names.is_empty() && !has_logs(mailboxes.shelf.root());
        for name in names {
            let Some(place) = mailboxes.shelf.place(&name)? else {
                told(mailboxes.set_aside(&name, "its target does not exist"));
                continue;
            };
            match Mailbox::open(&place.dir, &place.file, &name, &mailboxes.home)? {
                Ok(mailbox) if matches!(mailbox.phase(), Some(Phase::Armed | Phase::Full(_))) => holding.push(mailbox),
                Ok(mut mailbox) if mailbox.make_writable().is_ok() => {
                    mailbox.clear_all();
                    mailboxes.give_back(mailbox);
                }
                // It holds nothing, and what it takes may be the room for another.
                Ok(_) => told(mailboxes.shelf.remove(&name)),
                Err(unfit) => told(mailboxes.retire(&name, unfit)),
            }
        }
        // The one of a lone lane serves it again.
        let kept = if mailboxes.supply.count == 1 { holding.len() } else { 0 };
        mailboxes.fill_up(kept, is_new)?;
        Ok((mailboxes, holding))
    }

    fn fill_up(&mut self, kept: usize, is_new: bool) -> Result<()> {
        while kept + self.ready.len() < self.supply.count {
            match self.make() {
                Ok(fresh) => self.ready.push(fresh),
                Err(error) if error.is_no_room() && !is_new => {
                    log::warn!("{error}; reading starts once there is room for it");
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The directories outside of the log root that have some.
    pub fn outside(&self) -> Result<Vec<Dir>> {
        self.shelf.outside()
    }

    /// Most bytes of a chunk.
    pub fn data_bytes(&self) -> usize {
        self.supply.data_bytes
    }

    /// An EMPTY mailbox, if one lies ready.
    pub fn take_ready(&mut self) -> Option<Mailbox> {
        self.ready.pop()
    }

    /// The same, made if none does.
    pub fn take(&mut self) -> Result<Mailbox> {
        self.take_ready().map_or_else(|| self.make(), Ok)
    }

    /// Takes back an EMPTY mailbox; more than the supply are not kept, nor those that an earlier configuration put
    /// elsewhere, or of another size.
    pub fn give_back(&mut self, mailbox: Mailbox) {
        debug_assert!(!matches!(mailbox.phase(), Some(Phase::Full(_))), "{} holds a chunk", mailbox.name());
        let is_of_stock = mailbox.data_bytes() == self.supply.data_bytes && self.shelf.is_in_place(mailbox.name());
        if self.ready.len() < self.supply.count && is_of_stock {
            self.ready.push(mailbox);
        } else {
            self.discard(&mailbox);
        }
        debug_assert!(self.ready.len() <= self.supply.count, "{} lie ready", self.ready.len());
    }

    /// Removes those that lie ready, at the end: the next start makes its own.
    pub fn clear_away(&mut self) {
        for mailbox in std::mem::take(&mut self.ready) {
            self.discard(&mailbox);
        }
    }

    fn discard(&self, mailbox: &Mailbox) {
        if let Err(error) = self.shelf.remove(mailbox.name()) {
            log::warn!("{error}");
        }
    }

    fn make(&self) -> Result<Mailbox> {
        self.shelf.make(&self.home, self.supply.data_bytes)
    }

    /// One that was never finished, or is of another boot or root and holds nothing, goes; all else is set aside.
    fn retire(&self, name: &str, unfit: Unfit) -> Result<()> {
        let holds = self.held(name).is_some();
        if unfit == Unfit::Unfinished || matches!(unfit, Unfit::OtherBoot | Unfit::OtherRoot) && !holds {
            return self.shelf.remove(name);
        }
        self.set_aside(name, &unfit.to_string())
    }

    /// Puts a mailbox out of the way, with one line that says what it holds and why. Nothing of it is thrown away.
    pub fn set_aside(&self, name: &str, reason: &str) -> Result<()> {
        let held = self.held(name);
        let root = self.shelf.root();
        let time = Timestamp::from_nanosecond(i128::from(clock::now_ns())).unwrap_or(Timestamp::UNIX_EPOCH);
        let time = time.strftime("%Y-%m-%dT%H-%M-%SZ").to_string();
        let aside = root.free_name(|number| format!("{SALVAGED_PREFIX}{time}-{number}"));
        root.rename_new(name, &aside)?;
        let path = root.path_of(&aside);
        match held {
            Some((record, n)) => log::error!(
                "{}: {} for {} set aside as {}: {reason}",
                title::of(&record.lane),
                counted(n as u64, "byte"),
                record.part,
                path.shown()
            ),
            None => log::error!("a mailbox was set aside as {}: {reason}", path.shown()),
        }
        Ok(())
    }

    fn held(&self, name: &str) -> Option<(Record, usize)> {
        peek(&open_read(self.shelf.root(), name.as_ref()).ok()?).ok().flatten()
    }
}

/// Whether a log root has logs of ours, or is one.
fn has_logs(root: &Dir) -> bool {
    let is_log = |name: &OsString| root.stat(Path::new(name).join(STATE_FILE)).is_ok();
    root.stat(STATE_FILE).is_ok() || root.names().is_ok_and(|names| names.iter().any(is_log))
}

/// A mailbox that stays where it is stops nothing: the next start finds it again.
fn told(done: Result<()>) {
    if let Err(error) = done {
        log::error!("{error}");
    }
}
