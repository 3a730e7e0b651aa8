//! `scale`: holder and reader with one pipe, a thousand, ten thousand: how long they take to start, to reread and to
//! stop, what they keep, and what they use while nothing happens.
//!
//! Memory is `RssAnon` + `RssShmem` + the blocks of the mailboxes. The holder rereads while it alone has the pipes
//! open, and again while a server comes in over and over, which must always be let in. Peers know no directory of pipes: theirs is
//! one process a pipe, of which ten are measured and multiplied.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use standpipe_common::error::{Cannot, Result};
use standpipe_tests::programs;
use standpipe_tests::world;

use crate::machine;
use crate::process::Process;
use crate::sinks::{Kind, Sink};
use crate::stage::{self, Stage};
use crate::stats::median;
use crate::stream::Stream;
use crate::table::{Bound, Figure, Table, number};
use crate::usage::{self, Memory, Peak};
use crate::writers;

/// Peers that are measured for a multiple of them.
const PEERS: u32 = 10;
const REREADS: usize = 5;
/// An answer to HUP that has not come by then will not come.
const REREAD_SPAN_MAX: Duration = Duration::from_secs(10);
const LOOK_SPAN: Duration = Duration::from_micros(200);
/// What follows a start is over by then.
const SETTLE_SPAN: Duration = Duration::from_millis(500);
/// The stream of the lane at full speed.
const LANE_BYTES: u64 = 512_000_000;
/// A run's own time, and that of each number of pipes beside their idleness: longer is a hang.
const BOUND: Duration = Duration::from_secs(120);

const REQUIRED_LANE_MIB: f64 = 40.0;
/// Pipes, and the memory of holder and reader with so many, MiB.
const REQUIRED_MIB: [(usize, f64); 2] = [(1_000, 24.0), (10_000, 96.0)];
const REQUIRED_IDLE_MS: f64 = 10.0;
/// Start, HUP and stop, a pipe.
const REQUIRED_MICROS: f64 = 50.0;
/// Pipes, and a HUP of the holder with so many, ms.
const REQUIRED_REREAD_MS: (usize, f64) = (1_000, 50.0);

/// One program with so many pipes.
#[derive(Debug, Default)]
struct Row {
    program: &'static str,
    pipes: usize,
    /// Why the rest is not there.
    failure: Option<String>,
    /// What it said to HUP, where that is no answer.
    note: Option<String>,
    /// The first start, which makes the log directories.
    first: Duration,
    /// The start after that.
    start: Duration,
    /// NaN: it does not answer.
    reread_ms: f64,
    stop: Duration,
    memory: Memory,
    mailboxes: u64,
    descriptors: usize,
    idle: Duration,
    /// Servers that were let in, and that were not, during rereads.
    let_in: u64,
    refused: u64,
}

/// Measures with each number of pipes, idle for `idle`, and prints the tables.
pub fn run(dir: Option<&Path>, counts: &[usize], idle: Duration) -> Result<()> {
    let limit = usage::raise_descriptors();
    let stage = Stage::set(dir, BOUND + (BOUND + idle) * counts.len() as u32)?;
    let mut rows = Vec::new();
    for &count in counts {
        rows.extend(measure(&stage, count, idle)?);
    }
    let peers = [Kind::S6Log, Kind::Svlogd, Kind::Multilog].map(Sink::new);
    let peers: Vec<Sink> = peers.into_iter().filter(Sink::is_installed).collect();
    let peers = peers.into_iter().map(|sink| Ok((sink.label(), peer(&stage, &sink)?))).collect::<Result<Vec<_>>>()?;
    let lane = lane_at_full_speed(&stage)?;
    print!("{}", machine::describe(stage.path()));
    println!("Idle pipes in a pipes directory, at most {limit} descriptors; idle CPU over {} s.\n", idle.as_secs_f64());
    print(&rows);
    print_peers(counts, &peers);
    print_figures(&rows, lane);
    Ok(())
}

fn measure(stage: &Stage, count: usize, idle: Duration) -> Result<[Row; 2]> {
    let dir = stage.fresh("scale")?;
    let pipes = make_pipes(&dir, count)?;
    let logs = dir.join("logs");
    let mut holding = Row { program: "holder", pipes: count, ..Row::default() };
    let mut reading = Row { program: "reader", pipes: count, ..Row::default() };
    let (holder, start) = Process::start_ready(command("holder", &[&pipes]), &dir.join("holder.err"))?;
    (holding.first, holding.start) = (start, start);
    thread::sleep(SETTLE_SPAN);
    (holding.reread_ms, holding.note) = reread(&holder, &pipes)?;
    let server = Server::come_in_again_and_again(&dir.join("run").join("pipe00000"));
    reread(&holder, &pipes)?;
    (holding.let_in, holding.refused) = server.stop();
    let arguments = [pipes.as_path(), Path::new("--logs"), &logs];
    match Process::start_ready(command("reader", &arguments), &dir.join("reader.err")) {
        Err(error) => {
            reading.failure = Some(error.to_string());
            note_idle(&mut [(&mut holding, &holder)], idle, &logs);
        }
        Ok((reader, start)) => {
            reading.first = start;
            thread::sleep(SETTLE_SPAN);
            (reading.reread_ms, reading.note) = reread(&reader, &pipes)?;
            thread::sleep(SETTLE_SPAN);
            note_idle(&mut [(&mut holding, &holder), (&mut reading, &reader)], idle, &logs);
            reading.failure = first_error(&reader);
            reading.stop = reader.terminate()?;
            let (reader, start) = Process::start_ready(command("reader", &arguments), &dir.join("reader.err"))?;
            reading.start = start;
            reader.terminate()?;
        }
    }
    holding.failure = first_error(&holder);
    holding.stop = holder.terminate()?;
    stage::remove(&dir)?;
    Ok([holding, reading])
}

/// FIFOs in `run`, links to them in `pipes.d`, which is returned.
fn make_pipes(dir: &Path, count: usize) -> Result<PathBuf> {
    let (run, pipes) = (dir.join("run"), dir.join("pipes.d"));
    fs::create_dir(&run).cannot("make", &run)?;
    fs::create_dir(&pipes).cannot("make", &pipes)?;
    for number in 0..count {
        let name = format!("pipe{number:05}");
        let fifo = run.join(&name);
        mkfifo(&fifo, Mode::from_bits_truncate(0o600)).cannot("make", &fifo)?;
        std::os::unix::fs::symlink(&fifo, pipes.join(&name)).cannot("link", &fifo)?;
    }
    Ok(pipes)
}

fn command(name: &str, arguments: &[&Path]) -> std::process::Command {
    let mut command = std::process::Command::new(programs::path(name));
    command.args(arguments).stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null());
    command
}

/// Median of some HUPs, each up to the next line that names the pipes directory, ms. NaN: what comes is another line.
fn reread(process: &Process, pipes: &Path) -> Result<(f64, Option<String>)> {
    let pipes = pipes.to_string_lossy();
    let mut spans = Vec::new();
    for _ in 0..REREADS {
        let before = process.said().len();
        let start = Instant::now();
        process.signal(Signal::SIGHUP)?;
        let line = loop {
            let said = process.said();
            match said.get(before..).and_then(|new| new.split_once('\n')) {
                Some((line, _)) => break line.to_owned(),
                None if start.elapsed() > REREAD_SPAN_MAX => break "it does not answer HUP".to_owned(),
                None => thread::sleep(LOOK_SPAN),
            }
        };
        if !line.contains(pipes.as_ref()) {
            return Ok((f64::NAN, Some(line)));
        }
        spans.push(start.elapsed().as_secs_f64() * 1000.0);
    }
    Ok((median(&spans), None))
}

/// What they use while nothing happens, and what they keep.
fn note_idle(all: &mut [(&mut Row, &Process)], idle: Duration, logs: &Path) {
    let before: Vec<Duration> = all.iter().map(|(_, process)| process.cpu()).collect();
    thread::sleep(idle);
    for ((row, process), before) in all.iter_mut().zip(before) {
        row.idle = process.cpu().saturating_sub(before);
        row.memory = Memory::of(process.pid());
        row.descriptors = usage::descriptors(process.pid());
        if row.program == "reader" {
            row.mailboxes = usage::mailbox_bytes(logs);
        }
    }
}

fn first_error(process: &Process) -> Option<String> {
    process.said().lines().find(|line| line.contains(": error: ")).map(str::to_owned)
}

/// A server that opens a FIFO as often as it can, and leaves at once.
struct Server {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<(u64, u64)>,
}

impl Server {
    fn come_in_again_and_again(fifo: &Path) -> Server {
        let (stop, fifo) = (Arc::new(AtomicBool::new(false)), fifo.to_owned());
        let stopped = stop.clone();
        let thread = thread::spawn(move || {
            let (mut let_in, mut refused) = (0, 0);
            while !stopped.load(Ordering::Relaxed) {
                if world::is_held(&fifo) { let_in += 1 } else { refused += 1 }
            }
            (let_in, refused)
        });
        Server { stop, thread }
    }

    fn stop(self) -> (u64, u64) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or((0, u64::MAX))
    }
}

/// Mean memory of a peer, bytes.
fn peer(stage: &Stage, sink: &Sink) -> Result<u64> {
    let mut all = Vec::new();
    for number in 0..PEERS {
        let dir = stage.fresh(&format!("peer{number}"))?;
        let (stdin, pipe) = writers::pipe()?;
        all.push((sink.start(&dir, stdin)?, pipe));
    }
    let bytes: u64 = all.iter().map(|(running, _)| Memory::of(running.process.pid()).bytes()).sum();
    Ok(bytes / u64::from(PEERS))
}

/// Memory of `reader stdin` and of its mailboxes, archives and all, while it drains as fast as it can, bytes.
fn lane_at_full_speed(stage: &Stage) -> Result<u64> {
    let stream = Stream::generate(LANE_BYTES);
    let dir = stage.fresh("lane")?;
    let (stdin, pipe) = writers::pipe()?;
    let running = Sink::reader(&[]).start(&dir, stdin)?;
    let peak = Peak::watch(running.process.pid());
    stream.feed(pipe, stream.bytes())?;
    let mailboxes = usage::mailbox_bytes(&dir);
    running.process.wait()?;
    Ok(peak.bytes() + mailboxes)
}

fn print(rows: &[Row]) {
    let titles = [
        "program",
        "pipes",
        "first start ms",
        "µs a pipe",
        "start ms",
        "µs a pipe",
        "HUP ms",
        "µs a pipe",
        "stop ms",
        "µs a pipe",
        "RssAnon MiB",
        "RssShmem MiB",
        "mailboxes MiB",
        "descriptors",
        "idle CPU ms",
    ];
    let mut table = Table::new(&titles);
    for row in rows {
        let ms = |span: Duration| span.as_secs_f64() * 1000.0;
        let pair = |ms: f64| [number(ms), number(ms * 1000.0 / row.pipes as f64)];
        let cells = [pair(ms(row.first)), pair(ms(row.start)), pair(row.reread_ms), pair(ms(row.stop))].concat();
        let sizes = [row.memory.anon, row.memory.shmem, row.mailboxes].map(|bytes| number(mib(bytes)));
        let rest = [row.descriptors.to_string(), number(ms(row.idle))];
        table.row([vec![row.program.to_owned(), row.pipes.to_string()], cells, sizes.to_vec(), rest.to_vec()].concat());
    }
    println!("{table}");
    for row in rows {
        for sentence in row.failure.iter().chain(&row.note) {
            println!("with {} pipes: {sentence}", row.pipes);
        }
    }
}

fn print_peers(counts: &[usize], peers: &[(String, u64)]) {
    let titles: Vec<String> = counts.iter().map(|count| format!("times {count}, MiB")).collect();
    let mut all = vec!["one process a pipe", "KiB each"];
    all.extend(titles.iter().map(String::as_str));
    let mut table = Table::new(&all);
    for (label, bytes) in peers {
        let mut cells = vec![label.clone(), number(*bytes as f64 / 1024.0)];
        cells.extend(counts.iter().map(|&count| number(mib(bytes * count as u64))));
        table.row(cells);
    }
    println!("\nPeers, {PEERS} measured and multiplied:\n\n{table}");
}

fn print_figures(rows: &[Row], lane: u64) {
    let figure = Figure::new("memory of one lane at full speed", mib(lane), Bound::AtMost(REQUIRED_LANE_MIB), "MiB");
    println!("{figure}");
    for (pipes, most) in REQUIRED_MIB {
        let both: Vec<&Row> = rows.iter().filter(|row| row.pipes == pipes).collect();
        let whole = both.len() == 2 && both.iter().all(|row| row.descriptors > 0 && row.failure.is_none());
        let bytes: u64 = both.iter().map(|row| row.memory.bytes() + row.mailboxes).sum();
        let got = if whole { mib(bytes) } else { f64::NAN };
        println!("{}", Figure::new(format!("memory of both with {pipes} pipes"), got, Bound::AtMost(most), "MiB"));
    }
    let mut counts: Vec<usize> = rows.iter().map(|row| row.pipes).collect();
    counts.dedup();
    for count in counts {
        let idle: Duration = rows.iter().filter(|row| row.pipes == count).map(|row| row.idle).sum();
        let what = format!("CPU time of both with {count} idle pipes");
        println!("{}", Figure::new(what, idle.as_secs_f64() * 1000.0, Bound::AtMost(REQUIRED_IDLE_MS), "ms"));
    }
    for row in rows.iter().filter(|row| row.pipes > 1) {
        for (what, span) in [("first start", row.first), ("start", row.start), ("stop", row.stop)] {
            let what = format!("{what} of the {} with {} pipes", row.program, row.pipes);
            println!("{}", Figure::new(what, micros_a_pipe(row, span), Bound::AtMost(REQUIRED_MICROS), "µs a pipe"));
        }
    }
    let (pipes, most) = REQUIRED_REREAD_MS;
    let holder = |row: &&Row| row.program == "holder" && row.pipes == pipes;
    let reread_ms = rows.iter().find(holder).map_or(f64::NAN, |row| row.reread_ms);
    println!("{}", Figure::new(format!("HUP of the holder with {pipes} pipes"), reread_ms, Bound::AtMost(most), "ms"));
    let (let_in, refused) =
        rows.iter().fold((0, 0), |(let_in, refused), row| (let_in + row.let_in, refused + row.refused));
    let what = format!("servers refused during HUPs, of {}", let_in + refused);
    println!("{}", Figure::new(what, refused as f64, Bound::AtMost(0.0), ""));
}

fn micros_a_pipe(row: &Row, span: Duration) -> f64 {
    span.as_secs_f64() * 1e6 / row.pipes as f64
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
