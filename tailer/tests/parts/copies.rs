//! One log that is copied and truncated: the rest of what ended is read from its copies, and no copy is read twice.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use crate::follower::{BOTH, Beside, Follower, lines, same};
use standpipe_tailer::checkpoint::state::DoneState;
use standpipe_tailer::file::guard::{GUARD_BYTES_MAX, Guard, Head};
use standpipe_tailer::file::identity::{Identity, Origin};
use standpipe_tailer::log::happening::Happening;
use standpipe_tailer::log::settings::{Hints, Surroundings};

fn lost(follower: &Follower) -> u64 {
    let bytes = |happening: &Happening| match happening {
        Happening::Lost { bytes } => *bytes,
        _ => 0,
    };
    follower.happenings.iter().map(bytes).sum()
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
    // F34, and packed at once
    for packed in [9..9, 0..9, 0..4, 5..9] {
        let mut follower = Follower::new(true);
        follower.append("app.log", lines(0..10));
        follower.turn();
        for round in 1..9 {
            follower.append("app.log", lines(round * 10..round * 10 + 10));
            let copy = format!("app.log.{}", 9 - round);
            follower.copy("app.log", &copy);
            follower.truncate("app.log", 0);
            if packed.contains(&round) {
                follower.pack(&copy);
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        follower.append("app.log", lines(90..95));
        follower.settle();
        same(&follower.text(), &lines(0..95));
    }
}

#[test]
fn a_packed_snapshot_is_no_new_data_when_a_truncation_is_found_with_it() {
    // T14
    for is_copied in BOTH {
        let mut follower = Follower::new(true);
        follower.append("app.log", lines(0..20));
        follower.turn();
        for (name, bytes) in [("app.log.5", 30), ("app.log.6", lines(0..20).len() as u64)] {
            follower.copy("app.log", name);
            follower.truncate(name, bytes);
            follower.pack(name);
        }
        if is_copied {
            follower.append("app.log", lines(20..25));
            follower.copy("app.log", "app.log.1");
            follower.pack("app.log.1");
        }
        follower.truncate("app.log", 0);
        follower.append("app.log", lines(25..30));
        follower.copy("app.log", "app.log.3");
        follower.pack("app.log.3");
        follower.settle();
        let before = if is_copied { lines(0..25) } else { lines(0..20) };
        same(&follower.text(), &(before + &lines(25..30)));
    }
}

#[test]
fn what_a_packed_copy_lacks_is_counted_when_it_was_seen() {
    let mut follower = Follower::new(true);
    follower.append("app.log", lines(0..10));
    follower.turn();
    follower.append("app.log", lines(10..15));
    follower.copy("app.log", "app.log.1");
    follower.append("app.log", lines(15..20));
    follower.output.room = 0;
    follower.delivers = false;
    follower.turn();
    follower.truncate("app.log", 0);
    follower.pack("app.log.1");
    follower.output.room = 1 << 20;
    follower.delivers = true;
    follower.settle();
    same(&follower.text(), &lines(0..15));
    assert_eq!(lost(&follower), lines(15..20).len() as u64);
}

#[test]
fn what_a_file_that_was_done_with_got_before_it_was_packed_is_read() {
    for leases in BOTH {
        let mut follower = Follower::new(leases);
        follower.append("app.log", lines(0..100));
        follower.turn();
        follower.rename("app.log", "app.log.1");
        follower.append("app.log", lines(100..110));
        follower.settle();
        let state = follower.stop();
        follower.append("app.log.1", lines(110..115));
        follower.pack("app.log.1");
        follower.start(state);
        follower.settle();
        same(&follower.text(), &lines(0..115));
        follower.restart();
        follower.settle();
        same(&follower.text(), &lines(0..115));
    }
}

#[test]
fn a_copy_of_what_was_truncated_before_it_was_read_at_all_is_read() {
    let mut follower = Follower::new(true);
    follower.append("app.log", "");
    follower.turn();
    follower.append("app.log", lines(0..10));
    follower.copy("app.log", "app.log.1");
    let mut beside = Beside { log: follower.log.clone(), ..Beside::default() };
    let hints = Hints { names: true, ..Hints::default() };
    follower.source.look(follower.now, hints, &mut beside);
    // It was the copy of a file that is there.
    follower.truncate("app.log", 0);
    for _ in 0..3 {
        follower.poll();
        follower.advance(1000);
    }
    same(&follower.text(), &lines(0..10));
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

    fn unpack(&mut self, file: File, path: &Path) -> io::Result<Box<dyn Read>> {
        self.beside.unpack(file, path)
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
        let beside = Beside { log: follower.log.clone(), ..Beside::default() };
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

#[test]
fn a_snapshot_beside_a_rest_that_was_packed_is_no_new_data() {
    for packs_snapshot in [false, true] {
        let mut follower = Follower::new(true);
        follower.append("app.log", lines(0..110));
        follower.turn();
        let state = follower.stop();
        follower.copy("app.log", "app.log.2");
        if packs_snapshot {
            follower.pack("app.log.2");
        }
        follower.append("app.log", lines(110..200));
        follower.copy("app.log", "app.log.1");
        follower.pack("app.log.1");
        follower.truncate("app.log", 0);
        follower.append("app.log", lines(200..210));
        follower.start(state);
        follower.settle();
        same(&follower.text(), &lines(0..210));
    }
}

#[test]
fn a_packed_file_is_not_unpacked_for_each_file_that_is_done_with() {
    let mut follower = Follower::new(true);
    follower.append("app.log", lines(0..10));
    follower.turn();
    let mut state = follower.stop();
    let done = |ino| {
        let origin = Origin { identity: Identity { ino, ..Identity::default() }, epoch: 0 };
        let head = Head::of(&lines(1..1000).as_bytes()[..GUARD_BYTES_MAX]);
        let (guard, size) = (Some(Guard { len: 1, hash: 0 }), 1 << 20);
        DoneState { origin, offset: Some(size), guard, head, size, changed_ns: 0 }
    };
    state.done = (0..1000).map(done).collect();
    follower.append("app.log", lines(10..100_000));
    follower.rename("app.log", "app.log.2");
    follower.pack("app.log.2");
    follower.append("app.log.1", lines(100_000..200_000));
    follower.pack("app.log.1");
    follower.append("app.log", lines(200_000..200_010));
    follower.start(state);
    let began = std::time::Instant::now();
    follower.turn();
    assert!(began.elapsed() < std::time::Duration::from_secs(5), "{:?}", began.elapsed());
    follower.settle();
    same(&follower.text(), &lines(0..200_010));
}

#[test]
fn a_copy_of_a_file_that_is_closed_is_no_new_data() {
    for (truncates, rotates, grows) in (0..8).map(|bits| (bits & 4 > 0, bits & 2 > 0, bits & 1 > 0)) {
        let mut follower = Follower::new(true);
        follower.append("app.log", lines(0..100));
        follower.turn();
        assert_eq!(follower.source.park(false), 1);
        if grows {
            follower.append("app.log", lines(100..110));
        }
        follower.copy("app.log", "app.log.2");
        if truncates {
            follower.truncate("app.log", 0);
        }
        if rotates {
            follower.rename("app.log", "app.log.1");
        }
        follower.turn();
        let written = if grows { 110 } else { 100 };
        follower.append("app.log", lines(written..120));
        follower.settle();
        same(&follower.text(), &lines(0..120));
    }
}
