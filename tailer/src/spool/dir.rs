//! A directory, held open: its names, what stands behind them, and taking one away.
//!
//! Everything goes through the descriptor, so that a directory that is renamed or mounted over is not mixed up with
//! another. A name is looked at without following a link, and what was looked at is what is opened. Invariant: nothing is
//! reached through a stranger's link, and of a directory that a stranger owns only what he owns as well.

use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag};
use nix::sys::stat::{FileStat, Mode, SFlag, fstatat};
use nix::unistd::{UnlinkatFlags, unlinkat};
use standpipe_common::looked::Looked;
use standpipe_common::seam;
use standpipe_common::way::{self, Use};

use crate::file::identity::Identity;

/// An open directory.
#[derive(Debug)]
pub struct Dir {
    file: File,
    /// What it was called when it was opened.
    pub path: PathBuf,
    /// Device and inode.
    pub id: (u64, u64),
    /// Whose it is.
    pub uid: u32,
    /// What is in it belongs to the same user.
    is_strangers: bool,
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
    /// Whose it is.
    pub uid: u32,
}

/// A regular file that was looked at.
#[derive(Debug)]
pub struct Readable {
    looked: Looked,
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
    File(Readable),
    /// Something that is none.
    Odd(&'static str),
    /// Nothing.
    Nothing,
}

impl Dir {
    /// Opens the directory at `path`, through links.
    ///
    /// # Errors
    /// The kernel's; and a stranger's link or directory leads to it.
    pub fn open(path: &Path) -> io::Result<Dir> {
        Dir::of(&way::open(path, Use::Change)?, path)
    }

    /// Opens the directory at `path`, from this one on where it is below: nobody can exchange this one meanwhile.
    ///
    /// # Errors
    /// As [`Dir::open`].
    pub fn open_other(&self, path: &Path) -> io::Result<Dir> {
        let Ok(rest) = path.strip_prefix(&self.path) else { return Dir::open(path) };
        Dir::of(&way::open_below(&self.file, &self.path, rest, Use::Change)?, path)
    }

    fn of(looked: &Looked, path: &Path) -> io::Result<Dir> {
        let metadata = looked.metadata();
        if !metadata.is_dir() {
            return Err(Errno::ENOTDIR.into());
        }
        let file = looked.open(File::options().read(true))?;
        let (id, uid) = ((metadata.dev(), metadata.ino()), metadata.uid());
        Ok(Dir { file, path: path.to_path_buf(), id, uid, is_strangers: !way::is_trusted(uid)? })
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
            Ok(stat) => {
                let mut brief = Brief::from(&stat);
                brief.odd = brief.odd.or_else(|| self.is_anothers(brief.uid).then_some(ANOTHERS));
                Ok(Some(brief))
            }
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Looks at a name among markers. A marker is empty, and of the user whose file it marks, of root or of ours: another's
    /// would have us remove what he may not.
    ///
    /// # Errors
    /// The kernel's.
    pub fn marker(&self, name: &OsStr, file: Option<&Brief>) -> io::Result<Option<Brief>> {
        let Some(mut brief) = self.brief(name)? else { return Ok(None) };
        if brief.odd.is_none() && brief.size > 0 {
            brief.odd = Some(FULL);
        }
        if brief.odd.is_none() && file.is_some_and(|file| file.uid != brief.uid) && !way::is_trusted(brief.uid)? {
            brief.odd = Some(FOREIGN);
        }
        Ok(Some(brief))
    }

    /// Looks at a name, so that it can be opened.
    ///
    /// # Errors
    /// The kernel's.
    pub fn look(&self, name: &OsStr) -> io::Result<Stands> {
        let looked = match Looked::below(&self.file, name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Stands::Nothing),
            looked => looked?,
        };
        let metadata = looked.metadata();
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
        if self.is_anothers(metadata.uid()) {
            return Ok(Stands::Odd(ANOTHERS));
        }
        let written_ns = metadata.mtime().saturating_mul(1_000_000_000).saturating_add(metadata.mtime_nsec());
        Ok(Stands::File(Readable { identity: Identity::from(metadata), size: metadata.len(), written_ns, looked }))
    }

    /// Whether what is in it belongs to somebody who may have been robbed of it.
    fn is_anothers(&self, uid: u32) -> bool {
        self.is_strangers && uid != self.uid
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
/// What the owner of the directory does not own.
pub const ANOTHERS: &str = "it belongs to another user than its directory";
const FULL: &str = "a marker must be empty";
const FOREIGN: &str = "a marker must belong to the owner of the file it marks";
const LINK: &str = "a link";
const FIFO: &str = "a FIFO";
const DEVICE: &str = "a device";
const SOCKET: &str = "a socket";

/// Why it is refused, where something else was `wanted`, such as `a regular file`.
pub fn refusal(odd: &str, wanted: &str) -> String {
    match odd {
        ANOTHERS | FULL | FOREIGN => odd.to_owned(),
        kind => format!("{kind}, not {wanted}"),
    }
}

impl Readable {
    /// How long it is now.
    ///
    /// # Errors
    /// The kernel's.
    pub fn size_now(&self) -> io::Result<u64> {
        Ok(self.looked.metadata_now()?.len())
    }

    /// Opens it for reading.
    ///
    /// # Errors
    /// The kernel's.
    pub fn open(&self) -> io::Result<File> {
        self.looked.open(File::options().read(true))
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
            uid: stat.st_uid,
        }
    }
}

/// A name as it is kept.
pub type Name = Box<OsStr>;

/// Keeps a name.
pub fn kept(name: &OsStr) -> Name {
    OsString::from(name).into_boxed_os_str()
}
