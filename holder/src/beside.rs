//! The staging pipe beside a FIFO, seen from outside: whether it is there, who holds it, what waits in it.
//!
//! Invariant: it is opened only if /proc showed that a holder has it open (see [`crate::level`]).

use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use standpipe_common::fifo::Identity;
use standpipe_common::staging;

use crate::level::level;
use crate::openers::{Openers, Role};
use crate::survey::{Answer, answer};

/// One of them.
#[derive(Debug)]
pub struct Beside {
    /// Where it stands, or should.
    pub path: PathBuf,
    /// What stands there.
    pub there: There,
    /// How many holders have it open.
    pub holders: usize,
    /// Whether nobody else can have it open.
    pub all_seen: bool,
    /// Bytes of data that wait in it, the canary aside. `None`: it may not be asked.
    pub queued: Option<usize>,
}

/// What stands at its place.
#[derive(Debug)]
pub enum There {
    /// A FIFO.
    Fifo(fs::Metadata),
    /// Something else.
    Other,
    /// Nothing that can be seen.
    Nothing,
}

/// Looks beside `target`, the FIFO itself. `None`: no FIFO is there, and none is `wanted`.
pub fn look(target: &Path, wanted: bool) -> Option<Beside> {
    let path = staging::beside(target);
    let there = match fs::symlink_metadata(&path) {
        Ok(metadata) if metadata.file_type().is_fifo() => There::Fifo(metadata),
        Ok(_) => There::Other,
        Err(_) => There::Nothing,
    };
    let is_fifo = matches!(there, There::Fifo(_));
    (wanted || is_fifo).then_some(Beside { path, there, holders: 0, all_seen: true, queued: None })
}

impl Beside {
    /// The FIFO that stands there.
    pub fn identity(&self) -> Option<Identity> {
        match &self.there {
            There::Fifo(metadata) => Some(metadata.into()),
            There::Other | There::Nothing => None,
        }
    }

    /// With what a look at all processes told.
    #[must_use]
    pub fn seen(mut self, openers: &Openers) -> Beside {
        let Some(identity) = self.identity() else { return self };
        let all = openers.on(identity).iter();
        self.all_seen = openers.all_seen_on(identity);
        self.holders = all.filter(|opener| opener.process.role == Role::Holder && opener.keeps()).count();
        if self.holders > 0 {
            self.queued = level(&self.path, identity).map(|level| staging::data_bytes(level.queued));
        }
        self
    }

    /// Whether a holder holds it.
    pub fn held(&self) -> Answer {
        match self.there {
            There::Fifo(_) => answer(self.holders, self.all_seen),
            There::Other | There::Nothing => Answer::No,
        }
    }
}
