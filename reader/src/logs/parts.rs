//! The parts of a log directory, opened in order of time while the reader seals, archives and expires them.
//!
//! Which parts there are is looked up once. Each is opened by the name it has when its turn comes, and by descriptor,
//! so what happens to its name afterwards is no matter. Parts that are begun later are left out: the last one printed
//! may have gone on meanwhile, and what follows it would leave a hole.

use std::collections::{BTreeSet, btree_set};
use std::fs::File;
use std::io::Read;

use nix::errno::Errno;
use standpipe_common::archive::Archive;
use standpipe_common::error::{Cannot, Result};
use standpipe_common::part::{PartKind, PartName};

use crate::disk::Dir;
use crate::listing::Listing;

/// An open part.
pub enum Part {
    /// Plain text, as long as it was when it was opened.
    Segment(std::io::Take<File>),
    /// Compressed.
    Archive(Archive),
}

/// The parts of a directory, one after the other.
pub struct Parts<'a> {
    dir: &'a Dir,
    names: btree_set::IntoIter<PartName>,
}

impl<'a> Parts<'a> {
    /// Those that are there now, from the oldest on.
    pub fn of(dir: &'a Dir) -> Result<Parts<'a>> {
        let look = || -> Result<BTreeSet<PartName>> {
            let parts = Listing::read(dir)?.parts.into_iter();
            Ok(parts.filter(|(_, files)| files.segment || files.archive).map(|(name, _)| name).collect())
        };
        let mut names = look()?;
        // A long listing may have a part that was begun in its middle and lack the one before, so none is newer than the
        // newest of the first; and it may lack one that became an archive in its middle, which the next one has.
        if let Some(newest) = names.last().cloned() {
            for _ in 0..2 {
                names.extend(look()?.into_iter().filter(|name| *name <= newest));
            }
        }
        Ok(Parts { dir, names: names.into_iter() })
    }

    /// Opens the next part. `None`: that was all. An error inside is about this part alone.
    pub fn open_next(&mut self) -> Option<Result<Part>> {
        loop {
            match open(self.dir, &self.names.next()?) {
                // Expired between the look and the open: as if it had never been there.
                Err(error) if error.errno() == Some(Errno::ENOENT) => {}
                opened => return Some(opened),
            }
        }
    }
}

/// Opens a part by whichever name it has now. A complete archive counts, whatever stands beside it.
fn open(dir: &Dir, name: &PartName) -> Result<Part> {
    if let Ok(archive) = open_archive(dir, name)
        && archive.complete().is_ok()
    {
        return Ok(Part::Archive(archive));
    }
    match dir.open_read(name.file(PartKind::Segment)) {
        Ok(file) => {
            let len = file.metadata().cannot("look at", dir.path_of(name.file(PartKind::Segment)))?.len();
            Ok(Part::Segment(file.take(len)))
        }
        Err(error) if error.errno() == Some(Errno::ENOENT) => open_archive(dir, name).map(Part::Archive),
        Err(error) => Err(error),
    }
}

fn open_archive(dir: &Dir, name: &PartName) -> Result<Archive> {
    let archive = name.file(PartKind::Archive);
    Archive::open(dir.open_read(&archive)?, &dir.path_of(&archive))
}
