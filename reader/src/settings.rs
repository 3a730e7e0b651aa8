//! How a lane writes: its policy, checked against this machine.

use std::sync::Arc;
use std::time::Duration;

use nix::unistd::Gid;
use standpipe_common::account;
use standpipe_common::error::{Cannot, Error, Result};
use standpipe_common::policy::Policy;
use standpipe_common::stamp::Stamper;

use crate::disk::FileMode;
use crate::rotation::Triggers;
use crate::upkeep::Upkeep;

/// How a lane writes: its policy, as far as the reader needs it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What is put before each line.
    pub stamper: Stamper,
    /// When a part ends.
    pub triggers: Triggers,
    /// How files are made.
    pub mode: FileMode,
    /// What becomes of sealed parts.
    pub upkeep: Arc<Upkeep>,
    /// Span between two reads of a busy pipe.
    pub tick: Duration,
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
            triggers: Triggers {
                size: policy.rotate_size,
                age: policy.rotate_age,
                at: policy.rotate_at,
                zone: policy.zone.clone(),
                line_bytes_max: policy.max_line,
            },
            mode,
            upkeep: Arc::new(Upkeep::from_policy(policy, mode)),
            tick: policy.tick,
        })
    }

    /// Of a pipe whose policy file is wrong: nothing is deleted for it.
    #[must_use]
    pub fn harmless(self) -> Settings {
        let upkeep = Arc::new(Upkeep::clone(&self.upkeep).harmless());
        Settings { upkeep, ..self }
    }
}

fn find_group(name: &str) -> Result<Gid> {
    let group = account::group(name).cannot("find group", name)?;
    group.ok_or_else(|| Error::because("find group", name, "there is none of that name"))
}
