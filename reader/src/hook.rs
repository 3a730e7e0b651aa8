//! One run of a hook: a program that gets an archive, and is waited for so long and no longer.
//!
//! Invariants: no shell; of our descriptors it has 0 (nothing), 1 and 2 (our standard error); it leads a process group
//! of its own, all of which is ended when its time is over. Only the program itself is waited for: what it leaves
//! running when it succeeds is its own affair. When it runs is decided in [`crate::hooks`].

use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use standpipe_common::archive::Archive;
use standpipe_common::error::{Cannot, Error, Result};
use standpipe_common::policy::Hook;
use standpipe_common::serial::Serial;
use standpipe_common::sys;
use standpipe_common::way::{self, Use};

/// Between TERM and KILL, when its time is over.
const TERM_SPAN: Duration = Duration::from_secs(5);
/// Between two looks whether it has ended.
const LOOK_SPAN: Duration = Duration::from_millis(10);

/// What a hook is told of an archive.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The archive's path, absolute.
    pub path: PathBuf,
    /// The pipe's name.
    pub pipe: OsString,
    first: String,
    last: String,
    lines: u64,
    bytes: u64,
    data_bytes: u64,
    serial: Option<Serial>,
}

impl Facts {
    /// Of an archive, from its own index.
    pub fn of(archive: &Archive, path: PathBuf, pipe: OsString) -> Result<Facts> {
        let index = archive.index().map_err(|fault| Error::because("read the index of", &path, fault.to_string()))?;
        let time = |ns: Option<i64>| {
            let at = Timestamp::from_nanosecond(i128::from(ns.unwrap_or(index.base_ns)));
            format!("{:.9}", at.unwrap_or(Timestamp::UNIX_EPOCH))
        };
        let (first, last) = (time(index.lowest_ns()), time(index.highest_ns()));
        let (lines, bytes, serial) = (index.lines, index.raw_bytes, index.serial);
        Ok(Facts { path, pipe, first, last, lines, bytes, data_bytes: archive.data_bytes(), serial })
    }
}

/// Runs a hook to its end, with this umask.
///
/// # Errors
/// It could not be started, did not succeed, or took too long.
pub fn run(hook: &Hook, timeout: Duration, umask: u32, facts: &Facts) -> Result<()> {
    let Some((program, args)) = hook.0.split_first() else { return Ok(()) };
    if program.contains('/') {
        way::open(Path::new(program), Use::Read).cannot("run hook", program)?;
    }
    // Whoever started us may have left descriptors open that are none of the hook's business.
    sys::close_others_on_exec();
    let to_stderr = || io::stderr().as_fd().try_clone_to_owned().map_or_else(|_| Stdio::null(), Stdio::from);
    let mut command = Command::new(program);
    sys::set_umask(&mut command, umask);
    let mut child = command
        .args(args)
        .env("STANDPIPE_ARCHIVE", &facts.path)
        .env("STANDPIPE_PIPE", &facts.pipe)
        .env("STANDPIPE_FIRST", &facts.first)
        .env("STANDPIPE_LAST", &facts.last)
        .env("STANDPIPE_LINES", facts.lines.to_string())
        .env("STANDPIPE_BYTES", facts.bytes.to_string())
        .env("STANDPIPE_DATA_BYTES", facts.data_bytes.to_string())
        .env("STANDPIPE_LOG_ID", facts.serial.map_or_else(String::new, |serial| serial.log.to_string()))
        .env("STANDPIPE_NUMBER", facts.serial.map_or_else(String::new, |serial| serial.number.to_string()))
        .stdin(Stdio::null())
        .stdout(to_stderr())
        .stderr(to_stderr())
        .process_group(0)
        .spawn()
        .cannot("run hook", program)?;
    let failed = |cause: String| Err(Error::because("pass an archive to hook", program, cause));
    if !has_ended(&child, timeout) {
        end_group(&child);
        child.wait().cannot("wait for hook", program)?;
        return failed(format!("it was ended because it took longer than {} s", timeout.as_secs_f32()));
    }
    let status = child.wait().cannot("wait for hook", program)?;
    match (status.code(), status.signal()) {
        (Some(0), _) => Ok(()),
        (Some(code), _) => failed(format!("its exit code was {code}")),
        (None, signal) => failed(format!("it was killed by signal {}", signal.unwrap_or_default())),
    }
}

/// Waits until a child has ended, at most `span`. It is not reaped yet, so that its process group keeps its number.
fn has_ended(child: &Child, span: Duration) -> bool {
    let deadline = Instant::now() + span;
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    loop {
        if !matches!(waitid(Id::Pid(pid(child)), flags), Ok(WaitStatus::StillAlive)) {
            return true;
        }
        let now = Instant::now();
        if now >= deadline {
            return false;
        }
        thread::sleep(LOOK_SPAN.min(deadline - now));
    }
}

/// Ends a child and all that it started in its process group.
fn end_group(child: &Child) {
    killpg(pid(child), Signal::SIGTERM).ok();
    has_ended(child, TERM_SPAN);
    killpg(pid(child), Signal::SIGKILL).ok();
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(child.id() as i32)
}
