//! gzip, written piece by piece into memory that is used again.

use zlib_rs::{Deflate, DeflateConfig, DeflateError, DeflateFlush, Status};

/// The lowest level: each further one takes more time than it saves on the way.
const LEVEL: i32 = 1;
/// A window of 32 KiB, with gzip's own header and checksum: 16 more.
const WINDOW_BITS: i32 = 15 + 16;
/// So much room is made at a time.
const STEP_BYTES: usize = 64 << 10;

/// What is being compressed.
pub struct Gzip {
    deflate: Deflate,
    /// Room that is written so far as `deflate` says.
    out: Vec<u8>,
}

impl Default for Gzip {
    fn default() -> Gzip {
        let config = DeflateConfig { level: LEVEL, window_bits: WINDOW_BITS, ..DeflateConfig::default() };
        Gzip { deflate: Deflate::new_with_config(config), out: Vec::new() }
    }
}

impl Gzip {
    /// Forgets what was written before.
    pub fn begin(&mut self) {
        self.deflate.reset();
    }

    /// Adds bytes.
    pub fn write(&mut self, bytes: &[u8]) {
        let begun = self.deflate.total_in();
        loop {
            let taken = (self.deflate.total_in() - begun) as usize;
            if taken == bytes.len() {
                return;
            }
            self.step(&bytes[taken..], DeflateFlush::NoFlush);
        }
    }

    /// All that was written, compressed.
    pub fn finish(&mut self) -> &[u8] {
        while self.step(&[], DeflateFlush::Finish) != Status::StreamEnd {}
        &self.out[..self.deflate.total_out() as usize]
    }

    fn step(&mut self, input: &[u8], flush: DeflateFlush) -> Status {
        let at = self.deflate.total_out() as usize;
        if self.out.len() < at + STEP_BYTES {
            self.out.resize(at + 2 * STEP_BYTES, 0);
        }
        let done: Result<Status, DeflateError> = self.deflate.compress(input, &mut self.out[at..], flush);
        done.expect("memory is compressed into memory that has room")
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn what_was_written_comes_back_from_another_library() {
        let mut gzip = Gzip::default();
        let noise: Vec<u8> = (0..500_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let text = b"a line like any other\n".repeat(50_000);
        for content in [&b""[..], b"x", &text, &noise, b""] {
            for piece in [1000, content.len().max(1)] {
                gzip.begin();
                content.chunks(piece).for_each(|piece| gzip.write(piece));
                let mut back = Vec::new();
                flate2::read::MultiGzDecoder::new(gzip.finish()).read_to_end(&mut back).unwrap();
                assert!(back == content, "{} bytes in pieces of {piece}", content.len());
            }
        }
    }
}
