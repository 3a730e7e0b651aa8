//! What helps against an error of the kernel, as a clause behind the cause: who may, which limit, which command.
//!
//! Only `stat` and `access` are asked, and only when the sentence is made.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::{AccessFlags, Gid, Uid, access, geteuid};

use crate::account::{group_name, user_name};
use crate::shown::Shown as _;

/// What helps against `errno` that `action` met at `path`. `None`: nothing that can be told from here.
pub fn against(errno: Errno, action: &str, path: &Path) -> Option<String> {
    match errno {
        Errno::EACCES => permission(action, path),
        Errno::EFBIG => Some("raise the limit on file sizes: `ulimit -f`, LimitFSIZE=".to_owned()),
        Errno::EMFILE => Some("raise the limit on open files: `ulimit -n`, LimitNOFILE=".to_owned()),
        _ => None,
    }
}

/// Who may do what was refused.
fn permission(action: &str, path: &Path) -> Option<String> {
    let us = user_name(geteuid());
    let may = |path: &Path, flags| access(path, flags).is_ok();
    let mut above: Vec<&Path> = path.ancestors().skip(1).filter(|dir| !dir.as_os_str().is_empty()).collect();
    above.reverse();
    if let Some(closed) = above.iter().find(|dir| !may(dir, AccessFlags::X_OK)) {
        return who_may(closed, 0o010, &us);
    }
    let parent = above.last().copied().unwrap_or(Path::new("."));
    let changes_name = ["create", "remove", "rename", "link"].iter().any(|verb| action.starts_with(verb));
    if changes_name || fs::symlink_metadata(path).is_err() {
        if may(parent, AccessFlags::W_OK) {
            return None;
        }
        let owner = user_name(Uid::from_raw(fs::metadata(parent).ok()?.uid()));
        let refused = format!("user {us} cannot write in {}, which belongs to user {owner}", parent.shown());
        if !action.starts_with("create directory") {
            return Some(refused);
        }
        let full = std::path::absolute(path).unwrap_or_else(|_| PathBuf::from(path));
        return Some(format!("{refused}; as root: install -d -o {us} -m 2750 {}", full.shown()));
    }
    if may(path, AccessFlags::R_OK) { None } else { who_may(path, 0o040, &us) }
}

/// `bit` is what its group needs.
fn who_may(path: &Path, bit: u32, us: &str) -> Option<String> {
    let stat = fs::metadata(path).ok()?;
    let (owner, group) = (user_name(Uid::from_raw(stat.uid())), group_name(Gid::from_raw(stat.gid())));
    let mode = stat.permissions().mode() & 0o7777;
    let shown = path.shown();
    if mode & bit == 0 || stat.gid() == 0 {
        return Some(format!("only user {owner} has access to {shown} (mode {mode:04o}), and this runs as user {us}"));
    }
    Some(format!(
        "only user {owner} and group {group} have access to {shown}: run usermod -aG {group} {us}, then log in again"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_named_by_the_words_of_those_who_set_it() {
        let cure = |errno| against(errno, "write", Path::new("/x"));
        assert!(cure(Errno::EFBIG).unwrap().contains("ulimit -f"));
        assert!(cure(Errno::EMFILE).unwrap().contains("LimitNOFILE="));
        assert_eq!(cure(Errno::EIO), None);
    }

    #[test]
    fn a_group_that_may_is_named_and_one_that_may_not_is_not() {
        let dir = tempfile::tempdir().unwrap();
        if fs::metadata(dir.path()).unwrap().gid() == 0 {
            // Nobody is to join the group of root.
            std::os::unix::fs::chown(dir.path(), None, Some(65534)).unwrap();
        }
        for (mode, expected) in [(0o750, "usermod -aG"), (0o700, "has access to")] {
            fs::set_permissions(dir.path(), fs::Permissions::from_mode(mode)).unwrap();
            assert!(who_may(dir.path(), 0o010, "app").unwrap().contains(expected));
        }
    }
}
