//! The marks of an index, packed and left where they stand until somebody asks for one.
//!
//! A part of 64 MiB may have hundreds of thousands, and most readers look at none: whoever searches without times, and
//! whoever asks for a minute that other parts have.
//!
//! Invariant: as a slice it is what [`super::marks`] promises of every list. Marks that do not hold together, or whose
//! checksum is wrong, are none; [`Marks::is_sound`] tells.

use std::fmt;
use std::fs::File;
use std::io;
use std::ops::{Deref, Range};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, OnceLock};

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

/// A packed mark is two varints.
const MARK_PACKED_BYTES_MIN: usize = 2;
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
    place: Place,
    count: u64,
    base_ns: i64,
    part_bytes: u64,
}

/// Where packed marks are.
#[derive(Clone)]
enum Place {
    Memory(Vec<u8>),
    File {
        file: Arc<File>,
        offset: u64,
        bytes: usize,
        crc: u32,
        /// `None` inside: they are damaged.
        read: OnceLock<Option<Vec<u8>>>,
    },
}

/// The payload of an index frame.
#[derive(Clone, Copy)]
pub enum Payload<'a> {
    /// All of it.
    Memory(&'a [u8]),
    /// So many bytes from `offset` on.
    File {
        /// What it stands in.
        file: &'a Arc<File>,
        /// Where it begins.
        offset: u64,
        /// How long it is.
        bytes: usize,
    },
}

impl Payload<'_> {
    /// How many bytes it has.
    pub fn size(&self) -> usize {
        match self {
            Payload::Memory(payload) => payload.len(),
            Payload::File { bytes, .. } => *bytes,
        }
    }

    /// Fills `bytes` with what stands from `at` on.
    ///
    /// # Errors
    /// The kernel's; it has no so many bytes.
    pub fn read(&self, at: usize, bytes: &mut [u8]) -> io::Result<()> {
        match self {
            Payload::Memory(payload) => {
                let found = payload.get(at..at + bytes.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
                bytes.copy_from_slice(found);
                Ok(())
            }
            Payload::File { file, offset, .. } => file.read_exact_at(bytes, offset + at as u64),
        }
    }
}

impl Place {
    /// `None`: what stands there has another checksum, as far as can be told without reading.
    fn of(payload: Payload<'_>, range: Range<usize>, crc: u32) -> Option<Place> {
        match payload {
            Payload::Memory(payload) => {
                let bytes = &payload[range];
                (crc32fast::hash(bytes) == crc).then(|| Place::Memory(bytes.to_vec()))
            }
            Payload::File { file, offset, .. } => Some(Place::File {
                file: file.clone(),
                offset: offset + range.start as u64,
                bytes: range.len(),
                crc,
                read: OnceLock::new(),
            }),
        }
    }

    /// The bytes; `None` if they are not what they were when they were written.
    fn bytes(&self) -> Option<&[u8]> {
        match self {
            Place::Memory(bytes) => Some(bytes),
            Place::File { file, offset, bytes, crc, read } => {
                let again = || {
                    let mut found = vec![0; *bytes];
                    file.read_exact_at(&mut found, *offset).ok()?;
                    (crc32fast::hash(&found) == *crc).then_some(found)
                };
                read.get_or_init(again).as_deref()
            }
        }
    }
}

impl Default for Place {
    fn default() -> Place {
        Place::Memory(Vec::new())
    }
}

impl Marks {
    /// So many that stand in this range of a payload: see [`unpack`]; base time and raw bytes are the index's. `None`:
    /// they cannot be there.
    pub fn packed(
        payload: Payload<'_>,
        range: Range<usize>,
        crc: u32,
        count: u64,
        (base_ns, part_bytes): (i64, u64),
    ) -> Option<Marks> {
        if count > (range.len() / MARK_PACKED_BYTES_MIN) as u64 {
            return None;
        }
        let packed = Packed { place: Place::of(payload, range, crc)?, count, base_ns, part_bytes };
        Some(Marks { packed, unpacked: OnceLock::new(), stops: OnceLock::new() })
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
        let (Some(stops), Some(mut rest)) = (self.stops(), self.packed.unpacking()) else { return Vec::new() };
        let Some(stop) = stops.get(stops.partition_point(|stop| stop.mark.offset <= start).saturating_sub(1)) else {
            return Vec::new();
        };
        rest.bytes = &rest.bytes[stop.next..];
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
        let Packed { place, count, base_ns, part_bytes } = &self.packed;
        self.unpacked.get_or_init(|| unpack(place.bytes()?, *count, *base_ns, *part_bytes)).as_deref()
    }

    fn stops(&self) -> Option<&[Stop]> {
        self.stops.get_or_init(|| self.packed.stops()).as_deref()
    }
}

impl Packed {
    fn unpacking(&self) -> Option<Unpacking<'_>> {
        Some(Unpacking::new(self.place.bytes()?, self.base_ns, self.part_bytes))
    }

    /// `None`: they do not hold together.
    fn stops(&self) -> Option<Vec<Stop>> {
        let mut rest = self.unpacking()?;
        let all_bytes = rest.bytes.len();
        let mut stops = Vec::new();
        if self.count > MARKS_MAX as u64 {
            return None;
        }
        for number in 0..self.count {
            let mark = rest.take()?;
            if number.is_multiple_of(STOP_MARKS) {
                stops.push(Stop { mark, next: all_bytes - rest.bytes.len() });
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

    fn packed(bytes: &[u8], count: u64, base_ns: i64, part_bytes: u64) -> Option<Marks> {
        let crc = crc32fast::hash(bytes);
        Marks::packed(Payload::Memory(bytes), 0..bytes.len(), crc, count, (base_ns, part_bytes))
    }

    const MARKS: [Mark; 3] =
        [Mark { offset: 0, time_ns: 10 }, Mark { offset: 500, time_ns: -5 }, Mark { offset: 501, time_ns: 7 }];

    #[test]
    fn packed_marks_are_the_same_as_those_they_were_made_of() {
        let made = Marks::from(MARKS.to_vec());
        let found = packed(&made.pack(77), 3, 77, 502).unwrap();
        assert_eq!((&found, found.is_sound(), &found[1..]), (&made, true, &MARKS[1..]));
        assert_eq!(found.pack(3), made.pack(3));
        assert!(packed(&[], 0, 77, 0).unwrap().is_empty());
    }

    #[test]
    fn a_few_marks_are_found_without_unpacking_all() {
        let all: Vec<Mark> = (0..5000_u64).map(|n| Mark { offset: 10 + 3 * n, time_ns: -(n as i64) }).collect();
        let bytes = Marks::from(all.clone()).pack(77);
        let bounds = [0, 9, 10, 11, 3081, 3082, 3083, 3085, 6200, 15_006, 15_007, 15_008, 20_000];
        let pairs = bounds.iter().flat_map(|start| bounds.iter().map(move |end| (*start, *end)));
        for (start, end) in pairs.filter(|(start, end)| start < end) {
            let found = packed(&bytes, 5000, 77, 20_000).unwrap();
            let first = all.iter().rposition(|mark| mark.offset <= start).unwrap_or(0);
            let expected: Vec<Mark> = all[first..].iter().copied().filter(|mark| mark.offset < end).collect();
            assert_eq!(found.between(start, end), expected, "packed, {start} to {end}");
            assert!(found.is_sound());
            assert_eq!(found.between(start, end), expected, "unpacked, {start} to {end}");
        }
        assert_eq!(packed(&bytes, 5000, 77, 12_000).unwrap().between(0, 100), [], "one lies outside the part");
        assert_eq!(Marks::from(Vec::new()).between(0, 100), []);
    }

    #[test]
    fn marks_in_a_file_are_read_when_they_are_asked_for_and_are_none_if_they_changed() {
        let all: Vec<Mark> = (0..100_000_u64).map(|n| Mark { offset: 3 * n, time_ns: n as i64 * 1_000_003 }).collect();
        let bytes = Marks::from(all.clone()).pack(77);
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&bytes, 50).unwrap();
        let file = Arc::new(file);
        let marks = || {
            let payload = Payload::File { file: &file, offset: 40, bytes: bytes.len() + 10 };
            let crc = crc32fast::hash(&bytes);
            Marks::packed(payload, 10..bytes.len() + 10, crc, 100_000, (77, 300_000)).unwrap()
        };
        let (some, changed) = (marks(), marks());
        assert_eq!((some.between(3000, 3006), &*marks()), (all[1000..1002].to_vec(), &*all));
        file.write_all_at(&[bytes[70] ^ 1], 50 + 70).unwrap();
        assert_eq!((changed.between(3000, 3006), changed.is_sound()), (Vec::new(), false));
        assert_eq!(some.between(0, 1), [all[0]], "they were read");
    }

    #[test]
    fn what_cannot_be_so_many_marks_is_refused_and_what_is_nonsense_is_none() {
        let bytes = Marks::from(MARKS.to_vec()).pack(77);
        assert!(packed(&bytes, u64::MAX, 77, 502).is_none(), "so many have no room");
        for count in [0, 2, 4] {
            assert!(!packed(&bytes, count, 77, 502).unwrap().is_sound(), "{count}");
        }
        assert!(!packed(&bytes[..bytes.len() - 1], 3, 77, 502).unwrap().is_sound(), "cut short");
        assert!(Marks::packed(Payload::Memory(&bytes), 0..bytes.len(), 1, 3, (77, 502)).is_none(), "another checksum");
        let outside = packed(&bytes, 3, 77, 501).unwrap();
        assert!(outside.is_empty() && !outside.is_sound());
        let endless = packed(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1, 0], 1, 0, 9);
        assert!(!endless.unwrap().is_sound());
    }
}
