//! What is made durable before there is an archive, by whom, and what becomes of a file whose fsync failed.

use std::fs;
use std::time::{Duration, Instant};

use standpipe_tests::deadline::{until, within};
use standpipe_tests::privilege::{needs_seams, needs_tool};
use standpipe_tests::stands::{Clock, Stand};
use standpipe_tests::world::{contents, lines, wait_empty};

/// How many segments were synced.
fn synced(stand: &Stand) -> usize {
    stand.passes("sync-data")
}

#[test]
fn a_segment_that_stays_plain_is_synced_when_it_is_sealed_and_only_then() {
    needs_seams(|| {
        let stand = Stand::new("compress = \"none\"\n");
        let reader = stand.traced_reader().start();
        for number in 1..=3 {
            stand.write_and_wait(&format!("before {number}\n"));
            assert_eq!(synced(&stand), number - 1, "what is written now is not synced");
            stand.seal(&reader, &format!("line {number}\n"));
            until("it is synced", || synced(&stand) == number);
        }
    });
}

#[test]
fn nothing_is_synced_where_nothing_is_to_be() {
    needs_seams(|| {
        let stand = Stand::new("compress = \"none\"\nsync = \"none\"\n");
        let mut reader = stand.traced_reader().start();
        for number in 1..=3 {
            stand.seal(&reader, &format!("line {number}\n"));
        }
        assert_eq!((reader.terminate(), synced(&stand)), (0, 0));
    });
}

#[test]
fn a_segment_whose_archive_is_late_is_synced_after_a_minute() {
    needs_seams(|| {
        let stand = Stand::new("");
        let clock = Clock::new(&stand.scratch, "2026-11-21T10:00:00Z");
        stand.faults("EIO unnamed 1 1000000\n");
        let reader = clock.steer(stand.traced_reader()).start();
        stand.seal(&reader, "line 1\n");
        clock.set("2026-11-21T10:00:59Z");
        stand.write_and_wait("line 2\n");
        let is_early = within(Duration::from_millis(100), || synced(&stand) > 0);
        assert!(!is_early, "its archive may still come");
        clock.set("2026-11-21T10:01:01Z");
        until("it is synced", || synced(&stand) == 1);
        clock.set("2026-11-21T10:05:00Z");
        stand.write_and_wait("line 3\n");
        assert_eq!(synced(&stand), 1, "once is enough");
        stand.faults("");
        stand.wait_archived(1);
    });
}

fn of_minute(minute: u64) -> String {
    format!("2026-11-21T{:02}:{:02}:00Z", 10 + minute / 60, minute % 60)
}

/// Sets the clock to this minute, and on until the condition holds; to which. What is seen in the log may be noted as
/// written a moment later, when the clock says the next minute already.
fn until_minute(clock: &Clock, from: u64, what: &str, mut condition: impl FnMut() -> bool) -> u64 {
    let (began, mut minute) = (Instant::now(), from);
    until(what, || {
        minute = from + began.elapsed().as_secs();
        clock.set(&of_minute(minute));
        within(Duration::from_millis(100), &mut condition)
    });
    minute
}

#[test]
fn under_a_span_what_is_written_is_synced_too_and_an_idle_log_is_not() {
    needs_seams(|| {
        let stand = Stand::new("sync = \"1m\"\n");
        let clock = Clock::new(&stand.scratch, "2026-11-21T10:00:00Z");
        let mut reader = clock.steer(stand.traced_reader()).start();
        clock.set("2026-11-21T10:02:00Z");
        until("the segment that the start made is synced", || synced(&stand) == 1);
        stand.write_and_wait("line 1\n");
        stand.write_and_wait("line 2\n");
        let before = synced(&stand);
        let minute = until_minute(&clock, 3, "it is synced", || synced(&stand) == before + 1);
        for minute in minute + 1..minute + 5 {
            clock.set(&of_minute(minute));
            let more = within(Duration::from_millis(60), || synced(&stand) > before + 1);
            assert!(!more, "nobody wrote");
        }
        stand.write_and_wait("line 3\n");
        until_minute(&clock, minute + 5, "it is synced again", || synced(&stand) == before + 2);
        assert_eq!(reader.terminate(), 0);
    });
}

#[test]
fn a_part_whose_fsync_failed_is_sealed_and_the_next_begins() {
    needs_seams(|| {
        let stand = Stand::new("sync = \"100ms\"\ncompress = \"none\"\n");
        let reader = stand.traced_reader().start();
        stand.write_and_wait("line 1\n");
        until("it is synced", || synced(&stand) > 0);
        stand.faults(&format!("EIO sync-data {} 1\n", synced(&stand) + 1));
        stand.write_and_wait("line 2\n");
        reader.wait_line("may be lost in a power failure; starting the next part");
        stand.write_and_wait("line 3\n");
        let stored = contents(&stand.log_dir());
        assert_eq!(stored, [&b"line 1\nline 2\n"[..], b"line 3\n"]);
        assert_eq!(reader.lines_with("error").len(), 1, "{}", reader.stderr());
    });
}

#[test]
fn the_thread_that_drains_never_syncs() {
    needs_tool("strace", || {
        let stand = Stand::new("sync = \"100ms\"\nrotate_size = \"10KiB\"\n");
        let log = stand.scratch.path().join("strace");
        let calls = "trace=fsync,fdatasync,sync_file_range,syncfs,sync";
        let wrapper = ["strace", "-f", "-qq", "-e", calls, "-o"].map(Into::into);
        let wrapper = wrapper.into_iter().chain([log.clone().into_os_string()]);
        let strace = stand.reader().under(wrapper).start();
        let children = format!("/proc/{pid}/task/{pid}/children", pid = strace.pid());
        let reader = fs::read_to_string(children).unwrap().trim().to_owned();
        let started = fs::read_to_string(&log).unwrap_or_default().len();
        let sent = lines(0, 1000, 100);
        stand.write(&sent);
        wait_empty(&stand.pipe);
        stand.wait_stored(&sent);
        let traced = || fs::read_to_string(&log).unwrap_or_default().split_off(started);
        until("archives and segments are synced", || traced().contains("fsync(") && traced().contains("fdatasync("));
        let by_main: Vec<_> = traced().lines().filter(|line| line.starts_with(&reader)).map(str::to_owned).collect();
        assert!(by_main.is_empty(), "{by_main:?}");
    });
}
