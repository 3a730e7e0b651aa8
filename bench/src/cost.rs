//! `cost`: CPU time of a sink while servers write line by line, at three rates, stamped and not.
//!
//! Four writers, one `write(2)` a line of 100 bytes, for a given time. The cost is what all threads of the sink used
//! between the first line and the moment the pipe was empty; start and end are not in it, but for the reader with
//! archives, which is measured to the end of the last one. Waking the sink is charged to the writer by the kernel, so
//! the writers' own time stands beside it; what the load costs by itself is the row of `cat > /dev/null`.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use standpipe_common::error::Result;

use crate::machine;
use crate::sinks::{Kind, Sink, Stamp};
use crate::stage::{self, Stage};
use crate::table::{Bound, Figure, Table, number};
use crate::writers::{self, Load};

const RATES: [u64; 3] = [2_000, 20_000, 200_000];
const WRITERS: u16 = 4;
/// The largest share of s6-log's CPU time.
const REQUIRED_SHARE: f64 = 0.25;
/// After the pipe is empty: the last bytes are on their way into the file.
const LAST_SPAN: Duration = Duration::from_millis(20);
/// All runs but for their given spans: longer is a hang.
const BOUND: Duration = Duration::from_secs(240);
/// Runs at most.
const RUNS_MAX: u32 = 40;

/// What one run came to.
struct Cost {
    sink: Sink,
    rate: u64,
    cpu: Duration,
    span: Duration,
    writers_cpu: Duration,
    lines: u64,
}

/// Measures each sink at each rate for `span`, and prints the table.
pub fn run(dir: Option<&Path>, span: Duration) -> Result<()> {
    let stage = Stage::set(dir, BOUND + span * RUNS_MAX)?;
    let mut costs = Vec::new();
    for rate in RATES {
        for sink in sinks(rate) {
            costs.push(measure(&stage, sink, rate, span)?);
        }
    }
    print!("{}", machine::describe(stage.path()));
    println!("CPU time for lines of 100 bytes, one write a line, {WRITERS} writers, {} s each.\n", span.as_secs_f64());
    print(&costs);
    Ok(())
}

fn sinks(rate: u64) -> Vec<Sink> {
    let peers = [Kind::S6Log, Kind::Svlogd, Kind::Multilog, Kind::Rotatelogs];
    let mut sinks = vec![Sink::new(Kind::Reader)];
    sinks.extend(peers.map(Sink::new));
    sinks.push(Sink::new(Kind::Reader).stamped(Stamp::Iso));
    sinks.push(Sink::new(Kind::S6Log).stamped(Stamp::Iso));
    sinks.push(Sink::new(Kind::S6Log).stamped(Stamp::Tai));
    sinks.push(Sink::new(Kind::Svlogd).stamped(Stamp::Iso));
    sinks.push(Sink::new(Kind::Multilog).stamped(Stamp::Tai));
    if rate == RATES[RATES.len() - 1] {
        sinks.push(Sink::reader(&[]));
        sinks.push(Sink::new(Kind::Null));
    }
    sinks.retain(Sink::is_installed);
    sinks
}

fn measure(stage: &Stage, sink: Sink, rate: u64, span: Duration) -> Result<Cost> {
    let dir = stage.fresh("sink")?;
    let (stdin, pipe) = writers::pipe()?;
    let running = sink.start(&dir, stdin)?;
    let before = running.process.cpu();
    let start = Instant::now();
    let load = Load { writers: WRITERS, lines_per_second: Some(rate), numbered: false }.start(&pipe)?;
    thread::sleep(span);
    let sent = load.stop()?;
    let span = start.elapsed();
    writers::wait_empty(&pipe)?;
    thread::sleep(LAST_SPAN);
    let mut cpu = running.process.cpu().saturating_sub(before);
    drop(pipe);
    let ended = running.process.wait()?;
    if archives(&sink) {
        cpu = ended.cpu.saturating_sub(before);
    }
    stage::remove(&dir)?;
    let writers_cpu = sent.iter().map(|sent| sent.cpu).sum();
    Ok(Cost { sink, rate, cpu, span, writers_cpu, lines: sent.iter().map(|sent| sent.lines).sum() })
}

fn archives(sink: &Sink) -> bool {
    sink.kind == Kind::Reader && sink.flags.is_empty()
}

fn print(costs: &[Cost]) {
    let mut table =
        Table::new(&["sink", "lines/s", "CPU s", "% of a core", "of s6-log", "writers' CPU s", "written/s"]);
    for cost in costs {
        let seconds = cost.span.as_secs_f64();
        table.row([
            cost.sink.label(),
            cost.rate.to_string(),
            number(cost.cpu.as_secs_f64()),
            number(cost.cpu.as_secs_f64() / seconds * 100.0),
            number(share(costs, cost)),
            number(cost.writers_cpu.as_secs_f64()),
            format!("{:.0}", cost.lines as f64 / seconds),
        ]);
    }
    println!("{table}");
    for cost in costs.iter().filter(|cost| cost.sink.kind == Kind::Reader && !archives(&cost.sink)) {
        let stamped = if cost.sink.stamp == Stamp::None { "" } else { ", stamped" };
        let what = format!("CPU time at {} lines/s{stamped}, beside s6-log", cost.rate);
        println!("{}", Figure::new(what, share(costs, cost), Bound::AtMost(REQUIRED_SHARE), ""));
    }
}

/// Of what s6-log used for the same lines with the like stamp. NaN: it is not there.
fn share(costs: &[Cost], cost: &Cost) -> f64 {
    let stamp = if cost.sink.stamp == Stamp::None { Stamp::None } else { Stamp::Iso };
    let like = |other: &&Cost| (other.sink.kind, other.sink.stamp, other.rate) == (Kind::S6Log, stamp, cost.rate);
    costs.iter().find(like).map_or(f64::NAN, |other| cost.cpu.as_secs_f64() / other.cpu.as_secs_f64())
}
