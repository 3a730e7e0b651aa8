//! The flags of `holder`, and nothing but the flags.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use standpipe_common::ready::NotifyFd;

/// Keeps named pipes open, so that writers never get SIGPIPE and readers never get end-of-file.
#[derive(Debug, Parser)]
#[command(name = "holder", version = env!("STANDPIPE_VERSION"), args_conflicts_with_subcommands = true)]
#[command(after_help = "Signals: HUP reads DIR again and reopens every FIFO; TERM and INT end it.\n\
    Exit codes: 0; 2 asked wrongly, or --check-config found an error; 3 DIR cannot be read.\n\
    A directory that is called like a command is ./status.")]
pub struct Cli {
    /// Without a subcommand: the daemon
    #[command(flatten)]
    pub daemon: DaemonArgs,
    /// What else it does
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What `holder` does beside holding.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show each pipe: who holds, reads and writes it, and how full it is
    #[command(after_help = "What cannot be seen is `?`.\n\
        Exit codes: 0 all are held; 1 one is not held or full and not read, or that cannot be known; 2 asked wrongly; \
        3 DIR cannot be read.")]
    Status(LookArgs),
    /// Report problems, present and likely, with a fix for each
    #[command(after_help = "Exit codes: 0 nothing found, hints aside; 1 a finding; 2 asked wrongly; 3 DIR cannot be \
        read.")]
    Check(CheckArgs),
}

/// `holder [DIR]`.
#[derive(Debug, Args)]
pub struct DaemonArgs {
    /// The pipes directory, with a link to each FIFO [default: the current directory]
    pub dir: Option<PathBuf>,

    /// Write a newline to this descriptor, and close it, when every FIFO has been tried
    #[arg(long, value_name = "N")]
    pub notify_fd: Option<NotifyFd>,

    /// Read everything, print every error, open no FIFO
    #[arg(long)]
    pub check_config: bool,
}

/// `holder status [DIR]`, `holder check [DIR]`.
#[derive(Debug, Args)]
pub struct LookArgs {
    /// The pipes directory [default: the current directory]
    pub dir: Option<PathBuf>,

    /// For scripts: one JSON object, in which unknown is null
    #[arg(long)]
    pub json: bool,
}

/// `holder check [DIR]`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// What is looked at, and how it is shown
    #[command(flatten)]
    pub look: LookArgs,

    /// Write findings, configuration, status and the last 1,000 lines of each pipe to FILE (.tar.zst), for whoever helps
    #[arg(long, value_name = "FILE")]
    pub bundle: Option<PathBuf>,
}
