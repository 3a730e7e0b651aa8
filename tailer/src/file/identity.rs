//! What a file is, whatever its name: the identity of an inode, and which of its lives is meant.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::time::UNIX_EPOCH;

/// Device, inode number, and the birth time that tells a reused inode number from the same file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity {
    /// Device number.
    pub dev: u64,
    /// Inode number.
    pub ino: u64,
    /// Birth, ns since the epoch; 0 where the file system does not say.
    pub born_ns: i64,
}

impl From<&Metadata> for Identity {
    fn from(metadata: &Metadata) -> Identity {
        let born = metadata.created().ok().and_then(|born| born.duration_since(UNIX_EPOCH).ok());
        let born_ns = born.map_or(0, |born| born.as_nanos() as i64);
        Identity { dev: metadata.dev(), ino: metadata.ino(), born_ns }
    }
}

/// One life of an inode: it ends where the file is truncated, and the next begins at offset 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Origin {
    /// The inode.
    pub identity: Identity,
    /// How often it was seen to be truncated before.
    pub epoch: u32,
}

impl From<Identity> for Origin {
    /// Its first life.
    fn from(identity: Identity) -> Origin {
        Origin { identity, epoch: 0 }
    }
}
