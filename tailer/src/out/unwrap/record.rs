//! What a record of a container runtime says. Pure.
//!
//! Docker's json-file: an object a line, `log` with the newline that ends a line, `stream`, `time`. Containerd and CRI-O:
//! `TIME stdout F text`, with `P` for a piece that is not the last.

use jiff::Timestamp;

use crate::out::fields::members;
use crate::out::timestamp::Time;

/// Who wrote it: a piece goes on with one of the same stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    Stdout,
    Stderr,
    /// Docker need not say.
    Other,
}

impl Stream {
    pub(super) const ALL: [Stream; 3] = [Stream::Stdout, Stream::Stderr, Stream::Other];
}

/// A line, or a piece of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub stream: Stream,
    pub time: Option<Time>,
    /// Without a newline.
    pub bytes: Vec<u8>,
    /// The line ends with it.
    pub is_last: bool,
}

/// `None`: it is no such record, or its line has another newline in it.
pub(super) fn docker(line: &[u8]) -> Option<Piece> {
    let (mut bytes, mut stream, mut at) = (None, Stream::Other, None);
    if line.last() != Some(&b'}') {
        return None;
    }
    for member in members(line) {
        match member.key {
            b"log" if member.is_quoted => bytes = Some(unescape(member.value)?),
            b"stream" => stream = named(member.value).unwrap_or(Stream::Other),
            b"time" => at = time(member.value),
            _ => {}
        }
    }
    let mut bytes = bytes?;
    let is_last = bytes.last() == Some(&b'\n');
    if is_last {
        bytes.pop();
    }
    (!bytes.contains(&b'\n')).then_some(Piece { stream, time: at, bytes, is_last })
}

/// `None`: it is no such record.
pub(super) fn cri(line: &[u8]) -> Option<Piece> {
    let mut words = line.splitn(4, |byte| *byte == b' ');
    let time = time(words.next()?)?;
    let stream = named(words.next()?)?;
    // Tags behind the first, and a colon, are for later versions.
    let is_last = match words.next()?.split(|byte| *byte == b':').next()? {
        b"F" => true,
        b"P" => false,
        _ => return None,
    };
    Some(Piece { stream, time: Some(time), bytes: words.next().unwrap_or_default().to_vec(), is_last })
}

fn named(stream: &[u8]) -> Option<Stream> {
    match stream {
        b"stdout" => Some(Stream::Stdout),
        b"stderr" => Some(Stream::Stderr),
        _ => None,
    }
}

/// RFC 3339, with the digits that it has.
fn time(text: &[u8]) -> Option<Time> {
    let text = str::from_utf8(text).ok()?;
    let ns = i64::try_from(text.parse::<Timestamp>().ok()?.as_nanosecond()).ok()?;
    let fraction = text.split_once('.').map_or("", |(_, fraction)| fraction);
    let digits = fraction.bytes().take_while(u8::is_ascii_digit).count().min(9);
    Some(Time { ns, digits: digits as u8 })
}

/// A JSON text without its escapes. Half a surrogate is a replacement character. `None`: an escape is wrong.
fn unescape(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        bytes.extend_from_slice(&rest[..at]);
        let escape = *rest.get(at + 1)?;
        rest = &rest[at + 2..];
        let plain = match escape {
            b'"' | b'\\' | b'/' => escape,
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let (c, len) = code_point(rest)?;
                bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                rest = &rest[len..];
                continue;
            }
            _ => return None,
        };
        bytes.push(plain);
    }
    bytes.extend_from_slice(rest);
    Some(bytes)
}

/// Behind `\u`: four digits, or two times four of a pair; and how many bytes that is.
fn code_point(text: &[u8]) -> Option<(char, usize)> {
    let unit = |at: usize| u16::from_str_radix(str::from_utf8(text.get(at..at + 4)?).ok()?, 16).ok();
    let first = unit(0)?;
    if (0xD800..0xDC00).contains(&first)
        && text[4..].starts_with(b"\\u")
        && let Some(second) = unit(6)
        && let Some(Ok(c)) = char::decode_utf16([first, second]).next()
    {
        return Some((c, 10));
    }
    Some((char::from_u32(first.into()).unwrap_or(char::REPLACEMENT_CHARACTER), 4))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(piece: &Piece) -> (&str, bool) {
        (str::from_utf8(&piece.bytes).unwrap(), piece.is_last)
    }

    #[test]
    fn records_of_docker() {
        for (line, bytes, is_last, stream) in [
            (
                r#"{"log":"one\n","stream":"stdout","time":"2026-11-28T10:00:00.000000001Z"}"#,
                "one",
                true,
                Stream::Stdout,
            ),
            (r#"{"log": "half", "stream": "stderr", "time": "2026-11-28T10:00:00Z"}"#, "half", false, Stream::Stderr),
            (r#"{"log":"\n","time":"2026-11-28T10:00:00Z","attrs":{"a":"b"}}"#, "", true, Stream::Other),
            (
                r#"{"log":"\u00e9 \ud83d\ude00 \"q\" \\ \/ \u001b[0m\tx\r\n"}"#,
                "\u{e9} \u{1f600} \"q\" \\ / \u{1b}[0m\tx\r",
                true,
                Stream::Other,
            ),
            (r#"{"log":"\ud800 \udc00x\n"}"#, "\u{fffd} \u{fffd}x", true, Stream::Other),
        ] {
            let piece = docker(line.as_bytes()).unwrap_or_else(|| panic!("{line}"));
            assert_eq!((text(&piece), piece.stream), ((bytes, is_last), stream), "{line}");
        }
        for line in [
            "",
            "{}",
            r#"{"log":5}"#,
            r#"{"log":"\x"}"#,
            r#"{"log":"a\nb\n"}"#,
            r#"{"log":"cut"#,
            r#"{"log":"\u12"}"#,
            "plain",
        ] {
            assert_eq!(docker(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn records_of_cri() {
        for (line, bytes, is_last) in [
            ("2026-11-28T10:00:00.000000001Z stdout F one", "one", true),
            ("2026-11-28T10:00:00+01:00 stderr P  two words ", " two words ", false),
            ("2026-11-28T10:00:00Z stdout F:x ", "", true),
            ("2026-11-28T10:00:00Z stdout F", "", true),
        ] {
            let piece = cri(line.as_bytes()).unwrap_or_else(|| panic!("{line}"));
            assert_eq!(text(&piece), (bytes, is_last), "{line}");
        }
        assert_eq!(cri(b"2026-11-28T10:00:00.120Z stdout F x").unwrap().time.unwrap().digits, 3);
        for line in ["", "plain text of a log", "2026-11-28T10:00:00Z stdout X x", "2026-11-28T10:00:00Z other F x"] {
            assert_eq!(cri(line.as_bytes()), None, "{line}");
        }
    }
}
