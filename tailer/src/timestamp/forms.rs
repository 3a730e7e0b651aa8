//! The fixed forms of a time: where one stands in a line, and what it says.

use memchr::memchr_iter;

use super::Form;
use super::scan::{Fraction, behind_priority, clock, days, digits, fraction, is, is_end, month, offset};

/// How far into a line the time of the common log format is looked for: behind an address, a name of a client and one
/// of a user.
const CLF_BYTES_MAX: usize = 512;

/// A time as it is written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stamp {
    pub date: Date,
    /// Seconds of the day.
    pub second: i64,
    pub fraction: Fraction,
    /// Seconds east of UTC. `None`: local time.
    pub offset: Option<i64>,
    pub start: usize,
    pub end: usize,
}

/// A day as it is written.
#[derive(Clone, Copy, Debug)]
pub(super) enum Date {
    /// Days since 1970-01-01.
    Days(i64),
    /// Of some year.
    MonthDay(i64, i64),
}

/// A time of this form in a line whose text begins at `at`.
pub(super) fn find(form: Form, line: &[u8], at: usize) -> Option<Stamp> {
    match form {
        Form::Iso8601 => bracketed(line, at, iso8601),
        Form::Epoch => bracketed(line, at, |line, at| epoch(line, at, 10)),
        Form::EpochMs => bracketed(line, at, |line, at| epoch(line, at, 13)),
        Form::Rfc5424 => rfc5424(line, at),
        Form::Rfc3164 => rfc3164(line, at),
        Form::Clf => clf(line, at),
    }
}

/// The same form, bare or in brackets that then belong to it.
fn bracketed(line: &[u8], at: usize, parse: impl Fn(&[u8], usize) -> Option<Stamp>) -> Option<Stamp> {
    if !is(line, at, b'[') {
        return parse(line, at);
    }
    let stamp = parse(line, at + 1)?;
    is(line, stamp.end, b']').then_some(Stamp { start: at, end: stamp.end + 1, ..stamp })
}

fn iso8601(line: &[u8], at: usize) -> Option<Stamp> {
    let year = digits(line, at, 4)?;
    let separator = *line.get(at + 4)?;
    let has_shape = matches!(separator, b'-' | b'/')
        && is(line, at + 7, separator)
        && matches!(line.get(at + 10), Some(b'T' | b't' | b' '));
    if !has_shape {
        return None;
    }
    let date = days(year, digits(line, at + 5, 2)?, digits(line, at + 8, 2)?)?;
    let second = clock(line, at + 11)?;
    let (fraction, end) = fraction(line, at + 19);
    let (offset, end) = offset(line, end);
    is_end(line, end).then_some(Stamp { date: Date::Days(date), second, fraction, offset, start: at, end })
}

/// Ten digits are seconds from 2001 to 2286, thirteen are the same in milliseconds.
fn epoch(line: &[u8], at: usize, count: usize) -> Option<Stamp> {
    let number = digits(line, at, count)?;
    let (second, (fraction, end)) = match count {
        10 => (number, fraction(line, at + count)),
        _ => (number / 1000, (Fraction { nanos: number % 1000 * 1_000_000, digits: 3 }, at + count)),
    };
    is_end(line, end).then_some(Stamp { date: Date::Days(0), second, fraction, offset: Some(0), start: at, end })
}

/// The time behind priority and version, which stay in the line.
fn rfc5424(line: &[u8], at: usize) -> Option<Stamp> {
    let version = behind_priority(line, at);
    let is_versioned = version > at && line.get(version).is_some_and(u8::is_ascii_digit) && is(line, version + 1, b' ');
    if is_versioned { iso8601(line, version + 2) } else { None }
}

/// `Nov 21 10:00:00`, `Nov  1 10:00:00`, `Nov 1 10:00:00`.
fn rfc3164(line: &[u8], at: usize) -> Option<Stamp> {
    let start = behind_priority(line, at);
    let month = month(line, start)?;
    let two = digits(line, start + 4, 2).map(|day| (day, start + 6));
    let padded = if is(line, start + 4, b' ') { start + 5 } else { start + 4 };
    let (day, end) = two.or_else(|| Some((digits(line, padded, 1)?, padded + 1)))?;
    if !is(line, start + 3, b' ') || !is(line, end, b' ') {
        return None;
    }
    let second = clock(line, end + 1)?;
    let (fraction, end) = fraction(line, end + 9);
    let date = Date::MonthDay(month, day);
    // The 29th of February is a day of some years: 2000 was one.
    days(2000, month, day)?;
    is_end(line, end).then_some(Stamp { date, second, fraction, offset: None, start, end })
}

fn clf(line: &[u8], at: usize) -> Option<Stamp> {
    let near = &line[at..line.len().min(at + CLF_BYTES_MAX)];
    memchr_iter(b'[', near).find_map(|bracket| clf_bracket(line, at + bracket))
}

/// `[10/Oct/2000:13:55:36 -0700]`
fn clf_bracket(line: &[u8], start: usize) -> Option<Stamp> {
    let day = digits(line, start + 1, 2)?;
    let month = month(line, start + 4)?;
    let year = digits(line, start + 8, 4)?;
    let has_shape = is(line, start + 3, b'/') && is(line, start + 7, b'/') && is(line, start + 12, b':');
    let second = clock(line, start + 13)?;
    let (fraction, end) = fraction(line, start + 21);
    let (offset, end) = offset(line, end);
    let date = Date::Days(days(year, month, day)?);
    let is_whole = has_shape && is(line, end, b']');
    is_whole.then_some(Stamp { date, second, fraction, offset, start, end: end + 1 })
}
