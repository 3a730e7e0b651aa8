//! What the reader is asked wrongly: policies, links, log directories. Each is one sentence that names the place, and
//! every good pipe is drained all the same.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{lchown, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

use nix::unistd::{Uid, geteuid};
use standpipe_common::account::user_name;
use standpipe_tests::deadline::until;
use standpipe_tests::directory::{make_fifo, set_mode};
use standpipe_tests::privilege::{give, needs_root, needs_seams, ordinary_user};
use standpipe_tests::programs::{Launch, reader_stdin};
use standpipe_tests::stands::Bench;
use standpipe_tests::world::{hold, is_held, put, queued, stream_of, wait_empty};

/// Policies that are wrong, and how the sentence begins behind the file's name.
const BAD_POLICIES: [(&str, &str); 8] = [
    ("rotate_sise = \"1M\"\n", "line 1, column 1: "),
    ("stamp = \"iso\"\nrotate_size = 0\n", "line 2, column 15: "),
    ("rotate_size = \"10MB\"\n", "line 1, column 15: "),
    ("file_mode = \"9999\"\n", "line 1, column 13: "),
    ("zone = \"Mars/Olympus\"\n", "line 1, column 8: "),
    ("max_line = [1]\n", "line 1, column 12: "),
    ("logs = \"/tmp\"\n", "line 1, column 1: "),
    ("stamp = \n", "line 1, column "),
];

#[test]
fn h19_a_pipe_with_a_bad_policy_is_drained_with_built_in_defaults() {
    for (policy, place) in BAD_POLICIES {
        let bench = Bench::new();
        let (bad, good) = (hold(&bench.scratch.pipe("bad")), hold(&bench.scratch.pipe("good")));
        bench.scratch.write_policy("bad.toml", policy);
        bench.scratch.write_policy("defaults.toml", "prefix = \"> \"\n");
        let reader = bench.reader().start();
        let said = reader.wait_lines("bad.toml: ", 1);
        assert!(said.len() == 1 && said[0].contains(&format!("bad.toml: {place}")), "{policy}: {said:?}");
        assert!(reader.stderr().contains('^'), "a caret:\n{}", reader.stderr());
        put(&bad, b"one\n");
        put(&good, b"one\n");
        bench.wait_stored("bad", b"one\n");
        bench.wait_stored("good", b"> one\n");
        reader.stop();
    }
}

#[test]
fn check_config_reads_everything_opens_nothing_and_says_by_its_exit_code() {
    let bench = Bench::new();
    let fifo = bench.scratch.pipe("app");
    let check = || bench.reader().arg("--check-config").run();
    assert_eq!((check().code, check().stderr), (0, String::new()));
    for (policy, place) in BAD_POLICIES {
        bench.scratch.write_policy("app.toml", policy);
        bench.scratch.write_policy("defaults.toml", "no_such_key = 1\n");
        let output = check();
        assert_eq!(output.code, 2, "{}", output.stderr);
        assert!(output.stderr.contains(&format!("app.toml: {place}")), "{}", output.stderr);
        assert!(output.stderr.contains("defaults.toml: line 1, column 1: "), "{}", output.stderr);
        assert_eq!(output.stderr.matches("error: ").count(), 2, "{}", output.stderr);
    }
    assert!(!is_held(&fifo));
    assert_eq!(fs::read_dir(bench.scratch.logs()).expect("the log root").count(), 0);
}

/// Links that lead to no FIFO, and the words that say so.
fn bad_links(bench: &Bench) -> Vec<(&'static str, &'static str)> {
    let scratch = &bench.scratch;
    fs::write(scratch.run("file"), "precious\n").expect("a file");
    scratch.link("file", scratch.run("file"));
    scratch.link("dir", scratch.make_dir("run/dir"));
    scratch.link("device", "/dev/null");
    drop(UnixListener::bind(scratch.run("socket")).expect("a socket"));
    scratch.link("socket", scratch.run("socket"));
    scratch.link("loop", scratch.pipes().join("loop"));
    scratch.link("dangling", "/nowhere/fifo");
    scratch.link("relative", "run/fifo");
    scratch.link("line\nbreak", scratch.run("good"));
    scratch.link("twin", scratch.run("good"));
    make_fifo(&scratch.run("private"), 0);
    scratch.link("private", scratch.run("private"));
    vec![
        ("pipes.d/file: ", "it leads to a regular file, not to a FIFO"),
        ("pipes.d/dir: ", "it leads to a directory, not to a FIFO"),
        ("pipes.d/device: ", "it leads to a device, not to a FIFO"),
        ("pipes.d/socket: ", "it leads to a socket, not to a FIFO"),
        ("pipes.d/loop: ", "Too many"),
        ("pipes.d/dangling: ", "/nowhere/fifo does not exist"),
        ("pipes.d/relative: ", "(a relative link starts at the directory it is in: "),
        ("pipes.d/line\\nbreak ", "control character"),
        ("pipes.d/twin: ", "it leads to the same FIFO as "),
        ("pipes.d/private: ", "Permission denied"),
    ]
}

#[test]
fn each_bad_link_is_one_sentence_and_the_good_pipe_is_drained() {
    let (bench, good) = Bench::new().holding("good");
    let expected = bad_links(&bench);
    let reader = bench.reader().start();
    for (place, cause) in &expected {
        let lines = reader.lines_with(place);
        assert!(lines.len() == 1 && lines[0].contains(cause), "{place}{cause}:\n{}", reader.stderr());
        assert!(lines[0].starts_with("reader: error: cannot "), "{lines:?}");
    }
    assert_eq!(reader.lines_with("error").len(), expected.len(), "{}", reader.stderr());
    reader.wait_line("reader: reading 1 pipe of ");
    put(&good, b"one\n");
    bench.wait_stored("good", b"one\n");
    reader.stop();
    assert_eq!(fs::read(bench.scratch.run("file")).expect("the file"), b"precious\n");
}

#[test]
fn a_link_that_another_user_planted_among_the_logs_is_not_followed() {
    needs_root(|| {
        let bench = Bench::new();
        let (bad, good) = (hold(&bench.scratch.pipe("bad")), hold(&bench.scratch.pipe("good")));
        let elsewhere = bench.scratch.make_dir("elsewhere");
        symlink(&elsewhere, bench.log("bad")).expect("a link");
        lchown(bench.log("bad"), Some(1), Some(1)).expect("root may");
        // One of the reader's own or of root's is a way to keep a log on another disk.
        let other_disk = bench.scratch.make_dir("other_disk");
        symlink(&other_disk, bench.log("good")).expect("a link");
        put(&bad, b"one\n");
        put(&good, b"one\n");
        let reader = bench.reader().start();
        let said = reader.wait_line("a link made by user 1; reader follows links of root and its own user only");
        assert!(said.contains(&format!("cannot open directory {}: ", bench.log("bad").display())), "{said}");
        bench.wait_stored("good", b"one\n");
        assert_eq!(stream_of(&other_disk), b"one\n");
        assert_eq!(fs::read_dir(&elsewhere).expect("a directory").count(), 0);
        assert_eq!(queued(&bad), 4, "a pipe without a log is not drained");
        // What was planted goes, and the pipe is drained.
        fs::remove_file(bench.log("bad")).expect("root may");
        bench.wait_stored("bad", b"one\n");
        reader.stop();
    });
}

#[test]
fn a_link_planted_as_an_own_file_of_a_log_directory_is_not_followed() {
    for name in [".standpipe", ".standpipe.new", ".lock", "current", ".current.new"] {
        let (bench, pipe) = Bench::new().holding("app");
        let victim = bench.scratch.path().join("victim");
        fs::write(&victim, "precious\n").expect("a file");
        give(&victim);
        let log = bench.scratch.make_dir("logs/app");
        symlink(&victim, log.join(name)).expect("a link");
        put(&pipe, b"one\n");
        let mut reader = bench.reader().start();
        until("it is drained or refused", || {
            queued(&pipe) == 0 || !reader.lines_with("not reading app until").is_empty()
        });
        assert_eq!(fs::read(&victim).expect("the victim"), b"precious\n", "{name}");
        assert_eq!(reader.terminate(), 0);
    }
}

#[test]
fn a_directory_with_logs_of_others_is_not_written_to() {
    let bench = Bench::new();
    let (foreign, good) = (hold(&bench.scratch.pipe("foreign")), hold(&bench.scratch.pipe("good")));
    let log = bench.scratch.make_dir("logs/foreign");
    fs::write(log.join("access.log"), "theirs\n").expect("a file");
    put(&foreign, b"one\n");
    put(&good, b"one\n");
    let reader = bench.reader().start();
    let said = reader.wait_line("access.log in it is not one of our files");
    let sentence = "move such files elsewhere, or create an empty file .standpipe there to keep them";
    assert!(
        said.contains(&format!("cannot use log directory {}: ", log.display())) && said.contains(sentence),
        "{said}"
    );
    bench.wait_stored("good", b"one\n");
    assert_eq!((queued(&foreign), fs::read_dir(&log).expect("a directory").count()), (4, 1));
    // What the sentence says helps.
    File::create(log.join(".standpipe")).expect("a file");
    give(&log.join(".standpipe"));
    wait_empty(&foreign);
    reader.wait_line("foreign: recovered; reading again");
    assert_eq!(fs::read(log.join("access.log")).expect("a file"), b"theirs\n");
    reader.stop();
}

#[test]
fn without_permission_on_its_own_log_directory_a_lane_waits() {
    let bench = Bench::new();
    let (shut, good) = (hold(&bench.scratch.pipe("shut")), hold(&bench.scratch.pipe("good")));
    let log = bench.scratch.make_dir("logs/shut");
    set_mode(&log, 0o500);
    put(&shut, b"one\n");
    put(&good, b"one\n");
    let reader = bench.reader().start();
    let said = reader.wait_line("not reading shut until this is fixed");
    assert!(said.contains(&log.display().to_string()) && said.contains("Permission denied"), "{said}");
    bench.wait_stored("good", b"one\n");
    assert_eq!(queued(&shut), 4);
    set_mode(&log, 0o700);
    bench.wait_stored("shut", b"one\n");
    reader.wait_line("shut: recovered; reading again");
    reader.stop();
}

#[test]
fn an_unknown_group_is_one_sentence_and_the_pipe_is_drained() {
    let (bench, pipe) = Bench::new().holding("app");
    bench.scratch.write_policy("app.toml", "file_group = \"no-such-group\"\n");
    put(&pipe, b"one\n");
    let reader = bench.reader().start();
    bench.wait_stored("app", b"one\n");
    assert_eq!(reader.lines_with("no-such-group").len(), 1, "{}", reader.stderr());
    reader.stop();
}

#[test]
fn what_cannot_be_begun_ends_with_one_sentence_and_its_exit_code() {
    let bench = Bench::new();
    let empty = bench.scratch.make_dir("empty");
    let shut = bench.scratch.make_dir("shut");
    set_mode(&shut, 0);
    let reader = |args: &[&Path]| Launch::new("reader").cwd(&empty).args(args).run();
    let (pipes, logs) = (bench.scratch.pipes(), bench.scratch.logs());
    let (missing, logs_flag) = (bench.scratch.path().join("missing"), Path::new("--logs"));
    let cases: [(&[&Path], u8, &str); 8] = [
        (&[], 2, "no pipes in the current directory; usage: reader [DIR] --logs LOGS"),
        (&[&pipes], 2, "no log root: give --logs LOGS, or set logs in "),
        (&[&missing, logs_flag, &logs], 3, "missing: No such file or directory"),
        (&[&shut, logs_flag, &logs], 3, "shut: Permission denied"),
        (&[&pipes, logs_flag, &missing.join("logs")], 3, "missing/logs: No such file or directory"),
        (&[&pipes, logs_flag, &shut], 3, "shut"),
        (&[&pipes, Path::new("--no-such-flag")], 2, "--no-such-flag"),
        (&[&pipes, logs_flag, &logs, Path::new("--notify-fd"), Path::new("2")], 2, "write 3 or more"),
    ];
    for (args, code, sentence) in cases {
        let output = reader(args);
        assert_eq!(output.code, i32::from(code), "{args:?}: {}", output.stderr);
        assert!(output.stderr.contains(sentence), "{args:?}: {}", output.stderr);
        let errors = output.stderr.lines().filter(|line| line.contains("error")).count();
        assert_eq!(errors, 1, "{args:?}: {}", output.stderr);
    }
}

#[test]
fn a_log_root_that_nothing_names_is_said_to_be_the_usual_one() {
    needs_root(|| {
        let bench = Bench::new();
        let empty = "mount -t tmpfs none /var/log && exec \"$0\" \"$@\"";
        for args in [&["logs"][..], &["logs", "app"], &["status"], &["rotate"]] {
            let launch = Launch::new("reader").args(args).cwd(bench.scratch.path()).env("STANDPIPE_DIR", "/nowhere");
            let output = launch.as_tests().under(["unshare", "-m", "sh", "-c", empty]).run();
            let expected = "no log root /var/log/standpipe (the default): give one with --logs or STANDPIPE_LOGS";
            assert!(output.code == 3 && output.stderr.contains(expected), "{args:?}: {}", output.stderr);
        }
    });
}

#[test]
fn a_refusal_says_what_helps() {
    let bench = Bench::new();
    let closed = bench.scratch.make_dir("closed");
    let logs = closed.join("logs");
    let user = user_name(Uid::from_raw(ordinary_user().unwrap_or_else(|| geteuid().as_raw())));
    set_mode(&closed, 0o000);
    let output = Launch::new("reader").arg("logs").arg("--logs").arg(&logs).run();
    let who = format!("only user {user} has access to {} (mode 0000), and this runs as user {user}", closed.display());
    let expected = format!("cannot open directory {}: Permission denied ({who})", logs.display());
    assert!(output.code == 3 && output.stderr.contains(&expected), "{} {}", output.code, output.stderr);
    set_mode(&closed, 0o555);
    let output = Launch::new("reader").arg(bench.scratch.pipes()).arg("--logs").arg(&logs).run();
    let expected = format!("; as root: install -d -o {user} -m 2750 {})", logs.display());
    assert!(output.code == 3 && output.stderr.contains(&expected), "{} {}", output.code, output.stderr);
    set_mode(&closed, 0o755);
}

#[test]
fn a_limit_on_file_sizes_is_called_by_its_name() {
    let bench = Bench::new();
    let (input, _output) = std::io::pipe().expect("a pipe");
    let launch = reader_stdin(bench.log("service")).stdin(input);
    let output = launch.under(["sh", "-c", "ulimit -f 16; exec \"$0\" \"$@\""]).run();
    assert!(
        output.code == 3 && output.stderr.contains("`ulimit -f`, LimitFSIZE="),
        "{} {}",
        output.code,
        output.stderr
    );
    assert!(!output.stderr.contains("free"), "{}", output.stderr);
}

#[test]
fn standard_input_is_called_by_its_log_directory() {
    needs_seams(|| {
        let bench = Bench::new();
        let (input, mut output) = std::io::pipe().expect("a pipe");
        let log = bench.log("service");
        let launch = reader_stdin(&log).stdin(input);
        let reader = bench.steer(launch).start();
        bench.faults("EIO write 1 1000000\n");
        output.write_all(b"one\n").expect("room in the pipe");
        reader.wait_line(&format!("not reading {} until this is fixed", log.display()));
        bench.faults("");
        reader.wait_line(&format!("{}: recovered; reading again", log.display()));
        reader.stop();
    });
}
