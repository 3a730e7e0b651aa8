//! The files of a state: what is read from them, and the steps in which they are replaced.
//!
//! All of them lie in one directory: `FILE`, `FILE.1` (the generation before), `FILE.damaged` (one that could not be
//! read; `FILE.damaged-2` and so on where there is one), `FILE.lock`, `FILE.new` and `FILE.1.new` for the time of a
//! save, and `FILE.changes`, which is the [journal](super::journal)'s. What stands under one of these names and is not ours
//! is never replaced or removed. Only [`super::Checkpoint`] knows in which order the steps are safe. No step leaves a file
//! half written under a name that is read, but for [`Files::overwrite`], which is for a `FILE` that is a mount of its own:
//! nothing can be renamed over that.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::AT_FDCWD;
use nix::libc;
use standpipe_common::error::{Cannot, Error, Result};
use standpipe_common::looked::Looked;
use standpipe_common::rename::rename_new;
use standpipe_common::way::{self, Use, Way};
use standpipe_common::{own, seam, sys};

use super::form::{self, Base, Flaw, VERSION};
use crate::checkpoint::state::SourceState;

/// Most files that are set aside under one name: with these there is something else to mend.
const DAMAGED_MAX: u64 = 100;
/// Positions and paths are nobody else's business.
pub(super) const MODE: u32 = 0o600;

/// What stands under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum FoundState {
    /// No such name.
    Absent,
    /// A generation.
    Whole(Saved),
    /// Something that cannot be read or is not what was written, and why.
    Damaged(String),
    /// A generation of this newer version.
    Newer(u64),
}

/// What a generation says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Saved {
    pub(super) states: Vec<SourceState>,
    /// What changes of it are known by. `None`: it has no checksum.
    pub(super) base: Option<Base>,
}

/// Their paths.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) file: PathBuf,
    pub(super) previous: PathBuf,
    pub(super) damaged: PathBuf,
    pub(super) lock: PathBuf,
    /// `FILE` is a mount of its own.
    pub(super) is_mount: bool,
    next: PathBuf,
    next_previous: PathBuf,
    dir: PathBuf,
}

impl Files {
    pub(super) fn new(path: &Path) -> Files {
        let beside = |ending: &str| beside(path, ending);
        Files {
            file: path.to_owned(),
            previous: beside(".1"),
            damaged: free_name(&beside(".damaged")),
            lock: beside(".lock"),
            is_mount: is_mount(path),
            next: beside(".new"),
            next_previous: beside(".1.new"),
            dir: dir_of(path).to_owned(),
        }
    }

    /// Fails where a stranger's link or directory leads to the directory; what else is wrong with it shows when it is used.
    pub(super) fn require_safe_way(&self) -> Result<()> {
        match way::walk(&self.dir, Use::Change) {
            Ok(Way::Turned(turn)) => Err(Error::because("use", &self.file, turn.to_string())),
            _ => Ok(()),
        }
    }

    /// Fails where a save could not: it makes files in this directory, and writes to `FILE` itself if that is a mount. A
    /// full disk is no failure, for it may have room later.
    pub(super) fn try_out(&self) -> Result<()> {
        remove_own(&self.next_previous)?;
        remove_own(&self.next)?;
        let made = OpenOptions::new().write(true).create_new(true).mode(MODE).open(&self.next);
        remove_own(&self.next)?;
        if self.is_mount {
            OpenOptions::new().write(true).open(&self.file).map_err(|error| refused(&self.file, "it", &error))?;
        }
        match made {
            Err(error) if is_forbidden(&error) => Err(refused(&self.file, "its directory", &error)),
            _ => Ok(()),
        }
    }

    /// Makes durable what stands at `FILE`.
    pub(super) fn make_durable(&self) -> Result<()> {
        sync(&File::open(&self.file).cannot("open", &self.file)?, &self.file)?;
        self.sync_dir()
    }

    /// Writes `FILE.new`, and makes it durable if `durable`.
    pub(super) fn write_next(&self, bytes: &[u8], durable: bool) -> Result<()> {
        write_anew(&self.next, bytes, durable)
    }

    /// Removes what a save that failed has left behind; what cannot be removed, the next one says.
    pub(super) fn remove_new(&self) {
        remove_own(&self.next).ok();
        remove_own(&self.next_previous).ok();
    }

    /// Whether something stands at `FILE`.
    pub(super) fn is_there(&self) -> bool {
        fs::symlink_metadata(&self.file).is_ok()
    }

    /// `FILE`, which is durable, becomes `FILE.1` as well. The first `FILE.1` of all is made durable at once: there is
    /// none before it for power loss to lead back to.
    pub(super) fn keep_previous(&self) -> Result<()> {
        let is_first = fs::symlink_metadata(&self.previous).is_err_and(|error| error.kind() == ErrorKind::NotFound);
        remove_own(&self.next_previous)?;
        match seam::pass("state-link").and_then(|()| fs::hard_link(&self.file, &self.next_previous)) {
            Err(error) if has_no_links(&error) => {
                let bytes = fs::read(&self.file).cannot("read", &self.file)?;
                self.write_previous(&bytes)?;
            }
            linked => {
                linked.cannot("link", &self.next_previous)?;
                self.replace_previous()?;
            }
        }
        if is_first { self.sync_dir() } else { Ok(()) }
    }

    /// Writes `FILE.1` anew, durably.
    pub(super) fn write_previous(&self, bytes: &[u8]) -> Result<()> {
        write_anew(&self.next_previous, bytes, true)?;
        self.replace_previous()?;
        self.sync_dir()
    }

    /// `FILE.1.new` becomes `FILE.1`. What stands there and was never a state of ours goes aside.
    fn replace_previous(&self) -> Result<()> {
        if own::require(&self.previous, |head| head.starts_with(b"{")).is_err() {
            let mut aside = self.previous.as_os_str().to_owned();
            aside.push(".damaged");
            rename_new(AT_FDCWD, &self.previous, &free_name(Path::new(&aside))).cannot("set aside", &self.previous)?;
        }
        rename("state-keep", &self.next_previous, &self.previous)
    }

    /// `FILE` becomes `FILE.damaged`.
    pub(super) fn put_aside(&self) -> Result<()> {
        seam::pass("state-aside").cannot("set aside", &self.file)?;
        rename_new(AT_FDCWD, &self.file, &self.damaged).cannot("set aside", &self.file)
    }

    /// `FILE`, which stays where it is, is kept as `FILE.damaged` as well.
    pub(super) fn copy_aside(&self) -> Result<()> {
        seam::pass("state-aside").cannot("copy", &self.file)?;
        let mut from = File::open(&self.file).cannot("open", &self.file)?;
        let mut options = OpenOptions::new();
        let copy = options.write(true).create_new(true).mode(MODE).open(&self.damaged);
        io::copy(&mut from, &mut copy.cannot("make", &self.damaged)?).cannot("write", &self.damaged).map(drop)
    }

    /// `FILE` gets these bytes where it is, durably.
    pub(super) fn overwrite(&self, bytes: &[u8]) -> Result<()> {
        let path = &self.file;
        let file = OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(path).cannot("open", path)?;
        let allowed = seam::pass_write("state-overwrite", bytes.len()).cannot("write", path)?;
        file.write_all_at(&bytes[..allowed], 0).cannot("write", path)?;
        if allowed < bytes.len() {
            seam::die();
        }
        file.set_len(bytes.len() as u64).cannot("write", path)?;
        sync(&file, path)
    }

    /// `FILE.new` becomes `FILE`.
    pub(super) fn replace(&self) -> Result<()> {
        rename("state-rename", &self.next, &self.file)
    }

    /// Makes the names durable.
    pub(super) fn sync_dir(&self) -> Result<()> {
        sync_dir_of(&self.file)
    }
}

/// Reads what stands at `path`. A FIFO there is not opened: a server that waits for a reader of it would be let in.
pub(super) fn read(path: &Path) -> FoundState {
    let is_file = match fs::metadata(path) {
        Ok(metadata) => metadata.is_file(),
        Err(error) if error.kind() == ErrorKind::NotFound && !path.is_symlink() => return FoundState::Absent,
        Err(error) => return FoundState::Damaged(cause(&error)),
    };
    if !is_file {
        return FoundState::Damaged("not a regular file".to_owned());
    }
    let mut bytes = Vec::new();
    let opened = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path);
    match opened.and_then(|mut file| seam::pass("state-read").and_then(|()| file.read_to_end(&mut bytes))) {
        Err(error) => FoundState::Damaged(cause(&error)),
        Ok(_) => match form::parse(&bytes) {
            Ok(states) => FoundState::Whole(Saved { states, base: form::base_of(&bytes) }),
            Err(Flaw::Newer(version)) => FoundState::Newer(version),
            Err(Flaw::Damaged(why)) => FoundState::Damaged(why),
        },
    }
}

/// The name of what stands beside a state file.
pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

fn dir_of(path: &Path) -> &Path {
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes the names durable that stand beside `path`.
pub(super) fn sync_dir_of(path: &Path) -> Result<()> {
    let dir = dir_of(path);
    seam::pass("state-sync-dir").cannot("sync", dir)?;
    File::open(dir).and_then(|dir| dir.sync_all()).cannot("sync", dir)
}

/// The refusal to use what a newer tailer wrote.
pub(super) fn newer(path: &Path, version: u64) -> Error {
    let use_newer = format!("it has version {version}, but this tailer knows {VERSION}: use a newer tailer");
    Error::because("use", path, use_newer)
}

/// Whether `path` itself, and not what a link there leads to, is a mount.
fn is_mount(path: &Path) -> bool {
    Looked::itself(path).and_then(sys::is_mount).unwrap_or(false)
}

/// Whether it is the rights that are missing.
pub(super) fn is_forbidden(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem)
}

/// What is said where a state file cannot be kept at `path`.
pub(super) fn refused(path: &Path, what: &str, error: &io::Error) -> Error {
    let cause = cause(error);
    Error::because(
        "use",
        path,
        format!("{what} is not writable ({cause}): the state file needs a directory that tailer can write to"),
    )
}

/// A new file of these bytes, in place of one that a killed process left behind.
pub(super) fn write_anew(path: &Path, bytes: &[u8], durable: bool) -> Result<()> {
    remove_own(path)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(path).cannot("create", path)?;
    let allowed = seam::pass_write("state-write", bytes.len()).cannot("write", path)?;
    file.write_all(&bytes[..allowed]).cannot("write", path)?;
    if allowed < bytes.len() {
        seam::die();
    }
    if durable { sync(&file, path) } else { Ok(()) }
}

fn sync(file: &File, path: &Path) -> Result<()> {
    seam::pass("state-sync").cannot("sync", path)?;
    file.sync_all().cannot("sync", path)
}

pub(super) fn rename(point: &'static str, from: &Path, to: &Path) -> Result<()> {
    seam::pass(point).and_then(|()| fs::rename(from, to)).cannot("replace", to)
}

/// Removes what a save of ours left at `path`. What is not ours is a refusal.
pub(super) fn remove_own(path: &Path) -> Result<()> {
    own::remove(path, |head| own::begins_with(form::BEFORE_SUM)(head) || head.starts_with(b"{"))
}

/// `path`, or where that is taken, `path-2` and so on.
fn free_name(path: &Path) -> PathBuf {
    let numbered = |number: u64| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!("-{number}"));
        PathBuf::from(name)
    };
    let is_free = |path: &PathBuf| fs::symlink_metadata(path).is_err_and(|error| error.kind() == ErrorKind::NotFound);
    let names = std::iter::once(path.to_path_buf()).chain((2..=DAMAGED_MAX).map(numbered));
    names.into_iter().find(is_free).unwrap_or_else(|| path.to_path_buf())
}

/// Whether the file system has no hard links, or not this one.
fn has_no_links(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(errno, Some(Errno::EPERM | Errno::EOPNOTSUPP | Errno::ENOSYS | Errno::EMLINK))
}

/// The kernel's words.
fn cause(error: &io::Error) -> String {
    error.raw_os_error().map_or_else(|| error.to_string(), |code| Errno::from_raw(code).desc().to_owned())
}
