//! One log through truncations, with and without copies.

mod follower;

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use follower::{BOTH, Beside, Follower, lines, same};
use standpipe_tailer::follow::happening::{Happening, Truncation};
use standpipe_tailer::follow::settings::{Hints, Surroundings};
use standpipe_tailer::identity::Identity;

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
fn the_rest_of_a_truncated_file_is_read_from_its_copy() {
    // T3, F33: with looks before, between and after the steps of the rotator.
    for looks in 0..16 {
        let mut follower = Follower::new(true);
        follower.append("app.log", "");
        follower.turn();
        for round in 0..6 {
            follower.append("app.log", lines(round * 100..round * 100 + 40));
            if looks & 1 != 0 {
                follower.turn();
            }
            follower.append("app.log", lines(round * 100 + 40..round * 100 + 60));
            follower.copy("app.log", &format!("app.log.{}", 10 - round));
            if looks & 2 != 0 {
                follower.turn();
            }
            follower.truncate("app.log", 0);
            if looks & 4 != 0 {
                follower.turn();
            }
            follower.append("app.log", lines(round * 100 + 60..round * 100 + 100));
            if looks & 8 != 0 || looks == 0 && round == 5 {
                follower.turn();
            }
        }
        follower.settle();
        same(&follower.text(), &lines(0..600));
        assert_eq!(lost(&follower), 0, "looks {looks}");
        assert_eq!(follower.source.descriptors_open(), 1);
    }
}

#[test]
fn a_copy_that_is_being_made_is_left_alone() {
    let mut follower = Follower::new(true);
    follower.append("app.log", lines(0..1000));
    follower.turn();
    let content = fs::read(&follower.log).unwrap();
    let mut copy = follower.writer("app.log.1");
    for piece in content.chunks(1000) {
        follower.turn();
        copy.write_all(piece).unwrap();
        follower.advance(500);
    }
    follower.append("app.log", lines(1000..1010));
    follower.turn();
    drop(copy);
    follower.truncate("app.log", 0);
    follower.append("app.log", lines(1010..1020));
    follower.settle();
    same(&follower.text(), &lines(0..1020));
}

#[test]
fn a_snapshot_beside_the_log_is_never_new_data() {
    // T14
    for leases in BOTH {
        for rotation in ["none", "rename", "truncate", "copytruncate"] {
            let mut follower = Follower::new(leases);
            follower.append("app.log", lines(0..10));
            follower.turn();
            follower.copy("app.log", "app.log.5");
            follower.turn();
            follower.append("app.log", lines(10..20));
            follower.turn();
            match rotation {
                "rename" => follower.rename("app.log", "app.log.1"),
                "truncate" => follower.truncate("app.log", 0),
                "copytruncate" => {
                    follower.append("app.log", lines(20..25));
                    follower.copy("app.log", "app.log.1");
                    follower.truncate("app.log", 0);
                }
                _ => {}
            }
            let from = if rotation == "copytruncate" { 25 } else { 20 };
            follower.append("app.log", lines(from..30));
            follower.settle();
            follower.restart();
            follower.settle();
            same(&follower.text(), &lines(0..30));
        }
    }
}

#[test]
fn a_copy_that_is_packed_already_is_unpacked() {
    // 5.4.4
    let mut follower = Follower::new(true);
    follower.append("app.log", lines(0..100));
    follower.turn();
    follower.append("app.log", lines(100..200));
    follower.copy("app.log", "app.log.1");
    follower.truncate("app.log", 0);
    follower.pack("app.log.1");
    follower.append("app.log", lines(200..210));
    follower.settle();
    same(&follower.text(), &lines(0..210));
    assert_eq!(lost(&follower), 0);
}

#[test]
fn eight_copies_between_two_looks_are_read_in_order() {
    // F34
    let mut follower = Follower::new(true);
    follower.append("app.log", lines(0..10));
    follower.turn();
    for round in 1..9 {
        follower.append("app.log", lines(round * 10..round * 10 + 10));
        follower.copy("app.log", &format!("app.log.{}", 9 - round));
        follower.truncate("app.log", 0);
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    follower.append("app.log", lines(90..95));
    follower.settle();
    same(&follower.text(), &lines(0..95));
}

#[test]
fn what_was_copied_between_a_look_and_the_first_read_comes_first() {
    for leases in BOTH {
        let mut follower = Follower::new(leases);
        follower.append("app.log", "");
        follower.turn();
        follower.append("app.log", lines(0..3));
        follower.copy("app.log", "app.log.1");
        follower.truncate("app.log", 0);
        follower.append("app.log", lines(3..10));
        follower.read();
        follower.settle();
        same(&follower.text(), &lines(0..10));
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

/// A directory that is listed once a look, and a rotator that copies and truncates the log right after that, or right
/// before.
struct Raced<'a> {
    dir: &'a Path,
    beside: Beside,
    listed: Option<Vec<PathBuf>>,
    is_before: bool,
}

impl Raced<'_> {
    fn rotate(&self) {
        let log = self.dir.join("app.log");
        fs::copy(&log, self.dir.join("app.log.1")).unwrap();
        OpenOptions::new().write(true).open(log).unwrap().set_len(0).unwrap();
    }
}

impl Surroundings for Raced<'_> {
    fn candidates(&mut self) -> Vec<PathBuf> {
        if let Some(listed) = &self.listed {
            return listed.clone();
        }
        let is_rotated = self.dir.join("app.log.1").exists();
        if self.is_before && !is_rotated {
            self.rotate();
        }
        let listed = self.beside.candidates();
        if !self.is_before && !is_rotated {
            self.rotate();
        }
        self.listed = Some(listed.clone());
        listed
    }

    fn refresh(&mut self) {
        self.listed = None;
    }

    fn is_packed(&self, path: &Path) -> bool {
        self.beside.is_packed(path)
    }

    fn unpack(&mut self, path: &Path) -> io::Result<Box<dyn Read>> {
        self.beside.unpack(path)
    }

    fn is_ours(&self, identity: &Identity) -> bool {
        self.beside.is_ours(identity)
    }
}

#[test]
fn a_copy_that_comes_during_a_look_is_found() {
    // Before the first read and after it.
    for (read, is_before) in [(0, false), (0, true), (10, false), (10, true)] {
        let mut follower = Follower::new(true);
        follower.append("app.log", lines(0..read));
        follower.turn();
        follower.append("app.log", lines(read..20));
        let beside = Beside { log: follower.log.clone(), also: Vec::new(), ours: Vec::new() };
        let dir = follower.dir.path().to_path_buf();
        let mut raced = Raced { dir: &dir, beside, listed: None, is_before };
        let hints = Hints { names: true, ..Hints::default() };
        follower.source.look(follower.now, hints, &mut raced);
        follower.read();
        follower.append("app.log", lines(20..30));
        follower.settle();
        same(&follower.text(), &lines(0..30));
    }
}
