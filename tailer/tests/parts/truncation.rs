//! One log through truncations without copies.

use std::fs::{self, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;

use crate::follower::{BOTH, Follower, lines, same};
use standpipe_tailer::log::happening::{Happening, Truncation};

fn lost(follower: &Follower) -> u64 {
    let bytes = |happening: &Happening| match happening {
        Happening::Lost { bytes } => *bytes,
        _ => 0,
    };
    follower.happenings.iter().map(bytes).sum()
}

fn truncations(follower: &Follower) -> usize {
    follower.heard(|happening| matches!(happening, Happening::Truncated(_)))
}

#[test]
fn a_file_that_begins_anew_is_read_from_its_beginning() {
    // F30, F40
    let mut follower = Follower::new(true);
    follower.append("app.log", "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n");
    follower.turn();
    fs::write(&follower.log, "11\n12\n13\n14\n15\n").unwrap();
    follower.turn();
    same(&follower.text(), "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12\n13\n14\n15\n");
    assert_eq!(follower.heard(|happening| *happening == Happening::Truncated(Truncation::SizeDecreased)), 1);
    assert_eq!(lost(&follower), 0);
}

#[test]
fn a_file_that_grew_again_to_the_same_size_or_beyond_is_told_by_its_content() {
    // T5, F31, F32, F37
    for rest in [0, 1, 50] {
        let mut follower = Follower::new(true);
        let head = "the same first line\n".repeat(50);
        let mut expected = String::new();
        for round in 0..10 {
            let text = head.clone() + &lines(round * 1000..round * 1000 + 10 + rest * round);
            fs::write(&follower.log, &text).unwrap();
            expected += &text;
            follower.turn();
            follower.advance(10);
        }
        same(&follower.text(), &expected);
        assert_eq!(truncations(&follower), 9);
    }
}

#[test]
fn what_a_new_life_has_more_than_the_old_one_had_was_not_lost() {
    let mut follower = Follower::new(true);
    follower.append("app.log", lines(0..10));
    follower.turn();
    for has_copy in [false, true] {
        if has_copy {
            follower.copy("app.log", "app.log.1");
        }
        fs::write(&follower.log, lines(100..200)).unwrap();
        // A read that comes before a look sees the size of the new life.
        follower.read();
        follower.turn();
        assert_eq!(lost(&follower), 0, "{:?}", follower.happenings);
        follower.truncate("app.log", 0);
        follower.append("app.log", lines(0..10));
        follower.settle();
    }
    assert_eq!(lost(&follower), 0, "{:?}", follower.happenings);
    same(&follower.text(), &(lines(0..10) + &(lines(100..200) + &lines(0..10)).repeat(2)));
}

#[test]
fn what_a_life_had_that_was_never_read_is_not_lost_with_the_next() {
    for has_copy in [false, true] {
        let mut follower = Follower::new(true);
        (follower.output.room, follower.delivers) = (0, false);
        follower.append("app.log", lines(0..50));
        follower.turn();
        if has_copy {
            follower.copy("app.log", "app.log.1");
        }
        follower.truncate("app.log", 0);
        follower.append("app.log", lines(100..110));
        (follower.output.room, follower.delivers) = (1 << 20, true);
        follower.settle();
        let before = lost(&follower);
        follower.truncate("app.log", 0);
        follower.append("app.log", lines(200..205));
        follower.settle();
        assert_eq!(lost(&follower), before, "{:?}", follower.happenings);
        let first = if has_copy { lines(0..50) } else { String::new() };
        same(&follower.text(), &(first + &lines(100..110) + &lines(200..205)));
    }
}

#[test]
fn what_was_destroyed_unread_is_counted_when_it_was_seen() {
    // F40
    let mut follower = Follower::new(true);
    follower.append("app.log", lines(0..10));
    follower.turn();
    follower.append("app.log", lines(10..20));
    follower.output.room = 0;
    follower.delivers = false;
    follower.turn();
    follower.truncate("app.log", 0);
    follower.output.room = 1 << 20;
    follower.delivers = true;
    follower.append("app.log", "new\n");
    follower.settle();
    same(&follower.text(), &(lines(0..10) + "new\n"));
    assert_eq!(lost(&follower), lines(10..20).len() as u64);
}

#[test]
fn an_unfinished_line_of_a_truncated_file_ends_there() {
    let mut follower = Follower::new(true);
    follower.append("app.log", "one\npar");
    follower.turn();
    follower.truncate("app.log", 0);
    follower.append("app.log", "x\n");
    follower.turn();
    same(&follower.text(), "one\npar\nx\n");
}

#[test]
fn a_stale_writer_leaves_zeros_that_are_skipped_and_counted() {
    // T4, F35: with less and with more than a block.
    for before in [20, 500, 5_000, 400_000] {
        let mut follower = Follower::new(true);
        let mut writer = OpenOptions::new().write(true).create(true).truncate(false).open(&follower.log).unwrap();
        writer.write_all(lines(0..before).as_bytes()).unwrap();
        follower.turn();
        follower.truncate("app.log", 0);
        writer.write_all(lines(before..before + 10).as_bytes()).unwrap();
        follower.settle();
        same(&follower.text(), &lines(0..before + 10));
        let bytes = lines(0..before).len() as u64;
        assert_eq!(follower.heard(|happening| *happening == Happening::Hole { bytes }), 1, "{:?}", follower.happenings);
        writer.write_all(b"more\n").unwrap();
        follower.restart();
        follower.settle();
        same(&follower.text(), &(lines(0..before + 10) + "more\n"));
    }
}

#[test]
fn holes_are_skipped_and_zeros_that_were_written_are_not() {
    // T13, F39, F64
    let mut follower = Follower::new(true);
    follower.append("app.log", b"a\0b\n\0\0\n");
    follower.append("app.log", vec![0; 10_000]);
    follower.append("app.log", "\nline\nhalf");
    follower.turn();
    let mut expected = String::from("a\0b\n\0\0\n") + &"\0".repeat(10_000) + "\nline\n";
    same(&follower.text(), &expected);
    let mut writer = OpenOptions::new().write(true).open(&follower.log).unwrap();
    writer.seek(SeekFrom::Start(3 << 30)).unwrap();
    writer.write_all(b"far\n").unwrap();
    follower.turn();
    expected += "half\nfar\n";
    same(&follower.text(), &expected);
    assert_eq!(follower.heard(|happening| matches!(happening, Happening::Hole { .. })), 1);
    follower.append("app.log", "end\n");
    follower.restart();
    follower.settle();
    same(&follower.text(), &(expected + "end\n"));
}

#[test]
fn a_file_truncated_beyond_two_gigabytes_begins_anew() {
    // F39
    let mut follower = Follower::new(true);
    follower.append("app.log", "first\n");
    follower.turn();
    let writer = OpenOptions::new().write(true).open(&follower.log).unwrap();
    writer.write_all_at(b"far\n", 3 << 30).unwrap();
    follower.turn();
    follower.truncate("app.log", 0);
    follower.append("app.log", "again\n");
    follower.settle();
    same(&follower.text(), "first\nfar\nagain\n");
}

#[test]
fn room_that_was_allotted_in_advance_is_waited_for() {
    let mut follower = Follower::new(true);
    let writer = OpenOptions::new().write(true).create(true).truncate(false).open(&follower.log).unwrap();
    writer.write_all_at(b"1\n", 0).unwrap();
    writer.set_len(1 << 20).unwrap();
    follower.turn();
    writer.write_all_at(b"2\n", 2).unwrap();
    follower.turn();
    let text = follower.text();
    assert!(text.starts_with("1\n2\n"), "{} bytes", text.len());
    assert_eq!(text.trim_end_matches('\0').len(), 4);
}

#[test]
fn a_log_whose_end_was_cut_off_is_not_read_again() {
    // F38
    for cut in [1, 16, 40, 100] {
        let mut follower = Follower::new(true);
        follower.append("app.log", lines(0..1000));
        follower.turn();
        let size = fs::metadata(&follower.log).unwrap().len() - cut;
        follower.truncate("app.log", size);
        follower.turn();
        follower.append("app.log", "\nmore\n");
        follower.settle();
        same(&follower.text(), &(lines(0..1000) + "\nmore\n"));
        assert_eq!(follower.heard(|happening| *happening == Happening::Truncated(Truncation::EndCut)), 1);
        follower.restart();
        follower.append("app.log", "end\n");
        follower.settle();
        same(&follower.text(), &(lines(0..1000) + "\nmore\nend\n"));
    }
}

#[test]
fn a_log_that_begins_with_its_usual_first_line_again_is_read() {
    let mut follower = Follower::new(true);
    follower.append("app.log", "started\none\ntwo\n");
    follower.turn();
    fs::write(&follower.log, "started\n").unwrap();
    follower.turn();
    follower.append("app.log", "three\n");
    follower.settle();
    same(&follower.text(), "started\none\ntwo\nstarted\nthree\n");
}

#[test]
fn rotation_right_after_truncation_loses_neither() {
    for leases in BOTH {
        let mut follower = Follower::new(leases);
        follower.append("app.log", lines(0..10));
        follower.turn();
        follower.append("app.log", lines(10..20));
        follower.copy("app.log", "app.log.2");
        follower.truncate("app.log", 0);
        follower.append("app.log", lines(20..30));
        follower.rename("app.log", "app.log.1");
        follower.append("app.log", lines(30..40));
        follower.settle();
        same(&follower.text(), &lines(0..40));
    }
}
