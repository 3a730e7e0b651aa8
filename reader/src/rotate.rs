//! `reader rotate`: gives the command to the reader of a log root.
//!
//! A pipe's name is checked against the status file where that can be read; the reader itself checks it again.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::SFlag;
use standpipe_common::error::{Error, Result, Stop};

use crate::cli::RotateArgs;
use crate::control::{CONTROL, LINE_MAX, line_of};
use crate::disk::{self, Dir};
use crate::logs::select::log_root;
use crate::status::show::unknown_name;
use crate::status::snapshot::{is_running, lane_names};

/// How long a reader that takes no commands is waited for.
const TAKE_SPAN: Duration = Duration::from_secs(2);

/// Writes the commands. The exit code.
pub fn run(args: &RotateArgs) -> std::result::Result<u8, Stop> {
    if let Some(name) = args.names.iter().find(|name| !is_sayable(name)) {
        return Err(Stop::Usage(format!("`{}` is no pipe's name", name.as_bytes().escape_ascii())));
    }
    let path = log_root(args.logs.as_deref());
    let root = Dir::open(&path)?;
    let mut fifo = open(&root)?;
    refuse_unknown(&root, &path, &args.names)?;
    let lines: Vec<Vec<u8>> = match &args.names[..] {
        [] => vec![line_of(None)],
        names => names.iter().map(|name| line_of(Some(name))).collect(),
    };
    for line in lines {
        give(&mut fifo, &line).map_err(|error| Error::new("write", root.path_of(CONTROL), error))?;
    }
    Ok(0)
}

/// One line holds it.
fn is_sayable(name: &OsStr) -> bool {
    !name.is_empty() && name.len() < LINE_MAX / 2 && !name.as_bytes().contains(&b'\n')
}

fn open(root: &Dir) -> Result<File> {
    let nobody = || Error::because("rotate logs in", root.path(), "no reader runs on it");
    let is_fifo = root.stat(CONTROL).map(|stat| disk::is_kind(&stat, SFlag::S_IFIFO));
    match is_fifo {
        Ok(true) => root.open_fifo(CONTROL, OFlag::O_WRONLY).map_err(|error| match error.errno() {
            Some(Errno::ENXIO) => nobody(),
            _ => error,
        }),
        Ok(false) => Err(Error::because("open", root.path_of(CONTROL), "it is not a FIFO")),
        Err(Errno::ENOENT) if is_running(root) != Some(true) => Err(nobody()),
        Err(errno) => Err(Error::new("open", root.path_of(CONTROL), errno)),
    }
}

fn refuse_unknown(root: &Dir, path: &Path, names: &[OsString]) -> std::result::Result<(), Stop> {
    // Without a status file nobody knows; the reader will say so.
    let Ok(mut known) = lane_names(root) else { return Ok(()) };
    known.sort();
    match names.iter().find(|name| !known.contains(name)) {
        Some(name) => {
            let known: Vec<String> = known.iter().map(|name| name.to_string_lossy().into_owned()).collect();
            Err(Stop::Usage(unknown_name(path, name, &known)))
        }
        None => Ok(()),
    }
}

/// Writes a line, which a pipe takes whole or not at all, as soon as there is room for it.
fn give(fifo: &mut File, line: &[u8]) -> io::Result<()> {
    let deadline = Instant::now() + TAKE_SPAN;
    loop {
        match fifo.write(line) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            other => return other.map(drop),
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::Error::other("the reader takes no commands"));
        }
        let mut room = [PollFd::new(fifo.as_fd(), PollFlags::POLLOUT)];
        poll(&mut room, PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO)).ok();
    }
}
