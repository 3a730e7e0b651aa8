//! Disks that are full, directories that go and come back: the writers wait, memory does not grow, nothing is lost, and
//! it goes on by itself when there is room.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

use standpipe_tests::deadline::{until, within};
use standpipe_tests::directory::{Mounted, files_ending, set_mode};
use standpipe_tests::privilege::{needs_root, needs_seams};
use standpipe_tests::programs::Daemon;
use standpipe_tests::stands::Bench;
use standpipe_tests::world::{Check, Tally, Writer, assert_same, hold, length, line, put, queued, stream_of};

/// Rotation that fits a tiny disk, and nothing deleted.
const TINY: &str = "rotate_size = \"256KiB\"\nkeep_size = \"off\"\nkeep_free = \"off\"";
/// What a reader may take for one lane at full speed, KiB.
const MEMORY_KIB_MAX: u64 = 24 << 10;

/// What became of the lines of writer 1.
fn tally(log: &Path, lines: u64) -> Tally {
    let mut check = Check::new();
    check.feed(&stream_of(log));
    check.finish(&[(1, lines)])
}

/// Memory that a process has to itself, KiB.
fn anonymous_kib(reader: &Daemon) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", reader.pid())).expect("a running process");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("a field of status");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// Waits until a writer waits for room in its pipe.
fn wait_blocked(writer: &Writer) {
    let mut last = (writer.lines(), Instant::now());
    until("the writer waits", || {
        if writer.lines() != last.0 {
            last = (writer.lines(), Instant::now());
        }
        last.1.elapsed() > Duration::from_millis(300)
    });
}

#[test]
fn r40_on_a_full_disk_the_writer_waits_memory_stays_flat_and_nothing_is_lost() {
    needs_root(|| {
        let bench = Bench::new();
        bench.scratch.write_policy("defaults.toml", TINY);
        let disk = Mounted::tmpfs(&bench.scratch.logs(), "size=4m");
        let fifo = bench.scratch.pipe("app");
        let pipe = hold(&fifo);
        let reader = bench.reader().start();
        let writer = Writer::start(&fifo, 1, Some(100_000), Duration::ZERO);
        reader.wait_line("not reading app until this is fixed");
        wait_blocked(&writer);
        assert!(anonymous_kib(&reader) < MEMORY_KIB_MAX, "{} KiB", anonymous_kib(&reader));
        disk.remount("size=256m");
        let written = writer.join();
        assert!(written.error.is_none() && written.lines == 100_000, "{written:?}");
        until("the pipe is empty", || queued(&pipe) == 0);
        reader.wait_line("app: recovered; reading again");
        let found = tally(&bench.log("app"), written.lines);
        assert!(found.is_whole() && found.found == written.lines, "{found:?}");
        assert!(anonymous_kib(&reader) < MEMORY_KIB_MAX, "{} KiB", anonymous_kib(&reader));
        until("the sealed segments are archived", || files_ending(&bench.log("app"), ".log").len() == 1);
        reader.stop();
    });
}

#[test]
fn r41_with_the_default_limits_a_full_disk_keeps_the_newest_and_tells_what_went() {
    const LINES: u64 = 100_000;
    needs_root(|| {
        let bench = Bench::new();
        bench.scratch.write_policy("defaults.toml", "rotate_size = \"256KiB\"");
        let _disk = Mounted::tmpfs(&bench.scratch.logs(), "size=4m");
        let fifo = bench.scratch.pipe("app");
        let pipe = hold(&fifo);
        let reader = bench.reader().start();
        let written = Writer::start(&fifo, 1, Some(LINES), Duration::ZERO).join();
        assert!(written.error.is_none() && written.lines == LINES, "{written:?}");
        until("the pipe is empty", || queued(&pipe) == 0);
        let last = line(1, LINES - 1, length(1, LINES - 1));
        until("the last line is stored", || stream_of(&bench.log("app")).ends_with(&last));
        let stored = stream_of(&bench.log("app"));
        let kept = stored.split_inclusive(|byte| *byte == b'\n').count() as u64;
        let newest: Vec<u8> = (LINES - kept..LINES).flat_map(|seq| line(1, seq, length(1, seq))).collect();
        assert_same(&stored, &newest, "the newest lines, without a gap");
        assert!(kept < LINES && !reader.lines_with(": removed ").is_empty(), "{kept}: {}", reader.stderr());
        assert!(reader.lines_with(": removed ").iter().all(|line| line.contains("(keep_free ")));
        reader.stop();
    });
}

#[test]
fn the_room_put_by_for_archives_is_taken_by_nobody_else() {
    const LINES: u64 = 40_000;
    needs_root(|| {
        needs_seams(|| {
            let bench = Bench::new();
            bench.scratch.write_policy("defaults.toml", "rotate_size = \"256KiB\"");
            bench.faults("ENOSPC archive-read 1 1\ndelay archive-read 300\n");
            let _disk = Mounted::tmpfs(&bench.scratch.logs(), "size=4m");
            let fifo = bench.scratch.pipe("app");
            let _pipe = hold(&fifo);
            let reader = bench.traced_reader().start();
            let writer = Writer::start(&fifo, 1, Some(LINES), Duration::ZERO);
            until("the first archive is begun", || bench.passes("archive-read") > 0);
            let others = bench.scratch.logs().join(".others");
            let mut filler = fs::File::create(&others).unwrap();
            until("an archive, although others fill the disk", || {
                while filler.write_all(&[0; 4096]).is_ok() {}
                !files_ending(&bench.log("app"), ".zst").is_empty()
            });
            bench.faults("");
            fs::remove_file(others).unwrap();
            drop(filler);
            let written = writer.join();
            assert!(written.error.is_none() && written.lines == LINES, "{written:?}");
            reader.stop();
        });
    });
}

#[test]
fn r42_term_on_a_full_disk_ends_in_time_and_says_what_stays_in_the_pipe() {
    needs_root(|| {
        let bench = Bench::new();
        bench.scratch.write_policy("defaults.toml", TINY);
        let disk = Mounted::tmpfs(&bench.scratch.logs(), "size=4m");
        let fifo = bench.scratch.pipe("app");
        let pipe = hold(&fifo);
        let mut reader = bench.reader().start();
        let writer = Writer::start(&fifo, 1, Some(100_000), Duration::ZERO);
        reader.wait_line("not reading app until this is fixed");
        wait_blocked(&writer);
        let left = queued(&pipe);
        let before = Instant::now();
        assert_eq!(reader.terminate(), 0, "{}", reader.stderr());
        assert!(before.elapsed() < Duration::from_secs(10), "{:?}", before.elapsed());
        assert_eq!(reader.lines_with(&format!("app: {left} bytes left in the pipe")).len(), 1, "{}", reader.stderr());
        disk.remount("size=256m");
        let reader = bench.reader().start();
        let written = writer.join();
        assert!(written.error.is_none(), "{written:?}");
        until("all is stored", || tally(&bench.log("app"), written.lines).found == written.lines);
        assert!(tally(&bench.log("app"), written.lines).is_whole());
        reader.stop();
    });
}

#[test]
fn r32_a_log_directory_that_is_removed_or_read_only_comes_back_by_itself() {
    let (bench, pipe) = Bench::new().holding("app");
    let reader = bench.reader().start();
    put(&pipe, b"one\n");
    bench.wait_stored("app", b"one\n");
    // Read-only: the next part cannot be made, and its bytes wait.
    set_mode(&bench.log("app"), 0o500);
    reader.signal(nix::sys::signal::Signal::SIGALRM);
    reader.wait_line("not reading app until this is fixed");
    put(&pipe, b"two\n");
    set_mode(&bench.log("app"), 0o750);
    bench.wait_stored("app", b"one\ntwo\n");
    reader.wait_line("app: recovered; reading again");
    // Removed: what is written while nobody has noticed goes with it, and then a new one takes its place.
    // The archiver may put a file into it in between.
    until("it is removed", || fs::remove_dir_all(bench.log("app")).is_ok());
    let mut sent = 0;
    until("it is noticed", || {
        sent += 1;
        put(&pipe, format!("line {sent}\n").as_bytes());
        bench.log("app").exists()
    });
    put(&pipe, b"last\n");
    until("the last is stored", || stream_of(&bench.log("app")).ends_with(b"last\n"));
    reader.stop();
}

#[test]
fn r44_parts_are_no_longer_than_files_may_be() {
    let bench = Bench::new();
    let fifo = bench.scratch.pipe("app");
    let _held = hold(&fifo);
    // In blocks of 512 bytes: 2 MiB, where a part would have 64.
    let reader = bench.reader().prelude("ulimit -f 4096").start();
    let writer = Writer::start(&fifo, 1, Some(40_000), Duration::ZERO);
    let written = writer.join();
    assert!(written.error.is_none(), "{written:?}");
    until("all is stored", || tally(&bench.log("app"), written.lines).found == written.lines);
    assert!(tally(&bench.log("app"), written.lines).is_whole());
    assert_eq!(reader.lines_with("error").len(), 0, "{}", reader.stderr());
    reader.stop();
}

#[test]
fn a_lane_whose_disk_is_broken_delays_none_of_fifty_others() {
    const OTHERS: u16 = 50;
    needs_root(|| {
        let bench = Bench::new();
        bench.scratch.write_policy("defaults.toml", TINY);
        let tiny = bench.scratch.make_dir("tiny");
        let disk = Mounted::tmpfs(&tiny, "size=64k");
        let sick = bench.scratch.pipe("sick");
        let names: Vec<String> = (0..OTHERS).map(|number| format!("well{number}")).collect();
        let fifos: Vec<_> = names.iter().map(|name| bench.scratch.pipe(name)).collect();
        let held: Vec<_> = fifos.iter().chain([&sick]).map(|fifo| hold(fifo)).collect();
        symlink(&tiny, bench.log("sick")).expect("a link");
        std::os::unix::fs::lchown(bench.log("sick"), Some(0), Some(0)).expect("root");
        let reader = bench.reader().start();
        let mut stored = 0;
        // From the write until the line stands in the segment, for each of the others in turn.
        let mut delays = || {
            let mut delays = Vec::new();
            for _ in 0..8 {
                stored += 7;
                for (name, pipe) in names.iter().zip(&held) {
                    let sent = Instant::now();
                    put(pipe, b"a line\n");
                    let is_stored =
                        || fs::metadata(bench.log(name).join("current")).is_ok_and(|segment| segment.len() == stored);
                    assert!(within(Duration::from_secs(5), is_stored), "{name}: {}", reader.stderr());
                    delays.push(sent.elapsed());
                }
            }
            delays.sort();
            (delays[delays.len() / 2], delays[delays.len() - 1])
        };
        let before = delays();
        let writer = Writer::start(&sick, 1, Some(20_000), Duration::ZERO);
        reader.wait_line("not reading sick until this is fixed");
        let meanwhile = delays();
        println!("median and longest delay {before:?} before, {meanwhile:?} meanwhile");
        assert!(meanwhile.0 < before.0 * 3 + Duration::from_millis(5), "{before:?} {meanwhile:?}");
        assert!(meanwhile.1 < before.1 * 3 + Duration::from_millis(500), "{before:?} {meanwhile:?}");
        assert!(!reader.lines_with("well").iter().any(|line| line.contains("error")), "{}", reader.stderr());
        disk.remount("size=64m");
        let written = writer.join();
        until("all is stored", || tally(&tiny, written.lines).found == written.lines);
        assert!(tally(&tiny, written.lines).is_whole());
        reader.stop();
    });
}

#[test]
fn a_lane_that_rests_has_its_pipe_open_and_nothing_else() {
    const PIPES: usize = 40;
    let bench = Bench::new();
    let held: Vec<_> = (0..PIPES).map(|number| hold(&bench.scratch.pipe(&format!("app{number}")))).collect();
    let reader = bench.reader().start();
    let open = || fs::read_dir(format!("/proc/{}/fd", reader.pid())).expect("a running process").count();
    // What the archiver opens for itself by and by.
    let idle = open() + 4;
    for round in 1..=2 {
        for (number, pipe) in held.iter().enumerate() {
            put(pipe, b"a line\n");
            bench.wait_stored(&format!("app{number}"), &b"a line\n".repeat(round));
        }
        assert!(open() >= idle + PIPES, "{} and {idle}", open());
        until("all rest again", || open() <= idle);
    }
    assert!(idle < PIPES + 30, "{idle}");
    reader.stop();
}

#[test]
fn more_lanes_at_work_than_descriptors_for_their_logs_lose_nothing() {
    const PIPES: usize = 60;
    let bench = Bench::new();
    let fifos: Vec<_> = (0..PIPES).map(|number| bench.scratch.pipe(&format!("app{number}"))).collect();
    let held: Vec<_> = fifos.iter().map(|fifo| hold(fifo)).collect();
    let reader = bench.reader().prelude("ulimit -n 150").start();
    for _ in 0..10 {
        for pipe in &held {
            put(pipe, b"a line\n");
        }
    }
    for number in 0..PIPES {
        bench.wait_stored(&format!("app{number}"), &b"a line\n".repeat(10));
    }
    assert_eq!(reader.lines_with("error").len(), 0, "{}", reader.stderr());
    reader.stop();
}

#[test]
fn pipes_beyond_the_descriptors_are_named_and_the_others_drained() {
    let bench = Bench::new();
    let held: Vec<_> = (0..60).map(|number| hold(&bench.scratch.pipe(&format!("app{number:02}")))).collect();
    let reader = bench.reader().prelude("ulimit -n 100").start();
    reader.wait_line(" of the pipes: at most 100 files may be open");
    let missing = reader.lines_with("Too many open files");
    assert!(!missing.is_empty() && missing.iter().all(|line| line.contains("app")), "{}", reader.stderr());
    for (number, pipe) in held.iter().enumerate().take(60 - missing.len()) {
        put(pipe, b"a line\n");
        bench.wait_stored(&format!("app{number:02}"), b"a line\n");
    }
    reader.stop();
}
