//! A day of the calendar, a time of day, or both, in a zone or with an offset.

use std::ops::RangeInclusive;
use std::str::FromStr;

use jiff::civil::{Date, Time, Weekday};
use jiff::tz::{Offset, TimeZone};
use jiff::{Timestamp, ToSpan as _, Zoned};

use super::number::{billionths, split_while, too_long};

/// `[WEEKDAY] DATE`, `TIME`, or both, and an offset.
pub(super) fn calendar(text: &str, now: &Zoned, has_zone: bool) -> Result<Option<Timestamp>, String> {
    if text == "now" {
        return Ok(Some(now.timestamp()));
    }
    let (weekday, rest) = weekday(text);
    let (day, rest) = day(rest)?;
    let (time, rest) = time_of_day(rest, day.is_some())?;
    let (offset, rest) = offset(rest);
    if !rest.is_empty() || (day.is_none() && (time.is_none() || weekday.is_some())) {
        return Ok(None);
    }
    if offset.is_some() && has_zone {
        return Err("it names two zones".to_owned());
    }
    let zone = offset.map_or_else(|| now.time_zone().clone(), TimeZone::fixed);
    let date = match day.unwrap_or(Day::FromToday(0)) {
        Day::On(date) => date,
        Day::FromToday(days) => now.with_time_zone(zone.clone()).date().saturating_add(days.days()),
    };
    if let Some(weekday) = weekday.filter(|weekday| *weekday != date.weekday()) {
        return Err(format!("{date} is a {:?}, not a {weekday:?}", date.weekday()));
    }
    let zoned = zone.to_ambiguous_zoned(date.to_datetime(time.unwrap_or_default())).compatible();
    zoned.map(|zoned| Some(zoned.timestamp())).map_err(|_| too_long())
}

/// `Sat` or `Saturday`, and what follows the blanks behind it.
fn weekday(text: &str) -> (Option<Weekday>, &str) {
    use Weekday::{Friday, Monday, Saturday, Sunday, Thursday, Tuesday, Wednesday};
    let (word, rest) = split_while(text, char::is_alphabetic);
    let is_it = |day: &Weekday| {
        let name = format!("{day:?}");
        word.eq_ignore_ascii_case(&name) || word.eq_ignore_ascii_case(&name[..3])
    };
    match [Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, Sunday].into_iter().find(is_it) {
        Some(day) => (Some(day), rest.trim_start_matches(',').trim_start()),
        None => (None, text),
    }
}

#[derive(Clone, Copy)]
enum Day {
    On(Date),
    FromToday(i64),
}

/// `2026-11-28`, `26-11-28`, `today`.
fn day(text: &str) -> Result<(Option<Day>, &str), String> {
    for (word, days) in [("today", 0), ("yesterday", -1), ("tomorrow", 1)] {
        if let Some(rest) = text.strip_prefix(word) {
            return Ok((Some(Day::FromToday(days)), rest));
        }
    }
    let Some((year, month, day, rest)) = date_numbers(text) else { return Ok((None, text)) };
    match Date::new(year, month, day) {
        Ok(date) => Ok((Some(Day::On(date)), rest)),
        Err(_) => Err(format!("the calendar has no day {year:04}-{month:02}-{day:02}")),
    }
}

/// Year, month, day, and the rest. A year of two digits lies from 1969 to 2068, as for systemd.
fn date_numbers(text: &str) -> Option<(i16, i8, i8, &str)> {
    let (year, rest) = match number::<i16>(text, 4..=4) {
        Some(found) => found,
        None => number::<i16>(text, 2..=2).map(|(year, rest)| (year + if year < 69 { 2000 } else { 1900 }, rest))?,
    };
    let (month, rest) = number(rest.strip_prefix('-')?, 1..=2)?;
    let (day, rest) = number(rest.strip_prefix('-')?, 1..=2)?;
    Some((year, month, day, rest))
}

/// The whole number of so many digits at the beginning, and the rest.
fn number<T: FromStr>(text: &str, digits: RangeInclusive<usize>) -> Option<(T, &str)> {
    let (number, rest) = split_while(text, |c| c.is_ascii_digit());
    let number = Some(number).filter(|number| digits.contains(&number.len()))?;
    Some((number.parse().ok()?, rest))
}

/// `10:00`, `10:00:00`, `10:00:00.5` or `,5`; after a date blanks or a `T` come first.
fn time_of_day(text: &str, follows_date: bool) -> Result<(Option<Time>, &str), String> {
    let digits = match text.strip_prefix(['T', 't', ' ']) {
        Some(rest) if follows_date => rest.trim_start(),
        _ => text,
    };
    let Some((hour, minute, second, ns, rest)) = time_numbers(digits) else { return Ok((None, text)) };
    // In a leap second the clocks show the second before it once more.
    let second = if second == 60 { 59 } else { second };
    match Time::new(hour, minute, second, ns) {
        Ok(time) => Ok((Some(time), rest)),
        Err(_) => Err("a day goes from 00:00:00 to 23:59:59".to_owned()),
    }
}

/// Hour, minute, second, nanosecond, and the rest.
fn time_numbers(text: &str) -> Option<(i8, i8, i8, i32, &str)> {
    let (hour, rest) = number(text, 1..=2)?;
    let (minute, rest) = number(rest.strip_prefix(':')?, 2..=2)?;
    let Some(seconds) = rest.strip_prefix(':') else { return Some((hour, minute, 0, 0, rest)) };
    let (second, rest) = number(seconds, 2..=2)?;
    let Some(fraction) = rest.strip_prefix(['.', ',']) else { return Some((hour, minute, second, 0, rest)) };
    let (digits, rest) = split_while(fraction, |c| c.is_ascii_digit());
    Some((hour, minute, second, billionths(digits)?, rest))
}

/// `Z`, `+01:00`, `+0100`, `+01`, after blanks or none.
fn offset(text: &str) -> (Option<Offset>, &str) {
    offset_numbers(text.trim_start()).map_or((None, text), |(offset, rest)| (Some(offset), rest))
}

fn offset_numbers(text: &str) -> Option<(Offset, &str)> {
    if let Some(rest) = text.strip_prefix(['Z', 'z']) {
        return Some((Offset::UTC, rest));
    }
    let digits = text.strip_prefix(['+', '-'])?;
    let (hours, minutes, rest) = if let Some((both, rest)) = number::<i32>(digits, 4..=4) {
        (both / 100, both % 100, rest)
    } else {
        let (hours, rest) = number(digits, 2..=2)?;
        let (minutes, rest) = rest.strip_prefix(':').map_or(Some((0, rest)), |rest| number(rest, 2..=2))?;
        (hours, minutes, rest)
    };
    let seconds = Some(hours * 3600 + minutes * 60).filter(|_| minutes < 60)?;
    Some((Offset::from_seconds(if text.starts_with('-') { -seconds } else { seconds }).ok()?, rest))
}
