//! `reader status`: what is seen of a reader from outside, whether it runs or not, and whatever stands in its file.

use std::fs::{self, File};
use std::io::{Write, pipe};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use standpipe_tests::deadline::until;
use standpipe_tests::directory::set_mode;
use standpipe_tests::privilege::{give, needs_root, needs_seams};
use standpipe_tests::programs::{Daemon, Launch, Output, reader_stdin};
use standpipe_tests::stands::Bench;
use standpipe_tests::world::{Random, hold, put, stream_of};

const HEADER: usize = 4096;

fn status(logs: &Path) -> Launch {
    Launch::new("reader").arg("status").arg("--logs").arg(logs).env("LC_ALL", "C.UTF-8")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("a table is text")
}

/// The cells of a pipe's row.
fn row(output: &Output, name: &str) -> Vec<String> {
    let text = stdout(output);
    let line = text.lines().find(|line| line.split_whitespace().next() == Some(name));
    let cells = line.unwrap_or_else(|| panic!("no row {name}: {text}\n{}", output.stderr)).split("  ");
    cells.map(str::trim).filter(|cell| !cell.is_empty()).map(str::to_owned).collect()
}

/// A reader of the pipe `app` that has stored three lines.
fn one_pipe(bench: &Bench) -> (File, Daemon) {
    let app = hold(&bench.scratch.pipe("app"));
    bench.scratch.write_policy("app.toml", "prefix = \"> \"\n");
    put(&app, b"one\ntwo\nthree\n");
    let reader = bench.traced_reader().start();
    bench.wait_stored("app", b"> one\n> two\n> three\n");
    until("it is counted", || row(&status(&bench.scratch.logs()).run(), "app")[1] == "14 B");
    (app, reader)
}

fn status_file(bench: &Bench) -> PathBuf {
    bench.scratch.logs().join(".status")
}

#[test]
fn what_was_taken_is_counted_and_all_is_well() {
    let bench = Bench::new();
    hold(&bench.scratch.pipe("db"));
    let (_app, reader) = one_pipe(&bench);
    let output = status(&bench.scratch.logs()).run();
    assert_eq!((output.code, output.stderr.as_str()), (0, ""), "{}", stdout(&output));
    let app = row(&output, "app");
    assert_eq!((&app[2], &app[4..]), (&"3".to_owned(), &["0".to_owned(), "-".to_owned(), "ok".to_owned()][..]));
    assert_eq!(row(&output, "db")[1..4], ["0 B", "0", "-"]);
    let text = stdout(&output);
    assert!(text.contains(&format!("reader {} has been running for", reader.pid())), "{text}");
    assert!(text.lines().skip(1).all(|line| line.chars().count() <= 80), "{text}");
    let one = status(&bench.scratch.logs()).arg("db").run();
    assert!(one.code == 0 && !stdout(&one).contains("app"), "{}", stdout(&one));
    assert_eq!(fs::metadata(status_file(&bench)).unwrap().permissions().mode() & 0o7777, 0o640);
    reader.stop();
}

#[test]
fn programs_get_an_object_with_times_in_both_forms() {
    let bench = Bench::new();
    let (_app, reader) = one_pipe(&bench);
    let output = status(&bench.scratch.logs()).arg("--json").run();
    let text = stdout(&output);
    assert_eq!(output.code, 0);
    for part in [
        "\"version\": 1",
        "\"running\": true",
        "\"pipe\": \"app\"",
        "\"bytes\": 14",
        "\"lines\": 3",
        "\"ns\": ",
        "\"time\": \"20",
        "\"state\": \"ok\"",
        "\"blocked_since\": null",
        "\"findings\": []",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    reader.stop();
}

#[test]
fn the_file_survives_its_reader_and_each_start_makes_a_new_one() {
    let bench = Bench::new();
    let (app, mut reader) = one_pipe(&bench);
    let before = fs::metadata(status_file(&bench)).unwrap().ino();
    let old = File::open(status_file(&bench)).unwrap();
    reader.kill9();
    let output = status(&bench.scratch.logs()).run();
    assert_eq!(output.code, 1);
    let app_row = row(&output, "app");
    assert_eq!((app_row[1].as_str(), app_row[6].as_str()), ("14 B", "not running"));
    assert!(stdout(&output).contains("no reader is running on"), "{}", stdout(&output));
    let reader = bench.steered_reader().start();
    put(&app, b"four\n");
    bench.wait_stored("app", b"> one\n> two\n> three\n> four\n");
    until("the new one counts anew", || row(&status(&bench.scratch.logs()).run(), "app")[1] == "5 B");
    assert_ne!(fs::metadata(status_file(&bench)).unwrap().ino(), before);
    assert_eq!(old.metadata().unwrap().len(), fs::metadata(status_file(&bench)).unwrap().len());
    assert!(bench.root_files(".status.").is_empty());
    reader.stop();
}

#[test]
fn a_sick_lane_is_a_finding_with_its_error_and_a_healed_one_is_none() {
    needs_seams(|| {
        let bench = Bench::new();
        let (app, reader) = one_pipe(&bench);
        bench.faults(&format!("ENOSPC write {} 1000", bench.passes("write") + 1));
        put(&app, b"four\n");
        reader.wait_line("until this is fixed");
        let output = status(&bench.scratch.logs()).run();
        assert_eq!((output.code, row(&output, "app")[6].as_str()), (1, "sick"));
        let sentence = "app: not read for 0s: cannot write ";
        assert!(stdout(&output).contains(sentence) && stdout(&output).contains("No space left"), "{}", stdout(&output));
        bench.faults("");
        reader.wait_line("app: recovered; reading again");
        let output = status(&bench.scratch.logs()).run();
        assert_eq!((output.code, row(&output, "app")[6].as_str()), (0, "ok"));
        assert!(stdout(&output).contains("app: the last error, "), "{}", stdout(&output));
        reader.stop();
    });
}

#[test]
fn what_was_set_aside_is_mentioned_until_it_is_removed() {
    let bench = Bench::new();
    let (_app, reader) = one_pipe(&bench);
    let aside = [
        bench.scratch.logs().join(".salvaged-2026-11-21T10-00-00Z-0"),
        bench.log("app").join("2026-11-21T10-00-00.000000Z.log.zst.damaged"),
    ];
    for path in &aside {
        fs::write(path, "").unwrap();
        let output = status(&bench.scratch.logs()).run();
        assert!(output.code == 1 && stdout(&output).contains(&path.display().to_string()), "{}", stdout(&output));
        fs::remove_file(path).unwrap();
    }
    assert_eq!(status(&bench.scratch.logs()).run().code, 0);
    reader.stop();
}

#[test]
fn a_status_file_that_finds_no_room_is_one_warning_and_the_log_goes_on() {
    needs_seams(|| {
        let (bench, app) = Bench::new().holding("app");
        bench.faults("ENOSPC allocate 3 1");
        let reader = bench.steered_reader().start();
        put(&app, b"one\n");
        bench.wait_stored("app", b"one\n");
        let warnings = reader.lines_with("warning");
        assert_eq!(warnings.len(), 1, "{}", reader.stderr());
        assert!(warnings[0].contains("cannot create ") && warnings[0].contains("No space left"), "{warnings:?}");
        let output = status(&bench.scratch.logs()).run();
        assert!(output.code == 3 && output.stderr.contains("no reader is at work there"), "{}", output.stderr);
        assert!(bench.root_files(".status").iter().all(|path| !path.ends_with(".status")));
        reader.stop();
    });
}

#[test]
fn standard_input_has_a_status_in_its_log_directory() {
    let bench = Bench::new();
    let log = bench.log("service");
    let (input, mut output) = pipe().unwrap();
    let reader = reader_stdin(&log).stdin(input).start();
    output.write_all(b"one\ntwo\n").unwrap();
    until("it is stored", || stream_of(&log) == b"one\ntwo\n");
    until("it is counted", || row(&status(&log).run(), "service")[1..3] == ["8 B", "-"]);
    // By its path instead of by the flag.
    let by_path = Launch::new("reader").arg("status").arg(&log).run();
    assert_eq!(by_path.code, 0, "{}", by_path.stderr);
    reader.stop();
}

#[test]
fn whoever_may_read_may_look() {
    needs_root(|| {
        let bench = Bench::new();
        let (_app, reader) = one_pipe(&bench);
        let logs = bench.scratch.logs();
        set_mode(&logs, 0o755);
        set_mode(&logs.join(".status"), 0o644);
        let cannot_lock = status(&logs).as_user(12345).run();
        assert!(
            cannot_lock.code == 0 && stdout(&cannot_lock).contains("cannot see whether it is still running"),
            "{}",
            stdout(&cannot_lock)
        );
        set_mode(&logs.join(".lock"), 0o644);
        let output = status(&logs).as_user(12345).run();
        assert!(output.code == 0 && stdout(&output).contains("has been running for"), "{}", stdout(&output));
        set_mode(&logs.join(".status"), 0o600);
        let refused = status(&logs).as_user(12345).run();
        assert!(refused.code == 3 && refused.stderr.contains("Permission denied"), "{}", refused.stderr);
        reader.stop();
    });
}

/// A log root with such a status file.
fn with_file(bytes: &[u8]) -> Bench {
    let bench = Bench::new();
    fs::write(status_file(&bench), bytes).unwrap();
    give(&status_file(&bench));
    set_mode(&status_file(&bench), 0o644);
    bench
}

/// A status file as a reader leaves it.
fn a_file() -> Vec<u8> {
    let bench = Bench::new();
    let (_app, reader) = one_pipe(&bench);
    reader.stop();
    fs::read(status_file(&bench)).unwrap()
}

#[test]
fn what_cannot_be_read_is_one_sentence() {
    let good = a_file();
    let newer = [&good[..8], &3_u64.to_ne_bytes(), &good[16..]].concat();
    for (bytes, sentence) in [
        (&[][..], ".status: it is damaged"),
        (&good[..100], ".status: it is damaged"),
        (&good[..good.len() - 1], ".status: it is damaged"),
        (&b"no status file\n".repeat(1000), ".status: it is damaged"),
        (&newer, ".status: it has version 3; this program knows 2"),
    ] {
        let output = status(&with_file(bytes).scratch.logs()).run();
        assert_eq!((output.code, output.stdout.len(), output.stderr.lines().count()), (3, 0, 1), "{}", output.stderr);
        assert!(output.stderr.contains(sentence), "{}", output.stderr);
    }
    let fifo = Bench::new();
    mkfifo(&status_file(&fifo), Mode::from_bits_truncate(0o644)).unwrap();
    let output = status(&fifo.scratch.logs()).run();
    assert!(output.code == 3 && output.stderr.contains("not a regular file"), "{}", output.stderr);
    for path in [fifo.scratch.path().join("nowhere"), fifo.scratch.pipes()] {
        let output = status(&path).run();
        assert!(output.code == 3 && output.stderr.lines().count() == 1, "{}", output.stderr);
    }
}

#[test]
fn no_bytes_in_the_file_make_it_panic() {
    let good = a_file();
    let mut random = Random(0x0005_EED5_EED5);
    let bench = with_file(&good);
    for round in 0..40 {
        let mut bytes = good.clone();
        let from = if round % 4 == 0 { 0 } else { HEADER };
        for _ in 0..=random.number() % 200 {
            let at = from + random.number() as usize % (bytes.len() - from).min(1024);
            bytes[at] = random.number() as u8;
        }
        fs::write(status_file(&bench), &bytes).unwrap();
        let launch = status(&bench.scratch.logs()).env("COLUMNS", ["80", "40", "1"][round % 3]);
        let output = if round % 2 == 0 { launch.arg("--json").run() } else { launch.run() };
        assert!([0, 1, 3].contains(&output.code) && output.stderr.lines().count() <= 1, "{round}: {}", output.stderr);
        assert!(!stdout(&output).contains('\u{1b}'), "{round}: a status file moves no cursor");
    }
}

#[test]
fn it_is_asked_wrongly_with_an_unknown_name_or_two_roots() {
    let bench = Bench::new();
    let (_app, reader) = one_pipe(&bench);
    let output = status(&bench.scratch.logs()).arg("ap").run();
    assert!(output.code == 2 && output.stderr.contains("there are: app"), "{}", output.stderr);
    let output = status(&bench.scratch.logs()).args(["/tmp", "/var"]).run();
    assert!(output.code == 2 && output.stderr.contains("one log root"), "{}", output.stderr);
    reader.stop();
}

#[test]
fn a_narrow_screen_without_utf_8_gets_narrow_ascii() {
    let bench = Bench::new();
    hold(&bench.scratch.pipe("größe"));
    let reader = bench.steered_reader().start();
    let output = status(&bench.scratch.logs()).env("LC_ALL", "C").env("COLUMNS", "40").run();
    let text = stdout(&output);
    assert!(output.code == 0 && text.is_ascii() && text.contains("gr\\u{f6}\\u{df}e"), "{text}");
    reader.stop();
}

#[test]
fn words_of_subcommands_win_over_directories() {
    let scratch = Bench::new().scratch;
    scratch.make_dir("status");
    let word = Launch::new("reader").arg("status").env("STANDPIPE_LOGS", scratch.logs()).cwd(scratch.path()).run();
    assert!(word.code == 3 && word.stderr.contains("/logs/.status"), "{}", word.stderr);
    let dir = Launch::new("reader").args(["./status", "--check-config"]).cwd(scratch.path()).run();
    assert_eq!((dir.code, dir.stderr.as_str()), (0, ""));
}
