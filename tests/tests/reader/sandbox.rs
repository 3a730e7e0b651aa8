//! The sandbox: what the reader itself can do to the rest of the machine, which is nothing, and what hooks, HUP and links
//! still can.

use std::fs::{self, File};
use std::io::{Write, pipe};
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use nix::sys::signal::Signal;
use standpipe_tests::deadline::until;
use standpipe_tests::directory::{KEEP_ALL, files_ending, files_of, make_fifo, set_mode};
use standpipe_tests::privilege::{give, needs_landlock, needs_seams};
use standpipe_tests::programs::{Daemon, reader_stdin};
use standpipe_tests::stands::Bench;
use standpipe_tests::world::{hold, put, stream_of};

/// A file that the reader's user may write, beside the log root.
fn precious(bench: &Bench) -> PathBuf {
    let path = bench.scratch.make_dir("outside").join("precious");
    fs::write(&path, "precious").expect("a file of our own");
    give(&path);
    path
}

/// Whether the thread of this name, and the program for the first, may get no more rights.
fn is_confined(reader: &Daemon, thread: &str) -> bool {
    let named = format!("Name:\t{thread}\n");
    let text = || {
        let tasks = fs::read_dir(format!("/proc/{}/task", reader.pid())).expect("a running process");
        let mut texts = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("status")).ok());
        texts.find(|text| text.starts_with(&named))
    };
    // A thread has its name once it runs.
    until(&format!("there is a thread {thread}"), || text().is_some());
    text().is_some_and(|text| text.contains("NoNewPrivs:\t1"))
}

/// What stands there once a reader has drained and archived, of which each thread tried to overwrite one file and to make
/// another.
fn attacked(bench: &Bench, start: impl FnOnce() -> (Daemon, File)) -> (String, [bool; 2]) {
    let old = precious(bench);
    let made = ["drained", "archived"].map(|name| old.with_file_name(name));
    bench.faults(&format!(
        "touch write {}\ntouch write {}\ntouch link {}",
        old.display(),
        made[0].display(),
        made[1].display()
    ));
    let (reader, mut server) = start();
    server.write_all(b"one\n").expect("a pipe");
    let log = bench.log("app");
    until("it is stored", || log.exists() && stream_of(&log) == b"one\n");
    reader.signal(Signal::SIGALRM);
    until("it is archived", || files_ending(&log, ".log.zst").len() == 1);
    reader.stop();
    (fs::read_to_string(old).expect("a file"), made.map(|path| path.exists()))
}

#[test]
fn a_reader_gone_astray_changes_nothing_beside_its_logs() {
    needs_landlock(|| {
        needs_seams(|| {
            for (flags, expected) in
                [(&[][..], ("precious".to_owned(), [false, false])), (&["--no-sandbox"], (String::new(), [true, true]))]
            {
                let bench = Bench::new();
                let fifo = bench.scratch.pipe("app");
                let daemon = || (bench.steered_reader().args(flags).start(), hold(&fifo));
                assert_eq!(attacked(&bench, daemon), expected, "{flags:?}");
                let bench = Bench::new();
                let stdin = || {
                    let (input, output) = pipe().expect("a pipe");
                    let launch = reader_stdin(bench.log("app")).args(flags);
                    (bench.steer(launch).stdin(input).start(), File::from(std::os::fd::OwnedFd::from(output)))
                };
                assert_eq!(attacked(&bench, stdin), expected, "stdin {flags:?}");
            }
        });
    });
}

#[test]
fn hooks_are_outside() {
    for flags in [&[][..], &["--no-sandbox"]] {
        let bench = Bench::new();
        let old = precious(&bench);
        let script = bench.scratch.path().join("hook");
        fs::write(&script, format!("#!/bin/sh\ngrep NoNewPrivs /proc/self/status > {}\n", old.display()))
            .expect("a file");
        set_mode(&script, 0o755);
        let policy = format!("{KEEP_ALL}hook = [\"{}\"]\n", script.display());
        let fifo = bench.scratch.pipe("app");
        let reader = bench.reader().args(flags).start();
        // The reader had no hook when it started.
        bench.scratch.write_policy("defaults.toml", &policy);
        reader.hang_up("1 changed");
        put(&hold(&fifo), b"one\n");
        until("it is stored", || stream_of(&bench.log("app")) == b"one\n");
        reader.signal(Signal::SIGALRM);
        until("the hook has run", || fs::read_to_string(&old).is_ok_and(|text| text == "NoNewPrivs:\t0\n"));
        until("it is done", || files_of(&bench.log("app"), |name| name.starts_with(".todo-")).is_empty());
        reader.stop();
        let (input, mut server) = pipe().expect("a pipe");
        fs::write(&old, "").expect("a file of our own");
        let launch = reader_stdin(bench.log("other")).args(flags);
        let mut reader = launch.arg("--hook").arg(&script).stdin(input).start();
        server.write_all(b"one\n").expect("a pipe");
        drop(server);
        assert_eq!(reader.wait_exit(), 0, "{}", reader.stderr());
        assert_eq!(fs::read_to_string(&old).expect("a file"), "NoNewPrivs:\t0\n");
    }
}

#[test]
fn hup_takes_up_pipes_and_policies_wherever_they_are() {
    needs_landlock(|| {
        let (bench, first) = Bench::new().holding("first");
        let reader = bench.reader().start();
        assert!(is_confined(&reader, "reader") && is_confined(&reader, "archiver"));
        assert!(!is_confined(&reader, "hook") && !is_confined(&reader, "opener"));
        let elsewhere = bench.scratch.make_dir("elsewhere");
        let fifo = elsewhere.join("fifo");
        make_fifo(&fifo, 0o666);
        bench.scratch.link("second", &fifo);
        fs::write(elsewhere.join("policy"), "prefix = \"2 \"\n").expect("a file of our own");
        symlink(elsewhere.join("policy"), bench.scratch.pipes().join("second.toml")).expect("a link");
        reader.hang_up("1 added");
        let second = hold(&fifo);
        put(&second, b"one\n");
        put(&first, b"one\n");
        bench.wait_stored("second", b"2 one\n");
        bench.wait_stored("first", b"one\n");
        // Another FIFO in its place, without HUP.
        let fresh = elsewhere.join("fresh");
        make_fifo(&fresh, 0o666);
        fs::rename(&fresh, &fifo).expect("a FIFO");
        reader.wait_line("FIFO was replaced");
        put(&hold(&fifo), b"two\n");
        bench.wait_stored("second", b"2 one\n2 two\n");
        reader.stop();
    });
}

/// Makes `LOGS/NAME` a link to a directory beside the log root.
fn link_log(bench: &Bench, name: &str) -> PathBuf {
    let dir = bench.scratch.make_dir(&format!("disk-{name}"));
    let link = bench.log(name);
    symlink(&dir, &link).expect("a link");
    give(&link);
    dir
}

#[test]
fn a_log_directory_is_where_its_link_led_at_the_start() {
    needs_landlock(|| {
        let bench = Bench::new();
        let hold_pipe = |name: &str| hold(&bench.scratch.pipe(name));
        let early = hold_pipe("early");
        let early_dir = link_log(&bench, "early");
        let reader = bench.reader().start();
        put(&early, b"one\n");
        until("it is stored", || stream_of(&early_dir) == b"one\n");
        let late_dir = link_log(&bench, "late");
        let late = hold_pipe("late");
        reader.hang_up("1 added");
        reader.wait_line("this link was added or changed after reader started, so reader may not write there");
        put(&late, b"one\n");
        reader.stop();
        let reader = bench.reader().start();
        until("it is stored", || stream_of(&late_dir) == b"one\n");
        reader.stop();
    });
}
