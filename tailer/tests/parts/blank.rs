//! Logs whose room was made in advance: lines are written over the zeros that the file ends in.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;

use crate::follower::{BOTH, Follower, lines, same};
use nix::fcntl::{FallocateFlags, fallocate};
use standpipe_common::sys::Words;
use standpipe_tailer::log::happening::Happening;
use standpipe_tailer::log::settings::{Settings, StartAt};

/// How room is made.
#[derive(Clone, Copy, Debug)]
enum Way {
    Zeros,
    Hole,
    Allotted,
    /// Behind the first blocks nothing was written.
    Some,
}

const WAYS: [Way; 4] = [Way::Zeros, Way::Hole, Way::Allotted, Way::Some];

/// A program that makes room and writes into it from its beginning.
struct Writer {
    file: File,
    at: u64,
    way: Way,
}

impl Writer {
    fn new(follower: &Follower, way: Way) -> Writer {
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(false).open(&follower.log).unwrap();
        Writer { file, at: 0, way }
    }

    fn make_room(&self, bytes: u64) {
        let size = self.file.metadata().unwrap().len();
        match self.way {
            Way::Zeros => self.file.write_all_at(&vec![0; bytes as usize], size).unwrap(),
            Way::Hole => self.file.set_len(size + bytes).unwrap(),
            Way::Allotted => fallocate(&self.file, FallocateFlags::empty(), size as i64, bytes as i64).unwrap(),
            Way::Some => {
                self.file.write_all_at(&vec![0; bytes as usize / 3], size).unwrap();
                self.file.set_len(size + bytes).unwrap();
            }
        }
    }

    fn write(&mut self, text: &str) {
        self.file.write_all_at(text.as_bytes(), self.at).unwrap();
        self.at += text.len() as u64;
    }
}

fn blank(follower: &Follower) -> u64 {
    follower.source.blank_bytes()
}

#[test]
fn lines_that_are_written_over_zeros_are_delivered_as_they_come() {
    for way in WAYS {
        for room in [100, 5_000, 300_000, 6 << 20] {
            println!("{way:?} {room}");
            let mut follower = Follower::new(true);
            let mut writer = Writer::new(&follower, way);
            let mut expected = String::new();
            writer.make_room(room);
            follower.turn();
            assert_eq!((follower.text().as_str(), blank(&follower)), ("", room));
            for n in 0..5 {
                let text = lines(n * 2..n * 2 + 2);
                // Half a line is no line yet.
                writer.write(&text[..5]);
                follower.turn();
                writer.write(&text[5..]);
                expected += &text;
                follower.turn();
                same(&follower.text(), &expected);
                let rest = writer.file.metadata().unwrap().len() - writer.at;
                assert_eq!(
                    (blank(&follower), follower.source.unread_bytes(), follower.source.left_bytes()),
                    (rest, 0, 0)
                );
                assert!(!follower.source.has_unread());
                if n == 2 {
                    follower.restart();
                }
            }
            assert_eq!(follower.heard(|it| !matches!(it, Happening::Opened { .. })), 0, "{:?}", follower.happenings);
        }
    }
}

#[test]
fn room_is_filled_to_its_last_byte_and_made_again() {
    for (way, restarts) in WAYS.into_iter().flat_map(|way| [(way, false), (way, true)]) {
        let mut follower = Follower::new(true);
        let mut writer = Writer::new(&follower, way);
        let mut expected = String::new();
        for round in 0..3 {
            writer.make_room(17 * 400);
            follower.turn();
            for n in 0..40 {
                let first = round * 400 + n * 10;
                writer.write(&lines(first..first + 10));
                expected += &lines(first..first + 10);
                follower.turn();
                same(&follower.text(), &expected);
                if restarts {
                    follower.restart();
                }
            }
            assert_eq!(blank(&follower), 0, "{way:?}");
        }
        // A program that knows its end cuts off what it did not need.
        writer.make_room(10_000);
        writer.write("end\n");
        writer.file.set_len(writer.at).unwrap();
        follower.turn();
        same(&follower.text(), &(expected + "end\n"));
        assert_eq!(follower.heard(|it| !matches!(it, Happening::Opened { .. })), 0, "{:?}", follower.happenings);
    }
}

#[test]
fn a_log_that_is_followed_from_its_end_begins_before_its_zeros() {
    for (way, room) in WAYS.into_iter().flat_map(|way| [(way, 5_000), (way, 5 << 20)]) {
        let mut follower = Follower::with(true, Settings { start_at: StartAt::End, ..Settings::default() });
        let mut writer = Writer::new(&follower, way);
        writer.make_room(room);
        writer.write(&(lines(0..10) + "half"));
        follower.turn();
        assert_eq!(follower.text(), "");
        writer.write(&("\n".to_owned() + &lines(10..20)));
        follower.turn();
        same(&follower.text(), &("half\n".to_owned() + &lines(10..20)));
    }
}

#[test]
fn written_zeros_are_content_once_something_stands_behind_them_or_nobody_writes_any_more() {
    for (leases, count) in BOTH.into_iter().flat_map(|leases| [1, 5_000, 3 << 19].map(|count| (leases, count))) {
        let zeros = "\0".repeat(count);
        let mut follower = Follower::new(leases);
        follower.append("app.log", lines(0..2) + &zeros);
        follower.turn();
        same(&follower.text(), &lines(0..2));
        follower.append("app.log", "behind\n");
        follower.turn();
        let mut expected = lines(0..2) + &zeros + "behind\n";
        assert!(follower.text() == expected, "{leases} {count}");
        follower.append("app.log", format!("more{zeros}"));
        follower.turn();
        assert!(follower.text() == expected, "{leases} {count}");
        assert_eq!(blank(&follower), count as u64);
        follower.rename("app.log", "app.log.1");
        follower.append("app.log", lines(2..4));
        for _ in 0..90 {
            follower.turn();
            follower.advance(1000);
        }
        // Without leases the next file does not wait for the end of this one.
        let (last, next) = (format!("more{zeros}\n"), lines(2..4));
        expected += &if leases { last + &next } else { next + &last };
        assert!(follower.text() == expected, "{leases} {count}");
        assert_eq!(blank(&follower), 0);
    }
}

#[test]
fn a_batch_reads_written_zeros_as_they_are() {
    let settings = Settings { start_at: StartAt::Beginning, is_batch: true, ..Settings::default() };
    let mut follower = Follower::with(true, settings);
    follower.append("app.log", lines(0..2) + &"\0".repeat(10_000));
    follower.turn();
    assert!(follower.text() == lines(0..2) + &"\0".repeat(10_000) + "\n", "{}", follower.text());
    assert_eq!(blank(&follower), 0);
}

#[test]
fn of_a_log_with_room_that_is_copied_and_truncated_no_zeros_are_lost() {
    for (leases, way) in BOTH.into_iter().flat_map(|leases| WAYS.map(|way| (leases, way))) {
        let mut follower = Follower::new(leases);
        let mut writer = Writer::new(&follower, way);
        writer.make_room(100_000);
        writer.write(&lines(0..10));
        follower.turn();
        writer.write(&lines(10..20));
        follower.copy("app.log", "app.log.1");
        follower.truncate("app.log", 0);
        writer.at = 0;
        writer.make_room(100_000);
        writer.write(&lines(20..30));
        for _ in 0..90 {
            follower.turn();
            follower.advance(1000);
        }
        let text = follower.text().replace('\0', "").replace("\n\n", "\n");
        same(&text, &lines(0..30));
        assert_eq!(follower.heard(|it| matches!(it, Happening::Lost { .. })), 0, "{way:?} {:?}", follower.happenings);
    }
}

#[test]
fn a_log_with_room_that_is_truncated_unread_loses_its_lines_alone() {
    let mut follower = Follower::new(true);
    let mut writer = Writer::new(&follower, Way::Zeros);
    writer.make_room(100_000);
    writer.write(&lines(0..10));
    follower.turn();
    follower.truncate("app.log", 0);
    follower.writer("app.log").write_all(lines(20..30).as_bytes()).unwrap();
    follower.settle();
    same(&follower.text(), &(lines(0..10) + &lines(20..30)));
    assert_eq!(follower.heard(|it| matches!(it, Happening::Lost { .. })), 0, "{:?}", follower.happenings);
}

#[test]
fn what_is_written_through_a_mapping_is_delivered_though_neither_size_nor_time_tell_of_it() {
    for way in WAYS {
        let mut follower = Follower::new(true);
        Writer::new(&follower, way).make_room(8192);
        let file = OpenOptions::new().read(true).write(true).open(&follower.log).unwrap();
        let words = Words::shared(&file, 8192).unwrap();
        words.populate(0..8192).unwrap();
        let changed = || file.metadata().unwrap().modified().unwrap();
        words.store(0, u64::from_ne_bytes(*b"line 01\n"));
        follower.turn();
        let before = changed();
        words.store(8, u64::from_ne_bytes(*b"line 02\n"));
        assert_eq!(changed(), before, "{way:?}");
        assert!(!follower.source.is_unchanged());
        follower.poll();
        same(&follower.text(), "line 01\nline 02\n");
        assert!(follower.source.is_unchanged());
    }
}
