//! The forms of a time: where one stands in a line, and what it says.

use memchr::{memchr_iter, memmem};

use super::calendar::{Date, Written, Zone, common_log, iso8601, written};
use super::scan::{Fraction, behind_priority, clock, days, digits, fraction, hex, is, is_end, run};
use super::{TimeForm, keyed};
use crate::out::level;

/// How far into a line the time of the common log format is looked for: behind an address, a name of a client and one
/// of a user.
const CLF_BYTES_MAX: usize = 512;

/// Longest that is passed over at once before a written time.
const PREFIX_BYTES_MAX: usize = 64;

/// How many such things may stand before it.
const PREFIXES_MAX: usize = 4;

/// What some programs put before a written time.
const PREFIXES: [&[u8]; 11] = [
    b"# Time: ",
    b"####<",
    b"Start-Date: ",
    b"End-Date: ",
    b"http ",
    b"https ",
    b"h2 ",
    b"ws ",
    b"wss ",
    b"grpcs ",
    b"update-alternatives ",
];

/// Seconds that a number may mean where nothing says that it is a time: from 2010 to 2065. Others are something else.
const PLAUSIBLE: std::ops::Range<i64> = 1_262_304_000..3_000_000_000;

/// The label of 1970-01-01T00:00:00 TAI: <https://cr.yp.to/libtai/tai64.html>.
const TAI_EPOCH: i64 = 1 << 62;
/// By how much TAI is ahead of UTC, as multilog, svlogd and our own `tai64n` have it, and as s6 has it.
pub(super) const TAI_OFFSET: i64 = 10;
pub(super) const TAI_OFFSET_S6: i64 = 37;

/// A time of this form in a line whose text begins at `at`.
pub(super) fn find(form: TimeForm, line: &[u8], at: usize) -> Option<Written<'_>> {
    match form {
        TimeForm::Iso8601 => bracketed(line, at, iso8601),
        TimeForm::Epoch => bracketed(line, at, |line, at| epoch(line, at, 10)),
        TimeForm::EpochMs => bracketed(line, at, |line, at| epoch(line, at, 13)),
        TimeForm::Rfc5424 => rfc5424(line, at),
        TimeForm::Rfc3164 => rfc3164(line, at),
        TimeForm::Clf => clf(line, at),
        TimeForm::Number => bracketed(line, at, number).or_else(|| audit(line, at)),
        TimeForm::Written => written_anywhere(line, at),
        TimeForm::Json | TimeForm::Logfmt => keyed::find(line, at),
        TimeForm::Tai64n => tai64n(line, at, TAI_OFFSET),
        TimeForm::Tai64nS6 => tai64n(line, at, TAI_OFFSET_S6),
        TimeForm::Klog => klog(line, at),
        TimeForm::Kernel => kernel(line, at),
    }
}

/// The same form, bare or in brackets that then belong to it.
fn bracketed<'a>(
    line: &'a [u8],
    at: usize,
    parse: impl Fn(&'a [u8], usize) -> Option<Written<'a>>,
) -> Option<Written<'a>> {
    if !is(line, at, b'[') {
        return parse(line, at);
    }
    let stamp = parse(line, at + 1)?;
    is(line, stamp.end, b']').then_some(Written { start: at, end: stamp.end + 1, ..stamp })
}

/// Ten digits are seconds from 2001 to 2286, thirteen are the same in milliseconds.
fn epoch(line: &[u8], at: usize, count: usize) -> Option<Written<'_>> {
    digits(line, at, count).and_then(|_| any_epoch(line, at)).filter(|_| run(line, at) == count)
}

/// Seconds, milliseconds, microseconds or nanoseconds since 1970, as the count of digits tells.
pub(super) fn any_epoch(line: &[u8], at: usize) -> Option<Written<'_>> {
    let count = run(line, at);
    let fraction_digits: u8 = match count {
        10 => 0,
        13 => 3,
        16 => 6,
        19 => 9,
        _ => return None,
    };
    let number = digits(line, at, count)?;
    let unit = 10_i64.pow(9 - u32::from(fraction_digits));
    let per_second = 1_000_000_000 / unit;
    let (behind, end) = fraction(line, at + count);
    let nanos = number % per_second * unit + behind.nanos / per_second;
    let fraction = Fraction { nanos, digits: 9.min(fraction_digits + behind.digits) };
    let (date, zone) = (Date::Days(0), Zone::Offset(0));
    is_end(line, end).then_some(Written { date, second: number / per_second, fraction, zone, start: at, end })
}

/// The same where that may be a time.
pub(super) fn number(line: &[u8], at: usize) -> Option<Written<'_>> {
    any_epoch(line, at).filter(|stamp| PLAUSIBLE.contains(&stamp.second))
}

/// `type=SYSCALL msg=audit(1795860000.123:456): …`
fn audit(line: &[u8], at: usize) -> Option<Written<'_>> {
    const BEFORE: &[u8] = b"msg=audit(";
    let near = &line[at..line.len().min(at + PREFIX_BYTES_MAX)];
    let place = memmem::find(near, BEFORE).filter(|_| near.starts_with(b"type=") || near.starts_with(b"node="))?;
    number(line, at + place + BEFORE.len()).map(|stamp| Written { start: 0, end: 0, ..stamp })
}

/// The time behind priority and version, which stay in the line.
fn rfc5424(line: &[u8], at: usize) -> Option<Written<'_>> {
    let version = behind_priority(line, at);
    let is_versioned = version > at && line.get(version).is_some_and(u8::is_ascii_digit) && is(line, version + 1, b' ');
    if is_versioned { iso8601(line, version + 2) } else { None }
}

/// `Nov 21 10:00:00`, `Nov  1 10:00:00`, `Nov 1 10:00:00`.
fn rfc3164(line: &[u8], at: usize) -> Option<Written<'_>> {
    let start = behind_priority(line, at);
    let is_name = line.get(start).is_some_and(u8::is_ascii_alphabetic);
    written(line, start).filter(|stamp| is_name && matches!(stamp.date, Date::MonthDay(..)))
}

fn clf(line: &[u8], at: usize) -> Option<Written<'_>> {
    let near = &line[at..line.len().min(at + CLF_BYTES_MAX)];
    memchr_iter(b'[', near).find_map(|bracket| clf_bracket(line, at + bracket))
}

/// `[10/Oct/2000:13:55:36 -0700]`
fn clf_bracket(line: &[u8], start: usize) -> Option<Written<'_>> {
    if !is(line, start + 3, b'/') || !is(line, start + 7, b'/') {
        return None;
    }
    let is_whole = |stamp: &Written<'_>| is(line, stamp.end, b']');
    let usual = common_log(line, start + 1).filter(is_whole);
    let stamp = usual.or_else(|| written(line, start + 1).filter(is_whole))?;
    Some(Written { start, end: stamp.end + 1, ..stamp })
}

/// A written time at the start, or behind what usually stands there.
fn written_anywhere(line: &[u8], at: usize) -> Option<Written<'_>> {
    let mut place = at;
    for _ in 0..=PREFIXES_MAX {
        if let Some(stamp) = written_in_brackets(line, place) {
            return Some(stamp);
        }
        place = behind_prefix(line, place)?;
    }
    None
}

/// Brackets that hold more than the time stay.
fn written_in_brackets(line: &[u8], at: usize) -> Option<Written<'_>> {
    if !is(line, at, b'[') {
        return written(line, at);
    }
    let mut inside = at + 1;
    // `[I 2026-11-28 …`, `[ N 2026-11-28 …`
    let letter = inside + usize::from(is(line, inside, b' '));
    if level::is_letter(line.get(letter).copied()) && is(line, letter + 1, b' ') {
        inside = letter + 2;
    }
    let stamp = written(line, inside)?;
    let is_whole = is(line, stamp.end, b']') && inside == at + 1;
    Some(if is_whole { Written { start: at, end: stamp.end + 1, ..stamp } } else { stamp })
}

/// The place behind one thing that may stand before a time: a level, something in brackets, a priority, a process.
fn behind_prefix(line: &[u8], at: usize) -> Option<usize> {
    let rest = &line[at.min(line.len())..line.len().min(at + PREFIX_BYTES_MAX)];
    if let Some(prefix) = PREFIXES.iter().find(|prefix| rest.starts_with(prefix)) {
        return Some(at + prefix.len());
    }
    let number = run(rest, 0);
    let len = match rest.first()? {
        b'[' => rest.iter().position(|byte| *byte == b']')? + 1,
        b'<' => behind_priority(rest, 0),
        // Erlang: `=INFO REPORT==== `
        b'=' => memmem::find(rest, b"==== ")? + 5,
        // Redis: `123:M `
        b'0'..=b'9' if rest.get(number + 1).is_some_and(u8::is_ascii_uppercase) && is(rest, number, b':') => number + 2,
        // Zabbix: `123:20261128:100000.123`
        b'0'..=b'9' if is(rest, number, b':') && run(rest, number + 1) == 8 => number + 1,
        // NestJS: `[Nest] 123  - `
        b'0'..=b'9' if rest[number..].starts_with(b"  - ") => number + 4,
        b' ' => behind_blanks_of_zabbix(rest)?,
        _ => level::word_before(rest)?,
    };
    if len == 0 {
        return None;
    }
    let blanks = rest[len..].iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    Some(at + len + blanks)
}

/// The number of a process, and with it its blanks, is right-aligned: `  123:20261128:100000.123`
fn behind_blanks_of_zabbix(text: &[u8]) -> Option<usize> {
    let blanks = text.iter().take_while(|byte| **byte == b' ').count();
    let number = blanks + run(text, blanks);
    (is(text, number, b':') && run(text, number + 1) == 8).then_some(blanks)
}

/// `@400000006b016baa000007cf`, also without the nanoseconds.
fn tai64n(line: &[u8], at: usize, ahead: i64) -> Option<Written<'_>> {
    if !is(line, at, b'@') || !is(line, at + 1, b'4') {
        return None;
    }
    let label = hex(line, at + 1, 16)?;
    let nanos = hex(line, at + 17, 8).filter(|nanos| *nanos < 1_000_000_000);
    let (fraction, end) = match nanos {
        Some(nanos) => (Fraction { nanos, digits: 9 }, at + 25),
        None => (Fraction::default(), at + 17),
    };
    let (second, zone) = (label - TAI_EPOCH - ahead, Zone::Offset(0));
    let is_whole = is_end(line, end) && (0..1 << 33).contains(&second);
    is_whole.then_some(Written { date: Date::Days(0), second, fraction, zone, start: at, end })
}

/// `I1128 10:00:00.123456`, `I20261128 10:00:00.123456`; the letter is the level, and stays.
fn klog(line: &[u8], at: usize) -> Option<Written<'_>> {
    if !matches!(line.get(at), Some(b'I' | b'W' | b'E' | b'F' | b'D')) {
        return None;
    }
    let start = at + 1;
    let (date, end) = match run(line, start) {
        4 => {
            let (month, day) = (digits(line, start, 2)?, digits(line, start + 2, 2)?);
            days(2000, month, day)?;
            (Date::MonthDay(month, day), start + 4)
        }
        8 => {
            let (year, month) = (digits(line, start, 4)?, digits(line, start + 4, 2)?);
            (Date::Days(days(year, month, digits(line, start + 6, 2)?)?), start + 8)
        }
        _ => return None,
    };
    let second = clock(line, end + 1).filter(|_| is(line, end, b' '))?;
    let (fraction, end) = fraction(line, end + 9);
    let is_whole = fraction.digits == 6 && is_end(line, end);
    is_whole.then_some(Written { date, second, fraction, zone: Zone::Local, start, end })
}

/// `[  123.456789]`: seconds since the boot, as the kernel and X write them, also behind `<6>`.
fn kernel(line: &[u8], at: usize) -> Option<Written<'_>> {
    let start = behind_priority(line, at);
    if !is(line, start, b'[') {
        return None;
    }
    let blanks = line[start + 1..].iter().take(12).take_while(|byte| **byte == b' ').count();
    let number = start + 1 + blanks;
    let count = run(line, number);
    let (fraction, end) = fraction(line, number + count);
    let is_padded = blanks > 0 || count >= 5;
    let has_shape = (1..=9).contains(&count) && is_padded && is(line, end, b']') && (3..=6).contains(&fraction.digits);
    let second = digits(line, number, count)?;
    let (date, zone) = (Date::Boot, Zone::Offset(0));
    has_shape.then_some(Written { date, second, fraction, zone, start, end: end + 1 })
}
