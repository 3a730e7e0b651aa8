//! The program `holder`: parses its command line, runs, and turns the end into an exit code.

use std::process::ExitCode;

use standpipe_common::error::Stop;
use standpipe_common::{command_line, file_limit, logger, standard};
use standpipe_holder::cli::{Cli, Command};
use standpipe_holder::{check, run, status};

fn main() -> ExitCode {
    file_limit::outlive();
    let cli = command_line::parse::<Cli>("holder");
    logger::init();
    let done = match &cli.command {
        None => run::run(&cli.daemon).map(|()| 0),
        Some(Command::Status(args)) => status::run(args),
        Some(Command::Check(args)) => check::run(args),
    };
    let stop = match done {
        Ok(code) => return ExitCode::from(code),
        Err(stop) => stop,
    };
    match &stop {
        Stop::Usage(answer) => standard::error(answer),
        Stop::Io(sentence) => log::error!("{sentence}"),
    }
    ExitCode::from(stop.code())
}
