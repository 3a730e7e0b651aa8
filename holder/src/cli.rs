//! The flags of `holder`, and nothing but the flags.

use std::path::PathBuf;

use clap::Parser;
use standpipe_common::ready::NotifyFd;

/// Keeps named pipes open, so that writers never get SIGPIPE and readers never get end-of-file.
#[derive(Debug, Parser)]
#[command(name = "holder", version)]
#[command(after_help = "Signals: HUP reads DIR again and reopens every FIFO; TERM and INT end it.\n\
    Exit codes: 0; 2 asked wrongly, or --check-config found an error; 3 DIR cannot be read.")]
pub struct Cli {
    /// The pipes directory, with a link to each FIFO [default: the current directory]
    pub dir: Option<PathBuf>,

    /// Write a newline to this descriptor, and close it, when every FIFO has been tried
    #[arg(long, value_name = "N")]
    pub notify_fd: Option<NotifyFd>,

    /// Read everything, print every error, open no FIFO
    #[arg(long)]
    pub check_config: bool,
}
