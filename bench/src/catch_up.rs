//! How fast a follower catches up with a large file: to a file, and ours into a pipe with its staging pipe.
//!
//! A run lasts from the start of the program until all is written. The file is in the page cache. CPU is that of the
//! program alone.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use standpipe_common::error::{Cannot, Error, Result};
use standpipe_tests::programs;

use crate::follow::Failures;
use crate::followers::{Follower, Source};
use crate::process::Process;
use crate::stage::{self, Stage};
use crate::stream::Stream;
use crate::table::{Bound, Figure, Table, number};
use crate::usage;

/// Made once and written again and again: nobody compresses it here.
const PIECE_BYTES: u64 = 64_000_000;
/// The slowest takes about a minute for a gigabyte.
const BOUND: Duration = Duration::from_secs(900);
const REQUIRED_RATIO: f64 = 0.5;
const REQUIRED_LINES_PER_SECOND: f64 = 1e6;
const BUFFER_BYTES: usize = 256 << 10;

/// What a run came to.
#[derive(Clone, Copy, Debug)]
struct Run {
    bytes: u64,
    lines: u64,
    span: Duration,
    cpu: Duration,
}

/// The file to catch up with.
struct Large {
    path: PathBuf,
    bytes: u64,
    lines: u64,
}

/// Measures every follower with a file of about `bytes`, and prints the table.
pub fn run(stage: &Stage, bytes: u64) -> Result<()> {
    let logs = stage.fresh("large")?;
    let large = make(&logs, bytes)?;
    let (mut table, mut failures) = (Table::new(&["follower", "MB/s", "lines/s", "CPU s per GB"]), Failures::default());
    let mut add = |label: &str, measured: Result<Run>| {
        let run = failures.note(label, measured);
        let cells = run.map_or_else(|| vec!["-".to_owned(); 3], cells);
        table.row([vec![label.to_owned()], cells].concat());
        run
    };
    for follower in Follower::installed_by_name() {
        add(follower.name(), to_file(stage, follower, &large));
    }
    let cat = add("`cat FILE > FIFO`", into_pipe(stage, &large, None));
    let staged = add("`tailer FILE --pipe FIFO`, staged", into_pipe(stage, &large, Some("--follow-from-start")));
    let merged = add("`tailer --batch --order timestamp`, two files", merged(stage, &large));
    println!("\nCatching up on {} MB of access log, {} lines.\n\n{table}", large.bytes / 1_000_000, large.lines);
    failures.print();
    let rate = |run: Option<Run>| run.map_or(f64::NAN, |run| run.bytes as f64 / run.span.as_secs_f64());
    let lines = merged.map_or(f64::NAN, |run| run.lines as f64 / run.cpu.as_secs_f64());
    let ratio = rate(staged) / rate(cat);
    println!("{}", Figure::new("into a staged pipe beside `cat`", ratio, Bound::AtLeast(REQUIRED_RATIO), ""));
    let bound = Bound::AtLeast(REQUIRED_LINES_PER_SECOND);
    println!("{}", Figure::new("merged by timestamp, lines a second of one core", lines, bound, ""));
    stage::remove(&logs)
}

fn cells(run: Run) -> Vec<String> {
    let seconds = run.span.as_secs_f64();
    let gigabytes = run.bytes as f64 / 1e9;
    [run.bytes as f64 / 1e6 / seconds, run.lines as f64 / seconds, run.cpu.as_secs_f64() / gigabytes]
        .map(number)
        .to_vec()
}

fn make(logs: &Path, bytes: u64) -> Result<Large> {
    let piece = Stream::generate(bytes.min(PIECE_BYTES));
    let path = logs.join("app.log");
    let mut file = File::create(&path).cannot("make", &path)?;
    let times = bytes.div_ceil(piece.bytes()).max(1);
    for _ in 0..times {
        file.write_all(piece.text()).cannot("write", &path)?;
    }
    let lines = memchr::memchr_iter(b'\n', piece.text()).count() as u64 * times;
    Ok(Large { path, bytes: piece.bytes() * times, lines })
}

fn to_file(stage: &Stage, follower: Follower, large: &Large) -> Result<Run> {
    let own = stage.fresh("own")?;
    stage.sync()?;
    let start = Instant::now();
    let mut running = follower.start(&Source::File(large.path.clone()), &own)?;
    running.wait_bytes(large.bytes, BOUND)?;
    let span = start.elapsed();
    let cpu = running.process.cpu();
    running.process.kill9()?;
    stage::remove(&own)?;
    Ok(Run { bytes: large.bytes, lines: large.lines, span, cpu })
}

/// Through a FIFO that our holder holds, as `cat` does it or, with flags, the tailer.
fn into_pipe(stage: &Stage, large: &Large, tailer: Option<&str>) -> Result<Run> {
    let own = stage.fresh("own")?;
    let (fifo, _holder) = held_pipe(&own)?;
    let mut reader = File::open(&fifo).cannot("open", &fifo)?;
    let command = match tailer {
        None => {
            let mut cat = Command::new("cat");
            cat.arg(&large.path).stdout(File::options().write(true).open(&fifo).cannot("open", &fifo)?);
            cat
        }
        Some(flag) => {
            let mut tailer = Command::new(programs::path("tailer"));
            tailer.arg(&large.path).arg("--pipe").arg(&fifo).arg("--state").arg(own.join("state.json")).arg(flag);
            tailer.stdout(Stdio::null());
            tailer
        }
    };
    let before = usage::cpu_of_ended();
    let start = Instant::now();
    let mut process = Process::start(command, &own.join("said"))?;
    let bytes = large.bytes;
    let drained = thread::spawn(move || drain(&mut reader, bytes));
    while !drained.is_finished() {
        if tailer.is_some() && !process.is_running() {
            return Err(Error::because("deliver into", &fifo, format!("it ended: {}", process.said().trim())));
        }
        thread::sleep(Duration::from_millis(1));
    }
    let span = start.elapsed();
    let living = process.cpu();
    drained.join().unwrap_or_else(|_| Err(std::io::Error::other("the reader panicked"))).cannot("read", &fifo)?;
    // `cat` is at its end; the tailer would go on.
    let cpu = if tailer.is_some() {
        process.kill9()?;
        living
    } else {
        process.wait()?;
        usage::cpu_of_ended().saturating_sub(before)
    };
    Ok(Run { bytes, lines: large.lines, span, cpu })
}

/// A FIFO with its staging pipe, and the holder that holds both.
pub fn held_pipe(own: &Path) -> Result<(PathBuf, Process)> {
    let (fifo, pipes) = (own.join("fifo"), own.join("pipes.d"));
    mkfifo(&fifo, Mode::S_IRUSR | Mode::S_IWUSR).cannot("make", &fifo)?;
    fs::create_dir(&pipes).cannot("make", &pipes)?;
    std::os::unix::fs::symlink(&fifo, pipes.join("app")).cannot("link", &fifo)?;
    let policy = pipes.join("defaults.toml");
    fs::write(&policy, "stage = true\n").cannot("write", &policy)?;
    let mut command = Command::new(programs::path("holder"));
    command.arg(&pipes).stdout(Stdio::null());
    let (holder, _) = Process::start_ready(command, &own.join("holder-said"))?;
    Ok((fifo, holder))
}

fn drain(reader: &mut File, bytes: u64) -> std::io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut left = bytes;
    while left > 0 {
        left = left.saturating_sub(reader.read(&mut buffer)? as u64);
    }
    Ok(())
}

/// Both files are the same one by two names: the order of their lines is decided line by line.
fn merged(stage: &Stage, large: &Large) -> Result<Run> {
    let own = stage.fresh("own")?;
    let output = own.join("out");
    let mut command = Command::new(programs::path("tailer"));
    let twin = large.path.with_file_name("twin.log");
    fs::copy(&large.path, &twin).cannot("copy", &large.path)?;
    command.args(["--batch", "--order", "timestamp", "--follow-from-start"]).arg(&large.path).arg(&twin);
    command.stdout(File::create(&output).cannot("make", &output)?);
    let start = Instant::now();
    let ended = Process::start(command, &own.join("said"))?.wait()?;
    let written = fs::metadata(&output).cannot("look at", &output)?.len();
    if written < large.bytes {
        return Err(Error::because("believe", &output, format!("it has {written} bytes only")));
    }
    fs::remove_file(&twin).cannot("remove", &twin)?;
    Ok(Run { bytes: large.bytes * 2, lines: large.lines * 2, span: ended.at - start, cpu: ended.cpu })
}
