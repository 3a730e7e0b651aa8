//! `.control` and `reader rotate`: commands from outside, and whatever else is written there.

use std::fs;
use std::io::{Read, Write, pipe};
use std::net::Shutdown;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread;

use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use standpipe_tests::deadline::until;
use standpipe_tests::privilege::{give, needs_root, needs_seams};
use standpipe_tests::programs::{Daemon, Launch, command, reader_stdin};
use standpipe_tests::stands::Bench;
use standpipe_tests::world::{hold, parts, put, stream_of};

fn rotate(logs: &Path) -> Launch {
    Launch::new("reader").arg("rotate").arg("--logs").arg(logs)
}

fn control(bench: &Bench) -> PathBuf {
    bench.scratch.logs().join(".control")
}

/// What the reader answers to these lines.
fn say(bench: &Bench, bytes: &[u8]) -> String {
    let mut call = UnixStream::connect(control(bench)).expect("a reader listens");
    call.write_all(bytes).expect("it listens");
    call.shutdown(Shutdown::Write).expect("it still does");
    let mut answer = String::new();
    call.read_to_string(&mut answer).expect("an answer");
    answer
}

/// Two pipes, each with a line that is stored.
fn two_pipes(bench: &Bench) -> Daemon {
    let pipes = ["app", "db"].map(|name| hold(&bench.scratch.pipe(name)));
    for pipe in &pipes {
        put(pipe, b"line\n");
    }
    let reader = bench.steered_reader().start();
    for name in ["app", "db"] {
        bench.wait_stored(name, b"line\n");
    }
    reader
}

#[test]
fn one_pipe_or_all_have_begun_a_new_part_when_the_command_returns() {
    let bench = Bench::new();
    let reader = two_pipes(&bench);
    let output = rotate(&bench.scratch.logs()).arg("app").run();
    assert_eq!((output.code, output.stdout.len(), output.stderr.as_str()), (0, 0, ""));
    assert_eq!(parts(&bench.log("app")).len(), 2);
    assert_eq!(parts(&bench.log("db")).len(), 1, "the other one was not asked");
    assert_eq!(rotate(&bench.scratch.logs()).run().code, 0);
    assert_eq!(parts(&bench.log("db")).len(), 2);
    assert_eq!(parts(&bench.log("app")).len(), 2, "an empty part is no part");
    let mode = fs::metadata(control(&bench)).unwrap();
    assert!(mode.file_type().is_socket() && mode.permissions().mode() & 0o7777 == 0o600);
    reader.stop();
}

#[test]
fn a_command_waits_for_the_end_of_the_line() {
    let (bench, pipe) = Bench::new().holding("app");
    let reader = bench.steered_reader().start();
    put(&pipe, b"half a");
    bench.wait_stored("app", b"half a");
    thread::scope(|scope| {
        let command = scope.spawn(|| rotate(&bench.scratch.logs()).arg("app").run());
        let mut answer = UnixStream::connect(control(&bench)).unwrap();
        answer.write_all(b"rotate app\n").unwrap();
        answer.shutdown(Shutdown::Write).unwrap();
        let mut begun = [0; 6];
        answer.read_exact(&mut begun).unwrap();
        assert_eq!(&begun, b"begun\n");
        assert_eq!(parts(&bench.log("app")).len(), 1, "it waits");
        put(&pipe, b" line\n");
        let mut rest = String::new();
        answer.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "done\n");
        assert_eq!(command.join().unwrap().code, 0);
        assert_eq!(parts(&bench.log("app")).len(), 2);
    });
    reader.stop();
}

#[test]
fn standard_input_takes_commands_too() {
    let bench = Bench::new();
    let log = bench.log("service");
    let (input, mut output) = pipe().unwrap();
    let reader = reader_stdin(&log).stdin(input).start();
    output.write_all(b"one\n").unwrap();
    until("it is stored", || stream_of(&log) == b"one\n");
    assert_eq!(rotate(&log).run().code, 0);
    assert_eq!(parts(&log).len(), 2);
    reader.stop();
}

#[test]
fn whoever_searches_a_log_root_is_kept_waiting_by_nothing_in_it() {
    let bench = Bench::new();
    let reader = two_pipes(&bench);
    let logs = bench.scratch.logs();
    for search in ["grep -R line .", "find . | xargs md5sum", "tar -cf - ."] {
        let mut shell = command("timeout");
        let output = shell.args(["20", "sh", "-c", search]).current_dir(&logs).output().expect("a shell");
        assert_ne!(output.status.code(), Some(124), "{search} hangs");
        assert!(!output.stdout.is_empty(), "{search}: {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(rotate(&logs).arg("app").run().code, 0, "{search}");
    }
    reader.stop();
}

#[test]
fn each_line_gets_its_answer_and_nonsense_stops_nobody() {
    let bench = Bench::new();
    let reader = two_pipes(&bench);
    for (nonsense, shown) in [
        (&b"rotate nobody\n"[..], "no pipe named `nobody`"),
        (b"stop\n", "unknown command `stop`: write `rotate` or `rotate NAME`"),
        (b"\x1b[2J\xff\0\n", "unknown command `\\x1b[2J\\xff\\x00`: write `rotate` or `rotate NAME`"),
        (b"\n", "unknown command ``: write `rotate` or `rotate NAME`"),
    ] {
        let answer = say(&bench, &[nonsense, b"rotate app\n"].concat());
        assert_eq!(answer, format!("begun\nerror {shown}\ndone\n"));
    }
    assert_eq!(parts(&bench.log("app")).len(), 2);
    assert_eq!(reader.lines().len(), 1, "a caller fills no log: {}", reader.stderr());
    reader.stop();
}

#[test]
fn callers_who_say_too_much_or_nothing_keep_nobody_waiting() {
    let (bench, app) = Bench::new().holding("app");
    let reader = bench.steered_reader().start();
    let silent: Vec<UnixStream> = (0..40).map(|_| UnixStream::connect(control(&bench)).unwrap()).collect();
    thread::scope(|scope| {
        let flood = scope.spawn(|| {
            let mut call = UnixStream::connect(control(&bench)).unwrap();
            // It is cut off at some point.
            while call.write_all(&b"y\n".repeat(2048)).is_ok() {}
        });
        let mut stored = Vec::new();
        for _ in 0..50 {
            put(&app, b"line\n");
            stored.extend_from_slice(b"line\n");
            bench.wait_stored("app", &stored);
        }
        flood.join().unwrap();
    });
    drop(silent);
    let output = rotate(&bench.scratch.logs()).arg("app").run();
    assert_eq!(output.code, 0, "{}", output.stderr);
    reader.stop();
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
    refused(
        rotate(&logs),
        3,
        "no reader is running on it; start it with its supervisor, or by hand: reader DIR --logs ",
    );
    let mut reader = two_pipes(&bench);
    refused(rotate(&logs).arg("ap"), 2, "there are: app, db");
    refused(rotate(&logs).arg("app\nrotate db"), 2, "no pipe named `");
    refused(rotate(&logs).arg(""), 2, "no pipe named `");
    reader.kill9();
    refused(
        rotate(&logs),
        3,
        "no reader is running on it; start it with its supervisor, or by hand: reader DIR --logs ",
    );
    refused(rotate(&logs.join("nowhere")), 3, "No such file");
    let reader = bench.steered_reader().start();
    reader.freeze();
    refused(rotate(&logs), 3, "reader does not answer");
    reader.signal(Signal::SIGCONT);
    reader.stop();
    assert_eq!(parts(&bench.log("db")).len(), 1, "nothing of what was refused was done");
}

#[test]
fn a_log_that_cannot_be_written_is_the_answer() {
    needs_seams(|| {
        let (bench, pipe) = Bench::new().holding("app");
        let reader = bench.steered_reader().start();
        put(&pipe, b"one\n");
        bench.wait_stored("app", b"one\n");
        bench.faults("EIO write 1 1000000\n");
        put(&pipe, b"two\n");
        reader.wait_line("not reading app until this is fixed");
        let output = rotate(&bench.scratch.logs()).arg("app").run();
        assert!(
            output.code == 3 && output.stderr.contains("app: its log cannot be written at present"),
            "{}",
            output.stderr
        );
        bench.faults("");
        reader.stop();
    });
}

#[test]
fn what_other_readers_left_in_its_place_goes_and_nothing_else() {
    let bench = Bench::new();
    mkfifo(&control(&bench), Mode::from_bits_truncate(0o600)).unwrap();
    give(&control(&bench));
    let reader = two_pipes(&bench);
    assert_eq!(rotate(&bench.scratch.logs()).run().code, 0);
    assert_eq!(reader.stop().matches("error").count(), 0);
    fs::remove_file(control(&bench)).unwrap();
    drop(UnixListener::bind(control(&bench)).unwrap());
    give(&control(&bench));
    let reader = bench.steered_reader().start();
    assert_eq!(rotate(&bench.scratch.logs()).run().code, 0);
    assert_eq!(reader.stop().matches("error").count(), 0);
    fs::remove_file(control(&bench)).unwrap();
    fs::write(control(&bench), "precious\n").unwrap();
    give(&control(&bench));
    let reader = bench.steered_reader().start();
    reader.wait_line(".control: not a socket of reader: move it aside; `reader rotate` will not work");
    reader.stop();
    assert_eq!(fs::read_to_string(control(&bench)).unwrap(), "precious\n");
}

#[test]
fn a_control_that_cannot_be_had_is_one_error_and_the_reader_runs_without() {
    needs_root(|| {
        let bench = Bench::new();
        fs::write(control(&bench), "").unwrap();
        let reader = two_pipes(&bench);
        let errors = reader.lines_with("error");
        assert!(errors.len() == 1 && errors[0].contains(".control: it belongs to user 0"), "{errors:?}");
        assert_eq!(fs::metadata(control(&bench)).unwrap().len(), 0);
        reader.stop();
    });
}
