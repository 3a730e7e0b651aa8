//! Measurements of standpipe, beside its peers. Each subcommand prints one table, as docs/measured.md has it.
//!
//! Flags only. Behind them: [`drain`], [`cost`], [`latency`] with [`burst`], [`scale`] and [`kill`] measure the reader,
//! [`follow`] with [`catch_up`], [`live`] and [`crowd`] the tailer, [`search`] reading back, [`server`] what it all costs
//! nginx; [`sinks`], [`followers`], [`rotations`], [`tally`], [`process`], [`writers`], [`stream`] and [`probe`] are what
//! they measure with; [`usage`], [`stats`], [`table`] and [`machine`] make numbers and text of it; [`stage`] cleans up
//! after them.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use standpipe_common::error::EXIT_IO;
use standpipe_tests::kills::power_cuts::{self, FileSystem};
use standpipe_tests::kills::{reader, tailer};

use crate::stage::Stage;

mod burst;
mod catch_up;
mod cost;
mod crowd;
mod drain;
mod follow;
mod followers;
mod kill;
mod latency;
mod live;
mod machine;
mod probe;
mod process;
mod rotations;
mod scale;
mod search;
mod server;
mod shares;
mod sinks;
mod stage;
mod stats;
mod stream;
mod table;
mod tally;
mod usage;
mod writers;

const MB: u64 = 1_000_000;
/// What `--seconds` may be.
const SECONDS_MIN: f64 = 0.1;
const SECONDS_MAX: f64 = 3600.0;
/// The crash test lasts for minutes, whatever its counts.
const SOAK_BOUND: Duration = Duration::from_secs(6 * 3600);

/// Measures standpipe.
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Where files are written meanwhile [default: where cargo builds; of `soak`, the temporary directory].
    #[arg(long, global = true, value_name = "DIR")]
    dir: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Bulk: how fast a full pipe becomes a log, and archives.
    Drain {
        /// Rounds, in each of which every sink has its turn.
        #[arg(long, default_value_t = 5)]
        rounds: u32,
        /// Size of the stream, MB.
        #[arg(long, default_value_t = 512)]
        mb: u64,
    },
    /// CPU time of draining line by line, at three rates.
    Cost {
        /// How long each sink is measured.
        #[arg(long, default_value_t = 5.0)]
        seconds: f64,
    },
    /// From write to readable; and bursts through small pipes.
    Latency {
        /// How long each sink is measured, idle and again busy; the reader twice as long.
        #[arg(long, default_value_t = 2.5)]
        seconds: f64,
        /// Rounds of the bursts.
        #[arg(long, default_value_t = 5)]
        rounds: u32,
        /// Size of a burst, MB.
        #[arg(long, default_value_t = 128)]
        mb: u64,
    },
    /// One pipe, a thousand, ten thousand.
    Scale {
        /// Numbers of pipes.
        #[arg(long, value_delimiter = ',', default_values_t = [1, 1_000, 10_000])]
        pipes: Vec<usize>,
        /// How long they are idle.
        #[arg(long, default_value_t = 10.0)]
        seconds: f64,
    },
    /// Lines lost, repeated, torn under SIGKILL, ours and others'.
    Kill {
        /// SIGKILLs of each sink.
        #[arg(long, default_value_t = 90)]
        kills: u32,
        /// Lines a second of all writers [default: as fast as the pipe takes them].
        #[arg(long)]
        rate: Option<u64>,
    },
    /// Following files: what rotations cost, catching up, a live writer, many files.
    Follow {
        /// The tables to be made [default: all].
        #[arg(long, value_delimiter = ',', value_name = "TABLE")]
        tables: Vec<follow::Part>,
        /// Size of the file to catch up with, MB.
        #[arg(long, default_value_t = 1000)]
        mb: u64,
        /// Numbers of files.
        #[arg(long, value_delimiter = ',', default_values_t = [1, 100, 1_000, 10_000])]
        files: Vec<usize>,
        /// How long a live writer is followed; and files are idle, and again active.
        #[arg(long, default_value_t = 10.0)]
        seconds: f64,
        /// A first look: 64 MB, a hundred files, two seconds.
        #[arg(long, conflicts_with_all = ["mb", "files", "seconds"])]
        quick: bool,
    },
    /// Reading back: searching, printing, the last lines, a minute, merging, following, memory.
    Search(SearchArgs),
    /// What logging into a pipe costs a web server, beside a plain file; needs nginx and wrk.
    Server {
        /// Pairs, in each of which the pipe and the file have their turn.
        #[arg(long, default_value_t = 9)]
        rounds: u32,
        /// How long each is measured.
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=3600))]
        seconds: u64,
    },
    /// The crash tests with their full counts: exit 1 if a single line is not where it belongs.
    Soak(SoakArgs),
}

#[derive(Debug, clap::Args)]
struct SearchArgs {
    /// The tables to be made [default: all].
    #[arg(long, value_delimiter = ',', value_name = "TABLE")]
    tables: Vec<search::Part>,
    /// Size of the logs that are made, MB.
    #[arg(long, default_value_t = 1024)]
    mb: u64,
    /// A log to search instead of them: plain text.
    #[arg(long, value_name = "FILE", conflicts_with = "mb", requires = "word")]
    file: Option<PathBuf>,
    /// A word of some of its lines, which are printed [default: one of a hundred lines that are made].
    #[arg(long = "match", id = "word", value_name = "WORD")]
    word: Option<String>,
    /// Where the logs stay for the next run; an empty directory the first time.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Rounds, in each of which every command has its turn.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// How long a pipe is followed.
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
}

impl From<SearchArgs> for search::Plan {
    fn from(args: SearchArgs) -> search::Plan {
        let SearchArgs { tables, mb, file, word, keep, rounds, seconds } = args;
        let bytes = mb.max(1) * MB;
        search::Plan { tables, bytes, file, word, kept: keep, rounds: rounds.max(1), span: span(seconds) }
    }
}

#[derive(Debug, clap::Args)]
struct SoakArgs {
    /// SIGKILLs of the reader, at least.
    #[arg(long, default_value_t = 500)]
    kills: u64,
    /// Lines of all writers, at least.
    #[arg(long, default_value_t = 8_000_000)]
    lines: u64,
    /// Size at which parts are sealed, MiB.
    #[arg(long, default_value_t = 4)]
    rotate_mib: u64,
    /// SIGKILLs of the tailer, and half as many of tailer and holder at once.
    #[arg(long, default_value_t = 300)]
    tailer_kills: u64,
    /// Power cuts on each of four file systems; needs root, loop devices, xfsprogs and btrfs-progs.
    #[arg(long, default_value_t = 50)]
    power_cuts: u64,
    /// Where the lengths of lives start from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Cuts of one run: their copies lie side by side.
const CUTS_A_RUN: u64 = 10;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let dir = cli.dir.as_deref();
    let done = match cli.command {
        Command::Drain { rounds, mb } => drain::run(dir, drain::Plan { rounds: rounds.max(1), bytes: mb * MB }),
        Command::Cost { seconds } => cost::run(dir, span(seconds)),
        Command::Latency { seconds, rounds, mb } => {
            latency::run(dir, span(seconds), burst::Plan { rounds: rounds.max(1), bytes: mb * MB })
        }
        Command::Scale { pipes, seconds } => scale::run(dir, &pipes, span(seconds)),
        Command::Kill { kills, rate } => kill::run(dir, kill::Plan { kills, lines_per_second: rate }),
        Command::Follow { tables, quick: true, .. } => {
            follow::run(dir, &follow::Plan { tables, bytes: 64 * MB, files: vec![1, 100], span: span(2.0) })
        }
        Command::Follow { tables, mb, files, seconds, quick: false } => {
            follow::run(dir, &follow::Plan { tables, bytes: mb * MB, files, span: span(seconds) })
        }
        Command::Server { rounds, seconds } => server::run(dir, rounds.max(1), seconds),
        Command::Search(args) => search::run(dir, &args.into()),
        Command::Soak(args) => return soak(dir, &args),
    };
    done.map_or_else(complain, |()| ExitCode::SUCCESS)
}

fn span(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds.clamp(SECONDS_MIN, SECONDS_MAX))
}

fn complain(error: impl Display) -> ExitCode {
    eprintln!("bench: error: {error}");
    ExitCode::from(EXIT_IO)
}

fn soak(dir: Option<&Path>, args: &SoakArgs) -> ExitCode {
    let _stage = match Stage::set_for_tests(dir, SOAK_BOUND) {
        Ok(stage) => stage,
        Err(error) => return complain(error),
    };
    let report = reader::run(reader::Plan {
        kills: args.kills,
        lines: args.lines,
        rotate_mib: args.rotate_mib,
        life_max: Duration::from_millis(120),
        // A rest that makes the lines last for all the kills.
        pause: Duration::from_micros(20),
        seed: args.seed.max(1),
    });
    print!("{report}");
    let is_clean = report.is_clean() & soak_tailer(args) & soak_power(args);
    if is_clean { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Whether what was durable outlived every power cut, and what did not was said. Where they cannot be had, that is said.
fn soak_power(args: &SoakArgs) -> bool {
    let mut is_clean = true;
    for file_system in FileSystem::ALL {
        let mut all = power_cuts::Report::default();
        for seed in (args.seed.max(1)..).take(args.power_cuts.div_ceil(CUTS_A_RUN) as usize) {
            let cuts = CUTS_A_RUN.min(args.power_cuts - all.cuts);
            let Some(report) = power_cuts::run_plan(power_cuts::Plan { file_system, cuts, seed }) else {
                eprintln!("no power cuts on {file_system:?}: no root, loop devices or tools for it here");
                break;
            };
            all += report;
        }
        print!("\n{file_system:?}\n{all}");
        is_clean &= all.faults.is_empty();
    }
    is_clean
}

/// Whether killed tailers delivered each line once, and those that died with their holders said what they repeat.
fn soak_tailer(args: &SoakArgs) -> bool {
    let plan = tailer::Plan {
        kills: args.tailer_kills,
        with_holder: false,
        rotate_span: Duration::from_millis(100),
        life_max: Duration::from_millis(120),
        burst: 5,
        pause: Duration::from_micros(20),
        seed: args.seed.max(1),
    };
    let alone = tailer::run(plan);
    let with_holder = tailer::run(tailer::Plan { kills: plan.kills / 2, with_holder: true, ..plan });
    print!("\n{alone}\n{with_holder}");
    alone.is_clean() && with_holder.is_honest()
}
