//! The blocks of a part: what is read of it at a time, and how a part is cut into them where no index tells.
//!
//! Invariants: blocks lie behind one another, and each ends with a line where it can. Between two there is nothing, or
//! what was found damaged when they were cut.

use std::fs::File;
use std::io::{self, Read};

use memchr::{memchr, memrchr};
use standpipe_common::archive::{Archive, Copied, Decoder, Frame, FrameIndex, Gap};

use crate::line_end::{ends_inside_line, last_line_end};

/// A block is so long, if it can end with a line.
const BLOCK_BYTES: u64 = 1 << 20;
/// The largest frame that is a block; larger ones are decompressed piece by piece.
pub(super) const BLOCK_BYTES_MAX: u32 = 4 << 20;
/// Window that a part may need which is not ours, as a power of two: 8 MiB.
pub const WINDOW_LOG_MAX: u32 = 23;

/// What is known of a block before it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Where it begins in the part.
    pub offset: u64,
    /// Raw bytes, `BLOCK_BYTES_MAX` at most.
    pub bytes: u64,
    /// No line in it arrived earlier, ns since the epoch.
    pub lowest_ns: i64,
    /// No line in it arrived later.
    pub highest_ns: i64,
    /// Its first byte continues a line.
    pub begins_inside: bool,
    /// Its last line goes on in the next block.
    pub ends_inside: bool,
    /// It has no newline.
    pub unbroken: bool,
}

impl Block {
    /// Where the next one begins.
    pub fn end(&self) -> u64 {
        self.offset + self.bytes
    }
}

/// The frames of an archive that can be read.
pub(super) struct Sound {
    pub(super) numbers: Vec<usize>,
    pub(super) blocks: Vec<Block>,
    /// What is missing between and behind them.
    pub(super) damage: Copied,
}

pub(super) fn of_frame(frame: Frame, index: FrameIndex) -> Block {
    Block {
        offset: frame.raw_offset,
        bytes: frame.raw.into(),
        lowest_ns: index.lowest_ns,
        highest_ns: index.highest_ns,
        begins_inside: index.begins_inside,
        ends_inside: index.ends_inside,
        unbroken: index.lines == 0,
    }
}

/// Cuts the bytes `from..len` of a segment into blocks that end with a line where they can.
pub(super) fn cut(file: &File, from: u64, len: u64) -> io::Result<Vec<Block>> {
    let mut blocks = Vec::new();
    let mut begins_inside = ends_inside_line(file, from)?;
    let mut offset = from;
    while offset < len {
        let limit = len.min(offset + BLOCK_BYTES);
        let line_end = last_line_end(file, offset..limit)?;
        let end = if limit == len { len } else { line_end.unwrap_or(limit) };
        let ends_inside = line_end != Some(end);
        let unbroken = line_end.is_none();
        blocks.push(Block {
            offset,
            bytes: end - offset,
            lowest_ns: i64::MIN,
            highest_ns: i64::MAX,
            begins_inside,
            ends_inside,
            unbroken,
        });
        begins_inside = ends_inside;
        offset = end;
    }
    Ok(blocks)
}

/// Reads every frame to tell what an index would, and which are damaged.
pub(super) fn survey_frames(archive: &Archive, birth_ns: i64) -> io::Result<Sound> {
    let mut decoder = Decoder::new()?;
    let mut raw = Vec::new();
    let mut begins_inside = false;
    let mut sound = Sound { numbers: Vec::new(), blocks: Vec::new(), damage: Copied::default() };
    for (number, frame) in archive.frames().iter().enumerate() {
        if let Err(cause) = archive.read_frame(number, &mut decoder, &mut raw) {
            let (raw_offset, bytes) = (frame.raw_offset, Some(frame.raw.into()));
            sound.damage.add(Gap { frame: Some(number), frames: 1, raw_offset, bytes, cause });
            begins_inside = false;
            continue;
        }
        let ends_inside = raw.last() != Some(&b'\n');
        sound.numbers.push(number);
        sound.blocks.push(Block {
            offset: frame.raw_offset,
            bytes: frame.raw.into(),
            lowest_ns: birth_ns,
            highest_ns: birth_ns,
            begins_inside,
            ends_inside,
            unbroken: memchr(b'\n', &raw).is_none(),
        });
        begins_inside = ends_inside;
    }
    Ok(sound)
}

/// Reads a zstd file through to cut it into blocks, and says why it ends where it does not.
pub(super) fn survey(archive: &Archive, birth_ns: i64) -> io::Result<(Vec<Block>, Option<String>)> {
    let mut stream = archive.stream(WINDOW_LOG_MAX)?;
    let mut blocks: Vec<Block> = Vec::new();
    let mut buffer = vec![0; BLOCK_BYTES as usize];
    let mut held = 0;
    let mut offset = 0;
    let mut begins_inside = false;
    let trouble = loop {
        let read = stream.read(&mut buffer[held..]);
        let (read, trouble) = match read {
            Ok(read) => (read, None),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => (0, Some(error)),
        };
        held += read;
        if read > 0 && held < buffer.len() {
            continue;
        }
        let line_end = memrchr(b'\n', &buffer[..held]).map(|newline| newline + 1);
        let end = if read == 0 { held } else { line_end.unwrap_or(held) };
        if end > 0 {
            let ends_inside = line_end != Some(end);
            blocks.push(Block {
                offset,
                bytes: end as u64,
                lowest_ns: birth_ns,
                highest_ns: birth_ns,
                begins_inside,
                ends_inside,
                unbroken: memchr(b'\n', &buffer[..end]).is_none(),
            });
            begins_inside = ends_inside;
            offset += end as u64;
            buffer.copy_within(end..held, 0);
            held -= end;
        }
        if read == 0 {
            break trouble;
        }
    };
    let fault = match (archive.complete(), trouble) {
        (Ok(()), None) => None,
        (Ok(()), Some(error)) => Some(error.to_string()),
        (Err(fault), None) => Some(fault.to_string()),
        (Err(fault), Some(error)) => Some(format!("{fault}: {error}")),
    };
    Ok((blocks, fault))
}
