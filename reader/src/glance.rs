//! A look at what waits in a pipe, without taking it: `tee(2)` into a pipe of our own.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, tee};

/// The pipe of our own, and the buffer for what was seen.
#[derive(Debug)]
pub struct Glance {
    from: File,
    into: OwnedFd,
    seen: Vec<u8>,
}

impl Glance {
    /// Makes the pipe, with room for `bytes` if this user may have that; else a look sees less.
    pub fn with_capacity(bytes: usize) -> io::Result<Glance> {
        let (from, into) = nix::unistd::pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        // A refusal leaves the default, which works as well.
        fcntl(&into, FcntlArg::F_SETPIPE_SZ(bytes as i32)).ok();
        Ok(Glance { from: from.into(), into, seen: Vec::new() })
    }

    /// One that sees only the first buffer of a pipe: what one write left in one page.
    pub fn of_one_buffer() -> io::Result<Glance> {
        Glance::with_capacity(standpipe_common::sys::PAGE_BYTES)
    }

    /// The first bytes that wait in `pipe`, at most `len`.
    pub fn look(&mut self, pipe: impl AsFd, len: usize) -> io::Result<&[u8]> {
        self.seen.clear();
        match tee(pipe, &self.into, len, SpliceFFlags::SPLICE_F_NONBLOCK) {
            Ok(n) => {
                (&mut self.from).take(n as u64).read_to_end(&mut self.seen)?;
                Ok(&self.seen)
            }
            Err(Errno::EAGAIN) => Ok(&[]),
            Err(errno) => Err(errno.into()),
        }
    }
}
