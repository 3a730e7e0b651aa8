//! Our index of an archive: which frame holds which arrival times and how many lines, and all marks.
//!
//! Invariants of an [`Index`] that was built or decoded: its frames' lines sum to its lines, its marks are as
//! [`super::marks`] promises, or none, and its flags about the part are those of its first and last frame.
//!
//! Versions: name and version stand first, and the CRC-32 of the header in its place, in every version. A later version
//! may append fields or change all others, so a reader that meets a higher version refuses the index and still reads the
//! data. The entries and the marks of each frame have checksums of their own, so that no more marks are read than are needed.
//!
//! Not here: where the index stands in the file, the frames' sizes (the seek table has them), compression.

use std::fmt;
use std::io;

use super::format::Fields;
use super::marks::{self, Mark};
use super::packed::{Marks, Payload, Piece};
use crate::serial::{LOG_ID_BYTES, LogId, Serial};

/// The first eight bytes of the payload: the frame's magic number is free for everybody and proves nothing.
pub const NAME: [u8; 8] = *b"standpip";
/// The version that we write, and the highest that we read.
pub const VERSION: u16 = 1;
/// Bytes of a payload at most: room for the marks of a part at their longest and for several TiB of frames.
pub const INDEX_BYTES_MAX: usize = 256 << 20;

/// Without its own checksum, which follows.
const HEADER_BYTES: usize = 76;
const HEAD_BYTES: usize = HEADER_BYTES + size_of::<u32>();
const FRAME_ENTRY_BYTES: usize = 44;

const PART_BEGINS_INSIDE: u16 = 1;
const PART_ENDS_INSIDE: u16 = 1 << 1;
const PART_GUESSED: u16 = 1 << 2;
const FRAME_BEGINS_INSIDE: u32 = 1;
const FRAME_ENDS_INSIDE: u32 = 1 << 1;
const FRAME_GOES_BACK: u32 = 1 << 2;

/// Why an archive has no index that can be used. Its data are readable all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IndexFault {
    /// No frame of ours where the seek table should lead to one.
    Missing,
    /// It is there and does not hold together.
    Damaged(&'static str),
    /// It is sound and of this version, which we do not know.
    Newer(u16),
}

impl fmt::Display for IndexFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IndexFault::Missing => f.write_str("it has no index"),
            IndexFault::Damaged(why) => write!(f, "its index is damaged ({why})"),
            IndexFault::Newer(version) => write!(f, "its index has version {version}; this program knows {VERSION}"),
        }
    }
}

/// What the index says of one frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameIndex {
    /// The arrival time in force at its first byte, nanoseconds since the epoch.
    pub first_ns: i64,
    /// The lowest arrival time in it.
    pub lowest_ns: i64,
    /// The highest arrival time in it.
    pub highest_ns: i64,
    /// Newlines in it.
    pub lines: u32,
    /// Marks in it.
    pub marks: u32,
    /// Its first byte continues a line.
    pub begins_inside: bool,
    /// Its last byte is not a newline.
    pub ends_inside: bool,
    /// The arrival time falls somewhere in it.
    pub goes_back: bool,
}

/// What the index says of a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// The first byte continues the last line of the part before.
    pub begins_inside: bool,
    /// The last byte is not a newline.
    pub ends_inside: bool,
    /// The marks were lost: arrival times are guesses from the part's birth and its last write.
    pub guessed: bool,
    /// Raw bytes of the part.
    pub raw_bytes: u64,
    /// Newlines in the part.
    pub lines: u64,
    /// The time that stands for all lines if there are no marks.
    pub base_ns: i64,
    /// Which part of which log it is; `None`: nobody said.
    pub serial: Option<Serial>,
    /// One for each data frame, in order.
    pub frames: Vec<FrameIndex>,
    /// All marks, read and unpacked when they are first asked for.
    pub marks: Marks,
}

impl Index {
    /// Arrival time of the line that begins at this offset of the part.
    pub fn arrival_ns(&self, line_offset: u64) -> i64 {
        marks::time_at(&self.marks, line_offset).unwrap_or(self.base_ns)
    }

    /// The lowest arrival time; `None` without frames.
    pub fn lowest_ns(&self) -> Option<i64> {
        self.frames.iter().map(|frame| frame.lowest_ns).min()
    }

    /// The highest arrival time; `None` without frames.
    pub fn highest_ns(&self) -> Option<i64> {
        self.frames.iter().map(|frame| frame.highest_ns).max()
    }

    /// The payload of the index frame.
    pub fn encode(&self) -> Vec<u8> {
        let (mut entries, mut packed) = (Vec::with_capacity(self.frames.len() * FRAME_ENTRY_BYTES), Vec::new());
        let mut marks = &self.marks[..];
        for frame in &self.frames {
            let (own, others) = marks.split_at(frame.marks as usize);
            frame.encode(own, &mut entries, &mut packed);
            marks = others;
        }
        assert!(marks.is_empty(), "every mark lies in a frame");
        let mut bytes = Vec::with_capacity(HEAD_BYTES + entries.len() + packed.len());
        bytes.extend(NAME);
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend(self.flags().to_le_bytes());
        bytes.extend((self.frames.len() as u32).to_le_bytes());
        bytes.extend(self.raw_bytes.to_le_bytes());
        bytes.extend(self.lines.to_le_bytes());
        bytes.extend(self.base_ns.to_le_bytes());
        bytes.extend(encode_serial(self.serial));
        bytes.extend(crc32fast::hash(&entries).to_le_bytes());
        assert_eq!(bytes.len(), HEADER_BYTES, "what follows is found by it");
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        bytes.extend(entries);
        bytes.extend(packed);
        bytes
    }

    /// Reads the payload of an index frame.
    pub fn decode(payload: &[u8]) -> Result<Index, IndexFault> {
        Index::read(Payload::Memory(payload)).expect("memory can be read")
    }

    /// The same where it stands. The marks, its largest part by far, are left there.
    pub(super) fn read(payload: Payload<'_>) -> io::Result<Result<Index, IndexFault>> {
        let damaged = |why| Ok(Err(IndexFault::Damaged(why)));
        let mut head = vec![0; payload.size().min(HEAD_BYTES)];
        payload.read(0, &mut head)?;
        if !head.starts_with(&NAME) {
            return Ok(Err(IndexFault::Missing));
        }
        let Some((header, crc)) = head.split_at_checked(HEADER_BYTES) else { return damaged("it is too short") };
        if Fields(crc).u32() != Some(crc32fast::hash(header)) {
            return damaged("its checksum is wrong");
        }
        let header = match Header::decode(header) {
            Ok(header) => header,
            Err(version) => return Ok(Err(IndexFault::Newer(version))),
        };
        let marks_at = (header.frames as usize).saturating_mul(FRAME_ENTRY_BYTES).saturating_add(HEAD_BYTES);
        if payload.size() < marks_at {
            return damaged("it is inconsistent");
        }
        let mut entries = vec![0; marks_at - HEAD_BYTES];
        payload.read(HEAD_BYTES, &mut entries)?;
        if crc32fast::hash(&entries) != header.entries_crc {
            return damaged("its checksum is wrong");
        }
        let mut entries = Fields(&entries);
        let all = (0..header.frames).map_while(|_| FrameIndex::decode(&mut entries));
        let (frames, pieces): (Vec<_>, Vec<_>) = all.unzip();
        assert_eq!(frames.len(), header.frames as usize, "so many bytes were read");
        if frames.iter().map(|frame| u64::from(frame.lines)).sum::<u64>() != header.lines {
            return damaged("its line counts do not add up");
        }
        let Some(marks) = Marks::packed(payload, marks_at, pieces, header.raw_bytes) else {
            return damaged("it is inconsistent");
        };
        Ok(Ok(Index {
            begins_inside: header.flags & PART_BEGINS_INSIDE != 0,
            ends_inside: header.flags & PART_ENDS_INSIDE != 0,
            guessed: header.flags & PART_GUESSED != 0,
            raw_bytes: header.raw_bytes,
            lines: header.lines,
            base_ns: header.base_ns,
            serial: header.log.map(|log| Serial { log, number: header.number, offset: header.offset }),
            frames,
            marks,
        }))
    }

    fn flags(&self) -> u16 {
        (u16::from(self.begins_inside) * PART_BEGINS_INSIDE)
            | (u16::from(self.ends_inside) * PART_ENDS_INSIDE)
            | (u16::from(self.guessed) * PART_GUESSED)
    }
}

/// What stands before the entries of the frames.
struct Header {
    flags: u16,
    frames: u32,
    raw_bytes: u64,
    lines: u64,
    base_ns: i64,
    log: Option<LogId>,
    number: u64,
    offset: u64,
    entries_crc: u32,
}

impl Header {
    /// The error is a version that we do not know.
    fn decode(header: &[u8]) -> Result<Header, u16> {
        assert_eq!(header.len(), HEADER_BYTES);
        let mut fields = Fields(&header[NAME.len()..]);
        let whole = "it has all its fields";
        let version = fields.u16().expect(whole);
        if version > VERSION {
            return Err(version);
        }
        Ok(Header {
            flags: fields.u16().expect(whole),
            frames: fields.u32().expect(whole),
            raw_bytes: fields.u64().expect(whole),
            lines: fields.u64().expect(whole),
            base_ns: fields.i64().expect(whole),
            log: LogId::from_bytes(fields.take().expect(whole)),
            number: fields.u64().expect(whole),
            offset: fields.u64().expect(whole),
            entries_crc: fields.u32().expect(whole),
        })
    }
}

/// Zeros where nobody said.
fn encode_serial(serial: Option<Serial>) -> impl Iterator<Item = u8> {
    let log = serial.map_or([0; LOG_ID_BYTES], |serial| serial.log.to_bytes());
    let [number, offset] = serial.map_or([0; 2], |serial| [serial.number, serial.offset]).map(u64::to_le_bytes);
    log.into_iter().chain(number).chain(offset)
}

impl FrameIndex {
    /// Appends the entry, and its marks packed.
    fn encode(&self, marks: &[Mark], bytes: &mut Vec<u8>, packed: &mut Vec<u8>) {
        let own = marks::pack(marks, self.first_ns);
        let flags = (u32::from(self.begins_inside) * FRAME_BEGINS_INSIDE)
            | (u32::from(self.ends_inside) * FRAME_ENDS_INSIDE)
            | (u32::from(self.goes_back) * FRAME_GOES_BACK);
        for time_ns in [self.first_ns, self.lowest_ns, self.highest_ns] {
            bytes.extend(time_ns.to_le_bytes());
        }
        for number in [self.lines, flags, self.marks, own.len() as u32, crc32fast::hash(&own)] {
            bytes.extend(number.to_le_bytes());
        }
        packed.extend(own);
    }

    fn decode(fields: &mut Fields<'_>) -> Option<(FrameIndex, Piece)> {
        let [first_ns, lowest_ns, highest_ns] = [fields.i64()?, fields.i64()?, fields.i64()?];
        let [lines, flags, marks, bytes, crc] =
            [fields.u32()?, fields.u32()?, fields.u32()?, fields.u32()?, fields.u32()?];
        let frame = FrameIndex {
            first_ns,
            lowest_ns,
            highest_ns,
            lines,
            marks,
            begins_inside: flags & FRAME_BEGINS_INSIDE != 0,
            ends_inside: flags & FRAME_ENDS_INSIDE != 0,
            goes_back: flags & FRAME_GOES_BACK != 0,
        };
        Some((frame, Piece { marks, bytes, crc, base_ns: first_ns }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index() -> Index {
        let frame = FrameIndex {
            first_ns: 7,
            lowest_ns: -5,
            highest_ns: 9,
            lines: 3,
            marks: 1,
            begins_inside: true,
            ends_inside: false,
            goes_back: true,
        };
        Index {
            begins_inside: true,
            ends_inside: true,
            guessed: false,
            raw_bytes: 100,
            lines: 4,
            base_ns: 7,
            serial: "00112233445566778899aabbccddeeff".parse().ok().map(|log| Serial { log, number: 3, offset: 1000 }),
            frames: vec![frame, FrameIndex { lines: 1, begins_inside: false, ends_inside: true, ..frame }],
            marks: vec![Mark { offset: 4, time_ns: 7 }, Mark { offset: 50, time_ns: -5 }].into(),
        }
    }

    /// A payload changed by `change`, with the checksums made good again.
    fn changed(change: impl FnOnce(&mut Vec<u8>)) -> Result<Index, IndexFault> {
        let mut bytes = index().encode();
        change(&mut bytes);
        if bytes.len() >= HEAD_BYTES {
            let marks_at = (HEAD_BYTES + 2 * FRAME_ENTRY_BYTES).min(bytes.len());
            let crc = crc32fast::hash(&bytes[HEAD_BYTES..marks_at]);
            bytes[HEADER_BYTES - 4..HEADER_BYTES].copy_from_slice(&crc.to_le_bytes());
            let crc = crc32fast::hash(&bytes[..HEADER_BYTES]);
            bytes[HEADER_BYTES..HEAD_BYTES].copy_from_slice(&crc.to_le_bytes());
        }
        Index::decode(&bytes)
    }

    #[test]
    fn an_index_comes_back_as_it_was() {
        let bytes = index().encode();
        assert_eq!(bytes.len(), HEAD_BYTES + 2 * FRAME_ENTRY_BYTES + 4);
        let index_of = |bytes: &[u8]| Index::decode(bytes).map(|index| [0, 1].map(|frame| index.marks.in_frame(frame)));
        assert_eq!(index_of(&bytes), Ok([0, 1].map(|mark| Some(vec![index().marks[mark]]))));
        assert_eq!(Index::decode(&bytes), Ok(index()));
        assert_eq!(changed(|_| ()), Ok(index()));
        let unnumbered = Index { serial: None, ..index() };
        assert_eq!(Index::decode(&unnumbered.encode()), Ok(unnumbered));
        assert_eq!((index().lowest_ns(), index().highest_ns()), (Some(-5), Some(9)));
        assert_eq!([0, 4, 49, 50].map(|offset| index().arrival_ns(offset)), [7, 7, 7, -5]);
    }

    #[test]
    fn every_flip_and_every_cut_of_an_index_is_noticed() {
        let good = index().encode();
        let is_whole = |bytes: &[u8]| Index::decode(bytes).is_ok_and(|index| index.marks.is_sound());
        assert!(is_whole(&good));
        for at in 0..good.len() {
            assert!(!is_whole(&good[..at]), "cut at {at}");
            for bit in 0..8 {
                let mut bytes = good.clone();
                bytes[at] ^= 1 << bit;
                assert!(!is_whole(&bytes), "bit {bit} of byte {at}");
            }
        }
    }

    #[test]
    fn a_newer_version_is_named_and_not_called_damage() {
        let newer = changed(|bytes| {
            bytes[8] = 2;
            bytes.extend([0xFF; 40]);
        });
        assert_eq!(newer, Err(IndexFault::Newer(2)));
    }

    #[test]
    fn a_sound_checksum_does_not_vouch_for_nonsense() {
        assert_eq!(changed(|bytes| bytes[0] = b'S'), Err(IndexFault::Missing));
        let entry = HEAD_BYTES;
        for (what, at, value) in [("frames", 15, 0xFF), ("lines", 24, 9), ("many marks", entry + 35, 0xFF)] {
            assert!(matches!(changed(|bytes| bytes[at] = value), Err(IndexFault::Damaged(_))), "{what} at {at}");
        }
        for (what, at, value) in [("no mark", entry + 32, 0), ("a mark outside the part", 16, 5)] {
            let unsound = changed(|bytes| bytes[at] = value).unwrap();
            assert!(!unsound.marks.is_sound() && unsound.arrival_ns(4) == unsound.base_ns, "{what}");
        }
        assert!(matches!(changed(|bytes| bytes.truncate(9)), Err(IndexFault::Damaged(_))));
        assert!(matches!(changed(|bytes| bytes.push(0)), Err(IndexFault::Damaged(_))));
    }
}
