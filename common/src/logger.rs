//! The daemons' log: lines on standard error that never wait.
//!
//! Standard error may be a FIFO that this very program drains, so a write that would block is dropped and counted, and
//! the next line that gets through is preceded by their number. Invariants: one message, with that number before it, is
//! one `write(2)` of at most [`LINE_MAX`] bytes; no flag is ever set on the inherited descriptor, whose description
//! others may share.
//! Deliberately not here: timestamps (whoever takes the line adds them), files, colours.

use std::env;
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::sync::{Mutex, PoisonError};

use log::{Level, LevelFilter, Log, Metadata, Record};
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd;

use crate::called;
use crate::shown::{counted, push_escaped};

/// Most bytes of one message: what a pipe takes in one piece, and what it has room for when it polls writable.
pub const LINE_MAX: usize = 4096;

const STDERR: &str = "/proc/self/fd/2";

/// Sends what the `log` macros say to standard error, as `NAME: [warning: |error: ]message` by the name that the program
/// was called by. To be called once.
pub fn init() {
    let logger =
        Logger { program: called::name(), journal: is_journal(), output: Output::stderr(), dropped: Mutex::new(0) };
    if log::set_boxed_logger(Box::new(logger)).is_ok() {
        log::set_max_level(LevelFilter::Info);
    }
}

/// Standard error for a program whose lines have a form of their own: one line is one write that never waits.
pub struct Stderr {
    journal: bool,
    output: Output,
}

impl Stderr {
    /// Opens it, where it can be opened.
    pub fn open() -> Stderr {
        Stderr { journal: is_journal(), output: Output::stderr() }
    }

    /// Whether the journal takes what is written, and understands a level such as `<6>` before a line.
    pub fn is_journal(&self) -> bool {
        self.journal
    }

    /// Writes lines as they are, cut to [`LINE_MAX`] bytes. False: there was no room, they are dropped.
    pub fn put(&self, mut lines: String) -> bool {
        cut(&mut lines);
        self.output.put(lines.as_bytes())
    }
}

struct Logger {
    program: &'static str,
    journal: bool,
    output: Output,
    /// Messages lost since the last that got through.
    dropped: Mutex<u64>,
}

impl Log for Logger {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let mut dropped = self.dropped.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::new();
        if *dropped > 0 {
            self.compose(Level::Warn, &format!("{} dropped", counted(*dropped, "message")), &mut text);
        }
        self.compose(record.level(), &record.args().to_string(), &mut text);
        cut(&mut text);
        *dropped = if self.output.put(text.as_bytes()) { 0 } else { *dropped + 1 };
    }

    fn flush(&self) {}
}

impl Logger {
    /// Appends one message: escaped, with the journal's level on each line.
    fn compose(&self, level: Level, message: &str, text: &mut String) {
        let word = match level {
            Level::Error => "error: ",
            Level::Warn => "warning: ",
            Level::Info | Level::Debug | Level::Trace => "",
        };
        for (index, line) in message.trim_end_matches('\n').split('\n').enumerate() {
            if self.journal {
                text.push_str(number(level));
            }
            if index == 0 {
                let _infallible = write!(text, "{}: {word}", self.program);
            }
            push_escaped(line, text);
            text.push('\n');
        }
    }
}

/// Shortens what is longer than [`LINE_MAX`], visibly and between two characters.
fn cut(text: &mut String) {
    if text.len() > LINE_MAX {
        let room = LINE_MAX - "…\n".len();
        text.truncate((0..=room).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0));
        text.push_str("…\n");
    }
}

/// A description of standard error of our own that never waits, where there can be one: see `Output`.
pub fn own_stderr() -> Option<File> {
    match Output::stderr() {
        Output::Own(file) => Some(file),
        Output::Inherited => None,
    }
}

/// Where lines go.
enum Output {
    /// A description of our own, which may be non-blocking without harm to anybody.
    Own(File),
    /// The inherited one, asked each time whether it has room.
    Inherited,
}

impl Output {
    /// A regular file stays inherited: writing at an offset of our own, we and its other writers would overwrite each
    /// other. Sockets cannot be opened anew (`ENXIO`), other users' terminals not always (`EACCES`).
    fn stderr() -> Output {
        let kind = std::fs::metadata(STDERR).map(|is| is.file_type());
        if !kind.is_ok_and(|kind| kind.is_fifo() || kind.is_char_device()) {
            return Output::Inherited;
        }
        let flags = libc::O_NONBLOCK | libc::O_APPEND | libc::O_NOCTTY | libc::O_CLOEXEC;
        OpenOptions::new().write(true).custom_flags(flags).open(STDERR).map_or(Output::Inherited, Output::Own)
    }

    /// Whether all of it was taken, at once.
    fn put(&self, line: &[u8]) -> bool {
        match self {
            Output::Own(file) => (&mut &*file).write(line).is_ok_and(|taken| taken == line.len()),
            Output::Inherited => {
                let stderr = io::stderr();
                let mut asked = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
                let has_room = poll(&mut asked, PollTimeout::ZERO).is_ok_and(|ready| ready == 1)
                    && asked[0].revents() == Some(PollFlags::POLLOUT);
                has_room && unistd::write(&stderr, line).is_ok_and(|taken| taken == line.len())
            }
        }
    }
}

/// What stands before a line of this level, if the journal takes it.
pub(crate) fn priority(level: Level) -> &'static str {
    if is_journal() { number(level) } else { "" }
}

/// By sd-daemon(3).
pub fn number(level: Level) -> &'static str {
    match level {
        Level::Error => "<3>",
        Level::Warn => "<4>",
        Level::Info => "<6>",
        Level::Debug | Level::Trace => "<7>",
    }
}

/// `JOURNAL_STREAM=dev:ino` names the socket that systemd gave us, but a child may have another standard error by now.
fn is_journal() -> bool {
    let Ok(stream) = env::var("JOURNAL_STREAM") else { return false };
    std::fs::metadata(STDERR).is_ok_and(|is| stream == format!("{}:{}", is.dev(), is.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn logger(output: Output, journal: bool) -> Logger {
        Logger { program: "reader", journal, output, dropped: Mutex::new(0) }
    }

    fn say(logger: &Logger, message: &str) {
        logger.log(&Record::builder().level(Level::Info).args(format_args!("{message}")).build());
    }

    fn composed(journal: bool, level: Level, message: &str) -> String {
        let mut text = String::new();
        logger(Output::Inherited, journal).compose(level, message, &mut text);
        text
    }

    #[test]
    fn a_message_names_program_and_level() {
        for (level, plain, journal) in [
            (Level::Error, "reader: error: no\n", "<3>reader: error: no\n"),
            (Level::Warn, "reader: warning: no\n", "<4>reader: warning: no\n"),
            (Level::Info, "reader: no\n", "<6>reader: no\n"),
            (Level::Debug, "reader: no\n", "<7>reader: no\n"),
        ] {
            assert_eq!(composed(false, level, "no"), plain);
            assert_eq!(composed(true, level, "no"), journal);
        }
    }

    #[test]
    fn every_line_of_a_message_carries_the_level_to_the_journal() {
        assert_eq!(composed(true, Level::Error, "a\n  |\nb\n"), "<3>reader: error: a\n<3>  |\n<3>b\n");
        assert_eq!(composed(false, Level::Info, "a\n  b"), "reader: a\n  b\n");
    }

    #[test]
    fn a_message_moves_no_cursor() {
        let text = composed(false, Level::Info, "a\x1b[2J\tb\r\u{9b}c");
        assert_eq!(text, "reader: a\\x1b[2J\tb\\x0d\\x9bc\n");
    }

    #[test]
    fn a_message_has_an_end() {
        for message in ["ä".repeat(LINE_MAX), "x\n".repeat(LINE_MAX)] {
            let mut text = composed(false, Level::Info, &message);
            cut(&mut text);
            assert!(text.len() <= LINE_MAX && text.ends_with("…\n"), "{}", text.len());
        }
    }

    /// A pipe that takes two pages, and a non-blocking description of its writing end.
    fn small_pipe() -> (io::PipeReader, io::PipeWriter, File) {
        let (reader, writer) = io::pipe().unwrap();
        nix::fcntl::fcntl(&writer, nix::fcntl::FcntlArg::F_SETPIPE_SZ(8192)).unwrap();
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&writer));
        let own = OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(path).unwrap();
        (reader, writer, own)
    }

    #[test]
    fn a_full_pipe_drops_messages_and_the_next_line_counts_them() {
        let (mut reader, writer, own) = small_pipe();
        let logger = logger(Output::Own(own), false);
        for _ in 0..5 {
            say(&logger, &"x".repeat(4000));
        }
        let mut taken = vec![0; 2 * ("reader: \n".len() + 4000)];
        reader.read_exact(&mut taken).unwrap();
        say(&logger, "again");
        drop((writer, logger));
        let mut rest = String::new();
        reader.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "reader: warning: 3 messages dropped\nreader: again\n");
    }

    #[test]
    fn a_pipe_without_readers_is_no_end_of_the_program() {
        let (reader, _writer, own) = small_pipe();
        drop(reader);
        let logger = logger(Output::Own(own), false);
        say(&logger, "to nobody");
        assert_eq!(*logger.dropped.lock().unwrap(), 1);
    }
}
