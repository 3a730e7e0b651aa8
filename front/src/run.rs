//! Which command was asked for.
//!
//! What belongs to another program is not looked at here: it gets every word that follows its command, `--` as well.

use std::env;
use std::ffi::OsString;

use clap::FromArgMatches;
use standpipe_common::command_line;
use standpipe_common::error::Stop;

use crate::cli::{HANDED, Handed, StatusArgs, command};
use crate::hand_over::exec;
use crate::status;

/// Does what was asked for. The exit code.
pub fn run() -> Result<u8, Stop> {
    let mut args = env::args_os().skip(1);
    let (first, rest) = (args.next(), args);
    if let Some(handed) = first.as_ref().and_then(handed) {
        return Err(exec(handed, rest));
    }
    if first.is_some_and(|first| first == "help")
        && let Some(handed) = rest.last().as_ref().and_then(handed)
    {
        return Err(exec(handed, [OsString::from("--help")]));
    }
    let mut command = command();
    let args: Vec<OsString> = env::args_os().collect();
    let asked = command.try_get_matches_from_mut(&args);
    let status = asked.and_then(|asked| match asked.subcommand() {
        Some((_, asked)) => StatusArgs::from_arg_matches(asked),
        None => unreachable!("a command is required"),
    });
    status::run(&status.unwrap_or_else(|error| command_line::end(error, &mut command, &args)))
}

fn handed(word: &OsString) -> Option<Handed> {
    HANDED.into_iter().find(|handed| word == handed.name)
}
