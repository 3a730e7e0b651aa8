//! How the tailer ends: by TERM and INT, twice, by a reader that goes away, and what the next run finds.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write, pipe};
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use standpipe_tests::deadline::until;
use standpipe_tests::directory::Scratch;
use standpipe_tests::programs::Launch;
use standpipe_tests::stands::{Following, Tailing};
use standpipe_tests::world::{Owner, owners};

/// Two seconds are given to a stop; the rest is for a busy machine. Whatever else it could wait for takes a minute.
const STOP_SPAN_MAX: Duration = Duration::from_secs(10);

#[test]
fn term_and_int_read_what_is_there_and_leave_the_unfinished_line_for_the_next_run() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut stand = Tailing::to_stdout(Owner::Tailer);
        // Nothing tells of what is written: only the last look finds it.
        stand.configure("inotify = false\npoll_interval_ms = 60000\n", &[("app.log", "")]);
        let toml = fs::read_to_string(stand.work("tailer.toml")).unwrap();
        fs::write(stand.work("tailer.toml"), toml.replace("poll_interval_ms = 50\n", "")).unwrap();
        let mut log = stand.log("app.log", 1);
        stand.start();
        log.write(10);
        log.begin_line();
        let began = Instant::now();
        stand.daemon().signal(signal);
        assert_eq!(stand.wait_exit(), 0, "{}", stand.daemon().stderr());
        assert!(began.elapsed() < STOP_SPAN_MAX);
        assert_eq!(stand.tally(&[&log]).found, 10);
        assert!(stand.delivered().ends_with(b"\n"));
        log.write(5);
        stand.start();
        stand.stop();
        let tally = stand.tally(&[&log]);
        assert!(tally.is_whole(), "{tally:?}");
    }
}

#[test]
fn the_unfinished_line_of_a_file_without_a_name_does_not_stay_behind() {
    // With and without leases, and a writer.
    for owner in owners() {
        for is_written in [true, false] {
            let mut stand = Tailing::to_stdout(owner);
            stand.configure("", &[("app.log", "")]);
            let log = stand.log_path("app.log");
            fs::write(&log, "").unwrap();
            stand.start();
            let mut writer = fs::File::options().append(true).open(&log).unwrap();
            writer.write_all(b"whole\nunfinished").unwrap();
            until("the line before", || stand.delivered() == b"whole\n");
            fs::remove_file(&log).unwrap();
            let _writer = is_written.then_some(writer);
            fs::write(&log, "next\nalso unfinished").unwrap();
            stand.stop();
            assert_eq!(String::from_utf8(stand.delivered()).unwrap(), "whole\nunfinished\nnext\n");
            stand.start();
            stand.stop();
            assert_eq!(stand.lines_delivered(), 3, "once");
        }
    }
}

#[test]
fn a_pipe_that_nobody_holds_is_not_waited_for() {
    let scratch = Scratch::new();
    let (log, state) = (scratch.path().join("app.log"), scratch.path().join("state.json"));
    let pipe = scratch.pipe("out");
    fs::write(&log, "").unwrap();
    let launch = Launch::new("tailer").arg(&log).arg("--pipe").arg(&pipe).arg("--state").arg(&state);
    let mut tailer = launch.start_unready();
    tailer.wait_line("no reader or holder has it open");
    fs::write(&log, "line\n").unwrap();
    let began = Instant::now();
    assert_eq!(tailer.terminate(), 0, "{}", tailer.stderr());
    assert!(began.elapsed() < STOP_SPAN_MAX, "{:?}", began.elapsed());
}

#[test]
fn what_waits_for_earlier_lines_comes_out_in_order_at_the_end() {
    let mut stand = Tailing::to_stdout(Owner::Tailer);
    stand.configure("order = \"timestamp\"\nwindow_ms = 60000\n", &[("a.log", ""), ("b.log", "")]);
    let names = ["a.log", "b.log"].map(|name| stand.log_path(name));
    for path in &names {
        fs::write(path, "").unwrap();
    }
    stand.start();
    let mut expected = Vec::new();
    let mut files = names.map(|path| fs::File::options().append(true).open(path).unwrap());
    for number in 0..20 {
        let line = format!("2026-11-21T10:00:{number:02}Z line {number}\n");
        expected.extend_from_slice(line.as_bytes());
    }
    for number in (0..20).step_by(2) {
        for (file, number) in files.iter_mut().zip([number + 1, number]) {
            writeln!(file, "2026-11-21T10:00:{number:02}Z line {number}").unwrap();
        }
    }
    let began = Instant::now();
    stand.stop();
    assert!(began.elapsed() < STOP_SPAN_MAX);
    assert_eq!(String::from_utf8(stand.delivered()), String::from_utf8(expected));
    stand.start();
    stand.stop();
    assert_eq!(stand.lines_delivered(), 20, "once");
}

#[test]
fn an_output_that_takes_nothing_does_not_hold_up_the_end_and_the_rest_comes_with_the_next_run() {
    let (mut stand, mut log) = Following::into_pipe().prepare();
    stand.set_draining(false);
    stand.start();
    log.write(20_000);
    stand.daemon().wait_line("inode=");
    let began = Instant::now();
    let said = stand.stop();
    assert!(began.elapsed() < STOP_SPAN_MAX, "{:?}", began.elapsed());
    let (all, taken) = (fs::metadata(&log.path).unwrap().len(), 2 << 20);
    assert!(said.contains("not everything could be delivered; the next run continues\n"), "{said}");
    let left = said.lines().find_map(|line| line.split_once("app.log: ")?.1.strip_suffix(" bytes left")?.parse().ok());
    assert!(left.is_some_and(|left: u64| left <= all && left + taken >= all), "{left:?} of {all}: {said}");
    stand.set_draining(true);
    stand.start();
    stand.finish(&[&log]);
}

#[test]
fn with_too_few_descriptors_what_is_there_is_read_at_the_end() {
    let scratch = Scratch::new();
    let output = scratch.path().join("output");
    let paths: Vec<_> = (0..80).map(|file| scratch.path().join(format!("{file}.log"))).collect();
    for path in &paths {
        fs::write(path, "first\n").unwrap();
    }
    let launch = Launch::new("tailer").prelude("ulimit -n 24").args(&paths).args(["--follow-from-start", "--output"]);
    let mut tailer = launch.arg("raw").start_into(fs::File::create(&output).unwrap());
    let lines = |line: &str| fs::read_to_string(&output).unwrap().lines().filter(|it| *it == line).count();
    until("a line", || lines("first") > 0);
    for path in &paths {
        writeln!(fs::File::options().append(true).open(path).unwrap(), "second").unwrap();
    }
    assert_eq!(tailer.terminate(), 0);
    let said = tailer.stderr();
    assert_eq!((lines("first"), lines("second"), said.contains("not everything")), (80, 80, false), "{said}");
    assert!(
        said.contains(".log and ")
            && said.contains(
                " are waiting for file descriptors; raise the limit on open files: `ulimit -n`, LimitNOFILE="
            ),
        "{said}"
    );
}

#[test]
fn what_a_limit_lets_through_in_time_is_delivered_at_the_end_and_the_rest_is_said() {
    for (limit, is_all) in [("1000 lines/s", true), ("20 lines/s", false)] {
        let (mut stand, mut log) = Following::to_stdout().keys(&format!("rate_limit = \"{limit}\"\n")).prepare();
        log.write(1500);
        stand.start();
        until("a line", || stand.lines_delivered() > 0);
        let said = stand.stop();
        let (lines, bytes) = (stand.lines_delivered(), stand.delivered().len() as u64);
        let left = fs::metadata(&log.path).unwrap().len() - bytes;
        assert_eq!(lines == 1500, is_all, "{limit}: {lines} lines\n{said}");
        assert_eq!(said.contains(&format!("app.log: {left} bytes left\n")), !is_all, "{limit}: {left}\n{said}");
        stand.start();
        stand.stop();
    }
}

#[test]
fn what_is_there_is_read_at_the_end_also_where_the_output_has_to_make_room_first() {
    let (mut stand, mut log) = Following::into_pipe().prepare();
    stand.set_draining(false);
    stand.start();
    log.write(15_000);
    stand.daemon().signal(Signal::SIGTERM);
    stand.daemon().wait_signals_handled();
    stand.set_draining(true);
    assert_eq!(stand.wait_exit(), 0);
    stand.wait_delivered(&[&log]);
    assert!(stand.tally(&[&log]).is_whole());
}

#[test]
fn a_second_term_ends_it_at_once() {
    let (mut stand, mut log) = Following::into_pipe().prepare();
    stand.set_draining(false);
    stand.start();
    log.write(20_000);
    stand.daemon().signal(Signal::SIGTERM);
    stand.daemon().wait_signals_handled();
    stand.daemon().signal(Signal::SIGTERM);
    assert_eq!(stand.wait_exit(), 0);
    // The first one alone ends it with a word about what is left.
    assert!(!stand.daemon().stderr().contains("not everything could be delivered"), "{}", stand.daemon().stderr());
    stand.set_draining(true);
    stand.start();
    stand.finish(&[&log]);
}

#[test]
fn a_reader_of_standard_output_that_goes_away_ends_it_with_a_checkpoint() {
    let stand = Tailing::to_stdout(Owner::Tailer);
    let mut log = stand.log("app.log", 1);
    log.write(3000);
    let (reader, writer) = pipe().unwrap();
    let launch = Launch::new("tailer").arg(&log.path).args(["--follow-from-start", "--output", "raw"]);
    let mut daemon = launch.arg("--state").arg(stand.work("state.json")).start_into(Stdio::from(writer));
    let mut line = String::new();
    BufReader::with_capacity(512, reader).read_line(&mut line).unwrap();
    assert_eq!(daemon.wait_exit(), 3, "{}", daemon.stderr());
    assert!(daemon.stderr().contains("its reader has gone"), "{}", daemon.stderr());
    let state = fs::read_to_string(stand.work("state.json")).unwrap();
    assert!(state.contains("app.log"), "{state}");
}

#[test]
fn standard_output_that_is_full_loses_nothing() {
    let stand = Tailing::to_stdout(Owner::Tailer);
    let mut log = stand.log("app.log", 1);
    log.write(3000);
    let (mut reader, writer) = pipe().unwrap();
    let launch = Launch::new("tailer").arg(&log.path).args(["--follow-from-start", "--output", "raw"]);
    let mut daemon = launch.start_into(Stdio::from(writer));
    daemon.wait_line("inode=");
    let mut got = vec![0; fs::metadata(&log.path).unwrap().len() as usize];
    reader.read_exact(&mut got).unwrap();
    assert!(got == fs::read(&log.path).unwrap());
    log.write(1);
    let mut more = [0; 4096];
    until("the next line", || reader.read(&mut more).unwrap() > 0);
    assert_eq!(daemon.terminate(), 0);
}
