//! Records of container runtimes: the line that each holds is given in its place, with its time, and a line that the
//! runtime cut in pieces as one.
//!
//! Positions stay those of the file. Pieces are held until the last one is there, so that what is delivered ends where
//! a position is known; a kill before that reads them again. What the other stream wrote in between comes behind the
//! line that began before it, and both are one *group*: only behind all of it a position is known.
//! A line of more than `HELD_BYTES_MAX` goes on its way in pieces as they come. What is no record passes as it is.
//! What is given for some bytes is never longer than they are, so what there is room for can be given.

mod record;

use crate::config::Records;
use crate::file::guard::Guard;
use crate::out::lines::{End, GenerationId, Lines, SourceId, Unwrapped};
use crate::out::output::{Output, Standing};
use crate::out::timestamp::Time;

use record::{Piece, Stream};

/// Most bytes that are held until a line is whole.
const HELD_BYTES_MAX: usize = 64 << 10;

/// Most pieces and lines that are.
const HELD_MAX: usize = 256;

/// What of a source is on its way from records to lines.
#[derive(Debug)]
pub struct Unwrapper {
    format: Records,
    /// Pieces, and lines behind them, in the order of the file.
    held: Vec<Extract>,
    held_bytes: usize,
    /// Pieces of a line were given, and its end was not.
    open: Option<Open>,
    odd: Odd,
}

/// A line that was no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Odd {
    /// None since the format was set.
    Unmet,
    /// It stands there; not told.
    At(u64),
    Told,
}

/// What a line of the file held.
#[derive(Debug)]
struct Extract {
    stream: Stream,
    time: Option<Time>,
    bytes: Vec<u8>,
    /// It ends its line.
    is_last: bool,
    /// All but `bytes` as it was put.
    frame: Lines<'static>,
    guard: Guard,
}

/// A line that was begun.
#[derive(Clone, Copy, Debug)]
struct Open {
    stream: Stream,
    /// Its last piece, without bytes.
    frame: Lines<'static>,
}

/// An [`Output`] that takes records and gives lines to another, for one read.
pub struct Unwrapping<'a> {
    inner: &'a mut dyn Output,
    unwrapper: &'a mut Unwrapper,
}

impl Unwrapper {
    /// Of a source whose lines are such.
    pub fn new(format: Records) -> Unwrapper {
        Unwrapper { format, held: Vec::new(), held_bytes: 0, open: None, odd: Odd::Unmet }
    }

    /// Lines that are put from now on are such; what is held comes before them.
    pub fn set_format(&mut self, format: Records) {
        if self.format != format {
            self.format = format;
            self.odd = Odd::Unmet;
        }
    }

    /// Around an output.
    pub fn around<'a>(&'a mut self, inner: &'a mut dyn Output) -> Unwrapping<'a> {
        Unwrapping { inner, unwrapper: self }
    }

    /// Up to where a generation was given, if something of it is held.
    pub fn held_from(&self, generation: GenerationId) -> Option<u64> {
        let first = self.held.iter().find(|held| held.frame.generation == generation)?;
        Some(first.frame.start)
    }

    /// Where the first line stands that is no record; told once.
    pub fn take_odd(&mut self) -> Option<u64> {
        let Odd::At(start) = self.odd else { return None };
        self.odd = Odd::Told;
        Some(start)
    }

    /// Of a line of the file without its newline. `None`: it is no record.
    fn parse(&self, line: &[u8]) -> Option<Piece> {
        match self.format {
            Records::Plain => None,
            Records::Docker => record::docker(line),
            Records::Cri => record::cri(line),
        }
    }

    /// Whether the line of some stream is not at its end.
    fn has_open_line(&self) -> bool {
        let is_open = |stream: &Stream| self.held.iter().rfind(|held| held.stream == *stream).map(|last| !last.is_last);
        let is_begun = self.open.is_some_and(|open| is_open(&open.stream).is_none());
        is_begun || Stream::ALL.iter().any(|stream| is_open(stream) == Some(true))
    }

    /// Whether all that is held is of one line that goes on.
    fn is_one_line(&self) -> bool {
        let Some(first) = self.held.first() else { return false };
        let is_same = self.held.iter().all(|held| held.stream == first.stream && !held.is_last);
        is_same && self.open.is_none_or(|open| open.stream == first.stream)
    }
}

impl Unwrapping<'_> {
    /// `line` is one of a file.
    fn put_line(&mut self, line: &Lines<'_>) {
        let bytes = line.bytes.strip_suffix(b"\n").unwrap_or(line.bytes);
        let Some(piece) = self.unwrapper.parse(bytes) else {
            self.pass(line);
            return;
        };
        if self.unwrapper.held.last().is_some_and(|last| last.frame.generation != line.generation) {
            self.give_held(true);
        }
        let unwrapper = &mut *self.unwrapper;
        unwrapper.held_bytes += piece.bytes.len();
        unwrapper.held.push(Extract {
            stream: piece.stream,
            time: piece.time,
            is_last: piece.is_last,
            bytes: piece.bytes,
            frame: Lines { bytes: &[], ..*line },
            guard: Guard::of_end(line.bytes),
        });
        debug_assert_eq!(unwrapper.held_bytes, unwrapper.held.iter().map(|held| held.bytes.len()).sum::<usize>());
        if !unwrapper.has_open_line() {
            self.give_held(false);
        } else if unwrapper.held_bytes > HELD_BYTES_MAX || unwrapper.held.len() >= HELD_MAX {
            self.give_held(true);
        }
    }

    /// What is no record.
    fn pass(&mut self, lines: &Lines<'_>) {
        self.close();
        if self.unwrapper.format != Records::Plain && self.unwrapper.odd == Odd::Unmet {
            self.unwrapper.odd = Odd::At(lines.start);
        }
        self.inner.put(lines);
    }

    /// Gives all that is held, and ends each line of it.
    fn close(&mut self) {
        self.give_held(false);
        self.end_open();
    }

    /// Ends a line that was begun and does not go on.
    fn end_open(&mut self) {
        if let Some(Open { frame, .. }) = self.unwrapper.open.take() {
            self.inner.put(&Lines { start: frame.end, bytes: b"\n", ends: End::Line, ..frame });
        }
    }

    /// Gives what is held: each line from its first piece to its last. `goes_on`: one that has no end yet may get it
    /// later, if nothing stands between.
    fn give_held(&mut self, goes_on: bool) {
        let goes_on = goes_on && self.unwrapper.is_one_line();
        let mut held = std::mem::take(&mut self.unwrapper.held);
        self.unwrapper.held_bytes = 0;
        let (Some(first), Some(last)) = (held.first(), held.last()) else { return };
        let (start, end, guard) = (first.frame.start, last.frame.end, last.guard);
        // The rest of a line that was begun comes first.
        let open = self.unwrapper.open.map(|open| open.stream);
        let mut next = held.iter().position(|held| Some(held.stream) == open);
        if next.is_none() {
            self.end_open();
        }
        self.unwrapper.open = None;
        while !held.is_empty() {
            let first = next.take();
            let line = take_line(&mut held, first.unwrap_or(0));
            let mut bytes = line.iter().map(|held| held.bytes.as_slice()).collect::<Vec<_>>().concat();
            let ends = if goes_on { End::Open } else { End::Line };
            if !goes_on {
                bytes.push(b'\n');
            }
            let is_stop = held.is_empty();
            let record = Some(Unwrapped { time: line[0].time, guard, goes_on: first.is_some(), is_stop });
            let frame = Lines { end: if is_stop { end } else { start }, ends, record, ..line[0].frame };
            if goes_on {
                self.unwrapper.open = Some(Open { stream: line[0].stream, frame });
            }
            // An empty piece moves its position with the next.
            if !bytes.is_empty() {
                self.inner.put(&Lines { bytes: &bytes, ..frame });
            }
        }
    }
}

/// Takes the line out that the piece `first` begins: all pieces of its stream up to the last of it.
fn take_line(held: &mut Vec<Extract>, first: usize) -> Vec<Extract> {
    let stream = held[first].stream;
    let mut is_over = false;
    held.extract_if(first.., |held| {
        let belongs = !is_over && held.stream == stream;
        is_over |= belongs && held.is_last;
        belongs
    })
    .collect()
}

impl Output for Unwrapping<'_> {
    fn room(&self, source: SourceId) -> usize {
        // One newline more for each line that is ended and has none.
        let newlines = self.unwrapper.held.len() + 1;
        self.inner.room(source).saturating_sub(self.unwrapper.held_bytes + newlines)
    }

    fn is_room_final(&self, source: SourceId) -> bool {
        self.inner.is_room_final(source)
    }

    fn put(&mut self, lines: &Lines<'_>) {
        // A piece of a line that is too long for anything is no record either.
        if self.unwrapper.format == Records::Plain || lines.ends == End::Open {
            self.pass(lines);
            return;
        }
        let mut at = 0;
        for bytes in lines.bytes.split_inclusive(|byte| *byte == b'\n') {
            let start = lines.start + at as u64;
            at += bytes.len();
            let is_last = at == lines.bytes.len();
            let (end, ends) = if is_last { (lines.end, lines.ends) } else { (lines.start + at as u64, End::Line) };
            self.put_line(&Lines { start, end, bytes, ends, ..*lines });
        }
    }

    fn note(&mut self, source: SourceId, standing: Standing) {
        if standing == Standing::Ended {
            self.close();
        }
        self.inner.note(source, standing);
    }
}

#[cfg(test)]
mod tests;
