//! Every key of a configuration file in one table: the checks, the messages and the reference are made from it.
//!
//! Invariant: the reference and the parser know the same keys, ranges and defaults; tests hold them together.

use super::timestamp;
use crate::turns::rate::Rate;

/// What is known of one key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// What counts where it is missing, as TOML or in words.
    pub default: &'static str,
    /// What becomes of another value at HUP.
    pub at_hup: AtHup,
    /// What it does and why.
    pub meaning: &'static str,
}

/// What becomes of another value of a key at HUP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtHup {
    /// It counts from then on.
    TakenUp,
    /// It takes effect at the next start, and that is said.
    Kept,
}

impl Key {
    /// What it does, why, and when a change takes effect.
    pub fn meaning(&self) -> String {
        match self.at_hup {
            AtHup::TakenUp => self.meaning.to_string(),
            AtHup::Kept => format!("{} A change takes effect at the next start, not at HUP.", self.meaning),
        }
    }
}

/// What a key takes.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A whole number, from the first to the second.
    Number(i64, i64),
    /// One of these words.
    Word(&'static [&'static str]),
    /// `true` or `false`.
    Flag,
    /// A path; a relative one starts at the configuration file.
    Path,
    /// The same, of a file that `node_exporter` reads.
    MetricsPath,
    /// A path, or a glob.
    PathOrGlob,
    /// What a source is called.
    Name,
    /// Globs in a list.
    Globs,
    /// The form of a timestamp.
    Timestamp,
    /// The same, but a relative one starts at the `dir` of its table.
    PathInDir,
    /// A length of time.
    Span,
    /// Lines or bytes a second.
    Rate,
    /// The tables of the files.
    Files,
    /// The tables of the spools.
    Spools,
}

impl Kind {
    /// What to write, in words.
    pub fn takes(self) -> String {
        match self {
            Kind::Number(min, max) => format!("a number from {min} to {max}"),
            Kind::Word(words) => listed(words, "or"),
            Kind::Flag => "`true` or `false`".to_string(),
            Kind::Path => "a path; a relative one starts at the directory of this file".to_string(),
            Kind::MetricsPath => {
                "a path that ends in `.prom`; a relative one starts at the directory of this file".to_string()
            }
            Kind::PathOrGlob => "a path or a glob; a relative one starts at the directory of this file".to_string(),
            Kind::Name => format!("a name of 1 to {NAME_BYTES_MAX} bytes without spaces"),
            Kind::Globs => "a list of globs such as [\"old/app.log*\"]".to_string(),
            Kind::Timestamp => format!("{}, or a strptime pattern such as \"%d.%m.%Y %H:%M:%S\"", named()),
            Kind::PathInDir => "a path; a relative one starts at `dir`".to_string(),
            Kind::Span => "a span such as \"30s\", \"1h30m\" or \"1d\"".to_string(),
            Kind::Rate => Rate::EXPECTED.to_string(),
            Kind::Files => "a table for each file".to_string(),
            Kind::Spools => "a table for each spool".to_string(),
        }
    }
}

fn named() -> String {
    timestamp::NAMES.map(|name| format!("`{name}`")).join(", ")
}

/// `a`, `b` or `c`, with this word before the last.
pub fn listed(words: &[&str], before_last: &str) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} {before_last} {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}

/// Longest name of a source, as a pipe's.
pub const NAME_BYTES_MAX: usize = 200;

/// The keys at the top.
pub const TOP: &[Key] = &[
    Key {
        name: "files",
        kind: Kind::Files,
        default: "none: a file or a spool is required",
        at_hup: AtHup::TakenUp,
        meaning: "Files to follow; `[[files]]` in TOML, a list in YAML.",
    },
    Key {
        name: "spool",
        kind: Kind::Spools,
        default: "none",
        at_hup: AtHup::TakenUp,
        meaning: "Directories where short-lived processes write a file each; `[[spool]]` in TOML, a list in YAML.",
    },
    Key {
        name: "order",
        kind: Kind::Word(&["read", "timestamp"]),
        default: "\"read\"",
        at_hup: AtHup::Kept,
        meaning: "Order of the lines of several files: as read, or by the time in each line.",
    },
    Key {
        name: "window_ms",
        kind: Kind::Number(0, 60_000),
        default: "200",
        at_hup: AtHup::Kept,
        meaning: "Time a line waits for earlier lines of other files, with `order = \"timestamp\"`. Later ones are \
                  delivered anyway, and counted.",
    },
    Key {
        name: "state_file",
        kind: Kind::Path,
        default: "none",
        at_hup: AtHup::Kept,
        meaning: "File that records how far each file was delivered. Delivery into a pipe needs it. Without it, each \
                  start begins anew. Files beside it whose names begin with its name and a dot belong to it.",
    },
    Key {
        name: "metrics_file",
        kind: Kind::MetricsPath,
        default: "none",
        at_hup: AtHup::Kept,
        meaning: "File for the textfile collector of node_exporter, replaced every 15 s with numbers for each followed \
                  file. Needs a state file. Everybody on the machine may read it, and so learn the paths of the files.",
    },
    Key {
        name: "pipe",
        kind: Kind::Path,
        default: "none: standard output",
        at_hup: AtHup::TakenUp,
        meaning: "Pipe to deliver lines into.",
    },
    Key {
        name: "output",
        kind: Kind::Word(&["text", "json", "raw"]),
        default: "\"text\"",
        at_hup: AtHup::Kept,
        meaning: "Format of lines on standard output; `raw` is each line as in its file.",
    },
    Key {
        name: "poll_interval_ms",
        kind: Kind::Number(10, 60_000),
        default: "250",
        at_hup: AtHup::TakenUp,
        meaning: "Interval between checks of files whose changes inotify does not report.",
    },
    Key {
        name: "inotify",
        kind: Kind::Flag,
        default: "true",
        at_hup: AtHup::Kept,
        meaning: "Use inotify where it reports all changes; `false` checks every file at each interval.",
    },
    Key {
        name: "late_writer_max_ms",
        kind: Kind::Number(0, 3_600_000),
        default: "10000",
        at_hup: AtHup::TakenUp,
        meaning: "Time a new file waits for processes that still write into the rotated one. Lines written there even \
                  later are delivered, and counted as late.",
    },
    Key {
        name: "durable_ms",
        kind: Kind::Number(0, 3_600_000),
        default: "70000",
        at_hup: AtHup::Kept,
        meaning: "Time during which a power failure may lose lines delivered into a pipe: twice the `sync` of its \
                  policy if that is a span, else what the kernel needs. After a power failure, delivery continues \
                  from that long before. Lines that may be repeated are reported.",
    },
    Key {
        name: "on_corrupt",
        kind: Kind::Word(&["fail", "beginning", "end"]),
        default: "\"fail\"",
        at_hup: AtHup::Kept,
        meaning: "What to do if the state file and the one before it are both damaged: stop with an error, deliver \
                  everything again, or deliver only new lines.",
    },
];

/// The keys of a file.
pub const FILE: &[Key] = &[
    Key {
        name: "path",
        kind: Kind::PathOrGlob,
        default: "none: required",
        at_hup: AtHup::TakenUp,
        meaning: "File to follow; a glob with `*`, `?`, `[a-z]` or `**` means all files that match, now or later. The \
                  file need not exist yet.",
    },
    Key {
        name: "exclude",
        kind: Kind::Globs,
        default: "[]",
        at_hup: AtHup::TakenUp,
        meaning: "Files to leave out although they match `path`, with their rotated files. A glob without a slash is \
                  matched against the file name, any other against the whole path. Relative ones start at the \
                  directory of this configuration.",
    },
    Key {
        name: "name",
        kind: Kind::Name,
        default: "the file name",
        at_hup: AtHup::TakenUp,
        meaning: "Name of the source in the output. With a glob, each source has its file name; if several have the \
                  same, the path below the fixed part of the glob is added.",
    },
    Key {
        name: "pipe",
        kind: Kind::Path,
        default: "the `pipe` at the top",
        at_hup: AtHup::TakenUp,
        meaning: "Pipe to deliver the lines of this file into.",
    },
    Key {
        name: "priority",
        kind: Kind::Number(i32::MIN as i64, i32::MAX as i64),
        default: "0",
        at_hup: AtHup::TakenUp,
        meaning: "If an output has no room for everything, files with a higher priority go first, and those with the \
                  same priority share it. Every sixteenth round is shared by all, so that none waits forever. If \
                  there are too few descriptors for all files, those with the lowest priority wait.",
    },
    Key {
        name: "rate_limit",
        kind: Kind::Rate,
        default: "none",
        at_hup: AtHup::TakenUp,
        meaning: "Maximum reading speed of this file, or of each file under a glob. The rest waits in the file and is \
                  never lost. The burst is the amount that may go at once after a pause; by default one second's \
                  worth.",
    },
    Key {
        name: "start_at",
        kind: Kind::Word(&["end", "beginning"]),
        default: "\"end\"",
        at_hup: AtHup::TakenUp,
        meaning: "Where to start in a file that exists at the first start. Files that appear later are read from \
                  their beginning, and files in the state file from where they were left.",
    },
    Key {
        name: "ignore_older",
        kind: Kind::Span,
        default: "none: no file is too old",
        at_hup: AtHup::TakenUp,
        meaning: "Skip the content of a file that has not changed for this long when it is first seen. Lines added \
                  later are read. A file in the state file continues where it was left.",
    },
    Key {
        name: "rotated",
        kind: Kind::Globs,
        default: "[]",
        at_hup: AtHup::TakenUp,
        meaning: "Where to find rotated files of this one, instead of by the names that rotators usually give. \
                  Relative globs start at the directory of the followed file.",
    },
    Key {
        name: "format",
        kind: Kind::Word(&["plain", "docker", "cri"]),
        default: "\"plain\"",
        at_hup: AtHup::TakenUp,
        meaning: "Format of the file: plain lines, records of Docker's json-file, or records of containerd and CRI-O. \
                  The line in a record is delivered, with its time, joined from its pieces. Lines that are no such \
                  records are delivered unchanged, and reported once.",
    },
    Key {
        name: "timestamp",
        kind: Kind::Timestamp,
        default: "\"auto\"",
        at_hup: AtHup::TakenUp,
        meaning: "Format of the times in the lines; `auto` detects it.",
    },
    Key {
        name: "max_idle_ms",
        kind: Kind::Number(10, 86_400_000),
        default: "5000",
        at_hup: AtHup::TakenUp,
        meaning: "Idle time after which a rotated file that still has a name is closed, where the kernel does not \
                  show whether anybody writes into it. It is reopened if it grows later.",
    },
];

/// The keys of a spool.
pub const SPOOL: &[Key] = &[
    Key {
        name: "dir",
        kind: Kind::Path,
        default: "none: required",
        at_hup: AtHup::TakenUp,
        meaning: "Directory to watch. Each regular file in it is delivered whole once it is complete, and then \
                  removed. Names that begin with a dot are ignored. The directory need not exist yet.",
    },
    Key {
        name: "done",
        kind: Kind::PathInDir,
        default: "none: a file is complete once nobody writes it",
        at_hup: AtHup::TakenUp,
        meaning: "Directory of the markers: a file is complete once an empty file of the same name is there. Needed \
                  where the kernel does not show whether anybody writes a file.",
    },
    Key {
        name: "pipe",
        kind: Kind::Path,
        default: "the `pipe` at the top",
        at_hup: AtHup::TakenUp,
        meaning: "Pipe to deliver the files into.",
    },
    Key {
        name: "priority",
        kind: Kind::Number(i32::MIN as i64, i32::MAX as i64),
        default: "0",
        at_hup: AtHup::TakenUp,
        meaning: "Priority of this spool among the sources of an output, as for `[[files]]`.",
    },
    Key {
        name: "rate_limit",
        kind: Kind::Rate,
        default: "none",
        at_hup: AtHup::TakenUp,
        meaning: "Maximum reading speed of this spool. The rest waits in it. A file that has begun is finished while \
                  other sources wait for their output; its excess is made up for before the next file.",
    },
    Key {
        name: "max_age",
        kind: Kind::Span,
        default: "\"1d\"",
        at_hup: AtHup::TakenUp,
        meaning: "Time after the last write during which a file without a marker, or a marker without its file, is \
                  left alone.",
    },
    Key {
        name: "stale",
        kind: Kind::Word(&["deliver", "remove"]),
        default: "\"deliver\"",
        at_hup: AtHup::TakenUp,
        meaning: "What to do with a file that got no marker within `max_age` and that nobody writes.",
    },
];
