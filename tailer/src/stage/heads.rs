//! What generations begin with, gathered from the runs that pass through blocks: a tailer that is killed before its next
//! checkpoint knows copies of them by that.

use std::collections::HashMap;

use xxhash_rust::xxh3::Xxh3;

use crate::file::guard::{HEAD_LENGTHS, Head};

/// Heads that are not whole yet, by slot.
#[derive(Debug, Default)]
pub struct Heads(HashMap<usize, Begun>);

#[derive(Default)]
struct Begun {
    head: Head,
    hasher: Xxh3,
    len: usize,
}

impl Heads {
    /// The generation of a slot goes on with `bytes`, which begin at `start` in its file; they may have been seen
    /// before. What its head is then, if that can be said: only of one that was seen from its first byte on.
    pub fn add(&mut self, slot: usize, start: u64, bytes: &[u8]) -> Option<Head> {
        if start == 0 {
            self.0.insert(slot, Begun::default());
        }
        let begun = self.0.get_mut(&slot)?;
        let Some(new) = (begun.len as u64).checked_sub(start).and_then(|seen| bytes.get(seen as usize..)) else {
            // Behind a hole.
            self.0.remove(&slot);
            return None;
        };
        let head = begun.push(new);
        if head.is_whole() {
            self.0.remove(&slot);
        }
        Some(head)
    }

    /// A slot is free again.
    pub fn forget(&mut self, slot: usize) {
        self.0.remove(&slot);
    }
}

impl Begun {
    fn push(&mut self, mut bytes: &[u8]) -> Head {
        while let Some(length) = HEAD_LENGTHS.get(self.head.hashes().len())
            && !bytes.is_empty()
        {
            let (some, rest) = bytes.split_at(bytes.len().min(length - self.len));
            self.hasher.update(some);
            self.len += some.len();
            bytes = rest;
            if self.len == *length {
                self.head = self.head.hashes().iter().copied().chain([self.hasher.digest()]).collect();
            }
        }
        self.head
    }
}

impl std::fmt::Debug for Begun {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_the_same_however_its_bytes_come() {
        let bytes: Vec<u8> = (0..6000_u32).map(|n| (n % 241) as u8).collect();
        for piece in [1, 10, 16, 100, 4096, 6000] {
            let mut heads = Heads::default();
            for start in (0..bytes.len()).step_by(piece) {
                let end = bytes.len().min(start + piece);
                if start >= 4096 {
                    assert_eq!(heads.add(3, start as u64, &bytes[start..end]), None);
                } else {
                    assert_eq!(
                        heads.add(3, start as u64, &bytes[start..end]),
                        Some(Head::of(&bytes[..end])),
                        "{start}"
                    );
                }
            }
            assert!(heads.0.is_empty());
        }
    }

    #[test]
    fn bytes_may_come_twice_and_behind_a_gap_nothing_is_said() {
        let bytes = [7; 100];
        let mut heads = Heads::default();
        assert_eq!(heads.add(1, 50, &bytes), None);
        heads.add(1, 0, &bytes[..20]);
        assert_eq!(heads.add(1, 20, &bytes[20..]), Some(Head::of(&bytes)));
        assert_eq!(heads.add(1, 20, &bytes[20..90]), None, "less than before");
        heads.add(2, 0, &bytes[..20]);
        assert_eq!(heads.add(2, 10, &bytes[10..]), Some(Head::of(&bytes)));
        assert_eq!(heads.add(2, 101, &bytes), None);
        assert_eq!(heads.add(2, 100, &bytes), None);
        // Another generation in the slot.
        assert_eq!(heads.add(2, 0, &bytes[..16]), Some(Head::of(&bytes[..16])));
    }
}
