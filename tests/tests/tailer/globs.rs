//! Which files a configuration finds, where it begins in them, and in which order their lines come: F68, F69.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use standpipe_tests::deadline::until;
use standpipe_tests::privilege;
use standpipe_tests::programs::Launch;
use standpipe_tests::stands::{Following, Tailing};
use standpipe_tests::world::{Owner, rename_and_create};

#[test]
fn files_that_appear_under_a_glob_are_read_from_their_beginning() {
    for inotify in [true, false] {
        let mut stand = Tailing::to_stdout(Owner::Tailer);
        stand.configure(&format!("inotify = {inotify}\n"), &[("*/*.log", "start_at = \"end\"\n")]);
        let dir = |name: &str| {
            fs::create_dir(stand.log_path(name)).unwrap();
            privilege::give(&stand.log_path(name));
        };
        dir("one");
        let mut old = stand.log("one/old.log", 1);
        old.write(10);
        let before = stand.delivered().len();
        dir("two");
        // What is born in the same tick of the kernel's clock as the tailer starts counts as new.
        std::thread::sleep(std::time::Duration::from_millis(10));
        stand.start();
        old.write(5);
        until("the end of the old one", || stand.tally(&[&old]).found == 5);
        let mut logs = vec![stand.log("one/new.log", 2), stand.log("two/new.log", 3)];
        fs::create_dir(stand.log_path("three")).unwrap();
        logs.push(stand.log("three/new.log", 4));
        for log in &mut logs {
            log.write(10);
        }
        // And rotated siblings are no sources.
        drop(rename_and_create(&mut logs[0]));
        logs[0].write(10);
        until("all of the new ones", || stand.tally(&logs.iter().collect::<Vec<_>>()).found == 40);
        assert_eq!(before, 0);
        stand.stop();
        assert_eq!(stand.lines_delivered(), 45);
        // What came while it was down is new as well.
        let mut late = stand.log("two/late.log", 5);
        late.write(7);
        stand.start();
        until("the late one", || stand.tally(&[&late]).found == 7);
        stand.stop();
        assert_eq!(stand.lines_delivered(), 52);
    }
}

#[test]
fn a_name_of_any_bytes_is_found_under_a_glob() {
    let mut stand = Tailing::to_stdout(Owner::Tailer);
    stand.configure("", &[("*.log", "")]);
    let odd = |name: &[u8]| stand.logs().join(OsStr::from_bytes(name));
    fs::write(odd(b".\xff"), "hidden\n").unwrap();
    fs::write(odd(b"caf\xe9.log"), "before\n").unwrap();
    let later = odd(b"\xc3.log");
    stand.start();
    until("the one that was there", || stand.delivered() == b"before\n");
    fs::write(later, "later\n").unwrap();
    until("the new one", || stand.delivered() == b"before\nlater\n");
    stand.stop();
}

#[test]
fn sources_of_one_file_name_are_called_by_their_paths_below_the_glob() {
    let mut stand = Tailing::to_stdout(Owner::Tailer);
    stand.configure("", &[("*/app.log", ""), ("x.log", "name = \"ex\"\n")]);
    for name in ["a/app.log", "b/app.log", "x.log"] {
        fs::create_dir_all(stand.log_path(name).parent().unwrap()).unwrap();
        fs::write(stand.log_path(name), format!("2026-11-21T10:00:00Z INFO of {name}\n")).unwrap();
    }
    stand.start_by(Launch::new("tailer").arg("--config").arg(stand.work("tailer.toml")));
    until("three lines", || stand.lines_delivered() == 3);
    stand.stop();
    let text = String::from_utf8(stand.delivered()).unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    let golden = [
        "2026-11-21T10:00:00Z a/app.log INFO of a/app.log",
        "2026-11-21T10:00:00Z b/app.log INFO of b/app.log",
        "2026-11-21T10:00:00Z ex INFO of x.log",
    ];
    assert_eq!(lines, golden);
}

#[test]
fn where_to_begin_is_a_key_and_a_flag() {
    for (key, flag, expected) in [("end", None, 5), ("beginning", None, 15), ("end", Some("--follow-from-start"), 15)] {
        let (mut stand, mut log) = Following::to_stdout().keys(&format!("start_at = {key:?}\n")).prepare();
        log.write(10);
        stand.start_by(stand.launch().args(flag));
        stand.daemon().wait_line("inode=");
        log.write(5);
        until("the lines", || stand.tally(&[&log]).found >= expected);
        stand.stop();
        assert_eq!(stand.tally(&[&log]).found, expected);
    }
}

/// Five files with the times of each other, some equal, one line late by ten seconds, and one file that is empty.
fn merged(dir: &Path) -> String {
    let files = [
        ("a.log", "2026-11-21T10:00:01Z INFO a1\n2026-11-21T10:00:04Z INFO a2\n"),
        ("b.log", "2026-11-21T10:00:02Z WARN b1\n2026-11-21T10:00:02Z b2\n2026-11-21T10:00:05Z b3\n"),
        ("c.log", "2026-11-21T10:00:02Z [error] c1\n  at main\n"),
        ("d.log", "2026-11-21T10:00:12Z d1\n2026-11-21T10:00:02Z d2\n2026-11-21T10:00:13Z d3\n"),
        ("e.log", ""),
    ];
    // When a line was read, in a batch.
    let eleven = UNIX_EPOCH + Duration::from_secs(1_795_258_800);
    for (name, text) in files {
        fs::write(dir.join(name), text).unwrap();
        File::options().write(true).open(dir.join(name)).unwrap().set_modified(eleven).unwrap();
    }
    "\
2026-11-21T10:00:01Z a.log INFO a1
2026-11-21T10:00:02Z b.log WARN b1
2026-11-21T10:00:02Z b.log - b2
2026-11-21T10:00:02Z c.log error c1
2026-11-21T10:00:02Z c.log -   at main
2026-11-21T10:00:02Z d.log - d2
2026-11-21T10:00:04Z a.log INFO a2
2026-11-21T10:00:05Z b.log - b3
2026-11-21T10:00:12Z d.log - d1
2026-11-21T10:00:13Z d.log - d3
"
    .to_owned()
}

#[test]
fn a_batch_is_a_pure_function_of_its_files() {
    let stand = Tailing::to_stdout(Owner::Tailer);
    let golden = merged(&stand.logs());
    for output in ["text", "json", "raw"] {
        let batch = || {
            let paths = ["a", "b", "c", "d", "e"].map(|name| stand.log_path(&format!("{name}.log")));
            let launch = Launch::new("tailer").args(paths).args(["--batch", "--follow-from-start", "--output", output]);
            let run = launch.args(["--order", "timestamp"]).run();
            assert_eq!(run.code, 0, "{}", run.stderr);
            String::from_utf8(run.stdout).unwrap()
        };
        let first = batch();
        assert_eq!(batch(), first);
        assert_eq!(first.lines().count(), 10);
        if output == "text" {
            assert_eq!(first, golden);
        }
    }
}

#[test]
fn lines_of_several_files_come_in_the_order_of_their_times_and_late_ones_are_counted() {
    let mut stand = Tailing::to_stdout(Owner::Tailer);
    merged(&stand.logs());
    stand.configure("order = \"timestamp\"\nwindow_ms = 300\n", &[("*.log", "")]);
    stand.start_by(Launch::new("tailer").arg("--config").arg(stand.work("tailer.toml")));
    until("all lines", || stand.lines_delivered() == 10);
    let late = "2026-11-21T10:00:03Z INFO a3\n";
    let text = fs::read_to_string(stand.log_path("a.log")).unwrap();
    fs::write(stand.log_path("late.log"), format!("{text}{late}")).unwrap();
    until("the late ones", || stand.lines_delivered() == 13);
    stand.stop();
    let said = stand.daemon().lines_with(" arrived too late and were written out of order");
    assert!(!said.is_empty(), "{}", stand.daemon().stderr());
}

#[test]
fn with_a_clock_that_stands_still_two_runs_are_equal() {
    let stand = Tailing::to_stdout(Owner::Tailer);
    merged(&stand.logs());
    fs::write(stand.work("clock"), "2026-11-21T12:00:00Z").unwrap();
    for order in ["read", "timestamp"] {
        let run = |number: u32| {
            let output = stand.work(&format!("output-{order}-{number}"));
            let file = File::create(&output).unwrap();
            let paths = ["a", "b", "c", "d", "e"].map(|name| stand.log_path(&format!("{name}.log")));
            let launch = Launch::new("tailer").args(paths).args(["--follow-from-start", "--output", "json"]);
            let launch = launch.args(["--order", order]).env("STANDPIPE_TEST_CLOCK", stand.work("clock"));
            let mut daemon = launch.start_into(file);
            daemon.wait_lines("\"event\":\"source\"", 5);
            // Lines that wait for earlier ones wait by that clock; at the end they come all the same.
            assert_eq!(daemon.terminate(), 0);
            fs::read_to_string(&output).unwrap()
        };
        let first = run(1);
        assert_eq!(run(2), first, "{order}");
        assert!(first.lines().count() == 10 && first.contains("2026-11-21T12:00:00"), "{first}");
    }
}

/// The state file is another inode after each save, and file systems give a free number to the next file.
#[test]
fn a_log_with_the_inode_number_of_an_earlier_state_file_is_followed() {
    let mut stand = Tailing::to_stdout(Owner::Tailer);
    stand.configure("", &[("*.log", "")]);
    let mut first = stand.log("first.log", 0);
    stand.start();
    stand.stop();
    let inode = |path: &Path| fs::metadata(path).unwrap().ino();
    let before = inode(&stand.work("state.json"));
    stand.start();
    until("another state file", || {
        first.write(1);
        let mut entries = fs::read_dir(stand.work("")).unwrap();
        // One that is renamed meanwhile is not it.
        entries.all(|entry| fs::metadata(entry.unwrap().path()).map_or(true, |entry| entry.ino() != before))
    });
    let mut logs = vec![first];
    while logs.len() < 90 && inode(&logs[logs.len() - 1].path) != before {
        logs.push(stand.log(&format!("{}.log", logs.len()), logs.len() as u16));
    }
    for log in &mut logs {
        log.write(1);
    }
    stand.finish(&logs.iter().collect::<Vec<_>>());
}

#[test]
fn what_is_excluded_or_too_old_is_not_read_and_the_status_says_so() {
    let mut stand = Tailing::into_pipe(Owner::Tailer, true);
    let deep = stand.log_path("deep").join("*");
    let keys = format!("ignore_older = \"1h\"\nexclude = [\"debug*\", {deep:?}]\n");
    stand.configure("", &[("**/*.log*", &keys)]);
    fs::create_dir(stand.log_path("deep")).unwrap();
    privilege::give(&stand.log_path("deep"));
    let (mut app, mut old) = (stand.log("app.log", 1), stand.log("old.log", 2));
    app.write(10);
    old.write(10);
    let two_hours_ago = std::time::SystemTime::now() - Duration::from_secs(7200);
    File::options().write(true).open(&old.path).unwrap().set_modified(two_hours_ago).unwrap();
    let mut left_out = ["debug.log", "debug.log.1", "deep/x.log"].map(|name| stand.log(name, 9));
    for log in &mut left_out {
        log.write(1);
    }
    stand.start();
    until("what is new enough", || stand.tally(&[&app]).found == 10);
    stand.daemon().wait_line("old.log has not changed within its ignore_older; skipped its ");
    old.write(3);
    until("what was appended to the old one", || stand.tally(&[&old]).found == 3);
    let status = || {
        let status = Launch::new("tailer").arg("status").arg("--config").arg(stand.work("tailer.toml"));
        let output = status.arg("--json").run();
        (output.code, String::from_utf8_lossy(&output.stdout).into_owned())
    };
    until("the status is calm", || status().0 == 0);
    let said = status().1;
    assert!(said.contains("old.log had not changed within its `ignore_older`: its content was skipped"), "{said}");
    assert!(said.contains("`exclude` leaves out 3 files") && said.contains("\"excluded\": 3"), "{said}");
    // What is known is never too old.
    stand.stop();
    old.write(2);
    File::options().write(true).open(&old.path).unwrap().set_modified(two_hours_ago).unwrap();
    stand.start();
    until("what came while it was down", || stand.tally(&[&old]).found == 5);
    assert_eq!(stand.tally(&left_out.iter().collect::<Vec<_>>()).found, 0);
    stand.stop();
}
