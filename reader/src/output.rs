//! What a chunk looks like in the log: its bytes, with the rendered text in front of each line that starts in it.
//!
//! A pure function of record and chunk, given out in pieces so that a chunk of a million empty lines needs no gigabyte.

use std::io;

/// Largest piece given out at once, unless the chunk goes out as it is.
const PIECE_BYTES_MAX: usize = 256 << 10;

/// How chunks of one record turn into output.
#[derive(Clone, Copy, Debug)]
pub struct Shape<'a> {
    /// The chunk continues a line.
    pub open: bool,
    /// What each line start gets in front.
    pub text: &'a [u8],
}

impl Shape<'_> {
    /// Bytes that `chunk` will take in the log.
    pub fn len(self, chunk: &[u8]) -> u64 {
        if self.text.is_empty() {
            return chunk.len() as u64;
        }
        chunk.len() as u64 + self.line_starts(chunk) * self.text.len() as u64
    }

    /// Offset in the output of the first line that starts in `chunk`. `None`: none does.
    pub fn first_line_start(self, chunk: &[u8]) -> Option<u64> {
        if !self.open {
            return (!chunk.is_empty()).then_some(0);
        }
        let end = memchr::memchr(b'\n', chunk)?;
        (end + 1 < chunk.len()).then_some(end as u64 + 1)
    }

    /// Gives out the output from its start to its end. Returns the line ends in `chunk`, where they were counted: a
    /// chunk that goes out as it is would cost a tenth more CPU for that.
    pub fn pieces(self, chunk: &[u8], mut give: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<Option<usize>> {
        if self.text.is_empty() {
            return give(chunk).map(|()| None);
        }
        let mut piece = Vec::with_capacity(PIECE_BYTES_MAX.min(2 * chunk.len() + self.text.len()));
        let mut open = self.open;
        let mut start = 0;
        let mut lines = 0;
        let ends = memchr::memchr_iter(b'\n', chunk).map(|end| end + 1).chain([chunk.len()]);
        for end in ends {
            let line = &chunk[start..end];
            start = end;
            if line.is_empty() {
                break;
            }
            if !piece.is_empty() && piece.len() + self.text.len() + line.len() > PIECE_BYTES_MAX {
                give(&piece)?;
                piece.clear();
            }
            if !open {
                piece.extend_from_slice(self.text);
            }
            piece.extend_from_slice(line);
            open = false;
            lines += 1;
        }
        give(&piece)?;
        // The last one need not end.
        Ok(Some(lines - usize::from(!chunk.is_empty() && !chunk.ends_with(b"\n"))))
    }

    fn line_starts(self, chunk: &[u8]) -> u64 {
        if chunk.is_empty() {
            return 0;
        }
        let inner = memchr::memchr_iter(b'\n', &chunk[..chunk.len() - 1]).count() as u64;
        inner + u64::from(!self.open)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(shape: Shape<'_>, chunk: &[u8]) -> Vec<u8> {
        let mut output = Vec::new();
        let gather = |piece: &[u8]| {
            output.extend_from_slice(piece);
            Ok(())
        };
        shape.pieces(chunk, gather).unwrap();
        output
    }

    #[test]
    fn each_line_start_gets_the_text_once() {
        let cases: [(bool, &str, &str, Option<u64>); 8] = [
            (false, "", "", None),
            (false, "a\nb\n", "@ a\n@ b\n", Some(0)),
            (true, "a\nb\n", "a\n@ b\n", Some(2)),
            (true, "a\n", "a\n", None),
            (true, "a", "a", None),
            (false, "a", "@ a", Some(0)),
            (false, "\n\n", "@ \n@ \n", Some(0)),
            (true, "\n\n", "\n@ \n", Some(1)),
        ];
        for (open, chunk, expected, first) in cases {
            let shape = Shape { open, text: b"@ " };
            assert_eq!(output(shape, chunk.as_bytes()), expected.as_bytes(), "{chunk:?}");
            assert_eq!(shape.len(chunk.as_bytes()), expected.len() as u64, "{chunk:?}");
            assert_eq!(shape.first_line_start(chunk.as_bytes()), first, "{chunk:?}");
            let plain = Shape { open, text: b"" };
            assert_eq!(output(plain, chunk.as_bytes()), chunk.as_bytes());
            let lines = shape.pieces(chunk.as_bytes(), |_| Ok(())).unwrap();
            assert_eq!(lines, Some(chunk.matches('\n').count()), "{chunk:?}");
        }
    }

    #[test]
    fn a_chunk_of_empty_lines_comes_in_bounded_pieces() {
        let shape = Shape { open: false, text: b"2026-11-21T10:00:00.000000Z " };
        let mut total = 0;
        let count = |piece: &[u8]| {
            assert!(piece.len() <= PIECE_BYTES_MAX);
            total += piece.len() as u64;
            Ok(())
        };
        let chunk = vec![b'\n'; 1 << 20];
        shape.pieces(&chunk, count).unwrap();
        assert_eq!(total, shape.len(&chunk));
    }
}
