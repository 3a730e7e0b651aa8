//! The most memory that ours takes, for each kind of question: `VmHWM`, program and libraries included.

use std::fs::File;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use standpipe_common::error::{Cannot, Result};

use super::job::{Job, OURS};
use super::near::{SINCE, UNTIL};
use super::store::{MANY, Store};
use super::{live, scan};
use crate::follow::Failures;
use crate::stage::Stage;
use crate::table::{Bound, Figure, Table, number};
use crate::usage;

const MIB: f64 = (1 << 20) as f64;
const REQUIRED_MIB: f64 = 32.0;
const REQUIRED_MIB_A_PIPE: f64 = 2.0;
/// Between two looks.
const LOOK_SPAN: Duration = Duration::from_micros(100);
/// How long `-f` follows.
const FOLLOW_SPAN: Duration = Duration::from_secs(1);

/// Measures, and prints the table.
pub fn run(stage: &Stage, store: &Store, word: &str) {
    let questions: [(&str, &[&str]); 8] = [
        ("a literal", &["-c", "-F", "-g", scan::NOWHERE]),
        ("one thread", &["-c", "-F", "--threads", "1", "-g", scan::NOWHERE]),
        ("matches", &["-F", "-g", word]),
        ("matches with context", &["-F", "-C", "5", "-g", word]),
        ("everything, merged", &[]),
        ("the last lines", &["-n", "10"]),
        ("newest first", &["-r"]),
        ("a minute", &["--since", SINCE, "--until", UNTIL]),
    ];
    let (mut table, mut failures, mut figures) =
        (Table::new(&["question", "pipes", "VmHWM MiB"]), Failures::default(), Vec::new());
    let mut add = |what: &str, pipes: usize, measured: Result<u64>| {
        let mib = failures.note(what, measured).map_or(f64::NAN, |bytes| bytes as f64 / MIB);
        table.row([what.to_owned(), pipes.to_string(), number(mib)]);
        let merged = if pipes > 1 { REQUIRED_MIB_A_PIPE * pipes as f64 } else { 0.0 };
        figures.push(Figure::new(format!("memory, {what}"), mib, Bound::AtMost(REQUIRED_MIB + merged), "MiB"));
    };
    for (what, words) in questions {
        add(what, store.logs.len(), peak(stage, &Job::new(OURS, what).then_logs(words, store.root())));
    }
    add("everything, one pipe", 1, peak(stage, &Job::new(OURS, "").then_logs(&[], store.one())));
    add("everything, merged", MANY, peak(stage, &Job::new(OURS, "").then_logs(&["--no-prefix"], store.many())));
    add("following", 1, live::peak(stage, FOLLOW_SPAN));
    println!(
        "\nThe most memory of ours over {} MB of raw log.\n\n{table}{failures}",
        number(store.raw_bytes as f64 / 1e6)
    );
    for figure in figures {
        println!("{figure}");
    }
}

/// Looked at over and over while it runs: a process that has ended has no memory.
fn peak(stage: &Stage, job: &Job) -> Result<u64> {
    let null = PathBuf::from("/dev/null");
    let null = File::options().write(true).open(&null).cannot("open", &null)?;
    let mut process = job.start(stage, null)?;
    let mut most = 0;
    while process.is_running() {
        most = most.max(usage::high_water(process.pid()));
        thread::sleep(LOOK_SPAN);
    }
    process.wait_for(&[0, 1])?;
    Ok(most)
}
