//! What one part of a glob, between two slashes, says of the names in a directory.
//!
//! As in a shell `*` and `?` never match a dot at the beginning of a name. Names are bytes: what is no UTF-8 in one is
//! matched as a character that nobody writes.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use glob::{MatchOptions, Pattern, PatternError};

use crate::config::FileConfig;

const AS_A_SHELL: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };

/// One part of a glob.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// This name alone.
    Name(OsString),
    /// Names like this.
    Like(Pattern),
    /// `**`: any number of directories.
    Directories,
}

impl Part {
    /// Reads one.
    ///
    /// # Errors
    /// It is no pattern; a configuration that was checked has none of those.
    pub fn parse(part: &OsStr) -> Result<Part, PatternError> {
        let text = part.to_string_lossy();
        if text == "**" {
            return Ok(Part::Directories);
        }
        literal(&text).map_or_else(|| Pattern::new(&text).map(Part::Like), |name| Ok(Part::Name(name.into())))
    }

    /// Whether it matches this name.
    pub fn matches(&self, name: &OsStr) -> bool {
        match self {
            Part::Name(own) => own == name,
            Part::Like(pattern) => pattern.matches_with(&name.to_string_lossy(), AS_A_SHELL),
            Part::Directories => !name.as_bytes().starts_with(b"."),
        }
    }

    /// What all names begin with that it matches.
    pub fn beginning(&self) -> &OsStr {
        match self {
            Part::Name(name) => name,
            Part::Like(pattern) => OsStr::new(pattern.as_str().split(['*', '?', '[']).next().unwrap_or_default()),
            Part::Directories => OsStr::new(""),
        }
    }
}

/// The only name that a part of a glob matches, if it matches one alone: `a[*]b` is `a*b`.
pub fn literal(part: &str) -> Option<String> {
    let mut name = String::new();
    let mut rest = part.chars();
    while let Some(c) = rest.next() {
        match c {
            '[' => {
                name.push(rest.next().filter(|escaped| "?*[]".contains(*escaped))?);
                rest.next().filter(|closing| *closing == ']')?;
            }
            '*' | '?' => return None,
            c => name.push(c),
        }
    }
    Some(name)
}

/// What an entry leaves out.
#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub struct Excludes {
    names: Vec<Pattern>,
    paths: Vec<Pattern>,
}

impl Excludes {
    /// Those of an entry.
    pub fn of(entry: &FileConfig) -> Excludes {
        let (paths, names): (Vec<&String>, Vec<&String>) = entry.exclude.iter().partition(|glob| glob.contains('/'));
        // Each was found to be a pattern when the configuration was checked.
        let patterns = |globs: Vec<&String>| globs.into_iter().filter_map(|glob| Pattern::new(glob).ok()).collect();
        Excludes { names: patterns(names), paths: patterns(paths) }
    }

    /// Whether this file is left out.
    pub fn has(&self, path: &Path) -> bool {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        self.names.iter().any(|glob| glob.matches(&name))
            || self.paths.iter().any(|glob| glob.matches_with(&path.to_string_lossy(), AS_A_SHELL))
    }
}

/// What a new name is to be so that somebody cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Shape {
    /// A directory, or a link that may lead to one.
    Directory,
    /// Anything else.
    File,
    Any,
}

/// Names that are waited for in a directory.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Awaited {
    dir: PathBuf,
    part: Part,
    kind: Shape,
    excludes: Rc<Excludes>,
}

impl Awaited {
    /// Those that are not hidden.
    pub fn visible(dir: &Path) -> Awaited {
        Awaited { dir: dir.to_path_buf(), part: Part::Directories, kind: Shape::Any, excludes: Rc::default() }
    }

    /// Directories on the way that a glob takes.
    pub fn directories(dir: &Path, part: &Part) -> Awaited {
        Awaited { dir: dir.to_path_buf(), part: part.clone(), kind: Shape::Directory, excludes: Rc::default() }
    }

    /// Files at its end.
    pub fn files(dir: &Path, part: &Part, excludes: &Rc<Excludes>) -> Awaited {
        Awaited { dir: dir.to_path_buf(), part: part.clone(), kind: Shape::File, excludes: excludes.clone() }
    }

    /// What they all begin with.
    pub fn beginning(&self) -> &OsStr {
        self.part.beginning()
    }

    /// Whether this name, which may be that of a directory, is one of them.
    pub fn has(&self, name: &OsStr, is_directory: bool) -> bool {
        if !self.part.matches(name) {
            return false;
        }
        match self.kind {
            Shape::Directory => is_directory || fs::read_link(self.dir.join(name)).is_ok(),
            Shape::File => !is_directory && !self.excludes.has(&self.dir.join(name)),
            Shape::Any => true,
        }
    }
}
