//! The program `tailer`.

use std::process::ExitCode;

use clap::Parser;
use standpipe_common::file_limit;
use standpipe_common::standard::complain;
use standpipe_tailer::cli::{Cli, Command};
use standpipe_tailer::run;
use standpipe_tailer::status::show;

fn main() -> ExitCode {
    file_limit::outlive();
    let cli = Cli::parse();
    let done = match &cli.command {
        None => run::run(&cli).map(|()| 0),
        Some(Command::Status(args)) => show::run(args),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(stop) => {
            complain(format_args!("tailer: error: {stop}"));
            ExitCode::from(stop.code())
        }
    }
}
