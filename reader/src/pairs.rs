//! Parts of which both files stand there, segment and archive: which of them counts.
//!
//! A complete archive always does. The segment beside it is what a kill left between the archive's name and the end of
//! the segment: then it has the same bytes, and still its marks, which go last; it goes, with one line. Any other is a
//! copy that somebody unpacked, whole, half or edited: it stays as it is, told once, and is neither archived nor handed
//! over. An archive that is not complete gives way to a segment that has more, and never to one that has less.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;

use nix::sys::stat::FileStat;
use standpipe_common::archive::{Archive, marks};
use standpipe_common::error::{Cannot, Result};
use standpipe_common::fifo::Identity;
use standpipe_common::part::{PartKind, PartName};

use crate::disk::{self, Dir};
use crate::listing::remove_marks;

/// Inode, length and time of a file: while they stay, so does the verdict on it.
type Look = (u64, i64, i64, i64);

/// The pairs that stay as they are.
#[derive(Debug, Default)]
pub struct Pairs {
    /// The looks of segment and archive when they were compared last.
    known: BTreeMap<(Identity, PartName), [Look; 2]>,
}

impl Pairs {
    /// Decides on the segment and the archive of a part. `true`: the archive was set aside, and another is to be made.
    pub fn settle(&mut self, dir: &Dir, name: &PartName) -> Result<bool> {
        let key = (dir.identity()?, name.clone());
        let looks = [look(dir, name, PartKind::Segment)?, look(dir, name, PartKind::Archive)?];
        if self.known.get(&key) == Some(&looks) {
            return Ok(false);
        }
        let is_known = self.known.insert(key.clone(), looks).is_some();
        let say = |sentence: String| {
            if !is_known {
                log::warn!("{sentence}");
            }
        };
        let (segment, archive) = (name.file(PartKind::Segment), name.file(PartKind::Archive));
        let path = dir.path_of(&segment);
        match compare(dir, name)? {
            Compared::Same if has_marks(dir, name) => {
                self.known.remove(&key);
                dir.remove(&segment)?;
                remove_marks(dir, name)?;
                log::info!("{}: removed, a reader was killed before it could; {archive} has it", path.display());
            }
            Compared::Same => {
                say(format!(
                    "{}: an unpacked copy of {archive}, left alone; remove it when it is of no use",
                    path.display()
                ));
            }
            Compared::Other => say(format!(
                "{}: not what {archive} holds, which is complete and counts; the file is left alone",
                path.display()
            )),
            // Asked again at the next look.
            Compared::Written => drop(self.known.remove(&key)),
            Compared::ArchiveHasMore => say(format!(
                "{}: {archive} is damaged, but holds more than this file; both are left alone",
                path.display()
            )),
            Compared::SegmentHasMore => {
                self.known.remove(&key);
                set_aside(dir, &archive)?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Forgets what no longer is a pair in this directory.
    pub fn retain(&mut self, dir: &Dir, pairs: &BTreeSet<PartName>) -> Result<()> {
        let identity = dir.identity()?;
        self.known.retain(|(there, name), _| *there != identity || pairs.contains(name));
        Ok(())
    }
}

fn look(dir: &Dir, name: &PartName, kind: PartKind) -> Result<Look> {
    let file = name.file(kind);
    let stat: FileStat = dir.stat(&file).cannot("look at", dir.path_of(&file))?;
    Ok((stat.st_ino, stat.st_size, stat.st_mtime, stat.st_mtime_nsec))
}

fn has_marks(dir: &Dir, name: &PartName) -> bool {
    let file = name.file(PartKind::Marks);
    dir.stat(&file).is_ok() && dir.has_foreign(&file, marks::is_beginning).is_ok_and(|foreign| !foreign)
}

/// How a segment compares with the archive beside it.
enum Compared {
    /// The archive is complete, and the segment has its bytes.
    Same,
    /// It is complete, and the segment has others.
    Other,
    /// The archive is not complete, and somebody still writes one of the two.
    Written,
    /// It is not complete, but more of it can be read than the segment has.
    ArchiveHasMore,
    /// It is not complete.
    SegmentHasMore,
}

fn compare(dir: &Dir, name: &PartName) -> Result<Compared> {
    let archive_name = name.file(PartKind::Archive);
    let path = dir.path_of(&archive_name);
    let segment = dir.open_read(name.file(PartKind::Segment))?;
    let archive_file = dir.open_read(&archive_name)?;
    let is_written = disk::is_written(&segment) || disk::is_written(&archive_file);
    let len = segment.metadata().cannot("look at", dir.path_of(name.file(PartKind::Segment)))?.len();
    let archive = Archive::open(archive_file, &path)?;
    let mut held = Held { segment: &segment, at: 0, is_same: true };
    let copied = archive.copy_to(&mut held).cannot("read", &path)?;
    Ok(if copied.gaps.is_empty() {
        // What is still written is no leftover of ours.
        if held.is_same && copied.raw_bytes == len && !is_written { Compared::Same } else { Compared::Other }
    } else if is_written {
        Compared::Written
    } else if copied.raw_bytes > len {
        Compared::ArchiveHasMore
    } else {
        Compared::SegmentHasMore
    })
}

/// Takes the bytes of an archive and holds them against a segment.
struct Held<'a> {
    segment: &'a File,
    at: u64,
    is_same: bool,
}

impl Write for Held<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_same {
            let mut found = vec![0; bytes.len()];
            self.is_same = match self.segment.read_exact_at(&mut found, self.at) {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => false,
                read => read.map(|()| found == bytes)?,
            };
        }
        self.at += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Puts an archive that is not complete out of the way, under a name that is free.
fn set_aside(dir: &Dir, archive: &str) -> Result<()> {
    let mut aside = format!("{archive}.damaged");
    let mut number = 2;
    while dir.stat(&aside).is_ok() {
        aside = format!("{archive}.{number}.damaged");
        number += 1;
    }
    dir.rename_new(archive, &aside)?;
    log::error!("{} is not the whole of its segment; set aside as {aside}, made again", dir.path_of(archive).display());
    Ok(())
}
