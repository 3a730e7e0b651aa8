//! `.control` and `reader rotate`: commands from outside, and whatever else is written there.

mod support_b;

use std::fs::{self, OpenOptions};
use std::io::{Write, pipe};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread;

use nix::libc;
use nix::sys::signal::Signal;
use standpipe_tests::daemon::{Daemon, Launch};
use standpipe_tests::deadline::until;
use standpipe_tests::privilege::{give, needs_root};
use standpipe_tests::stored::{parts, stream_of};
use support_b::{Bench, hold, put, stop};

fn rotate(logs: &Path) -> Launch {
    Launch::new("reader").arg("rotate").arg("--logs").arg(logs)
}

fn control(bench: &Bench) -> PathBuf {
    bench.scratch.logs().join(".control")
}

/// Writes to the FIFO as a shell would.
fn say(bench: &Bench, bytes: &[u8]) {
    let opened = OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(control(bench));
    opened.expect("a reader reads it").write_all(bytes).expect("room in the FIFO");
}

/// Two pipes, each with a line that is stored.
fn two_pipes(bench: &Bench) -> Daemon {
    let pipes = ["app", "db"].map(|name| hold(&bench.scratch.pipe(name)));
    for pipe in &pipes {
        put(pipe, b"line\n");
    }
    let reader = bench.reader().start();
    for name in ["app", "db"] {
        bench.wait_stored(name, b"line\n");
    }
    reader
}

fn wait_parts(dir: &Path, count: usize) {
    until(&format!("{count} parts in {}", dir.display()), || parts(dir).len() == count);
}

#[test]
fn one_pipe_or_all_begin_a_new_part() {
    let bench = Bench::new();
    let reader = two_pipes(&bench);
    let output = rotate(&bench.scratch.logs()).arg("app").run();
    assert_eq!((output.code, output.stdout.len(), output.stderr.as_str()), (0, 0, ""));
    wait_parts(&bench.log("app"), 2);
    assert_eq!(parts(&bench.log("db")).len(), 1, "the other one was not asked");
    assert_eq!(rotate(&bench.scratch.logs()).run().code, 0);
    wait_parts(&bench.log("db"), 2);
    assert_eq!(parts(&bench.log("app")).len(), 2, "an empty part is no part");
    let mode = fs::metadata(control(&bench)).unwrap();
    assert!(mode.file_type().is_fifo() && mode.permissions().mode() & 0o7777 == 0o600);
    stop(reader);
}

#[test]
fn standard_input_takes_commands_too() {
    let bench = Bench::new();
    let log = bench.log("service");
    let (input, mut output) = pipe().unwrap();
    let reader = Launch::new("reader").arg("stdin").arg(&log).stdin(input).start();
    output.write_all(b"one\n").unwrap();
    until("it is stored", || stream_of(&log) == b"one\n");
    assert_eq!(rotate(&log).run().code, 0);
    wait_parts(&log, 2);
    stop(reader);
}

#[test]
fn nonsense_is_one_bounded_warning_and_the_next_command_works() {
    for (nonsense, shown) in [
        (&b"rotate nobody\n"[..], "`rotate nobody`: there is no such pipe"),
        (b"stop\n", "`stop` is no command"),
        (b"\x1b[2J\xff\0\n", "`\\x1b[2J\\xff\\x00` is no command"),
        (b"\n", "`` is no command"),
        (&[&[b'z'; 9000][..], b"\n"].concat(), "a line of more than 4096 bytes is no command"),
    ] {
        let bench = Bench::new();
        let reader = two_pipes(&bench);
        say(&bench, &[nonsense, b"rotate app\n"].concat());
        wait_parts(&bench.log("app"), 2);
        let warnings = reader.lines_with("warning");
        assert!(warnings.len() == 1 && warnings[0].ends_with(shown), "{warnings:?}");
        stop(reader);
    }
}

#[test]
fn a_flood_of_nonsense_keeps_no_lane_waiting_and_fills_no_log() {
    let bench = Bench::new();
    let app = hold(&bench.scratch.pipe("app"));
    let reader = bench.reader().start();
    thread::scope(|scope| {
        let flood = scope.spawn(|| {
            // As much as a second of turns takes, and more.
            let mut fifo = OpenOptions::new().write(true).open(control(&bench)).unwrap();
            (0..120).try_for_each(|_| fifo.write_all(&b"y\n".repeat(2048))).unwrap();
        });
        let mut stored = Vec::new();
        while !flood.is_finished() {
            put(&app, b"line\n");
            stored.extend_from_slice(b"line\n");
            bench.wait_stored("app", &stored);
        }
        assert!(stored.len() > 50, "{}", stored.len());
    });
    assert_eq!(rotate(&bench.scratch.logs()).arg("app").run().code, 0);
    wait_parts(&bench.log("app"), 2);
    let warnings = reader.lines_with("is no command");
    assert!((1..=6).contains(&warnings.len()), "{}", reader.stderr());
    stop(reader);
}

#[test]
fn a_command_to_nobody_or_for_nobody_is_refused() {
    let bench = Bench::new();
    let logs = bench.scratch.logs();
    let refused = |launch: Launch, code: i32, sentence: &str| {
        let output = launch.run();
        assert!(output.code == code && output.stderr.contains(sentence), "{} {}", output.code, output.stderr);
        assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
    };
    refused(rotate(&logs), 3, "no reader runs on it");
    let mut reader = two_pipes(&bench);
    refused(rotate(&logs).arg("ap"), 2, "there are: app, db");
    refused(rotate(&logs).arg("app\nrotate db"), 2, "is no pipe's name");
    refused(rotate(&logs).arg(""), 2, "is no pipe's name");
    reader.kill9();
    refused(rotate(&logs), 3, "no reader runs on it");
    refused(rotate(&logs.join("nowhere")), 3, "No such file");
    let reader = bench.reader().start();
    reader.signal(Signal::SIGSTOP);
    let mut fifo = OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(control(&bench)).unwrap();
    while fifo.write(&[b'\n'; 4096]).is_ok() {}
    refused(rotate(&logs), 3, "the reader takes no commands");
    reader.signal(Signal::SIGCONT);
    stop(reader);
    assert_eq!(parts(&bench.log("db")).len(), 1, "nothing of what was refused was done");
}

#[test]
fn what_stands_in_its_place_goes_if_it_is_ours() {
    let bench = Bench::new();
    fs::write(control(&bench), "rotate\n").unwrap();
    give(&control(&bench));
    let reader = two_pipes(&bench);
    let ino = fs::metadata(control(&bench)).unwrap().ino();
    assert_eq!(rotate(&bench.scratch.logs()).arg("app").run().code, 0);
    wait_parts(&bench.log("app"), 2);
    assert_eq!(stop(reader).matches("error").count(), 0);
    let reader = bench.reader().start();
    assert_eq!(fs::metadata(control(&bench)).unwrap().ino(), ino, "somebody may wait at the one that is there");
    stop(reader);
}

#[test]
fn a_control_that_cannot_be_had_is_one_error_and_the_reader_runs_without() {
    needs_root(|| {
        let bench = Bench::new();
        fs::write(control(&bench), "").unwrap();
        let reader = two_pipes(&bench);
        let errors = reader.lines_with("error");
        assert!(errors.len() == 1 && errors[0].contains(".control: user 0 owns it"), "{errors:?}");
        assert_eq!(fs::metadata(control(&bench)).unwrap().len(), 0);
        stop(reader);
    });
}
