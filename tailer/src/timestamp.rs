//! Finds the time that a line begins with, and tells which bytes of the line it is.
//!
//! One [`Parser`] a source: it remembers which form fitted last, tries that first, and the others only where it does
//! not fit. Nothing here allocates; the fixed forms are read digit by digit, jiff is asked for zones and patterns.
//! Deliberately not here: what is done with a line without a time.

mod forms;
mod local;
mod scan;

use std::str::FromStr;

use jiff::fmt::strtime::BrokenDownTime;
use jiff::tz::TimeZone;

use forms::Stamp;
use local::Local;

/// Which forms of a time are looked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// All but patterns.
    #[default]
    Auto,
    /// This one.
    Form(Form),
    /// A strptime pattern, at the start of a line.
    Pattern(String),
}

/// A form of a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `2026-11-21T10:00:00.123+01:00`, also with a space for the `T`, `/` for `-`, a comma before the fraction, the
    /// offset as `Z`, `+0100` or none, and in brackets.
    Iso8601,
    /// `1795255200` or `1795255200.123`: ten digits; also in brackets.
    Epoch,
    /// `1795255200123`: thirteen digits; also in brackets.
    EpochMs,
    /// `<34>1 2026-11-21T10:00:00.123Z`
    Rfc5424,
    /// `Nov 21 10:00:00`, also behind `<34>`.
    Rfc3164,
    /// `[10/Oct/2000:13:55:36 -0700]`, near the start of the line.
    Clf,
}

/// The order in which they are tried: cheap and certain first.
const FORMS: [Form; 6] = [Form::Iso8601, Form::Epoch, Form::EpochMs, Form::Rfc5424, Form::Rfc3164, Form::Clf];

/// What a file of other systems may begin with.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

impl FromStr for Format {
    type Err = String;

    /// The name of a form, or a strptime pattern.
    fn from_str(text: &str) -> Result<Format, String> {
        Ok(match text {
            "auto" => Format::Auto,
            "iso8601" => Format::Form(Form::Iso8601),
            "epoch" => Format::Form(Form::Epoch),
            "epoch_ms" => Format::Form(Form::EpochMs),
            "clf" => Format::Form(Form::Clf),
            "rfc3164" => Format::Form(Form::Rfc3164),
            "rfc5424" => Format::Form(Form::Rfc5424),
            _ if text.contains('%') => Format::Pattern(text.to_string()),
            _ => return Err(format!("`{text}` is no form of a timestamp")),
        })
    }
}

/// A time, and how exactly it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time {
    /// Ns since the epoch.
    pub ns: i64,
    /// Digits of its fraction of a second, at most 9.
    pub digits: u8,
}

impl Time {
    /// By our own clock, which is shown to the microsecond.
    pub fn of_clock(ns: i64) -> Time {
        Time { ns, digits: 6 }
    }
}

/// A time in a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The time.
    pub time: Time,
    /// Where it starts in the line.
    pub start: usize,
    /// Behind its last byte, brackets included.
    pub end: usize,
}

/// Finds times in the lines of one source.
#[derive(Clone, Debug)]
pub struct Parser {
    format: Format,
    local: Local,
    /// What fitted last.
    last: Form,
}

impl Parser {
    /// `zone`: that of times that name none.
    pub fn new(format: Format, zone: TimeZone) -> Parser {
        let last = if let Format::Form(form) = format { form } else { FORMS[0] };
        Parser { format, local: Local::new(zone), last }
    }

    /// The time that stands in a line (without its newline) that was read at `read_ns`.
    pub fn find(&mut self, line: &[u8], read_ns: i64) -> Option<Found> {
        let at = if line.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
        let stamp = match &self.format {
            Format::Pattern(pattern) => {
                let (time, len) = BrokenDownTime::parse_prefix(pattern, &line[at..]).ok()?;
                let end = at + len;
                let digits =
                    if time.subsec_nanosecond().is_some() { scan::digits_of_fraction(&line[at..end]) } else { 0 };
                let ns = self.local.broken_down(time, read_ns)?;
                return Some(Found { time: Time { ns, digits }, start: at, end });
            }
            Format::Form(form) => forms::find(*form, line, at)?,
            Format::Auto => self.find_any(line, at)?,
        };
        let time = Time { ns: self.local.time_ns(&stamp, read_ns)?, digits: stamp.fraction.digits };
        Some(Found { time, start: stamp.start, end: stamp.end })
    }

    fn find_any(&mut self, line: &[u8], at: usize) -> Option<Stamp> {
        if let Some(stamp) = forms::find(self.last, line, at) {
            return Some(stamp);
        }
        for form in FORMS.into_iter().filter(|form| *form != self.last) {
            if let Some(stamp) = forms::find(form, line, at) {
                self.last = form;
                return Some(stamp);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
