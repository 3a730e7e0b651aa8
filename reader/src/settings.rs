//! How a lane writes: its policy, checked against this machine.

use std::sync::Arc;
use std::time::Duration;

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};
use nix::unistd::{Gid, getegid, geteuid, getgroups};
use standpipe_common::account;
use standpipe_common::error::{Cannot, Error, Result};
use standpipe_common::part::Pattern;
use standpipe_common::policy::Policy;
use standpipe_common::stamp::Stamper;
use standpipe_common::units::Limit;

use crate::disk::FileMode;
use crate::rotation::Triggers;
use crate::upkeep::Upkeep;

/// How a lane writes: its policy, as far as the reader needs it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What is put before each line.
    pub stamper: Stamper,
    /// How parts are named.
    pub filename: Pattern,
    /// When a part ends.
    pub triggers: Triggers,
    /// How files are made.
    pub mode: FileMode,
    /// What becomes of sealed parts.
    pub upkeep: Arc<Upkeep>,
    /// Span between two reads of a busy pipe.
    pub tick: Duration,
    /// The part of its capacity from which a pipe counts as crowded; a full one always does.
    pub warn_fill: Limit<f64>,
    /// How long a pipe is crowded before that is said.
    pub warn_after: Limit<Duration>,
}

impl Settings {
    /// From a checked policy.
    ///
    /// # Errors
    /// `file_group` names a group that does not exist.
    pub fn from_policy(policy: &Policy) -> Result<Settings> {
        let group = policy.file_group.as_deref().map(find_group).transpose()?;
        let mode = FileMode { mode: policy.file_mode, group };
        Ok(Settings {
            stamper: policy.stamper.clone(),
            filename: policy.filename.clone(),
            triggers: Triggers {
                size: within_file_limit(policy.rotate_size, file_bytes_max()),
                age: policy.rotate_age,
                at: policy.rotate_at.clone(),
                zone: policy.zone.clone(),
                line_bytes_max: policy.max_line,
            },
            mode,
            upkeep: Arc::new(Upkeep::from_policy(policy, mode)),
            tick: policy.tick,
            warn_fill: policy.warn_fill,
            warn_after: policy.warn_after,
        })
    }

    /// Of a pipe whose policy file is wrong: nothing is deleted for it.
    #[must_use]
    pub fn harmless(self) -> Settings {
        let upkeep = Arc::new(Upkeep::clone(&self.upkeep).harmless());
        Settings { upkeep, ..self }
    }
}

/// The longest file that this process may write. `None`: there is no limit.
fn file_bytes_max() -> Option<u64> {
    let (_, hard) = getrlimit(Resource::RLIMIT_FSIZE).ok()?;
    setrlimit(Resource::RLIMIT_FSIZE, hard, hard).ok();
    (hard != RLIM_INFINITY).then_some(hard)
}

/// A part must end before its file may grow no more, with room for a long line.
fn within_file_limit(size: Limit<u64>, file_bytes_max: Option<u64>) -> Limit<u64> {
    match file_bytes_max {
        Some(bytes) => Limit::At(size.at().unwrap_or(u64::MAX).min(bytes / 2)),
        None => size,
    }
}

fn find_group(name: &str) -> Result<Gid> {
    let group = account::group(name).cannot("find group", name)?;
    let group = group.ok_or_else(|| Error::because("find group", name, "no group of that name"))?;
    let is_ours = geteuid().is_root() || getegid() == group || getgroups().is_ok_and(|ours| ours.contains(&group));
    if is_ours {
        Ok(group)
    } else {
        Err(Error::because("give files to group", name, "the user of reader is not in it"))
    }
}
