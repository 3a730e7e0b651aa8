//! Numbers, spans and texts of a status file, and lines of a log, as people are shown them.
//!
//! Both can say anything, so nothing here trusts its argument: what cannot be is `?`, and what a terminal would obey is
//! made visible. So it is with each path and each name in a sentence, by [`Shown`]: nobody adds a line to a message by
//! what he calls his file.

use std::ffi::OsStr;
use std::fmt::Write;
use std::time::Duration;

use crate::name::Printable;

/// What nobody knows.
pub const UNKNOWN: &str = "?";

/// A count. One that is below zero as a signed number is nonsense.
pub fn number(count: u64) -> String {
    i64::try_from(count).map_or_else(|_| UNKNOWN.to_owned(), |count| count.to_string())
}

/// A count with what is counted: `1 pipe`, `2 pipes`.
pub fn counted(count: u64, noun: &str) -> String {
    format!("{} {noun}{}", number(count), if count == 1 { "" } else { "s" })
}

/// Bytes in the largest unit that leaves a digit before the point.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if i64::try_from(bytes).is_err() {
        return UNKNOWN.to_owned();
    }
    let power = (bytes.max(1).ilog2() / 10) as usize;
    match power.checked_sub(1) {
        None => format!("{bytes} B"),
        Some(unit) => format!("{:.1} {}", bytes as f64 / 1024_f64.powi(power as i32), UNITS[unit]),
    }
}

/// A span in its largest unit, `0s` to days.
pub fn span(ns: u64) -> String {
    let seconds = Duration::from_nanos(ns).as_secs();
    let (count, unit) = match seconds {
        0..60 => (seconds, "s"),
        60..3600 => (seconds / 60, "m"),
        3600..86_400 => (seconds / 3600, "h"),
        _ => (seconds / 86_400, "d"),
    };
    format!("{count}{unit}")
}

/// How long ago that was, ns. `None`: that was never, or will be later than a clock can have been set back.
pub fn passed_ns(then_ns: u64, now_ns: i64) -> Option<u64> {
    const CLOCK_STEP_NS: i64 = 60_000_000_000;
    let passed = now_ns.checked_sub(i64::try_from(then_ns).ok().filter(|then| *then != 0)?)?;
    (passed >= -CLOCK_STEP_NS).then(|| u64::try_from(passed).unwrap_or(0))
}

/// The same in words.
pub fn age(then_ns: u64, now_ns: i64) -> String {
    passed_ns(then_ns, now_ns).map_or_else(|| UNKNOWN.to_owned(), span)
}

/// Whether a terminal obeys this character instead of showing it, or shows others in another order because of it.
pub fn steers(c: char) -> bool {
    let turns = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    turns || c.is_control()
}

/// A path, a name or another foreign text as it stands in a sentence.
pub trait Shown {
    /// On one line, and with nothing that a terminal obeys.
    fn shown(&self) -> Printable<'_>;
}

impl<T: AsRef<OsStr> + ?Sized> Shown for T {
    fn shown(&self) -> Printable<'_> {
        Printable(self.as_ref())
    }
}

/// The same as a text.
pub fn harmless(text: &str) -> String {
    text.shown().to_string()
}

/// Appends our own lines with what slipped into them: all but tabs and the ends of lines is made visible.
pub fn push_escaped(lines: &str, text: &mut String) {
    for c in lines.chars() {
        if c.is_control() && c != '\t' && c != '\n' {
            let _infallible = write!(text, "\\x{:02x}", u32::from(c));
        } else if steers(c) && c != '\t' && c != '\n' {
            text.extend(c.escape_unicode());
        } else {
            text.push(c);
        }
    }
}

/// Appends bytes of a log as a terminal is shown them: lines and tabs as they are, everything visible that would not
/// just be text, as `^[`, `\xff`, `\u{202e}`. For whoever writes a log could otherwise steer the terminal of whoever
/// reads it.
pub fn push_visible(bytes: &[u8], shown: &mut Vec<u8>) {
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\n' | '\t' => shown.push(c as u8),
                '\0'..='\x1f' => shown.extend([b'^', c as u8 + 0x40]),
                '\x7f' => shown.extend(b"^?"),
                c if steers(c) => shown.extend(c.escape_unicode().map(|c| c as u8)),
                c => shown.extend(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        shown.extend(chunk.invalid().iter().flat_map(|byte| std::ascii::escape_default(*byte)));
    }
}

/// The same of a JSON text, which it remains. A newline is none of its strings' and stays.
pub fn visible_json(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if steers(c) && c != '\n' {
            let _infallible = write!(shown, "\\u{:04x}", u32::from(c));
        } else {
            shown.push(c);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_for_people() {
        for (bytes, shown) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1_572_864, "1.5 MiB"),
            (u64::MAX / 2, "8.0 EiB"),
            (u64::MAX, "?"),
        ] {
            assert_eq!(size(bytes), shown);
        }
        for (ns, shown) in [
            (0, "0s"),
            (59_999_999_999, "59s"),
            (60_000_000_000, "1m"),
            (86_399_000_000_000, "23h"),
            (u64::MAX, "213503d"),
        ] {
            assert_eq!(span(ns), shown);
        }
        assert_eq!((number(7), number(u64::MAX)), ("7".to_owned(), "?".to_owned()));
        assert_eq!(harmless("a\x1b[2J\n\u{9b}\u{202e}"), "a\\x1b[2J\\n\\x9b\\u{202e}");
        for (then, now, shown) in [(0, 5, "?"), (5_000_000_000, 0, "0s"), (1, 2_000_000_001, "2s"), (u64::MAX, 1, "?")]
        {
            assert_eq!(age(then, now), shown, "{then} {now}");
        }
    }

    #[test]
    fn nothing_of_a_log_steers_a_terminal() {
        let cases: [(&[u8], &str); 7] = [
            (b"plain\ttext\n", "plain\ttext\n"),
            (b"\x1b[31mred\r\n", "^[[31mred^M\n"),
            (b"nul\0del\x7f", "nul^@del^?"),
            (b"bad \xff byte", "bad \\xff byte"),
            ("umlaut \u{e4}, c1 \u{9b}31m".as_bytes(), "umlaut \u{e4}, c1 \\u{9b}31m"),
            ("\u{202e}gpj.exe".as_bytes(), "\\u{202e}gpj.exe"),
            ("\u{61c}\u{2066}".as_bytes(), "\\u{61c}\\u{2066}"),
        ];
        for (bytes, expected) in cases {
            let mut shown = Vec::new();
            push_visible(bytes, &mut shown);
            assert_eq!(String::from_utf8(shown).unwrap(), expected);
        }
        assert_eq!(visible_json("{\"a\":\"\u{9b}\u{202e}\u{e4}\"}"), "{\"a\":\"\\u009b\\u202e\u{e4}\"}");
    }
}
