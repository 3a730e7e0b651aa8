//! A pipe that no link leads to any more: held until it is empty and its last writer has left, or its time is up.
//!
//! It is held for reading only, so that the last writer can be seen to leave. Nothing is read from it.
//!
//! A staging pipe goes with its pipe, and as soon as it is empty: the tailer has it open in any case, and writes no more
//! to it than it takes out.

use std::fmt;
use std::time::Instant;

use standpipe_common::fifo::{Fifo, Identity, retired_span};
use standpipe_common::name::PipeName;
use standpipe_common::shown::counted;
use standpipe_common::staging;

/// Why a pipe is held no longer for its link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The link leads to another FIFO now.
    Replaced,
    /// The link was removed.
    LinkGone,
    /// The FIFO itself was removed.
    Removed,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::Replaced => "FIFO replaced",
            Reason::LinkGone => "link removed",
            Reason::Removed => "FIFO removed",
        })
    }
}

/// Which of the two that are held for a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The FIFO that it led to.
    Target,
    /// The staging pipe beside that.
    Staging,
}

impl Kind {
    /// What it is called.
    pub fn noun(self) -> &'static str {
        match self {
            Kind::Target => "pipe",
            Kind::Staging => "staging pipe",
        }
    }

    /// How many bytes of data wait in it.
    pub fn data_bytes(self, fifo: &Fifo) -> usize {
        let queued = fifo.queued().unwrap_or(0);
        match self {
            Kind::Target => queued,
            Kind::Staging => staging::data_bytes(queued),
        }
    }
}

/// One such pipe.
#[derive(Debug)]
pub struct Retired {
    name: PipeName,
    kind: Kind,
    fifo: Fifo,
    reason: Reason,
    until: Instant,
    /// Whether we no longer count as a writer ourselves.
    read_only: bool,
}

impl Retired {
    /// Holds `fifo` on from `now`.
    pub fn new(name: PipeName, kind: Kind, fifo: Fifo, reason: Reason, now: Instant) -> Retired {
        let until = now + retired_span();
        if kind == Kind::Staging {
            return Retired { name, kind, fifo, reason, until, read_only: false };
        }
        // Where that fails, as by a mode that was changed, it is held as it was until its time is up.
        let (fifo, read_only) = match fifo.read_only() {
            Ok(reading) => (reading, true),
            Err(_) => (fifo, false),
        };
        Retired { name, kind, fifo, reason, until, read_only }
    }

    /// What it was called by.
    pub fn name(&self) -> &PipeName {
        &self.name
    }

    /// Which of its two.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The pipe.
    pub fn fifo(&self) -> &Fifo {
        &self.fifo
    }

    /// Device and inode.
    pub fn identity(&self) -> Identity {
        self.fifo.identity()
    }

    /// When it goes at the latest.
    pub fn until(&self) -> Instant {
        self.until
    }

    /// Whether it may go at `now`.
    pub fn is_over(&self, now: Instant) -> bool {
        debug_assert!(self.kind == Kind::Target || !self.read_only, "a staging pipe stays as it was held");
        let is_abandoned = || match self.kind {
            Kind::Target => self.read_only && self.fifo.is_abandoned().unwrap_or(false),
            Kind::Staging => true,
        };
        now >= self.until || is_abandoned() && self.bytes() == 0
    }

    /// Lets it go and says what goes with it.
    pub fn let_go(self) {
        let (name, reason, noun) = (&self.name, self.reason, self.kind.noun());
        match self.bytes() {
            0 => log::info!("{name}: {reason}; closed its {noun}, which was empty"),
            bytes => log::error!(
                "{name}: {reason}; closed its {noun} with {} in it, lost unless another process has it open",
                counted(bytes as u64, "byte")
            ),
        }
    }

    fn bytes(&self) -> usize {
        self.kind.data_bytes(&self.fifo)
    }
}
