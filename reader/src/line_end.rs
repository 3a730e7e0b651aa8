//! Where lines of a file end; whether it, or the part before another, ended inside a line, which then goes on in the next
//! part.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use standpipe_common::part::{PartKind, PartName};

use crate::disk::Dir;
use crate::listing::Listing;

/// The end of a line is looked for so far at a time.
const LOOK_BYTES: u64 = 64 << 10;

/// Where the last line that ends in `range` of a file ends.
pub fn last_line_end(file: &File, range: Range<u64>) -> io::Result<Option<u64>> {
    let mut end = range.end;
    let mut bytes = Vec::new();
    while end > range.start {
        let at = range.start.max(end.saturating_sub(LOOK_BYTES));
        bytes.resize((end - at) as usize, 0);
        file.read_exact_at(&mut bytes, at)?;
        if let Some(newline) = memchr::memrchr(b'\n', &bytes) {
            return Ok(Some(at + newline as u64 + 1));
        }
        end = at;
    }
    Ok(None)
}

/// Whether the last byte of a file of `len` bytes is no line end.
pub fn ends_inside_line(file: &File, len: u64) -> io::Result<bool> {
    let Some(last) = len.checked_sub(1) else { return Ok(false) };
    let mut byte = [0];
    file.read_exact_at(&mut byte, last)?;
    Ok(byte[0] != b'\n')
}

/// Whether the part before `name` did. What cannot be told counts as a whole line.
pub fn part_before_is_open(dir: &Dir, listing: &Listing, name: &PartName) -> bool {
    listing.parts.range(..name).next_back().is_some_and(|(before, _)| is_open(dir, before))
}

/// Whether a part ended inside a line. What cannot be told counts as a whole line.
pub fn is_open(dir: &Dir, name: &PartName) -> bool {
    // It may become an archive between two looks.
    let archived = || archive_is_open(dir, name);
    archived().or_else(|| segment_is_open(dir, name)).or_else(archived).unwrap_or(false)
}

/// `None`: there is no complete archive.
fn archive_is_open(dir: &Dir, name: &PartName) -> Option<bool> {
    dir.open_archive(name).ok()?.index().ok().map(|index| index.ends_inside)
}

fn segment_is_open(dir: &Dir, name: &PartName) -> Option<bool> {
    let file = dir.open_read(name.file(PartKind::Segment)).ok()?;
    ends_inside_line(&file, file.metadata().ok()?.len()).ok()
}
