//! The outer bytes of an archive: skippable frames, and the seek table of zstd's seekable format 0.1.0.
//!
//! Invariants: every number is little-endian; a [`SeekTable`] that was parsed is as long as its own header says and
//! describes a file of exactly the length it was found in.
//!
//! Sources: `doc/zstd_compression_format.md` (skippable frames) and
//! `contrib/seekable_format/zstd_seekable_compression_format.md` (seek table) of facebook/zstd.
//!
//! Not here: what stands in our index, any input or output, compression.

use std::fmt;
use std::io;

/// Raw bytes of a frame at most. One such frame decompresses in well under a millisecond; smaller ones compress worse.
pub const FRAME_BYTES: usize = 1 << 20;
/// Raw bytes of a frame that a reader accepts: far more than we write, little enough to allocate.
pub const FRAME_RAW_BYTES_MAX: u32 = 64 << 20;
/// Entries of a seek table at most, so that the list of frames stays near 100 MiB. It stands for more than 2 TiB of
/// raw log in one part; the format itself allows `0x0800_0000`.
pub const ENTRIES_MAX: u32 = 1 << 22;

/// Magic number of the skippable frame that holds our index.
pub const INDEX_MAGIC: u32 = 0x184D_2A5C;
/// Magic number of the skippable frame that holds our search filter.
pub const FILTER_MAGIC: u32 = 0x184D_2A5D;
/// Magic number of the skippable frame that holds the seek table.
pub const TABLE_MAGIC: u32 = 0x184D_2A5E;
/// The last four bytes of a seekable file.
pub const SEEKABLE_MAGIC: u32 = 0x8F92_EAB1;

/// Magic number and length: what stands before the payload of a skippable frame.
pub const SKIPPABLE_HEADER_BYTES: usize = 8;
/// Number of frames, descriptor and magic number: the end of the seek table.
pub const FOOTER_BYTES: usize = 9;

const ENTRY_BYTES: u64 = 8;
const ENTRY_CHECKSUM_BYTES: u64 = 4;
const DESCRIPTOR_CHECKSUMS: u8 = 0x80;
const DESCRIPTOR_RESERVED: u8 = 0x7C;

/// Whether an archive begins so, as every zstd file does; its maker may have been killed within the first bytes.
pub fn is_beginning(head: &[u8]) -> bool {
    const MAGIC: [u8; 4] = 0xFD2F_B528_u32.to_le_bytes();
    head.starts_with(&MAGIC) || MAGIC.starts_with(head)
}

/// The header of a skippable frame of ours. Fails if the payload is longer than a u32 can say.
pub fn skippable_header(magic: u32, payload_bytes: usize) -> io::Result<[u8; SKIPPABLE_HEADER_BYTES]> {
    let length = u32::try_from(payload_bytes).map_err(|_| io::Error::other("the skippable frame would pass 4 GiB"))?;
    let mut header = [0; SKIPPABLE_HEADER_BYTES];
    header[..4].copy_from_slice(&magic.to_le_bytes());
    header[4..].copy_from_slice(&length.to_le_bytes());
    Ok(header)
}

/// Payload bytes of the skippable frame with this magic number whose header this is, or `None` if it is another.
pub fn skippable_payload_bytes(header: [u8; SKIPPABLE_HEADER_BYTES], magic: u32) -> Option<u32> {
    let mut fields = Fields(&header);
    (fields.u32()? == magic).then(|| fields.u32())?
}

/// Why a file has no seek table that can be used. Its data may well be whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableFault {
    /// The file does not end in one: it was never finished, or was cut.
    Missing,
    /// It ends in something that does not hold together.
    Damaged(&'static str),
}

impl fmt::Display for TableFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TableFault::Missing => f.write_str("incomplete: it has no seek table"),
            TableFault::Damaged(why) => write!(f, "its seek table is damaged ({why})"),
        }
    }
}

/// One frame of a file, data or skippable. A skippable one has no raw bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableEntry {
    /// Bytes it takes in the file.
    pub compressed: u32,
    /// Bytes it decompresses to.
    pub raw: u32,
}

/// The last nine bytes of a seekable file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Footer {
    entries: u32,
    checksums: bool,
}

impl Footer {
    /// Reads the footer.
    pub fn parse(bytes: [u8; FOOTER_BYTES]) -> Result<Footer, TableFault> {
        let [a, b, c, d, descriptor, magic @ ..] = bytes;
        if u32::from_le_bytes(magic) != SEEKABLE_MAGIC {
            return Err(TableFault::Missing);
        }
        if descriptor & DESCRIPTOR_RESERVED != 0 {
            return Err(TableFault::Damaged("a reserved bit of its descriptor is set"));
        }
        let entries = u32::from_le_bytes([a, b, c, d]);
        if entries > ENTRIES_MAX {
            return Err(TableFault::Damaged("it has too many entries"));
        }
        Ok(Footer { entries, checksums: descriptor & DESCRIPTOR_CHECKSUMS != 0 })
    }

    /// Bytes of the whole seek table: skippable header, entries, footer.
    pub fn table_bytes(self) -> u64 {
        SKIPPABLE_HEADER_BYTES as u64 + u64::from(self.entries) * self.entry_bytes() + FOOTER_BYTES as u64
    }

    fn entry_bytes(self) -> u64 {
        ENTRY_BYTES + if self.checksums { ENTRY_CHECKSUM_BYTES } else { 0 }
    }
}

/// Every frame of a file but the seek table itself, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SeekTable {
    /// The frames.
    pub entries: Vec<TableEntry>,
}

impl SeekTable {
    /// The table as the last bytes of its file. Fails if there are more than [`ENTRIES_MAX`] frames.
    pub fn encode(&self) -> io::Result<Vec<u8>> {
        let too_many = || io::Error::other("the archive would have too many frames for a seek table");
        let count = u32::try_from(self.entries.len()).ok().filter(|&n| n <= ENTRIES_MAX).ok_or_else(too_many)?;
        let payload = self.entries.len() * ENTRY_BYTES as usize + FOOTER_BYTES;
        let mut bytes = Vec::with_capacity(SKIPPABLE_HEADER_BYTES + payload);
        bytes.extend(skippable_header(TABLE_MAGIC, payload)?);
        for entry in &self.entries {
            bytes.extend(entry.compressed.to_le_bytes());
            bytes.extend(entry.raw.to_le_bytes());
        }
        bytes.extend(count.to_le_bytes());
        bytes.push(0);
        bytes.extend(SEEKABLE_MAGIC.to_le_bytes());
        Ok(bytes)
    }

    /// Reads the table from `tail`, the last [`Footer::table_bytes`] bytes of a file of `file_bytes`.
    ///
    /// Entry checksums, which other writers may have added, are stepped over.
    pub fn parse(tail: &[u8], file_bytes: u64) -> Result<SeekTable, TableFault> {
        let (_, footer) = tail.split_last_chunk().ok_or(TableFault::Missing)?;
        let footer = Footer::parse(*footer)?;
        let header = *tail.first_chunk().ok_or(TableFault::Missing)?;
        let payload = skippable_payload_bytes(header, TABLE_MAGIC);
        if tail.len() as u64 != footer.table_bytes()
            || payload.map(|n| u64::from(n) + SKIPPABLE_HEADER_BYTES as u64) != Some(footer.table_bytes())
        {
            return Err(TableFault::Damaged("its header contradicts its end"));
        }
        let entries = tail[SKIPPABLE_HEADER_BYTES..tail.len() - FOOTER_BYTES]
            .chunks_exact(footer.entry_bytes() as usize)
            .filter_map(|chunk| {
                let mut fields = Fields(chunk);
                Some(TableEntry { compressed: fields.u32()?, raw: fields.u32()? })
            })
            .collect();
        let table = SeekTable { entries };
        if table.entries.iter().any(|entry| (entry.compressed as usize) < SKIPPABLE_HEADER_BYTES) {
            return Err(TableFault::Damaged("a frame is too short"));
        }
        if table.compressed_bytes() + footer.table_bytes() == file_bytes {
            Ok(table)
        } else {
            Err(TableFault::Damaged("it describes a file of another length"))
        }
    }

    /// Raw bytes of all frames.
    pub fn raw_bytes(&self) -> u64 {
        self.entries.iter().map(|entry| u64::from(entry.raw)).sum()
    }

    /// Bytes of all frames in the file, without the seek table.
    pub fn compressed_bytes(&self) -> u64 {
        self.entries.iter().map(|entry| u64::from(entry.compressed)).sum()
    }
}

/// Takes little-endian numbers from the front of some bytes; `None` once they run out.
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl Fields<'_> {
    pub(crate) fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, tail) = self.0.split_first_chunk::<N>()?;
        self.0 = tail;
        Some(*head)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    pub(crate) fn i64(&mut self) -> Option<i64> {
        self.take().map(i64::from_le_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> SeekTable {
        SeekTable { entries: vec![TableEntry { compressed: 20, raw: 1000 }, TableEntry { compressed: 12, raw: 0 }] }
    }

    #[test]
    fn a_table_is_laid_out_as_the_seekable_format_says() {
        let expected = [
            &[0x5E, 0x2A, 0x4D, 0x18, 25, 0, 0, 0][..],
            &[20, 0, 0, 0, 0xE8, 3, 0, 0],
            &[12, 0, 0, 0, 0, 0, 0, 0],
            &[2, 0, 0, 0, 0, 0xB1, 0xEA, 0x92, 0x8F],
        ]
        .concat();
        assert_eq!(table().encode().unwrap(), expected);
        assert_eq!(SeekTable::parse(&expected, 32 + 33), Ok(table()));
        assert_eq!(table().raw_bytes(), 1000);
    }

    #[test]
    fn entry_checksums_of_other_writers_are_stepped_over() {
        let mut bytes = vec![0x5E, 0x2A, 0x4D, 0x18, 21, 0, 0, 0];
        bytes.extend([20, 0, 0, 0, 0xE8, 3, 0, 0, 0xAA, 0xBB, 0xCC, 0xDD]);
        bytes.extend([1, 0, 0, 0, 0x80, 0xB1, 0xEA, 0x92, 0x8F]);
        let table = SeekTable::parse(&bytes, 20 + 29).unwrap();
        assert_eq!(table.entries, [TableEntry { compressed: 20, raw: 1000 }]);
    }

    #[test]
    fn a_table_that_does_not_hold_together_is_refused() {
        let good = table().encode().unwrap();
        let flipped = |at: usize, bit: u8| {
            let mut bytes = good.clone();
            bytes[at] ^= bit;
            SeekTable::parse(&bytes, 65)
        };
        assert_eq!(flipped(good.len() - 1, 1), Err(TableFault::Missing));
        assert!(matches!(flipped(good.len() - 5, 4), Err(TableFault::Damaged(_))), "reserved bit");
        assert!(matches!(flipped(good.len() - 6, 0x80), Err(TableFault::Damaged(_))), "too many entries");
        assert!(matches!(flipped(good.len() - 9, 1), Err(TableFault::Damaged(_))), "number of entries");
        assert!(matches!(flipped(0, 1), Err(TableFault::Damaged(_))), "magic number");
        assert!(matches!(flipped(4, 1), Err(TableFault::Damaged(_))), "payload length");
        assert!(matches!(flipped(8, 1), Err(TableFault::Damaged(_))), "compressed size");
        assert_eq!(SeekTable::parse(&good[1..], 65), Err(TableFault::Damaged("its header contradicts its end")));
        assert_eq!(SeekTable::parse(&good[good.len() - 8..], 65), Err(TableFault::Missing));
    }
}
