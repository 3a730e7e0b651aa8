//! Records of container runtimes, and what else a file may hold that is not lines of text with a time.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use standpipe_tests::deadline::until;
use standpipe_tests::directory::Scratch;
use standpipe_tests::programs::{Launch, Output};
use standpipe_tests::stands::Tailing;
use standpipe_tests::world::Owner;

/// As containerd writes them.
const CRI: &str = "\
2026-11-28T10:00:00.000000001Z stdout F INFO one
2026-11-28T10:00:01.000000001Z stdout P first half 
2026-11-28T10:00:01.500000001Z stderr F of the other
2026-11-28T10:00:01.000000002Z stdout F second half
2026-11-28T10:00:02Z stdout F 
";

/// As Docker does.
const DOCKER: &str = r#"{"log":"INFO one\n","stream":"stdout","time":"2026-11-28T10:00:00.000000001Z"}
{"log":"first half ","stream":"stdout","time":"2026-11-28T10:00:01.000000001Z"}
{"log":"of the other\n","stream":"stderr","time":"2026-11-28T10:00:01.500000001Z"}
{"log":"second half\n","stream":"stdout","time":"2026-11-28T10:00:01.000000002Z"}
{"log":"\n","stream":"stdout","time":"2026-11-28T10:00:02Z"}
"#;

const TEXT: &str = "\
2026-11-28T10:00:00.000000001Z app.log INFO one
2026-11-28T10:00:01.000000001Z app.log - first half second half
2026-11-28T10:00:01.500000001Z app.log - of the other
2026-11-28T10:00:02Z app.log - 
";

fn append(path: &Path, bytes: impl AsRef<[u8]>) {
    File::options().append(true).create(true).open(path).unwrap().write_all(bytes.as_ref()).unwrap();
}

/// All of one file, by a configuration with these keys.
fn batch(content: impl AsRef<[u8]>, general: &str, keys: &str, output: &str) -> Output {
    let scratch = Scratch::new();
    append(&scratch.path().join("app.log"), content);
    let config = scratch.path().join("tailer.toml");
    fs::write(&config, format!("{general}\n[[files]]\npath = 'app.log'\n{keys}")).unwrap();
    Launch::new("tailer").arg("--config").arg(config).args(["--batch", "--output", output]).run()
}

#[test]
fn lines_are_taken_out_of_records_and_put_together() {
    for (format, content) in [("cri", CRI), ("docker", DOCKER)] {
        for order in ["read", "timestamp"] {
            let general = format!("order = '{order}'");
            let output = batch(content, &general, &format!("format = '{format}'"), "text");
            assert_eq!(String::from_utf8(output.stdout).unwrap(), TEXT, "{format} {order}");
            assert_eq!(output.stderr.lines().filter(|line| line.contains("warning")).count(), 0, "{}", output.stderr);
        }
        let raw = batch(content, "", &format!("format = '{format}'"), "raw").stdout;
        let expected = "INFO one\nfirst half second half\nof the other\n\n";
        assert_eq!(String::from_utf8(raw).unwrap(), expected);
    }
}

#[test]
fn what_is_no_record_passes_and_is_told_once() {
    let content = CRI.to_owned() + "no record\nand another\n" + "2026-11-28T10:00:03Z stdout P cut off";
    let output = batch(content, "", "format = 'cri'", "raw");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.ends_with("\n\nno record\nand another\ncut off\n"), "{text}");
    let told =
        format!("app.log: the line at offset {} is not a CRI record; delivering such lines unchanged", CRI.len());
    assert_eq!(output.stderr.matches(&told).count(), 1, "{}", output.stderr);
    assert_eq!(output.stderr.matches("not a CRI record").count(), 1, "{}", output.stderr);
}

/// The records of some lines, and the lines.
fn records(format: &str, from: u64, count: u64) -> (String, String) {
    let (mut records, mut lines) = (String::new(), String::new());
    let mut piece = |stream: &str, text: &str, is_last: bool| {
        let time = "2026-11-28T10:00:00.123456789Z";
        if format == "cri" {
            let tag = if is_last { 'F' } else { 'P' };
            writeln!(records, "{time} {stream} {tag} {text}").unwrap();
        } else {
            let end = if is_last { "\\n" } else { "" };
            writeln!(records, r#"{{"log":"{text}{end}","stream":"{stream}","time":"{time}"}}"#).unwrap();
        }
    };
    for number in from..from + count {
        let long = "x".repeat(if number % 50 == 0 { 16_384 } else { 20 });
        match number % 5 {
            0 => {
                for _ in 0..3 {
                    piece("stdout", &format!("{number} {long}"), false);
                }
                piece("stderr", &format!("{number} between"), true);
                piece("stdout", "end", true);
                writeln!(lines, "{}end\n{number} between", format!("{number} {long}").repeat(3)).unwrap();
            }
            1 => {
                piece("stdout", &format!("{number} "), false);
                piece("stdout", "end", true);
                writeln!(lines, "{number} end").unwrap();
            }
            _ => {
                piece("stdout", &format!("{number} {long}"), true);
                writeln!(lines, "{number} {long}").unwrap();
            }
        }
    }
    (records, lines)
}

#[test]
fn a_killed_tailer_loses_and_repeats_nothing_of_a_record() {
    for format in ["cri", "docker"] {
        let mut stand = Tailing::into_pipe(Owner::Tailer, true);
        stand.configure("", &[("app.log", &format!("format = \"{format}\"\n"))]);
        let path = stand.log_path("app.log");
        append(&path, "");
        stand.start();
        let mut expected = String::new();
        for round in 0..8 {
            let (records, lines) = records(format, round * 400, 400);
            expected += &lines;
            // A cut anywhere: inside a record, between pieces, inside a group.
            let cut = records.len() / 3 + 97 * round as usize;
            append(&path, &records[..cut]);
            until("some lines", || stand.delivered().len() > expected.len() - lines.len());
            stand.kill9();
            append(&path, &records[cut..]);
            stand.start();
        }
        until("all lines", || stand.delivered().len() >= expected.len());
        stand.stop();
        let delivered = String::from_utf8(stand.delivered()).unwrap();
        let differs = delivered.lines().zip(expected.lines()).position(|(one, other)| one != other);
        assert!(delivered == expected, "{format}: line {differs:?}, {} of {}", delivered.len(), expected.len());
    }
}

#[test]
fn pieces_wait_for_their_end_across_a_rotation_a_hup_and_a_restart() {
    let mut stand = Tailing::to_stdout(Owner::Tailer);
    stand.configure("", &[("app.log", "format = \"cri\"\n")]);
    let path = stand.log_path("app.log");
    append(&path, "2026-11-28T10:00:00Z stdout F one\n2026-11-28T10:00:01Z stdout P a");
    stand.start();
    append(&path, "\n2026-11-28T10:00:01Z stdout P b\n");
    until("the first", || stand.lines_delivered() == 1);
    stand.stop();
    stand.start();
    fs::rename(&path, path.with_extension("log.1")).unwrap();
    append(&path, "2026-11-28T10:00:01Z stdout F c\n");
    until("the second", || stand.lines_delivered() == 2);
    stand.configure("", &[("app.log", "")]);
    stand.daemon().hang_up("watching");
    append(&path, "2026-11-28T10:00:02Z stdout F plain\n");
    until("the third", || stand.lines_delivered() == 3);
    stand.stop();
    let expected = "one\nabc\n2026-11-28T10:00:02Z stdout F plain\n";
    assert_eq!(String::from_utf8(stand.delivered()).unwrap(), expected);
}

#[test]
fn a_file_in_utf_16_is_told_and_its_bytes_are_kept() {
    for bytes in [u16::to_le_bytes, u16::to_be_bytes] {
        let content: Vec<u8> = "\u{feff}2026-11-28 10:00:00 x\r\n".encode_utf16().flat_map(bytes).collect();
        let output = batch(&content, "order = 'timestamp'", "", "raw");
        let told = "app.log is UTF-16: delivering its bytes unchanged, without finding times or levels";
        assert_eq!(output.stderr.matches(told).count(), 1, "{}", output.stderr);
        let ends_with_newline = content.last() == Some(&b'\n');
        let expected = if ends_with_newline { content } else { [content, b"\n".to_vec()].concat() };
        assert_eq!(output.stdout, expected);
    }
}

#[test]
fn a_file_without_times_is_told_where_times_make_the_order() {
    let told = "no times found in app.log: its lines come first";
    for (content, order, count) in [
        ("a\nb\n", "timestamp", 1),
        ("a\n2026-11-28T10:00:00Z b\n", "timestamp", 0),
        ("a\nb\n", "read", 0),
        ("", "timestamp", 0),
    ] {
        let output = batch(content, &format!("order = '{order}'"), "", "raw");
        assert_eq!(output.stderr.matches(told).count(), count, "{content:?} {order}: {}", output.stderr);
    }
    let mut stand = Tailing::to_stdout(Owner::Tailer);
    stand.configure("order = \"timestamp\"\n", &[("app.log", "")]);
    append(&stand.log_path("app.log"), "no time\n");
    stand.start();
    append(&stand.log_path("app.log"), "none either\n");
    until("both", || stand.lines_delivered() == 2);
    let said = stand.stop();
    assert_eq!(
        said.matches("no times found in app.log: its lines are ordered by the time they were read").count(),
        1,
        "{said}"
    );
}
