//! A length of time from now, back or ahead: `-1h`, `1h30m`, `2 hours ago`.

use jiff::{Span, Timestamp, Zoned};

use super::number::{Number, split_while, too_long};
use super::{DAY_NS, SECOND_NS};

/// `-1h`, `+5min`, `1h30m`, `2 hours ago`, `5min left`.
pub(super) fn relative(text: &str, now: &Zoned) -> Result<Option<Timestamp>, String> {
    let before_word = |word| {
        let (span, last) = text.rsplit_once(char::is_whitespace)?;
        last.eq_ignore_ascii_case(word).then_some(span)
    };
    let ahead = text.strip_prefix('+').or_else(|| before_word("left"));
    let back = text.strip_prefix('-').or_else(|| before_word("ago"));
    let marked = ahead.or(back);
    let Some(length) = Length::read(marked.unwrap_or(text), marked.is_some())? else { return Ok(None) };
    length.away_from(now, ahead.is_some()).ok_or_else(too_long).map(Some)
}

/// Units by every name that systemd.time and Go have for them.
const UNITS: [(Unit, &[&str]); 10] = [
    (Unit::Ns(1), &["ns", "nsec", "nsecs", "nanosecond", "nanoseconds"]),
    (Unit::Ns(1000), &["us", "\u{b5}s", "\u{3bc}s", "usec", "usecs", "microsecond", "microseconds"]),
    (Unit::Ns(1_000_000), &["ms", "msec", "msecs", "millisecond", "milliseconds"]),
    (Unit::Ns(SECOND_NS), &["s", "sec", "secs", "second", "seconds"]),
    (Unit::Ns(60 * SECOND_NS), &["m", "min", "mins", "minute", "minutes"]),
    (Unit::Ns(3600 * SECOND_NS), &["h", "hr", "hrs", "hour", "hours"]),
    (Unit::Days(1), &["d", "day", "days"]),
    (Unit::Days(7), &["w", "week", "weeks"]),
    (Unit::Months(1), &["M", "month", "months"]),
    (Unit::Months(12), &["y", "year", "years"]),
];

/// A unit of a length, and how many of what it is.
#[derive(Clone, Copy)]
enum Unit {
    Ns(i64),
    Days(i64),
    Months(i64),
}

impl Unit {
    /// A word counts in upper case as well, a letter only as it stands: `m` and `M` are two units.
    fn named(name: &str) -> Result<Unit, String> {
        let is_it = |known: &&str| *known == name || (known.len() > 1 && known.eq_ignore_ascii_case(name));
        let found = UNITS.iter().find(|(_, names)| names.iter().any(is_it)).map(|(unit, _)| *unit);
        found.ok_or_else(|| format!("`{name}` is not a unit (ns, us, ms, s, m, h, d, w, M for months, y)"))
    }

    /// What a fraction is a fraction of. The mean month and year are those of systemd.time.
    fn ns(self) -> i64 {
        match self {
            Unit::Ns(ns) => ns,
            Unit::Days(days) => days * DAY_NS,
            Unit::Months(12) => DAY_NS / 100 * 36_525,
            Unit::Months(months) => months * (DAY_NS / 100 * 3044),
        }
    }
}

/// A sum of units. Those of the calendar differ in length, so they are kept apart.
#[derive(Default)]
struct Length {
    months: i64,
    days: i64,
    exact_ns: i128,
}

impl Length {
    /// `None`: it is no length. If it `is_marked` as one, by a sign or a word, its last number may lack the unit and
    /// is seconds then, as for systemd.
    fn read(text: &str, is_marked: bool) -> Result<Option<Length>, String> {
        let mut length = Length::default();
        let mut rest = text.trim();
        loop {
            let (digits, after) = split_while(rest, |c| c.is_ascii_digit() || c == '.');
            let (name, after) = split_while(after.trim_start(), char::is_alphabetic);
            let Some(number) = Number::of(digits) else { return Ok(None) };
            rest = after.trim_start();
            let unit = match name {
                "" if !rest.is_empty() => return Ok(None),
                "" if !is_marked => return Err(format!("{digits} has no unit: write {digits}m or {digits}h")),
                "" => Unit::Ns(SECOND_NS),
                // `28T10:00` and the like are not meant as spans.
                _ if !rest.is_empty() && !rest.starts_with(|c: char| c.is_ascii_digit()) => return Ok(None),
                name => Unit::named(name)?,
            };
            length = length.plus(&number, unit).ok_or_else(too_long)?;
            if rest.is_empty() {
                return Ok(Some(length));
            }
        }
    }

    /// `None`: more than can be counted.
    fn plus(self, number: &Number, unit: Unit) -> Option<Length> {
        let Length { mut months, mut days, mut exact_ns } = self;
        let whole = number.whole?;
        match unit {
            Unit::Ns(each) => exact_ns += i128::from(whole) * i128::from(each),
            Unit::Days(each) => days = days.checked_add(whole.checked_mul(each)?)?,
            Unit::Months(each) => months = months.checked_add(whole.checked_mul(each)?)?,
        }
        exact_ns += number.fraction_of(unit.ns());
        Some(Length { months, days, exact_ns })
    }

    /// `None`: beyond the calendar.
    fn away_from(&self, now: &Zoned, ahead: bool) -> Option<Timestamp> {
        let sign = if ahead { 1 } else { -1 };
        let calendar = Span::new().try_months(sign * self.months).ok()?.try_days(sign * self.days).ok()?;
        let ns = now.checked_add(calendar).ok()?.timestamp().as_nanosecond() + i128::from(sign) * self.exact_ns;
        Timestamp::from_nanosecond(ns).ok()
    }
}
