//! Numbers that look random and are the same on every machine.

use std::time::Duration;

/// xorshift, from a seed that is not 0.
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below this one.
    pub fn below<N: TryFrom<u64>>(&mut self, limit: N) -> N
    where
        u64: TryFrom<N>,
    {
        let limit = u64::try_from(limit).ok().expect("a limit over 0");
        N::try_from(self.number() % limit).ok().expect("less than the limit")
    }

    /// True so often.
    pub fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    /// A span of less than this.
    pub fn span(&mut self, max: Duration) -> Duration {
        Duration::from_micros(self.below((max.as_micros() as u64).max(1)))
    }
}
