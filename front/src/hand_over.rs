//! A program that takes the place of this process, or answers it.
//!
//! Invariant: it is called by the name that we were called by, and gets its arguments, descriptors and environment as we
//! got ours.

use std::env;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use standpipe_common::called::{self, FRONT, PACKAGED};
use standpipe_common::error::{Error, Stop};
use standpipe_common::sys;

use crate::cli::Handed;

/// Runs the program of a command in our place, so this returns only if that cannot be done.
pub fn exec(handed: Handed, args: impl IntoIterator<Item = OsString>) -> Stop {
    let path = match find(handed.program) {
        Ok(path) => path,
        Err(error) => return error.into(),
    };
    leave_closed();
    let error =
        called_as(&path, handed.command.is_none().then_some(handed.name)).args(handed.command).args(args).exec();
    Error::new("run", path, error).into()
}

/// Where a program is.
///
/// # Errors
/// It is nowhere.
pub fn find(program: &str) -> Result<PathBuf, Error> {
    let beside = env::current_exe().unwrap_or_default().with_file_name(program);
    let cause = format!("it is not there, nor in {PACKAGED}, nor in PATH");
    called::find(program).ok_or_else(|| Error::because("run", beside, cause))
}

/// What was closed when we started is /dev/null for us, and closed again for the program that comes.
fn leave_closed() {
    let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
    for fd in [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()] {
        if sys::was_closed_at_start(fd.as_raw_fd()) {
            fcntl(fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).ok();
        }
    }
}

/// A program, under our name; `word`: and the command of ours that it is.
pub fn called_as(path: &Path, word: Option<&str>) -> Command {
    let mut name = env::args_os().next().filter(|name| !name.is_empty()).unwrap_or_else(|| FRONT.into());
    if let Some(word) = word {
        name.push(" ");
        name.push(word);
    }
    let mut command = Command::new(path);
    command.arg0(name);
    command
}
