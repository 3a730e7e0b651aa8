//! The command line of `reader`: flags, and nothing that acts on them.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};
use standpipe_common::metrics;
use standpipe_common::policy::Raw;
use standpipe_common::ready::NotifyFd;
use standpipe_common::units::{ByteSize, Span, Value};

/// Reads named pipes into rotated, compressed logs, and searches those logs.
#[derive(Debug, Parser)]
#[command(name = "reader", version = env!("STANDPIPE_VERSION"), args_conflicts_with_subcommands = true)]
#[command(after_help = HELP)]
pub struct Cli {
    /// The daemon, without a subcommand.
    #[command(flatten)]
    pub daemon: DaemonArgs,
    /// Everything else.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What `reader` does beside draining a pipes directory.
#[derive(Debug, Subcommand)]
#[allow(clippy::large_enum_variant)] // Made once.
pub enum Command {
    /// Log standard input: `log/run` of s6 or runit, or the end of a shell pipe.
    #[command(after_help = STDIN_HELP)]
    Stdin(StdinArgs),
    /// Print, search and follow logs, compressed or not.
    Logs(LogsArgs),
    /// List the parts of logs with their times, lines, sizes and states.
    #[command(after_help = LIST_HELP)]
    List(ListArgs),
    /// Check stored logs: checksums, indexes, order, gaps.
    #[command(after_help = VERIFY_HELP)]
    Verify(VerifyArgs),
    /// Add search filters to archives that have none.
    #[command(after_help = REINDEX_HELP)]
    Reindex(ReindexArgs),
    /// Chart the number of lines by arrival time.
    #[command(after_help = HISTOGRAM_HELP)]
    Histogram(HistogramArgs),
    /// Show what reader is doing, pipe by pipe, and its problems.
    #[command(after_help = STATUS_HELP)]
    Status(StatusArgs),
    /// Start a new part of some or all pipes now.
    #[command(after_help = ROTATE_HELP)]
    Rotate(RotateArgs),
}

const HELP: &str = "\
A part is one file of a log: a segment (plain text) or an archive (compressed).

Signals: HUP reads DIR again; ALRM starts a new part of every pipe; TERM and INT
stop reader within 2 s, a second one at once. Nothing is lost; the rest waits in
the pipes.
Exit codes: 0 success; 2 usage error, or an error in the configuration; 3 DIR or the
log root cannot be used.
Environment: STANDPIPE_LOGS and STANDPIPE_DIR (pipes directory) locate the logs for
the commands that read them. To use a directory named `logs`, write `./logs`.

Examples:
  reader /etc/standpipe/pipes.d --logs /var/log/standpipe   log every pipe
  reader --check-config /etc/standpipe/pipes.d   find mistakes before a restart
  reader logs app -n 50                          show the last 50 lines of a pipe";

/// `reader [DIR]`.
#[derive(Debug, Args)]
pub struct DaemonArgs {
    /// Pipes directory, with a link to each FIFO [default: current directory].
    pub dir: Option<PathBuf>,
    /// Log root, with a directory for each pipe [default: `logs` in DIR/defaults.toml].
    #[arg(long, value_name = "LOGS")]
    pub logs: Option<PathBuf>,
    /// Write a newline to descriptor N when ready (s6 readiness notification).
    #[arg(long, value_name = "N")]
    pub notify_fd: Option<NotifyFd>,
    /// Check all policy files, print every error, and exit.
    #[arg(long)]
    pub check_config: bool,
    /// Do not confine reader to its logs with Landlock.
    #[arg(long)]
    pub no_sandbox: bool,
}

const STDIN_HELP: &str = "\
Sizes: 64MiB or 64M. Spans: 500ms, 30s, 1h30m, 1d.

Signals: ALRM starts a new part. TERM: read what the pipe holds, then stop. First INT:
read on until the input ends; second INT: stop. HUP is ignored.
Exit codes: 0 success; 2 usage error; 3 I/O error, or the last archive or hook did
not finish in time (repeated at the next start).

Examples:
  exec reader stdin /var/log/app                      log/run of runit
  exec reader stdin --notify-fd 3 --continue /var/log/app   log/run of s6
  make 2>&1 | reader stdin --stamp iso ./build-log    a log with times";

/// `reader stdin`.
#[derive(Debug, Args)]
pub struct StdinArgs {
    /// Log directory; its parent must exist.
    pub log_dir: PathBuf,
    /// Let the next run continue the part, instead of archiving it [default: off].
    #[arg(long = "continue", help_heading = "Input")]
    pub leave_open: bool,
    /// Read until the end of input even after TERM, like `s6-log -p` [default: off].
    #[arg(long, help_heading = "Input")]
    pub ignore_term: bool,
    /// Write a newline to descriptor N when ready (s6 readiness notification) [default: none].
    #[arg(long, value_name = "N", help_heading = "Input")]
    pub notify_fd: Option<NotifyFd>,
    /// The policy.
    #[command(flatten)]
    pub policy: Raw,
    /// Directory for mailboxes (they keep lines safe when reader is killed), if `LOG_DIR` has no shared mappings [default: `LOG_DIR`].
    #[arg(long, value_name = "DIR", help_heading = "Files")]
    pub mailbox_dir: Option<PathBuf>,
    /// Write metrics for Prometheus to this *.prom file every 15 s [default: none].
    #[arg(long, value_name = "FILE", value_parser = OsStringValueParser::new().try_map(metrics::checked), help_heading = "Files")]
    pub metrics_file: Option<PathBuf>,
    /// Do not confine reader to its log with Landlock [default: off].
    #[arg(long, help_heading = "Files")]
    pub no_sandbox: bool,
}

/// `reader logs`.
#[derive(Debug, Args)]
#[command(after_help = LOGS_HELP)]
pub struct LogsArgs {
    /// A pipe, like the argument NAME (as in journalctl).
    #[arg(short = 'u', long = "unit", value_name = "NAME")]
    pub unit: Vec<PathBuf>,
    /// Which logs.
    #[command(flatten)]
    pub selection: SelectionArgs,
    /// Which of their lines.
    #[command(flatten)]
    pub range: RangeArgs,
    /// What stands in them.
    #[command(flatten)]
    pub patterns: PatternArgs,
    /// What is done with those that match.
    #[command(flatten)]
    pub matches: MatchArgs,
    /// Whether new ones are waited for.
    #[command(flatten)]
    pub following: FollowArgs,
    /// How they are shown.
    #[command(flatten)]
    pub output: OutputArgs,
    /// Letters of other tools.
    #[command(flatten)]
    pub(crate) foreign: ForeignArgs,
}

/// Which lines of a log: by time, by number, by what was read before.
#[derive(Debug, Args)]
pub struct RangeArgs {
    /// Lines from TIME on: 10:00, today, -1h, "2 hours ago", 2026-11-28 10:00.
    #[arg(short = 'S', long, value_name = "TIME", allow_hyphen_values = true, help_heading = "Selection")]
    pub since: Option<String>,
    /// Lines up to TIME.
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
}

/// What lines match.
#[derive(Debug, Args)]
pub struct PatternArgs {
    /// Lines that match this regex; repeat for "or".
    #[arg(short, long, value_name = "PATTERN", allow_hyphen_values = true, help_heading = "Search")]
    pub grep: Vec<OsString>,
    /// Only lines that also match this.
    #[arg(long, value_name = "PATTERN", allow_hyphen_values = true, help_heading = "Search")]
    pub and: Vec<OsString>,
    /// Drop lines that match this.
    #[arg(long, value_name = "PATTERN", allow_hyphen_values = true, help_heading = "Search")]
    pub exclude: Vec<OsString>,
    /// Take patterns as fixed strings, not regexes.
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
    /// Lines that do not match; -vv: lines that match, and how many blocks (frames) were decompressed.
    #[arg(short = 'v', long, action = clap::ArgAction::Count, help_heading = "Search")]
    pub invert_match: u8,
}

impl PatternArgs {
    /// Whether there is a pattern among them.
    pub fn is_given(&self) -> bool {
        !(self.grep.is_empty() && self.and.is_empty() && self.exclude.is_empty())
    }
}

/// What is done with lines that match.
#[derive(Debug, Args)]
pub struct MatchArgs {
    /// Show N lines after each match.
    #[arg(short = 'A', long, value_name = "N", help_heading = "Search")]
    pub after_context: Option<usize>,
    /// Show N lines before each match.
    #[arg(short = 'B', long, value_name = "N", help_heading = "Search")]
    pub before_context: Option<usize>,
    /// Show N lines before and after each match.
    #[arg(short = 'C', long, value_name = "N", help_heading = "Search")]
    pub context: Option<usize>,
    /// Do not use search filters; decompress everything.
    #[arg(long, help_heading = "Search")]
    pub no_filter: bool,
    /// Print only the number of lines per pipe.
    #[arg(short, long, help_heading = "Search", conflicts_with_all = ["follow", "reverse", "lines", "cursor_file", "show_cursor"])]
    pub count: bool,
    /// Stop after N lines that match.
    #[arg(short, long, value_name = "N", help_heading = "Search")]
    pub max_count: Option<u64>,
}

/// Waiting for new lines.
#[derive(Debug, Args)]
pub struct FollowArgs {
    /// Print the last 10 lines, then new ones.
    #[arg(short, long, help_heading = "Following")]
    pub follow: bool,
    /// Stop following after SPAN, exit code 1.
    #[arg(long, value_name = "SPAN", value_parser = span, requires = "follow", help_heading = "Following")]
    pub timeout: Option<Duration>,
}

/// How lines are shown.
#[derive(Debug, Args)]
pub struct OutputArgs {
    /// Show when each line arrived.
    #[arg(short, long, help_heading = "Output")]
    pub timestamps: bool,
    /// Format: short, json (one object a line), cat, raw.
    #[arg(short, long, value_name = "FORMAT", default_value = "short", help_heading = "Output")]
    pub output: String,
    /// Show times in UTC instead of local time.
    #[arg(long, help_heading = "Output")]
    pub utc: bool,
    /// Omit the name of the pipe before each line.
    #[arg(long, help_heading = "Output")]
    pub no_prefix: bool,
    /// Use color.
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
    #[arg(long, value_name = "SIZE", value_parser = byte_size, help_heading = "Output")]
    pub max_line: Option<u64>,
    /// Search threads [default: cores, at most 8].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=64), help_heading = "Output")]
    pub threads: Option<u8>,
}

/// What other tools have and `reader logs` has not, to be told what it has instead.
#[derive(Debug, Args)]
pub struct ForeignArgs {
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

Search filters in archives make -g fast for ids, for rare words of 5 letters or
more and, with -F, for IP addresses. They do not help with common words, with -v,
-A, -B and -C, or with 10.0.0.1 without -F, where each dot matches anything.

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
    /// Names or patterns of pipes; with a `/`, a log directory or log root [default: all].
    #[arg(value_name = "NAME|LOGDIR|LOGS")]
    pub what: Vec<PathBuf>,
    /// Log root [default: `logs` in defaults.toml, else /var/log/standpipe].
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
A part is one file of a log: a segment (plain text) or an archive (compressed).
States: active (being written), sealed (finished, still plain text), archived,
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

/// `reader reindex`.
#[derive(Debug, Args)]
pub struct ReindexArgs {
    /// Which logs.
    #[command(flatten)]
    pub selection: SelectionArgs,
}

const REINDEX_HELP: &str = "\
Replaces each such archive by the same one with a filter, which grows it by up to 8 %.
Works beside a running reader; runs no hook. An archive whose hook has not succeeded
yet is left as it is.

Exit codes: 0 success; 2 usage error; 3 something could not be read or written.

Examples:
  reader reindex                  every archive of every pipe
  reader reindex app              one pipe";

/// `reader histogram`.
#[derive(Debug, Args)]
pub struct HistogramArgs {
    /// Which logs.
    #[command(flatten)]
    pub selection: SelectionArgs,
    /// Lines from TIME on: 10:00, today, -1h, "2 hours ago", 2026-11-28 10:00.
    #[arg(short = 'S', long, value_name = "TIME", allow_hyphen_values = true, help_heading = "Selection")]
    pub since: Option<String>,
    /// Lines up to TIME.
    #[arg(short = 'U', long, value_name = "TIME", allow_hyphen_values = true, help_heading = "Selection")]
    pub until: Option<String>,
    /// Length of a bar, such as 5m or 1h [default: about 40 bars].
    #[arg(long, value_name = "SPAN", help_heading = "Output")]
    pub interval: Option<Span>,
    /// Lines that match this regex; repeat for "or".
    #[arg(short, long, value_name = "PATTERN", allow_hyphen_values = true, help_heading = "Search")]
    pub grep: Vec<OsString>,
    /// Take patterns as fixed strings, not regexes.
    #[arg(short = 'F', long, requires = "grep", help_heading = "Search")]
    pub fixed_strings: bool,
    /// Ignore case.
    #[arg(short, long, requires = "grep", help_heading = "Search")]
    pub ignore_case: bool,
    /// Print one JSON object.
    #[arg(long, help_heading = "Output")]
    pub json: bool,
    /// Show times in UTC instead of local time.
    #[arg(long, help_heading = "Output")]
    pub utc: bool,
}

const HISTOGRAM_HELP: &str = "\
Exit codes: 0 success, also without any line; 2 usage error; 3 something could not be read.

Examples:
  reader histogram                          all pipes, from the first line to the last
  reader histogram app -S today --interval 1h
  reader histogram 'nginx-*' -S -1h -F -g ' 502 ' --json";

const STATUS_HELP: &str = "\
Also works when no reader is running, and says so.

Exit codes: 0 healthy; 1 problems found; 2 usage error; 3 the status cannot be read.

Examples:
  reader status                       every pipe
  reader status app --logs /srv/logs  one pipe of another log root
  reader status --json | jq -r '.findings[]'";

const ROTATE_HELP: &str = "\
Waits until the new parts have begun, at most 15 s. ALRM to reader does the same for
all pipes, without waiting.

Exit codes: 0 success; 2 usage error; 3 no reader is running, or it did not rotate.

Examples:
  reader rotate                       all pipes
  reader rotate app web               two pipes
  reader rotate --logs /srv/logs      all pipes of another log root";

/// `reader status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Names of pipes; with a `/`, the log root [default: all pipes].
    #[arg(value_name = "LOGS|NAME")]
    pub what: Vec<PathBuf>,
    /// Log root [default: `logs` in defaults.toml, else /var/log/standpipe].
    #[arg(long, value_name = "LOGS", env = "STANDPIPE_LOGS")]
    pub logs: Option<PathBuf>,
    /// Report a receiver of shipper that is further behind than this [default: 5m].
    #[arg(long, value_name = "SPAN", value_parser = span)]
    pub behind: Option<Duration>,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// `reader rotate`.
#[derive(Debug, Args)]
pub struct RotateArgs {
    /// Names of pipes [default: all].
    #[arg(value_name = "NAME")]
    pub names: Vec<OsString>,
    /// Log root [default: `logs` in defaults.toml, else /var/log/standpipe].
    #[arg(long, value_name = "LOGS", env = "STANDPIPE_LOGS")]
    pub logs: Option<PathBuf>,
}
