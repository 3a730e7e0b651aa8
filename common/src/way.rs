//! Whether the way to a file is one that a stranger can turn: before a file that a configuration names is opened, made
//! or removed, its path is walked name by name, and a step is refused by which a user would have us reach through his
//! link or directory what is not his.
//!
//! Root, whoever owns `/` (root by another number in a user namespace) and we ourselves may lead anywhere. Of everybody
//! else X this holds:
//! - what a link of X, or a link in a directory of X, leads to belongs to X;
//! - what stands in a directory of X, at any depth, belongs to X as well. Where it is only read, it may also be a file
//!   that everybody may read, for that gives nothing away. A FIFO with one name may belong to anybody: a directory of
//!   the holder's user has the FIFOs of all servers, and X cannot bring another's there but out of a directory of his own.
//!
//! systemd calls the opposite an unsafe path transition, and refuses it in the same way (`CHASE_SAFE`).
//!
//! Nothing here is opened but with `O_PATH`, so nothing waits and nothing notices.

use std::collections::{BTreeSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, readlinkat};
use nix::libc;
use nix::sys::stat::Mode;
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};
use nix::unistd::{Uid, geteuid};

use crate::account::user_name;
use crate::fifo::Identity;

/// Links on one way, as by the kernel.
const HOPS_MAX: usize = 40;
const ROOT: &str = "/";

/// What is done with the file at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// It is read.
    Read,
    /// It is written, given to somebody, made or removed: nobody's permission to read makes that harmless.
    Change,
}

/// A step that is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// The link or directory.
    pub at: PathBuf,
    is_link: bool,
    /// Who controls it.
    by: Uid,
    /// What it leads to.
    pub to: PathBuf,
    /// Whose that is.
    of: Uid,
}

impl fmt::Display for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (by, of) = (user_name(self.by), user_name(self.of));
        let (at, to) = (self.at.display(), self.to.display());
        if self.is_link {
            write!(f, "the link {at} is under the control of user {by}, but it leads to {to}, which belongs to {of}")
        } else {
            write!(f, "the directory {at} belongs to user {by}, but {to} in it to {of}")
        }
    }
}

/// How a walk ended.
#[derive(Debug)]
pub enum Way {
    /// Nobody can turn it who may not; this is what stands there, opened with `O_PATH`.
    Safe(File, Metadata),
    /// Somebody does.
    Turned(Turn),
}

impl Way {
    fn or_refusal(self) -> io::Result<(File, Metadata)> {
        match self {
            Way::Safe(file, metadata) => Ok((file, metadata)),
            Way::Turned(turn) => Err(io::Error::new(io::ErrorKind::PermissionDenied, turn.to_string())),
        }
    }
}

/// Walks to `path` and tells what stands there.
///
/// # Errors
/// What the kernel says on the way; ENOENT: nothing is there.
pub fn walk(path: &Path, to: Use) -> io::Result<Way> {
    Walk::begin(to, trusted()?)?.go(&std::path::absolute(path)?)
}

/// The same, with a refusal as an error, for those who only need to say it.
///
/// # Errors
/// As [`walk`]; and the refusal.
pub fn open(path: &Path, to: Use) -> io::Result<(File, Metadata)> {
    walk(path, to)?.or_refusal()
}

/// Walks on from a directory that is open, and of which `at` is the path.
///
/// # Errors
/// As [`open`].
pub fn open_below(dir: &File, at: &Path, rest: &Path, to: Use) -> io::Result<(File, Metadata)> {
    let mut walk = Walk::begin(to, trusted()?)?;
    (walk.dir, walk.here) = (dir.try_clone()?, at.to_path_buf());
    walk.go(rest)?.or_refusal()
}

/// Whether a user may lead us to what is not his: root, whoever owns `/`, and we ourselves.
///
/// # Errors
/// `/` cannot be looked at.
pub fn is_trusted(uid: u32) -> io::Result<bool> {
    Ok(trusted()?.contains(&uid))
}

/// Whether what was found at `path` may be used: the way there is safe, and it is still there. `None`: it may.
///
/// # Errors
/// As [`walk`]; EAGAIN: something else stands there by now.
pub fn check(path: &Path, found: Identity, to: Use) -> io::Result<Option<Turn>> {
    match walk(path, to)? {
        Way::Safe(_, metadata) if Identity::from(&metadata) == found => Ok(None),
        Way::Safe(..) => Err(Errno::EAGAIN.into()),
        Way::Turned(turn) => Ok(Some(turn)),
    }
}

/// Whether what was found under a name of a directory, and is no link, may be used: `path` is where it stood. Unlike
/// [`check`] it does not matter what stands there by now.
///
/// # Errors
/// As [`walk`], of the way to the directory.
pub fn check_child(path: &Path, found: &Metadata, to: Use) -> io::Result<Option<Turn>> {
    let path = std::path::absolute(path)?;
    let mut walk = Walk::begin(to, trusted()?)?;
    if let Some(turn) = walk.pass(path.parent().unwrap_or(Path::new(ROOT)))? {
        return Ok(Some(turn));
    }
    walk.lead_by_directory()?;
    Ok(walk.refused_in_directory(&path, found).or_else(|| walk.refused_by_link(&path, found)))
}

/// Those whose links and directories may lead anywhere.
fn trusted() -> io::Result<BTreeSet<u32>> {
    let owner = std::fs::metadata(ROOT)?.uid();
    Ok([0, geteuid().as_raw(), owner].into())
}

/// A user who controls a step that was passed.
#[derive(Clone, Debug)]
struct Leader {
    at: PathBuf,
    uid: u32,
}

/// A walk; between two steps `dir` is open at the path `here`, which has no link in it.
struct Walk {
    to: Use,
    trusted: BTreeSet<u32>,
    dir: File,
    here: PathBuf,
    rest: VecDeque<OsString>,
    hops: usize,
    /// Whose directories were passed since the last link.
    directories: Vec<Leader>,
    /// Whose links were passed.
    links: Vec<Leader>,
}

impl Walk {
    fn begin(to: Use, trusted: BTreeSet<u32>) -> io::Result<Walk> {
        Ok(Walk {
            to,
            trusted,
            dir: root()?,
            here: PathBuf::from(ROOT),
            rest: VecDeque::new(),
            hops: 0,
            directories: Vec::new(),
            links: Vec::new(),
        })
    }

    fn go(mut self, path: &Path) -> io::Result<Way> {
        if let Some(turn) = self.pass(path)? {
            return Ok(Way::Turned(turn));
        }
        let metadata = self.dir.metadata()?;
        let turn = self.refused_by_link(&self.here, &metadata);
        Ok(turn.map_or_else(|| Way::Safe(self.dir, metadata), Way::Turned))
    }

    /// Walks to the end of a path, which `dir` and `here` are then.
    fn pass(&mut self, path: &Path) -> io::Result<Option<Turn>> {
        self.push(path)?;
        while let Some(name) = self.rest.pop_front() {
            let is_parent = name == "..";
            let (file, metadata) = self.look(&name)?;
            let path = if is_parent { self.parent() } else { self.here.join(&name) };
            if metadata.is_symlink() {
                self.follow(&path, &file, &metadata)?;
                continue;
            }
            if !is_parent {
                self.lead_by_directory()?;
            }
            if let Some(turn) = self.refused_in_directory(&path, &metadata) {
                return Ok(Some(turn));
            }
            if !metadata.is_dir() && !self.rest.is_empty() {
                return Err(Errno::ENOTDIR.into());
            }
            (self.dir, self.here) = (file, path);
        }
        Ok(None)
    }

    /// The names of a path come next.
    fn push(&mut self, path: &Path) -> io::Result<()> {
        if path.is_absolute() {
            (self.dir, self.here) = (root()?, PathBuf::from(ROOT));
        }
        for component in path.components().rev() {
            match component {
                Component::Normal(name) => self.rest.push_front(name.to_owned()),
                Component::ParentDir => self.rest.push_front("..".into()),
                Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
            }
        }
        Ok(())
    }

    fn look(&self, name: &OsStr) -> io::Result<(File, Metadata)> {
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let file = File::from(openat(&self.dir, name, flags, Mode::empty())?);
        let metadata = file.metadata()?;
        Ok((file, metadata))
    }

    fn parent(&self) -> PathBuf {
        self.here.parent().map_or_else(|| PathBuf::from(ROOT), Path::to_path_buf)
    }

    fn follow(&mut self, path: &Path, link: &File, metadata: &Metadata) -> io::Result<()> {
        self.hops += 1;
        if self.hops > HOPS_MAX {
            return Err(Errno::ELOOP.into());
        }
        self.lead_by_directory()?;
        // Who controls the directory of a link controls the link.
        for leader in std::mem::take(&mut self.directories) {
            self.links.push(Leader { at: path.to_path_buf(), ..leader });
        }
        if !self.trusted.contains(&metadata.uid()) {
            self.links.push(Leader { at: path.to_path_buf(), uid: metadata.uid() });
        }
        if fstatfs(link)?.filesystem_type() == PROC_SUPER_MAGIC {
            // Some of the kernel's own links have a text that is no path.
            let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
            let name = path.file_name().unwrap_or_default();
            self.dir = File::from(openat(&self.dir, name, flags, Mode::empty())?);
            self.here = path.to_path_buf();
            return Ok(());
        }
        let target = readlinkat(link, "")?;
        self.push(Path::new(&target))
    }

    /// The directory in which we stand is about to lead to something.
    fn lead_by_directory(&mut self) -> io::Result<()> {
        let uid = self.dir.metadata()?.uid();
        if !self.trusted.contains(&uid) {
            self.directories.push(Leader { at: self.here.clone(), uid });
        }
        Ok(())
    }

    /// What is refused of this as the end of all links that were passed.
    fn refused_by_link(&self, path: &Path, metadata: &Metadata) -> Option<Turn> {
        let leader = self.links.iter().find(|leader| leader.uid != metadata.uid())?;
        Some(Walk::turn(leader, true, path, metadata))
    }

    /// What is refused of the step to this, which is no link.
    fn refused_in_directory(&self, path: &Path, metadata: &Metadata) -> Option<Turn> {
        let bits = if metadata.is_dir() { 0o001 } else { 0o004 };
        let is_open = self.to == Use::Read && metadata.mode() & bits != 0;
        if is_open || (metadata.file_type().is_fifo() && metadata.nlink() == 1) {
            return None;
        }
        let leader = self.directories.iter().find(|leader| leader.uid != metadata.uid())?;
        Some(Walk::turn(leader, false, path, metadata))
    }

    fn turn(leader: &Leader, is_link: bool, path: &Path, metadata: &Metadata) -> Turn {
        let (by, of) = (Uid::from_raw(leader.uid), Uid::from_raw(metadata.uid()));
        Turn { at: leader.at.clone(), is_link, by, to: path.to_path_buf(), of }
    }
}

fn root() -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_PATH | libc::O_DIRECTORY).open(ROOT)
}

#[cfg(test)]
mod tests;
