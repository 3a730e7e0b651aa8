//! Pipes that change while the reader runs: replaced, late, gone, a regular file in their place.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;
use standpipe_tests::deadline::until;
use standpipe_tests::directory::make_fifo;
use standpipe_tests::programs::{Daemon, cpu_time, has_open};
use standpipe_tests::stands::Bench;
use standpipe_tests::world::{hold, put, stream_of};

/// Puts another FIFO in the place of one, which stays reachable under the path that is returned.
fn replace(fifo: &Path) -> PathBuf {
    let old = fifo.with_extension("old");
    fs::rename(fifo, &old).expect("a FIFO");
    appear(fifo);
    old
}

/// Makes a FIFO that has its permissions from the first moment on.
fn appear(fifo: &Path) {
    let new = fifo.with_extension("new");
    make_fifo(&new, 0o666);
    fs::rename(&new, fifo).expect("a FIFO");
}

fn server(fifo: &Path) -> fs::File {
    OpenOptions::new().write(true).open(fifo).expect("a FIFO that is held")
}

/// Stops a process, does something that it then meets all at once, and lets it go on.
fn unnoticed(reader: &Daemon, step: impl FnOnce()) {
    reader.freeze();
    step();
    reader.signal(Signal::SIGCONT);
}

#[test]
fn a_replaced_fifo_is_drained_beside_the_new_one_until_its_last_writer_has_left() {
    let bench = Bench::new();
    let fifo = bench.scratch.pipe("app");
    let reader = bench.reader().start();
    let old_server = server(&fifo);
    put(&old_server, b"old one\n");
    bench.wait_stored("app", b"old one\n");
    let old = replace(&fifo);
    reader.wait_line("app: FIFO was replaced; now reading the new one");
    let new_server = server(&fifo);
    put(&new_server, b"new one\n");
    bench.wait_stored("app", b"old one\nnew one\n");
    put(&old_server, b"old two\n");
    bench.wait_stored("app", b"old one\nnew one\nold two\n");
    put(&old_server, b"old three\n");
    drop(old_server);
    bench.wait_stored("app", b"old one\nnew one\nold two\nold three\n");
    until("the old FIFO is let go", || !has_open(reader.pid(), &old));
    assert!(has_open(reader.pid(), &fifo));
    // That nothing stood there for a moment may have been seen.
    let errors = reader.lines_with("error");
    assert!(errors.iter().all(|line| line.contains("does not exist")) && errors.len() <= 1, "{errors:?}");
    reader.stop();
}

#[test]
fn bytes_that_wait_in_a_replaced_fifo_come_before_those_of_the_new_one() {
    let bench = Bench::new();
    let fifo = bench.scratch.pipe("app");
    let reader = bench.reader().start();
    let old_server = server(&fifo);
    let text = |word: &str| (0..3000).flat_map(|line| format!("{word} {line}\n").into_bytes()).collect::<Vec<u8>>();
    let mut expected = text("old");
    unnoticed(&reader, || {
        put(&old_server, &expected);
        drop(old_server);
        replace(&fifo);
        put(&hold(&fifo), b"");
    });
    reader.wait_line("app: FIFO was replaced; now reading the new one");
    put(&server(&fifo), &text("new"));
    expected.extend(text("new"));
    bench.wait_stored("app", &expected);
    reader.stop();
}

#[test]
fn term_takes_what_waits_in_a_replaced_fifo_too() {
    for new in [&b""[..], b"new\n"] {
        let bench = Bench::new();
        let fifo = bench.scratch.pipe("app");
        let mut reader = bench.reader().start();
        let old_server = server(&fifo);
        replace(&fifo);
        reader.wait_line("app: FIFO was replaced; now reading the new one");
        unnoticed(&reader, || {
            put(&old_server, b"old\n");
            put(&server(&fifo), new);
            reader.signal(Signal::SIGTERM);
        });
        assert_eq!(reader.wait_exit(), 0, "{}", reader.stderr());
        assert_eq!(stream_of(&bench.log("app")), [b"old\n", new].concat(), "{}", reader.stderr());
    }
}

#[test]
fn a_fifo_replaced_many_times_loses_nothing() {
    let bench = Bench::new();
    let fifo = bench.scratch.pipe("app");
    let reader = bench.reader().start();
    let mut expected = Vec::new();
    for round in 0..20 {
        until("the new FIFO is held", || has_open(reader.pid(), &fifo));
        let line = format!("{round}\n").into_bytes();
        put(&server(&fifo), &line);
        expected.extend(line);
        fs::remove_file(&fifo).expect("a FIFO");
        make_fifo(&fifo, 0o666);
    }
    until("all is stored", || stream_of(&bench.log("app")).len() >= expected.len());
    // Several of them may be read at once, each whole.
    let stream = stream_of(&bench.log("app"));
    let mut found: Vec<&[u8]> = stream.split_inclusive(|byte| *byte == b'\n').collect();
    let mut lines: Vec<&[u8]> = expected.split_inclusive(|byte| *byte == b'\n').collect();
    found.sort_unstable();
    lines.sort_unstable();
    assert_eq!(found, lines);
    reader.stop();
}

#[test]
fn a_fifo_that_appears_late_is_drained_at_once() {
    let bench = Bench::new();
    let fifo = bench.scratch.path().join("later/run/app");
    bench.scratch.link("app", &fifo);
    let reader = bench.reader().start();
    let said = reader.wait_line("pipes.d/app: ");
    assert!(said.contains("does not exist"), "{said}");
    reader.wait_line("reader: reading 0 pipes of ");
    bench.scratch.make_dir("later");
    bench.scratch.make_dir("later/run");
    appear(&fifo);
    reader.wait_line("app: now reading its FIFO");
    put(&server(&fifo), b"one\n");
    bench.wait_stored("app", b"one\n");
    let errors = reader.lines_with("error");
    assert!(errors.iter().all(|line| line.contains("does not exist")), "{errors:?}");
    reader.stop();
}

#[test]
fn a_regular_file_in_the_place_of_a_fifo_is_one_alarm_and_stays_untouched() {
    let bench = Bench::new();
    let fifo = bench.scratch.pipe("app");
    let reader = bench.reader().start();
    let old_server = server(&fifo);
    let rotated = fifo.with_extension("1");
    fs::rename(&fifo, &rotated).expect("a FIFO");
    fs::write(&fifo, "written by a rotator\n").expect("a file");
    reader.wait_line("pipes.d/app: it leads to a regular file, not to a FIFO");
    for mode in [0o600, 0o644] {
        // Each change of it is a reason to look again, none to say it again.
        standpipe_tests::directory::set_mode(&fifo, mode);
    }
    put(&old_server, b"old\n");
    bench.wait_stored("app", b"old\n");
    assert_eq!(fs::read(&fifo).expect("the file"), b"written by a rotator\n");
    fs::remove_file(&fifo).expect("the file");
    appear(&fifo);
    reader.wait_line("app: FIFO was replaced; now reading the new one");
    put(&server(&fifo), b"new\n");
    bench.wait_stored("app", b"old\nnew\n");
    assert_eq!(reader.lines_with("it leads to a regular file").len(), 1, "{}", reader.stderr());
    reader.stop();
}

#[test]
fn a_fifo_that_moves_into_the_place_of_another_pipe_is_refused() {
    let bench = Bench::new();
    let (app, web) = (bench.scratch.pipe("app"), bench.scratch.pipe("web"));
    let reader = bench.reader().start();
    fs::remove_file(&web).expect("a FIFO");
    fs::hard_link(&app, &web).expect("another name of a FIFO");
    let said = reader.wait_line("pipes.d/web: it leads to the same FIFO as ");
    assert!(said.contains("pipes.d/app"), "{said}");
    put(&server(&app), b"one\n");
    bench.wait_stored("app", b"one\n");
    assert_eq!(fs::metadata(&web).expect("a FIFO").ino(), fs::metadata(&app).expect("a FIFO").ino());
    assert_eq!(stream_of(&bench.log("web")), b"");
    reader.stop();
}

#[test]
fn an_idle_reader_takes_no_cpu() {
    let bench = Bench::new();
    let fifos: Vec<PathBuf> = (0..20).map(|number| bench.scratch.pipe(&format!("p{number}"))).collect();
    let reader = bench.reader().start();
    for (number, fifo) in fifos.iter().enumerate() {
        let pipe = server(fifo);
        put(&pipe, b"one\n");
        bench.wait_stored(&format!("p{number}"), b"one\n");
    }
    // All writers have come and gone, and the ticks after the last byte are over.
    until("it has come to rest", || {
        let before = cpu_time(reader.pid());
        std::thread::sleep(Duration::from_millis(500));
        cpu_time(reader.pid()) <= before
    });
    let before = cpu_time(reader.pid());
    std::thread::sleep(Duration::from_secs(1));
    let taken = cpu_time(reader.pid()).saturating_sub(before);
    assert!(taken <= Duration::from_millis(10), "{taken:?} within a second");
    reader.stop();
}
