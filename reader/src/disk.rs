//! The seam between the reader and the disk: every step that changes the log root is one function here.
//!
//! Each step passes a point of [`seam`] by its own name first, so a test can count the steps and cut at any of them.
//! Paths below the log root are names in an open directory, never followed through a link that others may have
//! planted. Errors say what was tried on which path.

mod file;

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::dir;
use nix::errno::Errno;
use nix::fcntl::{self, AT_FDCWD, AtFlags, OFlag};
use nix::libc;
use nix::sys::stat::{FileStat, Mode, SFlag, fchmod, fstatat, mkdirat};
use nix::unistd::{self, Gid, UnlinkatFlags, fchown, geteuid, linkat, symlinkat, unlinkat};
use standpipe_common::archive::Archive;
use standpipe_common::error::{Cannot, Error, Result};
use standpipe_common::fifo::Identity;
use standpipe_common::looked::Looked;
use standpipe_common::part::{PartKind, PartName};
use standpipe_common::way::{self, Use};
use standpipe_common::{own, rename, seam};

pub use self::file::{
    allocate, append, birth_ns, is_locked, is_written, modified_ns, reserve, set_len, set_modified, sync, sync_data,
    try_lock, write_at,
};

/// Mode of log root and log directories: the group may read, new files take the directory's group.
const DIR_MODE: u32 = 0o2750;

/// How the files of a log directory are made.
#[derive(Clone, Copy, Debug)]
pub struct FileMode {
    /// Permission bits; there is no umask.
    pub mode: u32,
    /// Another group than the directory gives.
    pub group: Option<Gid>,
}

/// A file system's room, bytes.
#[derive(Clone, Copy, Debug)]
pub struct Space {
    /// What an unprivileged user can still take.
    pub free: u64,
    /// All of it.
    pub total: u64,
}

/// An open directory, and its path for messages.
#[derive(Debug)]
pub struct Dir {
    file: File,
    path: PathBuf,
}

impl Dir {
    /// Opens the directory at `path`, made if its parent exists.
    pub fn open_or_make(path: &Path) -> Result<Dir> {
        match Dir::open(path) {
            Err(error) if error.errno() == Some(Errno::ENOENT) => {}
            opened => return opened,
        }
        let spot = way::place(path, geteuid()).cannot("create directory", path)?;
        match make_dir(&spot.dir, Path::new(&spot.name)) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(errno) => return Err(Error::new("create directory", path, errno)),
        }
        Dir::open(path)
    }

    /// Opens the directory at `path`, unless a stranger leads there.
    pub fn open(path: &Path) -> Result<Dir> {
        Dir::at(&way::open(path, Use::Keep).cannot("open directory", path)?, path)
    }

    /// The same, with its own path for messages, whatever links lead there.
    pub fn open_itself(path: &Path) -> Result<Dir> {
        let reached = way::reach(path, Use::Keep).cannot("open directory", path)?;
        Dir::at(&reached.end, &reached.path)
    }

    fn at(place: &Looked, path: &Path) -> Result<Dir> {
        let flags = OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let file = fcntl::openat(place, ".", flags, Mode::empty()).cannot("open directory", path)?;
        Ok(Dir { file: file.into(), path: path.to_path_buf() })
    }

    /// The directory that this one is in.
    pub fn parent(&self) -> Result<Dir> {
        let path = self.path.join("..");
        let flags = OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let file = fcntl::openat(&self.file, "..", flags, Mode::empty()).cannot("open directory", &path)?;
        Ok(Dir { file: file.into(), path })
    }

    /// Opens a directory in this one, made if it is not there. A link is followed only if root or our own uid made it.
    pub fn sub(&self, name: &OsStr) -> Result<Dir> {
        let path = self.path.join(name);
        match make_dir(&self.file, Path::new(name)) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(errno) => return Err(Error::new("create directory", &path, errno)),
        }
        self.existing_sub(name)
    }

    /// The same, where a missing directory is an error.
    pub fn existing_sub(&self, name: &OsStr) -> Result<Dir> {
        let path = self.path.join(name);
        let found = self.stat(name).cannot("inspect", &path)?;
        if is_kind(&found, SFlag::S_IFLNK) && !is_trusted(&found) {
            let cause =
                format!("a link made by user {}; reader follows links of root and its own user only", found.st_uid);
            return Err(Error::because("open directory", path, cause));
        }
        let at = std::path::absolute(&self.path).cannot("find", &self.path)?;
        let below = way::open_below(&self.file, &at, Path::new(name), Use::Keep);
        let place = below.cannot("open directory", &path)?;
        let uid = place.metadata().uid();
        let is_ours = |uid| uid == geteuid().as_raw() || way::is_trusted(uid).unwrap_or(false);
        if !is_ours(uid) && uid != self.metadata()?.uid() {
            let cause =
                format!("it belongs to user {uid}, who is neither the user of reader nor the owner of the log root");
            return Err(Error::because("use directory", path, cause));
        }
        Dir::at(&place, &path)
    }

    /// Another handle on the same directory, for another thread.
    pub fn try_clone(&self) -> Result<Dir> {
        let file = self.file.try_clone().cannot("open directory", &self.path)?;
        Ok(Dir { file, path: self.path.clone() })
    }

    /// For messages: it may lead elsewhere by now.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of a file in it, for messages.
    pub fn path_of(&self, name: impl AsRef<OsStr>) -> PathBuf {
        self.path.join(name.as_ref())
    }

    /// Device, inode, owner and mode.
    pub fn metadata(&self) -> Result<std::fs::Metadata> {
        self.file.metadata().cannot("inspect", &self.path)
    }

    /// Device and inode.
    pub fn identity(&self) -> Result<Identity> {
        Ok((&self.metadata()?).into())
    }

    /// Names in it, but `.` and `..`, in no order.
    pub fn names(&self) -> Result<Vec<OsString>> {
        Ok(self.entries()?.into_iter().map(|(name, _)| name).collect())
    }

    /// The same, each with whether it is a regular file.
    pub fn entries(&self) -> Result<Vec<(OsString, bool)>> {
        let flags = OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        let mut listing =
            dir::Dir::openat(&self.file, ".", flags, Mode::empty()).cannot("read directory", &self.path)?;
        let mut entries = Vec::new();
        for entry in listing.iter() {
            let entry = entry.cannot("read directory", &self.path)?;
            let name: &OsStr = OsStrExt::from_bytes(entry.file_name().to_bytes());
            if name != "." && name != ".." {
                let is_file = match entry.file_type() {
                    Some(kind) => kind == dir::Type::File,
                    None => self.stat(name).is_ok_and(|stat| is_kind(&stat, SFlag::S_IFREG)),
                };
                entries.push((OsStr::to_os_string(name), is_file));
            }
        }
        Ok(entries)
    }

    /// The first name that nothing has, of those that are given for 0, 1, 2 …
    pub fn free_name(&self, name: impl Fn(u64) -> String) -> String {
        let mut number = 0;
        loop {
            let free = name(number);
            if self.stat(&free).is_err() {
                return free;
            }
            number += 1;
        }
    }

    /// What a name stands for, links not followed.
    pub fn stat(&self, name: impl AsRef<OsStr>) -> nix::Result<FileStat> {
        fstatat(&self.file, name.as_ref(), AtFlags::AT_SYMLINK_NOFOLLOW)
    }

    /// Opens a regular file for reading.
    pub fn open_read(&self, name: impl AsRef<OsStr>) -> Result<File> {
        self.open_file(name.as_ref(), OFlag::O_RDONLY)
    }

    /// Opens the archive of a part, complete or not.
    pub fn open_archive(&self, name: &PartName) -> Result<Archive> {
        let archive = name.file(PartKind::Archive);
        Archive::open(self.open_read(&archive)?, &self.path_of(&archive))
    }

    /// Opens a regular file for reading and writing at given places, never appending: pwrite would ignore them.
    pub fn open_write(&self, name: impl AsRef<OsStr>) -> Result<File> {
        self.open_file(name.as_ref(), OFlag::O_RDWR)
    }

    fn open_file(&self, name: &OsStr, access: OFlag) -> Result<File> {
        let flags = access | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        let path = self.path_of(name);
        let file: File = fcntl::openat(&self.file, name, flags, Mode::empty()).cannot("open", &path)?.into();
        if !file.metadata().cannot("inspect", &path)?.is_file() {
            return Err(Error::because("open", path, "not a regular file"));
        }
        Ok(file)
    }

    /// Makes a new file; one of that name is an error.
    pub fn create(&self, name: impl AsRef<OsStr>, mode: FileMode) -> Result<File> {
        let name = name.as_ref();
        let path = self.path_of(name);
        seam::pass("create").cannot("create", &path)?;
        let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let file = fcntl::openat(&self.file, name, flags, bits(mode.mode)).cannot("create", &path)?.into();
        give_group(&file, mode).cannot("set the group of", &path)?;
        Ok(file)
    }

    /// Opens the file of that name for reading and writing, made if it is not there: a lock.
    pub fn open_or_create(&self, name: &str, mode: u32) -> Result<File> {
        let path = self.path_of(name);
        seam::pass("create").cannot("open", &path)?;
        let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
        Ok(fcntl::openat(&self.file, name, flags, bits(mode)).cannot("open", path)?.into())
    }

    /// Keeps a short text in a file of ours: no step that a test counts. A kill may leave the old one, the new one, or
    /// the new one with some of the end of a longer old one.
    pub fn put_note(&self, name: &str, text: &str) -> Result<()> {
        let path = self.path_of(name);
        let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
        let file: File = fcntl::openat(&self.file, name, flags, bits(0o640)).cannot("open", &path)?.into();
        let metadata = file.metadata().cannot("inspect", &path)?;
        if !metadata.is_file() || metadata.uid() != geteuid().as_raw() || metadata.nlink() != 1 {
            return Err(Error::because("write", path, "not a regular file owned by this user with a single link"));
        }
        let written = file.write_all_at(text.as_bytes(), 0).and_then(|()| file.set_len(text.len() as u64));
        written.cannot("write", path)
    }

    /// Makes a file without a name, unless one was `made` in advance. EOPNOTSUPP, EISDIR: this file system cannot.
    pub fn create_unnamed(&self, mode: FileMode, made: Option<File>) -> Result<File> {
        seam::pass("unnamed").cannot("create a file in", &self.path)?;
        made.map_or_else(|| self.unseen(mode), Ok)
    }

    /// The same for a file that never gets a name: no step that a test counts.
    pub fn unseen(&self, mode: FileMode) -> Result<File> {
        let flags = OFlag::O_RDWR | OFlag::O_TMPFILE | OFlag::O_CLOEXEC;
        let file =
            fcntl::openat(&self.file, ".", flags, bits(mode.mode)).cannot("create a file in", &self.path)?.into();
        give_group(&file, mode).cannot("set the group of a file in", &self.path)?;
        Ok(file)
    }

    /// Gives a file without a name its name; one that exists is an error.
    pub fn link(&self, file: &File, name: &str) -> Result<()> {
        let path = self.path_of(name);
        seam::pass("link").cannot("link", &path)?;
        let from = format!("/proc/self/fd/{}", file.as_raw_fd());
        linkat(AT_FDCWD, from.as_str(), &self.file, name, AtFlags::AT_SYMLINK_FOLLOW).cannot("link", path)
    }

    /// Renames a file to a name that is not taken.
    pub fn rename_new(&self, from: impl AsRef<OsStr>, to: &str) -> Result<()> {
        let path = self.path_of(&from);
        seam::pass("rename").cannot("rename", &path)?;
        rename::rename_new(self.file.as_fd(), Path::new(from.as_ref()), Path::new(to)).cannot("rename", path)
    }

    /// Renames a file over another.
    pub fn rename_over(&self, from: &str, to: &str) -> Result<()> {
        seam::pass("rename").cannot("rename", self.path_of(from))?;
        fcntl::renameat(&self.file, from, &self.file, to).cannot("rename", self.path_of(from))
    }

    /// Gives two files each other's name, both at once. EINVAL: this file system cannot.
    pub fn exchange(&self, one: &str, other: &str) -> Result<()> {
        seam::pass("exchange").cannot("exchange", self.path_of(one))?;
        let flags = fcntl::RenameFlags::RENAME_EXCHANGE;
        fcntl::renameat2(&self.file, one, &self.file, other, flags).cannot("exchange", self.path_of(one))
    }

    /// Makes a new symbolic link; something of that name is an error.
    pub fn symlink(&self, target: &OsStr, name: &str) -> Result<()> {
        let path = self.path_of(name);
        seam::pass("symlink").cannot("link", &path)?;
        symlinkat(target, &self.file, name).cannot("link", &path)
    }

    /// Where a symbolic link leads.
    pub fn read_link(&self, name: impl AsRef<OsStr>) -> nix::Result<OsString> {
        fcntl::readlinkat(&self.file, name.as_ref())
    }

    /// Makes `name` a symbolic link to `target`, in one step that always leaves one there.
    ///
    /// # Errors
    /// Something else than a link of ours, whose target `is_ours` knows, has that name or `.NAME.new`.
    pub fn swap_link(&self, target: &str, name: &str, is_ours: impl Fn(&OsStr) -> bool) -> Result<()> {
        let now = |name: &str| match self.read_link(name) {
            Err(Errno::ENOENT) => Ok(None),
            Ok(target) if is_ours(&target) => Ok(Some(target)),
            _ => Err(own::refusal(&self.path_of(name))),
        };
        match now(name)? {
            Some(now) if now == target => return Ok(()),
            None => return self.symlink(target.as_ref(), name),
            Some(_) => {}
        }
        let fresh = format!(".{name}.new");
        if now(&fresh)?.is_some() {
            self.remove(&fresh)?;
        }
        self.symlink(target.as_ref(), &fresh)?;
        self.rename_over(&fresh, name)
    }

    /// Whether something has that name that is not ours; `begins` knows our own by their first bytes.
    pub fn has_foreign(&self, name: impl AsRef<OsStr>, begins: impl FnOnce(&[u8]) -> bool) -> Result<bool> {
        let path = self.path_of(&name);
        match self.stat(&name) {
            Err(Errno::ENOENT) => Ok(false),
            Ok(stat) if is_removable(&stat) => {
                own::is_ours(&self.open_read(&name)?, begins).map(|ours| !ours).cannot("read", &path)
            }
            Ok(_) => Ok(true),
            Err(errno) => Err(Error::new("inspect", path, errno)),
        }
    }

    /// Refuses to go on if something has that name that is not ours.
    pub fn require_own(&self, name: impl AsRef<OsStr>, begins: impl FnOnce(&[u8]) -> bool) -> Result<()> {
        if self.has_foreign(&name, begins)? { Err(own::refusal(&self.path_of(&name))) } else { Ok(()) }
    }

    /// Removes what an earlier run left under that name, unless it is not ours.
    pub fn remove_own(&self, name: impl AsRef<OsStr>, begins: impl FnOnce(&[u8]) -> bool) -> Result<()> {
        self.require_own(&name, begins)?;
        self.remove(name)
    }

    /// Removes a file; that it is not there is no error.
    pub fn remove(&self, name: impl AsRef<OsStr>) -> Result<()> {
        let path = self.path_of(&name);
        seam::pass("remove").cannot("remove", &path)?;
        match unlinkat(&self.file, name.as_ref(), UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(errno) => Err(Error::new("remove", path, errno)),
        }
    }

    /// Makes its names durable.
    pub fn sync(&self) -> Result<()> {
        seam::pass("sync").cannot("sync", &self.path)?;
        unistd::fsync(&self.file).cannot("sync", &self.path)
    }

    /// Free bytes that an unprivileged user can still take.
    pub fn free_bytes(&self) -> io::Result<u64> {
        Ok(self.space()?.free)
    }

    /// How large its file system is, and how much of it is free.
    pub fn space(&self) -> io::Result<Space> {
        let space = nix::sys::statvfs::fstatvfs(&self.file)?;
        let unit = space.fragment_size();
        Ok(Space { free: space.blocks_available() * unit, total: space.blocks() * unit })
    }

    /// The file system's magic number, as in `statfs(2)`.
    pub fn file_system(&self) -> io::Result<i64> {
        Ok(nix::sys::statfs::fstatfs(&self.file)?.filesystem_type().0)
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// A regular file of our own uid: one whose name here we may remove. That somebody gave it another name elsewhere does
/// not keep it here.
pub fn is_removable(stat: &FileStat) -> bool {
    is_kind(stat, SFlag::S_IFREG) && stat.st_uid == geteuid().as_raw()
}

/// A regular file of our own uid with one name: one that we may write to.
pub fn is_ours(stat: &FileStat) -> bool {
    is_kind(stat, SFlag::S_IFREG) && stat.st_uid == geteuid().as_raw() && stat.st_nlink == 1
}

/// Whether root or our own uid made it: a link that may be followed.
pub fn is_trusted(stat: &FileStat) -> bool {
    stat.st_uid == 0 || stat.st_uid == geteuid().as_raw()
}

/// Whether a file is of that type.
pub fn is_kind(stat: &FileStat, kind: SFlag) -> bool {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == kind
}

/// Refuses, as root, a directory in which others could plant something.
pub fn refuse_if_others_may_write(dir: &Dir) -> Result<()> {
    let metadata = dir.metadata()?;
    if !geteuid().is_root() {
        return Ok(());
    }
    let cause = if metadata.uid() != 0 {
        format!("it belongs to user {}, but reader runs as root", metadata.uid())
    } else if metadata.mode() & 0o022 != 0 {
        format!("its mode {:04o} lets others write, but reader runs as root", metadata.mode() & 0o7777)
    } else {
        return Ok(());
    };
    Err(Error::because("use directory", dir.path(), cause))
}

fn make_dir(at: impl AsFd, name: &Path) -> nix::Result<()> {
    if fstatat(&at, name, AtFlags::empty()).is_ok() {
        return Err(Errno::EEXIST);
    }
    seam::pass("mkdir").map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)))?;
    mkdirat(&at, name, bits(DIR_MODE))?;
    // mkdir ignores the set-group-ID bit. Whoever may write there can have put something else in its place.
    let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let made = File::from(fcntl::openat(&at, name, flags, Mode::empty())?);
    let is_ours = made.metadata().is_ok_and(|made| made.uid() == geteuid().as_raw());
    if is_ours { fchmod(&made, bits(DIR_MODE)) } else { Err(Errno::EPERM) }
}

/// Gives a file that was made in another way the mode and group that it is to have: no step that a test counts.
pub fn set_mode(file: &File, mode: FileMode) -> nix::Result<()> {
    give_group(file, mode)?;
    nix::sys::stat::fchmod(file, bits(mode.mode))
}

fn give_group(file: &File, mode: FileMode) -> nix::Result<()> {
    mode.group.map_or(Ok(()), |group| fchown(file, None, Some(group)))
}

fn bits(mode: u32) -> Mode {
    Mode::from_bits_truncate(mode)
}
