//! `filename`: names of parts by another pattern. They sort whatever the clock does, old ones keep their place when the
//! pattern changes, and nothing is lost or taken for ours meanwhile.

use std::fs::{self, File, OpenOptions};
use std::path::Path;

use nix::sys::signal::Signal;
use standpipe_tests::deadline::until;
use standpipe_tests::directory::{KEEP_ALL, name, set_mode};
use standpipe_tests::privilege::{NOBODY, give, needs_seams};
use standpipe_tests::programs::{Launch, query, reader_stdin};
use standpipe_tests::stands::{Bench, Clock, Stand};
use standpipe_tests::world::{assert_same, hold, newest_is_empty, parts, put, raw, wait_empty};

const DEFAULT: &str = "%Y-%m-%dT%H-%M-%S.%6fZ";

fn part_names(log: &Path) -> Vec<String> {
    parts(log).iter().map(|part| name(part)).collect()
}

/// Asks for a rotation and waits until it and its archive are done.
fn rotate(stand: &Stand, reader: &standpipe_tests::programs::Daemon) {
    reader.signal(Signal::SIGALRM);
    until("it rotates", || newest_is_empty(&stand.segments()));
    until("it is archived", || stand.segments().len() == 1);
}

/// What `reader logs` prints, which goes by our order of parts.
fn assert_prints(launch: Launch, expected: &[u8], what: &str) {
    let output = launch.run();
    assert_eq!(output.code, 0, "{what}: {}", output.stderr);
    assert_same(&output.stdout, expected, what);
}

#[test]
fn parts_of_one_day_are_counted_and_the_next_day_begins_anew() {
    needs_seams(|| {
        let (stand, clock, mut reader) =
            Stand::started_at("filename = \"app-%Y-%m-%d\"\nrotate_age = \"off\"\n", "2026-11-21T10:00:00Z");
        let mut sent = String::new();
        let mut say = |line: String| {
            stand.write_and_wait(&line);
            sent.push_str(&line);
        };
        for round in 0..4 {
            say(format!("line {round}\n"));
            rotate(&stand, &reader);
            if round % 2 == 1 {
                reader.kill9();
                reader = clock.steer(stand.reader()).start();
            }
        }
        assert_eq!(part_names(&stand.log_dir()).last().unwrap(), "app-2026-11-21-004.log");
        // The empty one gives way: a name tells the day of the first byte.
        clock.set("2026-11-22T00:00:30Z");
        say("next day\n".to_owned());
        let names = part_names(&stand.log_dir());
        let archives = (0..4).map(|part| format!("app-2026-11-21-00{part}.log.zst"));
        assert_eq!(names, archives.chain(["app-2026-11-22-000.log".to_owned()]).collect::<Vec<_>>());
        let current = fs::read_link(stand.log_dir().join("current")).expect("a link");
        assert_eq!(current.as_os_str(), "app-2026-11-22-000.log");
        stand.wait_stored(sent.as_bytes());
        assert_prints(stand.logs().arg("app"), sent.as_bytes(), "logs");
        assert!(reader.lines_with("error").is_empty(), "{}", reader.stderr());
    });
}

#[test]
fn r30_coarse_names_rise_and_the_stream_stays_whatever_the_clock_does() {
    needs_seams(|| {
        let (stand, clock, mut reader) =
            Stand::started_at("filename = \"%Y-%m-%d\"\nrotate_at = \"hourly\"\n", "2026-11-21T10:00:00Z");
        let (mut sent, mut kept) = (Vec::new(), Vec::new());
        let times =
            ["21T10:00:01", "20T10:00:01", "20T10:00:01", "20T23:00:00", "21T10:00:00", "22T10:00:00", "21T00:00:00"];
        let mut archives = 0;
        for (round, time) in times.into_iter().enumerate() {
            clock.set(&format!("2026-11-{time}Z"));
            let line = format!("line {round} at {time}\n");
            stand.write_and_wait(&line);
            sent.extend(line.into_bytes());
            rotate(&stand, &reader);
            let stems: Vec<String> =
                part_names(&stand.log_dir()).iter().map(|name| name.split('.').next().unwrap().to_owned()).collect();
            assert!(stems.starts_with(&kept), "{stems:?} after {kept:?}");
            let new = stand.archives().len();
            assert!(new > archives && new <= archives + 2, "{stems:?}");
            (archives, kept) = (new, stems[..stems.len() - 1].to_vec());
            if round % 3 == 2 {
                reader.kill9();
                reader = clock.steer(stand.reader()).start();
            }
        }
        stand.wait_stored(&sent);
        assert_prints(stand.logs().arg("app"), &sent, "logs");
        assert!(reader.lines_with("error").is_empty(), "{}", reader.stderr());
    });
}

#[test]
fn the_age_of_a_coarse_part_counts_from_its_first_byte_through_restarts() {
    needs_seams(|| {
        let stand = Stand::new("filename = \"%Y\"\nrotate_age = \"1h\"\n");
        let clock = Clock::new(&stand.scratch, "2026-11-21T10:00:00Z");
        for (round, time) in ["10:20:00", "10:50:00", "11:19:59"].into_iter().enumerate() {
            clock.set(&format!("2026-11-21T{time}Z"));
            let mut reader = clock.steer(stand.reader()).start();
            stand.write_and_wait(&format!("line {round}\n"));
            assert_eq!(part_names(&stand.log_dir()), ["2026-000.log"], "too soon");
            reader.kill9();
        }
        clock.set("2026-11-21T11:20:00Z");
        let _reader = clock.steer(stand.reader()).start();
        let archives = stand.wait_archived(1);
        assert_eq!(raw(&archives[0]), b"line 0\nline 1\nline 2\n");
        assert_eq!(part_names(&stand.log_dir()), ["2026-000.log.zst", "2026-001.log"]);
    });
}

#[test]
fn after_a_change_of_pattern_old_parts_stay_ours_and_keep_their_place() {
    needs_seams(|| {
        let stand = Stand::new("");
        let clock = Clock::new(&stand.scratch, "2026-11-21T10:00:00Z");
        let mut sent = Vec::new();
        let patterns = [DEFAULT, "%Y-%m-%d", "app-%Y", DEFAULT, "%Y-%m-%dT%H", "%Y-%m-%d", "%s.%3f", DEFAULT, "%Y"];
        for (round, pattern) in patterns.into_iter().enumerate() {
            clock.set(&format!("2026-11-21T{:02}:30:00Z", 10 + round));
            stand.scratch.write_policy("defaults.toml", &format!("filename = \"{pattern}\"\n"));
            let mut reader = clock.steer(stand.reader()).start();
            for part in 0..2 {
                let line = format!("line {part} by {pattern}\n");
                write_and_wait_printed(&stand, &line);
                sent.extend(line.into_bytes());
                rotate_any(&stand, &reader);
            }
            if round % 2 == 0 {
                reader.kill9();
            } else {
                reader.stop();
            }
            assert_prints(stand.logs().arg("app"), &sent, pattern);
        }
        let state = fs::read_to_string(stand.log_dir().join(".standpipe")).expect("a state");
        let listed: Vec<&str> = state.lines().filter_map(|line| line.strip_prefix("pattern ")).collect();
        assert_eq!(listed, [DEFAULT, "%Y-%m-%d", "app-%Y", "%Y-%m-%dT%H", "%s.%3f", "%Y"]);
    });
}

/// As `rotate`, where names do not sort as bytes.
fn rotate_any(stand: &Stand, reader: &standpipe_tests::programs::Daemon) {
    let archives = stand.archives().len();
    reader.signal(Signal::SIGALRM);
    until("it is archived", || stand.archives().len() == archives + 1 && stand.segments().len() == 1);
}

fn write_and_wait_printed(stand: &Stand, line: &str) {
    stand.write(line.as_bytes());
    until("the line is stored", || stand.logs().arg("app").run().stdout.ends_with(line.as_bytes()));
}

#[test]
fn between_fine_names_and_those_of_days_the_order_is_that_of_the_bytes() {
    needs_seams(|| {
        let stand = Stand::new("");
        let clock = Clock::new(&stand.scratch, "2026-11-21T14:00:00Z");
        let mut sent = Vec::new();
        for (time, pattern) in [("21T14", DEFAULT), ("21T15", "%Y-%m-%d"), ("21T16", DEFAULT), ("23T17", "%Y-%m-%d")] {
            clock.set(&format!("2026-11-{time}:00:00Z"));
            stand.scratch.write_policy("defaults.toml", &format!("filename = \"{pattern}\"\n"));
            let reader = clock.steer(stand.reader()).start();
            let line = format!("at {time}\n");
            stand.write_and_wait(&line);
            sent.extend(line.into_bytes());
            rotate(&stand, &reader);
            reader.stop();
        }
        stand.wait_stored(&sent);
        let names = part_names(&stand.log_dir());
        let expected = [
            "2026-11-21T14-00-00.000000Z.log.zst",
            "2026-11-21T14-00-00.000001Z.log.zst",
            "2026-11-22-000.log.zst",
            "2026-11-23-000.log.zst",
            "2026-11-23-001.log",
        ];
        assert_eq!(names, expected);
    });
}

#[test]
fn a_kill_at_any_point_of_a_change_of_pattern_loses_and_repeats_nothing() {
    needs_seams(|| {
        for (point, times) in [("create", 4), ("write", 4), ("rename", 4), ("word", 12), ("symlink", 2), ("remove", 4)]
        {
            for time in 1..=times {
                for how in ["kill", "half"] {
                    if how == "kill" || point == "write" {
                        killed_in_a_change(&format!("{how} {point} {time}"));
                    }
                }
            }
        }
    });
}

fn killed_in_a_change(fault: &str) {
    let (bench, pipe) = Bench::new().holding("app");
    bench.scratch.write_policy("defaults.toml", "rotate_size = \"1K\"\n");
    let mut sent = Vec::new();
    let mut say = |pipe: &File, text: &str| {
        let lines = format!("{text} {}\n", "x".repeat(600)).repeat(3);
        put(pipe, lines.as_bytes());
        sent.extend(lines.into_bytes());
    };
    say(&pipe, "before");
    let reader = bench.steered_reader().start();
    wait_empty(&pipe);
    reader.stop();
    bench.scratch.write_policy("defaults.toml", "rotate_size = \"1K\"\nfilename = \"%Y-%m\"\n");
    bench.faults(fault);
    say(&pipe, "meanwhile");
    let mut killed = bench.steered_reader().start_unready();
    until("it is killed, or went past that", || !killed.is_running() || standpipe_tests::world::queued(&pipe) == 0);
    if killed.is_running() {
        killed.kill9();
    }
    bench.faults("");
    say(&pipe, "after");
    let reader = bench.steered_reader().start();
    wait_empty(&pipe);
    let stored = || query("logs", &bench.scratch).arg("app").run().stdout;
    until("all is stored", || stored().len() >= sent.len());
    assert_same(&stored(), &sent, fault);
    assert!(bench.root_files(".salvaged-").is_empty(), "{fault}");
    reader.stop();
}

#[test]
fn a_first_start_with_a_coarse_pattern_survives_a_kill_at_each_step() {
    needs_seams(|| {
        for point in ["create", "write", "rename", "sync", "symlink", "word"] {
            for time in 1..=5 {
                let (bench, pipe) = Bench::new().holding("app");
                bench.scratch.write_policy("defaults.toml", "filename = \"%Y\"\n");
                bench.faults(&format!("kill {point} {time}"));
                put(&pipe, b"one\n");
                let mut killed = bench.steered_reader().start_unready();
                until("killed or done", || !killed.is_running() || standpipe_tests::world::queued(&pipe) == 0);
                if killed.is_running() {
                    killed.kill9();
                }
                bench.faults("");
                put(&pipe, b"two\n");
                let reader = bench.steered_reader().start();
                bench.wait_stored("app", b"one\ntwo\n");
                assert!(reader.lines_with("error").is_empty(), "{point} {time}: {}", reader.stderr());
                reader.stop();
            }
        }
    });
}

#[test]
fn whoever_stands_in_the_way_of_a_name_is_passed_by() {
    let bench = Bench::new();
    let log = bench.log("app");
    for dir in [bench.scratch.logs(), log.clone()] {
        fs::create_dir_all(&dir).expect("a directory");
        give(&dir);
    }
    fs::write(log.join(".standpipe"), "").expect("a state");
    give(&log.join(".standpipe"));
    let year = this_year();
    fs::create_dir(log.join(format!("{year}-000.log"))).expect("a directory");
    std::os::unix::fs::symlink("/nowhere", log.join(format!("{year}-001.log"))).expect("a link");
    let pipe = hold(&bench.scratch.pipe("app"));
    bench.scratch.write_policy("defaults.toml", "filename = \"%Y\"\n");
    put(&pipe, b"one\n");
    let reader = bench.steered_reader().start();
    let part = log.join(format!("{year}-002.log"));
    until("it is stored", || fs::read(&part).is_ok_and(|bytes| bytes == b"one\n"));
    reader.stop();
}

/// This year in UTC.
fn this_year() -> String {
    let output = standpipe_tests::programs::command("date").args(["-u", "+%Y"]).output().expect("date");
    String::from_utf8(output.stdout).expect("digits").trim().to_owned()
}

#[test]
fn files_of_others_are_not_taken_for_ours_by_a_new_pattern() {
    let (bench, pipe) = Bench::new().holding("app");
    put(&pipe, b"one\n");
    let reader = bench.steered_reader().start();
    bench.wait_stored("app", b"one\n");
    reader.stop();
    let foreign = bench.log("app").join("2020-000.log.zst");
    fs::write(&foreign, "somebody else's").expect("a file");
    give(&foreign);
    bench.scratch.write_policy("defaults.toml", "filename = \"%Y\"\n");
    put(&pipe, b"two\n");
    let reader = bench.steered_reader().start();
    let said = reader.wait_line("cannot use log directory");
    assert!(
        said.contains("2020-000.log.zst in it is not one of our parts, but its name fits filename = \"%Y\""),
        "{said}"
    );
    fs::remove_file(foreign).expect("a file");
    until("it is stored", || parts(&bench.log("app")).iter().any(|part| raw(part).ends_with(b"two\n")));
    reader.stop();
}

#[test]
fn a_pattern_that_does_not_sort_is_refused_with_its_place() {
    let bench = Bench::new();
    bench.scratch.pipe("app");
    bench.scratch.write_policy("app.toml", "stamp = \"iso\"\nfilename = \"%d-%m-%Y\"\n");
    let checked = Launch::new("reader").arg(bench.scratch.pipes()).arg("--check-config").run();
    assert_eq!(checked.code, 2);
    assert!(
        checked.stderr.contains("line 2, column 12: names with `%d` in this place would not sort by time"),
        "{}",
        checked.stderr
    );
    assert!(checked.stderr.contains("2 | filename = \"%d-%m-%Y\"\n  |            ^^^^^^^^^^"), "{}", checked.stderr);
    for (pattern, complaint) in [
        ("%H-%M", "names with `%H` in this place would not sort by time: the fields are %Y, then %m and %d"),
        ("app", "it contains no time"),
        ("%Y/%m", "names cannot contain `/`"),
        ("%Y.log", "leave out the ending: parts get `.log`"),
    ] {
        let log = bench.log("flags");
        let fifo = bench.scratch.run("app");
        let input = OpenOptions::new().read(true).write(true).open(fifo).expect("a FIFO");
        let output = reader_stdin(&log).args(["--filename", pattern]).stdin(input).run();
        assert_eq!(output.code, 2, "{}", output.stderr);
        assert!(output.stderr.contains(complaint), "{pattern}: {}", output.stderr);
        assert!(!log.exists());
    }
}

#[test]
fn reader_stdin_names_by_its_flag() {
    let bench = Bench::new();
    let log = bench.log("app");
    for (count, text) in ["one\n", "two\n", "three\n"].into_iter().enumerate() {
        let (input, output) = std::io::pipe().expect("a pipe");
        put(&File::from(std::os::fd::OwnedFd::from(output)), text.as_bytes());
        let run = reader_stdin(&log).args(["--filename", "%Y"]).stdin(input).run();
        assert_eq!(run.code, 0, "{}", run.stderr);
        let archive = log.join(format!("{}-{count:03}.log.zst", this_year()));
        assert_eq!(raw(&archive), text.as_bytes());
    }
}

#[test]
fn whoever_may_read_the_parts_may_read_their_patterns() {
    let (bench, pipe) = Bench::new().holding("app");
    bench.scratch.write_policy("defaults.toml", "filename = \"%Y\"\nfile_mode = \"0644\"\n");
    put(&pipe, b"one\n");
    let reader = bench.steered_reader().start();
    bench.wait_stored("app", b"one\n");
    set_mode(&bench.log("app"), 0o755);
    assert_prints(Launch::new("reader").arg("logs").arg(bench.log("app")).as_user(NOBODY - 1), b"one\n", "others");
    reader.stop();
}

#[test]
fn a_chunk_of_a_killed_reader_goes_into_the_part_of_the_old_pattern() {
    needs_seams(|| {
        let (bench, pipe) = Bench::new().holding("app");
        bench.scratch.write_policy("defaults.toml", "filename = \"%Y\"\n");
        put(&pipe, b"one\n");
        bench.faults("kill arrived 1");
        bench.steered_reader().run_to_kill();
        bench.faults("");
        bench.scratch.write_policy("defaults.toml", "filename = \"%Y-%m-%d\"\n");
        put(&pipe, b"two\n");
        let reader = bench.steered_reader().start();
        bench.wait_stored("app", b"one\ntwo\n");
        assert_eq!(part_names(&bench.log("app")), [format!("{}-000.log", this_year())]);
        reader.stop();
    });
}

#[test]
fn parts_are_named_by_the_day_of_a_zone_through_the_hour_that_comes_twice() {
    needs_seams(|| {
        const POLICY: &str =
            "zone = \"Europe/Berlin\"\nfilename_zone = \"Europe/Berlin\"\nfilename = \"%Y-%m-%dT%H\"\n";
        let stand = Stand::new(POLICY);
        // The clocks of Berlin go back from three to two at 01:00 UTC.
        let clock = Clock::new(&stand.scratch, "2026-10-24T22:30:00Z");
        let mut reader = clock.steer(stand.reader()).start();
        let mut sent = Vec::new();
        for time in ["2026-10-24T22:30:00Z", "2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z", "2026-10-25T02:30:00Z"] {
            clock.set(time);
            let line = format!("at {time}\n");
            stand.write_and_wait(&line);
            sent.extend(line.into_bytes());
            rotate(&stand, &reader);
            reader.kill9();
            reader = clock.steer(stand.reader()).start();
        }
        stand.wait_stored(&sent);
        let names: Vec<_> = stand.archives().iter().map(|archive| name(archive)).collect();
        let expected = ["25T00-000", "25T02-000", "25T02-001", "25T03-000"];
        assert_eq!(names, expected.map(|end| format!("2026-10-{end}.log.zst")));
        // Back to UTC: the parts stay ours, and what comes sorts behind them.
        assert_eq!(reader.terminate(), 0);
        stand.scratch.write_policy("defaults.toml", KEEP_ALL);
        let _reader = clock.steer(stand.reader()).start();
        stand.write_and_wait("in UTC\n");
        sent.extend(b"in UTC\n");
        stand.wait_stored(&sent);
    });
}

#[test]
fn names_in_utc_beside_another_zone_are_told_by_check_config() {
    let stand = Stand::new("zone = \"Europe/Berlin\"\nfilename = \"%Y-%m-%d\"\n");
    let checked = Launch::new("reader").arg(stand.scratch.pipes()).arg("--check-config").run();
    assert_eq!(checked.code, 0, "{}", checked.stderr);
    assert!(checked.stderr.contains("names of parts are in UTC, but zone is Europe/Berlin"), "{}", checked.stderr);
}
