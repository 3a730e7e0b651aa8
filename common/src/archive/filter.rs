//! The search filter of an archive: for each frame an array of bits which tells grams that stand nowhere in it.
//!
//! Invariants: a gram that stands in a frame is in its array, so a frame whose array lacks one that a line must have is
//! skipped without being read. What is read of a filter counts only once its checksum was found right; before, it costs
//! the memory of one piece and of four bytes a frame, whatever it says.
//!
//! Name and version stand first and the CRC-32 last in every version, as in the index.
//!
//! Not here: which grams a pattern must have, and where in a file the filter stands.

use std::fmt;
use std::io;

use super::format::Fields;
use super::grams::{self, HASH_BITS};
use super::packed::Payload;

/// The first eight bytes of the payload.
pub const NAME: [u8; 8] = *b"stpgrams";
/// The version that we write, and the highest that we read.
pub const VERSION: u16 = 1;
/// Bytes of an array at most: a bit for each hash.
pub const ARRAY_BYTES_MAX: usize = (1 << HASH_BITS) / 8;
/// Bytes of all arrays at most that are kept until an archive's data are written. It is the filter of a part of many
/// GiB; frames after that have none.
const ARRAYS_BYTES_MAX: usize = 64 << 20;

const HEADER_BYTES: usize = 16;
const SIZE_BYTES: usize = 4;
const CRC_BYTES: usize = 4;
/// Bytes that are read at a time: at least one array.
const PIECE_BYTES: usize = 2 * ARRAY_BYTES_MAX;

/// Bits of an array for each gram: so many that 65 % of them are set, -1 / ln(1 - 0.65). More of them cost more than
/// they help, and with fewer short words are found everywhere.
const BITS_A_GRAM: f64 = 0.9525;
/// Share of the frame's compressed bytes that its array takes at most, in hundredths.
const SHARE_MAX: usize = 8;

/// Why an archive has no filter that can be used: all its frames must be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FilterFault {
    /// There is none.
    Missing,
    /// It is there and does not hold together.
    Damaged(&'static str),
    /// It is sound and of this version, which we do not know.
    Newer(u16),
}

impl fmt::Display for FilterFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FilterFault::Missing => f.write_str("it has no search filter"),
            FilterFault::Damaged(why) => write!(f, "its search filter is damaged ({why})"),
            FilterFault::Newer(version) => {
                write!(f, "its search filter has version {version}; this program knows {VERSION}")
            }
        }
    }
}

/// Whether an array has the gram with this hash, as far as it can tell.
pub fn has(array: &[u8], hash: u32) -> bool {
    let (byte, bit) = place(hash, array.len());
    array[byte] & bit != 0
}

/// Where the bit of a hash stands in an array of so many bytes.
fn place(hash: u32, bytes: usize) -> (usize, u8) {
    let at = (u64::from(hash) * (8 * bytes as u64)) >> HASH_BITS;
    ((at / 8) as usize, 1 << (at % 8))
}

/// Makes arrays: a bit for each hash at first, from which one of any size follows.
pub struct Grams {
    bits: Vec<u64>,
}

impl Default for Grams {
    fn default() -> Grams {
        Grams { bits: vec![0; ARRAY_BYTES_MAX / size_of::<u64>()] }
    }
}

impl Grams {
    /// Takes the grams of a frame instead of those before.
    pub fn take(&mut self, raw: &[u8]) {
        self.bits.fill(0);
        let bits = &mut self.bits[..];
        grams::hashes(raw, |hash| bits[hash as usize / 64] |= 1 << (hash % 64));
    }

    /// They as an array of so many bytes, at least one.
    pub fn array(&self, bytes: usize) -> Vec<u8> {
        let mut array = vec![0; bytes];
        for (number, &word) in self.bits.iter().enumerate() {
            let mut rest = word;
            while rest != 0 {
                let (byte, bit) = place(number as u32 * 64 + rest.trailing_zeros(), bytes);
                array[byte] |= bit;
                rest &= rest - 1;
            }
        }
        array
    }

    /// How many bytes they should have, in a frame that has so many compressed; 0: none are worth it.
    pub fn bytes_for(&self, compressed: usize) -> usize {
        let set = self.bits.iter().map(|word| f64::from(word.count_ones())).sum::<f64>();
        let all = f64::from(1_u32 << HASH_BITS);
        // Several grams may have one hash: how many there are follows from how many bits are still free.
        let grams = -all * (1.0 - (set / all).min(1.0 - 1.0 / all)).ln();
        let bytes = ((grams * BITS_A_GRAM / 8.0).ceil() as usize).clamp(1, ARRAY_BYTES_MAX);
        bytes.min(compressed * SHARE_MAX / 100)
    }
}

/// Takes the frames of a part one after the other.
#[derive(Default)]
pub struct FilterBuilder {
    grams: Grams,
    sizes: Vec<u32>,
    arrays: Vec<u8>,
}

impl FilterBuilder {
    /// Forgets all frames.
    pub fn clear(&mut self) {
        self.sizes.clear();
        self.arrays.clear();
    }

    /// The next frame, and how many bytes it has compressed.
    pub fn frame(&mut self, raw: &[u8], compressed: usize) {
        self.grams.take(raw);
        let bytes = self.grams.bytes_for(compressed);
        let array = if self.arrays.len() + bytes > ARRAYS_BYTES_MAX { Vec::new() } else { self.grams.array(bytes) };
        self.push(&array);
    }

    /// The next frame, by its array: none if it is always to be read.
    pub fn push(&mut self, array: &[u8]) {
        debug_assert!(array.len() <= ARRAY_BYTES_MAX, "an array of {} bytes", array.len());
        self.sizes.push(array.len() as u32);
        self.arrays.extend(array);
    }

    /// The payload of the filter frame. `None`: no frame has an array.
    pub fn payload(&self) -> Option<Vec<u8>> {
        if self.arrays.is_empty() {
            return None;
        }
        debug_assert_eq!(self.sizes.iter().map(|size| *size as usize).sum::<usize>(), self.arrays.len());
        let body_bytes = HEADER_BYTES + SIZE_BYTES * self.sizes.len() + self.arrays.len();
        let mut bytes = Vec::with_capacity(body_bytes + CRC_BYTES);
        bytes.extend(NAME);
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend(0_u16.to_le_bytes());
        bytes.extend((self.sizes.len() as u32).to_le_bytes());
        bytes.extend(self.sizes.iter().flat_map(|size| size.to_le_bytes()));
        bytes.extend(&self.arrays);
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        Some(bytes)
    }
}

/// A filter whose checksum was right.
#[derive(Debug)]
pub struct Filter<'a> {
    payload: Payload<'a>,
    /// Where the array of each frame ends in the payload.
    ends: Vec<u32>,
}

impl<'a> Filter<'a> {
    /// Reads a payload once, and gives the array of each of the `frames` in order. What was given counts if there is a
    /// filter in the end.
    ///
    /// # Errors
    /// The kernel's.
    pub fn read(
        payload: Payload<'a>,
        frames: usize,
        mut give: impl FnMut(usize, &[u8]),
    ) -> io::Result<Result<Filter<'a>, FilterFault>> {
        let Some(body_bytes) = payload.size().checked_sub(CRC_BYTES) else { return Ok(Err(FilterFault::Missing)) };
        let mut body = Body { payload, at: 0, end: body_bytes, crc: crc32fast::Hasher::new() };
        let mut head = vec![0; body_bytes.min(HEADER_BYTES)];
        body.read(&mut head)?;
        if !head.starts_with(&NAME) {
            return Ok(Err(FilterFault::Missing));
        }
        let mut fields = Fields(&head[NAME.len()..]);
        let version = fields.u16();
        // By numbers that are not known to be right yet.
        let is_ours = version == Some(VERSION) && fields.u16().and_then(|_flags| fields.u32()) == Some(frames as u32);
        let ends = if is_ours { body.ends(frames)? } else { None };
        if let Some(ends) = &ends {
            body.arrays(ends, &mut give)?;
        }
        if !body.check()? {
            return Ok(Err(FilterFault::Damaged("its checksum is wrong")));
        }
        Ok(match (version, ends) {
            (Some(version), _) if version > VERSION => Err(FilterFault::Newer(version)),
            (_, Some(ends)) => Ok(Filter { payload, ends }),
            _ => Err(FilterFault::Damaged("it is inconsistent")),
        })
    }

    /// Puts the array of a frame into `array`; one without any leaves it empty.
    ///
    /// # Errors
    /// The kernel's.
    pub fn array(&self, frame: usize, array: &mut Vec<u8>) -> io::Result<()> {
        let start = frame.checked_sub(1).map_or(HEADER_BYTES + SIZE_BYTES * self.ends.len(), |before| self.end(before));
        array.resize(self.end(frame) - start, 0);
        self.payload.read(start, array)
    }

    fn end(&self, frame: usize) -> usize {
        self.ends[frame] as usize
    }
}

/// All of a payload but its checksum, on the way through.
struct Body<'a> {
    payload: Payload<'a>,
    at: usize,
    end: usize,
    crc: crc32fast::Hasher,
}

impl Body<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        self.payload.read(self.at, bytes)?;
        self.crc.update(bytes);
        self.at += bytes.len();
        Ok(())
    }

    /// Where the array of each frame ends. `None`: that cannot be.
    fn ends(&mut self, frames: usize) -> io::Result<Option<Vec<u32>>> {
        if (self.end - self.at) / SIZE_BYTES < frames {
            return Ok(None);
        }
        let mut sizes = vec![0; SIZE_BYTES * frames];
        self.read(&mut sizes)?;
        let mut end = self.at;
        let mut ends = Vec::with_capacity(frames);
        for size in sizes.as_chunks::<SIZE_BYTES>().0 {
            let size = u32::from_le_bytes(*size) as usize;
            end = end.saturating_add(size);
            if size > ARRAY_BYTES_MAX || end > self.end {
                return Ok(None);
            }
            ends.push(end as u32);
        }
        Ok((end == self.end).then_some(ends))
    }

    /// Gives the arrays, read many at a time.
    fn arrays(&mut self, ends: &[u32], give: &mut impl FnMut(usize, &[u8])) -> io::Result<()> {
        let mut piece = Vec::new();
        let mut frame = 0;
        while frame < ends.len() {
            let start = self.at;
            let count = ends[frame..].partition_point(|end| *end as usize - start <= PIECE_BYTES);
            piece.resize(ends[frame + count - 1] as usize - start, 0);
            self.read(&mut piece)?;
            let mut at = 0;
            for (number, end) in (frame..).zip(&ends[frame..frame + count]) {
                let end = *end as usize - start;
                give(number, &piece[at..end]);
                at = end;
            }
            frame += count;
        }
        Ok(())
    }

    /// Reads what is left, and whether the checksum behind it is right.
    fn check(mut self) -> io::Result<bool> {
        let mut piece = vec![0; PIECE_BYTES.min(self.end - self.at)];
        while self.at < self.end {
            let bytes = piece.len().min(self.end - self.at);
            self.read(&mut piece[..bytes])?;
        }
        let mut said = [0; CRC_BYTES];
        self.payload.read(self.end, &mut said)?;
        Ok(self.crc.finalize() == u32::from_le_bytes(said))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAMES: [&[u8]; 3] =
        [b"GET /orders/4711 from 203.0.113.77\n", b"\n", b"trace 4bf92f3577b34da6a3ce929d0e0e4736\n"];

    fn payload() -> Vec<u8> {
        let mut builder = FilterBuilder::default();
        builder.frame(FRAMES[0], 500);
        builder.push(&[]);
        builder.frame(FRAMES[2], 500);
        builder.payload().unwrap()
    }

    /// The arrays of a payload for so many frames.
    fn arrays(payload: &[u8], frames: usize) -> Result<Vec<Vec<u8>>, FilterFault> {
        let mut found = Vec::new();
        let filter = Filter::read(Payload::Memory(payload), frames, |number, array| {
            assert_eq!(number, found.len(), "in order");
            found.push(array.to_vec());
        })
        .unwrap()?;
        let mut array = Vec::new();
        for (number, found) in found.iter().enumerate() {
            filter.array(number, &mut array).unwrap();
            assert_eq!(array, *found);
        }
        Ok(found)
    }

    /// The payload changed by `change`, with the checksum made good again.
    fn changed(change: impl FnOnce(&mut Vec<u8>)) -> Result<Vec<Vec<u8>>, FilterFault> {
        let mut bytes = payload();
        bytes.truncate(bytes.len() - CRC_BYTES);
        change(&mut bytes);
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        arrays(&bytes, 3)
    }

    fn hashes(text: &[u8]) -> Vec<u32> {
        let mut found = Vec::new();
        grams::hashes(text, |hash| found.push(hash));
        found
    }

    #[test]
    fn a_filter_has_all_grams_of_each_frame_and_few_others() {
        let arrays = arrays(&payload(), 3).unwrap();
        assert!(arrays[1].is_empty());
        for number in [0, 2] {
            assert!(hashes(FRAMES[number]).iter().all(|hash| has(&arrays[number], *hash)));
            let others: Vec<u32> = (0..10_000).map(|n| n * 104).collect();
            let found = others.iter().filter(|hash| has(&arrays[number], **hash)).count();
            assert!((3000..8000).contains(&found), "{found} of {} are in an array", others.len());
        }
    }

    #[test]
    fn arrays_of_every_size_have_the_same_grams() {
        let text: Vec<u8> =
            (0..9000_u32).flat_map(|n| format!("{:08x} ", n.wrapping_mul(0x9E37_79B9)).into_bytes()).collect();
        let mut grams = Grams::default();
        grams.take(&text);
        for bytes in [1, 2, 3, 100, 1000, 4093, ARRAY_BYTES_MAX] {
            let array = grams.array(bytes);
            assert!(hashes(&text).iter().all(|hash| has(&array, *hash)), "{bytes}");
        }
        let bytes = grams.bytes_for(usize::MAX / 100);
        let set: u32 = grams.array(bytes).iter().map(|byte| byte.count_ones()).sum();
        let fill = f64::from(set) / (8 * bytes) as f64;
        assert!((0.63..0.67).contains(&fill), "{fill}");
        assert_eq!((grams.bytes_for(10_000), grams.bytes_for(12)), (800, 0));
        grams.take(b"");
        assert_eq!(grams.bytes_for(1000), 1);
        grams.bits.fill(u64::MAX);
        assert_eq!(grams.bytes_for(usize::MAX / 100), ARRAY_BYTES_MAX);
    }

    #[test]
    fn every_flip_and_every_cut_of_a_filter_is_noticed() {
        let good = payload();
        for at in 0..good.len() {
            assert!(arrays(&good[..at], 3).is_err(), "cut at {at}");
            for bit in 0..8 {
                let mut bytes = good.clone();
                bytes[at] ^= 1 << bit;
                assert!(arrays(&bytes, 3).is_err(), "bit {bit} of byte {at}");
            }
        }
    }

    #[test]
    fn a_newer_version_is_named_and_nonsense_is_refused() {
        let newer = changed(|bytes| {
            bytes[8] = 2;
            bytes.extend([0xFF; 40]);
        });
        assert_eq!(newer, Err(FilterFault::Newer(2)));
        assert_eq!(changed(|bytes| bytes[0] = b'S'), Err(FilterFault::Missing));
        assert_eq!(arrays(&payload(), 2), Err(FilterFault::Damaged("it is inconsistent")));
        for (what, at, value) in
            [("frames", 12, 4), ("frames", 15, 0xFF), ("size", 16, 0xFF), ("size", 19, 0xFF), ("version", 8, 0)]
        {
            let found = changed(|bytes| bytes[at] = value);
            assert!(matches!(found, Err(FilterFault::Damaged(_))), "{what}: {found:?}");
        }
        assert!(changed(|bytes| bytes.truncate(9)).is_err());
        assert!(changed(|bytes| bytes.push(0)).is_err());
        assert!(changed(|_| ()).is_ok());
    }

    #[test]
    fn a_filter_of_many_frames_is_read_in_pieces() {
        let mut builder = FilterBuilder::default();
        let made: Vec<Vec<u8>> = (0..40).map(|n| vec![n as u8; [0, 1, 7000, ARRAY_BYTES_MAX][n % 4]]).collect();
        for array in &made {
            builder.push(array);
        }
        let bytes = builder.payload().unwrap();
        assert!(bytes.len() > 4 * PIECE_BYTES);
        assert_eq!(arrays(&bytes, 40), Ok(made));
        builder.clear();
        builder.push(&[]);
        assert_eq!(builder.payload(), None);
    }
}
