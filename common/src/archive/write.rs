//! Writes a segment as an archive: a stream in, a stream out, with the memory of one frame, of the marks and of the
//! filter.
//!
//! Invariants: data frames come first and hold, in order, exactly the bytes of the source; each but the last ends at
//! a line end if there is one within [`FRAME_BYTES`]; the filter, if one is wanted, and the index follow, and the seek
//! table ends the output.
//!
//! Not here: opening, naming and syncing files, choosing the level, going slowly. A source that fails ends the
//! writing with its error, which is also how to call one off.

use std::io::{self, Read, Write};

use zstd::zstd_safe::{CParameter, compress_bound};

use super::build::{Guess, IndexBuilder};
use super::filter::FilterBuilder;
use super::format::{
    FILTER_MAGIC, FRAME_BYTES, INDEX_MAGIC, SKIPPABLE_HEADER_BYTES, SeekTable, TableEntry, skippable_header,
};
use super::index::{INDEX_BYTES_MAX, Index};
use super::marks::Mark;
use crate::serial::Serial;

/// How to write a segment, and what is known of it beside its bytes.
#[derive(Debug, Clone)]
pub struct Spec {
    /// zstd's compression level.
    pub level: i32,
    /// The first byte continues the last line of the part before.
    pub begins_inside: bool,
    /// Which part of which log it is, if that is known.
    pub serial: Option<Serial>,
    /// When which byte arrived.
    pub marks: Vec<Mark>,
    /// The arrival times if there are no marks.
    pub guess: Guess,
    /// A search filter is made of it.
    pub filter: bool,
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Bytes of the source.
    pub raw_bytes: u64,
    /// Bytes of the archive, index and seek table included.
    pub compressed_bytes: u64,
    /// Newlines in the source.
    pub lines: u64,
    /// Data frames.
    pub frames: u32,
    /// The lowest arrival time, nanoseconds since the epoch.
    pub first_ns: i64,
    /// The highest arrival time.
    pub last_ns: i64,
}

/// Writes archives one after the other, with the same buffers and the same zstd context.
pub struct Writer {
    compressor: zstd::bulk::Compressor<'static>,
    /// What was read and is not yet compressed: at most [`FRAME_BYTES`].
    window: Vec<u8>,
    compressed: Vec<u8>,
    filter: FilterBuilder,
}

impl Writer {
    /// Allocates what every archive will use.
    pub fn new() -> io::Result<Writer> {
        let mut compressor = zstd::bulk::Compressor::default();
        compressor.set_parameter(CParameter::ChecksumFlag(true))?;
        compressor.set_parameter(CParameter::ContentSizeFlag(true))?;
        let window = Vec::with_capacity(FRAME_BYTES);
        let compressed = Vec::with_capacity(compress_bound(FRAME_BYTES));
        Ok(Writer { compressor, window, compressed, filter: FilterBuilder::default() })
    }

    /// Reads `source` to its end and writes the archive of it to `out`.
    ///
    /// After an error `out` holds part of an archive, without a seek table; the writer can be used again.
    pub fn write(&mut self, source: &mut dyn Read, out: &mut dyn Write, spec: Spec) -> io::Result<Summary> {
        self.compressor.set_parameter(CParameter::CompressionLevel(spec.level))?;
        self.window.clear();
        self.filter.clear();
        let mut builder = IndexBuilder::new(spec.begins_inside);
        let mut table = SeekTable::default();
        loop {
            let missing = FRAME_BYTES - self.window.len();
            let read = (&mut *source).take(missing as u64).read_to_end(&mut self.window)?;
            if self.window.is_empty() {
                break;
            }
            let raw = frame_bytes(&self.window, read < missing);
            builder.frame(&self.window[..raw]);
            let entry = self.write_frame(raw, out)?;
            if spec.filter {
                self.filter.frame(&self.window[..raw], entry.compressed as usize);
            }
            table.entries.push(entry);
            self.window.drain(..raw);
        }
        let frames = table.entries.len() as u32;
        table.entries.extend(write_filter(&self.filter, out)?);
        let index = Index { serial: spec.serial, ..builder.finish(spec.marks, spec.guess) };
        table.entries.push(write_index(&index, out)?);
        debug_assert_eq!(index.raw_bytes, table.raw_bytes(), "index and table tell of the same bytes");
        let table_bytes = table.encode()?;
        out.write_all(&table_bytes)?;
        Ok(Summary {
            raw_bytes: index.raw_bytes,
            compressed_bytes: table.compressed_bytes() + table_bytes.len() as u64,
            lines: index.lines,
            frames,
            first_ns: index.lowest_ns().unwrap_or(index.base_ns),
            last_ns: index.highest_ns().unwrap_or(index.base_ns),
        })
    }

    /// Compresses the first `raw` bytes of the window.
    fn write_frame(&mut self, raw: usize, out: &mut dyn Write) -> io::Result<TableEntry> {
        debug_assert!((1..=FRAME_BYTES).contains(&raw), "a frame of {raw} bytes");
        self.compressed.clear();
        let compressed = self.compressor.compress_to_buffer(&self.window[..raw], &mut self.compressed)?;
        out.write_all(&self.compressed)?;
        Ok(TableEntry { compressed: compressed as u32, raw: raw as u32 })
    }
}

/// How much of the window the next frame takes: up to its last newline, or all of it if there is none or no more.
fn frame_bytes(window: &[u8], source_ended: bool) -> usize {
    let whole = window.len();
    if source_ended { whole } else { memchr::memrchr(b'\n', window).map_or(whole, |at| at + 1) }
}

/// Writes the filter frame, if there is any filter, and returns its entry.
pub(super) fn write_filter(filter: &FilterBuilder, out: &mut dyn Write) -> io::Result<Option<TableEntry>> {
    filter.payload().map(|payload| write_skippable(FILTER_MAGIC, &payload, out)).transpose()
}

/// Writes the index frame and returns its entry.
fn write_index(index: &Index, out: &mut dyn Write) -> io::Result<TableEntry> {
    let payload = index.encode();
    if payload.len() > INDEX_BYTES_MAX {
        return Err(io::Error::other("the index would be too large"));
    }
    write_skippable(INDEX_MAGIC, &payload, out)
}

fn write_skippable(magic: u32, payload: &[u8], out: &mut dyn Write) -> io::Result<TableEntry> {
    out.write_all(&skippable_header(magic, payload.len())?)?;
    out.write_all(payload)?;
    Ok(TableEntry { compressed: (SKIPPABLE_HEADER_BYTES + payload.len()) as u32, raw: 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_ends_after_the_last_newline_of_its_window() {
        let cases: [(&[u8], bool, usize); 5] = [
            (b"a\nb\nc", false, 4),
            (b"a\nb\n", false, 4),
            (b"abc", false, 3),
            (b"\nbc", false, 1),
            (b"a\nb", true, 3),
        ];
        for (window, source_ended, expected) in cases {
            assert_eq!(frame_bytes(window, source_ended), expected, "{window:?}");
        }
    }
}
