//! The marks of an index, packed as they stand there until somebody asks for one.
//!
//! A part of 64 MiB may have hundreds of thousands, and most readers look at none: whoever searches without times, and
//! whoever asks for a minute that other parts have.
//!
//! Invariant: as a slice it is what [`super::marks`] promises of every list. Marks that do not hold together in spite of
//! the index's checksum are none; [`Marks::is_sound`] tells.

use std::fmt;
use std::ops::Deref;
use std::sync::OnceLock;

use super::marks::{Mark, pack, unpack};

/// Marks, as a slice.
#[derive(Clone)]
pub struct Marks {
    packed: Packed,
    /// `None` inside: they do not hold together.
    unpacked: OnceLock<Option<Vec<Mark>>>,
}

#[derive(Clone, Default)]
struct Packed {
    bytes: Vec<u8>,
    count: u64,
    base_ns: i64,
    part_bytes: u64,
}

impl Marks {
    /// Those that `bytes` hold: see [`unpack`]. `None`: so many can never be in them.
    pub fn packed(bytes: &[u8], count: u64, base_ns: i64, part_bytes: u64) -> Option<Marks> {
        // The last byte of a varint, and no other, is below 0x80.
        let ends = |bytes: &[u8]| bytes.iter().fold(0_u8, |ends, &byte| ends + u8::from(byte < 0x80));
        // So many at a time as a byte can count, which is several times faster.
        let varints: u64 = bytes.chunks(u8::MAX.into()).map(|some| u64::from(ends(some))).sum();
        let is_whole = bytes.last().is_none_or(|&last| last < 0x80);
        let packed = Packed { bytes: bytes.to_vec(), count, base_ns, part_bytes };
        (is_whole && count.checked_mul(2) == Some(varints)).then_some(Marks { packed, unpacked: OnceLock::new() })
    }

    /// Whether they hold together.
    pub fn is_sound(&self) -> bool {
        self.unpacked().is_some()
    }

    /// Packs them, relative to `base_ns`.
    pub fn pack(&self, base_ns: i64) -> Vec<u8> {
        pack(self, base_ns)
    }

    fn unpacked(&self) -> Option<&[Mark]> {
        let Packed { bytes, count, base_ns, part_bytes } = &self.packed;
        self.unpacked.get_or_init(|| unpack(bytes, *count, *base_ns, *part_bytes)).as_deref()
    }
}

impl Deref for Marks {
    type Target = [Mark];

    fn deref(&self) -> &[Mark] {
        self.unpacked().unwrap_or_default()
    }
}

impl From<Vec<Mark>> for Marks {
    fn from(marks: Vec<Mark>) -> Marks {
        Marks { packed: Packed::default(), unpacked: OnceLock::from(Some(marks)) }
    }
}

impl PartialEq for Marks {
    fn eq(&self, other: &Marks) -> bool {
        **self == **other
    }
}

impl Eq for Marks {}

impl fmt::Debug for Marks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARKS: [Mark; 3] =
        [Mark { offset: 0, time_ns: 10 }, Mark { offset: 500, time_ns: -5 }, Mark { offset: 501, time_ns: 7 }];

    #[test]
    fn packed_marks_are_the_same_as_those_they_were_made_of() {
        let made = Marks::from(MARKS.to_vec());
        let found = Marks::packed(&made.pack(77), 3, 77, 502).unwrap();
        assert_eq!((&found, found.is_sound(), &found[1..]), (&made, true, &MARKS[1..]));
        assert_eq!(found.pack(3), made.pack(3));
        assert!(Marks::packed(&[], 0, 77, 0).unwrap().is_empty());
    }

    #[test]
    fn what_cannot_be_so_many_marks_is_refused_and_what_is_nonsense_is_none() {
        let bytes = Marks::from(MARKS.to_vec()).pack(77);
        for count in [0, 2, 4, u64::MAX] {
            assert!(Marks::packed(&bytes, count, 77, 502).is_none(), "{count}");
        }
        assert!(Marks::packed(&bytes[..bytes.len() - 1], 3, 77, 502).is_none(), "cut short");
        let outside = Marks::packed(&bytes, 3, 77, 501).unwrap();
        assert!(outside.is_empty() && !outside.is_sound());
        let endless = Marks::packed(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1, 0], 1, 0, 9);
        assert!(!endless.unwrap().is_sound());
    }
}
