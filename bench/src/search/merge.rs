//! Fifty pipes merged by time beside one pipe with the same lines. Each line has an arrival time of its own, and the
//! next one is mostly another pipe's.

use std::fs::File;
use std::path::PathBuf;

use standpipe_common::error::{Cannot, Result};

use super::job::{Job, OURS};
use super::scan::same;
use super::store::{MANY, Store};
use crate::drain::order;
use crate::follow::Failures;
use crate::stage::Stage;
use crate::stats::best;
use crate::table::{Bound, Figure, Table, number};

const REQUIRED_RATIO: f64 = 0.5;

/// Measures, and prints the table.
pub fn run(stage: &Stage, store: &Store, rounds: u32) -> Result<()> {
    let one = Job::new(OURS, "reader logs, one pipe").then_logs(&[], store.one());
    let many =
        Job::new(OURS, &format!("reader logs --no-prefix, {MANY} pipes")).then_logs(&["--no-prefix"], store.many());
    let jobs = [one, many];
    let mut failures = Failures::default();
    let Some(whole) = failures.note(jobs[0].label(), jobs[0].output(stage)) else {
        print!("\nMerging.\n\n{failures}");
        return Ok(());
    };
    let kept = stage.path().join("expected");
    std::fs::rename(&whole, &kept).cannot("rename", &whole)?;
    let bytes = kept.metadata().cannot("look at", &kept)?.len() as f64;
    let merged = jobs[1].output(stage).and_then(|output| same(&output, &[kept]));
    let is_right = failures.note(jobs[1].label(), merged).is_some();
    let null = PathBuf::from("/dev/null");
    let null = File::options().write(true).open(&null).cannot("open", &null)?;
    let (mut cpu, mut wall) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    for round in 0..rounds {
        for place in order(round, jobs.len()) {
            if place == 0 || is_right {
                let spent = jobs[place].run(stage, &null)?;
                cpu[place].push(spent.cpu);
                wall[place].push(spent.wall);
            }
        }
    }
    let mut table = Table::new(&["command", "CPU s", "wall s", "MB/s"]);
    for ((job, cpu), wall) in jobs.iter().zip(&cpu).zip(&wall) {
        let numbers = [best(cpu), best(wall), bytes / 1e6 / best(wall)].map(number);
        table.row(std::iter::once(job.label().to_owned()).chain(numbers));
    }
    println!(
        "\nThe same {} MB out of one pipe, and merged out of {MANY}, line by line in the same order.",
        number(bytes / 1e6)
    );
    println!("\n{table}{failures}");
    let ratio = best(&wall[0]) / best(&wall[1]);
    println!(
        "{}",
        Figure::new(format!("merging {MANY} pipes beside printing one"), ratio, Bound::AtLeast(REQUIRED_RATIO), "")
    );
    Ok(())
}
