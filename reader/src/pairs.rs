//! Parts of which both files stand there, segment and archive: which of them counts.
//!
//! A complete archive always does. Beside it may stand:
//! - what we left: a kill came between the archive's name and the end of the segment, or a power cut undid that end and
//!   gave back some of its bytes, with NUL bytes where it had none. It still has its marks, which go last. If it holds
//!   nothing that the archive does not, it goes, with one line; of two that differ the shorter is set aside.
//! - a copy that somebody unpacked, whole, half or edited: it stays as it is, told once, and is neither archived nor
//!   handed over.
//!
//! After another boot a copy cannot be told from a leftover that lost its marks: [`Pairs::suspect`] gives it empty ones,
//! and it goes if the archive holds all of it, and stays otherwise. An archive that is not complete gives way to a
//! segment that has more, and never to one that has less.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;

use nix::sys::stat::FileStat;
use standpipe_common::archive::{Archive, marks};
use standpipe_common::error::{Cannot, Result};
use standpipe_common::fifo::Identity;
use standpipe_common::part::{PartKind, PartName};
use standpipe_common::shown::Shown as _;

use crate::disk::{self, Dir, FileMode};
use crate::listing::{Listing, remove_marks};
use crate::nuls;

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
        match (compare(dir, name)?, origin(dir, name)?) {
            (Compared::Same | Compared::Held, Origin::Ours | Origin::Unsure) => {
                self.known.remove(&key);
                remove_segment(dir, name)?;
                log::info!("{}: removed, a leftover of a kill or power failure; {archive} is complete", path.shown());
            }
            (Compared::Same, Origin::Theirs) => {
                say(format!(
                    "{}: an unpacked copy of {archive}; ignored, delete it once you no longer need it",
                    path.shown()
                ));
            }
            (Compared::Other { is_longer: true }, Origin::Ours) => {
                self.known.remove(&key);
                set_aside(dir, &archive, "is shorter than its part and differs from it", " and compressed again")?;
                return Ok(true);
            }
            (Compared::Other { is_longer: false }, Origin::Ours) => {
                self.known.remove(&key);
                set_aside(dir, &segment, &format!("does not match {archive}, which is complete and in use"), "")?;
                remove_marks(dir, name)?;
            }
            (Compared::Held | Compared::Other { .. }, _) => {
                say(format!("{}: differs from {archive}, which is complete and in use; ignored", path.shown()));
            }
            // Asked again at the next look.
            (Compared::Written, _) => drop(self.known.remove(&key)),
            (Compared::ArchiveHasMore, _) => {
                say(format!("{}: {archive} is damaged, but contains more than this file; keeping both", path.shown()));
            }
            (Compared::SegmentHasMore, _) => {
                self.known.remove(&key);
                set_aside(dir, &archive, "does not match its part", " and compressed again")?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// After another boot: gives marks to the segments that stand beside an archive without any.
    ///
    /// # Errors
    /// The disk's; they then count as copies of others, and nothing is lost by that.
    pub fn suspect(dir: &Dir, listing: &Listing, mode: FileMode) -> Result<()> {
        let without = listing.parts.iter().filter(|(_, files)| files.segment && files.archive && !files.marks);
        without.map(|(name, _)| name.file(PartKind::Marks)).try_for_each(|marks| dir.create(marks, mode).map(drop))
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
    let stat: FileStat = dir.stat(&file).cannot("inspect", dir.path_of(&file))?;
    Ok((stat.st_ino, stat.st_size, stat.st_mtime, stat.st_mtime_nsec))
}

/// Whose a segment is that stands beside an archive.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// We left it.
    Ours,
    /// It has empty marks, from a power cut or from [`Pairs::suspect`].
    Unsure,
    /// Somebody put it there.
    Theirs,
}

fn origin(dir: &Dir, name: &PartName) -> Result<Origin> {
    let file = name.file(PartKind::Marks);
    let Ok(stat) = dir.stat(&file) else { return Ok(Origin::Theirs) };
    Ok(if dir.has_foreign(&file, marks::is_beginning)? {
        Origin::Theirs
    } else if stat.st_size == 0 {
        Origin::Unsure
    } else {
        Origin::Ours
    })
}

/// Removes a segment of ours for good before its marks go, by which it is known as ours.
pub fn remove_segment(dir: &Dir, name: &PartName) -> Result<()> {
    dir.remove(name.file(PartKind::Segment))?;
    dir.sync()?;
    remove_marks(dir, name)
}

/// How a segment compares with the archive beside it.
enum Compared {
    /// The archive is complete, and the segment has its bytes.
    Same,
    /// It is complete, and the segment has the beginning of its bytes, or NUL bytes in the place of some.
    Held,
    /// It is complete, and the segment holds something else.
    Other {
        /// It has more bytes than the archive holds.
        is_longer: bool,
    },
    /// Somebody still writes one of the two.
    Written,
    /// The archive is not complete, but more can be read of it, or was in it, than the segment has.
    ArchiveHasMore,
    /// It is not complete.
    SegmentHasMore,
}

fn compare(dir: &Dir, name: &PartName) -> Result<Compared> {
    let (segment_name, archive_name) = (name.file(PartKind::Segment), name.file(PartKind::Archive));
    let (segment_path, path) = (dir.path_of(&segment_name), dir.path_of(&archive_name));
    let segment = dir.open_read(&segment_name)?;
    let archive_file = dir.open_read(&archive_name)?;
    if disk::is_written(&segment) || disk::is_written(&archive_file) {
        return Ok(Compared::Written);
    }
    let len = segment.metadata().cannot("inspect", &segment_path)?.len();
    let archive = Archive::open(archive_file, &path)?;
    let mut held = Matcher { segment: &segment, at: 0, len, likeness: Likeness::Same };
    let copied = archive.copy_to(&mut held).cannot("read", &path)?;
    let bytes_max = copied.raw_bytes.max(archive.raw_bytes());
    if !copied.gaps.is_empty() {
        return Ok(if bytes_max > len { Compared::ArchiveHasMore } else { Compared::SegmentHasMore });
    }
    let kept = nuls::len_without(&segment, len).cannot("read", &segment_path)?;
    Ok(if held.likeness == Likeness::Same && len == copied.raw_bytes {
        Compared::Same
    } else if held.likeness != Likeness::None && kept <= copied.raw_bytes {
        Compared::Held
    } else {
        Compared::Other { is_longer: kept > copied.raw_bytes }
    })
}

/// Takes the bytes of an archive and holds them against a segment of `len` bytes.
struct Matcher<'a> {
    segment: &'a File,
    at: u64,
    len: u64,
    likeness: Likeness,
}

/// How the bytes of a segment are like those of its archive, as far as both go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Likeness {
    Same,
    /// The same but for NUL bytes in the segment.
    ButForNuls,
    None,
}

impl Write for Matcher<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.likeness != Likeness::None {
            let common = bytes.len().min(usize::try_from(self.len.saturating_sub(self.at)).unwrap_or(usize::MAX));
            let mut found = vec![0; common];
            self.segment.read_exact_at(&mut found, self.at)?;
            if found != bytes[..common] {
                let is_held = found.iter().zip(bytes).all(|(found, byte)| found == byte || *found == 0);
                self.likeness = if is_held { Likeness::ButForNuls } else { Likeness::None };
            }
        }
        self.at += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Puts a file out of the way, under a name that is free, and says why, and what happens then.
fn set_aside(dir: &Dir, file: &str, why: &str, then: &str) -> Result<()> {
    let aside = dir.free_name(|number| match number {
        0 => format!("{file}.damaged"),
        _ => format!("{file}.{}.damaged", number + 1),
    });
    dir.rename_new(file, &aside)?;
    log::error!("{} {why}; moved to {aside}{then}", dir.path_of(file).shown());
    Ok(())
}
