//! Makes the staging pipe beside a FIFO.
//!
//! Invariants: it gets its name last, when group and permissions are what they should be, and takes nobody's place. A
//! kill before that leaves one name, `.unfinished-NAME.stage`, which the next look takes away.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::unistd::{Gid, Uid, fchownat};
use standpipe_common::account;
use standpipe_common::error::{Cannot, Error, Result};
use standpipe_common::looked::Looked;
use standpipe_common::rename::rename_new;
use standpipe_common::shown::Shown as _;
use standpipe_common::way::{self, Spot, Use};
use standpipe_common::{own, seam, staging};

use crate::create;

const ACTION: &str = "create";
/// Nobody's but ours until its group is right.
const MODE_BEFORE: u32 = 0o600;

/// Makes `path`, the staging pipe of the FIFO `target`. `false`: somebody else did so first.
///
/// # Errors
/// We are not in the group of `target`; then the sentence carries the line of tmpfiles.d that makes it. Or what the
/// kernel says; or a stranger's directory is on the way.
pub fn make(path: &Path, target: &Path) -> Result<bool> {
    let reached = way::reach_itself(target, Use::Keep).cannot("inspect", target)?;
    let group = Gid::from_raw(reached.end.metadata().gid());
    if !create::may_give(None, Some(group)) {
        return Err(refused(path, group));
    }
    let spot = create::spot(path, Uid::effective())?;
    let unfinished = unfinished(&spot.name);
    clear_in(&spot);
    let named = |error: Error| error.errno().map_or(error, |errno| Error::new(ACTION, path, errno));
    let made = create::make(&spot, &unfinished, MODE_BEFORE).map_err(named)?;
    let is_done = finish(&made, &spot, &unfinished, group);
    if !matches!(is_done, Ok(true)) {
        own::remove_this_at(&spot.dir, Path::new(&unfinished), made.identity()).ok();
    }
    is_done
}

/// Takes away what a kill left of an earlier try to make `path`.
pub fn clear(path: &Path) {
    if let Ok(spot) = way::place(path, Uid::effective()) {
        clear_in(&spot);
    }
}

fn clear_in(spot: &Spot) {
    let unfinished = unfinished(&spot.name);
    if let Some(left) = Looked::below(&spot.dir, unfinished.as_os_str()).ok().filter(create::is_our_fifo) {
        // What cannot be removed disturbs nobody; a new try says why it fails.
        own::remove_this_at(&spot.dir, Path::new(&unfinished), left.identity()).ok();
    }
}

/// What it is called until it is done. The name begins with a dot, so no glob of a tailer or a shell finds it.
fn unfinished(name: &OsStr) -> OsString {
    let mut unfinished = OsString::from(".unfinished-");
    unfinished.push(name);
    unfinished
}

fn finish(made: &Looked, spot: &Spot, unfinished: &OsStr, group: Gid) -> Result<bool> {
    let path = &spot.path;
    seam::pass("stage-made").cannot(ACTION, path)?;
    fchownat(made, c"", None, Some(group), AtFlags::AT_EMPTY_PATH).cannot(ACTION, path)?;
    // Of a descriptor that only names it, neither fchmod nor fchmodat may change the permissions.
    fs::set_permissions(made.path(), fs::Permissions::from_mode(staging::MODE)).cannot(ACTION, path)?;
    seam::pass("stage-dressed").cannot(ACTION, path)?;
    match rename_new(spot.dir.as_fd(), Path::new(unfinished), Path::new(&spot.name)) {
        Err(Errno::EEXIST) => Ok(false),
        renamed => renamed.map(|()| true).cannot(ACTION, path),
    }
}

fn refused(path: &Path, group: Gid) -> Error {
    let name = account::group_name(group);
    let user = account::user_name(Uid::effective());
    let line = format!("p {} {:04o} {user} {name} -", path.shown(), staging::MODE);
    let cause = format!(
        "it needs the group of its target, {name}, and holder is not in that group; this line in tmpfiles.d creates it: \
         {line}"
    );
    Error::because(ACTION, path, cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left_unfinished(path: &Path) -> std::path::PathBuf {
        path.with_file_name(unfinished(path.file_name().unwrap()))
    }

    fn make_unfinished(path: &Path) {
        let spot = way::place(path, Uid::effective()).unwrap();
        create::make(&spot, &unfinished(&spot.name), 0o600).unwrap();
    }

    #[test]
    fn a_leftover_is_known_by_its_name_and_only_our_own_fifo_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app.stage");
        let left = left_unfinished(&path);
        assert_eq!(left, dir.path().join(".unfinished-app.stage"));
        fs::write(&left, "").unwrap();
        clear(&path);
        assert!(left.exists(), "a regular file is not ours");
        fs::remove_file(&left).unwrap();
        make_unfinished(&path);
        clear(&path);
        assert!(!left.exists());
    }

    #[test]
    fn it_takes_nobodys_place() {
        let dir = tempfile::tempdir().unwrap();
        let (path, target) = (dir.path().join("app.stage"), dir.path().join("app"));
        fs::write(&target, "").unwrap();
        fs::write(&path, "somebody's").unwrap();
        assert!(!make(&path, &target).unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), "somebody's");
        assert!(!left_unfinished(&path).exists());
        fs::remove_file(&path).unwrap();
        // Another holder of ours was killed meanwhile.
        make_unfinished(&path);
        assert!(make(&path, &target).unwrap());
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o660);
    }
}
