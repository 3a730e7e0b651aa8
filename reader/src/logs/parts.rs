//! The parts of a log directory, opened in order of time while the reader seals, archives and expires them.
//!
//! Each part is opened by descriptor, so what happens to its name afterwards is no matter. The directory is listed
//! again for each, so a part that was sealed or archived meanwhile is found under its new name, once.

use std::fs::File;
use std::io::Read;
use std::ops::Bound;

use nix::errno::Errno;
use standpipe_common::archive::Archive;
use standpipe_common::error::{Cannot, Result};
use standpipe_common::part::{PartKind, PartName};

use crate::disk::Dir;
use crate::listing::Listing;

/// An open part.
pub enum Part {
    /// Plain text, as long as it is now.
    Segment(std::io::Take<File>),
    /// Compressed.
    Archive(Archive),
}

/// The parts of a directory, one after the other.
pub struct Parts<'a> {
    dir: &'a Dir,
    last: Option<PartName>,
    /// The last one, if it was a segment: it may have grown before it was sealed.
    growing: Option<File>,
}

impl<'a> Parts<'a> {
    /// From the oldest on.
    pub fn of(dir: &'a Dir) -> Parts<'a> {
        Parts { dir, last: None, growing: None }
    }

    /// Opens the next part. `None`: that was all. An error inside is about this part alone.
    pub fn open_next(&mut self) -> Result<Option<Result<Part>>> {
        loop {
            let listing = Listing::read(self.dir)?;
            let after = self.last.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
            let next = listing.parts.range::<PartName, _>((after, Bound::Unbounded));
            let Some(name) = next.filter(|(_, files)| files.segment || files.archive).map(|(name, _)| name).next()
            else {
                return Ok(None);
            };
            // There is a newer part, so the one before is complete: what came to it meanwhile first.
            if let Some(file) = self.growing.take() {
                return Ok(Some(Ok(Part::Segment(file.take(u64::MAX)))));
            }
            self.last = Some(name.clone());
            match open(self.dir, name) {
                Ok(part) => {
                    if let Part::Segment(file) = &part {
                        // Both descriptors share one place in the file.
                        self.growing = file.get_ref().try_clone().ok();
                    }
                    return Ok(Some(Ok(part)));
                }
                // Expired between the look and the open: as if it had never been there.
                Err(error) if error.errno() == Some(Errno::ENOENT) => {}
                Err(error) => return Ok(Some(Err(error))),
            }
        }
    }
}

/// Opens a part by whichever name it has now: while an archive is made, both.
fn open(dir: &Dir, name: &PartName) -> Result<Part> {
    match dir.open_read(name.file(PartKind::Segment)) {
        Ok(file) => {
            let len = file.metadata().cannot("look at", dir.path_of(name.file(PartKind::Segment)))?.len();
            Ok(Part::Segment(file.take(len)))
        }
        Err(error) if error.errno() == Some(Errno::ENOENT) => {
            let archive = name.file(PartKind::Archive);
            Ok(Part::Archive(Archive::open(dir.open_read(&archive)?, &dir.path_of(&archive))?))
        }
        Err(error) => Err(error),
    }
}
