//! The policy of a pipe: how it is held, what is put before its lines, when its log is cut and what becomes of it.
//!
//! In the order in which a policy comes about:
//! - [`value`], [`moment`], [`keep`], [`durability`], [`hook`]: the values, each with its rules;
//! - [`keys`]: the table of all keys, and [`Raw`], where each may be missing;
//! - [`file`](mod@file): a policy file, read into a [`Raw`] or refused with line, column and caret;
//! - here: [`Policy`], where none is missing.
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

use std::time::Duration;

use jiff::tz::TimeZone;

pub use self::durability::Durability;
pub use self::file::{Paths, PolicyError, PolicyKind, load};
pub use self::hook::Hook;
pub use self::keep::{Floor, Keep};
pub use self::keys::Raw;
pub use self::moment::{HourMinute, Moment, RotateAt};
pub use self::value::{Compress, Level, MAX_LINE_OFF, PipeSize, SearchFilter};

use self::keep::{KeepAge, KeepFiles, KeepFree, KeepSize};
use crate::part::Pattern;
use crate::stamp::Stamper;
use crate::units::Limit;

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
        let own_filename = raw.filename.clone();
        let raw = raw.clone().over(Raw::built_in().clone());
        let (zone, filename_zone) = (said(raw.zone).0, said(raw.filename_zone).0);
        // The built-in one is another one where the zone is not UTC.
        let filename =
            own_filename.map_or_else(|| Pattern::built_in(&filename_zone), |own| own.in_zone(&filename_zone));
        Policy {
            pipe_size: said(raw.pipe_size),
            stage: said(raw.stage),
            fifo: FifoPolicy {
                create: said(raw.fifo.create),
                mode: said(raw.fifo.mode).0,
                owner: said(raw.fifo.owner).0,
                group: said(raw.fifo.group).0,
            },
            stamper: Stamper { stamp: said(raw.stamp), zone: zone.clone(), prefix: said(raw.prefix).0 },
            zone,
            filename,
            filename_zone,
            rotate_size: said(raw.rotate_size).0,
            rotate_age: said(raw.rotate_age).0,
            rotate_at: said(raw.rotate_at),
            max_line: said(raw.max_line).0,
            compress: said(raw.compress),
            archive_after: said(raw.archive_after).0,
            level: said(raw.level),
            search_filter: said(raw.search_filter),
            keep: Keep {
                size: said(raw.keep_size).0,
                files: said(raw.keep_files).0,
                age: said(raw.keep_age).0,
                free: said(raw.keep_free).0,
                min: said(raw.keep_min).0,
            },
            sync: said(raw.sync),
            hook: Hook::from_words(&said(raw.hook)),
            hook_timeout: said(raw.hook_timeout).0,
            file_mode: said(raw.file_mode).0,
            file_group: said(raw.file_group).0,
            tick: said(raw.tick).0,
            warn_fill: said(raw.warn_fill).0,
            warn_after: said(raw.warn_after).0,
        }
    }

    /// Of a log that no link leads to: only limits that `raw` names remove anything.
    pub fn of_unlinked(raw: &Raw) -> Policy {
        let no_limits = Raw {
            keep_size: Some(KeepSize(Limit::Off)),
            keep_files: Some(KeepFiles(Limit::Off)),
            keep_age: Some(KeepAge(Limit::Off)),
            keep_free: Some(KeepFree(Limit::Off)),
            ..Raw::default()
        };
        Policy::from_raw(&raw.clone().over(no_limits))
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

/// What a key says, which has a default.
fn said<T>(value: Option<T>) -> T {
    value.expect("the table of keys has a default for it")
}

#[cfg(test)]
mod tests;
