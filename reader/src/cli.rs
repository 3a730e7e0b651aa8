//! The command line of `reader`: flags, and nothing that acts on them.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use standpipe_common::policy::Raw;
use standpipe_common::ready::NotifyFd;
use standpipe_common::units::{ByteSize, Span, Value};

/// Drains named pipes into rotated, compressed logs, and reads them back.
#[derive(Debug, Parser)]
#[command(name = "reader", version = env!("STANDPIPE_VERSION"), args_conflicts_with_subcommands = true)]
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
    /// List the parts of logs: times, lines, sizes, state.
    #[command(after_help = LIST_HELP)]
    List(ListArgs),
    /// Check everything that is stored: checksums, index, order, gaps.
    #[command(after_help = VERIFY_HELP)]
    Verify(VerifyArgs),
    /// Count lines per interval of arrival time, as a chart.
    #[command(after_help = HISTOGRAM_HELP)]
    Histogram(HistogramArgs),
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
#[command(after_help = LOGS_HELP)]
pub struct LogsArgs {
    /// Pipes by name or 'patt*'; with a `/`: log directory or root [default: all].
    #[arg(value_name = "NAME|LOGDIR|LOGS")]
    pub what: Vec<PathBuf>,
    /// Same as NAME.
    #[arg(short = 'u', long = "unit", value_name = "NAME")]
    pub unit: Vec<PathBuf>,
    /// Log root [default: from defaults.toml, else /var/log/standpipe].
    #[arg(long, value_name = "LOGS", env = "STANDPIPE_LOGS")]
    pub logs: Option<PathBuf>,
    /// Arrived at or after: 10:00, today, -1h, "2 hours ago", 2026-11-28 10:00.
    #[arg(short = 'S', long, value_name = "TIME", allow_hyphen_values = true, help_heading = "Selection")]
    pub since: Option<String>,
    /// Arrived at or before.
    #[arg(short = 'U', long, value_name = "TIME", allow_hyphen_values = true, help_heading = "Selection")]
    pub until: Option<String>,
    /// Last N lines; +N: first N.
    #[arg(short = 'n', long, value_name = "N", allow_hyphen_values = true, help_heading = "Selection")]
    pub lines: Option<String>,
    /// Newest first.
    #[arg(short, long, help_heading = "Selection", conflicts_with_all = ["follow", "after_context", "before_context", "context", "cursor_file", "show_cursor"])]
    pub reverse: bool,
    /// Start the pager at the end (last 1,000 lines).
    #[arg(short = 'e', long, help_heading = "Selection", conflicts_with = "follow")]
    pub pager_end: bool,
    /// Continue after the cursor in FILE, then update it.
    #[arg(long, value_name = "FILE", help_heading = "Selection")]
    pub cursor_file: Option<PathBuf>,
    /// Continue after a cursor from --show-cursor.
    #[arg(long, value_name = "CURSOR", help_heading = "Selection", conflicts_with = "cursor_file")]
    pub after_cursor: Option<String>,
    /// Print the final cursor on standard error.
    #[arg(long, help_heading = "Selection")]
    pub show_cursor: bool,
    /// Lines that match this regex; repeat for "or".
    #[arg(short, long, value_name = "PATTERN", allow_hyphen_values = true, help_heading = "Search")]
    pub grep: Vec<OsString>,
    /// Only lines that also match this.
    #[arg(long, value_name = "PATTERN", allow_hyphen_values = true, help_heading = "Search")]
    pub and: Vec<OsString>,
    /// Drop lines that match this.
    #[arg(long, value_name = "PATTERN", allow_hyphen_values = true, help_heading = "Search")]
    pub exclude: Vec<OsString>,
    /// Patterns are fixed strings, not regexes.
    #[arg(short = 'F', long, help_heading = "Search")]
    pub fixed_strings: bool,
    /// Ignore case.
    #[arg(short, long, help_heading = "Search")]
    pub ignore_case: bool,
    /// Ignore case unless the pattern has capitals.
    #[arg(long, help_heading = "Search")]
    pub smart_case: bool,
    /// Match whole words only.
    #[arg(short, long, help_heading = "Search")]
    pub word_regexp: bool,
    /// Lines that do not match; -vv: report frames read.
    #[arg(short = 'v', long, action = clap::ArgAction::Count, help_heading = "Search")]
    pub invert_match: u8,
    /// Show N lines after each match.
    #[arg(short = 'A', long, value_name = "N", help_heading = "Search")]
    pub after_context: Option<usize>,
    /// Show N lines before each match.
    #[arg(short = 'B', long, value_name = "N", help_heading = "Search")]
    pub before_context: Option<usize>,
    /// Show N lines before and after each match.
    #[arg(short = 'C', long, value_name = "N", help_heading = "Search")]
    pub context: Option<usize>,
    /// Print only the number of lines per pipe.
    #[arg(short, long, help_heading = "Search", conflicts_with_all = ["follow", "reverse", "lines", "cursor_file", "show_cursor"])]
    pub count: bool,
    /// Stop after N lines that match.
    #[arg(short, long, value_name = "N", help_heading = "Search")]
    pub max_count: Option<u64>,
    /// Print the last 10 lines, then new ones.
    #[arg(short, long, help_heading = "Following")]
    pub follow: bool,
    /// Stop following after SPAN, exit code 1.
    #[arg(long, value_name = "SPAN", value_parser = span, requires = "follow", help_heading = "Following")]
    pub timeout: Option<Duration>,
    /// Show when each line arrived.
    #[arg(short, long, help_heading = "Output")]
    pub timestamps: bool,
    /// Format: short, json (one object a line), cat, raw.
    #[arg(short, long, value_name = "FORMAT", default_value = "short", help_heading = "Output")]
    pub output: String,
    /// Times in UTC.
    #[arg(long, help_heading = "Output")]
    pub utc: bool,
    /// No name of the pipe before each line.
    #[arg(long, help_heading = "Output")]
    pub no_prefix: bool,
    /// Colors.
    #[arg(long, value_name = "WHEN", default_value = "auto", value_parser = ["auto", "always", "never"], help_heading = "Output")]
    pub color: String,
    /// Do not start a pager on a terminal.
    #[arg(long, help_heading = "Output")]
    pub no_pager: bool,
    /// Send control characters to a terminal unchanged.
    #[arg(long, help_heading = "Output")]
    pub raw_control: bool,
    /// Stop at a line end before exceeding SIZE.
    #[arg(long, value_name = "SIZE", env = "STANDPIPE_MAX_OUTPUT", value_parser = byte_size, help_heading = "Output")]
    pub max_bytes: Option<u64>,
    /// Cut longer lines and mark the cut.
    #[arg(long, value_name = "BYTES", value_parser = byte_size, help_heading = "Output")]
    pub max_line: Option<u64>,
    /// Search threads [default: cores, at most 8].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=64), help_heading = "Output")]
    pub threads: Option<u8>,
    #[arg(short = 'p', hide = true, value_name = "PRIORITY")]
    pub(crate) priority: Option<String>,
    #[arg(short = 'b', hide = true)]
    pub(crate) boot: bool,
    #[arg(short = 'k', hide = true)]
    pub(crate) dmesg: bool,
}

const LOGS_HELP: &str = "\
Exit codes: 0 success; 1 no match, or --timeout; 2 usage error or unreadable part;
3 nothing could be read (with -g: 2)

Options mean what they mean in grep (-c -m -F -i -w -v -A -B -C), journalctl
(-n -r -e -g -S -U -o) and docker (-t). Case matters, unlike in journalctl -g.

Examples:
  reader list --json                        what there is: pipes, times, sizes
  reader logs app -n 50 -t                  last 50 lines with arrival times
  reader logs app -S -1h -g 'error|panic' -C 3         errors of the last hour
  reader logs 'nginx-*' -S today -Fg ' 502 ' -c       how many today, per pipe
  reader logs -f -g started -m 1 --timeout 30s                 wait for a line
  reader logs app --max-bytes 16K --cursor-file c    16 KiB; again: next 16 KiB";

fn span(text: &str) -> Result<Duration, String> {
    Span::from_text(text).map(|span| span.0)
}

fn byte_size(text: &str) -> Result<u64, String> {
    ByteSize::from_text(text).map(|size| size.0)
}

/// Which logs: the same words for every command that reads back.
#[derive(Debug, Args)]
pub struct SelectionArgs {
    /// Pipes by name or pattern; with a `/` a log directory or a log root [default: all].
    #[arg(value_name = "NAME|LOGDIR|LOGS")]
    pub what: Vec<PathBuf>,
    /// The log root [default: as for `reader logs`].
    #[arg(long, value_name = "LOGS", env = "STANDPIPE_LOGS")]
    pub logs: Option<PathBuf>,
}

/// `reader list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Which logs.
    #[command(flatten)]
    pub selection: SelectionArgs,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
    /// Show times in UTC instead of local time.
    #[arg(long)]
    pub utc: bool,
}

const LIST_HELP: &str = "\
States: active (being written), sealed (complete, still plain text), archived,
incomplete (an archive without its end), damaged, unreadable.
A ~ before a time marks an estimate.

Exit codes: 0 success; 2 usage error; 3 something could not be read.

Examples:
  reader list                     every part of every pipe
  reader list 'nginx-*' --utc     some pipes, times in UTC
  reader list --json | jq '.pipes[] | {pipe, lines: .total.lines}'";

/// `reader verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// Which logs.
    #[command(flatten)]
    pub selection: SelectionArgs,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

const VERIFY_HELP: &str = "\
Prints one line for each finding, and a summary on standard error. Changes nothing.

Exit codes: 0 no findings; 1 findings; 2 usage error; 3 something could not be read.

Examples:
  reader verify                   every part of every pipe
  reader verify app               one pipe
  reader verify --json /mnt/backup/logs/ | jq -r '.findings[].text'";

/// `reader histogram`.
#[derive(Debug, Args)]
pub struct HistogramArgs {
    /// Which logs.
    #[command(flatten)]
    pub selection: SelectionArgs,
    /// Lines that arrived at that time or later, as for `reader logs`.
    #[arg(short = 'S', long, value_name = "TIME", allow_hyphen_values = true)]
    pub since: Option<String>,
    /// Lines that arrived at that time or earlier.
    #[arg(short = 'U', long, value_name = "TIME", allow_hyphen_values = true)]
    pub until: Option<String>,
    /// Length of an interval, such as 5m or 1h [default: one that gives at most about 40].
    #[arg(long, value_name = "SPAN")]
    pub interval: Option<Span>,
    /// Count only lines that match a regular expression; repeat it for one of several.
    #[arg(short, long, value_name = "PATTERN", allow_hyphen_values = true)]
    pub grep: Vec<OsString>,
    /// Patterns are fixed strings.
    #[arg(short = 'F', long, requires = "grep")]
    pub fixed_strings: bool,
    /// Ignore case.
    #[arg(short, long, requires = "grep")]
    pub ignore_case: bool,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
    /// Show times in UTC instead of local time.
    #[arg(long)]
    pub utc: bool,
}

const HISTOGRAM_HELP: &str = "\
Exit codes: 0 success, also without any line; 2 usage error; 3 something could not be read.

Examples:
  reader histogram                          all pipes, from the first line to the last
  reader histogram app -S today --interval 1h
  reader histogram 'nginx-*' -S -1h -F -g ' 502 ' --json";

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
