//! Those that wait for their turn, each once. Where all get one in the same round it is asked for the oldest, or for the
//! one that waits longest. Where time does not go that far, one of each group comes after the other, and of each group
//! whoever waits longest: fifty thousand files under one glob are not in front of a single file of another entry. Pure.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::out::lines::SourceId;

/// Among whom one has his turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// The files of one entry of the configuration.
    Files(usize),
    /// A spool, alone.
    Spool(SourceId),
}

/// Those that wait.
#[derive(Debug, Default)]
pub struct Fair {
    waiting: BTreeMap<SourceId, (Group, u64)>,
    /// By when they came.
    line: BTreeMap<u64, SourceId>,
    /// The same for each group; none is empty.
    lines: BTreeMap<Group, BTreeMap<u64, SourceId>>,
    /// How many came.
    came: u64,
    /// Of which group the last one was that had his turn as one of it.
    last: Option<Group>,
}

impl Fair {
    /// One of this group waits from now on, if he does not already.
    pub fn push(&mut self, group: Group, source: SourceId) {
        if self.waiting.contains_key(&source) {
            return;
        }
        let came = self.came;
        self.came += 1;
        self.waiting.insert(source, (group, came));
        self.line.insert(came, source);
        self.lines.entry(group).or_default().insert(came, source);
    }

    /// The oldest source.
    pub fn pop_oldest(&mut self) -> Option<SourceId> {
        let source = *self.waiting.first_key_value()?.0;
        self.remove(source).then_some(source)
    }

    /// The one that waits longest.
    pub fn pop_first(&mut self) -> Option<SourceId> {
        let source = self.first()?;
        self.remove(source).then_some(source)
    }

    /// The one of the next group that waits longest.
    pub fn pop_fair(&mut self) -> Option<SourceId> {
        let behind = (self.last.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        let (group, line) = self.lines.range(behind).chain(&self.lines).next()?;
        let source = *line.first_key_value()?.1;
        self.last = Some(*group);
        self.remove(source).then_some(source)
    }

    /// He waits no longer. Whether he did.
    pub fn remove(&mut self, source: SourceId) -> bool {
        let Some((group, came)) = self.waiting.remove(&source) else { return false };
        self.line.remove(&came);
        let is_last = self.lines.get_mut(&group).is_none_or(|line| {
            line.remove(&came);
            line.is_empty()
        });
        if is_last {
            self.lines.remove(&group);
        }
        debug_assert_eq!(self.waiting.len(), self.line.len());
        true
    }

    /// Whether he waits.
    pub fn has(&self, source: SourceId) -> bool {
        self.waiting.contains_key(&source)
    }

    /// Who waits longest.
    pub fn first(&self) -> Option<SourceId> {
        self.line.first_key_value().map(|(_, source)| *source)
    }

    /// All, in the order in which they came.
    pub fn iter(&self) -> impl Iterator<Item = SourceId> {
        self.line.values().copied()
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether nobody does.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled() -> Fair {
        let mut fair = Fair::default();
        for (entry, source) in [(0, 3), (0, 1), (0, 2), (0, 3), (7, 4), (3, 6), (3, 5), (0, 1), (1, 3)] {
            fair.push(Group::Files(entry), SourceId(source));
        }
        assert_eq!(fair.len(), 6);
        fair
    }

    fn order(mut pop: impl FnMut(&mut Fair) -> Option<SourceId>) -> Vec<u32> {
        let mut fair = filled();
        let mut order = Vec::new();
        while let Some(SourceId(source)) = pop(&mut fair) {
            order.push(source);
            if order.len() == 4 {
                // Who is there again waits for all others of the group.
                fair.push(Group::Files(0), SourceId(3));
            }
        }
        assert!(fair.is_empty() && fair.line.is_empty() && fair.lines.is_empty());
        order
    }

    #[test]
    fn the_oldest_or_first_comes_first_or_one_of_each_group_after_the_other_and_nobody_twice() {
        assert_eq!(order(Fair::pop_oldest), [1, 2, 3, 4, 3, 5, 6]);
        assert_eq!(order(Fair::pop_first), [3, 1, 2, 4, 6, 5, 3]);
        assert_eq!(order(Fair::pop_fair), [3, 6, 4, 1, 5, 2, 3]);
        let mut fair = filled();
        assert!(fair.remove(SourceId(4)) && !fair.remove(SourceId(4)) && !fair.has(SourceId(4)));
        assert_eq!(fair.iter().map(|source| source.0).collect::<Vec<_>>(), [3, 1, 2, 6, 5]);
    }
}
