//! The commands of `standpipe`: which program has each of them, and the flags of `status`, which is nobody's.

use std::path::PathBuf;

use clap::{Arg, Args, Command};
use standpipe_common::called::FRONT;

/// A command that another program carries out.
#[derive(Clone, Copy, Debug)]
pub struct Handed {
    /// What it is called here.
    pub name: &'static str,
    /// Who has it.
    pub program: &'static str,
    /// What it is called there. `None`: it is the program itself, without a command.
    pub command: Option<&'static str>,
    about: &'static str,
}

/// All of them, in the order in which they are listed.
pub const HANDED: [Handed; 11] = [
    handed("check", "holder", Some("check"), "Report problems, present and likely, with a fix for each"),
    handed("logs", "reader", Some("logs"), "Print, search and follow logs, compressed or not"),
    handed("list", "reader", Some("list"), "List the parts of logs with their times, lines, sizes and states"),
    handed("verify", "reader", Some("verify"), "Check stored logs: checksums, indexes, order, gaps"),
    handed("reindex", "reader", Some("reindex"), "Add search filters to archives that have none"),
    handed("histogram", "reader", Some("histogram"), "Chart the number of lines by arrival time"),
    handed("rotate", "reader", Some("rotate"), "Start a new part of some or all pipes now"),
    handed(
        "stdin",
        "reader",
        Some("stdin"),
        "Log standard input: `log/run` of s6 or runit, or the end of a shell pipe",
    ),
    handed("hold", "holder", None, "Run the daemon that holds pipes open (holder)"),
    handed("read", "reader", None, "Run the daemon that reads pipes into logs (reader)"),
    handed("tail", "tailer", None, "Follow log files, into a pipe or to standard output (tailer)"),
];

const fn handed(
    name: &'static str,
    program: &'static str,
    command: Option<&'static str>,
    about: &'static str,
) -> Handed {
    Handed { name, program, command, about }
}

/// `standpipe status`.
#[derive(Args, Debug)]
pub struct StatusArgs {
    /// Pipes directory [default: `STANDPIPE_DIR`, current directory or /etc/standpipe/pipes.d]
    pub dir: Option<PathBuf>,

    /// Log root [default: `logs` in DIR/defaults.toml, else as for `standpipe logs`]
    #[arg(long, value_name = "LOGS")]
    pub logs: Option<PathBuf>,

    /// Configuration of a tailer; repeat for several [default: all running tailers, and /etc/standpipe/tailer.toml]
    #[arg(long, value_name = "FILE")]
    pub config: Vec<PathBuf>,

    /// State file of a tailer; repeat for several
    #[arg(long, value_name = "FILE")]
    pub state: Vec<PathBuf>,

    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

const HELP: &str = "\
`standpipe COMMAND --help` shows the options of a command.

Exit codes: those of the command; 2 usage error; 3 its program is missing.";

const STATUS_HELP: &str = "\
Exit codes: 0 healthy; 1 problems found; 2 usage error; 3 something could not be read.
The exit code is the highest of those of holder, reader and tailer.";

/// The command line, in which nothing is said of the flags that others have.
pub fn command() -> Command {
    let status = StatusArgs::augment_args(Command::new("status")).after_help(STATUS_HELP);
    let status = status.about("Show pipes, logs and followed files: holder, reader and tailer together");
    let handed = HANDED.iter().map(|handed| {
        let rest = Arg::new("args").num_args(0..).trailing_var_arg(true).allow_hyphen_values(true);
        Command::new(handed.name).about(handed.about).disable_help_flag(true).arg(rest)
    });
    Command::new(FRONT)
        .about("Logs through named pipes: one command for holder, reader and tailer")
        .version(env!("STANDPIPE_VERSION"))
        .after_help(HELP)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(status)
        .subcommands(handed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_are_what_clap_takes_for_sound() {
        command().debug_assert();
    }
}
