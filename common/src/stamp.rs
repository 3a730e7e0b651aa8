//! What is put before each line: a stamp of its arrival time, one space, and a prefix.
//!
//! Invariants: what is put in contains no newline and is at most [`TEXT_MAX`] bytes; both are checked when the
//! configuration is read, so rendering cannot fail. A line that has no stamp and no prefix is left alone. Reading
//! stamps back is deliberately not here: arrival times are kept beside the text, never taken from it.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::fmt::StdIoWrite;
use jiff::fmt::strtime::{self, BrokenDownTime};
use jiff::tz::TimeZone;
use std::io::Write;

use crate::units::{Value, parses_as_value};

/// Most bytes that are put before a line: stamp, space and prefix.
pub const TEXT_MAX: usize = 1024;
/// Most bytes of a prefix.
pub const PREFIX_MAX: usize = 512;
/// Most bytes of a stamp.
const STAMP_MAX: usize = TEXT_MAX - PREFIX_MAX - 1;
/// Most bytes by which one `%Q` or `%Z` may be longer in another zone than in UTC: zone names have up to 32.
const ZONE_MARGIN: usize = 40;
/// A Wednesday in September, the longest of their kinds, with a fraction: 2026-09-30T23:59:59.123456789Z.
const LONGEST_NS: i64 = 1_790_812_799_123_456_789;

const NS_PER_SECOND: i64 = 1_000_000_000;

/// Which stamp.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stamp {
    /// No stamp.
    None,
    /// `2026-11-21T10:00:00.000000Z`, with an offset such as `+01:00` where the zone is not UTC.
    Iso,
    /// `@` and 24 hex digits as multilog and svlogd write them: 2^62 + 10 + Unix seconds, then the ns.
    Tai64n,
    /// The same with 37 for 10, the distance of TAI from UTC since 2017, as s6-log writes it.
    Tai64nS6,
    /// A strftime pattern that has been rendered once.
    Pattern(String),
}

parses_as_value!(Stamp);

impl Value for Stamp {
    const EXPECTED: &'static str = "\"none\", \"iso\", \"tai64n\", \"tai64n-s6\" or a strftime pattern";

    fn from_text(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Stamp::None),
            "iso" => Ok(Stamp::Iso),
            "tai64n" => Ok(Stamp::Tai64n),
            "tai64n-s6" => Ok(Stamp::Tai64nS6),
            _ if text.contains('%') => check_pattern(text).map(|()| Stamp::Pattern(text.to_string())),
            _ => Err(format!(
                "unknown stamp `{text}`: write none, iso, tai64n, tai64n-s6 or a strftime pattern such as %F %T"
            )),
        }
    }

    fn from_integer(number: u64) -> Result<Self, String> {
        Err(format!("{number} is not a stamp: write {}", Self::EXPECTED))
    }
}

/// Renders once, in UTC, what renders longest.
fn check_pattern(pattern: &str) -> Result<(), String> {
    let time = timestamp(LONGEST_NS).to_zoned(TimeZone::UTC);
    let text = strtime::format(pattern, &time).map_err(|cause| format!("not a strftime pattern: {cause}"))?;
    if text.contains(|c: char| c.is_control() && c != '\t') {
        return Err("a stamp cannot contain a newline or another control character".into());
    }
    let longest = text.len() + pattern.matches(['Q', 'Z']).count() * ZONE_MARGIN;
    if longest > STAMP_MAX {
        return Err(format!("the stamp would have up to {longest} bytes; at most {STAMP_MAX} are allowed"));
    }
    Ok(())
}

/// Everything that is put before a line, ready to be rendered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamper {
    /// Which stamp.
    pub stamp: Stamp,
    /// The zone of `iso` and of patterns.
    pub zone: TimeZone,
    /// Put in verbatim after the stamp; no newline, at most [`PREFIX_MAX`] bytes.
    pub prefix: String,
}

impl Default for Stamper {
    /// Puts in nothing.
    fn default() -> Stamper {
        Stamper { stamp: Stamp::None, zone: TimeZone::UTC, prefix: String::new() }
    }
}

impl Stamper {
    /// Whether nothing is put in, at any time.
    pub fn is_plain(&self) -> bool {
        self.stamp == Stamp::None && self.prefix.is_empty()
    }

    /// Appends stamp, space and prefix for a line that arrived at `time_ns` (ns since the epoch).
    pub fn render(&self, time_ns: i64, out: &mut Vec<u8>) {
        match &self.stamp {
            Stamp::None => {}
            Stamp::Iso => self.render_iso(time_ns, out),
            Stamp::Tai64n => render_tai64n(time_ns, 10, out),
            Stamp::Tai64nS6 => render_tai64n(time_ns, 37, out),
            Stamp::Pattern(pattern) => self.render_pattern(pattern, time_ns, out),
        }
        if self.stamp != Stamp::None {
            out.push(b' ');
        }
        out.extend_from_slice(self.prefix.as_bytes());
    }

    fn render_iso(&self, time_ns: i64, out: &mut Vec<u8>) {
        let timestamp = timestamp(time_ns);
        let offset = self.zone.to_offset(timestamp);
        push_civil(offset.to_datetime(timestamp), out);
        if self.zone == TimeZone::UTC {
            out.push(b'Z');
            return;
        }
        let minutes = offset.seconds().unsigned_abs() / 60;
        out.push(if offset.is_negative() { b'-' } else { b'+' });
        push_digits(minutes / 60, 2, out);
        out.push(b':');
        push_digits(minutes % 60, 2, out);
    }

    fn render_pattern(&self, pattern: &str, time_ns: i64, out: &mut Vec<u8>) {
        let start = out.len();
        let time = timestamp(time_ns).to_zoned(self.zone.clone());
        // The pattern was rendered once when it was read. Should another time still refuse it, a line keeps its time.
        if BrokenDownTime::from(&time).format(pattern, StdIoWrite(&mut *out)).is_err() {
            out.truncate(start);
            self.render_iso(time_ns, out);
        }
    }
}

/// Any `i64` of nanoseconds lies within the years that jiff knows.
fn timestamp(time_ns: i64) -> Timestamp {
    Timestamp::from_nanosecond(i128::from(time_ns)).unwrap_or_default()
}

/// `2026-11-21T10:00:00.000000`
fn push_civil(time: DateTime, out: &mut Vec<u8>) {
    push_digits(time.year().unsigned_abs().into(), 4, out);
    for (before, number) in
        [(b'-', time.month()), (b'-', time.day()), (b'T', time.hour()), (b':', time.minute()), (b':', time.second())]
    {
        out.push(before);
        push_digits(number.unsigned_abs().into(), 2, out);
    }
    out.push(b'.');
    push_digits(time.subsec_nanosecond().unsigned_abs() / 1000, 6, out);
}

/// The last `width` decimal digits of a number, with leading zeros.
fn push_digits(mut number: u32, width: usize, out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + width, b'0');
    for digit in out[start..].iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// Label format: <https://cr.yp.to/libtai/tai64.html>. `offset` are the seconds by which TAI is ahead.
fn render_tai64n(time_ns: i64, offset: i64, out: &mut Vec<u8>) {
    let seconds = (1 << 62) + offset + time_ns.div_euclid(NS_PER_SECOND);
    let _infallible = write!(out, "@{seconds:016x}{:08x}", time_ns.rem_euclid(NS_PER_SECOND));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-21T10:00:00.000001999Z
    const TIME_NS: i64 = 1_795_255_200_000_001_999;

    fn rendered(stamp: &str, zone: &str, prefix: &str, time_ns: i64) -> String {
        let zone = if zone == "UTC" { TimeZone::UTC } else { TimeZone::get(zone).unwrap() };
        let stamper = Stamper { stamp: stamp.parse().unwrap(), zone, prefix: prefix.to_string() };
        let mut out = Vec::new();
        stamper.render(time_ns, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_stamp_is_followed_by_one_space_and_the_prefix() {
        for (stamp, zone, prefix, text) in [
            ("none", "UTC", "", ""),
            ("none", "UTC", "web1: ", "web1: "),
            ("iso", "UTC", "", "2026-11-21T10:00:00.000001Z "),
            ("iso", "UTC", "web1:", "2026-11-21T10:00:00.000001Z web1:"),
            ("iso", "Europe/Berlin", "", "2026-11-21T11:00:00.000001+01:00 "),
            ("iso", "America/St_Johns", "", "2026-11-21T06:30:00.000001-03:30 "),
            ("tai64n", "UTC", "", "@400000006b016baa000007cf "),
            ("tai64n-s6", "Europe/Berlin", "", "@400000006b016bc5000007cf "),
            ("%F %T", "Europe/Berlin", "", "2026-11-21 11:00:00 "),
            ("%b %e %H:%M:%S web1", "UTC", "", "Nov 21 10:00:00 web1 "),
            ("100%%", "UTC", "", "100% "),
        ] {
            assert_eq!(rendered(stamp, zone, prefix, TIME_NS), text, "{stamp} in {zone}");
        }
    }

    #[test]
    fn iso_agrees_with_jiff_at_every_kind_of_time() {
        for time_ns in [0, -1, 951_782_400_000_000_000, LONGEST_NS, 4_102_444_799_999_999_999, i64::MIN, i64::MAX] {
            let expected = timestamp(time_ns).strftime("%Y-%m-%dT%H:%M:%S.%6fZ ").to_string();
            assert_eq!(rendered("iso", "UTC", "", time_ns), expected);
        }
    }

    #[test]
    fn tai64n_counts_from_the_label_of_1970() {
        for (time_ns, label) in
            [(0, "@400000000000000a00000000 "), (-1, "@40000000000000093b9ac9ff "), (1, "@400000000000000a00000001 ")]
        {
            assert_eq!(rendered("tai64n", "UTC", "", time_ns), label);
        }
        assert_eq!(rendered("tai64n-s6", "UTC", "", 0), "@400000000000002500000000 ");
    }

    #[test]
    fn what_cannot_be_a_stamp_is_refused() {
        for (text, complaint) in [
            ("is0", "unknown stamp `is0`"),
            ("", "unknown stamp"),
            ("ISO", "unknown stamp"),
            ("%F %&", "not a strftime pattern"),
            ("%", "not a strftime pattern"),
            ("%T%n", "cannot contain a newline"),
            ("%T\u{1b}", "control character"),
            ("%500d", ""),
        ] {
            let refusal = Stamp::from_text(text).unwrap_err();
            assert!(refusal.contains(complaint), "{text}: {refusal}");
        }
        assert!(Stamp::from_text(&"%B".repeat(60)).unwrap_err().contains("540 bytes"));
        assert!(Stamp::from_text(&"%Q".repeat(20)).unwrap_err().contains("at most 511"));
        assert_eq!("%F%t%T".parse(), Ok(Stamp::Pattern("%F%t%T".to_string())));
    }

    #[test]
    fn what_is_put_in_never_passes_its_limit() {
        let longest_zone = "America/Argentina/ComodRivadavia";
        for pattern in ["%B %A".repeat(26), "%Q".repeat(10), "x".repeat(509) + "%%"] {
            let text = rendered(&pattern, longest_zone, &"p".repeat(PREFIX_MAX), LONGEST_NS);
            assert!(text.len() <= TEXT_MAX, "{pattern}: {}", text.len());
        }
    }

    #[test]
    fn only_a_stamper_that_puts_in_nothing_is_plain() {
        assert!(Stamper::default().is_plain());
        assert!(!Stamper { prefix: "x".to_string(), ..Stamper::default() }.is_plain());
        assert!(!Stamper { stamp: Stamp::Iso, ..Stamper::default() }.is_plain());
    }
}
