//! The last lines, and the lines of one minute: what must be found without reading the rest.

use std::fs::File;
use std::path::Path;

use standpipe_common::archive::Archive;
use standpipe_common::error::{Cannot, Error, Result};

use super::job::{Job, OURS, said_last};
use super::scan::same;
use super::store::Store;
use crate::drain::order;
use crate::follow::Failures;
use crate::stage::Stage;
use crate::stats::percentile;
use crate::table::{Bound, Figure, Table, number};

/// A minute at noon of the day of the lines.
pub const SINCE: &str = "2025-11-21T12:00:00Z";
/// The end of it.
pub const UNTIL: &str = "2025-11-21T12:01:00Z";
/// The same, ns since the epoch.
const MINUTE_NS: (i64, i64) = (1_763_726_400_000_000_000, 1_763_726_460_000_000_000);

const REQUIRED_MS: f64 = 20.0;
/// These are short: for each round of the others there are as many.
const TURNS: u32 = 4;

/// `-n 10`, of one log and of all of them.
pub fn last(stage: &Stage, store: &Store, rounds: u32) -> Result<()> {
    let Some(log) = store.logs.first() else { return Ok(()) };
    let name = log.name.as_str();
    let plain = std::slice::from_ref(&log.plain);
    let tail = Job::new("tail", "tail -n 10 FILE").then(&["-n", "10"], plain);
    let expected = tail.output(stage)?;
    let kept = stage.path().join("expected");
    std::fs::rename(&expected, &kept).cannot("rename", &expected)?;
    let one = Job::new(OURS, "reader logs NAME -n 10").then_logs(&[name, "-n", "10"], store.root());
    let shown = one.output(stage).and_then(|output| same(&output, &[kept]));
    let jobs = [
        one,
        Job::new(OURS, "reader logs -n 10").then_logs(&["-n", "10"], store.root()),
        tail,
        Job::new("zstdcat", "zstdcat | tail -n 10").then_shell("zstdcat \"$@\" | tail -n 10", &log.archives),
    ];
    let mut failures = Failures::default();
    failures.note(jobs[0].label(), shown);
    let timed = time(stage, &jobs, rounds * TURNS, &mut failures)?;
    println!("\nThe last ten lines, of one log and of all, ms.\n\n{}{failures}", table(&jobs, &timed));
    for (what, times) in [("the last lines of one log", &timed[0]), ("the last lines of all logs", &timed[1])] {
        println!("{}", Figure::new(what, percentile(times, 50.0), Bound::AtMost(REQUIRED_MS), "ms"));
    }
    Ok(())
}

/// A minute, of one log and of all of them.
pub fn minute(stage: &Stage, store: &Store, rounds: u32) -> Result<()> {
    let Some(log) = store.logs.first() else { return Ok(()) };
    let range = ["--since", SINCE, "--until", UNTIL];
    let of_one = [&[log.name.as_str()], &range[..]].concat();
    let jobs = [
        Job::new(OURS, "reader logs NAME --since --until").then_logs(&of_one, store.root()),
        Job::new(OURS, "reader logs --since --until").then_logs(&range, store.root()),
    ];
    let mut failures = Failures::default();
    let timed = time(stage, &jobs, rounds * TURNS, &mut failures)?;
    let job =
        Job::new(OURS, "reader logs --since --until -vv").then_logs(&[&range[..], &["-vv"]].concat(), store.root());
    let frames = failures.note(job.label(), frames(stage, &job));
    println!("\nThe lines of one minute, of one log and of all, ms.\n\n{}{failures}", table(&jobs, &timed));
    for (what, times) in [("a minute of one log", &timed[0]), ("a minute of all logs", &timed[1])] {
        println!("{}", Figure::new(what, percentile(times, 50.0), Bound::AtMost(REQUIRED_MS), "ms"));
    }
    let meet = overlapping(&store.archives())?;
    let decompressed = frames.map_or(f64::NAN, |frames| frames.decompressed as f64);
    if let Some(Frames { total, by_time, decompressed }) = frames {
        println!(
            "- of {total} frames {by_time} were chosen by time and {decompressed} decompressed; {meet} meet the minute"
        );
    }
    println!("{}", Figure::new("frames decompressed for a minute", decompressed, Bound::AtMost(meet as f64), ""));
    Ok(())
}

/// Wall times of each job, ms.
fn time(stage: &Stage, jobs: &[Job], rounds: u32, failures: &mut Failures) -> Result<Vec<Vec<f64>>> {
    let works: Vec<bool> = jobs.iter().map(|job| failures.note(job.label(), job.output(stage)).is_some()).collect();
    let mut timed = vec![Vec::new(); jobs.len()];
    for round in 0..rounds {
        for place in order(round, jobs.len()) {
            if works[place] {
                let path = stage.path().join("output");
                let spent = jobs[place].run(stage, &File::create(&path).cannot("make", &path)?)?;
                timed[place].push(spent.wall * 1000.0);
            }
        }
    }
    Ok(timed)
}

fn table(jobs: &[Job], timed: &[Vec<f64>]) -> Table {
    let mut table = Table::new(&["command", "median", "min", "max"]);
    for (job, times) in jobs.iter().zip(timed) {
        let numbers = [50.0, 0.0, 100.0].map(|percent| number(percentile(times, percent)));
        table.row(std::iter::once(job.label().to_owned()).chain(numbers));
    }
    table
}

/// What `-vv` says of the frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Frames {
    total: u64,
    by_time: u64,
    decompressed: u64,
}

fn frames(stage: &Stage, job: &Job) -> Result<Frames> {
    job.output(stage)?;
    let said = said_last(stage);
    Frames::parse(&said).ok_or_else(|| Error::because("count frames with", job.label(), "it says nothing of `frames:`"))
}

impl Frames {
    /// Sums lines such as `frames: 300 total, 3 by time, 2 decompressed`. `None`: there is none.
    fn parse(said: &str) -> Option<Frames> {
        let lines = said.lines().filter_map(|line| line.split_once("frames: ").map(|(_, counts)| counts));
        let each = lines.map(|counts| {
            let of = |what: &str| {
                let count = counts.split(", ").find_map(|part| part.strip_suffix(what));
                count.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
            };
            Frames { total: of(" total"), by_time: of(" by time"), decompressed: of(" decompressed") }
        });
        each.reduce(|sum, more| Frames {
            total: sum.total + more.total,
            by_time: sum.by_time + more.by_time,
            decompressed: sum.decompressed + more.decompressed,
        })
    }
}

/// Frames of archives that have lines of the minute, by their indexes.
fn overlapping(archives: &[impl AsRef<Path>]) -> Result<usize> {
    let mut meet = 0;
    for path in archives.iter().map(AsRef::as_ref) {
        let archive = Archive::open(File::open(path).cannot("open", path)?, path)?;
        let index = archive.index().map_err(|fault| Error::because("read the index of", path, fault.to_string()))?;
        let meets =
            index.frames.iter().filter(|frame| frame.lowest_ns <= MINUTE_NS.1 && frame.highest_ns >= MINUTE_NS.0);
        meet += meets.count();
    }
    Ok(meet)
}

#[cfg(test)]
mod tests {
    use super::super::lines::DAY_BEGIN_NS;
    use super::*;

    #[test]
    fn counts_of_frames_are_summed() {
        let said =
            "reader: frames: 300 total, 3 by time, 2 decompressed\nx\nframes: 10 total, 1 by time, 1 decompressed\n";
        assert_eq!(Frames::parse(said), Some(Frames { total: 310, by_time: 4, decompressed: 3 }));
        assert_eq!(Frames::parse("reader: error\n"), None);
    }

    #[test]
    fn the_minute_is_at_noon() {
        const HOUR_NS: i64 = 3_600_000_000_000;
        assert_eq!(MINUTE_NS, (DAY_BEGIN_NS + 12 * HOUR_NS, DAY_BEGIN_NS + 12 * HOUR_NS + HOUR_NS / 60));
    }
}
