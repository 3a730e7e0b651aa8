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

use super::marks::{MARKS_MAX, Mark, Unpacking, pack, unpack};

/// Marks, as a slice.
#[derive(Clone)]
pub struct Marks {
    packed: Packed,
    /// `None` inside: they do not hold together.
    unpacked: OnceLock<Option<Vec<Mark>>>,
    /// Every so manieth of them, to find the others by. `None` inside: they do not hold together.
    stops: OnceLock<Option<Vec<Stop>>>,
}

/// Marks between two stops.
const STOP_MARKS: u64 = 1024;

/// A mark, and where the one behind it is packed.
#[derive(Clone, Copy)]
struct Stop {
    mark: Mark,
    next: usize,
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
        (is_whole && count.checked_mul(2) == Some(varints)).then_some(Marks {
            packed,
            unpacked: OnceLock::new(),
            stops: OnceLock::new(),
        })
    }

    /// Whether they hold together.
    pub fn is_sound(&self) -> bool {
        self.unpacked().is_some()
    }

    /// Packs them, relative to `base_ns`.
    pub fn pack(&self, base_ns: i64) -> Vec<u8> {
        pack(self, base_ns)
    }

    /// The marks in force from `start` to before `end`: the last one at or before `start`, if there is one, and those
    /// that follow. All others stay packed.
    pub fn between(&self, start: u64, end: u64) -> Vec<Mark> {
        if let Some(marks) = self.unpacked.get() {
            let marks = marks.as_deref().unwrap_or_default();
            let first = marks.partition_point(|mark| mark.offset <= start).saturating_sub(1);
            let last = marks.partition_point(|mark| mark.offset < end).max(first);
            return marks[first..last].to_vec();
        }
        let Some(stops) = self.stops.get_or_init(|| self.packed.stops()) else { return Vec::new() };
        let Some(stop) = stops.get(stops.partition_point(|stop| stop.mark.offset <= start).saturating_sub(1)) else {
            return Vec::new();
        };
        let mut rest = self.packed.unpacking();
        rest.bytes = &self.packed.bytes[stop.next..];
        rest.previous = Some(stop.mark);
        let mut found = vec![stop.mark];
        while let Some(mark) = rest.take().filter(|mark| mark.offset < end) {
            if mark.offset <= start {
                found.clear();
            }
            found.push(mark);
        }
        found.retain(|mark| mark.offset < end);
        found
    }

    fn unpacked(&self) -> Option<&[Mark]> {
        let Packed { bytes, count, base_ns, part_bytes } = &self.packed;
        self.unpacked.get_or_init(|| unpack(bytes, *count, *base_ns, *part_bytes)).as_deref()
    }
}

impl Packed {
    fn unpacking(&self) -> Unpacking<'_> {
        Unpacking::new(&self.bytes, self.base_ns, self.part_bytes)
    }

    /// `None`: they do not hold together.
    fn stops(&self) -> Option<Vec<Stop>> {
        let mut rest = self.unpacking();
        let mut stops = Vec::new();
        if self.count > MARKS_MAX as u64 {
            return None;
        }
        for number in 0..self.count {
            let mark = rest.take()?;
            if number.is_multiple_of(STOP_MARKS) {
                stops.push(Stop { mark, next: self.bytes.len() - rest.bytes.len() });
            }
        }
        rest.bytes.is_empty().then_some(stops)
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
        Marks { packed: Packed::default(), unpacked: OnceLock::from(Some(marks)), stops: OnceLock::new() }
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
    fn a_few_marks_are_found_without_unpacking_all() {
        let all: Vec<Mark> = (0..5000_u64).map(|n| Mark { offset: 10 + 3 * n, time_ns: -(n as i64) }).collect();
        let packed = Marks::from(all.clone()).pack(77);
        let bounds = [0, 9, 10, 11, 3081, 3082, 3083, 3085, 6200, 15_006, 15_007, 15_008, 20_000];
        let pairs = bounds.iter().flat_map(|start| bounds.iter().map(move |end| (*start, *end)));
        for (start, end) in pairs.filter(|(start, end)| start < end) {
            let found = Marks::packed(&packed, 5000, 77, 20_000).unwrap();
            let first = all.iter().rposition(|mark| mark.offset <= start).unwrap_or(0);
            let expected: Vec<Mark> = all[first..].iter().copied().filter(|mark| mark.offset < end).collect();
            assert_eq!(found.between(start, end), expected, "packed, {start} to {end}");
            assert!(found.is_sound());
            assert_eq!(found.between(start, end), expected, "unpacked, {start} to {end}");
        }
        assert_eq!(Marks::packed(&packed, 5000, 77, 12_000).unwrap().between(0, 100), [], "one lies outside the part");
        assert_eq!(Marks::from(Vec::new()).between(0, 100), []);
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
