//! The generations of a log, oldest first. The only place that adds, removes and reorders them, and that notes that a
//! checkpoint is to say something else of them than the last one: it does so itself.
//!
//! Invariants: one of them at most has the live name, and that is the last; each has a number of its own.

use std::collections::VecDeque;
use std::ops::Deref;
use std::path::Path;
use std::time::Instant;

use crate::changed::Changed;
use crate::log::generation::Generation;
use crate::out::lines::{GenerationId, SourceId};

/// The generations of one source. What is read of them is read as of a list.
#[derive(Debug)]
pub struct Chain {
    list: VecDeque<Generation>,
    source: SourceId,
    /// How many numbers were given.
    made: u32,
    changed: Changed,
}

impl Chain {
    /// None so far.
    pub fn new(source: SourceId) -> Chain {
        // Most have one generation at nearly all times, and a deque would begin with room for four.
        Chain { list: VecDeque::with_capacity(1), source, made: 0, changed: Changed::default() }
    }

    /// A number for the next one.
    pub fn new_id(&mut self) -> GenerationId {
        self.made += 1;
        GenerationId::new(self.source, self.made)
    }

    /// Whether a checkpoint is to say something else since this was last asked.
    pub fn take_changed(&mut self) -> bool {
        self.changed.take()
    }

    /// The one with the live name.
    pub fn live(&self) -> Option<&Generation> {
        self.list.back().filter(|last| last.is_live())
    }

    /// The same. What a checkpoint says of it stays.
    pub fn live_mut(&mut self) -> Option<&mut Generation> {
        self.list.back_mut().filter(|last| last.is_live())
    }

    /// The one of this number. What a checkpoint says of it stays.
    pub fn by_id(&mut self, id: GenerationId) -> Option<&mut Generation> {
        self.list.iter_mut().find(|generation| generation.id() == id)
    }

    /// One of them. What a checkpoint says of it stays.
    pub fn at(&mut self, index: usize) -> &mut Generation {
        &mut self.list[index]
    }

    /// All of them. What a checkpoint says of them stays.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Generation> {
        self.list.iter_mut()
    }

    /// One of them, of which a checkpoint is to say something else from now on.
    pub fn alter(&mut self, index: usize) -> &mut Generation {
        self.changed.note();
        &mut self.list[index]
    }

    /// The same of the one with the live name.
    pub fn alter_live(&mut self) -> Option<&mut Generation> {
        self.live()?;
        Some(self.alter(self.list.len() - 1))
    }

    /// These are what a checkpoint says, in any order.
    pub fn take_up(&mut self, generations: Vec<Generation>) {
        let (live, others): (Vec<_>, Vec<_>) = generations.into_iter().partition(Generation::is_live);
        self.list = others.into_iter().chain(live).collect();
        self.check();
    }

    /// The newest one.
    pub fn push(&mut self, generation: Generation) {
        self.insert(self.list.len(), generation);
    }

    /// Behind all that have lost the live name.
    pub fn insert_before_live(&mut self, generation: Generation) {
        let at = self.list.len() - usize::from(self.live().is_some());
        self.insert(at, generation);
    }

    /// In this place.
    pub fn insert(&mut self, at: usize, generation: Generation) {
        self.list.insert(at, generation);
        self.changed.note();
        self.check();
    }

    /// Nothing is left to be done with it.
    pub fn remove(&mut self, index: usize) -> Option<Generation> {
        let generation = self.list.remove(index)?;
        self.list.shrink_to_fit();
        self.changed.note();
        self.check();
        Some(generation)
    }

    /// The one with the live name is none of ours.
    pub fn remove_live(&mut self) -> Option<Generation> {
        self.live()?;
        self.remove(self.list.len() - 1)
    }

    /// Those that were kept back and have lost the live name since are none of ours under this one.
    pub fn drop_kept_back(&mut self) {
        let before = self.list.len();
        self.list.retain(|generation| generation.beginning().twin().is_none() || generation.is_live());
        if self.list.len() < before {
            self.changed.note();
        }
    }

    /// Nobody has the live name that had it; `true`: somebody had.
    pub fn leave_live(&mut self, now: Instant) -> bool {
        let live = self.alter_live();
        live.map(|live| live.rename(false, now)).is_some()
    }

    /// One that had lost it has the live name, which is free.
    pub fn give_back_live(&mut self, index: usize, path: &Path, now: Instant) {
        debug_assert!(self.live().is_none(), "the name is free");
        let Some(mut generation) = self.list.remove(index) else { return };
        generation.come_back(path, now);
        self.push(generation);
    }

    /// In debug builds: the invariants hold.
    fn check(&self) {
        let older = self.list.len().saturating_sub(1);
        debug_assert!(!self.list.iter().take(older).any(Generation::is_live), "the live one is the last");
        let is_last_of_its_number =
            |(index, one): (usize, &Generation)| self.list.iter().skip(index + 1).all(|other| other.id() != one.id());
        debug_assert!(self.list.iter().enumerate().all(is_last_of_its_number), "each has its own number");
    }
}

impl Deref for Chain {
    type Target = VecDeque<Generation>;

    fn deref(&self) -> &VecDeque<Generation> {
        &self.list
    }
}
