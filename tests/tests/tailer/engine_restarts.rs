//! What happened while no tailer ran: rotations, packed files of gzip's and zstd's own, truncations, inodes that come
//! back.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use standpipe_tests::deadline::until;
use standpipe_tests::privilege::needs_tool;
use standpipe_tests::programs::command;
use standpipe_tests::stands::{Following, Tailing};
use standpipe_tests::world::{Log, Owner, Tally, copytruncate, numbered, rename_and_create};

/// Inodes that a file system hands out before it hands one out again.
const TRIES_MAX: usize = 2000;

/// A tailer that has delivered the first 100 lines of `app.log` and is not running any more.
fn away(keys: &str) -> (Tailing, Log) {
    let (mut stand, mut log) = Following::into_pipe().keys(keys).start();
    log.write(100);
    stand.wait_delivered(&[&log]);
    stand.stop();
    (stand, log)
}

fn pack(packer: &str, path: &Path) {
    let mut command = command(packer);
    if packer == "zstd" {
        command.args(["-q", "--rm"]);
    }
    assert!(command.arg(path).status().unwrap().success());
}

#[test]
fn one_rotation_with_lines_before_and_after() {
    // F17
    let (mut stand, mut log) = away("");
    log.write(50);
    rename_and_create(&mut log);
    log.write(50);
    stand.start();
    stand.finish(&[&log]);
}

#[test]
fn five_rotations() {
    // F18
    let (mut stand, mut log) = away("");
    for _ in 0..5 {
        log.write(50);
        rename_and_create(&mut log);
    }
    log.write(50);
    stand.start();
    stand.finish(&[&log]);
}

#[test]
fn five_rotations_with_all_but_the_newest_packed() {
    // F19
    for packer in ["gzip", "zstd"] {
        needs_tool(packer, || {
            let (mut stand, mut log) = away("");
            for _ in 0..5 {
                log.write(500);
                rename_and_create(&mut log);
            }
            for number in 2..=5 {
                pack(packer, &numbered(&log.path, number));
            }
            log.write(50);
            stand.start();
            stand.finish(&[&log]);
        });
    }
}

#[test]
fn files_beyond_retention_are_gone_and_that_is_said() {
    // F20
    let (mut stand, mut log) = away("");
    for _ in 0..4 {
        log.write(50);
        rename_and_create(&mut log);
    }
    log.write(50);
    for number in 3..=4 {
        fs::remove_file(numbered(&log.path, number)).unwrap();
    }
    stand.start();
    until("what is left", || stand.tally(&[&log]).found == 100 + 150);
    stand.daemon().wait_line("files rotated since the last run were removed");
    stand.stop();
    assert_eq!(stand.tally(&[&log]), Tally { found: 250, lost: 100, ..Tally::default() });
}

#[test]
fn a_line_that_was_half_written_is_completed_once() {
    // F22
    let (mut stand, mut log) = Following::into_pipe().start();
    log.write(10);
    log.begin_line();
    stand.wait_delivered(&[&log]);
    stand.kill9_and_start();
    log.write(1);
    rename_and_create(&mut log);
    log.begin_line();
    stand.kill9();
    log.write(5);
    stand.start();
    stand.finish(&[&log]);
}

#[test]
fn a_copytruncate_with_a_rest_in_the_copy() {
    // F23, F36
    for is_packed in [false, true] {
        let (mut stand, mut log) = away("");
        log.write(80);
        copytruncate(&log);
        if is_packed {
            pack("gzip", &numbered(&log.path, 1));
        }
        log.write(300);
        stand.start();
        stand.finish(&[&log]);
    }
}

#[test]
fn an_inode_that_comes_back_is_another_file() {
    // F24
    let (mut stand, mut log) = away("");
    let before = fs::metadata(&log.path).unwrap().ino();
    fs::remove_file(&log.path).unwrap();
    drop(log.reopen());
    for _ in 0..TRIES_MAX {
        if fs::metadata(&log.path).unwrap().ino() == before {
            break;
        }
        fs::remove_file(&log.path).unwrap();
        drop(log.reopen());
    }
    println!("the same inode: {}", fs::metadata(&log.path).unwrap().ino() == before);
    log.write(200);
    stand.start();
    stand.finish(&[&log]);
}

#[test]
fn a_checkpoint_counts_for_more_than_start_at_the_end() {
    // F28
    let mut stand = Tailing::into_pipe(Owner::Tailer, true);
    stand.configure("", &[("app.log", "start_at = \"end\"\n")]);
    let mut log = stand.log("app.log", 1);
    log.write(10);
    stand.start();
    stand.daemon().wait_line("inode=");
    log.write(10);
    until("what was written since", || stand.tally(&[&log]).found == 10);
    stand.stop();
    log.write(10);
    rename_and_create(&mut log);
    log.write(10);
    stand.start();
    until("the rest", || stand.tally(&[&log]).found == 30);
    stand.stop();
    assert_eq!(stand.tally(&[&log]), Tally { found: 30, lost: 10, ..Tally::default() });
}
