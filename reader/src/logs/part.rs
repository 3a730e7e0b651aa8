//! An open part, and its blocks: what is read of it at a time.
//!
//! Invariants: the blocks of a part lie behind one another and cover what it had when it was opened, whatever happens
//! to its name or its end later; each is at most `BLOCK_BYTES_MAX` long. Between two there is nothing, or what was
//! found damaged when it was opened. What a block says of itself is true if the
//! archive's index is, and that has a checksum.
//!
//! An archive of ours has its frames for blocks; without its index they are read once more. A segment is cut into such
//! blocks when it is opened. Any other zstd file, one without a seek table or with larger frames, is read once to cut it,
//! and then in order.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use memchr::memchr_iter;
use standpipe_common::archive::marks::{self, MARK_BYTES, Mark};
use standpipe_common::archive::{Archive, Decoder, Gap};
use standpipe_common::error::{Cannot, Error, Result};
use standpipe_common::part::{PartKind, PartName};
use standpipe_common::shown::Shown as _;

use super::block::{self, BLOCK_BYTES_MAX, Block, Sound, WINDOW_LOG_MAX};
use crate::disk::Dir;

/// An open part.
pub struct Part {
    name: PartName,
    path: PathBuf,
    body: Body,
    /// Newlines before each block, as far as they have been counted.
    lines_before: Mutex<Vec<u64>>,
}

enum Body {
    /// Compressed, with an index of ours.
    Archive(Archive),
    /// The same without an index that can be used: what it would tell was found by reading.
    Frames { archive: Archive, sound: Sound, birth_ns: i64 },
    /// Plain text.
    Segment { file: File, blocks: Vec<Block>, marks: Option<File>, birth_ns: i64 },
    /// A zstd file of somebody else, or the rest of one of ours.
    Stream {
        archive: Archive,
        blocks: Vec<Block>,
        reading: Mutex<Option<Stream>>,
        birth_ns: i64,
        fault: Option<String>,
    },
}

/// Where a stream has got to.
struct Stream {
    decoder: Box<dyn Read + Send>,
    offset: u64,
}

/// What a thread reads parts with.
pub struct Scratch {
    decoder: Decoder,
}

impl Scratch {
    /// Fails only for want of memory.
    pub fn new() -> Result<Scratch> {
        Ok(Scratch { decoder: Decoder::new().cannot("start", "zstd")? })
    }
}

impl Part {
    /// Opens a part by whichever name it has now. A complete archive counts, whatever stands beside it. Of a segment
    /// only what stands from `from` on is cut into blocks. `timed`: the times of its blocks are wanted.
    pub fn open(dir: &Dir, name: &PartName, from: u64, timed: bool) -> Result<Part> {
        if let Ok(archive) = dir.open_archive(name)
            && archive.complete().is_ok()
        {
            return Part::of_archive(name, archive);
        }
        match dir.open_read(name.file(PartKind::Segment)) {
            Ok(file) => {
                // One that is not there: it became an archive's, or nothing could be written.
                let marks = if timed { dir.open_read(name.file(PartKind::Marks)).ok() } else { None };
                Part::of_segment(name, dir.path_of(name.file(PartKind::Segment)), file, marks, from)
            }
            Err(error) if error.errno() == Some(nix::errno::Errno::ENOENT) => {
                Part::of_archive(name, dir.open_archive(name)?)
            }
            Err(error) => Err(error),
        }
    }

    /// An open segment, from `from` on.
    pub fn of_segment(name: &PartName, path: PathBuf, file: File, marks: Option<File>, from: u64) -> Result<Part> {
        let metadata = file.metadata().cannot("inspect", &path)?;
        let birth_ns = name.birth_ns();
        let last_ns = crate::disk::modified_ns(&metadata).max(birth_ns);
        let mut blocks = block::cut(&file, from, metadata.len()).cannot("read", &path)?;
        match &marks {
            Some(marks) => {
                for block in &mut blocks {
                    let times = marks_between(marks, block.offset, block.end()).cannot("read marks of", &path)?;
                    let time = |mark: &Mark| mark.time_ns;
                    block.lowest_ns = times.iter().map(time).min().unwrap_or(birth_ns);
                    block.highest_ns = times.iter().map(time).max().unwrap_or(last_ns);
                }
            }
            None => {
                for block in &mut blocks {
                    (block.lowest_ns, block.highest_ns) = (birth_ns, last_ns);
                }
            }
        }
        let body = Body::Segment { file, blocks, marks, birth_ns };
        Ok(Part::with(name, path, body))
    }

    fn with(name: &PartName, path: PathBuf, body: Body) -> Part {
        let part = Part { name: name.clone(), path, body, lines_before: Mutex::default() };
        let follow = |number: usize| part.block(number - 1).end() <= part.block(number).offset;
        debug_assert!((1..part.blocks()).all(follow), "the blocks of {} lie in order", part.path.shown());
        part
    }

    fn of_archive(name: &PartName, archive: Archive) -> Result<Part> {
        let path = archive.path().to_path_buf();
        let birth_ns = name.birth_ns();
        let has_blocks =
            archive.complete().is_ok() && archive.frames().iter().all(|frame| frame.raw <= BLOCK_BYTES_MAX);
        let body = if has_blocks && archive.index().is_ok() {
            Body::Archive(archive)
        } else if has_blocks {
            let sound = block::survey_frames(&archive, birth_ns).cannot("read", &path)?;
            Body::Frames { archive, sound, birth_ns }
        } else {
            let (blocks, fault) = block::survey(&archive, birth_ns).cannot("read", &path)?;
            Body::Stream { archive, blocks, reading: Mutex::default(), birth_ns, fault }
        };
        Ok(Part::with(name, path, body))
    }

    /// The same segment as it stands now, from `from` on, whatever has become of its name.
    pub fn again(&self, from: u64) -> Option<Result<Part>> {
        let Body::Segment { file, marks, .. } = &self.body else { return None };
        let files = || {
            let marks = marks.as_ref().map(File::try_clone).transpose();
            Ok((file.try_clone().cannot("open", &self.path)?, marks.cannot("open marks of", &self.path)?))
        };
        Some(files().and_then(|(file, marks)| Part::of_segment(&self.name, self.path.clone(), file, marks, from)))
    }

    /// Says that its first line began in the part before it. An index knows that itself.
    pub fn begin_inside(&mut self) {
        let (Body::Segment { blocks, .. }
        | Body::Frames { sound: Sound { blocks, .. }, .. }
        | Body::Stream { blocks, .. }) = &mut self.body
        else {
            return;
        };
        if let Some(first) = blocks.first_mut().filter(|first| first.offset == 0) {
            first.begins_inside = true;
        }
    }

    /// Whether it has an index, which knows how it begins.
    pub fn has_index(&self) -> bool {
        self.indexed().is_some()
    }

    /// The archive of which it has the frames for blocks, by an index.
    pub fn indexed(&self) -> Option<&Archive> {
        if let Body::Archive(archive) = &self.body { Some(archive) } else { None }
    }

    /// What it is called.
    pub fn name(&self) -> &PartName {
        &self.name
    }

    /// Whether it is plain text, which may grow.
    pub fn is_segment(&self) -> bool {
        matches!(self.body, Body::Segment { .. })
    }

    /// Whether its blocks are best read in order, by one thread.
    pub fn is_stream(&self) -> bool {
        matches!(self.body, Body::Stream { .. })
    }

    /// How many blocks it has.
    pub fn blocks(&self) -> usize {
        match &self.body {
            Body::Archive(archive) => archive.frames().len(),
            Body::Segment { blocks, .. }
            | Body::Frames { sound: Sound { blocks, .. }, .. }
            | Body::Stream { blocks, .. } => blocks.len(),
        }
    }

    /// One of them.
    pub fn block(&self, number: usize) -> Block {
        match &self.body {
            Body::Archive(archive) => {
                let index = archive.index().expect("an archive that is read by block has an index");
                block::of_frame(archive.frames()[number], index.frames[number])
            }
            Body::Segment { blocks, .. }
            | Body::Frames { sound: Sound { blocks, .. }, .. }
            | Body::Stream { blocks, .. } => blocks[number],
        }
    }

    /// The block that has this byte; the number of blocks if none has.
    pub fn block_at(&self, offset: u64) -> usize {
        let (mut low, mut high) = (0, self.blocks());
        while low < high {
            let middle = low.midpoint(high);
            if self.block(middle).end() <= offset { low = middle + 1 } else { high = middle }
        }
        debug_assert!(low == self.blocks() || self.block(low).end() > offset, "block {low} ends before {offset}");
        low
    }

    /// Raw bytes up to the end of its last block.
    pub fn len(&self) -> u64 {
        self.blocks().checked_sub(1).map_or(0, |last| self.block(last).end())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.blocks() == 0
    }

    /// Whether its beginning is damaged.
    pub fn begins_torn(&self) -> bool {
        let Body::Frames { sound, .. } = &self.body else { return false };
        sound.blocks.first().map_or(!sound.damage.gaps.is_empty(), |first| first.offset > 0)
    }

    /// Whether its end is damaged.
    pub fn ends_torn(&self) -> bool {
        match &self.body {
            Body::Frames { archive, .. } => self.len() < archive.raw_bytes(),
            Body::Stream { fault, .. } => fault.is_some(),
            _ => false,
        }
    }

    /// What was found missing when it was opened.
    pub fn damage(&self) -> Vec<String> {
        match &self.body {
            Body::Stream { fault: Some(fault), .. } => {
                let cause = Error::because("read all of", &self.path, fault);
                vec![Gap { frame: None, frames: 0, raw_offset: self.len(), bytes: None, cause }.to_string()]
            }
            Body::Frames { sound, .. } => sound.damage.gaps.iter().map(ToString::to_string).collect(),
            _ => Vec::new(),
        }
    }

    /// Reads a block into `raw`, which is empty after an error.
    pub fn read(&self, number: usize, scratch: &mut Scratch, raw: &mut Vec<u8>) -> Result<()> {
        raw.clear();
        let block = self.block(number);
        let read = match &self.body {
            Body::Archive(archive) => archive.read_frame(number, &mut scratch.decoder, raw),
            Body::Frames { archive, sound, .. } => archive.read_frame(sound.numbers[number], &mut scratch.decoder, raw),
            Body::Segment { file, .. } => {
                raw.resize(block.bytes as usize, 0);
                file.read_exact_at(raw, block.offset).map_err(|cause| {
                    raw.clear();
                    Error::new("read", &self.path, cause)
                })
            }
            Body::Stream { archive, reading, .. } => {
                let mut reading = reading.lock().unwrap_or_else(PoisonError::into_inner);
                read_stream(archive, &mut reading, block, raw).map_err(|cause| {
                    raw.clear();
                    *reading = None;
                    Error::new("read", &self.path, cause)
                })
            }
        };
        debug_assert_eq!(raw.len() as u64, if read.is_ok() { block.bytes } else { 0 }, "block {number}");
        read
    }

    /// The gap that a block leaves which could not be read.
    pub fn gap(&self, number: usize, cause: Error) -> Gap {
        let block = self.block(number);
        Gap { frame: Some(number), frames: 1, raw_offset: block.offset, bytes: Some(block.bytes), cause }
    }

    /// The marks in force in a block, in order, the first at or before its beginning.
    pub fn marks(&self, number: usize) -> Result<Vec<Mark>> {
        let block = self.block(number);
        let guessed = |time_ns| vec![Mark { offset: block.offset, time_ns }];
        match &self.body {
            Body::Archive(archive) => {
                let index = archive.index().expect("an archive that is read by block has an index");
                let mut marks = index.marks.in_frame(number).unwrap_or_default();
                // Before the first mark, without marks, and where they are damaged, the frame tells.
                if marks.first().is_none_or(|first| first.offset > block.offset) {
                    marks.splice(..0, guessed(index.frames[number].first_ns));
                }
                Ok(marks)
            }
            Body::Segment { marks, birth_ns, .. } => match marks {
                Some(file) => {
                    let marks = marks_between(file, block.offset, block.end()).cannot("read marks of", &self.path)?;
                    Ok(if marks.is_empty() { guessed(*birth_ns) } else { marks })
                }
                None => Ok(guessed(*birth_ns)),
            },
            Body::Frames { birth_ns, .. } | Body::Stream { birth_ns, .. } => Ok(guessed(*birth_ns)),
        }
    }

    /// Whether it had a file of marks, or an index, when it was opened.
    pub fn has_marks(&self) -> bool {
        !matches!(self.body, Body::Segment { marks: None, .. })
    }

    /// The same, but the first as it was made, wherever in the part that is: so it can be told how far behind it a byte
    /// stands, and it is the same of a segment and of its archive. Without marks it is one at the beginning of the part.
    pub fn marks_as_made(&self, number: usize) -> Result<Vec<Mark>> {
        let at = self.block(number).offset;
        let without = || Mark { offset: 0, time_ns: self.name.birth_ns() };
        match &self.body {
            Body::Archive(archive) => {
                let index = archive.index().expect("an archive that is read by block has an index");
                let mut marks = index.marks.in_frame(number).unwrap_or_default();
                if marks.first().is_none_or(|first| first.offset > at) {
                    let before = |number| index.marks.in_frame(number)?.pop();
                    let made = (0..number).rev().find_map(before);
                    marks.splice(..0, made.or_else(|| marks.is_empty().then(without)));
                }
                Ok(marks)
            }
            Body::Segment { marks: Some(file), .. } => {
                let marks = marks_between(file, at, self.block(number).end()).cannot("read marks of", &self.path)?;
                Ok(if marks.is_empty() { vec![without()] } else { marks })
            }
            _ => Ok(vec![without()]),
        }
    }

    /// Newlines in a block, which is read if nothing else tells.
    pub fn lines(&self, number: usize, scratch: &mut Scratch) -> Result<u64> {
        if let Body::Archive(archive) = &self.body {
            let index = archive.index().expect("an archive that is read by block has an index");
            return Ok(index.frames[number].lines.into());
        }
        let mut raw = Vec::new();
        self.read(number, scratch, &mut raw)?;
        Ok(memchr_iter(b'\n', &raw).count() as u64)
    }

    /// Newlines before a block.
    pub fn lines_before(&self, number: usize, scratch: &mut Scratch) -> Result<u64> {
        if let Body::Archive(archive) = &self.body {
            let index = archive.index().expect("an archive that is read by block has an index");
            return Ok(index.frames[..number].iter().map(|frame| u64::from(frame.lines)).sum());
        }
        let mut known = self.lines_before.lock().unwrap_or_else(PoisonError::into_inner);
        if known.is_empty() {
            known.push(0);
        }
        let mut raw = Vec::new();
        while known.len() <= number {
            let block = known.len() - 1;
            self.read(block, scratch, &mut raw)?;
            let lines = known[block] + memchr_iter(b'\n', &raw).count() as u64;
            known.push(lines);
        }
        Ok(known[number])
    }
}

/// Whether the last line of a part goes on in the next one. What cannot be told counts as a whole line.
pub fn ends_inside(dir: &Dir, name: &PartName) -> bool {
    if let Ok(archive) = dir.open_archive(name)
        && archive.complete().is_ok()
    {
        if let Ok(index) = archive.index() {
            return index.ends_inside;
        }
        let mut raw = Vec::new();
        let last = archive.frames().len().wrapping_sub(1);
        let decoder = Decoder::new().cannot("start", "zstd");
        let read = decoder.and_then(|mut decoder| archive.read_frame(last, &mut decoder, &mut raw));
        return read.is_ok() && raw.last() != Some(&b'\n');
    }
    let last = |part: &Part| part.blocks().checked_sub(1).map(|last| part.block(last));
    Part::open(dir, name, 0, false)
        .is_ok_and(|part| !part.ends_torn() && last(&part).is_some_and(|last| last.ends_inside))
}

/// The marks in force in `start..end` by the file beside a segment, in order. A record that does not rise is none.
fn marks_between(file: &File, start: u64, end: u64) -> io::Result<Vec<Mark>> {
    let record = |number: u64| -> io::Result<Mark> {
        let mut bytes = [0; MARK_BYTES];
        file.read_exact_at(&mut bytes, number * MARK_BYTES as u64)?;
        Ok(Mark::from_bytes(bytes))
    };
    let count = file.metadata()?.len() / MARK_BYTES as u64;
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low.midpoint(high);
        if record(middle)?.offset <= start { low = middle + 1 } else { high = middle }
    }
    let first = low.saturating_sub(1);
    let mut found: Vec<Mark> = Vec::new();
    let mut bytes = vec![0; MARK_BYTES * 4096];
    let mut number = first;
    while number < count {
        let records = (count - number).min(4096);
        let bytes = &mut bytes[..records as usize * MARK_BYTES];
        file.read_exact_at(bytes, number * MARK_BYTES as u64)?;
        for record in bytes.as_chunks::<MARK_BYTES>().0 {
            let mark = Mark::from_bytes(*record);
            if mark.offset >= end && !found.is_empty() {
                return Ok(found);
            }
            if found.last().is_none_or(|last| last.offset < mark.offset) {
                found.push(mark);
            }
        }
        number += records;
    }
    Ok(found)
}

fn read_stream(archive: &Archive, reading: &mut Option<Stream>, block: Block, raw: &mut Vec<u8>) -> io::Result<()> {
    if reading.as_ref().is_none_or(|stream| stream.offset > block.offset) {
        *reading = Some(Stream { decoder: Box::new(archive.stream(WINDOW_LOG_MAX)?), offset: 0 });
    }
    let stream = reading.as_mut().expect("it was begun");
    let passed = io::copy(&mut stream.decoder.by_ref().take(block.offset - stream.offset), &mut io::sink())?;
    stream.offset += passed;
    raw.resize(block.bytes as usize, 0);
    stream.decoder.read_exact(raw)?;
    stream.offset = block.end();
    Ok(())
}

/// The arrival time of the line that begins at `offset`, by the marks of its block.
pub fn time_at(marks: &[Mark], offset: u64) -> i64 {
    marks::time_at(marks, offset).unwrap_or(i64::MIN)
}
