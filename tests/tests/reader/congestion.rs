//! A pipe that is full, or nearly full, for longer than a burst: one warning, one line when it is over, and seen in
//! `reader status` meanwhile.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use standpipe_tests::deadline::{CONDITION_SPAN, until};
use standpipe_tests::privilege::needs_seams;
use standpipe_tests::programs::{Launch, Output};
use standpipe_tests::stands::Bench;
use standpipe_tests::world::{hold, put};

const WARNING: &str = "the pipe has been full or nearly full for";

fn status(bench: &Bench) -> (Output, String) {
    let output = Launch::new("reader").arg("status").arg(bench.scratch.logs()).run();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (output, text)
}

/// R45, of a lane that is drained, but whose disk is slower than its servers.
#[test]
fn r45_a_pipe_that_stays_full_is_said_once_and_so_is_the_end_of_it() {
    needs_seams(|| {
        let bench = Bench::new();
        bench.scratch.write_policy("defaults.toml", "warn_after = \"400ms\"\ncompress = \"none\"\n");
        let app = hold(&bench.scratch.pipe("app"));
        let reader = bench.steered_reader().start();
        bench.faults("delay write 60");
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                // Lines that fill a pipe at little more than half of its bytes.
                let line = [vec![b'x'; 2099], b"\n".to_vec()].concat();
                let end = Instant::now() + CONDITION_SPAN;
                while !done.load(Ordering::Relaxed) && Instant::now() < end {
                    if (&app).write(&line).is_err() {
                        thread::sleep(Duration::from_millis(1));
                    }
                }
            });
            reader.wait_line(WARNING);
            let (output, text) = status(&bench);
            done.store(true, Ordering::Relaxed);
            assert!(output.code == 1 && text.contains("blocked ") && text.contains(WARNING), "{text}");
        });
        reader.wait_line("app: the pipe has room again after");
        assert_eq!(reader.lines_with(WARNING).len(), 1, "{}", reader.stderr());
        bench.faults("");
        until("all is well", || status(&bench).0.code == 0);
        reader.stop();
    });
}

/// R45, of a lane that is not read at all: told by the fill alone, and not told where that is off.
#[test]
fn r45_a_sick_lane_is_looked_at_too_and_fill_can_be_off() {
    needs_seams(|| {
        let bench = Bench::new();
        bench.scratch.write_policy("defaults.toml", "warn_after = \"300ms\"\n");
        bench.scratch.write_policy("off.toml", "warn_fill = \"off\"\n");
        let pipes = ["on", "off"].map(|name| hold(&bench.scratch.pipe(name)));
        let reader = bench.steered_reader().start();
        bench.faults("ENOSPC write 1 100000");
        for pipe in &pipes {
            put(pipe, b"first\n");
        }
        reader.wait_lines("until this is fixed", 2);
        for pipe in &pipes {
            for _ in 0..13 {
                put(pipe, &[b'y'; 4096]);
            }
        }
        let line = reader.wait_line(WARNING);
        assert!(line.contains("on: the pipe") && line.contains("53248 of 65536 bytes are waiting in it"), "{line}");
        let (output, text) = status(&bench);
        assert!(output.code == 1 && text.contains(&format!("on: {WARNING}")), "{text}");
        assert!(!text.contains(&format!("off: {WARNING}")), "{text}");
        bench.faults("");
        reader.wait_line("on: the pipe has room again after");
        assert_eq!(reader.lines_with(WARNING).len(), 1, "{}", reader.stderr());
        reader.stop();
    });
}

#[test]
fn no_warning_where_it_is_off() {
    needs_seams(|| {
        let bench = Bench::new();
        bench.scratch.write_policy("defaults.toml", "warn_after = \"off\"\n");
        bench.scratch.write_policy("told.toml", "warn_after = \"200ms\"\n");
        let pipes = ["told", "untold"].map(|name| hold(&bench.scratch.pipe(name)));
        let reader = bench.steered_reader().start();
        bench.faults("ENOSPC write 1 100000");
        for pipe in &pipes {
            put(pipe, b"first\n");
        }
        reader.wait_lines("until this is fixed", 2);
        for mut pipe in &pipes {
            while pipe.write(&[b'y'; 4096]).is_ok() {}
        }
        reader.wait_line(&format!("told: {WARNING}"));
        assert_eq!(reader.lines_with(WARNING).len(), 1, "{}", reader.stderr());
        bench.faults("");
        reader.stop();
    });
}
