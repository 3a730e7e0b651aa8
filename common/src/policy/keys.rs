//! Every key of a policy file in one table, from which the reference and the sample file are made and the help of the
//! flags is taken.
//!
//! Invariant: the table and the parser know the same keys and the same defaults; tests hold them together. Nothing is
//! parsed here.

/// What the documentation says about one key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// The table it stands in: empty for the top level.
    pub table: &'static str,
    /// Its name there.
    pub name: &'static str,
    /// Its value in TOML where no file says otherwise.
    pub default: Default,
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
pub enum Default {
    /// This value.
    Is(&'static str),
    /// There is none; this would be one.
    NoneSuchAs(&'static str),
}

impl Default {
    /// The text to write behind `=` in a sample.
    pub fn sample(self) -> &'static str {
        match self {
            Default::Is(value) | Default::NoneSuchAs(value) => value,
        }
    }
}

/// The help of the flag that sets a key: what it does, the values it takes, its default. Empty for what is no key.
pub(super) fn help(name: &str) -> String {
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

const PIPE: Key = Key {
    table: "",
    name: "",
    default: Default::Is(""),
    takes: "",
    flag_takes: "",
    meaning: "",
    reason: "",
    flag: false,
};
const LANE: Key = Key { flag: true, ..PIPE };
const FIFO: Key = Key { table: "fifo", ..PIPE };

/// All keys, in the order in which the reference lists them: top level first, as TOML wants it.
pub const KEYS: &[Key] = &[
    Key {
        name: "logs",
        default: Default::NoneSuchAs("\"/var/log/standpipe\""),
        takes: "a directory; a relative path starts at the directory of this file",
        meaning: "Log root, with one log directory for each pipe.",
        reason: "Allowed in defaults.toml only. It applies even where another key of that file is wrong, so that a \
                 typo never sends logs elsewhere.",
        ..PIPE
    },
    Key {
        name: "mailbox_dir",
        default: Default::NoneSuchAs("\"/var/lib/standpipe\""),
        takes: "an existing directory; a relative path starts at the directory of this file",
        meaning: "Directory for mailboxes, which keep lines safe when reader is killed.",
        reason: "By default the log root. Needed where its file system has no shared mappings. Mailboxes of an \
                 earlier setting are found through links in the log root. Allowed in defaults.toml only; it applies \
                 like `logs`.",
        ..PIPE
    },
    Key {
        name: "metrics_file",
        default: Default::NoneSuchAs("\"/var/lib/prometheus/node-exporter/standpipe.prom\""),
        takes: "a file whose name ends in `.prom`; a relative path starts at the directory of this file",
        meaning: "File for the textfile collector of node_exporter.",
        reason: "reader replaces it every 15 s with its numbers for each pipe. Everybody on the machine may read it, \
                 and so learn the names of the pipes. Allowed in defaults.toml only; it applies like `logs`.",
        ..PIPE
    },
    Key {
        name: "pipe_size",
        default: Default::Is("\"auto\""),
        takes: "`auto`, or a size from 4KiB to 2GiB",
        meaning: "Number of bytes the pipe holds while nobody reads.",
        reason: "`auto` is 1MiB, or less where many pipes share their user's limit on pipe memory. A size is \
                 requested exactly as given.",
        ..PIPE
    },
    Key {
        name: "stage",
        default: Default::Is("false"),
        takes: "`true`, or `false`",
        meaning: "Let holder create a staging pipe, NAME.stage, beside the FIFO.",
        reason: "Through it tailer delivers each line exactly once, even if tailer is killed. It has the group of the \
                 FIFO. A staging pipe that exists is always held.",
        ..PIPE
    },
    Key {
        name: "stamp",
        default: Default::Is("\"none\""),
        takes: "`none`, `iso`, `tai64n`, `tai64n-s6`, or a strftime pattern",
        meaning: "Put the arrival time and a space before each line.",
        reason: "Arrival times are always kept beside the text, so the text can stay as the server wrote it.",
        ..LANE
    },
    Key {
        name: "prefix",
        default: Default::Is("\"\""),
        takes: "up to 512 bytes without a newline",
        meaning: "Put this text before each line, after the stamp.",
        reason: "Useful for lines that will be merged with those of other hosts.",
        ..LANE
    },
    Key {
        name: "zone",
        default: Default::Is("\"UTC\""),
        takes: "a time zone such as `Europe/Berlin`",
        meaning: "Time zone of `stamp` and `rotate_at`.",
        reason: "No hour of UTC comes twice.",
        ..LANE
    },
    Key {
        name: "filename",
        default: Default::Is("\"%Y-%m-%dT%H-%M-%S.%6fZ\""),
        takes: "text with `%Y`, then `%m` and `%d`, or `%j`, then `%H`, `%M`, `%S`, `%3f` or `%6f`, in this order, as \
                many as needed; or with `%s`, then `%3f` or `%6f`",
        flag_takes: "%Y-%m-%d or %Y-%j, then %H %M %S %3f or %6f as needed; or %s",
        meaning: "Names of parts by time, without the ending `.log`.",
        reason: "Names coarser than a microsecond also get a counter, as in 2026-11-21-000.log. Names must sort by \
                 time, so that `ls` shows the order of parts. After a change, old parts keep their names and their \
                 place.",
        ..LANE
    },
    Key {
        name: "filename_zone",
        default: Default::Is("\"UTC\""),
        takes: "a time zone such as `Europe/Berlin`",
        meaning: "Time zone of `filename`.",
        reason: "Set it to name daily parts after the local day. Names in a zone other than UTC always get a counter. \
                 They sort by time even in the hour that comes twice: names continue from the last one until the \
                 clock has caught up.",
        ..LANE
    },
    Key {
        name: "rotate_size",
        default: Default::Is("\"64MiB\""),
        takes: "a size from 1KiB, or `off`",
        meaning: "Start a new part at this size.",
        reason: "Small parts compress within seconds and are easy to copy.",
        ..LANE
    },
    Key {
        name: "rotate_age",
        default: Default::Is("\"1d\""),
        takes: "a span from 1s, or `off`",
        meaning: "Start a new part when this one is this old.",
        reason: "Quiet pipes get archives, too. The age survives restarts.",
        ..LANE
    },
    Key {
        name: "rotate_at",
        default: Default::Is("\"off\""),
        takes: "`hourly`, `daily`, `HH:MM`, `weekly DAY`, `monthly DAY`, the last two with `HH:MM` if not at \
                midnight, `every Nm` where N divides 60, a list of these, or `off`; on the command line, separate \
                them by commas",
        flag_takes: "hourly, daily, HH:MM, weekly DAY, monthly DAY, every 15m, or off; commas between several",
        meaning: "Start a new part at these times.",
        reason: "Write `daily` for one part a day, or a list such as `[\"06:30\", \"weekly monday\"]`. The times are \
                 in `zone`. In a month without the given day, the last day counts.",
        ..LANE
    },
    Key {
        name: "max_line",
        default: Default::Is("\"1MiB\""),
        takes: "a size from 1 byte, or `off`",
        meaning: "Let rotation wait for the end of an open line of up to this size.",
        reason: "It waits 10 s at most, so that a server that never ends its line cannot block rotation. No byte is \
                 added or dropped.",
        ..LANE
    },
    Key {
        name: "compress",
        default: Default::Is("\"zstd\""),
        takes: "`zstd`, or `none`",
        meaning: "Compress finished parts into archives, or keep them plain.",
        reason: "Logs shrink to a small fraction of their size, and every zstd tool reads the archives.",
        ..LANE
    },
    Key {
        name: "archive_after",
        default: Default::Is("\"0s\""),
        takes: "a span",
        meaning: "Keep a finished part plain for this long before it is compressed.",
        reason: "For agents that follow the files: longer than such an agent may be down. A full disk, `keep_size`, \
                 `keep_free` and the end of standard input do not wait for it.",
        ..LANE
    },
    Key {
        name: "level",
        default: Default::Is("\"auto\""),
        takes: "`auto`, or 1 to 19",
        meaning: "Set the zstd compression level.",
        reason: "`auto` is 8 for a part that filled at less than 1 MiB/s while no other part waits, else 1. On real \
                 logs 8 saves 12 to 23 % of the space; the levels between are larger or slower.",
        ..LANE
    },
    Key {
        name: "search_filter",
        default: Default::Is("\"auto\""),
        takes: "`auto`, or `none`",
        meaning: "Build a search filter into each archive, so that searches skip most of it.",
        reason: "It takes at most 8 % of the archive and makes a search for an id many times faster. `auto` leaves it \
                 out while other parts wait; `reader reindex` adds it later.",
        ..LANE
    },
    Key {
        name: "keep_size",
        default: Default::Is("\"1GiB\""),
        takes: "a size, or `off`",
        meaning: "Limit the disk space of a log by removing its oldest archives.",
        reason: "A log that nobody looks after must not fill the disk.",
        ..LANE
    },
    Key {
        name: "keep_files",
        default: Default::Is("\"off\""),
        takes: "a number from 1, or `off`",
        meaning: "Number of finished parts to keep, not counting the one being written.",
        reason: "Useful with one part a day.",
        ..LANE
    },
    Key {
        name: "keep_age",
        default: Default::Is("\"off\""),
        takes: "a span from 1s, or `off`",
        meaning: "Remove a part this long after its newest line arrived.",
        reason: "Some logs must be deleted after some days. Checked after each archive and every hour.",
        ..LANE
    },
    Key {
        name: "keep_free",
        default: Default::Is("\"5%, at most 4GiB\""),
        takes: "a share of the file system such as `5%`, a size such as `4GiB`, the smaller of both as in `5%, at \
                most 4GiB`, or `off`",
        flag_takes: "5%, 4GiB, \"5%, at most 4GiB\", or off",
        meaning: "Keep this much of the file system free.",
        reason: "Below it, the pipe that uses most space loses its oldest archives. Space reserved for root does not \
                 count as free. With `off`, a full disk makes servers wait until somebody frees space.",
        ..LANE
    },
    Key {
        name: "keep_min",
        default: Default::Is("10"),
        takes: "a number",
        meaning: "Newest finished parts that `keep_free` never deletes; other limits still may.",
        reason: "A disk that others fill must not cost a pipe all its logs.",
        ..LANE
    },
    Key {
        name: "sync",
        default: Default::Is("\"seal\""),
        takes: "`none`, `seal`, or a span from 100ms",
        meaning: "When to fdatasync: `seal` = finished parts not archived within 60 s; a span = also the part being \
                  written, at that interval.",
        reason: "With a span, lines are durable within twice that time; a disk too slow for that is reported. \
                 Archives are always synced. The kernel writes the rest within about 30 s, which matters only in a \
                 power failure.",
        ..LANE
    },
    Key {
        name: "hook",
        default: Default::Is("[]"),
        takes: "a list: the program and its arguments; on the command line, one `--hook` for each word",
        flag_takes: "one --hook for each word of the command",
        meaning: "Run this program for each archive until it succeeds.",
        reason: "It can copy archives elsewhere. It runs without a shell and finds the path of the archive in \
                 STANDPIPE_ARCHIVE.",
        ..LANE
    },
    Key {
        name: "hook_timeout",
        default: Default::Is("\"5m\""),
        takes: "a span from 100ms to 1d",
        meaning: "End a hook, with all processes it started, after this time.",
        reason: "It is retried later. A hook that hangs must not hang forever.",
        ..LANE
    },
    Key {
        name: "file_mode",
        default: Default::Is("\"0640\""),
        takes: "octal permissions such as `0640`, quoted in TOML; the owner must be able to read and write",
        flag_takes: "octal; the owner must be able to read and write",
        meaning: "Permissions of the files in the log directory.",
        reason: "Logs hold secrets: the group may read them, nobody else.",
        ..LANE
    },
    Key {
        name: "file_group",
        default: Default::Is("\"\""),
        takes: "a group's name or number; empty: the group of the log directory",
        flag_takes: "a name or number; empty: that of LOG_DIR",
        meaning: "Group of the files in the log directory.",
        reason: "Each log can be read by the people who run its server.",
        ..LANE
    },
    Key {
        name: "tick",
        default: Default::Is("\"2ms\""),
        takes: "a span from 1ms to 1s",
        meaning: "Delay between reads of a busy pipe; up to 4× when little arrives.",
        reason: "A read for each line would cost many times the CPU. A quiet pipe is read at once.",
        ..LANE
    },
    Key {
        name: "warn_fill",
        default: Default::Is("0.75"),
        takes: "a fraction of the pipe such as `0.75` or `75%`, or `off`",
        flag_takes: "0.75, 75%, or off",
        meaning: "Warn when the pipe is this full for `warn_after`.",
        reason: "A full pipe makes its server wait, and is always reported.",
        ..LANE
    },
    Key {
        name: "warn_after",
        default: Default::Is("\"5s\""),
        takes: "a span, or `off`",
        meaning: "Time for which a pipe must be that full before a warning.",
        reason: "A burst fills a pipe for a moment. `off` turns the warning off.",
        ..LANE
    },
    Key {
        name: "create",
        default: Default::Is("false"),
        takes: "`true`, or `false`",
        meaning: "Let holder create the FIFO if the link's target is missing.",
        reason: "Usually the service manager creates it, with the right owner, before the server starts.",
        ..FIFO
    },
    Key {
        name: "mode",
        default: Default::Is("\"0660\""),
        takes: "octal permissions such as `0660`, quoted in TOML",
        meaning: "Permissions of a FIFO that holder creates.",
        reason: "Whoever can open a FIFO can take lines out, put lines in, or block it.",
        ..FIFO
    },
    Key {
        name: "owner",
        default: Default::Is("\"\""),
        takes: "a user's name or number; empty: holder's own user",
        meaning: "Owner of a FIFO that holder creates.",
        reason: "Some servers hand the log files that they open to their own user. Only root can create a FIFO for \
                 another user.",
        ..FIFO
    },
    Key {
        name: "group",
        default: Default::Is("\"\""),
        takes: "a group's name or number; empty: holder's own group",
        meaning: "Group of a FIFO that holder creates.",
        reason: "The group gives reader access, and survives a chown by the server.",
        ..FIFO
    },
];
