//! How much of a source is read before it is another one's turn. Pure.
//!
//! All that is read in one round into one output shares the room that it has: sources of one priority in equal parts,
//! where what one does not need is left to those behind it. Those of a higher priority come first, and leave what they
//! do not need. So a line that arrives waits for what was taken before it, however much others have, and not for them
//! to be at their ends.

use std::collections::HashMap;

/// Most bytes of one source before it is another one's turn.
pub const TURN_BYTES: usize = 4 << 20;
/// Fewer bytes are not worth a read, however many share.
const SHARE_BYTES_MIN: usize = 16 << 10;

/// Those that are read in one round, by output and priority.
#[derive(Debug, Default)]
pub struct Shares(HashMap<(usize, i32), usize>);

impl Shares {
    /// One more of this priority that is read into this output.
    pub fn add(&mut self, output: usize, priority: i32) {
        *self.0.entry((output, priority)).or_default() += 1;
    }

    /// How many bytes the next one gets of the room that there is.
    pub fn next(&mut self, output: usize, priority: i32, room: usize) -> usize {
        let Some(left) = self.0.get_mut(&(output, priority)).filter(|left| **left > 1) else { return TURN_BYTES };
        let share = room / *left;
        *left -= 1;
        share.clamp(SHARE_BYTES_MIN, TURN_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: usize = 256 << 10;

    /// What each gets of a block, if it takes at most what it has.
    fn taken(all: &[(i32, usize)]) -> Vec<usize> {
        let mut shares = Shares::default();
        for (priority, _) in all {
            shares.add(0, *priority);
        }
        let mut room = BLOCK;
        let mut take = |(priority, has): &(i32, usize)| {
            let got = shares.next(0, *priority, room).min(*has).min(room);
            room -= got;
            got
        };
        all.iter().map(&mut take).collect()
    }

    #[test]
    fn those_of_one_priority_share_and_leave_what_they_do_not_need() {
        const ALL: usize = usize::MAX;
        for (all, expected) in [
            (vec![(0, ALL)], vec![BLOCK]),
            (vec![(0, ALL), (0, ALL)], vec![BLOCK / 2, BLOCK / 2]),
            (vec![(0, ALL), (0, 100)], vec![BLOCK / 2, 100]),
            (vec![(0, 100), (0, ALL)], vec![100, BLOCK - 100]),
            (vec![(1, 100), (0, ALL), (0, ALL)], vec![100, (BLOCK - 100) / 2, BLOCK - 100 - (BLOCK - 100) / 2]),
            (vec![(1, ALL), (0, ALL)], vec![BLOCK, 0]),
        ] {
            assert_eq!(taken(&all), expected, "{all:?}");
        }
    }

    #[test]
    fn a_share_is_never_too_small_to_be_worth_a_read() {
        let many: Vec<_> = (0..64).map(|_| (0, usize::MAX)).collect();
        let taken = taken(&many);
        assert_eq!((taken[0], taken[15], taken[16]), (SHARE_BYTES_MIN, SHARE_BYTES_MIN, 0));
    }

    #[test]
    fn outputs_share_nothing_with_each_other() {
        let mut shares = Shares::default();
        shares.add(0, 0);
        shares.add(1, 0);
        assert_eq!((shares.next(0, 0, BLOCK), shares.next(1, 0, BLOCK)), (TURN_BYTES, TURN_BYTES));
    }
}
