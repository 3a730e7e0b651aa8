//! `kill`: what becomes of lines when the sink is killed by SIGKILL over and over, the same way for each.
//!
//! Four writers write numbered lines into a FIFO that we hold open, as fast as it takes them. The sink reads the FIFO
//! as its standard input (ours a second time as the daemon), lives for 20 to 120 ms, is killed and started again at
//! once. After the last kill it may read the FIFO empty and end in order; then every file is read back, in order.
//! Nothing is compressed, and nobody rotates before he must.

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use standpipe_common::error::{Cannot, Result};
use standpipe_tests::programs;
use standpipe_tests::world::{Check, Tally};

use crate::machine;
use crate::process::Process;
use crate::sinks::{self, Kind, Sink};
use crate::stage::{self, Stage};
use crate::table::{Bound, Figure, Table};
use crate::writers::{self, Load};

const WRITERS: u16 = 4;
/// Shortest life, and how much longer the longest is, ms.
const LIFE_MS: (u64, u64) = (20, 100);
/// Starts and ends, and then a life of each sink: longer is a hang.
const BOUND: Duration = Duration::from_secs(240);
const LIFE_SPAN_MAX: Duration = Duration::from_secs(2);

/// How much of it.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// SIGKILLs of each sink.
    pub kills: u32,
    /// `None`: as fast as the pipe takes them.
    pub lines_per_second: Option<u64>,
}

/// Who is killed.
enum Victim {
    Sink(Sink),
    Daemon,
}

/// What came of it.
struct Row {
    label: String,
    is_ours: bool,
    lines: u64,
    kills: u32,
    tally: Tally,
    span: Duration,
}

/// Measures, and prints the table.
pub fn run(dir: Option<&Path>, plan: Plan) -> Result<()> {
    let stage = Stage::set(dir, BOUND + LIFE_SPAN_MAX * plan.kills)?;
    let kinds = [Kind::Reader, Kind::S6Log, Kind::Svlogd, Kind::Multilog, Kind::Rotatelogs];
    let sinks = kinds.map(Sink::new).into_iter().filter(Sink::is_installed).map(Victim::Sink);
    let victims = sinks.chain([Victim::Daemon]);
    let rows = victims.map(|victim| measure(&stage, plan, &victim)).collect::<Result<Vec<_>>>()?;
    print!("{}", machine::describe(stage.path()));
    println!("SIGKILL of the sink every {} to {} ms, {WRITERS} writers.\n", LIFE_MS.0, LIFE_MS.0 + LIFE_MS.1);
    print(&rows);
    Ok(())
}

fn measure(stage: &Stage, plan: Plan, victim: &Victim) -> Result<Row> {
    let dir = stage.fresh("kill")?;
    let fifo = dir.join("fifo");
    mkfifo(&fifo, Mode::from_bits_truncate(0o600)).cannot("make", &fifo)?;
    let held = OpenOptions::new().read(true).write(true).open(&fifo).cannot("open", &fifo)?;
    let log_dir = victim.prepare(&dir, &fifo)?;
    let start = Instant::now();
    let load = Load { writers: WRITERS, lines_per_second: plan.lines_per_second, numbered: true }.start(&held)?;
    let mut chance = 1;
    for _ in 0..plan.kills {
        let mut process = victim.start(&dir, &fifo)?;
        // The length of a life is the experiment itself, not a wait for something.
        thread::sleep(life(&mut chance));
        process.kill9()?;
    }
    let process = victim.start(&dir, &fifo)?;
    let sent = load.stop()?;
    writers::wait_empty(&held)?;
    let span = start.elapsed();
    drop(held);
    match victim {
        Victim::Sink(_) => drop(process.wait()?),
        Victim::Daemon => drop(process.terminate()?),
    }
    let mut check = Check::new();
    sinks::read_back(victim.kind(), &log_dir, |bytes| check.feed(bytes))?;
    let written: Vec<(u16, u64)> = sent.iter().map(|sent| (sent.writer, sent.lines)).collect();
    stage::remove(&dir)?;
    Ok(Row {
        label: victim.label(),
        is_ours: victim.kind() == Kind::Reader,
        lines: written.iter().map(|(_, lines)| lines).sum(),
        kills: plan.kills,
        tally: check.finish(&written),
        span,
    })
}

impl Victim {
    /// Makes what it needs, and returns where its files will be.
    fn prepare(&self, dir: &Path, fifo: &Path) -> Result<PathBuf> {
        if let Victim::Sink(_) = self {
            let log_dir = dir.join("sink");
            fs::create_dir(&log_dir).cannot("make", &log_dir)?;
            return Ok(log_dir);
        }
        let pipes = dir.join("pipes.d");
        fs::create_dir(&pipes).cannot("make", &pipes)?;
        std::os::unix::fs::symlink(fifo, pipes.join("app")).cannot("link", fifo)?;
        let policy = pipes.join("defaults.toml");
        fs::write(&policy, "compress = \"none\"\n").cannot("write", &policy)?;
        Ok(dir.join("logs").join("app"))
    }

    fn start(&self, dir: &Path, fifo: &Path) -> Result<Process> {
        match self {
            Victim::Sink(sink) => {
                let stdin = File::open(fifo).cannot("open", fifo)?;
                Ok(sink.start_at_once(&dir.join("sink"), stdin)?.process)
            }
            Victim::Daemon => {
                let mut command = Command::new(programs::path("reader"));
                command.arg(dir.join("pipes.d")).arg("--logs").arg(dir.join("logs"));
                command.stdin(Stdio::null()).stdout(Stdio::null());
                Process::start(command, &dir.join("daemon.err"))
            }
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Victim::Sink(sink) => sink.kind,
            Victim::Daemon => Kind::Reader,
        }
    }

    fn label(&self) -> String {
        match self {
            Victim::Sink(sink) => sink.label(),
            Victim::Daemon => "`reader PIPES --logs LOGS`, compress none".to_owned(),
        }
    }
}

/// The next length of a life (xorshift).
fn life(chance: &mut u64) -> Duration {
    *chance ^= *chance << 13;
    *chance ^= *chance >> 7;
    *chance ^= *chance << 17;
    Duration::from_millis(LIFE_MS.0 + *chance % LIFE_MS.1)
}

fn print(rows: &[Row]) {
    let mut table = Table::new(&["sink", "SIGKILLs", "lines", "seconds", "lost", "repeated", "out of order", "torn"]);
    for row in rows {
        let tally = &row.tally;
        let counts = [tally.lost, tally.repeated, tally.disordered, tally.torn + tally.foreign];
        let mut cells = vec![row.label.clone(), row.kills.to_string(), row.lines.to_string()];
        cells.push(format!("{:.1}", row.span.as_secs_f64()));
        cells.extend(counts.map(|count| count.to_string()));
        table.row(cells);
    }
    println!("{table}");
    for row in rows.iter().filter(|row| row.is_ours) {
        let tally = &row.tally;
        let wrong = tally.lost + tally.repeated + tally.disordered + tally.torn + tally.foreign;
        let what = format!("lines that {} lost, repeated or tore", row.label);
        println!("{}", Figure::new(what, wrong as f64, Bound::AtMost(0.0), ""));
    }
}
