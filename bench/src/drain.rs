//! `drain`: how fast a full pipe is emptied, and how fast it becomes archives.
//!
//! One writer hands a stream that lies in memory to the pipe in pieces of 64 KiB; `cat > /dev/null` tells how fast it
//! is. A run lasts from its first byte to the end of the sink, which has then written all of it, and sealed and archived
//! the last part where it does so. Sinks alternate round by round, so that a slow moment of the machine meets all of
//! them, and in another order each time; before each run the file system is synced, so that nobody waits for the writes
//! of another. The slow peers get a quarter of the stream; a rate is a rate.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, fcntl};
use standpipe_common::error::{Cannot, Error, Result};

use crate::machine;
use crate::sinks::{self, Kind, Sink};
use crate::stage::{self, Stage};
use crate::stats::{self, Ratio};
use crate::stream::Stream;
use crate::table::{Bound, Figure, Table, number};
use crate::writers;

/// A size at which all can rotate.
const SMALL_PART_BYTES: u64 = 16_777_215;
/// The most an ordinary user gets for a pipe, and what the reader asks for.
const LARGE_PIPE_BYTES: i32 = 1 << 20;
const REQUIRED_RATIO: f64 = 0.8;
/// A round, and the rest: longer is a hang.
const BOUND: Duration = Duration::from_secs(120);

/// How much of it.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Rounds.
    pub rounds: u32,
    /// Size of the stream, bytes.
    pub bytes: u64,
}

/// A sink under measurement.
struct Row {
    sink: Sink,
    label: String,
    bytes: u64,
    /// Its pipe is made this large before it starts.
    large_pipe: bool,
    /// The row it is compared with.
    against: usize,
    rates: Vec<f64>,
}

/// Measures, and prints the table.
pub fn run(dir: Option<&Path>, plan: Plan) -> Result<()> {
    let stage = Stage::set(dir, BOUND * (plan.rounds + 1))?;
    let stream = Stream::generate(plan.bytes);
    let mut rows = rows(stream.bytes());
    for round in 0..plan.rounds {
        for place in order(round, rows.len()) {
            let rate = measure(&stage, &stream, &rows[place])?;
            rows[place].rates.push(rate);
        }
    }
    print!("{}", machine::describe(stage.path()));
    println!(
        "Bulk: {} MB of access log in pieces of 64 KiB, {} rounds, median; archives are complete at the end.\n",
        stream.bytes() / 1_000_000,
        plan.rounds
    );
    print(&rows);
    Ok(())
}

/// In which order the rows have their turns: from another one on in each round, and every other round backwards.
pub fn order(round: u32, rows: usize) -> Vec<usize> {
    let forwards = (0..rows).map(|place| (place + round as usize * 3) % rows);
    if round.is_multiple_of(2) { forwards.collect() } else { forwards.rev().collect() }
}

fn rows(bytes: u64) -> Vec<Row> {
    let row = |sink: Sink, bytes: u64, against: usize| {
        let label = sink.label();
        Row { sink, label, bytes, large_pipe: false, against, rates: Vec::new() }
    };
    let mut large = row(Sink::new(Kind::Cat), bytes, 0);
    large.large_pipe = true;
    large.label.push_str(", 1 MiB pipe");
    let mut rows = vec![
        row(Sink::new(Kind::Cat), bytes, 0),
        row(Sink::new(Kind::Reader), bytes, 0),
        large,
        row(Sink::new(Kind::Null), bytes, 0),
    ];
    if sinks::knows_sync() {
        rows.push(row(Sink::reader(&["--compress", "none"]), bytes, 0));
    }
    rows.push(row(Sink::new(Kind::Reader).rotating(SMALL_PART_BYTES), bytes, 0));
    let peers = [Kind::S6Log, Kind::Svlogd, Kind::Multilog, Kind::Rotatelogs].map(Sink::new);
    for peer in peers.into_iter().filter(Sink::is_installed) {
        rows.push(row(peer.clone(), bytes / 4, 0));
        if peer.kind != Kind::Multilog {
            rows.push(row(peer.rotating(SMALL_PART_BYTES.next_power_of_two()), bytes / 4, 0));
        }
    }
    let zstd = Sink::new(Kind::Zstd);
    if zstd.is_installed() {
        let place = rows.len();
        rows.push(row(zstd, bytes, place));
        rows.push(row(Sink::reader(&[]), bytes, place));
    }
    rows
}

/// MB/s of one run.
fn measure(stage: &Stage, stream: &Stream, row: &Row) -> Result<f64> {
    let dir = stage.fresh("sink")?;
    stage.sync()?;
    let (stdin, pipe) = writers::pipe()?;
    if row.large_pipe {
        fcntl(&pipe, FcntlArg::F_SETPIPE_SZ(LARGE_PIPE_BYTES)).cannot("enlarge", "a pipe")?;
    }
    let running = row.sink.start(&dir, stdin)?;
    let (stream, bytes) = (stream.clone(), row.bytes);
    let start = Instant::now();
    let writer = thread::spawn(move || stream.feed(pipe, bytes));
    let ended = running.process.wait()?;
    writer.join().unwrap_or_else(|_| Err(Error::because("write to", "a pipe", "the writer panicked")))?;
    if row.sink.kind == Kind::Reader {
        check(&row.sink, &dir, bytes)?;
    }
    stage::remove(&dir)?;
    Ok(bytes as f64 / 1e6 / (ended.at - start).as_secs_f64())
}

/// The reader has done what it is measured for: nothing is missing, and archives are archives.
fn check(sink: &Sink, dir: &Path, bytes: u64) -> Result<()> {
    let parts = sinks::outputs(Kind::Reader, dir);
    let plain: u64 = parts.iter().filter(|part| part.extension().is_some_and(|end| end == "log")).map(len).sum();
    let expected = if sink.flags.is_empty() { 0 } else { bytes };
    if plain != expected || parts.is_empty() {
        let cause = format!("{plain} bytes are there in plain, {expected} should be");
        return Err(Error::because("believe what was stored in", dir, cause));
    }
    Ok(())
}

fn len(path: &std::path::PathBuf) -> u64 {
    std::fs::metadata(path).map_or(0, |is| is.len())
}

fn print(rows: &[Row]) {
    let mut table = Table::new(&["sink", "MB/s", "min..max", "ratio", "min..max of rounds", "to"]);
    let ratio = |row: &Row| stats::ratio(&row.rates, &rows[row.against].rates);
    for row in rows {
        let Ratio { median, min, max } = ratio(row);
        table.row([
            row.label.clone(),
            number(stats::median(&row.rates)),
            span(stats::percentile(&row.rates, 0.0), stats::percentile(&row.rates, 100.0)),
            number(median),
            span(min, max),
            rows[row.against].sink.program().to_owned(),
        ]);
    }
    println!("{table}");
    let bulk = ratio(&rows[1]).median;
    println!("{}", Figure::new("bulk beside `cat > FILE`", bulk, Bound::AtLeast(REQUIRED_RATIO), ""));
    let archives = rows.iter().rfind(|row| row.against > 0).filter(|row| row.sink.kind == Kind::Reader);
    let archives = archives.map_or(f64::NAN, |row| ratio(row).median);
    println!("{}", Figure::new("archives beside `zstd -1 -T1`", archives, Bound::AtLeast(REQUIRED_RATIO), ""));
}

fn span(min: f64, max: f64) -> String {
    format!("{}..{}", number(min), number(max))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_one_turn_a_round_and_not_always_the_same_one_before_it() {
        assert_eq!((order(0, 5), order(1, 5)), (vec![0, 1, 2, 3, 4], vec![2, 1, 0, 4, 3]));
        for round in 0..10 {
            let mut places = order(round, 13);
            places.sort_unstable();
            assert_eq!(places, (0..13).collect::<Vec<_>>(), "{round}");
        }
    }
}
