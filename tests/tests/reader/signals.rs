//! Signals that the kernel sends because of a file: the limit of its length, and a disk that fails under a mapping.

use std::fs::{self, File};
use std::io::Write;

use nix::sys::signal::Signal;
use standpipe_tests::directory::Scratch;
use standpipe_tests::programs::{Launch, holder};
use standpipe_tests::stands::Bench;
use standpipe_tests::world::{hold, is_held, wait_empty};

/// Standard error is a file here, and every line on it beyond the limit.
#[test]
fn a_limit_on_the_length_of_files_ends_no_program() {
    const SIGXFSZ: i32 = 25;
    let scratch = Scratch::new();
    let fifo = scratch.pipe("app");
    let mut holder = holder(&scratch).prelude("ulimit -f 0").start();
    assert!(is_held(&fifo));
    scratch.link("bad", "nowhere");
    holder.signal(Signal::SIGHUP);
    assert_eq!(holder.terminate(), 0);
    let log = scratch.path().join("app.log");
    fs::write(&log, "line\n").unwrap();
    for (program, args) in [
        ("tailer", vec!["--batch", log.to_str().unwrap()]),
        ("tailer", vec!["status", "--config", "/nowhere"]),
        ("holder", vec!["check", scratch.pipes().to_str().unwrap()]),
        ("holder", vec!["/nowhere"]),
        ("reader", vec!["/nowhere"]),
        ("reader", vec!["logs", "--logs", "/nowhere"]),
    ] {
        let output = Launch::new(program).args(&args).prelude("ulimit -f 0").run();
        assert_ne!(output.code, 128 + SIGXFSZ, "{program} {args:?}");
    }
}

/// Standard error is the pipe that the reader drains, and it is full.
#[test]
fn a_mailbox_whose_disk_fails_ends_the_reader_though_nobody_takes_its_last_words() {
    let bench = Bench::new();
    let fifo = bench.scratch.pipe("app");
    let mut pipe = hold(&fifo);
    let mut reader = bench.reader().prelude(&format!("exec 2>{}", fifo.display())).start();
    wait_empty(&pipe);
    reader.freeze();
    while pipe.write(&[b'x'; 4096]).is_ok() {}
    for mailbox in bench.root_files(".mailbox-") {
        File::options().write(true).open(&mailbox).unwrap().set_len(0).unwrap();
    }
    reader.signal(Signal::SIGCONT);
    assert_eq!(reader.wait_exit(), 3);
}
