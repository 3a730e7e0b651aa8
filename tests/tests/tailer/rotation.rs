//! Rotations under a running tailer, each with leases and without: T1 to T5, T9, T10, T14.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use standpipe_tests::deadline::{until, within};
use standpipe_tests::privilege::needs_tool;
use standpipe_tests::programs::command;
use standpipe_tests::stands::{Following, Tailing};
use standpipe_tests::world::{
    Log, Owner, copytruncate, count_lines, length, line, numbered, owners, rename_and_create, shift,
};

/// Follows `app.log`, with these keys at the top.
fn following(owner: Owner, general: &str) -> (Tailing, Log) {
    let (stand, log) = Following::to_stdout().owner(owner).general(general).start();
    (stand, log)
}

#[test]
fn t1_what_comes_late_into_a_renamed_file_is_delivered_once() {
    for owner in owners() {
        let (mut stand, mut old) = following(owner, "late_writer_max_ms = 1500\n");
        old.write(100);
        shift(&old.path);
        let mut new = stand.log("app.log", 2);
        new.write(50);
        for wait in [0, 50, 500, 1500] {
            thread::sleep(Duration::from_millis(wait));
            old.write(20);
            new.write(20);
        }
        stand.finish(&[&old, &new]);
    }
}

#[test]
fn t1_rotations_without_a_pause_lose_nothing_and_keep_the_order() {
    // F1, F2, F3
    for owner in owners() {
        let (mut stand, mut log) = following(owner, "");
        for _ in 0..3 {
            log.write(200);
            rename_and_create(&mut log);
        }
        log.write(10);
        stand.finish(&[&log]);
    }
}

#[test]
fn t1_four_rotations_between_two_looks_are_found_again() {
    // F11
    for owner in owners() {
        let (mut stand, mut log) = following(owner, "");
        log.write(20);
        stand.wait_delivered(&[&log]);
        stand.daemon().freeze();
        for _ in 0..4 {
            log.write(20);
            rename_and_create(&mut log);
        }
        log.write(20);
        stand.daemon().signal(Signal::SIGCONT);
        stand.finish(&[&log]);
    }
}

#[test]
fn t2_a_file_that_is_packed_at_once_is_read_to_its_end_and_the_packed_one_is_not_read() {
    needs_tool("gzip", || {
        for owner in owners() {
            let (mut stand, mut log) = following(owner, "");
            for round in 0..3 {
                // It is open, or nobody could know what is packed.
                log.write(1);
                stand.wait_delivered(&[&log]);
                log.write(299);
                let aside = numbered(&log.path, 9 - round);
                fs::rename(&log.path, &aside).unwrap();
                log.reopen();
                pack(&aside);
            }
            log.write(5);
            stand.finish(&[&log]);
        }
    });
}

#[test]
fn t3_all_that_stood_in_the_file_when_it_was_truncated_is_delivered() {
    for owner in owners() {
        let (mut stand, mut log) = following(owner, "");
        for _ in 0..6 {
            log.write(100);
            copytruncate(&log);
            stand.wait_delivered(&[&log]);
        }
        log.write(10);
        stand.finish(&[&log]);
    }
}

#[test]
fn t3_six_truncations_under_a_writer_lose_no_more_than_the_rotator_destroyed() {
    for owner in owners() {
        let (mut stand, mut log) = following(owner, "");
        let path = log.path.clone();
        let writer = thread::spawn(move || {
            for _ in 0..400 {
                log.write(3);
                thread::sleep(Duration::from_millis(1));
            }
            log
        });
        for _ in 0..6 {
            thread::sleep(Duration::from_millis(60));
            for number in (1..9).rev().filter(|number| numbered(&path, *number).exists()) {
                fs::rename(numbered(&path, number), numbered(&path, number + 1)).unwrap();
            }
            fs::copy(&path, numbered(&path, 1)).unwrap();
            OpenOptions::new().write(true).open(&path).unwrap().set_len(0).unwrap();
        }
        let mut log = writer.join().unwrap();
        log.write(1);
        let last = line(1, log.written().1 - 1, length(1, log.written().1 - 1));
        until("the last line", || stand.delivered().ends_with(&last));
        let said = stand.stop();
        let tally = stand.tally(&[&log]);
        let files = (1..=6).map(|number| numbered(&path, number)).chain([path.clone()]);
        let left: Vec<Vec<u8>> = files.map(|file| fs::read(file).unwrap()).collect();
        let kept: usize = left.iter().map(|bytes| count_lines(bytes)).sum();
        // A copy that was taken in the middle of a `write(2)` ends inside a line.
        let cut = left.iter().filter(|bytes| bytes.last().is_some_and(|byte| *byte != b'\n')).count();
        assert!(tally.found as usize >= kept, "{kept} lines are left, {tally:?}\n{said}");
        assert!(tally.torn as usize <= cut, "{cut} copies end inside a line, {tally:?}\n{said}");
        assert_eq!((tally.repeated, tally.disordered, tally.foreign), (0, 0, 0), "{tally:?}\n{said}");
        assert_eq!(tally.found + tally.lost, log.written().1);
    }
}

#[test]
fn t4_the_hole_that_a_writer_at_its_own_offset_leaves_is_passed_and_told() {
    for owner in owners() {
        let (mut stand, log) = Following::to_stdout().owner(owner).prepare();
        // The application writes at its own offset.
        let mut file = OpenOptions::new().write(true).open(&log.path).unwrap();
        let text = |numbers: std::ops::Range<u64>| numbers.flat_map(|n| line(3, n, length(3, n))).collect::<Vec<u8>>();
        stand.start();
        file.write_all(&text(0..300)).unwrap();
        until("300 lines", || stand.lines_delivered() == 300);
        copytruncate(&log);
        file.write_all(&text(300..320)).unwrap();
        until("320 lines", || stand.lines_delivered() == 320);
        assert_eq!(stand.delivered(), text(0..320), "{}", stand.daemon().stderr());
        stand.daemon().wait_line("[tailer] app.log truncated (");
        let hole = format!("app.log: skipped a hole of {} bytes", text(0..300).len());
        stand.daemon().wait_line(&hole);
        stand.stop();
        assert_eq!(stand.lines_delivered(), 320);
    }
}

#[test]
fn t5_a_file_that_was_truncated_and_grew_beyond_where_we_were_is_known_by_its_content() {
    for owner in owners() {
        let (mut stand, mut log) = following(owner, "");
        log.write(50);
        stand.wait_delivered(&[&log]);
        stand.daemon().freeze();
        let before = fs::metadata(&log.path).unwrap().len();
        OpenOptions::new().write(true).open(&log.path).unwrap().set_len(0).unwrap();
        while fs::metadata(&log.path).unwrap().len() <= before {
            log.write(10);
        }
        stand.daemon().signal(Signal::SIGCONT);
        stand.daemon().wait_line("[tailer] app.log truncated (content changed), reset offset");
        stand.finish(&[&log]);
    }
}

#[test]
fn t9_half_a_line_is_completed_by_its_own_file_only() {
    for owner in owners() {
        let (mut stand, mut old) = following(owner, "");
        old.write(10);
        old.begin_line();
        shift(&old.path);
        let mut new = stand.log("app.log", 2);
        new.write(10);
        old.write(1);
        drop(old.reopen_elsewhere(&stand.log_path("elsewhere")));
        stand.finish(&[&old, &new]);
    }
}

#[test]
fn t9_half_a_line_that_nobody_completes_gets_its_newline() {
    let (mut stand, mut old) = following(Owner::Tailer, "");
    old.write(10);
    old.begin_line();
    let half = fs::read(&old.path).unwrap();
    shift(&old.path);
    drop(old);
    let mut new = stand.log("app.log", 2);
    new.write(10);
    let expected = [half, b"\n".to_vec(), fs::read(&new.path).unwrap()].concat();
    until("all of it", || stand.delivered().len() >= expected.len());
    assert_eq!(String::from_utf8(stand.delivered()), String::from_utf8(expected));
    stand.daemon().wait_line("app.log ended without a newline, added one to its last line of");
    stand.stop();
}

#[test]
fn t10_files_renamed_by_time_and_packed_over_another_name_are_read_once() {
    needs_tool("gzip", || {
        for owner in owners() {
            let mut stand = Tailing::to_stdout(owner);
            stand.configure("", &[("0.log", "rotated = [\"0.log.*\"]\n")]);
            let mut log = stand.log("0.log", 1);
            stand.start();
            for round in 1..=3 {
                log.write(100);
                let name = |round: u32, end: &str| stand.log_path(&format!("0.log.20261121-10000{round}{end}"));
                fs::rename(&log.path, name(round, "")).unwrap();
                log.reopen();
                log.write(10);
                if round > 1 {
                    let packed = command("gzip").arg("-c").arg(name(round - 1, "")).output().unwrap().stdout;
                    fs::write(name(round - 1, ".tmp"), packed).unwrap();
                    fs::rename(name(round - 1, ".tmp"), name(round - 1, ".gz")).unwrap();
                    fs::remove_file(name(round - 1, "")).unwrap();
                }
            }
            stand.wait_delivered(&[&log]);
            // Another rotation, so that the directory is looked at with all of them in it.
            fs::rename(&log.path, stand.log_path("0.log.20261121-100009")).unwrap();
            log.reopen();
            log.write(10);
            stand.finish(&[&log]);
        }
    });
}

#[test]
fn t14_a_copy_beside_the_log_is_no_new_data() {
    for owner in owners() {
        let (mut stand, mut log) = following(owner, "");
        log.write(200);
        stand.wait_delivered(&[&log]);
        fs::copy(&log.path, numbered(&log.path, 1)).unwrap();
        // And one that takes its time, while the log grows.
        let bytes = fs::read(&log.path).unwrap();
        let mut slow = File::create(stand.log_path("app.log.2")).unwrap();
        for piece in bytes.chunks(bytes.len() / 4 + 1) {
            slow.write_all(piece).unwrap();
            log.write(5);
            thread::sleep(Duration::from_millis(120));
        }
        drop(slow);
        log.write(5);
        stand.wait_delivered(&[&log]);
        // It looks at the directory again.
        File::create(stand.log_path("app.log.9")).unwrap().write_all_at(b"", 0).unwrap();
        let is_more = within(Duration::from_millis(1500), || stand.lines_delivered() as u64 > log.written().1);
        assert!(!is_more, "{:?}\n{}", stand.tally(&[&log]), stand.daemon().stderr());
        stand.finish(&[&log]);
    }
}

fn pack(path: &Path) {
    assert!(command("gzip").arg(path).status().unwrap().success());
}
