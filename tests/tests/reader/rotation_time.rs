//! Parts end by age and by the clock on the wall, whatever the clock does, and whether anybody writes or not.

use nix::sys::signal::Signal;
use standpipe_tests::deadline::until;
use standpipe_tests::directory::{name, names};
use standpipe_tests::privilege::needs_seams;
use standpipe_tests::stands::{Clock, Stand};
use standpipe_tests::world::{newest_is_empty, parts, raw};

/// The parts of the log, by name.
fn part_names(stand: &Stand) -> Vec<String> {
    parts(&stand.log_dir()).iter().map(|part| name(part)).collect()
}

/// One rotation by the calendar: no sooner than at `due`, without new input then, and never for nothing.
fn cross(policy: &str, birth: &str, just_before: &str, due: &str, later: &str) {
    let (stand, clock, _reader) = Stand::started_at(&format!("rotate_age = \"off\"\n{policy}"), birth);
    stand.write_and_wait("one\n");
    clock.set(just_before);
    stand.write_and_wait("two\n");
    assert_eq!(part_names(&stand), [format!("{}.log", stem(birth))], "{policy}: too soon");
    clock.set(due);
    let archives = stand.wait_archived(1);
    assert_eq!(raw(&archives[0]), b"one\ntwo\n");
    assert_eq!(part_names(&stand), [format!("{}.log.zst", stem(birth)), format!("{}.log", stem(due))], "{policy}");
    // Nobody writes for some days: nothing is sealed, and the next part is named after its first byte.
    clock.set(later);
    stand.write_and_wait("three\n");
    // A part that is renamed in the middle of a listing may have both names there.
    until(policy, || part_names(&stand) == [format!("{}.log.zst", stem(birth)), format!("{}.log", stem(later))]);
}

/// The name of a part that was born at that second.
fn stem(time: &str) -> String {
    assert_eq!(time.len(), "2026-11-21T10:00:00Z".len(), "whole seconds, UTC");
    time.replace(':', "-").replace('Z', ".000000Z")
}

#[test]
fn r21_an_idle_log_rotates_at_the_full_hour_and_nothing_is_never_rotated() {
    needs_seams(|| {
        cross(
            "rotate_at = \"hourly\"\n",
            "2026-11-21T10:30:00Z",
            "2026-11-21T10:59:59Z",
            "2026-11-21T11:00:00Z",
            "2026-11-24T07:10:00Z",
        );
    });
}

#[test]
fn r21_the_hour_that_comes_twice_is_two_hours() {
    needs_seams(|| {
        // Half past two in summer time; the clocks of Berlin go back from three to two at 01:00 UTC.
        cross(
            "rotate_at = \"hourly\"\nzone = \"Europe/Berlin\"\n",
            "2026-10-25T00:30:00Z",
            "2026-10-25T00:59:59Z",
            "2026-10-25T01:00:00Z",
            "2026-10-25T05:10:00Z",
        );
    });
}

#[test]
fn r21_a_day_of_25_hours_is_one_day_and_one_of_23_as_well() {
    needs_seams(|| {
        cross(
            "rotate_at = \"daily\"\nzone = \"Europe/Berlin\"\n",
            "2026-10-24T22:00:00Z",
            "2026-10-25T22:59:59Z",
            "2026-10-25T23:00:00Z",
            "2026-10-28T12:00:00Z",
        );
        cross(
            "rotate_at = \"daily\"\nzone = \"Europe/Berlin\"\n",
            "2026-03-28T23:00:00Z",
            "2026-03-29T21:59:59Z",
            "2026-03-29T22:00:00Z",
            "2026-04-02T12:00:00Z",
        );
    });
}

#[test]
fn r21_a_time_of_day_that_is_skipped_comes_when_it_would_have() {
    needs_seams(|| {
        cross(
            "rotate_at = \"02:30\"\nzone = \"Europe/Berlin\"\n",
            "2026-03-28T12:00:00Z",
            "2026-03-29T01:29:59Z",
            "2026-03-29T01:30:00Z",
            "2026-03-31T12:00:00Z",
        );
    });
}

#[test]
fn a_list_of_times_a_day_of_the_week_one_of_the_month_and_a_part_of_an_hour() {
    needs_seams(|| {
        for (policy, birth, just_before, due, later) in [
            ("[\"06:30\", \"18:30\"]", "21T10:30:00Z", "21T18:29:59Z", "21T18:30:00Z", "24T07:10:00Z"),
            ("\"weekly monday\"", "21T10:30:00Z", "22T23:59:59Z", "23T00:00:00Z", "25T07:10:00Z"),
            ("\"monthly 23 06:00\"", "22T10:30:00Z", "23T05:59:59Z", "23T06:00:00Z", "25T07:10:00Z"),
            ("\"every 15m\"", "21T10:50:00Z", "21T10:59:59Z", "21T11:00:00Z", "24T07:10:00Z"),
        ] {
            let [birth, just_before, due, later] = [birth, just_before, due, later].map(|day| format!("2026-11-{day}"));
            cross(&format!("rotate_at = {policy}\n"), &birth, &just_before, &due, &later);
        }
    });
}

#[test]
fn r22_the_age_counts_on_through_restarts() {
    needs_seams(|| {
        let stand = Stand::new("rotate_age = \"1h\"\n");
        let clock = Clock::new(&stand.scratch, "2026-11-21T10:00:00Z");
        for (round, minute) in [0, 20, 40, 59].into_iter().enumerate() {
            clock.set(&format!("2026-11-21T10:{minute:02}:30Z"));
            let mut reader = clock.steer(stand.reader()).start();
            stand.write_and_wait(&format!("line {round}\n"));
            if round % 2 == 0 {
                reader.kill9();
            } else {
                assert_eq!(reader.terminate(), 0);
            }
        }
        assert_eq!(part_names(&stand).len(), 1, "{:?}", names(&stand.log_dir()));
        clock.set("2026-11-21T11:00:29Z");
        let mut reader = clock.steer(stand.reader()).start();
        stand.write_and_wait("line 4\n");
        assert_eq!(part_names(&stand).len(), 1, "too soon: {:?}", names(&stand.log_dir()));
        assert_eq!(reader.terminate(), 0);
        // It becomes due while no reader is there.
        clock.set("2026-11-21T11:00:30Z");
        let _reader = clock.steer(stand.reader()).start();
        let archives = stand.wait_archived(1);
        assert_eq!(raw(&archives[0]), b"line 0\nline 1\nline 2\nline 3\nline 4\n");
        assert_eq!(name(&archives[0]), "2026-11-21T10-00-30.000000Z.log.zst");
    });
}

#[test]
fn r30_names_rise_and_the_stream_stays_whatever_the_clock_does() {
    needs_seams(|| {
        let (stand, clock, mut reader) = Stand::started_at("rotate_at = \"hourly\"\n", "2026-11-21T10:00:00Z");
        let (mut sent, mut born) = (Vec::new(), Vec::new());
        let times = [
            "2026-11-21T10:00:01Z",
            "2026-11-20T10:00:01Z",
            "2026-11-20T10:00:01Z",
            "2026-11-20T23:00:00Z",
            "2026-11-21T10:00:00.5Z",
            "2026-11-22T10:00:00Z",
            "2026-11-21T00:00:00Z",
            "2031-01-01T00:00:00Z",
        ];
        for (round, time) in times.into_iter().enumerate() {
            clock.set(time);
            let line = format!("line {round} at {time}\n");
            stand.write_and_wait(&line);
            sent.extend(line.into_bytes());
            reader.signal(Signal::SIGALRM);
            until("it rotates", || newest_is_empty(&stand.segments()));
            until("it is archived", || stand.segments().len() == 1);
            let parts = part_names(&stand);
            let (new, archives) = (parts.last().unwrap().clone(), stand.archives().len());
            assert!(born.last().is_none_or(|last| *last < new), "{new} after {born:?}");
            assert!(archives > round && archives <= 2 * round + 1, "{parts:?}");
            born.push(new);
            if round % 3 == 2 {
                reader.kill9();
                reader = clock.steer(stand.reader()).start();
            }
        }
        stand.wait_stored(&sent);
        assert!(reader.lines_with("error").is_empty(), "{}", reader.stderr());
    });
}
