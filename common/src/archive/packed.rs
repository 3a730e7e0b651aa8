//! The marks of an index, packed and left where they stand until somebody asks for some.
//!
//! A part of 64 MiB may have hundreds of thousands, and most readers look at none: whoever searches without times, and
//! whoever asks for a minute that other frames have.
//!
//! Invariant: as a slice it is what [`super::marks`] promises of every list. Marks that do not hold together, or whose
//! checksum is wrong, are none; [`Marks::is_sound`] tells.

use std::fmt;
use std::fs::File;
use std::io;
use std::ops::Deref;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, OnceLock};

use super::marks::{MARKS_MAX, Mark, PACKED_BYTES_MIN, unpack};

/// Marks, as a slice.
#[derive(Clone)]
pub struct Marks {
    packed: Packed,
    /// `None` inside: they do not hold together.
    unpacked: OnceLock<Option<Vec<Mark>>>,
}

/// The marks of one frame.
#[derive(Clone, Copy, Debug)]
pub struct Piece {
    /// How many they are.
    pub marks: u32,
    /// Bytes that they take.
    pub bytes: u32,
    /// CRC-32 of these.
    pub crc: u32,
    /// The time that the first is relative to.
    pub base_ns: i64,
}

#[derive(Clone, Default)]
struct Packed {
    place: Place,
    /// Each with its beginning in the place.
    pieces: Vec<(u64, Piece)>,
    part_bytes: u64,
}

/// Where packed marks are.
#[derive(Clone)]
enum Place {
    Memory(Vec<u8>),
    File(Arc<File>),
}

/// The payload of a skippable frame of ours.
#[derive(Clone, Copy, Debug)]
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
    /// `None`: they cannot be read.
    fn read(&self, at: u64, bytes: u32) -> Option<Vec<u8>> {
        let mut found = vec![0; bytes as usize];
        match self {
            Place::Memory(all) => found.copy_from_slice(all.get(at as usize..)?.get(..bytes as usize)?),
            Place::File(file) => file.read_exact_at(&mut found, at).ok()?,
        }
        Some(found)
    }
}

impl Default for Place {
    fn default() -> Place {
        Place::Memory(Vec::new())
    }
}

impl Marks {
    /// Those that a payload has from `at` on, a piece for each frame. `None`: they cannot be there.
    pub fn packed(payload: Payload<'_>, at: usize, pieces: Vec<Piece>, part_bytes: u64) -> Option<Marks> {
        let (place, mut start) = match payload {
            Payload::Memory(payload) => (Place::Memory(payload[at..].to_vec()), 0),
            Payload::File { file, offset, .. } => (Place::File(file.clone()), offset + at as u64),
        };
        let end = start + (payload.size() - at) as u64;
        let mut placed = Vec::with_capacity(pieces.len());
        let mut count = 0;
        for piece in pieces {
            placed.push((start, piece));
            start += u64::from(piece.bytes);
            count += u64::from(piece.marks);
            if u64::from(piece.marks) > u64::from(piece.bytes) / PACKED_BYTES_MIN {
                return None;
            }
        }
        let packed = Packed { place, pieces: placed, part_bytes };
        (start == end && count <= MARKS_MAX as u64).then_some(Marks { packed, unpacked: OnceLock::new() })
    }

    /// Whether they hold together.
    pub fn is_sound(&self) -> bool {
        self.unpacked().is_some()
    }

    /// Those in a frame, counted from 0, of an index that was read; all others stay packed. `None`: they are damaged.
    pub fn in_frame(&self, number: usize) -> Option<Vec<Mark>> {
        self.packed.piece(*self.packed.pieces.get(number)?)
    }

    fn unpacked(&self) -> Option<&[Mark]> {
        self.unpacked.get_or_init(|| self.packed.all()).as_deref()
    }
}

impl Packed {
    fn piece(&self, (at, piece): (u64, Piece)) -> Option<Vec<Mark>> {
        let bytes = self.place.read(at, piece.bytes).filter(|bytes| crc32fast::hash(bytes) == piece.crc)?;
        unpack(&bytes, piece.marks.into(), piece.base_ns, self.part_bytes)
    }

    /// `None`: they do not hold together.
    fn all(&self) -> Option<Vec<Mark>> {
        let mut all: Vec<Mark> = Vec::new();
        for piece in &self.pieces {
            let marks = self.piece(*piece)?;
            let rises = all.last().zip(marks.first()).is_none_or(|(last, next)| last.offset < next.offset);
            if !rises {
                return None;
            }
            all.extend(marks);
        }
        Some(all)
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
    use super::super::marks::pack;
    use super::*;

    /// `marks` packed in pieces of so many, each relative to `base_ns`.
    fn pieces(marks: &[Mark], lens: &[usize], base_ns: i64) -> (Vec<u8>, Vec<Piece>) {
        let (mut bytes, mut pieces, mut rest) = (Vec::new(), Vec::new(), marks);
        for len in lens {
            let own = pack(&rest[..*len], base_ns);
            rest = &rest[*len..];
            pieces.push(Piece { marks: *len as u32, bytes: own.len() as u32, crc: crc32fast::hash(&own), base_ns });
            bytes.extend(own);
        }
        (bytes, pieces)
    }

    const MARKS: [Mark; 3] =
        [Mark { offset: 0, time_ns: 10 }, Mark { offset: 500, time_ns: -5 }, Mark { offset: 501, time_ns: 7 }];

    #[test]
    fn packed_marks_are_the_same_as_those_they_were_made_of() {
        let made = Marks::from(MARKS.to_vec());
        let (bytes, three) = pieces(&MARKS, &[2, 0, 1], 77);
        let found = Marks::packed(Payload::Memory(&bytes), 0, three, 502).unwrap();
        assert_eq!([0, 1, 2].map(|frame| found.in_frame(frame).unwrap().len()), [2, 0, 1]);
        assert_eq!((&found, found.is_sound(), &found[1..]), (&made, true, &MARKS[1..]));
        assert_eq!(found.in_frame(3), None);
        assert!(Marks::packed(Payload::Memory(&[]), 0, Vec::new(), 0).unwrap().is_empty());
    }

    #[test]
    fn marks_in_a_file_are_read_when_they_are_asked_for_and_are_none_if_they_changed() {
        let (bytes, three) = pieces(&MARKS, &[1, 1, 1], 77);
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&bytes, 50).unwrap();
        let file = Arc::new(file);
        let payload = Payload::File { file: &file, offset: 40, bytes: bytes.len() + 10 };
        let marks = Marks::packed(payload, 10, three, 502).unwrap();
        assert_eq!([0, 1, 2].map(|frame| marks.in_frame(frame).unwrap()[0]), MARKS);
        let second = u64::from(marks.packed.pieces[0].1.bytes);
        file.write_all_at(&[bytes[second as usize] ^ 1], 50 + second).unwrap();
        assert_eq!([0, 1, 2].map(|frame| marks.in_frame(frame).is_some()), [true, false, true]);
        assert!(!marks.is_sound() && marks.is_empty());
    }

    #[test]
    fn what_cannot_be_so_many_marks_is_refused_and_what_is_nonsense_is_none() {
        let (bytes, one) = pieces(&MARKS, &[3], 77);
        let packed = |piece, part_bytes| Marks::packed(Payload::Memory(&bytes), 0, vec![piece], part_bytes);
        for (marks, len) in [(u32::MAX, bytes.len()), (3, bytes.len() - 1), (3, bytes.len() + 1)] {
            let piece = Piece { marks, bytes: len as u32, ..one[0] };
            assert!(packed(piece, 502).is_none(), "{marks} in {len} have no room");
        }
        for marks in [0, 2, 4] {
            assert!(!packed(Piece { marks, ..one[0] }, 502).unwrap().is_sound(), "{marks}");
        }
        let outside = packed(one[0], 501).unwrap();
        assert!(outside.is_empty() && !outside.is_sound() && packed(one[0], 502).unwrap().is_sound());
        let (bytes, falling) = pieces(&[MARKS[1], MARKS[0]], &[1, 1], 77);
        assert!(!Marks::packed(Payload::Memory(&bytes), 0, falling, 502).unwrap().is_sound());
    }
}
