//! A guard: a hash of some bytes of a file, by which it is known again that what stands before an offset is what was
//! read there.

use xxhash_rust::xxh3::xxh3_64;

/// Most bytes that a guard covers.
pub const GUARD_BYTES_MAX: usize = 4096;

/// How many bytes, and their xxh3-64.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Guard {
    /// At most [`GUARD_BYTES_MAX`]. 0 says nothing and fits everything.
    pub len: u32,
    /// xxh3-64 of them.
    pub hash: u64,
}

impl Guard {
    /// Over the end of `bytes`, to be compared with what stands before an offset.
    pub fn of_end(bytes: &[u8]) -> Guard {
        Guard::of(&bytes[bytes.len().saturating_sub(GUARD_BYTES_MAX)..])
    }

    /// Over the beginning of a file.
    pub fn of_head(bytes: &[u8]) -> Guard {
        Guard::of(&bytes[..bytes.len().min(GUARD_BYTES_MAX)])
    }

    /// Whether these bytes, as many as it covers, are the same.
    pub fn fits(self, bytes: &[u8]) -> bool {
        self.len as usize == bytes.len() && (self.len == 0 || xxh3_64(bytes) == self.hash)
    }

    fn of(bytes: &[u8]) -> Guard {
        Guard { len: bytes.len() as u32, hash: xxh3_64(bytes) }
    }
}
