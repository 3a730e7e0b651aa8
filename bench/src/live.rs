//! How long a line takes from `write(2)` into a followed file until it can be read at the other side.
//!
//! One thread appends a numbered line and then looks each 50 µs, as [`crate::probe`] does. The next line comes 20 to
//! 50 ms later, so whoever follows is at rest.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::libc;
use nix::sys::prctl;
use standpipe_common::error::{Cannot, Error, Result};
use standpipe_tests::programs;

use crate::catch_up::held_pipe;
use crate::follow::{Failures, START_BOUND};
use crate::followers::{Follower, Source};
use crate::process::Process;
use crate::stage::Stage;
use crate::stats::percentile;
use crate::table::{Bound, Figure, Table, number};
use crate::tally;

const LOOK_SPAN: Duration = Duration::from_micros(50);
/// So that a rest of 50 µs is not twice as long.
pub const TIMER_SLACK_NS: u64 = 1000;
const REST_MS: (u64, u64) = (20, 50);
/// A line that is not there by then will not come.
const DELAY_MAX: Duration = Duration::from_secs(10);
const REQUIRED_MS: f64 = 10.0;

/// Measures each follower for `span`, and prints the table.
pub fn run(stage: &Stage, span: Duration) -> Result<()> {
    prctl::set_timerslack(TIMER_SLACK_NS).cannot("set", "the timer slack")?;
    let (mut table, mut failures) = (Table::new(&["follower", "p50", "p99", "max", "lines"]), Failures::default());
    let mut add = |label: &str, measured: Result<Vec<f64>>| {
        let delays = failures.note(label, measured).unwrap_or_default();
        let mut cells = vec![label.to_owned()];
        cells.extend([50.0, 99.0, 100.0].map(|percent| number(percentile(&delays, percent))));
        cells.push(delays.len().to_string());
        table.row(cells);
        delays
    };
    for follower in Follower::installed_by_name() {
        add(follower.name(), to_file(stage, follower, span));
    }
    let piped = add("`tailer FILE --pipe FIFO`, staged", into_pipe(stage, span));
    println!("\nA live writer: from append to readable, ms.\n\n{table}");
    failures.print();
    let p99 = percentile(&piped, 99.0);
    println!("{}", Figure::new("p99 into an idle pipe", p99, Bound::AtMost(REQUIRED_MS), "ms"));
    Ok(())
}

fn to_file(stage: &Stage, follower: Follower, span: Duration) -> Result<Vec<f64>> {
    let (logs, own) = (stage.fresh("logs")?, stage.fresh("own")?);
    let path = logs.join("app.log");
    let source = begin(&path)?;
    let mut running = follower.start(&Source::File(path), &own)?;
    running.wait_bytes(tally::LINE_BYTES as u64, START_BOUND)?;
    let output = File::open(&running.output).cannot("open", &running.output)?;
    let delays = delays(source, output, span, &mut running.process);
    running.process.kill9()?;
    delays
}

fn into_pipe(stage: &Stage, span: Duration) -> Result<Vec<f64>> {
    let (logs, own) = (stage.fresh("logs")?, stage.fresh("own")?);
    let path = logs.join("app.log");
    let source = begin(&path)?;
    let (fifo, _holder) = held_pipe(&own)?;
    let output = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(&fifo).cannot("open", &fifo)?;
    let mut command = Command::new(programs::path("tailer"));
    command.arg(&path).arg("--pipe").arg(&fifo).arg("--state").arg(own.join("state.json")).arg("--follow-from-start");
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let mut process = Process::start(command, &own.join("said"))?;
    delays(source, output, span, &mut process)
}

fn begin(path: &Path) -> Result<File> {
    fs::write(path, tally::line(0)).cannot("write", path)?;
    File::options().append(true).open(path).cannot("open", path)
}

/// Delays of numbered lines that are written into `source` for `span`, until they can be read from `output`, ms.
pub fn delays(mut source: File, mut output: File, span: Duration, process: &mut Process) -> Result<Vec<f64>> {
    let (start, mut delays) = (Instant::now(), Vec::new());
    let mut seen = Vec::new();
    // The first one shows that it follows, and is not counted.
    for number in 1.. {
        let line = tally::line(number);
        source.write_all(&line).cannot("write", "the followed file")?;
        let written = Instant::now();
        while !look(&mut output, &mut seen, &line)? {
            let cause = match () {
                () if !process.is_running() => "the follower ended",
                () if written.elapsed() > DELAY_MAX => "it did not come within 10 s",
                () => {
                    thread::sleep(LOOK_SPAN);
                    continue;
                }
            };
            return Err(Error::because("wait for", "a line", cause));
        }
        if number > 1 {
            delays.push(written.elapsed().as_secs_f64() * 1000.0);
        }
        if start.elapsed() >= span {
            break;
        }
        // Spread evenly, and never in step with anybody's clock.
        let rest = REST_MS.0 * 1000 + u64::from(number) * 7919 % ((REST_MS.1 - REST_MS.0) * 1000);
        thread::sleep(Duration::from_micros(rest));
    }
    Ok(delays)
}

/// Whether the line is in what came by now.
fn look(output: &mut File, seen: &mut Vec<u8>, line: &[u8]) -> Result<bool> {
    match output.read_to_end(seen) {
        Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error).cannot("read", "what was followed"),
        _ => {}
    }
    let found = memchr::memmem::find(seen, line);
    if let Some(at) = found {
        seen.drain(..at + line.len());
    }
    Ok(found.is_some())
}
