//! The text of a configuration file: how it is read, and how a mistake in it is shown.
//!
//! Invariant: only a regular file is ever opened, so that a FIFO that was put there loses no byte, and none of another to
//! which a stranger leads. What the text means is deliberately elsewhere.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;

use toml::de::DeTable;

use crate::error::{Cannot, Result};
use crate::likeness;
use crate::shown::Shown as _;
use crate::way::{self, Use};

/// Mistakes of one file that are told at most.
const FLAWS_MAX: usize = 20;

/// The bytes of the regular file at `path`, `bytes_max` at most.
pub fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>> {
    read_regular(path, bytes_max).cannot("read", path)
}

/// Looks before it opens: opening a FIFO would let a writer in, or wait for one. A lease of its owner is not waited for.
fn read_regular(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let looked = way::open(path, Use::Read)?;
    if !looked.metadata().is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut bytes = Vec::new();
    looked.open(File::options().read(true))?.take(bytes_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        return Err(io::Error::other(format!("larger than {bytes_max} bytes")));
    }
    Ok(bytes)
}

/// Where a text that has to be UTF-8 is not.
pub fn not_utf8(bytes: &[u8]) -> Option<Flaw> {
    let at = str::from_utf8(bytes).err()?.valid_up_to();
    Some(Flaw { message: "not valid UTF-8".to_string(), span: at..at })
}

/// What a text means, and all that is wrong with it, with what the rest means.
///
/// A parser tells the first mistake alone: so each line with one is left out and the rest read again; the mistakes come in
/// the order of their places. Not where the text
/// is no TOML at all, for what follows such a mistake means something else.
pub fn read_all<T>(text: &str, parse: impl Fn(&str) -> std::result::Result<T, Flaw>) -> (Option<T>, Vec<Flaw>) {
    let (mut flaws, mut rest) = (Vec::<Flaw>::new(), text.to_owned());
    let parsed = loop {
        let flaw = match parse(&rest) {
            Ok(parsed) => break Some(parsed),
            Err(flaw) => flaw,
        };
        let lines = lines_range(&rest, &flaw.span);
        flaws.push(flaw);
        let line = rest[lines.clone()].trim();
        if flaws.len() == FLAWS_MAX || DeTable::parse(&rest).is_err() || line.starts_with('[') || line.is_empty() {
            break None;
        }
        // As long as it was, so that the places of the others stay.
        let blank: String = rest[lines.clone()].bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }).collect();
        rest.replace_range(lines, &blank);
    };
    flaws.sort_by_key(|flaw| flaw.span.start);
    (parsed, flaws)
}

/// The whole lines that a span touches.
pub fn lines_range(text: &str, span: &Range<usize>) -> Range<usize> {
    let start = text[..span.start].rfind('\n').map_or(0, |newline| newline + 1);
    let end = text[span.end..].find('\n').map_or(text.len(), |newline| span.end + newline);
    start..end
}

/// What is wrong with a text, and at which of its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// What, and what would be right there; one line.
    pub message: String,
    /// From which byte to which.
    pub span: Range<usize>,
}

impl From<toml::de::Error> for Flaw {
    fn from(error: toml::de::Error) -> Flaw {
        let message = error.message().replace('\n', ", ");
        let message = if let Some(rest) = message.strip_prefix("unknown field") {
            let mut names = rest.split('`').skip(1).step_by(2);
            let question = names.next().map_or_else(String::new, |wrong| likeness::question(wrong, names));
            format!("unknown key{rest}{question}")
        } else if message.starts_with("invalid float") || message.starts_with("string values must be quoted") {
            // toml takes the `i` of `stamp = iso` for the beginning of `inf`.
            "string values must be quoted".to_string()
        } else {
            message
        };
        Flaw { message, span: error.span().unwrap_or_default() }
    }
}

impl Flaw {
    /// `cannot use <path>: ` and what [`Flaw::shown_in`] shows.
    pub fn sentence(&self, path: &Path, text: &str) -> String {
        format!("cannot use {}: {}", path.shown(), self.shown_in(text))
    }

    /// `line 5, column 1: <message>`, then the line and a caret under the place.
    pub fn shown_in(&self, text: &str) -> String {
        let start = floor_boundary(text, self.span.start);
        let end = floor_boundary(text, self.span.end).max(start);
        let line_start = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let line = text[line_start..].lines().next().unwrap_or("");
        let number = text[..line_start].matches('\n').count() + 1;
        let before = &text[line_start..start];
        let width = text[start..end].lines().next().unwrap_or("").chars().count().max(1);

        let margin = " ".repeat(number.to_string().len());
        let indent: String = before.chars().map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        let mut shown = format!("line {number}, column {}: {}", before.chars().count() + 1, self.message);
        let _infallible =
            write!(shown, "\n{margin} |\n{number} | {line}\n{margin} | {indent}{carets}", carets = "^".repeat(width));
        shown
    }
}

/// No place may split a character: those of a text that was made valid need not be the file's.
fn floor_boundary(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0)
}
