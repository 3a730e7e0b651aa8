//! One writer at full speed through pipes of several sizes, into the daemon with its default tick, with the shortest
//! one, and into `cat`, which knows no ticks at all.
//!
//! The pipe is a FIFO that we hold open ourselves: so its size is ours to set, and the daemon leaves it alone. A run
//! lasts from the first byte until the file has the last one. Pieces are whole lines of 4,096 bytes together, as a
//! server's buffer gives them away.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use standpipe_common::error::{Cannot, Result};
use standpipe_tests::programs;

use crate::process::Process;
use crate::stage::{self, Stage};
use crate::stats::{Ratio, median, ratio};
use crate::table::{Bound, Figure, Table, number};

const PIPE_KIB: [usize; 3] = [1024, 64, 8];
const PIECE_BYTES: usize = 4096;
const REQUIRED_RATIO: f64 = 0.9;
const LOOK_SPAN: Duration = Duration::from_micros(500);

/// How much of it.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Rounds.
    pub rounds: u32,
    /// Of a burst.
    pub bytes: u64,
}

/// Who takes the burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taker {
    DefaultTick,
    ShortestTick,
    Cat,
}

/// The rates of a pipe of one size, MB/s.
#[derive(Debug)]
pub struct Bursts {
    pipe_kib: usize,
    default_tick: Vec<f64>,
    shortest_tick: Vec<f64>,
    cat: Vec<f64>,
}

/// Measures all sizes, the takers alternating.
pub fn measure(stage: &Stage, plan: Plan) -> Result<Vec<Bursts>> {
    PIPE_KIB.iter().map(|&pipe_kib| of_size(stage, plan, pipe_kib)).collect()
}

/// Prints the table.
pub fn print(all: &[Bursts]) {
    println!("\nA burst of one writer, MB/s:\n");
    let titles =
        ["pipe", "default tick", "tick 1 ms", "`cat FIFO > FILE`", "to tick 1 ms", "rounds", "to cat", "rounds"];
    let mut table = Table::new(&titles);
    for bursts in all {
        let [to_shortest, to_cat] = bursts.ratios();
        let span = |ratio: Ratio| format!("{}..{}", number(ratio.min), number(ratio.max));
        table.row([
            format!("{} KiB", bursts.pipe_kib),
            number(median(&bursts.default_tick)),
            number(median(&bursts.shortest_tick)),
            number(median(&bursts.cat)),
            number(to_shortest.median),
            span(to_shortest),
            number(to_cat.median),
            span(to_cat),
        ]);
    }
    println!("{table}");
    for bursts in all {
        for (ratio, beside) in bursts.ratios().into_iter().zip(["the shortest tick", "`cat FIFO > FILE`"]) {
            let what = format!("burst through {} KiB, beside {beside}", bursts.pipe_kib);
            println!("{}", Figure::new(what, ratio.median, Bound::AtLeast(REQUIRED_RATIO), ""));
        }
    }
}

impl Bursts {
    /// To the shortest tick, and to cat.
    fn ratios(&self) -> [Ratio; 2] {
        [ratio(&self.default_tick, &self.shortest_tick), ratio(&self.default_tick, &self.cat)]
    }
}

fn of_size(stage: &Stage, plan: Plan, pipe_kib: usize) -> Result<Bursts> {
    let mut bursts = Bursts { pipe_kib, default_tick: Vec::new(), shortest_tick: Vec::new(), cat: Vec::new() };
    let mut takers = [Taker::DefaultTick, Taker::ShortestTick, Taker::Cat];
    for _ in 0..plan.rounds {
        for taker in takers {
            let rate = rate(stage, plan, pipe_kib, taker)?;
            match taker {
                Taker::DefaultTick => bursts.default_tick.push(rate),
                Taker::ShortestTick => bursts.shortest_tick.push(rate),
                Taker::Cat => bursts.cat.push(rate),
            }
        }
        // Nobody always comes after the same one.
        takers.reverse();
    }
    Ok(bursts)
}

fn rate(stage: &Stage, plan: Plan, pipe_kib: usize, taker: Taker) -> Result<f64> {
    let dir = stage.fresh("burst")?;
    let fifo = dir.join("fifo");
    mkfifo(&fifo, Mode::from_bits_truncate(0o600)).cannot("make", &fifo)?;
    let mut pipe = OpenOptions::new().read(true).write(true).open(&fifo).cannot("open", &fifo)?;
    fcntl(&pipe, FcntlArg::F_SETPIPE_SZ((pipe_kib << 10) as i32)).cannot("size", &fifo)?;
    let (process, output) = start(&dir, &fifo, taker)?;
    let piece: Vec<u8> = b"a server in a hurry writes this\n".repeat(PIECE_BYTES / 32);
    let pieces = plan.bytes / PIECE_BYTES as u64;
    let start = Instant::now();
    for _ in 0..pieces {
        pipe.write_all(&piece).cannot("write to", &fifo)?;
    }
    while fs::metadata(&output).map_or(0, |is| is.len()) < pieces * PIECE_BYTES as u64 {
        thread::sleep(LOOK_SPAN);
    }
    let span = start.elapsed();
    process.terminate()?;
    stage::remove(&dir)?;
    Ok((pieces * PIECE_BYTES as u64) as f64 / 1e6 / span.as_secs_f64())
}

/// The taker, reading, and the file that it writes.
fn start(dir: &Path, fifo: &Path, taker: Taker) -> Result<(Process, PathBuf)> {
    let said = dir.join("stderr");
    if taker == Taker::Cat {
        let output = dir.join("output");
        let mut command = Command::new("cat");
        command.stdin(File::open(fifo).cannot("open", fifo)?);
        command.stdout(File::create(&output).cannot("make", &output)?);
        return Ok((Process::start(command, &said)?, output));
    }
    let (pipes, logs) = (dir.join("pipes.d"), dir.join("logs"));
    fs::create_dir(&pipes).cannot("make", &pipes)?;
    std::os::unix::fs::symlink(fifo, pipes.join("app")).cannot("link", fifo)?;
    let tick = if taker == Taker::ShortestTick { "tick = \"1ms\"\n" } else { "" };
    let policy = format!("compress = \"none\"\nrotate_size = \"off\"\n{tick}");
    fs::write(pipes.join("defaults.toml"), policy).cannot("write", &pipes)?;
    let mut command = Command::new(programs::path("reader"));
    command.arg(&pipes).arg("--logs").arg(&logs).stdin(Stdio::null()).stdout(Stdio::null());
    let (process, _) = Process::start_ready(command, &said)?;
    Ok((process, logs.join("app").join("current")))
}
