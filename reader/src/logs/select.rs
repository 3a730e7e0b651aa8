//! Which log directories an argument means.
//!
//! A word is a pipe's name in the log root. With a `/` it is a path: a log directory, or a log root meaning all its
//! pipes; the two are told apart by the file that makes a log directory ours.

use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::sys::stat::SFlag;
use standpipe_common::error::{Error, Result, Stop};
use standpipe_common::pipes::scan;
use standpipe_common::shown::Shown as _;

use crate::cli::LogsArgs;
use crate::disk::{self, Dir};
use crate::listing::{Listing, STATE_FILE};

const FALLBACK_ROOT: &str = "/var/log/standpipe";
const SYSTEM_PIPES_DIR: &str = "/etc/standpipe/pipes.d";

/// The log directories that are meant, in the order of the arguments, those of a root by name.
pub fn log_dirs(args: &LogsArgs) -> std::result::Result<Vec<Dir>, Stop> {
    let mut dirs = Vec::new();
    if args.what.is_empty() {
        dirs = of_root(&log_root(args.logs.as_deref())?)?;
    }
    for what in &args.what {
        if is_path(what) {
            dirs.extend(of_path(what)?);
        } else {
            dirs.push(of_name(&log_root(args.logs.as_deref())?, what.as_os_str())?);
        }
    }
    Ok(dirs)
}

/// Whether an argument is a path, not a pipe's name.
pub fn is_path(what: &Path) -> bool {
    what.as_os_str().as_bytes().contains(&b'/') || what == Path::new(".")
}

/// The log root, first found: the one that was given, or the one of a pipes directory.
///
/// # Errors
/// Nothing names one, and the usual one is not there.
pub fn log_root(given: Option<&Path>) -> std::result::Result<PathBuf, Stop> {
    let configured = || {
        let from_env = std::env::var_os("STANDPIPE_DIR").map(PathBuf::from);
        let mut places = from_env.into_iter().chain([PathBuf::from("."), PathBuf::from(SYSTEM_PIPES_DIR)]);
        places.find_map(|place| scan(&place).ok()?.logs)
    };
    if let Some(root) = given.map(Path::to_path_buf).or_else(configured) {
        return Ok(root);
    }
    let root = PathBuf::from(FALLBACK_ROOT);
    if fs::symlink_metadata(&root).is_err_and(|error| error.kind() == ErrorKind::NotFound) {
        return Err(Stop::Io(format!(
            "there is no log root {FALLBACK_ROOT} (the default): give one with --logs or STANDPIPE_LOGS, or as `logs` \
             in defaults.toml of the pipes directory that STANDPIPE_DIR names"
        )));
    }
    Ok(root)
}

fn of_name(root: &Path, name: &OsStr) -> std::result::Result<Dir, Stop> {
    let path = root.join(name);
    match Dir::open(&path) {
        Ok(dir) => Ok(dir),
        Err(_) if root.is_dir() => {
            let known = of_root(root)?;
            let names = known.iter().filter_map(|dir| dir.path().file_name());
            let names: Vec<String> = names.map(|name| name.shown().to_string()).collect();
            let list = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            Err(Stop::Usage(format!("{} has no logs of {}; there are: {list}", root.shown(), name.shown())))
        }
        Err(error) => Err(error.into()),
    }
}

fn of_path(path: &Path) -> Result<Vec<Dir>> {
    let dir = Dir::open(path)?;
    let listing = Listing::read(&dir)?;
    if listing.has_state || !listing.parts.is_empty() { Ok(vec![dir]) } else { of_root(path) }
}

fn of_root(path: &Path) -> Result<Vec<Dir>> {
    let root = Dir::open(path)?;
    let mut names = root.names()?;
    names.retain(|name| {
        let is_dir = |stat| disk::is_kind(&stat, SFlag::S_IFDIR) || disk::is_kind(&stat, SFlag::S_IFLNK);
        !name.as_bytes().starts_with(b".") && root.stat(name).is_ok_and(is_dir)
    });
    names.sort();
    let ours = |dir: &Dir| dir.stat(STATE_FILE).is_ok();
    let dirs: Vec<Dir> = names.iter().filter_map(|name| Dir::open(&path.join(name)).ok()).filter(ours).collect();
    if dirs.is_empty() {
        return Err(Error::because("read logs in", path, "there is neither a log nor a log directory of ours"));
    }
    Ok(dirs)
}
