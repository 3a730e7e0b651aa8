//! The tailer ends at every step that changes something on a disk or in a pipe, or the disk refuses the step.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;
use standpipe_tests::deadline::{CONDITION_SPAN, until, within};
use standpipe_tests::privilege::needs_seams;
use standpipe_tests::programs::{Daemon, Launch};
use standpipe_tests::stands::{Following, Tailing};
use standpipe_tests::world::{
    Check, Drain, Log, Owner, Tally, capacity, copytruncate, open_reader, queued, rename_and_create,
};

/// Steps of the staging pipe and of its record.
const STAGE: [&str; 9] = [
    "stage-block",
    "stage-word",
    "stage-canary",
    "stage-write",
    "stage-read",
    "stage-splice",
    "stage-moved",
    "stage-position",
    "stage-grow",
];
/// Steps of the checkpoint.
const STATE: [&str; 7] =
    ["state-read", "state-write", "state-sync", "state-link", "state-keep", "state-rename", "state-sync-dir"];
/// At which passes of them.
const PASSES: [u64; 4] = [1, 2, 3, 7];

/// A tailer that meets each fault in its turn, with lines, rotations and truncations meanwhile; how often it ended.
fn meet(faults: &[String]) -> u32 {
    let (mut stand, mut log) = Following::into_pipe().prepare();
    let mut ended = 0;
    // What is rotated before the very first look is not known.
    stand.start();
    log.write(10);
    stand.wait_delivered(&[&log]);
    stand.stop();
    for (round, fault) in faults.iter().enumerate() {
        stand.faults(fault);
        stand.start_by(stand.launch());
        log.write(30);
        rename_and_create(&mut log);
        log.write(30);
        let done = within(CONDITION_SPAN, || !stand.is_running() || is_delivered(&stand, &log));
        assert!(done, "round {round}, {fault}: {:?}\n{}", stand.tally(&[&log]), stand.daemon().stderr());
        if stand.is_running() && round % 3 == 0 {
            // All is delivered: nothing is destroyed.
            copytruncate(&log);
            log.write(30);
        }
        // What is written once a second is written at the end at the latest.
        if stand.is_running() {
            stand.daemon().signal(Signal::SIGTERM);
        }
        until("it ends", || !stand.is_running());
        ended += u32::from(stand.exit_code() == 128 + 9);
    }
    stand.faults("");
    stand.start();
    stand.finish(&[&log]);
    ended
}

fn is_delivered(stand: &Tailing, log: &Log) -> bool {
    memchr::memchr_iter(b'\n', &stand.delivered()).count() as u64 >= log.written().1
}

fn each(actions: &[&str], points: &[&str]) -> Vec<String> {
    let of_point = |point: &&str| -> Vec<String> {
        let with =
            |action: &&str| PASSES.iter().map(move |pass| format!("{action} {point} {pass}\n")).collect::<Vec<_>>();
        actions.iter().flat_map(with).collect()
    };
    points.iter().flat_map(of_point).collect()
}

#[test]
fn a_kill_at_any_step_of_the_staging_pipe_changes_no_byte() {
    // F26
    needs_seams(|| {
        let ended = meet(&each(&["kill"], &STAGE));
        println!("{ended} ended at a step");
        assert!(ended >= 18, "{ended}");
    });
}

#[test]
fn a_kill_at_any_step_of_the_checkpoint_changes_no_byte() {
    needs_seams(|| {
        let ended = meet(&[each(&["kill"], &STATE), each(&["half"], &["state-write"])].concat());
        println!("{ended} ended at a step");
        assert!(ended >= 14, "{ended}");
    });
}

#[test]
fn a_disk_that_refuses_the_checkpoint_stops_no_line() {
    // F58
    needs_seams(|| {
        for errno in ["ENOSPC", "EIO"] {
            let (mut stand, mut log) = Following::into_pipe().start();
            log.write(100);
            stand.wait_delivered(&[&log]);
            for point in ["state-write", "state-sync", "state-rename"] {
                stand.faults(&format!("{errno} {point} 1 1000000\n"));
                log.write(100);
                rename_and_create(&mut log);
                log.write(100);
                stand.wait_delivered(&[&log]);
                stand.daemon().wait_line("a crash repeats lines");
            }
            stand.faults("");
            let said = stand.daemon().lines_with("a crash repeats lines").len();
            assert!(said <= 3, "{}", stand.daemon().stderr());
            stand.finish(&[&log]);
            // The checkpoint is right again.
            stand.start();
            log.write(10);
            stand.finish(&[&log]);
        }
    });
}

#[test]
fn a_kill_while_the_disk_refuses_the_checkpoint_loses_nothing() {
    needs_seams(|| {
        let (mut stand, mut log) = Following::into_pipe().start();
        log.write(100);
        stand.wait_delivered(&[&log]);
        stand.faults("ENOSPC state-write 1 1000000\n");
        log.write(100);
        rename_and_create(&mut log);
        log.write(100);
        stand.wait_delivered(&[&log]);
        stand.daemon().wait_line("a crash repeats lines");
        stand.kill9();
        stand.faults("");
        stand.start();
        log.write(100);
        until("the last lines", || stand.tally(&[&log]).lost == 0);
        stand.stop();
        let Tally { found, lost, torn, foreign, .. } = stand.tally(&[&log]);
        assert_eq!((found, lost, torn, foreign), (400, 0, 0, 0));
    });
}

/// A tailer, a holder and a pipe that a test drains by itself.
struct Scene {
    stand: Tailing,
    holder: Daemon,
    fifo: PathBuf,
}

impl Scene {
    fn set() -> Scene {
        let stand = Tailing::to_stdout(Owner::Tailer);
        let fifo = stand.scratch.pipe("out");
        stand.scratch.write_policy("out.toml", "stage = true\n");
        let holder = holder(stand.scratch.pipes().as_path());
        stand.configure("", &[("app.log", &format!("pipe = \"{}\"\n", fifo.display()))]);
        Scene { stand, holder, fifo }
    }
}

fn holder(pipes: &Path) -> Daemon {
    Launch::new("holder").arg(pipes).start()
}

#[test]
fn both_killed_with_a_block_half_way_repeat_at_most_what_is_said() {
    let mut scene = Scene::set();
    let mut log = scene.stand.log("app.log", 1);
    let pipe = open_reader(&scene.fifo);
    scene.stand.start();
    log.write(9000);
    let size = capacity(&scene.fifo);
    until("the pipe is full, in the middle of a block", || {
        let before = queued(&pipe);
        before > size / 10 * 9 && !within(Duration::from_millis(100), || queued(&pipe) != before)
    });
    scene.stand.kill9();
    scene.holder.kill9();
    scene.holder = holder(&scene.stand.scratch.pipes());
    let drain = Drain::start(&scene.fifo);
    scene.stand.start();
    let written = fs::metadata(&log.path).unwrap().len();
    let check = |bytes: &[u8]| {
        let mut check = Check::new();
        check.feed(bytes);
        check.finish(&[log.written()])
    };
    until("all lines", || check(&drain.bytes()).lost == 0);
    let said = scene.stand.stop();
    let tally = check(&drain.bytes());
    let repeated = drain.bytes().len() as u64 - written;
    let promised: u64 = said
        .lines()
        .filter(|line| line.contains("may be repeated"))
        .filter_map(|line| line.split(' ').filter_map(|word| word.parse::<u64>().ok()).next_back())
        .sum();
    println!("{repeated} bytes repeated, {promised} announced");
    assert_eq!((tally.lost, tally.torn, tally.foreign), (0, 0, 0), "{said}");
    assert!(repeated <= promised && promised > 0, "{repeated} of {promised}: {said}");
}
