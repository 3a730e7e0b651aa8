//! How a lane writes: its policy, checked against this machine.

use std::time::Duration;

use nix::unistd::Gid;
use standpipe_common::account;
use standpipe_common::error::{Cannot, Error, Result};
use standpipe_common::policy::{Compress, Level, Policy};
use standpipe_common::stamp::Stamper;
use standpipe_common::units::Limit;

use crate::disk::FileMode;
use crate::rotation::Triggers;

/// How a lane writes: its policy, as far as the reader needs it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What is put before each line.
    pub stamper: Stamper,
    /// When a part ends.
    pub triggers: Triggers,
    /// How files are made.
    pub mode: FileMode,
    /// What the archiver does with sealed segments. `None`: they stay plain.
    pub level: Option<Level>,
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
        Ok(Settings {
            stamper: policy.stamper.clone(),
            triggers: Triggers {
                size: policy.rotate_size,
                age: policy.rotate_age,
                at: policy.rotate_at,
                zone: policy.zone.clone(),
                line_bytes_max: policy.max_line,
            },
            mode: FileMode { mode: policy.file_mode, group },
            level: (policy.compress == Compress::Zstd).then_some(policy.level),
            tick: policy.tick,
            warn_fill: policy.warn_fill,
            warn_after: policy.warn_after,
        })
    }
}

fn find_group(name: &str) -> Result<Gid> {
    let group = account::group(name).cannot("find group", name)?;
    group.ok_or_else(|| Error::because("find group", name, "there is none of that name"))
}
