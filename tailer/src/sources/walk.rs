//! A glob, and the walk through the directories in which it may match something.
//!
//! Each directory is looked into once, however many ways the glob takes through it. What cannot be listed is told, and
//! names without a wildcard are found there all the same. Links to directories are followed; behind `**` not to one
//! that is on the way already, for that way has no end.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use standpipe_common::error::Error;

use crate::config::FileConfig;
use crate::file::identity::Identity;
use crate::names::siblings::directories::{Directories, EntryKind, Listing};
use crate::sources::part::{Awaited, Excludes, Part, literal};

/// A glob of the configuration.
#[derive(Debug, PartialEq, Eq)]
pub struct Glob {
    /// The directory that it names before its first part with a wildcard.
    fixed: PathBuf,
    /// What follows.
    parts: Vec<Part>,
    excludes: Rc<Excludes>,
}

/// What there was under a glob.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Matches {
    /// What matches and is no directory, also what is left out; sorted.
    pub files: Vec<PathBuf>,
    /// Each directory in which something may come that matches.
    pub dirs: BTreeMap<PathBuf, Folder>,
}

/// A directory on the way.
#[derive(Debug, PartialEq, Eq)]
pub struct Folder {
    /// Which parts are looked for in it.
    parts: BTreeSet<usize>,
    /// What is there. `None`: it need not be known, or cannot.
    listing: Option<Rc<Listing>>,
}

impl Glob {
    /// That of an entry.
    pub fn of(entry: &FileConfig) -> Glob {
        let fixed = fixed_part(&entry.path);
        let below = entry.path.components().skip(fixed.components().count());
        let parts: Result<_, _> = below.map(|part| Part::parse(part.as_os_str())).collect();
        // Each was found to be a pattern when the configuration was checked.
        Glob { fixed, parts: parts.unwrap_or_default(), excludes: Rc::new(Excludes::of(entry)) }
    }

    /// What it leaves out.
    pub fn excludes(&self) -> &Excludes {
        &self.excludes
    }

    /// Whether a path matches, whatever is there.
    pub fn is_match(&self, path: &Path) -> bool {
        let Ok(below) = path.strip_prefix(&self.fixed) else { return false };
        let names: Vec<&OsStr> = below.iter().collect();
        let Some((last, dirs)) = names.split_last() else { return false };
        let mut parts = self.from(0);
        for name in dirs {
            parts = parts.iter().flat_map(|part| self.beyond(*part, name)).collect();
        }
        parts.iter().any(|part| self.ends_with(*part, last))
    }

    /// Looks for what matches. What cannot be looked into is added to `unreadable`.
    pub fn walk(&self, directories: &mut Directories, unreadable: &mut Vec<Error>) -> Matches {
        let mut found = Matches::default();
        let mut todo = vec![(self.fixed.clone(), self.from(0))];
        while let Some((path, parts)) = todo.pop() {
            let is_listed = parts.iter().any(|part| !matches!(self.parts[*part], Part::Name(_)));
            let listing = is_listed.then(|| directories.list(&path)).and_then(|listed| match listed {
                Ok((listing, _)) => Some(listing),
                Err(error) => {
                    unreadable.push(error);
                    None
                }
            });
            let dir = Folder { parts, listing };
            for (name, parts) in self.look_into(&path, &dir, &mut found.files) {
                todo.push((path.join(name), parts));
            }
            found.dirs.insert(path, dir);
        }
        found.files.sort_unstable();
        found
    }

    /// What names each of its directories is watched for.
    pub fn awaited(&self, found: &Matches) -> Vec<(PathBuf, Vec<Awaited>)> {
        let of = |(path, dir): (&PathBuf, &Folder)| {
            let mut awaited = Vec::new();
            for part in &dir.parts {
                if self.is_last(*part) {
                    awaited.push(Awaited::files(path, &self.parts[*part], &self.excludes));
                } else {
                    awaited.push(Awaited::directories(path, &self.parts[*part]));
                }
            }
            (path.clone(), awaited)
        };
        found.dirs.iter().map(of).collect()
    }

    /// Takes the files of a directory that match, and returns the directories to go on in.
    fn look_into(&self, path: &Path, dir: &Folder, files: &mut Vec<PathBuf>) -> BTreeMap<OsString, BTreeSet<usize>> {
        let mut deeper: BTreeMap<OsString, BTreeSet<usize>> = BTreeMap::new();
        let mut take = |name: &OsStr, kind: EntryKind, parts: &[usize]| {
            let is_wanted = |part: &&usize| self.parts[**part].matches(name);
            let parts: Vec<usize> = parts.iter().filter(is_wanted).copied().collect();
            if parts.is_empty() {
                return;
            }
            let whole = path.join(name);
            let is_link = kind == EntryKind::Link;
            if kind == EntryKind::Directory || (is_link && whole.is_dir()) {
                let is_endless =
                    |part: usize| self.parts[part] == Part::Directories && is_link && is_on_the_way(&whole, path);
                let beyond = parts.iter().filter(|part| !is_endless(**part));
                let beyond: BTreeSet<usize> = beyond.flat_map(|part| self.beyond(*part, name)).collect();
                if !beyond.is_empty() {
                    deeper.entry(name.to_os_string()).or_default().extend(beyond);
                }
            } else if parts.iter().any(|part| self.ends_with(*part, name)) {
                files.push(whole);
            }
        };
        let mut wild = Vec::new();
        for part in &dir.parts {
            match &self.parts[*part] {
                Part::Name(name) => {
                    if let Some(kind) = EntryKind::of(&path.join(name)) {
                        take(name, kind, &[*part]);
                    }
                }
                _ => wild.push(*part),
            }
        }
        for (name, kind) in dir.listing.iter().flat_map(|listing| listing.iter()) {
            take(name, kind, &wild);
        }
        deeper
    }

    /// A part, and what is looked for beside it, for `**` may be no directory at all.
    fn from(&self, part: usize) -> BTreeSet<usize> {
        let mut parts = BTreeSet::new();
        for part in part..self.parts.len() {
            parts.insert(part);
            if self.parts[part] != Part::Directories {
                break;
            }
        }
        parts
    }

    /// What is looked for in a directory of this name, where this part was.
    fn beyond(&self, part: usize, name: &OsStr) -> BTreeSet<usize> {
        match &self.parts[part] {
            own if !own.matches(name) => BTreeSet::new(),
            Part::Directories => self.from(part),
            _ => self.from(part + 1),
        }
    }

    /// Whether a file of this name matches, where this part is looked for.
    fn ends_with(&self, part: usize, name: &OsStr) -> bool {
        self.is_last(part) && self.parts[part].matches(name)
    }

    /// Whether this part is for files; `**` is for directories even at the end.
    fn is_last(&self, part: usize) -> bool {
        part + 1 == self.parts.len() && self.parts[part] != Part::Directories
    }
}

impl Matches {
    /// Whether the same directories are to be watched for the same names.
    pub fn has_ways_of(&self, other: &Matches) -> bool {
        self.ways().eq(other.ways())
    }

    fn ways(&self) -> impl Iterator<Item = (&PathBuf, &BTreeSet<usize>)> {
        self.dirs.iter().map(|(path, dir)| (path, &dir.parts))
    }
}

/// The directory that a glob names before its first part with a wildcard.
pub fn fixed_part(pattern: &Path) -> PathBuf {
    let above = pattern.parent().unwrap_or(Path::new("/"));
    above.components().map_while(|part| literal(&part.as_os_str().to_string_lossy())).collect()
}

/// Whether a link in `dir` leads to that or to a directory above it.
fn is_on_the_way(link: &Path, dir: &Path) -> bool {
    let directory = |path: &Path| fs::metadata(path).ok().filter(fs::Metadata::is_dir);
    let Some(target) = directory(link).map(|metadata| Identity::from(&metadata)) else { return false };
    dir.ancestors().any(|above| directory(above).is_some_and(|metadata| Identity::from(&metadata) == target))
}
