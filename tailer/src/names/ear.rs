//! How one hears of changes in a place, and so how soon one looks there without a hint.

use std::time::Duration;

/// How often everything is looked at although nothing tells of a change.
pub const RECONCILE_SPAN: Duration = Duration::from_secs(5);

/// What is known of who tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ear {
    /// Nobody does: one has to look.
    #[default]
    Polls,
    /// Something tells of every change.
    Told,
}

impl Ear {
    /// By whether everything is watched.
    pub fn of(is_watched: bool) -> Ear {
        if is_watched { Ear::Told } else { Ear::Polls }
    }

    /// How long after a look the next one is due.
    pub fn interval(self, poll_interval: Duration) -> Duration {
        match self {
            Ear::Polls => poll_interval,
            Ear::Told => RECONCILE_SPAN,
        }
    }
}
