//! The flags of `holder`, and nothing but the flags.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use standpipe_common::ready::NotifyFd;

/// Holds named pipes open, so that writers never get SIGPIPE and readers never get end-of-file.
#[derive(Debug, Parser)]
#[command(name = "holder", version = env!("STANDPIPE_VERSION"), args_conflicts_with_subcommands = true)]
#[command(after_help = HELP)]
pub struct Cli {
    /// The daemon, without a subcommand
    #[command(flatten)]
    pub daemon: DaemonArgs,
    /// Everything else
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What `holder` does beside holding.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show who holds, reads and writes each pipe, and how full it is
    #[command(after_help = STATUS_HELP)]
    Status(LookArgs),
    /// Report problems, present and likely, with a fix for each
    #[command(after_help = CHECK_HELP)]
    Check(CheckArgs),
}

const HELP: &str = "\
Signals: HUP reads DIR again and reopens every FIFO; TERM and INT stop holder.
Exit codes: 0 success; 2 usage error, or an error in the configuration;
3 DIR cannot be read.
To use a directory named `status`, write `./status`.

Examples:
  holder /etc/standpipe/pipes.d                  hold every FIFO that is linked there
  holder --notify-fd 3 /etc/standpipe/pipes.d    the same in an s6 service
  holder --check-config /etc/standpipe/pipes.d   find mistakes before a restart";

const STATUS_HELP: &str = "\
`?` means unknown: other users' processes are visible to root only.

Exit codes: 0 all pipes are held, and none is full without a reader; 1 a pipe is not
held, is full without a reader, or could not be checked; 2 usage error; 3 DIR cannot
be read.

Examples:
  holder status                             the current directory
  sudo holder status /etc/standpipe/pipes.d   with the processes of all users
  holder status --json | jq '.pipes[] | select(.held != true)'";

const CHECK_HELP: &str = "\
Changes nothing. Each finding has a reason and a command that fixes it or shows more.

Exit codes: 0 no findings, except hints; 1 findings; 2 usage error; 3 DIR cannot be
read.

Examples:
  holder check                              the current directory
  sudo holder check /etc/standpipe/pipes.d    with the processes of all users
  holder check --json | jq -r '.findings[].what'";

/// `holder [DIR]`.
#[derive(Debug, Args)]
pub struct DaemonArgs {
    /// Pipes directory, with a link to each FIFO [default: current directory]
    pub dir: Option<PathBuf>,

    /// Write a newline to descriptor N when ready (s6 readiness notification)
    #[arg(long, value_name = "N")]
    pub notify_fd: Option<NotifyFd>,

    /// Check all policy files, print every error, and exit
    #[arg(long)]
    pub check_config: bool,
}

/// `holder status [DIR]`, `holder check [DIR]`.
#[derive(Debug, Args)]
pub struct LookArgs {
    /// Pipes directory [default: `STANDPIPE_DIR`, current directory or /etc/standpipe/pipes.d]
    pub dir: Option<PathBuf>,

    /// Print one JSON object; unknown is null
    #[arg(long)]
    pub json: bool,
}

/// `holder check [DIR]`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The same as of `status`
    #[command(flatten)]
    pub look: LookArgs,

    /// Write a report for support, with 1,000 lines per pipe, to FILE (.tar.zst)
    #[arg(long, value_name = "FILE")]
    pub bundle: Option<PathBuf>,
}
