//! NUL bytes that a file system leaves in a file where a power cut lost what had been written there: at its end, and
//! within it where later bytes reached the disk before earlier ones.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use standpipe_common::shown::{Shown as _, counted};

const BLOCK_BYTES: u64 = 64 << 10;

/// Most runs that a sentence tells one by one.
const RUNS_TOLD_MAX: usize = 10;

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

/// Runs of NUL bytes in a stream.
#[derive(Debug, Default)]
pub struct Runs {
    /// The first of them; the last may go on.
    first: Vec<Range<u64>>,
    count: u64,
    bytes: u64,
    /// Bytes of the stream so far.
    at: u64,
    /// It ended in a NUL byte.
    is_open: bool,
}

impl Runs {
    /// Those of a whole file.
    pub fn of(mut file: &File) -> io::Result<Runs> {
        let mut runs = Runs::default();
        let mut block = vec![0; BLOCK_BYTES as usize];
        loop {
            match file.read(&mut block)? {
                0 => return Ok(runs),
                n => runs.feed(&block[..n]),
            }
        }
    }

    /// Takes the next bytes.
    pub fn feed(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let text = if self.is_open { 0 } else { memchr::memchr(0, rest).unwrap_or(rest.len()) };
            let nuls = rest[text..].iter().take_while(|byte| **byte == 0).count();
            if nuls > 0 {
                self.note(self.at + text as u64, nuls as u64);
            }
            self.at += (text + nuls) as u64;
            self.is_open = text + nuls == rest.len() && (nuls > 0 || self.is_open);
            rest = &rest[text + nuls..];
        }
    }

    fn note(&mut self, start: u64, len: u64) {
        self.bytes += len;
        if !self.is_open {
            self.count += 1;
            if self.first.len() < RUNS_TOLD_MAX {
                self.first.push(start..start);
            }
        }
        if self.count == self.first.len() as u64
            && let Some(last) = self.first.last_mut()
        {
            last.end = start + len;
        }
    }

    /// Says where they are in a part that an earlier boot left, if there are any.
    pub fn tell(&self, path: &Path) {
        debug_assert!(self.first.len() as u64 <= self.count && self.count <= self.bytes, "a run has a byte");
        if self.count == 0 {
            return;
        }
        let runs: Vec<String> =
            self.first.iter().map(|run| format!("{} from byte {}", run.end - run.start, run.start)).collect();
        let more = match self.count - self.first.len() as u64 {
            0 => String::new(),
            more => format!(", and {}", counted(more, "more run")),
        };
        log::warn!(
            "{}: {} in place of data lost in a power failure ({}{more}); left in the log",
            path.shown(),
            counted(self.bytes, "NUL byte"),
            runs.join(", "),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_found_wherever_the_stream_is_cut() {
        let bytes = b"\0\0ab\0c\0\0\0";
        for cut in 0..=bytes.len() {
            for again in cut..=bytes.len() {
                let mut runs = Runs::default();
                for piece in [&bytes[..cut], &bytes[cut..again], &bytes[again..]] {
                    runs.feed(piece);
                }
                assert_eq!((&runs.first[..], runs.count, runs.bytes), (&[0..2, 4..5, 6..9][..], 3, 6), "{cut} {again}");
            }
        }
    }
}
