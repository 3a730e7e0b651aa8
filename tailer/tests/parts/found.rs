//! What random steps against the reference found, each by the fewest steps that show it.

use std::fs;

use crate::follower::{BOTH, Follower, lines, same};
use standpipe_tailer::file::guard::Head;
use standpipe_tailer::log::happening::Happening;
use standpipe_tailer::log::settings::{Settings, StartAt};

fn pause() {
    std::thread::sleep(std::time::Duration::from_millis(6));
}

#[test]
fn what_followed_a_generation_that_was_packed_after_it_is_not_older() {
    for leases in BOTH {
        let mut follower = Follower::new(leases);
        follower.append("app.log", lines(0..10));
        follower.turn();
        let state = follower.stop();
        follower.rename("app.log", "app.log.1");
        pause();
        follower.append("app.log", lines(10..20));
        pause();
        // As with delayed packing: younger than its successor.
        follower.pack("app.log.1");
        follower.rename("app.log.1.gz", "app.log.2.gz");
        follower.rename("app.log", "app.log.1");
        follower.start(state);
        follower.settle();
        same(&follower.text(), &lines(0..20));
    }
}

#[test]
fn of_whose_head_nothing_is_known_no_shorter_file_is_a_copy() {
    for leases in BOTH {
        let mut follower = Follower::new(leases);
        follower.append("app.log", lines(0..100));
        follower.turn();
        let mut state = follower.stop();
        // The checkpoint is of the time before its first line, the position is that of the pipe.
        state.generations[0].head = Head::default();
        follower.remove("app.log");
        pause();
        follower.append("app.log.1", lines(200..210));
        follower.start(state);
        follower.settle();
        same(&follower.text(), &(lines(0..100) + &lines(200..210)));
    }
}

#[test]
fn a_copy_that_ends_before_the_position_is_known_after_a_restart() {
    for (leases, copied) in BOTH.into_iter().flat_map(|leases| [3, 40, 99].map(|copied| (leases, copied))) {
        let mut follower = Follower::new(leases);
        follower.append("app.log", lines(0..100));
        follower.turn();
        let state = follower.stop();
        pause();
        follower.append("app.log.1", lines(0..copied));
        follower.truncate("app.log", 0);
        follower.append("app.log", lines(100..110));
        follower.start(state);
        follower.settle();
        same(&follower.text(), &lines(0..110));
    }
}

#[test]
fn what_came_and_was_rotated_after_a_checkpoint_of_no_generation_is_read() {
    for leases in BOTH {
        let mut follower = Follower::new(leases);
        follower.append("app.log", lines(0..10));
        follower.turn();
        follower.rename("app.log", "app.log.1");
        follower.settle();
        let state = follower.stop();
        assert!(state.generations.is_empty());
        follower.rename("app.log.1", "app.log.2");
        pause();
        follower.append("app.log", lines(10..20));
        follower.rename("app.log", "app.log.1");
        pause();
        follower.append("app.log", lines(20..30));
        follower.start(state);
        follower.settle();
        same(&follower.text(), &lines(0..30));
    }
}

#[test]
fn a_packed_file_does_not_end_where_the_output_is_full() {
    let mut follower = Follower::new(true);
    follower.append("app.log", lines(0..10));
    follower.turn();
    let state = follower.stop();
    follower.append("app.log", lines(10..100));
    follower.rename("app.log", "app.log.1");
    follower.pack("app.log.1");
    follower.start(state);
    for _ in 0..200 {
        follower.output.room = 100;
        follower.turn();
        follower.output.room = 0;
        follower.turn();
    }
    same(&follower.text(), &lines(0..100));
}

#[test]
fn a_damaged_packed_file_is_read_as_far_as_it_goes_and_not_tried_again() {
    let mut follower = Follower::new(true);
    follower.append("app.log", lines(0..10));
    follower.turn();
    let state = follower.stop();
    follower.append("app.log", lines(10..10_000));
    follower.rename("app.log", "app.log.1");
    follower.pack("app.log.1");
    let size = follower.path("app.log.1.gz").metadata().unwrap().len();
    follower.truncate("app.log.1.gz", size - 8);
    follower.append("app.log", lines(10_000..10_010));
    follower.start(state);
    follower.settle();
    same(&follower.text(), &lines(0..10_010));
    let troubles = follower.happenings.iter().filter(|it| matches!(it, Happening::OpenError { .. }));
    assert_eq!(troubles.count(), 1, "{:?}", follower.happenings);
    assert_eq!(follower.heard(|it| matches!(it, Happening::Retry { .. } | Happening::Recovered { .. })), 0);
}

#[test]
fn a_file_that_cannot_be_opened_takes_the_live_name_nevertheless() {
    use nix::unistd::{Uid, setfsuid};
    use std::os::unix::fs::PermissionsExt;
    let mut follower = Follower::new(true);
    let mode = |path: &std::path::Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    mode(follower.dir.path(), 0o755);
    follower.append("app.log", lines(0..10));
    follower.turn();
    follower.append("app.log", lines(10..20));
    follower.rename("app.log", "app.log.2");
    pause();
    follower.append("app.log.1", lines(20..30));
    pause();
    follower.append("app.log", lines(30..40));
    mode(&follower.path("app.log"), 0);
    let before = setfsuid(Uid::from_raw(65_534));
    follower.turn();
    setfsuid(before);
    same(&follower.text(), &lines(0..30));
    mode(&follower.path("app.log"), 0o644);
    follower.settle();
    same(&follower.text(), &lines(0..40));
}

#[test]
fn what_could_not_be_opened_before_a_restart_is_not_older_than_what_is_known() {
    use nix::unistd::{Uid, setfsuid};
    use std::os::unix::fs::PermissionsExt;
    let settings = Settings { start_at: StartAt::Beginning, since_ns: 1, ..Settings::default() };
    let mut follower = Follower::with(true, settings);
    let mode = |path: &std::path::Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    mode(follower.dir.path(), 0o755);
    follower.append("app.log", lines(0..10));
    follower.turn();
    follower.rename("app.log", "app.log.2");
    pause();
    follower.append("app.log.1", lines(10..20));
    mode(&follower.path("app.log.1"), 0);
    pause();
    follower.append("app.log", lines(20..30));
    let before = setfsuid(Uid::from_raw(65_534));
    follower.settle();
    setfsuid(before);
    follower.restart();
    mode(&follower.path("app.log.1"), 0o644);
    follower.settle();
    same(&follower.text(), &(lines(0..10) + &lines(20..30) + &lines(10..20)));
}

#[test]
fn a_packed_file_that_was_half_read_is_not_read_as_it_is() {
    let mut follower = Follower::new(true);
    follower.append("app.log", lines(0..10));
    follower.turn();
    let state = follower.stop();
    follower.append("app.log", lines(10..100));
    follower.rename("app.log", "app.log.1");
    follower.pack("app.log.1");
    follower.start(state);
    follower.take();
    follower.delivers = false;
    follower.turn();
    let state = follower.stop();
    assert!(state.generations[0].copy.is_some(), "{state:?}");
    follower.take();
    follower.delivers = true;
    follower.start(state);
    follower.settle();
    same(&follower.text(), &lines(10..100));
}
