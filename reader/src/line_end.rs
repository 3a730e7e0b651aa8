//! Whether a file, or the part before another, ended inside a line, which then goes on in the next part.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use standpipe_common::archive::Archive;
use standpipe_common::part::{PartKind, PartName};

use crate::disk::Dir;
use crate::listing::Listing;

/// Whether the last byte of a file of `len` bytes is no line end.
pub fn ends_inside_line(file: &File, len: u64) -> io::Result<bool> {
    let Some(last) = len.checked_sub(1) else { return Ok(false) };
    let mut byte = [0];
    file.read_exact_at(&mut byte, last)?;
    Ok(byte[0] != b'\n')
}

/// Whether the part before `name` did. What cannot be told counts as a whole line.
pub fn part_before_is_open(dir: &Dir, listing: &Listing, name: &PartName) -> bool {
    let Some((before, _)) = listing.parts.range(..name).next_back() else { return false };
    // It may have become an archive since the listing.
    if let Ok(file) = dir.open_read(before.file(PartKind::Segment)) {
        let len = file.metadata().map_or(0, |metadata| metadata.len());
        return ends_inside_line(&file, len).unwrap_or(false);
    }
    let file_name = before.file(PartKind::Archive);
    let Ok(file) = dir.open_read(&file_name) else { return false };
    let archive = Archive::open(file, &dir.path_of(&file_name));
    archive.is_ok_and(|archive| archive.index().is_ok_and(|index| index.ends_inside))
}
