//! Opening a file that is to be followed, without harm.
//!
//! A path is looked at with `O_PATH` first and only a regular file is opened for real: opening a FIFO lets in, and then
//! kills, a server that waits there, and opening a device can start a watchdog. What was looked at is what is opened,
//! unless a stranger's link or directory leads to it. Who holds a lease on it does not make us wait.
//! Nothing here reads, and nothing is created or changed.

use std::fmt;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::statfs::{PROC_SUPER_MAGIC, SYSFS_MAGIC, fstatfs};
use standpipe_common::looked::Looked;
use standpipe_common::way::{self, Use};
use standpipe_common::{fifo, sys};

use crate::file::identity::Identity;

/// Why a file is not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A FIFO.
    Fifo,
    /// A socket.
    Socket,
    /// A character or block device.
    Device,
    /// A directory.
    Directory,
    /// A file of `/proc` or `/sys`: its size says nothing.
    Kernel,
    /// Something that we write ourselves.
    Ours,
    /// A file of another source.
    Followed,
    /// Another user's link or directory leads to it, and it is not his.
    Turned,
    /// It is packed, and by what.
    Packed(&'static str),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Refusal::Packed(packer) = self {
            return write!(f, "compressed ({packer}): its bytes are not lines; unpack it to read it");
        }
        f.write_str(match self {
            Refusal::Fifo => "a FIFO, which tailer never opens; use reader to read it",
            Refusal::Socket => "a socket, not a regular file",
            Refusal::Device => "a device, not a regular file",
            Refusal::Directory => "a directory, not a regular file",
            Refusal::Kernel => "a kernel pseudo-file, which has no size to follow",
            Refusal::Ours => "written by this tailer",
            Refusal::Followed => "already followed under another name",
            Refusal::Turned => {
                "another user's link or directory leads to it, but that user does not own it: \
                 use a path that root or tailer's user controls"
            }
            Refusal::Packed(_) => "compressed",
        })
    }
}

/// What stands at a path.
#[derive(Debug)]
pub enum At {
    /// A regular file.
    File(FoundFile),
    /// Nothing.
    Missing,
    /// What is not followed.
    Refused(Refusal),
    /// It cannot be said.
    Failed(Errno),
}

/// A regular file that was looked at, not opened.
#[derive(Debug)]
pub struct FoundFile {
    looked: Looked,
    path: PathBuf,
    /// A link has that path.
    is_linked: bool,
    /// Which one.
    pub identity: Identity,
    /// How it was when it was looked at.
    pub stamp: Stamp,
}

/// What came of opening it.
#[derive(Debug)]
pub enum Opened {
    /// Open for reading.
    File(File),
    /// It is not to be followed.
    Refused(Refusal),
    /// The kernel refused.
    Failed(Errno),
}

/// Looks at `path`, through links.
pub fn look(path: &Path) -> At {
    let (looked, is_linked) = match look_through(path) {
        Ok(looked) => looked,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return At::Missing,
        Err(error) => return At::Failed(errno(&error)),
    };
    if let Some(refusal) = refusal(looked.metadata()) {
        return At::Refused(refusal);
    }
    let (identity, stamp) = (Identity::from(looked.metadata()), Stamp::from(looked.metadata()));
    At::File(FoundFile { looked, path: path.to_path_buf(), is_linked, identity, stamp })
}

/// What stands at `path`, and whether that is at the end of a link.
fn look_through(path: &Path) -> io::Result<(Looked, bool)> {
    let itself = Looked::itself(path)?;
    if itself.metadata().is_symlink() { Ok((Looked::at(path)?, true)) } else { Ok((itself, false)) }
}

impl FoundFile {
    /// Whether its name is a mount of its own, such as of a file in a container.
    pub fn is_mount(&self) -> bool {
        sys::is_mount(&self.looked).unwrap_or(false)
    }

    /// Opens it for reading, whatever its names have become.
    pub fn open(&self) -> Opened {
        self.try_open().unwrap_or_else(|error| Opened::Failed(errno(&error)))
    }

    fn try_open(&self) -> io::Result<Opened> {
        let system = fstatfs(&self.looked)?;
        if [PROC_SUPER_MAGIC, SYSFS_MAGIC].contains(&system.filesystem_type()) {
            return Ok(Opened::Refused(Refusal::Kernel));
        }
        let metadata = self.looked.metadata_now()?;
        let turn = if self.is_linked {
            way::check(&self.path, fifo::Identity::from(&metadata), Use::Read)?
        } else {
            way::check_child(&self.path, &metadata, Use::Read)?
        };
        if turn.is_some() {
            return Ok(Opened::Refused(Refusal::Turned));
        }
        Ok(Opened::File(self.looked.open(File::options().read(true))?))
    }
}

/// The number behind an error of a system call.
pub fn errno(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

/// Whether no descriptor is left, for us or for anybody.
pub fn is_out_of_descriptors(errno: Errno) -> bool {
    matches!(errno, Errno::EMFILE | Errno::ENFILE)
}

fn refusal(metadata: &Metadata) -> Option<Refusal> {
    let kind = metadata.file_type();
    if kind.is_file() {
        None
    } else if kind.is_fifo() {
        Some(Refusal::Fifo)
    } else if kind.is_socket() {
        Some(Refusal::Socket)
    } else if kind.is_dir() {
        Some(Refusal::Directory)
    } else {
        Some(Refusal::Device)
    }
}

/// What of a file changes when its content does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    /// Bytes.
    pub size: u64,
    mtime: (i64, i64),
    ctime: (i64, i64),
}

impl Stamp {
    /// Last change of the content, ns since the epoch.
    pub fn changed_ns(&self) -> i64 {
        self.mtime.0 * 1_000_000_000 + self.mtime.1
    }
}

impl From<&Metadata> for Stamp {
    fn from(metadata: &Metadata) -> Stamp {
        Stamp {
            size: metadata.size(),
            mtime: (metadata.mtime(), metadata.mtime_nsec()),
            ctime: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::net::UnixListener;

    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;

    use super::*;
    use standpipe_common::shown::Shown as _;

    fn refused(path: &Path) -> Option<Refusal> {
        match look(path) {
            At::Refused(refusal) => Some(refusal),
            At::File(found) => match found.open() {
                Opened::Refused(refusal) => Some(refusal),
                _ => None,
            },
            _ => None,
        }
    }

    #[test]
    fn what_is_not_a_regular_file_is_refused_by_type_and_no_open_blocks() {
        // F49, T12
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        mkfifo(&fifo, Mode::S_IRWXU).unwrap();
        let socket = dir.path().join("socket");
        let _listener = UnixListener::bind(&socket).unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&fifo, &link).unwrap();
        for (path, expected) in [
            (fifo.as_path(), Refusal::Fifo),
            (link.as_path(), Refusal::Fifo),
            (socket.as_path(), Refusal::Socket),
            (dir.path(), Refusal::Directory),
            (Path::new("/dev/null"), Refusal::Device),
            (Path::new("/proc/self/status"), Refusal::Kernel),
            (Path::new("/sys/kernel/mm/transparent_hugepage/enabled"), Refusal::Kernel),
        ] {
            if path.exists() {
                assert_eq!(refused(path), Some(expected), "{}", path.shown());
            }
        }
    }

    #[test]
    fn what_was_looked_at_is_what_is_opened() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        assert!(matches!(look(&path), At::Missing));
        fs::write(&path, "old").unwrap();
        let At::File(found) = look(&path) else { panic!() };
        fs::rename(&path, dir.path().join("b")).unwrap();
        fs::write(&path, "new").unwrap();
        let Opened::File(file) = found.open() else { panic!() };
        assert_eq!(Identity::from(&file.metadata().unwrap()), found.identity);
        assert_eq!(io::read_to_string(file).unwrap(), "old");
        assert!(matches!(look(&path.join("x")), At::Failed(Errno::ENOTDIR)));
    }
}
