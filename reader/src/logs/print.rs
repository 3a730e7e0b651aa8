//! Bytes to standard output.
//!
//! Byte for byte, unless that is a terminal: there control characters, escape sequences and characters that change
//! the direction of writing are made visible.

use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};

use standpipe_common::error::Result;
use standpipe_common::shown::push_visible;
use standpipe_common::standard;

/// Buffer before the system call.
const BUFFER_BYTES: usize = 256 << 10;

/// Standard output.
pub struct Printer {
    out: BufWriter<StdoutLock<'static>>,
    is_terminal: bool,
    /// The end of the last write, if it stopped inside a character.
    rest: Vec<u8>,
}

impl Printer {
    /// To standard output.
    ///
    /// # Errors
    /// It is closed.
    pub fn to_stdout() -> Result<Printer> {
        let out = standard::output()?.lock();
        let is_terminal = out.is_terminal();
        Ok(Printer { out: BufWriter::with_capacity(BUFFER_BYTES, out), is_terminal, rest: Vec::new() })
    }
}

impl Write for Printer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_terminal {
            self.rest.extend_from_slice(bytes);
            let end = self.rest.len() - unfinished(&self.rest);
            let mut shown = Vec::new();
            push_visible(&self.rest[..end], &mut shown);
            self.rest.drain(..end);
            self.out.write_all(&shown)?;
        } else {
            self.out.write_all(bytes)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Bytes at the end that may be the beginning of a character of which the rest comes later.
fn unfinished(bytes: &[u8]) -> usize {
    let last = bytes.utf8_chunks().last();
    match last.map(|chunk| chunk.invalid()) {
        Some(invalid) if std::str::from_utf8(invalid).is_err_and(|error| error.error_len().is_none()) => invalid.len(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_cut_in_two_is_waited_for() {
        assert_eq!(unfinished("a\u{e4}".as_bytes()), 0);
        assert_eq!(unfinished(&"a\u{e4}".as_bytes()[..2]), 1);
        assert_eq!(unfinished(b"a\xff"), 0);
    }
}
