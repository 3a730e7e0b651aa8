//! Lines that are sent together, each with the time and the name that it has for ever.
//!
//! Invariants: lines are in the order of the log, and what stands between the beginning of one and the beginning of the
//! next are its bytes and at most one newline. A line's uid is `LOG/PART/OFFSET`: the log's id, the stem of the part in
//! which the line begins, and the raw bytes of the part before it. It never changes, whatever becomes of the part.

use std::ops::Range;

use standpipe_common::serial::LogId;

/// Lines of a batch at most: short ones take more memory than they have bytes.
pub const LINES_MAX: usize = 16 << 10;

/// A line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Its bytes in the batch, without the newline.
    range: Range<usize>,
    /// The part in which it begins, by its place in the batch.
    part: usize,
    /// Where it begins there.
    offset: u64,
    /// The raw bytes of the log from the batch's beginning to behind the line.
    raw_end: u64,
    /// Where it ends: the part, by its place in the batch, and the offset behind its newline.
    end: (usize, u64),
    /// The time that it is sent with, ns since the epoch.
    pub time_ns: i64,
    /// It is valid UTF-8.
    pub is_utf8: bool,
}

/// Lines in order.
#[derive(Debug, Default)]
pub struct Batch {
    /// The id as it is written.
    log: String,
    text: Vec<u8>,
    lines: Vec<Line>,
    parts: Vec<String>,
    open: Option<OpenLine>,
    raw_bytes: u64,
}

/// A line whose end was not found yet.
#[derive(Debug)]
struct OpenLine {
    start: usize,
    part: usize,
    offset: u64,
    time_ns: i64,
}

/// A place between two lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The stem of a part.
    pub part: String,
    /// Raw bytes of it that stand before.
    pub offset: u64,
}

impl Batch {
    /// Becomes an empty one of the log of this id. Its memory is used again.
    pub fn begin(&mut self, log: LogId) {
        self.log = log.to_string();
        self.text.clear();
        self.lines.clear();
        self.parts.clear();
        self.open = None;
        self.raw_bytes = 0;
    }

    /// What follows is of this part.
    pub fn enter(&mut self, part: &str) {
        if self.parts.last().is_none_or(|last| last != part) {
            self.parts.push(part.to_owned());
        }
    }

    /// Adds bytes of a line that is open, or begins at `offset` of the part with the time that is asked for.
    pub fn push(&mut self, bytes: &[u8], offset: u64, time_ns: impl FnOnce() -> i64) {
        if self.open.is_none() {
            let part = self.parts.len().checked_sub(1).expect("a part was entered");
            self.open = Some(OpenLine { start: self.text.len(), part, offset, time_ns: time_ns() });
        }
        self.text.extend_from_slice(bytes);
        self.raw_bytes += bytes.len() as u64;
    }

    /// The open line ends there in the part, behind a newline or without one.
    pub fn close(&mut self, end: u64, has_newline: bool) {
        let Some(open) = self.open.take() else { return };
        self.raw_bytes += u64::from(has_newline);
        debug_assert!(open.part < self.parts.len() - 1 || open.offset <= end, "a line from {} to {end}", open.offset);
        let range = open.start..self.text.len();
        let is_utf8 = str::from_utf8(&self.text[range.clone()]).is_ok();
        self.lines.push(Line {
            range,
            part: open.part,
            offset: open.offset,
            raw_end: self.raw_bytes,
            end: (self.parts.len() - 1, end),
            time_ns: open.time_ns,
            is_utf8,
        });
    }

    /// Whether a line has no end yet, and how many bytes of it there are.
    pub fn open_bytes(&self) -> Option<usize> {
        self.open.as_ref().map(|open| self.text.len() - open.start)
    }

    /// How many lines there are.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Raw bytes, those of the open line included.
    pub fn raw_bytes(&self) -> u64 {
        self.raw_bytes
    }

    /// Bytes of memory that its text takes.
    pub fn capacity(&self) -> usize {
        self.text.capacity()
    }

    /// The first so many lines.
    pub fn lines(&self, count: usize) -> impl Iterator<Item = &Line> {
        self.lines[..count].iter()
    }

    /// One of them.
    pub fn line(&self, number: usize) -> &Line {
        &self.lines[number]
    }

    /// The bytes of a line.
    pub fn body(&self, line: &Line) -> &[u8] {
        &self.text[line.range.clone()]
    }

    /// Behind the first so many lines, which are some, and the raw bytes that they have.
    pub fn behind(&self, count: usize) -> (Place, u64) {
        debug_assert!(self.lines.is_sorted_by_key(|line| line.raw_end), "the order of the log");
        let line = &self.lines[count - 1];
        let (part, offset) = line.end;
        (Place { part: self.parts[part].clone(), offset }, line.raw_end)
    }

    /// The name of a line for ever.
    pub fn put_uid(&self, line: &Line, out: &mut Vec<u8>) {
        let begin = out.len();
        for word in [&self.log, &self.parts[line.part]] {
            out.extend_from_slice(word.as_bytes());
            out.push(b'/');
        }
        put_digits(line.offset, out);
        debug_assert_eq!(out.len() - begin, self.uid_len(line), "requests say how long it is before they have it");
    }

    /// How long that is.
    pub fn uid_len(&self, line: &Line) -> usize {
        self.log.len() + 1 + self.parts[line.part].len() + 1 + digits_of(line.offset)
    }
}

/// How many decimal digits a number has.
fn digits_of(number: u64) -> usize {
    number.checked_ilog10().map_or(1, |log| log as usize + 1)
}

/// Writes a number: there is one for every line.
fn put_digits(mut number: u64, out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + digits_of(number), b'0');
    for digit in out[start..].iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f0";

    fn place(part: &str, offset: u64) -> Place {
        Place { part: part.to_owned(), offset }
    }

    #[test]
    fn a_line_that_goes_over_a_part_is_one_and_is_named_by_its_beginning() {
        let mut batch = Batch::default();
        batch.begin(ID.parse().unwrap());
        batch.enter("a");
        batch.push(b"one", 90, || 5);
        batch.close(94, true);
        batch.push(b"tw", 94, || 6);
        batch.enter("b");
        batch.push(b"o\xFF", 0, || unreachable!("it has its time"));
        assert_eq!((batch.len(), batch.open_bytes(), batch.raw_bytes()), (1, Some(4), 8));
        batch.close(3, true);
        batch.push(b"", 3, || 7);
        batch.close(4, true);
        let seen: Vec<_> = batch.lines(3).map(|line| (batch.body(line), line.time_ns, line.is_utf8)).collect();
        assert_eq!(seen, [(&b"one"[..], 5, true), (b"two\xFF", 6, false), (b"", 7, true)]);
        let uid = |number| {
            let mut uid = Vec::new();
            batch.put_uid(batch.line(number), &mut uid);
            assert_eq!(uid.len(), batch.uid_len(batch.line(number)));
            String::from_utf8(uid).unwrap()
        };
        assert_eq!([0, 1, 2].map(uid), ["a/90", "a/94", "b/3"].map(|rest| format!("{ID}/{rest}")));
        assert_eq!(
            [1, 2, 3].map(|count| batch.behind(count)),
            [(place("a", 94), 4), (place("b", 3), 9), (place("b", 4), 10)]
        );
        batch.begin(ID.parse().unwrap());
        assert!(batch.is_empty() && batch.raw_bytes() == 0 && batch.open_bytes().is_none());
    }

    #[test]
    fn the_length_of_a_uid_is_known_before_it_is_written() {
        let mut batch = Batch::default();
        batch.begin(ID.parse().unwrap());
        batch.enter("p");
        for offset in [0, 1, 9, 10, 99, 100, 12_345, u64::MAX] {
            batch.push(b"x", offset, || 0);
            batch.close(offset.saturating_add(2), true);
            let mut uid = Vec::new();
            batch.put_uid(batch.line(batch.len() - 1), &mut uid);
            assert_eq!(String::from_utf8(uid).unwrap(), format!("{ID}/p/{offset}"));
            assert_eq!(batch.uid_len(batch.line(batch.len() - 1)), ID.len() + 3 + offset.to_string().len());
        }
    }
}
