//! NUL bytes that a file system leaves in a file where a power cut lost what had been written there.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

const BLOCK_BYTES: u64 = 64 << 10;

/// Length of a file of `len` bytes without the NUL bytes at its end.
pub fn len_without(file: &File, len: u64) -> io::Result<u64> {
    let mut end = len;
    let mut block = vec![0; BLOCK_BYTES as usize];
    while end > 0 {
        let start = end.saturating_sub(BLOCK_BYTES);
        let found = &mut block[..(end - start) as usize];
        file.read_exact_at(found, start)?;
        if let Some(last) = found.iter().rposition(|byte| *byte != 0) {
            return Ok(start + last as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}
