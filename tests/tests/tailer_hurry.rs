//! TERM: what is there is delivered, and nothing that cannot be delivered holds the tailer up.

use std::fmt::Write as _;
use std::fs;
use std::time::{Duration, Instant};

use standpipe_tests::daemon::{Daemon, Launch};
use standpipe_tests::deadline::until;
use standpipe_tests::scratch::Scratch;

/// The end may take 2 s; a machine that is busy with other tests, a little longer.
const STOP_SPAN: Duration = Duration::from_millis(2500);

fn stop_within_the_span(mut tailer: Daemon) {
    let began = Instant::now();
    assert_eq!(tailer.terminate(), 0, "{}", tailer.stderr());
    assert!(began.elapsed() < STOP_SPAN, "{:?}", began.elapsed());
}

#[test]
fn a_pipe_that_nobody_holds_is_not_waited_for() {
    let scratch = Scratch::new();
    let (log, state) = (scratch.path().join("app.log"), scratch.path().join("state.json"));
    let pipe = scratch.pipe("out");
    fs::write(&log, "").unwrap();
    let tailer = Launch::new("tailer").arg(&log).arg("--pipe").arg(&pipe).arg("--state").arg(&state).start_unready();
    tailer.wait_line("nobody reads or holds it");
    fs::write(&log, "line\n").unwrap();
    stop_within_the_span(tailer);
}

#[test]
fn a_wide_window_is_emptied_at_once() {
    let scratch = Scratch::new();
    let (config, output) = (scratch.path().join("tailer.toml"), scratch.path().join("output"));
    let logs = ["a.log", "b.log"].map(|name| scratch.path().join(name));
    let mut toml = "order = \"timestamp\"\nwindow_ms = 60000\n".to_owned();
    for log in &logs {
        fs::write(log, "").unwrap();
        writeln!(toml, "[[files]]\npath = '{}'\nstart_at = 'beginning'", log.display()).unwrap();
    }
    fs::write(&config, toml).unwrap();
    let stdout = fs::File::create(&output).unwrap();
    let tailer = Launch::new("tailer").arg("--config").arg(&config).args(["--output", "raw"]).start_into(stdout);
    tailer.wait_line("[tailer] order=timestamp");
    fs::write(&logs[0], "2026-01-01T00:00:02Z two\n").unwrap();
    fs::write(&logs[1], "2026-01-01T00:00:01Z one\n").unwrap();
    until("both are followed", || tailer.lines_with("inode=").len() == 2);
    stop_within_the_span(tailer);
    assert_eq!(fs::read_to_string(&output).unwrap(), "2026-01-01T00:00:01Z one\n2026-01-01T00:00:02Z two\n");
}
