//! One sentence an error: `cannot <action> <path>: <cause>`, and what helps where that is known.
//!
//! An [`Error`] is returned or logged, never both. [`Stop`] is an error that ends a program, with its exit code.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::cure;
use crate::shown::Shown as _;

/// Exit code of a command that was asked wrongly.
pub const EXIT_USAGE: u8 = 2;
/// Exit code of an I/O error, of "another one has it", and of "cannot become ready".
pub const EXIT_IO: u8 = 3;

/// A failed action on a path.
#[derive(Debug)]
pub struct Error {
    action: String,
    path: PathBuf,
    cause: io::Error,
}

/// What most of the project returns.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// `cannot <action> <path>: <cause>`.
    pub fn new(action: impl Into<String>, path: impl AsRef<Path>, cause: impl Into<io::Error>) -> Error {
        Error { action: action.into(), path: path.as_ref().to_path_buf(), cause: cause.into() }
    }

    /// The same, with a cause in our own words.
    pub fn because(action: impl Into<String>, path: impl AsRef<Path>, cause: impl Into<String>) -> Error {
        Error::new(action, path, io::Error::other(cause.into()))
    }

    /// The same, for want of room.
    pub fn no_room(action: impl Into<String>, path: impl AsRef<Path>, cause: impl Into<String>) -> Error {
        Error::new(action, path, io::Error::new(io::ErrorKind::StorageFull, cause.into()))
    }

    /// It is for want of room, on the disk or of a quota. EFBIG is not: a file is too long then.
    pub fn is_no_room(&self) -> bool {
        matches!(self.cause.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }

    /// The errno behind the cause, if the kernel gave one.
    pub fn errno(&self) -> Option<Errno> {
        self.cause.raw_os_error().map(Errno::from_raw)
    }

    /// No descriptor was left, of this process or of the machine.
    pub fn is_out_of_descriptors(&self) -> bool {
        matches!(self.errno(), Some(Errno::EMFILE | Errno::ENFILE))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {} {}: {}", self.action, self.path.shown(), Cause(&self.cause))?;
        match self.errno().and_then(|errno| cure::against(errno, &self.action, &self.path)) {
            Some(cure) => write!(f, " ({cure})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

/// An `io::Error` in the kernel's words, without Rust's `(os error 2)`.
struct Cause<'a>(&'a io::Error);

impl fmt::Display for Cause<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.raw_os_error() {
            Some(code) => f.write_str(Errno::from_raw(code).desc()),
            None => write!(f, "{}", self.0),
        }
    }
}

/// Puts action and path to an error of the kernel or of std.
pub trait Cannot<T> {
    /// `cannot <action> <path>: <cause>`.
    fn cannot(self, action: &str, path: impl AsRef<Path>) -> Result<T>;
}

impl<T, E: Into<io::Error>> Cannot<T> for std::result::Result<T, E> {
    fn cannot(self, action: &str, path: impl AsRef<Path>) -> Result<T> {
        self.map_err(|cause| Error::new(action, path, cause))
    }
}

/// Why a program ends before its work is done.
#[derive(Debug)]
pub enum Stop {
    /// The command line, or what it named, cannot be carried out: exit 2.
    Usage(String),
    /// The kernel refused something without which there is no work: exit 3.
    Io(String),
}

impl Stop {
    /// The exit code that goes with it.
    pub fn code(&self) -> u8 {
        match self {
            Stop::Usage(_) => EXIT_USAGE,
            Stop::Io(_) => EXIT_IO,
        }
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stop::Usage(sentence) | Stop::Io(sentence) => f.write_str(sentence),
        }
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Io(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_names_action_path_and_cause() {
        let error = std::fs::read("/nowhere/x").cannot("read", "/nowhere/x").unwrap_err();
        assert_eq!(error.to_string(), "cannot read /nowhere/x: No such file or directory");
        assert_eq!(error.errno(), Some(Errno::ENOENT));
    }
}
