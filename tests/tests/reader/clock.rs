//! A clock that is wrong for a while: nothing goes that cannot be had back, and all goes on when it is right again.

use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use nix::sys::signal::Signal;
use standpipe_tests::deadline::until;
use standpipe_tests::directory::{name, names};
use standpipe_tests::privilege::needs_seams;
use standpipe_tests::stands::Stand;
use standpipe_tests::world::{newest_is_empty, parts, stream_of};

const WEEK: &str = "keep_size = \"off\"\nkeep_free = \"off\"\nkeep_age = \"7d\"\n";
const LEAPT: &str = "the clock jumped from ";

fn stored(stand: &Stand) -> String {
    String::from_utf8_lossy(&stream_of(&stand.log_dir())).into_owned()
}

#[test]
fn a_minute_years_ahead_removes_nothing_and_expiry_goes_on_afterwards() {
    needs_seams(|| {
        let (stand, clock, reader) = Stand::started_at(WEEK, "2026-11-21T10:00:00Z");
        stand.rotate(&reader, "one\n");
        clock.set("2026-11-22T09:00:00Z");
        stand.rotate(&reader, "two\n");
        clock.set("2037-01-01T00:00:00Z");
        stand.rotate(&reader, "future\n");
        clock.set("2037-01-01T00:59:00Z");
        stand.rotate(&reader, "future too\n");
        clock.set("2026-11-22T10:00:00Z");
        stand.rotate(&reader, "three\n");
        assert_eq!(stored(&stand), "one\ntwo\nfuture\nfuture too\nthree\n");
        let leaps = reader.lines_with(LEAPT);
        assert_eq!(leaps.len(), 2, "{leaps:?}");
        assert!(leaps[0].contains("from 2026-11-22T09:00:00Z to 2037-01-01T00:00:00Z"), "{leaps:?}");
        // Day by day until the first of them is too old, and the minute of the future with what was written after it.
        for day in 23..=28 {
            clock.pass(&stand.scratch, &[&format!("2026-11-{day}T09:30:00Z")]);
        }
        assert_eq!(stored(&stand), "one\ntwo\nfuture\nfuture too\nthree\n");
        clock.set("2026-11-28T10:31:00Z");
        until("the first is gone", || stored(&stand) == "two\nfuture\nfuture too\nthree\n");
        clock.set("2026-11-29T10:30:00Z");
        until("all are gone", || stored(&stand).is_empty());
    });
}

#[test]
fn a_clock_that_leapt_while_no_reader_ran_must_run_on_for_an_hour() {
    needs_seams(|| {
        let (stand, clock, mut reader) = Stand::started_at(WEEK, "2026-11-21T10:00:00Z");
        stand.rotate(&reader, "one\n");
        assert_eq!(reader.terminate(), 0);
        clock.set("2026-12-21T10:00:00Z");
        let mut reader = clock.steer(stand.reader()).start();
        reader.wait_line(LEAPT);
        assert_eq!(reader.terminate(), 0);
        clock.set("2026-12-21T10:59:00Z");
        let reader = clock.steer(stand.reader()).start();
        stand.rotate(&reader, "two\n");
        assert_eq!(stored(&stand), "one\ntwo\n");
        clock.set("2026-12-21T12:00:00Z");
        until("it is believed", || stored(&stand) == "two\n");
        assert!(reader.lines_with(LEAPT).is_empty(), "{}", reader.stderr());
    });
}

#[test]
fn the_log_of_a_boot_without_a_clock_is_as_old_as_what_came_after_it() {
    needs_seams(|| {
        let (stand, clock, reader) = Stand::started_at(WEEK, "1970-01-01T00:00:09Z");
        stand.rotate(&reader, "boot\n");
        clock.set("2026-11-21T10:00:00Z");
        reader.wait_line(LEAPT);
        clock.pass(&stand.scratch, &["2026-11-21T12:00:00Z", "2026-11-21T14:00:00Z"]);
        stand.rotate(&reader, "one\n");
        for day in 22..=28 {
            clock.pass(&stand.scratch, &[&format!("2026-11-{day}T12:00:00Z")]);
        }
        clock.pass(&stand.scratch, &["2026-11-28T13:59:00Z"]);
        assert_eq!(stored(&stand), "boot\none\n");
        clock.set("2026-11-28T15:00:00Z");
        until("both are gone", || stored(&stand).is_empty());
    });
}

/// A rotation by the clock goes on after a minute in 2037, also after one by hand and a restart.
/// Waits for an answer of the thread that drains, which it gives once a turn.
fn wait_turn(stand: &Stand) {
    let mut call = UnixStream::connect(stand.scratch.logs().join(".control")).unwrap();
    call.write_all(b"nothing\n").unwrap();
    call.shutdown(Shutdown::Write).unwrap();
    call.read_to_string(&mut String::new()).unwrap();
}

fn goes_on(policy: &str) {
    let (stand, clock, mut reader) = Stand::started_at(policy, "2026-11-21T09:10:00Z");
    stand.write_and_wait("before\n");
    clock.set("2037-01-01T00:10:00Z");
    until("it rotates", || parts(&stand.log_dir()).len() == 2);
    stand.write_and_wait("future\n");
    clock.set("2026-11-21T10:10:00Z");
    reader.wait_lines(LEAPT, 2);
    // The archiver's thread says that; the one that drains has to have seen this time, too.
    (0..2).for_each(|_| wait_turn(&stand));
    let hour = |hour: u32| {
        let (before, line) = (parts(&stand.log_dir()).len(), format!("at {hour}\n"));
        clock.set(&format!("2026-11-21T{hour}:20:00Z"));
        until(&format!("it rotates by {policy} at {hour}"), || parts(&stand.log_dir()).len() > before);
        stand.write_and_wait(&line);
    };
    // Nobody writes for the first hour.
    (11..13).for_each(hour);
    reader.signal(Signal::SIGALRM);
    until("it rotates", || newest_is_empty(&stand.segments()));
    stand.write_and_wait("by hand\n");
    (13..15).for_each(hour);
    assert_eq!(reader.terminate(), 0);
    reader = clock.steer(stand.reader()).start();
    (15..17).for_each(hour);
    let names: Vec<_> = parts(&stand.log_dir()).iter().map(|part| name(part)).collect();
    assert!(names.is_sorted() && names.len() == 9, "{names:?}");
    drop(reader);
}

#[test]
fn rotation_by_the_clock_goes_on_after_a_minute_years_ahead() {
    needs_seams(|| {
        std::thread::scope(|scope| {
            for policy in [
                "rotate_at = \"hourly\"\n",
                "rotate_age = \"1h\"\n",
                "rotate_at = \"hourly\"\nfilename = \"%Y-%m-%d\"\n",
                "rotate_at = \"hourly\"\nfilename = \"%Y\"\ncompress = \"none\"\n",
            ] {
                scope.spawn(move || goes_on(policy));
            }
        });
    });
}

#[test]
fn a_part_of_the_future_that_nobody_writes_to_rotates_after_a_restart() {
    needs_seams(|| {
        let (stand, clock, mut reader) = Stand::started_at("rotate_age = \"1h\"\n", "2037-01-01T00:00:00Z");
        stand.write_and_wait("future\n");
        assert_eq!(reader.terminate(), 0);
        clock.set("2026-11-21T10:00:00Z");
        let mut reader = clock.steer(stand.reader()).start();
        clock.set("2026-11-21T10:59:00Z");
        assert_eq!(reader.terminate(), 0);
        assert_eq!(parts(&stand.log_dir()).len(), 1, "{:?}", names(&stand.log_dir()));
        clock.set("2026-11-21T11:00:01Z");
        let reader = clock.steer(stand.reader()).start();
        stand.wait_archived(1);
        assert!(fs::exists(stand.scratch.logs().join(".clock")).is_ok_and(|is_there| is_there), "{}", reader.stderr());
    });
}
