//! A reader that is stopped and killed over and over, during a steady stream, is not to be seen in the log.

use std::time::Duration;

use standpipe_tests::deadline::until;
use standpipe_tests::kills::{Lives, Mortal, run};
use standpipe_tests::stands::Stand;
use standpipe_tests::world::{Check, STAMP_BYTES, Writer, stream_of, wait_empty};

const RESTARTS: u64 = 100;
const WRITERS: u16 = 3;

/// Restarts the reader during a stream and counts what is stored.
fn restart_during_a_stream(policy: &str, stamp_bytes: usize) {
    let stand = Stand::new(policy);
    let writers: Vec<Writer> =
        (0..WRITERS).map(|number| Writer::start(&stand.fifo, number, None, Duration::from_micros(50))).collect();
    let lines = || writers.iter().map(Writer::lines).sum::<u64>();
    let mut reader = Mortal::start(stand.reader());
    run(
        &mut reader,
        Lives::of_tests_choice(),
        |_, round| round == RESTARTS,
        |reader, round, _| {
            let end = lines() + 10 + round % 7 * 11;
            until("the writers go on", || lines() >= end);
            let dead = if round % 2 == 0 { reader.kill() } else { reader.restart() };
            assert!(dead.lines_with("error").is_empty(), "{}", dead.stderr());
        },
    );
    let written: Vec<_> = writers.into_iter().map(Writer::stop).collect();
    assert!(written.iter().all(|written| written.error.is_none()), "{written:?}");
    wait_empty(&stand.pipe);
    let total = written.iter().map(|written| written.bytes + written.lines * stamp_bytes as u64).sum::<u64>();
    until("all is stored", || stream_of(&stand.log_dir()).len() as u64 >= total);
    let mut check = Check::stamped(stamp_bytes);
    check.feed(&stream_of(&stand.log_dir()));
    let tally = check.finish(&written.iter().map(|written| (written.writer, written.lines)).collect::<Vec<_>>());
    assert!(tally.is_whole(), "{tally:?}");
}

#[test]
fn r9_a_hundred_restarts_lose_and_repeat_nothing() {
    restart_during_a_stream("rotate_size = \"50KiB\"\n", 0);
}

#[test]
fn r9_a_hundred_restarts_put_no_stamp_twice() {
    restart_during_a_stream("stamp = \"iso\"\nrotate_size = \"64KiB\"\n", STAMP_BYTES);
}
