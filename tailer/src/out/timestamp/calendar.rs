//! A day and a time of day as people and programs write them, wherever they stand.
//!
//! | day | as in |
//! |---|---|
//! | `2026-11-28` `2026/11/28` `2026.11.28` `2026-Nov-28` `2026 Nov 28` | ISO 8601, nginx, Go |
//! | `28 Nov 2026` `28-Nov-2026` `28/Nov/2026` `28 Nov` | log4j, Tomcat, BIND, PHP, Redis, web servers |
//! | `Nov 28` `Nov 28 2026` `Nov 28, 2026` | syslog, `java.util.logging` |
//! | `28.11.2026` | by hand |
//! | `11/28/2026`, with AM or PM only | `NestJS` |
//! | `20261128` | pacct, Zabbix |
//! | `261128` `26/11/28` | `MySQL`, Spark |
//! | `11-28`, with milliseconds only | Android |
//!
//! A name of the day may stand before it. The year may stand behind the time (`date(1)`, `ctime(3)`), or nowhere.
//! Deliberately not here: forms that mean different days to different people, such as `05/06/2026`.

use super::scan::{Fraction, clock, compact_clock, days, digits, fraction, is, is_end, month, run};
use super::zones;

/// A time as it is written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written<'a> {
    pub date: Date,
    /// Seconds of the day.
    pub second: i64,
    pub fraction: Fraction,
    pub zone: Zone<'a>,
    pub start: usize,
    pub end: usize,
}

/// A day as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Date {
    /// Days since 1970-01-01.
    Days(i64),
    /// The same, of a year that was written with two digits.
    ShortYear(i64),
    /// Of some year.
    MonthDay(i64, i64),
    /// That of the boot, and seconds since.
    Boot,
}

/// Where that is the time of day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Zone<'a> {
    /// Here.
    Local,
    /// Seconds east of UTC.
    Offset(i64),
    /// An abbreviation that is known, or a place.
    Named(&'a [u8]),
}

/// What makes a day certain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Needs {
    Nothing,
    /// AM or PM.
    Half,
    /// Three digits of a second.
    Millis,
    /// A time of day without colons may follow.
    Compact,
}

/// The fast way for the most usual form: `2026-11-21T10:00:00.123Z` and its like.
pub(super) fn iso8601(line: &[u8], at: usize) -> Option<Written<'_>> {
    let year = digits(line, at, 4)?;
    let separator = *line.get(at + 4)?;
    let between = *line.get(at + 10)?;
    let has_shape =
        matches!(separator, b'-' | b'/') && is(line, at + 7, separator) && matches!(between, b'T' | b't' | b' ' | b'_');
    if !has_shape {
        return None;
    }
    let date = days(year, digits(line, at + 5, 2)?, digits(line, at + 8, 2)?)?;
    let second = clock(line, at + 11)?;
    let (fraction, end) = fraction(line, at + 19);
    let (zone, end) = zone(line, end);
    let zone = of_svlogd(between, fraction, zone);
    is_end(line, end).then_some(Written { date: Date::Days(date), second, fraction, zone, start: at, end })
}

/// The same for `28/Nov/2026:10:00:00 +0000`, as web servers write it.
pub(super) fn common_log(line: &[u8], at: usize) -> Option<Written<'_>> {
    if !is(line, at + 2, b'/') || !is(line, at + 6, b'/') || !is(line, at + 11, b':') {
        return None;
    }
    let date = days(digits(line, at + 7, 4)?, month(line, at + 3)?, digits(line, at, 2)?)?;
    let second = clock(line, at + 12)?;
    let (fraction, end) = fraction(line, at + 20);
    let (zone, end) = zone(line, end);
    is_end(line, end).then_some(Written { date: Date::Days(date), second, fraction, zone, start: at, end })
}

/// svlogd names no zone, and writes UTC: with `_`, or as nobody else with five digits.
fn of_svlogd(between: u8, fraction: Fraction, zone: Zone<'_>) -> Zone<'_> {
    let is_svlogd = between == b'_' || (between == b'T' && fraction.digits == 5);
    if is_svlogd && zone == Zone::Local { Zone::Offset(0) } else { zone }
}

/// A written time that begins at `at`.
pub(super) fn written(line: &[u8], at: usize) -> Option<Written<'_>> {
    let (date, needs, end) = date(line, behind_weekday(line, at))?;
    let time = behind_separator(line, end)?;
    let (second, end) = match compact_clock(line, time) {
        Some(compact) if needs == Needs::Compact => compact,
        _ => hours(line, time)?,
    };
    let (fraction, end) = fraction(line, end);
    let (second, has_half, end) = half_of_day(line, end, second)?;
    if (needs == Needs::Half && !has_half) || (needs == Needs::Millis && fraction.digits != 3) {
        return None;
    }
    let (zone, end) = zone(line, end);
    let (date, zone, end) = match date {
        Date::MonthDay(month, day) => year_behind(line, end, month, day, zone)?,
        _ => (date, zone, end),
    };
    is_end(line, end).then_some(Written { date, second, fraction, zone, start: at, end })
}

/// `Sat `, `Sat, `
fn behind_weekday(line: &[u8], at: usize) -> usize {
    if !matches!(line.get(at..at + 3), Some(b"Mon" | b"Tue" | b"Wed" | b"Thu" | b"Fri" | b"Sat" | b"Sun")) {
        return at;
    }
    let comma = usize::from(is(line, at + 3, b','));
    if is(line, at + 3 + comma, b' ') { at + 4 + comma } else { at }
}

fn date(line: &[u8], at: usize) -> Option<(Date, Needs, usize)> {
    let number = run(line, at);
    let (end, separator) = (at + number, line.get(at + number).copied());
    match (number, separator) {
        (0, _) => month_first(line, at),
        (4, Some(separator)) => year_first(line, at, separator),
        (1 | 2, Some(b'.')) => {
            let (month, year_at) = (digits(line, end + 1, 2)?, end + 4);
            let day = days(digits(line, year_at, 4)?, month, digits(line, at, number)?)?;
            is(line, end + 3, b'.').then_some((Date::Days(day), Needs::Nothing, year_at + 4))
        }
        (1 | 2, Some(separator)) => {
            day_first(line, at, number, separator).or_else(|| numbers(line, at, number, separator))
        }
        (6, Some(b' ')) => short_year(line, [at, at + 2, at + 4], end),
        (8, Some(_)) => {
            let day = days(digits(line, at, 4)?, digits(line, at + 4, 2)?, digits(line, at + 6, 2)?)?;
            Some((Date::Days(day), Needs::Compact, end))
        }
        _ => None,
    }
}

/// `Nov 28`, `Nov  8`, `Nov 28 2026`, `Nov 28, 2026`
fn month_first(line: &[u8], at: usize) -> Option<(Date, Needs, usize)> {
    let month = month(line, at)?;
    if !is(line, at + 3, b' ') {
        return None;
    }
    let day_at = if is(line, at + 4, b' ') { at + 5 } else { at + 4 };
    let end = day_at + run(line, day_at).min(3);
    let day = digits(line, day_at, (end - day_at).min(2))?;
    let year_at = if is(line, end, b',') { end + 2 } else { end + 1 };
    if is(line, year_at - 1, b' ')
        && run(line, year_at) == 4
        && let Some(year) = digits(line, year_at, 4)
    {
        return Some((Date::Days(days(year, month, day)?), Needs::Nothing, year_at + 4));
    }
    month_day(month, day, end)
}

/// The 29th of February is a day of some years: 2000 was one.
fn month_day(month: i64, day: i64, end: usize) -> Option<(Date, Needs, usize)> {
    days(2000, month, day).map(|_| (Date::MonthDay(month, day), Needs::Nothing, end))
}

/// `2026-11-28`, `2026.11.28`, `2026 Nov 28`
fn year_first(line: &[u8], at: usize, separator: u8) -> Option<(Date, Needs, usize)> {
    let year = digits(line, at, 4)?;
    let (month, end) = match month(line, at + 5) {
        Some(month) if b" -/".contains(&separator) => (month, at + 8),
        _ if b"-/.".contains(&separator) => (digits(line, at + 5, 2)?, at + 7),
        _ => return None,
    };
    let day_at = if is(line, end + 1, b' ') { end + 2 } else { end + 1 };
    let day_end = day_at + run(line, day_at);
    let day = days(year, month, digits(line, day_at, (day_end - day_at).min(2))?)?;
    (is(line, end, separator) && day_end - day_at <= 2).then_some((Date::Days(day), Needs::Nothing, day_end))
}

/// `28 Nov 2026`, `28-Nov-2026`, `28/Nov/2026`, `28 Nov`
fn day_first(line: &[u8], at: usize, number: usize, separator: u8) -> Option<(Date, Needs, usize)> {
    let day = digits(line, at, number)?;
    let month_at = at + number + 1;
    let month = month(line, month_at).filter(|_| b" -/".contains(&separator))?;
    let year_at = month_at + 4;
    if is(line, year_at - 1, separator) && run(line, year_at) == 4 {
        let day = days(digits(line, year_at, 4)?, month, day)?;
        return Some((Date::Days(day), Needs::Nothing, year_at + 4));
    }
    if separator == b' ' { month_day(month, day, year_at - 1) } else { None }
}

/// `11/28/2026` with AM or PM, `26/11/28`, `11-28` with milliseconds
fn numbers(line: &[u8], at: usize, number: usize, separator: u8) -> Option<(Date, Needs, usize)> {
    let (first, second_at) = (digits(line, at, number)?, at + number + 1);
    let len = run(line, second_at);
    if !(1..=2).contains(&len) {
        return None;
    }
    let (second, end) = (digits(line, second_at, len)?, second_at + len);
    if separator == b'-' && number == 2 && is(line, end, b' ') {
        let (date, _, end) = month_day(first, second, end)?;
        return Some((date, Needs::Millis, end));
    }
    if separator != b'/' || !is(line, end, b'/') {
        return None;
    }
    match run(line, end + 1) {
        4 => {
            let day = days(digits(line, end + 1, 4)?, first, second)?;
            Some((Date::Days(day), Needs::Half, end + 5))
        }
        2 if number == 2 && len == 2 => short_year(line, [at, second_at, end + 1], end + 3),
        _ => None,
    }
}

/// Two digits each at these places.
fn short_year(line: &[u8], [year, month, day]: [usize; 3], end: usize) -> Option<(Date, Needs, usize)> {
    let day = days(2000 + digits(line, year, 2)?, digits(line, month, 2)?, digits(line, day, 2)?)?;
    Some((Date::ShortYear(day), Needs::Nothing, end))
}

/// What stands between day and time.
fn behind_separator(line: &[u8], at: usize) -> Option<usize> {
    let rest = line.get(at..)?;
    for separator in [&b" - "[..], b", ", b"][", b"::"] {
        if rest.starts_with(separator) {
            return Some(at + separator.len());
        }
    }
    matches!(rest.first()?, b'T' | b't' | b' ' | b'_' | b':' | b'\t').then_some(at + 1)
}

/// `10:00:00`, `1:00:00`, ` 1:00:00`, ` 10:00:00`
fn hours(line: &[u8], at: usize) -> Option<(i64, usize)> {
    let at = if is(line, at, b' ') { at + 1 } else { at };
    if let Some(second) = clock(line, at) {
        return Some((second, at + 8));
    }
    let second = at.checked_sub(1).filter(|_| run(line, at) == 1).and_then(|_| {
        let (hour, minute, second) = (digits(line, at, 1)?, digits(line, at + 2, 2)?, digits(line, at + 5, 2)?);
        let is_time = is(line, at + 1, b':') && is(line, at + 4, b':') && minute < 60 && second <= 60;
        is_time.then_some(hour * 3600 + minute * 60 + second)
    })?;
    Some((second, at + 7))
}

/// ` AM`, `PM`, behind a space of any kind. `None`: there is no such time.
fn half_of_day(line: &[u8], at: usize, second: i64) -> Option<(i64, bool, usize)> {
    let rest = line.get(at..).unwrap_or_default();
    let spaces: [&[u8]; 3] = ["\u{202f}".as_bytes(), "\u{a0}".as_bytes(), b" "];
    let space = spaces.iter().find(|space| rest.starts_with(space)).map_or(0, |space| space.len());
    let half_at = at + space;
    let is_pm = match line.get(half_at..half_at + 2) {
        Some([b'A' | b'a', b'M' | b'm']) => false,
        Some([b'P' | b'p', b'M' | b'm']) => true,
        _ => return Some((second, false, at)),
    };
    if !is_end(line, half_at + 2) {
        return Some((second, false, at));
    }
    let hour = second / 3600;
    let noon = if is_pm { 12 * 3600 } else { 0 };
    (1..=12).contains(&hour).then_some((second % (12 * 3600) + noon, true, half_at + 2))
}

/// `Z`, `+01:00`, `+0100`, `+01`; behind a space also ` UTC`, ` CET`, ` Europe/Berlin`, ` GMT+0100`.
fn zone(line: &[u8], at: usize) -> (Zone<'_>, usize) {
    match line.get(at) {
        Some(b'Z' | b'z') => (Zone::Offset(0), at + 1),
        Some(b'+' | b'-') => match signed_offset(line, at) {
            Some((offset, end)) if is_end(line, end) => (Zone::Offset(offset), end),
            _ => (Zone::Local, at),
        },
        Some(b' ') => zone_behind_space(line, at + 1).unwrap_or((Zone::Local, at)),
        _ => (Zone::Local, at),
    }
}

fn zone_behind_space(line: &[u8], at: usize) -> Option<(Zone<'_>, usize)> {
    if let Some(end) = zones::name_end(line, at) {
        let name = &line[at..end];
        if matches!(name, b"GMT" | b"UTC")
            && let Some((offset, end)) = signed_offset(line, end).filter(|(_, end)| is_end(line, *end))
        {
            return Some((Zone::Offset(offset), end));
        }
        return Some((Zone::Named(name), end));
    }
    // Two digits behind a space and a sign may be anything.
    let (offset, end) = signed_offset(line, at)?;
    (end >= at + 5 && is_end(line, end)).then_some((Zone::Offset(offset), end))
}

fn signed_offset(line: &[u8], at: usize) -> Option<(i64, usize)> {
    let sign = match line.get(at)? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let hours = digits(line, at + 1, 2)?;
    let minutes_at = if is(line, at + 3, b':') { at + 4 } else { at + 3 };
    let (minutes, end) = digits(line, minutes_at, 2).map_or((0, at + 3), |minutes| (minutes, minutes_at + 2));
    (hours < 24 && minutes < 60).then_some((sign * (hours * 3600 + minutes * 60), end))
}

/// ` 2026` behind time and zone, or ` +03 2026`. Without it the day stays of some year.
fn year_behind<'a>(line: &'a [u8], at: usize, month: i64, day: i64, zone: Zone<'a>) -> Option<(Date, Zone<'a>, usize)> {
    let numeric = signed_offset(line, at + 1).filter(|_| zone == Zone::Local && is(line, at, b' '));
    for (zone, at) in numeric.map(|(offset, end)| (Zone::Offset(offset), end)).into_iter().chain([(zone, at)]) {
        if is(line, at, b' ') && run(line, at + 1) == 4 && is_end(line, at + 5) {
            let year = digits(line, at + 1, 4)?;
            // Any number may follow a time of syslog.
            if (1970..=2100).contains(&year) {
                return Some((Date::Days(days(year, month, day)?), zone, at + 5));
            }
        }
    }
    Some((Date::MonthDay(month, day), zone, at))
}
