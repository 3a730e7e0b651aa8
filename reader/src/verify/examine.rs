//! Examines one part: every byte of it is read, every checksum checked, and index and search filter held against the
//! content.
//!
//! Invariants: memory is that of the index, one frame and one piece of a segment, whatever the file says; each frame
//! that cannot be read is in a finding, though the last of many stands for all that follow.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use standpipe_common::archive::filter::{Filter, Grams};
use standpipe_common::archive::{Archive, Copied, Decoder, FilterFault, FrameIndex, Gap, Index, TableFault, Times};
use standpipe_common::error::{Cannot, Result};
use standpipe_common::part::PartKind;
use standpipe_common::serial::Serial;
use standpipe_common::shown::{Shown as _, counted};

use crate::disk::Dir;
use crate::inventory::{Content, Item, StoredSegment};
use crate::logs::block::WINDOW_LOG_MAX;

/// Bytes of such a file that are decompressed at a time.
const PIECE_BYTES: usize = 128 << 10;

/// What a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A frame that cannot be read.
    Frame,
    /// An archive without its end.
    Incomplete,
    /// A seek table that does not hold together.
    SeekTable,
    /// No index that can be used.
    Index,
    /// A search filter that cannot be used, or that is another than the content has.
    Filter,
    /// An index that says something else than the content.
    Content,
    /// Frames in which damage would not be noticed.
    Checksum,
    /// A segment beside its archive that has something else.
    Segment,
    /// Bytes are missing between two parts.
    Gap,
    /// A part that arrived before the one before it.
    Order,
}

impl Kind {
    /// What programs know it by.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Frame => "frame",
            Kind::Incomplete => "incomplete",
            Kind::SeekTable => "seek_table",
            Kind::Index => "index",
            Kind::Filter => "filter",
            Kind::Content => "content",
            Kind::Checksum => "checksum",
            Kind::Segment => "segment",
            Kind::Gap => "gap",
            Kind::Order => "order",
        }
    }
}

/// Something that is not as it should be.
#[derive(Debug)]
pub struct Finding {
    /// What it is about.
    pub kind: Kind,
    /// The file's name.
    pub file: String,
    /// A sentence that names the file by its path.
    pub text: String,
    /// Where in the raw stream of the part, if that can be told.
    pub offset: Option<u64>,
}

impl Finding {
    /// About the file at `path`.
    pub fn of(kind: Kind, path: &Path, offset: Option<u64>, text: impl std::fmt::Display) -> Finding {
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Finding { kind, file, text: format!("{}: {text}", path.shown()), offset }
    }

    fn of_gap(path: &Path, gap: &Gap) -> Finding {
        let text = gap.to_string();
        Finding { text, ..Finding::of(Kind::Frame, path, Some(gap.raw_offset), "") }
    }
}

/// How a part begins and ends; `None` where it does not tell.
#[derive(Clone, Copy, Debug, Default)]
pub struct Edges {
    /// Its first byte continues a line.
    pub begins_inside: Option<bool>,
    /// Its last byte is no line end.
    pub ends_inside: Option<bool>,
    /// Lowest and highest arrival time, if no guess.
    pub span: Option<(i64, i64)>,
    /// Which part of which log it is.
    pub serial: Option<Serial>,
    /// Which one comes next.
    pub next: Option<Serial>,
}

/// What came of it.
#[derive(Debug)]
pub struct Examined {
    /// The file that counts.
    pub path: PathBuf,
    /// What is wrong with it.
    pub findings: Vec<Finding>,
    /// How it begins and ends.
    pub edges: Edges,
    /// Bytes of the log that were read.
    pub raw_bytes: u64,
    /// It was not examined: it cannot be opened or read.
    pub closed: Option<String>,
}

/// What one thread examines parts with.
pub struct Examiner {
    decoder: Decoder,
    raw: Vec<u8>,
    grams: Grams,
    array: Vec<u8>,
}

impl Examiner {
    /// Fails only for want of memory.
    pub fn new() -> Result<Examiner> {
        let decoder = Decoder::new().cannot("start", "zstd")?;
        Ok(Examiner { decoder, raw: Vec::new(), grams: Grams::default(), array: Vec::new() })
    }
}

/// Examines a part of `dir`; bytes of its file that are done are added to `done`.
pub fn part(dir: &Dir, item: Item, tools: &mut Examiner, done: &AtomicU64) -> Examined {
    let path = dir.path_of(&item.file);
    let edges = Edges { serial: item.serial, ..Edges::default() };
    let mut examined = Examined { path, findings: Vec::new(), edges, raw_bytes: 0, closed: None };
    match item.content {
        Content::Active(segment) | Content::Sealed(segment) => {
            examined.edges.next = item.serial.map(|serial| serial.after(segment.bytes));
            examined.segment(&segment, done);
            let archive = item.name.file(PartKind::Archive);
            examined.findings.extend(broken_beside(dir, &archive));
        }
        Content::Archive(archive, bytes) if archive.complete().is_ok() => {
            let segment = item.name.file(PartKind::Segment);
            let beside = dir.open_read(&segment).ok().map(|file| Beside { file, path: dir.path_of(&segment) });
            examined.edges.next = item.serial.map(|serial| serial.after(archive.raw_bytes()));
            examined.frames(&archive, beside.as_ref(), tools, done);
            // What stands behind the frames.
            let frames: u64 = archive.frames().iter().map(|frame| u64::from(frame.compressed)).sum();
            done.fetch_add(bytes.saturating_sub(frames), Ordering::Relaxed);
        }
        Content::Archive(archive, bytes) => {
            examined.stream(&archive);
            done.fetch_add(bytes, Ordering::Relaxed);
        }
        Content::Closed(error) => examined.closed = Some(error.to_string()),
    }
    examined
}

impl Examined {
    fn add(&mut self, kind: Kind, offset: Option<u64>, text: impl std::fmt::Display) {
        self.findings.push(Finding::of(kind, &self.path, offset, text));
    }

    fn segment(&mut self, segment: &StoredSegment, done: &AtomicU64) {
        let mut last = None;
        let read = segment.read(|piece| {
            self.raw_bytes += piece.len() as u64;
            done.fetch_add(piece.len() as u64, Ordering::Relaxed);
            last = piece.last().copied();
        });
        self.edges.ends_inside = last.map(|last| last != b'\n');
        self.edges.span = segment.span().filter(|_| !segment.marks.is_empty());
        if let Err(error) = read {
            self.closed = Some(error.to_string());
        }
    }

    /// An archive without a seek table that can be used: how much of it can be read.
    fn stream(&mut self, archive: &Archive) {
        let Err(fault) = archive.complete() else { return };
        let mut piece = vec![0; PIECE_BYTES];
        let ended = archive.stream(WINDOW_LOG_MAX).and_then(|mut stream| {
            loop {
                match stream.read(&mut piece) {
                    Ok(0) => return Ok(()),
                    Ok(bytes) => self.raw_bytes += bytes as u64,
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
        });
        let why = ended.err().map_or_else(String::new, |error| format!(" ({error})"));
        let bytes = counted(self.raw_bytes, "byte");
        self.add(kind_of(fault), Some(self.raw_bytes), format!("{fault}; {bytes} of the log can be read{why}"));
    }

    /// The filter, if there is one that can be used.
    fn filter<'a>(&mut self, archive: &'a Archive) -> Option<Filter<'a>> {
        match archive.filter(|_, _| ()) {
            Ok(Ok(filter)) => return Some(filter),
            Ok(Err(FilterFault::Missing)) => {}
            Ok(Err(fault)) => self.add(Kind::Filter, None, fault),
            Err(error) => self.add(Kind::Filter, None, error),
        }
        None
    }

    fn frames(&mut self, archive: &Archive, beside: Option<&Beside>, tools: &mut Examiner, done: &AtomicU64) {
        let index = archive.index();
        match index {
            Err(fault) => self.add(Kind::Index, None, fault),
            Ok(index) if !index.marks.is_sound() => self.add(Kind::Index, None, "the marks in its index are damaged"),
            Ok(_) => {}
        }
        let filter = self.filter(archive);
        let mut damaged = Copied::default();
        let (mut unchecked, mut differs) = (0_u64, false);
        for (number, frame) in archive.frames().iter().enumerate() {
            match archive.read_frame(number, &mut tools.decoder, &mut tools.raw) {
                Ok(()) => {
                    let raw = &tools.raw;
                    self.raw_bytes += raw.len() as u64;
                    unchecked += u64::from(!archive.has_checksum(number).unwrap_or(true));
                    differs = differs || beside.is_some_and(|beside| beside.differs(frame.raw_offset, raw));
                    if let Some(said) = index.ok().and_then(|index| disagreement(index, number, frame.raw_offset, raw))
                    {
                        let text = format!("its index contradicts frame {number}: {said}");
                        self.add(Kind::Content, Some(frame.raw_offset), text);
                    }
                    if filter.as_ref().is_some_and(|filter| !tools.is_filter_of_frame(filter, number)) {
                        let text = format!("its search filter contradicts frame {number}; search it with --no-filter");
                        self.add(Kind::Filter, Some(frame.raw_offset), text);
                    }
                }
                Err(cause) => {
                    let bytes = Some(u64::from(frame.raw));
                    damaged.add(Gap { frame: Some(number), frames: 1, raw_offset: frame.raw_offset, bytes, cause });
                }
            }
            done.fetch_add(frame.compressed.into(), Ordering::Relaxed);
        }
        self.findings.extend(damaged.gaps.iter().map(|gap| Finding::of_gap(&self.path, gap)));
        if unchecked > 0 {
            let frames = counted(unchecked, "frame");
            self.add(Kind::Checksum, None, format!("{frames} without a checksum: damage there cannot be detected"));
        }
        if let Some(beside) = beside.filter(|beside| differs || beside.is_longer(archive.raw_bytes())) {
            let text =
                format!("it has bytes that are missing from its archive, which is in use: {}", self.path.shown());
            self.findings.push(Finding::of(Kind::Segment, &beside.path, None, text));
        }
        if let Ok(index) = index {
            self.edges = Edges {
                begins_inside: Some(index.begins_inside),
                ends_inside: Some(index.ends_inside),
                span: index.lowest_ns().zip(index.highest_ns()).filter(|_| !index.guessed),
                ..self.edges
            };
        }
    }
}

impl Examiner {
    /// Whether the array of a frame has the bits that the raw bytes set, and no other.
    fn is_filter_of_frame(&mut self, filter: &Filter<'_>, number: usize) -> bool {
        let is_read = filter.array(number, &mut self.array).is_ok();
        if is_read && !self.array.is_empty() {
            self.grams.take(&self.raw);
        }
        is_read && (self.array.is_empty() || self.grams.array(self.array.len()) == self.array)
    }
}

/// An archive that does not count, because it has not all of its segment. Ours get their name when they are complete.
fn broken_beside(dir: &Dir, file_name: &str) -> Option<Finding> {
    let path = dir.path_of(file_name);
    let fault = Archive::open(dir.open_read(file_name).ok()?, &path).ok()?.complete().err()?;
    Some(Finding::of(kind_of(fault), &path, None, format!("{fault}; its segment is still there and is used instead")))
}

fn kind_of(fault: TableFault) -> Kind {
    if fault == TableFault::Missing { Kind::Incomplete } else { Kind::SeekTable }
}

/// What the index says of a frame that is not so. `None`: all of it is.
fn disagreement(index: &Index, number: usize, offset: u64, raw: &[u8]) -> Option<String> {
    let said = &index.frames[number];
    let lines = memchr::memchr_iter(b'\n', raw).count() as u64;
    if u64::from(said.lines) != lines {
        return Some(format!("the index says {}, the frame has {lines}", counted(said.lines.into(), "line")));
    }
    let ends_inside = raw.last() != Some(&b'\n');
    if said.ends_inside != ends_inside {
        return Some(format!(
            "the index says the frame ends {}, but it ends {}",
            at(said.ends_inside),
            at(ends_inside)
        ));
    }
    let begins_inside = number.checked_sub(1).map_or(index.begins_inside, |before| index.frames[before].ends_inside);
    if said.begins_inside != begins_inside {
        let begins = |inside| if inside { "inside a line" } else { "with a new line" };
        let other = match number.checked_sub(1) {
            Some(before) => format!("frame {before} ends {}", at(begins_inside)),
            None => format!("the part begins {}", begins(begins_inside)),
        };
        return Some(format!("it says the frame begins {}, but {other}", begins(said.begins_inside)));
    }
    let times = Times::between(&index.marks, offset, offset + raw.len() as u64);
    let FrameIndex { first_ns, lowest_ns, highest_ns, goes_back, .. } = *said;
    let said = Times { first: first_ns, lowest: lowest_ns, highest: highest_ns, goes_back };
    let differs = times.is_some_and(|times| times != said);
    differs.then(|| "its two records of arrival times differ".to_owned())
}

/// Where a frame ends.
fn at(inside: bool) -> &'static str {
    if inside { "inside a line" } else { "at a line end" }
}

/// The segment beside a complete archive, which the reader has not removed yet, or somebody unpacked.
struct Beside {
    file: File,
    path: PathBuf,
}

impl Beside {
    /// Whether it has anything else there, as far as it goes.
    fn differs(&self, offset: u64, raw: &[u8]) -> bool {
        let mut piece = vec![0; PIECE_BYTES];
        let mut at = 0;
        while at < raw.len() {
            let wanted = PIECE_BYTES.min(raw.len() - at);
            match self.file.read_at(&mut piece[..wanted], offset + at as u64) {
                Ok(0) => return false,
                Ok(bytes) if piece[..bytes] == raw[at..at + bytes] => at += bytes,
                Ok(_) => return true,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // What cannot be read has nothing.
                Err(_) => return false,
            }
        }
        false
    }

    fn is_longer(&self, bytes: u64) -> bool {
        self.file.metadata().is_ok_and(|metadata| metadata.len() > bytes)
    }
}
