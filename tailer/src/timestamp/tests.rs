use super::*;

/// 2026-11-21T10:00:00Z
const NOW: &str = "2026-11-21T10:00:00Z";

fn ns(time: &str) -> i64 {
    time.parse::<jiff::Timestamp>().unwrap().as_nanosecond() as i64
}

/// What is taken out of a line, and the time it says, in Berlin.
fn found<'a>(format: &str, line: &'a str, read: &str) -> Option<(&'a str, String)> {
    let mut parser = Parser::new(format.parse().unwrap(), TimeZone::get("Europe/Berlin").unwrap());
    // The second look goes the fast way.
    let first = parser.find(line.as_bytes(), ns(read));
    assert_eq!(parser.find(line.as_bytes(), ns(read)), first);
    let found = first?;
    let time = jiff::Timestamp::from_nanosecond(found.time.ns.into()).unwrap();
    Some((&line[found.start..found.end], time.to_string()))
}

#[track_caller]
fn check(format: &str, table: &[(&str, &str, &str)]) {
    for (line, taken, time) in table {
        let expected = (!taken.is_empty()).then(|| (*taken, (*time).to_string()));
        assert_eq!(found(format, line, NOW), expected, "{line} as {format}");
        if !format.contains('%') {
            assert_eq!(found("auto", line, NOW), expected, "{line} as auto");
        }
    }
}

#[test]
fn iso_8601_in_every_spelling() {
    check(
        "iso8601",
        &[
            ("2026-11-21T10:00:00Z x", "2026-11-21T10:00:00Z", "2026-11-21T10:00:00Z"),
            ("2026-11-21T10:00:00.123456789Z x", "2026-11-21T10:00:00.123456789Z", "2026-11-21T10:00:00.123456789Z"),
            ("2026-11-21T10:00:00.1234567891Z", "2026-11-21T10:00:00.1234567891Z", "2026-11-21T10:00:00.123456789Z"),
            ("2026-11-21 10:00:00,5 x", "2026-11-21 10:00:00,5", "2026-11-21T09:00:00.5Z"),
            ("2026-07-21 10:00:00 x", "2026-07-21 10:00:00", "2026-07-21T08:00:00Z"),
            ("2026-11-21T10:00:00-03:30: x", "2026-11-21T10:00:00-03:30", "2026-11-21T13:30:00Z"),
            ("2026-11-21T10:00:00+0200 x", "2026-11-21T10:00:00+0200", "2026-11-21T08:00:00Z"),
            ("2026-11-21 10:00:00+02 x", "2026-11-21 10:00:00+02", "2026-11-21T08:00:00Z"),
            ("2026-11-21 10:00:00 +0200 x", "2026-11-21 10:00:00 +0200", "2026-11-21T08:00:00Z"),
            ("2026-11-21 10:00:00.25 UTC x", "2026-11-21 10:00:00.25 UTC", "2026-11-21T10:00:00.25Z"),
            ("2026-11-21 10:00:00 -12 x", "2026-11-21 10:00:00", "2026-11-21T09:00:00Z"),
            ("2026-11-21 10:00:00, x", "2026-11-21 10:00:00", "2026-11-21T09:00:00Z"),
            ("2026/11/21 10:00:00 [error]", "2026/11/21 10:00:00", "2026-11-21T09:00:00Z"),
            ("[2026-11-21T10:00:00Z] x", "[2026-11-21T10:00:00Z]", "2026-11-21T10:00:00Z"),
            ("\u{feff}2026-11-21T10:00:00Z x", "2026-11-21T10:00:00Z", "2026-11-21T10:00:00Z"),
            ("2026-12-31T23:59:60Z", "2026-12-31T23:59:60Z", "2027-01-01T00:00:00Z"),
            ("2024-02-29T00:00:00Z", "2024-02-29T00:00:00Z", "2024-02-29T00:00:00Z"),
            ("1969-12-31T23:59:59.5Z", "1969-12-31T23:59:59.5Z", "1969-12-31T23:59:59.5Z"),
            ("2026-02-29T00:00:00Z", "", ""),
            ("2026-13-01T00:00:00Z", "", ""),
            ("2026-11-21T24:00:00Z", "", ""),
            ("2026-11-21T10:00:00Zulu", "", ""),
            ("2026-11-21T10:00:0", "", ""),
            ("2026-11/21T10:00:00Z", "", ""),
            ("[2026-11-21T10:00:00Z x]", "", ""),
            ("9999-11-21T10:00:00Z", "", ""),
            (" 2026-11-21T10:00:00Z", "", ""),
            ("[", "", ""),
            ("", "", ""),
        ],
    );
}

#[test]
fn epoch_in_seconds_and_milliseconds() {
    check(
        "epoch",
        &[
            ("1795255200 x", "1795255200", "2026-11-21T10:00:00Z"),
            ("1795255200.123 x", "1795255200.123", "2026-11-21T10:00:00.123Z"),
            ("[1795255200] x", "[1795255200]", "2026-11-21T10:00:00Z"),
            ("179525520 x", "", ""),
            ("17952552001 x", "", ""),
            ("1795255200s", "", ""),
        ],
    );
    check("epoch_ms", &[("1795255200123 x", "1795255200123", "2026-11-21T10:00:00.123Z"), ("17952552001234", "", "")]);
}

#[test]
fn common_log_format_where_it_stands() {
    check(
        "clf",
        &[
            (
                "127.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] \"GET / HTTP/1.0\" 200",
                "[10/Oct/2000:13:55:36 -0700]",
                "2000-10-10T20:55:36Z",
            ),
            ("::1 - [x] [10/Oct/2000:13:55:36 +0000] x", "[10/Oct/2000:13:55:36 +0000]", "2000-10-10T13:55:36Z"),
            ("[10/Oct/2000:13:55:36] x", "[10/Oct/2000:13:55:36]", "2000-10-10T11:55:36Z"),
            ("x [10/Okt/2000:13:55:36 +0000] x", "", ""),
            ("x [10/Oct/2000:13:55:36 +0000 x", "", ""),
            ("x [10", "", ""),
        ],
    );
    let far = "x".repeat(600) + "[10/Oct/2000:13:55:36 -0700]";
    assert_eq!(found("clf", &far, NOW), None);
}

#[test]
fn syslog_of_both_rfcs_leaves_the_priority_in_the_line() {
    check(
        "rfc3164",
        &[
            ("Nov 21 10:00:00 host app: x", "Nov 21 10:00:00", "2026-11-21T09:00:00Z"),
            ("<34>Nov  1 10:00:00 host", "Nov  1 10:00:00", "2026-11-01T09:00:00Z"),
            ("Nov 1 10:00:00.5 host", "Nov 1 10:00:00.5", "2026-11-01T09:00:00.5Z"),
            ("<>Nov 21 10:00:00", "", ""),
            ("<1234>Nov 21 10:00:00", "", ""),
            ("Nov 31 10:00:00", "", ""),
            ("November 1 10:00:00", "", ""),
            ("Nov", "", ""),
        ],
    );
    check(
        "rfc5424",
        &[
            ("<34>1 2026-11-21T10:00:00.003Z h a - - - x", "2026-11-21T10:00:00.003Z", "2026-11-21T10:00:00.003Z"),
            ("<34>1 - h a - - - x", "", ""),
            ("<34>1", "", ""),
        ],
    );
    assert_eq!(found("rfc5424", "1 2026-11-21T10:00:00.003Z", NOW), None);
}

#[test]
fn a_year_that_is_not_written_is_the_last_that_is_not_in_the_future() {
    for (line, read, time) in [
        ("Nov 22 10:59:59", "2026-11-21T10:00:00Z", "2026-11-22T09:59:59Z"),
        ("Nov 22 11:00:00", "2026-11-21T10:00:00Z", "2026-11-22T10:00:00Z"),
        ("Nov 22 11:00:01", "2026-11-21T10:00:00Z", "2025-11-22T10:00:01Z"),
        ("Dec 31 23:59:59", "2027-01-01T00:00:00Z", "2026-12-31T22:59:59Z"),
        ("Jan  1 00:00:00", "2026-12-31T22:59:00Z", "2026-12-31T23:00:00Z"),
        ("Feb 29 12:00:00", "2026-11-21T10:00:00Z", "2024-02-29T11:00:00Z"),
        ("Feb 29 12:00:00", "2103-11-21T10:00:00Z", "2096-02-29T11:00:00Z"),
    ] {
        assert_eq!(found("auto", line, read), Some((line, time.to_string())), "{line} at {read}");
        assert_eq!(found("%b %d %H:%M:%S", line, read), Some((line, time.to_string())), "{line} at {read}");
    }
}

#[test]
fn patterns() {
    for (pattern, line, taken, time) in [
        ("%d.%m.%Y %H:%M:%S", "21.11.2026 10:00:00 x", "21.11.2026 10:00:00", "2026-11-21T09:00:00Z"),
        (
            "[%a %b %d %T%.f %Y]",
            "[Sat Nov 21 10:00:00.5 2026] x",
            "[Sat Nov 21 10:00:00.5 2026]",
            "2026-11-21T09:00:00.5Z",
        ),
        ("%F %T %z", "2026-11-21 10:00:00 -0100 x", "2026-11-21 10:00:00 -0100", "2026-11-21T11:00:00Z"),
        ("%s%.f", "1795255200.25 x", "1795255200.25", "2026-11-21T10:00:00.25Z"),
        ("%Y%m%d-%H%M", "20261121-1000 x", "20261121-1000", "2026-11-21T09:00:00Z"),
        ("%F %T", "no time", "", ""),
    ] {
        check(pattern, &[(line, taken, time)]);
    }
    assert!("iso".parse::<Format>().is_err());
}

#[test]
fn auto_goes_along_with_a_file_that_changes_its_form() {
    let mut parser = Parser::new(Format::Auto, TimeZone::UTC);
    for line in
        ["2026-11-21T10:00:00Z", "Nov 21 10:00:00", "    at main", "1795255200", "x [21/Nov/2026:10:00:00 +0000]"]
    {
        let time_ns = parser.find(line.as_bytes(), ns(NOW)).map(|found| found.time.ns);
        assert_eq!(time_ns, (!line.starts_with(' ')).then(|| ns(NOW)), "{line}");
    }
}

#[test]
fn a_zone_is_asked_for_each_minute() {
    let mut parser = Parser::new(Format::Auto, TimeZone::get("Europe/Berlin").unwrap());
    for (line, time) in [
        ("2026-10-25 01:59:59", "2026-10-24T23:59:59Z"),
        ("2026-10-25 02:59:59", "2026-10-25T00:59:59Z"),
        ("2026-10-25 03:00:00", "2026-10-25T02:00:00Z"),
        ("2026-03-29 02:30:00", "2026-03-29T01:30:00Z"),
        ("2026-03-29 03:00:00", "2026-03-29T01:00:00Z"),
    ] {
        assert_eq!(parser.find(line.as_bytes(), 0).map(|found| found.time.ns), Some(ns(time)), "{line}");
    }
}
