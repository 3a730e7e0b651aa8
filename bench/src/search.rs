//! `search`: reading back beside what people use today: searching, printing, the last lines, a minute, merging,
//! following, and the memory that it takes.
//!
//! [`lines`] makes the text, [`store`] puts it into plain files and into real parts, [`job`] is a command under
//! measurement; [`scan`], [`near`], [`merge`], [`live`], [`memory`] and [`skip`] have the tables.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ValueEnum;
use standpipe_common::error::Result;

use crate::machine;
use crate::stage::Stage;
use crate::table::number;
use scan::Scans;
use store::{Origin, Store};

mod job;
mod lines;
mod live;
mod memory;
mod merge;
mod near;
mod scan;
mod skip;
mod store;

/// All of it: longer is a hang.
const BOUND: Duration = Duration::from_secs(2 * 3600);

/// How much of it.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Which tables; none: all.
    pub tables: Vec<Part>,
    /// Raw bytes that are made.
    pub bytes: u64,
    /// What is searched instead.
    pub file: Option<PathBuf>,
    /// The word whose lines are printed.
    pub word: Option<String>,
    /// Where it stays for the next run.
    pub kept: Option<PathBuf>,
    /// Rounds.
    pub rounds: u32,
    /// How long a pipe is followed.
    pub span: Duration,
}

/// A table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// A uuid that is nowhere.
    Literal,
    /// A pattern that is nowhere.
    Regex,
    /// Printing lines that match.
    Matches,
    /// Printing everything.
    Print,
    /// The last ten lines.
    Last,
    /// The lines of a minute.
    Minute,
    /// Many pipes, in the order of time.
    Merge,
    /// From the FIFO to standard output.
    Follow,
    /// The most memory.
    Memory,
    /// By search filters, in archives of their own.
    Filter,
}

/// Measures, and prints the tables.
pub fn run(dir: Option<&Path>, plan: &Plan) -> Result<()> {
    let stage = Stage::set(dir, BOUND)?;
    if plan.tables == [Part::Filter] {
        return skip::run(&stage, plan.kept.as_deref(), plan.bytes, plan.rounds);
    }
    let origin = plan.file.clone().map_or(Origin::Made(plan.bytes), Origin::File);
    let store = Store::open(&stage, plan.kept.as_deref(), &origin)?;
    store.warm()?;
    print!("{}", machine::describe_searchers(stage.path()));
    let (raw, stored) = (store.raw_bytes as f64 / 1e6, store.stored_bytes as f64 / 1e6);
    println!(
        "{} MB of {} logs in {} MB of archives, all in the page cache; {} rounds, the best of each.",
        number(raw),
        store.logs.len(),
        number(stored),
        plan.rounds
    );
    let word = plan.word.as_deref().unwrap_or(lines::MATCH);
    let scans = Scans { stage: &stage, store: &store, rounds: plan.rounds };
    for part in Part::value_variants().iter().filter(|part| plan.tables.is_empty() || plan.tables.contains(part)) {
        match part {
            Part::Literal => scans.literal()?,
            Part::Regex => scans.regex()?,
            Part::Matches => scans.matches(word)?,
            Part::Print => scans.print()?,
            Part::Last => near::last(&stage, &store, plan.rounds)?,
            Part::Minute => near::minute(&stage, &store, plan.rounds)?,
            Part::Merge => merge::run(&stage, &store, plan.rounds)?,
            Part::Follow => live::run(&stage, plan.span)?,
            Part::Memory => memory::run(&stage, &store, word),
            Part::Filter => skip::run(&stage, None, plan.bytes, plan.rounds)?,
        }
    }
    Ok(())
}
