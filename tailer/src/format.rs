//! What a line looks like on standard output: text, a JSON object, or its bytes as they are.
//!
//! Text is `<tailer_ts> <source_name> <level> <message>`: the time and the level that a line begins with are taken out
//! of the message, nothing else is changed, whatever bytes it has. In JSON a message that is no UTF-8 has replacement
//! characters; its exact bytes are to be had as raw.
//! Invariant: lines are numbered from 1 in the order in which they come, pieces of an over-long line among them.

mod json;
mod stamp;
mod text;

use jiff::tz::TimeZone;
use memchr::memchr;

use crate::identity::Origin;
use crate::level::{self, Level};
use crate::lines::{Lines, SourceId};
use crate::timestamp::{self, Parser};

use stamp::Stamper;

/// Which of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// For people.
    Text,
    /// JSON lines, with all that is known.
    Json,
    /// The bytes alone.
    Raw,
}

/// Forms the lines of all sources.
#[derive(Debug)]
pub struct Formatter {
    form: Form,
    color: bool,
    zone: TimeZone,
    sources: Vec<Source>,
    stamper: Stamper,
    /// Of the last line.
    sequence: u64,
}

/// What is known of a source.
#[derive(Debug)]
struct Source {
    name: String,
    parser: Parser,
    /// Whether its last piece was not the end of its line.
    is_open: bool,
}

/// One line, taken apart.
struct Line<'a> {
    time_ns: Option<i64>,
    read_ns: i64,
    sequence: u64,
    origin: Origin,
    offset: u64,
    level: Option<(&'a [u8], level::Gravity)>,
    /// What stands before the time, and behind time and level.
    message: [&'a [u8]; 2],
    /// It goes on with the piece before.
    is_continued: bool,
    /// The next piece goes on with it.
    is_open: bool,
}

impl Formatter {
    /// `zone`: that of times in lines that name none.
    pub fn new(form: Form, color: bool, zone: TimeZone) -> Formatter {
        Formatter { form, color, zone, sources: Vec::new(), stamper: Stamper::default(), sequence: 0 }
    }

    /// Tells the name of a source and what its times look like. To be called before its first line.
    pub fn add(&mut self, id: SourceId, name: &str, format: timestamp::Format) {
        self.grow(id);
        let parser = Parser::new(format, self.zone.clone());
        self.sources[id.0 as usize] = Source { name: name.to_string(), parser, is_open: false };
    }

    /// Whether pieces of a line have to follow each other, with nothing of another source between them.
    pub fn joins_pieces(&self) -> bool {
        self.form != Form::Json
    }

    /// Appends lines in their form.
    pub fn push(&mut self, lines: &Lines<'_>, out: &mut Vec<u8>) {
        if self.form == Form::Raw {
            out.extend_from_slice(lines.bytes);
            return;
        }
        self.grow(lines.source);
        let mut at = 0;
        while at < lines.bytes.len() {
            let rest = &lines.bytes[at..];
            let newline = memchr(b'\n', rest);
            self.push_line(lines, at, &rest[..newline.unwrap_or(rest.len())], newline.is_none(), out);
            at += newline.map_or(rest.len(), |newline| newline + 1);
        }
    }

    fn push_line(&mut self, lines: &Lines<'_>, at: usize, bytes: &[u8], is_open: bool, out: &mut Vec<u8>) {
        let source = &mut self.sources[lines.source.0 as usize];
        let is_continued = std::mem::replace(&mut source.is_open, is_open);
        self.sequence += 1;
        let mut line = Line {
            time_ns: None,
            read_ns: lines.read_ns,
            sequence: self.sequence,
            origin: lines.origin,
            offset: lines.start + at as u64,
            level: None,
            message: [b"", bytes],
            is_continued,
            is_open,
        };
        if !is_continued {
            line.take_apart(bytes, &mut source.parser);
        }
        match self.form {
            Form::Json => json::push(&line, &source.name, out),
            Form::Text | Form::Raw => text::push(&line, &source.name, self.color, &mut self.stamper, out),
        }
    }

    fn grow(&mut self, id: SourceId) {
        while self.sources.len() <= id.0 as usize {
            let parser = Parser::new(timestamp::Format::Auto, self.zone.clone());
            self.sources.push(Source { name: "-".to_string(), parser, is_open: false });
        }
    }
}

impl<'a> Line<'a> {
    fn take_apart(&mut self, bytes: &'a [u8], parser: &mut Parser) {
        let mut rest = bytes;
        if let Some(found) = parser.find(bytes, self.read_ns) {
            self.time_ns = Some(found.time_ns);
            self.message[0] = &bytes[..found.start];
            rest = &bytes[found.end..];
            rest = rest.strip_prefix(b" ").unwrap_or(rest);
        }
        if let Some(Level { word, end, gravity }) = level::find(rest) {
            self.level = Some((&rest[word], gravity));
            rest = &rest[end..];
        }
        self.message[1] = rest;
    }
}

#[cfg(test)]
mod tests;
