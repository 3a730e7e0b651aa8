//! Standard output and standard error: one that was closed when the program started, one whose reader has gone.
//!
//! Invariants: text for a standard output that was closed is an error, and never counts as written; a sentence for a
//! standard error that nobody reads ends no program. Whether standard output can be written without waiting is the
//! business of whoever must not wait.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

use nix::libc::STDOUT_FILENO;

use crate::error::{Cannot, Error, Result};
use crate::sys;

/// What it is called in sentences.
pub const OUTPUT: &str = "standard output";

/// Standard output.
///
/// # Errors
/// It was closed when the program started.
pub fn output() -> Result<io::Stdout> {
    if sys::was_closed_at_start(STDOUT_FILENO) {
        return Err(Error::because("write to", OUTPUT, "it is closed"));
    }
    Ok(io::stdout())
}

/// Writes `text` out. That whoever reads it has seen enough is no error.
///
/// # Errors
/// It cannot be written.
pub fn print(text: &str) -> Result<()> {
    let mut output = output()?.lock();
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error).cannot("write to", OUTPUT),
        _ => Ok(()),
    }
}

/// Says one line on standard error, if anybody reads it.
pub fn complain(line: impl Display) {
    writeln!(io::stderr(), "{line}").ok();
}
