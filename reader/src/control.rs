//! `LOGS/.control`: a FIFO that takes one command a line, `rotate` or `rotate NAME`.
//!
//! Whoever writes nonsense into it gets one warning with the line escaped; whoever writes without end neither keeps
//! the lanes waiting nor fills the log: a turn takes at most `TURN_BYTES`, turns are `TURN_SPAN` apart, and there
//! is one warning a second. A FIFO that cannot be made is one error line, and the reader runs without.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::{File, Permissions};
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::SFlag;
use nix::unistd::geteuid;
use standpipe_common::error::{Cannot, Error, Result};

use crate::disk::{self, Dir};
use crate::drain::Drain;

/// Name of the FIFO in a log root.
pub const CONTROL: &str = ".control";
/// Most bytes of a line, and what one write brings whole.
pub const LINE_MAX: usize = 4096;

const MODE: u32 = 0o600;
/// Most bytes that are taken at once.
const TURN_BYTES: usize = 4096;
/// Between two turns.
const TURN_SPAN: Duration = Duration::from_millis(10);
/// Between two warnings.
const WARN_SPAN: Duration = Duration::from_secs(1);
/// Most bytes of a line that a warning shows.
const SHOWN_MAX: usize = 80;

/// What a line asks for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Command {
    /// A new part for every pipe.
    RotateAll,
    /// A new part for one.
    Rotate(OsString),
}

/// The command of one line, without its newline. `None`: it is none.
pub fn parse(line: &[u8]) -> Option<Command> {
    match line.strip_prefix(b"rotate")? {
        b"" => Some(Command::RotateAll),
        rest => {
            let name = rest.strip_prefix(b" ").filter(|name| !name.is_empty())?;
            Some(Command::Rotate(OsString::from_vec(name.to_vec())))
        }
    }
}

/// The line of a command, with its newline.
pub fn line_of(name: Option<&OsStr>) -> Vec<u8> {
    let words: [&[u8]; 3] = match name {
        Some(name) => [b"rotate ", name.as_bytes(), b"\n"],
        None => [b"rotate", b"", b"\n"],
    };
    words.concat()
}

/// The FIFO, or its absence.
pub struct Control {
    open: Option<Open>,
}

struct Open {
    fifo: File,
    lines: Lines,
    /// When there may be more to read.
    due: Option<Instant>,
    last_turn: Option<Instant>,
    complaints: Complaints,
}

impl Control {
    /// Makes the FIFO in the log root `dir`, whose lock we have, and puts it into the poll set.
    pub fn make(dir: &Dir, registry: &Registry, token: Token) -> Control {
        let open = open(dir).and_then(|fifo| {
            let fd = fifo.as_raw_fd();
            let watched = registry.register(&mut SourceFd(&fd), token, Interest::READABLE);
            watched.cannot("watch", dir.path_of(CONTROL)).map(|()| fifo)
        });
        let open = open.map_err(|error| log::error!("{error}; the reader runs without commands")).ok();
        let idle = |fifo| Open {
            fifo,
            lines: Lines::default(),
            due: None,
            last_turn: None,
            complaints: Complaints::default(),
        };
        Control { open: open.map(idle) }
    }

    /// The poll set said that something came.
    pub fn on_event(&mut self, now: Instant) {
        if let Some(open) = &mut self.open {
            open.due = Some(open.last_turn.map_or(now, |last| now.max(last + TURN_SPAN)));
        }
    }

    /// How long the poll set may be waited for. `None`: until something comes.
    pub fn timeout(&self, now: Instant) -> Option<Duration> {
        self.open.as_ref()?.due.map(|due| due.saturating_duration_since(now))
    }

    /// Takes what is due, and carries it out.
    pub fn obey(&mut self, drain: &mut Drain, now: Instant) {
        let Some(open) = &mut self.open else { return };
        if open.due.is_none_or(|due| due > now) {
            return;
        }
        for command in open.turn(now) {
            match command {
                Command::RotateAll => drain.ask_rotation(),
                Command::Rotate(name) => {
                    if !drain.ask_rotation_of(&name) {
                        let line = line_of(Some(&name));
                        open.complaints.say(&format!("{}: there is no such pipe", shown(line.trim_ascii_end())), now);
                    }
                }
            }
        }
    }
}

impl Open {
    /// Each command of one turn once.
    fn turn(&mut self, now: Instant) -> BTreeSet<Command> {
        let mut bytes = [0; TURN_BYTES];
        let mut commands = BTreeSet::new();
        self.last_turn = Some(now);
        self.due = match self.fifo.read(&mut bytes) {
            Ok(taken) => {
                for line in self.lines.feed(&bytes[..taken]) {
                    match line {
                        Line::Whole(line) => match parse(&line) {
                            Some(command) => drop(commands.insert(command)),
                            None => self.complaints.say(&format!("{} is no command", shown(&line)), now),
                        },
                        Line::Overlong => self.complaints.say("a line of more than 4096 bytes is no command", now),
                    }
                }
                Some(now + TURN_SPAN)
            }
            // mio says it again when more comes.
            Err(_) => None,
        };
        commands
    }
}

/// Warnings, one a second.
#[derive(Debug, Default)]
struct Complaints {
    said: Option<Instant>,
    unsaid: usize,
}

impl Complaints {
    fn say(&mut self, sentence: &str, now: Instant) {
        if self.said.is_some_and(|said| now < said + WARN_SPAN) {
            self.unsaid += 1;
            return;
        }
        match self.unsaid {
            0 => log::warn!("{CONTROL}: {sentence}"),
            more => log::warn!("{CONTROL}: {sentence}; neither were {more} lines before"),
        }
        (self.said, self.unsaid) = (Some(now), 0);
    }
}

/// Bytes put together into lines.
#[derive(Debug, Default)]
struct Lines {
    partial: Vec<u8>,
    /// The line is too long: nothing of it is kept.
    is_overlong: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Line {
    Whole(Vec<u8>),
    /// Told where it becomes too long.
    Overlong,
}

impl Lines {
    fn feed(&mut self, bytes: &[u8]) -> Vec<Line> {
        let mut lines = Vec::new();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ends) = piece.strip_suffix(b"\n").map_or((piece, false), |text| (text, true));
            if !self.is_overlong {
                self.partial.extend_from_slice(text);
                self.is_overlong = self.partial.len() >= LINE_MAX;
                if self.is_overlong {
                    self.partial = Vec::new();
                    lines.push(Line::Overlong);
                }
            }
            if ends {
                if !std::mem::take(&mut self.is_overlong) {
                    lines.push(Line::Whole(std::mem::take(&mut self.partial)));
                }
                self.partial.clear();
            }
        }
        lines
    }
}

/// A line for people: bounded, in quotes, everything unusual escaped.
fn shown(line: &[u8]) -> String {
    let (head, more) = if line.len() > SHOWN_MAX { (&line[..SHOWN_MAX], "…") } else { (line, "") };
    format!("`{}{more}`", head.escape_ascii())
}

/// Opens the FIFO, made if it is not there. One of ours stays, for somebody may wait for us to open it; a file of
/// commands goes, which somebody wrote while no reader ran; anything else stays, and is an error.
fn open(dir: &Dir) -> Result<File> {
    let path = dir.path_of(CONTROL);
    match dir.stat(CONTROL) {
        Ok(stat) if stat.st_uid != geteuid().as_raw() => {
            return Err(Error::because("use", path, format!("user {} owns it", stat.st_uid)));
        }
        Ok(stat) if disk::is_kind(&stat, SFlag::S_IFIFO) => {}
        Ok(_) => {
            dir.remove_own(CONTROL, |text| {
                text.split(|byte| *byte == b'\n').all(|line| parse(line).is_some() || line.is_empty())
            })?;
            dir.make_fifo(CONTROL, MODE)?;
        }
        Err(Errno::ENOENT) => dir.make_fifo(CONTROL, MODE)?,
        Err(errno) => return Err(Error::new("look at", path, errno)),
    }
    let fifo = dir.open_fifo(CONTROL, OFlag::O_RDWR)?;
    fifo.set_permissions(Permissions::from_mode(MODE)).cannot("set the permissions of", path)?;
    Ok(fifo)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_command_or_nothing() {
        for (line, command) in [
            ("rotate", Some(Command::RotateAll)),
            ("rotate app", Some(Command::Rotate("app".into()))),
            ("rotate two words", Some(Command::Rotate("two words".into()))),
            ("rotate ", None),
            ("rotates", None),
            ("Rotate", None),
            (" rotate", None),
            ("rotate\tapp", None),
            ("", None),
        ] {
            assert_eq!(parse(line.as_bytes()), command, "{line:?}");
        }
        let odd = OsStr::from_bytes(b"\xFF odd");
        for name in [None, Some(OsStr::new("app")), Some(odd)] {
            let line = line_of(name);
            let command = name.map_or(Command::RotateAll, |name| Command::Rotate(name.to_owned()));
            assert_eq!(parse(line.strip_suffix(b"\n").unwrap()), Some(command));
        }
    }

    #[test]
    fn lines_come_whole_whatever_the_pieces_and_an_overlong_one_is_told_once() {
        let whole = |text: &str| Line::Whole(text.into());
        let long = "x".repeat(3 * LINE_MAX);
        let longest = "y".repeat(LINE_MAX - 1);
        let text = format!("a\n\nbc\n{long}\n{longest}\nd\nrest");
        for size in [1, 2, 7, 4096, text.len()] {
            let mut lines = Lines::default();
            let told: Vec<_> = text.as_bytes().chunks(size).flat_map(|piece| lines.feed(piece)).collect();
            let expected = [whole("a"), whole(""), whole("bc"), Line::Overlong, whole(&longest), whole("d")];
            assert_eq!(told, expected, "{size}");
            assert_eq!(lines.feed(b"\n"), [whole("rest")]);
        }
    }

    #[test]
    fn a_line_is_shown_harmless_and_short() {
        assert_eq!(shown(b"a\x1b[2J\xff"), "`a\\x1b[2J\\xff`");
        assert_eq!(shown(&[b'a'; 4000]), format!("`{}…`", "a".repeat(SHOWN_MAX)));
    }
}
