//! Logs that no link leads to: kept for a day whatever happens, then by what their files say, and by nothing else.

use std::fs::{self, File};
use std::path::PathBuf;

use nix::fcntl::{FallocateFlags, fallocate};
use nix::sys::signal::Signal;
use standpipe_tests::deadline::until;
use standpipe_tests::directory::names;
use standpipe_tests::privilege::{give, needs_seams};
use standpipe_tests::stands::{Clock, Stand, add_pipe};
use standpipe_tests::world::{archives, wait_stored, write_all};

/// What alone is kept of a log by the defaults here.
const TWO: &str = "keep_size = \"off\"\nkeep_free = \"off\"\nkeep_files = 2\n";
const START: &str = "2026-11-21T10:00:00Z";

/// The pipes `app` and `web`, each with a log of four archives, and nobody who reads them.
fn with_logs(clock: &Clock, stand: &Stand) -> [PathBuf; 2] {
    let (_, web) = add_pipe(&stand.scratch, "web");
    let logs = ["app", "web"].map(|name| stand.scratch.logs().join(name));
    let mut reader = clock.steer(stand.reader()).start();
    for round in 1..=4 {
        for (pipe, log) in [&stand.pipe, &web].into_iter().zip(&logs) {
            write_all(pipe, b"a line\n");
            wait_stored(log, &b"a line\n".repeat(round));
        }
        reader.signal(Signal::SIGALRM);
        until("all is archived", || {
            let segments = |log| names(log).iter().filter_map(|name| name.strip_suffix(".log")).count();
            logs.iter().all(|log| archives(log).len() == round && segments(log) == 1)
        });
    }
    assert_eq!(reader.terminate(), 0);
    logs
}

fn unlink(stand: &Stand, name: &str) {
    fs::remove_file(stand.scratch.pipes().join(name)).expect("a link");
}

fn left(logs: &[PathBuf; 2]) -> [usize; 2] {
    [archives(&logs[0]).len(), archives(&logs[1]).len()]
}

#[test]
fn a_log_without_a_link_expires_after_a_day_by_its_own_file_or_the_defaults() {
    needs_seams(|| {
        let stand = Stand::new("");
        let clock = Clock::new(&stand.scratch, START);
        let logs = with_logs(&clock, &stand);
        stand.scratch.write_policy("defaults.toml", TWO);
        stand.scratch.write_policy("app.toml", "keep_files = 3\n");
        for name in ["app", "web"] {
            unlink(&stand, name);
        }
        let mut reader = clock.steer(stand.reader()).start();
        for name in ["app", "web"] {
            reader.wait_line(&format!("{name}: no link leads to this log any more; keeping all of it for a day"));
        }
        clock.pass(&stand.scratch, &["2026-11-21T20:00:00Z"]);
        assert_eq!(reader.terminate(), 0);
        // The day counts on over restarts.
        clock.set("2026-11-22T07:30:00Z");
        let reader = clock.steer(stand.reader()).start();
        clock.pass(&stand.scratch, &["2026-11-22T07:30:00Z", "2026-11-22T08:40:00Z", "2026-11-22T09:50:00Z"]);
        assert_eq!(left(&logs), [4, 4]);
        clock.set("2026-11-22T11:00:00Z");
        until("the limits hold", || left(&logs) == [3, 2]);
        for name in ["app", "web"] {
            let removed = reader.wait_line(&format!("{name}: removed "));
            let said = reader.stderr();
            let line = format!("{name}: no link has led to this log since 2026-11-21T10:00:00Z");
            assert!(said.contains(&line) && said.find(&line) < said.find(&removed), "{said}");
        }
        assert_eq!(reader.lines_with("has led to this log").len(), 2, "{}", reader.stderr());
    });
}

#[test]
fn no_file_no_limit() {
    needs_seams(|| {
        for defaults in [None, Some("stamp = \"iso\"\n"), Some("keep_files = 1\nlevle = 3\n")] {
            let stand = Stand::new("");
            let clock = Clock::new(&stand.scratch, START);
            let logs = with_logs(&clock, &stand);
            // More than is kept where no file says otherwise.
            let large = logs[1].join("2020-01-01T00-00-00.000000Z.log.zst");
            let file = File::create(&large).expect("a file of our own");
            fallocate(&file, FallocateFlags::empty(), 0, 1100 << 20).expect("room");
            give(&large);
            for name in ["app", "web"] {
                unlink(&stand, name);
            }
            let written = stand.scratch.write_policy("defaults.toml", defaults.unwrap_or_default());
            if defaults.is_none() {
                fs::remove_file(written).expect("a policy");
            }
            stand.scratch.write_policy("app.toml", "keep_files = \"many\"\n");
            let mut reader = clock.steer(stand.reader()).start();
            clock.pass(&stand.scratch, &["2026-11-22T09:00:00Z", "2026-11-23T08:00:00Z", "2026-11-23T10:00:00Z"]);
            assert_eq!((left(&logs), reader.lines_with("removed")), ([4, 5], vec![]), "{defaults:?}");
            assert_eq!(reader.terminate(), 0);
        }
    });
}

#[test]
fn a_link_that_is_back_begins_a_new_day() {
    needs_seams(|| {
        let stand = Stand::new("");
        let clock = Clock::new(&stand.scratch, START);
        let logs = with_logs(&clock, &stand);
        stand.scratch.write_policy("defaults.toml", TWO);
        let links = ["app", "web"].map(|name| stand.scratch.pipes().join(name));
        let is_noted = |log: &PathBuf| {
            fs::read_to_string(log.join(".standpipe")).is_ok_and(|state| state.contains("\nunlinked 2026-"))
        };
        let with_reader = |noted: usize, times: &[&str]| {
            clock.set(times[0]);
            let mut reader = clock.steer(stand.reader()).start();
            until("it is noted", || logs.iter().filter(|log| is_noted(log)).count() == noted);
            clock.pass(&stand.scratch, times);
            assert_eq!(reader.terminate(), 0);
            reader.stderr()
        };
        for link in &links {
            fs::rename(link, link.with_extension("away~")).expect("a link");
        }
        with_reader(2, &["2026-11-21T11:00:00Z", "2026-11-22T09:00:00Z"]);
        // The link of `web` is there again, but leads to nothing.
        stand.scratch.write_policy("defaults.toml", "keep_size = \"off\"\nkeep_free = \"off\"\n");
        fs::rename(links[0].with_extension("away~"), &links[0]).expect("a link");
        std::os::unix::fs::symlink("/nowhere/fifo", &links[1]).expect("a link");
        with_reader(0, &["2026-11-22T12:00:00Z", "2026-11-22T13:30:00Z"]);
        stand.scratch.write_policy("defaults.toml", TWO);
        for link in &links {
            fs::remove_file(link).expect("a link");
        }
        let said = with_reader(2, &["2026-11-22T14:00:00Z", "2026-11-23T12:00:00Z", "2026-11-23T13:30:00Z"]);
        assert_eq!(left(&logs), [4, 4], "{said}");
        clock.set("2026-11-23T14:00:00Z");
        let _reader = clock.steer(stand.reader()).start();
        until("the limits hold", || left(&logs) == [2, 2]);
    });
}
