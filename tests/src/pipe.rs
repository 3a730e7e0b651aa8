//! A pipe as a server or a plain reader sees it, without any program of ours.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use standpipe_common::sys;

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
