//! How far one receiver has got with a log: the file `.cursor-NAME` of a log directory, where NAME is the receiver's.
//!
//! ```text
//! standpipe-cursor 1
//! log 0f1e2d3c4b5a69788796a5b4c3d2e1f0
//! part 2026-11-21T10-00-00.000000Z
//! number 17
//! begin 1140850688
//! offset 52300
//! sent 1140902988
//! refused 0
//! lost 0
//! time 2026-11-21T10:00:09.000000123Z
//! answered 2026-11-21T10:00:10.5Z
//! answer 200 OK
//! crc 1a2b3c4d
//! ```
//! Invariants: a [`Cursor`] stands between two lines, in one part at one offset; it never goes back in a part; what it
//! counts only rises; each of its texts is one line. What was written comes back the same. A file that is damaged, or of
//! a later version, is neither used nor replaced: where it stood nobody knows then, and to begin anew would repeat.
//!
//! The file is put in place as a whole, by the program that ships; others read it. That program holds a lock on
//! `.cursor-NAME.lock` as long as it runs. Not here: the files themselves.

use std::ffi::OsStr;
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;

use crate::serial::Serial;
use crate::shown::push_escaped;

/// How the name of each cursor begins.
const PREFIX: &str = ".cursor-";
/// Longest name of a receiver, bytes.
pub const RECEIVER_BYTES_MAX: usize = 64;
/// Most bytes of the file.
pub const FILE_BYTES_MAX: u64 = 4096;
/// How it begins, whatever its version.
pub const BEGIN: &[u8] = b"standpipe-cursor ";
/// The version that we read and write.
const VERSION: u64 = 1;
/// Most characters that are kept of an answer.
const ANSWER_CHARS_MAX: usize = 200;

/// What a receiver is called: lower-case letters, digits, `-` and `_`, so that the name of a cursor's file has one meaning.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Receiver(String);

impl Receiver {
    /// Name of its cursor.
    pub fn file(&self) -> String {
        format!("{PREFIX}{}", self.0)
    }

    /// Name of a cursor that is being written.
    pub fn fresh_file(&self) -> String {
        format!("{PREFIX}{}.new", self.0)
    }

    /// Name of the lock of whoever writes the cursor.
    pub fn lock_file(&self) -> String {
        format!("{PREFIX}{}.lock", self.0)
    }

    /// The receiver whose cursor has this name. `None`: it is not a cursor.
    pub fn of_file(name: &OsStr) -> Option<Receiver> {
        name.to_str()?.strip_prefix(PREFIX)?.parse().ok()
    }
}

impl FromStr for Receiver {
    type Err = String;

    fn from_str(text: &str) -> Result<Receiver, String> {
        let is_allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
        if text.is_empty() || text.len() > RECEIVER_BYTES_MAX || !text.chars().all(is_allowed) {
            return Err(format!(
                "`{}` is not a receiver's name: write 1 to {RECEIVER_BYTES_MAX} of a-z, 0-9, - and _",
                text.escape_default()
            ));
        }
        Ok(Receiver(text.to_owned()))
    }
}

impl fmt::Display for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a name in a log directory is that of a cursor, or of a file that belongs to one.
pub fn is_of_cursor(name: &OsStr) -> bool {
    name.to_str().is_some_and(|name| name.starts_with(PREFIX))
}

/// How far a receiver has got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    part: String,
    serial: Serial,
    offset: u64,
    time_ns: Option<i64>,
    sent_bytes: u64,
    refused_lines: u64,
    lost_bytes: u64,
    answer: Option<(i64, String)>,
}

/// Why a cursor's file cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CursorFault {
    /// It is not what was written.
    Damaged,
    /// It is of this version.
    Newer(u64),
}

impl fmt::Display for CursorFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CursorFault::Damaged => f.write_str("it is damaged; delete it to send this log again from its oldest part"),
            CursorFault::Newer(version) => write!(f, "it has version {version}; this program knows {VERSION}"),
        }
    }
}

impl Cursor {
    /// At the beginning of the part of this stem and serial; nothing was sent yet.
    ///
    /// # Panics
    /// If the stem is not a word.
    pub fn new(part: &str, serial: Serial) -> Cursor {
        assert!(is_word(part), "{part:?}: a line");
        Cursor {
            part: part.to_owned(),
            serial,
            offset: 0,
            time_ns: None,
            sent_bytes: 0,
            refused_lines: 0,
            lost_bytes: 0,
            answer: None,
        }
    }

    /// The stem of its part.
    pub fn part(&self) -> &str {
        &self.part
    }

    /// Its log, and which part of it that is.
    pub fn serial(&self) -> Serial {
        self.serial
    }

    /// Raw bytes of its part that stand before it.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The time that the last line before it was sent with, ns since the epoch. `None`: none was sent.
    pub fn time_ns(&self) -> Option<i64> {
        self.time_ns
    }

    /// Raw bytes that the receiver has taken.
    pub fn sent_bytes(&self) -> u64 {
        self.sent_bytes
    }

    /// Lines that it refused.
    pub fn refused_lines(&self) -> u64 {
        self.refused_lines
    }

    /// Raw bytes that were removed before they were sent.
    pub fn lost_bytes(&self) -> u64 {
        self.lost_bytes
    }

    /// The last answer, and when it came, ns since the epoch. `None`: there was none yet.
    pub fn answer(&self) -> Option<(i64, &str)> {
        self.answer.as_ref().map(|(at_ns, text)| (*at_ns, text.as_str()))
    }

    /// Goes on to the beginning of another part of its log.
    ///
    /// # Panics
    /// It is of another log, or its stem is not a word.
    pub fn enter(&mut self, part: &str, serial: Serial) {
        assert!(is_word(part) && serial.log == self.serial.log, "{part:?}, {serial:?}: a line, of {:?}", self.serial);
        (self.part, self.serial, self.offset) = (part.to_owned(), serial, 0);
    }

    /// Goes on in its part, behind a line of this time.
    pub fn pass(&mut self, offset: u64, time_ns: i64) {
        assert!(offset >= self.offset, "{} to {offset}: a cursor never goes back", self.offset);
        (self.offset, self.time_ns) = (offset, Some(time_ns));
    }

    /// The receiver took so many raw bytes.
    pub fn count_sent(&mut self, bytes: u64) {
        self.sent_bytes = self.sent_bytes.saturating_add(bytes);
    }

    /// It refused so many lines.
    pub fn count_refused(&mut self, lines: u64) {
        self.refused_lines = self.refused_lines.saturating_add(lines);
    }

    /// So many raw bytes were removed before they were sent.
    pub fn count_lost(&mut self, bytes: u64) {
        self.lost_bytes = self.lost_bytes.saturating_add(bytes);
    }

    /// It answered so at that time.
    pub fn note_answer(&mut self, at_ns: i64, answer: &str) {
        let mut text = String::new();
        push_escaped(&answer.replace(['\n', '\r', '\t'], " "), &mut text);
        self.answer = Some((at_ns, text.trim().chars().take(ANSWER_CHARS_MAX).collect()));
    }

    /// What the file says.
    pub fn text(&self) -> String {
        let Serial { log, number, offset: begin } = self.serial;
        let mut lines = vec![
            format!("standpipe-cursor {VERSION}"),
            format!("log {log}"),
            format!("part {}", self.part),
            format!("number {number}"),
            format!("begin {begin}"),
            format!("offset {}", self.offset),
            format!("sent {}", self.sent_bytes),
            format!("refused {}", self.refused_lines),
            format!("lost {}", self.lost_bytes),
        ];
        lines.extend(self.time_ns.map(|time_ns| format!("time {}", moment(time_ns))));
        if let Some((at_ns, answer)) = &self.answer {
            lines.extend([format!("answered {}", moment(*at_ns)), format!("answer {answer}")]);
        }
        let body = lines.join("\n") + "\n";
        let crc = crc32fast::hash(body.as_bytes());
        format!("{body}crc {crc:08x}\n")
    }

    /// Reads it back.
    pub fn parse(bytes: &[u8]) -> Result<Cursor, CursorFault> {
        let text = str::from_utf8(bytes).map_err(|_| CursorFault::Damaged)?;
        let body = checked(text).ok_or(CursorFault::Damaged)?;
        match first_number(body) {
            Some(VERSION) => Cursor::of_body(body).ok_or(CursorFault::Damaged),
            Some(version) if version > VERSION => Err(CursorFault::Newer(version)),
            _ => Err(CursorFault::Damaged),
        }
    }

    fn of_body(body: &str) -> Option<Cursor> {
        let value = |key: &str| {
            let mut lines = body.lines();
            lines.find_map(|line| line.strip_prefix(key)?.strip_prefix(' '))
        };
        let number = |key: &str| value(key)?.parse::<u64>().ok();
        let time_ns = |key: &str| i64::try_from(value(key)?.parse::<Timestamp>().ok()?.as_nanosecond()).ok();
        Some(Cursor {
            part: value("part").filter(|part| is_word(part))?.to_owned(),
            serial: Serial { log: value("log")?.parse().ok()?, number: number("number")?, offset: number("begin")? },
            offset: number("offset")?,
            time_ns: time_ns("time"),
            sent_bytes: number("sent")?,
            refused_lines: number("refused")?,
            lost_bytes: number("lost")?,
            answer: time_ns("answered").zip(value("answer").map(str::to_owned)),
        })
    }
}

/// What stands before the checksum, if that is right. It stands last in every version.
fn checked(text: &str) -> Option<&str> {
    let body_bytes = text.strip_suffix('\n')?.rfind('\n')? + 1;
    let (body, last) = text.split_at(body_bytes);
    let crc = last.strip_prefix("crc ")?.strip_suffix('\n')?;
    (crc == format!("{:08x}", crc32fast::hash(body.as_bytes()))).then_some(body)
}

fn first_number(body: &str) -> Option<u64> {
    body.lines().next()?.strip_prefix(str::from_utf8(BEGIN).ok()?)?.parse().ok()
}

/// A time that no file can have is the earliest or the latest of those that can be written.
fn moment(ns: i64) -> Timestamp {
    let outside = if ns < 0 { Timestamp::MIN } else { Timestamp::MAX };
    Timestamp::from_nanosecond(i128::from(ns)).unwrap_or(outside)
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && !text.contains(|c: char| c.is_control())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn serial(number: u64) -> Serial {
        Serial { log: "0f1e2d3c4b5a69788796a5b4c3d2e1f0".parse().unwrap(), number, offset: number << 40 }
    }

    fn cursor() -> Cursor {
        let mut cursor = Cursor::new("2026-11-21T10-00-00.000000Z", serial(17));
        cursor.pass(52_300, 1_795_255_200_123_456_789);
        cursor.count_sent(1 << 50);
        cursor.count_refused(3);
        cursor.count_lost(1 << 33);
        cursor.note_answer(1_795_255_201_000_000_000, "503 try\r\nlater\u{1b}[2J");
        cursor
    }

    #[test]
    fn what_was_written_comes_back() {
        let fresh = Cursor::new("app 2026-000", serial(0));
        let mut early = fresh.clone();
        early.pass(0, i64::MIN / 2);
        let mut other = cursor();
        other.enter("later", serial(18));
        for cursor in [fresh, early, other, cursor()] {
            let text = cursor.text();
            assert!(text.len() as u64 <= FILE_BYTES_MAX && text.as_bytes().starts_with(BEGIN), "{text}");
            assert_eq!(Cursor::parse(text.as_bytes()), Ok(cursor), "{text}");
        }
    }

    #[test]
    fn an_answer_is_one_line_and_has_an_end() {
        let said = |text: &str| {
            let mut cursor = cursor();
            cursor.note_answer(5, text);
            assert_eq!(Cursor::parse(cursor.text().as_bytes()), Ok(cursor.clone()), "{text:?}");
            cursor.answer().unwrap().1.to_owned()
        };
        assert_eq!(said("503 try\nlater\u{1b}[2J "), "503 try later\\x1b[2J");
        assert_eq!(said(&"ä".repeat(1000)).chars().count(), ANSWER_CHARS_MAX);
        assert_eq!(said(""), "");
        assert_eq!(said("\ncrc 00000000\n"), "crc 00000000");
    }

    #[test]
    fn every_flip_and_every_cut_is_noticed() {
        let good = cursor().text().into_bytes();
        for at in 0..good.len() {
            assert_eq!(Cursor::parse(&good[..at]), Err(CursorFault::Damaged), "cut at {at}");
            for bit in 0..8 {
                let mut bytes = good.clone();
                bytes[at] ^= 1 << bit;
                assert_eq!(Cursor::parse(&bytes), Err(CursorFault::Damaged), "bit {bit} of byte {at}");
            }
        }
        for blank in [&b""[..], &[0; 300], b"standpipe-cursor 1\n", b"\n\n"] {
            assert_eq!(Cursor::parse(blank), Err(CursorFault::Damaged), "{blank:?}");
        }
    }

    #[test]
    fn a_later_version_is_named_and_not_called_damage() {
        let body = "standpipe-cursor 2\nplace elsewhere\n";
        let text = format!("{body}crc {:08x}\n", crc32fast::hash(body.as_bytes()));
        assert_eq!(Cursor::parse(text.as_bytes()), Err(CursorFault::Newer(2)));
    }

    #[test]
    fn a_sound_checksum_does_not_vouch_for_nonsense() {
        for (from, to) in [
            ("log 0f1e", "log "),
            ("number 17", "number"),
            ("offset 52300", "offset -1"),
            ("sent ", "send "),
            ("part ", "port "),
        ] {
            let body = checked(&cursor().text()).unwrap().replace(from, to);
            let text = format!("{body}crc {:08x}\n", crc32fast::hash(body.as_bytes()));
            assert_eq!(Cursor::parse(text.as_bytes()), Err(CursorFault::Damaged), "{to}");
        }
    }

    #[test]
    #[should_panic(expected = "a cursor never goes back")]
    fn a_cursor_does_not_go_back() {
        cursor().pass(52_299, 0);
    }

    #[test]
    fn a_cursor_is_found_by_its_name_and_the_files_beside_it_are_none() {
        let receiver: Receiver = "otlp-2".parse().unwrap();
        let of = |name: &str| Receiver::of_file(OsStr::new(name));
        assert_eq!(of(&receiver.file()), Some(receiver.clone()));
        for name in [receiver.fresh_file(), receiver.lock_file(), ".cursor-".to_owned(), "cursor-a".to_owned()] {
            assert_eq!(of(&name), None, "{name}");
        }
        assert!(
            [receiver.file(), receiver.fresh_file(), receiver.lock_file()].iter().all(|n| is_of_cursor(n.as_ref()))
        );
        for name in ["", "A", "a.b", "a/b", "ä", &"a".repeat(65)] {
            assert!(name.parse::<Receiver>().unwrap_err().contains("is not a receiver's name"), "{name}");
        }
    }
}
