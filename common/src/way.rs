//! Whether the way to a file is one that a stranger can turn: before a file that a configuration names is opened, made
//! or removed, its path is walked name by name, and a step is refused by which a user would have us reach through his
//! link or directory what is not his.
//!
//! Root, whoever owns `/` (root by another number in a user namespace) and we ourselves may lead anywhere. Of everybody
//! else X this holds:
//! - what a link of X, or a link in a directory of X, leads to belongs to X;
//! - what stands in a directory of X, at any depth, belongs to X as well. Where it is only read, it may also be a file
//!   that everybody may read, for that gives nothing away. A FIFO with one name may belong to anybody: a directory of
//!   the holder's user has the FIFOs of all servers, and X cannot bring another's there but out of a directory of his
//!   own. The same goes for a directory that we keep our files in, for to move one takes the right to write to it.
//!
//! systemd calls the opposite an unsafe path transition, and refuses it in the same way (`CHASE_SAFE`).
//!
//! Nothing here is opened but with `O_PATH`, so nothing waits and nothing notices. Ten thousand links that lead into one
//! directory walk there once: see [`Pass`].

use std::cell::RefCell;
use std::collections::{BTreeSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Component, Path, PathBuf, absolute};
use std::rc::Rc;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, readlinkat};
use nix::sys::stat::Mode;
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};
use nix::unistd::{Uid, geteuid};

use crate::account::user_name;
use crate::fifo::Identity;
use crate::looked::Looked;
use crate::shown::Shown as _;

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
    /// It is a FIFO that we hold and drain, or a directory that we keep our files in.
    Keep,
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
    /// Whose that is, or would be.
    of: Uid,
    is_missing: bool,
}

impl fmt::Display for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (by, of) = (user_name(self.by), user_name(self.of));
        let (at, to) = (self.at.shown(), self.to.shown());
        if !self.is_link {
            return write!(f, "the directory {at} belongs to user {by}, but {to} in it belongs to user {of}");
        }
        write!(f, "user {by} controls the link {at}, but ")?;
        if self.is_missing {
            write!(f, "{to} would belong to user {of}")
        } else {
            write!(f, "its target {to} belongs to user {of}")
        }
    }
}

impl From<Turn> for io::Error {
    fn from(turn: Turn) -> io::Error {
        io::Error::new(io::ErrorKind::PermissionDenied, turn.to_string())
    }
}

/// How a walk ended.
#[derive(Debug)]
pub enum Way {
    /// Nobody can turn it who may not; this is what stands there.
    Safe(Looked),
    /// Somebody does.
    Turned(Turn),
}

impl Way {
    fn or_refusal(self) -> io::Result<Looked> {
        match self {
            Way::Safe(looked) => Ok(looked),
            Way::Turned(turn) => Err(turn.into()),
        }
    }
}

/// How direct a way is: of two that lead to one thing the lesser one is the older and straighter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Track {
    links: usize,
    /// When the youngest of them was made, ns since the epoch.
    youngest_ns: i128,
}

/// The end of a safe way.
#[derive(Debug)]
pub struct Reached {
    /// What stands there.
    pub end: Looked,
    /// Its own path, without a link.
    pub path: PathBuf,
    /// How it was reached.
    pub track: Track,
}

/// A name in a directory to which a way is safe, whether or not anything has that name.
#[derive(Debug)]
pub struct Spot {
    /// The directory, opened with `O_PATH`: for `openat(2)` and its kind.
    pub dir: File,
    /// The name; no link had it.
    pub name: OsString,
    /// Both for messages, without a link.
    pub path: PathBuf,
}

/// Walks to `path` and tells what stands there.
///
/// # Errors
/// What the kernel says on the way; ENOENT: nothing is there.
pub fn walk(path: &Path, to: Use) -> io::Result<Way> {
    Walk::begin(to, trusted()?)?.go(&absolute(path)?)
}

/// Walks to `path` and tells all of its end.
///
/// # Errors
/// As [`open`].
pub fn reach(path: &Path, to: Use) -> io::Result<Reached> {
    Walk::begin(to, trusted()?)?.reach(path, Last::Followed)
}

/// The same, where the last name is meant itself: a link there is the end.
///
/// # Errors
/// As [`open`].
pub fn reach_itself(path: &Path, to: Use) -> io::Result<Reached> {
    Walk::begin(to, trusted()?)?.reach(path, Last::Itself)
}

/// Walks to where `path` leads in the end, whether or not anything is there, for something that is to be made there and
/// to belong to `of`. What a link of a stranger leads to must be in a directory of his as well.
///
/// # Errors
/// As [`open`]; ENOENT: the directory is missing.
pub fn place(path: &Path, of: Uid) -> io::Result<Spot> {
    Walk::begin(Use::Keep, trusted()?)?.place(path, of)
}

/// What would keep the user `uid` from holding what stands at `path`, asked by somebody else. `None`: nothing, as far
/// as can be seen.
pub fn turn_for(uid: Uid, path: &Path) -> Option<Turn> {
    let trusted = trusted_by(uid).ok()?;
    match Walk::begin(Use::Keep, trusted).ok()?.go(&absolute(path).ok()?).ok()? {
        Way::Turned(turn) => Some(turn),
        Way::Safe(..) => None,
    }
}

/// The same, with a refusal as an error, for those who only need to say it.
///
/// # Errors
/// As [`walk`]; and the refusal.
pub fn open(path: &Path, to: Use) -> io::Result<Looked> {
    walk(path, to)?.or_refusal()
}

/// Walks on from a directory that is open, and of which `at` is the path.
///
/// # Errors
/// As [`open`].
pub fn open_below(dir: &File, at: &Path, rest: &Path, to: Use) -> io::Result<Looked> {
    let mut walk = Walk::begin(to, trusted()?)?;
    (walk.dir, walk.here) = (Dir::new(Looked::of(dir.try_clone()?)?), at.to_path_buf());
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
        Way::Safe(looked) if looked.identity() == found => Ok(None),
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
    let path = absolute(path)?;
    let mut walk = Walk::begin(to, trusted()?)?;
    if let Err(turn) = walk.advance(path.parent().unwrap_or(Path::new(ROOT)), Last::Followed)? {
        return Ok(Some(turn));
    }
    walk.lead_by_directory();
    Ok(walk.refused_in_directory(&path, found).or_else(|| walk.refused_by_link(found.uid(), &path)))
}

/// Those whose links and directories may lead anywhere.
fn trusted() -> io::Result<BTreeSet<u32>> {
    trusted_by(geteuid())
}

fn trusted_by(uid: Uid) -> io::Result<BTreeSet<u32>> {
    Ok([0, uid.as_raw(), Dir::root()?.uid].into())
}

/// What becomes of the last name of a path.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    /// It is followed, as every other.
    Followed,
    /// It is the end, even if it is a link.
    Itself,
    /// The walk ends in its directory, unless it is a link.
    Spot,
}

/// Where a walk stopped.
enum Stopped {
    /// At what is open now.
    There,
    /// Before this name.
    Before(OsString),
}

/// A user who controls a step that was passed.
#[derive(Clone, Debug)]
struct Leader {
    at: PathBuf,
    uid: u32,
}

impl Leader {
    fn turn(&self, is_link: bool, to: &Path, of: u32) -> Turn {
        let (by, of) = (Uid::from_raw(self.uid), Uid::from_raw(of));
        Turn { at: self.at.clone(), is_link, by, to: to.to_path_buf(), of, is_missing: false }
    }
}

/// As long as one lives, walks of this thread remember `/` and the directories that they came to last, and save
/// themselves the names up to these where one `stat` says that the same directory still stands there.
#[derive(Debug)]
pub struct Pass(());

impl Pass {
    /// Begins one. There is one at a time.
    pub fn begin() -> Pass {
        // Without `/` there is nothing to remember, and each walk says why.
        let root = Dir::root().ok();
        KNOWN.with_borrow_mut(|known| *known = root.map(|root| Memory { root, known: VecDeque::new() }));
        Pass(())
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        KNOWN.with_borrow_mut(|known| *known = None);
    }
}

thread_local! {
    /// `None`: nothing is remembered.
    static KNOWN: RefCell<Option<Memory>> = const { RefCell::new(None) };
}

/// What the walks of a pass remember.
#[derive(Debug)]
struct Memory {
    root: Dir,
    known: VecDeque<Known>,
}

/// So many directories are remembered, each with a descriptor: that of the links, and that of what they lead to.
const KNOWN_MAX: usize = 2;

/// A directory at a path without a link, to which a walk came from the root.
#[derive(Debug)]
struct Known {
    path: PathBuf,
    walked: (Use, BTreeSet<u32>),
    dir: Dir,
    directories: Vec<Leader>,
}

/// Something that is open with `O_PATH`, and whose it was when it was opened.
#[derive(Clone, Debug)]
struct Dir {
    file: Rc<File>,
    identity: Identity,
    uid: u32,
}

impl Dir {
    fn new(looked: Looked) -> Dir {
        let (identity, uid) = (looked.identity(), looked.metadata().uid());
        Dir { file: Rc::new(looked.into_file()), identity, uid }
    }

    /// `/`, as the pass knows it if there is one.
    fn root() -> io::Result<Dir> {
        if let Some(root) = KNOWN.with_borrow(|known| known.as_ref().map(|memory| memory.root.clone())) {
            return Ok(root);
        }
        Ok(Dir::new(Looked::at(Path::new(ROOT))?))
    }

    /// The file for its own sake.
    fn into_file(self) -> io::Result<File> {
        Rc::try_unwrap(self.file).or_else(|shared| shared.try_clone())
    }
}

/// A walk; between two steps `dir` is open at the path `here`, which has no link in it.
struct Walk {
    to: Use,
    trusted: BTreeSet<u32>,
    dir: Dir,
    here: PathBuf,
    rest: VecDeque<OsString>,
    track: Track,
    /// Whose directories were passed since the last link.
    directories: Vec<Leader>,
    /// Whose links were passed.
    links: Vec<Leader>,
    /// The directory in which the last name is looked up, where it is to be remembered.
    to_know: Option<PathBuf>,
}

impl Walk {
    fn begin(to: Use, trusted: BTreeSet<u32>) -> io::Result<Walk> {
        Ok(Walk {
            to,
            trusted,
            dir: Dir::root()?,
            here: PathBuf::from(ROOT),
            rest: VecDeque::new(),
            track: Track { links: 0, youngest_ns: i128::MIN },
            directories: Vec::new(),
            links: Vec::new(),
            to_know: None,
        })
    }

    fn go(mut self, path: &Path) -> io::Result<Way> {
        Ok(match self.advance(path, Last::Followed)? {
            Ok(Stopped::There) => match self.refused_by_link(self.dir.uid, &self.here) {
                Some(turn) => Way::Turned(turn),
                None => Way::Safe(Looked::of(self.dir.into_file()?)?),
            },
            Ok(Stopped::Before(_)) => return Err(Errno::ENOENT.into()),
            Err(turn) => Way::Turned(turn),
        })
    }

    fn reach(mut self, path: &Path, last: Last) -> io::Result<Reached> {
        let Stopped::There = self.advance(&absolute(path)?, last)?? else { return Err(Errno::ENOENT.into()) };
        if let Some(turn) = self.refused_by_link(self.dir.uid, &self.here) {
            return Err(turn.into());
        }
        Ok(Reached { end: Looked::of(self.dir.into_file()?)?, path: self.here, track: self.track })
    }

    fn place(mut self, path: &Path, of: Uid) -> io::Result<Spot> {
        let Stopped::Before(name) = self.advance(&absolute(path)?, Last::Spot)?? else {
            return Err(Errno::EEXIST.into());
        };
        if let Some(turn) = self.refused_by_link(self.dir.uid, &self.here) {
            return Err(turn.into());
        }
        let path = self.here.join(&name);
        match self.refused_by_link(of.as_raw(), &path) {
            Some(turn) => Err(Turn { is_missing: true, ..turn }.into()),
            None => Ok(Spot { dir: self.dir.into_file()?, name, path }),
        }
    }

    /// Goes as far as the way leads. An error inside: a step is refused.
    fn advance(&mut self, path: &Path, last: Last) -> io::Result<Result<Stopped, Turn>> {
        self.push(path)?;
        loop {
            debug_assert!(self.here.is_absolute() && self.track.links <= HOPS_MAX, "{}", self.here.shown());
            let Some(name) = self.rest.pop_front() else { return Ok(Ok(Stopped::There)) };
            let (is_parent, is_last) = (name == "..", self.rest.is_empty());
            if is_last {
                self.remember();
            }
            let found = self.look(&name);
            if is_last && last == Last::Spot && !is_parent && !is_link(&found) {
                return Ok(Ok(Stopped::Before(name)));
            }
            let found = found?;
            let metadata = found.metadata();
            let path = if is_parent { self.parent() } else { self.here.join(&name) };
            if metadata.is_symlink() && !(is_last && last == Last::Itself) {
                self.follow(&path, &found)?;
                continue;
            }
            if !is_parent {
                self.lead_by_directory();
            }
            if let Some(turn) = self.refused_in_directory(&path, metadata) {
                return Ok(Err(turn));
            }
            if !metadata.is_dir() && !is_last {
                return Err(Errno::ENOTDIR.into());
            }
            (self.dir, self.here) = (Dir::new(found), path);
        }
    }

    /// Every link on the way must be allowed to lead to what belongs to `uid`.
    fn refused_by_link(&self, uid: u32, path: &Path) -> Option<Turn> {
        self.links.iter().find(|leader| leader.uid != uid).map(|leader| leader.turn(true, path, uid))
    }

    /// The names of a path come next.
    fn push(&mut self, path: &Path) -> io::Result<()> {
        let is_remembered = self.rest.is_empty() && KNOWN.with_borrow(Option::is_some);
        let whole = if is_remembered { self.as_absolute(path) } else { path.to_path_buf() };
        let mut path = whole.as_path();
        if path.is_absolute() {
            self.to_know = None;
            if is_remembered && self.recall(path) {
                path = Path::new(path.file_name().unwrap_or_default());
            } else {
                (self.dir, self.here) = (Dir::root()?, PathBuf::from(ROOT));
            }
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

    /// The same place from `/`: up to here no name is a link, so `..` is what stands before it.
    fn as_absolute(&self, path: &Path) -> PathBuf {
        let (mut here, mut path) = (self.here.as_path(), path);
        while let Ok(rest) = path.strip_prefix("..") {
            (here, path) = (here.parent().unwrap_or(here), rest);
        }
        here.join(path)
    }

    /// Goes to the directory of `path` at once, if that is known. If not, it will be.
    fn recall(&mut self, path: &Path) -> bool {
        let is_plain = path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
        let Some(dir) = path.parent().filter(|_| is_plain) else { return false };
        KNOWN.with_borrow(|known| {
            let Some(Memory { known, .. }) = known else { return false };
            let is_it =
                |known: &&Known| known.path == dir && known.walked.0 == self.to && known.walked.1 == self.trusted;
            let still =
                |known: &&Known| std::fs::metadata(dir).is_ok_and(|is| known.dir.identity == Identity::from(&is));
            if let Some(known) = known.iter().find(is_it).filter(still) {
                (self.dir, self.here) = (known.dir.clone(), dir.to_path_buf());
                self.directories.clone_from(&known.directories);
                return true;
            }
            self.to_know = Some(dir.to_path_buf());
            false
        })
    }

    /// The last name is next: the directory may be worth remembering. One to which a link led is at another path.
    fn remember(&mut self) {
        let Some(path) = self.to_know.take().filter(|path| *path == self.here) else { return };
        KNOWN.with_borrow_mut(|known| {
            let Some(Memory { known, .. }) = known else { return };
            known.retain(|known| known.path != path);
            known.truncate(KNOWN_MAX - 1);
            let (dir, directories) = (self.dir.clone(), self.directories.clone());
            known.push_front(Known { path, walked: (self.to, self.trusted.clone()), dir, directories });
        });
    }

    fn look(&self, name: &OsStr) -> io::Result<Looked> {
        Looked::below(&*self.dir.file, name)
    }

    fn parent(&self) -> PathBuf {
        self.here.parent().map_or_else(|| PathBuf::from(ROOT), Path::to_path_buf)
    }

    fn follow(&mut self, path: &Path, link: &Looked) -> io::Result<()> {
        let metadata = link.metadata();
        self.track.links += 1;
        if self.track.links > HOPS_MAX {
            return Err(Errno::ELOOP.into());
        }
        let made_ns = i128::from(metadata.ctime()) * 1_000_000_000 + i128::from(metadata.ctime_nsec());
        self.track.youngest_ns = self.track.youngest_ns.max(made_ns);
        self.lead_by_directory();
        // Who controls the directory of a link controls the link.
        for leader in std::mem::take(&mut self.directories) {
            self.links.push(Leader { at: path.to_path_buf(), ..leader });
        }
        if !self.trusted.contains(&metadata.uid()) {
            self.links.push(Leader { at: path.to_path_buf(), uid: metadata.uid() });
        }
        if fstatfs(link)?.filesystem_type() == PROC_SUPER_MAGIC {
            // Some of the kernel's own links have a text that is no path.
            let name = path.file_name().unwrap_or_default();
            let file = openat(&*self.dir.file, name, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?;
            self.dir = Dir::new(Looked::of(file.into())?);
            self.here = path.to_path_buf();
            return Ok(());
        }
        let target = readlinkat(link, "")?;
        self.push(Path::new(&target))
    }

    /// The directory in which we stand is about to lead to something.
    fn lead_by_directory(&mut self) {
        let uid = self.dir.uid;
        if !self.trusted.contains(&uid) {
            self.directories.push(Leader { at: self.here.clone(), uid });
        }
    }

    /// What is refused of the step to this, which is no link.
    fn refused_in_directory(&self, path: &Path, metadata: &Metadata) -> Option<Turn> {
        let is_harmless = match self.to {
            Use::Read => metadata.mode() & if metadata.is_dir() { 0o001 } else { 0o004 } != 0,
            Use::Change => false,
            Use::Keep => metadata.is_dir(),
        };
        if is_harmless || metadata.file_type().is_fifo() && metadata.nlink() == 1 {
            return None;
        }
        let leader = self.directories.iter().find(|leader| leader.uid != metadata.uid())?;
        Some(leader.turn(false, path, metadata.uid()))
    }
}

fn is_link(found: &io::Result<Looked>) -> bool {
    found.as_ref().is_ok_and(|found| found.metadata().is_symlink())
}

#[cfg(test)]
mod tests;
