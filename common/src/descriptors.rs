//! How many files this process may have open, and a few of them kept back where pipes could use up all.
//!
//! Whoever opens pipes by the thousand must still be able to read a directory, make a log or answer a HUP.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::error::{Cannot, Result};

const NOFILE: &str = "RLIMIT_NOFILE";

/// The limit of open files, raised as far as it goes.
#[derive(Clone, Copy, Debug)]
pub struct Descriptors {
    hard: u64,
    reserve: u64,
}

impl Descriptors {
    /// Raises the soft limit to the hard one. `reserve` of them can be kept back.
    pub fn raise(reserve: u64) -> Result<Descriptors> {
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).cannot("read", NOFILE)?;
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard).cannot("raise", NOFILE)?;
        Ok(Descriptors { hard, reserve })
    }

    /// How many there may be at all.
    pub fn hard(self) -> u64 {
        self.hard
    }

    /// How many are left beside so many pipes and half of the reserve.
    pub fn beside(self, pipes: usize) -> usize {
        let left = usize::try_from(self.hard).unwrap_or(usize::MAX).saturating_sub(pipes);
        left.max(self.reserve as usize) - self.reserve as usize / 2
    }

    /// From here on the reserve cannot be used.
    pub fn keep_back(self) {
        let soft = self.hard.saturating_sub(self.reserve).max(self.reserve).min(self.hard);
        // Below the hard limit, which the kernel never refuses.
        debug_assert!(soft <= self.hard, "{soft} of {}", self.hard);
        setrlimit(Resource::RLIMIT_NOFILE, soft, self.hard).ok();
    }

    /// From here on it can.
    pub fn release(self) {
        setrlimit(Resource::RLIMIT_NOFILE, self.hard, self.hard).ok();
    }
}
