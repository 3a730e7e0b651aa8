//! How far a long command has got is seen on a terminal, and nowhere else.
//!
//! A test's clock makes even a short run a long one.

use std::fs;

use standpipe_tests::directory::Scratch;
use standpipe_tests::privilege::needs_tool;
use standpipe_tests::programs::{Output, query, text};
use standpipe_tests::world::{archive, lines, log_dir, marks, stem};

const PARTS: u32 = 4;

fn logs() -> Scratch {
    let scratch = Scratch::new();
    let app = log_dir(&scratch, "app");
    for part in 0..PARTS {
        archive(&app, &stem(part), &lines(part as usize * 50, 50, 50), marks(&[(0, i64::from(part) * 60)]), false);
    }
    fs::write(scratch.path().join("clock"), "2026-11-22T10:00:00Z\n").unwrap();
    scratch
}

/// Runs `reader COMMAND --logs LOGS TAIL` at a terminal of so many columns, in a shell, which gets `TAIL` as it is.
fn at_terminal(scratch: &Scratch, command: &str, tail: &str, columns: u32) -> Output {
    // What is appended is the program, which a shell that script runs does not get.
    let run = "export READER=\"$0\"; exec script -qec \"stty cols $COLS; exec sh -c '$TAIL'\" /dev/null";
    let line = format!("\"$READER\" {command} --logs \"$LOGS\" {tail}");
    let launch = query(command, scratch).env("TAIL", line).env("COLS", columns.to_string());
    let launch = launch.env("LOGS", scratch.logs()).env("OUT", scratch.path().join("out"));
    launch.env("STANDPIPE_TEST_CLOCK", scratch.path().join("clock")).under(["sh", "-c", run]).run()
}

#[test]
fn a_terminal_shows_how_far_a_search_has_got() {
    needs_tool("script", || {
        let scratch = logs();
        for (command, tail, columns, shown) in [
            ("logs", "app -c -g nothing", 80, Some("of 4 parts")),
            ("logs", "app -c", 40, Some(" %  ")),
            ("logs", "app -g nothing >\"$OUT\"", 80, Some("of 4 parts")),
            ("logs", "app -r >\"$OUT\"", 80, Some("of 4 parts")),
            ("verify", "app", 80, Some(" % ")),
            ("histogram", "app -g line", 80, Some("of 4 parts")),
            ("logs", "app -g nothing --no-pager", 80, None),
            ("logs", "app | cat >\"$OUT\"", 80, None),
            ("logs", "app -c 2>\"$OUT\"", 80, None),
        ] {
            let output = at_terminal(&scratch, command, tail, columns);
            let said = text(&output);
            let steps: Vec<&str> = said.split("\r\x1b[K").collect();
            let Some(shown) = shown else {
                assert!(steps.len() == 1 && !said.contains('%'), "{tail}: {output:?}");
                continue;
            };
            assert!(steps[1].contains(shown), "{command} {tail}: {output:?}");
            let rest = steps[steps.len() - 1];
            assert!(!rest.contains('%'), "{tail}: it is gone at the end: {output:?}");
            let longest = steps[1..steps.len() - 1].iter().map(|step| step.chars().count()).max();
            assert!(longest.is_some_and(|longest| longest < columns as usize), "{tail}: {output:?}");
        }
    });
}
