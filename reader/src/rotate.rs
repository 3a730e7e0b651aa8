//! `reader rotate`: gives the command to the reader of a log root, and waits until it is done.
//!
//! A pipe's name is checked against the status file where that can be read; the reader itself checks it again.

use std::ffi::{OsStr, OsString};
use std::io::{self, BufRead, BufReader, Write};
use std::net::Shutdown;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use nix::sys::stat::SFlag;
use standpipe_common::error::{Cannot, Error, Result, Stop};
use standpipe_common::name::NAME_MAX;
use standpipe_common::shown::Shown as _;

use crate::cli::RotateArgs;
use crate::control::{BEGUN, CALL_SPAN_MAX, CONTROL, DONE, REFUSED, line_of, short_path};
use crate::disk::{self, Dir};
use crate::logs::log_root::{LogRoot, hinted};
use crate::status::show::unknown_name;
use crate::status::snapshot::lane_names;

/// How long a reader that does not listen is waited for, and how much longer than a call may last.
const LISTEN_SPAN: Duration = Duration::from_secs(2);

/// Gives the commands. The exit code.
pub fn run(args: &RotateArgs) -> std::result::Result<u8, Stop> {
    if let Some(name) = args.names.iter().find(|name| !is_sayable(name)) {
        return Err(Stop::Usage(format!("no pipe named `{}`", name.as_bytes().escape_ascii())));
    }
    let root = LogRoot::find(args.logs.as_deref()).map_err(|stop| hinted(stop, &args.names))?;
    rotate(&root.path, &args.names).map_err(|stop| hinted(root.explain(stop), &args.names))
}

fn rotate(path: &Path, names: &[OsString]) -> std::result::Result<u8, Stop> {
    let root = Dir::open(path)?;
    let stream = call(&root)?;
    refuse_unknown(&root, path, names)?;
    let lines: Vec<Vec<u8>> = match names {
        [] => vec![line_of(None)],
        names => names.iter().map(|name| line_of(Some(name))).collect(),
    };
    let answers = ask(stream, &lines.concat()).cannot("rotate logs in", path)?;
    let refused = answers.iter().find_map(|answer| answer.strip_prefix(REFUSED));
    if let Some(sentence) = refused {
        return Err(Error::because("rotate logs in", path, sentence).into());
    }
    if answers.len() != lines.len() || answers.iter().any(|answer| answer != DONE) {
        return Err(Error::because("rotate logs in", path, "reader stopped before the rotation was done").into());
    }
    Ok(0)
}

/// One line holds it.
fn is_sayable(name: &OsStr) -> bool {
    !name.is_empty() && name.len() <= NAME_MAX && !name.as_bytes().contains(&b'\n')
}

fn call(root: &Dir) -> Result<UnixStream> {
    let path = root.path_of(CONTROL);
    // A link there could lead to anybody's socket.
    let found = root.stat(CONTROL).ok().filter(|stat| !disk::is_kind(stat, SFlag::S_IFSOCK));
    if found.is_some() {
        return Err(Error::because("connect to reader at", path, "not a socket"));
    }
    UnixStream::connect(short_path(root)).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            let path = root.path();
            let cause = "no reader is running on it; start it with its supervisor, or by hand: reader DIR --logs";
            Error::because("rotate logs in", path, format!("{cause} {}", path.shown()))
        }
        _ => Error::new("connect to reader at", &path, error),
    })
}

fn refuse_unknown(root: &Dir, path: &Path, names: &[OsString]) -> std::result::Result<(), Stop> {
    // Without a status file nobody knows; the reader will say so.
    let Ok(mut known) = lane_names(root) else { return Ok(()) };
    known.sort();
    match names.iter().find(|name| !known.contains(name)) {
        Some(name) => {
            let known: Vec<String> = known.iter().map(|name| name.shown().to_string()).collect();
            Err(Stop::Usage(unknown_name(path, name, &known)))
        }
        None => Ok(()),
    }
}

/// Sends the commands, and waits for a line for each.
fn ask(mut stream: UnixStream, lines: &[u8]) -> io::Result<Vec<String>> {
    let late = |error: io::Error| match error.kind() {
        io::ErrorKind::WouldBlock => io::Error::other("reader does not answer"),
        _ => error,
    };
    stream.set_read_timeout(Some(LISTEN_SPAN))?;
    stream.set_write_timeout(Some(LISTEN_SPAN))?;
    stream.write_all(lines).map_err(late)?;
    stream.shutdown(Shutdown::Write)?;
    let mut answers = BufReader::new(stream.try_clone()?).lines();
    if answers.next().transpose().map_err(late)?.is_none_or(|line| line != BEGUN) {
        return Ok(Vec::new());
    }
    stream.set_read_timeout(Some(CALL_SPAN_MAX + LISTEN_SPAN))?;
    answers.collect::<io::Result<_>>().map_err(late)
}
