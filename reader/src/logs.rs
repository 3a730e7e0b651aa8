//! `reader logs`: prints active segments and archives alike, in order, byte for byte.
//!
//! - [`select`]: which log directories are meant;
//! - [`parts`]: the parts of one, opened in order of time while the reader works on them;
//! - [`mod@print`]: bytes to standard output, made harmless if that is a terminal;
//! - [`waiting`]: what the mailbox of a dead reader still holds.
//!
//! It needs read permission only, takes no lock and writes nothing.

pub mod parts;
pub mod pattern;
pub mod print;
pub mod select;
pub mod waiting;
pub mod when;

use std::io::{self, Write};

use standpipe_common::error::{EXIT_IO, Error, Result, Stop};
use standpipe_common::standard::complain;

use crate::cli::LogsArgs;
use crate::disk::Dir;
use parts::{Part, Parts};
use print::Printer;

/// Prints what was asked for. The exit code: 3 if some of it could not be read.
pub fn run(args: &LogsArgs) -> std::result::Result<u8, Stop> {
    let mut printer = Printer::to_stdout()?;
    let mut troubled = false;
    let selection = select::log_dirs(&args.what, args.logs.as_deref())?;
    for error in &selection.closed {
        complain(format_args!("reader: error: {error}"));
        troubled = true;
    }
    for dir in selection.dirs {
        match print_dir(&dir, &mut printer) {
            Ok(whole) => troubled |= !whole,
            Err(Trouble::Reading(error)) => {
                complain(format_args!("reader: error: {error}"));
                troubled = true;
            }
            // Whoever read us has seen enough.
            Err(Trouble::Printing(error)) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(0),
            Err(Trouble::Printing(error)) => return Err(Error::new("write", "standard output", error).into()),
        }
        if let Some(sentence) = waiting::sentence(&dir) {
            printer.flush().ok();
            complain(format_args!("reader: warning: {sentence}"));
        }
    }
    match printer.flush() {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::new("write", "standard output", error).into())
        }
        _ => Ok(if troubled { EXIT_IO } else { 0 }),
    }
}

enum Trouble {
    Reading(Error),
    Printing(io::Error),
}

/// Prints all parts of a log directory. `false`: some could not be read, which was said.
fn print_dir(dir: &Dir, printer: &mut Printer) -> std::result::Result<bool, Trouble> {
    let mut whole = true;
    let mut parts = Parts::of(dir).map_err(Trouble::Reading)?;
    while let Some(part) = parts.open_next() {
        let gaps = print_part(part, printer)?;
        for gap in &gaps {
            printer.flush().map_err(Trouble::Printing)?;
            complain(format_args!("reader: error: {gap}"));
        }
        whole &= gaps.is_empty();
    }
    Ok(whole)
}

/// Prints one part; what could not be read of it comes back as sentences.
fn print_part(part: Result<Part>, printer: &mut Printer) -> std::result::Result<Vec<String>, Trouble> {
    match part {
        Ok(Part::Segment(mut file)) => {
            io::copy(&mut file, printer).map_err(Trouble::Printing)?;
            Ok(Vec::new())
        }
        Ok(Part::Archive(archive)) => {
            let copied = archive.copy_to(printer).map_err(Trouble::Printing)?;
            Ok(copied.gaps.iter().map(ToString::to_string).collect())
        }
        Err(error) => Ok(vec![error.to_string()]),
    }
}
