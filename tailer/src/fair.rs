//! Sources that wait for their turn, each once. Where all get one in the same round it is asked for the oldest source, or
//! for the one that waits longest. Where time does not go that far, one of each entry of the configuration comes after the
//! other, and of each entry whoever waits longest: fifty thousand files under one glob are not in front of a single file of
//! another entry. Pure.

use std::collections::BTreeMap;

use crate::lines::SourceId;

/// Those that wait.
#[derive(Debug, Default)]
pub struct Fair {
    waiting: BTreeMap<SourceId, Place>,
    /// By when they came.
    line: BTreeMap<u64, SourceId>,
    /// The same for each entry, by its place in the configuration; none is empty.
    lines: BTreeMap<usize, BTreeMap<u64, SourceId>>,
    /// How many came.
    came: u64,
    /// The entry whose turn it is, or the first one behind it.
    next: usize,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    entry: usize,
    came: u64,
}

impl Fair {
    /// A source of this entry waits from now on, if it does not already.
    pub fn push(&mut self, entry: usize, source: SourceId) {
        if self.waiting.contains_key(&source) {
            return;
        }
        let came = self.came;
        self.came += 1;
        self.waiting.insert(source, Place { entry, came });
        self.line.insert(came, source);
        self.lines.entry(entry).or_default().insert(came, source);
    }

    /// The oldest source.
    pub fn pop_oldest(&mut self) -> Option<SourceId> {
        let source = *self.waiting.first_key_value()?.0;
        self.take(source)
    }

    /// The one that waits longest.
    pub fn pop_first(&mut self) -> Option<SourceId> {
        let source = *self.line.first_key_value()?.1;
        self.take(source)
    }

    /// The one of the next entry that waits longest.
    pub fn pop_fair(&mut self) -> Option<SourceId> {
        let (entry, line) = self.lines.range(self.next..).chain(&self.lines).next()?;
        let source = *line.first_key_value()?.1;
        self.next = entry + 1;
        self.take(source)
    }

    fn take(&mut self, source: SourceId) -> Option<SourceId> {
        let Place { entry, came } = self.waiting.remove(&source)?;
        self.line.remove(&came);
        let line = self.lines.get_mut(&entry)?;
        line.remove(&came);
        if line.is_empty() {
            self.lines.remove(&entry);
        }
        debug_assert_eq!(self.waiting.len(), self.line.len());
        Some(source)
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
            fair.push(entry, SourceId(source));
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
                // Who is there again waits for all others of the entry.
                fair.push(0, SourceId(3));
            }
        }
        assert!(fair.is_empty() && fair.line.is_empty() && fair.lines.is_empty());
        order
    }

    #[test]
    fn the_oldest_or_first_comes_first_or_one_of_each_entry_after_the_other_and_nobody_twice() {
        assert_eq!(order(Fair::pop_oldest), [1, 2, 3, 4, 3, 5, 6]);
        assert_eq!(order(Fair::pop_first), [3, 1, 2, 4, 6, 5, 3]);
        assert_eq!(order(Fair::pop_fair), [3, 6, 4, 1, 5, 2, 3]);
    }
}
