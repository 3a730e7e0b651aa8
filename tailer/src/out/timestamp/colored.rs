//! A line without the color that a program gave it, so that what stands in it can be found; and the way back.

use memchr::memchr;

const ESCAPE: u8 = 0x1b;
/// How far into a line color matters: what is looked for stands near its beginning.
const NEAR_BYTES_MAX: usize = 512;

/// The beginning of a line without escape sequences of color (`ESC [ … m`).
#[derive(Debug)]
pub struct Colored {
    /// What is left.
    pub text: Vec<u8>,
    /// Where each byte of it stands in the line, and where the line ends.
    places: Vec<usize>,
}

impl Colored {
    /// `None`: the line has no color.
    pub fn of(line: &[u8]) -> Option<Colored> {
        memchr(ESCAPE, &line[..line.len().min(NEAR_BYTES_MAX)])?;
        let mut colored = Colored { text: Vec::new(), places: Vec::new() };
        let mut at = 0;
        while at < line.len() && colored.text.len() < NEAR_BYTES_MAX {
            if let Some(len) = sequence(&line[at..]) {
                at += len;
            } else {
                colored.text.push(line[at]);
                colored.places.push(at);
                at += 1;
            }
        }
        colored.places.push(at);
        Some(colored)
    }

    /// Where what ends or begins before the byte `at` of the text begins in the line, color before it included.
    pub fn start(&self, at: usize) -> usize {
        at.checked_sub(1).map_or(0, |before| self.places[before] + 1)
    }

    /// Where what ends before the byte `at` of the text ends in the line, color behind it included.
    pub fn end(&self, at: usize) -> usize {
        self.places[at]
    }
}

/// How long the sequence is that `bytes` begin with.
fn sequence(bytes: &[u8]) -> Option<usize> {
    let codes = bytes.strip_prefix(b"\x1b[")?;
    let len = codes.iter().take_while(|byte| byte.is_ascii_digit() || matches!(byte, b';' | b':')).count();
    (codes.get(len) == Some(&b'm')).then_some(len + 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn color_is_left_out_and_belongs_to_what_it_surrounds() {
        let line = b"\x1b[2m10:00\x1b[0m \x1b[38;5;2mINFO\x1b[m x\x1b[1";
        let colored = Colored::of(line).unwrap();
        assert_eq!(colored.text, b"10:00 INFO x\x1b[1");
        assert_eq!((colored.start(0), colored.end(5)), (0, 13));
        assert_eq!(&line[colored.start(6)..colored.end(10)], b"\x1b[38;5;2mINFO\x1b[m");
        assert_eq!(colored.end(colored.text.len()), line.len());
        assert!(Colored::of(b"plain").is_none());
    }
}
