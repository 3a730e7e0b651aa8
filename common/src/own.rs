//! Whether what stands under a name of ours was made by us: asked before it is replaced or removed.
//!
//! Ours is a regular file of our uid that begins as its format does, or is blank: empty, or nothing but NUL bytes, as a
//! maker that was killed or a power cut leaves it. Blank files have nothing that could be lost.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::sys::stat::{FileStat, fstatat};
use nix::unistd::{Uid, UnlinkatFlags, unlinkat};

use crate::error::{Cannot, Error, Result};
use crate::fifo::Identity;
use crate::looked::Looked;

/// Most bytes that are looked at: no format needs more to be known, and nothing longer counts as blank.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// Whether an open file is ours; `begins` knows our own by their first bytes, of which there may be few.
pub fn is_ours(file: &File, begins: impl FnOnce(&[u8]) -> bool) -> io::Result<bool> {
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.uid() != Uid::effective().as_raw() {
        return Ok(false);
    }
    let mut head = vec![0; HEAD_BYTES_MAX.min(usize::try_from(metadata.len()).unwrap_or(HEAD_BYTES_MAX))];
    file.read_exact_at(&mut head, 0)?;
    let is_whole = head.len() as u64 == metadata.len();
    Ok(is_whole && head.iter().all(|byte| *byte == 0) || begins(&head))
}

/// Whether a text file is ours whose first bytes always are `begin`; its maker may have been killed within them.
pub fn begins_with(begin: &[u8]) -> impl FnOnce(&[u8]) -> bool {
    move |head| head.starts_with(begin) || begin.starts_with(head)
}

/// The refusal to touch `path`.
pub fn refusal(path: &Path) -> Error {
    Error::because("replace", path, "not one of our files; move it elsewhere")
}

/// Refuses to go on if something stands at `path` that is not ours.
pub fn require(path: &Path, begins: impl FnOnce(&[u8]) -> bool) -> Result<()> {
    find(path, begins).map(drop)
}

/// Removes what an earlier run left at `path`, unless it is not ours. That nothing is there is no error.
pub fn remove(path: &Path, begins: impl FnOnce(&[u8]) -> bool) -> Result<()> {
    match find(path, begins)? {
        Some(file) => remove_this(path, &file).cannot("remove", path),
        None => Ok(()),
    }
}

/// Takes the name `path` away if it leads to this open file, and to none that was put there meanwhile. That it does not
/// is no error.
pub fn remove_this(path: &Path, file: &File) -> io::Result<()> {
    remove_this_at(AT_FDCWD, path, Identity::from(&file.metadata()?))
}

/// The same with a name in an open directory; `this` is open.
pub fn remove_this_at(dir: impl AsFd, name: &Path, this: Identity) -> io::Result<()> {
    let is_this = |there: FileStat| Identity { dev: there.st_dev, ino: there.st_ino } == this;
    match fstatat(&dir, name, AtFlags::AT_SYMLINK_NOFOLLOW).map(is_this) {
        Ok(true) => Ok(unlinkat(&dir, name, UnlinkatFlags::NoRemoveDir)?),
        Err(errno) if errno != Errno::ENOENT => Err(errno.into()),
        _ => Ok(()),
    }
}

/// Our own file at `path`. `None`: nothing is there.
fn find(path: &Path, begins: impl FnOnce(&[u8]) -> bool) -> Result<Option<File>> {
    let looked = match Looked::itself(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        looked => looked.cannot("open", path)?,
    };
    if !looked.metadata().is_file() {
        return Err(refusal(path));
    }
    let file = looked.open(File::options().read(true)).cannot("open", path)?;
    if is_ours(&file, begins).cannot("read", path)? { Ok(Some(file)) } else { Err(refusal(path)) }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::shown::Shown as _;

    #[test]
    fn blank_files_and_those_of_the_format_are_ours_and_nothing_else_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        for (content, expected) in [
            (&b""[..], true),
            (&[0; 5000], true),
            (b"magic", true),
            (b"magic 1", true),
            (b"ma", true),
            (b"precious", false),
            (b"\0\0precious", false),
        ] {
            fs::write(&path, content).unwrap();
            assert_eq!(require(&path, begins_with(b"magic")).is_ok(), expected, "{content:?}");
        }
        let sentence = format!("cannot replace {}: not one of our files; move it elsewhere", path.shown());
        assert_eq!(remove(&path, begins_with(b"magic")).unwrap_err().to_string(), sentence);
        assert_eq!(fs::read(&path).unwrap(), b"\0\0precious");
        let mut long = vec![0; HEAD_BYTES_MAX];
        long.extend(b"precious");
        fs::write(&path, long).unwrap();
        assert!(require(&path, begins_with(b"magic")).is_err(), "what comes later is not known");
        for odd in [dir.path().to_path_buf(), "/dev/null".into()] {
            assert!(require(&odd, |_| true).is_err(), "{}", odd.shown());
        }
        std::os::unix::fs::symlink(&path, dir.path().join("link")).unwrap();
        assert!(require(&dir.path().join("link"), |_| true).is_err());
        assert!(remove(&dir.path().join("none"), |_| false).is_ok());
    }

    #[test]
    fn a_name_that_leads_to_another_file_by_now_stays() {
        let dir = tempfile::tempdir().unwrap();
        let (path, other) = (dir.path().join("x"), dir.path().join("other"));
        let made = File::create(&path).unwrap();
        fs::write(&other, "precious").unwrap();
        fs::rename(&other, &path).unwrap();
        remove_this(&path, &made).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
        std::os::unix::fs::symlink(&path, &other).unwrap();
        remove_this(&other, &File::open(&path).unwrap()).unwrap();
        assert!(other.is_symlink());
        remove_this(&path, &File::open(&path).unwrap()).unwrap();
        assert!(!path.exists());
        remove_this(&path, &made).unwrap();
    }
}
