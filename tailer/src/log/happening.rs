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
#[expect(missing_docs, reason = "a field is named after what it holds")]
pub enum Happening {
    /// The first file that has the live name, or one that a checkpoint knows, is read from this offset on.
    Opened { path: PathBuf, identity: Identity, offset: u64 },
    /// Another file has the live name, at once or after a while in which nobody had it.
    Rotated { old: Identity, new: Identity },
    /// A generation was found that was created and rotated between two looks, or while we were away.
    Missed { path: PathBuf, identity: Identity },
    /// A life of an inode ended.
    Truncated(Truncation),
    /// The rest of a truncated or vanished file was found in another: so many bytes from there on, if that is known before
    /// it is read.
    CopyMatched { path: PathBuf, offset: u64, bytes: Option<u64> },
    /// It was too old when it was seen for the first time: so many bytes are skipped.
    Ignored { path: PathBuf, bytes: u64 },
    /// The file that has the live name now holds again what was delivered, up to this offset.
    Replaced { path: PathBuf, offset: u64 },
    /// It holds some of it, but where that ends is not certain: it is read from its beginning.
    Unplaced { path: PathBuf },
    /// A new file has nothing but what another followed log begins with, and is kept back as long as that is so.
    KeptBack { path: PathBuf },
    /// The live name is a mount of its own.
    Mount { path: PathBuf },
    /// Bytes that once stood in the file were destroyed before they could be read.
    Lost { bytes: u64 },
    /// A generation of the checkpoint is nowhere any more. It was delivered up to this offset.
    GenerationMissing { identity: Identity, offset: u64 },
    /// A generation that is looked for may stand in a directory that cannot be listed. Said once until that can be.
    Unlisted { dir: PathBuf, errno: Errno },
    /// A file that may be a generation stands there, and cannot be read.
    Unreadable { path: PathBuf, bytes: u64, why: String },
    /// A hole, or zeros that a truncation left, was skipped.
    Hole { bytes: u64 },
    /// The last line of a finished generation had no newline, and was given one.
    Unfinished { bytes: u64 },
    /// The file cannot be opened or read. Said once until that changes.
    OpenError { path: PathBuf, errno: Errno },
    /// It will be tried again then: after 1 s for the first time, doubling up to 30 s. Said as long as the span grows.
    Retry { after: Duration },
    /// What could not be opened or read can be.
    Recovered { path: PathBuf },
    /// What stands at the path is not followed.
    Refused { path: PathBuf, refusal: Refusal },
    /// Several files hold what was read of one that is gone or begins anew; reading goes on in one of them.
    Ambiguous { path: PathBuf, files: usize, why: Why },
    /// Lines of a generation came after lines of its successor.
    Late { bytes: u64 },
    /// A generation was read to its end and nobody can add to it.
    Finished { identity: Identity, offset: u64 },
}
