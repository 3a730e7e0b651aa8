//! Cutting a block into pieces that no other writer of the target can tear.
//!
//! A pipe is a list of pages. One `write(2)` of at most 4,095 bytes is whole in one page, and `splice(2)` moves pages:
//! so a piece of whole lines arrives with nothing in between. (A block that is written at once is torn by another
//! writer's lines at every 4,096 bytes.) A line that is longer than a piece has no such guarantee from the kernel; it
//! is a piece of its own.

use standpipe_common::sys::PAGE_BYTES;

use crate::out::lines::whole_lines;

/// Most bytes of a piece: a page, less the canary that may stand in it already.
pub const PIECE_BYTES_MAX: usize = PAGE_BYTES - 1;

/// How long the piece is that `bytes` begin with: as many whole lines as fit, or one line that is longer than that,
/// or, of a line whose end is not there, all of it. 0 only for no bytes.
pub fn next(bytes: &[u8]) -> usize {
    whole_lines(bytes, PIECE_BYTES_MAX)
}

/// Whether the first piece of `bytes` is a line that is longer than a piece can be.
pub fn is_long(bytes: &[u8]) -> bool {
    next(bytes) > PIECE_BYTES_MAX
}

/// How many of `bytes` are pieces to which nothing can be added: all but the last piece, for a line that comes later
/// may go with it.
pub fn full(bytes: &[u8]) -> usize {
    let mut full = 0;
    loop {
        let piece = next(&bytes[full..]);
        if full + piece == bytes.len() && piece <= PIECE_BYTES_MAX {
            return full;
        }
        full += piece;
    }
}

/// How many of `bytes` go through a staging pipe of `pages` pages at once: whole pieces as many as fit, or one long
/// line alone, as much of it as fits. Never 0 for some bytes and at least two pages.
///
/// The first page has the canary of the round before in it, and one page is kept for that of this round.
pub fn round(bytes: &[u8], pages: usize) -> usize {
    let pages = pages.saturating_sub(1).max(1);
    let first = next(bytes);
    if first > PIECE_BYTES_MAX {
        return first.min(pages * PAGE_BYTES - 1);
    }
    // The page of the old canary may have no room left: it is kept as well where there are enough.
    let pages = pages.saturating_sub(1).max(1);
    let (mut end, mut used_pages, mut page_bytes) = (0, 1, 0);
    while end < bytes.len() {
        let piece = next(&bytes[end..]);
        if piece > PIECE_BYTES_MAX {
            break;
        }
        if page_bytes + piece > PAGE_BYTES {
            if used_pages == pages {
                break;
            }
            used_pages += 1;
            page_bytes = 0;
        }
        page_bytes += piece;
        end += piece;
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(lengths: &[usize]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for length in lengths {
            bytes.resize(bytes.len() + length - 1, b'x');
            bytes.push(b'\n');
        }
        bytes
    }

    #[test]
    fn a_piece_is_whole_lines_or_one_long_line() {
        let cases: [(&[usize], usize); 8] = [
            (&[10, 20], 30),
            (&[4095], 4095),
            (&[4095, 1], 4095),
            (&[4000, 95], 4095),
            (&[4000, 96], 4000),
            (&[4096], 4096),
            (&[5000, 10], 5000),
            (&[10, 5000], 10),
        ];
        for (lengths, expected) in cases {
            assert_eq!(next(&lines(lengths)), expected, "{lengths:?}");
        }
        assert_eq!(next(&[b'x'; 9000]), 9000, "a line without an end");
        assert_eq!(next(b""), 0);
    }

    #[test]
    fn only_the_last_piece_can_still_grow() {
        let cases: [(&[usize], usize); 6] = [
            (&[10], 0),
            (&[4000, 96], 4000),
            (&[4000, 96, 4000], 4096),
            (&[5000], 5000),
            (&[5000, 10], 5000),
            (&[], 0),
        ];
        for (lengths, expected) in cases {
            assert_eq!(full(&lines(lengths)), expected, "{lengths:?}");
        }
    }

    #[test]
    fn a_round_fits_the_pages_it_has() {
        let cases: [(&[usize], usize, usize); 8] = [
            (&[10, 20], 2, 30),
            (&[4000; 20], 16, 14 * 4000),
            (&[4000; 20], 2, 4000),
            (&[4000; 20], 3, 4000),
            (&[4000; 20], 4, 8000),
            // A long line alone.
            (&[10, 5000, 10], 16, 10),
            (&[5000, 10], 16, 5000),
            (&[90_000], 16, 15 * 4096 - 1),
        ];
        for (lengths, pages, expected) in cases {
            assert_eq!(round(&lines(lengths), pages), expected, "{lengths:?} {pages}");
        }
    }
}
