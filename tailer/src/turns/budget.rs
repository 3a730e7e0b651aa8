//! How many descriptors the followed files may have, and which sources give theirs back. Pure.
//!
//! A source that gives them back is *parked*: it keeps identity, position and guard, and is visited by its path. Only
//! one that was read to its end can be, for an unread file without a name would be lost with its descriptor.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

use crate::out::lines::SourceId;

/// Kept back for what is open for moments only: checkpoints, listings, copies that are compared.
const RESERVE_MAX: usize = 32;

/// How many of `limit` (`RLIMIT_NOFILE`) are for followed files where `others` are open for good, such as three for each
/// pipe: all of them, but for 32 and at most a thirty-second part that are kept back. One at least.
pub fn for_files(limit: u64, others: usize) -> usize {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let reserve = RESERVE_MAX.min(limit / 32);
    limit.saturating_sub(reserve + others).max(1)
}

/// A source that has files open.
#[derive(Clone, Copy, Debug)]
pub struct Parkable {
    /// Which.
    pub source: SourceId,
    /// A greater one is parked later.
    pub priority: i32,
    /// When it was last seen to grow. `None`: never.
    pub last_growth: Option<Instant>,
    /// How many descriptors it would give back: files that were read to their ends.
    pub open: usize,
}

/// The sources that give back at least `needed` descriptors, or all that can: lowest priority first, then those that
/// grew least recently.
pub fn choose(candidates: impl Iterator<Item = Parkable>, needed: usize) -> Vec<SourceId> {
    let mut order: BinaryHeap<_> = candidates
        .filter(|candidate| candidate.open > 0)
        .map(|candidate| Reverse((candidate.priority, candidate.last_growth, candidate.source, candidate.open)))
        .collect();
    let mut chosen = Vec::new();
    let mut given = 0;
    while given < needed
        && let Some(Reverse((_, _, source, open))) = order.pop()
    {
        chosen.push(source);
        given += open;
    }
    chosen
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_open_for_good_and_a_thirty_second_part_at_most_is_kept_back() {
        for (limit, others, files) in
            [(0, 0, 1), (16, 10, 6), (16, 30, 1), (64, 12, 50), (256, 192, 56), (1024, 12, 980), (20_000, 312, 19_656)]
        {
            assert_eq!(for_files(limit, others), files, "{limit}, {others}");
        }
    }

    #[test]
    fn the_least_important_give_first_then_the_longest_quiet_and_never_an_unread_one() {
        let start = Instant::now();
        let candidate = |source, priority, growth: Option<u64>, open| Parkable {
            source: SourceId(source),
            priority,
            last_growth: growth.map(|seconds| start + Duration::from_secs(seconds)),
            open,
        };
        let all = [
            candidate(0, 5, Some(1), 1),
            candidate(1, 0, Some(9), 1),
            candidate(2, 0, Some(3), 2),
            candidate(3, 0, None, 1),
            candidate(4, -1, Some(1), 0),
            candidate(5, -1, None, 0),
        ];
        for (needed, expected) in
            [(0, vec![]), (1, vec![3]), (2, vec![3, 2]), (3, vec![3, 2]), (4, vec![3, 2, 1]), (9, vec![3, 2, 1, 0])]
        {
            let chosen: Vec<u32> = choose(all.into_iter(), needed).into_iter().map(|source| source.0).collect();
            assert_eq!(chosen, expected, "{needed}");
        }
    }
}
