//! What stands in a log directory, told from the names alone: parts in order, and files that are not ours.
//!
//! Reads one directory once; opens nothing but the list of its patterns. A part counts as ours by its name here; whoever writes to or removes a
//! file asks [`crate::disk::is_ours`] as well.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use standpipe_common::archive::marks;
use standpipe_common::cursor::Receiver;
use standpipe_common::error::{Cannot, Result};
use standpipe_common::part::{PartKind, PartName};

use crate::disk::{self, Dir, FileMode};
pub use crate::state::STATE_FILE;
use crate::state::State;

/// Name of the link to the active segment.
pub const CURRENT: &str = "current";

/// Name of the lock file that tells whether a reader runs.
pub const LOCK: &str = ".lock";

/// Name of the lock file that decides which reader may run.
pub const EXCLUSIVE: &str = ".exclusive";

/// Name of the lock file of svlogd, s6-log and multilog.
pub const THEIR_LOCK: &str = "lock";

/// The name of the one lane of a root that is its own log directory.
pub const SELF: &str = ".";

const TODO_PREFIX: &str = ".todo-";

/// Which files a part has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// `….log`
    pub segment: bool,
    /// `….log.zst`
    pub archive: bool,
    /// `….times`
    pub marks: bool,
}

/// One look at a log directory.
#[derive(Debug, Default)]
pub struct Listing {
    /// Parts in order of time.
    pub parts: BTreeMap<PartName, Files>,
    /// Parts whose archive the hook has not had yet: there is a `.todo-….log.zst`.
    pub todos: BTreeSet<PartName>,
    /// Receivers that have a cursor here, in no order.
    pub cursors: Vec<Receiver>,
    /// `*.log` files that are not ours, in no order.
    pub foreign_logs: Vec<OsString>,
    /// Files that an interrupted archive left.
    pub leftovers: Vec<OsString>,
    /// Other loggers lock a file of this name: `lock`.
    pub has_their_lock: bool,
    /// [`STATE_FILE`] is there.
    pub has_state: bool,
    /// What it says: by its patterns we know parts.
    pub state: State,
}

impl Listing {
    /// Reads `dir`.
    pub fn read(dir: &Dir) -> Result<Listing> {
        let entries = dir.entries()?;
        let has_state = entries.iter().any(|(name, is_file)| *is_file && name == STATE_FILE);
        // After the names: a pattern is written down before the first name of it.
        let state = if has_state { State::read(dir)? } else { State::default() };
        let mut listing = Listing { has_state, state, ..Listing::default() };
        for (name, is_file) in entries {
            listing.add(name, is_file);
        }
        Ok(listing)
    }

    /// This look at `dir` with all that it may lack because a reader goes on meanwhile. A long listing may have a part
    /// that was begun in its middle and lack the one before, so none is newer than the newest of this one; and it may lack
    /// one that became an archive in its middle, which the next one has.
    pub fn completed(mut self, dir: &Dir) -> Result<Listing> {
        let Some(newest) = self.stored().next_back().cloned() else { return Ok(self) };
        for _ in 0..2 {
            let next = Listing::read(dir)?;
            self.state = next.state;
            for (name, files) in next.parts.into_iter().filter(|(name, _)| *name <= newest) {
                let known = self.parts.entry(name).or_default();
                known.segment |= files.segment;
                known.archive |= files.archive;
                known.marks |= files.marks;
            }
        }
        Ok(self)
    }

    /// The parts that have a segment or an archive, oldest first.
    pub fn stored(&self) -> impl DoubleEndedIterator<Item = &PartName> {
        self.parts.iter().filter(|(_, files)| files.segment || files.archive).map(|(name, _)| name)
    }

    /// Whether a part has one of them.
    pub fn is_stored(&self, name: &PartName) -> bool {
        self.parts.get(name).is_some_and(|files| files.segment || files.archive)
    }

    /// The newest part that has anything.
    pub fn newest(&self) -> Option<&PartName> {
        self.parts.keys().next_back()
    }

    /// The segment that may still be written: the newest part, if it is a segment and nothing else.
    pub fn active(&self) -> Option<&PartName> {
        let (name, files) = self.parts.iter().next_back()?;
        (files.segment && !files.archive).then_some(name)
    }

    /// Segments older than `active`, oldest first.
    pub fn segments_before(&self, active: &PartName) -> impl Iterator<Item = (&PartName, Files)> {
        self.parts.range(..active).filter(|(_, files)| files.segment).map(|(name, files)| (name, *files))
    }

    /// Whether power may have been cut while a part was written.
    pub fn is_of_earlier_boot(&self, name: &PartName) -> bool {
        let newest = self.state.rebooted.as_ref().and_then(|stem| self.part_of_stem(stem));
        newest.is_some_and(|newest| *name <= newest)
    }

    /// The part of this stem, there or not. `None`: none of the patterns gives it.
    pub fn part_of_stem(&self, stem: &str) -> Option<PartName> {
        let file = format!("{stem}{}", PartKind::Segment.suffix());
        PartName::parse(OsStr::new(&file), &self.state.patterns).map(|(part, _)| part)
    }

    /// Parts that have both segment and archive.
    pub fn pairs(&self) -> BTreeSet<PartName> {
        let pairs = self.parts.iter().filter(|(_, files)| files.segment && files.archive);
        pairs.map(|(name, _)| name.clone()).collect()
    }

    fn add(&mut self, name: OsString, is_file: bool) {
        if !is_file {
            // A directory or a link, whatever its name.
        } else if let Some((part, kind)) = PartName::parse(&name, &self.state.patterns) {
            let files = self.parts.entry(part).or_default();
            match kind {
                PartKind::Segment => files.segment = true,
                PartKind::Archive => files.archive = true,
                PartKind::Marks => files.marks = true,
            }
        } else if let Some(part) = self.todo_part(&name) {
            self.todos.insert(part);
        } else if self.is_leftover(&name) {
            self.leftovers.push(name);
        } else if let Some(receiver) = Receiver::of_file(&name) {
            self.cursors.push(receiver);
        } else if name.as_bytes().ends_with(b".log") {
            self.foreign_logs.push(name);
        } else {
            self.has_their_lock |= name == THEIR_LOCK;
        }
    }

    fn todo_part(&self, name: &OsStr) -> Option<PartName> {
        let inner = name.as_bytes().strip_prefix(TODO_PREFIX.as_bytes())?;
        let part = PartName::parse(OsStr::from_bytes(inner), &self.state.patterns);
        part.filter(|(_, kind)| *kind == PartKind::Archive).map(|(part, _)| part)
    }

    fn is_leftover(&self, name: &OsStr) -> bool {
        let bytes = name.as_bytes();
        let inner = bytes.strip_prefix(b".").and_then(|rest| rest.strip_suffix(b".part"));
        inner.is_some_and(|inner| {
            let part = PartName::parse(OsStr::from_bytes(inner), &self.state.patterns);
            part.is_some_and(|(_, kind)| kind == PartKind::Archive)
        })
    }
}

/// Whether a directory is locked by a reader.
pub fn has_reader(dir: &Dir) -> Result<bool> {
    if dir.stat(LOCK).is_err() {
        return Ok(false);
    }
    disk::is_locked(&dir.open_read(LOCK)?).cannot("inspect lock", dir.path_of(LOCK))
}

/// Name of an archive that is being written, where the file system has no files without a name.
pub fn unfinished_name(part: &PartName) -> String {
    format!(".{}.part", part.file(PartKind::Archive))
}

/// Says that the hook has not had the archive of a part yet, unless that is said already.
pub fn note_todo(dir: &Dir, part: &PartName, mode: FileMode) -> Result<()> {
    if is_todo(dir, part) {
        return Ok(());
    }
    let name = todo_name(part);
    dir.require_own(&name, |_| false)?;
    dir.create(name, mode).map(drop)
}

/// The hook has had it, or never will.
pub fn remove_todo(dir: &Dir, part: &PartName) -> Result<()> {
    if is_todo(dir, part) { dir.remove(todo_name(part)) } else { Ok(()) }
}

/// Whether it is one of ours that says so: an empty file.
pub fn is_todo(dir: &Dir, part: &PartName) -> bool {
    dir.stat(todo_name(part)).is_ok_and(|stat| disk::is_removable(&stat) && stat.st_size == 0)
}

/// Removes marks that serve no segment any more. A file of that name that is not ours stays.
pub fn remove_marks(dir: &Dir, part: &PartName) -> Result<()> {
    let name = part.file(PartKind::Marks);
    if dir.has_foreign(&name, marks::is_beginning)? { Ok(()) } else { dir.remove(name) }
}

/// Name of the file that says that the hook has not had an archive yet.
fn todo_name(part: &PartName) -> String {
    format!("{TODO_PREFIX}{}", part.file(PartKind::Archive))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(names: &[&str]) -> Listing {
        let mut listing = Listing::default();
        for name in names {
            listing.add(name.into(), true);
        }
        listing
    }

    #[test]
    fn parts_of_all_listed_patterns_are_ours_and_in_one_order() {
        let patterns = ["%Y-%m-%d", "%Y-%m-%dT%H-%M-%S.%6fZ", "app-%Y"].map(|text| text.parse().unwrap());
        let mut listing =
            Listing { state: State { patterns: patterns.to_vec(), ..State::default() }, ..Listing::default() };
        let names = [
            "app-2027-000.log",
            "2026-11-21T10-00-00.000000Z.log.zst",
            "2026-11-22-900000.log",
            "2026-11-22-899.log",
            "2026-11-21-000.log.zst",
            ".2026-11-21-000.log.zst.part",
            "2026-11-21.log",
        ];
        for name in names {
            listing.add(name.into(), true);
        }
        let stems: Vec<_> = listing.parts.keys().map(PartName::stem).collect();
        let expected =
            [names[4], names[1], names[3], names[2], names[0]].map(|name| name.split(".log").next().unwrap());
        assert_eq!(stems, expected);
        assert_eq!(listing.leftovers, [".2026-11-21-000.log.zst.part"]);
        assert_eq!(listing.foreign_logs, ["2026-11-21.log"]);
    }

    const A: &str = "2026-11-21T10-00-00.000000Z";
    const B: &str = "2026-11-21T11-00-00.000000Z";

    #[test]
    fn the_newest_segment_is_active_unless_it_has_an_archive() {
        let patterns = State::default().patterns;
        let name = |stem: &str| PartName::parse(OsStr::new(&format!("{stem}.log")), &patterns).unwrap().0;
        let cases: [(&[String], Option<&str>, &[&str]); 5] = [
            (&[format!("{A}.log"), format!("{B}.log")], Some(B), &[A]),
            (&[format!("{A}.log.zst"), format!("{B}.log")], Some(B), &[]),
            (&[format!("{A}.log"), format!("{B}.log.zst")], None, &[A]),
            (&[format!("{B}.log"), format!("{B}.log.zst")], None, &[]),
            (&[], None, &[]),
        ];
        for (names, active, sealed) in cases {
            let listing = listing(&names.iter().map(String::as_str).collect::<Vec<_>>());
            assert_eq!(listing.active(), active.map(name).as_ref(), "{names:?}");
            let found: Vec<_> = listing.segments_before(&name(B)).map(|(name, _)| name.stem()).collect();
            assert_eq!(found, sealed, "{names:?}");
        }
        let mut odd = Listing::default();
        odd.add(format!("{A}.log").into(), false);
        assert!(odd.parts.is_empty(), "a link or a directory of such a name is not ours");
    }

    #[test]
    fn what_is_not_ours_is_told_apart() {
        let listing = listing(&[
            "access.log",
            "access.log.1",
            "2026-11-21-000.log",
            "current",
            ".2026-11-21T10-00-00.000000Z.log.zst.part",
            "2026-11-21T10-00-00.000000Z.log.zst.bak",
            ".todo-2026-11-21T11-00-00.000000Z.log.zst",
            ".todo-2026-11-21T12-00-00.000000Z.times",
        ]);
        assert_eq!(listing.todos.iter().map(PartName::stem).collect::<Vec<_>>(), [B]);
        assert_eq!(listing.foreign_logs, ["access.log", "2026-11-21-000.log"]);
        assert_eq!(listing.leftovers, [".2026-11-21T10-00-00.000000Z.log.zst.part"]);
        assert!(listing.parts.is_empty());
    }
}
