//! Reads a whole archive, past its damage.
//!
//! Invariant: every raw byte that the frames say there is has either been written or stands in a [`Gap`]; a file that
//! is not complete always has one. Bytes from a complete archive have passed their frame's checksum; from another one
//! they are decoded as a plain stream, up to where that fails, and the last of them may be unchecked.
//!
//! Not here: judging damage; what to do about a gap is the caller's.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;

use super::format::TableFault;
use super::read::{Archive, Decoder, Frame};
use crate::error::Error;
use crate::shown::counted;

/// Window that a decoder accepts, as a power of two: what the `zstd` tool accepts without being asked, 128 MiB.
const WINDOW_LOG_MAX: u32 = 27;
/// Bytes of a plain stream that are decoded at a time.
const STREAM_BUFFER_BYTES: usize = 128 << 10;

/// Gaps of one archive that are told apart; the last one stands for all that follow.
pub const GAPS_MAX: usize = 16;

/// A piece of the raw stream that could not be read.
#[derive(Debug)]
pub struct Gap {
    /// The first damaged frame, counted from 0; `None` if the file was read as a plain stream.
    pub frame: Option<usize>,
    /// So many damaged frames: one after the other, but for the last of [`GAPS_MAX`].
    pub frames: usize,
    /// Where the missing bytes begin in the raw stream.
    pub raw_offset: u64,
    /// How many are missing; `None` if nobody knows.
    pub bytes: Option<u64>,
    /// Why.
    pub cause: Error,
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Gap { raw_offset, cause, .. } = self;
        match self.bytes {
            Some(bytes) => {
                write!(f, "{cause}")?;
                if self.frames > 1 {
                    write!(f, " ({} after it)", counted(self.frames as u64 - 1, "more damaged frame"))?;
                }
                write!(f, "; the log lacks {} from offset {raw_offset}", counted(bytes, "byte"))
            }
            None => write!(f, "{cause}; everything in the log after offset {raw_offset} is missing"),
        }
    }
}

/// What came of a copy.
#[derive(Debug, Default)]
pub struct Copied {
    /// Raw bytes written.
    pub raw_bytes: u64,
    /// What is missing, in order.
    pub gaps: Vec<Gap>,
}

impl Copied {
    /// Adds the gap of one frame: to the last one if it goes on with that, or if there are many.
    pub fn add(&mut self, gap: Gap) {
        let is_full = self.gaps.len() == GAPS_MAX;
        match self.gaps.last_mut() {
            Some(last) if is_full || last.frame.map(|frame| frame + last.frames) == gap.frame => {
                last.frames += 1;
                last.bytes = last.bytes.zip(gap.bytes).map(|(bytes, more)| bytes + more);
            }
            _ => self.gaps.push(gap),
        }
    }
}

impl Archive {
    /// Writes all raw bytes that can be read, in order. Fails only if `out` does; trouble with the archive is a gap.
    pub fn copy_to(&self, out: &mut dyn Write) -> io::Result<Copied> {
        match self.complete() {
            Ok(()) => self.copy_frames(out),
            Err(fault) => self.copy_stream(out, fault),
        }
    }

    /// Its raw bytes as one stream, whatever its tables say, up to where that fails. A frame that needs a larger window
    /// than 2 to the power `window_log_max` is an error.
    pub fn stream(&self, window_log_max: u32) -> io::Result<impl Read + Send + use<>> {
        let mut decoder = zstd::stream::read::Decoder::new(FromStart { file: self.file().try_clone()?, offset: 0 })?;
        decoder.window_log_max(window_log_max)?;
        Ok(decoder)
    }

    fn copy_frames(&self, out: &mut dyn Write) -> io::Result<Copied> {
        let mut copied = Copied::default();
        let mut raw = Vec::new();
        let mut decoder = Decoder::new()?;
        for (number, &Frame { raw_offset, raw: bytes, .. }) in self.frames().iter().enumerate() {
            match self.read_frame(number, &mut decoder, &mut raw) {
                Ok(()) => {
                    out.write_all(&raw)?;
                    copied.raw_bytes += raw.len() as u64;
                }
                Err(cause) => {
                    copied.add(Gap { frame: Some(number), frames: 1, raw_offset, bytes: Some(bytes.into()), cause });
                }
            }
        }
        let missing: u64 = copied.gaps.iter().filter_map(|gap| gap.bytes).sum();
        debug_assert_eq!(copied.raw_bytes + missing, self.raw_bytes(), "each byte is written or stands in a gap");
        Ok(copied)
    }

    fn copy_stream(&self, out: &mut dyn Write, fault: TableFault) -> io::Result<Copied> {
        let mut decoder = self.stream(WINDOW_LOG_MAX)?;
        let mut raw = vec![0; STREAM_BUFFER_BYTES];
        let mut raw_bytes = 0;
        let cause = loop {
            match decoder.read(&mut raw) {
                Ok(0) => break fault.to_string(),
                Ok(bytes) => {
                    out.write_all(&raw[..bytes])?;
                    raw_bytes += bytes as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break format!("{fault}: {error}"),
            }
        };
        let cause = Error::because("read all of", self.path(), cause);
        Ok(Copied { raw_bytes, gaps: vec![Gap { frame: None, frames: 0, raw_offset: raw_bytes, bytes: None, cause }] })
    }
}

/// Reads a file from its start without moving its offset, which others may share.
struct FromStart {
    file: File,
    offset: u64,
}

impl Read for FromStart {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.file.read_at(buffer, self.offset)?;
        self.offset += bytes as u64;
        Ok(bytes)
    }
}
