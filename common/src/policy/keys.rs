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
    /// What it does, in one sentence.
    pub meaning: &'static str,
    /// Why it exists or why this is the default, in one sentence.
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

/// The help of the flag that sets a key; empty for what is no key.
pub(super) fn help(name: &str) -> &'static str {
    KEYS.iter().find(|key| key.name == name && key.flag).map_or("", |key| key.meaning)
}

const PIPE: Key =
    Key { table: "", name: "", default: Default::Is(""), takes: "", meaning: "", reason: "", flag: false };
const LANE: Key = Key { flag: true, ..PIPE };
const FIFO: Key = Key { table: "fifo", ..PIPE };

/// All keys, in the order in which the reference lists them: top level first, as TOML wants it.
pub const KEYS: &[Key] = &[
    Key {
        name: "logs",
        default: Default::NoneSuchAs("\"/var/log/standpipe\""),
        takes: "a directory; a relative path starts at this file's directory",
        meaning: "The log root: each pipe NAME is logged into the directory NAME below it.",
        reason: "It stands in defaults.toml only and counts even when another key of that file is wrong, \
                 so that a slip never sends logs elsewhere.",
        ..PIPE
    },
    Key {
        name: "mailbox_dir",
        default: Default::NoneSuchAs("\"/var/lib/standpipe\""),
        takes: "a directory that is there; a relative path starts at this file's directory",
        meaning: "Where the mailboxes of the log root lie; without it, in the log root itself.",
        reason: "For a log root on a file system that has no shared mappings; what an earlier configuration left is \
                 found through links in the log root. It stands in defaults.toml only and counts like `logs`.",
        ..PIPE
    },
    Key {
        name: "pipe_size",
        default: Default::Is("\"auto\""),
        takes: "`auto`, or a size from 4KiB to 2GiB",
        meaning: "How many bytes the pipe holds while nobody reads.",
        reason: "`auto` is 1MiB, or less where that would use up the user's share of pipe memory; \
                 a size is asked for literally.",
        ..PIPE
    },
    Key {
        name: "stage",
        default: Default::Is("false"),
        takes: "`true`, or `false`",
        meaning: "Whether the holder makes a second FIFO, NAME.stage, beside the one the link leads to, with its group.",
        reason: "Through it the tailer delivers into the pipe exactly once, even if it is killed; one that is there \
                 is held in any case.",
        ..PIPE
    },
    Key {
        name: "stamp",
        default: Default::Is("\"none\""),
        takes: "`none`, `iso`, `tai64n`, `tai64n-s6`, or a strftime pattern",
        meaning: "The arrival time that is put before each line, followed by one space.",
        reason: "Arrival times are kept beside the text in any case, so the text stays as the server wrote it.",
        ..LANE
    },
    Key {
        name: "prefix",
        default: Default::Is("\"\""),
        takes: "up to 512 bytes without a newline",
        meaning: "A text that is put before each line, after the stamp, verbatim.",
        reason: "Lines that will be merged elsewhere can carry the name of their host.",
        ..LANE
    },
    Key {
        name: "zone",
        default: Default::Is("\"UTC\""),
        takes: "a name of the time zone database",
        meaning: "The time zone of `stamp` and of `rotate_at`.",
        reason: "UTC has no hour twice.",
        ..LANE
    },
    Key {
        name: "filename",
        default: Default::Is("\"%Y-%m-%dT%H-%M-%S.%6fZ\""),
        takes: "text and fields of the time in `filename_zone`: `%Y`, then `%m` and `%d`, or `%j`, then `%H`, `%M`, `%S`, `%3f` \
                or `%6f`, in this order and as far as wanted; or `%s`, then `%3f` or `%6f`",
        meaning: "The names of parts, without `.log`, which is added; a name coarser than a microsecond gets a counter \
                  too, as in 2026-11-21-000.log.",
        reason: "Only names that sort by time are allowed, so that `ls` tells the order; after a change the old parts \
                 keep their names and their place.",
        ..LANE
    },
    Key {
        name: "filename_zone",
        default: Default::Is("\"UTC\""),
        takes: "a name of the time zone database",
        meaning: "The time zone of `filename`; names of another zone than UTC always get a counter.",
        reason: "For whoever wants the name of a day to be that of the day where they live. Names sort by time even in \
                 the hour that comes twice: they go on from the last one until the clock has caught up.",
        ..LANE
    },
    Key {
        name: "rotate_size",
        default: Default::Is("\"64MiB\""),
        takes: "a size from 1KiB, or `off`",
        meaning: "The size at which a segment is sealed.",
        reason: "A part stays small enough to be compressed within seconds and to be copied around.",
        ..LANE
    },
    Key {
        name: "rotate_age",
        default: Default::Is("\"1d\""),
        takes: "a span from 1s, or `off`",
        meaning: "The age at which a segment is sealed.",
        reason: "Quiet pipes get archives too; the age survives restarts.",
        ..LANE
    },
    Key {
        name: "rotate_at",
        default: Default::Is("\"off\""),
        takes: "`hourly`, `daily`, a time `HH:MM`, `weekly DAY`, `monthly DAY`, both with `HH:MM` behind it if not at \
                midnight, `every Nm` where N divides 60, a list of these, or `off`; as a flag, with commas",
        meaning: "The moments, in `zone`, at which a segment is sealed, as in `[\"06:30\", \"weekly monday\"]`.",
        reason: "For whoever wants one part a day to begin at midnight; a month without such a day has its last.",
        ..LANE
    },
    Key {
        name: "max_line",
        default: Default::Is("\"1MiB\""),
        takes: "a size from 1 byte, or `off`",
        meaning: "How many bytes a due rotation waits for the end of an open line, 10 s at most.",
        reason: "A server that never ends its line must not hold up rotation; no byte is added or dropped.",
        ..LANE
    },
    Key {
        name: "compress",
        default: Default::Is("\"zstd\""),
        takes: "`zstd`, or `none`",
        meaning: "What becomes of a sealed segment: an archive, or nothing.",
        reason: "Logs shrink to a small part of their size, and every zstd tool reads the archive.",
        ..LANE
    },
    Key {
        name: "level",
        default: Default::Is("\"auto\""),
        takes: "`auto`, or 1 to 19",
        meaning: "The zstd level.",
        reason: "`auto` is 8 for a segment that filled slower than 1 MiB a second while no other waits, else 1: on real \
                 logs 8 takes 12 to 23 % less room, and what lies between is larger or slower.",
        ..LANE
    },
    Key {
        name: "keep_size",
        default: Default::Is("\"1GiB\""),
        takes: "a size, or `off`",
        meaning: "How many bytes the log may take on disk; beyond that its oldest archives are removed.",
        reason: "A log that nobody looks after must not fill the disk.",
        ..LANE
    },
    Key {
        name: "keep_files",
        default: Default::Is("\"off\""),
        takes: "a number from 1, or `off`",
        meaning: "How many sealed parts are kept, the segment that is written aside.",
        reason: "For whoever counts parts, as with one a day.",
        ..LANE
    },
    Key {
        name: "keep_age",
        default: Default::Is("\"off\""),
        takes: "a span from 1s, or `off`",
        meaning: "How long a part is kept after the newest arrival in it.",
        reason: "Some logs must be gone after some days; looked at after each archive and hourly.",
        ..LANE
    },
    Key {
        name: "keep_free",
        default: Default::Is("\"5%, at most 4GiB\""),
        takes: "a share of the file system such as `5%`, a size such as `4GiB`, the smaller of both as in \
                `5%, at most 4GiB`, or `off`",
        meaning: "What stays free on the file system, for users other than root; below that the oldest archives of \
                  the pipe that takes most are removed.",
        reason: "Where it is `off`, a full disk lets the writers wait until somebody makes room.",
        ..LANE
    },
    Key {
        name: "keep_min",
        default: Default::Is("10"),
        takes: "a number",
        meaning: "How many of its newest sealed parts a pipe keeps against `keep_free`, which other limits do not heed.",
        reason: "A disk that others fill must not cost a pipe all its logs.",
        ..LANE
    },
    Key {
        name: "sync",
        default: Default::Is("\"seal\""),
        takes: "`none`, `seal`, or a span from 100ms",
        meaning: "When to fdatasync: `seal` = finished parts not archived within 60 s; a span = also the part being \
                  written, at that interval. Lines are durable within twice the span; a disk too slow for that is \
                  reported.",
        reason: "Archives always are; the rest the kernel writes within about 30 s, which counts only if the power goes.",
        ..LANE
    },
    Key {
        name: "hook",
        default: Default::Is("[]"),
        takes: "a list: a program and its arguments; as flags, `--hook` once for each word",
        meaning: "What is run for each archive, without a shell, until it succeeds; it finds the archive in \
                  STANDPIPE_ARCHIVE.",
        reason: "Archives can be copied elsewhere, by whatever program does that best.",
        ..LANE
    },
    Key {
        name: "hook_timeout",
        default: Default::Is("\"5m\""),
        takes: "a span from 100ms to 1d",
        meaning: "How long a hook may take before it and all that it started are ended, and it is tried again.",
        reason: "A hook that hangs must not hang for ever.",
        ..LANE
    },
    Key {
        name: "file_mode",
        default: Default::Is("\"0640\""),
        takes: "permissions in octal, as a string or as 0o640, that let the owner read and write",
        meaning: "The permissions of the files in the log directory.",
        reason: "Logs hold secrets: the group may read them, nobody else.",
        ..LANE
    },
    Key {
        name: "file_group",
        default: Default::Is("\"\""),
        takes: "a group's name or number; empty: the log directory's group",
        meaning: "The group of the files in the log directory.",
        reason: "Each pipe can be read by the people who run its server.",
        ..LANE
    },
    Key {
        name: "tick",
        default: Default::Is("\"2ms\""),
        takes: "a span from 1ms to 1s",
        meaning: "How long a busy pipe gathers bytes between two reads; up to four times as long while they are few.",
        reason: "A read for each line would cost many times the CPU; a quiet pipe is read at once.",
        ..LANE
    },
    Key {
        name: "warn_fill",
        default: Default::Is("0.75"),
        takes: "a part of the pipe's capacity such as `0.75` or `\"75%\"`, or `off`",
        meaning: "How full a pipe is worth a warning; one that takes no more bytes is, in any case.",
        reason: "A full pipe makes its server wait: one should know before that.",
        ..LANE
    },
    Key {
        name: "warn_after",
        default: Default::Is("\"5s\""),
        takes: "a span, or `off`",
        meaning: "How long a pipe must have been that full before a line says so.",
        reason: "A burst fills a pipe for a moment; `off` gives no warning.",
        ..LANE
    },
    Key {
        name: "create",
        default: Default::Is("false"),
        takes: "`true`, or `false`",
        meaning: "Whether the holder makes the FIFO where the link's target is missing.",
        reason: "Usually the service manager makes it, with the right owner, before the server starts.",
        ..FIFO
    },
    Key {
        name: "mode",
        default: Default::Is("\"0660\""),
        takes: "permissions in octal, as a string or as 0o660",
        meaning: "The permissions of a FIFO that the holder makes.",
        reason: "Whoever may open a FIFO may take lines out of it, put lines in, or stall it.",
        ..FIFO
    },
    Key {
        name: "owner",
        default: Default::Is("\"\""),
        takes: "a user's name or number; empty: the holder's own",
        meaning: "The owner of a FIFO that the holder makes.",
        reason: "Some servers take over the owner of the files they open; without root it can only be the holder's.",
        ..FIFO
    },
    Key {
        name: "group",
        default: Default::Is("\"\""),
        takes: "a group's name or number; empty: the holder's own",
        meaning: "The group of a FIFO that the holder makes.",
        reason: "The reader's access comes from the group, which survives a server's chown.",
        ..FIFO
    },
];
