//! What a source is told from outside: its settings, the hints for a look, and what stands around its file.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use standpipe_common::clock;

pub use crate::config::StartAt;
use crate::file::identity::Identity;
use crate::file::lease::{self, Writers};
use crate::names::siblings::Unlisted;

/// How a source is followed.
#[derive(Clone, Debug)]
pub struct Settings {
    /// For a file that is there at the very first look. One that appears later is read whole.
    pub start_at: StartAt,
    /// What a file holds that was not changed for so long is skipped, where nothing is known of the source.
    pub ignore_older: Option<Duration>,
    /// When the tailer was started for the first time, ns since the epoch: what was born before was there at the start.
    pub since_ns: i64,
    /// How long a copy of a truncated file is looked for while one that may be it cannot be judged.
    pub reconcile: Duration,
    /// How long a rotated generation is quiet before it is closed, where no lease can be had.
    pub max_idle: Duration,
    /// How long it is quiet before it is finished there.
    pub drain_idle: Duration,
    /// How long the next generation waits for a predecessor that somebody still writes to.
    pub late_writer_max: Duration,
    /// How long it waits for a quiet predecessor where no lease can be had.
    pub quiet: Duration,
    /// Longest line that is held until it is whole; a longer one is given in pieces.
    pub line_bytes_max: usize,
    /// Who can write to a file.
    pub writers: fn(&File) -> Writers,
    /// The end of the files is the end of the work: nothing more is waited for.
    pub is_batch: bool,
    /// It was found under a glob: that nothing has its name is no fault.
    pub may_be_missing: bool,
    /// It was found when others were followed already.
    pub is_late: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            start_at: StartAt::End,
            ignore_older: None,
            since_ns: 0,
            reconcile: Duration::from_secs(5),
            max_idle: Duration::from_secs(5),
            drain_idle: Duration::from_secs(60),
            late_writer_max: Duration::from_secs(10),
            quiet: Duration::from_secs(1),
            line_bytes_max: 1 << 20,
            writers: lease::ask,
            is_batch: false,
            may_be_missing: false,
            is_late: false,
        }
    }
}

impl Settings {
    /// Whether a file is kept back that so far holds what another begins with. At the first start all that is there is
    /// read. `is_first`: it was looked at once at most.
    pub fn may_keep_back(&self, is_first: bool) -> bool {
        !self.is_batch && self.may_be_missing && (!is_first || self.is_late)
    }

    /// Whether a file that was changed last at this time, ns since the epoch, is too old to be read.
    pub fn is_too_old(&self, changed_ns: i64) -> bool {
        let age_ns = clock::file_ns().saturating_sub(changed_ns);
        let age = Duration::from_nanos(u64::try_from(age_ns).unwrap_or(0));
        self.ignore_older.is_some_and(|older| age > older)
    }
}

/// What is known before a look. All of it is a hint: a look without any finds the same, later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hints {
    /// A directory in which this source has names changed.
    pub names: bool,
    /// One of its files changed, or its permissions did.
    pub content: bool,
}

/// What stands around a file.
pub trait Surroundings {
    /// Whether a file of this size holds nothing but what another followed log begins with.
    fn is_copy(&mut self, _file: &File, _size: u64) -> bool {
        false
    }

    /// Whether a file that is not known may be a generation of this log, by where it is.
    fn may_be_missed(&self, _path: &Path) -> bool {
        true
    }

    /// Files that may have been rotated from it, by name, oldest first as far as names tell. The file itself may be
    /// among them.
    fn candidates(&mut self) -> Vec<PathBuf>;

    /// The other files where those are: what may be this one as far as directories tell; or all that no source has
    /// begun to read.
    fn others(&mut self, _file: Option<&Identity>) -> Vec<PathBuf> {
        Vec::new()
    }

    /// What is listed from here on is what is there now, though it was listed in this look before.
    fn refresh(&mut self) {}

    /// Whether the last list is not all, because no descriptor was left to look.
    fn was_short(&self) -> bool {
        false
    }

    /// A directory that the last list lacks, because it cannot be listed.
    fn unlisted(&self) -> Option<Unlisted> {
        None
    }

    /// Whether the content of a file of this name is packed.
    fn is_packed(&self, path: &Path) -> bool;

    /// The content of a packed file that was opened at `path`, from its beginning.
    ///
    /// # Errors
    /// `Unsupported`: it is packed in a way that is not read.
    fn unpack(&mut self, file: File, path: &Path) -> io::Result<Box<dyn Read>>;

    /// How many bytes may still be unpacked in this look to be compared. `None`: all.
    fn unpack_left(&mut self) -> Option<&mut u64> {
        None
    }

    /// Whether we write this file ourselves.
    fn is_ours(&self, identity: &Identity) -> bool;

    /// Whether nothing can wait for another look.
    fn is_last(&self) -> bool {
        false
    }

    /// Whether another source has begun to read this file.
    fn is_begun(&self, _identity: &Identity) -> bool {
        false
    }

    /// Whether another source follows this file, or did.
    fn is_anothers(&mut self, _identity: &Identity) -> bool {
        false
    }
}
