//! What the kernel allows this process: descriptors, memory for pipes.
//!
//! Only asked here, but for the limit of descriptors, which is raised. What follows from the answers is decided in
//! [`crate::sizing`] and [`crate::create`].

use std::fs;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use standpipe_common::capability;
use standpipe_common::error::{Cannot, Result};

/// Descriptors that pipes may not use up: the directory and its policies must be readable on HUP.
const RESERVE: u64 = 8;

const PAGES_SOFT: &str = "/proc/sys/fs/pipe-user-pages-soft";
const NOFILE: &str = "RLIMIT_NOFILE";

/// The limit of open files, raised as far as it goes.
#[derive(Clone, Copy, Debug)]
pub struct Descriptors {
    hard: u64,
}

impl Descriptors {
    /// Raises the soft limit to the hard one, less a reserve.
    pub fn raise() -> Result<Descriptors> {
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).cannot("ask for", NOFILE)?;
        let descriptors = Descriptors { hard };
        descriptors.set(descriptors.for_pipes()).cannot("raise", NOFILE)?;
        Ok(descriptors)
    }

    /// How many there may be at all.
    pub fn hard(self) -> u64 {
        self.hard
    }

    /// Does `work` with the reserve at hand.
    pub fn with_reserve<T>(self, work: impl FnOnce() -> T) -> T {
        // Both steps stay below the hard limit, which the kernel never refuses.
        self.set(self.hard).ok();
        let done = work();
        self.set(self.for_pipes()).ok();
        done
    }

    fn for_pipes(self) -> u64 {
        self.hard.saturating_sub(RESERVE).max(RESERVE)
    }

    fn set(self, soft: u64) -> nix::Result<()> {
        setrlimit(Resource::RLIMIT_NOFILE, soft.min(self.hard), self.hard)
    }
}

/// The pages that the pipes of this user may have together. `None`: any number.
pub fn pipe_pages_soft() -> Option<u64> {
    if capability::is_privileged_for_pipes() {
        return None;
    }
    let pages = fs::read_to_string(PAGES_SOFT).ok().and_then(|text| text.trim().parse().ok());
    pages.filter(|&pages| pages > 0)
}
