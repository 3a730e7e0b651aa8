//! Which log directories an argument means.
//!
//! A word is a pipe's name in the log root, or a pattern such as `nginx-*` for several. With a `/` it is a path: a log
//! directory, or a log root meaning all its pipes; the two are told apart by the files that make a log directory ours.
//! A directory that was not named but belongs to the selection and cannot be opened never goes unsaid.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use glob::Pattern;
use nix::errno::Errno;
use nix::sys::stat::SFlag;
use standpipe_common::error::{Error, Result, Stop};
use standpipe_common::shown::Shown as _;

use crate::disk::{self, Dir};
use crate::listing::{LOCK, Listing, STATE_FILE};
use crate::logs::log_root::{LogRoot, hinted};

/// Every file system made by mkfs.ext4 has it, and only root may look inside: no log directory of ours.
const LOST_AND_FOUND: &str = "lost+found";

/// Names that a sentence offers.
const OFFERED_MAX: usize = 10;

/// What was selected.
#[derive(Debug, Default)]
pub struct Selection {
    /// Log directories, each once, in the order of the arguments; those of a root or a pattern by name.
    pub dirs: Vec<Dir>,
    /// Directories of a root or a pattern that cannot be opened: what may be in them is not in the selection.
    pub closed: Vec<Error>,
}

/// The log directories that `what` means, in the log root `logs` or the usual one; all of that root without a word.
///
/// # Errors
/// A word means nothing, or a directory that was named cannot be read.
pub fn log_dirs(what: &[PathBuf], logs: Option<&Path>) -> std::result::Result<Selection, Stop> {
    select(what, logs).map_err(|stop| hinted(stop, what))
}

fn select(what: &[PathBuf], logs: Option<&Path>) -> std::result::Result<Selection, Stop> {
    let mut selection = Selection::default();
    if what.is_empty() {
        let root = LogRoot::find(logs)?;
        selection.add_path(&root.path).map_err(|stop| root.explain(stop))?;
    }
    for what in what {
        if is_path(what) {
            selection.add_path(what)?;
        } else {
            let root = LogRoot::find(logs)?;
            selection.add_named(&root.path, what.as_os_str()).map_err(|stop| root.explain(stop))?;
        }
    }
    selection.leave_each_once()?;
    Ok(selection)
}

/// The log roots in which pipes may appear that are meant as well.
pub fn growing_roots(what: &[PathBuf], logs: Option<&Path>) -> Vec<PathBuf> {
    let is_root = |path: &Path| Dir::open(path).and_then(|dir| has_logs(&dir)).is_ok_and(|has_logs| !has_logs);
    let named = what.iter().filter(|what| is_path(what)).cloned();
    let is_pattern = |what: &PathBuf| !is_path(what) && what.to_string_lossy().contains(['*', '?', '[']);
    let chosen = (what.is_empty() || what.iter().any(is_pattern)).then(|| LogRoot::find(logs).ok()).flatten();
    named.chain(chosen.map(|root| root.path)).filter(|path| is_root(path)).collect()
}

impl Selection {
    /// A log directory, or all of a log root.
    fn add_path(&mut self, path: &Path) -> std::result::Result<(), Stop> {
        let dir = Dir::open(path)?;
        if has_logs(&dir)? {
            self.dirs.push(dir);
            return Ok(());
        }
        let before = self.dirs.len() + self.closed.len();
        self.add_all(path, |_| true)?;
        if self.dirs.len() + self.closed.len() == before && dir.stat(LOCK).is_err() {
            let sentence = format!("{}: no log and no log directory of reader found there", path.shown());
            return Err(Stop::Usage(sentence));
        }
        Ok(())
    }

    /// A pipe of this name, or else those that match it as a pattern.
    fn add_named(&mut self, root: &Path, name: &OsStr) -> std::result::Result<(), Stop> {
        match open_log_dir(&root.join(name)) {
            Ok(Some(dir)) => {
                self.dirs.push(dir);
                return Ok(());
            }
            Err(error) if !is_absence(&error) => return Err(error.into()),
            _ => {}
        }
        let before = self.dirs.len() + self.closed.len();
        let text = name.to_string_lossy();
        if text.contains(['*', '?', '[']) {
            let pattern = Pattern::new(&text);
            let pattern =
                pattern.map_err(|error| Stop::Usage(format!("bad pattern {}: {}", name.shown(), error.msg)))?;
            self.add_all(root, |name| pattern.matches(&name.to_string_lossy()))?;
        }
        if self.dirs.len() + self.closed.len() == before {
            return Err(Stop::Usage(format!(
                "{} has no log named {}; there are: {}",
                root.shown(),
                name.shown(),
                offered(&known_names(root)?)
            )));
        }
        Ok(())
    }

    /// The log directories of a root whose names are wanted.
    fn add_all(&mut self, root: &Path, is_wanted: impl Fn(&OsStr) -> bool) -> Result<()> {
        for name in sub_names(root)?.into_iter().filter(|name| is_wanted(name)) {
            match open_log_dir(&root.join(&name)) {
                Ok(Some(dir)) => self.dirs.push(dir),
                Ok(None) => {}
                Err(error) if is_absence(&error) || name == LOST_AND_FOUND => {}
                Err(error) => self.closed.push(error),
            }
        }
        Ok(())
    }

    /// Of a directory that was meant twice the first stays.
    fn leave_each_once(&mut self) -> Result<()> {
        let mut seen = HashSet::new();
        let fresh = self.dirs.iter().map(|dir| Ok(seen.insert(dir.identity()?))).collect::<Result<Vec<bool>>>()?;
        let mut fresh = fresh.into_iter();
        self.dirs.retain(|_| fresh.next() == Some(true));
        Ok(())
    }
}

/// Whether an argument is a path, not a pipe's name.
pub fn is_path(what: &Path) -> bool {
    what.as_os_str().as_bytes().contains(&b'/') || what == Path::new(".") || what == Path::new("..")
}

/// Some of these names, for a sentence.
pub fn offered(names: &[String]) -> String {
    match names.split_at_checked(OFFERED_MAX) {
        _ if names.is_empty() => "none".to_owned(),
        Some((first, more)) if !more.is_empty() => format!("{} and {} more", first.join(", "), more.len()),
        _ => names.join(", "),
    }
}

/// `None`: it is no log directory of ours.
fn open_log_dir(path: &Path) -> Result<Option<Dir>> {
    let dir = Dir::open(path)?;
    Ok(has_logs(&dir)?.then_some(dir))
}

/// Whether there is a log: in a directory that was drained into, or a copy of its parts.
fn has_logs(dir: &Dir) -> Result<bool> {
    Ok(dir.stat(STATE_FILE).is_ok() || !Listing::read(dir)?.parts.is_empty())
}

/// Nothing of that name, or no directory.
fn is_absence(error: &Error) -> bool {
    matches!(error.errno(), Some(Errno::ENOENT | Errno::ENOTDIR | Errno::ENAMETOOLONG))
}

/// Directories in a root, and links that may lead to some, by name.
fn sub_names(root: &Path) -> Result<Vec<OsString>> {
    let root = Dir::open(root)?;
    let mut names = root.names()?;
    names.retain(|name| {
        let is_dir = |stat| disk::is_kind(&stat, SFlag::S_IFDIR) || disk::is_kind(&stat, SFlag::S_IFLNK);
        !name.as_bytes().starts_with(b".") && root.stat(name).is_ok_and(is_dir)
    });
    names.sort();
    Ok(names)
}

/// What the log directories of a root are called.
fn known_names(root: &Path) -> Result<Vec<String>> {
    let mut names = sub_names(root)?;
    names.retain(|name| open_log_dir(&root.join(name)).is_ok_and(|dir| dir.is_some()));
    Ok(names.iter().map(|name| name.shown().to_string()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_names_only_some_are_offered() {
        let names = |count| (0..count).map(|n| format!("p{n}")).collect::<Vec<_>>();
        assert_eq!(offered(&[]), "none");
        assert_eq!(offered(&names(2)), "p0, p1");
        assert_eq!(offered(&names(10)), "p0, p1, p2, p3, p4, p5, p6, p7, p8, p9");
        assert_eq!(offered(&names(22)), "p0, p1, p2, p3, p4, p5, p6, p7, p8, p9 and 12 more");
    }
}
