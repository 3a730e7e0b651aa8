//! Keeps the checkpoint: what of all sources is to be remembered, and when it is written.
//!
//! Invariants: a changed list of generations is on disk before bytes of it are on their way (without a sync: it outlives
//! this process); positions follow once a second, durably. What is remembered of files that are not followed now is kept
//! until they are followed again. A disk that refuses stops nothing: it is said once, and tried again.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::backoff::Backoff;
use crate::checkpoint::Checkpoint;
use crate::state::SourceState;

/// How often positions are made durable while they change.
const SAVE_SPAN: Duration = Duration::from_secs(1);

/// The checkpoint, and what is not yet in it.
#[derive(Debug)]
pub struct Keeper {
    checkpoint: Checkpoint,
    /// Of files that are not followed now.
    others: BTreeMap<PathBuf, SourceState>,
    is_changed: bool,
    saved: Instant,
    trouble: Backoff,
}

impl Keeper {
    /// Begins with what was loaded.
    pub fn new(checkpoint: Checkpoint, known: Vec<SourceState>, now: Instant) -> Keeper {
        let others = known.into_iter().map(|state| (state.path.clone(), state)).collect();
        Keeper { checkpoint, others, is_changed: false, saved: now, trouble: Backoff::default() }
    }

    /// What is remembered of a file that is followed from now on.
    pub fn take(&mut self, path: &PathBuf) -> Option<SourceState> {
        self.others.remove(path)
    }

    /// A file is followed no longer.
    pub fn give_back(&mut self, state: SourceState) {
        self.is_changed = true;
        self.others.insert(state.path.clone(), state);
    }

    /// Paths that are remembered and not followed.
    pub fn others(&self) -> impl Iterator<Item = &SourceState> {
        self.others.values()
    }

    /// A position changed.
    pub fn note(&mut self) {
        self.is_changed = true;
    }

    /// Whether all of it would survive power loss.
    pub fn is_durable(&self) -> bool {
        !self.is_changed
    }

    /// When positions are to be written. `None`: nothing changed.
    pub fn due(&self) -> Option<Instant> {
        let next = self.trouble.due().unwrap_or(self.saved + SAVE_SPAN);
        self.is_changed.then_some(next)
    }

    /// Writes everything; returns a sentence if that failed and was not said yet.
    pub fn save(&mut self, states: Vec<SourceState>, is_durable: bool, now: Instant) -> Option<String> {
        let mut all = states;
        all.extend(self.others.values().cloned());
        match self.checkpoint.save(&all, is_durable) {
            Ok(()) => {
                self.is_changed = !is_durable;
                if is_durable {
                    self.saved = now;
                }
                self.trouble.succeeded();
                None
            }
            Err(error) => {
                self.is_changed = true;
                let is_first = self.trouble.due().is_none();
                self.trouble.failed(now);
                is_first.then(|| format!("{error}; a crash would repeat what is delivered from now on"))
            }
        }
    }
}
