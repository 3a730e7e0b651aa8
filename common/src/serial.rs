//! Which part of which log something is: what an archive, a line that is shipped and a reader's place say of their origin.
//!
//! A log has an id of 128 random bits, made with its directory. Its parts are numbered 0, 1, 2 … in the order in which
//! they are sealed, and begin at a byte of the log: the sum of the raw bytes of all parts before. Both never change and
//! are never given twice, whatever is archived, removed or renamed. An empty part has none: the next one takes them.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::str::FromStr;

/// Bytes of a log's id.
pub const LOG_ID_BYTES: usize = 16;

/// The id of a log; never all zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogId([u8; LOG_ID_BYTES]);

impl LogId {
    /// A new one.
    ///
    /// # Errors
    /// The kernel gives no random numbers.
    pub fn random() -> io::Result<LogId> {
        let mut source = File::open("/dev/urandom")?;
        loop {
            let mut bytes = [0; LOG_ID_BYTES];
            source.read_exact(&mut bytes)?;
            if let Some(id) = LogId::from_bytes(bytes) {
                return Ok(id);
            }
        }
    }

    /// `None`: zeros stand for no id.
    pub fn from_bytes(bytes: [u8; LOG_ID_BYTES]) -> Option<LogId> {
        (bytes != [0; LOG_ID_BYTES]).then_some(LogId(bytes))
    }

    /// In the order of its digits.
    pub fn to_bytes(self) -> [u8; LOG_ID_BYTES] {
        debug_assert!(self.0 != [0; LOG_ID_BYTES], "zeros stand for no id");
        self.0
    }
}

/// 32 hexadecimal digits.
impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

/// The text is no id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotALogId;

impl FromStr for LogId {
    type Err = NotALogId;

    fn from_str(text: &str) -> Result<LogId, NotALogId> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() != 2 * LOG_ID_BYTES || !text.bytes().all(is_digit) {
            return Err(NotALogId);
        }
        let number = u128::from_str_radix(text, 16).map_err(|_| NotALogId)?;
        LogId::from_bytes(number.to_be_bytes()).ok_or(NotALogId)
    }
}

/// Which part of which log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Serial {
    /// The log.
    pub log: LogId,
    /// How many parts came before it.
    pub number: u64,
    /// How many raw bytes came before it.
    pub offset: u64,
}

impl Serial {
    /// That of the first part of a log.
    pub fn first(log: LogId) -> Serial {
        Serial { log, number: 0, offset: 0 }
    }

    /// That of the part after one of so many raw bytes.
    #[must_use]
    pub fn after(self, raw_bytes: u64) -> Serial {
        let number = self.number.saturating_add(u64::from(raw_bytes > 0));
        Serial { number, offset: self.offset.saturating_add(raw_bytes), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_its_digits_and_nothing_else_is_one() {
        let id: LogId = "00112233445566778899aabbccddeeff".parse().unwrap();
        assert_eq!(id.to_bytes()[..4], [0x00, 0x11, 0x22, 0x33]);
        assert_eq!(id.to_string(), "00112233445566778899aabbccddeeff");
        for text in [
            "",
            "0",
            &"0".repeat(32),
            &"g".repeat(32),
            &"A".repeat(32),
            &"a".repeat(33),
            &format!("+{}", "a".repeat(31)),
        ] {
            assert_eq!(text.parse::<LogId>(), Err(NotALogId), "{text}");
        }
        assert_ne!(LogId::random().unwrap(), LogId::random().unwrap());
    }

    #[test]
    fn an_empty_part_takes_no_number() {
        let first = Serial::first(LogId([1; LOG_ID_BYTES]));
        assert_eq!(first.after(0), first);
        assert_eq!(first.after(10).after(5), Serial { number: 2, offset: 15, ..first });
    }
}
