//! Marks: which byte of a part arrived when, in the file beside a segment and, packed, in an archive's index.
//!
//! Invariants of every list that leaves this file: offsets rise strictly, each lies inside the part, and there are at
//! most [`MARKS_MAX`] of them when they come from a segment. Times may go back, as clocks do.
//!
//! A line's arrival time is the time of the last mark at or before its first byte; a line before the first mark has
//! the first mark's time. Losing marks therefore costs resolution, never lines.
//!
//! Not here: making marks, and the file beside the segment itself.

use std::io::{self, Read};

/// Marks of a part at most: 64 MiB of memory while it is archived. Beyond it every other one is dropped, evenly over
/// the part, which halves the resolution.
pub const MARKS_MAX: usize = 4 << 20;

/// Bytes of a mark in the file beside a segment.
pub const MARK_BYTES: usize = 16;

/// Bytes of a packed mark at least: two varints.
pub const PACKED_BYTES_MIN: u64 = 2;
/// Bits of a varint that a byte carries.
const VARINT_BITS: u32 = 7;

/// The arrival of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// Offset in the part of the first line start of the chunk.
    pub offset: u64,
    /// The clock when the chunk arrived: nanoseconds since the epoch.
    pub time_ns: i64,
}

impl Mark {
    /// The record for the file beside a segment: u64 offset, i64 time, little-endian.
    pub fn to_bytes(self) -> [u8; MARK_BYTES] {
        let mut record = [0; MARK_BYTES];
        record[..8].copy_from_slice(&self.offset.to_le_bytes());
        record[8..].copy_from_slice(&self.time_ns.to_le_bytes());
        record
    }

    /// Reads such a record.
    pub fn from_bytes(record: [u8; MARK_BYTES]) -> Mark {
        let (offset, time) = record.split_at(8);
        Mark {
            offset: u64::from_le_bytes(offset.try_into().expect("incomplete record")),
            time_ns: i64::from_le_bytes(time.try_into().expect("incomplete record")),
        }
    }
}

/// Whether the file of marks beside a segment begins so: by its first mark, whose offset is no text.
pub fn is_beginning(head: &[u8]) -> bool {
    const OFFSET_END: u64 = 1 << 48;
    let first = head.first_chunk().map(|record| Mark::from_bytes(*record));
    first.is_some_and(|mark| mark.offset < OFFSET_END && mark.time_ns >= 0)
}

/// The time in force at `offset`: that of the last mark at or before it, else of the first mark; `None` without marks.
pub fn time_at(marks: &[Mark], offset: u64) -> Option<i64> {
    let after = marks.partition_point(|mark| mark.offset <= offset);
    marks.get(after.saturating_sub(1)).map(|mark| mark.time_ns)
}

/// Reads the file beside a segment of `part_bytes`.
///
/// A record cut short at the end is ignored; records whose offset does not rise or lies outside the part are dropped.
pub fn read_records(source: &mut dyn Read, part_bytes: u64) -> io::Result<Vec<Mark>> {
    let mut source = io::BufReader::new(source);
    let mut thinner = Thinner::new(part_bytes, MARKS_MAX);
    let mut record = [0; MARK_BYTES];
    loop {
        match source.read_exact(&mut record) {
            Ok(()) => thinner.push(Mark::from_bytes(record)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(thinner.kept),
            Err(error) => return Err(error),
        }
    }
}

/// Brings any list into the form that the index needs: see the invariants of this file.
pub fn tidy(marks: Vec<Mark>, part_bytes: u64) -> Vec<Mark> {
    let mut thinner = Thinner::new(part_bytes, MARKS_MAX);
    for mark in marks {
        thinner.push(mark);
    }
    let kept = thinner.kept;
    debug_assert!(kept.is_sorted_by(|one, next| one.offset < next.offset) && kept.len() <= MARKS_MAX, "untidy");
    kept
}

/// Keeps marks that are in order, and of too many only every second, fourth, eighth …
struct Thinner {
    kept: Vec<Mark>,
    kept_max: usize,
    part_bytes: u64,
    /// Every offset from here on is in order.
    next_offset: u64,
    /// Marks in order so far.
    seen: u64,
    /// Every how manieth of them is kept: a power of two.
    stride: u64,
}

impl Thinner {
    fn new(part_bytes: u64, kept_max: usize) -> Thinner {
        Thinner { kept: Vec::new(), kept_max, part_bytes, next_offset: 0, seen: 0, stride: 1 }
    }

    fn push(&mut self, mark: Mark) {
        if mark.offset < self.next_offset || mark.offset >= self.part_bytes {
            return;
        }
        self.next_offset = mark.offset + 1;
        let turn = self.seen.is_multiple_of(self.stride);
        self.seen += 1;
        if !turn {
            return;
        }
        if self.kept.len() == self.kept_max {
            let mut position = 0;
            self.kept.retain(|_| {
                position += 1;
                position % 2 == 1
            });
            self.stride *= 2;
            if !(self.seen - 1).is_multiple_of(self.stride) {
                return;
            }
        }
        self.kept.push(mark);
    }
}

/// Packs marks: for each the varint of the offset's rise and the zigzag varint of the time's change, from offset 0
/// and `base_ns` on.
pub fn pack(marks: &[Mark], base_ns: i64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(marks.len() * 8);
    let mut previous = Mark { offset: 0, time_ns: base_ns };
    for &mark in marks {
        put_varint(&mut bytes, mark.offset - previous.offset);
        put_varint(&mut bytes, zigzag(mark.time_ns.wrapping_sub(previous.time_ns)));
        previous = mark;
    }
    bytes
}

/// Unpacks exactly `count` marks of a part of `part_bytes`; `None` if that is not what the bytes hold.
pub fn unpack(mut bytes: &[u8], count: u64, base_ns: i64, part_bytes: u64) -> Option<Vec<Mark>> {
    if count > MARKS_MAX as u64 || count > bytes.len() as u64 / PACKED_BYTES_MIN {
        return None;
    }
    let mut marks = Vec::with_capacity(count as usize);
    let mut previous = Mark { offset: 0, time_ns: base_ns };
    for number in 0..count {
        let rise = take_varint(&mut bytes)?;
        let offset = previous.offset.checked_add(rise).filter(|&offset| offset < part_bytes)?;
        if rise == 0 && number > 0 {
            return None;
        }
        let time_ns = previous.time_ns.wrapping_add(unzigzag(take_varint(&mut bytes)?));
        previous = Mark { offset, time_ns };
        marks.push(previous);
    }
    bytes.is_empty().then_some(marks)
}

/// Small changes of either sign become small numbers: 0, -1, 1, -2 … to 0, 1, 2, 3 …
fn zigzag(change: i64) -> u64 {
    ((change << 1) ^ (change >> 63)) as u64
}

fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

/// LEB128: seven bits a byte, lowest first, the high bit set on all but the last.
fn put_varint(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= VARINT_BITS;
    }
    bytes.push(number as u8);
}

/// Takes a varint off the front; `None` if it is cut short or does not fit 64 bits.
fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..u64::BITS).step_by(VARINT_BITS as usize) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let bits = u64::from(byte & 0x7F);
        if bits << shift >> shift != bits {
            return None;
        }
        number |= bits << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(offset: u64, time_ns: i64) -> Mark {
        Mark { offset, time_ns }
    }

    #[test]
    fn a_record_is_offset_and_time_little_endian() {
        let bytes = mark(0x0102, -2).to_bytes();
        assert_eq!(bytes, [2, 1, 0, 0, 0, 0, 0, 0, 0xFE, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]);
        assert_eq!(Mark::from_bytes(bytes), mark(0x0102, -2));
    }

    #[test]
    fn records_out_of_order_outside_the_part_or_cut_short_are_dropped() {
        let listed = [mark(0, 5), mark(10, 4), mark(10, 9), mark(3, 9), mark(100, 9), mark(99, 7)];
        let mut bytes: Vec<u8> = listed.iter().flat_map(|mark| mark.to_bytes()).collect();
        bytes.extend([1, 2, 3]);
        let kept = read_records(&mut &bytes[..], 100).unwrap();
        assert_eq!(kept, [mark(0, 5), mark(10, 4), mark(99, 7)]);
        assert_eq!(tidy(listed.to_vec(), 100), kept);
    }

    #[test]
    fn too_many_marks_are_thinned_evenly_and_the_first_stays() {
        for count in 0..100_u64 {
            let mut thinner = Thinner::new(1000, 8);
            for i in 0..count {
                thinner.push(mark(i, i as i64));
            }
            let stride = thinner.stride;
            let expected: Vec<Mark> = (0..count).step_by(stride as usize).map(|i| mark(i, i as i64)).collect();
            assert_eq!(thinner.kept, expected, "{count} marks");
            assert!(expected.len() <= 8 && (stride == 1 || expected.len() >= 4), "{count} marks, stride {stride}");
        }
    }

    #[test]
    fn the_time_in_force_is_that_of_the_last_mark_at_or_before() {
        let marks = [mark(10, 100), mark(20, 90)];
        let cases = [(0, 100), (10, 100), (19, 100), (20, 90), (u64::MAX, 90)];
        for (offset, time) in cases {
            assert_eq!(time_at(&marks, offset), Some(time), "at {offset}");
        }
        assert_eq!(time_at(&[], 0), None);
    }

    #[test]
    fn varints_and_zigzag_are_as_the_specification_says() {
        let cases: [(u64, &[u8]); 5] = [
            (0, &[0]),
            (127, &[0x7F]),
            (128, &[0x80, 1]),
            (300, &[0xAC, 2]),
            (1 << 63, &[128, 128, 128, 128, 128, 128, 128, 128, 128, 1]),
        ];
        for (number, expected) in cases {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, number);
            assert_eq!(bytes, expected);
            assert_eq!(take_varint(&mut &bytes[..]), Some(number));
            assert_eq!(take_varint(&mut &bytes[..bytes.len() - 1]), None, "cut short");
        }
        assert_eq!(take_varint(&mut &[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 2][..]), None, "65 bits");
        assert_eq!(take_varint(&mut &[0x80; 11][..]), None, "endless");
        for (change, number) in [(0, 0), (-1, 1), (1, 2), (-2, 3), (i64::MAX, u64::MAX - 1), (i64::MIN, u64::MAX)] {
            assert_eq!(zigzag(change), number);
            assert_eq!(unzigzag(number), change);
        }
    }

    #[test]
    fn packed_marks_come_back_whatever_the_clock_did() {
        let marks = [mark(0, i64::MIN), mark(1, i64::MAX), mark(500, 0), mark(u64::MAX - 1, -1)];
        let bytes = pack(&marks, 77);
        assert_eq!(unpack(&bytes, 4, 77, u64::MAX).unwrap(), marks);
        assert_eq!(unpack(&[], 0, 77, 0).unwrap(), []);
    }

    #[test]
    fn damaged_packed_marks_are_refused() {
        let bytes = pack(&[mark(0, 10), mark(5, 20)], 0);
        assert_eq!(unpack(&bytes, 3, 0, 100), None, "too few");
        assert_eq!(unpack(&bytes, 1, 0, 100), None, "too many");
        assert_eq!(unpack(&bytes, u64::MAX, 0, 100), None, "absurdly many");
        assert_eq!(unpack(&bytes, 2, 0, 5), None, "outside the part");
        let many = [1, 0].repeat(MARKS_MAX + 1);
        assert_eq!(unpack(&many, MARKS_MAX as u64 + 1, 0, u64::MAX), None, "more than anybody writes");
        assert_eq!(unpack(&bytes[..3], 2, 0, 100), None, "cut short");
        assert_eq!(unpack(&[5, 0, 0, 0], 2, 0, 100), None, "an offset that does not rise");
    }
}
