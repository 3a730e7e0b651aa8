//! Whose turn it is on the threads behind the drain: a busy pipe keeps no other one waiting, whatever they are called.

use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use standpipe_tests::deadline::until;
use standpipe_tests::directory::files_ending;
use standpipe_tests::privilege::needs_seams;
use standpipe_tests::stands::Bench;
use standpipe_tests::world::{hold, put};

/// Parts of `app` that wait while the other pipe seals one.
const BACKLOG: usize = 24;

#[test]
fn a_busy_pipe_keeps_a_quiet_one_from_neither_archive_nor_expiry() {
    needs_seams(|| {
        let bench = Bench::new();
        bench.scratch.write_policy("aaa.toml", "rotate_size = \"4KiB\"\n");
        bench.scratch.write_policy("zzz.toml", "keep_files = 1\n");
        let [busy, quiet] = ["aaa", "zzz"].map(|name| hold(&bench.scratch.pipe(name)));
        bench.faults("EIO unnamed 1 1000000\n");
        let reader = bench.steered_reader().start();
        let mut stored = Vec::new();
        for _ in 0..BACKLOG {
            let lines = b"0123456789abcde\n".repeat(255);
            put(&busy, &lines);
            stored.extend_from_slice(&lines);
            bench.wait_stored("aaa", &stored);
        }
        until("the busy pipe has a backlog", || files_ending(&bench.log("aaa"), ".log").len() >= BACKLOG);
        for line in ["one\n", "two\n"] {
            put(&quiet, line.as_bytes());
            until("the line is stored", || {
                let newest = files_ending(&bench.log("zzz"), ".log").pop();
                newest.is_some_and(|newest| std::fs::read_to_string(newest).is_ok_and(|text| text == line))
            });
            reader.signal(Signal::SIGALRM);
            until("it is sealed", || {
                let newest = files_ending(&bench.log("zzz"), ".log").pop();
                newest.is_some_and(|newest| std::fs::metadata(newest).is_ok_and(|newest| newest.len() == 0))
            });
        }
        // The disk is well again, and slow.
        bench.faults("delay archive-read 100\n");
        let archives = |name: &str| files_ending(&bench.log(name), ".log.zst").len();
        let segments = |name: &str| files_ending(&bench.log(name), ".log").len();
        until("the quiet pipe has one archive, and nothing else", || archives("zzz") == 1 && segments("zzz") == 1);
        reader.wait_line("zzz: removed");
        assert!(segments("aaa") > BACKLOG / 2, "{} of the busy pipe wait", segments("aaa"));
        bench.faults("");
        until("all of the busy pipe is archived", || segments("aaa") == 1);
        reader.stop();
    });
}

#[test]
fn a_disk_that_is_too_slow_for_sync_is_said_once_and_so_is_its_end() {
    needs_seams(|| {
        let bench = Bench::new();
        bench.scratch.write_policy("app.toml", "sync = \"100ms\"\n");
        let pipe = hold(&bench.scratch.pipe("app"));
        bench.faults("delay sync-data 150\n");
        let reader = bench.steered_reader().start();
        let write_until = |text: &str| {
            until(text, || {
                put(&pipe, b"line\n");
                !reader.lines_with(text).is_empty()
            });
        };
        write_until("app: the disk is too slow for `sync`");
        for _ in 0..10 {
            put(&pipe, b"line\n");
            thread::sleep(Duration::from_millis(20)); // Several spans, each of them late.
        }
        bench.faults("");
        write_until("app: the disk keeps up with `sync` again");
        assert_eq!(reader.lines_with("too slow").len(), 1, "{}", reader.stderr());
        reader.stop();
    });
}
