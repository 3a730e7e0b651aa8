//! Numbered lines, each of which tells where it belongs, and the count of what became of them.
//!
//! The whole text of a line follows from its writer, its number and its length, so a byte that is torn off, glued on
//! or changed shows.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::ops::AddAssign;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::deadline::{PROGRAM_SPAN, within};

/// Bytes of a line before its filler, and its shortest length: number of the writer, of the line, length, newline.
pub const LINE_BYTES_MIN: usize = "w00 00000000 0000 \n".len();
/// Longest line that the kernel takes in one piece.
pub const LINE_BYTES_MAX: usize = 4096;
/// Most writers of one pipe.
pub const WRITERS_MAX: u16 = 100;

/// The line `seq` of `writer`, with its newline.
///
/// # Panics
/// It is to be shorter than [`LINE_BYTES_MIN`] or longer than [`LINE_BYTES_MAX`].
pub fn line(writer: u16, seq: u64, len: usize) -> Vec<u8> {
    let mut line = Vec::with_capacity(len);
    line_into(&mut line, writer, seq, len);
    line
}

/// The same in place of what `line` held, for writers that must not allocate.
pub fn line_into(line: &mut Vec<u8>, writer: u16, seq: u64, len: usize) {
    assert!((LINE_BYTES_MIN..=LINE_BYTES_MAX).contains(&len) && writer < WRITERS_MAX && seq < 100_000_000);
    line.clear();
    // A Vec takes all that is written to it.
    let _infallible = write!(line, "w{writer:02} {seq:08} {len:04} ");
    let mut state = mixed(writer, seq);
    while line.len() < len - 1 {
        line.push(b'a' + (state % 26) as u8);
        state = if state < 26 { mixed(writer, seq + line.len() as u64) } else { state / 26 };
    }
    line.push(b'\n');
}

/// The length of the line `seq` of a [`Writer`]: mostly short, now and then a long one.
pub fn length(writer: u16, seq: u64) -> usize {
    let number = mixed(writer, seq ^ 0x5a5a) as usize;
    let most = match number % 100 {
        0 => LINE_BYTES_MAX,
        1..=9 => 1000,
        _ => 180,
    };
    LINE_BYTES_MIN + number / 100 % (most - LINE_BYTES_MIN + 1)
}

/// A number that looks random and is always the same (splitmix64).
fn mixed(writer: u16, seq: u64) -> u64 {
    let mut z = (u64::from(writer) << 48 ^ seq).wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

/// What became of lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Different lines that were found whole.
    pub found: u64,
    /// Lines that were written and are not there.
    pub lost: u64,
    /// Lines that are there once more than written.
    pub repeated: u64,
    /// Lines that come after a later one of the same writer.
    pub disordered: u64,
    /// Lines that begin like ours and are not whole.
    pub torn: u64,
    /// Anything else.
    pub foreign: u64,
}

impl Tally {
    /// Whether each line that was written is there once, whole and in order, and nothing else.
    pub fn is_whole(&self) -> bool {
        *self == Tally { found: self.found, ..Tally::default() }
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        self.found += other.found;
        self.lost += other.lost;
        self.repeated += other.repeated;
        self.disordered += other.disordered;
        self.torn += other.torn;
        self.foreign += other.foreign;
    }
}

/// Takes the bytes of a log, in pieces of any size, and counts its lines.
#[derive(Debug, Default)]
pub struct Check {
    stamp_bytes: usize,
    rest: Vec<u8>,
    seen: BTreeMap<u16, Seen>,
    strays: Tally,
}

/// What was seen of one writer.
#[derive(Debug, Default)]
struct Seen {
    /// How often each line was there, by its number.
    times: Vec<u8>,
    disordered: u64,
}

impl Check {
    /// Of a log as it was written.
    pub fn new() -> Check {
        Check::default()
    }

    /// Of a log with a stamp of that many bytes, the space included, before each line.
    pub fn stamped(stamp_bytes: usize) -> Check {
        Check { stamp_bytes, ..Check::default() }
    }

    /// Takes the next bytes.
    pub fn feed(&mut self, bytes: &[u8]) {
        let mut bytes = bytes;
        while let Some(newline) = memchr::memchr(b'\n', bytes) {
            let (head, tail) = bytes.split_at(newline + 1);
            if self.rest.is_empty() {
                self.count(head);
            } else {
                let mut line = std::mem::take(&mut self.rest);
                line.extend_from_slice(head);
                self.count(&line);
            }
            bytes = tail;
        }
        self.rest.extend_from_slice(bytes);
    }

    /// What became of the lines of each writer, of whom `written` says how many lines they wrote. What no writer can
    /// be blamed for is in the last tally, under [`WRITERS_MAX`].
    pub fn per_writer(mut self, written: &[(u16, u64)]) -> BTreeMap<u16, Tally> {
        if !self.rest.is_empty() {
            self.strays.torn += 1;
        }
        let mut tallies = BTreeMap::new();
        for &(writer, lines) in written {
            let seen = self.seen.remove(&writer).unwrap_or_default();
            tallies.insert(writer, seen.tally(lines));
        }
        let unknown = self.seen.values().flat_map(|seen| &seen.times);
        self.strays.foreign += unknown.map(|&times| u64::from(times)).sum::<u64>();
        tallies.insert(WRITERS_MAX, self.strays);
        tallies
    }

    /// The same, added up.
    pub fn finish(self, written: &[(u16, u64)]) -> Tally {
        let mut sum = Tally::default();
        self.per_writer(written).into_values().for_each(|tally| sum += tally);
        sum
    }

    fn count(&mut self, stamped: &[u8]) {
        let text = stamped.get(self.stamp_bytes..).unwrap_or_default();
        let Some((writer, seq, len)) = head(text) else {
            let stray = if text.starts_with(b"w") { &mut self.strays.torn } else { &mut self.strays.foreign };
            *stray += 1;
            return;
        };
        if len != text.len() || line(writer, seq, len) != text {
            self.strays.torn += 1;
            return;
        }
        let seen = self.seen.entry(writer).or_default();
        let index = seq as usize;
        seen.disordered += u64::from(index + 1 < seen.times.len());
        seen.times.resize(seen.times.len().max(index + 1), 0);
        seen.times[index] = seen.times[index].saturating_add(1);
    }
}

impl Seen {
    fn tally(&self, lines: u64) -> Tally {
        let (written, never) = self.times.split_at(self.times.len().min(lines as usize));
        let found = written.iter().filter(|&&times| times > 0).count() as u64;
        Tally {
            found,
            lost: lines - found,
            repeated: written.iter().map(|&times| u64::from(times.saturating_sub(1))).sum(),
            disordered: self.disordered,
            foreign: never.iter().map(|&times| u64::from(times)).sum(),
            torn: 0,
        }
    }
}

/// Writer, number and length, as the beginning of a line has them.
fn head(text: &[u8]) -> Option<(u16, u64, usize)> {
    let head = str::from_utf8(text.get(..LINE_BYTES_MIN - 1)?).ok()?;
    let mut words = head.strip_prefix('w')?.split(' ');
    let (writer, seq, len) = (words.next()?, words.next()?, words.next()?);
    let (writer, seq, len) = (writer.parse().ok()?, seq.parse().ok()?, len.parse().ok()?);
    let possible = (LINE_BYTES_MIN..=LINE_BYTES_MAX).contains(&len) && writer < WRITERS_MAX;
    possible.then_some((writer, seq, len))
}

/// Lines as a server writes them, numbered, each of `len` bytes.
pub fn lines(first: usize, count: usize, len: usize) -> Vec<u8> {
    let line = |number| format!("{:<width$}\n", format!("line {number} of app"), width = len - 1);
    (first..first + count).map(line).collect::<String>().into_bytes()
}

/// How many lines these bytes are.
pub fn count_lines(bytes: &[u8]) -> usize {
    memchr::memchr_iter(b'\n', bytes).count()
}

/// A server that writes lines into a pipe: a thread, and one blocking `write(2)` a line.
#[derive(Debug)]
pub struct Writer {
    stop: Arc<AtomicBool>,
    lines: Arc<AtomicU64>,
    thread: JoinHandle<Written>,
    path: PathBuf,
}

/// What a [`Writer`] did.
#[derive(Debug)]
pub struct Written {
    /// Its number.
    pub writer: u16,
    /// Lines that the kernel took.
    pub lines: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What ended it early: a server would have got SIGPIPE where this says `BrokenPipe`.
    pub error: Option<io::Error>,
    /// Its longest write.
    pub slowest: Duration,
}

impl Writer {
    /// Opens the FIFO for writing, as a server does, and writes `lines` lines, or until it is stopped; it rests for
    /// `pause` after each.
    pub fn start(fifo: &Path, writer: u16, lines: Option<u64>, pause: Duration) -> Writer {
        let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, counted, path) = (stop.clone(), count.clone(), fifo.to_owned());
        let thread = thread::spawn(move || {
            let mut written = Written { writer, lines: 0, bytes: 0, error: None, slowest: Duration::ZERO };
            let goes_on = |done| !stopped.load(Ordering::Relaxed) && lines.is_none_or(|lines| done < lines);
            written.error = written.write_all(&path, goes_on, &counted, pause).err();
            written
        });
        Writer { stop, lines: count, thread, path: fifo.to_owned() }
    }

    /// Lines written so far.
    pub fn lines(&self) -> u64 {
        self.lines.load(Ordering::Relaxed)
    }

    /// Stops it after the line that it is at.
    pub fn stop(self) -> Written {
        self.stop.store(true, Ordering::Relaxed);
        self.join()
    }

    /// Waits until it has written all its lines.
    ///
    /// # Panics
    /// It does not come to an end, as when nobody reads a full pipe.
    pub fn join(self) -> Written {
        let ended = within(PROGRAM_SPAN, || self.thread.is_finished());
        assert!(ended, "a writer of {} hangs after {} lines", self.path.display(), self.lines());
        self.thread.join().expect("a writer does not panic")
    }
}

impl Written {
    fn write_all(
        &mut self,
        fifo: &Path,
        goes_on: impl Fn(u64) -> bool,
        counted: &AtomicU64,
        pause: Duration,
    ) -> io::Result<()> {
        let mut pipe = OpenOptions::new().write(true).open(fifo)?;
        while goes_on(self.lines) {
            let line = line(self.writer, self.lines, length(self.writer, self.lines));
            let before = Instant::now();
            let taken = pipe.write(&line)?;
            self.slowest = self.slowest.max(before.elapsed());
            if taken != line.len() {
                return Err(io::Error::other(format!("{taken} of {} bytes were taken", line.len())));
            }
            self.lines += 1;
            self.bytes += taken as u64;
            counted.store(self.lines, Ordering::Relaxed);
            if !pause.is_zero() {
                thread::sleep(pause);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
