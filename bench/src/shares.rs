//! One source with a backlog and nine live ones on one pipe, and a limit at work.
//!
//! The backlog has lines of its own; into each live file goes a numbered line every 20 to 50 ms, in turn. Whoever reads
//! the pipe takes all that comes, at once or as slowly as the table says, and notes when each live line is there.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::libc;
use standpipe_common::error::{Cannot, Error, Result};
use standpipe_common::shown::Shown as _;
use standpipe_tests::programs;

use crate::catch_up::held_pipe;
use crate::process::Process;
use crate::stage::{self, Stage};
use crate::stats::percentile;
use crate::stream::Stream;
use crate::table::{Bound, Figure, Table, number};

const LIVE: usize = 9;
/// Between two live lines.
const REST: Duration = Duration::from_millis(25);
/// A line that is not there by then will not come.
const DELAY_MAX: Duration = Duration::from_secs(60);
const CHUNK_BYTES: usize = 64 << 10;
/// Between two looks at an empty pipe.
const LOOK_SPAN: Duration = Duration::from_micros(200);
/// Of which the backlog is made.
const PIECE_BYTES: u64 = 64 << 20;
const REQUIRED_MS: f64 = 1000.0;
const LIMITED_BYTES: u64 = 20_000_000;
const REQUIRED_CPU_PERCENT: f64 = 2.0;

/// Measures with a backlog of so many bytes, and prints the tables.
pub fn run(stage: &Stage, bytes: u64) -> Result<()> {
    let mut table = Table::new(&["who reads the pipe", "p50", "p99", "max", "lines", "backlog, MB/s"]);
    let mut delays_of_fast = Vec::new();
    for (label, per_second) in [("as fast as it can", None), ("10 MB/s", Some(10_000_000.0))] {
        let bytes = per_second.map_or(bytes, |per_second: f64| bytes.min((10.0 * per_second) as u64));
        let (delays, rate) = beside_backlog(stage, bytes, per_second)?;
        let mut cells = vec![label.to_owned()];
        cells.extend([50.0, 99.0, 100.0].map(|percent| number(percentile(&delays, percent))));
        cells.extend([delays.len().to_string(), number(rate / 1e6)]);
        table.row(cells);
        delays_of_fast.extend(per_second.is_none().then_some(delays));
    }
    println!(
        "\nNine live sources beside a backlog of {} MB: from append to readable, ms.\n\n{table}",
        bytes / 1_000_000
    );
    let p99 = delays_of_fast.first().map_or(f64::NAN, |delays| percentile(delays, 99.0));
    println!("{}", Figure::new("p99 beside a backlog", p99, Bound::AtMost(REQUIRED_MS), "ms"));
    let (span, cpu) = limited(stage)?;
    let share = 100.0 * cpu.as_secs_f64() / span.as_secs_f64();
    println!("\n`rate_limit` of 1 MB/s over a backlog of 20 MB: {} s.\n", number(span.as_secs_f64()));
    println!("{}", Figure::new("it takes", span.as_secs_f64(), Bound::AtLeast(18.0), "s"));
    println!("{}", Figure::new("it takes", span.as_secs_f64(), Bound::AtMost(22.0), "s"));
    println!("{}", Figure::new("CPU meanwhile", share, Bound::AtMost(REQUIRED_CPU_PERCENT), "%"));
    Ok(())
}

/// A pipe that is read, at most so fast.
struct Reader {
    pipe: File,
    start: Instant,
    per_second: Option<f64>,
    chunk: Vec<u8>,
    taken: u64,
}

impl Reader {
    fn open(fifo: &Path, per_second: Option<f64>) -> Result<Reader> {
        let pipe = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(fifo).cannot("open", fifo)?;
        Ok(Reader { pipe, start: Instant::now(), per_second, chunk: vec![0; CHUNK_BYTES], taken: 0 })
    }

    /// What came by now, or after a little rest.
    fn take(&mut self) -> Result<&[u8]> {
        let is_early = |per_second: f64| self.taken as f64 / per_second > self.start.elapsed().as_secs_f64();
        let taken = if self.per_second.is_some_and(is_early) {
            0
        } else {
            match self.pipe.read(&mut self.chunk) {
                Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error).cannot("read", "the pipe"),
                other => other.unwrap_or(0),
            }
        };
        if taken == 0 {
            thread::sleep(LOOK_SPAN);
        }
        self.taken += taken as u64;
        Ok(&self.chunk[..taken])
    }
}

/// How long each live line took, ms, and how fast the backlog went meanwhile, bytes a second.
fn beside_backlog(stage: &Stage, bytes: u64, per_second: Option<f64>) -> Result<(Vec<f64>, f64)> {
    let (logs, own) = (stage.fresh("logs")?, stage.fresh("own")?);
    make_backlog(&logs.join("backlog.log"), bytes)?;
    let open = |number: usize| {
        let path = logs.join(format!("live-{number}.log"));
        File::create(&path).cannot("make", path)
    };
    let mut live = (0..LIVE).map(open).collect::<Result<Vec<File>>>()?;
    let (fifo, _holder) = held_pipe(&own)?;
    let mut reader = Reader::open(&fifo, per_second)?;
    let config = own.join("tailer.toml");
    let text = format!(
        "state_file = \"state.json\"\npipe = \"{}\"\n[[files]]\npath = \"{}/*.log\"\nstart_at = \"beginning\"\n",
        fifo.shown(),
        logs.shown()
    );
    fs::write(&config, text).cannot("write", &config)?;
    let _process = tailer(&config, &own)?;
    while reader.take()?.is_empty() {}
    (reader.start, reader.taken) = (Instant::now(), 0);
    let mut delays = Vec::new();
    for number in 0.. {
        let line = format!("live {number:012}\n");
        live[number % LIVE].write_all(line.as_bytes()).cannot("write", "a live file")?;
        let written = Instant::now();
        wait_for(&mut reader, line.as_bytes())?;
        if reader.taken + CHUNK_BYTES as u64 >= bytes {
            break;
        }
        delays.push(written.elapsed().as_secs_f64() * 1000.0);
        let rest = Instant::now() + REST;
        while Instant::now() < rest {
            reader.take()?;
        }
    }
    let rate = reader.taken as f64 / reader.start.elapsed().as_secs_f64();
    stage::remove(&logs)?;
    Ok((delays, rate))
}

fn wait_for(reader: &mut Reader, line: &[u8]) -> Result<()> {
    let (start, mut carried) = (Instant::now(), Vec::new());
    while start.elapsed() < DELAY_MAX {
        carried.extend_from_slice(reader.take()?);
        if memchr::memmem::find(&carried, line).is_some() {
            return Ok(());
        }
        carried.drain(..carried.len().saturating_sub(line.len()));
    }
    Err(Error::because("wait for", "a live line", "it did not come within a minute"))
}

fn make_backlog(path: &Path, bytes: u64) -> Result<()> {
    let piece = Stream::generate(bytes.min(PIECE_BYTES));
    let mut file = File::create(path).cannot("make", path)?;
    for _ in 0..bytes.div_ceil(piece.bytes()) {
        file.write_all(piece.text()).cannot("write", path)?;
    }
    Ok(())
}

fn tailer(config: &Path, own: &Path) -> Result<Process> {
    let mut command = Command::new(programs::path("tailer"));
    command.arg("--config").arg(config).stdin(Stdio::null()).stdout(Stdio::null());
    Process::start(command, &own.join("said"))
}

/// How long a limited backlog takes, and the CPU time of the tailer meanwhile.
fn limited(stage: &Stage) -> Result<(Duration, Duration)> {
    let (logs, own) = (stage.fresh("logs")?, stage.fresh("own")?);
    let path = logs.join("app.log");
    make_backlog(&path, LIMITED_BYTES)?;
    let bytes = fs::metadata(&path).cannot("look at", &path)?.len();
    let (fifo, _holder) = held_pipe(&own)?;
    let mut reader = Reader::open(&fifo, None)?;
    let config = own.join("tailer.toml");
    let text = format!(
        "state_file = \"state.json\"\npipe = \"{}\"\n[[files]]\npath = \"{}\"\nstart_at = \"beginning\"\n\
         rate_limit = \"1000000 bytes/s\"\n",
        fifo.shown(),
        path.shown()
    );
    fs::write(&config, text).cannot("write", &config)?;
    let start = Instant::now();
    let process = tailer(&config, &own)?;
    while reader.taken < bytes {
        reader.take()?;
    }
    let (span, cpu) = (start.elapsed(), process.cpu());
    Ok((span, cpu))
}
