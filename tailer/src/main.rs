//! The program `tailer`.

use std::process::ExitCode;

use clap::Parser;
use standpipe_tailer::cli::Cli;
use standpipe_tailer::run;

fn main() -> ExitCode {
    match run::run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(stop) => {
            eprintln!("tailer: error: {stop}");
            ExitCode::from(stop.code())
        }
    }
}
