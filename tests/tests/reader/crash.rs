//! The reader killed between its read and its record: chunks that look like the fill of the mailbox, and reads that
//! the kernel stopped at a page.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::thread;

use standpipe_common::shown::counted;
use standpipe_tests::privilege::needs_seams;
use standpipe_tests::programs::KILLED;
use standpipe_tests::stands::{Bench, PAGE};
use standpipe_tests::world::{hold, put, queued};

/// The bytes that UTF-8 never has, of which the fill is made.
const FILL: [u8; 13] = [0xC0, 0xC1, 0xF5, 0xF6, 0xF7, 0xF8, 0xF9, 0xFA, 0xFB, 0xFC, 0xFD, 0xFE, 0xFF];

/// Kills a reader between the read of `chunk` and its record, writes `later`, and lets another one go on.
fn killed_after_read(chunk: &[u8], later: &[u8], what: &str) {
    let (bench, pipe) = Bench::new().holding("app");
    put(&pipe, chunk);
    bench.faults("kill arrived 1");
    bench.steered_reader().run_to_kill();
    assert_eq!(queued(&pipe), 0, "{what}: the chunk has left the pipe");
    bench.faults("");
    if !later.is_empty() {
        put(&pipe, later);
    }
    let reader = bench.steered_reader().start();
    bench.wait_stored("app", &[chunk, later].concat());
    reader.stop();
}

#[test]
fn r49_a_chunk_of_nothing_but_ff_is_whole() {
    needs_seams(|| {
        for len in [20, PAGE, 5000] {
            killed_after_read(&vec![0xFF; len], b"", &format!("{len} bytes of FF, nothing later"));
            killed_after_read(&vec![0xFF; len], b"later\n", &format!("{len} bytes of FF"));
        }
    });
}

#[test]
fn r49_a_chunk_that_ends_in_a_byte_of_the_fill_is_whole() {
    needs_seams(|| {
        for (byte, text) in FILL.into_iter().zip([0, 1, 100, PAGE - 1, PAGE - 30, PAGE].into_iter().cycle()) {
            let chunk = [vec![b'x'; text], vec![byte; 30]].concat();
            killed_after_read(&chunk, b"", &format!("{text} bytes of text, then {byte:02X}"));
            killed_after_read(&[b'x', byte], b"later\n", &format!("x, then {byte:02X}, and something later"));
        }
    });
}

#[test]
fn r49_ff_from_a_page_border_on_is_whole() {
    needs_seams(|| {
        for (text, tail) in [(PAGE, 1), (PAGE, 20), (PAGE, PAGE), (2 * PAGE, 100), (2 * PAGE - 1, 1), (PAGE, 2 * PAGE)]
        {
            let chunk = [vec![b'x'; text], vec![0xFF; tail]].concat();
            killed_after_read(&chunk, b"", &format!("{text} bytes of text and {tail} of FF"));
        }
    });
}

/// The page of fill of the mailbox that the next reader on an idle log root uses.
fn fill_of(bench: &Bench) -> Vec<u8> {
    bench.steered_reader().start().stop();
    let mailboxes = bench.root_files(".mailbox-");
    let last = mailboxes.last().expect("a mailbox");
    let mut fill = vec![0; PAGE];
    File::open(last).expect("a mailbox").read_exact_at(&mut fill, PAGE as u64).expect("a page of fill");
    assert!(fill.iter().all(|byte| FILL.contains(byte)), "{} has no fill", last.display());
    fill
}

#[test]
fn r49_a_chunk_that_equals_the_fill_at_its_end_is_whole() {
    needs_seams(|| {
        // A longer end is not data, for nobody else can read the fill: see the tests of bytes that are taken.
        let cases = [(0, 1), (0, 2), (50, 16), (PAGE, 16), (PAGE - 10, 10), (3 * PAGE, 1)];
        for (text, tail) in cases {
            for later in ["", "later\n"] {
                if !later.is_empty() && text.is_multiple_of(PAGE) {
                    // Nothing tells such a chunk, made by somebody who knows the fill, from a read that stopped.
                    continue;
                }
                let (bench, pipe) = Bench::new().holding("app");
                let fill = fill_of(&bench);
                let mut chunk = vec![b'x'; text];
                chunk.extend((text..text + tail).map(|at| fill[at % PAGE]));
                put(&pipe, &chunk);
                bench.faults("kill arrived 1");
                bench.steered_reader().run_to_kill();
                if !later.is_empty() {
                    put(&pipe, later.as_bytes());
                }
                let reader = bench.reader().start();
                bench.wait_stored("app", &[&chunk[..], later.as_bytes()].concat());
                reader.stop();
            }
        }
    });
}

/// Sizes of writes: each begins a buffer of the pipe unless it fits whole behind the one before.
const LAYOUTS: [&[usize]; 10] = [
    &[3000; 6],
    &[2100; 9],
    &[PAGE; 4],
    &[5000; 4],
    &[1, 4095, 4095, 4095, 4095],
    &[100; 130],
    &[60000],
    &[4000, 300, 3999, 301, 4090, 7],
    &[2049; 8],
    &[1000, PAGE, 1000, PAGE, 3000],
];

/// Each line tells its number, so that bytes of different places differ.
fn numbered(len: usize) -> Vec<u8> {
    (0..).flat_map(|line: u32| format!("line {line:07}\n").into_bytes()).take(len).collect()
}

/// A pipe in that layout, and what it holds.
fn laid_out(bench: &Bench, layout: &[usize]) -> (File, Vec<u8>) {
    let pipe = hold(&bench.scratch.pipe("app"));
    let bytes = numbered(layout.iter().sum());
    let mut at = 0;
    for len in layout {
        put(&pipe, &bytes[at..at + len]);
        at += len;
    }
    (pipe, bytes)
}

/// How many stores of the word precede the one after the first read, with that one.
fn words_to_full() -> usize {
    let (bench, pipe) = Bench::new().holding("app");
    put(&pipe, b"probe\n");
    let reader = bench.traced_reader().start();
    bench.wait_stored("app", b"probe\n");
    reader.stop();
    1 + bench.points().iter().take_while(|point| *point != "read").filter(|point| *point == "word").count()
}

fn killed_in_a_stopped_read(layout: &[usize], offset: usize, words: usize, later: &[u8]) {
    let bench = Bench::new();
    let (pipe, mut bytes) = laid_out(&bench, layout);
    bench.faults(&format!("kill word {words}"));
    bench.steered_reader().env("STANDPIPE_TEST_STOP", offset.to_string()).run_to_kill();
    let left = queued(&pipe);
    let stopped = offset < bytes.len();
    assert!(!stopped || left + offset >= bytes.len(), "{layout:?}: the read went past byte {offset}");
    if !later.is_empty() {
        put(&pipe, later);
        bytes.extend_from_slice(later);
    }
    let reader = bench.reader().start();
    bench.wait_stored("app", &bytes);
    let said = reader.stop();
    let mended = said.contains("the last read was interrupted after");
    assert_eq!(mended, stopped && offset > 0, "{layout:?} at {offset}:\n{said}");
}

#[test]
fn r50_a_read_stopped_at_a_page_by_the_kill_repeats_and_loses_nothing() {
    needs_seams(|| {
        let words = words_to_full();
        thread::scope(|scope| {
            for half in [0, 1] {
                scope.spawn(move || {
                    for layout in LAYOUTS.iter().skip(half).step_by(2) {
                        for page in [0, 1, 2, 3] {
                            let later: &[u8] = if page % 2 == 0 { b"" } else { b"later\n" };
                            killed_in_a_stopped_read(layout, page * PAGE, words, later);
                        }
                    }
                });
            }
        });
    });
}

fn stopped_while_alive(layout: &[usize], offset: usize) {
    let bench = Bench::new();
    let (pipe, mut bytes) = laid_out(&bench, layout);
    let mut reader = bench.steered_reader().env("STANDPIPE_TEST_STOP", offset.to_string()).start();
    if offset == 0 {
        // It brings nothing, and is a failure; the next reader has better luck.
        reader.wait_line("cannot read pipe app: Bad address; not reading app until this is fixed");
        reader.stop();
        reader = bench.steered_reader().start();
    }
    bench.wait_stored("app", &bytes);
    put(&pipe, b"later\n");
    bytes.extend_from_slice(b"later\n");
    bench.wait_stored("app", &bytes);
    assert!(reader.is_running() && reader.lines_with("error").is_empty(), "{}", reader.stderr());
    reader.stop();
}

#[test]
fn r50_a_read_that_stops_in_a_living_reader_repeats_and_loses_nothing() {
    needs_seams(|| {
        thread::scope(|scope| {
            for (layout, offset) in LAYOUTS.into_iter().flat_map(|layout| [(layout, 0), (layout, PAGE)]) {
                scope.spawn(move || stopped_while_alive(layout, offset));
            }
        });
    });
}

#[test]
fn a_kill_at_each_point_of_a_turn_repeats_and_loses_nothing() {
    needs_seams(|| {
        for fault in
            ["kill populate 1", "kill read 1", "kill arrived 1", "kill write 2", "half write 2", "kill write 3"]
        {
            let (bench, pipe) = Bench::new().holding("app");
            bench.scratch.write_policy("app.toml", "prefix = \"> \"\n");
            put(&pipe, b"one\ntwo\nthr");
            bench.faults(fault);
            bench.steered_reader().run_to_kill();
            bench.faults("");
            put(&pipe, b"ee\nfour\n");
            fs::remove_file(bench.scratch.pipes().join("app.toml")).expect("the policy");
            bench.scratch.write_policy("app.toml", "prefix = \"# \"\n");
            let reader = bench.steered_reader().start();
            // The line starts of the first chunk keep what they got, if it was read before the kill.
            let early = !matches!(fault, "kill populate 1" | "kill read 1");
            let expected = if early { "> one\n> two\n> three\n# four\n" } else { "# one\n# two\n# three\n# four\n" };
            bench.wait_stored("app", expected.as_bytes());
            reader.stop();
        }
        assert_eq!(KILLED, 137);
    });
}

/// Takes `n` bytes from a pipe, as another program does.
fn take(pipe: &File, n: usize) -> Vec<u8> {
    let mut taken = vec![0; n];
    { pipe }.read_exact(&mut taken).expect("bytes in the pipe");
    taken
}

#[test]
fn bytes_that_another_program_took_while_the_reader_was_dead_are_said_and_no_fill_is_stored() {
    needs_seams(|| {
        let bytes = numbered(3 * PAGE);
        // Killed before its read, or stopped in it at a page; taken; written afterwards.
        for (len, stop_at, taken, later) in [
            (13, None, 13, "later\n"),
            (3, None, 3, "z\n"),
            (3 * PAGE, None, 3 * PAGE, ""),
            (3 * PAGE, None, 1000, ""),
            (3 * PAGE, Some(PAGE), 2 * PAGE, "later\n"),
            (3 * PAGE, Some(PAGE), 100, ""),
        ] {
            let what = format!("{len} bytes, stopped at {stop_at:?}, {taken} taken");
            let (bench, pipe) = Bench::new().holding("app");
            put(&pipe, &bytes[..len]);
            match stop_at {
                None => {
                    bench.faults("kill read 1");
                    bench.steered_reader().run_to_kill();
                }
                Some(offset) => {
                    bench.faults(&format!("kill word {}", words_to_full()));
                    bench.steered_reader().env("STANDPIPE_TEST_STOP", offset.to_string()).run_to_kill();
                }
            }
            let left = queued(&pipe);
            take(&pipe, taken);
            put(&pipe, later.as_bytes());
            let reader = bench.reader().start();
            let said = reader.wait_line("app: another program reads its pipe");
            let expected = [&bytes[..len - left], &bytes[len - left + taken..len], later.as_bytes()].concat();
            bench.wait_stored("app", &expected);
            assert!(
                said.contains(&format!("the last read asked for {len} bytes and got {}", len - left)),
                "{what}: {said}"
            );
            assert!(
                said.contains(&format!(
                    "; {} missing from both pipe and log",
                    counted((taken - later.len()) as u64, "byte")
                )),
                "{what}: {said}"
            );
            reader.stop();
        }
    });
}
