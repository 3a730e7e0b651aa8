//! The active segment: the plain file that a lane writes now, and the marks beside it.
//!
//! Invariants: bytes are only ever put at its end, at the offset that the mailbox recorded, so a put can be repeated
//! after a crash. Others may cut the file, add to it or remove it at any moment: a look before each chunk tells
//! ([`Segment::look`]), and a chunk goes to the end that is there, so there is never a hole. Whoever seals it gives it
//! away ([`Segment::seal`]). Marks are a convenience: one that cannot be
//! written costs resolution of arrival times, never a line. Blocks that a busy lane reserved ahead are given back when
//! it rests or the part is sealed.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};

use standpipe_common::archive::marks::{self, MARK_BYTES, Mark};
use standpipe_common::error::{Cannot, Result};
use standpipe_common::part::{PartKind, PartName};

use crate::disk::{self, Dir, FileMode};
use crate::leap::is_plausible;
use crate::line_end::ends_inside_line;
use crate::nuls;
use crate::output::Shape;
use crate::record::Record;

/// At most one mark in this span.
const MARK_SPAN_NS: i64 = 10_000_000;
/// A lane that put so many bytes since its segment was opened is busy, and reserves room ahead.
const BUSY_BYTES: u64 = 256 << 10;
/// The largest block of a file system: what the last block of a file has beyond its end is no reserve.
const BLOCK_BYTES_MAX: u64 = 64 << 10;
/// How much is reserved at a time.
const RESERVE_BYTES: u64 = 8 << 20;

/// What somebody else did to the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meddling {
    /// It lost its end; it had so many bytes.
    Cut {
        /// Its length before.
        from: u64,
    },
    /// It got so many bytes more.
    Grown(u64),
    /// It has no name any more.
    Removed,
}

/// A part that is being written.
#[derive(Debug)]
pub struct Segment {
    name: PartName,
    file: File,
    ino: u64,
    len: u64,
    open: bool,
    /// When its first byte came, as far as is known.
    begun_ns: Option<i64>,
    marks: Option<Marks>,
    /// Length when it was opened.
    opened_len: u64,
    /// The blocks of bytes before this offset are ours.
    reserved: u64,
}

impl Segment {
    /// Makes a new, empty one. `open`: it continues a line of the part before it.
    pub fn create(dir: &Dir, name: PartName, mode: FileMode, open: bool) -> Result<Segment> {
        let file = dir.create(name.file(PartKind::Segment), mode)?;
        let ino = file.metadata().cannot("inspect", dir.path_of(name.file(PartKind::Segment)))?.ino();
        let begun_ns = None;
        Ok(Segment { name, file, ino, len: 0, open, begun_ns, marks: None, opened_len: 0, reserved: 0 })
    }

    /// Takes up one that is there. `open_before`: the part before it ended inside a line.
    pub fn resume(dir: &Dir, name: PartName, open_before: bool, now_ns: i64) -> Result<Segment> {
        let file_name = name.file(PartKind::Segment);
        let file = dir.open_write(&file_name)?;
        let metadata = file.metadata().cannot("inspect", dir.path_of(&file_name))?;
        let len = metadata.len();
        let open = if len == 0 {
            open_before
        } else {
            ends_inside_line(&file, len).cannot("read", dir.path_of(&file_name))?
        };
        let is_told = name.is_exact() && is_plausible(name.birth_ns(), now_ns);
        let begun_ns = if len == 0 || is_told { None } else { begun_ns(dir, &name, &metadata, now_ns) };
        // Whoever was killed could give nothing back.
        let reserved = metadata.blocks() * 512;
        let ino = metadata.ino();
        Ok(Segment { name, file, ino, len, open, begun_ns, marks: None, opened_len: len, reserved })
    }

    /// The part that it is.
    pub fn name(&self) -> &PartName {
        &self.name
    }

    /// Its inode: another file of the same name is another segment.
    pub fn ino(&self) -> u64 {
        self.ino
    }

    /// Bytes in it.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Since when its age counts, ns since the epoch: its birth by an exact name; a coarse one tells less than the
    /// arrival of its first byte, which the first mark keeps. What cannot be, for the clock was wrong then, does not
    /// count: then it is the first moment of which the segment knows that can.
    pub fn begun_ns(&mut self, now_ns: i64) -> i64 {
        let birth_ns = self.name.birth_ns();
        let exact_ns = self.name.is_exact().then_some(birth_ns);
        let mut told_ns = [exact_ns, self.begun_ns, Some(birth_ns)].into_iter().flatten();
        if let Some(begun_ns) = told_ns.find(|time_ns| is_plausible(*time_ns, now_ns)) {
            return begun_ns;
        }
        // Whoever takes it up again finds this moment as its last write.
        disk::set_modified(&self.file, now_ns).ok();
        *self.begun_ns.insert(now_ns)
    }

    /// Its last line has no end yet.
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// Much came since it was opened: room is reserved for more.
    pub fn is_busy(&self) -> bool {
        debug_assert!(self.opened_len <= self.len, "shorter than when it was opened");
        self.len - self.opened_len >= BUSY_BYTES
    }

    /// Makes sure that `bytes` more find room, as far as a file system can promise that: a busy lane reserves in large
    /// steps, but not beyond `rotate_size`, and an idle one nothing.
    ///
    /// # Errors
    /// There is no room.
    pub fn reserve(&mut self, bytes: u64, rotate_size: Option<u64>) -> io::Result<()> {
        let needed = self.len + bytes;
        if needed <= self.reserved || !self.is_busy() {
            return Ok(());
        }
        let from = self.reserved.max(self.len);
        let ahead = (needed + RESERVE_BYTES).min(rotate_size.unwrap_or(u64::MAX)).max(needed);
        let reserved = match disk::reserve(&self.file, from..ahead) {
            Err(error) if is_no_room(&error) && needed < ahead => {
                disk::reserve(&self.file, from..needed).map(|can| (can, needed))
            }
            tried => tried.map(|can| (can, ahead)),
        };
        let (can, to) = reserved?;
        // Where it cannot be done it is not tried again.
        self.reserved = if can { to } else { u64::MAX };
        debug_assert!(self.reserved >= needed, "what was asked for is not reserved");
        Ok(())
    }

    /// Gives back what was reserved and not used. That it cannot be given back costs room until the part is removed.
    fn trim(&mut self) {
        let has_reserve = self.reserved != u64::MAX && self.reserved > self.len.next_multiple_of(BLOCK_BYTES_MAX);
        // Not if somebody else changed it: it must not get longer nor shorter by this, nor seem to be younger.
        if has_reserve
            && let Ok(metadata) = self.file.metadata()
            && metadata.len() == self.len
        {
            disk::set_len(&self.file, self.len).ok();
            let written_ns = disk::modified_ns(&metadata);
            disk::set_modified(&self.file, written_ns).ok();
        }
        self.reserved = 0;
    }

    /// What somebody else did to it since the last chunk or look, which it then takes for granted. Whether the stream is
    /// inside a line is as it was: that does not change with what stands in the file.
    pub fn look(&mut self, dir: &Dir, mode: FileMode) -> io::Result<Option<Meddling>> {
        let metadata = self.file.metadata()?;
        if metadata.nlink() == 0 {
            return Ok(Some(Meddling::Removed));
        }
        let from = std::mem::replace(&mut self.len, metadata.len());
        if from == self.len {
            return Ok(None);
        }
        self.opened_len = self.opened_len.min(self.len);
        if self.reserved != u64::MAX {
            self.reserved = metadata.blocks() * 512;
        }
        if from < self.len {
            return Ok(Some(Meddling::Grown(self.len - from)));
        }
        self.cut_marks(dir, self.len, mode);
        Ok(Some(Meddling::Cut { from }))
    }

    /// Puts a chunk at the end, for the first time. Returns the line ends in it, where they were counted.
    ///
    /// # Errors
    /// The disk's; the segment may then have some of the chunk, which [`Segment::put_again`] overwrites.
    pub fn put(&mut self, dir: &Dir, record: &Record, chunk: &[u8], mode: FileMode) -> io::Result<Option<usize>> {
        debug_assert_eq!((record.base, record.open), (self.len, self.open), "a chunk goes to the end as it is");
        self.put_by(disk::append, dir, record, chunk, mode)
    }

    /// Puts a chunk at `record.base`, whatever of it is there. May be repeated with the same record and chunk.
    pub fn put_again(&mut self, dir: &Dir, record: &Record, chunk: &[u8], mode: FileMode) -> io::Result<()> {
        self.put_by(disk::write_at, dir, record, chunk, mode).map(drop)
    }

    fn put_by(
        &mut self,
        write: impl Fn(&File, &[u8], u64) -> io::Result<()>,
        dir: &Dir,
        record: &Record,
        chunk: &[u8],
        mode: FileMode,
    ) -> io::Result<Option<usize>> {
        let shape = Shape { open: record.open, text: &record.text };
        let mut at = record.base;
        let lines = shape.pieces(chunk, |piece| {
            write(&self.file, piece, at)?;
            at += piece.len() as u64;
            Ok(())
        })?;
        debug_assert_eq!(at, record.base + shape.len(chunk), "the pieces are the output");
        self.len = at;
        let Some(last) = chunk.last() else { return Ok(lines) };
        if record.base == 0 {
            self.begun_ns = Some(record.clock_ns);
        }
        self.open = *last != b'\n';
        let offset = if record.base == 0 { Some(0) } else { shape.first_line_start(chunk).map(|n| record.base + n) };
        if let Some(offset) = offset {
            self.mark(dir, Mark { offset, time_ns: record.clock_ns }, mode);
        }
        Ok(lines)
    }

    /// Whether what stands beyond `record.base` is the beginning of what the chunk would put there: the state that a
    /// crash during [`Segment::put`] leaves.
    pub fn fits(&self, record: &Record, chunk: &[u8]) -> io::Result<bool> {
        let shape = Shape { open: record.open, text: &record.text };
        if self.len < record.base || self.len > record.base + shape.len(chunk) {
            return Ok(false);
        }
        let mut at = record.base;
        let mut same = true;
        shape.pieces(chunk, |piece| {
            let there = self.len.saturating_sub(at).min(piece.len() as u64) as usize;
            let mut found = vec![0; there];
            self.file.read_exact_at(&mut found, at)?;
            same &= found == piece[..there];
            at += piece.len() as u64;
            Ok(())
        })?;
        Ok(same)
    }

    /// Cuts the run of NUL bytes at its end, which a file system leaves where it lost the data of a power cut.
    /// Returns their number.
    pub fn cut_nuls(&mut self) -> io::Result<u64> {
        let kept = nuls::len_without(&self.file, self.len)?;
        let cut = self.len - kept;
        if cut > 0 {
            disk::set_len(&self.file, kept)?;
            (self.len, self.opened_len) = (kept, self.opened_len.min(kept));
            self.open = kept > 0 && ends_inside_line(&self.file, kept)?;
        }
        Ok(cut)
    }

    /// It is complete: from here on it is the archiver's. When that was the last change of its inode tells.
    pub fn seal(self) -> PartName {
        if let Ok(metadata) = self.file.metadata() {
            disk::set_modified(&self.file, disk::modified_ns(&metadata)).ok();
        }
        self.name.clone()
    }

    /// Forgets the marks at or beyond `base`, before a chunk is put again.
    pub fn cut_marks(&mut self, dir: &Dir, base: u64, mode: FileMode) {
        self.with_marks(dir, mode, |marks| marks.cut(base));
    }

    fn mark(&mut self, dir: &Dir, mark: Mark, mode: FileMode) {
        let since = |marks: &Marks| mark.time_ns.saturating_sub(marks.last_ns);
        if self.marks.as_ref().is_some_and(|marks| (0..MARK_SPAN_NS).contains(&since(marks))) {
            return;
        }
        self.with_marks(dir, mode, |marks| {
            let due = !(0..MARK_SPAN_NS).contains(&since(marks)) || marks.count == 0;
            if due { marks.push(mark) } else { Ok(()) }
        });
    }

    fn with_marks(&mut self, dir: &Dir, mode: FileMode, act: impl FnOnce(&mut Marks) -> io::Result<()>) {
        let name = self.name.file(PartKind::Marks);
        if self.marks.is_none() {
            self.marks = Marks::open(dir, &name, mode).map_err(|error| log::debug!("{error}")).ok();
        }
        if let Some(marks) = &mut self.marks
            && let Err(error) = act(marks).cannot("write", dir.path_of(&name))
        {
            log::debug!("{error}");
        }
    }
}

/// The first moment that a part knows of and that can be, as the clock stands: an arrival, its making, its last write.
fn begun_ns(dir: &Dir, name: &PartName, metadata: &Metadata, now_ns: i64) -> Option<i64> {
    let written_ns = disk::modified_ns(metadata);
    let times = [first_mark_ns(dir, name, now_ns), disk::birth_ns(metadata), Some(written_ns)];
    times.into_iter().flatten().find(|time_ns| is_plausible(*time_ns, now_ns))
}

/// The first arrival that can be: where the clock was wrong at first, that of the first mark after it was put right.
fn first_mark_ns(dir: &Dir, name: &PartName, now_ns: i64) -> Option<i64> {
    let file = dir.open_read(name.file(PartKind::Marks)).ok()?;
    let mark_at = |index: u64| {
        let mut bytes = [0; MARK_BYTES];
        file.read_exact_at(&mut bytes, index * MARK_BYTES as u64).ok()?;
        Some(Mark::from_bytes(bytes))
    };
    let (mut from, mut to) = (0, file.metadata().ok()?.len() / MARK_BYTES as u64);
    let first = mark_at(0)?;
    if first.offset != 0 {
        return None;
    }
    if is_plausible(first.time_ns, now_ns) {
        return Some(first.time_ns);
    }
    while from < to {
        let middle = u64::midpoint(from, to);
        if is_plausible(mark_at(middle)?.time_ns, now_ns) {
            to = middle;
        } else {
            from = middle + 1;
        }
    }
    mark_at(from).map(|mark| mark.time_ns)
}

impl Drop for Segment {
    fn drop(&mut self) {
        self.trim();
    }
}

fn is_no_room(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// The file of marks beside a segment.
#[derive(Debug)]
struct Marks {
    file: File,
    count: u64,
    last_ns: i64,
    last_offset: Option<u64>,
}

impl Marks {
    fn open(dir: &Dir, name: &str, mode: FileMode) -> Result<Marks> {
        dir.require_own(name, marks::is_beginning)?;
        let file = if dir.stat(name).is_ok() { dir.open_write(name)? } else { dir.create(name, mode)? };
        let mut marks = Marks { file, count: 0, last_ns: 0, last_offset: None };
        let bytes = marks.file.metadata().cannot("inspect", dir.path_of(name))?.len();
        marks.count = bytes / MARK_BYTES as u64;
        let last = marks.last().cannot("read", dir.path_of(name))?;
        marks.note_last(last);
        Ok(marks)
    }

    fn last(&self) -> io::Result<Option<Mark>> {
        let Some(index) = self.count.checked_sub(1) else { return Ok(None) };
        let mut bytes = [0; MARK_BYTES];
        self.file.read_exact_at(&mut bytes, index * MARK_BYTES as u64)?;
        Ok(Some(Mark::from_bytes(bytes)))
    }

    fn push(&mut self, mark: Mark) -> io::Result<()> {
        if self.last_offset.is_some_and(|last| last >= mark.offset) {
            // Somebody cut the segment while nobody wrote to it.
            self.cut(mark.offset)?;
        }
        debug_assert!(self.last_offset.is_none_or(|last| last < mark.offset), "marks rise");
        disk::write_at(&self.file, &mark.to_bytes(), self.count * MARK_BYTES as u64)?;
        self.count += 1;
        self.note_last(Some(mark));
        Ok(())
    }

    fn cut(&mut self, base: u64) -> io::Result<()> {
        while self.last()?.is_some_and(|mark| mark.offset >= base) {
            self.count -= 1;
        }
        let last = self.last()?;
        self.note_last(last);
        disk::set_len(&self.file, self.count * MARK_BYTES as u64)
    }

    fn note_last(&mut self, last: Option<Mark>) {
        debug_assert_eq!(last.is_none(), self.count == 0, "the last of {} marks", self.count);
        self.last_ns = last.map_or(0, |mark| mark.time_ns);
        self.last_offset = last.map(|mark| mark.offset);
    }
}
