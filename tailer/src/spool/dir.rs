//! A directory, held open: its names, what stands behind them, and taking one away.
//!
//! Everything goes through the descriptor, so that a directory that is renamed or mounted over is not mixed up with
//! another. A name is looked at without following a link, and what was looked at is what is opened.

use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::libc;
use nix::sys::stat::{FileStat, Mode, SFlag, fstatat};
use nix::unistd::{UnlinkatFlags, unlinkat};
use standpipe_common::seam;

use crate::identity::Identity;

/// An open directory.
#[derive(Debug)]
pub struct Dir {
    file: File,
    /// What it was called when it was opened.
    pub path: PathBuf,
    /// Device and inode.
    pub id: (u64, u64),
}

/// What stands behind a name, found out in one call.
#[derive(Clone, Copy, Debug)]
pub struct Brief {
    /// Device and inode.
    pub id: (u64, u64),
    /// What it is, if it is no regular file.
    pub odd: Option<&'static str>,
    /// Its last write, ns since the epoch.
    pub written_ns: i64,
    /// Its last change of any kind.
    pub changed_ns: i64,
    /// Bytes.
    pub size: u64,
}

/// A regular file that was looked at.
#[derive(Debug)]
pub struct Looked {
    handle: File,
    /// Which one.
    pub identity: Identity,
    /// Bytes.
    pub size: u64,
    /// Its last write, ns since the epoch.
    pub written_ns: i64,
}

/// What stands behind a name.
#[derive(Debug)]
pub enum Stands {
    /// A regular file.
    File(Looked),
    /// Something that is none.
    Odd(&'static str),
    /// Nothing.
    Nothing,
}

impl Dir {
    /// Opens the directory at `path`, through links.
    ///
    /// # Errors
    /// The kernel's.
    pub fn open(path: &Path) -> io::Result<Dir> {
        let file = OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY).open(path)?;
        let metadata = file.metadata()?;
        Ok(Dir { file, path: path.to_path_buf(), id: (metadata.dev(), metadata.ino()) })
    }

    /// What the directory itself is like now.
    ///
    /// # Errors
    /// The kernel's.
    pub fn metadata(&self) -> io::Result<Metadata> {
        self.file.metadata()
    }

    /// The path of a name in it, to be shown.
    pub fn path_of(&self, name: &OsStr) -> PathBuf {
        self.path.join(name)
    }

    /// Calls `each` for all names but those that begin with a dot.
    ///
    /// # Errors
    /// The kernel's.
    pub fn each_name(&self, mut each: impl FnMut(&OsStr)) -> io::Result<()> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let mut dir = dir::Dir::openat(&self.file, ".", flags, Mode::empty())?;
        for entry in dir.iter() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if !name.starts_with(b".") {
                each(OsStr::from_bytes(name));
            }
        }
        Ok(())
    }

    /// Looks at a name without opening it. `None`: nothing is there.
    ///
    /// # Errors
    /// The kernel's.
    pub fn brief(&self, name: &OsStr) -> io::Result<Option<Brief>> {
        match fstatat(&self.file, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(Brief::from(&stat))),
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Looks at a name, so that it can be opened.
    ///
    /// # Errors
    /// The kernel's.
    pub fn look(&self, name: &OsStr) -> io::Result<Stands> {
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let handle: OwnedFd = match openat(&self.file, name, flags, Mode::empty()) {
            Ok(handle) => handle,
            Err(Errno::ENOENT) => return Ok(Stands::Nothing),
            Err(errno) => return Err(errno.into()),
        };
        let handle = File::from(handle);
        let metadata = handle.metadata()?;
        let kind = metadata.file_type();
        if !kind.is_file() {
            let is_device = kind.is_char_device() || kind.is_block_device();
            return Ok(Stands::Odd(match () {
                () if kind.is_symlink() => LINK,
                () if kind.is_dir() => DIRECTORY,
                () if kind.is_fifo() => FIFO,
                () if is_device => DEVICE,
                () => SOCKET,
            }));
        }
        let written_ns = metadata.mtime().saturating_mul(1_000_000_000).saturating_add(metadata.mtime_nsec());
        Ok(Stands::File(Looked { identity: Identity::from(&metadata), size: metadata.len(), written_ns, handle }))
    }

    /// Takes a name away, at the crash point of this name.
    ///
    /// # Errors
    /// The kernel's.
    pub fn remove(&self, name: &OsStr, point: &'static str) -> io::Result<()> {
        seam::pass(point)?;
        Ok(unlinkat(&self.file, name, UnlinkatFlags::NoRemoveDir)?)
    }
}

/// What is neither a file nor said otherwise.
pub const DIRECTORY: &str = "a directory";
const LINK: &str = "a link";
const FIFO: &str = "a FIFO";
const DEVICE: &str = "a device";
const SOCKET: &str = "a socket";

impl Looked {
    /// How long it is now.
    ///
    /// # Errors
    /// The kernel's.
    pub fn size_now(&self) -> io::Result<u64> {
        Ok(self.handle.metadata()?.len())
    }

    /// Opens it for reading.
    ///
    /// # Errors
    /// The kernel's.
    pub fn open(&self) -> io::Result<File> {
        File::open(format!("/proc/self/fd/{}", self.handle.as_raw_fd()))
    }
}

impl From<&FileStat> for Brief {
    fn from(stat: &FileStat) -> Brief {
        let kind = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT;
        let odd = match kind {
            SFlag::S_IFREG => None,
            SFlag::S_IFLNK => Some(LINK),
            SFlag::S_IFDIR => Some(DIRECTORY),
            SFlag::S_IFIFO => Some(FIFO),
            SFlag::S_IFCHR | SFlag::S_IFBLK => Some(DEVICE),
            _ => Some(SOCKET),
        };
        let ns = |seconds: i64, ns: i64| seconds.saturating_mul(1_000_000_000).saturating_add(ns);
        Brief {
            id: (stat.st_dev, stat.st_ino),
            odd,
            written_ns: ns(stat.st_mtime, stat.st_mtime_nsec),
            changed_ns: ns(stat.st_ctime, stat.st_ctime_nsec),
            size: stat.st_size as u64,
        }
    }
}

/// A name as it is kept.
pub type Name = Box<OsStr>;

/// Keeps a name.
pub fn kept(name: &OsStr) -> Name {
    OsString::from(name).into_boxed_os_str()
}
