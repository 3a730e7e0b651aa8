//! A tar archive (POSIX ustar) of small regular files that only their owner may read.
//!
//! Invariant: each header stands at a multiple of 512 bytes, as the format has it; a name that is too long for a header is
//! cut, and numbered so that no two are alike.

use std::io::{self, Write};

const BLOCK: usize = 512;
/// Longer names would have to be split over two fields.
const NAME_MAX: usize = 100;
const MODE: u32 = 0o600;

/// An archive that is being written.
pub struct Tar<W: Write> {
    output: W,
    /// Below which all files stand.
    top: &'static str,
    mtime_s: u64,
    files: usize,
}

impl<W: Write> Tar<W> {
    /// An empty one.
    pub fn new(output: W, top: &'static str, mtime_s: u64) -> Tar<W> {
        Tar { output, top, mtime_s, files: 0 }
    }

    /// Appends a file.
    pub fn add(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        self.files += 1;
        let mut path = format!("{}/{name}", self.top);
        if path.len() > NAME_MAX {
            let number = format!("-{}", self.files);
            let room = NAME_MAX - number.len();
            path.truncate((0..=room).rev().find(|&end| path.is_char_boundary(end)).unwrap_or(0));
            path.push_str(&number);
        }
        debug_assert!(path.len() <= NAME_MAX && path.starts_with(self.top), "{path}");
        self.output.write_all(&self.header(&path, content.len()))?;
        self.output.write_all(content)?;
        self.output.write_all(&vec![0; content.len().next_multiple_of(BLOCK) - content.len()])
    }

    /// The end, without which it would count as cut off.
    pub fn finish(mut self) -> io::Result<W> {
        self.output.write_all(&[0; 2 * BLOCK])?;
        Ok(self.output)
    }

    fn header(&self, path: &str, size: usize) -> [u8; BLOCK] {
        let mut header = [0; BLOCK];
        let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
        put(0, path);
        put(100, &format!("{MODE:07o}"));
        put(108, "0000000");
        put(116, "0000000");
        put(124, &format!("{size:011o}"));
        put(136, &format!("{:011o}", self.mtime_s));
        // The sum counts with blanks in its own place.
        put(148, "        ");
        put(156, "0");
        put(257, "ustar");
        put(263, "00");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        header
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_is_headers_blocks_and_an_end() {
        let mut tar = Tar::new(Vec::new(), "top", 1);
        tar.add("a", b"one").unwrap();
        tar.add(&"ä".repeat(80), &[7; BLOCK]).unwrap();
        let bytes = tar.finish().unwrap();
        assert_eq!(bytes.len(), (2 + 2 + 2) * BLOCK);
        assert!(
            bytes.starts_with(b"top/a\0")
                && bytes[124..136] == *b"00000000003\0"
                && bytes[BLOCK..].starts_with(b"one\0")
        );
        let name = &bytes[2 * BLOCK..2 * BLOCK + NAME_MAX];
        let len = name.iter().position(|byte| *byte == 0).unwrap_or(NAME_MAX);
        let name = str::from_utf8(&name[..len]).unwrap();
        assert!(name.starts_with("top/ää") && name.ends_with("ä-2"), "{name}");
    }
}
