//! Limits: what waits is delivered later and whole, nobody else waits with it, and it is told once.

use std::fs;
use std::time::{Duration, Instant};

use standpipe_tests::deadline::{until, within};
use standpipe_tests::programs::Launch;
use standpipe_tests::stands::{Following, Tailing};
use standpipe_tests::world::Owner;

const BEGAN: &str = ".log is held back by its rate_limit";
const ENDED: &str = "is no longer held back";

#[test]
fn a_backlog_takes_as_long_as_its_limit_says_and_is_told_as_it_begins_and_ends() {
    let mut stand = Tailing::into_pipe(Owner::Tailer, true);
    stand.configure("", &[("app.log", "rate_limit = \"100000 bytes/s, burst 10000 bytes\"\n")]);
    let mut log = stand.log("app.log", 1);
    while fs::metadata(&log.path).unwrap().len() < 300_000 {
        log.write(10);
    }
    let start = Instant::now();
    stand.start();
    stand.wait_delivered(&[&log]);
    let took = start.elapsed();
    assert!((Duration::from_millis(2600)..Duration::from_secs(15)).contains(&took), "{took:?}");
    stand.daemon().wait_line(ENDED);
    // Below the limit nothing waits, and nothing is told.
    log.write(10);
    stand.finish(&[&log]);
    assert_eq!(stand.daemon().lines_with(BEGAN).len(), 1, "{}", stand.daemon().stderr());
    assert_eq!(stand.daemon().lines_with(ENDED).len(), 1, "{}", stand.daemon().stderr());
}

#[test]
fn a_log_that_grows_all_the_time_is_delivered_as_fast_as_its_limit_lets_it() {
    for limit in ["1000 lines/s", "60000 bytes/s, burst 1000 bytes"] {
        let (mut stand, mut log) = Following::to_stdout().keys(&format!("rate_limit = \"{limit}\"\n")).prepare();
        log.write(1500);
        let start = Instant::now();
        stand.start();
        // Each line is a hint, and there is one more often than the limit lets anything through.
        let came = within(Duration::from_secs(8), || {
            log.write(1);
            stand.lines_delivered() > 1400
        });
        let (delivered, took) = (stand.lines_delivered(), start.elapsed());
        assert!(came, "{limit}: {delivered} lines after {took:?}\n{}", stand.daemon().stderr());
        stand.finish(&[&log]);
    }
}

#[test]
fn a_kill_or_an_end_amid_a_backlog_loses_and_repeats_nothing() {
    let mut stand = Tailing::into_pipe(Owner::Tailer, true);
    stand.configure("", &[("app.log", "rate_limit = \"500 lines/s, burst 50 lines\"\n")]);
    let mut log = stand.log("app.log", 1);
    log.write(2400);
    stand.start();
    for round in 0..3 {
        let before = stand.delivered().len();
        until("some of it", || stand.delivered().len() > before);
        if round == 2 {
            assert!(stand.stop().contains("not everything could be delivered"), "{}", stand.daemon().stderr());
            stand.start();
        } else {
            stand.kill9_and_start();
        }
    }
    assert!(stand.tally(&[&log]).found < 2000, "it was not limited");
    stand.finish(&[&log]);
}

#[test]
fn nobody_waits_for_a_limited_source_in_no_order() {
    for order in ["read", "timestamp"] {
        let mut stand = Tailing::into_pipe(Owner::Tailer, true);
        let limited = ("slow.log", "rate_limit = \"1 line/s\"\n");
        stand.configure(&format!("order = \"{order}\"\nwindow_ms = 100\n"), &[limited, ("live.log", "")]);
        let (mut slow, mut live) = (stand.log("slow.log", 1), stand.log("live.log", 2));
        slow.write(1000);
        stand.start();
        stand.daemon().wait_line(BEGAN);
        for lines in 1..=10 {
            live.write(1);
            let came = within(Duration::from_secs(1), || stand.tally(&[&live]).found == lines);
            assert!(came, "{order}, line {lines}: {}", stand.daemon().stderr());
        }
        assert!(stand.tally(&[&slow]).found < 20, "it was not limited");
    }
}

#[test]
fn a_limit_cuts_no_line_that_is_longer_than_what_can_be_held() {
    const LONG: usize = 3_000_000;
    let mut stand = Tailing::into_pipe(Owner::Tailer, true);
    stand.configure("", &[("slow.log", "rate_limit = \"200000 bytes/s\"\n"), ("live.log", "")]);
    let (slow, mut live) = (stand.log("slow.log", 1), stand.log("live.log", 2));
    fs::write(&slow.path, [b"x".repeat(LONG), b"\n".to_vec()].concat()).unwrap();
    stand.start();
    until("it begins", || !stand.delivered().is_empty());
    live.write(1);
    // Others wait for its end: the limit would keep them for a quarter of a minute, and then the line is cut.
    let came = within(Duration::from_secs(5), || stand.tally(&[&live]).found == 1);
    let delivered = stand.delivered();
    let whole = delivered.iter().take_while(|byte| **byte == b'x').count();
    assert!(came && whole == LONG && delivered[whole] == b'\n', "{whole} bytes: {}", stand.daemon().stderr());
}

#[test]
fn a_hup_lifts_a_limit() {
    let mut stand = Tailing::to_stdout(Owner::Tailer);
    stand.configure("", &[("app.log", "rate_limit = \"1 line/s\"\n")]);
    let mut log = stand.log("app.log", 1);
    log.write(500);
    stand.start();
    stand.daemon().wait_line(BEGAN);
    stand.configure("", &[("app.log", "")]);
    stand.daemon().hang_up("watching");
    stand.finish(&[&log]);
}

#[test]
fn a_rate_that_can_be_read_in_two_ways_is_refused_with_both() {
    let stand = Tailing::to_stdout(Owner::Tailer);
    stand.configure("", &[("app.log", "rate_limit = \"1MB/s\"\n")]);
    let output = Launch::new("tailer").arg("--config").arg(stand.work("tailer.toml")).arg("--check-config").run();
    let (code, said) = (output.code, output.stderr);
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("1000 or 1024? write 1M (1 × 1048576) or 1000000 bytes"), "{said}");
    assert!(said.contains("^^^^^^^"), "{said}");
}
