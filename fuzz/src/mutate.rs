//! Changes of inputs: bits, bytes, numbers, pieces cut out, doubled, moved or taken from another input, and words.

/// Numbers at which readers count wrong.
const NUMBERS: [u64; 12] =
    [0, 1, 7, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFF_FFFF, 0xFFFF_FFFF, u64::MAX / 2, u64::MAX];

/// Most changes of one input.
const CHANGES_MAX: usize = 8;

/// Changes inputs, the same ones for the same seed.
#[derive(Debug)]
pub struct Mutator {
    state: u64,
    words: &'static [&'static [u8]],
}

impl Mutator {
    /// With this seed.
    pub fn new(seed: u64, words: &'static [&'static [u8]]) -> Mutator {
        Mutator { state: seed, words }
    }

    /// One of the seeds, changed.
    pub fn mutate(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        let mut input = seeds[self.below(seeds.len())].clone();
        for _ in 0..=self.below(CHANGES_MAX) {
            self.change(&mut input, seeds);
        }
        input
    }

    fn change(&mut self, input: &mut Vec<u8>, seeds: &[Vec<u8>]) {
        let at = self.below(input.len() + 1);
        let some = 1 + self.below(32);
        let end = (at + some).min(input.len());
        match self.below(10) {
            0 if at < input.len() => input[at] ^= 1 << self.below(8),
            1 if at < input.len() => input[at] = self.next() as u8,
            2 => drop(input.drain(at..end)),
            3 => {
                let piece = input[at..end].to_vec();
                let to = self.below(input.len() + 1);
                insert(input, to, &piece);
            }
            4 => {
                let bytes: Vec<u8> = (0..some).map(|_| self.next() as u8).collect();
                insert(input, at, &bytes);
            }
            5 => self.put_number(input, at),
            6 => input.truncate(at),
            7 => {
                let other = &seeds[self.below(seeds.len())];
                let from = self.below(other.len() + 1);
                let piece = other[from..(from + 8 * some).min(other.len())].to_vec();
                insert(input, at, &piece);
            }
            8 if !self.words.is_empty() => {
                let word = self.words[self.below(self.words.len())];
                insert(input, at, word);
            }
            _ => {
                let byte = input.get(at).copied().unwrap_or(b'[');
                let many = 1 << self.below(13);
                insert(input, at, &vec![byte; many]);
            }
        }
    }

    /// In one of its widths, in either byte order, in the place of what stands there.
    fn put_number(&mut self, input: &mut [u8], at: usize) {
        let number = NUMBERS[self.below(NUMBERS.len())].wrapping_add(self.below(3) as u64);
        let width = [1, 2, 4, 8][self.below(4)];
        let mut bytes = number.to_le_bytes()[..width].to_vec();
        if self.below(4) == 0 {
            bytes.reverse();
        }
        if let Some(place) = input.get_mut(at..at + width) {
            place.copy_from_slice(&bytes);
        }
    }

    /// `SplitMix64`, <https://prng.di.unimi.it/splitmix64.c>.
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }
}

fn insert(input: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    input.splice(at..at, bytes.iter().copied());
}
