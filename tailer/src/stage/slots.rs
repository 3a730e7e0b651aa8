//! The table of positions: for each generation that was delivered into this target, how far, and what stands before.
//!
//! A slot is 96 bytes of the mapped record. Its first word says what it is worth: FREE; TAKEN, by a generation of which
//! nothing was delivered yet; KNOWN, with a position. It is stored last when a slot is filled, and alone when it is
//! freed. The stores of a position are not atomic together: they are made while the word of the record still names the
//! block that they come from, so whoever finds them half done makes them again. The head is true of a generation whatever
//! is delivered of it, and each of its hashes is stored alone.
//!
//! Not here: which generations still matter.

use standpipe_common::sys::Mapping;

use crate::file::guard::{Guard, HEAD_LENGTHS, Head};
use crate::file::identity::{Identity, Origin};

/// Bytes of a slot.
pub const SLOT_BYTES: usize = HEAD_AT + 8 * HEAD_LENGTHS.len();
/// Most slots: far more generations than are ever kept of the sources of one target.
pub const SLOTS_MAX: usize = 1 << 20;

const FREE: u64 = 0;
const TAKEN: u64 = 1;
const KNOWN: u64 = 2;

const STATE_AT: usize = 0;
const DEV_AT: usize = 8;
const INO_AT: usize = 16;
const BORN_AT: usize = 24;
const EPOCH_AT: usize = 32;
const GUARD_LEN_AT: usize = 36;
const OFFSET_AT: usize = 40;
const GUARD_HASH_AT: usize = 48;
const HEAD_AT: usize = 56;

/// How far a generation is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Which life of which inode.
    pub origin: Origin,
    /// Behind the last delivered byte.
    pub offset: u64,
    /// What stands right before it.
    pub guard: Guard,
    /// What the generation begins with, as far as it is known.
    pub head: Head,
}

/// Where the table stands in a mapping.
#[derive(Clone, Copy, Debug)]
pub struct Slots {
    /// Offset of the first slot.
    pub start: usize,
    /// How many there are.
    pub count: usize,
}

impl Slots {
    /// Whether every slot says of itself what a slot can say.
    pub fn are_sound(self, map: &Mapping) -> bool {
        (0..self.count).all(|slot| map.load_word(self.at(slot)) <= KNOWN)
    }

    /// The generation that has this slot. `None`: it is free.
    pub fn origin(self, map: &Mapping, slot: usize) -> Option<Origin> {
        let at = self.at(slot);
        let bytes = map.bytes();
        let identity = Identity {
            dev: u64_at(bytes, at + DEV_AT),
            ino: u64_at(bytes, at + INO_AT),
            born_ns: u64_at(bytes, at + BORN_AT) as i64,
        };
        let is_taken = map.load_word(at + STATE_AT) != FREE;
        is_taken.then(|| Origin { identity, epoch: u32_at(bytes, at + EPOCH_AT) })
    }

    /// What this slot knows, if anything.
    pub fn position(self, map: &Mapping, slot: usize) -> Option<Position> {
        let at = self.at(slot);
        let bytes = map.bytes();
        let guard = Guard { len: u32_at(bytes, at + GUARD_LEN_AT), hash: u64_at(bytes, at + GUARD_HASH_AT) };
        let origin = self.origin(map, slot)?;
        let is_known = map.load_word(at + STATE_AT) == KNOWN;
        is_known.then(|| Position { origin, offset: u64_at(bytes, at + OFFSET_AT), guard, head: self.head(map, slot) })
    }

    /// What the generation that has this slot begins with.
    pub fn head(self, map: &Mapping, slot: usize) -> Head {
        self.head_words(slot).map(|at| map.load_word(at)).take_while(|hash| *hash != 0).collect()
    }

    /// The first free slot from this one on.
    pub fn free(self, map: &Mapping, from: usize) -> Option<usize> {
        (from..self.count).find(|slot| map.load_word(self.at(*slot)) == FREE)
    }

    /// FREE to TAKEN.
    pub fn take(self, map: &mut Mapping, slot: usize, origin: Origin) {
        let at = self.at(slot);
        let bytes = map.bytes_mut();
        put_u64(bytes, at + DEV_AT, origin.identity.dev);
        put_u64(bytes, at + INO_AT, origin.identity.ino);
        put_u64(bytes, at + BORN_AT, origin.identity.born_ns as u64);
        put_u32(bytes, at + EPOCH_AT, origin.epoch);
        self.head_words(slot).for_each(|at| map.store_word(at, 0));
        map.store_word(at + STATE_AT, TAKEN);
    }

    /// Stores what the generation that has this slot begins with.
    pub fn store_head(self, map: &mut Mapping, slot: usize, head: Head) {
        for (at, hash) in self.head_words(slot).zip(head.hashes()) {
            map.store_word(at, *hash);
        }
    }

    /// Stores a position; the slot is KNOWN from then on.
    pub fn store(self, map: &mut Mapping, slot: usize, offset: u64, guard: Guard) {
        let at = self.at(slot);
        let bytes = map.bytes_mut();
        put_u64(bytes, at + OFFSET_AT, offset);
        put_u64(bytes, at + GUARD_HASH_AT, guard.hash);
        put_u32(bytes, at + GUARD_LEN_AT, guard.len);
        map.store_word(at + STATE_AT, KNOWN);
    }

    /// Frees a slot.
    pub fn release(self, map: &mut Mapping, slot: usize) {
        map.store_word(self.at(slot) + STATE_AT, FREE);
    }

    fn head_words(self, slot: usize) -> impl Iterator<Item = usize> {
        let start = self.at(slot) + HEAD_AT;
        (0..HEAD_LENGTHS.len()).map(move |index| start + 8 * index)
    }

    fn at(self, slot: usize) -> usize {
        self.start + slot * SLOT_BYTES
    }
}

/// A number of the record, little-endian.
pub fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap_or_default())
}

/// A shorter one.
pub fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap_or_default())
}

/// Writes one.
pub fn put_u64(bytes: &mut [u8], at: usize, number: u64) {
    bytes[at..at + 8].copy_from_slice(&number.to_le_bytes());
}

/// Writes a shorter one.
pub fn put_u32(bytes: &mut [u8], at: usize, number: u32) {
    bytes[at..at + 4].copy_from_slice(&number.to_le_bytes());
}
