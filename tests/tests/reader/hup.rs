//! HUP of the reader: pipes and policies that come, change and go, while the other lanes notice nothing.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::Signal;
use standpipe_tests::deadline::until;
use standpipe_tests::directory::{files_ending, set_mode};
use standpipe_tests::privilege::needs_seams;
use standpipe_tests::programs::{Daemon, Launch, has_open};
use standpipe_tests::stands::Bench;
use standpipe_tests::world::{Check, Writer, hold, put, queued, stream_of};

/// How long a pipe without a link is held where a test waits for that.
const RETIRED_MS: &str = "400";

/// Sends HUP, waits for its line and returns it.
fn reread(reader: &Daemon) -> String {
    reader.hang_up(" after HUP: ")
}

/// A reader that has stored a line of the pipe `app`: its bench, the FIFO, its server, and itself.
fn one_pipe() -> (Bench, PathBuf, File, Daemon) {
    let bench = Bench::new();
    let app = bench.scratch.pipe("app");
    let server = hold(&app);
    let reader = bench.reader().start();
    put(&server, b"one\n");
    bench.wait_stored("app", b"one\n");
    (bench, app, server, reader)
}

#[test]
fn a_new_link_is_drained_and_a_lane_at_work_notices_nothing_of_twenty_rereads() {
    let bench = Bench::new();
    let fifo = bench.scratch.pipe("app");
    let _held = hold(&fifo);
    let reader = bench.reader().start();
    let writer = Writer::start(&fifo, 1, None, Duration::from_micros(50));
    for round in 1..=20 {
        let name = format!("new{round}");
        let pipe = hold(&bench.scratch.pipe(&name));
        put(&pipe, b"before\n");
        assert!(reread(&reader).ends_with(": 1 added, 0 removed, 0 changed"), "{}", reader.stderr());
        put(&pipe, b"after\n");
        bench.wait_stored(&name, b"before\nafter\n");
    }
    let written = writer.stop();
    assert!(written.error.is_none(), "{:?}", written.error);
    let mut tally = None;
    until("all lines are stored", || {
        let mut check = Check::new();
        check.feed(&stream_of(&bench.log("app")));
        let found = check.finish(&[(1, written.lines)]);
        tally = Some(found);
        found.found == written.lines
    });
    assert!(tally.is_some_and(|tally| tally.is_whole()), "{tally:?}");
    assert_eq!(reader.lines_with("app").len(), 0, "{}", reader.stderr());
    reader.stop();
}

#[test]
fn a_removed_link_is_drained_to_its_end_and_its_part_sealed() {
    let bench = Bench::new();
    let (app, other) = (bench.scratch.pipe("app"), bench.scratch.pipe("other"));
    let server = hold(&app);
    let reader = bench.reader().start();
    put(&server, b"one\n");
    bench.wait_stored("app", b"one\n");
    fs::remove_file(bench.scratch.pipes().join("app")).expect("a link");
    assert!(reread(&reader).contains("reader: 1 pipe of "), "{}", reader.stderr());
    // Whoever has it open still writes to it.
    put(&server, b"two\n");
    bench.wait_stored("app", b"one\ntwo\n");
    drop(server);
    reader.wait_line("app: link removed; stopped reading it");
    until("its part is archived", || files_ending(&bench.log("app"), ".log.zst").len() == 1);
    assert_eq!(stream_of(&bench.log("app")), b"one\ntwo\n");
    assert!(!has_open(reader.pid(), &app) && has_open(reader.pid(), &other));
    reader.stop();
}

#[test]
fn a_server_that_never_lets_go_is_waited_for_no_longer_than_the_span() {
    needs_seams(|| {
        let bench = Bench::new();
        let app = bench.scratch.pipe("app");
        let server = hold(&app);
        let reader = bench.reader().env("STANDPIPE_TEST_RETIRED_MS", RETIRED_MS).start();
        put(&server, b"one\n");
        bench.wait_stored("app", b"one\n");
        fs::remove_file(bench.scratch.pipes().join("app")).expect("a link");
        reread(&reader);
        reader.wait_line("app: link removed; stopped reading it");
        put(&server, b"two\n");
        until("its part is archived", || files_ending(&bench.log("app"), ".log.zst").len() == 1);
        assert_eq!((queued(&server), stream_of(&bench.log("app"))), (4, b"one\n".to_vec()));
        reader.stop();
    });
}

#[test]
fn a_link_that_comes_back_goes_on_in_the_same_part() {
    let (bench, app, server, reader) = one_pipe();
    let link = bench.scratch.pipes().join("app");
    for (round, line) in [b"two\n", b"six\n"].into_iter().enumerate() {
        fs::remove_file(&link).expect("a link");
        reread(&reader);
        symlink(&app, &link).expect("a link");
        assert!(reread(&reader).ends_with(": 1 added, 0 removed, 0 changed"), "{}", reader.stderr());
        put(&server, line);
        let expected = [&b"one\n"[..], b"two\n", b"six\n"][..round + 2].concat();
        bench.wait_stored("app", &expected);
    }
    assert_eq!(files_ending(&bench.log("app"), ".log").len(), 1, "one part");
    reader.stop();
}

#[test]
fn a_link_that_was_renamed_takes_its_pipe_along() {
    let (bench, _app, server, reader) = one_pipe();
    fs::rename(bench.scratch.pipes().join("app"), bench.scratch.pipes().join("web")).expect("a link");
    assert!(reread(&reader).ends_with(": 1 added, 1 removed, 0 changed"), "{}", reader.stderr());
    for round in 1..=50 {
        put(&server, b"two\n");
        bench.wait_stored("web", &b"two\n".repeat(round));
    }
    assert_eq!(stream_of(&bench.log("app")), b"one\n");
    reader.wait_line("app: link removed; stopped reading it");
    reader.stop();
}

#[test]
fn two_links_that_change_places_change_logs() {
    let bench = Bench::new();
    let (a, b) = (bench.scratch.pipe("a"), bench.scratch.pipe("b"));
    let (to_a, to_b) = (hold(&a), hold(&b));
    let reader = bench.reader().start();
    for (name, target) in [("a", &b), ("b", &a)] {
        let link = bench.scratch.pipes().join(name);
        fs::remove_file(&link).expect("a link");
        symlink(target, &link).expect("a link");
    }
    reread(&reader);
    for round in 1..=50 {
        put(&to_a, b"for b\n");
        put(&to_b, b"for a\n");
        bench.wait_stored("b", &b"for b\n".repeat(round));
        bench.wait_stored("a", &b"for a\n".repeat(round));
    }
    reader.stop();
}

#[test]
fn a_changed_policy_counts_from_the_next_line_on_and_one_with_mistakes_not_at_all() {
    let bench = Bench::new();
    let (app, other) = (hold(&bench.scratch.pipe("app")), hold(&bench.scratch.pipe("other")));
    let reader = bench.reader().start();
    for pipe in [&app, &other] {
        put(pipe, b"one\n");
    }
    bench.wait_stored("app", b"one\n");
    bench.scratch.write_policy("app.toml", "prefix = \"p \"\nrotate_size = \"1KiB\"");
    assert!(reread(&reader).ends_with(": 0 added, 0 removed, 1 changed"), "{}", reader.stderr());
    put(&app, b"two\n");
    bench.wait_stored("app", b"one\np two\n");
    bench.scratch.write_policy("app.toml", "prefix = \"q \"\nrotate_siez = \"1KiB\"");
    assert!(reread(&reader).ends_with(": 0 added, 0 removed, 0 changed"), "{}", reader.stderr());
    reader.wait_line("app.toml: line 2");
    put(&app, b"three\n");
    bench.wait_stored("app", b"one\np two\np three\n");
    put(&app, &[&[b'x'; 2000][..], b"\n"].concat());
    until("the first part is archived", || !files_ending(&bench.log("app"), ".log.zst").is_empty());
    put(&other, b"two\n");
    bench.wait_stored("other", b"one\ntwo\n");
    reader.stop();
}

#[test]
fn r29_a_limit_that_is_lowered_counts_at_once() {
    let (bench, app) = Bench::new().holding("app");
    let reader = bench.reader().start();
    for round in 1..=5 {
        put(&app, b"one\n");
        bench.wait_stored("app", &b"one\n".repeat(round));
        reader.signal(Signal::SIGALRM);
        until("the part is archived", || files_ending(&bench.log("app"), ".log.zst").len() == round);
    }
    bench.scratch.write_policy("app.toml", "keep_files = 2");
    reread(&reader);
    until("three are gone", || files_ending(&bench.log("app"), ".log.zst").len() == 2);
    assert_eq!(reader.wait_lines("(keep_files 2)", 3).len(), 3);
    reader.stop();
}

#[test]
fn a_directory_that_cannot_be_read_changes_nothing() {
    let (bench, app) = Bench::new().holding("app");
    let reader = bench.reader().start();
    let pipes = bench.scratch.pipes();
    let mode = fs::metadata(&pipes).expect("a directory").permissions().mode();
    set_mode(&pipes, 0);
    reader.hang_up("; keeping the previous configuration");
    put(&app, b"one\n");
    bench.wait_stored("app", b"one\n");
    set_mode(&pipes, mode & 0o7777);
    assert!(reread(&reader).ends_with(": 0 added, 0 removed, 0 changed"));
    reader.stop();
}

#[test]
fn another_log_root_takes_a_restart_and_that_is_said() {
    let (bench, app) = Bench::new().holding("app");
    bench.scratch.write_policy("defaults.toml", "logs = \"../logs\"");
    let reader = Launch::new("reader").arg(bench.scratch.pipes()).start();
    bench.scratch.write_policy("defaults.toml", "logs = \"../elsewhere\"");
    reread(&reader);
    reader.wait_line(" remains the log root until reader restarts");
    let mailboxes = bench.scratch.path().join("mailboxes");
    fs::create_dir(&mailboxes).expect("a directory of our own");
    bench.scratch.write_policy("defaults.toml", &format!("logs = \"../logs\"\nmailbox_dir = {mailboxes:?}"));
    reread(&reader);
    reader.wait_line("mailbox_dir takes effect when reader restarts; until then mailboxes stay in ");
    put(&app, b"one\n");
    bench.wait_stored("app", b"one\n");
    reader.stop();
}
