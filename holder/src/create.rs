//! Makes the FIFO at the end of a link where it is missing and its policy says so.
//!
//! Invariants: what exists is never changed; a FIFO that cannot be given the owner and group it should have is not
//! left behind, and nothing else is removed in its place. It is made in a directory that was opened on a safe way, so
//! whoever turns a link or a directory meanwhile has it made nowhere else. Directories are not made.

use std::ffi::{CStr, OsStr};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::libc;
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Uid, fchownat, getgroups, mkfifoat};
use standpipe_common::capability::{Capability, is_capable};
use standpipe_common::error::{Cannot, Error, Result};
use standpipe_common::looked::Looked;
use standpipe_common::policy::FifoPolicy;
use standpipe_common::shown::Shown as _;
use standpipe_common::way::{self, Spot};
use standpipe_common::{account, own, seam};

const ACTION: &str = "create";
/// Links that lead to links are followed so far, as by the kernel.
const HOPS_MAX: usize = 40;
/// The path of the descriptor itself.
const EMPTY: &CStr = c"";

/// Why no FIFO was made.
#[derive(Debug)]
pub enum Refusal {
    /// Nothing was touched: it may be tried again at any time.
    Untouched(Error),
    /// It was made and removed again, which whoever watches the directory sees: to be tried again only when asked.
    Undone(Error),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        Refusal::Untouched(error)
    }
}

/// Makes the FIFO at the end of `link` if nothing is there and `policy` wants one.
///
/// # Errors
/// It is wanted, but its directory is missing, or this process may not give it that owner or group; then the sentence
/// carries the line of tmpfiles.d that does.
pub fn create_if_missing(link: &Path, policy: &FifoPolicy) -> std::result::Result<(), Refusal> {
    if !policy.create || !is_missing(link) {
        return Ok(());
    }
    let target = end_of(link)?;
    let (owner, group) = (owner(policy, &target)?, group(policy, &target)?);
    let spot = spot(link, owner.unwrap_or(Uid::effective()))?;
    if !may_give(owner, group) {
        return Err(refused(policy, &spot.path).into());
    }
    let made = make(&spot, &spot.name, policy.mode)?;
    give(&made, owner, group).map_err(|error| {
        let is_refused = error.raw_os_error() == Some(libc::EPERM);
        let error = if is_refused { refused(policy, &spot.path) } else { Error::new(ACTION, &spot.path, error) };
        let removed = own::remove_this_at(&spot.dir, Path::new(&spot.name), made.identity());
        Refusal::Undone(removed.cannot("remove", &spot.path).err().unwrap_or(error))
    })
}

/// Where `path` leads in the end, for something that is to belong to `of`.
pub fn spot(path: &Path, of: Uid) -> Result<Spot> {
    way::place(path, of).map_err(|error| match error.raw_os_error() {
        Some(libc::ENOENT) => {
            let end = end_of(path).unwrap_or_else(|_| path.to_path_buf());
            Error::because(ACTION, end, "its directory does not exist")
        }
        _ => Error::new(ACTION, path, error),
    })
}

fn give(made: &Looked, owner: Option<Uid>, group: Option<Gid>) -> io::Result<()> {
    seam::pass("fifo-made")?;
    Ok(fchownat(made, EMPTY, owner, group, AtFlags::AT_EMPTY_PATH)?)
}

/// Whether nothing is at the end of `link`.
pub fn is_missing(link: &Path) -> bool {
    fs::metadata(link).is_err_and(|error| error.raw_os_error() == Some(libc::ENOENT))
}

/// A FIFO that was made just now as `name` in the directory of `spot`. Whoever may write that
/// can put another file there meanwhile, so only what is ours and a FIFO is given away.
pub fn make(spot: &Spot, name: &OsStr, mode: u32) -> Result<Looked> {
    let path = spot.path.with_file_name(name);
    let before = umask(Mode::empty());
    let made = mkfifoat(&spot.dir, name, Mode::from_bits_truncate(mode));
    umask(before);
    made.cannot(ACTION, &path)?;
    let made = Looked::below(&spot.dir, name).cannot(ACTION, &path)?;
    if !is_our_fifo(&made) || made.metadata().nlink() != 1 {
        return Err(Error::because(ACTION, path, "another process put a file there"));
    }
    Ok(made)
}

/// Whether it is a FIFO of ours.
pub fn is_our_fifo(looked: &Looked) -> bool {
    looked.is_fifo() && looked.metadata().uid() == Uid::effective().as_raw()
}

/// Where the last link on the way points, whether or not anything is there.
pub fn end_of(link: &Path) -> Result<PathBuf> {
    let mut end = link.to_path_buf();
    for _ in 0..HOPS_MAX {
        let Ok(target) = fs::read_link(&end) else { return Ok(end) };
        end = end.parent().unwrap_or(Path::new("/")).join(target);
    }
    Err(Error::new(ACTION, link, Errno::ELOOP))
}

fn owner(policy: &FifoPolicy, target: &Path) -> Result<Option<Uid>> {
    let Some(owner) = &policy.owner else { return Ok(None) };
    let user = account::user(owner).cannot("find the owner of", target)?;
    user.map(Some).ok_or_else(|| Error::because(ACTION, target, format!("no user {owner}")))
}

fn group(policy: &FifoPolicy, target: &Path) -> Result<Option<Gid>> {
    let Some(group) = &policy.group else { return Ok(None) };
    let found = account::group(group).cannot("find the group of", target)?;
    found.map(Some).ok_or_else(|| Error::because(ACTION, target, format!("no group {group}")))
}

/// Whether the kernel will let us: to ourselves and our groups always, to others with a capability alone.
pub fn may_give(owner: Option<Uid>, group: Option<Gid>) -> bool {
    let own_groups = || getgroups().unwrap_or_default();
    let own = owner.is_none_or(|owner| owner == Uid::effective())
        && group.is_none_or(|group| group == Gid::effective() || own_groups().contains(&group));
    own || is_capable(Capability::Chown)
}

fn refused(policy: &FifoPolicy, target: &Path) -> Error {
    let path = std::path::absolute(target).unwrap_or_else(|_| target.to_path_buf());
    let (owner, group) = (policy.owner.as_deref().unwrap_or("-"), policy.group.as_deref().unwrap_or("-"));
    let line = format!("p {} {:04o} {owner} {group} -", path.shown(), policy.mode);
    let cause = format!("only root can give it to another owner or group; this line in tmpfiles.d creates it: {line}");
    Error::because(ACTION, target, cause)
}
