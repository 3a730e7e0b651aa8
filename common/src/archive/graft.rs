//! Gives an archive a search filter that it has not.
//!
//! Invariants: the data frames are copied byte for byte, and so is every frame behind them but an earlier filter; what
//! comes out has the same raw bytes, the same index and a filter of all frames that can be read.
//!
//! Not here: where the copy lives, and when it takes the place of the archive.

use std::fs::File;
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;

use super::filter::{self, FilterBuilder};
use super::format::{FILTER_MAGIC, SKIPPABLE_HEADER_BYTES, SeekTable, TableEntry};
use super::read::{Archive, Decoder, read_seek_table};
use super::write::write_filter;
use crate::error::{Cannot, Error, Result};

/// Bytes that are copied at a time.
const PIECE_BYTES: usize = 128 << 10;

/// Writes the same archive with a filter to `out`. `None`, and nothing that is of use: no frame of it can be filtered.
///
/// # Errors
/// It is not one that a filter would help: it has no index of ours, or not only data frames before it. The kernel's.
pub fn graft_filter(archive: &Archive, decoder: &mut Decoder, out: &mut dyn Write) -> Result<Option<()>> {
    let path = archive.path();
    archive.index().map_err(|fault| Error::because("make a search filter of", path, fault.to_string()))?;
    let table = read_seek_table(archive.file()).cannot("read", path)?;
    let table = table.map_err(|fault| Error::because("read", path, fault.to_string()))?;
    let data = table.entries.iter().take_while(|entry| entry.raw > 0).count();
    if data != archive.frames().len() {
        let why = "another frame stands between its data frames";
        return Err(Error::because("make a search filter of", path, why));
    }
    let filter = build_filter(archive, decoder);
    if filter.payload().is_none() {
        return Ok(None);
    }
    write_grafted(archive.file(), &table.entries, data, &filter, out).cannot("copy", path).map(Some)
}

/// The filter of all frames; one that cannot be read is always to be read.
fn build_filter(archive: &Archive, decoder: &mut Decoder) -> FilterBuilder {
    let mut filter = FilterBuilder::default();
    let mut raw = Vec::new();
    for (number, frame) in archive.frames().iter().enumerate() {
        match archive.read_frame(number, decoder, &mut raw) {
            Ok(()) => filter.frame(&raw, frame.compressed as usize),
            Err(_) => filter.push(&[]),
        }
    }
    filter
}

fn write_grafted(
    file: &File,
    table: &[TableEntry],
    data: usize,
    filter: &FilterBuilder,
    out: &mut dyn Write,
) -> io::Result<()> {
    let (data, behind) = table.split_at(data);
    debug_assert!(data.iter().all(|entry| entry.raw > 0), "a frame without bytes among the data");
    let mut at = data.iter().map(|entry| u64::from(entry.compressed)).sum::<u64>();
    copy(file, 0..at, out)?;
    let mut entries = data.to_vec();
    entries.extend(write_filter(filter, out)?);
    for entry in behind {
        let range = at..at + u64::from(entry.compressed);
        at = range.end;
        if !is_filter(file, range.clone())? {
            copy(file, range, out)?;
            entries.push(*entry);
        }
    }
    out.write_all(&SeekTable { entries }.encode()?)
}

/// Whether a frame is a filter, sound or not.
fn is_filter(file: &File, range: Range<u64>) -> io::Result<bool> {
    const HEAD_BYTES: usize = SKIPPABLE_HEADER_BYTES + filter::NAME.len();
    if range.end - range.start < HEAD_BYTES as u64 {
        return Ok(false);
    }
    let mut head = [0; HEAD_BYTES];
    file.read_exact_at(&mut head, range.start)?;
    Ok(head.starts_with(&FILTER_MAGIC.to_le_bytes()) && head.ends_with(&filter::NAME))
}

fn copy(file: &File, range: Range<u64>, out: &mut dyn Write) -> io::Result<()> {
    let mut piece = vec![0; PIECE_BYTES];
    let mut at = range.start;
    while at < range.end {
        let bytes = PIECE_BYTES.min(usize::try_from(range.end - at).unwrap_or(PIECE_BYTES));
        file.read_exact_at(&mut piece[..bytes], at)?;
        out.write_all(&piece[..bytes])?;
        at += bytes as u64;
    }
    Ok(())
}
