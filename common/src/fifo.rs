//! Opening a FIFO without harm.
//!
//! A path is walked first, so that no stranger's link or directory leads to the FIFO of another, and opened
//! for real only if it is a FIFO: opening a device can start a watchdog. It is opened read+write, so that the pipe lives as long as we do: no writer gets SIGPIPE or ENXIO, and no
//! reader end-of-file. Nothing here reads, writes, locks, creates or truncates anything.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::error::{Cannot, Error, Result};
use crate::looked::{Looked, reopen};
use crate::seam;
use crate::shown::Shown as _;
use crate::sys;
use crate::way::{self, Reached, Track, Use};

/// What a file is, whatever its name: device and inode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity {
    /// Device number.
    pub dev: u64,
    /// Inode number.
    pub ino: u64,
}

impl From<&fs::Metadata> for Identity {
    fn from(metadata: &fs::Metadata) -> Identity {
        Identity { dev: metadata.dev(), ino: metadata.ino() }
    }
}

/// A FIFO that we have open.
#[derive(Debug)]
pub struct Fifo {
    file: File,
    identity: Identity,
    is_writable: bool,
}

/// Pipes of one link that holder and reader hold on to at most: each may have a MiB of the kernel's memory.
pub const RETIRED_MAX: usize = 8;

/// How long holder and reader hold on to a pipe that no link leads to any more while it is not empty, or somebody still
/// writes to it.
pub fn retired_span() -> Duration {
    #[cfg(any(debug_assertions, feature = "test-seams"))]
    if let Some(ms) = std::env::var("STANDPIPE_TEST_RETIRED_MS").ok().and_then(|ms| ms.parse().ok()) {
        return Duration::from_millis(ms);
    }
    Duration::from_secs(60)
}

/// A FIFO that stands at the end of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Which.
    pub identity: Identity,
    /// Its own path, without a link.
    pub path: PathBuf,
    /// How direct the way to it is.
    pub track: Track,
}

/// What stands at the end of `link`, without opening it.
///
/// # Errors
/// It does not exist, cannot be reached, is no FIFO, or a stranger leads there; the sentence says which.
pub fn find(link: &Path) -> Result<Found> {
    at_path(link, Follow::Links).map(|Reached { end, path, track }| Found { identity: end.identity(), path, track })
}

/// Device and inode of what [`find`] finds.
///
/// # Errors
/// As [`find`].
pub fn look(link: &Path) -> Result<Identity> {
    find(link).map(|found| found.identity)
}

/// The same for those who only look and hold nothing, whoever leads there.
///
/// # Errors
/// As [`find`], but for strangers.
pub fn look_from_outside(link: &Path) -> Result<fs::Metadata> {
    let looked = Looked::at(link).map_err(|error| unopened(link, Follow::Links, error))?;
    require_fifo(link, Follow::Links, &looked)?;
    Ok(looked.metadata().clone())
}

/// Of the FIFOs at the ends of several links, each is whose link has it already, else whose way there is the straightest
/// and then the oldest: what somebody links to a FIFO later takes it from nobody. `has`: whether a link's own FIFO
/// is this one.
pub fn claims<K: Copy + Ord>(
    links: impl IntoIterator<Item = (K, impl AsRef<Path>)>,
    has: impl Fn(K, Identity) -> bool,
) -> HashMap<Identity, K> {
    let mut ends: HashMap<Identity, Vec<_>> = HashMap::new();
    for (key, link) in links {
        let Ok(metadata) = fs::metadata(link.as_ref()) else { continue };
        ends.entry(Identity::from(&metadata)).or_default().push((key, link));
    }
    let mut claims = HashMap::new();
    for (end, links) in ends {
        // Who comes alone is asked for no way: there are ten thousand of them.
        if let [(key, _)] = links[..] {
            claims.insert(end, key);
            continue;
        }
        let claim = |(key, link): (K, _)| {
            let Found { identity, track, .. } = find(AsRef::<Path>::as_ref(&link)).ok()?;
            (identity == end).then(|| (!has(key, end), track, key))
        };
        if let Some((_, _, key)) = links.into_iter().filter_map(claim).min() {
            claims.insert(end, key);
        }
    }
    claims
}

/// What `path` itself is, without opening it. A link is no FIFO, wherever it leads.
///
/// # Errors
/// As [`find`].
pub fn look_itself(path: &Path) -> Result<Identity> {
    at_path(path, Follow::Nothing).map(|reached| reached.end.identity())
}

impl Fifo {
    /// Opens the FIFO at the end of `link`, read+write and non-blocking.
    ///
    /// # Errors
    /// As [`find`], and what the kernel says to the open itself.
    pub fn open(link: &Path) -> Result<Fifo> {
        Fifo::open_by(link, |place| open_place(place.as_raw_fd()))
    }

    /// The same, where `open` does what [`open_place`] does once the FIFO is found.
    ///
    /// # Errors
    /// As [`Fifo::open`].
    pub fn open_by(link: &Path, open: impl FnOnce(BorrowedFd<'_>) -> io::Result<File>) -> Result<Fifo> {
        Fifo::open_as(link, Follow::Links, open)
    }

    /// Opens the FIFO `path` itself in the same way.
    ///
    /// # Errors
    /// As [`look_itself`], and what the kernel says to the open itself.
    pub fn open_itself(path: &Path) -> Result<Fifo> {
        Fifo::open_as(path, Follow::Nothing, |place| open_place(place.as_raw_fd()))
    }

    fn open_as(path: &Path, follow: Follow, open: impl FnOnce(BorrowedFd<'_>) -> io::Result<File>) -> Result<Fifo> {
        let end = at_path(path, follow)?.end;
        let file = open(end.as_fd()).cannot("open", path)?;
        debug_assert!(file.metadata().is_ok_and(|is| Identity::from(&is) == end.identity()), "another one is open");
        Ok(Fifo { file, identity: end.identity(), is_writable: true })
    }

    /// A pipe that was inherited open, such as standard input. `None`: it is no pipe. No flag of it is touched.
    pub fn inherited(fd: BorrowedFd<'_>) -> io::Result<Option<Fifo>> {
        let file = File::from(fd.try_clone_to_owned()?);
        let metadata = file.metadata()?;
        if !metadata.file_type().is_fifo() {
            return Ok(None);
        }
        let access = OFlag::from_bits_truncate(fcntl(&file, FcntlArg::F_GETFL)?) & OFlag::O_ACCMODE;
        Ok(Some(Fifo { identity: (&metadata).into(), file, is_writable: access != OFlag::O_RDONLY }))
    }

    /// The same pipe, open for reading only: once this one is closed, its last writer can be seen to leave.
    pub fn read_only(&self) -> io::Result<Fifo> {
        let file = reopen(self.file.as_raw_fd(), File::options().read(true))?;
        Ok(Fifo { file, identity: self.identity, is_writable: false })
    }

    /// Device and inode.
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// Bytes waiting.
    pub fn queued(&self) -> io::Result<usize> {
        sys::bytes_queued(&self.file)
    }

    /// Bytes it can hold at most.
    pub fn capacity(&self) -> io::Result<usize> {
        Ok(fcntl(&self.file, FcntlArg::F_GETPIPE_SZ)? as usize)
    }

    /// Asks for another capacity; the kernel rounds up to a power of two of pages. Returns what was granted.
    ///
    /// # Errors
    /// EBUSY: it holds more than that now. EPERM: beyond what this user may have.
    pub fn set_capacity(&self, bytes: usize) -> io::Result<usize> {
        Ok(fcntl(&self.file, FcntlArg::F_SETPIPE_SZ(bytes as i32))? as usize)
    }

    /// A writer would have to wait now, whatever the byte count says: lines of 2,100 bytes fill a pipe at 51 %.
    ///
    /// A pipe that we can only read does not tell. There half of its `capacity` counts as full where `queued` bytes are
    /// in it: each `write(2)` fills up the page before it or leaves less than half of its own empty.
    pub fn is_full(&self, queued: usize, capacity: usize) -> io::Result<bool> {
        if self.is_writable {
            return Ok(!self.poll(PollFlags::POLLOUT)?.contains(PollFlags::POLLOUT));
        }
        Ok(queued >= capacity / 2)
    }

    /// Of a pipe that we hold for reading only: nobody has it open for writing any more.
    pub fn is_abandoned(&self) -> io::Result<bool> {
        Ok(self.poll(PollFlags::POLLIN)?.contains(PollFlags::POLLHUP))
    }

    fn poll(&self, wanted: PollFlags) -> io::Result<PollFlags> {
        let mut fds = [PollFd::new(self.file.as_fd(), wanted)];
        while let Err(errno) = poll(&mut fds, PollTimeout::ZERO) {
            if errno != Errno::EINTR {
                return Err(errno.into());
            }
        }
        Ok(fds[0].revents().unwrap_or(PollFlags::empty()))
    }
}

impl AsFd for Fifo {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl AsRawFd for Fifo {
    fn as_raw_fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }
}

/// What a path may lead through at its end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Follow {
    /// Links, as the kernel does.
    Links,
    /// Nothing: the name itself is meant.
    Nothing,
}

/// The FIFO at the end of `link`.
fn at_path(link: &Path, follow: Follow) -> Result<Reached> {
    let reached = match follow {
        Follow::Links => way::reach(link, Use::Keep),
        Follow::Nothing => way::reach_itself(link, Use::Keep),
    };
    let reached = reached.map_err(|error| match look_from_outside(link) {
        // Of what is no FIFO that is said, whoever leads there.
        Err(other) if error.raw_os_error().is_none() && follow == Follow::Links => other,
        _ => unopened(link, follow, error),
    })?;
    require_fifo(link, follow, &reached.end)?;
    Ok(reached)
}

fn unopened(link: &Path, follow: Follow, error: io::Error) -> Error {
    if error.raw_os_error() == Some(libc::ENOENT) && follow == Follow::Links {
        return dangling(link);
    }
    Error::new("open", link, error)
}

fn require_fifo(link: &Path, follow: Follow, looked: &Looked) -> Result<()> {
    if looked.is_fifo() {
        return Ok(());
    }
    let what = kind(looked.metadata().file_type());
    let cause = match follow {
        Follow::Links => format!("it leads to {what}, not to a FIFO"),
        Follow::Nothing => format!("it is {what}, not a FIFO"),
    };
    Err(Error::because("open", link, cause))
}

/// Opens the FIFO that the descriptor `place` of this process stands on, read+write: for [`Fifo::open_by`].
pub fn open_place(place: RawFd) -> io::Result<File> {
    seam::pass("fifo-open")?;
    reopen(place, File::options().read(true).write(true))
}

fn dangling(link: &Path) -> Error {
    let Ok(target) = fs::read_link(link) else { return Error::new("open", link, Errno::ENOENT) };
    let mut cause = format!("{} does not exist", target.shown());
    if target.is_relative() {
        let start = link.parent().map_or_else(PathBuf::new, Path::to_path_buf);
        let seen_from_here = start.join(&target);
        cause = format!("{cause} (a relative link starts at the directory it is in: {})", seen_from_here.shown());
    }
    Error::because("open", link, cause)
}

fn kind(file_type: fs::FileType) -> &'static str {
    match file_type {
        t if t.is_file() => "a regular file",
        t if t.is_dir() => "a directory",
        t if t.is_symlink() => "a link",
        t if t.is_socket() => "a socket",
        t if t.is_char_device() || t.is_block_device() => "a device",
        _ => "something else",
    }
}
