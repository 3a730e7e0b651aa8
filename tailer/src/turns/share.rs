//! Who is read first, and how much of each before it is another one's turn. Pure.
//!
//! All that is read in one round into one output shares the room that it has: those of one priority in equal parts,
//! where what one does not need is left to those behind it. Those of a higher priority come first, and leave what they
//! do not need. So a line that arrives waits for what was taken before it, however much others have, and not for them
//! to be at their ends.
//! In every sixteenth round in which priorities differ all share the room in equal parts, and the lowest one comes first:
//! so it gets its part of those rounds however much the others have.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::time::Instant;

use crate::out::lines::SourceId;

/// Most bytes of one source before it is another one's turn.
pub const TURN_BYTES: usize = 4 << 20;
/// Fewer bytes are not worth a read, however many share.
const SHARE_BYTES_MIN: usize = 16 << 10;
/// Of so many rounds with different priorities one is shared alike.
const ALIKE_EVERY: u32 = 16;

/// One that is read in a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// The log, or the spool.
    pub id: SourceId,
    /// Where its lines go.
    pub output: usize,
    /// The highest is served first.
    pub priority: i32,
    /// It was begun, and nothing may come in between.
    pub is_inside: bool,
    /// Its output takes something of it now.
    pub has_room: bool,
    /// When its output last took something of it.
    pub fed_at: Option<Instant>,
}

/// Whose turn it was before.
#[derive(Debug, Default)]
pub struct Lots {
    /// How often priorities differed, by output.
    contended: HashMap<usize, u32>,
}

impl Lots {
    /// Puts those of a round in the order in which they are read. Where all are alike this time, their priorities are.
    /// Whoever is last may find no room: so the lowest is first then, and among equals who was fed least recently.
    pub fn order(&mut self, turns: &mut [Turn]) {
        let mut priorities: HashMap<usize, (i32, bool)> = HashMap::new();
        for turn in turns.iter().filter(|turn| turn.has_room) {
            let (first, differ) = priorities.entry(turn.output).or_insert((turn.priority, false));
            *differ |= turn.priority != *first;
        }
        let mut alike = HashSet::new();
        for (output, _) in priorities.into_iter().filter(|(_, (_, differ))| *differ) {
            let count = self.contended.entry(output).or_default();
            *count = (*count + 1) % ALIKE_EVERY;
            if *count == 0 {
                alike.insert(output);
            }
        }
        let place = |turn: &Turn| {
            let priority = i64::from(turn.priority);
            if alike.contains(&turn.output) { priority } else { -priority }
        };
        turns.sort_by_key(|turn| (Reverse(turn.is_inside), place(turn), turn.fed_at));
        turns.iter_mut().filter(|turn| alike.contains(&turn.output)).for_each(|turn| turn.priority = 0);
    }
}

/// Those that are read in one round, by output and priority.
#[derive(Debug, Default)]
pub struct Shares(HashMap<(usize, i32), usize>);

impl Shares {
    /// For all of a round.
    pub fn of(turns: &[Turn]) -> Shares {
        let mut shares = Shares::default();
        for turn in turns {
            *shares.0.entry((turn.output, turn.priority)).or_default() += 1;
        }
        shares
    }

    /// How many bytes the next one gets of the room that there is.
    pub fn next(&mut self, turn: &Turn, room: usize) -> usize {
        debug_assert!(self.0.contains_key(&(turn.output, turn.priority)), "all of a round were counted");
        let left = self.0.get_mut(&(turn.output, turn.priority)).filter(|left| **left > 1);
        let Some(left) = left else { return TURN_BYTES };
        let share = room / *left;
        *left -= 1;
        share.clamp(SHARE_BYTES_MIN, TURN_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: usize = 256 << 10;
    const ALL: usize = usize::MAX;

    fn turn(index: usize, priority: i32) -> Turn {
        Turn { id: SourceId(index as u32), output: 0, priority, is_inside: false, has_room: true, fed_at: None }
    }

    /// What each gets of a block, if it takes at most what it has.
    fn taken(lots: &mut Lots, all: &[(i32, usize)]) -> Vec<usize> {
        let mut turns: Vec<_> = all.iter().enumerate().map(|(index, (priority, _))| turn(index, *priority)).collect();
        lots.order(&mut turns);
        let mut shares = Shares::of(&turns);
        let (mut room, mut taken) = (BLOCK, vec![0; all.len()]);
        for turn in turns {
            let index = turn.id.0 as usize;
            taken[index] = shares.next(&turn, room).min(all[index].1).min(room);
            room -= taken[index];
        }
        taken
    }

    #[test]
    fn those_of_one_priority_share_and_leave_what_they_do_not_need() {
        for (all, expected) in [
            (vec![(0, ALL)], vec![BLOCK]),
            (vec![(0, ALL), (0, ALL)], vec![BLOCK / 2, BLOCK / 2]),
            (vec![(0, ALL), (0, 100)], vec![BLOCK / 2, 100]),
            (vec![(0, 100), (0, ALL)], vec![100, BLOCK - 100]),
            (vec![(0, ALL), (1, 100), (0, ALL)], vec![(BLOCK - 100) / 2, 100, BLOCK - 100 - (BLOCK - 100) / 2]),
            (vec![(0, ALL), (1, ALL)], vec![0, BLOCK]),
        ] {
            assert_eq!(taken(&mut Lots::default(), &all), expected, "{all:?}");
        }
    }

    #[test]
    fn a_share_is_never_too_small_to_be_worth_a_read() {
        let many: Vec<_> = (0..64).map(|_| (0, ALL)).collect();
        let taken = taken(&mut Lots::default(), &many);
        assert_eq!((taken[0], taken[15], taken[16]), (SHARE_BYTES_MIN, SHARE_BYTES_MIN, 0));
    }

    #[test]
    fn who_was_fed_least_recently_is_first() {
        let now = Instant::now();
        let fed = |index: usize, at: Option<Instant>| Turn { fed_at: at, ..turn(index, 0) };
        let later = now + std::time::Duration::from_millis(1);
        let mut turns = [fed(0, Some(later)), fed(1, Some(now)), fed(2, None), fed(3, Some(later))];
        Lots::default().order(&mut turns);
        assert_eq!(turns.map(|turn| turn.id), [2, 1, 0, 3].map(SourceId));
    }

    #[test]
    fn outputs_share_nothing_with_each_other() {
        let turns = [turn(0, 0), Turn { output: 1, ..turn(1, 0) }];
        let mut shares = Shares::of(&turns);
        assert_eq!((shares.next(&turns[0], BLOCK), shares.next(&turns[1], BLOCK)), (TURN_BYTES, TURN_BYTES));
    }

    #[test]
    fn a_higher_priority_has_fifteen_of_sixteen_rounds_and_the_lowest_its_part_of_the_other() {
        let mut lots = Lots::default();
        let all = [(-5, ALL), (7, ALL), (0, ALL)];
        let mut sums = [0; 3];
        for _ in 0..32 {
            let taken = taken(&mut lots, &all);
            sums.iter_mut().zip(taken).for_each(|(sum, taken)| *sum += taken);
        }
        let third = BLOCK / 3;
        assert_eq!(sums[0], 2 * third);
        assert!(sums[1] >= 30 * BLOCK + 2 * third, "{sums:?}");
        assert_eq!(sums.iter().sum::<usize>(), 32 * BLOCK);
    }

    #[test]
    fn rounds_without_room_or_without_a_difference_do_not_count() {
        let mut lots = Lots::default();
        for _ in 0..100 {
            lots.order(&mut [turn(0, 0), Turn { has_room: false, ..turn(1, 1) }]);
            lots.order(&mut [turn(0, 0), turn(1, 0), Turn { output: 1, ..turn(2, 1) }]);
        }
        assert_eq!(taken(&mut lots, &[(0, ALL), (1, ALL)]), [0, BLOCK]);
    }

    #[test]
    fn what_was_begun_comes_before_all_others() {
        let mut turns = [turn(0, 9), Turn { is_inside: true, ..turn(1, -9) }];
        Lots::default().order(&mut turns);
        assert_eq!(turns.map(|turn| turn.id), [1, 0].map(SourceId));
    }
}
