//! How much of packed files each source goes through in a round to compare them. Pure.
//!
//! Those that did not come to an end in the last round share what may be unpacked in equal parts: one that never does
//! delays the round by so much, and no other source by more than its part.

/// What may be unpacked in one round, but for the least parts.
const ROUND_BYTES: u64 = 4 << 20;
/// The least part: fewer bytes are not worth opening a file.
const SLICE_BYTES_MIN: u64 = 64 << 10;

/// The parts of a round.
#[derive(Debug, Default)]
pub struct Slices {
    left: u64,
    /// Sources that wanted more in the last round.
    sharers: u64,
    /// And in this one.
    unfinished: u64,
}

impl Slices {
    /// A round begins.
    pub fn begin(&mut self) {
        self.left = ROUND_BYTES;
        self.sharers = std::mem::take(&mut self.unfinished);
    }

    /// How much the next source may unpack.
    pub fn next(&self) -> u64 {
        (ROUND_BYTES / self.sharers.max(1)).min(self.left).max(SLICE_BYTES_MIN)
    }

    /// It took so much, and wants more or does not.
    pub fn took(&mut self, bytes: u64, is_unfinished: bool) {
        self.left = self.left.saturating_sub(bytes);
        self.unfinished += u64::from(is_unfinished);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What each of so many sources gets that never come to an end, in the first round and in the next one.
    fn parts(sources: usize) -> [Vec<u64>; 2] {
        let mut slices = Slices::default();
        [0, 1].map(|_| {
            slices.begin();
            let mut next = || {
                let part = slices.next();
                slices.took(part, true);
                part
            };
            (0..sources).map(|_| next()).collect()
        })
    }

    #[test]
    fn sources_share_a_round_alike_and_none_gets_nothing() {
        assert_eq!(parts(1), [vec![ROUND_BYTES], vec![ROUND_BYTES]]);
        assert_eq!(parts(2), [vec![ROUND_BYTES, SLICE_BYTES_MIN], vec![ROUND_BYTES / 2; 2]]);
        assert_eq!(parts(500)[1], vec![SLICE_BYTES_MIN; 500]);
    }

    #[test]
    fn who_is_through_leaves_its_part_to_the_others() {
        let mut slices = Slices::default();
        slices.begin();
        slices.took(slices.next(), true);
        slices.took(100, false);
        slices.begin();
        assert_eq!(slices.next(), ROUND_BYTES);
    }
}
