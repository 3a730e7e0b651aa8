use super::*;
use crate::identity::Identity;
use crate::lines::{End, GenerationId};

/// 2026-11-21T10:00:01Z
const READ_NS: i64 = 1_795_255_201_000_000_000;

fn put(formatter: &mut Formatter, start: u64, bytes: &[u8]) -> Vec<u8> {
    let ends = if bytes.ends_with(b"\n") { End::Line } else { End::Open };
    let origin = Origin { identity: Identity { dev: 7, ino: 42, born_ns: 1 }, epoch: 0 };
    let end = start + bytes.len() as u64;
    let lines =
        Lines { source: SourceId(1), generation: GenerationId(9), origin, start, end, bytes, ends, read_ns: READ_NS };
    let mut out = Vec::new();
    formatter.push(&lines, &mut out);
    out
}

fn formatter(form: Form, color: bool) -> Formatter {
    let mut formatter = Formatter::new(form, color, TimeZone::UTC);
    formatter.add(SourceId(1), "app.log", timestamp::Format::Auto);
    formatter
}

#[test]
fn text_has_time_source_level_and_what_is_left() {
    for (line, text) in [
        ("2026-11-21T10:00:00Z INFO started\n", "2026-11-21T10:00:00.000000Z app.log INFO started\n"),
        ("2026-11-21 11:00:00,123456789+01:00 [warn] x\n", "2026-11-21T10:00:00.123456Z app.log warn x\n"),
        ("2026-11-21T10:00:00Z   indented\n", "2026-11-21T10:00:00.000000Z app.log -   indented\n"),
        ("    at main\n", "2026-11-21T10:00:01.000000Z app.log -     at main\n"),
        ("Error: no\n", "2026-11-21T10:00:01.000000Z app.log Error no\n"),
        ("\n", "2026-11-21T10:00:01.000000Z app.log - \n"),
        (
            "::1 - - [21/Nov/2026:10:00:00 +0000] \"GET / HTTP/1.0\" 200\n",
            "2026-11-21T10:00:00.000000Z app.log - ::1 - - \"GET / HTTP/1.0\" 200\n",
        ),
        ("<34>Nov 21 10:00:00 web1 su: x\n", "2026-11-21T10:00:00.000000Z app.log - <34>web1 su: x\n"),
        ("a\nb\n", "2026-11-21T10:00:01.000000Z app.log - a\n2026-11-21T10:00:01.000000Z app.log - b\n"),
    ] {
        let out = put(&mut formatter(Form::Text, false), 0, line.as_bytes());
        assert_eq!(String::from_utf8(out).unwrap(), text, "{line}");
    }
}

#[test]
fn bytes_of_any_kind_pass_unchanged() {
    let out = put(&mut formatter(Form::Text, false), 0, b"\xff\0\x1b[1m\r\n");
    assert_eq!(out, b"2026-11-21T10:00:01.000000Z app.log - \xff\0\x1b[1m\r\n");
    let bytes = b"2026-11-21T10:00:00Z INFO \xff\0\r\n\nx";
    assert_eq!(put(&mut formatter(Form::Raw, true), 0, bytes), bytes);
}

#[test]
fn colors_are_put_around_source_and_level() {
    let out = put(&mut formatter(Form::Text, true), 0, b"error: x\nx\n");
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "2026-11-21T10:00:01.000000Z \x1b[36mapp.log\x1b[0m \x1b[31merror\x1b[0m x\n\
         2026-11-21T10:00:01.000000Z \x1b[36mapp.log\x1b[0m - x\n"
    );
}

#[test]
fn json_has_all_fields() {
    let mut formatter = formatter(Form::Json, false);
    let out = put(&mut formatter, 100, b"2026-11-21T10:00:00.25Z WARN \"x\"\xff\n\tno time\n");
    let identity = r#""identity":{"dev":7,"ino":42}"#;
    assert_eq!(
        String::from_utf8(out).unwrap(),
        format!(
            r#"{{"time":"2026-11-21T10:00:00.250000Z","read":"2026-11-21T10:00:01.000000Z","delta":0.75,"sequence":1,"source":"app.log",{identity},"offset":100,"level":"WARN","message":"\"x\"�"}}
{{"time":null,"read":"2026-11-21T10:00:01.000000Z","delta":null,"sequence":2,"source":"app.log",{identity},"offset":134,"level":null,"message":"\tno time"}}
"#
        )
    );
}

#[test]
fn pieces_of_a_line_are_one_line_of_text_and_marked_objects() {
    let pieces: [&[u8]; 3] = [b"INFO a", b"INFO b", b"c\n"];
    let mut text = formatter(Form::Text, false);
    let out = pieces.map(|piece| put(&mut text, 0, piece)).concat();
    assert_eq!(String::from_utf8(out).unwrap(), "2026-11-21T10:00:01.000000Z app.log INFO aINFO bc\n");
    let mut json = formatter(Form::Json, false);
    for (piece, marks) in pieces.into_iter().zip([(false, true), (true, true), (true, false)]) {
        let object: serde_json::Value = serde_json::from_slice(&put(&mut json, 0, piece)).unwrap();
        assert_eq!((object["continued"] == true, object["open"] == true), marks, "{object}");
    }
}
