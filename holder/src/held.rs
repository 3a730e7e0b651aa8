//! One link of the pipes directory, the FIFO that is held for it, and the staging pipe beside that.
//!
//! Invariants: a FIFO is let go of only when its successor is held, or into the hands of whoever called; while a link
//! leads to something that is no FIFO, the FIFO from before stays held, for its server may still write to it.

use std::collections::HashMap;
use std::fs;

use nix::errno::Errno;
use standpipe_common::error::{Error, Result};
use standpipe_common::fifo::{self, Fifo, Identity};
use standpipe_common::name::PipeName;
use standpipe_common::pipes::Entry;
use standpipe_common::policy::{PipeSize, Policy};

use crate::create::{Refusal, create_if_missing, is_missing};
use crate::sizing::{self, Auto};
use crate::staged::{StageLook, Staged};
use crate::trouble::Trouble;

/// Which FIFO is, or is to be, held for which link.
pub type Taken = HashMap<Identity, PipeName>;

/// One link and what is held for it.
#[derive(Debug)]
pub struct Held {
    entry: Entry,
    fifo: Option<Fifo>,
    staged: Staged,
    /// The size that we gave it.
    granted: Option<usize>,
    /// It holds more than it should be able to: asked again until it does not.
    resize_pending: bool,
    /// What is wrong with the link, as it was said last.
    trouble: Trouble,
    /// Its FIFO was made and had to be removed again: that is done once, for it looks like a change to ourselves.
    create_undone: bool,
}

/// What a look at a link came to.
#[derive(Debug)]
pub enum Change {
    /// All is as it was at the last look.
    None,
    /// Another FIFO is held now, or one for the first time; the one from before is left.
    Taken(Option<Fifo>),
    /// The link leads to the FIFO that is held, as once before.
    Back,
    /// The link leads to nothing that can be held; has not been said.
    Bad(Error),
}

/// What stands at the end of a link.
enum AtLink {
    Same,
    Another(Fifo),
    /// The FIFO of another link.
    Twin(Error),
}

impl Held {
    /// Nothing is held yet.
    pub fn new(entry: Entry) -> Held {
        Held {
            entry,
            fifo: None,
            staged: Staged::default(),
            granted: None,
            resize_pending: false,
            trouble: Trouble::default(),
            create_undone: false,
        }
    }

    /// Takes over what a new scan says. A policy that is wrong leaves the one in force.
    pub fn update(&mut self, entry: Entry) {
        let before = std::mem::replace(&mut self.entry, entry);
        if !self.entry.sound {
            self.entry.policy = before.policy;
        } else if self.fifo.is_some() {
            let keys = self.entry.policy.only_for_new_fifos(&before.policy);
            if !keys.is_empty() {
                let (keys, apply) = (keys.join(", "), if keys.len() == 1 { "applies" } else { "apply" });
                let name = &self.entry.name;
                log::warn!("{name}: {keys} {apply} only to FIFOs created from now on, not to this one");
            }
        }
        // Who asks anew is told anew.
        self.trouble.end();
        self.create_undone = false;
        self.staged.forget_trouble();
    }

    /// What the directory says of it.
    pub fn entry(&self) -> &Entry {
        &self.entry
    }

    /// What is held, good or left over.
    pub fn fifo(&self) -> Option<&Fifo> {
        self.fifo.as_ref()
    }

    /// The FIFO that is held and that the link leads to.
    pub fn identity(&self) -> Option<Identity> {
        if self.trouble.is_there() { None } else { self.fifo.as_ref().map(Fifo::identity) }
    }

    /// Whether the last look found something wrong.
    pub fn is_troubled(&self) -> bool {
        self.trouble.is_there()
    }

    /// Whether no descriptor was left at the last look for its FIFO or the staging pipe.
    pub fn is_starved(&self) -> bool {
        self.trouble.is_starved() || self.staged.is_starved()
    }

    /// Whether the pipe waits to be made smaller.
    pub fn is_resize_pending(&self) -> bool {
        self.resize_pending
    }

    /// The staging pipe beside it.
    pub fn staged(&self) -> &Staged {
        &self.staged
    }

    /// Whether there is, or is to be, a staging pipe beside it.
    pub fn has_stage(&self) -> bool {
        let is_there = || fifo::find(&self.entry.link).is_ok_and(|found| Staged::is_beside(&found.path));
        self.entry.policy.stage || self.staged.fifo().is_some() || is_there()
    }

    /// Gives up the link: its FIFO and the staging pipe.
    pub fn into_fifos(self) -> (Option<Fifo>, Option<Fifo>) {
        (self.fifo, self.staged.into_fifo())
    }

    /// Looks at what stands at the end of the link and holds it. With `reopen`, a FIFO that is held already is opened
    /// anew before the old description is closed.
    pub fn look(&mut self, taken: &Taken, reopen: bool) -> Change {
        if self.create_undone && is_missing(&self.entry.link) {
            return Change::None;
        }
        match self.find(taken, reopen) {
            Ok(AtLink::Same) => self.settle(),
            Ok(AtLink::Another(fifo)) => {
                let identity = fifo.identity();
                match self.fifo.replace(fifo) {
                    Some(old) if old.identity() == identity => self.settle(),
                    old => {
                        self.granted = None;
                        self.resize_pending = false;
                        self.trouble.end();
                        Change::Taken(old)
                    }
                }
            }
            // Held there, so the description here is one too many.
            Ok(AtLink::Twin(error)) => {
                self.fifo = self.fifo.take().filter(|fifo| !taken.contains_key(&fifo.identity()));
                self.blame(error)
            }
            // It is held, though it cannot be opened once more: worth a line, but nothing is wrong with the link.
            Err(error) if error.errno().is_some() && self.is_unchanged() => {
                self.trouble.end();
                Change::Bad(error)
            }
            Err(error) => self.blame(error),
        }
    }

    /// Looks at the staging pipe beside the FIFO that is held. While the link leads to none, all stays as it is.
    pub fn look_beside(&mut self) -> StageLook {
        let Some(held) = self.identity() else { return StageLook::default() };
        match fifo::find(&self.entry.link) {
            Ok(found) if found.identity == held => self.staged.look(&found.path, self.entry.policy.stage),
            // Another FIFO by now: a change that brings the next look.
            _ => StageLook::default(),
        }
    }

    /// Gives the pipe the size it should have; what is refused is said.
    pub fn fit(&mut self, auto: Auto) {
        self.resize_pending = false;
        let Some(fifo) = &self.fifo else { return };
        let Ok(now) = fifo.capacity() else { return };
        let wanted = self.entry.policy.pipe_size;
        let Some(bytes) = sizing::change(wanted, auto, now, self.granted == Some(now)) else { return };
        match fifo.set_capacity(bytes) {
            Ok(granted) => self.granted = Some(granted),
            Err(error) => match error.raw_os_error().map(Errno::from_raw) {
                Some(Errno::EBUSY) => self.resize_pending = true,
                Some(Errno::EPERM) => log::warn!(
                    "{}: the size of the pipe is {now} bytes, not {bytes}: this user is limited by {}",
                    self.entry.name,
                    limit(wanted)
                ),
                _ => log::warn!("{}: the size of the pipe is {now} bytes, not {bytes}: {error}", self.entry.name),
            },
        }
    }

    /// Gives the staging pipe the size that goes with that of the pipe.
    pub fn fit_stage(&self, auto: Auto) {
        if let Some(Ok(bytes)) = self.fifo.as_ref().map(Fifo::capacity) {
            self.staged.fit(sizing::stage(auto, bytes));
        }
    }

    /// The policy in force.
    pub fn policy(&self) -> &Policy {
        &self.entry.policy
    }

    fn find(&mut self, taken: &Taken, reopen: bool) -> Result<AtLink> {
        let link = &self.entry.link;
        create_if_missing(link, &self.entry.policy.fifo).map_err(|refusal| match refusal {
            Refusal::Untouched(error) => error,
            Refusal::Undone(error) => {
                self.create_undone = true;
                error
            }
        })?;
        let held = self.fifo.as_ref().map(Fifo::identity);
        if !reopen {
            let there = fifo::look(link)?;
            if let Some(error) = self.twin(taken, there) {
                return Ok(AtLink::Twin(error));
            }
            if Some(there) == held {
                return Ok(AtLink::Same);
            }
        }
        let fifo = Fifo::open(link)?;
        Ok(match self.twin(taken, fifo.identity()) {
            Some(error) => AtLink::Twin(error),
            None => AtLink::Another(fifo),
        })
    }

    /// Whether the FIFO is another link's.
    fn twin(&self, taken: &Taken, identity: Identity) -> Option<Error> {
        let other = taken.get(&identity).filter(|other| **other != self.entry.name)?;
        Some(Error::because("hold", &self.entry.link, format!("it leads to the same FIFO as {other}")))
    }

    fn settle(&mut self) -> Change {
        if self.trouble.end() { Change::Back } else { Change::None }
    }

    fn blame(&mut self, error: Error) -> Change {
        if self.trouble.is_news(&error) { Change::Bad(error) } else { Change::None }
    }

    /// By a look that takes no descriptor, for want of which the open may have failed.
    fn is_unchanged(&self) -> bool {
        let there = fs::metadata(&self.entry.link).map(|metadata| Identity::from(&metadata));
        self.fifo.as_ref().is_some_and(|fifo| there.is_ok_and(|there| there == fifo.identity()))
    }
}

fn limit(wanted: PipeSize) -> &'static str {
    match wanted {
        PipeSize::Auto => "fs.pipe-user-pages-soft",
        PipeSize::Bytes(_) => "fs.pipe-max-size or fs.pipe-user-pages-soft",
    }
}
