//! What `reader stdin` weighs beside a service: memory and disk while its pipe is quiet, and what it leaves behind.

use std::fs::{self, File};
use std::io::{Write, pipe};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use nix::sys::signal::Signal;
use standpipe_tests::deadline::until;
use standpipe_tests::directory::files_of;
use standpipe_tests::privilege::needs_seams;
use standpipe_tests::programs::{Daemon, KILLED, fed, reader_stdin};
use standpipe_tests::stands::{Bench, MAILBOX_BYTES, PAGE};
use standpipe_tests::world::{assert_same, stream_of};

const KIB: u64 = 1024;
/// Disk beside the logs.
const DISK_BYTES_MAX: u64 = 300 * KIB;
/// Memory of its own, in any build.
const ANON_KIB_MAX: u64 = 1536;
/// With the pages of programs and libraries that it shares with others, of which a debug build has three times as many.
const RESIDENT_KIB_MAX: u64 = if cfg!(debug_assertions) { 6 * KIB } else { 3 * KIB };

/// A number of KiB in /proc/PID/status.
fn kib(reader: &Daemon, key: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", reader.pid())).expect("a running process");
    let line = status.lines().find_map(|line| line.strip_prefix(key)).expect("a line of that key");
    line.trim_matches(|c: char| !c.is_ascii_digit()).parse().expect("a number")
}

/// Bytes on disk of the open files without a name, but for standard error.
fn unnamed_bytes(reader: &Daemon) -> u64 {
    let fds = format!("/proc/{}/fd", reader.pid());
    let stderr = fs::metadata(format!("{fds}/2")).expect("a running process").ino();
    let fds = fs::read_dir(fds).expect("a running process");
    let files = fds.filter_map(|fd| fs::metadata(fd.ok()?.path()).ok());
    let unnamed = files.filter(|file| file.is_file() && file.nlink() == 0 && file.ino() != stderr);
    unnamed.map(|file| file.blocks() * 512).sum()
}

/// Bytes on disk of what stands beside the logs.
fn bytes_beside(log: &Path) -> u64 {
    let beside = files_of(log, |name| name.starts_with('.'));
    beside.iter().map(|path| fs::symlink_metadata(path).expect("a file").blocks() * 512).sum()
}

/// Names that are neither a part nor what the next run needs.
fn left(log: &Path) -> Vec<String> {
    let is_needed = |name: &str| {
        let is_part = [".log", ".log.zst", ".times"].iter().any(|end| name.ends_with(end)) && !name.starts_with('.');
        is_part || [".standpipe", ".clock", ".lock", ".exclusive", "current"].contains(&name)
    };
    let left = files_of(log, |name| !is_needed(name));
    left.iter().map(|path| path.file_name().expect("a name").to_string_lossy().into_owned()).collect()
}

#[test]
fn on_a_quiet_pipe_it_is_light() {
    let bench = Bench::new();
    let log = bench.log("app");
    let (reader, mut server) = fed(reader_stdin(&log));
    let is_light = || kib(&reader, "RssAnon:") <= ANON_KIB_MAX && kib(&reader, "VmRSS:") <= RESIDENT_KIB_MAX;
    until("it is light after its start", is_light);
    server.write_all(b"one\n").expect("a pipe");
    until("the line is stored", || stream_of(&log) == b"one\n");
    until("it is light again", is_light);
    assert!(bytes_beside(&log) <= DISK_BYTES_MAX, "{} bytes", bytes_beside(&log));
    assert_eq!(unnamed_bytes(&reader), 0);
    // An archive takes megabytes while it is made. Nor is room kept for the next before there is much to archive.
    let lines = b"some words that go into a line of this log\n".repeat(4096);
    server.write_all(&lines).expect("a pipe");
    until("the lines are stored", || stream_of(&log).len() == lines.len() + 4);
    assert_eq!(unnamed_bytes(&reader), 0);
    reader.signal(Signal::SIGALRM);
    until("it is archived", || !files_of(&log, |name| name.ends_with(".log.zst")).is_empty());
    until("it is light again", is_light);
    for _ in 0..3 {
        server.write_all(&lines).expect("a pipe");
    }
    until("room is kept for the next archive", || unnamed_bytes(&reader) > 0);
}

#[test]
fn the_end_of_input_leaves_the_log_alone() {
    let bench = Bench::new();
    for flags in [&[][..], &["--continue"]] {
        let dir = bench.scratch.make_dir(if flags.is_empty() { "a" } else { "b" });
        let with_dir = ["--mailbox-dir", dir.to_str().expect("a path in UTF-8")];
        for (name, more) in [("app", &[][..]), ("elsewhere", &with_dir)] {
            let log = bench.log(&format!("{name}{}", flags.len()));
            let (mut reader, mut server) = fed(reader_stdin(&log).args(flags).args(more));
            server.write_all(b"one\ntwo\n").expect("a pipe");
            drop(server);
            assert_eq!(reader.wait_exit(), 0, "{}", reader.stderr());
            assert_eq!(stream_of(&log), b"one\ntwo\n");
            assert_eq!(left(&log), [""; 0], "{flags:?} {more:?}");
            assert_eq!(files_of(&dir, |_| true).len(), 0);
        }
    }
}

#[test]
fn what_a_killed_run_leaves_goes_at_the_end_of_the_next() {
    needs_seams(|| {
        // At each step of the end.
        for step in 1..=3 {
            let bench = Bench::new();
            let log = bench.log("app");
            let (mut killed, mut server) = fed(bench.trace(reader_stdin(&log)).arg("--continue"));
            server.write_all(b"one\n").expect("a pipe");
            until("it is stored", || stream_of(&log) == b"one\n");
            bench.faults(&format!("kill remove {}", bench.passes("remove") + step));
            drop(server);
            assert_eq!(killed.wait_exit(), KILLED, "{step}: {}", killed.stderr());
            assert_ne!(left(&log), [""; 0], "{step}");
            let (mut next, mut server) = fed(reader_stdin(&log));
            server.write_all(b"two\n").expect("a pipe");
            drop(server);
            assert_eq!(next.wait_exit(), 0, "{}", next.stderr());
            assert_same(&stream_of(&log), b"one\ntwo\n", &step.to_string());
            assert_eq!(left(&log), [""; 0], "{step}");
        }
    });
}

/// Another version may have made it for larger chunks.
#[test]
fn a_mailbox_of_another_size_is_recovered_and_replaced() {
    needs_seams(|| {
        for fault in ["kill arrived 1", "kill write 2"] {
            let bench = Bench::new();
            let log = bench.log("app");
            bench.faults(fault);
            let (input, mut server) = pipe().expect("a pipe");
            server.write_all(b"one\n").expect("a pipe");
            let mut killed = bench.steer(reader_stdin(&log)).stdin(input).start_unready();
            assert_eq!(killed.wait_exit(), KILLED);
            drop(server);
            enlarge(&log.join(".mailbox-0"));
            let (reader, mut server) = fed(reader_stdin(&log));
            server.write_all(b"two\n").expect("a pipe");
            until("both are stored", || stream_of(&log) == b"one\ntwo\n");
            assert!(bytes_beside(&log) <= DISK_BYTES_MAX, "{} bytes", bytes_beside(&log));
            assert!(files_of(&log, |name| name.starts_with(".salvaged")).is_empty(), "{}", reader.stderr());
        }
    });
}

/// Makes a mailbox one for chunks of 1 MiB, as it would stand there with the same chunk.
fn enlarge(mailbox: &Path) {
    const DATA_BYTES_AT: u64 = 12;
    let file = File::options().read(true).write(true).open(mailbox).expect("a mailbox");
    let len = file.metadata().expect("an open file").len() as usize;
    let mut fill = vec![0; PAGE];
    file.read_exact_at(&mut fill, PAGE as u64).expect("a page of fill");
    let more = fill.repeat((MAILBOX_BYTES - len) / PAGE);
    file.write_all_at(&more, len as u64).expect("room");
    let data_bytes = (MAILBOX_BYTES - 2 * PAGE) as u32;
    file.write_all_at(&data_bytes.to_le_bytes(), DATA_BYTES_AT).expect("room");
}
