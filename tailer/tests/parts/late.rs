//! What is known of rotated files after their time: who still writes to them, that they were read, and their order.

use std::io::Write;

use crate::follower::{BOTH, Follower, lines, same};

#[test]
fn a_writer_that_closed_the_live_file_says_nothing_of_a_rotated_one() {
    let mut follower = Follower::new(false);
    let mut late = follower.writer("app.log");
    late.write_all(b"1\n").unwrap();
    follower.turn();
    follower.rename("app.log", "app.log.1");
    follower.append("app.log", "2\n");
    follower.turn();
    follower.remove("app.log.1");
    follower.advance(2000);
    follower.turn();
    let live = follower.source.live().unwrap().id();
    follower.source.closed(live, follower.now);
    for _ in 0..3 {
        follower.turn();
        follower.advance(6000);
    }
    late.write_all(b"3\n").unwrap();
    follower.settle();
    same(&follower.text(), "1\n2\n3\n");
}

#[test]
fn more_rotated_files_than_can_be_remembered_are_read_once_each() {
    let mut follower = Follower::new(true);
    let mut written = 0;
    for batch in 1..=24 {
        for _ in 0..50 {
            follower.append("app.log", lines(written..written + 1));
            written += 1;
            follower.rename("app.log", &format!("app.log.{}", 5000 - written));
        }
        follower.turn();
        follower.turn();
        assert_eq!(follower.text().lines().count(), written as usize, "after {batch} times 50 files");
    }
    follower.restart();
    follower.settle();
    assert_eq!(follower.text().lines().count(), written as usize);
}

#[test]
fn files_that_are_gone_are_forgotten() {
    let mut follower = Follower::new(true);
    for written in 0..100 {
        follower.append("app.log", lines(written..written + 1));
        follower.rename("app.log", "app.log.1");
        follower.turn();
    }
    same(&follower.text(), &lines(0..100));
    let done = follower.stop().done.len();
    assert!(done < 40, "{done}");
}

#[test]
fn names_that_count_up_are_read_in_their_order_too() {
    // F1, F2: as fast as can be, so that births are equal, and slower.
    for leases in BOTH {
        for pause in [0, 6] {
            let mut follower = Follower::new(leases);
            follower.append("app.log", lines(0..10));
            follower.turn();
            for round in 1..=20 {
                follower.append("app.log", lines(round * 10..round * 10 + 10));
                follower.rename("app.log", &format!("app.log.{round}"));
                // A tick of the clock that births are taken from.
                std::thread::sleep(std::time::Duration::from_millis(pause));
            }
            follower.append("app.log", lines(210..220));
            follower.settle();
            same(&follower.text(), &lines(0..220));
        }
    }
}
