//! A reader that starts on a full disk: it begins with what there is, so that old parts go, chunks that wait are stored,
//! and nobody has to make room by hand.

use std::fs::{self, File};
use std::io::Write;
use std::time::Duration;

use nix::sys::signal::Signal;
use standpipe_tests::deadline::until;
use standpipe_tests::directory::{Mounted, files_ending};
use standpipe_tests::privilege::{needs_root, needs_seams};
use standpipe_tests::programs::{Launch, reader_stdin};
use standpipe_tests::stands::Bench;
use standpipe_tests::world::{Writer, assert_same, hold, length, line, put, queued, stream_of};

/// Fills what a file system has left.
fn fill(path: &std::path::Path) {
    let mut file = File::create(path).expect("a file");
    while file.write_all(&[b'x'; 4096]).is_ok() {}
}

/// How many files a start opens or makes that finds everything there.
fn creates_of(bench: &Bench, launch: Launch) -> usize {
    let before = bench.passes("create");
    bench.trace(launch).start().stop();
    bench.passes("create") - before
}

#[test]
fn a_full_disk_with_a_held_chunk_is_mended_by_retention_at_the_next_start() {
    const LINES: u64 = 60_000;
    needs_root(|| {
        let bench = Bench::new();
        let keep =
            |keep: &str| bench.scratch.write_policy("defaults.toml", &format!("rotate_size = \"256KiB\"\n{keep}"));
        keep("keep_size = \"off\"\nkeep_free = \"off\"\n");
        let _disk = Mounted::tmpfs(&bench.scratch.logs(), "size=4m");
        let fifo = bench.scratch.pipe("app");
        let pipe = hold(&fifo);
        let mut reader = bench.reader().start();
        let writer = Writer::start(&fifo, 1, Some(LINES), Duration::ZERO);
        reader.wait_line("not reading app until this is fixed");
        reader.signal(Signal::SIGKILL);
        reader.wait_exit();
        fill(&bench.scratch.logs().join("of others"));
        // The limits that the machine came with: they are applied, whatever the start finds.
        keep("keep_free = \"1536KiB\"\nkeep_min = 1\n");
        let reader = bench.reader().start();
        let written = writer.join();
        assert!(written.error.is_none() && written.lines == LINES, "{written:?}");
        let last = line(1, LINES - 1, length(1, LINES - 1));
        until("the last line is stored", || stream_of(&bench.log("app")).ends_with(&last));
        assert_eq!(queued(&pipe), 0);
        let stored = stream_of(&bench.log("app"));
        let kept = stored.split_inclusive(|byte| *byte == b'\n').count() as u64;
        let newest: Vec<u8> = (LINES - kept..LINES).flat_map(|seq| line(1, seq, length(1, seq))).collect();
        assert_same(&stored, &newest, "the newest lines, without a gap");
        assert!(!reader.lines_with(": removed ").is_empty(), "{}", reader.stderr());
        assert_eq!(bench.root_files(".salvaged-").len(), 0);
        reader.stop();
    });
}

#[test]
fn a_start_without_room_for_mailboxes_recovers_and_reads_when_there_is_some() {
    needs_seams(|| {
        let bench = Bench::new();
        let pipes = ["app", "other"].map(|name| hold(&bench.scratch.pipe(name)));
        bench.steered_reader().start().stop();
        put(&pipes[0], b"one\n");
        bench.faults("kill write 1");
        bench.steered_reader().run_to_kill();
        // Whichever mailboxes are left, up to the one that holds the chunk.
        for mailbox in bench.root_files(".mailbox-") {
            if !fs::read(&mailbox).expect("a mailbox").windows(4).any(|bytes| bytes == b"one\n") {
                fs::remove_file(mailbox).expect("a mailbox");
            }
        }
        assert_eq!(bench.root_files(".mailbox-").len(), 1);
        put(&pipes[1], b"two\n");
        // No room for the held chunk, for mailboxes, nor for a part.
        bench.faults("ENOSPC write 1 1000\nENOSPC allocate 1 1000");
        let reader = bench.steered_reader().start();
        reader.wait_line("a mailbox needs 1056768 bytes");
        reader.wait_line("not reading app until this is fixed");
        reader.wait_line("not reading other until this is fixed");
        bench.faults("");
        bench.wait_stored("app", b"one\n");
        bench.wait_stored("other", b"two\n");
        reader.wait_line("other: recovered; reading again");
        put(&pipes[0], b"three\n");
        bench.wait_stored("app", b"one\nthree\n");
        assert_eq!(bench.root_files(".salvaged-").len(), 0);
        reader.stop();
    });
}

#[test]
fn a_log_that_cannot_be_taken_up_for_want_of_room_still_expires() {
    needs_seams(|| {
        let (bench, pipe) = Bench::new().holding("app");
        let booted = |boot: &str| bench.steered_reader().env("STANDPIPE_TEST_BOOT", boot);
        let reader = booted("first").start();
        for text in [b"one\n", b"two\n"] {
            put(&pipe, text);
            until("it is stored", || stream_of(&bench.log("app")).ends_with(text));
            bench.ask_to_rotate();
        }
        put(&pipe, b"three\n");
        bench.wait_stored("app", b"one\ntwo\nthree\n");
        until("they are archived", || files_ending(&bench.log("app"), ".log.zst").len() == 2);
        reader.stop();
        // After another boot the next part has to be made at once, and cannot be.
        bench.scratch.write_policy("defaults.toml", "keep_files = 1\nkeep_free = \"off\"\n");
        let creates = creates_of(&bench, booted("first"));
        bench.faults(&format!("ENOSPC create {} 1000", creates + 1));
        let reader = booted("second").start();
        reader.wait_line("not reading app until this is fixed");
        until("an old part is removed", || files_ending(&bench.log("app"), ".log.zst").len() == 1);
        bench.faults("");
        put(&pipe, b"four\n");
        until("it is stored", || stream_of(&bench.log("app")).ends_with(b"three\nfour\n"));
        reader.stop();
    });
}

#[test]
fn standard_input_waits_for_room_at_its_start() {
    needs_seams(|| {
        let bench = Bench::new();
        let log_dir = bench.scratch.logs();
        let started = |boot: &str, file: &File| {
            let launch = reader_stdin(&log_dir).env("STANDPIPE_TEST_BOOT", boot);
            bench.steer(launch).stdin(file.try_clone().expect("a pipe"))
        };
        let (read, write) = nix::unistd::pipe().expect("a pipe");
        let (read, mut write) = (File::from(read), File::from(write));
        write.write_all(b"one\n").expect("room");
        let reader = started("first", &read).start();
        until("it is stored", || stream_of(&log_dir) == b"one\n");
        reader.stop();
        let creates = creates_of(&bench, started("first", &read));
        for mailbox in bench.root_files(".mailbox-") {
            fs::remove_file(mailbox).expect("a mailbox");
        }
        bench.faults(&format!("ENOSPC create {} 1000\nENOSPC allocate 1 1000", creates + 1));
        let reader = started("second", &read).start();
        reader.wait_line("until this is fixed");
        write.write_all(b"two\n").expect("room");
        bench.faults("");
        until("it is stored", || stream_of(&log_dir) == b"one\ntwo\n");
        reader.stop();
    });
}
