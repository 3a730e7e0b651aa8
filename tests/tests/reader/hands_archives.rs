//! What people do by hand to log directories, links and policies, and what archiver, retention and hooks make of it:
//! nothing goes that a pipe still has, nothing stays undone, and what a policy says last counts.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;
use standpipe_tests::deadline::{CONDITION_SPAN, until, within};
use standpipe_tests::directory::{KEEP_ALL, names, set_mode};
use standpipe_tests::privilege::needs_seams;
use standpipe_tests::programs::Daemon;
use standpipe_tests::stands::{Clock, Stand, add_pipe};
use standpipe_tests::world::{archives, stream_of, write_all};

/// What the reader says when it is done with HUP.
const REREAD: &str = " after HUP: ";
/// How long something that must not happen is waited for, after what would have happened later.
const MOMENT: Duration = Duration::from_millis(300);
/// By it everything is too old a day later.
const ONE_HOUR: &str = "keep_size = \"off\"\nkeep_free = \"off\"\nkeep_age = \"1h\"\nrotate_age = \"off\"\n";
const TODAY: &str = "2026-11-21T10:00:00Z";

/// Makes the archive of a pipe that is no more, and returns its log: its end shows that a round is over or nearly so.
fn leave_orphan(stand: &Stand, reader: &Daemon) -> PathBuf {
    let (_, pipe) = add_pipe(&stand.scratch, "gone");
    let log = stand.scratch.logs().join("gone");
    reader.hang_up(REREAD);
    write_all(&pipe, b"old\n");
    until("it is stored", || stream_of(&log) == b"old\n");
    leave(stand, reader, "gone", pipe);
    until("it is archived", || archives(&log).len() == 1);
    log
}

/// Takes the link of a pipe away, and its last writer.
fn leave(stand: &Stand, reader: &Daemon, name: &str, pipe: File) {
    fs::remove_file(stand.scratch.pipes().join(name)).unwrap();
    reader.hang_up(REREAD);
    drop(pipe);
    reader.wait_line(&format!("{name}: link removed; stopped reading it"));
}

/// Until what no link leads to may expire, and an hour more.
fn let_a_day_pass(stand: &Stand, clock: &Clock, reader: &Daemon) {
    clock.pass(&stand.scratch, &["2026-11-21T11:30:00Z"]);
    // It is noted by the clock of that moment, unless what its pipe asked for last was done only now.
    let orphan = stand.scratch.logs().join("gone");
    let is_noted = || !reader.lines_with("gone: no link leads to this log any more").is_empty();
    until("the orphan is noted", || is_noted() || archives(&orphan).is_empty());
    clock.pass(&stand.scratch, &["2026-11-22T10:00:00Z"]);
    clock.set("2026-11-22T11:31:00Z");
}

/// Waits for the round that takes the orphan's archive, and checks that this log is as it was.
fn outlives_a_round(reader: &Daemon, orphan: &Path, log: &Path, expected: &[u8]) {
    let is_gone = within(CONDITION_SPAN, || archives(orphan).is_empty());
    assert!(is_gone, "the orphan has its archive:\n{}", reader.stderr());
    assert!(!within(MOMENT, || stream_of(log) != expected), "{:?}", names(log));
}

#[test]
fn a_link_in_the_root_to_the_log_of_a_pipe_makes_it_no_orphan() {
    needs_seams(|| {
        let stand = Stand::new(ONE_HOUR);
        stand.scratch.write_policy("app.toml", "keep_age = \"off\"\n");
        let clock = Clock::new(&stand.scratch, TODAY);
        let reader = clock.steer(stand.reader()).start();
        let orphan = leave_orphan(&stand, &reader);
        stand.rotate(&reader, "archived\n");
        stand.write_and_wait("active\n");
        symlink("app", stand.scratch.logs().join("old")).unwrap();
        let_a_day_pass(&stand, &clock, &reader);
        outlives_a_round(&reader, &orphan, &stand.log_dir(), b"archived\nactive\n");
    });
}

#[test]
fn a_log_directory_that_is_renamed_under_a_lane_at_work_is_no_orphan() {
    needs_seams(|| {
        let (stand, clock, reader) = Stand::started_at(ONE_HOUR, TODAY);
        let orphan = leave_orphan(&stand, &reader);
        stand.write_and_wait("one\n");
        let old = stand.scratch.logs().join("app.old");
        fs::rename(stand.log_dir(), &old).unwrap();
        let_a_day_pass(&stand, &clock, &reader);
        outlives_a_round(&reader, &orphan, &old, b"one\n");
    });
}

#[test]
fn the_archiver_knows_the_active_segment_of_a_directory_that_was_made_anew() {
    needs_seams(|| {
        let (stand, clock, reader) = Stand::started_at(&format!("{ONE_HOUR}filename = \"%Y-%m-%d\"\n"), TODAY);
        let orphan = leave_orphan(&stand, &reader);
        stand.rotate(&reader, "line 1\n");
        let fds = || fs::read_dir(format!("/proc/{}/fd", reader.pid())).unwrap().flatten();
        let has_log = || fds().any(|fd| fs::read_link(fd.path()).is_ok_and(|to| to.starts_with(stand.log_dir())));
        until("the lane rests", || !has_log());
        fs::remove_dir_all(stand.log_dir()).unwrap();
        stand.write_and_wait("precious\n");
        let_a_day_pass(&stand, &clock, &reader);
        outlives_a_round(&reader, &orphan, &stand.log_dir(), b"precious\n");
    });
}

#[test]
fn limits_that_are_taken_out_while_a_lane_cannot_write_remove_nothing_more() {
    needs_seams(|| {
        let stand = Stand::new("keep_size = \"off\"\nkeep_free = \"1KiB\"\nkeep_min = 0\n");
        let reader = stand.traced_reader().start();
        for number in 0..8 {
            stand.rotate(&reader, &format!("line {number}\n"));
        }
        // Each try to write asks for room, and the next one comes when there was time to make some.
        let tries = || stand.passes("write");
        let wait_tries = |count| {
            let before = tries();
            until("it tries again", || tries() >= before + count);
        };
        stand.faults("ENOSPC write 1 1000000\n");
        stand.write(b"held\n");
        reader.wait_line("keep_free");
        stand.scratch.write_policy("defaults.toml", KEEP_ALL);
        reader.hang_up(REREAD);
        wait_tries(1);
        let left = stand.archives().len();
        wait_tries(2);
        assert!(left > 0);
        assert_eq!(stand.archives().len(), left, "{}", reader.stderr());
    });
}

/// A hook that every pipe may have; it runs in the scratch directory.
fn write_hook(stand: &Stand, script: &str) {
    let path = stand.scratch.path().join("hook");
    fs::write(&path, format!("#!/bin/sh\ncd {} || exit 99\n{script}\n", stand.scratch.path().display())).unwrap();
    set_mode(&path, 0o755);
}

/// The policy that has it.
const HOOK: &str = "hook = [\"../hook\"]\n";

/// Says when it begins and ends, which it does not before the test lets it.
const GATED: &str = "echo begin >> had; until [ -e go ]; do sleep 0.02; done; echo end >> had";

/// What the hooks noted, a line each.
fn had(stand: &Stand) -> Vec<String> {
    let text = fs::read_to_string(stand.scratch.path().join("had")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn open_gate(stand: &Stand) {
    fs::write(stand.scratch.path().join("go"), "").unwrap();
}

fn wait_handed_over(log: &Path) {
    until("every archive was handed over", || !names(log).iter().any(|name| name.starts_with(".todo-")));
}

/// Writes to `app`, takes it away and waits for the archive of the last part, the second one.
fn with_a_pipe_that_left(reader: &Daemon, mut stand: Stand) -> Stand {
    stand.rotate(reader, "first\n");
    until("its hook runs", || had(&stand) == ["begin"]);
    stand.write_and_wait("last\n");
    let pipe = std::mem::replace(&mut stand.pipe, File::open("/dev/null").unwrap());
    leave(&stand, reader, "app", pipe);
    until("its last part is archived", || stand.archives().len() == 2);
    stand
}

#[test]
fn the_last_archives_of_a_pipe_that_goes_are_handed_over() {
    let stand = Stand::new(HOOK);
    write_hook(&stand, GATED);
    let reader = stand.reader().start();
    let stand = with_a_pipe_that_left(&reader, stand);
    open_gate(&stand);
    wait_handed_over(&stand.log_dir());
    assert_eq!(had(&stand), ["begin", "end", "begin", "end"]);
}

#[test]
fn a_hook_runs_one_at_a_time_though_its_pipe_left_and_came_back() {
    let stand = Stand::new(HOOK);
    write_hook(&stand, GATED);
    let reader = stand.reader().start();
    let mut stand = with_a_pipe_that_left(&reader, stand);
    stand.scratch.link("app", &stand.fifo);
    let line = reader.hang_up(REREAD);
    assert!(line.contains(": 1 added"), "{line}");
    stand.pipe = File::options().read(true).write(true).open(&stand.fifo).unwrap();
    stand.rotate(&reader, "back\n");
    assert!(!within(MOMENT, || had(&stand).len() > 1), "{:?}", had(&stand));
    open_gate(&stand);
    wait_handed_over(&stand.log_dir());
    assert_eq!(had(&stand), ["begin", "end"].repeat(3));
}

#[test]
fn a_hook_that_was_taken_out_of_the_policy_is_not_tried_again() {
    let stand = Stand::new("");
    stand.scratch.write_policy("app.toml", HOOK);
    stand.scratch.write_policy("other.toml", HOOK);
    write_hook(&stand, "echo $STANDPIPE_PIPE >> had; exit 1");
    let (_, other) = add_pipe(&stand.scratch, "other");
    let reader = stand.reader().start();
    let runs = |name: &str| had(&stand).iter().filter(|had| *had == name).count();
    stand.rotate(&reader, "line\n");
    reader.wait_line("its exit code was 1");
    stand.scratch.write_policy("app.toml", "");
    reader.hang_up(REREAD);
    // The hook of the other pipe fails later, and so its next try is later as well.
    write_all(&other, b"line\n");
    let log = stand.scratch.logs().join("other");
    until("it is stored", || stream_of(&log) == b"line\n");
    reader.signal(Signal::SIGALRM);
    until("it fails", || runs("other") == 1);
    let before = runs("app");
    until("it is tried again", || runs("other") == 2);
    assert_eq!(runs("app"), before, "{}", reader.stderr());
}
