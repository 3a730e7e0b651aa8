//! The parts of a log directory one after the other, each opened, with what it says of itself.
//!
//! Invariants: parts come in order of time, each once; one that expires in between is left out. What is read of a part
//! is its index or its marks, never its lines.
//!
//! Not here: judging what is in a part, and printing it ([`crate::logs`]).

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use nix::errno::Errno;
use standpipe_common::archive::{Archive, Mark, marks};
use standpipe_common::error::{Cannot, Error, Result, Stop};
use standpipe_common::part::{PartKind, PartName};
use standpipe_common::serial::Serial;
use standpipe_common::standard;

use crate::cli::SelectionArgs;
use crate::disk::{self, Dir};
use crate::line_end::{ends_inside_line, last_line_end};
use crate::listing::Listing;
use crate::logs::select;
use crate::serials::serial_of;

/// Bytes of a segment that are read at a time.
const PIECE_BYTES: usize = 256 << 10;

/// A part, opened.
#[derive(Debug)]
pub struct Item {
    /// Which part of the log it is.
    pub name: PartName,
    /// The name of the file that was opened.
    pub file: String,
    /// Which part of which log it is, where something says so.
    pub serial: Option<Serial>,
    /// What is in it.
    pub content: Content,
}

/// What a part turned out to be.
#[derive(Debug)]
pub enum Content {
    /// The segment that is written, or was last.
    Active(StoredSegment),
    /// A segment that is complete.
    Sealed(StoredSegment),
    /// An archive, complete or not, and its bytes on disk.
    Archive(Box<Archive>, u64),
    /// It cannot be opened.
    Closed(Error),
}

/// An open segment: plain text.
#[derive(Debug)]
pub struct StoredSegment {
    file: File,
    path: PathBuf,
    /// Its length when it was opened.
    pub bytes: u64,
    /// When what arrived; empty if that was lost.
    pub marks: Vec<Mark>,
    /// When it was begun, by its name, ns since the epoch.
    pub birth_ns: i64,
    /// When it was last written to, ns since the epoch.
    pub written_ns: i64,
}

impl StoredSegment {
    fn open(dir: &Dir, name: &PartName) -> Result<StoredSegment> {
        let file_name = name.file(PartKind::Segment);
        let path = dir.path_of(&file_name);
        let file = dir.open_read(&file_name)?;
        let metadata = file.metadata().cannot("inspect", &path)?;
        let bytes = metadata.len();
        let written_ns = disk::modified_ns(&metadata);
        // A part has no marks yet, or lost them: that costs resolution alone.
        let times = dir.open_read(name.file(PartKind::Marks)).ok();
        let marks = times.and_then(|mut times| marks::read_records(&mut times, bytes).ok()).unwrap_or_default();
        Ok(StoredSegment { file, path, bytes, marks, birth_ns: name.birth_ns(), written_ns })
    }

    /// Lowest and highest arrival time; without marks a guess, without bytes none.
    pub fn span(&self) -> Option<(i64, i64)> {
        let times = || self.marks.iter().map(|mark| mark.time_ns);
        let guess = (self.birth_ns.min(self.written_ns), self.birth_ns.max(self.written_ns));
        (self.bytes > 0).then(|| times().min().zip(times().max()).unwrap_or(guess))
    }

    /// Arrival time of the line that begins at this offset.
    pub fn arrival_ns(&self, offset: u64) -> i64 {
        marks::time_at(&self.marks, offset).unwrap_or(self.birth_ns)
    }

    /// Bytes up to the last line end.
    pub fn whole_bytes(&self) -> Result<u64> {
        let end = last_line_end(&self.file, 0..self.bytes).cannot("read", &self.path)?;
        Ok(end.unwrap_or(0))
    }

    /// Whether the last byte is no line end.
    pub fn ends_inside(&self) -> Result<bool> {
        ends_inside_line(&self.file, self.bytes).cannot("read", &self.path)
    }

    /// Hands all bytes over, in pieces of no particular ends.
    pub fn read(&self, mut take: impl FnMut(&[u8])) -> Result<()> {
        let mut piece = vec![0; PIECE_BYTES];
        let mut offset = 0;
        while offset < self.bytes {
            let wanted = usize::try_from(self.bytes - offset).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
            match self.file.read_at(&mut piece[..wanted], offset) {
                // Somebody cut it.
                Ok(0) => return Err(Error::because("read all of", &self.path, "it became shorter while being read")),
                Ok(bytes) => {
                    take(&piece[..bytes]);
                    offset += bytes as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::new("read", &self.path, error)),
            }
        }
        Ok(())
    }
}

/// The parts of a directory.
pub struct Inventory<'a> {
    dir: &'a Dir,
    names: Vec<PartName>,
    listing: Listing,
}

impl<'a> Inventory<'a> {
    /// Those that are there now.
    pub fn of(dir: &'a Dir) -> Result<Inventory<'a>> {
        Inventory::at(dir, Listing::read(dir)?)
    }

    /// Those that were there at that look.
    pub fn at(dir: &'a Dir, listing: Listing) -> Result<Inventory<'a>> {
        let listing = listing.completed(dir)?;
        Ok(Inventory { dir, names: listing.stored().cloned().collect(), listing })
    }

    /// The look that they are from.
    pub fn listing(&self) -> &Listing {
        &self.listing
    }

    /// Their names, in order.
    pub fn names(&self) -> &[PartName] {
        &self.names
    }

    /// All that are still there.
    pub fn items(&self) -> impl Iterator<Item = Item> {
        self.names.iter().filter_map(|name| self.open(name))
    }

    /// A complete archive counts, whatever stands beside it. `None`: the part is gone.
    pub fn open(&self, name: &PartName) -> Option<Item> {
        let archive = self.open_archive(name);
        let is_complete = matches!(&archive, Ok(Content::Archive(archive, _)) if archive.complete().is_ok());
        let is_absent = |error: &Error| error.errno() == Some(Errno::ENOENT);
        let (kind, content) = match StoredSegment::open(self.dir, name) {
            _ if is_complete => (PartKind::Archive, archive),
            Ok(segment) if Some(name) == self.listing.active() => (PartKind::Segment, Ok(Content::Active(segment))),
            Ok(segment) => (PartKind::Segment, Ok(Content::Sealed(segment))),
            // It may have become an archive between the two.
            Err(error) if is_absent(&error) => (PartKind::Archive, archive.or_else(|_| self.open_archive(name))),
            Err(error) => (PartKind::Segment, Err(error)),
        };
        let content = match content {
            Err(error) if is_absent(&error) => return None,
            content => content.unwrap_or_else(Content::Closed),
        };
        let serial = match &content {
            Content::Archive(archive, _) => archive.index().ok().and_then(|index| index.serial),
            _ => None,
        };
        let serial = serial.or_else(|| serial_of(self.dir, &self.listing, name).ok().flatten());
        Some(Item { name: name.clone(), file: name.file(kind), serial, content })
    }

    fn open_archive(&self, name: &PartName) -> Result<Content> {
        let file_name = name.file(PartKind::Archive);
        let path = self.dir.path_of(&file_name);
        let file = self.dir.open_read(&file_name)?;
        let bytes = file.metadata().cannot("inspect", &path)?.len();
        Ok(Content::Archive(Box::new(Archive::open(file, &path)?), bytes))
    }
}

/// What was selected, and the sentences on directories that cannot be opened, which are said here as well.
pub fn select(args: &SelectionArgs) -> std::result::Result<(Vec<Dir>, Vec<String>), Stop> {
    let selection = select::log_dirs(&args.what, args.logs.as_deref())?;
    let closed: Vec<String> = selection.closed.iter().map(ToString::to_string).collect();
    for sentence in &closed {
        standard::error(sentence);
    }
    Ok((selection.dirs, closed))
}

/// What a log directory is called: its own name, whatever path led there.
pub fn pipe_name(dir: &Dir) -> String {
    let name = dir.path().canonicalize().ok().and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
    name.unwrap_or_else(|| dir.path().to_string_lossy().into_owned())
}
