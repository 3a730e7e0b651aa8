//! The program `standpipe`.

use std::process::ExitCode;

use standpipe_common::standard;
use standpipe_front::run;

fn main() -> ExitCode {
    match run::run() {
        Ok(code) => ExitCode::from(code),
        Err(stop) => {
            standard::error(&stop);
            ExitCode::from(stop.code())
        }
    }
}
