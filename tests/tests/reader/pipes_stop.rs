//! How the reader begins and ends: readiness, TERM, TERM again, HUP.

use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::signal::Signal;
use standpipe_tests::deadline::until;
use standpipe_tests::privilege::{give, needs_seams};
use standpipe_tests::programs::has_open;
use standpipe_tests::stands::Bench;
use standpipe_tests::world::{Check, Writer, assert_same, hold, put, queued, stream_of};

/// Some seconds of its own, and the rest for a busy machine.
const STOP_SPAN_MAX: Duration = Duration::from_secs(10);

#[test]
fn term_takes_all_that_the_pipes_hold_at_that_moment() {
    let bench = Bench::new();
    let pipes = ["a", "b"].map(|name| hold(&bench.scratch.pipe(name)));
    let mut reader = bench.reader().start();
    reader.freeze();
    let bytes = [vec![b'x'; 60_000], b"\nno end yet".to_vec()].concat();
    for pipe in &pipes {
        put(pipe, &bytes);
    }
    reader.signal(Signal::SIGTERM);
    reader.signal(Signal::SIGCONT);
    assert_eq!(reader.wait_exit_within(STOP_SPAN_MAX), 0);
    for (pipe, name) in pipes.iter().zip(["a", "b"]) {
        assert_same(&stream_of(&bench.log(name)), &bytes, name);
        assert_eq!(queued(pipe), 0);
    }
    assert!(reader.lines_with("left in the pipe").is_empty(), "{}", reader.stderr());
}

#[test]
fn term_under_a_writer_that_never_stops_ends_in_time_and_loses_nothing() {
    let bench = Bench::new();
    let fifo = bench.scratch.pipe("app");
    let pipe = hold(&fifo);
    fcntl(&pipe, FcntlArg::F_SETPIPE_SZ(1 << 20)).ok();
    let writer = Writer::start(&fifo, 1, None, Duration::ZERO);
    for round in 1..=3 {
        let mut reader = bench.reader().start();
        until("it reads", || writer.lines() > round * 20_000);
        let before = Instant::now();
        assert_eq!(reader.terminate(), 0, "{}", reader.stderr());
        assert!(before.elapsed() < STOP_SPAN_MAX, "{:?}", before.elapsed());
        assert!(reader.lines_with("app: ").len() <= 1, "{}", reader.stderr());
        for line in reader.lines_with("app: ") {
            assert!(line.ends_with(" bytes left in the pipe"), "{line}");
        }
    }
    let reader = bench.reader().start();
    let written = writer.stop();
    until("all is stored", || stream_of(&bench.log("app")).len() as u64 >= written.bytes);
    reader.stop();
    assert!(written.error.is_none(), "{:?}", written.error);
    let mut check = Check::new();
    check.feed(&stream_of(&bench.log("app")));
    let tally = check.finish(&[(1, written.lines)]);
    assert!(tally.is_whole() && tally.found == written.lines, "{tally:?}");
}

#[test]
fn a_second_term_stops_at_once_whatever_the_disk_does() {
    needs_seams(|| {
        let (bench, pipe) = Bench::new().holding("app");
        let mut reader = bench.traced_reader().start();
        let writes = bench.passes("write");
        bench.faults("delay write 15000");
        put(&pipe, b"one\n");
        until("it hangs in a write", || bench.passes("write") > writes);
        reader.signal(Signal::SIGTERM);
        // Two of them at once would be one.
        until("the first has come", || !is_pending(reader.pid(), Signal::SIGTERM));
        reader.signal(Signal::SIGTERM);
        assert_eq!(reader.wait_exit_within(STOP_SPAN_MAX), 0);
        bench.faults("");
        let reader = bench.steered_reader().start();
        bench.wait_stored("app", b"one\n");
        reader.stop();
    });
}

/// Whether a signal has not reached a process yet.
fn is_pending(pid: u32, signal: Signal) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a running process");
    let masks = status.lines().filter_map(|line| line.strip_prefix("ShdPnd:"));
    let pending = masks.map(|mask| u64::from_str_radix(mask.trim(), 16).expect("a mask"));
    pending.fold(0, |all, mask| all | mask) & 1 << (signal as i32 - 1) != 0
}

#[test]
fn hup_is_one_line_and_the_reader_lives() {
    let (bench, pipe) = Bench::new().holding("app");
    let mut reader = bench.reader().start();
    for round in 1..=3 {
        reader.signal(Signal::SIGHUP);
        reader.wait_lines("HUP", round);
        put(&pipe, b"one\n");
        bench.wait_stored("app", &b"one\n".repeat(round));
        assert_eq!(reader.lines().len(), 1 + round, "{}", reader.stderr());
    }
    assert!(reader.is_running());
    reader.stop();
}

#[test]
fn readiness_comes_after_every_pipe_was_tried_and_by_either_way() {
    let bench = Bench::new();
    let fifos = ["a", "b", "c"].map(|name| bench.scratch.pipe(name));
    bench.scratch.link("bad", "/nowhere/fifo");
    let socket_path = bench.scratch.path().join("notify");
    let socket = UnixDatagram::bind(&socket_path).expect("a socket");
    give(&socket_path);
    socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    let reader = bench.reader().env("NOTIFY_SOCKET", &socket_path).start();
    let mut said = [0; 64];
    let taken = socket.recv(&mut said).expect("a datagram");
    assert_eq!(&said[..taken], b"READY=1\n");
    assert!(fifos.iter().all(|fifo| has_open(reader.pid(), fifo)));
    let lines = reader.lines();
    assert_eq!(lines.len(), 2, "{lines:?}");
    let is_said = lines[1].starts_with("reader: reading 3 pipes of ") && lines[1].ends_with("; recovered 0 bytes");
    assert!(is_said, "{lines:?}");
    reader.stop();
}

#[test]
fn a_supervisor_that_is_gone_is_one_sentence_and_exit_3() {
    let bench = Bench::new();
    bench.scratch.pipe("app");
    let output = bench.reader().env("NOTIFY_SOCKET", bench.scratch.path().join("nobody")).run();
    assert_eq!(output.code, 3, "{}", output.stderr);
    assert_eq!(output.stderr.lines().filter(|line| line.contains("error: cannot notify ")).count(), 1);
}
