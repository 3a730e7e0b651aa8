//! Every key of a policy file in one table: its type and default, what the documentation says of it, and its flag. From
//! the table follow the parser, the layers, the help of the flags, the reference and the sample file.
//!
//! A new key is an entry here, a field of [`Policy`](super::Policy) with the line that fills it, and the decision who takes
//! it up at HUP, without which it does not compile.

use std::sync::OnceLock;

use serde::Deserialize;

use self::BuiltIn::{Is, NoneSuchAs};
use super::durability::Durability;
use super::hook::{self, HookArg, HookTimeout};
use super::keep::{KeepAge, KeepFiles, KeepFree, KeepMin, KeepSize};
use super::moment::RotateAt;
use super::value::{
    Account, ArchiveAfter, Compress, DirPath, FileMode, Level, MaxLine, MetricsPath, Mode, PipeSize, Prefix, RotateAge,
    RotateSize, SearchFilter, Tick, WarnAfter, WarnFill, Zone,
};
use crate::part::Pattern;
use crate::stamp::Stamp;

/// What the documentation says about one key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// The table it stands in: empty for the top level.
    pub table: &'static str,
    /// Its name there.
    pub name: &'static str,
    /// Its value in TOML where no file says otherwise.
    pub default: BuiltIn,
    /// Its unit, or the values it takes.
    pub takes: &'static str,
    /// The same for its flag, in fewer words; empty: as in a file.
    pub flag_takes: &'static str,
    /// What it does, in one short sentence, which is also the help of its flag.
    pub meaning: &'static str,
    /// Why it exists, why this is the default, and what else there is to say.
    pub reason: &'static str,
    /// Whether `reader stdin` offers it as a flag.
    pub flag: bool,
}

/// The default of a key, as it is written in TOML.
#[derive(Clone, Copy, Debug)]
pub enum BuiltIn {
    /// This value.
    Is(&'static str),
    /// There is none; this would be one.
    NoneSuchAs(&'static str),
}

impl BuiltIn {
    /// The text to write behind `=` in a sample.
    pub fn sample(self) -> &'static str {
        match self {
            Is(value) | NoneSuchAs(value) => value,
        }
    }
}

/// The help of the flag that sets a key: what it does, the values it takes, its default. Empty for what is no key.
fn help(name: &str) -> String {
    let Some(key) = KEYS.iter().find(|key| key.name == name && key.flag) else { return String::new() };
    let default = match key.default.sample().trim_matches('"') {
        "" => "empty",
        "[]" => "none",
        value => value,
    };
    let takes = if key.flag_takes.is_empty() { key.takes } else { key.flag_takes };
    let help = format!("{} ({takes}) [default: {default}]", key.meaning.trim_end_matches('.'));
    let as_flags = |help: String, key: &Key| {
        help.replace(&format!("`{}`", key.name), &format!("--{}", key.name.replace('_', "-")))
    };
    KEYS.iter().filter(|key| key.flag).fold(help, as_flags).replace('`', "")
}

const PIPE: Key =
    Key { table: "", name: "", default: Is(""), takes: "", flag_takes: "", meaning: "", reason: "", flag: false };
const LANE: Key = Key { flag: true, ..PIPE };
const FIFO: Key = Key { table: "fifo", ..PIPE };

/// Makes of one table [`Raw`] and its layers, the flags of `reader stdin`, and [`KEYS`]. Keys under `pipe` have no flag;
/// those under `lane` have one, with the name of its value and its heading in brackets; those under `fifo` stand in the
/// table `[fifo]`.
macro_rules! keys {
    (
        pipe { $($pipe:ident: $pipe_type:ident { $($pipe_says:ident: $pipe_text:expr,)+ })+ }
        lane { $(
            $(#[$also:meta])*
            $lane:ident: $lane_type:ident $(<$item:ident>)? [$value:literal, $heading:literal] { $($lane_says:ident: $lane_text:expr,)+ }
        )+ }
        fifo { $($fifo:ident: $fifo_type:ident { $($fifo_says:ident: $fifo_text:expr,)+ })+ }
    ) => {
        /// What one policy file, or the command line of `reader stdin`, says; every key may be missing.
        #[derive(Clone, Debug, Default, PartialEq, Deserialize, clap::Args)]
        #[serde(deny_unknown_fields, default)]
        pub struct Raw {
            $(#[arg(skip)] pub(super) $pipe: Option<$pipe_type>,)+
            $(
                #[arg(long, value_name = $value, help = help(stringify!($lane)), help_heading = $heading)]
                $(#[$also])*
                pub(super) $lane: Option<$lane_type $(<$item>)?>,
            )+
            #[arg(skip)]
            pub(super) fifo: RawFifo,
        }

        /// The table `[fifo]`.
        #[derive(Clone, Debug, Default, PartialEq, Deserialize)]
        #[serde(deny_unknown_fields, default, expecting = "the table [fifo]")]
        pub(super) struct RawFifo {
            $(pub(super) $fifo: Option<$fifo_type>,)+
        }

        impl Raw {
            /// Merges key by key: what is missing here is taken from `lower`.
            #[must_use]
            pub fn over(self, lower: Raw) -> Raw {
                Raw {
                    $($pipe: self.$pipe.or(lower.$pipe),)+
                    $($lane: self.$lane.or(lower.$lane),)+
                    fifo: RawFifo { $($fifo: self.fifo.$fifo.or(lower.fifo.$fifo),)+ },
                }
            }
        }

        /// All keys, in the order in which the reference lists them: top level first, as TOML wants it.
        pub const KEYS: &[Key] = &[
            $(Key { name: stringify!($pipe), $($pipe_says: $pipe_text,)+ ..PIPE },)+
            $(Key { name: stringify!($lane), $($lane_says: $lane_text,)+ ..LANE },)+
            $(Key { name: stringify!($fifo), $($fifo_says: $fifo_text,)+ ..FIFO },)+
        ];
    };
}

impl Raw {
    /// The defaults of the table.
    pub(super) fn built_in() -> &'static Raw {
        static BUILT_IN: OnceLock<Raw> = OnceLock::new();
        BUILT_IN.get_or_init(|| {
            let lines = KEYS.iter().filter_map(|key| match key.default {
                Is(value) if key.table.is_empty() => Some(format!("{} = {value}\n", key.name)),
                Is(value) => Some(format!("{}.{} = {value}\n", key.table, key.name)),
                NoneSuchAs(_) => None,
            });
            toml::from_str(&lines.collect::<String>()).expect("the defaults of the table are values of their keys")
        })
    }
}

keys! {
    pipe {
        logs: DirPath {
            default: NoneSuchAs("\"/var/log/standpipe\""),
            takes: "a directory; a relative path starts at the directory of this file",
            meaning: "Log root, with one log directory for each pipe.",
            reason: "Allowed in defaults.toml only. It applies even where another key of that file is wrong, so that a \
                     typo never sends logs elsewhere.",
        }
        mailbox_dir: DirPath {
            default: NoneSuchAs("\"/var/lib/standpipe\""),
            takes: "an existing directory; a relative path starts at the directory of this file",
            meaning: "Directory for mailboxes, which keep lines safe when reader is killed.",
            reason: "By default the log root. Needed where its file system has no shared mappings. Mailboxes of an \
                     earlier setting are found through links in the log root. Allowed in defaults.toml only; it applies \
                     like `logs`.",
        }
        metrics_file: MetricsPath {
            default: NoneSuchAs("\"/var/lib/prometheus/node-exporter/standpipe.prom\""),
            takes: "a file whose name ends in `.prom`; a relative path starts at the directory of this file",
            meaning: "File for the textfile collector of node_exporter.",
            reason: "reader replaces it every 15 s with its numbers for each pipe. Everybody on the machine may read it, \
                     and so learn the names of the pipes. Allowed in defaults.toml only; it applies like `logs`.",
        }
        pipe_size: PipeSize {
            default: Is("\"auto\""),
            takes: "`auto`, or a size from 4KiB to 2GiB",
            meaning: "Number of bytes the pipe holds while nobody reads.",
            reason: "`auto` is 1MiB, or less where many pipes share their user's limit on pipe memory. A size is \
                     requested exactly as given.",
        }
        stage: bool {
            default: Is("false"),
            takes: "`true`, or `false`",
            meaning: "Let holder create a staging pipe, NAME.stage, beside the FIFO.",
            reason: "Through it tailer delivers each line exactly once, even if tailer is killed. It has the group of the \
                     FIFO. A staging pipe that exists is always held.",
        }
    }
    lane {
        stamp: Stamp ["STAMP", "Lines"] {
            default: Is("\"none\""),
            takes: "`none`, `iso`, `tai64n`, `tai64n-s6`, or a strftime pattern",
            meaning: "Put the arrival time and a space before each line.",
            reason: "Arrival times are always kept beside the text, so the text can stay as the server wrote it.",
        }
        prefix: Prefix ["TEXT", "Lines"] {
            default: Is("\"\""),
            takes: "up to 512 bytes without a newline",
            meaning: "Put this text before each line, after the stamp.",
            reason: "Useful for lines that will be merged with those of other hosts.",
        }
        zone: Zone ["ZONE", "Lines"] {
            default: Is("\"UTC\""),
            takes: "a time zone such as `Europe/Berlin`",
            meaning: "Time zone of `stamp` and `rotate_at`.",
            reason: "UTC has no daylight saving time, so no hour occurs twice.",
        }
        filename: Pattern ["PATTERN", "Rotation"] {
            default: Is("\"%Y-%m-%dT%H-%M-%S.%6fZ\""),
            takes: "text with `%Y`, then `%m` and `%d`, or `%j`, then `%H`, `%M`, `%S`, `%3f` or `%6f`, in this order, as \
                    many as needed; or with `%s`, then `%3f` or `%6f`",
            flag_takes: "%Y-%m-%d or %Y-%j, then %H %M %S %3f or %6f as needed; or %s",
            meaning: "Names of parts by time, without the ending `.log`.",
            reason: "Names coarser than a microsecond also get a counter, as in 2026-11-21-000.log. Names must sort by \
                     time, so that `ls` shows the order of parts. After a change, old parts keep their names and their \
                     place.",
        }
        filename_zone: Zone ["ZONE", "Rotation"] {
            default: Is("\"UTC\""),
            takes: "a time zone such as `Europe/Berlin`",
            meaning: "Time zone of `filename`.",
            reason: "Set it to name daily parts after the local day. Names in a zone other than UTC always get a counter. \
                     They sort by time even in the hour that occurs twice: names continue from the last one until the \
                     clock has caught up.",
        }
        rotate_size: RotateSize ["SIZE", "Rotation"] {
            default: Is("\"64MiB\""),
            takes: "a size from 1KiB, or `off`",
            meaning: "Start a new part at this size.",
            reason: "Small parts compress within seconds and are easy to copy.",
        }
        rotate_age: RotateAge ["SPAN", "Rotation"] {
            default: Is("\"1d\""),
            takes: "a span from 1s, or `off`",
            meaning: "Start a new part when this one is this old.",
            reason: "Quiet pipes get archives, too. The age survives restarts.",
        }
        rotate_at: RotateAt ["TIME,...", "Rotation"] {
            default: Is("\"off\""),
            takes: "`hourly`, `daily`, `HH:MM`, `weekly DAY`, `monthly DAY`, the last two with `HH:MM` if not at \
                    midnight, `every Nm` where N divides 60, a list of these, or `off`; on the command line, separate \
                    them by commas",
            flag_takes: "hourly, daily, HH:MM, weekly DAY, monthly DAY, every 15m, or off; commas between several",
            meaning: "Start a new part at these times.",
            reason: "Write `daily` for one part a day, or a list such as `[\"06:30\", \"weekly monday\"]`. The times are \
                     in `zone`. In a month without the given day, the last day counts.",
        }
        max_line: MaxLine ["SIZE", "Rotation"] {
            default: Is("\"1MiB\""),
            takes: "a size from 1 byte, or `off`",
            meaning: "Let rotation wait for the end of an open line of up to this size; nothing is cut.",
            reason: "It waits 10 s at most, so that a server that never ends its line cannot block rotation.",
        }
        compress: Compress ["zstd|none", "Archives"] {
            default: Is("\"zstd\""),
            takes: "`zstd`, or `none`",
            meaning: "Compress finished parts into archives, or keep them plain.",
            reason: "Logs shrink to a small fraction of their size, and every zstd tool reads the archives.",
        }
        archive_after: ArchiveAfter ["SPAN", "Archives"] {
            default: Is("\"0s\""),
            takes: "a span",
            meaning: "Keep a finished part plain for this long before it is compressed.",
            reason: "Set it for agents that follow the files, to more than the longest time such an agent is down. A \
                     full disk, `keep_size`, `keep_free` and the end of standard input do not wait for it.",
        }
        level: Level ["LEVEL", "Archives"] {
            default: Is("\"auto\""),
            takes: "`auto`, or 1 to 19",
            meaning: "Set the zstd compression level.",
            reason: "`auto` is 8 for a part that filled at less than 1 MiB/s while no other part waits, else 1. On real \
                     logs 8 saves 12 to 23 % of the space; the levels between are larger or slower.",
        }
        search_filter: SearchFilter ["auto|none", "Archives"] {
            default: Is("\"auto\""),
            takes: "`auto`, or `none`",
            meaning: "Build a search filter into each archive, so that searches skip most of it.",
            reason: "It takes at most 8 % of the archive and makes a search for an id many times faster. `auto` leaves it \
                     out while other parts wait; `reader reindex` adds it later.",
        }
        keep_size: KeepSize ["SIZE", "Retention"] {
            default: Is("\"1GiB\""),
            takes: "a size, or `off`",
            meaning: "Limit the disk space of a log by removing its oldest archives.",
            reason: "A log that nobody looks after must not fill the disk.",
        }
        keep_files: KeepFiles ["NUMBER", "Retention"] {
            default: Is("\"off\""),
            takes: "a number from 1, or `off`",
            meaning: "Number of finished parts to keep, not counting the one being written.",
            reason: "Useful with one part a day.",
        }
        keep_age: KeepAge ["SPAN", "Retention"] {
            default: Is("\"off\""),
            takes: "a span from 1s, or `off`",
            meaning: "Remove a part this long after its newest line arrived.",
            reason: "Some logs must be deleted after some days. Checked after each archive and every hour.",
        }
        keep_free: KeepFree ["FREE", "Retention"] {
            default: Is("\"5%, at most 4GiB\""),
            takes: "a share of the file system such as `5%`, a size such as `4GiB`, the smaller of both as in `5%, at \
                    most 4GiB`, or `off`",
            flag_takes: "5%, 4GiB, \"5%, at most 4GiB\", or off",
            meaning: "Keep this much of the file system free.",
            reason: "Below it, the pipe that uses most space loses its oldest archives. Space reserved for root does not \
                     count as free. With `off`, a full disk makes servers wait until somebody frees space.",
        }
        keep_min: KeepMin ["NUMBER", "Retention"] {
            default: Is("10"),
            takes: "a number",
            meaning: "Newest finished parts that `keep_free` never deletes; other limits still may.",
            reason: "A disk that others fill must not cost a pipe all its logs.",
        }
        sync: Durability ["none|seal|SPAN", "Files"] {
            default: Is("\"seal\""),
            takes: "`none`, `seal`, or a span from 100ms",
            meaning: "When to fdatasync: `seal` = finished parts not archived within 60 s; a span = also the part being \
                      written, at that interval.",
            reason: "With a span, lines are durable within twice that time; a disk too slow for that is reported. \
                     Archives are always synced. The kernel writes the rest within about 30 s, which matters only in a \
                     power failure.",
        }
        #[arg(allow_hyphen_values = true)]
        #[serde(deserialize_with = "hook::words")]
        hook: Vec<HookArg> ["WORD", "Archives"] {
            default: Is("[]"),
            takes: "a list: the program and its arguments; on the command line, one `--hook` for each word",
            flag_takes: "one --hook for each word of the command",
            meaning: "Run this program for each archive until it succeeds.",
            reason: "It can copy archives elsewhere. It runs without a shell and finds the path of the archive in \
                     STANDPIPE_ARCHIVE.",
        }
        hook_timeout: HookTimeout ["SPAN", "Archives"] {
            default: Is("\"5m\""),
            takes: "a span from 100ms to 1d",
            meaning: "End a hook, with all processes it started, after this time.",
            reason: "It is retried later. A hook that hangs must not hang forever.",
        }
        file_mode: FileMode ["MODE", "Files"] {
            default: Is("\"0640\""),
            takes: "octal permissions such as `0640`, quoted in TOML; the owner must be able to read and write",
            flag_takes: "octal; the owner must be able to read and write",
            meaning: "Permissions of the files in the log directory.",
            reason: "Logs hold secrets: the group may read them, nobody else.",
        }
        file_group: Account ["GROUP", "Files"] {
            default: Is("\"\""),
            takes: "a group's name or number; empty: the group of the log directory",
            flag_takes: "a name or number; empty: that of LOG_DIR",
            meaning: "Group of the files in the log directory.",
            reason: "Each log can be read by the people who run its server.",
        }
        tick: Tick ["SPAN", "Pipe"] {
            default: Is("\"2ms\""),
            takes: "a span from 1ms to 1s",
            meaning: "Delay between reads of a busy pipe; up to 4× when little arrives.",
            reason: "A read for each line would cost many times the CPU. A quiet pipe is read at once.",
        }
        warn_fill: WarnFill ["FRACTION", "Pipe"] {
            default: Is("0.75"),
            takes: "a fraction of the pipe such as `0.75` or `75%`, or `off`",
            flag_takes: "0.75, 75%, or off",
            meaning: "Warn when the pipe is this full for `warn_after`.",
            reason: "A full pipe makes its server wait, and is always reported.",
        }
        warn_after: WarnAfter ["SPAN", "Pipe"] {
            default: Is("\"5s\""),
            takes: "a span, or `off`",
            meaning: "Time for which a pipe must be that full before a warning.",
            reason: "A burst fills a pipe for a moment. `off` turns the warning off.",
        }
    }
    fifo {
        create: bool {
            default: Is("false"),
            takes: "`true`, or `false`",
            meaning: "Let holder create the FIFO if the link's target is missing.",
            reason: "Usually the service manager creates it, with the right owner, before the server starts.",
        }
        mode: Mode {
            default: Is("\"0660\""),
            takes: "octal permissions such as `0660`, quoted in TOML",
            meaning: "Permissions of a FIFO that holder creates.",
            reason: "Whoever can open a FIFO can take lines out, put lines in, or block it.",
        }
        owner: Account {
            default: Is("\"\""),
            takes: "a user's name or number; empty: holder's own user",
            meaning: "Owner of a FIFO that holder creates.",
            reason: "Some servers hand the log files that they open to their own user. Only root can create a FIFO for \
                     another user.",
        }
        group: Account {
            default: Is("\"\""),
            takes: "a group's name or number; empty: holder's own group",
            meaning: "Group of a FIFO that holder creates.",
            reason: "The group gives reader access, and survives a chown by the server.",
        }
    }
}
