//! Several files on one pipe that is full: who is served first, and how much each gets.

use std::fs;

use standpipe_tests::deadline::until;
use standpipe_tests::programs::Launch;
use standpipe_tests::stands::Tailing;
use standpipe_tests::world::{Check, Log, Owner};

/// More than a pipe holds, and what the tailer took already.
const BACKLOG_BYTES: u64 = 4 << 20;
/// What is looked at.
const BEGINNING_BYTES: usize = 3 << 20;

/// Logs of that many bytes and more, by name and number, that are there before the tailer is.
fn backlogs(stand: &Tailing, names: &[&str]) -> Vec<Log> {
    let fill = |(name, writer): (&&str, u16)| {
        let mut log = stand.log(name, writer);
        while fs::metadata(&log.path).unwrap().len() < BACKLOG_BYTES {
            log.write(100);
        }
        log
    };
    names.iter().zip(1..).map(fill).collect()
}

/// How many lines of each log are in the first `bytes` of what came.
fn found_in(delivered: &[u8], bytes: usize, logs: &[Log]) -> Vec<u64> {
    let found = |log: &Log| {
        let mut check = Check::new();
        check.feed(&delivered[..bytes]);
        check.finish(&[log.written()]).found
    };
    logs.iter().map(found).collect()
}

#[test]
fn files_of_one_priority_share_a_full_pipe() {
    let mut stand = Tailing::into_pipe(Owner::Tailer, true);
    stand.configure("", &[("a.log", ""), ("b.log", ""), ("c.log", "")]);
    let mut logs = backlogs(&stand, &["a.log", "b.log", "c.log"]);
    stand.set_draining(false);
    stand.start();
    stand.set_draining(true);
    stand.wait_delivered(&logs.iter().collect::<Vec<_>>());
    let found = found_in(&stand.delivered(), BEGINNING_BYTES, &logs);
    let (least, most) = (found.iter().min().unwrap(), found.iter().max().unwrap());
    assert!(*least * 2 > *most, "{found:?}");
    logs[0].write(1);
    stand.finish(&logs.iter().collect::<Vec<_>>());
}

#[test]
fn files_of_a_higher_priority_go_first_and_a_live_one_does_not_wait_for_backlogs() {
    let mut stand = Tailing::into_pipe(Owner::Tailer, true);
    let keys = ["", "priority = 1\n", "priority = 2\n"];
    stand.configure("", &[("low.log", keys[0]), ("high.log", keys[1]), ("live.log", keys[2])]);
    let logs = backlogs(&stand, &["low.log", "high.log"]);
    let mut live = stand.log("live.log", 9);
    stand.set_draining(false);
    stand.start();
    stand.daemon().wait_line("live.log inode");
    let wait_blocked = |count| {
        until("they are blocked", || {
            let toml = stand.work("tailer.toml");
            let output = Launch::new("tailer").arg("status").arg("--config").arg(toml).arg("--json").run();
            String::from_utf8_lossy(&output.stdout).matches("\"blocked_since\": {").count() == count
        });
    };
    wait_blocked(2);
    live.write(1);
    wait_blocked(3);
    stand.set_draining(true);
    stand.wait_delivered(&[&logs[0], &logs[1], &live]);
    let delivered = stand.delivered();
    let found = found_in(&delivered, BEGINNING_BYTES, &logs);
    assert!(found[1] > found[0] * 4, "{found:?}");
    let mut check = Check::new();
    check.feed(&delivered[..BEGINNING_BYTES]);
    assert_eq!(check.finish(&[live.written()]).found, 1, "the live line waited for a backlog");
    stand.finish(&[&logs[0], &logs[1], &live]);
}
