//! Whether a directory may be a spool now: files are removed there, so nothing else may live there, and nobody may
//! put a stranger's file in place of his own.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use standpipe_common::error::Error;

use super::dir::Dir;
use crate::config::Config;
use crate::network::{self, Kind};
use crate::sources;

/// Files by which a directory is known to hold logs that the reader stores.
const LOG_MARKS: [&str; 3] = [".standpipe", ".status", ".control"];

/// A directory where another source lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// Which.
    pub dir: PathBuf,
    /// What it is, for a sentence.
    pub what: &'static str,
    /// Whether it may be the same directory: of two spools in one the first stays.
    pub may_be_same: bool,
}

/// Where else than in the spool of this number the configuration has sources.
pub fn neighbours(config: &Config, index: usize) -> Vec<Neighbour> {
    let files = config.files.iter().flat_map(sources::directories);
    let files = files.map(|dir| Neighbour { dir, what: "a followed file", may_be_same: false });
    let spools = config.spools.iter().enumerate().filter(|(other, _)| *other != index);
    let spools = spools.map(|(other, spool)| Neighbour {
        dir: spool.dir.clone(),
        what: "another spool",
        may_be_same: other > index,
    });
    // Thousands of files may live in one directory.
    let mut seen = HashSet::new();
    files.chain(spools).filter(|neighbour| seen.insert((neighbour.dir.clone(), neighbour.may_be_same))).collect()
}

/// Opens the directory of a spool, or that of its markers.
///
/// # Errors
/// It is not there, or may not be one: a sentence.
pub fn open(path: &Path, neighbours: &[Neighbour]) -> Result<Dir, String> {
    let dir = Dir::open(path).map_err(|error| Error::new("use the spool", path, error).to_string())?;
    let refused =
        refusal(&dir, neighbours).map_err(|error| Error::new("look at the spool", path, error).to_string())?;
    match refused {
        Some(cause) => Err(Error::because("use the spool", path, cause).to_string()),
        None => Ok(dir),
    }
}

fn refusal(dir: &Dir, neighbours: &[Neighbour]) -> io::Result<Option<String>> {
    if let Kind::Network(name) | Kind::Pseudo(name) = network::at(&dir.path)? {
        return Ok(Some(format!("it is on {name}: nobody can tell there whether a file is complete")));
    }
    let metadata = dir.metadata()?;
    if metadata.mode() & 0o1002 == 0o002 {
        return Ok(Some("everybody may remove files in it: chmod o-w it, or chmod +t".to_owned()));
    }
    if metadata.created().is_err() {
        return Ok(Some("its file system does not tell when a file was born".to_owned()));
    }
    let whole = fs::canonicalize(&dir.path)?;
    for above in whole.ancestors() {
        if LOG_MARKS.iter().any(|name| fs::symlink_metadata(above.join(name)).is_ok()) {
            return Ok(Some(format!("{} has the logs of a reader: choose another directory", above.display())));
        }
    }
    for neighbour in neighbours {
        // What is not there cannot be around it.
        let Ok(other) = fs::canonicalize(&neighbour.dir) else { continue };
        if whole.starts_with(&other) && !(neighbour.may_be_same && whole == other) {
            let (what, other) = (neighbour.what, other.display());
            return Ok(Some(format!("{what} lives in {other}: choose another directory")));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn sentence(path: &Path, neighbours: &[Neighbour]) -> String {
        open(path, neighbours).err().unwrap_or_default()
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
            assert_eq!(sentence(&dir, &[]).contains("everybody may remove files"), is_refused, "{mode:o}");
        }
        assert!(sentence(Path::new("/proc/self"), &[]).contains("it is on proc"));
    }

    #[test]
    fn where_others_live_is_no_spool() {
        let top = tempfile::tempdir().unwrap();
        let dir = top.path().join("logs/app/spool");
        fs::create_dir_all(&dir).unwrap();
        symlink(&dir, top.path().join("link")).unwrap();
        let neighbour =
            |name: &str, may_be_same| [Neighbour { dir: top.path().join(name), what: "another spool", may_be_same }];
        for (name, may_be_same, is_refused) in [
            ("logs", false, true),
            ("logs/app/spool", false, true),
            ("link", false, true),
            ("link", true, false),
            ("logs", true, true),
            ("logs/app/spool/done", false, false),
            ("logs/app2", false, false),
        ] {
            let said = sentence(&dir, &neighbour(name, may_be_same));
            assert_eq!(said.contains("another spool lives in"), is_refused, "{name} {may_be_same}: {said}");
        }
        assert_eq!(sentence(&dir, &[]), "");
        for (file, at) in [(".standpipe", "logs/app/spool"), (".standpipe", "logs/app"), (".status", "logs")] {
            let mark = top.path().join(at).join(file);
            fs::write(&mark, "").unwrap();
            assert!(sentence(&dir, &[]).contains("has the logs of a reader"), "{at}");
            fs::remove_file(mark).unwrap();
        }
    }
}
