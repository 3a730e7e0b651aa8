//! The zeros that a file ends in: room that a program made in advance, by writing zeros or by allotting it, and that it
//! writes its lines over. They are not read: what is read once is not looked at again, and the lines would be lost.
//!
//! Invariant: zeros behind which something stands are content, and so are those of a file that is finished; holes among
//! them are passed elsewhere, see [`reading`](crate::log::reading).

use std::fs::File;
use std::io;
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::unistd::{Whence, lseek};

use crate::log::memory::read_up_to;

/// From so many on they are told: fewer may as well be the end of a line that is being written.
pub const TOLD_BYTES_MIN: u64 = 4096;

/// So many are looked at in one go.
const LOOKED_AT_MAX: u64 = 4 << 20;

/// At once.
const CHUNK_BYTES: usize = 256 << 10;

/// To compare with.
static ZEROS: [u8; 512] = [0; 512];

/// What is known of the zeros behind what was read of a file.
#[derive(Clone, Copy, Debug, Default)]
pub struct Blank {
    /// Up to here there is nothing else.
    until: u64,
    /// They are to be read.
    is_content: bool,
}

/// What a run of zeros is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zeros {
    /// The file ends in them.
    Last,
    /// Something stands behind them, or they are to be read nevertheless.
    Content,
    /// It is not known before more is looked at; so many were.
    Unknown(u64),
}

impl Blank {
    /// What those are that begin at `from`, where nothing else stands before `until`, in a file of this size.
    pub fn look(&mut self, file: &File, from: u64, until: u64, size: u64) -> Zeros {
        if self.is_content && from < self.until {
            return Zeros::Content;
        }
        if self.is_content {
            *self = Blank::default();
        }
        self.until = self.until.max(until).min(size);
        let begun = self.until;
        let mut bytes = Vec::new();
        while self.until < size {
            if self.until - begun >= LOOKED_AT_MAX {
                return Zeros::Unknown(self.until - begun);
            }
            bytes.resize(CHUNK_BYTES.min((size - self.until) as usize), 0);
            match zeros_at(file, self.until, &mut bytes) {
                Ok((0, true)) | Err(_) => return Zeros::Content,
                Ok((zeros, is_all)) => {
                    self.until = (self.until + zeros).min(size);
                    self.is_content = !is_all;
                }
            }
            if self.is_content {
                return Zeros::Content;
            }
        }
        Zeros::Last
    }

    /// Whether nothing but zeros that are not read stands there.
    pub fn covers(&self, from: u64, to: u64) -> bool {
        !self.is_content && from < to && to <= self.until
    }

    /// How far it was looked.
    pub fn until(&self) -> u64 {
        self.until
    }

    /// The file has this size now.
    pub fn cut(&mut self, size: u64) {
        self.until = self.until.min(size);
    }

    /// Nobody writes over those before `end` any more.
    pub fn admit(&mut self, end: u64) {
        *self = Blank { until: end, is_content: true };
    }
}

/// How many zeros stand at an offset, holes among them, and whether there is nothing else as far as it was looked. None
/// and nothing else: the file ends there.
fn zeros_at(file: &File, from: u64, bytes: &mut [u8]) -> io::Result<(u64, bool)> {
    match lseek(file.as_fd(), from as i64, Whence::SeekData) {
        Err(Errno::ENXIO) => return Ok((u64::MAX / 2, true)),
        Ok(data) if data as u64 > from => return Ok((data as u64 - from, true)),
        // Where holes are not known everything is data.
        Ok(_) | Err(_) => {}
    }
    let read = read_up_to(file, bytes, from)?;
    let zeros = zeros(&bytes[..read]);
    Ok((zeros as u64, zeros == read))
}

/// How many of them the bytes begin with.
pub fn zeros(bytes: &[u8]) -> usize {
    // Pieces are compared as a whole: room is large, and most of it is zeros.
    let is_blank = |piece: &&[u8]| **piece == ZEROS[..piece.len()];
    let pieces = bytes.chunks(ZEROS.len()).take_while(is_blank).count();
    let from = (pieces * ZEROS.len()).min(bytes.len());
    bytes[from..].iter().position(|byte| *byte != 0).map_or(bytes.len(), |at| from + at)
}

/// Where the zeros begin that the first `size` bytes of a file end in.
pub fn content_end(file: &File, from: u64, size: u64) -> io::Result<u64> {
    let mut bytes = vec![0; CHUNK_BYTES];
    let mut end = data_end(file, from, size);
    while end > from {
        let start = end.saturating_sub(CHUNK_BYTES as u64).max(from);
        let read = read_up_to(file, &mut bytes[..(end - start) as usize], start)?;
        let content = without_blank(&bytes[..read]).len() as u64;
        if content > 0 {
            return Ok(start + content);
        }
        end = data_end(file, from, start);
    }
    Ok(from)
}

/// Where the hole begins in front of `end`, if there is one: it is found by halves, for it may be as long as a file can be.
fn data_end(file: &File, from: u64, end: u64) -> u64 {
    let (mut least, mut most) = (from, end);
    let mut at = end.saturating_sub(1);
    while least < most {
        match lseek(file.as_fd(), at as i64, Whence::SeekData) {
            Ok(data) if (data as u64) < end => least = data as u64 + 1,
            Ok(_) | Err(Errno::ENXIO) => most = at,
            // Where holes are not known everything is data.
            Err(_) => return end,
        }
        at = least + most.saturating_sub(least) / 2;
    }
    most
}

/// Without the zeros that they end in.
pub fn without_blank(bytes: &[u8]) -> &[u8] {
    let is_blank = |piece: &&[u8]| **piece == ZEROS[..piece.len()];
    let blank: usize = bytes.rchunks(ZEROS.len()).take_while(is_blank).map(<[u8]>::len).sum();
    let bytes = &bytes[..bytes.len() - blank];
    &bytes[..bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)]
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use standpipe_tests::deadline::cpu_of_thread;

    use super::*;

    fn file(parts: &[(u64, &[u8])], size: u64) -> File {
        let file = tempfile::tempfile().unwrap();
        file.set_len(size).unwrap();
        for (at, bytes) in parts {
            file.write_all_at(bytes, *at).unwrap();
        }
        file
    }

    /// All of it, in as many goes as it takes.
    fn look(blank: &mut Blank, file: &File, from: u64) -> (Zeros, usize) {
        let size = file.metadata().unwrap().len();
        (0..100)
            .map(|go| (blank.look(file, from, from, size), go))
            .find(|(it, _)| !matches!(it, Zeros::Unknown(_)))
            .unwrap()
    }

    #[test]
    fn zeros_are_the_last_where_nothing_else_follows_written_or_not() {
        let zeros = vec![0; 9 << 20];
        let end = zeros.len() as u64;
        for (name, file, expected, content) in [
            ("written", file(&[(0, b"abc"), (3, &zeros)], 0), Zeros::Last, 3),
            ("a hole", file(&[(0, b"abc")], end), Zeros::Last, 3),
            ("both", file(&[(0, b"abc"), (3, &zeros[..9000]), (5 << 20, &zeros[..9000])], end), Zeros::Last, 3),
            ("with an end", file(&[(0, b"abc"), (3, &zeros), (end, b"!")], 0), Zeros::Content, end + 1),
            ("a hole with an end", file(&[(0, b"abc"), (end - 1, b"!")], 0), Zeros::Content, end),
        ] {
            let mut blank = Blank::default();
            assert_eq!(look(&mut blank, &file, 3).0, expected, "{name}");
            let size = file.metadata().unwrap().len();
            assert_eq!(blank.covers(3, size), expected == Zeros::Last, "{name}");
            assert_eq!(content_end(&file, 0, size).unwrap(), content, "{name}");
            assert_eq!(content_end(&file, 5, 6).unwrap(), 5, "{name}");
        }
    }

    #[test]
    fn a_hole_as_long_as_a_file_can_be_is_passed_at_once() {
        let size = 15 << 40;
        let began = cpu_of_thread();
        for data in [0, 1, 4095, 4096, (7 << 40) + 4097, size - 1] {
            let file = file(&[(data, b"!")], size);
            assert_eq!(content_end(&file, 0, size).unwrap(), data + 1);
        }
        assert_eq!(content_end(&file(&[], size), 5, size).unwrap(), 5);
        assert!(
            cpu_of_thread().saturating_sub(began) < std::time::Duration::from_secs(5),
            "a hole is passed, not read"
        );
    }

    #[test]
    fn much_is_looked_at_in_several_goes_and_once() {
        let zeros = vec![0; 9 << 20];
        let file = file(&[(0, &zeros)], 0);
        let mut blank = Blank::default();
        assert_eq!(look(&mut blank, &file, 0), (Zeros::Last, 2));
        assert_eq!(look(&mut blank, &file, 100), (Zeros::Last, 0));
        // More of them, and then something else behind.
        file.write_all_at(&zeros[..100], 9 << 20).unwrap();
        assert!(!blank.covers(100, (9 << 20) + 100));
        assert_eq!(look(&mut blank, &file, 100), (Zeros::Last, 0));
        file.write_all_at(b"!", (9 << 20) + 100).unwrap();
        assert_eq!(look(&mut blank, &file, 100), (Zeros::Content, 0));
        assert!(!blank.covers(100, 200));
    }

    #[test]
    fn what_is_admitted_is_content_and_what_comes_behind_is_looked_at_anew() {
        let file = file(&[(0, &[0; 100])], 0);
        let mut blank = Blank::default();
        assert_eq!(look(&mut blank, &file, 0).0, Zeros::Last);
        blank.admit(100);
        assert_eq!(look(&mut blank, &file, 0).0, Zeros::Content);
        file.write_all_at(&[0; 100], 100).unwrap();
        assert_eq!(look(&mut blank, &file, 100).0, Zeros::Last);
        assert_eq!(without_blank(b"a\0b\0\0"), b"a\0b");
        assert_eq!(without_blank(b"\0\0"), b"");
        for length in [0, 1, 511, 512, 513, 1024, 1100] {
            let (blank, mut bytes) = (vec![0; length], vec![0; length + 1]);
            bytes[length] = 7;
            assert_eq!((zeros(&blank), zeros(&bytes), zeros(&[&bytes[..], &blank].concat())), (length, length, length));
            assert_eq!(without_blank(&blank), b"");
            assert_eq!(without_blank(&[&bytes[..], &blank].concat()), bytes);
        }
    }
}
