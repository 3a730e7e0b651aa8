//! What a source tells of itself.

use std::path::PathBuf;
use std::time::Duration;

use nix::errno::Errno;

use crate::file::identity::Identity;
use crate::file::open::Refusal;

/// How a truncation showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truncation {
    /// The file is shorter than what was read of it.
    SizeDecreased,
    /// It is not, but other bytes stand where those that were read stood.
    ContentChanged,
    /// It is shorter, and what is left of it is what was read: its end was cut off.
    EndCut,
}

/// Why one of several files that fit was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It is the oldest.
    Oldest,
    /// It begins with all that the oldest has.
    Longer,
    /// None is older, and it is listed first.
    First,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happening {
    /// The first file that has the live name, or one that a checkpoint knows.
    Opened {
        /// Where it was found.
        path: PathBuf,
        /// Which one.
        identity: Identity,
        /// Where reading begins.
        offset: u64,
    },
    /// Another file has the live name, at once or after a while in which nobody had it.
    Rotated {
        /// The one before.
        old: Identity,
        /// The one now.
        new: Identity,
    },
    /// A generation was found that was created and rotated between two looks, or while we were away.
    Missed {
        /// Where it was found.
        path: PathBuf,
        /// Which one.
        identity: Identity,
    },
    /// A life of an inode ended.
    Truncated(Truncation),
    /// The rest of a truncated or vanished file was found in another.
    CopyMatched {
        /// The copy.
        path: PathBuf,
        /// Where reading goes on in it.
        offset: u64,
        /// How many bytes it has from there on, if that is known before it is read.
        bytes: Option<u64>,
    },
    /// It was too old when it was seen for the first time.
    Ignored {
        /// Where.
        path: PathBuf,
        /// What of it is skipped.
        bytes: u64,
    },
    /// The file that has the live name now holds again what was delivered.
    Replaced {
        /// The live name.
        path: PathBuf,
        /// Reading goes on behind this.
        offset: u64,
    },
    /// It holds some of it, but where that ends is not certain: it is read from its beginning.
    Unplaced {
        /// The live name.
        path: PathBuf,
    },
    /// A new file has nothing but what another followed log begins with, and is kept back as long as that is so.
    KeptBack {
        /// Where.
        path: PathBuf,
    },
    /// The live name is a mount of its own.
    Mount {
        /// Which one.
        path: PathBuf,
    },
    /// Bytes that once stood in the file were destroyed before they could be read.
    Lost {
        /// How many.
        bytes: u64,
    },
    /// A generation of the checkpoint is nowhere any more.
    GenerationMissing {
        /// Which one.
        identity: Identity,
        /// Up to where it was delivered.
        offset: u64,
    },
    /// A generation that is looked for may stand in a directory that cannot be listed. Said once until that can be.
    Unlisted {
        /// Which one.
        dir: PathBuf,
        /// Why.
        errno: Errno,
    },
    /// A file that may be a generation stands there, and cannot be read.
    Unreadable {
        /// Where.
        path: PathBuf,
        /// How long it is, packed or not.
        bytes: u64,
        /// Why.
        why: String,
    },
    /// A hole, or zeros that a truncation left, was skipped.
    Hole {
        /// How many bytes.
        bytes: u64,
    },
    /// The last line of a finished generation had no newline, and was given one.
    Unfinished {
        /// How long it is.
        bytes: u64,
    },
    /// The file cannot be opened or read. Said once until that changes.
    OpenError {
        /// Which path.
        path: PathBuf,
        /// Why.
        errno: Errno,
    },
    /// It will be tried again then. Said as long as the span grows.
    Retry {
        /// 1 s for the first time, then doubling up to 30 s.
        after: Duration,
    },
    /// What could not be opened or read can be.
    Recovered {
        /// Which path.
        path: PathBuf,
    },
    /// What stands at the path is not followed.
    Refused {
        /// Which path.
        path: PathBuf,
        /// Why.
        refusal: Refusal,
    },
    /// Several files hold what was read of one that is gone or begins anew; reading goes on in one of them.
    Ambiguous {
        /// That one.
        path: PathBuf,
        /// How many they are.
        files: usize,
        /// Why it was taken.
        why: Why,
    },
    /// Lines of a generation came after lines of its successor.
    Late {
        /// How many bytes.
        bytes: u64,
    },
    /// A generation was read to its end and nobody can add to it.
    Finished {
        /// Which one.
        identity: Identity,
        /// How long it was.
        offset: u64,
    },
}
