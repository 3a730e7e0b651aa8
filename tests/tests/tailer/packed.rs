//! Files that logrotate packs at once, beside those that it does not: the same lines come, whether the tailer looks on,
//! is stopped, or is away meanwhile, and whether its output takes what it reads or not.

use std::fs;
use std::path::Path;

use nix::sys::signal::Signal;
use standpipe_tests::deadline::until;
use standpipe_tests::privilege::needs_tool;
use standpipe_tests::programs::command;
use standpipe_tests::stands::{Following, Tailing};
use standpipe_tests::world::Log;

/// More than a pipe, its staging pipe and a block of the tailer take.
const BACKLOG_LINES: u64 = 16_000;

/// What happens to the tailer while files are rotated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meanwhile {
    Runs,
    /// SIGSTOP, SIGCONT: as a freezer does, or a virtual machine that is paused.
    Stopped,
    /// SIGTERM, and another start.
    Ended,
    Killed,
    /// As after a power cut: the next finds the state that was durable.
    PowerCut,
}

/// How files are rotated.
const WAYS: [&str; 4] = ["create\n", "create\ncompress\n", "copytruncate\n", "copytruncate\ncompress\n"];

fn rotate(stand: &Tailing, log: &mut Log, way: &str) {
    let conf = stand.work("logrotate.conf");
    fs::write(&conf, format!("{} {{\nsize 1\nrotate 100\n{way}}}\n", log.path.display())).unwrap();
    let mut command = command("logrotate");
    let done = command.arg("-f").arg("-s").arg(stand.work("logrotate.state")).arg(&conf).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    if way.starts_with("create") {
        drop(log.reopen());
    }
}

/// Waits until the tailer wrote down that it follows a file.
fn wait_known(stand: &Tailing) {
    let is_there = |state: &Path| fs::read_to_string(state).is_ok_and(|text| text.contains("\"ino\""));
    until("the checkpoint", || is_there(&stand.work("state.json")) && is_there(&stand.work("state.json.1")));
}

fn end(stand: &mut Tailing, meanwhile: Meanwhile) {
    match meanwhile {
        Meanwhile::Runs => {}
        Meanwhile::Stopped => stand.daemon().freeze(),
        Meanwhile::Ended => drop(stand.stop()),
        Meanwhile::Killed => stand.kill9(),
        Meanwhile::PowerCut => {
            wait_known(stand);
            stand.kill9();
            fs::rename(stand.work("state.json.1"), stand.work("state.json")).unwrap();
        }
    }
}

fn come_back(stand: &mut Tailing, meanwhile: Meanwhile) {
    match meanwhile {
        Meanwhile::Runs => {}
        Meanwhile::Stopped => stand.daemon().signal(Signal::SIGCONT),
        Meanwhile::Ended | Meanwhile::Killed | Meanwhile::PowerCut => stand.start(),
    }
}

/// One cell of the table: two rotations before the end, two after it, lines between all of them.
fn cell(way: &str, meanwhile: Meanwhile, is_blocked: bool) {
    let (mut stand, mut log) = Following::into_pipe().start();
    stand.set_draining(!is_blocked);
    log.write(if is_blocked { BACKLOG_LINES } else { 50 });
    let mut said = String::new();
    for round in 0..4 {
        if round == 2 {
            end(&mut stand, meanwhile);
            said = stand.daemon().stderr();
        }
        rotate(&stand, &mut log, way);
        log.write(50);
    }
    come_back(&mut stand, meanwhile);
    stand.set_draining(true);
    stand.wait_delivered(&[&log]);
    said += &stand.stop();
    let tally = stand.tally(&[&log]);
    // What was delivered after the durable state is delivered again.
    let is_right = if meanwhile == Meanwhile::PowerCut { tally.lost + tally.torn == 0 } else { tally.is_whole() };
    assert!(is_right, "{way:?} {meanwhile:?} blocked {is_blocked}: {tally:?}\n{said}");
    assert!(!said.contains("lost"), "{way:?} {meanwhile:?} blocked {is_blocked}: nothing is\n{said}");
}

macro_rules! table {
    ($($name:ident: $meanwhile:ident, $is_blocked:expr;)*) => {$(
        #[test]
        fn $name() {
            needs_tool("logrotate", || WAYS.iter().for_each(|way| cell(way, Meanwhile::$meanwhile, $is_blocked)));
        }
    )*};
}

table! {
    nothing_is_lost_while_it_runs: Runs, false;
    nothing_is_lost_while_it_runs_behind: Runs, true;
    nothing_is_lost_while_it_is_stopped: Stopped, false;
    nothing_is_lost_while_it_is_stopped_behind: Stopped, true;
    nothing_is_lost_when_it_is_ended: Ended, false;
    nothing_is_lost_when_it_is_ended_behind: Ended, true;
    nothing_is_lost_when_it_is_killed: Killed, false;
    nothing_is_lost_when_it_is_killed_behind: Killed, true;
    nothing_is_lost_when_the_power_is_cut: PowerCut, false;
    nothing_is_lost_when_the_power_is_cut_behind: PowerCut, true;
}
