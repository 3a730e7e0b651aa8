//! The staging pipe: the FIFO `T.stage` beside a FIFO T, through which the tailer moves bytes into T exactly once.
//!
//! Here is what holder and tailer agree on: where it stands, who may open it, what in it is no data, which byte each of
//! them locks. The holder makes and holds it, the tailer alone writes and reads it.

use std::path::{Path, PathBuf};

/// Its permissions: those who run the holder, and T's group.
pub const MODE: u32 = 0o660;
/// What it holds at rest: the tailer's canary, which is no data. With so much in it, it is empty.
pub const CANARY_BYTES: usize = 1;
/// The byte on which the holder has an OFD read lock, so that the tailer can tell whether somebody holds it.
pub const HOLDER_LOCK_BYTE: i64 = 0;
/// The byte on which the tailer has an OFD write lock, so that there is one tailer a target.
pub const TAILER_LOCK_BYTE: i64 = 1;

/// Where the staging pipe of `target` stands, which is the FIFO itself and no link to it.
pub fn beside(target: &Path) -> PathBuf {
    let mut path = target.as_os_str().to_owned();
    path.push(".stage");
    path.into()
}

/// How many of the bytes that wait in a staging pipe are data.
pub fn data_bytes(queued: usize) -> usize {
    queued.saturating_sub(CANARY_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stands_beside_its_target_and_its_canary_does_not_count() {
        assert_eq!(beside(Path::new("/run/standpipe/app.log")), Path::new("/run/standpipe/app.log.stage"));
        assert_eq!([0, 1, 2, 4096].map(data_bytes), [0, 0, 1, 4095]);
    }
}
