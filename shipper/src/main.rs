//! The program `shipper`.

use std::process::ExitCode;

use standpipe_common::{command_line, file_limit, standard};
use standpipe_shipper::cli::Cli;
use standpipe_shipper::run;

fn main() -> ExitCode {
    file_limit::outlive();
    let cli = command_line::parse::<Cli>("shipper");
    match run::run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(stop) => {
            standard::error(&stop);
            ExitCode::from(stop.code())
        }
    }
}
