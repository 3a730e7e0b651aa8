//! Standard descriptors and the one for readiness: closed at the start, or without a reader.

use std::fs;
use std::io::{BufRead, BufReader, PipeWriter, pipe};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use standpipe_tests::deadline::until;
use standpipe_tests::directory::Scratch;
use standpipe_tests::privilege;
use standpipe_tests::programs::{Daemon, Launch, holder, query, reader};
use standpipe_tests::world::open_reader;

/// A log of three lines, and where a state file may be.
struct Stand {
    scratch: Scratch,
    log: PathBuf,
    state: PathBuf,
}

impl Stand {
    fn new() -> Stand {
        let scratch = Scratch::new();
        let (log, state) = (scratch.path().join("app.log"), scratch.path().join("state.json"));
        fs::write(&log, "1\n2\n3\n").unwrap();
        privilege::give(&log);
        Stand { scratch, log, state }
    }

    fn tailer(&self) -> Launch {
        let launch = Launch::new("tailer").arg(&self.log).args(["--follow-from-start", "--output", "raw"]);
        launch.arg("--state").arg(&self.state)
    }

    fn holder(&self) -> Launch {
        holder(&self.scratch)
    }

    fn reader(&self) -> Launch {
        reader(&self.scratch)
    }
}

/// The writing end of a pipe that nobody reads.
fn without_reader() -> PipeWriter {
    pipe().unwrap().1
}

#[test]
fn what_a_closed_standard_output_does_not_take_is_not_delivered() {
    let stand = Stand::new();
    for (prelude, cause) in [("exec >&-", "it is closed"), ("exec 1</dev/null", "it is open for reading only")] {
        let output = stand.tailer().prelude(prelude).run();
        let sentence = format!("tailer: error: cannot write to standard output: {cause}\n");
        assert_eq!((output.code, output.stderr.ends_with(&sentence)), (3, true), "{}", output.stderr);
    }
    // One that leads nowhere is open.
    let output = stand.tailer().arg("--batch").run();
    assert_eq!((output.code, &*output.stdout), (0, &b"1\n2\n3\n"[..]), "{}", output.stderr);
}

#[test]
fn whoever_prints_to_a_closed_standard_output_says_so() {
    let stand = Stand::new();
    stand.scratch.pipe("app");
    assert_eq!(stand.reader().start().terminate(), 0);
    assert_eq!(stand.tailer().arg("--batch").run().code, 0);
    for launch in [
        Launch::new("holder").arg("status").arg(stand.scratch.pipes()),
        Launch::new("holder").arg("check").arg(stand.scratch.pipes()),
        Launch::new("reader").arg("status").arg(stand.scratch.logs()),
        query("logs", &stand.scratch),
        Launch::new("tailer").arg("status").arg("--state").arg(&stand.state),
    ] {
        let output = launch.prelude("exec >&-").run();
        let is_said = output.stderr.contains("error: cannot write to standard output: it is closed");
        assert!(output.code == 3 && is_said, "{output:?}");
    }
}

#[test]
fn a_reader_that_goes_away_is_noticed_while_the_log_is_quiet() {
    let stand = Stand::new();
    let (reader, writer) = pipe().unwrap();
    let mut daemon = stand.tailer().start_into(writer);
    let mut lines = BufReader::new(reader).lines();
    for line in ["1", "2", "3"] {
        assert_eq!(lines.next().unwrap().unwrap(), line);
    }
    drop(lines);
    let began = Instant::now();
    assert_eq!(daemon.wait_exit(), 3);
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    let said = daemon.stderr();
    assert!(said.ends_with("tailer: error: cannot write to standard output: its reader has gone\n"), "{said}");
    // What it wrote was read, and counts.
    assert_eq!(stand.tailer().arg("--batch").run().stdout, b"");
}

#[test]
fn messages_that_nobody_reads_change_no_exit_code() {
    let stand = Stand::new();
    let mut daemon = stand.tailer().prelude("exec 2>&1").start_into(without_reader());
    assert_eq!(daemon.wait_exit(), 3);
    for program in ["holder", "reader", "tailer"] {
        let launch = Launch::new(program).args(["status", "/nowhere/at/all"]).prelude("exec 2>&1");
        let code = launch.start_into(without_reader()).wait_exit();
        assert!(code == 2 || code == 3, "{program}: {code}");
    }
}

#[test]
fn readiness_that_nobody_hears_is_an_error() {
    let stand = Stand::new();
    stand.scratch.pipe("app");
    for (program, launch) in [("holder", stand.holder()), ("reader", stand.reader()), ("tailer", stand.tailer())] {
        let launch = launch.args(["--notify-fd", "3"]).prelude("exec 3>&1 1>/dev/null");
        let mut daemon = launch.start_into(without_reader());
        let code = daemon.wait_exit();
        let said = daemon.stderr();
        let is_said = said.ends_with("error: cannot notify /proc/self/fd/3: Broken pipe\n");
        assert!(code == 3 && is_said, "{program} ended with {code}: {said}");
    }
}

#[test]
fn no_file_of_ours_gets_the_number_of_a_standard_descriptor() {
    let stand = Stand::new();
    let fifo = stand.scratch.pipe("app");
    let _held = open_reader(&fifo);
    let into_pipe = stand.tailer().arg("--pipe").arg(&fifo);
    for (program, launch, file) in
        [("holder", stand.holder(), "/run/app"), ("reader", stand.reader(), "/logs/"), ("tailer", into_pipe, "app.log")]
    {
        let daemon = launch.prelude("exec <&- >&- 2>&-").start_into(fs::File::open("/dev/null").unwrap());
        let is_at_work = || links(&daemon).iter().any(|(number, link)| *number > 2 && link.contains(file));
        until(program, is_at_work);
        let links = links(&daemon);
        let is_nothing = |number| links.contains(&(number, "/dev/null".to_owned()));
        assert!((0..3).all(is_nothing), "{program}: {links:?}");
    }
}

/// What its descriptors lead to.
fn links(daemon: &Daemon) -> Vec<(u32, String)> {
    let dir = format!("/proc/{}/fd", daemon.pid());
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let link = |entry: fs::DirEntry| {
        let number = entry.file_name().to_string_lossy().parse().ok()?;
        Some((number, fs::read_link(entry.path()).ok()?.to_string_lossy().into_owned()))
    };
    entries.filter_map(link).collect()
}
