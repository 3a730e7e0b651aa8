//! The time of a line that has keys: JSON, logfmt. It stays where it is, for what is left would be no such line.

use super::calendar::{Date, Written, Zone, iso8601, written};
use super::forms::number;
use super::scan::Fraction;
use crate::out::fields::{Field, fields, members};

/// What a time is called, most usual first.
const NAMES: [&str; 10] =
    ["time", "ts", "timestamp", "@timestamp", "t", "@t", "datetime", "asctime", "eventtime", "instant"];

/// What it is called where it has none of these names.
const OTHER_NAMES: [&str; 15] = [
    "date",
    "_time",
    "dt",
    "timemillis",
    "time_local",
    "time_iso8601",
    "__realtime_timestamp",
    "timeunixnano",
    "log_time",
    "logtime",
    "event_time",
    "start_time",
    "created_at",
    "msec",
    "when",
];

pub(super) fn find(line: &[u8], at: usize) -> Option<Written<'_>> {
    let mut other = None;
    for field in fields(&line[at..]) {
        if field.is_called(&NAMES) {
            if let Some(stamp) = stamp(field) {
                return Some(stamp);
            }
        } else if other.is_none() && field.is_called(&OTHER_NAMES) {
            other = stamp(field);
        }
    }
    other
}

/// What a value says, if that is a time and nothing else.
fn stamp(field: Field<'_>) -> Option<Written<'_>> {
    let value = field.value;
    if value.starts_with(b"{") && !field.is_quoted {
        // MongoDB: `{"$date":…}`, in which a number may be `{"$numberLong":"…"}`; log4j: `{"epochSecond":…,
        // "nanoOfSecond":…}`; Google's: `{"seconds":…,"nanos":…}`.
        let inner = |names: &[&str]| members(value).find(|inner| inner.is_called(names));
        let whole = inner(&["$date", "$numberlong", "epochsecond", "seconds"]).and_then(stamp)?;
        let nanos = inner(&["nanoofsecond", "nanos"]).and_then(|nanos| str::from_utf8(nanos.value).ok()?.parse().ok());
        let fraction =
            nanos.filter(|nanos| (0..1_000_000_000).contains(nanos)).map(|nanos| Fraction { nanos, digits: 9 });
        return Some(Written { fraction: fraction.unwrap_or(whole.fraction), ..whole });
    }
    let stamp = number(value, 0).or_else(|| iso8601(value, 0)).or_else(|| written(value, 0));
    let stamp = stamp.filter(|stamp| stamp.end == value.len()).or_else(|| exponent(value))?;
    Some(Written { start: 0, end: 0, ..stamp })
}

/// `1.795860000123e9`
fn exponent(value: &[u8]) -> Option<Written<'_>> {
    if !value.iter().any(|byte| matches!(byte, b'e' | b'E')) {
        return None;
    }
    let seconds: f64 = str::from_utf8(value).ok()?.parse().ok()?;
    let micros = (seconds * 1e6).round() as i64;
    let (second, micros) = (micros.div_euclid(1_000_000), micros.rem_euclid(1_000_000));
    let fraction = Fraction { nanos: micros * 1000, digits: 6 };
    let is_time = (1_262_304_000..3_000_000_000).contains(&second);
    is_time.then_some(Written { date: Date::Days(0), second, fraction, zone: Zone::Offset(0), start: 0, end: 0 })
}
