//! A server's user who replaces his FIFO without end: it costs descriptors, memory and lines of his own pipe alone.

use std::fs;
use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

use standpipe_tests::deadline::until;
use standpipe_tests::directory::make_fifo;
use standpipe_tests::programs::{Daemon, holder};
use standpipe_tests::stands::Bench;
use standpipe_tests::world::{hold, is_held, open_writer, put, stream_of};

fn descriptors(of: &Daemon) -> usize {
    fs::read_dir(format!("/proc/{}/fd", of.pid())).unwrap().count()
}

#[test]
fn a_fifo_that_is_replaced_without_end_costs_no_other_pipe_anything() {
    const REPLACED: usize = 300;
    let bench = Bench::new();
    let bad = bench.scratch.pipe("bad");
    let good = hold(&bench.scratch.pipe("good"));
    let holder = holder(&bench.scratch).start();
    let reader = bench.reader().start();
    put(&good, b"first\n");
    bench.wait_stored("good", b"first\n");
    let before = [descriptors(&holder), descriptors(&reader)];
    let mut stored = b"first\n".to_vec();
    let (mut worst, mut writers) = (Duration::ZERO, Vec::new());
    for number in 0..REPLACED {
        let fresh = bench.scratch.run("fresh");
        make_fifo(&fresh, 0o666);
        fs::rename(&fresh, &bad).unwrap();
        // Whoever has it open, and what is in it, keeps it from being let go.
        if let Ok(mut writer) = open_writer(&bad, 0) {
            writer.write_all(b"x").ok();
            writers.push(writer);
        }
        if number % 50 == 0 {
            let start = Instant::now();
            put(&good, b"probe\n");
            stored.extend(b"probe\n");
            until("the other pipe is drained", || stream_of(&bench.log("good")).len() == stored.len());
            worst = worst.max(start.elapsed());
        }
        // At most 125 times a second.
        thread::sleep(Duration::from_millis(8));
    }
    assert!(worst < Duration::from_secs(1), "{worst:?}");
    until("the last one is held", || is_held(&bad));
    for (program, before) in [(&holder, before[0]), (&reader, before[1])] {
        let now = descriptors(program);
        assert!(now <= before + 20, "{before} descriptors became {now}");
        let lines = program.lines().len();
        assert!(lines < REPLACED / 5, "{lines} lines:\n{}", program.stderr());
    }
    bench.wait_stored("good", &stored);
    reader.stop();
}
