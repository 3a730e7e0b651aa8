use super::*;

/// 2026-11-21T10:00:00Z
const NOW: &str = "2026-11-21T10:00:00Z";

fn ns(time: &str) -> i64 {
    time.parse::<jiff::Timestamp>().unwrap().as_nanosecond() as i64
}

/// What is taken out of a line, and the time it says, in Berlin.
fn found<'a>(format: &str, line: &'a str, read: &str) -> Option<(&'a str, String)> {
    let mut parser = Parser::new(Format::of(format), TimeZone::get("Europe/Berlin").unwrap());
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

/// The examples of the reference, which all say the same moment.
#[test]
fn the_examples_of_the_reference_are_read() {
    let doc = include_str!("../../../../docs/tailer.md");
    let (_, table) = doc.split_once("<!-- times:").unwrap();
    let (table, _) = table.split_once("<!-- end of times -->").unwrap();
    let lines: Vec<&str> = table.lines().filter(|line| line.starts_with("| ")).skip(1).collect();
    let mut count = 0;
    for line in lines {
        let (kind, examples) = line[2..].split_once(" | ").unwrap();
        for example in examples.split('`').skip(1).step_by(2) {
            let mut parser = Parser::new(Format::Auto, TimeZone::UTC);
            let read_ns = ns("2026-11-28T12:00:00Z");
            let found = parser.find(example.as_bytes(), read_ns).unwrap_or_else(|| panic!("{example}"));
            let second = jiff::Timestamp::from_second(found.time.ns.div_euclid(1_000_000_000)).unwrap().to_string();
            let is_right = second == "2026-11-28T10:00:00Z" || kind.starts_with("the kernel");
            assert!(is_right, "{example}: {second}");
            assert_eq!(parser.find(example.as_bytes(), read_ns), Some(found), "{example} again");
            count += 1;
        }
    }
    assert!(count > 50, "{count}");
}

#[test]
fn what_is_no_time_of_a_line_is_not_taken_for_one() {
    for line in [
        "1234567890 is an id",
        "4155550123 called",
        "12345678901234567890 x",
        "17958600001 x",
        "179586000 x",
        "1795860000x",
        "Caused by: x at 2026-11-28 10:00:00",
        "    at 2026-11-28 10:00:00",
        "GET /?time=1795860000 x",
        "took time=2026-11-28T10:00:00Z",
        "time=12.5 x",
        "id=1795860000 x",
        r#"{"id":1795860000,"msg":"2026-11-28T10:00:00Z"}"#,
        r#"{"time":12.5,"ts":17,"timestamp":"soon"}"#,
        r#"{"inner":{"time":"2026-11-28T10:00:00Z"}}"#,
        r#"{"time":"2026-11-28T10:00:00Z"#,
        r#"{"msg":"1.2.3.4 - - [28/Nov/2026:10:00:00 +0000]"}"#,
        "10.0.0.1 x",
        "[12.345] x",
        "[1.2] x",
        "2026-11-28 x",
        "10:00:00 x",
        "05/06/2026 10:00:00 x",
        "28/11/26 10:00:00 x",
        "I1128 x",
        "I am 2026-11-28 10:00:00",
        "@400000006b0aa62 x",
        "@home 2026-11-28 10:00:00",
        "Sat Nov 31 10:00:00 2026",
        "31 Feb 2026 10:00:00",
        "Nov 28, 2026 13:00:00 PM x",
    ] {
        assert_eq!(found("auto", line, NOW), None, "{line}");
    }
    let mut parser = Parser::new(Format::Auto, TimeZone::UTC);
    for (line, is_time) in [("2026-11-21T10:00:00Z x", true), ("1500000000 bytes", false), ("1795860000 x", true)] {
        assert_eq!(parser.find(line.as_bytes(), ns(NOW)).is_some(), is_time, "{line}");
    }
}

#[test]
fn zones_by_name_and_by_habit() {
    for (line, time) in [
        ("2026-11-28 10:00:00 CET x", "2026-11-28T09:00:00Z"),
        ("2026-11-28 10:00:00.5 EST [12] LOG:  x", "2026-11-28T15:00:00.5Z"),
        ("[28-Nov-2026 10:00:00 America/New_York] x", "2026-11-28T15:00:00Z"),
        ("[28-Nov-2026 10:00:00 Europe/Nowhere] x", "2026-11-28T09:00:00Z"),
        ("Sat Nov 28 10:00:00 +03 2026 x", "2026-11-28T07:00:00Z"),
        ("Sat Nov 28 2026 10:00:00 GMT+0100 (CET) x", "2026-11-28T09:00:00Z"),
        // svlogd, and everybody else.
        ("2026-11-28_10:00:00.12345 x", "2026-11-28T10:00:00.12345Z"),
        ("2026-11-28T10:00:00.12345 x", "2026-11-28T10:00:00.12345Z"),
        ("2026-11-28T10:00:00.123 x", "2026-11-28T09:00:00.123Z"),
        ("2026-11-28 10:00:00 FOO x", "2026-11-28T09:00:00Z"),
    ] {
        assert_eq!(found("auto", line, "2026-11-28T12:00:00Z").map(|(_, time)| time), Some(time.to_string()), "{line}");
    }
}

#[test]
fn color_belongs_to_the_time() {
    for (line, taken) in [
        ("\x1b[2m2026-11-28T10:00:00Z\x1b[0m \x1b[32m INFO\x1b[0m x", "\x1b[2m2026-11-28T10:00:00Z\x1b[0m"),
        ("\x1b[90m[\x1b[0m2026-11-28T10:00:00Z\x1b[90m] x", "\x1b[90m[\x1b[0m2026-11-28T10:00:00Z\x1b[90m]"),
        ("\x1b[36mINFO\x1b[0m[2026-11-28T10:00:00Z] x", "\x1b[0m[2026-11-28T10:00:00Z]"),
        ("2026-11-28T10:00:00Z\x1b[31m x", "2026-11-28T10:00:00Z"),
    ] {
        let time = "2026-11-28T10:00:00Z".to_string();
        assert_eq!(found("auto", line, "2026-11-28T12:00:00Z"), Some((taken, time)), "{line:?}");
    }
}

#[test]
fn labels_of_s6_are_told_by_those_that_would_be_of_the_future() {
    let label = |second: i64| format!("@{:016x}00000000 x", (1_i64 << 62) + second);
    let now = ns(NOW) / 1_000_000_000;
    let mut parser = Parser::new(Format::Auto, TimeZone::UTC);
    // Old lines of anybody; a line of just now by s6; the next.
    for (line, distance) in [(label(now - 60), 10), (label(now + 37), 37), (label(now - 60), 37)] {
        let second = parser.find(line.as_bytes(), ns(NOW)).unwrap().time.ns / 1_000_000_000;
        let written = i64::from_str_radix(&line[1..17], 16).unwrap() - (1 << 62);
        assert_eq!(written - second, distance, "{line}");
    }
    let mut parser = Parser::new(Format::Auto, TimeZone::UTC);
    assert_eq!(parser.find(label(now + 10).as_bytes(), ns(NOW)).unwrap().time.ns, ns(NOW));
    for (format, distance) in [("tai64n", 10), ("tai64n-s6", 37)] {
        let mut parser = Parser::new(Format::of(format), TimeZone::UTC);
        assert_eq!(parser.find(label(now + distance).as_bytes(), ns(NOW)).unwrap().time.ns, ns(NOW), "{format}");
    }
}
