//! Measurements of standpipe. Each subcommand prints one table, as the README has it.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use standpipe_tests::kills::{Plan, run};

/// Measures standpipe.
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The crash test with its full counts: exit 1 if a single line is not where it belongs.
    Soak(SoakArgs),
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
    /// Where the lengths of the readers' lives start from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> ExitCode {
    let Command::Soak(args) = Cli::parse().command;
    let report = run(Plan {
        kills: args.kills,
        lines: args.lines,
        rotate_mib: args.rotate_mib,
        life_max: Duration::from_millis(120),
        // A rest that makes the lines last for all the kills.
        pause: Duration::from_micros(20),
        seed: args.seed.max(1),
    });
    print!("{report}");
    if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
