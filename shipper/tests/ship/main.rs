//! `shipper` from outside: real logs of a real reader, and a receiver that answers as each test wants.

mod answers;
mod configuration;
mod cursors;
mod kills;
mod lines;
mod removed;
mod sink;
mod wire;

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::thread;

use nix::sys::signal::Signal;
use sink::Sink;
use standpipe_tests::directory::Scratch;
use standpipe_tests::programs::{Daemon, Launch};
use standpipe_tests::world;
use wire::Record;

/// Where the log of a pipe is.
fn log_dir(scratch: &Scratch, pipe: &str) -> PathBuf {
    scratch.logs().join(pipe)
}

/// Logs some bytes with `reader stdin`; `args` come before the log directory.
fn log(scratch: &Scratch, pipe: &str, bytes: &[u8], args: &[&str]) {
    let (stdin, mut server) = std::io::pipe().unwrap();
    let bytes = bytes.to_vec();
    let written = thread::spawn(move || server.write_all(&bytes).unwrap());
    let reader = Launch::new("reader").arg("stdin").args(args).arg(log_dir(scratch, pipe)).stdin(stdin);
    let output = reader.run();
    assert_eq!(output.code, 0, "{output:?}");
    written.join().unwrap();
}

/// Sends the logs there, more with `args`.
fn ship(scratch: &Scratch, url: &str, args: &[&str]) -> Daemon {
    launch(scratch, url).args(args).start()
}

fn launch(scratch: &Scratch, url: &str) -> Launch {
    Launch::new("shipper").arg(scratch.logs()).args(["--otlp", url])
}

/// The lines of a log as they are stored.
fn stored_lines(scratch: &Scratch, pipe: &str) -> Vec<Vec<u8>> {
    let stream = world::stream_of(&log_dir(scratch, pipe));
    let lines = stream.strip_suffix(b"\n").unwrap_or(&stream);
    lines.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
}

/// Each line of the log is there once, in order, with a name and a time of its own.
fn assert_whole(records: &[Record], expected: &[Vec<u8>]) {
    let bodies: Vec<&[u8]> = records.iter().map(|record| &record.body[..]).collect();
    let first_odd = bodies.iter().zip(expected).position(|(body, line)| body != line);
    assert!(bodies == expected, "{} of {} lines, the first odd one: {first_odd:?}", bodies.len(), expected.len());
    assert!(records.is_sorted_by(|one, other| one.time_ns < other.time_ns), "times rise");
    let mut uids: Vec<&str> = records.iter().map(|record| &record.uid[..]).collect();
    uids.sort_unstable();
    assert!(uids.is_sorted_by(|one, other| one < other), "uids differ");
}

fn numbered(range: std::ops::Range<u32>) -> Vec<u8> {
    range.flat_map(|n| format!("line {n} of some length, as lines are\n").into_bytes()).collect()
}

#[test]
fn archives_and_segments_arrive_once_and_in_order_and_what_is_written_later_soon() {
    let scratch = Scratch::new();
    let sink = Sink::new(|_| sink::taken());
    log(&scratch, "app", &numbered(0..20_000), &["--rotate-size", "128KiB"]);
    log(&scratch, "app", &numbered(20_000..21_000), &["--continue"]);
    let archives = world::parts(&log_dir(&scratch, "app"));
    assert!(archives.len() > 3, "{archives:?}");
    let mut shipper = ship(&scratch, &sink.url(), &[]);
    assert_whole(&sink.wait_kept(21_000), &stored_lines(&scratch, "app"));

    let request = &sink.requests()[0];
    assert_eq!(request.line, "POST /v1/logs HTTP/1.1");
    for header in [("content-type", "application/x-protobuf"), ("content-encoding", "gzip")] {
        assert!(request.headers.iter().any(|(name, value)| (&name[..], &value[..]) == header), "{:?}", request.headers);
    }
    let keys: Vec<&str> = request.attributes.iter().map(|(key, _)| &key[..]).collect();
    assert!(keys.starts_with(&["service.name", "host.name"]), "{keys:?}");
    assert!(request.records.iter().all(|record| record.service == "app" && record.is_string));

    log(&scratch, "app", &numbered(21_000..21_010), &["--continue"]);
    log(&scratch, "later", b"a pipe that came later\n", &[]);
    let all = sink.wait_kept(21_011);
    let (later, app): (Vec<_>, Vec<_>) = all.into_iter().partition(|record| record.service == "later");
    assert_whole(&app, &stored_lines(&scratch, "app"));
    assert_whole(&later, &[b"a pipe that came later".to_vec()]);

    assert_eq!(shipper.terminate(), 0, "{}", shipper.stderr());
    assert!(shipper.stderr().contains("sends 1 pipe of"), "{}", shipper.stderr());
    let requests = sink.requests().len();
    let mut shipper = ship(&scratch, &sink.url(), &[]);
    log(&scratch, "app", &numbered(21_010..21_011), &["--continue"]);
    sink.wait_kept(21_012);
    assert_eq!(sink.requests().len(), requests + 1, "what was sent is not sent again");
    shipper.signal(Signal::SIGINT);
    assert_eq!(shipper.wait_exit(), 0);
}

#[test]
fn a_log_that_is_all_sent_costs_nothing_until_there_is_more() {
    let scratch = Scratch::new();
    let sink = Sink::new(|_| sink::taken());
    log(&scratch, "app", &numbered(0..10), &["--continue"]);
    let shipper = ship(&scratch, &sink.url(), &[]);
    sink.wait_kept(10);
    shipper.wait_signals_handled();
    let switches = || {
        let status = fs::read_to_string(format!("/proc/{}/status", shipper.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("voluntary_ctxt_switches")).unwrap().to_owned();
        line.split_whitespace().last().unwrap().parse::<u64>().unwrap()
    };
    let before = switches();
    // The experiment itself: nothing is to happen in this time.
    thread::sleep(std::time::Duration::from_millis(1500));
    assert!(switches() - before <= 1, "it woke {} times", switches() - before);
}
