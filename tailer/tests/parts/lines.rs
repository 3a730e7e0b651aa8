//! Lines of one log on their way: lengths, borders, room, errors, descriptors.

use std::fs;
use std::io::Write;

use crate::follower::{BOTH, Follower, lines, same};
use nix::errno::Errno;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use standpipe_tailer::file::open::Refusal;
use standpipe_tailer::log::generation::Generation;
use standpipe_tailer::log::happening::Happening;
use standpipe_tailer::log::settings::{Hints, Settings, StartAt};
use standpipe_tailer::out::lines::End;
use standpipe_tailer::out::output::Standing;

#[test]
fn lines_of_every_length_arrive_whole() {
    // F61, F62
    for length in [1, 4095, 4096, 4097, 65_535, 65_536, 262_143, 262_144, 1 << 20, 5 << 20] {
        for room in [1 << 20, 3 << 20] {
            let mut follower = Follower::new(true);
            follower.output.room = room;
            let line = "x".repeat(length - 1) + "\n";
            follower.append("app.log", format!("before\n{line}{line}after\r\n"));
            follower.turn();
            same(&follower.text(), &format!("before\n{line}{line}after\r\n"));
            let pieces = follower.output.puts.iter().filter(|put| put.ends == End::Open).count();
            assert_eq!(pieces > 0, length > 1 << 20, "{length} {pieces}");
        }
    }
}

#[test]
fn little_room_is_used_as_it_comes() {
    // F59 in small: an output that takes little by little.
    for room in [1, 5, 17, 100, 4096] {
        let mut follower = Follower::new(true);
        follower.output.room = room;
        follower.append("app.log", lines(0..100) + "unfinished");
        follower.turn();
        assert!(follower.text().starts_with(&lines(0..100)));
        follower.rename("app.log", "app.log.1");
        follower.append("app.log", "next\n");
        follower.settle();
        same(&follower.text(), &(lines(0..100) + "unfinished\nnext\n"));
    }
}

#[test]
fn a_blocked_output_loses_no_rotation() {
    // F59
    for leases in BOTH {
        let mut follower = Follower::new(leases);
        follower.append("app.log", lines(0..10));
        follower.turn();
        follower.output.room = 0;
        follower.delivers = false;
        for round in 1..11 {
            follower.append("app.log", lines(round * 10..round * 10 + 10));
            follower.rename("app.log", &format!("app.log.{}", 20 - round));
            follower.append("app.log", "");
            follower.turn();
            follower.remove(&format!("app.log.{}", 20 - round));
            follower.advance(6000);
            follower.poll();
        }
        assert_eq!(follower.read(), Standing::Behind);
        follower.output.room = 1 << 20;
        follower.delivers = true;
        follower.settle();
        same(&follower.text(), &lines(0..110));
    }
}

#[test]
fn bytes_pass_as_they_are() {
    // F43, F63, F64
    let mut follower = Follower::new(true);
    follower.append("app.log", "");
    follower.turn();
    follower.append("app.log", "x");
    follower.turn();
    follower.append("app.log", b"\n\n\n\r\n\xff\xfe\0a\0\n\0\xef\xbb\xbf\xc3\x28\n");
    follower.turn();
    let bytes: Vec<u8> = follower.output.puts.iter().flat_map(|put| put.bytes.clone()).collect();
    assert_eq!(bytes, b"x\n\n\n\r\n\xff\xfe\0a\0\n\0\xef\xbb\xbf\xc3\x28\n");
}

#[test]
fn a_line_written_in_three_steps_is_one() {
    // F67
    let mut follower = Follower::new(true);
    for piece in ["one ", "two ", "three\n"] {
        follower.append("app.log", piece);
        follower.turn();
        follower.advance(2000);
    }
    assert_eq!(follower.output.puts.len(), 1);
    same(&follower.text(), "one two three\n");
}

#[test]
fn logs_with_the_same_header_are_told_apart() {
    // F42: generations here, as sources never meet.
    for leases in BOTH {
        let mut follower = Follower::new(leases);
        let header = "header line\n".repeat(400);
        let mut expected = String::new();
        for round in 0..20 {
            follower.append("app.log", header.clone() + &lines(round..round + 1));
            expected += &(header.clone() + &lines(round..round + 1));
            if round % 3 == 0 {
                follower.turn();
            }
            follower.rename("app.log", &format!("app.log.{}", 30 - round));
        }
        follower.settle();
        same(&follower.text(), &expected);
    }
}

#[test]
fn a_missing_file_is_said_once_and_tried_again() {
    let mut follower = Follower::new(true);
    follower.poll();
    let path = follower.log.clone();
    let retry = |seconds| Happening::Retry { after: std::time::Duration::from_secs(seconds) };
    let mut expected = vec![Happening::OpenError { path: path.clone(), errno: Errno::ENOENT }, retry(1)];
    assert_eq!(follower.happenings, expected);
    expected.extend([2, 4, 8, 16, 30].map(retry));
    for _ in 0..100 {
        follower.advance(1000);
        follower.poll();
    }
    assert_eq!(follower.happenings, expected);
    follower.append("app.log", "1\n");
    follower.poll();
    assert!(follower.happenings.contains(&Happening::Recovered { path }));
    same(&follower.text(), "1\n");
}

#[test]
fn a_path_that_cannot_be_reached_for_a_while_keeps_its_position() {
    // F57, as far as root can be refused anything: a directory of the path is no directory for a while.
    let mut follower = Follower::new(true);
    fs::create_dir(follower.path("d")).unwrap();
    std::os::unix::fs::symlink("d/file", &follower.log).unwrap();
    follower.append("d/file", "1\n");
    follower.turn();
    follower.rename("d", "e");
    fs::write(follower.path("d"), "").unwrap();
    follower.append("e/file", "2\n");
    follower.settle();
    assert_eq!(follower.heard(|happening| matches!(happening, Happening::OpenError { errno: Errno::ENOTDIR, .. })), 1);
    follower.remove("d");
    follower.rename("e", "d");
    follower.append("d/file", "3\n");
    follower.settle();
    same(&follower.text(), "1\n2\n3\n");
    assert_eq!(follower.heard(|happening| matches!(happening, Happening::Recovered { .. })), 1);
}

#[test]
fn a_fifo_under_the_name_is_refused_and_not_opened() {
    // T12
    let mut follower = Follower::new(true);
    mkfifo(&follower.log, Mode::S_IRWXU).unwrap();
    mkfifo(&follower.path("app.log.1"), Mode::S_IRWXU).unwrap();
    follower.settle();
    let path = follower.log.clone();
    assert_eq!(follower.happenings, [Happening::Refused { path, refusal: Refusal::Fifo }]);
    assert_eq!(follower.source.descriptors_open(), 0);
    follower.remove("app.log");
    follower.append("app.log", "1\n");
    follower.settle();
    same(&follower.text(), "1\n");
}

#[test]
fn what_we_write_ourselves_is_not_followed() {
    // F50
    let mut follower = Follower::new(true);
    follower.append("app.log", "ours\n");
    follower.append("app.log.1", "ours\n");
    follower.beside.ours = vec![follower.identity("app.log"), follower.identity("app.log.1")];
    follower.settle();
    same(&follower.text(), "");
    assert_eq!(follower.heard(|happening| matches!(happening, Happening::Refused { refusal: Refusal::Ours, .. })), 1);
}

#[test]
fn a_parked_file_is_opened_again_when_it_grew() {
    let mut follower = Follower::new(true);
    follower.append("app.log", "1\n2");
    follower.turn();
    assert_eq!(follower.source.park(false), 1);
    assert_eq!(follower.source.descriptors_open(), 0);
    assert!(follower.source.generations().all(Generation::is_parked));
    follower.poll();
    assert_eq!(follower.source.descriptors_open(), 0);
    let state = follower.source.state();
    assert_eq!((state.generations[0].offset, state.generations[0].guard.is_some()), (2, true));
    follower.append("app.log", "3\n");
    follower.poll();
    same(&follower.text(), "1\n23\n");
    follower.source.park(false);
    follower.rename("app.log", "app.log.1");
    follower.append("app.log.1", "4\n");
    follower.append("app.log", "5\n");
    follower.settle();
    same(&follower.text(), "1\n23\n4\n5\n");
    follower.source.park(false);
    fs::write(&follower.log, "another\n").unwrap();
    follower.settle();
    same(&follower.text(), "1\n23\n4\n5\nanother\n");
}

#[test]
fn a_batch_ends_with_the_files() {
    let settings = Settings { is_batch: true, start_at: StartAt::Beginning, ..Settings::default() };
    let mut follower = Follower::with(true, settings);
    let _writer = follower.writer("app.log");
    follower.append("app.log", "1\n2");
    assert_eq!(follower.turn(), Standing::Ended);
    same(&follower.text(), "1\n2\n");
    let state = follower.restart();
    assert_eq!(state.generations[0].offset, 3);
    assert_eq!(follower.turn(), Standing::Ended);
    same(&follower.text(), "1\n2\n");
}

#[test]
fn a_changed_list_is_known_before_bytes_of_it_are_given() {
    let mut follower = Follower::new(true);
    let look = |follower: &mut Follower| {
        follower.source.look(follower.now, Hints::default(), &mut follower.beside);
        follower.source.take_changed()
    };
    follower.append("app.log", "1\n");
    assert!(look(&mut follower));
    assert!(!look(&mut follower));
    follower.read();
    assert!(!look(&mut follower));
    follower.truncate("app.log", 0);
    follower.append("app.log", "2\n");
    follower.read();
    same(&follower.text(), "1\n");
    assert!(follower.source.wants_look());
    assert!(look(&mut follower));
    follower.rename("app.log", "app.log.1");
    follower.writer("app.log").write_all(b"3\n").unwrap();
    assert!(look(&mut follower));
    let state = follower.source.state();
    assert_eq!(state.generations.len(), 2);
    follower.settle();
    same(&follower.text(), "1\n2\n3\n");
}

#[test]
fn without_leases_a_closed_and_quiet_file_is_finished() {
    // F65: with the hint after five seconds, without it, or inside a line, after a minute.
    for (is_hinted, last, seconds) in [(true, " last\n", 5), (true, " last", 60), (false, " last", 60)] {
        let mut follower = Follower::new(false);
        follower.append("app.log", "one");
        follower.turn();
        follower.rename("app.log", "app.log.1");
        follower.append("app.log.1", last);
        follower.append("app.log", "next\n");
        if is_hinted {
            let closed = follower.source.live().unwrap().id();
            follower.turn();
            follower.source.closed(closed, follower.now);
        }
        follower.turn();
        for _ in 0..seconds - 1 {
            follower.advance(1000);
            follower.poll();
        }
        assert_eq!(follower.source.generations().count(), 2);
        follower.advance(1000);
        follower.poll();
        let is_whole = last.ends_with('\n');
        same(&follower.text(), if is_whole { "one last\nnext\n" } else { "next\none last\n" });
        assert_eq!(follower.source.generations().count(), 1);
    }
}
