//! Standard output as an [`Output`]: forms lines and writes them, without ever waiting.
//!
//! Its description is shared with others, so no flag is set on it. A pipe, a terminal or a socket is asked whether it
//! has room before each write of at most 4 KiB, which ends with a line where one ends in time, so that whoever else writes
//! into the same pipe does not get into a line. A file takes any write.
//! Invariant: an offset is delivered when the last byte before it was written, at least once: what a kill cuts between
//! a write and the next checkpoint is written again.
//! A reader that has gone (`| grep -m1 x`) is an error at the next turn, whether there is anything to write or not; so
//! is a standard output that was closed when the program started.

use std::collections::VecDeque;
use std::fs::File;
use std::io::IsTerminal;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Instant;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd;
use standpipe_common::error::{Cannot, Error, Result};
use standpipe_common::standard::{self, OUTPUT};

use crate::out::format::Formatter;
use crate::out::lines::{End, GenerationId, Lines, SourceId, whole_lines};
use crate::out::output::{Delivered, Outlet, Output, RightOfWay, Standing, Waits};

/// Most bytes of one write where it could wait: what a pipe has room for when it polls writable.
const WRITE_BYTES_MAX: usize = 4096;

/// Most bytes of a part of lines behind which it is known how much of their file is written.
const PART_BYTES_MAX: usize = 512;

/// Most bytes that are taken before they are formed, and that are kept formed while more is taken. What is formed is
/// larger than what was taken, by less than 400 bytes a line; for a terminal, four times as large at most.
const BUFFER_BYTES_MAX: usize = 256 << 10;

/// Standard output.
#[derive(Debug)]
pub struct Stdout {
    file: File,
    /// Whether a write could wait.
    asks: bool,
    formatter: Formatter,
    buffer: Vec<u8>,
    /// Of `buffer`, how much is written.
    written: usize,
    /// What is delivered when so much of `buffer` is written.
    marks: VecDeque<(usize, Delivered)>,
    /// The generation whose line is not at its end: what is no part of it begins a line.
    open: Option<GenerationId>,
    way: RightOfWay,
    /// Nobody waits for the end of a line any more.
    is_hurried: bool,
}

impl Stdout {
    /// Over standard output itself.
    ///
    /// # Errors
    /// It is not open, or not for writing.
    pub fn new(formatter: Formatter) -> Result<Stdout> {
        let file = standard::output()?.as_fd().try_clone_to_owned().cannot("open", OUTPUT)?;
        let flags = fcntl(&file, FcntlArg::F_GETFL).cannot("inspect", OUTPUT)?;
        if OFlag::from_bits_retain(flags) & OFlag::O_ACCMODE == OFlag::O_RDONLY {
            return Err(Error::because("write to", OUTPUT, "it is open for reading only"));
        }
        Stdout::over(file.into(), formatter)
    }

    /// Over another file.
    ///
    /// # Errors
    /// It cannot be asked what it is.
    pub fn over(file: File, mut formatter: Formatter) -> Result<Stdout> {
        let asks = !file.metadata().cannot("inspect", OUTPUT)?.is_file();
        if file.is_terminal() {
            formatter.show_to_terminal();
        }
        let (buffer, marks) = (Vec::new(), VecDeque::new());
        Ok(Stdout {
            file,
            asks,
            formatter,
            buffer,
            written: 0,
            marks,
            open: None,
            way: RightOfWay::default(),
            is_hurried: false,
        })
    }

    /// To tell it of sources.
    pub fn formatter(&mut self) -> &mut Formatter {
        &mut self.formatter
    }

    /// Forms lines, and notes what is delivered behind each small part of them. A write ends with such a part where it
    /// can: a program that is asked to end while its pipe is full goes on next time right behind what the pipe took.
    fn form(&mut self, lines: &Lines<'_>) {
        let is_plain = lines.record.is_none() && lines.ends == End::Line;
        if !self.asks || !is_plain {
            return self.form_whole(lines);
        }
        let mut start = lines.start;
        for bytes in parts(lines.bytes) {
            let end = start + bytes.len() as u64;
            self.form_whole(&Lines { start, end, bytes, ..*lines });
            start = end;
        }
        debug_assert_eq!(start, lines.end);
    }

    fn form_whole(&mut self, lines: &Lines<'_>) {
        self.formatter.push(lines, &mut self.buffer);
        let delivered = Delivered { generation: lines.generation, offset: lines.end };
        debug_assert!(self.marks.back().is_none_or(|(end, _)| *end <= self.buffer.len()), "marks are in order");
        self.marks.push_back((self.buffer.len(), delivered));
    }

    /// What is written at once: what ends with a mark, or whole lines, where one of these ends in time.
    fn portion(&self) -> &[u8] {
        let ends = self.marks.iter().map(|(end, _)| *end).skip_while(|end| *end <= self.written);
        match ends.take_while(|end| end - self.written <= WRITE_BYTES_MAX).last() {
            Some(end) => &self.buffer[self.written..end],
            None => portion(&self.buffer[self.written..]),
        }
    }

    /// Writes until all is written. False: it has no room.
    fn write(&mut self) -> Result<bool> {
        if self.asks && has_lost_reader(&self.file).cannot("wait for", OUTPUT)? {
            return Err(lost());
        }
        while self.written < self.buffer.len() {
            let rest = &self.buffer[self.written..];
            let bytes = if self.asks { self.portion() } else { rest };
            if self.asks && !is_writable(&self.file).cannot("wait for", OUTPUT)? {
                return Ok(false);
            }
            match unistd::write(&self.file, bytes) {
                Ok(taken) => self.written += taken,
                Err(Errno::EINTR) => {}
                // Somebody else made it non-blocking.
                Err(Errno::EAGAIN) if self.asks => return Ok(false),
                Err(Errno::EPIPE) => return Err(lost()),
                Err(cause) => return Err(Error::new("write to", OUTPUT, cause)),
            }
        }
        Ok(true)
    }
}

/// What is written at once: whole lines where one ends in time.
fn portion(bytes: &[u8]) -> &[u8] {
    &bytes[..whole_lines(bytes, WRITE_BYTES_MAX).min(WRITE_BYTES_MAX)]
}

/// Whole lines in parts of at most [`PART_BYTES_MAX`], or one line that is longer.
fn parts(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (part, rest) = bytes.split_at(whole_lines(bytes, PART_BYTES_MAX));
        bytes = rest;
        (!part.is_empty()).then_some(part)
    })
}

fn lost() -> Error {
    Error::because("write to", OUTPUT, "its reader has gone")
}

/// Whether nobody is left to read what would be written: of a terminal, that it was hung up.
fn has_lost_reader(file: &File) -> nix::Result<bool> {
    let mut asked = [PollFd::new(file.as_fd(), PollFlags::empty())];
    match poll(&mut asked, PollTimeout::ZERO) {
        Ok(_) => Ok(asked[0].revents().is_some_and(|found| found.intersects(PollFlags::POLLERR | PollFlags::POLLHUP))),
        Err(Errno::EINTR) => Ok(false),
        Err(cause) => Err(cause),
    }
}

/// An error or the end of all readers counts as room: the write tells.
fn is_writable(file: &File) -> nix::Result<bool> {
    let mut asked = [PollFd::new(file.as_fd(), PollFlags::POLLOUT)];
    match poll(&mut asked, PollTimeout::ZERO) {
        Ok(ready) => Ok(ready > 0),
        Err(Errno::EINTR) => Ok(false),
        Err(cause) => Err(cause),
    }
}

impl Output for Stdout {
    fn room(&self, source: SourceId) -> usize {
        let unwritten = self.buffer.len() - self.written;
        // A little room is of no use: a line has to fit.
        if self.way.keeps_off(source) || unwritten > BUFFER_BYTES_MAX / 2 { 0 } else { BUFFER_BYTES_MAX - unwritten }
    }

    fn is_room_final(&self, _source: SourceId) -> bool {
        self.is_empty()
    }

    fn put(&mut self, lines: &Lines<'_>) {
        if self.open.is_some_and(|open| !lines.go_on_from(open == lines.generation)) {
            self.buffer.push(b'\n');
        }
        self.form(lines);
        let is_open = lines.ends == End::Open && self.formatter.joins_pieces();
        self.open = is_open.then_some(lines.generation);
        self.way.await_end((is_open && !self.is_hurried).then_some(lines.source));
    }

    fn note(&mut self, source: SourceId, standing: Standing) {
        self.way.note(source, standing);
    }
}

impl Outlet for Stdout {
    fn hold(&mut self, source: SourceId, is_held: bool) {
        self.way.hold(source, is_held);
    }

    fn turn(&mut self, _: Instant, _: i64, delivered: &mut Vec<Delivered>) -> Result<Waits> {
        let is_done = self.write();
        while let Some((end, mark)) = self.marks.front()
            && *end <= self.written
        {
            delivered.push(*mark);
            self.marks.pop_front();
        }
        debug_assert!(self.written <= self.buffer.len());
        if self.written == self.buffer.len() {
            debug_assert!(self.marks.is_empty(), "all that is written is delivered");
            self.buffer.clear();
            self.written = 0;
        }
        Ok(Waits { until: None, writable: (!is_done?).then(|| self.file.as_raw_fd()) })
    }

    fn hurry(&mut self) {
        self.is_hurried = true;
        self.way.await_end(None);
    }

    fn is_empty(&self) -> bool {
        self.written == self.buffer.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{PipeReader, Read};

    use jiff::tz::TimeZone;

    use crate::config::LineForm;
    use crate::file::identity::Origin;
    use crate::out::lines::GenerationId;

    fn put(stdout: &mut Stdout, source: u32, start: u64, bytes: &[u8], ends: End) {
        let (source, generation) = (SourceId(source), GenerationId(source.into()));
        let end = start + bytes.len() as u64 - u64::from(ends == End::Added);
        stdout.put(&Lines {
            source,
            generation,
            origin: Origin::default(),
            start,
            end,
            bytes,
            ends,
            read_ns: 0,
            record: None,
        });
    }

    fn turn(stdout: &mut Stdout) -> (Vec<(u64, u64)>, bool) {
        let mut delivered = Vec::new();
        let waits = stdout.turn(Instant::now(), 0, &mut delivered).unwrap();
        (delivered.iter().map(|it| (it.generation.0, it.offset)).collect(), waits.writable.is_some())
    }

    fn queued(pipe: &PipeReader) -> u64 {
        standpipe_common::sys::bytes_queued(pipe).unwrap() as u64
    }

    fn over_pipe() -> (PipeReader, Stdout) {
        let (reader, writer) = std::io::pipe().unwrap();
        let file = File::from(std::os::fd::OwnedFd::from(writer));
        (reader, Stdout::over(file, Formatter::new(LineForm::Raw, false, TimeZone::UTC)).unwrap())
    }

    #[test]
    fn a_file_takes_all_at_once() {
        let mut file = tempfile::tempfile().unwrap();
        let formatter = Formatter::new(LineForm::Raw, false, TimeZone::UTC);
        let mut stdout = Stdout::over(file.try_clone().unwrap(), formatter).unwrap();
        put(&mut stdout, 1, 10, b"a\nb\n", End::Line);
        put(&mut stdout, 2, 0, b"c\n", End::Added);
        assert_eq!(turn(&mut stdout), (vec![(1, 14), (2, 1)], false));
        assert!(stdout.is_empty());
        std::io::Seek::rewind(&mut file).unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "a\nb\nc\n");
    }

    #[test]
    fn a_full_pipe_is_waited_for_and_what_was_not_written_is_not_delivered() {
        let (mut reader, mut stdout) = over_pipe();
        let lines = b"0123456789abcde\n".repeat(1000);
        for index in 0..8 {
            put(&mut stdout, 1, index * 16_000, &lines, End::Line);
        }
        let (delivered, waits) = turn(&mut stdout);
        // All that the pipe took is delivered, and nothing else.
        let taken = queued(&reader);
        assert!(waits && taken > 60_000, "{taken}");
        assert_eq!(delivered.last(), Some(&(1, taken)));
        let mut taken = Vec::new();
        let mut last = delivered.last().copied();
        while !stdout.is_empty() {
            let mut some = vec![0; 65_536];
            let len = reader.read(&mut some).unwrap();
            taken.extend_from_slice(&some[..len]);
            last = turn(&mut stdout).0.last().copied().or(last);
        }
        drop(stdout);
        reader.read_to_end(&mut taken).unwrap();
        assert_eq!((last, taken), (Some((1, 128_000)), lines.repeat(8)));
    }

    #[test]
    fn a_part_is_whole_lines_or_one() {
        let long = [&b"x".repeat(5000)[..], b"\n"].concat();
        let bytes = [b"a\n", &long[..], &b"0123456789abcde\n".repeat(300)[..]].concat();
        let lens: Vec<usize> = parts(&bytes).map(<[u8]>::len).collect();
        assert_eq!((&lens[..3], lens.iter().sum::<usize>()), (&[2, 5001, 512][..], bytes.len()));
    }

    #[test]
    fn a_write_ends_with_a_line() {
        let bytes = [b"x".repeat(4000), b"\n".to_vec(), b"y".repeat(200)].concat();
        assert_eq!(portion(&bytes).len(), 4001);
        assert_eq!(portion(&b"x".repeat(5000)).len(), 4096);
        assert_eq!(portion(b"x\n").len(), 2);
    }

    #[test]
    fn a_reader_that_has_gone_is_an_error_also_where_nothing_is_written() {
        for has_line in [true, false] {
            let (reader, mut stdout) = over_pipe();
            assert_eq!(turn(&mut stdout), (vec![], false));
            drop(reader);
            if has_line {
                put(&mut stdout, 1, 0, b"x\n", End::Line);
            }
            let mut delivered = Vec::new();
            let error = stdout.turn(Instant::now(), 0, &mut delivered).unwrap_err();
            assert_eq!(error.to_string(), "cannot write to standard output: its reader has gone");
            assert_eq!(delivered, []);
        }
    }

    #[test]
    fn nothing_gets_between_the_pieces_of_a_line() {
        let (mut reader, mut stdout) = over_pipe();
        put(&mut stdout, 1, 0, b"a", End::Open);
        assert!(stdout.room(SourceId(2)) == 0 && stdout.room(SourceId(1)) > 0);
        put(&mut stdout, 1, 1, b"b\n", End::Line);
        assert!(stdout.room(SourceId(2)) > 0);
        put(&mut stdout, 1, 3, b"c", End::Open);
        stdout.hurry();
        put(&mut stdout, 2, 0, b"d\n", End::Line);
        assert_eq!(turn(&mut stdout), (vec![(1, 1), (1, 3), (1, 4), (2, 2)], false));
        drop(stdout);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "ab\nc\nd\n");
    }
}
