//! `follow`: our tailer beside the followers of others, in one run.
//!
//! Four tables: what rotations cost in lines, here; how fast a large file is caught up with and a line comes through
//! ([`catch_up`], [`live`]); what many files cost ([`crowd`]). A follower that does not run has a row without numbers
//! and one line below that says why.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use clap::ValueEnum;
use standpipe_common::error::{Cannot, Result};

use crate::followers::{Follower, Source};
use crate::machine;
use crate::rotations::{self, Rotation};
use crate::stage::Stage;
use crate::table::{Bound, Figure, Table};
use crate::tally::{self, LINE_BYTES, Tally};
use crate::{catch_up, crowd, live, shares};

/// A follower that has nothing to write for so long has written all that it will.
const QUIET: Duration = Duration::from_millis(2500);
/// What a program may take until it follows.
pub const START_BOUND: Duration = Duration::from_secs(60);
/// All of it: longer is a hang.
const BOUND: Duration = Duration::from_secs(2 * 3600);

/// How much of it.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Which tables; none: all.
    pub tables: Vec<Part>,
    /// Size of the file to catch up with, bytes.
    pub bytes: u64,
    /// How many files are followed at once.
    pub files: Vec<usize>,
    /// How long a live writer is followed, and many files are idle and again active.
    pub span: Duration,
}

/// A table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// Lines lost and repeated by rotations.
    Rotations,
    /// A large file.
    CatchUp,
    /// A live writer.
    Live,
    /// Many files.
    Crowd,
    /// A backlog beside live files, and a limit.
    Shares,
}

/// Measures, and prints the tables.
pub fn run(dir: Option<&Path>, plan: &Plan) -> Result<()> {
    let stage = Stage::set(dir, BOUND)?;
    print!("{}", machine::describe_followers(stage.path()));
    let wants = |part: Part| plan.tables.is_empty() || plan.tables.contains(&part);
    if wants(Part::Rotations) {
        rotations(&stage);
    }
    if wants(Part::CatchUp) {
        catch_up::run(&stage, plan.bytes)?;
    }
    if wants(Part::Live) {
        live::run(&stage, plan.span)?;
    }
    if wants(Part::Crowd) {
        crowd::run(&stage, &plan.files, plan.span);
    }
    if wants(Part::Shares) {
        shares::run(&stage, plan.bytes)?;
    }
    Ok(())
}

/// Followers that could not be measured, and why.
#[derive(Debug, Default)]
pub struct Failures(Vec<String>);

impl Failures {
    /// What was measured. `None`: it could not be, which is noted.
    pub fn note<T>(&mut self, label: &str, measured: Result<T>) -> Option<T> {
        let failure = match measured {
            Ok(measured) => return Some(measured),
            Err(error) => format!("{label}: {error}"),
        };
        // One that was tried twice has one line.
        if !self.0.contains(&failure) {
            self.0.push(failure);
        }
        None
    }

    /// Prints them below their table.
    pub fn print(&self) {
        print!("{self}");
    }
}

impl fmt::Display for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|failure| writeln!(f, "- {failure}"))
    }
}

fn rotations(stage: &Stage) {
    let titles = [vec!["follower"], rotations::ALL.map(Rotation::label).to_vec()].concat();
    let (mut table, mut failures, mut figures) = (Table::new(&titles), Failures::default(), Vec::new());
    for follower in Follower::installed() {
        let label = follower.label();
        let mut tallies = Vec::new();
        for rotation in rotations::ALL {
            // What failed once would fail each time.
            let Some(tally) = failures.note(label, measure(stage, follower, rotation)) else { break };
            tallies.push(tally);
        }
        let of = |place: usize| tallies.get(place).copied();
        let cells = (0..rotations::ALL.len()).map(|place| of(place).map_or_else(|| "-".to_owned(), cell));
        table.row([label.to_owned()].into_iter().chain(cells));
        if follower == Follower::Tailer {
            figures.extend(rotations::ALL.iter().zip(0..).map(|(&rotation, place)| figure(rotation, of(place))));
        }
    }
    println!("\nRotations: lines lost / of these still in one of the rotator's files / delivered twice / inversions.");
    println!("{}\n\n{table}", rotations::DESCRIPTION);
    failures.print();
    for figure in figures {
        println!("{figure}");
    }
}

fn cell(tally: Tally) -> String {
    let torn = if tally.torn > 0 { format!(", {} torn", tally.torn) } else { String::new() };
    format!("{} / {} / {} / {}{torn}", tally.lost, tally.avoidable, tally.twice, tally.inversions)
}

/// Where the rotator itself destroys lines, only the others count.
fn figure(rotation: Rotation, tally: Option<Tally>) -> Figure {
    let destroys = matches!(rotation, Rotation::Truncations | Rotation::CopyTruncate);
    let wrong = |tally: Tally| {
        let lost = if destroys { tally.avoidable } else { tally.lost };
        (lost + tally.twice + tally.inversions + tally.torn) as f64
    };
    let what = if destroys { "avoidably lost, twice, inverted" } else { "lost, twice, inverted" };
    Figure::new(format!("{what}, {}", rotation.label()), tally.map_or(f64::NAN, wrong), Bound::AtMost(0.0), "")
}

fn measure(stage: &Stage, follower: Follower, rotation: Rotation) -> Result<Tally> {
    let (logs, own) = (stage.fresh("logs")?, stage.fresh("own")?);
    let path = logs.join("app.log");
    std::fs::write(&path, tally::line(0)).cannot("write", &path)?;
    let mut running = follower.start(&Source::File(path.clone()), &own)?;
    running.wait_bytes(LINE_BYTES as u64, START_BOUND)?;
    let written = rotation.run(&path)?;
    running.wait_quiet(QUIET);
    running.process.kill9()?;
    Tally::of(&running.output, written, &logs)
}
