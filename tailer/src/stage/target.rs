//! The target and its staging pipe as the kernel has them: opening, identity, permissions, the lock; and the system
//! calls of the steps.
//!
//! The target is opened for writing only: a descriptor that could read would keep a pipe alive that everybody else has
//! left. Nothing is opened that is no FIFO. The staging pipe `TARGET.stage`, beside the FIFO that the target's path
//! leads to, is the holder's to make; it is used if it has the target's group, others may not open it, and no other
//! tailer has its lock (byte 1; the holder locks byte 0, and nobody ever locks the target).

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, splice, tee};
use nix::libc;
use nix::unistd;
use standpipe_common::error::{Cannot, Error, Result};
use standpipe_common::seam;
use standpipe_common::shown::Shown as _;
use standpipe_common::staging;
use standpipe_common::sys::{PAGE_BYTES, bytes_queued};
use standpipe_common::way::{self, Use};

use super::steps::Pipes;
use crate::file::identity::Identity;

/// Fewest pages that a staging pipe can work with: one for a piece, one for the canary.
const STAGE_PAGES_MIN: usize = 2;
const DRAIN_BYTES: usize = 64 << 10;

/// A FIFO that we have open.
#[derive(Debug)]
struct Fifo {
    path: PathBuf,
    file: File,
    identity: Identity,
}

impl Fifo {
    fn open(path: &Path, access: i32) -> Result<(Fifo, Metadata)> {
        let looked = way::open(path, Use::Change).cannot("open", path)?;
        if !looked.is_fifo() {
            return Err(Error::because("open", path, "it is not a FIFO"));
        }
        let file = looked.open(File::options().read(access == libc::O_RDWR).write(true)).cannot("open", path)?;
        let metadata = looked.metadata().clone();
        Ok((Fifo { path: path.to_path_buf(), file, identity: (&metadata).into() }, metadata))
    }

    /// Whether its path still leads to it.
    fn is_current(&self) -> bool {
        fs::metadata(&self.path).is_ok_and(|metadata| Identity::from(&metadata) == self.identity)
    }
}

/// What a look for the staging pipe came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turnout {
    /// It is open, and so it was; or there is none, as before.
    Same,
    /// It is open now.
    Opened {
        /// Its path.
        path: PathBuf,
        /// Whether a holder holds it.
        is_held: bool,
    },
    /// There is none.
    Missing(PathBuf),
}

/// The staging pipe of a target.
#[derive(Debug)]
enum Staging {
    /// There is none, or none that can be used.
    Missing,
    /// It was refused the last time because somebody else has its lock.
    LockedOut,
    Open(Fifo),
}

/// A target and its staging pipe.
#[derive(Debug)]
pub struct Target {
    path: PathBuf,
    fifo: Option<Fifo>,
    stage: Staging,
    drained: Vec<u8>,
}

impl Target {
    /// The target at this path; nothing is opened yet.
    pub fn new(path: &Path) -> Target {
        Target { path: path.to_path_buf(), fifo: None, stage: Staging::Missing, drained: vec![0; DRAIN_BYTES] }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The open target, to wait until it can be written. `None`: it is not open.
    pub fn raw_fd(&self) -> Option<RawFd> {
        self.fifo.as_ref().map(|target| target.file.as_raw_fd())
    }

    /// Opens the target.
    ///
    /// # Errors
    /// There is none, it is no FIFO, or (ENXIO) nobody has it open for reading.
    pub fn open(&mut self) -> Result<()> {
        self.fifo = Some(Fifo::open(&self.path, libc::O_WRONLY)?.0);
        Ok(())
    }

    /// Lets it go.
    pub fn close(&mut self) {
        self.fifo = None;
    }

    /// Whether its path still leads to the target that we have open.
    pub fn is_current(&self) -> bool {
        self.fifo.as_ref().is_some_and(Fifo::is_current)
    }

    /// Bytes that wait in it.
    pub fn queued(&self) -> io::Result<usize> {
        self.fifo.as_ref().map_or(Err(Errno::ENXIO.into()), |target| bytes_queued(&target.file))
    }

    /// Opens the staging pipe that stands beside the target now, if it is not the one we have.
    ///
    /// # Errors
    /// It is there and cannot or must not be used; then there is none.
    pub fn find_stage(&mut self) -> Result<Turnout> {
        if self.staging().is_ok_and(Fifo::is_current) {
            return Ok(Turnout::Same);
        }
        self.stage = Staging::Missing;
        let path = staging::beside(&fs::canonicalize(&self.path).cannot("inspect", &self.path)?);
        if fs::symlink_metadata(&path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            return Ok(Turnout::Missing(path));
        }
        let (stage, metadata) = Fifo::open(&path, libc::O_RDWR)?;
        self.check(&stage, &metadata)?;
        let is_held = locker(&stage.file, staging::HOLDER_LOCK_BYTE).cannot("inspect", &path)?;
        self.stage = Staging::Open(stage);
        Ok(Turnout::Opened { path, is_held })
    }

    /// Whether the staging pipe was refused the last time because somebody else has its lock.
    pub fn is_locked_out(&self) -> bool {
        matches!(self.stage, Staging::LockedOut)
    }

    /// Lets the staging pipe go.
    pub fn close_stage(&mut self) {
        self.stage = Staging::Missing;
    }

    fn check(&mut self, stage: &Fifo, metadata: &Metadata) -> Result<()> {
        let refuse = |cause: String| Err(Error::because("use", &stage.path, cause));
        let target = fs::metadata(&self.path).cannot("inspect", &self.path)?;
        if metadata.gid() != target.gid() {
            return refuse(format!(
                "its group is {}, but that of {} is {}",
                metadata.gid(),
                self.path.shown(),
                target.gid()
            ));
        }
        if metadata.mode() & 0o007 != 0 {
            return refuse(format!("other users can open it (mode {:04o})", metadata.mode() & 0o7777));
        }
        if pages(&stage.file).cannot("inspect", &stage.path)? < STAGE_PAGES_MIN {
            return refuse(format!("it holds less than {} bytes", STAGE_PAGES_MIN * PAGE_BYTES));
        }
        match fcntl(&stage.file, FcntlArg::F_OFD_SETLK(&byte(staging::TAILER_LOCK_BYTE, libc::F_WRLCK))) {
            Ok(_) => Ok(()),
            Err(Errno::EAGAIN | Errno::EACCES) => {
                self.stage = Staging::LockedOut;
                refuse("another tailer or another program has locked it".to_owned())
            }
            Err(errno) => Err(Error::new("lock", &stage.path, errno)),
        }
    }

    fn staging(&self) -> io::Result<&Fifo> {
        match &self.stage {
            Staging::Open(stage) => Ok(stage),
            Staging::Missing | Staging::LockedOut => Err(Errno::ENXIO.into()),
        }
    }

    fn stage_file(&self) -> io::Result<&File> {
        self.staging().map(|stage| &stage.file)
    }

    fn target_file(&self) -> io::Result<&File> {
        self.fifo.as_ref().map(|target| &target.file).ok_or_else(|| Errno::ENXIO.into())
    }
}

impl Pipes for Target {
    fn pass(&mut self, point: &'static str) -> io::Result<()> {
        seam::pass(point)
    }

    fn stage(&self) -> Option<Identity> {
        self.staging().ok().map(|stage| stage.identity)
    }

    fn stage_pages(&self) -> io::Result<usize> {
        pages(self.stage_file()?)
    }

    fn staged(&mut self) -> io::Result<usize> {
        bytes_queued(self.stage_file()?)
    }

    fn look(&mut self) -> io::Result<Vec<u8>> {
        let stage = self.stage_file()?;
        let (from, into) = unistd::pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        // Refused: less is seen, and less compared.
        fcntl(&into, FcntlArg::F_SETPIPE_SZ((pages(stage)? * PAGE_BYTES) as i32)).ok();
        let mut seen = Vec::new();
        let len = none_if_full(tee(stage, &into, usize::MAX >> 1, SpliceFFlags::SPLICE_F_NONBLOCK))?;
        File::from(from).take(len as u64).read_to_end(&mut seen)?;
        Ok(seen)
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<usize> {
        none_if_full(unistd::write(self.stage_file()?, bytes))
    }

    fn take(&mut self, bytes_max: usize) -> io::Result<usize> {
        let len = bytes_max.min(DRAIN_BYTES);
        let Staging::Open(stage) = &self.stage else { return Err(Errno::ENXIO.into()) };
        none_if_full(unistd::read(stage.file.as_fd(), &mut self.drained[..len]))
    }

    fn forward(&mut self, bytes_max: usize) -> io::Result<usize> {
        let flags = SpliceFFlags::SPLICE_F_NONBLOCK;
        none_if_full(splice(self.stage_file()?, None, self.target_file()?, None, bytes_max, flags))
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        none_if_full(unistd::write(self.target_file()?, bytes))
    }
}

fn none_if_full(result: nix::Result<usize>) -> io::Result<usize> {
    match result {
        Err(Errno::EAGAIN) => Ok(0),
        result => Ok(result?),
    }
}

fn pages(pipe: &File) -> io::Result<usize> {
    Ok(fcntl(pipe, FcntlArg::F_GETPIPE_SZ)? as usize / PAGE_BYTES)
}

/// Whether anybody else has a lock on this byte.
fn locker(file: &File, at: i64) -> io::Result<bool> {
    let mut lock = byte(at, libc::F_WRLCK);
    fcntl(file, FcntlArg::F_OFD_GETLK(&mut lock))?;
    Ok(i32::from(lock.l_type) != libc::F_UNLCK)
}

fn byte(at: i64, kind: i32) -> libc::flock {
    libc::flock { l_type: kind as i16, l_whence: libc::SEEK_SET as i16, l_start: at, l_len: 1, l_pid: 0 }
}
