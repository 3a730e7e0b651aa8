//! `reader histogram` counts the lines that `reader logs` prints, by the time of their arrival.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;
use standpipe_tests::directory::Scratch;
use standpipe_tests::privilege::needs_tool;
use standpipe_tests::programs::{self, Launch, Output, command, object, query, text};
use standpipe_tests::stands::Stand;
use standpipe_tests::world::{Random, SECOND_NS, TEN_NS, archive, lines, log_dir, marks, segment, stem};

/// Lines by the second after ten in which their interval begins.
fn counts(output: &Output) -> BTreeMap<i64, u64> {
    assert_eq!((output.code, output.stderr.as_str()), (0, ""), "{output:?}");
    let object = object(output);
    let count = |row: &Value| {
        let second = (row["start"]["ns"].as_i64().unwrap() - TEN_NS) / SECOND_NS;
        (second, row["lines"].as_u64().unwrap())
    };
    let counts: BTreeMap<i64, u64> = object["intervals"].as_array().unwrap().iter().map(count).collect();
    assert_eq!(object["lines"], counts.values().sum::<u64>());
    counts.into_iter().filter(|(_, lines)| *lines > 0).collect()
}

fn histogram(scratch: &Scratch, args: &[&str]) -> BTreeMap<i64, u64> {
    counts(&query("histogram", scratch).args(["--json", "--utc"]).args(args).run())
}

/// The same by the times that `reader logs` tells of each line.
fn naive(scratch: &Scratch, args: &[&str], interval: i64) -> BTreeMap<i64, u64> {
    let output = query("logs", scratch).args(["-o", "json"]).args(args).run();
    assert!(output.code < 2, "{output:?}");
    let mut counts = BTreeMap::new();
    for line in text(&output).lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let time: &str = line["time"].as_str().unwrap();
        let (hour, rest) = time.split_once('T').unwrap().1.split_once(':').unwrap();
        let second = (hour.parse::<i64>().unwrap() - 10) * 3600
            + rest[..2].parse::<i64>().unwrap() * 60
            + rest[3..5].parse::<i64>().unwrap();
        *counts.entry(second.div_euclid(interval) * interval).or_insert(0) += 1;
    }
    counts
}

#[test]
fn lines_are_counted_when_they_arrived() {
    let scratch = Scratch::new();
    let app = log_dir(&scratch, "app");
    archive(&app, &stem(0), b"a\nb\nc\nd\n", marks(&[(0, 0), (4, 61)]), false);
    segment(&app, &stem(2), b"e\nf\nno end", &marks(&[(0, 120), (4, 190)]));
    let web = log_dir(&scratch, "web");
    archive(&web, &stem(1), b"x\n", marks(&[(0, 60)]), false);
    let expected = [(0, 2), (60, 3), (120, 2), (180, 1)].into_iter().collect();
    assert_eq!(histogram(&scratch, &["--interval", "1m"]), expected);
    let app_only = [(0, 2), (60, 2), (120, 2), (180, 1)].into_iter().collect();
    assert_eq!(histogram(&scratch, &["app", "--interval", "1m"]), app_only);
    let ranged = ["app", "--interval", "1m", "-S", "2026-11-21T10:01:00Z", "-U", "2026-11-21T10:02:00Z"];
    assert_eq!(histogram(&scratch, &ranged), [(60, 2), (120, 2)].into_iter().collect());
    assert_eq!(histogram(&scratch, &["--interval", "1m", "-g", "[ax]"]), [(0, 1), (60, 1)].into_iter().collect());
    assert_eq!(histogram(&scratch, &["--interval", "1m", "-F", "-i", "-g", "NO "]), [(180, 1)].into_iter().collect());
    assert_eq!(histogram(&scratch, &["-g", "nowhere"]), BTreeMap::new());
    assert_eq!(histogram(&scratch, &["-S", "2026-11-22"]), BTreeMap::new());
    // An interval in which nothing arrived is there all the same.
    let object = object(&query("histogram", &scratch).args(["--json", "--interval", "30s", "web", "app"]).run());
    assert_eq!(object["intervals"].as_array().unwrap().len(), 7, "{object:#}");
    assert_eq!((&object["version"], &object["interval_ms"]), (&Value::from(1), &Value::from(30_000)));
}

/// Lines of any length and at any time, in parts that end and begin inside lines.
#[test]
fn it_counts_what_is_printed_whatever_the_parts_are() {
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    for round in 0..5 {
        let scratch = Scratch::new();
        let app = log_dir(&scratch, "app");
        let (mut second, mut inside) = (0_i64, false);
        for part in 0..3 {
            let (mut raw, mut found) = (Vec::new(), Vec::new());
            let mut at_start = !inside;
            for _ in 0..=random.below(30) {
                if at_start {
                    found.push((raw.len() as u64, second));
                }
                second += random.below(40_i64) - i64::from(random.below(10) == 0) * 30;
                second = second.max(0);
                let len = if random.below(12) == 0 { random.below(1_500_000) } else { random.below(300) } as usize;
                raw.extend(vec![b'a' + random.below(3) as u8; len]);
                at_start = random.below(5) > 0;
                if at_start {
                    raw.push(b'\n');
                }
            }
            let is_last = part == 2;
            if is_last && round % 2 == 0 {
                segment(&app, &stem(part), &raw, &marks(&found));
            } else {
                archive(&app, &stem(part), &raw, marks(&found), inside);
            }
            inside = raw.last().map_or(inside, |last| *last != b'\n');
        }
        for args in [&[][..], &["-S", "2026-11-21T10:01:10Z", "-U", "2026-11-21T10:20:05Z"]] {
            for interval in [1, 60, 300] {
                let expected = naive(&scratch, args, interval);
                let interval = format!("{interval}s");
                let asked = [args, &["--interval", &interval]].concat();
                assert_eq!(histogram(&scratch, &asked), expected, "round {round} {asked:?}");
                let asked = [&asked[..], &["-g", ""]].concat();
                assert_eq!(histogram(&scratch, &asked), expected, "round {round} {asked:?}");
            }
        }
    }
}

#[test]
fn only_frames_that_lie_in_several_intervals_are_read() {
    let scratch = Scratch::new();
    let app = log_dir(&scratch, "app");
    // Three frames; the marks change in the first and in the last.
    let raw = lines(0, 25_000, 100);
    let path = archive(&app, &stem(0), &raw, marks(&[(0, 0), (100, 100), (2_400_000, 200)]), false);
    let expected = [(0, 1), (60, 23_999), (180, 1000)].into_iter().collect();
    assert_eq!(histogram(&scratch, &["--interval", "1m"]), expected);
    // The second frame is damaged, which nobody sees who does not look.
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();
    assert_eq!(histogram(&scratch, &["--interval", "1m"]), expected);
    let output = query("histogram", &scratch).args(["-g", "line", "--json"]).run();
    assert!(output.code == 3 && output.stderr.contains("cannot read frame 1 of"), "{output:?}");
    let object = object(&output);
    assert_eq!(
        (object["lines"].as_u64(), object["errors"].as_array().map(Vec::len)),
        (Some(14_515), Some(1)),
        "{object:#}"
    );
}

#[test]
fn people_get_a_chart_as_wide_as_their_terminal() {
    let scratch = Scratch::new();
    let app = log_dir(&scratch, "app");
    archive(&app, &stem(0), b"a\nb\nc\n", marks(&[(0, 0), (4, 60)]), false);
    let chart = text(&query("histogram", &scratch).env("TZ", "Europe/Berlin").args(["--interval", "1m"]).run());
    let expected = format!("2026-11-21 11:00  2  {}\n2026-11-21 11:01  1  {}\n", "#".repeat(59), "#".repeat(30));
    assert_eq!(chart, expected);
    needs_tool("script", || {
        let program = programs::path("reader");
        let line = format!("stty cols 50; '{}' histogram --utc --interval 1m '{}'", program.display(), app.display());
        let shown = |locale: &str| {
            let mut script = command("script");
            script.args(["-qec", &line, "/dev/null"]).env("LC_ALL", locale).env_remove("COLUMNS");
            String::from_utf8(script.output().unwrap().stdout).unwrap()
        };
        let blocks = format!("2026-11-21 10:00  2  {}\r\n2026-11-21 10:01  1  {}▌\r\n", "█".repeat(29), "█".repeat(14));
        assert_eq!(shown("C.UTF-8"), blocks);
        let signs = format!("2026-11-21 10:00  2  {}\r\n2026-11-21 10:01  1  {}\r\n", "#".repeat(29), "#".repeat(15));
        assert_eq!(shown("C"), signs);
    });
}

#[test]
fn what_a_reader_stores_is_counted() {
    let (stand, _reader) = Stand::started("rotate_size = \"8KiB\"\n");
    let sent = lines(0, 1000, 100);
    stand.write(&sent);
    stand.wait_stored(&sent);
    for args in [&[][..], &["-g", "of app"], &["--interval", "1h"], &["-S", "-1h"], &["-S", "1h", "-U", "+1h"]] {
        let output = query("histogram", &stand.scratch).arg("--json").args(args).run();
        let object = object(&output);
        assert_eq!((output.code, &object["lines"]), (0, &Value::from(1000)), "{args:?} {object:#}");
        assert!(object["intervals"].as_array().unwrap().len() <= 42, "{object:#}");
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    let scratch = Scratch::new();
    let app = log_dir(&scratch, "app");
    archive(&app, &stem(0), b"a\nb\n", marks(&[(0, 0), (2, 50_000)]), false);
    for (args, expected) in [
        (&["--interval", "1s"][..], "50001 intervals, more than 10000"),
        (&["--interval", "0s"], "must be at least 1ms"),
        (&["--interval", "soon"], "write 500ms, 30s, 5m"),
        (&["-S", "soon"], "--since: `soon` is not a time"),
        (&["-S", "today", "-U", "yesterday"], "--since is later than --until"),
        (&["-g", "("], "("),
        (&["-F"], "--grep"),
        (&["nope"], "there are: app"),
    ] {
        let output = query("histogram", &scratch).args(args).run();
        assert_eq!((output.code, output.stdout.len()), (2, 0), "{args:?} {output:?}");
        assert!(output.stderr.contains(expected), "{args:?}: {}", output.stderr);
    }
    let help = text(&Launch::new("reader").args(["histogram", "--help"]).run());
    assert!(help.contains("Exit codes: 0 success") && help.contains("reader histogram app -S today"), "{help}");
    assert!(help.lines().all(|line| line.chars().count() <= 120), "{help}");
}
