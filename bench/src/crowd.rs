//! What following many files costs, of which ten are active: CPU while all are at rest and while lines come, memory.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use standpipe_common::error::{Cannot, Result};

use crate::follow::{Failures, START_BOUND};
use crate::followers::{Follower, Running, Source};
use crate::stage::Stage;
use crate::table::{Bound, Figure, Table, number};
use crate::tally::{self, LINE_BYTES};
use crate::usage::{self, Memory};

/// So many files get lines.
const ACTIVE: usize = 10;
/// Each of them a line so often.
const LINE_SPAN: Duration = Duration::from_millis(100);
/// Between the first line of the last file and the rest.
const SETTLE_SPAN: Duration = Duration::from_secs(1);
/// CPU is told for so long.
const CPU_SPAN_SECONDS: f64 = 10.0;
/// The number of files for which there are figures.
const REQUIRED_FILES: usize = 1000;
const REQUIRED_IDLE_MS: f64 = 20.0;
const REQUIRED_MIB: f64 = 24.0;

/// What a run came to.
#[derive(Clone, Copy, Debug)]
struct Run {
    ready: Duration,
    /// CPU, ms in 10 s.
    idle_ms: f64,
    active_ms: f64,
    anon_mib: f64,
    missing: u64,
}

/// Measures each follower with each number of files, idle and active for `span` each, and prints the table.
pub fn run(stage: &Stage, counts: &[usize], span: Duration) {
    usage::raise_descriptors();
    let titles =
        ["follower", "files", "ready s", "idle CPU ms in 10 s", "active CPU ms in 10 s", "RssAnon MiB", "missing"];
    let (mut table, mut failures, mut figures) = (Table::new(&titles), Failures::default(), Vec::new());
    for &files in counts {
        for follower in Follower::installed_by_name() {
            let label = format!("{}, {files} files", follower.name());
            let run = failures.note(&label, measure(stage, follower, files, span));
            let cells = run.map_or_else(|| vec!["-".to_owned(); 5], cells);
            table.row([vec![follower.name().to_owned(), files.to_string()], cells].concat());
            if follower == Follower::Tailer && files == REQUIRED_FILES {
                let (idle, memory) = run.map_or((f64::NAN, f64::NAN), |run| (run.idle_ms, run.anon_mib));
                figures.push(Figure::new("1000 idle files, CPU in 10 s", idle, Bound::AtMost(REQUIRED_IDLE_MS), "ms"));
                figures.push(Figure::new("1000 files, memory", memory, Bound::AtMost(REQUIRED_MIB), "MiB"));
            }
        }
    }
    println!("\nMany files, of which {ACTIVE} get a line each {} ms.\n\n{table}", LINE_SPAN.as_millis());
    failures.print();
    for figure in figures {
        println!("{figure}");
    }
}

fn cells(run: Run) -> Vec<String> {
    let mut cells = [run.ready.as_secs_f64(), run.idle_ms, run.active_ms, run.anon_mib].map(number).to_vec();
    cells.push(run.missing.to_string());
    cells
}

fn measure(stage: &Stage, follower: Follower, files: usize, span: Duration) -> Result<Run> {
    let (logs, own) = (stage.fresh("logs")?, stage.fresh("own")?);
    let paths: Vec<PathBuf> = (0..files).map(|number| logs.join(format!("{number:05}.log"))).collect();
    paths.iter().try_for_each(|path| fs::write(path, tally::line(0)).cannot("write", path))?;
    let start = Instant::now();
    let mut running = follower.start(&Source::Directory(logs), &own)?;
    let first = (files * LINE_BYTES) as u64;
    running.wait_bytes(first, START_BOUND)?;
    let ready = start.elapsed();
    // What it still does of its start is over.
    thread::sleep(SETTLE_SPAN);
    let ((), idle_ms) = cpu_ms(&running, || thread::sleep(span));
    let (written, active_ms) = cpu_ms(&running, || write(&paths, span));
    let written = written?;
    let expected = first + written * LINE_BYTES as u64;
    // Who looks once a second has looked by then; what is missing is told.
    running.wait_bytes(expected, Duration::from_secs(5)).ok();
    let missing = expected.saturating_sub(running.written()) / LINE_BYTES as u64;
    let anon_mib = Memory::of(running.process.pid()).anon as f64 / f64::from(1 << 20);
    running.process.kill9()?;
    Ok(Run { ready, idle_ms, active_ms, anon_mib, missing })
}

/// What `meanwhile` returns, and the CPU time of the follower in 10 s of it.
fn cpu_ms<T>(running: &Running, meanwhile: impl FnOnce() -> T) -> (T, f64) {
    let (before, start) = (running.process.cpu(), Instant::now());
    let done = meanwhile();
    let cpu = running.process.cpu().saturating_sub(before);
    (done, cpu.as_secs_f64() * 1000.0 / start.elapsed().as_secs_f64() * CPU_SPAN_SECONDS)
}

/// A line for each of the active files, again and again. Returns how many.
fn write(paths: &[PathBuf], span: Duration) -> Result<u64> {
    let open = |path: &PathBuf| File::options().append(true).open(path).cannot("open", path);
    // Spread over all of them.
    let step = (paths.len() / ACTIVE).max(1);
    let mut active: Vec<File> = paths.iter().step_by(step).take(ACTIVE).map(open).collect::<Result<_>>()?;
    let (start, mut written) = (Instant::now(), 0);
    while start.elapsed() < span {
        for file in &mut active {
            written += 1;
            file.write_all(&tally::line(written)).cannot("write", Path::new("a followed file"))?;
        }
        thread::sleep(LINE_SPAN);
    }
    Ok(u64::from(written))
}
