//! `latency`: how soon a line can be read, from an idle pipe and beside a busy one; and whether ticks slow a burst.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use standpipe_common::error::{Cannot, Result};

use crate::burst;
use crate::machine;
use crate::probe::Probe;
use crate::sinks::{Kind, Sink};
use crate::stage::{self, Stage};
use crate::stats::percentile;
use crate::table::{Bound, Figure, Table, number};
use crate::writers::{self, Load};

/// Beside a busy pipe, by four writers.
const BUSY_LINES_PER_SECOND: u64 = 200_000;
/// Between two probes of an idle pipe, at least and at most, ms: longer than a lane ticks on.
const IDLE_REST_MS: (u64, u64) = (20, 50);
/// The same of a busy one.
const BUSY_REST_MS: (u64, u64) = (2, 8);
/// Delays at most, ms.
const REQUIRED_IDLE_MS: f64 = 5.0;
const REQUIRED_BUSY_MS: f64 = 10.0;
/// All but the given spans: longer is a hang.
const BOUND: Duration = Duration::from_secs(240);
/// Given spans at most.
const SPANS_MAX: u32 = 14;

/// Delays of one sink, ms.
struct Row {
    label: String,
    idle: Vec<f64>,
    busy: Vec<f64>,
}

/// Measures each sink for `span` idle and busy, the reader for twice as long, and prints the tables.
pub fn run(dir: Option<&Path>, span: Duration, burst_plan: burst::Plan) -> Result<()> {
    let stage = Stage::set(dir, BOUND + span * SPANS_MAX)?;
    let kinds = [Kind::Reader, Kind::Cat, Kind::S6Log, Kind::Svlogd, Kind::Multilog, Kind::Rotatelogs];
    let mut rows = Vec::new();
    for sink in kinds.map(Sink::new).into_iter().filter(Sink::is_installed) {
        let span = if sink.kind == Kind::Reader { span * 2 } else { span };
        let idle = delays(&stage, &sink, None, IDLE_REST_MS, span)?;
        let busy = delays(&stage, &sink, Some(BUSY_LINES_PER_SECOND), BUSY_REST_MS, span)?;
        rows.push(Row { label: sink.label(), idle, busy });
    }
    let bursts = burst::measure(&stage, burst_plan)?;
    print!("{}", machine::describe(stage.path()));
    println!(
        "From `write(2)` to readable in the file, ms. Idle: a line each {} to {} ms; busy: beside {} lines/s.\n",
        IDLE_REST_MS.0, IDLE_REST_MS.1, BUSY_LINES_PER_SECOND
    );
    print(&rows);
    burst::print(&bursts);
    Ok(())
}

fn delays(
    stage: &Stage,
    sink: &Sink,
    lines_per_second: Option<u64>,
    rest_ms: (u64, u64),
    span: Duration,
) -> Result<Vec<f64>> {
    let dir = stage.fresh("sink")?;
    let (stdin, pipe) = writers::pipe()?;
    let running = sink.start(&dir, stdin)?;
    let load =
        lines_per_second.map(|lines| Load { writers: 4, lines_per_second: Some(lines), numbered: false }.start(&pipe));
    let load = load.transpose()?;
    first_line(&pipe, &running.live())?;
    let mut probe = Probe::new(&running, File::from(duplicate(&pipe)?))?;
    let (start, mut delays) = (Instant::now(), Vec::new());
    while start.elapsed() < span {
        // Spread evenly, and never in step with anybody's ticks.
        let rest = rest_ms.0 * 1000 + delays.len() as u64 * 7919 % ((rest_ms.1 - rest_ms.0) * 1000);
        thread::sleep(Duration::from_micros(rest));
        delays.push(probe.once()?.as_secs_f64() * 1000.0);
    }
    drop(probe);
    load.map(writers::Writers::stop).transpose()?;
    drop(pipe);
    running.process.wait()?;
    stage::remove(&dir)?;
    Ok(delays)
}

/// Some programs make their file with the first line.
fn first_line(pipe: &OwnedFd, live: &Path) -> Result<()> {
    nix::unistd::write(pipe, b"the first line\n").cannot("write to", "a pipe")?;
    let live = live.parent().unwrap_or(live);
    while !std::fs::read_dir(live).cannot("list", live)?.flatten().any(|entry| is_begun(&entry)) {
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

fn is_begun(entry: &std::fs::DirEntry) -> bool {
    let name = entry.file_name();
    let name = name.to_string_lossy();
    (name == "current" || name.starts_with("log")) && entry.path().metadata().is_ok_and(|is| is.len() > 0)
}

fn duplicate(pipe: &OwnedFd) -> Result<OwnedFd> {
    pipe.as_fd().try_clone_to_owned().cannot("write to", "a pipe")
}

fn print(rows: &[Row]) {
    let mut table = Table::new(&["sink", "idle p50", "p99", "max", "lines", "busy p50", "p99", "max", "lines"]);
    for row in rows {
        let cells = |delays: &[f64]| {
            let mut cells = [50.0, 99.0, 100.0].map(|percent| number(percentile(delays, percent))).to_vec();
            cells.push(delays.len().to_string());
            cells
        };
        table.row([vec![row.label.clone()], cells(&row.idle), cells(&row.busy)].concat());
    }
    println!("{table}");
    for (what, delays, most) in [("idle", &rows[0].idle, REQUIRED_IDLE_MS), ("busy", &rows[0].busy, REQUIRED_BUSY_MS)] {
        let figure = Figure::new(format!("p99 {what}"), percentile(delays, 99.0), Bound::AtMost(most), "ms");
        println!("{figure}");
    }
}
