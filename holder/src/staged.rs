//! What is held of the staging pipe beside one FIFO.
//!
//! Invariants: it is never read or written, and nothing but a FIFO is ever opened. One that is there is held
//! whatever the policy says; one that is missing is made only where the policy wants it. A pipe without it is held all
//! the same.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use standpipe_common::error::{Error, Result};
use standpipe_common::fifo::{self, Fifo, Identity};
use standpipe_common::shown::Shown as _;
use standpipe_common::staging;

use crate::retired::Reason;
use crate::stage;
use crate::trouble::Trouble;

/// The staging pipe of one target.
#[derive(Debug, Default)]
pub struct Staged {
    /// Where it stands, or would stand.
    path: PathBuf,
    fifo: Option<Fifo>,
    /// What is wrong with it, as it was said last.
    trouble: Trouble,
}

/// What a look at it came to.
#[derive(Debug, Default)]
pub struct StageLook {
    /// It was made.
    pub is_made: bool,
    /// What was held until now and is so no more, and why.
    pub left: Option<(Fifo, Reason)>,
    /// What is wrong and has not been said.
    pub error: Option<Error>,
}

/// What stands beside the target.
enum AtStage {
    Nothing,
    Same,
    Another { fifo: Fifo, is_made: bool },
}

impl Staged {
    /// Whether one stands beside `target` now.
    pub fn is_beside(target: &Path) -> bool {
        fifo::look_itself(&staging::beside(target)).is_ok()
    }

    /// What is held.
    pub fn fifo(&self) -> Option<&Fifo> {
        self.fifo.as_ref()
    }

    /// Where it stands.
    pub fn path(&self) -> &Path {
        debug_assert!(self.fifo.is_none() || self.path.is_absolute(), "{}", self.path.shown());
        &self.path
    }

    /// Gives up the target.
    pub fn into_fifo(self) -> Option<Fifo> {
        self.fifo
    }

    /// Whether no descriptor was left for it at the last look.
    pub fn is_starved(&self) -> bool {
        self.trouble.is_starved()
    }

    /// What was wrong is said again if it still is: somebody asks anew.
    pub fn forget_trouble(&mut self) {
        self.trouble.end();
    }

    /// Looks at what stands beside `target`, the FIFO itself, and holds it; makes it if it is `wanted` and missing.
    pub fn look(&mut self, target: &Path, wanted: bool) -> StageLook {
        let mut looked = StageLook::default();
        let path = staging::beside(target);
        if self.path != path {
            stage::clear(&path);
            looked.left = self.fifo.take().map(|fifo| (fifo, Reason::Replaced));
            *self = Staged { path, ..Staged::default() };
        }
        match self.find(target, wanted) {
            Ok(AtStage::Same) => drop(self.trouble.end()),
            Ok(AtStage::Nothing) => {
                self.trouble.end();
                looked.left = looked.left.or(self.fifo.take().map(|fifo| (fifo, Reason::Removed)));
            }
            Ok(AtStage::Another { fifo, is_made }) => {
                self.trouble.end();
                lock(&fifo);
                looked.is_made = is_made;
                looked.left = looked.left.or(self.fifo.replace(fifo).map(|fifo| (fifo, Reason::Replaced)));
            }
            Err(error) => looked.error = self.trouble.is_news(&error).then_some(error),
        }
        looked
    }

    /// Gives it this size. What is refused costs no more than speed.
    pub fn fit(&self, bytes: usize) {
        if let Some(fifo) = self.fifo.as_ref().filter(|fifo| fifo.capacity().is_ok_and(|now| now != bytes)) {
            fifo.set_capacity(bytes).ok();
        }
    }

    fn find(&self, target: &Path, wanted: bool) -> Result<AtStage> {
        let is_made = match fifo::look_itself(&self.path) {
            Ok(there) if Some(there) == self.identity() => return Ok(AtStage::Same),
            Ok(_) => false,
            Err(error) if error.errno() == Some(Errno::ENOENT) && wanted => stage::make(&self.path, target)?,
            Err(error) if wanted => return Err(error),
            // Nothing, or a file of that name that is none of ours.
            Err(error) if error.errno().is_none_or(|errno| errno == Errno::ENOENT) => return Ok(AtStage::Nothing),
            Err(error) if self.fifo.is_some() => return Err(error),
            Err(_) => return Ok(AtStage::Nothing),
        };
        Ok(AtStage::Another { fifo: Fifo::open_itself(&self.path)?, is_made })
    }

    fn identity(&self) -> Option<Identity> {
        self.fifo.as_ref().map(Fifo::identity)
    }
}

/// Tells the tailer that somebody holds it. A refusal costs no more than a message of the tailer's.
fn lock(fifo: &Fifo) {
    let byte = libc::flock {
        l_type: libc::F_RDLCK as i16,
        l_whence: libc::SEEK_SET as i16,
        l_start: staging::HOLDER_LOCK_BYTE,
        l_len: 1,
        l_pid: 0,
    };
    fcntl(fifo.as_fd(), FcntlArg::F_OFD_SETLK(&byte)).ok();
}
