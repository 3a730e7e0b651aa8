//! The policy of a pipe: how it is held, what is put before its lines, when its log is cut and what becomes of it.
//!
//! In the order in which a policy comes about:
//! - [`value`], [`moment`], [`keep`], [`durability`], [`hook`]: the values, each with its rules;
//! - [`keys`]: what the documentation says of each key;
//! - [`file`](mod@file): a policy file, read into a [`Raw`] or refused with line, column and caret;
//! - here: [`Raw`], where every key may be missing, and [`Policy`], where none is.
//!
//! Invariant: a [`Policy`] can be used as it is. Which files there are, and which of them belongs to which pipe, says
//! [`crate::pipes`].

pub mod durability;
pub mod file;
pub mod hook;
pub mod keep;
pub mod keys;
pub mod moment;
pub mod oddities;
pub mod value;

use std::path::Path;
use std::time::Duration;

use jiff::tz::TimeZone;
use serde::Deserialize;

pub use self::durability::Durability;
pub use self::file::{Kind, Paths, PolicyError, load};
pub use self::hook::Hook;
pub use self::keep::{Floor, Keep};
pub use self::moment::{HourMinute, Moment, RotateAt};
pub use self::value::{Compress, Level, MAX_LINE_OFF, PipeSize, SearchFilter};

use self::hook::{HookArg, HookTimeout};
use self::keep::{KeepAge, KeepFiles, KeepFree, KeepMin, KeepSize};
use self::keys::help;
use self::value::{
    Account, ArchiveAfter, DirPath, FileMode, MaxLine, MetricsPath, Mode, Prefix, RotateAge, RotateSize, Tick,
    WarnAfter, WarnFill, Zone,
};
use crate::part::Pattern;
use crate::stamp::{Stamp, Stamper};
use crate::units::Limit;

/// What one policy file, or the command line of `reader stdin`, says; every key may be missing.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, clap::Args)]
#[serde(deny_unknown_fields, default)]
pub struct Raw {
    #[arg(skip)]
    logs: Option<DirPath>,
    #[arg(skip)]
    mailbox_dir: Option<DirPath>,
    #[arg(skip)]
    metrics_file: Option<MetricsPath>,
    #[arg(skip)]
    pipe_size: Option<PipeSize>,
    #[arg(skip)]
    stage: Option<bool>,
    #[arg(long, value_name = "STAMP", help = help("stamp"), help_heading = "Lines")]
    stamp: Option<Stamp>,
    #[arg(long, value_name = "TEXT", help = help("prefix"), help_heading = "Lines")]
    prefix: Option<Prefix>,
    #[arg(long, value_name = "ZONE", help = help("zone"), help_heading = "Lines")]
    zone: Option<Zone>,
    #[arg(long, value_name = "PATTERN", help = help("filename"), help_heading = "Rotation")]
    filename: Option<Pattern>,
    #[arg(long, value_name = "ZONE", help = help("filename_zone"), help_heading = "Rotation")]
    filename_zone: Option<Zone>,
    #[arg(long, value_name = "SIZE", help = help("rotate_size"), help_heading = "Rotation")]
    rotate_size: Option<RotateSize>,
    #[arg(long, value_name = "SPAN", help = help("rotate_age"), help_heading = "Rotation")]
    rotate_age: Option<RotateAge>,
    #[arg(long, value_name = "TIME,...", help = help("rotate_at"), help_heading = "Rotation")]
    rotate_at: Option<RotateAt>,
    #[arg(long, value_name = "SIZE", help = help("max_line"), help_heading = "Rotation")]
    max_line: Option<MaxLine>,
    #[arg(long, value_name = "zstd|none", help = help("compress"), help_heading = "Archives")]
    compress: Option<Compress>,
    #[arg(long, value_name = "SPAN", help = help("archive_after"), help_heading = "Archives")]
    archive_after: Option<ArchiveAfter>,
    #[arg(long, value_name = "LEVEL", help = help("level"), help_heading = "Archives")]
    level: Option<Level>,
    #[arg(long, value_name = "auto|none", help = help("search_filter"), help_heading = "Archives")]
    search_filter: Option<SearchFilter>,
    #[arg(long, value_name = "SIZE", help = help("keep_size"), help_heading = "Retention")]
    keep_size: Option<KeepSize>,
    #[arg(long, value_name = "NUMBER", help = help("keep_files"), help_heading = "Retention")]
    keep_files: Option<KeepFiles>,
    #[arg(long, value_name = "SPAN", help = help("keep_age"), help_heading = "Retention")]
    keep_age: Option<KeepAge>,
    #[arg(long, value_name = "FREE", help = help("keep_free"), help_heading = "Retention")]
    keep_free: Option<KeepFree>,
    #[arg(long, value_name = "NUMBER", help = help("keep_min"), help_heading = "Retention")]
    keep_min: Option<KeepMin>,
    #[arg(long, value_name = "none|seal|SPAN", help = help("sync"), help_heading = "Files")]
    sync: Option<Durability>,
    #[arg(long, value_name = "WORD", allow_hyphen_values = true, help = help("hook"), help_heading = "Archives")]
    #[serde(deserialize_with = "hook::words")]
    hook: Option<Vec<HookArg>>,
    #[arg(long, value_name = "SPAN", help = help("hook_timeout"), help_heading = "Archives")]
    hook_timeout: Option<HookTimeout>,
    #[arg(long, value_name = "MODE", help = help("file_mode"), help_heading = "Files")]
    file_mode: Option<FileMode>,
    #[arg(long, value_name = "GROUP", help = help("file_group"), help_heading = "Files")]
    file_group: Option<Account>,
    #[arg(long, value_name = "SPAN", help = help("tick"), help_heading = "Pipe")]
    tick: Option<Tick>,
    #[arg(long, value_name = "FRACTION", help = help("warn_fill"), help_heading = "Pipe")]
    warn_fill: Option<WarnFill>,
    #[arg(long, value_name = "SPAN", help = help("warn_after"), help_heading = "Pipe")]
    warn_after: Option<WarnAfter>,
    #[arg(skip)]
    fifo: RawFifo,
}

/// The table `[fifo]`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "the table [fifo]")]
struct RawFifo {
    create: Option<bool>,
    mode: Option<Mode>,
    owner: Option<Account>,
    group: Option<Account>,
}

impl Raw {
    /// Merges key by key: what is missing here is taken from `lower`.
    #[must_use]
    pub fn over(self, lower: Raw) -> Raw {
        Raw {
            logs: self.logs.or(lower.logs),
            mailbox_dir: self.mailbox_dir.or(lower.mailbox_dir),
            metrics_file: self.metrics_file.or(lower.metrics_file),
            pipe_size: self.pipe_size.or(lower.pipe_size),
            stage: self.stage.or(lower.stage),
            stamp: self.stamp.or(lower.stamp),
            prefix: self.prefix.or(lower.prefix),
            zone: self.zone.or(lower.zone),
            filename: self.filename.or(lower.filename),
            filename_zone: self.filename_zone.or(lower.filename_zone),
            rotate_size: self.rotate_size.or(lower.rotate_size),
            rotate_age: self.rotate_age.or(lower.rotate_age),
            rotate_at: self.rotate_at.or(lower.rotate_at),
            max_line: self.max_line.or(lower.max_line),
            compress: self.compress.or(lower.compress),
            archive_after: self.archive_after.or(lower.archive_after),
            level: self.level.or(lower.level),
            search_filter: self.search_filter.or(lower.search_filter),
            keep_size: self.keep_size.or(lower.keep_size),
            keep_files: self.keep_files.or(lower.keep_files),
            keep_age: self.keep_age.or(lower.keep_age),
            keep_free: self.keep_free.or(lower.keep_free),
            keep_min: self.keep_min.or(lower.keep_min),
            sync: self.sync.or(lower.sync),
            hook: self.hook.or(lower.hook),
            hook_timeout: self.hook_timeout.or(lower.hook_timeout),
            file_mode: self.file_mode.or(lower.file_mode),
            file_group: self.file_group.or(lower.file_group),
            tick: self.tick.or(lower.tick),
            warn_fill: self.warn_fill.or(lower.warn_fill),
            warn_after: self.warn_after.or(lower.warn_after),
            fifo: RawFifo {
                create: self.fifo.create.or(lower.fifo.create),
                mode: self.fifo.mode.or(lower.fifo.mode),
                owner: self.fifo.owner.or(lower.fifo.owner),
                group: self.fifo.group.or(lower.fifo.group),
            },
        }
    }
}

impl Raw {
    /// Says which file it is from: relative paths in it start there.
    fn read_from(&mut self, file: &Path) {
        if let Some(words) = &mut self.hook {
            hook::beside(file, words);
        }
    }

    /// The limits, and `otherwise` for those of which nothing is said.
    fn keep(&self, otherwise: Keep) -> Keep {
        Keep {
            size: self.keep_size.map_or(otherwise.size, |size| size.0),
            files: self.keep_files.map_or(otherwise.files, |files| files.0),
            age: self.keep_age.map_or(otherwise.age, |age| age.0),
            free: self.keep_free.map_or(otherwise.free, |free| free.0),
            min: self.keep_min.map_or(otherwise.min, |min| min.0),
        }
    }
}

/// What holder and reader do with a FIFO that is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FifoPolicy {
    /// Whether the holder makes it.
    pub create: bool,
    /// Its permission bits.
    pub mode: u32,
    /// Its owner by name or number; `None`: the holder's own.
    pub owner: Option<String>,
    /// Its group by name or number; `None`: the holder's own.
    pub group: Option<String>,
}

/// The checked policy of one pipe.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// How large the holder makes the pipe.
    pub pipe_size: PipeSize,
    /// Whether the holder makes the staging pipe beside it.
    pub stage: bool,
    /// Making the FIFO.
    pub fifo: FifoPolicy,
    /// What is put before each line: `stamp`, `prefix` and `zone`.
    pub stamper: Stamper,
    /// The zone of `rotate_at`, the same as the stamper's.
    pub zone: TimeZone,
    /// The names of parts, in the time of `filename_zone`.
    pub filename: Pattern,
    /// Which time that is.
    pub filename_zone: TimeZone,
    /// The size in bytes at which a segment is sealed, at least 1 KiB.
    pub rotate_size: Limit<u64>,
    /// The age at which a segment is sealed, at least 1 s.
    pub rotate_age: Limit<Duration>,
    /// The moments of the calendar at which a segment is sealed.
    pub rotate_at: RotateAt,
    /// Bytes for which a due rotation waits for the end of a line, at least 1; [`MAX_LINE_OFF`] where it is off.
    pub max_line: u64,
    /// What becomes of a sealed segment.
    pub compress: Compress,
    /// How long a sealed segment stays plain before it is compressed.
    pub archive_after: Duration,
    /// How hard the archiver tries.
    pub level: Level,
    /// Whether archives get a search filter.
    pub search_filter: SearchFilter,
    /// How much of the log is kept.
    pub keep: Keep,
    /// What is made durable before there is an archive.
    pub sync: Durability,
    /// What each archive is handed over to.
    pub hook: Option<Hook>,
    /// How long that may take.
    pub hook_timeout: Duration,
    /// Permission bits of the files in the log directory; the owner can always read and write.
    pub file_mode: u32,
    /// Their group by name or number; `None`: the directory's.
    pub file_group: Option<String>,
    /// How long a busy pipe gathers bytes between two reads, 1 ms to 1 s.
    pub tick: Duration,
    /// The part of its capacity from which a pipe counts as crowded; a full one always does.
    pub warn_fill: Limit<f64>,
    /// How long a pipe is crowded before that is said.
    pub warn_after: Limit<Duration>,
}

impl Default for Policy {
    /// The built-in defaults.
    fn default() -> Policy {
        Policy::from_raw(&Raw::default())
    }
}

impl Policy {
    /// The built-in defaults with what `raw` says.
    pub fn from_raw(raw: &Raw) -> Policy {
        let zone = raw.zone.as_ref().map_or(TimeZone::UTC, |zone| zone.0.clone());
        let filename_zone = raw.filename_zone.as_ref().map_or(TimeZone::UTC, |zone| zone.0.clone());
        let filename = raw.filename.clone().map(|filename| filename.in_zone(&filename_zone));
        let account = |account: &Option<Account>| account.as_ref().and_then(|account| account.0.clone());
        Policy {
            pipe_size: raw.pipe_size.unwrap_or(PipeSize::Auto),
            stage: raw.stage.unwrap_or(false),
            fifo: FifoPolicy {
                create: raw.fifo.create.unwrap_or(false),
                mode: raw.fifo.mode.map_or(0o660, |mode| mode.0),
                owner: account(&raw.fifo.owner),
                group: account(&raw.fifo.group),
            },
            stamper: Stamper {
                stamp: raw.stamp.clone().unwrap_or(Stamp::None),
                zone: zone.clone(),
                prefix: raw.prefix.clone().unwrap_or_default().0,
            },
            zone,
            filename: filename.unwrap_or_else(|| Pattern::built_in(&filename_zone)),
            filename_zone,
            rotate_size: raw.rotate_size.map_or(Limit::At(64 << 20), |size| size.0),
            rotate_age: raw.rotate_age.map_or(Limit::At(Duration::from_secs(24 * 60 * 60)), |age| age.0),
            rotate_at: raw.rotate_at.clone().unwrap_or_default(),
            max_line: raw.max_line.map_or(1 << 20, |max| max.0),
            compress: raw.compress.unwrap_or(Compress::Zstd),
            archive_after: raw.archive_after.map_or(Duration::ZERO, |after| after.0),
            level: raw.level.unwrap_or(Level::Auto),
            search_filter: raw.search_filter.unwrap_or(SearchFilter::Auto),
            keep: raw.keep(Keep::default()),
            sync: raw.sync.unwrap_or(Durability::Seal),
            hook: raw.hook.as_deref().and_then(Hook::from_words),
            hook_timeout: raw.hook_timeout.map_or(Duration::from_secs(300), |timeout| timeout.0),
            file_mode: raw.file_mode.map_or(0o640, |mode| mode.0),
            file_group: account(&raw.file_group),
            tick: raw.tick.map_or(Duration::from_millis(2), |tick| tick.0),
            warn_fill: raw.warn_fill.map_or(Limit::At(0.75), |fill| fill.0),
            warn_after: raw.warn_after.map_or(Limit::At(Duration::from_secs(5)), |after| after.0),
        }
    }

    /// Of a log that no link leads to: only limits that `raw` names remove anything.
    pub fn of_unlinked(raw: &Raw) -> Policy {
        let built_in = Keep::default();
        let keep =
            raw.keep(Keep { size: Limit::Off, files: Limit::Off, age: Limit::Off, free: Limit::Off, ..built_in });
        Policy { keep, ..Policy::from_raw(raw) }
    }

    /// The keys that say something else than `before`, and that count only where a FIFO is made: what stands there is
    /// never changed. All others are taken up at HUP, by the holder or by the reader. A new key does not compile before
    /// it is decided here which of both it is.
    pub fn only_for_new_fifos(&self, before: &Policy) -> Vec<&'static str> {
        let Policy {
            fifo: FifoPolicy { create, mode, owner, group },
            // The holder's.
            pipe_size: _,
            stage: _,
            // The reader's, from the next line or the next part on.
            stamper: _,
            zone: _,
            filename: _,
            filename_zone: _,
            rotate_size: _,
            rotate_age: _,
            rotate_at: _,
            max_line: _,
            compress: _,
            archive_after: _,
            level: _,
            search_filter: _,
            keep: _,
            sync: _,
            hook: _,
            hook_timeout: _,
            file_mode: _,
            file_group: _,
            tick: _,
            warn_fill: _,
            warn_after: _,
        } = self;
        let others = [
            ("fifo.mode", *mode != before.fifo.mode),
            ("fifo.owner", *owner != before.fifo.owner),
            ("fifo.group", *group != before.fifo.group),
        ];
        // Who makes no FIFO says nothing about how.
        others.into_iter().filter(|(_, is_other)| *create && *is_other).map(|(key, _)| key).collect()
    }

    /// The built-in defaults with what the flags of `reader stdin` say; no file has a say.
    pub fn from_flags(flags: &Raw) -> Policy {
        Policy::from_raw(flags)
    }
}

#[cfg(test)]
mod tests;
