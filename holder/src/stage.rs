//! Makes the staging pipe beside a FIFO.
//!
//! Invariants: it gets its name last, when group and permissions are what they should be, and takes nobody's place. A
//! kill before that leaves one name, `.unfinished-NAME.stage`, which the next look takes away.

use std::fs::{self, File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::libc;
use nix::unistd::{Gid, Uid, fchownat};
use standpipe_common::account;
use standpipe_common::error::{Cannot, Error, Result};
use standpipe_common::rename::rename_new;
use standpipe_common::{own, seam, staging};

use crate::create;

const ACTION: &str = "create";
/// Nobody's but ours until its group is right.
const MODE_BEFORE: u32 = 0o600;

/// Makes `path`, the staging pipe of the FIFO `target`. `false`: somebody else did so first.
///
/// # Errors
/// We are not in the group of `target`; then the sentence carries the line of tmpfiles.d that makes it. Or what the
/// kernel says.
pub fn make(path: &Path, target: &Path) -> Result<bool> {
    let group = Gid::from_raw(fs::metadata(target).cannot("look at", target)?.gid());
    if !create::may_give(None, Some(group)) {
        return Err(refused(path, group));
    }
    let unfinished = unfinished(path);
    clear(path);
    let named = |error: Error| error.errno().map_or(error, |errno| Error::new(ACTION, path, errno));
    let place = create::make(&unfinished, MODE_BEFORE).map_err(named)?;
    let made = finish(&place, &unfinished, path, group);
    if !matches!(made, Ok(true)) {
        own::remove_this(&unfinished, &place).ok();
    }
    made
}

/// Takes away what a kill left of an earlier try to make `path`.
pub fn clear(path: &Path) {
    let unfinished = unfinished(path);
    let is_ours = |is: fs::Metadata| is.file_type().is_fifo() && is.uid() == Uid::effective().as_raw();
    let place = OpenOptions::new().read(true).custom_flags(libc::O_PATH | libc::O_NOFOLLOW).open(&unfinished);
    if let Some(left) = place.ok().filter(|place| place.metadata().is_ok_and(is_ours)) {
        // What cannot be removed disturbs nobody; a new try says why it fails.
        own::remove_this(&unfinished, &left).ok();
    }
}

/// What it is called until it is done. The name begins with a dot, so no glob of a tailer or a shell finds it.
fn unfinished(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".unfinished-");
    name.push(path.file_name().unwrap_or_default());
    path.with_file_name(name)
}

fn finish(place: &File, unfinished: &Path, path: &Path, group: Gid) -> Result<bool> {
    seam::pass("stage-made").cannot(ACTION, path)?;
    fchownat(place, c"", None, Some(group), AtFlags::AT_EMPTY_PATH).cannot(ACTION, path)?;
    // Of a descriptor that only names it, neither fchmod nor fchmodat may change the permissions.
    let itself = format!("/proc/self/fd/{}", place.as_raw_fd());
    fs::set_permissions(itself, fs::Permissions::from_mode(staging::MODE)).cannot(ACTION, path)?;
    seam::pass("stage-dressed").cannot(ACTION, path)?;
    match rename_new(AT_FDCWD, unfinished, path) {
        Err(Errno::EEXIST) => Ok(false),
        renamed => renamed.map(|()| true).cannot(ACTION, path),
    }
}

fn refused(path: &Path, group: Gid) -> Error {
    let name = account::group_name(group);
    let user = account::user_name(Uid::effective());
    let line = format!("p {} {:04o} {user} {name} -", path.display(), staging::MODE);
    let cause = format!(
        "it must have the group of its target, {name}, which the holder is not in; a line for tmpfiles.d: {line}"
    );
    Error::because(ACTION, path, cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leftover_is_known_by_its_name_and_only_our_own_fifo_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app.stage");
        assert_eq!(unfinished(&path), dir.path().join(".unfinished-app.stage"));
        fs::write(unfinished(&path), "").unwrap();
        clear(&path);
        assert!(unfinished(&path).exists(), "a regular file is not ours");
        fs::remove_file(unfinished(&path)).unwrap();
        create::make(&unfinished(&path), 0o600).unwrap();
        clear(&path);
        assert!(!unfinished(&path).exists());
    }

    #[test]
    fn it_takes_nobodys_place() {
        let dir = tempfile::tempdir().unwrap();
        let (path, target) = (dir.path().join("app.stage"), dir.path().join("app"));
        fs::write(&target, "").unwrap();
        fs::write(&path, "somebody's").unwrap();
        assert!(!make(&path, &target).unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), "somebody's");
        assert!(!unfinished(&path).exists());
        fs::remove_file(&path).unwrap();
        // Another holder of ours was killed meanwhile.
        create::make(&unfinished(&path), 0o600).unwrap();
        assert!(make(&path, &target).unwrap());
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o660);
    }
}
