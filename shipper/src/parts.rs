//! The parts of a log from a place on, oldest first, segments and archives alike, and batches of their lines.
//!
//! Invariants: what is given of a line never changes afterwards. So of a segment that is being written only what stands
//! before the chunk that is on its way is taken, for the mark of that chunk may not be there yet; a line without a newline
//! waits for it there, unless nothing can be added to its part any more and there is no later one. Lines go over the ends of
//! blocks and parts. What cannot be read is a gap, which is told when it is passed; what a kernel's error hides is not.
//!
//! A line of more than [`LINE_BYTES_MAX`] bytes is given in pieces of that length.

use memchr::memchr;
use nix::errno::Errno;
use standpipe_common::archive::Mark;
use standpipe_common::error::{Error, Result};
use standpipe_common::part::{PartKind, PartName};
use standpipe_common::serial::{LogId, Serial};
use standpipe_reader::disk::Dir;
use standpipe_reader::listing::Listing;
use standpipe_reader::logs::forward::LINE_BYTES_MAX;
use standpipe_reader::logs::part::{Part, Scratch};
use standpipe_reader::logs::waiting;
use standpipe_reader::serials;

use crate::batch::Batch;
use crate::timing::Timing;

/// The parts as they were found by one look.
pub struct Parts {
    dir: Dir,
    listing: Listing,
    names: Vec<PartName>,
    open: Option<OpenPart>,
}

/// The part that is read, and how much of it can be taken.
struct OpenPart {
    number: usize,
    part: Part,
    limit: u64,
}

/// What is read of a block, and with what.
pub struct Reading {
    scratch: Scratch,
    raw: Vec<u8>,
    marks: Vec<Mark>,
    /// The part and the block of both.
    of: Option<(usize, usize)>,
}

/// How much a batch may have.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// No line is added once it has so many bytes.
    pub bytes: u64,
    /// Lines.
    pub lines: usize,
}

impl Reading {
    /// Fails only for want of memory.
    pub fn new() -> Result<Reading> {
        Ok(Reading { scratch: Scratch::new()?, raw: Vec::new(), marks: Vec::new(), of: None })
    }

    /// Nothing is known of a block any more: other parts are read from now on.
    pub fn forget(&mut self) {
        self.of = None;
    }

    /// Reads a block, unless that is what was read last.
    fn load(&mut self, open: &OpenPart, block: usize) -> Result<()> {
        if self.of == Some((open.number, block)) {
            return Ok(());
        }
        self.of = None;
        open.part.read(block, &mut self.scratch, &mut self.raw)?;
        self.marks = open.part.marks_as_made(block)?;
        self.of = Some((open.number, block));
        Ok(())
    }
}

impl Parts {
    /// Looks what there is.
    pub fn look(dir: &Dir) -> Result<Parts> {
        let listing = Listing::read(dir)?.completed(dir)?;
        let names = listing.stored().cloned().collect();
        Ok(Parts { dir: dir.try_clone()?, listing, names, open: None })
    }

    /// The part of this stem, there or not. `None`: no part of this log was ever called so.
    pub fn part_of_stem(&self, stem: &str) -> Option<PartName> {
        self.listing.part_of_stem(stem)
    }

    /// Which part of which log that is.
    ///
    /// # Errors
    /// The disk's; no writer has given the log an id yet.
    pub fn serial_of(&self, stem: &str) -> Result<Serial> {
        let serial = match self.part_of_stem(stem) {
            Some(name) => serials::serial_of(&self.dir, &self.listing, &name)?,
            None => None,
        };
        serial.ok_or_else(|| self.has_no_id())
    }

    /// The id of the log.
    ///
    /// # Errors
    /// No writer has given it one yet.
    pub fn log(&self) -> Result<LogId> {
        let log = self.listing.state.log.or_else(|| serials::log_of_archives(&self.dir, &self.listing));
        log.ok_or_else(|| self.has_no_id())
    }

    fn has_no_id(&self) -> Error {
        let cause = "it has no log id yet; a reader of this version gives it one when it starts";
        Error::because("send", self.dir.path(), cause)
    }

    /// Whether the next part begins where this one, of so many raw bytes, ends.
    fn joins(&self, number: usize, len: u64) -> Result<bool> {
        let [this, next] = [number, number + 1].map(|number| self.serial_of(self.names[number].stem()));
        Ok(next?.offset <= this?.offset + len)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.names.len()
    }

    /// The name of one, counted from the oldest.
    pub fn name(&self, number: usize) -> &PartName {
        &self.names[number]
    }

    /// The number of the first part that is not older than this one, and whether it is this one.
    pub fn find(&self, name: &PartName) -> (usize, bool) {
        let number = self.names.partition_point(|other| other < name);
        (number, self.names.get(number) == Some(name))
    }

    /// Raw bytes of a part as far as they can be taken, where it is read from `from` on. `None`: it has been removed.
    pub fn len_of(&mut self, number: usize, from: u64) -> Result<Option<u64>> {
        Ok(self.open(number, from)?.map(|open| open.part.len().min(open.limit)))
    }

    /// When the first line of a part arrived, ns since the epoch.
    pub fn first_ns(&mut self, number: usize) -> Result<Option<i64>> {
        let Some(open) = self.open(number, 0)? else { return Ok(None) };
        if open.part.is_empty() {
            return Ok(Some(open.part.name().birth_ns()));
        }
        Ok(open.part.marks_as_made(0)?.first().map(|mark| mark.time_ns))
    }

    /// Adds lines to a batch that has none, from an offset of a part on, up to a part before which others are missing.
    /// Sentences on what could not be read.
    pub fn gather(
        &mut self,
        from: (usize, u64),
        wanted: Wanted,
        timing: Timing,
        (batch, reading): (&mut Batch, &mut Reading),
    ) -> Result<Vec<String>> {
        debug_assert!(batch.is_empty() && batch.open_bytes().is_none(), "a batch of other lines");
        let mut gather = Gather { batch, reading, wanted, timing, gaps: Vec::new() };
        let (mut number, mut offset) = from;
        while number < self.names.len() {
            let last = number + 1 == self.names.len();
            let opened = self.open(number, offset);
            let Some(open) = (match opened {
                // What was gathered before it is as good as ever.
                Err(error) if gather.batch.is_empty() => return Err(error),
                opened => opened.ok().flatten(),
            }) else {
                // It is gone: the next look tells what became of it, and of a line that goes on in it.
                break;
            };
            let len = match gather.take(open, offset) {
                Ok(Some(len)) => len,
                Err(error) if gather.batch.is_empty() => return Err(error),
                Ok(None) | Err(_) => break,
            };
            if last {
                if !open.part.is_segment() {
                    gather.batch.close(len, false);
                }
                break;
            }
            match self.joins(number, len) {
                Ok(true) => {}
                Ok(false) => {
                    gather.batch.close(len, false);
                    break;
                }
                Err(error) if gather.batch.is_empty() => return Err(error),
                Err(_) => break,
            }
            (number, offset) = (number + 1, 0);
        }
        Ok(gather.gaps)
    }

    fn open(&mut self, number: usize, from: u64) -> Result<Option<&OpenPart>> {
        if self.open.as_ref().is_none_or(|open| open.number != number) {
            self.open = None;
            let is_last = number + 1 == self.names.len();
            let mut opened = open_part(&self.dir, &self.names[number], from, is_last)?;
            if opened.as_ref().is_some_and(|(part, limit)| *limit == u64::MAX && !part.has_marks()) {
                // The first chunk was finished between the two looks: its marks are there now, if there are any.
                opened = open_part(&self.dir, &self.names[number], from, is_last)?;
            }
            let Some((part, limit)) = opened else { return Ok(None) };
            self.open = Some(OpenPart { number, part, limit });
        }
        Ok(self.open.as_ref())
    }
}

/// A part, and how much of it can be taken. `None`: it has been removed.
fn open_part(dir: &Dir, name: &PartName, from: u64, is_last: bool) -> Result<Option<(Part, u64)>> {
    let part = match Part::open(dir, name, from, true) {
        Err(error) if error.errno() == Some(Errno::ENOENT) => return Ok(None),
        part => part?,
    };
    // After the length of the part was taken: what a chunk brings later is beyond that anyway.
    let is_written = part.is_segment() && is_last;
    let begin = is_written.then(|| waiting::chunk_begin(dir, &name.file(PartKind::Segment)));
    Ok(Some((part, begin.flatten().unwrap_or(u64::MAX))))
}

/// A batch that grows.
struct Gather<'a> {
    batch: &'a mut Batch,
    reading: &'a mut Reading,
    wanted: Wanted,
    timing: Timing,
    gaps: Vec<String>,
}

impl Gather<'_> {
    /// Takes what a part has from `offset` on. Its length; `None`: the batch is full.
    fn take(&mut self, open: &OpenPart, mut offset: u64) -> Result<Option<u64>> {
        let (part, begun) = (&open.part, offset);
        self.batch.enter(part.name().stem());
        for number in part.block_at(offset)..part.blocks() {
            let block = part.block(number);
            if block.offset > offset {
                // What is missing there was told by the part itself.
                self.batch.close(offset, false);
                offset = block.offset;
            }
            let end = block.end().min(open.limit);
            if offset >= end {
                break;
            }
            if let Err(error) = self.reading.load(open, number) {
                self.pass_gap(part, number, error)?;
            } else if !self.take_bytes(block.offset, offset, end) {
                return Ok(None);
            }
            offset = end;
        }
        if offset > begun {
            self.gaps.extend(part.damage());
        }
        Ok(Some(offset))
    }

    /// A damaged block stays so; after an error of the kernel its bytes may be there the next time.
    fn pass_gap(&mut self, part: &Part, number: usize, error: Error) -> Result<()> {
        if error.errno().is_some() {
            return Err(error);
        }
        self.batch.close(part.block(number).offset, false);
        self.gaps.push(part.gap(number, error).to_string());
        Ok(())
    }

    /// Takes the bytes of the block that was read, from one offset of the part to another. `false`: the batch is full.
    fn take_bytes(&mut self, begin: u64, mut offset: u64, end: u64) -> bool {
        debug_assert!(begin <= offset && end - begin <= self.reading.raw.len() as u64, "{begin} {offset} {end}");
        let mut mark = 0;
        while offset < end {
            let is_between = self.batch.open_bytes().is_none();
            if is_between && (self.batch.raw_bytes() >= self.wanted.bytes || self.batch.len() >= self.wanted.lines) {
                return false;
            }
            let rest = &self.reading.raw[(offset - begin) as usize..(end - begin) as usize];
            let room = LINE_BYTES_MAX - self.batch.open_bytes().unwrap_or(0);
            let newline = memchr(b'\n', &rest[..rest.len().min(room + 1)]);
            let line = newline.unwrap_or(rest.len().min(room));
            let marks = &self.reading.marks[mark..];
            mark += marks.iter().take_while(|mark| mark.offset <= offset).count().saturating_sub(1);
            let (timing, in_force) = (&mut self.timing, self.reading.marks[mark]);
            self.batch.push(&rest[..line], offset, || timing.next(in_force, offset));
            offset += (line + usize::from(newline.is_some())) as u64;
            if newline.is_some() || line == room {
                self.batch.close(offset, newline.is_some());
            }
        }
        true
    }
}
