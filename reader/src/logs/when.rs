//! A moment as people type it: the forms that journalctl, docker and kubectl accept, read in the zone of `now`.
//!
//! ```text
//! 2026-11-28T10:00:00+01:00             RFC 3339
//! 2026-11-28, "2026-11-28 10:00:00.5"   a date, or a date and a time
//! 10:00                                 that time today
//! today, yesterday, tomorrow, now       the midnight of a day, this moment; also "yesterday 10:00"
//! -1h, +5min                            before now, after now
//! 1h30m, 2 hours, 2 hours ago           before now
//! @1795255200.5                         seconds since 1970
//! ```
//! A zone may follow any of them: `UTC` or a name such as `Europe/Berlin`; an offset may follow a date or a time of day.
//! Days, weeks, months and years are those of the calendar in that zone. A time of day that the clocks show twice is the
//! first of the two; one that they skip is as much later as they skip.
//!
//! Sources: `systemd.time(7)`; docker's `GetTimestamp`; Go's `time.ParseDuration`.

mod calendar;
mod length;
mod number;

use std::ops::RangeInclusive;

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use calendar::calendar;
use length::relative;
use number::Number;

const ACCEPTED: &str = "2026-11-28, \"2026-11-28 10:00\", 10:00, today, yesterday, -1h, 1h30m, \"2 hours ago\", \
                        @1795255200 or 2026-11-28T10:00:00Z";

/// From so many digits on a bare number is seconds since 1970, as docker takes it; a shorter one lacks its unit.
const EPOCH_DIGITS_MIN: usize = 9;

const SECOND_NS: i64 = 1_000_000_000;
const DAY_NS: i64 = 86_400 * SECOND_NS;

/// From when to when, as `--since` and `--until` say it at `now`; without them from the first moment to the last.
///
/// # Errors
/// A sentence with the option, and what is accepted.
pub fn range(since: Option<&str>, until: Option<&str>, now: &Zoned) -> Result<RangeInclusive<i64>, String> {
    let time = |text: Option<&str>, option: &str| {
        text.map(|text| parse(text, now)).transpose().map_err(|why| format!("{option}: {why}"))
    };
    let (since, until) = (time(since, "--since")?, time(until, "--until")?);
    let range = since.unwrap_or(i64::MIN)..=until.unwrap_or(i64::MAX);
    if range.is_empty() {
        return Err("--since is later than --until, so no line can be in between".to_owned());
    }
    Ok(range)
}

/// What `text` means at `now`, nanoseconds since the epoch. What lies before 1677 or after 2262 is the first or the last
/// moment that can be told: no line arrived beyond it.
///
/// # Errors
/// A sentence with what is accepted.
pub fn parse(text: &str, now: &Zoned) -> Result<i64, String> {
    let refused = |why: &str| format!("`{}` is not a time: {why}write {ACCEPTED}", text.escape_debug());
    match moment(text.trim(), now) {
        Ok(Some(time)) => {
            let ns = time.as_nanosecond();
            Ok(i64::try_from(ns).unwrap_or(if ns < 0 { i64::MIN } else { i64::MAX }))
        }
        Ok(None) => Err(refused("")),
        Err(why) => Err(refused(&format!("{why}; "))),
    }
}

/// `None`: it looks like none of the forms. An error: like one of them, but for this.
fn moment(text: &str, now: &Zoned) -> Result<Option<Timestamp>, String> {
    let (text, zone) = split_zone(text)?;
    let now = zone.as_ref().map_or_else(|| now.clone(), |zone| now.with_time_zone(zone.clone()));
    if let Some(time) = since_epoch(text)? {
        return Ok(Some(time));
    }
    match relative(text, &now)? {
        Some(time) => Ok(Some(time)),
        None => calendar(text, &now, zone.is_some()),
    }
}

/// The zone that a last word names, and the text before it.
fn split_zone(text: &str) -> Result<(&str, Option<TimeZone>), String> {
    let Some((before, name)) = text.rsplit_once(char::is_whitespace) else { return Ok((text, None)) };
    match TimeZone::get(name) {
        Ok(zone) => Ok((before.trim_end(), Some(zone))),
        Err(_) if name.contains('/') => Err(format!("there is no time zone {} here", name.escape_debug())),
        Err(_) => Ok((text, None)),
    }
}

/// `@1795255200.5`, `1795255200`.
fn since_epoch(text: &str) -> Result<Option<Timestamp>, String> {
    let marked = text.strip_prefix('@');
    let (is_negative, number) = match marked.and_then(|number| number.strip_prefix('-')) {
        Some(number) => (true, number),
        None => (false, marked.unwrap_or(text)),
    };
    let Some(number) = Number::of(number).filter(|number| marked.is_some() || number.digits >= EPOCH_DIGITS_MIN) else {
        return Ok(None);
    };
    let ns = number.whole.map(|whole| i128::from(whole) * i128::from(SECOND_NS) + number.fraction_of(SECOND_NS));
    let time = ns.and_then(|ns| Timestamp::from_nanosecond(if is_negative { -ns } else { ns }).ok());
    time.ok_or_else(|| "that many seconds since 1970 is beyond the year 9999".to_owned()).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(now: &str) -> Zoned {
        now.parse().unwrap()
    }

    fn berlin() -> Zoned {
        at("2026-11-28T12:34:56.789+01:00[Europe/Berlin]")
    }

    /// Each text at `now`, against what it means as RFC 3339.
    fn check(now: &Zoned, cases: &[(&str, &str)]) {
        for (text, expected) in cases {
            let expected: Timestamp = expected.parse().unwrap();
            let found = parse(text, now).map(|ns| Timestamp::from_nanosecond(ns.into()).unwrap());
            assert_eq!(found, Ok(expected), "{text} at {now}");
        }
    }

    #[test]
    fn dates_and_times_are_those_of_the_zone() {
        check(
            &berlin(),
            &[
                ("2026-11-28T10:00:00Z", "2026-11-28T10:00:00Z"),
                ("2026-11-28t10:00:00z", "2026-11-28T10:00:00Z"),
                ("2026-11-28T10:00:00+05:30", "2026-11-28T04:30:00Z"),
                ("2026-11-28T10:00:00.123456789-0800", "2026-11-28T18:00:00.123456789Z"),
                ("2026-11-28T10:00:00.1234567899Z", "2026-11-28T10:00:00.123456789Z"),
                ("2026-11-28T10:00:00,5+01", "2026-11-28T09:00:00.5Z"),
                ("2026-11-28T10:00Z", "2026-11-28T10:00:00Z"),
                ("2026-11-28T10:00:00", "2026-11-28T09:00:00Z"),
                ("2026-11-28T10:00", "2026-11-28T09:00:00Z"),
                ("2026-11-28 10:00", "2026-11-28T09:00:00Z"),
                ("2026-11-28 10:00:00", "2026-11-28T09:00:00Z"),
                ("2026-11-28 10:00:00.123", "2026-11-28T09:00:00.123Z"),
                ("2026-11-28  10:00:00 +0000", "2026-11-28T10:00:00Z"),
                ("2026-11-28 10:00:00 -01:30", "2026-11-28T11:30:00Z"),
                ("2026-11-28 10:00 UTC", "2026-11-28T10:00:00Z"),
                ("2026-11-28 10:00:00 America/New_York", "2026-11-28T15:00:00Z"),
                ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59Z"),
                ("2026-11-28", "2026-11-27T23:00:00Z"),
                ("2026-11-28 UTC", "2026-11-28T00:00:00Z"),
                ("2026-11-28Z", "2026-11-28T00:00:00Z"),
                ("2026-11-28+01:00", "2026-11-27T23:00:00Z"),
                ("2026-7-1", "2026-06-30T22:00:00Z"),
                ("26-11-28", "2026-11-27T23:00:00Z"),
                ("70-01-02 00:00 UTC", "1970-01-02T00:00:00Z"),
                ("Sat 2026-11-28 10:00:00", "2026-11-28T09:00:00Z"),
                ("saturday, 2026-11-28", "2026-11-27T23:00:00Z"),
                ("  2026-11-28\n", "2026-11-27T23:00:00Z"),
            ],
        );
    }

    #[test]
    fn a_time_alone_and_a_word_are_counted_from_today() {
        let cases = [
            ("10:00", "2026-11-28T09:00:00Z"),
            ("9:05", "2026-11-28T08:05:00Z"),
            ("23:59:59.999", "2026-11-28T22:59:59.999Z"),
            ("10:00 UTC", "2026-11-28T10:00:00Z"),
            ("10:00Z", "2026-11-28T10:00:00Z"),
            ("10:00-05:00", "2026-11-28T15:00:00Z"),
            ("now", "2026-11-28T11:34:56.789Z"),
            ("now UTC", "2026-11-28T11:34:56.789Z"),
            ("today", "2026-11-27T23:00:00Z"),
            ("today UTC", "2026-11-28T00:00:00Z"),
            ("yesterday", "2026-11-26T23:00:00Z"),
            ("tomorrow", "2026-11-28T23:00:00Z"),
            ("tomorrow Pacific/Auckland", "2026-11-29T11:00:00Z"),
            ("yesterday 23:00", "2026-11-27T22:00:00Z"),
            ("today 06:30:00", "2026-11-28T05:30:00Z"),
        ];
        check(&berlin(), &cases);
        // The day is that of the zone, not of UTC.
        check(
            &at("2026-11-29T00:30:00+01:00[Europe/Berlin]"),
            &[
                ("today", "2026-11-28T23:00:00Z"),
                ("12:00", "2026-11-29T11:00:00Z"),
                ("12:00 UTC", "2026-11-28T12:00:00Z"),
            ],
        );
    }

    #[test]
    fn a_span_is_counted_from_now() {
        check(
            &at("2026-11-28T12:00:00Z[UTC]"),
            &[
                ("-1h", "2026-11-28T11:00:00Z"),
                ("+5min", "2026-11-28T12:05:00Z"),
                ("+3h30min", "2026-11-28T15:30:00Z"),
                ("- 90 s", "2026-11-28T11:58:30Z"),
                ("-5", "2026-11-28T11:59:55Z"),
                ("5 ago", "2026-11-28T11:59:55Z"),
                ("-1h 5", "2026-11-28T10:59:55Z"),
                ("1h30m", "2026-11-28T10:30:00Z"),
                ("1h30m5s", "2026-11-28T10:29:55Z"),
                ("90s", "2026-11-28T11:58:30Z"),
                ("1.5h", "2026-11-28T10:30:00Z"),
                ("0s", "2026-11-28T12:00:00Z"),
                ("300ms", "2026-11-28T11:59:59.7Z"),
                ("5us", "2026-11-28T11:59:59.999995Z"),
                ("5\u{b5}s", "2026-11-28T11:59:59.999995Z"),
                ("5\u{3bc}s", "2026-11-28T11:59:59.999995Z"),
                ("7ns", "2026-11-28T11:59:59.999999993Z"),
                ("55s500ms", "2026-11-28T11:59:04.5Z"),
                ("300ms20s 5day", "2026-11-23T11:59:39.7Z"),
                ("2 hours", "2026-11-28T10:00:00Z"),
                ("2hours", "2026-11-28T10:00:00Z"),
                ("2 Hours Ago", "2026-11-28T10:00:00Z"),
                ("48hr", "2026-11-26T12:00:00Z"),
                ("2 hours ago", "2026-11-28T10:00:00Z"),
                ("1 day 2h ago", "2026-11-27T10:00:00Z"),
                ("11min ago", "2026-11-28T11:49:00Z"),
                ("5min left", "2026-11-28T12:05:00Z"),
                ("2 months 5 days ago", "2026-09-23T12:00:00Z"),
                ("1m", "2026-11-28T11:59:00Z"),
                ("1M", "2026-10-28T12:00:00Z"),
                ("1w", "2026-11-21T12:00:00Z"),
                ("1y 12month", "2024-11-28T12:00:00Z"),
                ("0.5d", "2026-11-28T00:00:00Z"),
                ("1.5M ago", "2026-10-13T06:43:12Z"),
                ("-1d UTC", "2026-11-27T12:00:00Z"),
            ],
        );
    }

    #[test]
    fn seconds_since_1970_need_no_unit_if_there_are_enough() {
        check(
            &berlin(),
            &[
                ("@1795255200", "2026-11-21T10:00:00Z"),
                ("@1795255200.5", "2026-11-21T10:00:00.5Z"),
                ("1795255200", "2026-11-21T10:00:00Z"),
                ("1136073600.000000001", "2006-01-01T00:00:00.000000001Z"),
                ("@0", "1970-01-01T00:00:00Z"),
                ("@5", "1970-01-01T00:00:05Z"),
                ("@-1.5", "1969-12-31T23:59:58.5Z"),
            ],
        );
    }

    #[test]
    fn a_day_is_one_of_the_calendar_and_an_hour_one_of_the_clock() {
        // Clocks went back from 3 to 2 on October 25.
        check(
            &at("2026-10-26T12:00:00+01:00[Europe/Berlin]"),
            &[
                ("1d", "2026-10-25T11:00:00Z"),
                ("24h", "2026-10-25T11:00:00Z"),
                ("2d", "2026-10-24T10:00:00Z"),
                ("48h", "2026-10-24T11:00:00Z"),
                ("1w", "2026-10-19T10:00:00Z"),
                ("2d 1h", "2026-10-24T09:00:00Z"),
            ],
        );
        check(
            &at("2026-10-25T12:00:00+01:00[Europe/Berlin]"),
            &[("today", "2026-10-24T22:00:00Z"), ("tomorrow", "2026-10-25T23:00:00Z")],
        );
        // They went ahead from 2 to 3 on March 29.
        check(
            &at("2026-03-30T02:30:00+02:00[Europe/Berlin]"),
            &[
                ("-1d", "2026-03-29T01:30:00Z"),
                ("-24h", "2026-03-29T00:30:00Z"),
                ("yesterday", "2026-03-28T23:00:00Z"),
                ("today", "2026-03-29T22:00:00Z"),
            ],
        );
    }

    #[test]
    fn a_time_shown_twice_is_the_first_and_one_never_shown_is_moved_on() {
        check(
            &berlin(),
            &[
                ("2026-10-25 02:30", "2026-10-25T00:30:00Z"),
                ("2026-10-25T02:30:00+01:00", "2026-10-25T01:30:00Z"),
                ("2026-03-29 02:30", "2026-03-29T01:30:00Z"),
            ],
        );
        let zones = [
            ("2026-03-08 02:30 America/New_York", "2026-03-08T07:30:00Z"),
            ("2026-11-01 01:30 America/New_York", "2026-11-01T05:30:00Z"),
            // Half an hour.
            ("2026-04-05 01:45 Australia/Lord_Howe", "2026-04-04T14:45:00Z"),
            ("2026-10-04 02:10 Australia/Lord_Howe", "2026-10-03T15:40:00Z"),
            // Midnight itself is skipped, or comes twice, or a whole day is missing.
            ("2026-04-24 Africa/Cairo", "2026-04-23T22:00:00Z"),
            ("2026-11-01 America/Havana", "2026-11-01T04:00:00Z"),
            ("2011-12-30 Pacific/Apia", "2011-12-30T10:00:00Z"),
        ];
        check(&berlin(), &zones);
    }

    #[test]
    fn a_month_back_from_a_long_one_ends_on_its_last_day() {
        check(
            &at("2026-03-31T12:00:00Z[UTC]"),
            &[
                ("1 month ago", "2026-02-28T12:00:00Z"),
                ("-1M 1d", "2026-02-27T12:00:00Z"),
                ("+1month", "2026-04-30T12:00:00Z"),
                ("25 months ago", "2024-02-29T12:00:00Z"),
            ],
        );
        check(
            &at("2024-02-29T12:00:00Z[UTC]"),
            &[("1y", "2023-02-28T12:00:00Z"), ("4y", "2020-02-29T12:00:00Z"), ("12M", "2023-02-28T12:00:00Z")],
        );
    }

    #[test]
    fn what_is_too_far_to_be_told_is_before_or_after_every_line() {
        for (text, expected) in [
            ("9999-12-30", i64::MAX),
            ("2263-01-01", i64::MAX),
            ("+5000y", i64::MAX),
            ("@253402207200", i64::MAX),
            ("0000-01-01", i64::MIN),
            ("1000-01-01 00:00 UTC", i64::MIN),
            ("2000 years ago", i64::MIN),
            ("-1000y", i64::MIN),
        ] {
            assert_eq!(parse(text, &berlin()), Ok(expected), "{text}");
        }
        check(
            &berlin(),
            &[
                ("2262-04-11T23:47:16.854775807Z", "2262-04-11T23:47:16.854775807Z"),
                ("1700-03-01 UTC", "1700-03-01T00:00:00Z"),
            ],
        );
    }

    #[test]
    fn nonsense_is_refused_with_what_is_accepted() {
        for text in [
            "",
            " ",
            "x",
            "-",
            "+",
            "@",
            "ago",
            " ago",
            "-ago",
            "left",
            "T",
            "Z",
            "UTC",
            "today yesterday",
            "nowish",
            "todayx",
            "2026",
            "2026-11",
            "2026-11-28T",
            "2026-11-28T10",
            "2026-11-28 10",
            "2026-11-28x",
            "2026-11-28 10:00x",
            "2026-11-28T10:00:00+1",
            "2026-11-28 10:00:0",
            "10:",
            "10:0",
            "10:00:",
            "10:00:00.",
            ":30",
            "-10:00",
            "-1h ago",
            "+1h left",
            "--1h",
            "+-1h",
            "1h-30m",
            "1h,30m",
            "1..5h",
            ".5h",
            "5.h",
            "@1.",
            "@1.x",
            "@x",
            "@1h",
            "@ 5",
            "2026/11/28",
            "28.11.2026",
            "11/28/2026",
            "20261128T100000Z",
            "Sat",
            "Sat 10:00",
            "Sat today x",
            "Xyz 2026-11-28",
            "2026-11-28T10:00:00Z+01:00",
            "10:00 + 1h",
            "\u{0661}h",
            "2026\u{2010}11\u{2010}28",
            "12026-11-28",
            "a minute ago",
        ] {
            let refusal = parse(text, &berlin()).unwrap_err();
            assert!(refusal.contains("is not a time: ") && refusal.ends_with(ACCEPTED), "{text}: {refusal}");
        }
    }

    #[test]
    fn what_is_nearly_a_time_is_told_why_it_is_none() {
        for (text, why) in [
            ("2026-02-29", "the calendar has no day 2026-02-29; write"),
            ("2026-13-01", "no day 2026-13-01"),
            ("2026-00-10 10:00", "no day 2026-00-10"),
            ("2026-11-31T00:00:00Z", "no day 2026-11-31"),
            ("24:00", "from 00:00:00 to 23:59:59"),
            ("2026-11-28 10:60", "from 00:00:00 to 23:59:59"),
            ("10:00:61", "from 00:00:00 to 23:59:59"),
            ("Fri 2026-11-28", "2026-11-28 is a Saturday, not a Friday"),
            ("5", "5 has no unit: write 5m or 5h"),
            ("1h 30", "30 has no unit"),
            ("20261128", "20261128 has no unit"),
            ("5 fortnights ago", "`fortnights` is not a unit (ns, us, ms, s, m, h, d, w, M for months, y)"),
            ("1H30", "`H` is not a unit"),
            ("10:00 Mars/Phobos", "no time zone Mars/Phobos"),
            ("2026-11-28T10:00:00Z Europe/Berlin", "it names two zones"),
            ("@1795255200123", "seconds since 1970"),
            ("1795255200123", "seconds since 1970"),
            ("@99999999999999999999", "seconds since 1970"),
            ("-99999999999999999999h", "beyond the year 9999"),
            ("+9999y", "beyond the year 9999"),
            ("\u{1b}[31mx", "`\\u{1b}[31mx` is not a time"),
        ] {
            let refusal = parse(text, &berlin()).unwrap_err();
            assert!(refusal.contains(why) && refusal.ends_with(ACCEPTED), "{text}: {refusal}");
        }
    }
}
