//! How far the backlog of the start has come is seen on a terminal to which no lines go, and nowhere else.
//!
//! A test's clock makes even a short run a long one.

use std::fs;

use standpipe_tests::directory::Scratch;
use standpipe_tests::privilege::needs_tool;
use standpipe_tests::programs::{Launch, Output};

const COLUMNS: usize = 60;

/// Two logs, one of which takes many rounds.
fn logs() -> Scratch {
    let scratch = Scratch::new();
    fs::write(scratch.path().join("large.log"), "a line of a log that nobody has read yet\n".repeat(60_000)).unwrap();
    fs::write(scratch.path().join("small.log"), "a line\n".repeat(100)).unwrap();
    fs::write(scratch.path().join("clock"), "2026-11-22T10:00:00Z\n").unwrap();
    scratch
}

/// Runs `tailer TAIL` at a terminal, in a shell, which gets `TAIL` as it is.
fn at_terminal(scratch: &Scratch, tail: &str) -> Output {
    // What is appended is the program, which a shell that script runs does not get.
    let run = "export TAILER=\"$0\"; exec script -qec \"stty cols $COLS; exec sh -c '$TAIL'\" /dev/null";
    let launch = Launch::new("tailer").env("TAIL", format!("cd \"$DIR\"; \"$TAILER\" {tail}"));
    let launch = launch.env("COLS", COLUMNS.to_string()).env("DIR", scratch.path());
    launch.env("STANDPIPE_TEST_CLOCK", scratch.path().join("clock")).under(["sh", "-c", run]).run()
}

#[test]
fn a_terminal_shows_how_much_of_the_backlog_is_delivered() {
    needs_tool("script", || {
        let scratch = logs();
        for (tail, is_shown) in [
            ("--batch --debug large.log small.log >out", true),
            ("--batch large.log | cat >out", true),
            ("--batch small.log >out", false),
            ("--batch large.log >out 2>said", false),
            ("--batch --output json large.log >out", false),
            ("--batch large.log", false),
        ] {
            let output = at_terminal(&scratch, tail);
            let said = String::from_utf8_lossy(&output.stdout);
            let steps: Vec<&str> = said.split("\r\x1b[K").collect();
            if !is_shown {
                assert!(steps.len() == 1 && !said.contains('%'), "{tail}: {said:?}");
                continue;
            }
            assert!(steps.len() > 1 && steps[1].contains(" of 2."), "{tail}: {said:?}");
            assert!(!steps[steps.len() - 1].contains('%'), "{tail}: it is gone at the end: {said:?}");
            for shown in said.split("[tailer] ").collect::<Vec<_>>().iter().rev().skip(1) {
                let is_at_beginning = shown.is_empty() || shown.ends_with('\n') || shown.ends_with("\r\x1b[K");
                assert!(is_at_beginning, "{tail}: an event begins a line: {said:?}");
            }
            let lines = steps.iter().filter(|step| step.contains('%'));
            assert!(lines.clone().all(|step| step.chars().count() < COLUMNS), "{tail}: {said:?}");
        }
    });
}
