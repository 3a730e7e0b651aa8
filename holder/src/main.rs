//! The program `holder`: parses its command line, runs, and turns the end into an exit code.

use std::process::ExitCode;

use clap::Parser;
use standpipe_common::error::Stop;
use standpipe_common::logger;
use standpipe_holder::cli::Cli;
use standpipe_holder::run;

fn main() -> ExitCode {
    let cli = Cli::parse();
    logger::init("holder");
    match run::run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(stop) => {
            match &stop {
                Stop::Usage(answer) => eprintln!("holder: {answer}"),
                Stop::Io(sentence) => log::error!("{sentence}"),
            }
            ExitCode::from(stop.code())
        }
    }
}
