//! Every key of a configuration file in one table: its field and type, what it takes, its default, what becomes of it at
//! HUP, what the documentation says of it. From the table follow the checked structs and their defaults, what is read of
//! a file, what HUP keeps, the messages and the reference.
//!
//! A new key is an entry here, and what is done with its field. What keys say together is in `check.rs` beside it.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use clap::ValueEnum;

use self::Missing::{Is, Means};
use super::spool::Stale;
use super::table::{FromNode, Table};
use super::tree::{self, Node};
use super::{LineForm, OnCorrupt, Order, Records, StartAt, timestamp};
use crate::turns::rate::Rate;

/// What is known of one key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// What it takes.
    pub takes: Takes,
    /// What counts where it is missing.
    pub default: Missing,
    /// What becomes of another value at HUP.
    pub at_hup: AtHup,
    /// What it does and why.
    pub meaning: &'static str,
}

/// What counts where a key is missing.
#[derive(Clone, Copy, Debug)]
pub enum Missing {
    /// This value, as TOML.
    Is(&'static str),
    /// What these words say.
    Means(&'static str),
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
pub enum Takes {
    /// A whole number, from the first to the second.
    Number(i64, i64),
    /// One of these words.
    Word(fn() -> Vec<String>),
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

impl Takes {
    /// What to write, in words.
    pub fn in_words(self) -> String {
        let beside = |what: &str| format!("{what}; a relative one starts at the directory of this file");
        match self {
            Takes::Number(min, max) => format!("a number from {min} to {max}"),
            Takes::Word(words) => listed(&words(), "or"),
            Takes::Flag => "`true` or `false`".to_string(),
            Takes::Path => beside("a path"),
            Takes::MetricsPath => beside("a path that ends in `.prom`"),
            Takes::PathOrGlob => beside("a path or a glob"),
            Takes::Name => format!("a name of 1 to {NAME_BYTES_MAX} bytes without spaces"),
            Takes::Globs => "a list of globs such as [\"old/app.log*\"]".to_string(),
            Takes::Timestamp => format!("{}, or a strptime pattern such as \"%d.%m.%Y %H:%M:%S\"", timestamp::names()),
            Takes::PathInDir => "a path; a relative one starts at `dir`".to_string(),
            Takes::Span => "a span such as \"30s\", \"1h30m\" or \"1d\"".to_string(),
            Takes::Rate => Rate::EXPECTED.to_string(),
            Takes::Files => "a table for each file".to_string(),
            Takes::Spools => "a table for each spool".to_string(),
        }
    }
}

/// `a`, `b` or `c`, with this word before the last.
pub fn listed(words: &[impl Display], before_last: &str) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} {before_last} {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}

/// Longest name of a source, as a pipe's.
pub const NAME_BYTES_MAX: usize = 200;

/// The words of an enum of the configuration.
fn words<T: ValueEnum>() -> Vec<String> {
    let names = T::value_variants().iter().filter_map(T::to_possible_value);
    names.map(|value| value.get_name().to_owned()).collect()
}

/// What counts where none of these keys is there, as a file would say it.
fn built_in(keys: &[Key]) -> Node {
    let lines = keys.iter().filter_map(|key| match key.default {
        Is(value) => Some(format!("{} = {value}\n", key.name)),
        Means(_) => None,
    });
    tree::from_toml(&lines.collect::<String>()).expect("the defaults of the table are TOML")
}

/// Makes of one table a checked struct, what is read into it, its defaults, and the list of the keys. An entry is a
/// field with its type, `as Kept` if HUP does not take it up, and its key with what it takes, its default and its
/// meaning; a key without a field is read by `check`. Fields that no key says by itself come last.
macro_rules! keys {
    (
        $(#[$about:meta])* $table:ident, $keys:ident { $(
            $($(#[$doc:meta])* $field:ident: $type:ty $(as $kept:ident)? =)?
            $key:literal, $takes:ident $(($($limit:expr),+))?, $default:expr, $meaning:literal;
        )+ }
        also { $($(#[$beside_doc:meta])* $beside:ident: $beside_type:ty,)* }
    ) => {
        $(#[$about])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $table {
            $($($(#[$doc])* pub $field: $type,)?)+
            $($(#[$beside_doc])* pub $beside: $beside_type,)*
        }

        impl $table {
            /// What is said in a table, of which each value is of its kind, and else the defaults; paths start at `dir`.
            pub(super) fn said_in(table: &Table<'_>, dir: &Path) -> $table {
                static BUILT_IN: OnceLock<Node> = OnceLock::new();
                let built_in = BUILT_IN.get_or_init(|| built_in($keys));
                let node = |key| table.get(key).or_else(|| built_in.get(key));
                $table {
                    $($($field: FromNode::from_node(node($key), dir).expect("a default of the type of its key"),)?)+
                    $($beside: Default::default(),)*
                }
            }

            /// Keeps of `before` what HUP does not take up; which keys say something else, by their names.
            pub fn keep(&mut self, before: &$table) -> Vec<&'static str> {
                let mut kept = Vec::new();
                $($(
                    if at_hup!($($kept)?) == AtHup::Kept && self.$field != before.$field {
                        self.$field.clone_from(&before.$field);
                        kept.push($key);
                    }
                )?)+
                kept
            }
        }

        impl Default for $table {
            fn default() -> $table {
                $table::said_in(&Table::default(), Path::new(""))
            }
        }

        #[doc = concat!("The keys of a [`", stringify!($table), "`].")]
        pub const $keys: &[Key] = &[$(Key {
            name: $key,
            takes: Takes::$takes $(($($limit),+))?,
            default: $default,
            at_hup: at_hup!($($($kept)?)?),
            meaning: $meaning,
        },)+];
    };
}

macro_rules! at_hup {
    (Kept) => {
        AtHup::Kept
    };
    () => {
        AtHup::TakenUp
    };
}

keys! {
    /// A checked configuration.
    Config, TOP {
        "files", Files, Means("none: a file or a spool is required"),
            "Files to follow; `[[files]]` in TOML, a list in YAML.";
        "spool", Spools, Means("none"),
            "Directories where short-lived processes write a file each; `[[spool]]` in TOML, a list in YAML.";
        /// The order of lines of several files.
        order: Order as Kept =
            "order", Word(words::<Order>), Is("\"read\""),
            "Order of the lines of several files: as read, or by the time in each line.";
        /// How long a line waits for earlier ones, in the order of timestamps. `None`: for ever, as in a batch.
        window: Option<Duration> as Kept =
            "window_ms", Number(0, 60_000), Is("200"),
            "Time a line waits for earlier lines of other files, with `order = \"timestamp\"`. Where files are polled, \
             it waits one `poll_interval_ms` longer. Later ones are delivered anyway, and counted.";
        /// Where positions are kept. There is one if any file or spool has a pipe.
        state_file: Option<PathBuf> as Kept =
            "state_file", Path, Means("none"),
            "File that records how far each file was delivered. Delivery into a pipe needs it. Without it, each \
             start begins anew. Files beside it whose names begin with its name and a dot belong to it.";
        /// Where numbers for a metrics system go. There is none without a state file.
        metrics_file: Option<PathBuf> as Kept =
            "metrics_file", MetricsPath, Means("none"),
            "File for the textfile collector of node_exporter, replaced every 15 s with numbers for each followed \
             file. Needs a state file. Everybody on the machine may read it, and so learn the paths of the files.";
        "pipe", Path, Means("none: standard output"),
            "Pipe to deliver lines into.";
        /// What lines look like on standard output.
        output: LineForm as Kept =
            "output", Word(words::<LineForm>), Is("\"text\""),
            "Format of lines on standard output; `raw` is each line as in its file.";
        /// How often to look where nothing tells of changes.
        poll_interval: Duration =
            "poll_interval_ms", Number(10, 60_000), Is("250"),
            "Interval between checks of files whose changes inotify does not report.";
        /// Whether inotify is used.
        inotify: bool as Kept =
            "inotify", Flag, Is("true"),
            "Use inotify where it reports all changes; `false` checks every file at each interval.";
        /// How long a new generation waits for writers of the one before.
        late_writer_max: Duration =
            "late_writer_max_ms", Number(0, 3_600_000), Is("10000"),
            "Time a new file waits for processes that still write into the rotated one. Lines written there even \
             later are delivered, and counted as late.";
        /// How long what was delivered into a pipe may not be on disk at its other end.
        // 30 s until the kernel writes, 5 s until it looks, 30 s until a file system commits, and the writing.
        durable_span: Duration as Kept =
            "durable_ms", Number(0, 3_600_000), Is("70000"),
            "Time during which a power failure may lose lines delivered into a pipe: twice the `sync` of its policy \
             if that is a span, else what the kernel needs. After a power failure, delivery continues from that long \
             before. Lines that may be repeated are reported.";
        /// What to do where no state file can be used.
        on_corrupt: OnCorrupt as Kept =
            "on_corrupt", Word(words::<OnCorrupt>), Is("\"fail\""),
            "What to do if the state file and the one before it are both damaged: stop with an error, deliver \
             everything again, or deliver only new lines.";
    }
    also {
        /// What to follow.
        files: Vec<FileConfig>,
        /// Directories whose files are collected. There is one at least if there is no file to follow.
        spools: Vec<SpoolConfig>,
    }
}

keys! {
    /// One entry of `files`: a file, or all that match a glob.
    FileConfig, FILE {
        /// Absolute: a path, or a pattern.
        path: PathBuf =
            "path", PathOrGlob, Means("none: required"),
            "File to follow; a glob with `*`, `?`, `[a-z]` or `**` means all files that match, now or later. The \
             file need not exist yet.";
        /// Globs of files that it leaves out: absolute, or of a file name where there is no slash in it.
        exclude: Vec<String> =
            "exclude", Globs, Is("[]"),
            "Files to leave out although they match `path`, with their rotated files. A glob without a slash is \
             matched against the file name, any other against the whole path. Relative ones start at the directory of \
             this configuration.";
        /// What the source is called; never there under a glob.
        name: Option<String> =
            "name", Name, Means("the file name"),
            "Name of the source in the output. With a glob, each source has its file name; if several have the same, \
             the path below the fixed part of the glob is added.";
        /// Where its lines go; standard output without.
        pipe: Option<PathBuf> =
            "pipe", Path, Means("the `pipe` at the top"),
            "Pipe to deliver the lines of this file into.";
        /// The highest is served first, the lowest is parked first.
        priority: i32 =
            "priority", Number(i32::MIN as i64, i32::MAX as i64), Is("0"),
            "If an output has no room for everything, files with a higher priority go first, and those with the same \
             priority share it. Every sixteenth round is shared by all, so that none waits forever. If there are too \
             few descriptors for all files, those with the lowest priority wait.";
        /// How fast it may be read; as fast as it can be without.
        rate_limit: Option<Rate> =
            "rate_limit", Rate, Means("none"),
            "Maximum reading speed of this file, or of each file under a glob. The rest waits in the file and is \
             never lost. The burst is the amount that may go at once after a pause; by default one second's worth.";
        /// Where to begin in a file that is there at the first start.
        start_at: StartAt =
            "start_at", Word(words::<StartAt>), Is("\"end\""),
            "Where to start in a file that exists at the first start. Files that appear later are read from their \
             beginning, and files in the state file from where they were left.";
        /// What a file holds that was not changed for so long when it is seen for the first time is skipped.
        ignore_older: Option<Duration> =
            "ignore_older", Span, Means("none: no file is too old"),
            "Skip the content of a file that has not changed for this long when it is first seen. Lines added later \
             are read. A file in the state file continues where it was left.";
        /// Globs of rotated siblings as they were written; see [`crate::sources::rotated`].
        rotated: Vec<String> =
            "rotated", Globs, Is("[]"),
            "Where to find rotated files of this one, instead of by the names that rotators usually give. Relative \
             globs start at the directory of the followed file.";
        /// What its lines are.
        format: Records =
            "format", Word(words::<Records>), Is("\"plain\""),
            "Format of the file: plain lines, records of Docker's json-file, or records of containerd and CRI-O. The \
             line in a record is delivered, with its time, joined from its pieces. Lines that are no such records are \
             delivered unchanged, and reported once.";
        /// What the times in its lines look like; with a pattern a time can be read.
        timestamp: crate::out::timestamp::Format =
            "timestamp", Timestamp, Is("\"auto\""),
            "Format of the times in the lines; `auto` detects it.";
        /// How long a rotated generation may be idle before it is closed, where no lease can be had.
        max_idle: Duration =
            "max_idle_ms", Number(10, 86_400_000), Is("5000"),
            "Idle time after which a rotated file that still has a name is closed, where the kernel does not show \
             whether anybody writes into it. It is reopened if it grows later.";
    }
    also {
        /// Which of both.
        is_glob: bool,
    }
}

keys! {
    /// One entry of `spool`.
    SpoolConfig, SPOOL {
        /// The directory of the files; absolute.
        dir: PathBuf =
            "dir", Path, Means("none: required"),
            "Directory to watch. Each regular file in it is delivered whole once it is complete, and then removed. \
             Names that begin with a dot are ignored. The directory need not exist yet.";
        /// The directory of their markers; absolute.
        done: Option<PathBuf> =
            "done", PathInDir, Means("none: a file is complete once nobody writes it"),
            "Directory of the markers: a file is complete once an empty file of the same name is there. Needed where \
             the kernel does not show whether anybody writes a file.";
        /// Where the files go; standard output without.
        pipe: Option<PathBuf> =
            "pipe", Path, Means("the `pipe` at the top"),
            "Pipe to deliver the files into.";
        /// The highest is served first.
        priority: i32 =
            "priority", Number(i32::MIN as i64, i32::MAX as i64), Is("0"),
            "Priority of this spool among the sources of an output, as for `[[files]]`.";
        /// How fast it may be read; as fast as it can be without.
        rate_limit: Option<Rate> =
            "rate_limit", Rate, Means("none"),
            "Maximum reading speed of this spool. The rest waits in it. While other sources wait for the same output, \
             a file that was begun is delivered to its end even beyond this rate; the pause before the next file makes \
             up for that.";
        /// How long a file without a marker, or a marker without its file, is left alone.
        max_age: Duration =
            "max_age", Span, Is("\"1d\""),
            "Time after the last write during which a file without a marker, or a marker without its file, is left \
             alone.";
        /// What becomes of such a file then.
        stale: Stale =
            "stale", Word(words::<Stale>), Is("\"deliver\""),
            "What to do with a file that got no marker within `max_age` and that nobody writes.";
    }
    also {}
}
