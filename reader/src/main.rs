//! The program `reader`.

use std::process::ExitCode;

use standpipe_common::{command_line, file_limit, standard};
use standpipe_reader::cli::{Cli, Command};
use standpipe_reader::{histogram, list, logs, reindex, rotate, run, status, stdin, verify};

fn main() -> ExitCode {
    file_limit::outlive();
    let cli = command_line::parse::<Cli>("reader");
    let done = match cli.command {
        None => run::run(&cli.daemon),
        Some(Command::Stdin(args)) => stdin::run(&args),
        Some(Command::Logs(args)) => logs::run(&args),
        Some(Command::List(args)) => list::run(&args),
        Some(Command::Verify(args)) => verify::run(&args),
        Some(Command::Reindex(args)) => reindex::run(&args),
        Some(Command::Histogram(args)) => histogram::run(&args),
        Some(Command::Status(args)) => status::show::run(&args),
        Some(Command::Rotate(args)) => rotate::run(&args),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(stop) => {
            standard::error(&stop);
            ExitCode::from(stop.code())
        }
    }
}
