use super::*;
use crate::file::identity::Identity;
use crate::out::lines::{End, GenerationId};

/// 2026-11-21T10:00:01Z
const READ_NS: i64 = 1_795_255_201_000_000_000;

fn put(formatter: &mut Formatter, start: u64, bytes: &[u8]) -> Vec<u8> {
    let ends = if bytes.ends_with(b"\n") { End::Line } else { End::Open };
    let origin = Origin { identity: Identity { dev: 7, ino: 42, born_ns: 1 }, epoch: 0 };
    let end = start + bytes.len() as u64;
    let lines = Lines {
        source: SourceId(1),
        generation: GenerationId(9),
        origin,
        start,
        end,
        bytes,
        ends,
        read_ns: READ_NS,
        record: None,
    };
    let mut out = Vec::new();
    formatter.push(&lines, &mut out);
    out
}

fn formatter(form: LineForm, color: bool) -> Formatter {
    let mut formatter = Formatter::new(form, color, TimeZone::UTC);
    formatter.add(SourceId(1), "app.log", timestamp::Format::Auto);
    formatter
}

#[test]
fn text_has_time_source_level_and_what_is_left() {
    for (line, text) in [
        ("2026-11-21T10:00:00Z INFO started\n", "2026-11-21T10:00:00Z app.log INFO started\n"),
        ("2026-11-21 11:00:00,123456789+01:00 [warn] x\n", "2026-11-21T10:00:00.123456789Z app.log warn x\n"),
        ("2026-11-21T10:00:00Z   indented\n", "2026-11-21T10:00:00Z app.log -   indented\n"),
        ("    at main\n", "2026-11-21T10:00:01.000000Z app.log -     at main\n"),
        ("Error: no\n", "2026-11-21T10:00:01.000000Z app.log Error no\n"),
        ("\n", "2026-11-21T10:00:01.000000Z app.log - \n"),
        (
            "::1 - - [21/Nov/2026:10:00:00 +0000] \"GET / HTTP/1.0\" 200\n",
            "2026-11-21T10:00:00Z app.log - ::1 - - \"GET / HTTP/1.0\" 200\n",
        ),
        ("<34>Nov 21 10:00:00 web1 su: x\n", "2026-11-21T10:00:00Z app.log - <34>web1 su: x\n"),
        ("a\nb\n", "2026-11-21T10:00:01.000000Z app.log - a\n2026-11-21T10:00:01.000000Z app.log - b\n"),
    ] {
        let out = put(&mut formatter(LineForm::Text, false), 0, line.as_bytes());
        assert_eq!(String::from_utf8(out).unwrap(), text, "{line}");
    }
}

#[test]
fn bytes_of_any_kind_pass_unchanged() {
    let out = put(&mut formatter(LineForm::Text, false), 0, b"\xff\0\x1b[1m\r\r\n");
    assert_eq!(out, b"2026-11-21T10:00:01.000000Z app.log - \xff\0\x1b[1m\r\n");
    let bytes = b"2026-11-21T10:00:00Z INFO \xff\0\r\n\nx";
    assert_eq!(put(&mut formatter(LineForm::Raw, true), 0, bytes), bytes);
}

#[test]
fn colors_are_put_around_source_and_level() {
    let out = put(&mut formatter(LineForm::Text, true), 0, b"error: x\nx\n");
    let color = color::of_name("app.log", std::iter::empty()).to_string();
    assert_eq!(
        String::from_utf8(out).unwrap().replace(&color, "COLOR"),
        "2026-11-21T10:00:01.000000Z \x1b[38;5;COLORmapp.log\x1b[0m \x1b[31merror\x1b[0m x\n\
         2026-11-21T10:00:01.000000Z \x1b[38;5;COLORmapp.log\x1b[0m - x\n"
    );
}

#[test]
fn json_has_all_fields() {
    let mut formatter = formatter(LineForm::Json, false);
    let out = put(&mut formatter, 100, b"2026-11-21T10:00:00.25Z WARN \"x\"\xff\n\tno time\n");
    let identity = r#""identity":{"dev":7,"ino":42}"#;
    assert_eq!(
        String::from_utf8(out).unwrap(),
        format!(
            r#"{{"time":"2026-11-21T10:00:00.25Z","read":"2026-11-21T10:00:01.000000Z","delta":0.75,"sequence":1,"source":"app.log",{identity},"offset":100,"level":"WARN","message":"\"x\"�"}}
{{"time":"2026-11-21T10:00:00.25Z","read":"2026-11-21T10:00:01.000000Z","delta":0.75,"sequence":2,"source":"app.log",{identity},"offset":134,"level":null,"message":"\tno time"}}
"#
        )
    );
}

#[test]
fn pieces_of_a_line_are_one_line_of_text_and_marked_objects() {
    let pieces: [&[u8]; 3] = [b"INFO a", b"INFO b", b"c\n"];
    let mut text = formatter(LineForm::Text, false);
    let out = pieces.map(|piece| put(&mut text, 0, piece)).concat();
    assert_eq!(String::from_utf8(out).unwrap(), "2026-11-21T10:00:01.000000Z app.log INFO aINFO bc\n");
    let mut json = formatter(LineForm::Json, false);
    for (piece, marks) in pieces.into_iter().zip([(false, true), (true, true), (true, false)]) {
        let object: serde_json::Value = serde_json::from_slice(&put(&mut json, 0, piece)).unwrap();
        assert_eq!((object["continued"] == true, object["open"] == true), marks, "{object}");
    }
}

#[test]
fn a_record_has_the_time_of_its_first_line() {
    let lines = "first\n2026-11-21T10:00:00Z ERROR boom\n\tat x.y\n\nCaused by: b\n2026-11-21T10:00:00.5Z fine\n";
    let text = "2026-11-21T10:00:01.000000Z app.log - first
2026-11-21T10:00:00Z app.log ERROR boom
2026-11-21T10:00:00Z app.log - \tat x.y
2026-11-21T10:00:00Z app.log - 
2026-11-21T10:00:00Z app.log - Caused by: b
2026-11-21T10:00:00.5Z app.log - fine
";
    let out = put(&mut formatter(LineForm::Text, false), 0, lines.as_bytes());
    assert_eq!(String::from_utf8(out).unwrap(), text);
}

#[test]
fn what_comes_long_after_a_record_is_none_of_it() {
    let mut source = Sender::new("-", Parser::new(timestamp::Format::Auto, TimeZone::UTC));
    let time = Time { ns: 1, digits: 0 };
    source.record = Some(Timed { time, read_ns: 0 });
    assert_eq!(source.time_of_record(RECORD_NS_MAX), Some(time));
    assert_eq!(source.time_of_record(2 * RECORD_NS_MAX), Some(time));
    assert_eq!(source.time_of_record(3 * RECORD_NS_MAX + 1), None);
}

#[test]
fn lines_of_windows_end_without_a_carriage_return() {
    for (form, expected) in
        [(LineForm::Text, "x\ry\n"), (LineForm::Json, "\"message\":\"x\\ry\"}\n"), (LineForm::Raw, "x\ry\r\n")]
    {
        let out = String::from_utf8(put(&mut formatter(form, false), 0, b"INFO x\ry\r\n")).unwrap();
        assert!(out.ends_with(expected), "{out:?}");
    }
    let out = put(&mut formatter(LineForm::Text, false), 0, b"INFO\r\n");
    assert_eq!(String::from_utf8(out).unwrap(), "2026-11-21T10:00:01.000000Z app.log INFO \n");
}

#[test]
fn a_terminal_is_not_steered_in_any_form() {
    let line = "\x1b]0;owned\x07 \u{9b}31m \u{202e}rtl \x7f\r\n".as_bytes();
    for form in [LineForm::Text, LineForm::Json, LineForm::Raw] {
        let mut formatter = formatter(form, true);
        formatter.add(SourceId(1), "ev\x1b[2Jil", timestamp::Format::Auto);
        formatter.show_to_terminal();
        let color = color::of_name("ev\x1b[2Jil", std::iter::empty());
        let out = String::from_utf8(put(&mut formatter, 0, line)).unwrap();
        let rest = out.replace(&format!("\x1b[38;5;{color}m"), "").replace("\x1b[0m", "");
        let bad = |c: char| standpipe_common::shown::steers(c) && c != '\n';
        assert!(!rest.contains(bad), "{form:?}: {rest:?}");
        assert!(form != LineForm::Json || serde_json::from_str::<serde_json::Value>(&out).is_ok(), "{out}");
    }
}

#[test]
fn levels_are_taken_out_where_they_begin_the_message_and_seen_elsewhere() {
    for (line, text) in [
        ("I1121 10:00:00.123456 1 main.go:1] x", "2026-11-21T10:00:00.123456Z app.log INFO 1 main.go:1] x"),
        ("123:M 21 Nov 2026 10:00:00.123 # x", "2026-11-21T10:00:00.123Z app.log warning 123:M x"),
        ("INFO:     2026-11-21 10:00:00,123 x", "2026-11-21T10:00:00.123Z app.log INFO x"),
        ("2026-11-21 10:00:00.123 UTC [12] LOG:  x", "2026-11-21T10:00:00.123Z app.log LOG [12] LOG:  x"),
        (
            r#"{"level":40,"time":1795255200123}"#,
            r#"2026-11-21T10:00:00.123Z app.log warn {"level":40,"time":1795255200123}"#,
        ),
        (
            "ts=2026-11-21T10:00:00Z level=error x",
            "2026-11-21T10:00:00Z app.log error ts=2026-11-21T10:00:00Z level=error x",
        ),
        (
            "\x1b[2m2026-11-21T10:00:00Z\x1b[0m \x1b[33m WARN\x1b[0m \x1b[1mapp\x1b[0m x",
            "2026-11-21T10:00:00Z app.log WARN \x1b[1mapp\x1b[0m x",
        ),
        ("[2026-11-21T10:00:00Z INFO  app] x", "2026-11-21T10:00:00Z app.log INFO [app] x"),
    ] {
        let out = put(&mut formatter(LineForm::Text, false), 0, (line.to_owned() + "\n").as_bytes());
        assert_eq!(String::from_utf8(out).unwrap().trim_end(), text, "{line}");
    }
}

#[test]
fn a_record_does_not_go_on_in_a_file_of_another_process() {
    for (is_spool, text) in
        [(true, "2026-11-21T10:00:01.000000Z app.log - b\n"), (false, "2026-11-21T10:00:00Z app.log - b\n")]
    {
        let mut formatter = formatter(LineForm::Text, false);
        if is_spool {
            formatter.keep_files_apart(SourceId(1));
        }
        put(&mut formatter, 0, b"2026-11-21T10:00:00Z a\n");
        assert_eq!(String::from_utf8(put(&mut formatter, 0, b"b\n")).unwrap(), text);
    }
}
