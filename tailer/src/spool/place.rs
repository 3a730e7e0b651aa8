//! Whether a directory may be a spool now: files are removed there, so nothing else may live there, and nobody may
//! put a stranger's file in place of his own.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use nix::unistd::Uid;
use standpipe_common::account::user_name;
use standpipe_common::error::Error;
use standpipe_common::shown::Shown as _;
use standpipe_common::way;

use super::dir::Dir;
use crate::config::Config;
use crate::file::network::{self, FileSystem};
use crate::sources;

/// Files by which a directory is known to hold logs that the reader stores.
const LOG_MARKS: [&str; 3] = [".standpipe", ".status", ".control"];

/// A directory in which something else lives.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Neighbour {
    /// Which.
    pub dir: PathBuf,
    /// What it is, for a sentence.
    pub what: &'static str,
    /// Where a spool may not be.
    pub apart: Apart,
}

/// How far a spool is to be from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Apart {
    /// Neither there nor below.
    Outside,
    /// Not below: of two spools in one directory the first stays.
    NotBelow,
    /// Neither there nor above: it has files of ours in it.
    NotAround,
}

/// The directories of a spool, opened.
#[derive(Clone, Debug)]
pub struct Place {
    /// That of its files.
    pub dir: Rc<Dir>,
    /// That of their markers.
    pub done: Option<Rc<Dir>>,
}

/// Where a spool is, as far as it may be there.
#[derive(Debug)]
pub struct Site {
    opened: Option<Place>,
    neighbours: Vec<Neighbour>,
}

impl Site {
    /// Not looked for yet. `neighbours`: see [`neighbours`].
    pub fn new(neighbours: Vec<Neighbour>) -> Site {
        Site { opened: None, neighbours }
    }

    /// The directories as they were found last.
    pub fn opened(&self) -> Option<&Place> {
        self.opened.as_ref()
    }

    /// The open directories, opened anew if others are there now. They are judged then, and with `judges`.
    ///
    /// # Errors
    /// They are not there, or may not be a spool: a sentence.
    pub fn find(&mut self, path: &Path, done: Option<&Path>, judges: bool) -> Result<Place, String> {
        let choose = |opened: io::Result<Dir>, path: &Path, before: Option<&Rc<Dir>>| {
            let same = before.filter(|before| opened.as_ref().is_ok_and(|dir| dir.id == before.id)).cloned();
            match same {
                Some(same) if !judges => Ok(same),
                same => judge(opened, path, &self.neighbours).map(|dir| same.unwrap_or(Rc::new(dir))),
            }
        };
        let before = self.opened.take();
        let dir = choose(Dir::open(path), path, before.as_ref().map(|place| &place.dir))?;
        let found = match done {
            None => Place { dir, done: None },
            Some(path) => {
                let done = choose(dir.open_other(path), path, before.as_ref().and_then(|place| place.done.as_ref()))?;
                if let Some(cause) = refuse_markers(&dir, &done) {
                    return Err(Error::because("use spool", &dir.path, cause).to_string());
                }
                Place { dir, done: Some(done) }
            }
        };
        self.opened = Some(found.clone());
        Ok(found)
    }
}

/// What else than the spool of this number the configuration speaks of.
pub fn neighbours(config: &Config, index: usize) -> Vec<Neighbour> {
    let files = config.files.iter().flat_map(sources::directories);
    let files = files.map(|dir| Neighbour { dir, what: "a followed file", apart: Apart::Outside });
    let spools = config.spools.iter().enumerate().filter(|(other, _)| *other != index);
    let spools = spools.flat_map(|(other, spool)| {
        let apart = if other > index { Apart::NotBelow } else { Apart::Outside };
        let files = Neighbour { dir: spool.dir.clone(), what: "another spool", apart };
        let markers = spool.done.clone().map(|dir| Neighbour { dir, what: "markers of another spool", apart });
        [Some(files), markers].into_iter().flatten()
    });
    let above = |path: &Path| path.parent().map(Path::to_path_buf);
    let state = config.state_file.as_deref().and_then(above);
    let state = state.map(|dir| Neighbour { dir, what: "the state file", apart: Apart::NotAround });
    let all_pipes = config.files.iter().map(|file| &file.pipe).chain(config.spools.iter().map(|spool| &spool.pipe));
    let pipes = all_pipes.flatten().filter_map(|pipe| above(pipe));
    let pipes = pipes.map(|dir| Neighbour { dir, what: "a pipe", apart: Apart::NotAround });
    // Thousands of files may live in one directory.
    let mut seen = HashSet::new();
    files.chain(spools).chain(state).chain(pipes).filter(|neighbour| seen.insert(neighbour.clone())).collect()
}

/// The directories of all spools and of their markers, to ask whether files of others lead into them.
pub struct Spooled {
    /// Device and inode of each that is there.
    inodes: HashSet<(u64, u64)>,
    /// What was found out of directories.
    known: HashMap<PathBuf, bool>,
}

impl Spooled {
    /// As they are now.
    pub fn of(config: &Config) -> Spooled {
        let dirs = config.spools.iter().flat_map(|spool| [Some(&spool.dir), spool.done.as_ref()]).flatten();
        Spooled { inodes: dirs.filter_map(|dir| inode(dir)).collect(), known: HashMap::new() }
    }

    /// Whether a file of this path would be removed.
    pub fn has(&mut self, path: &Path) -> bool {
        let Some(dir) = path.parent().filter(|_| !self.inodes.is_empty()) else { return false };
        if let Some(is) = self.known.get(dir) {
            return *is;
        }
        let is = inode(dir).is_some_and(|inode| self.inodes.contains(&inode));
        self.known.insert(dir.to_path_buf(), is);
        is
    }
}

fn inode(dir: &Path) -> Option<(u64, u64)> {
    fs::metadata(dir).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

/// What stands where the configuration has a spool or its markers: `opened`.
///
/// # Errors
/// It is not there, or may not be one: a sentence.
fn judge(opened: io::Result<Dir>, path: &Path, neighbours: &[Neighbour]) -> Result<Dir, String> {
    let dir = opened.map_err(|error| Error::new("use spool", path, error).to_string())?;
    let refused = refusal(&dir, neighbours).map_err(|error| Error::new("inspect spool", path, error).to_string())?;
    match refused {
        Some(cause) => Err(Error::because("use spool", path, cause).to_string()),
        None => Ok(dir),
    }
}

/// Why that directory cannot have the markers of this one.
fn refuse_markers(dir: &Dir, done: &Dir) -> Option<String> {
    if done.id == dir.id {
        return Some("its markers are in the same directory".to_owned());
    }
    let strangers = [dir, done].map(|dir| Some(dir.uid).filter(|uid| !way::is_trusted(*uid).unwrap_or(false)));
    if let [Some(one), Some(other)] = strangers
        && one != other
    {
        let [one, other] = [one, other].map(|uid| user_name(Uid::from_raw(uid)));
        let markers = done.path.shown();
        return Some(format!(
            "user {one} owns it, but user {other} owns its markers in {markers}; one user must own both"
        ));
    }
    None
}

fn refusal(dir: &Dir, neighbours: &[Neighbour]) -> io::Result<Option<String>> {
    if let FileSystem::Network(name) | FileSystem::Pseudo(name) = network::at(&dir.path)? {
        return Ok(Some(format!("it is on {name}, where nothing shows whether a file is complete")));
    }
    let metadata = dir.metadata()?;
    if metadata.mode() & 0o1002 == 0o002 {
        let path = dir.path.shown();
        return Ok(Some(format!("anybody can remove files in it; run `chmod +t {path}` or `chmod o-w {path}`")));
    }
    if metadata.created().is_err() {
        return Ok(Some("its file system does not record when a file was created".to_owned()));
    }
    let whole = fs::canonicalize(&dir.path)?;
    if let Some(logs) = logs_around(&whole)? {
        return Ok(Some(format!("{} contains logs of reader: choose another directory", logs.shown())));
    }
    for neighbour in neighbours {
        // What is not there cannot be around it.
        let Ok(other) = fs::canonicalize(&neighbour.dir) else { continue };
        let is_too_near = match neighbour.apart {
            Apart::Outside => whole.starts_with(&other),
            Apart::NotBelow => whole.starts_with(&other) && whole != other,
            Apart::NotAround => other.starts_with(&whole),
        };
        if is_too_near {
            let (what, other) = (neighbour.what, other.shown());
            return Ok(Some(format!("{what} is in {other}: choose another directory")));
        }
    }
    Ok(None)
}

/// The directory of a reader's logs that this one is in, is, or has in it.
fn logs_around(whole: &Path) -> io::Result<Option<PathBuf>> {
    let has_marks = |dir: &Path| LOG_MARKS.iter().any(|name| fs::symlink_metadata(dir.join(name)).is_ok());
    if let Some(above) = whole.ancestors().find(|above| has_marks(above)) {
        return Ok(Some(above.to_path_buf()));
    }
    for entry in fs::read_dir(whole)? {
        let entry = entry?;
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) && has_marks(&entry.path()) {
            return Ok(Some(entry.path()));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn sentence(path: &Path, neighbours: &[Neighbour]) -> String {
        judge(Dir::open(path), path, neighbours).err().unwrap_or_default()
    }

    #[test]
    fn a_directory_is_refused_by_what_it_is_like() {
        let top = tempfile::tempdir().unwrap();
        let dir = top.path().join("spool");
        assert!(sentence(&dir, &[]).ends_with("No such file or directory"));
        fs::write(&dir, "").unwrap();
        assert!(sentence(&dir, &[]).ends_with("Not a directory"));
        fs::remove_file(&dir).unwrap();
        fs::create_dir(&dir).unwrap();
        for (mode, is_refused) in [(0o755, false), (0o777, true), (0o1777, false), (0o703, true), (0o770, false)] {
            fs::set_permissions(&dir, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(sentence(&dir, &[]).contains("anybody can remove files"), is_refused, "{mode:o}");
        }
        assert!(sentence(Path::new("/proc/self"), &[]).contains("it is on proc"));
    }

    #[test]
    fn where_others_live_is_no_spool() {
        let top = tempfile::tempdir().unwrap();
        let dir = top.path().join("logs/app/spool");
        fs::create_dir_all(&dir).unwrap();
        symlink(&dir, top.path().join("link")).unwrap();
        fs::create_dir_all(dir.join("done")).unwrap();
        let neighbour = |name: &str, apart| [Neighbour { dir: top.path().join(name), what: "another spool", apart }];
        for (name, apart, is_refused) in [
            ("logs", Apart::Outside, true),
            ("logs/app/spool", Apart::Outside, true),
            ("link", Apart::Outside, true),
            ("link", Apart::NotBelow, false),
            ("logs", Apart::NotBelow, true),
            ("logs/app/spool/done", Apart::Outside, false),
            ("logs/app2", Apart::Outside, false),
            ("logs", Apart::NotAround, false),
            ("link", Apart::NotAround, true),
            ("logs/app/spool/done", Apart::NotAround, true),
        ] {
            let said = sentence(&dir, &neighbour(name, apart));
            assert_eq!(said.contains("another spool is in"), is_refused, "{name} {apart:?}: {said}");
        }
        assert_eq!(sentence(&dir, &[]), "");
        for (file, at) in [
            (".standpipe", "logs/app/spool"),
            (".standpipe", "logs/app"),
            (".status", "logs"),
            (".control", "logs/app/spool/done"),
        ] {
            let mark = top.path().join(at).join(file);
            fs::write(&mark, "").unwrap();
            assert!(sentence(&dir, &[]).contains("contains logs of reader"), "{at}");
            fs::remove_file(mark).unwrap();
        }
    }
}
