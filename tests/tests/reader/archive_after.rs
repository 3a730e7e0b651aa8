//! `archive_after`: a finished part stays plain for so long, for those that follow the files, but nothing is lost and
//! nobody kept waiting for that.

use std::io::{Write, pipe};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use standpipe_tests::deadline::until;
use standpipe_tests::directory::{Mounted, Scratch, files_ending, names};
use standpipe_tests::privilege::needs_root;
use standpipe_tests::programs::{Daemon, Launch, object, reader_stdin};
use standpipe_tests::stands::{Bench, Stand};
use standpipe_tests::world::{Writer, hold, lines, newest_is_empty, parts, queued, stream_of, wait_stored};

/// How long parts stay plain where that is waited for.
const SPAN: Duration = Duration::from_secs(3);

/// Writes a line and seals the part; since when it is sealed at the latest.
fn seal(stand: &Stand, reader: &Daemon, line: &str) -> Instant {
    stand.write_and_wait(line);
    let before = Instant::now();
    reader.signal(Signal::SIGALRM);
    until("it is sealed", || newest_is_empty(&parts(&stand.log_dir())));
    before
}

#[test]
fn a_part_stays_plain_for_that_long_whatever_is_restarted_and_is_no_fault() {
    let (stand, mut reader) = Stand::started("archive_after = \"3s\"\n");
    let sealed = seal(&stand, &reader, "line 1\n");
    let status = || Launch::new("reader").args(["status", "--json"]).arg(stand.scratch.logs()).run();
    let seen = status();
    let said = object(&seen);
    assert_eq!(
        (seen.code, &said["pipes"][0]["backlog"]["parts"], &said["pipes"][0]["parts"]),
        (0, &0.into(), &1.into())
    );
    reader.kill9();
    let reader = stand.reader().start();
    // Another one does not hasten the first.
    seal(&stand, &reader, "line 2\n");
    let was_plain = sealed.elapsed() < SPAN;
    assert!(!was_plain || stand.segments().len() == 3 && stand.archives().is_empty(), "{:?}", names(&stand.log_dir()));
    until("the first one is archived", || stand.archives().len() == 1);
    assert!(sealed.elapsed() >= SPAN, "{:?}", sealed.elapsed());
    until("so is the other", || stand.archives().len() == 2 && stand.segments().len() == 1);
    assert_eq!(status().code, 0);
}

#[test]
fn limits_on_space_find_archives_before_they_remove_anything() {
    let stand =
        Stand::new("archive_after = \"1h\"\nrotate_size = \"16K\"\nkeep_size = \"128K\"\nkeep_free = \"off\"\n");
    let mut reader = stand.reader().start();
    let mut sent = lines(0, 400, 100);
    stand.write(&sent);
    stand.wait_stored(&sent);
    until("two are sealed", || stand.segments().len() == 3);
    let more = lines(400, 2600, 100);
    stand.write(&more);
    sent.extend(more);
    stand.wait_stored(&sent);
    until("they were archived before their time", || stand.archives().len() > 10);
    assert!(stand.segments().len() > 1, "not all of them");
    assert_eq!(stream_of(&stand.log_dir()), sent, "nothing was removed");
    assert_eq!(reader.terminate(), 0);
    assert!(reader.lines_with(": removed ").is_empty(), "{}", reader.stderr());
}

#[test]
fn a_full_disk_does_not_wait_for_it() {
    const LINES: u64 = 60_000;
    needs_root(|| {
        let bench = Bench::new();
        let policy = "rotate_size = \"256KiB\"\narchive_after = \"1h\"\nkeep_size = \"off\"\nkeep_free = \"off\"\n";
        bench.scratch.write_policy("defaults.toml", policy);
        // Less than the lines take, and more than their archives do.
        let _disk = Mounted::tmpfs(&bench.scratch.logs(), "size=6m");
        let fifo = bench.scratch.pipe("app");
        let pipe = hold(&fifo);
        let reader = bench.reader().start();
        let written = Writer::start(&fifo, 1, Some(LINES), Duration::ZERO).join();
        assert!(written.error.is_none() && written.lines == LINES, "{written:?}");
        until("the pipe is empty", || queued(&pipe) == 0);
        assert!(!files_ending(&bench.log("app"), ".log.zst").is_empty());
        let stored = stream_of(&bench.log("app"));
        assert_eq!(memchr::memchr_iter(b'\n', &stored).count() as u64, LINES, "{}", reader.stderr());
        reader.stop();
    });
}

#[test]
fn the_end_of_standard_input_does_not_wait_for_it_and_a_stop_leaves_the_part_as_it_is() {
    let scratch = Scratch::new();
    let log = scratch.make_dir("log");
    let (input, mut output) = pipe().expect("a pipe");
    let began = Instant::now();
    let mut reader = reader_stdin(&log).args(["--archive-after", "1h"]).stdin(input).start();
    output.write_all(b"line\n").expect("a reader");
    drop(output);
    assert_eq!(reader.wait_exit(), 0, "{}", reader.stderr());
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    assert_eq!(files_ending(&log, ".log.zst").len(), 1, "{:?}", names(&log));

    let (stand, mut reader) = Stand::started("archive_after = \"1h\"\n");
    seal(&stand, &reader, "line 1\n");
    assert_eq!(reader.terminate(), 0);
    assert_eq!((stand.segments().len(), stand.archives().len()), (2, 0));
    // Once it is off, what waits is archived at once.
    stand.scratch.write_policy("defaults.toml", "keep_free = \"off\"\n");
    let _reader = stand.reader().start();
    stand.wait_archived(1);
    wait_stored(&stand.log_dir(), b"line 1\n");
}
