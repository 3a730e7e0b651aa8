//! Bytes to standard output.
//!
//! Byte for byte, unless that is a terminal: there control characters, escape sequences and characters that change
//! the direction of writing are made visible, for whoever writes a log could otherwise steer the terminal of whoever
//! reads it.

use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};

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
    pub fn to_stdout() -> Printer {
        let out = io::stdout().lock();
        let is_terminal = out.is_terminal();
        Printer { out: BufWriter::with_capacity(BUFFER_BYTES, out), is_terminal, rest: Vec::new() }
    }
}

impl Write for Printer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_terminal {
            self.rest.extend_from_slice(bytes);
            let end = self.rest.len() - unfinished(&self.rest);
            let mut shown = String::new();
            show(&self.rest[..end], &mut shown);
            self.rest.drain(..end);
            self.out.write_all(shown.as_bytes())?;
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

/// Appends `bytes` with everything visible that would not just be text: `^[`, `\xff`, `\u{202e}`.
fn show(bytes: &[u8], shown: &mut String) {
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\n' | '\t' => shown.push(character),
                '\0'..='\x1f' => shown.extend(['^', char::from(character as u8 + 0x40)]),
                '\x7f' => shown.push_str("^?"),
                '\u{80}'..='\u{9f}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                    shown.extend(character.escape_unicode());
                }
                _ => shown.push(character),
            }
        }
        for byte in chunk.invalid() {
            shown.extend(std::ascii::escape_default(*byte).map(char::from));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_log_steers_a_terminal() {
        let cases: [(&[u8], &str); 6] = [
            (b"plain\ttext\n", "plain\ttext\n"),
            (b"\x1b[31mred\r\n", "^[[31mred^M\n"),
            (b"nul\0del\x7f", "nul^@del^?"),
            (b"bad \xff byte", "bad \\xff byte"),
            ("umlaut \u{e4}, c1 \u{9b}31m".as_bytes(), "umlaut \u{e4}, c1 \\u{9b}31m"),
            ("\u{202e}gpj.exe".as_bytes(), "\\u{202e}gpj.exe"),
        ];
        for (bytes, expected) in cases {
            let mut shown = String::new();
            show(bytes, &mut shown);
            assert_eq!(shown, expected);
        }
    }

    #[test]
    fn a_character_cut_in_two_is_waited_for() {
        assert_eq!(unfinished("a\u{e4}".as_bytes()), 0);
        assert_eq!(unfinished(&"a\u{e4}".as_bytes()[..2]), 1);
        assert_eq!(unfinished(b"a\xff"), 0);
    }
}
