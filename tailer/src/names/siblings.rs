//! The rotated generations of a log: which files these are, by name alone, and in which order the names put them.
//!
//! They are looked for beside the path that is followed, and beside the end of it where it is a link, or another name of
//! the same file; or by the names that the configuration gives. A directory that cannot be listed may hold any: that is
//! for whoever asks to know. Which of them were read already, and which is older where birth times tell, is decided
//! elsewhere.

mod dated;
pub mod directories;
pub mod names;

use std::ffi::{OsStr, OsString};
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use glob::Pattern;
use nix::errno::Errno;
use standpipe_common::error::{Error, Result};

use crate::file::identity::Identity;
use crate::file::packed::Packing;
use crate::names::siblings::dated::Dated;
use crate::names::siblings::directories::{Directories, Listing};
use crate::names::siblings::names::{Rank, beginnings, may_be_dated_before, rank};

/// Links that lead to links are followed so far, as by the kernel.
const HOPS_MAX: usize = 40;

/// A file that is a rotated generation by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sibling {
    /// Where it is.
    pub path: PathBuf,
    /// How it is packed, if it is.
    pub packed: Option<Packing>,
    /// Where it stands by its name.
    pub rank: Rank,
}

/// Where the rotated generations of one log are looked for.
#[derive(Debug)]
pub struct Siblings {
    live: PathBuf,
    /// `None`: by the names that rotators give.
    configured: Option<Vec<NamePattern>>,
    /// The directories of the last listing and how often they had changed.
    seen: Vec<(PathBuf, u64)>,
}

/// A directory that cannot be listed, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unlisted {
    /// Which one.
    pub dir: PathBuf,
    /// As the kernel says.
    pub errno: Errno,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Listed {
    /// Oldest first by their names.
    pub siblings: Vec<Sibling>,
    /// The first of those that may hold more.
    pub unlisted: Option<Unlisted>,
}

/// Names in directories.
#[derive(Debug)]
struct NamePattern {
    dir: PathBuf,
    /// Stands for the directory where the configuration has a pattern there too.
    dir_pattern: Option<String>,
    name: Pattern,
    /// What the names begin with.
    beginning: OsString,
}

/// Where to look, and for what.
struct Whereabouts<'a> {
    dir: PathBuf,
    /// The name whose rotations are meant.
    live: OsString,
    /// Instead of the names that rotators give.
    names: Option<&'a NamePattern>,
    /// And those with another date.
    dated: Option<Rc<Dated>>,
}

/// Where to look, as far as that can be said.
#[derive(Default)]
struct Places<'a> {
    all: Vec<Whereabouts<'a>>,
    unlisted: Option<Unlisted>,
}

impl Siblings {
    /// Of the log at `live`. `rotated` are patterns of names, relative to its directory, that stand for the names that
    /// rotators give; an empty list means that there are no rotated generations.
    ///
    /// # Errors
    /// A pattern that is none.
    pub fn new(live: &Path, rotated: Option<&[String]>) -> Result<Siblings> {
        let parse = |pattern: &String| NamePattern::parse(parent(live), pattern);
        let configured = rotated.map(|rotated| rotated.iter().map(parse).collect()).transpose()?;
        Ok(Siblings { live: live.to_path_buf(), configured, seen: Vec::new() })
    }

    /// Directories to be watched, and what the names there begin with, where names are configured.
    pub fn watched(&self) -> Option<Vec<(PathBuf, OsString)>> {
        let configured = self.configured.as_ref()?;
        let mut watched = Vec::new();
        for names in configured {
            watched.extend(names.dirs().0.into_iter().map(|dir| (dir, names.beginning.clone())));
        }
        Some(watched)
    }

    /// Whether the directories of the last listing are as they were. What else links and patterns lead to by now is not
    /// looked for: for a live name that is no link, and usual names beside it.
    pub fn is_unchanged(&self, directories: &mut Directories) -> bool {
        let is_same = |(dir, seen): &(PathBuf, u64)| directories.version(dir).is_ok_and(|version| version == *seen);
        self.configured.is_none() && !self.seen.is_empty() && self.seen.iter().all(is_same)
    }

    /// Whether names came or went where they are looked for since [`Siblings::list`] was asked.
    pub fn changed(&self, directories: &mut Directories) -> bool {
        let mut now = Vec::new();
        for place in self.places(directories).all {
            if let Ok(version) = directories.version(&place.dir) {
                now.push((place.dir, version));
            }
        }
        now != self.seen
    }

    /// All that are there now, oldest first by their names. A file that is being packed, so that both are there, is
    /// listed unpacked only.
    pub fn list(&mut self, directories: &mut Directories) -> Listed {
        let mut siblings = Vec::new();
        let mut seen = Vec::new();
        let Places { all, mut unlisted } = self.places(directories);
        for place in all {
            let (listing, version) = match directories.list(&place.dir) {
                Ok(listed) => listed,
                Err(error) => {
                    unlisted.get_or_insert(Unlisted::new(&place.dir, &error));
                    continue;
                }
            };
            for name in place.names(&listing) {
                let Some(rank) = place.rank(name) else { continue };
                let (plain, packed) = Packing::of(name).unzip();
                if plain.is_none_or(|plain| plain == place.live || !listing.contains(plain)) {
                    siblings.push(Sibling { path: place.dir.join(name), packed, rank });
                }
            }
            seen.push((place.dir, version));
        }
        self.seen = seen;
        siblings.sort_by(|a, b| a.rank.cmp(&b.rank).then_with(|| a.path.cmp(&b.path)));
        siblings.dedup_by(|a, b| a.path == b.path);
        Listed { siblings, unlisted }
    }

    /// All other names of a file where they are looked for, as far as directories tell; or, without one, of all files but
    /// those of which `is_known` says that they are none of these.
    pub fn others(
        &self,
        directories: &mut Directories,
        file: Option<&Identity>,
        is_known: impl Fn(&Identity) -> bool,
    ) -> Vec<PathBuf> {
        let mut others = Vec::new();
        for place in self.places(directories).all {
            let Ok((listing, _)) = directories.list(&place.dir) else { continue };
            let is_other = |name: &&OsStr| *name != place.live && place.rank(name).is_none();
            let path = |name: &OsStr| place.dir.join(name);
            if file.is_some() {
                others.extend(listing.that_may_be(file).filter(is_other).map(path));
            } else {
                let unknown = listing.files(&place.dir).filter(|(_, file)| !file.is_some_and(&is_known));
                others.extend(unknown.map(|(name, _)| name).filter(is_other).map(path));
            }
        }
        others.sort_unstable();
        others.dedup();
        others
    }

    fn places(&self, directories: &mut Directories) -> Places<'_> {
        let mut places = Places::default();
        if let Some(configured) = &self.configured {
            let live = self.live.file_name().unwrap_or_default();
            for names in configured {
                let place = |dir| Whereabouts { dir, live: live.to_os_string(), names: Some(names), dated: None };
                let (dirs, unlisted) = names.dirs();
                places.all.extend(dirs.into_iter().map(place));
                places.unlisted = places.unlisted.or(unlisted);
            }
            return places;
        }
        places.push_beside(&self.live, None);
        if let Some(live) = file_at(&self.live) {
            if let Some(name) = other_name(&self.live, &live, directories) {
                places.push_dated(&name, directories);
            }
            return places;
        }
        let mut path = self.live.clone();
        for _ in 0..HOPS_MAX {
            let Ok(target) = fs::read_link(&path) else { break };
            path = parent(&path).join(target);
            places.push_dated(&path, directories);
        }
        places
    }
}

impl Listed {
    /// Whether there are none, for certain.
    pub fn is_empty(&self) -> bool {
        self.siblings.is_empty() && self.unlisted.is_none()
    }
}

impl Unlisted {
    fn new(dir: &Path, error: &Error) -> Unlisted {
        Unlisted { dir: dir.to_path_buf(), errno: error.errno().unwrap_or(Errno::EIO) }
    }
}

impl Places<'_> {
    fn push_beside(&mut self, path: &Path, dated: Option<Rc<Dated>>) {
        if let Some(live) = path.file_name() {
            let (dir, live) = (parent(path).to_path_buf(), live.to_os_string());
            self.all.push(Whereabouts { dir, live, names: None, dated });
        }
    }

    /// What a link leads to: what has another date in its path came before.
    fn push_dated(&mut self, path: &Path, directories: &mut Directories) {
        let Some(dated) = Dated::of(path).map(Rc::new) else { return self.push_beside(path, None) };
        self.push_beside(path, Some(dated.clone()));
        let name = path.file_name().unwrap_or_default();
        let unlisted = &mut self.unlisted;
        let dirs = dated.dirs(directories, |dir, error| {
            unlisted.get_or_insert(Unlisted::new(dir, &error));
        });
        for dir in dirs.into_iter().filter(|dir| *dir != parent(path)) {
            self.push_beside(&dir.join(name), Some(dated.clone()));
        }
    }
}

/// What stands there, if it is a regular file and no link to one.
fn file_at(path: &Path) -> Option<Metadata> {
    fs::symlink_metadata(path).ok().filter(Metadata::is_file)
}

/// The name with a date that a file has besides this one, in the same directory: rotatelogs links its newest so.
fn other_name(path: &Path, this: &Metadata, directories: &mut Directories) -> Option<PathBuf> {
    if this.nlink() < 2 {
        return None;
    }
    let is_this =
        |other: &PathBuf| file_at(other).is_some_and(|other| (other.dev(), other.ino()) == (this.dev(), this.ino()));
    let (listing, _) = directories.list(parent(path)).ok()?;
    let others = listing.beginning(OsStr::new("")).map(|name| path.with_file_name(name)).filter(|other| other != path);
    others.filter(|other| Dated::of(other).is_some()).find(is_this)
}

impl Whereabouts<'_> {
    /// Those that may be looked for, by how they begin and end. Some of them twice.
    fn names<'b>(&'b self, listing: &'b Listing) -> impl Iterator<Item = &'b OsStr> {
        let of_rotators = self.names.is_none().then(|| beginnings(&self.live)).into_iter().flatten();
        let others = self.names.map(|names| names.beginning.as_os_str());
        let others = others.or(self.dated.as_ref().map(|dated| dated.beginning()));
        let is_dated = self.names.is_none() && may_be_dated_before(&self.live);
        let dated = is_dated.then(|| listing.dated_before(&self.live)).into_iter().flatten();
        of_rotators.chain(others).flat_map(|beginning| listing.beginning(beginning)).chain(dated)
    }

    fn rank(&self, name: &OsStr) -> Option<Rank> {
        let rank = rank(&self.live, name);
        match self.names {
            None => rank.or_else(|| self.dated.as_ref()?.before(&self.dir.join(name))),
            Some(names) => names.fits(&self.live, name).then(|| rank.unwrap_or(Rank::Unknown)),
        }
    }
}

impl NamePattern {
    fn parse(beside: &Path, pattern: &str) -> Result<NamePattern> {
        let path = Path::new(pattern);
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        let because = |cause: &str| Error::because("use pattern", pattern, cause);
        if name.is_empty() || pattern.ends_with('/') {
            return Err(because("it names no file"));
        }
        let within = parent(path);
        let is_pattern = within.to_string_lossy().contains(['*', '?', '[']);
        let escaped = PathBuf::from(Pattern::escape(&beside.to_string_lossy()));
        Ok(NamePattern {
            dir: if within == Path::new(".") { beside.to_path_buf() } else { beside.join(within) },
            dir_pattern: is_pattern.then(|| escaped.join(within).to_string_lossy().into_owned()),
            name: Pattern::new(name).map_err(|error| because(error.msg))?,
            beginning: name.split(['*', '?', '[']).next().unwrap_or_default().into(),
        })
    }

    /// The live file and what is still in the works never fit.
    fn fits(&self, live: &OsStr, name: &OsStr) -> bool {
        let text = name.to_string_lossy();
        name != live && !text.ends_with(".tmp") && self.name.matches(&text)
    }

    fn dirs(&self) -> (Vec<PathBuf>, Option<Unlisted>) {
        let Some(pattern) = &self.dir_pattern else { return (vec![self.dir.clone()], None) };
        let (mut dirs, mut unlisted) = (Vec::new(), None);
        for found in glob::glob(pattern).into_iter().flatten() {
            match found {
                Ok(path) if path.is_dir() => dirs.push(path),
                Ok(_) => {}
                Err(error) => {
                    let dir = error.path().to_path_buf();
                    unlisted.get_or_insert(Unlisted::new(&dir, &Error::new("list", &dir, std::io::Error::from(error))));
                }
            }
        }
        (dirs, unlisted)
    }
}

/// The directory of a path, `.` for a mere name.
fn parent(path: &Path) -> &Path {
    path.parent().filter(|dir| *dir != Path::new("")).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::time::{Duration, Instant};

    use standpipe_tests::deadline::cpu_of_thread;

    use super::*;

    fn touch(dir: &Path, names: &[&str]) {
        for name in names {
            fs::create_dir_all(dir.join(name).parent().unwrap()).unwrap();
            fs::write(dir.join(name), "").unwrap();
        }
    }

    fn list(siblings: &mut Siblings, dir: &Path) -> Vec<String> {
        let list = siblings.list(&mut Directories::new(Instant::now())).siblings;
        list.iter().map(|sibling| sibling.path.strip_prefix(dir).unwrap().to_string_lossy().into_owned()).collect()
    }

    fn configured(live: &Path, rotated: &[&str]) -> Siblings {
        let rotated: Vec<String> = rotated.iter().map(ToString::to_string).collect();
        Siblings::new(live, Some(&rotated)).unwrap()
    }

    #[test]
    fn generations_beside_the_live_file_come_oldest_first() {
        let dir = tempfile::tempdir().unwrap();
        touch(dir.path(), &["app.log", "app.log.1", "app.log.2.gz", "app.log.10.zst", "web.log.1", "app.log.1.tmp"]);
        let mut siblings = Siblings::new(&dir.path().join("app.log"), None).unwrap();
        assert_eq!(list(&mut siblings, dir.path()), ["app.log.10.zst", "app.log.2.gz", "app.log.1"]);
        let packed = siblings.list(&mut Directories::new(Instant::now())).siblings;
        let packed: Vec<_> = packed.iter().map(|sibling| sibling.packed).collect();
        assert_eq!(packed, [Some(Packing::Zstd), Some(Packing::Gzip), None]);
    }

    #[test]
    fn a_file_that_is_just_being_packed_is_listed_once_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        touch(dir.path(), &["app.log", "app.log.1", "app.log.1.gz", "app.log.2.gz", "app.log.gz"]);
        let mut siblings = Siblings::new(&dir.path().join("app.log"), None).unwrap();
        assert_eq!(list(&mut siblings, dir.path()), ["app.log.2.gz", "app.log.1", "app.log.gz"]);
    }

    #[test]
    fn names_that_begin_otherwise_are_found_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let (older, newer) = ("@400000006921e3f41d8a2b3c.s", "@400000006921e3f51d8a2b3c.u");
        touch(dir.path(), &["current", "lock", "state", older, newer]);
        let mut siblings = Siblings::new(&dir.path().join("current"), None).unwrap();
        assert_eq!(list(&mut siblings, dir.path()), [older, newer]);
        let (older, newer) = ("20261121-1000-01-app.log.gz", "20261121-1000-02-app.log");
        touch(dir.path(), &["app.log", older, newer, "20261121-1000-02-web.log"]);
        let mut siblings = Siblings::new(&dir.path().join("app.log"), None).unwrap();
        assert_eq!(list(&mut siblings, dir.path()), [older, newer]);
    }

    #[test]
    fn generations_beside_the_end_of_a_link_are_found_under_its_name() {
        let dir = tempfile::tempdir().unwrap();
        touch(dir.path(), &["pods/0.log", "pods/0.log.20261121-101112.gz", "pods/app.log.1", "app.log.1"]);
        symlink("pods/0.log", dir.path().join("app.log")).unwrap();
        let mut siblings = Siblings::new(&dir.path().join("app.log"), None).unwrap();
        assert_eq!(list(&mut siblings, dir.path()), ["pods/0.log.20261121-101112.gz", "app.log.1"]);
    }

    #[test]
    fn configured_names_stand_for_the_others() {
        let dir = tempfile::tempdir().unwrap();
        let dir = &dir.path().join("logs [1]");
        touch(dir, &["app.log", "app.log.1", "olddir/app.log.2", "olddir/app.log.1", "olddir/app.log.1.gz.tmp"]);
        touch(dir, &["2026-10/app-1.log", "2026-11/app-1.log", "app.log-old"]);
        let live = dir.join("app.log");
        for (rotated, expected) in [
            (&["olddir/app.log*"][..], &["olddir/app.log.2", "olddir/app.log.1"][..]),
            (&["app.log*"], &["app.log-old", "app.log.1"]),
            (&["app.log.*", "olddir/*", "olddir/app.log.1"], &["olddir/app.log.2", "app.log.1", "olddir/app.log.1"]),
            (&["20*/app-*.log"], &["2026-10/app-1.log", "2026-11/app-1.log"]),
            (&["missing/*"], &[]),
            (&[], &[]),
        ] {
            assert_eq!(list(&mut configured(&live, rotated), dir), expected, "{rotated:?}");
        }
        let watched = configured(&live, &["olddir/app.log*", "x?"]).watched();
        assert_eq!(watched, Some(vec![(dir.join("olddir"), "app.log".into()), (dir.clone(), "x".into())]));
        assert_eq!(Siblings::new(&live, None).unwrap().watched(), None);
        for pattern in ["olddir/", "", "app.log[", ".."] {
            let error = Siblings::new(&live, Some(&[pattern.to_string()])).unwrap_err();
            assert!(error.to_string().starts_with("cannot use pattern"), "{error}");
        }
    }

    #[test]
    fn a_change_of_names_is_noticed_by_all_that_look_there() {
        let dir = tempfile::tempdir().unwrap();
        touch(dir.path(), &["app.log", "olddir/x"]);
        let mut siblings = configured(&dir.path().join("app.log"), &["olddir/app.log*", "app.log.*"]);
        let mut now = Instant::now();
        let mut directories = Directories::new(now);
        let mut next_round = |directories: &mut Directories| {
            now += Duration::from_secs(3);
            directories.begin_round(now);
        };
        assert!(siblings.changed(&mut directories));
        siblings.list(&mut directories);
        for step in ["olddir/app.log.2", "app.log.1"] {
            next_round(&mut directories);
            assert!(!siblings.changed(&mut directories));
            touch(dir.path(), &[step]);
            next_round(&mut directories);
            assert!(siblings.changed(&mut directories), "{step}");
            assert!(siblings.changed(&mut directories), "{step}, asked twice");
            siblings.list(&mut directories);
        }
    }

    #[test]
    fn ten_thousand_logs_in_one_directory_are_listed_without_going_through_it_as_often() {
        let dir = tempfile::tempdir().unwrap();
        // Half of them begin as the year does.
        let numbers = (0..5_000).chain(200_000..205_000);
        let names: Vec<String> = numbers.map(|n| format!("{n}.log")).collect();
        for name in &names {
            touch(dir.path(), &[name]);
        }
        touch(dir.path(), &["77.log.1"]);
        let mut all: Vec<_> = names.iter().map(|name| Siblings::new(&dir.path().join(name), None).unwrap()).collect();
        let mut directories = Directories::new(Instant::now());
        let start = cpu_of_thread();
        let mut found = 0;
        for siblings in &mut all {
            found += siblings.list(&mut directories).siblings.len();
        }
        let spent = cpu_of_thread().saturating_sub(start);
        assert_eq!(found, 1);
        assert!(spent < Duration::from_secs(5), "{spent:?}");
    }
}
