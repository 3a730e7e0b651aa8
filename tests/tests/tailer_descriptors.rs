//! More files than descriptors, and a pipe that nobody reads.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};

use standpipe_tests::daemon::Launch;
use standpipe_tests::deadline::{CONDITION_SPAN, within};
use standpipe_tests::scratch::Scratch;

#[test]
fn sources_of_a_blocked_pipe_do_not_keep_descriptors_from_others() {
    let scratch = Scratch::new();
    scratch.make_dir("app");
    let fifo = scratch.pipe("out");
    let _held = OpenOptions::new().read(true).write(true).open(&fifo).unwrap();
    let app = scratch.path().join("app");
    let mut toml = "state_file = 'state.json'\n".to_owned();
    for file in 0..16 {
        fs::write(app.join(format!("blocked-{file}.log")), "a line that waits\n".repeat(30_000)).unwrap();
    }
    for file in 0..60 {
        fs::write(app.join(format!("free-{file}.log")), format!("line of {file}\n")).unwrap();
    }
    let (app, pipe) = (app.display(), fifo.display());
    write!(toml, "[[files]]\npath = '{app}/blocked-*.log'\npipe = '{pipe}'\nstart_at = 'beginning'\n").unwrap();
    write!(toml, "[[files]]\npath = '{app}/free-*.log'\nstart_at = 'beginning'\n").unwrap();
    let (config, output) = (scratch.path().join("tailer.toml"), scratch.path().join("output"));
    fs::write(&config, toml).unwrap();
    let launch = Launch::new("tailer").prelude("ulimit -n 32").arg("--config").arg(&config).args(["--output", "raw"]);
    let tailer = launch.start_into(File::create(&output).unwrap());
    let count = || fs::read_to_string(&output).unwrap().lines().count();
    assert!(within(CONDITION_SPAN, || count() == 60), "{} of 60\n{}", count(), tailer.stderr());
}

#[test]
fn descriptors_that_come_free_go_to_the_highest_priority() {
    let scratch = Scratch::new();
    scratch.make_dir("app");
    let app = scratch.path().join("app");
    for file in 0..200 {
        fs::write(app.join(format!("low-{file:03}.log")), "low\n").unwrap();
    }
    for file in 0..5 {
        fs::write(app.join(format!("prior-{file}.log")), "prior\n").unwrap();
    }
    let mut toml = String::new();
    for (name, priority) in [("low", 0), ("prior", 1)] {
        let path = format!("{}/{name}-*.log", app.display());
        write!(toml, "[[files]]\npath = '{path}'\nstart_at = 'beginning'\npriority = {priority}\n").unwrap();
    }
    let (config, output) = (scratch.path().join("tailer.toml"), scratch.path().join("output"));
    fs::write(&config, toml).unwrap();
    let launch = Launch::new("tailer").prelude("ulimit -n 32").arg("--config").arg(&config).args(["--output", "raw"]);
    let tailer = launch.start_into(File::create(&output).unwrap());
    let lines = || fs::read_to_string(&output).unwrap().lines().map(str::to_owned).collect::<Vec<_>>();
    assert!(within(CONDITION_SPAN, || lines().len() == 205), "{} of 205\n{}", lines().len(), tailer.stderr());
    let last = lines().iter().rposition(|line| line == "prior").unwrap();
    assert!(last < 100, "the last of a higher priority is line {last}");
}
