//! Every key of a configuration file in one table: the checks, the messages and the reference are made from it.
//!
//! Invariant: the reference and the parser know the same keys, ranges and defaults; tests hold them together.

use super::timestamp;
use crate::rate::Rate;

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
    /// What it does, why, and from when on.
    pub fn meaning(&self) -> String {
        match self.at_hup {
            AtHup::TakenUp => self.meaning.to_string(),
            AtHup::Kept => format!("{} Takes effect at the next start, not at HUP.", self.meaning),
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
    /// The same, or a glob.
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
            Kind::Path => "a path; a relative one starts at this file's directory".to_string(),
            Kind::PathOrGlob => "a path or a glob; a relative one starts at this file's directory".to_string(),
            Kind::Name => format!("a name of 1 to {NAME_BYTES_MAX} bytes without blanks"),
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
        default: "none: there must be one, or a spool",
        at_hup: AtHup::TakenUp,
        meaning: "The files that are followed; `[[files]]` in TOML, a list in YAML.",
    },
    Key {
        name: "spool",
        kind: Kind::Spools,
        default: "none",
        at_hup: AtHup::TakenUp,
        meaning: "Directories into which short-lived processes write a file each; `[[spool]]` in TOML, a list in YAML.",
    },
    Key {
        name: "order",
        kind: Kind::Word(&["read", "timestamp"]),
        default: "\"read\"",
        at_hup: AtHup::Kept,
        meaning: "The order of lines of several files: as they were read, or by the time in each line.",
    },
    Key {
        name: "window_ms",
        kind: Kind::Number(0, 60_000),
        default: "200",
        at_hup: AtHup::Kept,
        meaning: "How long a line waits for earlier ones of other files, with `order = \"timestamp\"`. What comes later \
                  than that is delivered all the same, and counted.",
    },
    Key {
        name: "state_file",
        kind: Kind::Path,
        default: "none",
        at_hup: AtHup::Kept,
        meaning: "Where it is remembered how far each file was delivered. Needed for delivery into a pipe; without it, \
                  each start begins anew. Files beside it whose names begin with its name and a dot belong to it.",
    },
    Key {
        name: "pipe",
        kind: Kind::Path,
        default: "none: standard output",
        at_hup: AtHup::TakenUp,
        meaning: "The pipe into which lines are delivered.",
    },
    Key {
        name: "output",
        kind: Kind::Word(&["text", "json", "raw"]),
        default: "\"text\"",
        at_hup: AtHup::Kept,
        meaning: "What lines look like on standard output; `raw` is each line as it stands in its file.",
    },
    Key {
        name: "poll_interval_ms",
        kind: Kind::Number(10, 60_000),
        default: "250",
        at_hup: AtHup::TakenUp,
        meaning: "How often files are looked at for which inotify does not tell of changes.",
    },
    Key {
        name: "inotify",
        kind: Kind::Flag,
        default: "true",
        at_hup: AtHup::Kept,
        meaning: "Whether inotify is used where it tells of all changes; `false` looks at every file each interval.",
    },
    Key {
        name: "late_writer_max_ms",
        kind: Kind::Number(0, 3_600_000),
        default: "10000",
        at_hup: AtHup::TakenUp,
        meaning: "How long a new file waits for writers that still write into the one that was rotated away. Lines that \
                  come into that one even later are delivered, and counted as late.",
    },
    Key {
        name: "durable_ms",
        kind: Kind::Number(0, 3_600_000),
        default: "70000",
        at_hup: AtHup::Kept,
        meaning: "How long a power failure may take lines that were delivered into a pipe: twice the `sync` of that pipe's \
                  policy where that is a span, else what the kernel needs. After a power failure delivery goes on from \
                  where it was that long before; what may be repeated is reported.",
    },
    Key {
        name: "on_corrupt",
        kind: Kind::Word(&["fail", "beginning", "end"]),
        default: "\"fail\"",
        at_hup: AtHup::Kept,
        meaning: "What to do where the state file and the one before it are both damaged: end with an error, deliver \
                  everything again, or deliver only what is new.",
    },
];

/// The keys of a file.
pub const FILE: &[Key] = &[
    Key {
        name: "path",
        kind: Kind::PathOrGlob,
        default: "none: it must be there",
        at_hup: AtHup::TakenUp,
        meaning: "The file; with `*`, `?`, `[a-z]` or `**` all that match, also later. It need not exist yet.",
    },
    Key {
        name: "exclude",
        kind: Kind::Globs,
        default: "[]",
        at_hup: AtHup::TakenUp,
        meaning: "Files that are left out although they match `path`, and what was rotated of them. A glob without a slash is \
                  compared with the file name, another one with the whole path; a relative one starts at this file's \
                  directory.",
    },
    Key {
        name: "name",
        kind: Kind::Name,
        default: "the file name",
        at_hup: AtHup::TakenUp,
        meaning: "What the source is called in the output. Under a glob each is called by its file name, and several of \
                  one file name by the path below the part of the glob that is fixed.",
    },
    Key {
        name: "pipe",
        kind: Kind::Path,
        default: "the `pipe` at the top",
        at_hup: AtHup::TakenUp,
        meaning: "The pipe into which lines of this file are delivered.",
    },
    Key {
        name: "priority",
        kind: Kind::Number(i32::MIN as i64, i32::MAX as i64),
        default: "0",
        at_hup: AtHup::TakenUp,
        meaning: "Where an output has no room for all that waits, files of a higher priority go first, and those of one \
                  priority share it; in every sixteenth round all share it alike, so none waits for ever. Where descriptors \
                  are too few for all files, those of the lowest priority wait.",
    },
    Key {
        name: "rate_limit",
        kind: Kind::Rate,
        default: "none",
        at_hup: AtHup::TakenUp,
        meaning: "How fast this file is read, each of them under a glob. What is faster waits in the file and is never \
                  lost. The burst is what may go at once after a rest; without it, a second's worth.",
    },
    Key {
        name: "start_at",
        kind: Kind::Word(&["end", "beginning"]),
        default: "\"end\"",
        at_hup: AtHup::TakenUp,
        meaning: "Where to begin in a file that is there at the first start. One that appears later is read from its \
                  beginning, and one that the state file knows from where it was left.",
    },
    Key {
        name: "ignore_older",
        kind: Kind::Span,
        default: "none: no file is too old",
        at_hup: AtHup::TakenUp,
        meaning: "What a file holds whose last change is longer ago than this when it is seen for the first time is skipped; \
                  what is appended to it later is read. A file that the state file knows goes on where it was left.",
    },
    Key {
        name: "rotated",
        kind: Kind::Globs,
        default: "[]",
        at_hup: AtHup::TakenUp,
        meaning: "Where rotated files of this one are found, instead of by the names that rotators usually give; relative globs start at the \
                  directory of the followed file.",
    },
    Key {
        name: "format",
        kind: Kind::Word(&["plain", "docker", "cri"]),
        default: "\"plain\"",
        at_hup: AtHup::TakenUp,
        meaning: "What the lines of the file are: lines, records of Docker's json-file, or of containerd and CRI-O. Of a record \
                  its line is delivered, with its time, and put together from its pieces. A line that is no such record \
                  passes as it is, and is told once.",
    },
    Key {
        name: "timestamp",
        kind: Kind::Timestamp,
        default: "\"auto\"",
        at_hup: AtHup::TakenUp,
        meaning: "How times stand in the lines; `auto` finds out by itself.",
    },
    Key {
        name: "max_idle_ms",
        kind: Kind::Number(10, 86_400_000),
        default: "5000",
        at_hup: AtHup::TakenUp,
        meaning: "How long a rotated file that still has a name may stay idle before it is closed, where the kernel does \
                  not tell whether anybody writes into it. If it grows later it is opened again.",
    },
];

/// The keys of a spool.
pub const SPOOL: &[Key] = &[
    Key {
        name: "dir",
        kind: Kind::Path,
        default: "none: it must be there",
        at_hup: AtHup::TakenUp,
        meaning: "The directory. Each regular file in it is delivered whole once it is complete, and then removed; \
                  names that begin with a dot are passed over. It need not exist yet.",
    },
    Key {
        name: "done",
        kind: Kind::PathInDir,
        default: "none: a file is complete when nobody writes it any more",
        at_hup: AtHup::TakenUp,
        meaning: "The directory of the markers: a file is complete when an empty file of its name is there. Needed \
                  where the kernel does not tell whether anybody writes a file.",
    },
    Key {
        name: "pipe",
        kind: Kind::Path,
        default: "the `pipe` at the top",
        at_hup: AtHup::TakenUp,
        meaning: "The pipe into which the files are delivered.",
    },
    Key {
        name: "priority",
        kind: Kind::Number(i32::MIN as i64, i32::MAX as i64),
        default: "0",
        at_hup: AtHup::TakenUp,
        meaning: "Whether files of this spool go before or after those of others into one output, as for `[[files]]`.",
    },
    Key {
        name: "rate_limit",
        kind: Kind::Rate,
        default: "none",
        at_hup: AtHup::TakenUp,
        meaning: "How fast this spool is read. What is faster waits in it. A file that was begun is not held back while \
                  others wait for their output: what it took too much is paid back before the next one.",
    },
    Key {
        name: "max_age",
        kind: Kind::Span,
        default: "\"1d\"",
        at_hup: AtHup::TakenUp,
        meaning: "How long after its last write a file without a marker, or a marker without its file, is left alone.",
    },
    Key {
        name: "stale",
        kind: Kind::Word(&["deliver", "remove"]),
        default: "\"deliver\"",
        at_hup: AtHup::TakenUp,
        meaning: "What becomes of a file that got no marker within `max_age`, and that nobody writes.",
    },
];
