//! What a line looks like on standard output: text, a JSON object, or its bytes as they are.
//!
//! Text is `<tailer_ts> <source_name> <level> <message>`: the time and the level that a line begins with are taken out
//! of the message, and a carriage return at its end; nothing else is changed, whatever bytes it has. A line without a
//! time that goes on with a record shows the time of that. In JSON a message that is no UTF-8 has replacement
//! characters; its exact bytes are to be had as raw. For a terminal all that it would obey is made visible, in each form.
//! Invariant: lines are numbered from 1 in the order in which they come, pieces of an over-long line among them.

mod color;
mod json;
mod stamp;
mod text;

use std::borrow::Cow;

use jiff::tz::TimeZone;
use memchr::memchr;
use standpipe_common::shown::{harmless, push_visible};

use crate::config::LineForm;
use crate::file::identity::Origin;
use crate::out::level;
use crate::out::lines::{Lines, SourceId};
use crate::out::timestamp::{self, Colored, Parser, Time};

use stamp::Stamper;

/// How long after a line with a time one without is taken for the rest of its record.
const RECORD_NS_MAX: i64 = 10_000_000_000;

/// Forms the lines of all sources.
#[derive(Debug)]
pub struct Formatter {
    form: LineForm,
    color: bool,
    /// A terminal shows it.
    is_visible: bool,
    zone: TimeZone,
    sources: Vec<Sender>,
    stamper: Stamper,
    /// Of the last line.
    sequence: u64,
}

/// What is known of a source.
#[derive(Debug)]
struct Sender {
    name: String,
    /// None: no color.
    color: Option<u8>,
    parser: Parser,
    /// Whether its last piece was not the end of its line.
    is_open: bool,
    record: Option<Timed>,
    /// Each of its files is of another process: no record goes on in the next.
    is_spool: bool,
}

/// What began with a line with a time, and goes on with lines without.
#[derive(Clone, Copy, Debug)]
struct Timed {
    time: Time,
    /// When its last line was read.
    read_ns: i64,
}

/// One line, taken apart.
struct Parts<'a> {
    /// Its own, or that of its record.
    time: Option<Time>,
    read_ns: i64,
    sequence: u64,
    origin: Origin,
    offset: u64,
    level: Option<(Cow<'a, [u8]>, level::Gravity)>,
    /// What stands before the time, and behind time and level.
    message: [&'a [u8]; 2],
    /// It goes on with the piece before.
    is_continued: bool,
    /// The next piece goes on with it.
    is_open: bool,
}

impl Sender {
    fn new(name: &str, parser: Parser) -> Sender {
        Sender { name: name.to_string(), color: None, parser, is_open: false, record: None, is_spool: false }
    }

    /// The time of a line, in which none was found: that of the record that it goes on with.
    fn time_of_record(&mut self, read_ns: i64) -> Option<Time> {
        let record = self.record.as_mut().filter(|record| read_ns - record.read_ns <= RECORD_NS_MAX)?;
        record.read_ns = read_ns;
        Some(record.time)
    }
}

impl Formatter {
    /// `zone`: that of times in lines that name none.
    pub fn new(form: LineForm, color: bool, zone: TimeZone) -> Formatter {
        let stamper = Stamper::default();
        Formatter { form, color, is_visible: false, zone, sources: Vec::new(), stamper, sequence: 0 }
    }

    /// From now on what a terminal would obey is made visible.
    pub fn show_to_terminal(&mut self) {
        self.is_visible = true;
    }

    /// Tells the name of a source and what its times look like. To be called before its first line.
    pub fn add(&mut self, id: SourceId, name: &str, format: timestamp::Format) {
        self.grow(id);
        // Not in JSON, where it is a string.
        let shown = if self.form == LineForm::Text { harmless(name) } else { name.to_owned() };
        let mut source = Sender::new(&shown, Parser::new(format, self.zone.clone()));
        if self.color {
            let others = self.sources.iter().filter(|other| other.name != shown);
            source.color = Some(color::of_name(name, others.filter_map(|other| other.color)));
        }
        self.sources[id.0 as usize] = source;
    }

    /// The files of a source have nothing to do with each other.
    pub fn keep_files_apart(&mut self, id: SourceId) {
        self.grow(id);
        self.sources[id.0 as usize].is_spool = true;
    }

    /// Whether pieces of a line have to follow each other, with nothing of another source between them.
    pub fn joins_pieces(&self) -> bool {
        self.form != LineForm::Json
    }

    /// Appends lines in their form.
    pub fn push(&mut self, lines: &Lines<'_>, out: &mut Vec<u8>) {
        if self.form == LineForm::Raw {
            push(lines.bytes, self.is_visible, out);
            return;
        }
        self.grow(lines.source);
        let source = &mut self.sources[lines.source.0 as usize];
        if source.is_spool && lines.start == 0 {
            source.record = None;
        }
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
        let bytes = if is_open { bytes } else { bytes.strip_suffix(b"\r").unwrap_or(bytes) };
        let mut line = Parts {
            time: None,
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
            line.take_apart(bytes, source, lines.record.and_then(|record| record.time));
        }
        match self.form {
            LineForm::Json => json::push(&line, &source.name, self.is_visible, out),
            LineForm::Text | LineForm::Raw => {
                let look = text::Look { has_color: self.color, color: source.color, is_visible: self.is_visible };
                text::push(&line, &source.name, look, &mut self.stamper, out);
            }
        }
    }

    fn grow(&mut self, id: SourceId) {
        while self.sources.len() <= id.0 as usize {
            self.sources.push(Sender::new("-", Parser::new(timestamp::Format::Auto, self.zone.clone())));
        }
    }
}

impl<'a> Parts<'a> {
    /// `written`: when it was, if something else than the line tells.
    fn take_apart(&mut self, bytes: &'a [u8], source: &mut Sender, written: Option<Time>) {
        let (mut before, mut rest): (&[u8], &[u8]) = (b"", bytes);
        if let Some(found) = source.parser.find(bytes, self.read_ns) {
            self.time = Some(found.time);
            source.record = Some(Timed { time: found.time, read_ns: self.read_ns });
            before = &bytes[..found.start];
            rest = &bytes[found.end..];
            if found.end > 0 {
                rest = rest.strip_prefix(b" ").unwrap_or(rest);
            }
        } else {
            self.time = source.time_of_record(self.read_ns);
        }
        self.time = written.or(self.time);
        self.message = [before, rest];
        self.find_level(before, rest);
    }

    /// The level, plainly or behind color; what it takes of the message.
    fn find_level(&mut self, before: &'a [u8], rest: &'a [u8]) {
        if let Some(level) = level::find(before, rest) {
            self.level = Some((Cow::Borrowed(level.word), level.gravity));
            self.message = [if level.is_before { b"" } else { before }, &rest[level.end..]];
            return;
        }
        let colored = [before, rest].map(Colored::of);
        if colored.iter().all(Option::is_none) {
            return;
        }
        let text = |at: usize, plain: &'a [u8]| colored[at].as_ref().map_or(plain, |colored| colored.text.as_slice());
        if let Some(level) = level::find(text(0, before), text(1, rest)) {
            let end = colored[1].as_ref().map_or(level.end, |colored| colored.start(level.end));
            self.message = [if level.is_before { b"" } else { before }, &rest[end..]];
            self.level = Some((Cow::Owned(level.word.to_vec()), level.gravity));
        }
    }
}

/// Appends bytes as they are, or made visible.
fn push(bytes: &[u8], is_visible: bool, out: &mut Vec<u8>) {
    if is_visible {
        push_visible(bytes, out);
    } else {
        out.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests;
