//! How full a FIFO is, asked without letting anybody in.
//!
//! Opening a FIFO lets in whoever waits in `open` for the other side, and closing it again kills a server with SIGPIPE
//! or gives a program that reads end-of-file. So the caller must know that somebody has it open for reading and
//! writing: then nobody waits, and coming and going changes nothing. That one may still go in the moment between. So
//! it is opened for writing only and without waiting: where nobody has it open for reading, the kernel refuses that
//! (ENXIO) before it does anything, and a server that waits to write goes on waiting. A reader that came in that very
//! moment would see the end of file that the other's going had in store for it anyway.
//!
//! Nothing is written. Who may not write to the FIFO is not told.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use nix::fcntl::{FcntlArg, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use standpipe_common::fifo::Identity;
use standpipe_common::looked::Looked;
use standpipe_common::sys;

/// How full a FIFO is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fill {
    /// Bytes waiting.
    pub queued: usize,
    /// Bytes it can hold at most.
    pub capacity: usize,
    /// A writer would have to wait now, whatever the byte count says.
    pub is_full: bool,
}

/// Asks the FIFO at the end of `link`, of which the caller knows that a process has it open for reading and writing.
/// `None`: it cannot be asked, or something else stands there by now.
pub fn level(link: &Path, known: Identity) -> Option<Fill> {
    ask(link, known).ok().flatten()
}

fn ask(link: &Path, known: Identity) -> io::Result<Option<Fill>> {
    // Whoever leads there, this very FIFO is one of those that a holder or reader has open.
    let looked = Looked::at(link)?;
    if looked.identity() != known {
        return Ok(None);
    }
    let pipe = looked.open(File::options().write(true))?;
    let queued = sys::bytes_queued(&pipe)?;
    let capacity = fcntl(&pipe, FcntlArg::F_GETPIPE_SZ)? as usize;
    Ok(Some(Fill { queued, capacity, is_full: !is_writable(&pipe)? }))
}

fn is_writable(pipe: &File) -> io::Result<bool> {
    let mut asked = [PollFd::new(pipe.as_fd(), PollFlags::POLLOUT)];
    poll(&mut asked, PollTimeout::ZERO)?;
    Ok(asked[0].revents().is_some_and(|events| events.contains(PollFlags::POLLOUT)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;

    use nix::libc;

    #[test]
    fn full_is_what_a_writer_would_wait_at_and_nobody_is_let_in() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let known = Identity::from(&fs::metadata(&path).unwrap());
        assert_eq!(level(&path, known), None, "the one who had it open has gone");
        let mut held = File::options().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(&path).unwrap();
        assert_eq!(level(&path, Identity::default()), None, "another one stands there");
        assert_eq!(level(&path, known), Some(Fill { queued: 0, capacity: 65536, is_full: false }));
        while held.write(&[b'x'; 2100]).is_ok() {}
        let full = level(&path, known).unwrap();
        assert!(full.is_full && full.queued < full.capacity * 6 / 10, "{full:?}");
    }
}
