//! A pipe that no link leads to any more: held until it is empty and its last writer has left, or its time is up.
//!
//! It is held for reading only, so that the last writer can be seen to leave. Nothing is read from it.

use std::fmt;
use std::time::Instant;

use standpipe_common::fifo::{Fifo, Identity, retired_span};
use standpipe_common::name::PipeName;

/// Why a pipe is held no longer for its link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The link leads to another FIFO now.
    Replaced,
    /// The link was removed.
    LinkGone,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::Replaced => "another FIFO took its place",
            Reason::LinkGone => "its link is gone",
        })
    }
}

/// One such pipe.
#[derive(Debug)]
pub struct Retired {
    name: PipeName,
    fifo: Fifo,
    reason: Reason,
    until: Instant,
    /// Whether we no longer count as a writer ourselves.
    read_only: bool,
}

impl Retired {
    /// Holds `fifo` on from `now`.
    pub fn new(name: PipeName, fifo: Fifo, reason: Reason, now: Instant) -> Retired {
        // Where that fails, as by a mode that was changed, it is held as it was until its time is up.
        let (fifo, read_only) = match fifo.read_only() {
            Ok(reading) => (reading, true),
            Err(_) => (fifo, false),
        };
        Retired { name, fifo, reason, until: now + retired_span(), read_only }
    }

    /// What it was called by.
    pub fn name(&self) -> &PipeName {
        &self.name
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
        let done = || self.read_only && self.fifo.is_abandoned().unwrap_or(false) && self.bytes() == 0;
        now >= self.until || done()
    }

    /// Lets it go and says what goes with it.
    pub fn let_go(self) {
        let (name, reason) = (&self.name, self.reason);
        match self.bytes() {
            0 => log::info!("{name}: {reason}; its pipe is let go, empty"),
            bytes => log::error!(
                "{name}: {reason}; its pipe is let go with {bytes} {}, lost unless somebody else has it open",
                if bytes == 1 { "byte" } else { "bytes" }
            ),
        }
    }

    fn bytes(&self) -> usize {
        self.fifo.queued().unwrap_or(0)
    }
}
