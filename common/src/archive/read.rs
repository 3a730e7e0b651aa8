//! Opens an archive and reads single frames of it.
//!
//! Invariants of an [`Archive`]: if it is not complete it has neither frames nor an index; if it has an index, that
//! agrees with the seek table on the number of frames and the raw bytes. No bytes whatsoever make it panic or
//! allocate more than a small multiple of the file and of [`FRAME_RAW_BYTES_MAX`].
//!
//! Not here: reading the whole file (see [`copy`](super::copy)), choosing frames, lines.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zstd::zstd_safe::{compress_bound, get_frame_content_size};

use super::filter::{self, Filter, FilterFault};
use super::format::{
    FILTER_MAGIC, FOOTER_BYTES, FRAME_RAW_BYTES_MAX, Footer, INDEX_MAGIC, SKIPPABLE_HEADER_BYTES, SeekTable,
    TableEntry, TableFault, skippable_payload_bytes,
};
use super::index::{INDEX_BYTES_MAX, Index, IndexFault};
use super::packed::Payload;
use crate::error::{Cannot, Error, Result};
use crate::shown::Shown as _;

/// Frames, counted from the end, that are looked at for index and filter: later versions may put others there.
const TAIL_MAX: usize = 16;

/// Where a data frame stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// Offset in the file.
    pub offset: u64,
    /// Bytes in the file.
    pub compressed: u32,
    /// Offset in the raw stream.
    pub raw_offset: u64,
    /// Raw bytes.
    pub raw: u32,
}

/// An open archive.
#[derive(Debug)]
pub struct Archive {
    file: Arc<File>,
    path: PathBuf,
    table: std::result::Result<(), TableFault>,
    index: std::result::Result<Index, IndexFault>,
    frames: Vec<Frame>,
    /// Where the filter may stand, and how long it may be: the last frames of the file.
    tail: Vec<(u64, TableEntry)>,
}

impl Archive {
    /// Reads seek table and index. Fails only if the kernel does: damage is told by [`Archive::complete`] and
    /// [`Archive::index`]. `path` is for messages.
    pub fn open(file: File, path: &Path) -> Result<Archive> {
        let file = Arc::new(file);
        let (table, index) = read_tables(&file).cannot("read", path)?;
        let (table, frames, tail) = match table {
            Ok(table) => (Ok(()), data_frames(&table), tail(&table).collect()),
            Err(fault) => (Err(fault), Vec::new(), Vec::new()),
        };
        debug_assert!(
            table.is_ok() || frames.is_empty() && index.is_err(),
            "{}: tables of what is not complete",
            path.shown()
        );
        debug_assert!(
            index.as_ref().map_or(true, |index| index.frames.len() == frames.len()),
            "{}: frames",
            path.shown()
        );
        Ok(Archive { file, path: path.to_path_buf(), table, index, frames, tail })
    }

    /// The file.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Whether the file ends in a sound seek table. Without one something is missing, or may be.
    pub fn complete(&self) -> std::result::Result<(), TableFault> {
        self.table
    }

    /// The index, or why there is none. The data can be read either way.
    pub fn index(&self) -> std::result::Result<&Index, IndexFault> {
        self.index.as_ref().map_err(|&fault| fault)
    }

    /// Reads the search filter, and gives the array of each data frame in order; see [`Filter::read`]. Fails only if
    /// the kernel does.
    pub fn filter(&self, give: impl FnMut(usize, &[u8])) -> Result<std::result::Result<Filter<'_>, FilterFault>> {
        let Some(payload) = self.find_filter()? else { return Ok(Err(FilterFault::Missing)) };
        Filter::read(payload, self.frames.len(), give).cannot("read", &self.path)
    }

    fn find_filter(&self) -> Result<Option<Payload<'_>>> {
        for &(offset, entry) in &self.tail {
            let payload = payload_at(&self.file, offset, entry, FILTER_MAGIC).cannot("read", &self.path)?;
            let mut name = filter::NAME;
            if let Some(payload) = payload.filter(|payload| payload.size() >= name.len()) {
                payload.read(0, &mut name).cannot("read", &self.path)?;
                if name == filter::NAME {
                    return Ok(Some(payload));
                }
            }
        }
        Ok(None)
    }

    /// The data frames in order, each with the entry of the same number in [`Index::frames`].
    pub fn frames(&self) -> &[Frame] {
        &self.frames
    }

    /// Raw bytes of all frames by the seek table; 0 if the archive is not complete.
    pub fn raw_bytes(&self) -> u64 {
        self.frames.last().map_or(0, |frame| frame.raw_offset + u64::from(frame.raw))
    }

    /// Bytes of the file before index and filter: a zstd file of the data frames alone. 0 if the archive is not complete.
    pub fn data_bytes(&self) -> u64 {
        self.frames.last().map_or(0, |frame| frame.offset + u64::from(frame.compressed))
    }

    /// The path given to [`Archive::open`].
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether a frame, counted from 0, ends in a checksum of its content: each of ours does.
    ///
    /// # Errors
    /// Its header cannot be read.
    pub fn has_checksum(&self, number: usize) -> Result<bool> {
        // Magic number and descriptor: `Frame_Header_Descriptor` of zstd_compression_format.md.
        const CHECKSUM_FLAG: u8 = 1 << 2;
        let mut header = [0; 5];
        self.file.read_exact_at(&mut header, self.frames[number].offset).cannot("read", &self.path)?;
        Ok(header[4] & CHECKSUM_FLAG != 0)
    }

    /// Puts the raw bytes of a frame, counted from 0, into `raw`. After an error `raw` is empty.
    pub fn read_frame(&self, number: usize, decoder: &mut Decoder, raw: &mut Vec<u8>) -> Result<()> {
        raw.clear();
        let read = self.frames.get(number).ok_or_else(|| io::Error::other("no such frame"));
        read.and_then(|&frame| decoder.decompress(&self.file, frame, raw)).map_err(|cause| {
            raw.clear();
            Error::new(format!("read frame {number} of"), &self.path, cause)
        })
    }
}

type Tables = (std::result::Result<SeekTable, TableFault>, std::result::Result<Index, IndexFault>);

/// Reads the seek table and, through it, the index. Where a sound index contradicts the table, the table is damaged:
/// the index has a checksum and the table has none.
fn read_tables(file: &Arc<File>) -> io::Result<Tables> {
    let table = match read_seek_table(file)? {
        Ok(table) => table,
        Err(fault) => return Ok((Err(fault), Err(IndexFault::Missing))),
    };
    let index = read_index(file, &table)?;
    if let Ok(index) = &index {
        let data_frames = table.entries.iter().filter(|entry| entry.raw > 0).count();
        if index.frames.len() != data_frames || index.raw_bytes != table.raw_bytes() {
            return Ok((Err(TableFault::Damaged("the index contradicts it")), Err(IndexFault::Missing)));
        }
    }
    Ok((Ok(table), index))
}

pub(super) fn read_seek_table(file: &File) -> io::Result<std::result::Result<SeekTable, TableFault>> {
    let file_bytes = file.metadata()?.len();
    let Some(footer_offset) = file_bytes.checked_sub(FOOTER_BYTES as u64) else {
        return Ok(Err(TableFault::Missing));
    };
    let mut footer = [0; FOOTER_BYTES];
    file.read_exact_at(&mut footer, footer_offset)?;
    let footer = match Footer::parse(footer) {
        Ok(footer) => footer,
        Err(fault) => return Ok(Err(fault)),
    };
    let Some(table_offset) = file_bytes.checked_sub(footer.table_bytes()) else {
        return Ok(Err(TableFault::Damaged("longer than the file")));
    };
    let mut tail = vec![0; footer.table_bytes() as usize];
    file.read_exact_at(&mut tail, table_offset)?;
    Ok(SeekTable::parse(&tail, file_bytes))
}

/// Finds our index among the last frames, by its magic number: raw sizes in the table may be what is damaged.
fn read_index(file: &Arc<File>, table: &SeekTable) -> io::Result<std::result::Result<Index, IndexFault>> {
    for (offset, entry) in tail(table) {
        match read_index_at(file, offset, entry)? {
            Err(IndexFault::Missing) => {}
            found => return Ok(found),
        }
    }
    Ok(Err(IndexFault::Missing))
}

/// The last frames but the seek table, from the end on, and where they begin.
fn tail(table: &SeekTable) -> impl Iterator<Item = (u64, TableEntry)> {
    table.entries.iter().rev().take(TAIL_MAX).scan(table.compressed_bytes(), |end, entry| {
        *end -= u64::from(entry.compressed);
        Some((*end, *entry))
    })
}

/// The payload of a skippable frame, if it is one of this kind and as long as the seek table says.
fn payload_at(file: &Arc<File>, offset: u64, entry: TableEntry, magic: u32) -> io::Result<Option<Payload<'_>>> {
    let mut header = [0; SKIPPABLE_HEADER_BYTES];
    file.read_exact_at(&mut header, offset)?;
    let bytes = (entry.compressed as usize).saturating_sub(SKIPPABLE_HEADER_BYTES);
    let is_it = skippable_payload_bytes(header, magic).is_some_and(|said| said as usize == bytes);
    Ok(is_it.then_some(Payload::File { file, offset: offset + SKIPPABLE_HEADER_BYTES as u64, bytes }))
}

fn read_index_at(
    file: &Arc<File>,
    offset: u64,
    entry: TableEntry,
) -> io::Result<std::result::Result<Index, IndexFault>> {
    let Some(payload_bytes) = (entry.compressed as usize).checked_sub(SKIPPABLE_HEADER_BYTES) else {
        return Ok(Err(IndexFault::Missing));
    };
    let mut header = [0; SKIPPABLE_HEADER_BYTES];
    file.read_exact_at(&mut header, offset)?;
    match skippable_payload_bytes(header, INDEX_MAGIC) {
        Some(said) if said as usize != payload_bytes => return Ok(Err(IndexFault::Damaged("its length is wrong"))),
        Some(_) if payload_bytes > INDEX_BYTES_MAX => return Ok(Err(IndexFault::Damaged("it is too long"))),
        Some(_) => {}
        None => return Ok(Err(IndexFault::Missing)),
    }
    Index::read(Payload::File { file, offset: offset + SKIPPABLE_HEADER_BYTES as u64, bytes: payload_bytes })
}

/// The entries with raw bytes, and where they stand.
fn data_frames(table: &SeekTable) -> Vec<Frame> {
    let (mut offset, mut raw_offset) = (0, 0);
    let mut frames = Vec::with_capacity(table.entries.iter().filter(|entry| entry.raw > 0).count());
    for &TableEntry { compressed, raw } in &table.entries {
        if raw > 0 {
            frames.push(Frame { offset, compressed, raw_offset, raw });
        }
        offset += u64::from(compressed);
        raw_offset += u64::from(raw);
    }
    frames
}

/// What one thread decompresses with, frame after frame: made anew for each, it would cost a tenth of the time.
pub struct Decoder {
    zstd: zstd::bulk::Decompressor<'static>,
    compressed: Vec<u8>,
}

impl Decoder {
    /// Fails only for want of memory.
    pub fn new() -> io::Result<Decoder> {
        Ok(Decoder { zstd: zstd::bulk::Decompressor::new()?, compressed: Vec::new() })
    }

    fn decompress(&mut self, file: &File, frame: Frame, raw: &mut Vec<u8>) -> io::Result<()> {
        let damaged = |why: &str| io::Error::new(io::ErrorKind::InvalidData, format!("it is damaged ({why})"));
        let compressed_bytes_max = compress_bound(FRAME_RAW_BYTES_MAX as usize);
        if frame.raw > FRAME_RAW_BYTES_MAX || frame.compressed as usize > compressed_bytes_max {
            return Err(damaged("too large"));
        }
        self.compressed.resize(frame.compressed as usize, 0);
        file.read_exact_at(&mut self.compressed, frame.offset)?;
        let content_bytes = get_frame_content_size(&self.compressed).map_err(|_| damaged("damaged header"))?;
        if content_bytes.is_some_and(|bytes| bytes != u64::from(frame.raw)) {
            return Err(damaged("its size differs from the seek table"));
        }
        raw.reserve_exact(frame.raw as usize);
        let bytes =
            self.zstd.decompress_to_buffer(&self.compressed, raw).map_err(|error| damaged(&error.to_string()))?;
        if bytes == frame.raw as usize { Ok(()) } else { Err(damaged("shorter than the seek table says")) }
    }
}
