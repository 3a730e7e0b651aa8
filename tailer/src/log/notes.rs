//! What a source has to tell.
//!
//! Invariant: of a file that cannot be read, and of a directory that cannot be listed, that is told once.

use std::collections::HashSet;

use crate::file::identity::Identity;
use crate::log::candidate::Candidate;
use crate::log::happening::Happening;
use crate::names::siblings::Unlisted;

/// What happened since somebody asked, and what is not to be told again.
#[derive(Debug, Default)]
pub struct Notes {
    happenings: Vec<Happening>,
    /// Files of which it was told that they cannot be read.
    unread: HashSet<Identity>,
    /// The directory of which it was told that it cannot be listed.
    unlisted: Option<Unlisted>,
}

impl Notes {
    /// It happened.
    pub fn tell(&mut self, happening: Happening) {
        self.happenings.push(happening);
    }

    /// All that happened since this was last asked.
    pub fn take(&mut self) -> Vec<Happening> {
        std::mem::take(&mut self.happenings)
    }

    /// How much happened.
    pub(crate) fn count(&self) -> usize {
        self.happenings.len()
    }

    /// What came after so much did not happen.
    pub(crate) fn take_back(&mut self, count: usize) {
        debug_assert!(count <= self.happenings.len(), "it was told since");
        self.happenings.truncate(count);
    }

    /// What was missed a moment ago is here.
    pub(crate) fn miss_nothing(&mut self) {
        self.happenings.retain(|happening| !matches!(happening, Happening::GenerationMissing { .. }));
    }

    pub(crate) fn tell_unread(&mut self, candidate: &Candidate) {
        if let Some(obstacle) = &candidate.obstacle
            && self.unread.insert(candidate.identity)
        {
            let (path, bytes, why) = (candidate.path.clone(), candidate.size, obstacle.to_string());
            self.tell(Happening::Unreadable { path, bytes, why });
        }
    }

    pub(crate) fn tell_unlisted(&mut self, unlisted: Unlisted) {
        if self.unlisted.as_ref() != Some(&unlisted) {
            let Unlisted { dir, errno } = self.unlisted.insert(unlisted).clone();
            self.tell(Happening::Unlisted { dir, errno });
        }
    }

    /// Everything could be listed.
    pub(crate) fn listed_all(&mut self) {
        self.unlisted = None;
    }
}
