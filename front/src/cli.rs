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
pub const HANDED: [Handed; 10] = [
    handed("check", "holder", Some("check"), "Report problems, present and likely, with a fix for each"),
    handed("logs", "reader", Some("logs"), "Print logs: search, follow, choose by time"),
    handed("list", "reader", Some("list"), "List the parts of logs: times, lines, sizes, state"),
    handed("verify", "reader", Some("verify"), "Check everything that is stored"),
    handed("histogram", "reader", Some("histogram"), "Count lines per interval of arrival time"),
    handed("rotate", "reader", Some("rotate"), "Begin a new part of some logs, or of all"),
    handed("stdin", "reader", Some("stdin"), "Log standard input, as the log service of s6 or runit"),
    handed("hold", "holder", None, "The daemon that keeps pipes open (holder)"),
    handed("read", "reader", None, "The daemon that drains pipes into logs (reader)"),
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
    /// The pipes directory [default: `STANDPIPE_DIR`, the current directory or /etc/standpipe/pipes.d, if it has pipes]
    pub dir: Option<PathBuf>,

    /// The log root [default: `logs` in DIR/defaults.toml, else as for `standpipe logs`]
    #[arg(long, value_name = "LOGS")]
    pub logs: Option<PathBuf>,

    /// The tailer with this configuration; repeat it for several [default: every tailer that can be seen]
    #[arg(long, value_name = "FILE")]
    pub config: Vec<PathBuf>,

    /// The tailer with this state file; repeat it for several
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
Exit codes: 0 healthy; 1 problems found; 2 usage error; 3 something could not be read. The worst of the three counts.";

/// The command line, in which nothing is said of the flags that others have.
pub fn command() -> Command {
    let status = StatusArgs::augment_args(Command::new("status")).after_help(STATUS_HELP);
    let status = status.about("Show pipes, logs and followed files: holder, reader and tailer together");
    let handed = HANDED.iter().map(|handed| {
        let rest = Arg::new("args").num_args(0..).trailing_var_arg(true).allow_hyphen_values(true);
        Command::new(handed.name).about(handed.about).disable_help_flag(true).arg(rest)
    });
    Command::new(FRONT)
        .about("Logs through named pipes: what holder, reader and tailer do, in one command")
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
