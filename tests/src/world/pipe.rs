//! A pipe as a server or a plain reader sees it, without any program of ours.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use standpipe_common::sys;

use crate::deadline::{CONDITION_SPAN, until, within};

/// Opens a FIFO for writing as `O_NONBLOCK` and these flags have it; ENXIO where nobody holds it.
pub fn open_writer(fifo: &Path, flags: i32) -> io::Result<File> {
    OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK | flags).open(fifo)
}

/// Opens a FIFO for reading without waiting for a writer.
pub fn open_reader(fifo: &Path) -> File {
    let opened = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(fifo);
    opened.unwrap_or_else(|error| panic!("cannot read {}: {error}", fifo.display()))
}

/// Whether somebody has it open for reading, so that a writer is let in.
pub fn is_held(fifo: &Path) -> bool {
    open_writer(fifo, 0).is_ok()
}

/// Bytes waiting in it.
pub fn queued(pipe: &File) -> usize {
    sys::bytes_queued(pipe).expect("FIONREAD on a pipe")
}

/// Bytes it can hold, asked by a writer that comes and goes. 0: nobody holds it.
pub fn capacity(fifo: &Path) -> usize {
    open_writer(fifo, 0)
        .map_or(0, |pipe| fcntl(&pipe, FcntlArg::F_GETPIPE_SZ).expect("F_GETPIPE_SZ on a pipe") as usize)
}

/// All that is in it, as far as a reader can see now.
///
/// # Panics
/// It comes to an end of file: somebody let the pipe go.
pub fn read_all(pipe: &mut File) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        match pipe.read(&mut chunk) {
            Ok(0) => panic!("end of file after {} bytes", bytes.len()),
            Ok(taken) => bytes.extend_from_slice(&chunk[..taken]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return bytes,
            Err(error) => panic!("cannot read from a pipe: {error}"),
        }
    }
}

/// Opens a FIFO read+write, as a holder does: it stays as long as this does.
pub fn hold(fifo: &Path) -> File {
    let opened = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(fifo);
    opened.unwrap_or_else(|error| panic!("cannot hold {}: {error}", fifo.display()))
}

/// One `write(2)` that the pipe takes whole.
pub fn put(pipe: &File, bytes: &[u8]) {
    let taken = { pipe }.write(bytes).expect("room in the pipe");
    assert_eq!(taken, bytes.len(), "the pipe takes it whole");
}

/// Writes all of it into a pipe that does not block, in pieces as they fit.
pub fn write_all(mut pipe: &File, bytes: &[u8]) {
    let mut rest = bytes;
    let written = within(CONDITION_SPAN, || {
        while !rest.is_empty() {
            match pipe.write(rest) {
                Ok(taken) => rest = &rest[taken..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(error) => panic!("cannot write: {error}"),
            }
        }
        true
    });
    assert!(written, "{} of {} bytes do not go into the pipe: nobody reads it", rest.len(), bytes.len());
}

/// Waits until nothing waits in a pipe.
pub fn wait_empty(pipe: &File) {
    until("the pipe is empty", || queued(pipe) == 0);
}
