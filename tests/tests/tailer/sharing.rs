//! The tailer and others at one pipe: a second source, a server that writes into the pipe itself, a reader that rests
//! or is not there, a FIFO that is replaced.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::thread;
use std::time::Duration;

use standpipe_tests::deadline::{until, within};
use standpipe_tests::directory::make_fifo;
use standpipe_tests::programs::{between_starts, holder};
use standpipe_tests::stands::{Following, Tailing};
use standpipe_tests::world::{
    Check, Drain, LINE_BYTES_MIN, Log, Owner, Tally, Writer, capacity, line, open_reader, open_writer, queued,
    rename_and_create,
};

/// Lines of each who writes.
const LINES: u64 = 20_000;
/// Lines that a log gets at once.
const BATCH: u64 = 400;

#[test]
fn two_logs_and_a_server_share_a_pipe_while_the_tailer_is_killed() {
    let mut stand = Tailing::into_pipe(Owner::Tailer, true);
    stand.configure("", &[("app.log", ""), ("web.log", "")]);
    let mut logs = [stand.log("app.log", 1), stand.log("web.log", 2)];
    stand.start();
    let server = Writer::start(&stand.scratch.run("out"), 3, Some(LINES), Duration::ZERO);
    let mut kills = 0;
    for _ in 0..LINES / BATCH {
        for log in &mut logs {
            log.write(BATCH);
        }
        let deliveries = stand.delivered().len();
        // At any moment of its work: while it starts, and while it delivers.
        within(Duration::from_millis(40), || stand.delivered().len() > deliveries + 50_000);
        stand.kill9_and_start();
        kills += 1;
    }
    let written = server.join();
    assert!(written.error.is_none() && written.lines == LINES, "{written:?}");
    until("all lines", || memchr::memchr_iter(b'\n', &stand.delivered()).count() as u64 >= 3 * LINES);
    let said = stand.stop();
    let mut check = Check::new();
    check.feed(&stand.delivered());
    let tally = check.finish(&[(1, LINES), (2, LINES), (3, LINES)]);
    println!("{kills} kills, {tally:?}");
    assert!(tally.is_whole(), "{tally:?}\n{said}");
}

/// How much of a pipe that nobody drains a server fills before it would block.
fn room_for_a_server(stand: &Tailing, writer: u16) -> usize {
    let mut pipe = open_writer(&stand.scratch.run("out"), 0).unwrap();
    let mut bytes = 0;
    for seq in 0.. {
        match pipe.write(&line(writer, seq, LINE_BYTES_MIN + 80)) {
            Ok(taken) => bytes += taken,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return bytes,
            Err(error) => panic!("{error}"),
        }
    }
    unreachable!("a pipe is finite");
}

/// Bytes of that many lines of the tailer, how much a server puts behind them, and what the pipe can hold.
fn filled(lines: u64) -> (usize, usize, usize) {
    let mut stand = Tailing::into_pipe(Owner::Tailer, true);
    stand.configure("", &[("app.log", "")]);
    stand.set_draining(false);
    let mut log = stand.log("app.log", 1);
    stand.start();
    log.write(lines);
    let pipe = open_reader(&stand.scratch.run("out"));
    let bytes = fs::metadata(&log.path).unwrap().len() as usize;
    until("the tailer delivered", || queued(&pipe) == bytes);
    let own = room_for_a_server(&stand, 2);
    (bytes, own, capacity(&stand.scratch.run("out")))
}

#[test]
fn a_server_blocks_no_earlier_for_the_lines_of_the_tailer() {
    let (_, alone, capacity) = filled(0);
    for lines in [200, 1500] {
        let (bytes, beside, _) = filled(lines);
        println!(
            "of {capacity} bytes: {alone} by the server alone, {bytes} by the tailer and then {beside} by the server"
        );
        // ± 5 % of the pipe; what both wrote fits in as if the server had written it all.
        assert!(bytes + beside + capacity / 20 >= alone, "{bytes} + {beside} < {alone} of {capacity}");
    }
}

#[test]
fn a_reader_that_rests_during_ten_rotations_gets_all_of_them_after_it() {
    // F59
    let (mut stand, mut log) = Following::into_pipe().start();
    log.write(500);
    stand.wait_delivered(&[&log]);
    stand.set_draining(false);
    for _ in 0..10 {
        log.write(1500);
        rename_and_create(&mut log);
    }
    log.write(100);
    let pipe = open_reader(&stand.scratch.run("out"));
    let size = capacity(&stand.scratch.run("out"));
    until("the pipe is full", || queued(&pipe) > size / 10 * 9);
    stand.kill9_and_start();
    stand.set_draining(true);
    stand.finish(&[&log]);
}

#[test]
fn without_a_holder_it_waits_says_so_once_and_loses_nothing() {
    // F60
    let mut stand = Tailing::to_stdout(Owner::Tailer);
    let fifo = stand.scratch.fifo("lonely");
    let mut log = stand.log("app.log", 1);
    stand.configure("", &[("app.log", &format!("pipe = \"{}\"\n", fifo.display()))]);
    log.write(1000);
    stand.start();
    stand.daemon().wait_line("no reader or holder has it open");
    log.write(1000);
    rename_and_create(&mut log);
    log.write(1000);
    stand.kill9_and_start();
    stand.daemon().wait_line("no reader or holder has it open");
    let drain = Drain::start(&fifo);
    wait_tally(&stand, &drain, &log);
    stand.daemon().wait_line("delivering again");
    // The reader goes, and another one comes.
    between_starts(|| drop(drain));
    log.write(500);
    stand.daemon().wait_lines("no reader or holder has it open", 2);
    let said = stand.daemon().lines_with("no reader or holder has it open").len();
    let second = Drain::start(&fifo);
    until("the rest", || memchr::memchr_iter(b'\n', &second.bytes()).count() >= 500);
    assert_eq!((said, stand.daemon().lines_with("no reader or holder").len()), (2, 2), "{}", stand.daemon().stderr());
    stand.stop();
}

fn wait_tally(stand: &Tailing, drain: &Drain, log: &Log) {
    let lines = log.written().1;
    until("all lines", || memchr::memchr_iter(b'\n', &drain.bytes()).count() as u64 >= lines);
    let mut check = Check::new();
    check.feed(&drain.bytes());
    let tally = check.finish(&[log.written()]);
    assert_eq!(tally, Tally { found: lines, ..Tally::default() }, "{}", stand.daemon().stderr());
}

#[test]
fn a_pipe_that_is_replaced_while_it_is_full_gets_whole_lines_and_none_twice() {
    let mut stand = Tailing::to_stdout(Owner::Tailer);
    let fifo = stand.scratch.pipe("out");
    stand.scratch.write_policy("out.toml", "stage = true\n");
    let holder = holder(&stand.scratch).start();
    let mut log = stand.log("app.log", 1);
    stand.configure("", &[("app.log", &format!("pipe = \"{}\"\n", fifo.display()))]);
    let mut first = open_reader(&fifo);
    stand.start();
    log.write(9000);
    let size = capacity(&fifo);
    until("the pipe is full", || queued(&first) > size / 10 * 9);
    replace(&fifo);
    holder.signal(nix::sys::signal::Signal::SIGHUP);
    let second = Drain::start(&fifo);
    log.write(1000);
    let mut bytes = Vec::new();
    // Until the tailer knows of the new pipe it writes to the old one.
    until("all lines", || {
        bytes.extend(drained(&mut first));
        let lines = memchr::memchr_iter(b'\n', &bytes).count() + memchr::memchr_iter(b'\n', &second.bytes()).count();
        lines as u64 >= log.written().1
    });
    let said = stand.stop();
    assert_eq!(bytes.last(), Some(&b'\n'), "{said}");
    bytes.extend(second.bytes());
    let mut check = Check::new();
    check.feed(&bytes);
    let tally = check.finish(&[log.written()]);
    assert!(tally.is_whole(), "{tally:?}\n{said}");
}

fn replace(fifo: &Path) {
    let fresh = fifo.with_extension("new");
    make_fifo(&fresh, 0o666);
    fs::rename(fresh, fifo).unwrap();
}

fn drained(pipe: &mut File) -> Vec<u8> {
    let mut bytes = Vec::new();
    until("the old pipe is empty", || {
        let queued = queued(pipe);
        let mut chunk = vec![0; queued];
        std::io::Read::read_exact(pipe, &mut chunk).unwrap();
        bytes.extend(chunk);
        thread::sleep(Duration::from_millis(2));
        queued == 0
    });
    bytes
}
