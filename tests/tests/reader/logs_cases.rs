//! `reader logs`: combinations of options that other tools got wrong, and what is asked in another tool's words.

use std::fs;

use standpipe_common::archive::marks::Mark;
use standpipe_tests::directory::Scratch;
use standpipe_tests::privilege::give;
use standpipe_tests::programs::{Launch, Output};

const START_NS: i64 = 1_795_255_200_000_000_000;

/// A log root with logs of lines that arrived a second apart, `START_NS` the first.
struct Root(Scratch);

impl Root {
    fn new(logs: &[(&str, &[&str])]) -> Root {
        let scratch = Scratch::new();
        for (name, lines) in logs {
            let dir = scratch.logs().join(name);
            fs::create_dir(&dir).unwrap();
            let (mut text, mut marks) = (String::new(), Vec::new());
            for (number, line) in lines.iter().enumerate() {
                let time_ns = START_NS + number as i64 * 1_000_000_000;
                marks.extend(Mark { offset: text.len() as u64, time_ns }.to_bytes());
                text.push_str(line);
                text.push('\n');
            }
            let stem = dir.join("2026-11-21T10-00-00.000000Z");
            fs::write(stem.with_extension("000000Z.log"), text).unwrap();
            fs::write(stem.with_extension("000000Z.times"), marks).unwrap();
            for entry in fs::read_dir(&dir).unwrap() {
                give(&entry.unwrap().path());
            }
            give(&dir);
        }
        Root(scratch)
    }

    fn logs(&self, arguments: &[&str]) -> Output {
        let test_clock = self.0.path().join("clock");
        fs::write(&test_clock, "2026-11-21T12:00:00Z\n").unwrap();
        give(&test_clock);
        let launch = Launch::new("reader").arg("logs").arg("--logs").arg(self.0.logs());
        launch.env("STANDPIPE_TEST_CLOCK", &test_clock).env("TZ", "UTC").args(arguments).run()
    }

    /// What is printed, each line after a blank, and the exit code.
    fn printed(&self, arguments: &[&str]) -> (i32, String) {
        let Output { code, stdout, stderr } = self.logs(arguments);
        assert_eq!(stderr, "", "{arguments:?}");
        (code, String::from_utf8(stdout).unwrap().lines().collect::<Vec<_>>().join(" "))
    }

    fn refused(&self, arguments: &[&str]) -> String {
        let Output { code, stdout, stderr } = self.logs(arguments);
        assert_eq!((code, stdout.len()), (2, 0), "{arguments:?}: {stderr}");
        stderr
    }
}

const LINES: &[&str] = &["a0", "b1", "a2", "b3", "a4", "b5", "a6", "b7", "a8", "b9", "a10", "b11"];

#[test]
fn combinations_give_what_people_expect() {
    let root = Root::new(&[("app", LINES), ("web", &["w0", "w1"])]);
    let cases: &[(&[&str], i32, &str)] = &[
        // The last of the range, not the first.
        (&["app", "-S", "10:00:05", "-n", "3"], 0, "a10 b11 b9"),
        (&["app", "--since", "10:00:02", "--until", "10:00:04", "-n2"], 0, "b3 a4"),
        (&["app", "--until", "yesterday", "-n", "5"], 0, ""),
        (&["app", "--until", "yesterday", "-n", "5", "-g", "a"], 1, ""),
        // The last matches, in order of time, and turned round.
        (&["app", "-g", "a", "-n", "2"], 0, "a8 a10"),
        (&["app", "-g", "a", "-n", "2", "-r"], 0, "a10 a8"),
        (&["app", "-e", "-g", "a1*0"], 0, "a0 a10"),
        (&["app", "-n", "+2", "-g", "b"], 0, "b1 b3"),
        (&["app", "-n", "0"], 0, ""),
        (&["app", "-g", "a", "-m", "2"], 0, "a0 a2"),
        (&["app", "-g", "a", "--exclude", "0"], 0, "a2 a4 a6 a8"),
        (&["app", "-g", "a", "--and", "0"], 0, "a0 a10"),
        (&["app", "-c", "-g", "a"], 0, "6"),
        (&["-c"], 0, "app: 12 web: 2"),
        (&["-n", "1"], 0, "app: b11"),
        (&["-n", "+3"], 0, "app: a0 web: w0 app: b1"),
        (&["web", "app", "-n", "+2", "--no-prefix"], 0, "w0 a0"),
        (&["-u", "web", "-o", "cat"], 0, "w0 w1"),
        (&["w*"], 0, "w0 w1"),
        (&["web", "-t"], 0, "2026-11-21T10:00:00.000000+00:00 w0 2026-11-21T10:00:01.000000+00:00 w1"),
        (&["app", "-S", "-2h", "-U", "1h59m58s ago"], 0, "a0 b1 a2"),
        (&["app", "--max-line", "1", "-n", "1"], 0, "b [2 more bytes]"),
    ];
    for (arguments, code, expected) in cases {
        let (got_code, mut got) = root.printed(arguments);
        if arguments.contains(&"10:00:05") {
            let mut lines: Vec<_> = got.split(' ').collect();
            lines.sort_unstable();
            got = lines.join(" ");
        }
        assert_eq!((got_code, got.as_str()), (*code, *expected), "{arguments:?}");
    }
}

#[test]
fn a_cursor_file_is_written_even_where_nothing_is_left() {
    let root = Root::new(&[("app", LINES)]);
    let cursor = root.0.path().join("cursor");
    let file = cursor.to_str().unwrap();
    assert_eq!(root.printed(&["app", "--since", "11:00", "--cursor-file", file]), (0, String::new()));
    assert!(fs::read_to_string(&cursor).unwrap().contains("\"app\""));
    assert_eq!(root.printed(&["app", "--cursor-file", file]), (0, String::new()));
    fs::remove_file(&cursor).unwrap();
    assert_eq!(root.printed(&["app", "-n", "+3", "--cursor-file", file]).1, "a0 b1 a2");
    // The first match behind the cursor is found.
    assert_eq!(root.printed(&["app", "-g", "b", "-n", "+1", "--cursor-file", file]).1, "b3");
    assert_eq!(root.printed(&["app", "-n", "2", "--cursor-file", file]).1, "a10 b11");
    fs::write(&cursor, "something else").unwrap();
    let refused = root.refused(&["app", "--cursor-file", file]);
    assert!(refused.contains("not a cursor"), "{refused}");
    assert_eq!(fs::read_to_string(&cursor).unwrap(), "something else");
}

#[test]
fn a_cursor_that_was_printed_is_taken_back() {
    let root = Root::new(&[("app", LINES)]);
    let output = root.logs(&["app", "-n", "+2", "--show-cursor"]);
    let cursor = output.stderr.trim();
    assert_eq!(root.printed(&["app", "-n", "+1", "--after-cursor", cursor]).1, "a2");
    let gone = cursor.replace("2026-11-21T10", "2026-11-20T10").replace("\"offset\":6", "\"offset\":999");
    let output = root.logs(&["app", "-n", "+1", "--after-cursor", &gone]);
    assert_eq!((output.code, output.stdout.as_slice()), (0, &b"a0\n"[..]), "{}", output.stderr);
    assert!(output.stderr.contains("was removed"), "{}", output.stderr);
}

#[test]
fn a_cursor_knows_the_order_of_parts_whatever_they_are_called() {
    let root = Root::new(&[("app", LINES)]);
    let dir = root.0.logs().join("app");
    fs::write(dir.join("app-2025-000.log"), "old\n").unwrap();
    fs::write(dir.join(".standpipe"), "standpipe 1\npattern app-%Y\npattern %Y-%m-%dT%H-%M-%S.%6fZ\n").unwrap();
    for entry in fs::read_dir(&dir).unwrap() {
        give(&entry.unwrap().path());
    }
    assert_eq!(root.printed(&["app", "-n", "+2"]).1, "old a0");
    let cursor = root.logs(&["app", "-n", "+3", "--show-cursor"]).stderr;
    assert_eq!(root.printed(&["app", "-n", "+1", "--after-cursor", cursor.trim()]).1, "a2");
    // What was behind it is gone, and nothing has come: that is no reason to begin anew.
    fs::remove_file(dir.join("2026-11-21T10-00-00.000000Z.log")).unwrap();
    let output = root.logs(&["app", "--after-cursor", cursor.trim()]);
    assert_eq!((output.code, output.stdout.len()), (0, 0), "{output:?}");
    assert!(output.stderr.contains("no later part is left"), "{}", output.stderr);
}

#[test]
fn output_is_bounded_at_the_end_of_a_line_and_says_how_to_go_on() {
    let root = Root::new(&[("app", LINES)]);
    let output = root.logs(&["app", "--max-bytes", "8"]);
    assert_eq!((output.code, output.stdout.as_slice()), (0, &b"a0\nb1\n"[..]));
    assert!(output.stderr.contains("output limit of 8 reached"), "{}", output.stderr);
    let cursor = output.stderr.split('\'').nth(1).unwrap();
    assert_eq!(root.printed(&["app", "--after-cursor", cursor, "-n", "+1"]).1, "a2");
}

#[test]
fn words_of_other_tools_get_a_sentence_that_names_what_to_use() {
    let root = Root::new(&[("app", LINES)]);
    let cases: &[(&[&str], &str)] = &[
        (&["-t", "nginx"], "-u NAME"),
        (&["-c", "s=abc"], "--after-cursor"),
        (&["-o", "json-pretty"], "jq"),
        (&["-p", "err"], "-g 'error|warn'"),
        (&["-b"], "--since today"),
        (&["-k"], "journalctl -k"),
        (&["nope"], "there are: app"),
        (&["-g", "a("], "not a regular expression: unclosed group"),
        (&["-S", "noonish"], "2 hours ago"),
        (&["-S", "10:00", "-U", "09:00"], "--since is later than --until"),
        (&["-i"], "give one with -g"),
        (&["-v"], "give one with -g"),
        (&["-n", "x"], "-n 50"),
        (&["-f", "-n", "+3"], "-m N"),
    ];
    for (arguments, expected) in cases {
        let refused = root.refused(arguments);
        assert!(refused.contains(expected), "{arguments:?}: {refused}");
    }
}

#[test]
fn json_has_one_object_a_line_and_loses_no_byte() {
    let root = Root::new(&[("app", &["plain", "tab\there"])]);
    let path = root.0.logs().join("app/2026-11-21T10-00-00.000000Z.log");
    fs::write(&path, b"\xff\xfe raw\nsecond\n").unwrap();
    let output = root.logs(&["app", "-o", "json"]);
    let lines: Vec<serde_json::Value> =
        output.stdout.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["base64"], "//4gcmF3");
    assert_eq!((&lines[1]["text"], &lines[1]["line"], &lines[1]["schema"]), (&"second".into(), &2.into(), &1.into()));
    assert!(lines[1].get("base64").is_none());
}
