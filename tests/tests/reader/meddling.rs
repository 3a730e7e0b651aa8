//! Others cut, replace or add to the segment that is written: no hole of NUL bytes comes of it, no later line is lost,
//! and each is told.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use standpipe_tests::deadline::until;
use standpipe_tests::directory::files_ending;
use standpipe_tests::privilege::{give, needs_seams};
use standpipe_tests::programs::Daemon;
use standpipe_tests::stands::Bench;
use standpipe_tests::world::{assert_same, hold, put, stream_of};

/// A reader that has stored `line N` for N below 100, and a server at its pipe.
fn with_lines() -> (Bench, File, Daemon) {
    let (bench, server) = Bench::new().holding("app");
    let reader = bench.reader().start();
    let lines: Vec<u8> = (0..100).flat_map(|number| format!("line {number}\n").into_bytes()).collect();
    put(&server, &lines);
    bench.wait_stored("app", &lines);
    (bench, server, reader)
}

fn current(bench: &Bench) -> PathBuf {
    bench.log("app").join("current")
}

fn cut(file: &Path, len: u64) {
    OpenOptions::new().write(true).open(file).and_then(|file| file.set_len(len)).expect("a file of our own");
}

#[test]
fn a_segment_that_was_cut_goes_on_at_its_end() {
    for (len, said, left) in [(0, "0 bytes", &b""[..]), (1, "1 byte", b"l"), (10, "10 bytes", b"line 0\nlin")] {
        let (bench, server, reader) = with_lines();
        cut(&current(&bench), len);
        let mut expected = left.to_vec();
        for number in 0..3 {
            let line = format!("after {number}\n");
            put(&server, line.as_bytes());
            expected.extend_from_slice(line.as_bytes());
            bench.wait_stored("app", &expected);
        }
        reader.wait_line(&format!(" was truncated from 790 to {said} while being written"));
        assert_eq!(reader.stop().lines().filter(|line| line.contains("error")).count(), 1);
    }
}

#[test]
fn a_segment_that_was_cut_while_nobody_wrote_is_archived_as_it_is() {
    let (bench, _server, reader) = with_lines();
    cut(&current(&bench), 10);
    reader.signal(Signal::SIGALRM);
    until("it is archived", || files_ending(&bench.log("app"), ".log.zst").len() == 1);
    assert_eq!(stream_of(&bench.log("app")), b"line 0\nlin");
    // One that has nothing left is none to be archived.
    let (bench, server, reader) = with_lines();
    cut(&current(&bench), 0);
    reader.signal(Signal::SIGALRM);
    reader.wait_signals_handled();
    put(&server, b"after\n");
    bench.wait_stored("app", b"after\n");
    assert!(files_ending(&bench.log("app"), ".log.zst").is_empty());
}

#[test]
fn a_segment_that_is_replaced_takes_no_later_line_with_it() {
    let (bench, server, reader) = with_lines();
    // As `sed -i` does it: another file gets the name.
    let segment = fs::canonicalize(current(&bench)).expect("a link to a segment");
    let edited = segment.with_file_name("edited");
    fs::write(&edited, "edited\n").expect("a file of our own");
    give(&edited);
    fs::rename(&edited, &segment).expect("a file of our own");
    for number in 0..3 {
        put(&server, format!("after {number}\n").as_bytes());
        until("it is stored", || stream_of(&bench.log("app")).ends_with(format!("after {number}\n").as_bytes()));
    }
    assert_same(&stream_of(&bench.log("app")), b"edited\nafter 0\nafter 1\nafter 2\n", "the log");
    reader.wait_line(" was removed or replaced while being written");
}

#[test]
fn what_others_add_to_a_segment_is_not_overwritten() {
    let (bench, server, reader) = with_lines();
    for number in 0..3 {
        let mut others = OpenOptions::new().append(true).open(current(&bench)).expect("a segment");
        others.write_all(b"-- MARK --\n").expect("a segment");
        put(&server, format!("after {number}\n").as_bytes());
        until("it is stored", || stream_of(&bench.log("app")).ends_with(format!("after {number}\n").as_bytes()));
    }
    let expected: Vec<u8> = (0..3).flat_map(|number| format!("-- MARK --\nafter {number}\n").into_bytes()).collect();
    assert!(stream_of(&bench.log("app")).ends_with(&expected));
    assert_eq!(reader.lines_with("another program added 11 bytes to ").len(), 1, "{}", reader.stderr());
}

#[test]
fn a_segment_that_is_cut_again_and_again_under_a_fast_writer_has_no_hole() {
    const CUTS: usize = 100;
    let bench = Bench::new();
    bench.scratch.write_policy("defaults.toml", "keep_size = \"off\"\nkeep_free = \"off\"\nstamp = \"iso\"\n");
    let server = hold(&bench.scratch.pipe("app"));
    let reader = bench.reader().start();
    put(&server, b"the first line\n");
    until("it is stored", || current(&bench).exists());
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                // Whatever does not fit is not missed here.
                (&server).write_all(&b"a line of some length, as servers write them\n".repeat(20)).ok();
                thread::sleep(Duration::from_micros(200));
            }
        });
        for number in 0..CUTS {
            until("something is written", || fs::metadata(current(&bench)).is_ok_and(|found| found.len() > 1000));
            cut(&current(&bench), if number % 3 == 0 { 500 } else { 0 });
        }
        is_over.store(true, Ordering::Relaxed);
    });
    put(&server, b"the last line\n");
    until("all is stored", || stream_of(&bench.log("app")).ends_with(b"the last line\n"));
    assert!(!stream_of(&bench.log("app")).contains(&0), "a hole");
    assert!(reader.lines_with(" was truncated from ").len() > CUTS / 2, "{}", reader.stderr());
}

#[test]
fn the_chunk_of_a_killed_reader_whose_segment_was_cut_is_set_aside() {
    needs_seams(|| {
        for fault in ["kill arrived 1", "kill write 2", "half write 2"] {
            let (bench, server, reader) = with_lines();
            reader.stop();
            put(&server, b"precious\n");
            bench.faults(fault);
            bench.steered_reader().run_to_kill();
            cut(&current(&bench), 10);
            let reader = bench.reader().start();
            put(&server, b"three\n");
            until("it goes on", || stream_of(&bench.log("app")).ends_with(b"three\n"));
            assert_same(&stream_of(&bench.log("app")), b"line 0\nlinthree\n", fault);
            let salvaged = bench.root_files(".salvaged-");
            let is_kept =
                |file: &PathBuf| fs::read(file).is_ok_and(|bytes| bytes.windows(9).any(|found| found == b"precious\n"));
            assert!(salvaged.iter().any(is_kept), "{fault}: {}", reader.stderr());
        }
    });
}
