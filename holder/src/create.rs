//! Makes the FIFO at the end of a link where it is missing and its policy says so.
//!
//! Invariants: what exists is never changed; a FIFO that cannot be given the owner and group it should have is not
//! left behind, and nothing else is removed in its place. Directories are not made.

use std::ffi::CStr;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::libc;
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Uid, fchownat, getgroups, mkfifo};
use standpipe_common::capability::{Capability, is_capable};
use standpipe_common::error::{Cannot, Error, Result};
use standpipe_common::policy::FifoPolicy;
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
    if !may_give(owner, group) {
        return Err(refused(policy, &target).into());
    }
    let made = make(&target, policy.mode)?;
    give(&made, owner, group).map_err(|error| {
        let is_refused = error.raw_os_error() == Some(libc::EPERM);
        let error = if is_refused { refused(policy, &target) } else { Error::new(ACTION, &target, error) };
        Refusal::Undone(own::remove_this(&target, &made).cannot("remove", &target).err().unwrap_or(error))
    })
}

fn give(made: &File, owner: Option<Uid>, group: Option<Gid>) -> io::Result<()> {
    seam::pass("fifo-made")?;
    Ok(fchownat(made, EMPTY, owner, group, AtFlags::AT_EMPTY_PATH)?)
}

/// Whether nothing is at the end of `link`.
pub fn is_missing(link: &Path) -> bool {
    fs::metadata(link).is_err_and(|error| error.raw_os_error() == Some(libc::ENOENT))
}

/// An `O_PATH` descriptor on a FIFO that was made just now. Whoever may write its directory can put another file there
/// meanwhile, so only what is ours and a FIFO is given away.
pub fn make(target: &Path, mode: u32) -> Result<File> {
    let before = umask(Mode::empty());
    let made = mkfifo(target, Mode::from_bits_truncate(mode));
    umask(before);
    match made {
        Err(Errno::ENOENT) => return Err(Error::because(ACTION, target, "its directory does not exist")),
        made => made.cannot(ACTION, target)?,
    }
    let flags = libc::O_PATH | libc::O_NOFOLLOW;
    let place = OpenOptions::new().read(true).custom_flags(flags).open(target).cannot(ACTION, target)?;
    let is = place.metadata().cannot(ACTION, target)?;
    if !is.file_type().is_fifo() || is.uid() != Uid::effective().as_raw() {
        return Err(Error::because(ACTION, target, "somebody else put another file there"));
    }
    Ok(place)
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
    let user = account::user(owner).cannot("look up the owner of", target)?;
    user.map(Some).ok_or_else(|| Error::because(ACTION, target, format!("there is no user {owner}")))
}

fn group(policy: &FifoPolicy, target: &Path) -> Result<Option<Gid>> {
    let Some(group) = &policy.group else { return Ok(None) };
    let found = account::group(group).cannot("look up the group of", target)?;
    found.map(Some).ok_or_else(|| Error::because(ACTION, target, format!("there is no group {group}")))
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
    let line = format!("p {} {:04o} {owner} {group} -", path.display(), policy.mode);
    let cause = format!("without root its owner and group can only be the holder's own; a line for tmpfiles.d: {line}");
    Error::because(ACTION, target, cause)
}
