//! `reader stdin`: a descriptor that the server shares, the end of input, `--continue`, HUP.

use std::fs::{self, File, OpenOptions};
use std::io::{Write, pipe};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::thread;

use nix::libc;
use nix::sys::signal::Signal;
use standpipe_tests::deadline::until;
use standpipe_tests::directory::files_ending;
use standpipe_tests::programs::{fed, reader_stdin};
use standpipe_tests::stands::Bench;
use standpipe_tests::world::{assert_same, line, parts, put, stream_of};

/// Flags of the description behind a descriptor of ours.
fn flags_of(file: &File) -> i32 {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", file.as_raw_fd())).expect("our own descriptor");
    let octal = info.lines().find_map(|line| line.strip_prefix("flags:")).expect("a line of flags");
    i32::from_str_radix(octal.trim(), 8).expect("an octal number")
}

/// Whether the kernel has a lock on that inode, by whomever.
fn is_locked(file: &File) -> bool {
    let ino = file.metadata().expect("an open file").ino();
    let locks = fs::read_to_string("/proc/locks").expect("the list of locks");
    locks.lines().any(|line| line.split_whitespace().any(|word| word.ends_with(&format!(":{ino}"))))
}

#[test]
fn r47_a_server_that_shares_the_descriptor_feels_nothing_of_it() {
    const LINES: u64 = 100_000;
    let bench = Bench::new();
    let fifo = bench.scratch.fifo("shared");
    let shared = OpenOptions::new().read(true).write(true).open(&fifo).expect("a FIFO");
    let before = flags_of(&shared);
    let log = bench.log("app");
    let reader = reader_stdin(&log).stdin(shared.try_clone().expect("a descriptor")).start();
    thread::scope(|scope| {
        let server = scope.spawn(|| {
            for number in 0..LINES {
                let line = line(1, number, 60);
                let taken = (&shared).write(&line);
                assert!(matches!(taken, Ok(60)), "line {number}: {taken:?}");
            }
        });
        while !server.is_finished() {
            assert_eq!(flags_of(&shared), before);
            assert!(!is_locked(&shared));
        }
    });
    assert_eq!(before & libc::O_NONBLOCK, 0);
    until("all is stored", || stream_of(&log).len() as u64 >= 60 * LINES);
    assert_eq!(flags_of(&shared), before);
    // The end that somebody else may write to never comes; TERM ends it.
    reader.stop();
    let expected: Vec<u8> = (0..LINES).flat_map(|number| line(1, number, 60)).collect();
    assert_same(&stream_of(&log), &expected, "all lines");
}

#[test]
fn the_end_of_input_seals_and_archives() {
    let bench = Bench::new();
    let log = bench.log("app");
    let (mut reader, mut server) = fed(reader_stdin(&log));
    server.write_all(b"one\ntwo").expect("a pipe");
    drop(server);
    assert_eq!(reader.wait_exit(), 0, "{}", reader.stderr());
    assert_eq!(stream_of(&log), b"one\ntwo");
    assert_eq!(files_ending(&log, ".log.zst").len(), 1);
    // Beside the archive there is the next segment only, empty.
    assert!(files_ending(&log, ".log").iter().all(|part| fs::read(part).expect("a part").is_empty()));
}

#[test]
fn continue_leaves_the_segment_to_the_next_run() {
    let bench = Bench::new();
    let log = bench.log("app");
    let mut expected = Vec::new();
    for piece in [&b"one\ntw"[..], b"o\n", b"three", b" and more\n"] {
        let (mut reader, mut server) = fed(reader_stdin(&log).arg("--continue").args(["--prefix", "> "]));
        server.write_all(piece).expect("a pipe");
        drop(server);
        assert_eq!(reader.wait_exit(), 0, "{}", reader.stderr());
        expected.extend_from_slice(piece);
        assert_eq!(parts(&log).len(), 1, "{:?}", parts(&log));
    }
    assert_eq!(stream_of(&log), b"> one\n> two\n> three and more\n");
    assert_eq!(expected, b"one\ntwo\nthree and more\n");
    // Without it the end seals.
    let (mut last, server) = fed(reader_stdin(&log));
    drop(server);
    assert_eq!(last.wait_exit(), 0);
    assert_eq!(stream_of(&log), b"> one\n> two\n> three and more\n");
    assert_eq!(files_ending(&log, ".log.zst").len(), 1);
}

#[test]
fn hup_is_ignored_and_term_leaves_the_segment() {
    let bench = Bench::new();
    let log = bench.log("app");
    let (mut reader, server) = fed(reader_stdin(&log));
    let server = File::from(std::os::fd::OwnedFd::from(server));
    for round in 1..=3 {
        reader.signal(Signal::SIGHUP);
        put(&server, b"one\n");
        until("it is stored", || stream_of(&log) == b"one\n".repeat(round));
    }
    assert_eq!(reader.lines().len(), 1, "{}", reader.stderr());
    put(&server, b"tw");
    assert_eq!(reader.terminate(), 0);
    assert_eq!(stream_of(&log), b"one\none\none\ntw");
    assert_eq!(files_ending(&log, ".log.zst").len(), 0);
}

#[test]
fn a_chunk_of_a_killed_run_comes_before_the_input_of_the_next() {
    standpipe_tests::privilege::needs_seams(|| {
        for fault in ["kill arrived 1", "kill write 2", "half write 2", "kill write 3"] {
            let bench = Bench::new();
            let log = bench.log("app");
            bench.faults(fault);
            let (input, mut server) = pipe().expect("a pipe");
            server.write_all(b"one\ntw").expect("a pipe");
            let mut killed = bench.steer(reader_stdin(&log)).stdin(input).start_unready();
            assert_eq!(killed.wait_exit(), standpipe_tests::programs::KILLED);
            drop(server);
            let (mut next, mut server) = fed(reader_stdin(&log));
            server.write_all(b"o\nthree\n").expect("a pipe");
            drop(server);
            assert_eq!(next.wait_exit(), 0, "{}", next.stderr());
            assert_same(&stream_of(&log), b"one\ntwo\nthree\n", fault);
        }
    });
}

/// A server that says some more words when it is interrupted, and the reader behind it: `$READER` and `$LOG`.
const PIPELINE: &str = "trap : INT QUIT; \
    { trap 'for n in 1 2 3; do sleep 0.1; echo bye $n; done; exit 0' INT QUIT; echo up; \
    while :; do sleep 0.1; done; } | $READER stdin $LOG";

/// What that server leaves when it could say all of it.
const LAST_WORDS: &[u8] = b"up\nbye 1\nbye 2\nbye 3\n";

#[test]
fn an_interrupt_at_a_terminal_leaves_the_server_its_last_words() {
    for key in [b"\x03", b"\x1c"] {
        let bench = Bench::new();
        let log = bench.log("app");
        let (keyboard, mut keys) = pipe().expect("a pipe");
        let at_terminal = "READER=$1 LOG=$3 SHELL=/bin/sh exec script -qec \"$0\" /dev/null";
        let shell = ["sh", "-c", at_terminal, PIPELINE];
        let mut terminal = reader_stdin(&log).under(shell).stdin(keyboard).start_unready();
        until("the server is up", || stream_of(&log) == b"up\n");
        keys.write_all(key).expect("a terminal");
        assert_eq!(terminal.wait_exit(), 0, "{}", terminal.stderr());
        assert_same(&stream_of(&log), LAST_WORDS, "all that the server said");
        assert_eq!(files_ending(&log, ".log.zst").len(), 1, "the end of input seals");
    }
}

#[test]
fn the_second_interrupt_ends_a_reader_whose_input_goes_on() {
    let bench = Bench::new();
    let log = bench.log("app");
    let (mut reader, server) = fed(reader_stdin(&log));
    let server = File::from(std::os::fd::OwnedFd::from(server));
    put(&server, b"one\n");
    until("it is stored", || stream_of(&log) == b"one\n");
    reader.signal(Signal::SIGINT);
    reader.wait_line("interrupted; reading until the input ends");
    put(&server, b"two\n");
    until("it is stored", || stream_of(&log) == b"one\ntwo\n");
    put(&server, b"thr");
    reader.signal(Signal::SIGINT);
    assert_eq!(reader.wait_exit(), 0, "{}", reader.stderr());
    assert_eq!(stream_of(&log), b"one\ntwo\nthr");
    assert_eq!(files_ending(&log, ".log.zst").len(), 0, "it was left to be continued");
}

#[test]
fn who_ignores_term_reads_to_the_end() {
    let bench = Bench::new();
    let log = bench.log("app");
    let (mut reader, server) = fed(reader_stdin(&log).arg("--ignore-term"));
    let server = File::from(std::os::fd::OwnedFd::from(server));
    for round in 1..=3 {
        reader.signal(Signal::SIGTERM);
        put(&server, b"one\n");
        until("it is stored", || stream_of(&log) == b"one\n".repeat(round));
    }
    drop(server);
    assert_eq!(reader.wait_exit(), 0, "{}", reader.stderr());
    assert_eq!(stream_of(&log), b"one\none\none\n");
    assert_eq!(files_ending(&log, ".log.zst").len(), 1);
}
