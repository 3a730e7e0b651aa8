//! More files than descriptors, and a pipe that nobody reads.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::path::Path;
use std::thread;
use std::time::Duration;

use standpipe_tests::deadline::{CONDITION_SPAN, until, within};
use standpipe_tests::directory::{Scratch, make_fifo};
use standpipe_tests::privilege::{give, needs_tool};
use standpipe_tests::programs::{Launch, command};
use standpipe_tests::world::queued;

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
fn pipes_get_the_descriptors_that_they_need_before_files_do() {
    let scratch = Scratch::new();
    scratch.make_dir("app");
    let app = scratch.path().join("app");
    let mut toml = "state_file = 'state.json'\n".to_owned();
    let mut held = Vec::new();
    for pipe in 0..12 {
        for name in [format!("out{pipe}"), format!("out{pipe}.stage")] {
            make_fifo(&scratch.run(&name), 0o660);
            give(&scratch.run(&name));
            held.push(OpenOptions::new().read(true).write(true).open(scratch.run(&name)).unwrap());
        }
        let (log, fifo) = (app.join(format!("piped-{pipe}.log")), scratch.run(&format!("out{pipe}")));
        fs::write(&log, "piped\n").unwrap();
        let (log, fifo) = (log.display(), fifo.display());
        writeln!(toml, "[[files]]\npath = '{log}'\npipe = '{fifo}'\nstart_at = 'beginning'").unwrap();
    }
    for file in 0..60 {
        fs::write(app.join(format!("free-{file}.log")), "free\n").unwrap();
    }
    writeln!(toml, "[[files]]\npath = '{}/free-*.log'\nstart_at = 'beginning'", app.display()).unwrap();
    let (config, output) = (scratch.path().join("tailer.toml"), scratch.path().join("output"));
    fs::write(&config, toml).unwrap();
    let launch = Launch::new("tailer").prelude("ulimit -n 72").arg("--config").arg(&config).args(["--output", "raw"]);
    let tailer = launch.start_into(File::create(&output).unwrap());
    let count = || fs::read_to_string(&output).unwrap().lines().count();
    assert!(within(CONDITION_SPAN, || count() == 60), "{} of 60\n{}", count(), tailer.stderr());
    let piped = || held.iter().step_by(2).filter(|pipe| queued(pipe) == 6).count();
    assert!(within(CONDITION_SPAN, || piped() == 12), "{} of 12\n{}", piped(), tailer.stderr());
    assert!(!tailer.stderr().contains("Too many open files"), "{}", tailer.stderr());
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

/// How many descriptors a process may have from now on.
fn limit(pid: u32, descriptors: u32) {
    let limits = format!("--nofile={descriptors}:");
    assert!(command("prlimit").arg("--pid").arg(pid.to_string()).arg(limits).status().unwrap().success());
}

/// How often it was run.
fn runs(pid: u32) -> u64 {
    let schedstat = fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap();
    schedstat.split_whitespace().nth(2).unwrap().parse().unwrap()
}

fn has_open(pid: u32, path: &Path) -> bool {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    descriptors.filter_map(Result::ok).any(|entry| fs::read_link(entry.path()).is_ok_and(|to| to == path))
}

#[test]
fn without_descriptors_for_a_while_it_rests_and_then_goes_on_as_before() {
    needs_tool("prlimit", || {
        let scratch = Scratch::new();
        scratch.make_dir("app");
        let (log, output) = (scratch.path().join("app/app.log"), scratch.path().join("output"));
        let launch = Launch::new("tailer").as_tests().arg(&log).args(["--output", "raw"]);
        let tailer = launch.start_into(File::create(&output).unwrap());
        // As nothing was there, that is tried again, and is due when the descriptors are gone.
        tailer.wait_line("retry in 2s");
        limit(tailer.pid(), 3);
        let mut writer = File::create(&log).unwrap();
        let mut write = |line: &str| std::io::Write::write_all(&mut writer, line.as_bytes()).unwrap();
        write("one\n");
        tailer.wait_line("is waiting for a file descriptor");
        let before = runs(tailer.pid());
        // The span is what is measured.
        thread::sleep(Duration::from_secs(1));
        let times = runs(tailer.pid()) - before;
        assert!(times < 30, "{times}\n{}", tailer.stderr());

        limit(tailer.pid(), 1024);
        let has = |text: &str| fs::read_to_string(&output).unwrap() == text;
        until("the first line", || has("one\n"));
        write("two\n");
        until("the second line", || has("one\ntwo\n"));
        // The file is not closed time and again for somebody who waits no more.
        thread::sleep(Duration::from_millis(300));
        assert!(has_open(tailer.pid(), &log), "{}", tailer.stderr());
    });
}
