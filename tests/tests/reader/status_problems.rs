//! `reader status`: what stands in the way of a pipe, from when it does until somebody fixes it.

use std::fs::{self, File};
use std::path::Path;

use nix::sys::signal::Signal;
use standpipe_tests::deadline::until;
use standpipe_tests::directory::{KEEP_ALL, make_fifo};
use standpipe_tests::privilege::{give, needs_seams};
use standpipe_tests::programs::{Daemon, Launch, Output};
use standpipe_tests::stands::Bench;
use standpipe_tests::world::{hold, put, queued};

fn status(bench: &Bench) -> Output {
    Launch::new("reader").arg("status").arg("--logs").arg(bench.scratch.logs()).env("LC_ALL", "C.UTF-8").run()
}

fn text(output: &Output) -> String {
    assert!(output.stderr.is_empty(), "{}", output.stderr);
    String::from_utf8(output.stdout.clone()).expect("a table is text")
}

/// The last cell of the row of a pipe.
fn state(bench: &Bench, name: &str) -> String {
    let text = text(&status(bench));
    let row = text.lines().find(|line| line.split_whitespace().next() == Some(name));
    row.and_then(|row| row.split("  ").last()).unwrap_or_else(|| panic!("no row {name}: {text}")).to_owned()
}

/// Expects a finding with all of these words, in the text and for programs.
fn finds(bench: &Bench, words: &[&str]) {
    let output = status(bench);
    let text = text(&output);
    let is_told = |line: &str| words.iter().all(|word| line.contains(word));
    assert!(output.code == 1 && text.lines().any(is_told), "{words:?}: {} {text}", output.code);
    let json = Launch::new("reader").args(["status", "--json", "--logs"]).arg(bench.scratch.logs()).run();
    let object: serde_json::Value = serde_json::from_slice(&json.stdout).expect("JSON");
    let findings = object["findings"].as_array().expect("a list");
    assert!(json.code == 1 && findings.iter().any(|finding| is_told(finding.as_str().unwrap())), "{words:?}: {object}");
}

fn finds_nothing(bench: &Bench) {
    until("all is well again", || status(bench).code == 0);
    assert!(!bench.scratch.logs().join(".problems").exists());
}

fn hang_up(reader: &Daemon, count: usize) {
    reader.signal(Signal::SIGHUP);
    until("it has read its pipes directory", || reader.lines_with("after HUP").len() == count);
}

/// A reader of `app` and `web`.
fn two_pipes(bench: &Bench) -> (File, File, Daemon) {
    let (app, web) = (hold(&bench.scratch.pipe("app")), hold(&bench.scratch.pipe("web")));
    (app, web, bench.traced_reader().start())
}

#[test]
fn a_mistake_in_a_policy_is_a_finding_with_file_line_cause_and_what_helps() {
    let bench = Bench::new();
    bench.scratch.write_policy("app.toml", "stamp = \"iso\"\nkeep_files = 0\nlevle = 3\n");
    let (_app, _web, reader) = two_pipes(&bench);
    let pid = reader.pid().to_string();
    let helps = format!("fix it, then send HUP to reader (pid {pid})");
    finds(&bench, &["app.toml: line 2, column 14: 0 would keep nothing: write 1 or more, or off", &helps]);
    finds(&bench, &["app.toml: line 3, column 1: unknown key `levle`", &helps]);
    finds(&bench, &["app: ", "the built-in defaults apply, no old log is removed, and no hook runs"]);
    assert_eq!([state(&bench, "app"), state(&bench, "web")], ["policy", "ok"]);
    bench.scratch.write_policy("app.toml", "stamp = \"iso\"\n");
    hang_up(&reader, 1);
    finds_nothing(&bench);
    bench.scratch.write_policy("defaults.toml", "logs = \"../logs\"\nlevel = 99\n");
    hang_up(&reader, 2);
    finds(&bench, &["defaults.toml: line 2, column 9: `99` is not a level"]);
    finds(&bench, &["app, web, each: ", "the previous policy stays in force"]);
    assert_eq!([state(&bench, "app"), state(&bench, "web")], ["policy", "policy"]);
    bench.scratch.write_policy("defaults.toml", KEEP_ALL);
    hang_up(&reader, 3);
    finds_nothing(&bench);
    bench.scratch.write_policy("web.toml", "file_group = \"no-such-group\"\n");
    hang_up(&reader, 4);
    finds(&bench, &["web: ", "no-such-group", "the previous policy stays in force"]);
    fs::rename(bench.scratch.pipes(), bench.scratch.path().join("elsewhere")).unwrap();
    reader.signal(Signal::SIGHUP);
    reader.wait_line("keeping the previous configuration");
    finds(&bench, &["cannot read pipes directory ", "keeping the previous configuration", &helps]);
    fs::rename(bench.scratch.path().join("elsewhere"), bench.scratch.pipes()).unwrap();
    fs::remove_file(bench.scratch.pipes().join("web.toml")).unwrap();
    hang_up(&reader, 5);
    finds_nothing(&bench);
    reader.stop();
}

#[test]
fn a_link_without_a_fifo_has_a_row_until_there_is_one() {
    let bench = Bench::new();
    hold(&bench.scratch.pipe("app"));
    let later = bench.scratch.run("later");
    bench.scratch.link("later", &later);
    let reader = bench.reader().start();
    finds(&bench, &["later: not read for ", "does not exist", "reading begins when a FIFO is there", "holder check"]);
    assert_eq!([state(&bench, "app"), state(&bench, "later")], ["ok", "no FIFO"]);
    make_fifo(&later, 0o660);
    reader.wait_line("later: now reading its FIFO");
    finds_nothing(&bench);
    reader.stop();
}

fn rotate(bench: &Bench, name: &str) {
    let output = Launch::new("reader").arg("rotate").arg(name).arg("--logs").arg(bench.scratch.logs()).run();
    assert_eq!(output.code, 0, "{}", output.stderr);
}

/// A hook that fails for the archive of `bad` alone, until a file is there.
fn hook(bench: &Bench, fixed: &Path) -> String {
    let script = bench.scratch.path().join("hook");
    fs::write(
        &script,
        format!("#!/bin/sh\n[ -e '{}' ] || ! zstdgrep -q bad \"$STANDPIPE_ARCHIVE\"\n", fixed.display()),
    )
    .unwrap();
    give(&script);
    format!("hook = [\"/bin/sh\", \"{}\"]\n", script.display())
}

#[test]
fn a_hook_that_fails_is_a_finding_until_it_has_had_that_archive() {
    let bench = Bench::new();
    let fixed = bench.scratch.path().join("fixed");
    bench.scratch.write_policy("app.toml", &hook(&bench, &fixed));
    let (app, _web, reader) = two_pipes(&bench);
    for line in ["good\n", "bad\n", "good\n"] {
        put(&app, line.as_bytes());
        until("it is taken", || queued(&app) == 0);
        rotate(&bench, "app");
    }
    until("it has failed", || status(&bench).code == 1);
    finds(
        &bench,
        &["app: the hook has failed for ", ".log.zst: cannot pass an archive to hook /bin/sh: its exit code was 1"],
    );
    assert_eq!([state(&bench, "app"), state(&bench, "web")], ["hook fails", "ok"]);
    until("the others are through", || {
        let todos = fs::read_dir(bench.log("app")).unwrap().flatten();
        todos.filter(|entry| entry.file_name().to_string_lossy().starts_with(".todo-")).count() == 1
    });
    finds(&bench, &["app: the hook has failed for "]);
    fs::write(&fixed, "").unwrap();
    give(&fixed);
    finds_nothing(&bench);
    reader.stop();
}

#[test]
fn a_part_that_cannot_be_archived_is_a_finding_until_it_is() {
    needs_seams(|| {
        let bench = Bench::new();
        let (app, _web, reader) = two_pipes(&bench);
        put(&app, b"one\n");
        bench.wait_stored("app", b"one\n");
        bench.faults(&format!("EIO unnamed {} 1000", bench.passes("unnamed") + 1));
        rotate(&bench, "app");
        until("it has failed", || status(&bench).code == 1);
        finds(&bench, &["app: no archive for ", "I/O error", "parts stay uncompressed; retrying"]);
        assert_eq!(state(&bench, "app"), "archive fails");
        bench.faults("");
        reader.wait_line("app: archiving works again");
        finds_nothing(&bench);
        reader.stop();
    });
}

#[test]
fn what_stood_when_a_reader_was_killed_is_not_told_of_the_next_one() {
    let bench = Bench::new();
    bench.scratch.write_policy("app.toml", "keep_files = 0\n");
    let (_app, _web, mut reader) = two_pipes(&bench);
    reader.kill9();
    finds(&bench, &["no reader is running on"]);
    finds(&bench, &["app.toml: line 1, column 14: ", "fix it, then start reader again"]);
    fs::remove_file(bench.scratch.pipes().join("app.toml")).unwrap();
    let reader = bench.reader().start();
    finds_nothing(&bench);
    reader.stop();
}
