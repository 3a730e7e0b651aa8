//! What the next look at a source is to do: what a checkpoint said is taken up in the first, files around are listed where
//! something tells to, and a list that waits for packed files goes on with what it was begun with.
//!
//! Invariant: what a checkpoint said is there until the first look, and only then.

use std::time::Instant;

use crate::checkpoint::state::SourceState;

/// With what a list is made.
#[derive(Debug)]
pub struct Task {
    /// Nothing is known of the files around but what a checkpoint says.
    pub is_first: bool,
    /// What that says.
    pub restored: Option<SourceState>,
}

/// All of it.
#[derive(Debug, Default)]
pub struct Agenda {
    restored: Option<SourceState>,
    /// How often it was looked at in this run.
    looks: u64,
    /// When files around are to be listed without a hint.
    list_at: Option<Instant>,
    /// The last look found a truncation, or missed a file: its list of the files around may be older than the copy.
    is_cut: bool,
    /// A file could not be opened because no descriptor was left.
    wants_descriptor: bool,
    /// The list that waits for packed files.
    postponed: Option<Task>,
}

impl Agenda {
    /// A checkpoint is to be taken up.
    pub fn restore(state: SourceState) -> Agenda {
        Agenda { restored: Some(state), ..Agenda::default() }
    }

    /// A look begins: what it is to do, and whether the files around are to be listed.
    pub fn begin_look(&mut self, has_names: bool, now: Instant) -> (Task, bool) {
        let task = Task { is_first: self.looks == 0, restored: self.restored.take() };
        debug_assert!(task.is_first || task.restored.is_none(), "it is taken up in the first look");
        self.looks += 1;
        self.wants_descriptor = false;
        let lists = self.is_cut || task.is_first || has_names || self.list_at.is_some_and(|at| at <= now);
        (task, lists)
    }

    /// What a checkpoint said, as long as nobody looked.
    pub fn restored(&self) -> Option<&SourceState> {
        debug_assert!(self.restored.is_none() || self.looks == 0, "the first look takes it");
        self.restored.as_ref()
    }

    /// Whether nobody looked yet.
    pub fn is_untouched(&self) -> bool {
        self.looks == 0
    }

    /// Whether this look, or the last one, is the first.
    pub fn is_first(&self) -> bool {
        self.looks <= 1
    }

    /// Whether a checkpoint can say something.
    pub fn is_known(&self) -> bool {
        self.looks > 0 || self.restored.is_some()
    }

    /// Whether there is nothing to be done.
    pub fn is_clear(&self) -> bool {
        self.looks > 0 && self.list_at.is_none()
    }

    /// This look found a truncation or missed a file, or it did not: if so, the next one lists anew.
    pub fn note_cut(&mut self, is_cut: bool) {
        self.is_cut = is_cut;
    }

    /// Whether it did.
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// The files around are to be listed then at the latest.
    pub fn list_by(&mut self, at: Instant) {
        self.list_at = Some(self.list_at.map_or(at, |other| other.min(at)));
    }

    /// They are being listed.
    pub fn begin_list(&mut self) {
        self.list_at = None;
    }

    /// When they are to be listed without a hint.
    pub fn list_at(&self) -> Option<Instant> {
        self.list_at
    }

    /// The list waits.
    pub fn postpone(&mut self, task: Task) {
        debug_assert!(self.postponed.is_none(), "it goes on with the one that waits");
        self.postponed = Some(task);
    }

    /// The list that waits, else this one.
    pub fn resume(&mut self, task: Task) -> Task {
        self.postponed.take().unwrap_or(task)
    }

    /// A file could not be opened because no descriptor was left, if so.
    pub fn want_descriptor(&mut self, wants: bool) {
        self.wants_descriptor |= wants;
    }

    /// Whether that was so in the last look.
    pub fn wants_descriptor(&self) -> bool {
        self.wants_descriptor
    }
}
