//! Renames that take nobody's place, on every file system.
//!
//! FUSE, NFS and 9p refuse the flags of `renameat2(2)`. There the new name is linked first and the old one
//! removed: a kill in between leaves both, which whoever uses this must understand. Where there are no hard links
//! either, the new name is looked at right before it is taken.

use std::os::fd::BorrowedFd;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, RenameFlags, renameat, renameat2};
use nix::sys::stat::fstatat;
use nix::unistd::{UnlinkatFlags, linkat, unlinkat};

/// Renames `from` in one directory to `to` in the same.
///
/// # Errors
/// EEXIST: something has that name.
pub fn rename_new(dir: BorrowedFd<'_>, from: &Path, to: &Path) -> nix::Result<()> {
    debug_assert_ne!(from, to, "a name takes no place of its own");
    match renameat2(dir, from, dir, to, RenameFlags::RENAME_NOREPLACE) {
        Err(errno) if is_unsupported(errno) => link_and_unlink(dir, from, to),
        renamed => renamed,
    }
}

/// Whether a file system says so that it cannot do what was asked: it may be done in another way.
pub fn is_unsupported(errno: Errno) -> bool {
    matches!(errno, Errno::EINVAL | Errno::ENOSYS | Errno::EOPNOTSUPP)
}

fn link_and_unlink(dir: BorrowedFd<'_>, from: &Path, to: &Path) -> nix::Result<()> {
    match linkat(dir, from, dir, to, AtFlags::empty()) {
        Ok(()) => unlinkat(dir, from, UnlinkatFlags::NoRemoveDir),
        Err(Errno::EPERM | Errno::EMLINK) => look_and_rename(dir, from, to),
        Err(errno) if is_unsupported(errno) => look_and_rename(dir, from, to),
        Err(errno) => Err(errno),
    }
}

fn look_and_rename(dir: BorrowedFd<'_>, from: &Path, to: &Path) -> nix::Result<()> {
    match fstatat(dir, to, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Err(Errno::ENOENT) => renameat(dir, from, dir, to),
        Ok(_) => Err(Errno::EEXIST),
        Err(errno) => Err(errno),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::os::fd::AsFd;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn each_way_moves_files_and_links_and_takes_nobodys_place() {
        for way in [rename_new, link_and_unlink, look_and_rename] {
            let temp = tempfile::tempdir().unwrap();
            let at = |name: &str| temp.path().join(name);
            let dir = File::open(temp.path()).unwrap();
            let go = |from: &str, to: &str| way(dir.as_fd(), Path::new(from), Path::new(to));
            fs::write(at("a"), "a").unwrap();
            symlink("/nowhere", at("link")).unwrap();
            assert_eq!(go("a", "b"), Ok(()));
            assert_eq!(go("link", "c"), Ok(()));
            assert_eq!(fs::read_to_string(at("b")).unwrap(), "a");
            assert_eq!(fs::read_link(at("c")).unwrap(), Path::new("/nowhere"));
            assert!(!at("a").exists() && fs::symlink_metadata(at("link")).is_err());
            for taken in ["c", "d", "e"] {
                fs::create_dir(at("d")).ok();
                fs::write(at("e"), "precious").unwrap();
                assert_eq!(go("b", taken), Err(Errno::EEXIST), "{taken}");
            }
            assert_eq!(fs::read_to_string(at("e")).unwrap(), "precious");
            assert_eq!(go("none", "f"), Err(Errno::ENOENT));
        }
    }
}
