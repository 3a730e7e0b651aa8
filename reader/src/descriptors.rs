//! How many files may be open, and how they are shared: one for each pipe, the rest for logs.
//!
//! The limit is raised as far as it goes. While pipes are opened a reserve is kept back, so that those that could be
//! opened can be drained as well.

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use standpipe_common::error::{Cannot, Result};

/// For what is no pipe: the log root, mailboxes, an archive that is made, hooks, and log directories of lanes at work.
const RESERVE: u64 = 64;

const NOFILE: &str = "RLIMIT_NOFILE";

/// The limit of open files, raised.
#[derive(Clone, Copy, Debug)]
pub struct Descriptors {
    hard: u64,
}

impl Descriptors {
    /// Raises the soft limit to the hard one.
    pub fn raise() -> Result<Descriptors> {
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).cannot("ask for", NOFILE)?;
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard).cannot("raise", NOFILE)?;
        Ok(Descriptors { hard })
    }

    /// How many there may be at all.
    pub fn hard(self) -> u64 {
        self.hard
    }

    /// How many log directories may use when so many pipes are open.
    pub fn left_for_logs(self, pipes: usize) -> usize {
        let left = usize::try_from(self.hard).unwrap_or(usize::MAX).saturating_sub(pipes);
        left.max(RESERVE as usize) - RESERVE as usize / 2
    }

    /// Does `work`, which opens pipes, with the reserve kept back.
    pub fn with_reserve<T>(self, work: impl FnOnce() -> T) -> T {
        let for_pipes = self.hard.saturating_sub(RESERVE).max(RESERVE).min(self.hard);
        // Both steps stay below the hard limit, which the kernel never refuses.
        setrlimit(Resource::RLIMIT_NOFILE, for_pipes, self.hard).ok();
        let done = work();
        setrlimit(Resource::RLIMIT_NOFILE, self.hard, self.hard).ok();
        done
    }
}
