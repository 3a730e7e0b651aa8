//! The command line of `reader`: flags, and nothing that acts on them.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use standpipe_common::policy::Raw;
use standpipe_common::ready::NotifyFd;

/// Drains named pipes into rotated, compressed logs, and reads them back.
#[derive(Debug, Parser)]
#[command(name = "reader", version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// Without a subcommand: the daemon.
    #[command(flatten)]
    pub daemon: DaemonArgs,
    /// What else it does.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What `reader` does beside draining a pipes directory.
#[derive(Debug, Subcommand)]
#[allow(clippy::large_enum_variant)] // Made once.
pub enum Command {
    /// Drain standard input, as the log service of s6 or runit, or at the end of a shell pipe.
    Stdin(StdinArgs),
    /// Print logs: active segment and archives alike, in order.
    Logs(LogsArgs),
    /// Show what the reader of a log root is doing, or did last. Exit 0: all is well; 1: something is not.
    Status(StatusArgs),
    /// Ask the reader of a log root to begin a new part of some pipes, or of all.
    Rotate(RotateArgs),
}

/// `reader [DIR]`.
#[derive(Debug, Args)]
pub struct DaemonArgs {
    /// The pipes directory: a symbolic link to a FIFO for each pipe [default: the current directory].
    pub dir: Option<PathBuf>,
    /// The log root: each pipe gets a directory in it [default: `logs` in DIR/defaults.toml].
    #[arg(long, value_name = "LOGS")]
    pub logs: Option<PathBuf>,
    /// Write a newline to this descriptor when every pipe has been opened, as s6 wants it.
    #[arg(long, value_name = "N")]
    pub notify_fd: Option<NotifyFd>,
    /// Read all policies, print every error, open nothing.
    #[arg(long)]
    pub check_config: bool,
}

/// `reader stdin`.
#[derive(Debug, Args)]
pub struct StdinArgs {
    /// The log directory.
    pub log_dir: PathBuf,
    /// At the end of input leave the segment to be continued by the next run, instead of sealing and archiving it.
    #[arg(long = "continue")]
    pub leave_open: bool,
    /// Read until the end of input even after TERM, as `s6-log -p` does.
    #[arg(long)]
    pub ignore_term: bool,
    /// Write a newline to this descriptor when reading begins, as s6 wants it.
    #[arg(long, value_name = "N")]
    pub notify_fd: Option<NotifyFd>,
    /// Where the mailboxes lie, for a log directory on a file system without shared mappings [default: LOGDIR].
    #[arg(long, value_name = "DIR")]
    pub mailbox_dir: Option<PathBuf>,
    /// The policy.
    #[command(flatten)]
    pub policy: Raw,
}

/// `reader logs`.
#[derive(Debug, Args)]
pub struct LogsArgs {
    /// Pipes by name; with a `/` a log directory, or a log root meaning all its pipes [default: all pipes].
    #[arg(value_name = "NAME|LOGDIR|LOGS")]
    pub what: Vec<PathBuf>,
    /// The log root [default: `logs` in defaults.toml of `STANDPIPE_DIR`, the current directory or
    /// /etc/standpipe/pipes.d; else /var/log/standpipe].
    #[arg(long, value_name = "LOGS", env = "STANDPIPE_LOGS")]
    pub logs: Option<PathBuf>,
}

/// `reader status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Pipes by name [default: all]; one with a `/` is the log root.
    #[arg(value_name = "LOGS|NAME")]
    pub what: Vec<PathBuf>,
    /// The log root [default: as for `reader logs`].
    #[arg(long, value_name = "LOGS", env = "STANDPIPE_LOGS")]
    pub logs: Option<PathBuf>,
    /// For programs: one object.
    #[arg(long)]
    pub json: bool,
}

/// `reader rotate`.
#[derive(Debug, Args)]
pub struct RotateArgs {
    /// Pipes by name [default: all].
    #[arg(value_name = "NAME")]
    pub names: Vec<OsString>,
    /// The log root [default: as for `reader logs`].
    #[arg(long, value_name = "LOGS", env = "STANDPIPE_LOGS")]
    pub logs: Option<PathBuf>,
}
