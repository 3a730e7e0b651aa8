//! Several files hold what was read of a log that was truncated: what is said of the choice is what is done.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use crate::follower::{BOTH, Follower, lines, same};
use standpipe_tailer::log::happening::{Happening, Why};
use standpipe_tailer::log::settings::{Settings, StartAt};

/// Waits until what is born next is younger than what was born before.
fn wait_tick(follower: &Follower) {
    let born = || {
        fs::write(follower.path("tick"), "").unwrap();
        let born = fs::metadata(follower.path("tick")).unwrap().created().unwrap();
        fs::remove_file(follower.path("tick")).unwrap();
        born
    };
    let first = born();
    for _ in 0..5000 {
        if born() > first {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("the clock of the file system stands still");
}

/// Which file was said to be chosen, why, and that it was the one that was read on.
fn chosen(follower: &Follower) -> Vec<(PathBuf, usize, Why)> {
    let told = follower.happenings.iter().filter_map(|it| match it {
        Happening::Ambiguous { path, files, why } => Some((path.clone(), *files, *why)),
        _ => None,
    });
    let told: Vec<_> = told.collect();
    for (path, ..) in &told {
        let is_read_on = |it: &Happening| matches!(it, Happening::CopyMatched { path: other, .. } if other == path);
        assert_eq!(follower.heard(is_read_on), 1, "{:?}", follower.happenings);
    }
    told
}

/// A log of which ten lines were read, and five more were not.
fn half_read(leases: bool) -> Follower {
    let mut follower = Follower::new(leases);
    follower.append("app.log", lines(0..10));
    follower.turn();
    follower.append("app.log", lines(10..15));
    follower
}

/// It begins anew, and all is read.
fn truncate(follower: &mut Follower) {
    follower.truncate("app.log", 0);
    follower.append("app.log", lines(90..95));
    follower.settle();
}

#[test]
fn of_equal_copies_the_oldest_is_read_on_and_named() {
    for leases in BOTH {
        let mut follower = half_read(leases);
        for name in ["app.log.1", "app.log.3", "app.log.2"] {
            follower.copy("app.log", name);
            wait_tick(&follower);
        }
        truncate(&mut follower);
        same(&follower.text(), &(lines(0..15) + &lines(90..95)));
        assert_eq!(chosen(&follower), [(follower.path("app.log.1"), 3, Why::Oldest)]);
    }
}

#[test]
fn of_two_copies_of_one_life_the_longer_one_is_read_on_and_no_line_comes_twice() {
    for (leases, is_packed) in BOTH.into_iter().flat_map(|leases| [(leases, false), (leases, true)]) {
        let mut follower = half_read(leases);
        follower.copy("app.log", "app.log.2");
        wait_tick(&follower);
        follower.append("app.log", lines(15..20));
        follower.copy("app.log", "app.log.1");
        if is_packed {
            follower.pack("app.log.1");
        }
        truncate(&mut follower);
        same(&follower.text(), &(lines(0..20) + &lines(90..95)));
        let name = if is_packed { "app.log.1.gz" } else { "app.log.1" };
        assert_eq!(chosen(&follower), [(follower.path(name), 2, Why::Longer)]);
    }
}

#[test]
fn a_file_that_goes_on_otherwise_is_a_log_of_its_own() {
    let mut follower = half_read(true);
    follower.copy("app.log", "app.log.2");
    wait_tick(&follower);
    follower.copy("app.log", "app.log.1");
    follower.append("app.log.2", lines(20..25));
    follower.append("app.log.1", lines(30..35));
    truncate(&mut follower);
    let other = lines(0..15) + &lines(30..35);
    same(&follower.text(), &(lines(0..15) + &lines(20..25) + &other + &lines(90..95)));
    assert_eq!(chosen(&follower), [(follower.path("app.log.2"), 2, Why::Oldest)]);
}

#[test]
fn a_choice_among_files_of_any_name_is_told_as_well() {
    for leases in BOTH {
        let mut follower = half_read(leases);
        follower.copy("app.log", "backup-b");
        wait_tick(&follower);
        follower.copy("app.log", "backup-a");
        follower.beside.others = vec![follower.path("backup-a"), follower.path("backup-b")];
        truncate(&mut follower);
        same(&follower.text(), &(lines(0..15) + &lines(90..95)));
        assert_eq!(chosen(&follower), [(follower.path("backup-b"), 2, Why::Oldest)]);
    }
}

#[test]
fn one_copy_is_no_choice() {
    let mut follower = half_read(true);
    follower.copy("app.log", "app.log.1");
    truncate(&mut follower);
    same(&follower.text(), &(lines(0..15) + &lines(90..95)));
    assert_eq!(chosen(&follower), []);
}

#[test]
fn that_a_log_is_read_from_its_beginning_is_told_when_it_is() {
    let settings = Settings { start_at: StartAt::Beginning, may_be_missing: true, ..Settings::default() };
    let mut follower = Follower::with(true, settings);
    let line = "GET /health 200\n";
    follower.append("app.log", line.repeat(100));
    follower.turn();
    // Nobody can say which of these lines are those from before; and another log begins with all of them.
    follower.beside.has_twin = true;
    fs::write(&follower.log, line.repeat(7)).unwrap();
    for _ in 0..5 {
        follower.turn();
        follower.advance(500);
    }
    let is_unplaced = |it: &Happening| matches!(it, Happening::Unplaced { .. });
    assert_eq!((follower.text(), follower.heard(is_unplaced)), (line.repeat(100), 0), "{:?}", follower.happenings);
    follower.beside.has_twin = false;
    follower.append("app.log", line);
    follower.settle();
    assert_eq!((follower.text(), follower.heard(is_unplaced)), (line.repeat(108), 1), "{:?}", follower.happenings);
}
