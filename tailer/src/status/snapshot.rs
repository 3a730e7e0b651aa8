//! One look from outside: the status file, whether a tailer runs, and how long the followed files are now.
//!
//! It needs read permission only, writes nothing, and opens regular files alone. A file that grew since the tailer looked
//! at it counts with all that it has: so what waits is seen also when the tailer does not run, or does not get to it.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::libc;
use nix::unistd::Uid;
use standpipe_common::error::{Cannot, Error, Result};
use standpipe_common::shell::quoted;
use standpipe_common::shown::Shown as _;
use standpipe_common::{account, called};

use super::format::{self, Content, Figures, LAYOUT, Slot};
use super::path_beside;

/// What was seen.
#[derive(Debug)]
pub struct Snapshot {
    /// Whether somebody has the lock of the state file. `None`: we may not ask.
    pub running: Option<bool>,
    /// Process id of the tailer that wrote last.
    pub pid: u64,
    /// When it started, ns since the epoch.
    pub start_ns: u64,
    /// Files that `exclude` leaves out.
    pub excluded: u64,
    /// Its sources by path.
    pub sources: Vec<Seen>,
}

/// One source.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Its path; `None`: it was being written whenever we looked.
    pub path: Option<PathBuf>,
    /// What its slot says, with the bytes that its file has gained since.
    pub figures: Figures,
    /// What is wrong with it; empty: nothing. `None`: it was being written.
    pub error: Option<String>,
}

impl Snapshot {
    /// Looks at what stands beside the state file.
    pub fn of(state: &Path) -> Result<Snapshot> {
        let running = is_running(state);
        let content = content(state)?;
        let mut sources: Vec<Seen> = content.slots.into_iter().map(seen).collect();
        sources.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Snapshot { running, pid: content.pid, start_ns: content.start_ns, excluded: content.excluded, sources })
    }
}

fn is_running(state: &Path) -> Option<bool> {
    let mut lock = state.as_os_str().to_owned();
    lock.push(".lock");
    match open(Path::new(&lock)) {
        Err(error) if error.kind() == ErrorKind::NotFound => Some(false),
        Err(_) => None,
        // One that starts at this moment tries again.
        Ok(file) => match file.try_lock_shared() {
            Ok(()) => Some(false),
            Err(TryLockError::WouldBlock) => Some(true),
            Err(TryLockError::Error(_)) => None,
        },
    }
}

/// What the status file beside a state file says.
pub fn content(state: &Path) -> Result<Content> {
    let is_whole = |slot: &Slot| slot.path.is_some() && slot.error.is_some();
    let path = path_beside(state);
    LAYOUT.read(
        &path,
        || open_status(&path, state),
        format::decode,
        |content: &Content| content.slots.iter().all(is_whole),
    )
}

fn open_status(path: &Path, state: &Path) -> Result<File> {
    let file = match open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let cause = format!("there is none: no tailer has run with {} yet", state.shown());
            return Err(Error::because("read", path, cause));
        }
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            return Err(Error::because("read", path, private(state, path)));
        }
        opened => opened.cannot("read", path)?,
    };
    if !file.metadata().cannot("read", path)?.is_file() {
        return Err(Error::because("read", path, "not a regular file"));
    }
    Ok(file)
}

/// No group can be joined that may read it: whose it is, and how it is asked then.
fn private(state: &Path, path: &Path) -> String {
    let owner = path.ancestors().find_map(|above| fs::metadata(above).ok()).map(|is| Uid::from_raw(is.uid()));
    let user = owner.map_or_else(|| "tailer's user".to_owned(), |owner| format!("user {}", account::user_name(owner)));
    let state = std::path::absolute(state).unwrap_or_else(|_| state.to_path_buf());
    let again = format!("sudo {} --state {}", called::typed("tailer", "status"), quoted(&state));
    format!("it names every followed file, so only {user} and root may read it: run {again}")
}

fn open(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)
}

fn seen(slot: Slot) -> Seen {
    let path = slot.path.map(|path| PathBuf::from(OsString::from_vec(path)));
    let is_file = !slot.figures.is_spool;
    let metadata = path.as_ref().filter(|_| is_file).and_then(|path| fs::metadata(path).ok());
    let error = slot.error.map(|error| String::from_utf8_lossy(&error).into_owned());
    let file = metadata.map(|metadata| FileNow {
        dev: metadata.dev(),
        ino: metadata.ino(),
        size: metadata.len(),
        written_ns: metadata.mtime().saturating_mul(1_000_000_000).saturating_add(metadata.mtime_nsec()),
    });
    Seen { path, figures: file.map_or(slot.figures, |file| grown(slot.figures, file)), error }
}

/// What a file is like now.
#[derive(Clone, Copy, Debug)]
struct FileNow {
    dev: u64,
    ino: u64,
    size: u64,
    written_ns: i64,
}

/// The figures with what the file has gained since, if it is the same one.
fn grown(figures: Figures, file: FileNow) -> Figures {
    let gained = file.size.saturating_sub(figures.size);
    if (file.dev, file.ino) != (figures.dev, figures.ino) || gained == 0 {
        return figures;
    }
    let lag_bytes = figures.lag_bytes.saturating_add(gained);
    // It was not written later than that.
    let behind_ns = if figures.behind_ns == 0 { file.written_ns.max(1) as u64 } else { figures.behind_ns };
    Figures { lag_bytes, behind_ns, size: file.size, ..figures }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_gained_waits() {
        let figures = Figures { dev: 1, ino: 2, size: 100, lag_bytes: 10, behind_ns: 7, ..Figures::default() };
        let file = FileNow { dev: 1, ino: 2, size: 150, written_ns: 9 };
        for (before, file, lag_bytes, behind_ns) in [
            (figures, file, 60, 7),
            (Figures { lag_bytes: 0, behind_ns: 0, ..figures }, file, 50, 9),
            (figures, FileNow { size: 100, ..file }, 10, 7),
            (figures, FileNow { size: 20, ..file }, 10, 7),
            // Another file: nobody can say what it has to do with this one.
            (figures, FileNow { ino: 3, ..file }, 10, 7),
        ] {
            let after = grown(before, file);
            assert_eq!((after.lag_bytes, after.behind_ns), (lag_bytes, behind_ns), "{file:?}");
        }
    }
}
