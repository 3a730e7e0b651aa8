//! What a killed process left on its way into a pipe: read no more, for its record sees to it, and not yet delivered.
//!
//! A checkpoint that counted it would lose it where the machine is started anew before it arrived: the record is worth
//! nothing then. So until it has arrived, checkpoints say of its generations what was true before.

use std::path::PathBuf;

use crate::checkpoint::state::{GenerationState, SourceState};

/// Generations as they were before, by the path of their source; oldest first.
#[derive(Debug, Default)]
pub struct HeldBack(Vec<(PathBuf, GenerationState)>);

impl HeldBack {
    /// Adds one.
    pub fn add(&mut self, path: PathBuf, before: GenerationState) {
        self.0.push((path, before));
    }

    /// It has arrived.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Whether there is nothing on its way.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Changes what a checkpoint is to say. A generation that is done with since then is none yet.
    pub fn apply(&self, states: &mut [SourceState]) {
        for (path, before) in self.0.iter().rev() {
            let Some(state) = states.iter_mut().find(|state| state.path == *path) else { continue };
            let is_it = |generation: &&mut GenerationState| generation.origin == before.origin;
            if let Some(generation) = state.generations.iter_mut().find(is_it) {
                *generation = GenerationState { copy: generation.copy, ..before.clone() };
            } else {
                state.done.retain(|done| done.origin.identity != before.origin.identity);
                state.generations.insert(0, before.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::state::DoneState;
    use crate::file::identity::{Identity, Origin};

    fn generation(ino: u64, offset: u64) -> GenerationState {
        let origin = Origin { identity: Identity { ino, ..Identity::default() }, epoch: 0 };
        GenerationState { origin, offset, ..GenerationState::default() }
    }

    #[test]
    fn what_did_not_arrive_is_not_counted() {
        let mut held_back = HeldBack::default();
        for before in [generation(1, 10), generation(2, 20), generation(3, 0)] {
            held_back.add("a".into(), before);
        }
        let done = [1, 2, 9].map(|ino| DoneState { origin: generation(ino, 0).origin, ..DoneState::default() });
        let state = SourceState {
            path: "a".into(),
            generations: vec![generation(3, 300), generation(4, 0)],
            done: done.to_vec(),
            ..SourceState::default()
        };
        let other = SourceState { path: "b".into(), generations: vec![generation(7, 7)], ..SourceState::default() };
        let mut states = [state, other.clone()];
        held_back.apply(&mut states);
        let expected = [generation(1, 10), generation(2, 20), generation(3, 0), generation(4, 0)];
        assert_eq!(states[0].generations, expected);
        assert_eq!(states[0].done, done[2..]);
        assert_eq!(states[1], other);
    }
}
