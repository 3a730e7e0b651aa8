//! `-f`: how long a line takes from `write(2)` on the FIFO, through the reader, to the standard output of `reader logs`.

use std::fs::{self, File};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::prctl;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use standpipe_common::error::{Cannot, Result};
use standpipe_tests::programs;

use super::job::{Job, OURS};
use crate::follow::Failures;
use crate::live::{TIMER_SLACK_NS, delays};
use crate::process::Process;
use crate::stage::Stage;
use crate::stats::percentile;
use crate::table::{Bound, Figure, Table, number};
use crate::usage;

const REQUIRED_MS: f64 = 5.0;
const NAME: &str = "app";

/// Measures for `span`, beside `tail -f` on the reader's segment, and prints the table.
pub fn run(stage: &Stage, span: Duration) -> Result<()> {
    prctl::set_timerslack(TIMER_SLACK_NS).cannot("set", "the timer slack")?;
    let mut followers = vec![
        Follower::new(|logs| Job::new(OURS, "reader logs NAME -f").then_logs(&[NAME, "-f"], logs)),
        Follower::new(|logs| Job::new("tail", "tail -f SEGMENT").then(&["-f"], &[segment(&logs)])),
    ];
    let mut failures = Failures::default();
    let mut table = Table::new(&["command", "p50", "p99", "max", "lines"]);
    for follower in &mut followers {
        let measured = follower.measure(stage, span);
        follower.delays = failures.note(&follower.label, measured).unwrap_or_default();
        let numbers = [50.0, 99.0, 100.0].map(|percent| number(percentile(&follower.delays, percent)));
        let lines = follower.delays.len().to_string();
        table.row(std::iter::once(follower.label.clone()).chain(numbers).chain([lines]));
    }
    println!("\nFollowing a pipe at rest: from `write(2)` on the FIFO to standard output, ms.\n\n{table}{failures}");
    let p99 = percentile(&followers[0].delays, 99.0);
    println!("{}", Figure::new("p99 from the FIFO to standard output", p99, Bound::AtMost(REQUIRED_MS), "ms"));
    Ok(())
}

/// The largest memory of `reader logs -f` after `span`, bytes.
pub fn peak(stage: &Stage, span: Duration) -> Result<u64> {
    let reader = Drained::start(stage)?;
    let job = Job::new(OURS, "reader logs NAME -f").then_logs(&[NAME, "-f"], reader.logs.clone());
    let (output, stdout) = nonblocking_pipe()?;
    let mut process = job.start(stage, stdout)?;
    delays(reader.open()?, output, span, &mut process)?;
    let peak = usage::high_water(process.pid());
    process.kill9()?;
    Ok(peak)
}

struct Follower {
    label: String,
    job: fn(PathBuf) -> Job,
    delays: Vec<f64>,
}

impl Follower {
    fn new(job: fn(PathBuf) -> Job) -> Follower {
        Follower { label: job(PathBuf::new()).label().to_owned(), job, delays: Vec::new() }
    }

    fn measure(&self, stage: &Stage, span: Duration) -> Result<Vec<f64>> {
        let reader = Drained::start(stage)?;
        let (output, stdout) = nonblocking_pipe()?;
        let mut process = (self.job)(reader.logs.clone()).start(stage, stdout)?;
        let delays = delays(reader.open()?, output, span, &mut process);
        process.kill9()?;
        delays
    }
}

/// A FIFO, and the reader that drains it.
struct Drained {
    fifo: PathBuf,
    logs: PathBuf,
    _reader: Process,
}

impl Drained {
    fn start(stage: &Stage) -> Result<Drained> {
        let dir = stage.fresh("drained")?;
        let (fifo, pipes, logs) = (dir.join("fifo"), dir.join("pipes.d"), dir.join("logs"));
        mkfifo(&fifo, Mode::S_IRUSR | Mode::S_IWUSR).cannot("make", &fifo)?;
        fs::create_dir(&pipes).cannot("make", &pipes)?;
        std::os::unix::fs::symlink(&fifo, pipes.join(NAME)).cannot("link", &fifo)?;
        let mut command = Command::new(programs::path(OURS));
        command.arg(&pipes).arg("--logs").arg(&logs).stdin(Stdio::null()).stdout(Stdio::null());
        let (reader, _) = Process::start_ready(command, &dir.join("said"))?;
        Ok(Drained { fifo, logs, _reader: reader })
    }

    fn open(&self) -> Result<File> {
        open_writer(&self.fifo)
    }
}

fn open_writer(fifo: &Path) -> Result<File> {
    File::options().write(true).open(fifo).cannot("open", fifo)
}

/// What is written now; tail looks only once a second behind a symbolic link.
fn segment(logs: &Path) -> PathBuf {
    let link = logs.join(NAME).join("current");
    fs::canonicalize(&link).unwrap_or(link)
}

/// Our end of a pipe, which never waits, and the one for a program.
fn nonblocking_pipe() -> Result<(File, OwnedFd)> {
    let (reader, writer) = std::io::pipe().cannot("make", "a pipe")?;
    fcntl(reader.as_fd(), FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).cannot("set up", "a pipe")?;
    Ok((File::from(OwnedFd::from(reader)), writer.into()))
}
