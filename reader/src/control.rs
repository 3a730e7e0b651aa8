//! `LOGS/.control`: a socket that takes commands, `rotate` or `rotate NAME` a line, and answers when they are done.
//!
//! A call sends its lines and closes its side. The answer begins with `begun` when they have been heard, and has one line
//! for each when all are over: `done`, or `error` and a sentence. A socket, for nothing in a log root may keep waiting
//! whoever opens it: `grep -R` and its kind get an error at once.
//!
//! Invariants: a caller neither keeps a lane waiting nor fills memory: at most `CALLS_MAX` calls are open, each of at
//! most [`CALL_BYTES_MAX`] and a second, and [`CALL_SPAN_MAX`] until it is answered; they are looked at once every
//! `LOOK_SPAN` while there are any. What stands in the place of the socket and is not ours stays: one error line, and the
//! reader runs without.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use nix::errno::Errno;
use nix::sys::stat::{Mode, SFlag, umask};
use nix::unistd::geteuid;
use standpipe_common::called;
use standpipe_common::error::{Cannot, Error, Result};
use standpipe_common::seam;
use standpipe_common::shown::Shown as _;

use crate::disk::{self, Dir};
use crate::drain::{Drain, Rotation};

/// Name of the socket in a log root.
pub const CONTROL: &str = ".control";
/// The line that says that the commands have been heard.
pub const BEGUN: &str = "begun";
/// The answer to a command that was carried out.
pub const DONE: &str = "done";
/// What stands before the sentence of one that was not.
pub const REFUSED: &str = "error ";
/// Most bytes of the commands of one call: the names of some thousand pipes.
pub const CALL_BYTES_MAX: usize = 1 << 20;
/// How long a call may last: a rotation waits up to 10 s for the end of a line.
pub const CALL_SPAN_MAX: Duration = Duration::from_secs(15);

const MODE: u32 = 0o600;
/// How long a call may take to say what it wants.
const LISTEN_SPAN_MAX: Duration = Duration::from_secs(1);
/// Most calls at the same time; others wait in the socket's own queue.
const CALLS_MAX: usize = 16;
/// Between two looks at open calls.
const LOOK_SPAN: Duration = Duration::from_millis(10);
/// Most bytes of a line that an answer repeats.
const SHOWN_MAX: usize = 80;

/// What a line asks for: a new part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rotate {
    /// Of every pipe.
    All,
    /// Of the pipe with this name.
    One(OsString),
}

/// The command of one line, without its newline. `None`: it is none.
pub fn parse(line: &[u8]) -> Option<Rotate> {
    match line.strip_prefix(b"rotate")? {
        b"" => Some(Rotate::All),
        rest => {
            let name = rest.strip_prefix(b" ").filter(|name| !name.is_empty())?;
            Some(Rotate::One(OsString::from_vec(name.to_vec())))
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

/// The path of the socket by the descriptor of its directory: the kernel takes no path of more than 107 bytes.
pub fn short_path(dir: &Dir) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}/{CONTROL}", dir.as_fd().as_raw_fd()))
}

/// The socket, or its absence, and who called.
pub struct Control {
    listener: Option<UnixListener>,
    calls: Vec<Call>,
    /// Somebody may wait in the socket's queue.
    is_called: bool,
    looked: Option<Instant>,
}

impl Control {
    /// Makes the socket in the log root `dir`, whose lock we have, and puts it into the poll set.
    pub fn make(dir: &Dir, registry: &Registry, token: Token) -> Control {
        let listener = listen(dir).and_then(|listener| {
            let fd = listener.as_raw_fd();
            let watched = registry.register(&mut SourceFd(&fd), token, Interest::READABLE);
            watched.cannot("watch", dir.path_of(CONTROL)).map(|()| listener)
        });
        let listener = listener
            .map_err(|error| log::error!("{error}; `{}` will not work", called::short("reader", "rotate")))
            .ok();
        Control { listener, calls: Vec::new(), is_called: false, looked: None }
    }

    /// Removes the socket, at the end of the work.
    pub fn clear_away(&self, dir: &Dir) {
        if self.listener.is_some() {
            dir.remove(CONTROL).unwrap_or_else(|error| log::warn!("{error}"));
        }
    }

    /// The poll set said that somebody calls.
    pub fn on_event(&mut self) {
        self.is_called = true;
    }

    /// How long the poll set may be waited for. `None`: until somebody calls.
    pub fn timeout(&self, now: Instant) -> Option<Duration> {
        let is_idle = self.calls.is_empty() && !self.is_called;
        let next = self.looked.map_or(now, |looked| looked + LOOK_SPAN);
        (!is_idle).then(|| next.saturating_duration_since(now))
    }

    /// Takes what is due, carries it out, and answers what is done.
    pub fn obey(&mut self, drain: &mut Drain, now: Instant) {
        if self.timeout(now) != Some(Duration::ZERO) {
            return;
        }
        self.looked = Some(now);
        while self.is_called && self.calls.len() < CALLS_MAX {
            match self.listener.as_ref().map(UnixListener::accept) {
                Some(Ok((stream, _))) => self.calls.extend(Call::new(stream, now)),
                Some(Err(error)) if error.kind() == ErrorKind::Interrupted => {}
                _ => self.is_called = false,
            }
        }
        debug_assert!(self.calls.len() <= CALLS_MAX, "{} calls", self.calls.len());
        self.calls.retain_mut(|call| call.is_open(drain, now));
    }
}

/// One who called.
struct Call {
    stream: UnixStream,
    ends: Instant,
    state: CallStage,
}

enum CallStage {
    /// Its lines so far.
    Listening(Vec<u8>),
    /// Its commands, and what is not done yet.
    Working(Vec<Answer>),
}

/// What becomes of one command.
enum Answer {
    Refused(String),
    /// These pipes are not known to have rotated.
    Rotating(BTreeSet<OsString>),
}

impl Call {
    /// `None`: it has gone.
    fn new(stream: UnixStream, now: Instant) -> Option<Call> {
        stream.set_nonblocking(true).ok()?;
        Some(Call { stream, ends: now + LISTEN_SPAN_MAX, state: CallStage::Listening(Vec::new()) })
    }

    /// Goes on with it as far as it can be. `false`: it is over.
    fn is_open(&mut self, drain: &mut Drain, now: Instant) -> bool {
        if let CallStage::Listening(lines) = &mut self.state {
            match hear(&mut self.stream, lines) {
                Heard::More => return now < self.ends,
                // Nothing is begun for one who has gone: that was told that nobody listens.
                Heard::All if self.stream.write_all(format!("{BEGUN}\n").as_bytes()).is_err() => return false,
                Heard::All => {
                    self.ends = now + CALL_SPAN_MAX;
                    self.state = CallStage::Working(begin(lines, drain));
                }
                Heard::Nothing => return false,
            }
        }
        let CallStage::Working(answers) = &mut self.state else { return false };
        if now < self.ends && !answers.iter_mut().all(|answer| answer.is_done(drain)) {
            return true;
        }
        let text: String = answers.iter().map(Answer::line).collect();
        // Who does not read the answer does not want it.
        self.stream.write_all(text.as_bytes()).ok();
        false
    }
}

enum Heard {
    More,
    All,
    /// It broke off, or said too much.
    Nothing,
}

fn hear(stream: &mut UnixStream, lines: &mut Vec<u8>) -> Heard {
    let mut bytes = [0; 4096];
    while lines.len() <= CALL_BYTES_MAX {
        match stream.read(&mut bytes) {
            Ok(0) => return Heard::All,
            Ok(taken) => lines.extend_from_slice(&bytes[..taken]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Heard::More,
            Err(_) => return Heard::Nothing,
        }
    }
    Heard::Nothing
}

/// Begins each command.
fn begin(lines: &[u8], drain: &mut Drain) -> Vec<Answer> {
    let begin = |line: &[u8]| match parse(line) {
        Some(Rotate::All) => Answer::Rotating(drain.ask_rotation()),
        Some(Rotate::One(name)) if drain.ask_rotation_of(&name) => Answer::Rotating(BTreeSet::from([name])),
        Some(Rotate::One(name)) => Answer::Refused(format!("no pipe named {}", shown(name.as_bytes()))),
        None => Answer::Refused(format!("unknown command {}: write `rotate` or `rotate NAME`", shown(line))),
    };
    let text = lines.strip_suffix(b"\n").unwrap_or(lines);
    text.split(|byte| *byte == b'\n').map(begin).collect()
}

impl Answer {
    fn is_done(&mut self, drain: &Drain) -> bool {
        let Answer::Rotating(names) = self else { return true };
        let left = drain.rotating(names);
        if let Some((name, _)) = left.iter().find(|(_, rotation)| *rotation == Rotation::Sick) {
            let status = called::short("reader", "status");
            let sentence = format!("{}: its log cannot be written at present; see `{status}`", name.shown());
            *self = Answer::Refused(sentence);
            return true;
        }
        *names = left.into_iter().map(|(name, _)| name).collect();
        names.is_empty()
    }

    /// The line that is sent, whether all is done or the time is over.
    fn line(&self) -> String {
        match self {
            Answer::Refused(sentence) => format!("{REFUSED}{sentence}\n"),
            Answer::Rotating(names) => match names.first() {
                None => format!("{DONE}\n"),
                Some(name) => format!(
                    "{REFUSED}{}: not rotated within {} s, because its last line is still open; it will rotate once the line ends\n",
                    name.shown(),
                    CALL_SPAN_MAX.as_secs()
                ),
            },
        }
    }
}

/// A line for people: bounded, in quotes, everything unusual escaped.
fn shown(line: &[u8]) -> String {
    let (head, more) = if line.len() > SHOWN_MAX { (&line[..SHOWN_MAX], "…") } else { (line, "") };
    format!("`{}{more}`", head.escape_ascii())
}

/// Makes the socket. One of ours goes, which a reader left that was killed, and so does a FIFO of an earlier version.
fn listen(dir: &Dir) -> Result<UnixListener> {
    let path = dir.path_of(CONTROL);
    match dir.stat(CONTROL) {
        Ok(stat) if stat.st_uid != geteuid().as_raw() => {
            return Err(Error::because("use", path, format!("it belongs to user {}", stat.st_uid)));
        }
        Ok(stat) if disk::is_kind(&stat, SFlag::S_IFSOCK) || disk::is_kind(&stat, SFlag::S_IFIFO) => {
            dir.remove(CONTROL)?;
        }
        Ok(_) => return Err(Error::because("use", path, "not a socket of reader: move it aside")),
        Err(Errno::ENOENT) => {}
        Err(errno) => return Err(Error::new("inspect", path, errno)),
    }
    let bind = || {
        seam::pass("create")?;
        // Not by its name, under which whoever may write there can put something else.
        let before = umask(Mode::from_bits_truncate(0o777 & !MODE));
        let listener = UnixListener::bind(short_path(dir));
        umask(before);
        let listener = listener?;
        listener.set_nonblocking(true)?;
        Ok::<_, std::io::Error>(listener)
    };
    bind().cannot("create socket", path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_command_or_nothing() {
        for (line, command) in [
            ("rotate", Some(Rotate::All)),
            ("rotate app", Some(Rotate::One("app".into()))),
            ("rotate two words", Some(Rotate::One("two words".into()))),
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
            let command = name.map_or(Rotate::All, |name| Rotate::One(name.to_owned()));
            assert_eq!(parse(line.strip_suffix(b"\n").unwrap()), Some(command));
        }
    }

    #[test]
    fn what_is_not_done_in_time_is_named() {
        let line = Answer::Rotating(["app".into(), "db".into()].into()).line();
        assert_eq!(
            line,
            "error app: not rotated within 15 s, because its last line is still open; it will rotate once the line ends\n"
        );
        assert_eq!(Answer::Rotating(BTreeSet::new()).line(), "done\n");
    }

    #[test]
    fn a_line_is_shown_harmless_and_short() {
        assert_eq!(shown(b"a\x1b[2J\xff"), "`a\\x1b[2J\\xff`");
        assert_eq!(shown(&[b'a'; 4000]), format!("`{}…`", "a".repeat(SHOWN_MAX)));
    }
}
