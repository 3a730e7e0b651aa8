//! Standard output and standard error: one that was closed when the program started, one whose reader has gone.
//!
//! Invariants: text for a standard output that was closed is an error, and never counts as written; a sentence for a
//! standard error that nobody reads ends no program. Whether standard output can be written without waiting is the
//! business of whoever must not wait.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

use log::Level;
use nix::libc::STDOUT_FILENO;

use crate::called;
use crate::error::{Cannot, Error, Result};
use crate::logger;
use crate::shown::{push_escaped, visible_json};
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

/// Writes lines for people out. That whoever reads them has seen enough is no error.
///
/// # Errors
/// They cannot be written.
pub fn print(lines: &str) -> Result<()> {
    let mut text = String::with_capacity(lines.len());
    push_escaped(lines, &mut text);
    write(&text)
}

/// The same with a JSON text.
///
/// # Errors
/// It cannot be written.
pub fn print_json(text: &str) -> Result<()> {
    write(&visible_json(text))
}

fn write(text: &str) -> Result<()> {
    let mut output = output()?.lock();
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error).cannot("write to", OUTPUT),
        _ => Ok(()),
    }
}

/// Says a sentence in the name of this program, as it was called: `reader: error: ...`.
pub fn error(sentence: impl Display) {
    put(Level::Error, format_args!("{}: error: {sentence}", called::name()));
}

/// The same: `reader: warning: ...`.
pub fn warning(sentence: impl Display) {
    put(Level::Warn, format_args!("{}: warning: {sentence}", called::name()));
}

/// The same: `reader: ...`.
pub fn say(sentence: impl Display) {
    complain(format_args!("{}: {sentence}", called::name()));
}

/// Says one sentence on standard error, if anybody reads it.
pub fn complain(sentence: impl Display) {
    put(Level::Info, sentence);
}

fn put(level: Level, sentence: impl Display) {
    let (priority, mut text) = (logger::priority(level), String::new());
    for line in sentence.to_string().split('\n') {
        text.push_str(priority);
        push_escaped(line, &mut text);
        text.push('\n');
    }
    io::stderr().write_all(text.as_bytes()).ok();
}
