//! The program `tailer`.

use std::process::ExitCode;

use standpipe_common::{command_line, file_limit, standard};
use standpipe_tailer::cli::{Cli, Command};
use standpipe_tailer::run;
use standpipe_tailer::status::show;

fn main() -> ExitCode {
    file_limit::outlive();
    let cli = command_line::parse::<Cli>("tailer");
    let done = match &cli.command {
        None => run::run(&cli).map(|()| 0),
        Some(Command::Status(args)) => show::run(args),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(stop) => {
            standard::error(&stop);
            ExitCode::from(stop.code())
        }
    }
}
