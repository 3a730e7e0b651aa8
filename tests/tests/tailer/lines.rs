//! What stands in lines: bytes of any encoding, and records of several lines.

use std::fs::{self, File};
use std::io::Write;

use standpipe_tests::deadline::until;
use standpipe_tests::stands::Tailing;
use standpipe_tests::world::{Owner, numbered};

/// A text in UTF-16, with its mark, by the way of one unit.
fn utf16(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
    text.encode_utf16().flat_map(bytes).collect()
}

#[test]
fn bytes_of_any_encoding_pass_unchanged_also_across_a_restart() {
    // F63
    let text = "\u{feff}gr\u{fc}n one\ntwo \u{1f600}\n\u{a0a}three\n";
    let contents = [
        utf16(text, u16::to_le_bytes),
        utf16(text, u16::to_be_bytes),
        text.as_bytes().to_vec(),
        b"\xff\xfe\x00 \xc3\x28 \xed\xa0\x80 \xf8\x88\n\r\n\xc3\n".to_vec(),
    ];
    for mut stand in [Tailing::to_stdout(Owner::Tailer), Tailing::into_pipe(Owner::Tailer, true)] {
        stand.configure("", &[("app.log", "")]);
        let path = stand.log_path("app.log");
        let mut expected = Vec::new();
        let mut file = File::create(&path).unwrap();
        for content in &contents {
            // The last byte of UTF-16 in little endian comes behind the newline: it waits for the next one.
            let content = [content.as_slice(), b"\n"].concat();
            expected.extend_from_slice(&content);
            stand.start();
            file.write_all(&content).unwrap();
            until("all bytes", || stand.delivered().len() >= expected.len());
            stand.stop();
            assert!(stand.delivered() == expected, "{:?}", stand.delivered());
        }
    }
}

#[test]
fn a_record_that_a_rotation_splits_comes_out_as_one() {
    // F66
    let mut stand = Tailing::to_stdout(Owner::Tailer);
    stand.configure("order = \"timestamp\"\nwindow_ms = 1000\n", &[("a.log", ""), ("b.log", "")]);
    let [a, b] = ["a.log", "b.log"].map(|name| stand.log(name, 1).path);
    stand.start();
    let at = |second: u32, text: &str| format!("2026-11-21T10:00:{second:02}Z {text}\n");
    fs::write(&b, at(2, "of another")).unwrap();
    fs::write(&a, at(1, "a record") + "  its second line\n").unwrap();
    fs::rename(&a, numbered(&a, 1)).unwrap();
    fs::write(&a, "  its third line\n".to_owned() + &at(3, "the next")).unwrap();
    let record = at(1, "a record") + "  its second line\n  its third line\n";
    let expected = record + &at(2, "of another") + &at(3, "the next");
    until("all lines", || stand.lines_delivered() == 5);
    stand.stop();
    assert_eq!(String::from_utf8(stand.delivered()).unwrap(), expected);
}
