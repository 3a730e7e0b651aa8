//! What was looked at before it is opened: opening a FIFO lets in whoever waits there, and opening a device can start a
//! watchdog.
//!
//! Invariant: what is opened is what was looked at, whatever has its name by then. A lease on it is not waited for, nor
//! the other side of a FIFO. Whether a stranger leads there is [`crate::way`]'s.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::NixPath;
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::libc;
use nix::sys::stat::Mode;

use crate::fifo::Identity;

/// Something that stood at a path.
#[derive(Debug)]
pub struct Looked {
    /// Opened with `O_PATH`.
    place: File,
    /// In a box: it is large, and kept by many.
    metadata: Box<Metadata>,
}

impl Looked {
    /// What stands at the end of `path`, wherever links lead.
    pub fn at(path: &Path) -> io::Result<Looked> {
        Looked::under(AT_FDCWD, path, OFlag::empty())
    }

    /// What stands at `path` itself: a link is a link.
    pub fn itself(path: &Path) -> io::Result<Looked> {
        Looked::below(AT_FDCWD, path)
    }

    /// What has this name in an open directory: a link is a link.
    pub fn below(dir: impl AsFd, name: &(impl NixPath + ?Sized)) -> io::Result<Looked> {
        Looked::under(dir, name, OFlag::O_NOFOLLOW)
    }

    fn under(dir: impl AsFd, name: &(impl NixPath + ?Sized), flags: OFlag) -> io::Result<Looked> {
        Looked::of(openat(dir, name, flags | OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?.into())
    }

    /// What is open.
    pub fn of(place: File) -> io::Result<Looked> {
        let metadata = Box::new(place.metadata()?);
        Ok(Looked { place, metadata })
    }

    /// How it was when it was looked at.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// How it is now.
    pub fn metadata_now(&self) -> io::Result<Metadata> {
        self.place.metadata()
    }

    /// Which it is.
    pub fn identity(&self) -> Identity {
        Identity::from(self.metadata())
    }

    /// Whether it is a FIFO.
    pub fn is_fifo(&self) -> bool {
        self.metadata.file_type().is_fifo()
    }

    /// Opens it, without waiting.
    pub fn open(&self, options: &mut OpenOptions) -> io::Result<File> {
        let opened = reopen(self.place.as_raw_fd(), options)?;
        debug_assert!(opened.metadata().is_ok_and(|is| Identity::from(&is) == self.identity()), "another one is open");
        Ok(opened)
    }

    /// A path that leads to it, whatever its name is.
    pub fn path(&self) -> PathBuf {
        path_of(self.place.as_raw_fd())
    }

    /// The descriptor on it, for its own sake.
    pub fn into_file(self) -> File {
        self.place
    }
}

impl AsFd for Looked {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.place.as_fd()
    }
}

/// Another description of what `fd` stands on, opened without waiting; the one that `fd` has is not touched.
pub fn reopen(fd: RawFd, options: &mut OpenOptions) -> io::Result<File> {
    options.custom_flags(libc::O_NONBLOCK).open(path_of(fd))
}

fn path_of(fd: RawFd) -> PathBuf {
    format!("/proc/self/fd/{fd}").into()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_was_looked_at_is_what_is_opened() {
        let dir = tempfile::tempdir().unwrap();
        let (path, link) = (dir.path().join("a"), dir.path().join("link"));
        fs::write(&path, "old").unwrap();
        std::os::unix::fs::symlink("a", &link).unwrap();
        let looked = Looked::at(&link).unwrap();
        fs::rename(&path, dir.path().join("b")).unwrap();
        nix::unistd::mkfifo(&path, Mode::S_IRWXU).unwrap();
        assert_eq!(io::read_to_string(looked.open(File::options().read(true)).unwrap()).unwrap(), "old");
        assert_eq!(looked.identity(), Identity::from(&fs::metadata(looked.path()).unwrap()));
        let opened = File::open(dir.path()).unwrap();
        let below = |name| Looked::below(&opened, Path::new(name)).unwrap();
        assert_eq!((below("a").is_fifo(), below("link").is_fifo(), below("b").is_fifo()), (true, false, false));
        assert!(Looked::itself(&link).unwrap().metadata().is_symlink() && Looked::at(&link).unwrap().is_fifo());
        assert_eq!(Looked::at(&path.join("x")).unwrap_err().raw_os_error(), Some(libc::ENOTDIR));
    }
}
