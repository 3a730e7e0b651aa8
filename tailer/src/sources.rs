//! Which files are sources at this moment, and what each is called.
//!
//! Invariants: a path is a source once, however many entries reach it, and the first entry counts; all names differ;
//! a path that is no glob is a source whether or not it is there. Under a glob, what is a rotated sibling of another
//! source is none itself, nor is a directory, nor our own state. Whether two paths are one inode, and whether a file
//! may be read at all, is deliberately elsewhere.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use glob::Pattern;

use crate::config::{Config, FileConfig};
use crate::file::packed::Packing;
use crate::names::siblings::directories::Directories;
use crate::sources::globs::Globs;
use crate::sources::walk::{Glob, fixed_part};

pub mod globs;
pub mod part;
mod walk;

/// A file that is to be followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundSource {
    /// Where.
    pub path: PathBuf,
    /// What it is called; no other is called so.
    pub name: String,
    /// Which entry of `files` it belongs to.
    pub file: usize,
}

/// All sources of a moment.
#[derive(Debug, Default)]
pub struct Sources {
    /// In the order of entries, and by path within a glob.
    pub found: Vec<FoundSource>,
    /// How many files match a glob and are left out by its `exclude`.
    pub excluded: usize,
}

/// What is known of before.
#[derive(Debug, Default)]
pub struct Remembered<'a> {
    /// Paths that are sources already: they are not found again.
    pub followed: HashSet<&'a Path>,
    /// What these are called.
    pub names: HashSet<&'a str>,
    /// Paths of which something is remembered, besides.
    pub remembered: HashSet<&'a Path>,
    /// Those of them that are found under a glob though they may not be there.
    pub away: Vec<&'a Path>,
}

/// Paths, by their directories and names.
#[derive(Debug, Default)]
struct ByName<'a>(HashMap<&'a Path, HashSet<&'a [u8]>>);

/// Says whether the second name is that of a rotated file of the first.
pub type IsRotation<'a> = dyn Fn(&OsStr, &OsStr) -> bool + 'a;

/// Makes sources of what was found under the globs, and of the paths that are none.
///
/// Between rename and create of a rotation no path that is known may be there, and what was rotated is no source of its
/// own even then.
pub fn expand(config: &Config, globs: &Globs, known: &Remembered<'_>, is_rotation: &IsRotation<'_>) -> Sources {
    let mut sources = Sources::default();
    let mut reached: Vec<(PathBuf, usize)> = Vec::new();
    let mut seen: HashSet<PathBuf> = HashSet::new();
    let mut left_out: HashSet<PathBuf> = HashSet::new();
    for (file, entry) in config.files.iter().enumerate() {
        let paths = match globs.get(file) {
            Some((glob, found)) => {
                let is_new = |path: &&PathBuf| !known.followed.contains(path.as_path()) && !config.is_state(path);
                let mut paths: Vec<PathBuf> = found.iter().filter(is_new).cloned().collect();
                paths.extend(known.away.iter().filter(|path| glob.is_match(path)).map(|path| path.to_path_buf()));
                left_out.extend(paths.extract_if(.., |path| glob.excludes().has(path)));
                paths.sort();
                paths.dedup();
                paths
            }
            None => Vec::from_iter((!known.followed.contains(entry.path.as_path())).then(|| entry.path.clone())),
        };
        reached.extend(paths.into_iter().filter(|path| seen.insert(path.clone())).map(|path| (path, file)));
    }
    let is_excluded = |path: &&PathBuf| !known.followed.contains(path.as_path());
    sources.excluded = left_out.difference(&seen).filter(is_excluded).count();
    if reached.is_empty() {
        return sources;
    }
    let mut lives = ByName::default();
    let there = seen.iter().chain(&left_out).map(PathBuf::as_path);
    there
        .chain(known.followed.iter().copied())
        .chain(known.remembered.iter().copied())
        .for_each(|path| lives.add(path));
    reached.retain(|(path, file)| !config.files[*file].is_glob || !lives.has_live_of(path, is_rotation));
    sources.found = named(&config.files, reached, &known.names);
    sources
}

impl<'a> ByName<'a> {
    fn add(&mut self, path: &'a Path) {
        if let (Some(dir), Some(name)) = (path.parent(), path.file_name()) {
            self.0.entry(dir).or_default().insert(name.as_bytes());
        }
    }

    /// Whether one of them is that of which this path is a rotated file, beside it.
    fn has_live_of(&self, path: &Path, is_rotation: &IsRotation<'_>) -> bool {
        let Some((beside, name)) = path.parent().and_then(|dir| self.0.get(dir)).zip(path.file_name()) else {
            return false;
        };
        let is_its = |live: &Vec<u8>| *live != name.as_bytes() && is_rotation(OsStr::from_bytes(live), name);
        possible_lives(name.as_bytes()).any(|live| beside.contains(live.as_slice()) && is_its(&live))
    }
}

/// The names from which rotation could have made this one: it puts something behind a name (`app.log.1`), or before its
/// extension (`app-20261121.log`, also with `.gz` behind that), or before a name (`20261121-1000-01-app.log`), or gives
/// labels beside `current`. So no file needs to be compared with all others.
fn possible_lives(name: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let extensions: BTreeSet<&[u8]> = name.split(|byte| *byte == b'.').skip(1).collect();
    let lengths = 1..name.len();
    let lives = lengths.flat_map(move |length| {
        let stem = &name[..length];
        let whole = std::iter::once(stem.to_vec());
        let with_extension: Vec<Vec<u8>> =
            extensions.iter().map(|extension| [stem, b".", extension].concat()).collect();
        whole.chain(with_extension)
    });
    let plain = Packing::of(OsStr::from_bytes(name)).map_or(name.len(), |(plain, _)| plain.len());
    let is_dated = name.first().is_some_and(u8::is_ascii_digit);
    let behind = (1..plain).filter(move |at| is_dated && matches!(name[at - 1], b'-' | b'.' | b'_'));
    let behind = behind.map(move |at| name[at..plain].to_vec());
    let labelled = name.starts_with(b"@").then(|| b"current".to_vec());
    lives.chain(behind).chain(labelled)
}

/// Gives each its name: its own, its file name, or where that is taken the shortest longer one.
fn named(files: &[FileConfig], reached: Vec<(PathBuf, usize)>, taken: &HashSet<&str>) -> Vec<FoundSource> {
    let choices: Vec<[String; 3]> = reached.iter().map(|(path, file)| names(&files[*file], path)).collect();
    let mut level = vec![0; choices.len()];
    // Each round lengthens all names that several have; the last is the whole path, which one alone has.
    for _ in 0..2 {
        let mut count: HashMap<&str, usize> = HashMap::new();
        for (choice, level) in choices.iter().zip(&level) {
            *count.entry(&choice[*level]).or_default() += 1;
        }
        let longer = |(choice, level): (&[String; 3], &usize)| match count[choice[*level].as_str()] {
            1 if !taken.contains(choice[*level].as_str()) => *level,
            _ => (*level + 1).min(2),
        };
        level = choices.iter().zip(&level).map(longer).collect();
    }
    let found = reached.into_iter().zip(choices).zip(level);
    found.map(|(((path, file), choice), level)| FoundSource { path, name: choice[level].clone(), file }).collect()
}

/// What a source may be called, the best name first. An explicit name never gives way.
fn names(file: &FileConfig, path: &Path) -> [String; 3] {
    if let Some(name) = &file.name {
        return [name.clone(), name.clone(), name.clone()];
    }
    let whole = path.to_string_lossy().into_owned();
    let file_name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    let below = path.strip_prefix(fixed_part(&file.path)).ok().filter(|_| file.is_glob);
    let below = below.map_or_else(|| whole.clone(), |below| below.to_string_lossy().into_owned());
    [file_name, below, whole]
}

/// The directories in which a new file of this entry can appear, as far as they are there: for a glob its fixed part,
/// and each directory that matches a part of it.
pub fn directories(file: &FileConfig) -> Vec<PathBuf> {
    if !file.is_glob {
        return file.path.parent().map(Path::to_path_buf).into_iter().collect();
    }
    let mut directories = Directories::new(Instant::now());
    // What cannot be looked into is told where files are looked for.
    Glob::of(file).walk(&mut directories, &mut Vec::new()).dirs.into_keys().collect()
}

/// The patterns of rotated siblings of `live`: relative ones start at its directory.
pub fn rotated(file: &FileConfig, live: &Path) -> Vec<Pattern> {
    let dir = live.parent().unwrap_or(Path::new("/"));
    let dir = PathBuf::from(Pattern::escape(&dir.to_string_lossy()));
    let patterns = file.rotated.iter().map(|glob| dir.join(glob));
    // Each was found to be a pattern when the configuration was checked.
    patterns.filter_map(|pattern| Pattern::new(&pattern.to_string_lossy()).ok()).collect()
}

#[cfg(test)]
mod tests;
