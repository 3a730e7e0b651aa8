//! What there is in a spool, in the order in which it became complete.
//!
//! Not here: whether it is complete, which is found out when its turn comes.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::io;
use std::time::Duration;

use super::decide::elapsed;
use super::dir::{Brief, DIRECTORY, Dir, Name, kept};

/// Most files that are remembered at once, oldest first; the others are found when these are gone.
pub const FILES_MAX: usize = 1 << 16;
/// Most odd names of one look that are told.
const ODD_MAX: usize = 64;

/// A file that may be complete.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Arrival {
    /// Whether it is the first one: a part of it is not delivered yet, and nothing may come between its parts.
    pub is_last: bool,
    /// When it was marked, or else changed last; ns since the epoch.
    pub stamp_ns: i64,
    /// What it is called.
    pub name: Name,
    /// Whether the stamp is that of a marker.
    pub is_marked: bool,
    /// `None`: there is a marker alone.
    pub file: Option<Short>,
}

/// What was seen of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Short {
    /// Device and inode.
    pub id: (u64, u64),
    /// Bytes.
    pub size: u64,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Scanned {
    /// In the order in which they became complete.
    pub candidates: Vec<Arrival>,
    /// Names that are no regular files, with what they are, in `dir` or among the markers.
    pub odd_files: Vec<(Name, &'static str)>,
    /// The same, among the markers.
    pub odd_markers: Vec<(Name, &'static str)>,
}

/// What is to be looked at besides the markers.
#[derive(Clone, Copy, Debug)]
pub enum Scope {
    /// Nothing.
    None,
    /// What was not written for so long, at this moment: files, and markers without a file.
    Old(Duration, i64),
    /// All.
    All,
}

impl Scope {
    fn has_old(self, written_ns: i64) -> bool {
        matches!(self, Scope::Old(age, now_ns) if elapsed(written_ns, now_ns) >= age)
    }
}

/// Looks. `begun` says of which files a part is delivered.
///
/// # Errors
/// A directory cannot be read.
pub fn scan(dir: &Dir, done: Option<&Dir>, files: Scope, begun: impl Fn(&OsStr) -> bool) -> io::Result<Scanned> {
    let mut found = Scanned::default();
    let mut failed = None;
    if let Some(done) = done {
        let look = |name: &OsStr| {
            let file = dir.brief(name)?;
            Ok((done.marker(name, file.as_ref())?, file))
        };
        done.each_name(|name| match look(name) {
            Ok((Some(Brief { odd: Some(what), .. }), _)) => {
                if found.odd_markers.len() < ODD_MAX {
                    found.odd_markers.push((kept(name), what));
                }
            }
            // However many there are of those, they are in nobody's way.
            Ok((Some(marker), None)) if !files.has_old(marker.written_ns) => {}
            Ok((Some(marker), file)) => {
                let file = file.filter(|brief| brief.odd.is_none()).map(short);
                found.add(name, marker.written_ns, true, file, &begun);
            }
            Ok((None, _)) => {}
            Err(error) => failed = Some(error),
        })?;
    }
    if !matches!(files, Scope::None) {
        let marked: HashSet<Name> = found.candidates.iter().map(|candidate| candidate.name.clone()).collect();
        dir.each_name(|name| match dir.brief(name) {
            Ok(Some(brief)) => match (brief.odd, files) {
                // Such as that of the markers.
                (Some(DIRECTORY), _) => {}
                (Some(what), _) if found.odd_files.len() < ODD_MAX => found.odd_files.push((kept(name), what)),
                (Some(_), _) => {}
                (None, Scope::Old(..)) if !files.has_old(brief.written_ns) && !begun(name) => {}
                (None, _) if marked.contains(name) => {}
                (None, _) => found.add(name, brief.changed_ns, false, Some(short(brief)), &begun),
            },
            Ok(None) => {}
            Err(error) => failed = Some(error),
        })?;
    }
    found.candidates.sort_unstable();
    found.candidates.truncate(FILES_MAX);
    failed.map_or(Ok(found), Err)
}

fn short(brief: Brief) -> Short {
    Short { id: brief.id, size: brief.size }
}

impl Scanned {
    fn add(
        &mut self,
        name: &OsStr,
        stamp_ns: i64,
        is_marked: bool,
        file: Option<Short>,
        begun: &impl Fn(&OsStr) -> bool,
    ) {
        if self.candidates.len() >= 2 * FILES_MAX {
            self.candidates.sort_unstable();
            self.candidates.truncate(FILES_MAX);
        }
        self.candidates.push(Arrival { is_last: !begun(name), stamp_ns, name: kept(name), is_marked, file });
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::os::unix::fs::symlink;
    use std::path::Path;
    use std::time::SystemTime;

    use super::*;

    fn make(path: &Path, seconds: u64) {
        let file = File::create(path).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).unwrap();
    }

    #[test]
    fn files_come_in_the_order_of_their_markers_and_begun_ones_first() {
        let top = tempfile::tempdir().unwrap();
        let done = top.path().join("done");
        fs::create_dir(&done).unwrap();
        for (name, marked) in [("c", 5), ("b", 7), ("a", 7), ("a\nb", 6), ("begun", 9), (".hidden", 1)] {
            make(&top.path().join(name), 1);
            make(&done.join(name), marked);
        }
        make(&top.path().join("old"), 1);
        make(&top.path().join("new"), 500);
        symlink("old", top.path().join("link")).unwrap();
        fs::create_dir(done.join("directory")).unwrap();
        symlink("a", done.join("link")).unwrap();
        let (dir, done) = (Dir::open(top.path()).unwrap(), Dir::open(&done).unwrap());
        let names = |files| {
            let found = scan(&dir, Some(&done), files, |name| name == "begun").unwrap();
            let names = found.candidates.iter().map(|candidate| candidate.name.to_str().unwrap().to_owned());
            (names.collect::<Vec<_>>(), found)
        };
        make(&top.path().join("done/orphan"), 2);
        make(&top.path().join("done/young-orphan"), 400);
        let marked = ["begun", "c", "a\nb", "a", "b"];
        let (only_marked, found) = names(Scope::None);
        assert_eq!(only_marked, marked);
        let mut odd: Vec<_> = found.odd_markers.iter().map(|(name, what)| (name.to_str().unwrap(), *what)).collect();
        odd.sort_unstable();
        assert_eq!(odd, [("directory", "a directory"), ("link", "a link")]);
        let (with_old, found) = names(Scope::Old(Duration::from_secs(100), 450_000_000_000));
        assert_eq!(with_old, [&["begun", "orphan"], &marked[1..], &["old"]].concat());
        assert_eq!(found.odd_files, [(kept(OsStr::new("link")), "a link")]);
        let all = scan(&dir, None, Scope::All, |_| false).unwrap();
        assert_eq!(all.candidates.len(), 7);
    }
}
