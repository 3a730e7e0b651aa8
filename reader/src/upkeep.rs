//! What a lane wants done with its sealed parts.

use std::sync::Arc;
use std::time::Duration;

use standpipe_common::fifo::Identity;
use standpipe_common::part::PartName;
use standpipe_common::policy::{Compress, Durability, Hook, Keep, Level, Policy, SearchFilter};

use crate::disk::FileMode;
use crate::status::board::Gauge;

/// What becomes of sealed parts: a policy, as far as the archiver needs it.
#[derive(Clone, Debug)]
pub struct Upkeep {
    /// Compression level. `None`: segments stay plain.
    pub level: Option<Level>,
    /// How long they stay plain before that.
    pub after: Duration,
    /// Whether archives get a search filter.
    pub filter: SearchFilter,
    /// How the files are made.
    pub mode: FileMode,
    /// How much is kept. `None`: nothing may be deleted.
    pub keep: Option<Keep>,
    /// What is made durable before there is an archive.
    pub sync: Durability,
    /// What each archive is handed over to.
    pub hook: Option<HookCall>,
}

/// A hook, and how long it may take.
#[derive(Clone, Debug)]
pub struct HookCall {
    /// The program and its arguments.
    pub hook: Hook,
    /// When it is ended.
    pub timeout: Duration,
}

impl Upkeep {
    /// Of a checked policy.
    pub fn from_policy(policy: &Policy, mode: FileMode) -> Upkeep {
        let level = (policy.compress == Compress::Zstd).then_some(policy.level);
        let hook = policy.hook.clone().map(|hook| HookCall { hook, timeout: policy.hook_timeout });
        Upkeep {
            level,
            after: policy.archive_after,
            filter: policy.search_filter,
            mode,
            keep: Some(policy.keep),
            sync: policy.sync,
            hook,
        }
    }

    /// Of a pipe whose policy file is wrong: nothing is deleted and nothing run for it.
    #[must_use]
    pub fn harmless(self) -> Upkeep {
        Upkeep { keep: None, hook: None, ..self }
    }

    /// Sealed parts become archives, and at once.
    pub fn archives_at_once(&self) -> bool {
        self.level.is_some() && self.after.is_zero()
    }
}

/// What a lane says of its log directory.
#[derive(Clone, Debug)]
pub struct Order {
    /// The directory itself, whatever stands under the lane's name by now.
    pub dir: Identity,
    /// The segment that is written: every older one is sealed, and nothing else is.
    pub active: PartName,
    /// What becomes of the sealed ones.
    pub upkeep: Arc<Upkeep>,
    /// Where the lane shows how much waits.
    pub gauge: Gauge,
}
