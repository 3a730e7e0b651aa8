//! Hashes of some bytes of a file, by which it is known again: a guard of what stands before an offset, that this is
//! what was read there; a head of what it begins with, that it is the same file or a copy of it.
//!
//! Invariant: what covers nothing neither fits nor contradicts, it is `None`. Whoever asks has to say what follows of
//! that; there is no default of a guard that a file could be taken for another by.

use xxhash_rust::xxh3::xxh3_64;

/// Most bytes that a guard covers.
pub const GUARD_BYTES_MAX: usize = 4096;

/// How many bytes, and their xxh3-64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Guard {
    /// At most [`GUARD_BYTES_MAX`]. 0 says nothing.
    pub len: u32,
    /// xxh3-64 of them.
    pub hash: u64,
}

impl Guard {
    /// Over the end of `bytes`, to be compared with what stands before an offset.
    pub fn of_end(bytes: &[u8]) -> Guard {
        let bytes = &bytes[bytes.len().saturating_sub(GUARD_BYTES_MAX)..];
        Guard { len: bytes.len() as u32, hash: xxh3_64(bytes) }
    }

    /// Whether `bytes` end with those that it covers. `None`: it covers none.
    pub fn fits_end(self, bytes: &[u8]) -> Option<bool> {
        let from = bytes.len().checked_sub(self.len as usize);
        (self.len > 0).then(|| from.is_some_and(|from| xxh3_64(&bytes[from..]) == self.hash))
    }
}

/// Of how many bytes a head has hashes.
pub const HEAD_LENGTHS: [usize; 5] = [16, 64, 256, 1024, GUARD_BYTES_MAX];

/// What a file begins with: a hash for each of [`HEAD_LENGTHS`] that it is known to have. A copy may end anywhere; it is
/// known by the longest that it has, so by a quarter of its bytes at least.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Head {
    hashes: [u64; HEAD_LENGTHS.len()],
    known: usize,
}

impl Head {
    /// Of the first bytes of a file.
    pub fn of(bytes: &[u8]) -> Head {
        HEAD_LENGTHS[..Head::level_of(bytes.len())].iter().map(|length| xxh3_64(&bytes[..*length])).collect()
    }

    /// How many of its lengths so many bytes have.
    pub fn level_of(bytes: usize) -> usize {
        HEAD_LENGTHS.partition_point(|length| *length <= bytes)
    }

    /// xxh3-64 of the first bytes, for as many lengths as are known.
    pub fn hashes(&self) -> &[u64] {
        &self.hashes[..self.known]
    }

    /// Whether there is no more to be known.
    pub fn is_whole(&self) -> bool {
        self.known == HEAD_LENGTHS.len()
    }

    /// Whether a file that begins with `bytes` may be it, by the longest of its lengths that they have. `None`: they
    /// have none of them.
    pub fn fits(&self, bytes: &[u8]) -> Option<bool> {
        let both = HEAD_LENGTHS.iter().zip(self.hashes()).take_while(|(length, _)| **length <= bytes.len());
        both.last().map(|(length, hash)| xxh3_64(&bytes[..*length]) == *hash)
    }

    /// The one of two heads of a file that knows more.
    #[must_use]
    pub fn or(self, other: Head) -> Head {
        if other.known > self.known { other } else { self }
    }
}

impl FromIterator<u64> for Head {
    /// Of hashes, at most as many as there are lengths.
    fn from_iter<I: IntoIterator<Item = u64>>(hashes: I) -> Head {
        let mut head = Head::default();
        for (place, hash) in head.hashes.iter_mut().zip(hashes) {
            *place = hash;
            head.known += 1;
        }
        head
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guard_of_nothing_fits_nothing() {
        let of_line = Guard::of_end(b"a line\n");
        for (guard, bytes, expected) in [
            (of_line, &b"a line\n"[..], Some(true)),
            (of_line, b"it is a line\n", Some(true)),
            (of_line, b"a lime\n", Some(false)),
            (of_line, b"line\n", Some(false)),
            (of_line, b"", Some(false)),
            (Guard::of_end(b""), b"a line\n", None),
            (Guard::of_end(b""), b"", None),
        ] {
            assert_eq!(guard.fits_end(bytes), expected, "{guard:?} {bytes:?}");
        }
    }

    #[test]
    fn a_file_is_known_by_the_longest_head_that_both_have() {
        let file: Vec<u8> = (0..5000_u32).map(|n| (n % 251) as u8).collect();
        let other_from = |at: usize| {
            let mut bytes = file.clone();
            bytes[at] ^= 1;
            bytes
        };
        let head = Head::of(&file);
        assert_eq!(head.hashes().len(), 5);
        assert_eq!(Head::of(&file[..1023]).hashes().len(), 3);
        for (bytes, expected) in [
            (&file[..], Some(true)),
            (&file[..4095], Some(true)),
            (&file[..16], Some(true)),
            (&file[..15], None),
            (&other_from(4095), Some(false)),
            (&other_from(4096), Some(true)),
            (&other_from(4095)[..4095], Some(true)),
            (&other_from(0)[..20], Some(false)),
        ] {
            assert_eq!(head.fits(bytes), expected, "{}", bytes.len());
        }
        assert_eq!(Head::of(&file[..100]).fits(&other_from(64)), Some(true));
        assert_eq!(Head::of(&file[..100]).or(head), head);
        assert_eq!(head.or(Head::default()), head);
        assert_eq!(Head::default().fits(&file), None);
    }
}
