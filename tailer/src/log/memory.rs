//! What is remembered of the bytes of a generation: its head and its tail, by which they are known again.
//!
//! Invariant of [`Memory::Bytes`]: `head` are the first `min(offset, 4096)` bytes before the offset, `tail` the last as
//! many. A generation that is closed keeps guards of them only.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use memchr::memrchr;

use crate::checkpoint::state::{DoneState, GenerationState};
use crate::file::guard::{GUARD_BYTES_MAX, Guard, Head};
use crate::log::blank::content_end;

/// An unfinished line is looked for no further back.
const LINE_BYTES_MAX: u64 = 1 << 20;

/// The bytes themselves, or guards of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Memory {
    /// While the file is open.
    Bytes {
        /// What stands at its beginning.
        head: Vec<u8>,
        /// What stands before the offset.
        tail: Vec<u8>,
    },
    /// While it is not.
    Guards {
        /// Of the head, as far as it is known.
        head: Head,
        /// Of the tail. `None`: not known.
        tail: Option<Guard>,
    },
}

impl Default for Memory {
    /// Of offset 0.
    fn default() -> Memory {
        Memory::Bytes { head: Vec::new(), tail: Vec::new() }
    }
}

impl From<&DoneState> for Memory {
    fn from(done: &DoneState) -> Memory {
        Memory::Guards { head: done.head, tail: done.guard }
    }
}

impl From<&GenerationState> for Memory {
    fn from(saved: &GenerationState) -> Memory {
        Memory::Guards { head: saved.head, tail: saved.guard }
    }
}

impl Memory {
    /// As the file has it now, for an offset. `None`: it is shorter.
    pub fn of_file(file: &File, offset: u64) -> io::Result<Option<Memory>> {
        let bytes = offset.min(GUARD_BYTES_MAX as u64) as usize;
        let (mut head, mut tail) = (vec![0; bytes], vec![0; bytes]);
        let is_whole =
            read_up_to(file, &mut head, 0)? == bytes && read_up_to(file, &mut tail, offset - bytes as u64)? == bytes;
        Ok(is_whole.then_some(Memory::Bytes { head, tail }))
    }

    /// Behind the last newline of the first `size` bytes; at the end of them if that line is too long to look for. Lines are
    /// still to be written over the zeros that they end in.
    pub fn at_end_of_lines(file: &File, size: u64) -> Option<(u64, Memory)> {
        let size = content_end(file, 0, size).ok()?;
        let from = size.saturating_sub(LINE_BYTES_MAX);
        let mut bytes = vec![0; (size - from) as usize];
        let read = read_up_to(file, &mut bytes, from).ok()?;
        let offset = match memrchr(b'\n', &bytes[..read]) {
            Some(newline) => from + newline as u64 + 1,
            None if from == 0 => 0,
            None => from + read as u64,
        };
        Some((offset, Memory::of_file(file, offset).ok()??))
    }

    /// More bytes were read.
    pub fn push(&mut self, bytes: &[u8]) {
        let Memory::Bytes { head, tail } = self else { return };
        debug_assert_eq!(head.len(), tail.len(), "both are as long as the offset is, up to their limit");
        let missing = (GUARD_BYTES_MAX - head.len()).min(bytes.len());
        head.extend_from_slice(&bytes[..missing]);
        if bytes.len() >= GUARD_BYTES_MAX {
            tail.clear();
            tail.extend_from_slice(&bytes[bytes.len() - GUARD_BYTES_MAX..]);
        } else {
            let too_many = (tail.len() + bytes.len()).saturating_sub(GUARD_BYTES_MAX);
            tail.drain(..too_many);
            tail.extend_from_slice(bytes);
        }
    }

    /// What stands before the offset, while the bytes are there.
    pub fn tail(&self) -> &[u8] {
        match self {
            Memory::Bytes { tail, .. } => tail,
            Memory::Guards { .. } => &[],
        }
    }

    /// The guard of the tail.
    pub fn tail_guard(&self) -> Option<Guard> {
        match self {
            Memory::Bytes { tail, .. } => Some(Guard::of_end(tail)),
            Memory::Guards { tail, .. } => *tail,
        }
    }

    /// What is known of the head.
    pub fn head(&self) -> Head {
        match self {
            Memory::Bytes { head, .. } => Head::of(head),
            Memory::Guards { head, .. } => *head,
        }
    }

    /// Whether the file begins with the mark of UTF-16, as far as is known.
    pub fn is_utf16(&self) -> bool {
        let Memory::Bytes { head, .. } = self else { return false };
        head.starts_with(b"\xFF\xFE") || head.starts_with(b"\xFE\xFF")
    }

    /// Guards instead of bytes.
    #[must_use]
    pub fn as_guards(&self) -> Memory {
        Memory::Guards { head: self.head(), tail: self.tail_guard() }
    }

    /// Whether a file that begins with `bytes` may be it, as far as both know. `None`: that is nothing.
    pub fn head_fits(&self, bytes: &[u8]) -> Option<bool> {
        match self {
            Memory::Bytes { head, .. } => {
                let both = head.len().min(bytes.len());
                (both > 0).then(|| head[..both] == bytes[..both])
            }
            Memory::Guards { head, .. } => head.fits(bytes),
        }
    }

    /// Whether `bytes` stand before the offset, as many of them as are remembered. `None`: that is nothing.
    pub fn tail_fits(&self, bytes: &[u8]) -> Option<bool> {
        match self {
            Memory::Bytes { tail, .. } => {
                let both = tail.len().min(bytes.len());
                (both > 0).then(|| tail[tail.len() - both..] == bytes[bytes.len() - both..])
            }
            Memory::Guards { tail: Some(guard), .. } => guard.fits_end(bytes),
            Memory::Guards { tail: None, .. } => None,
        }
    }

    /// What a file has before `offset`, if that is what is remembered.
    pub fn found_in(&self, file: &File, offset: u64) -> io::Result<Option<Memory>> {
        Ok(Memory::of_file(file, offset)?.filter(|there| self.is_same(there)))
    }

    /// The same of a file that can be read.
    pub fn same_in(&self, file: &File, offset: u64) -> Option<Memory> {
        self.found_in(file, offset).ok().flatten()
    }

    /// Whether a file that has `there` before the offset is what is remembered. What is not known fits nothing, but
    /// where nothing stands before the offset nothing needs to be known.
    pub fn is_same(&self, there: &Memory) -> bool {
        let Memory::Bytes { head, tail } = there else { return false };
        let known = [self.head_fits(head), self.tail_fits(tail)];
        !known.contains(&Some(false)) && (tail.is_empty() || known.contains(&Some(true)))
    }

    /// Whether something is known by which a file can be told from others.
    pub fn says_something(&self) -> bool {
        match self {
            Memory::Bytes { head, .. } => !head.is_empty(),
            Memory::Guards { head, tail } => !head.hashes().is_empty() || tail.is_some_and(|guard| guard.len > 0),
        }
    }
}

/// Reads until `buffer` is full or the file ends; how much that was.
pub fn read_up_to(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match file.read_at(&mut buffer[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_is_pushed_in_pieces_is_what_the_file_has() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let bytes: Vec<u8> = (0..20_000_u32).map(|n| (n % 251) as u8).collect();
        fs::write(&path, &bytes).unwrap();
        let file = File::open(&path).unwrap();
        for piece in [1, 100, 4095, 4096, 4097, 9000] {
            let mut memory = Memory::default();
            let mut offset = 0;
            for bytes in bytes.chunks(piece) {
                memory.push(bytes);
                offset += bytes.len() as u64;
                if offset < 10_000 || offset % 7 == 0 {
                    assert_eq!(Memory::of_file(&file, offset).unwrap(), Some(memory.clone()), "{piece} {offset}");
                }
            }
            assert_eq!(memory.as_guards().tail_fits(memory.tail()), Some(true));
            assert_eq!(memory.as_guards().head_fits(&bytes[..4096]), Some(true));
            assert_eq!(memory.as_guards().head_fits(&bytes[1..]), Some(false));
        }
        assert_eq!(Memory::of_file(&file, 20_001).unwrap(), None);
    }

    #[test]
    fn what_is_not_known_fits_nothing_but_the_beginning() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        fs::write(&path, "some line of a file\n").unwrap();
        let file = File::open(&path).unwrap();
        let (head, tail) = (Head::of(b"some line of a file\n"), Some(Guard::of_end(b"a file\n")));
        for (head, tail, offset, expected) in [
            (Head::default(), None, 20, false),
            (Head::default(), Some(Guard::of_end(b"")), 20, false),
            (Head::default(), None, 0, true),
            (Head::default(), tail, 20, true),
            (Head::default(), tail, 19, false),
            (head, None, 20, true),
            (Head::of(b"another line of it\n"), tail, 20, false),
        ] {
            let known = Memory::Guards { head, tail };
            let found = known.same_in(&file, offset);
            assert_eq!(found.is_some(), expected, "{known:?} {offset}");
        }
    }
}
