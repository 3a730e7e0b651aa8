//! Numbers, spans and texts of a status file as people are shown them.
//!
//! Such a file can say anything, so nothing here trusts its argument: what cannot be is `?`, and what a terminal would
//! obey is made visible.

use std::time::Duration;

/// What nobody knows.
pub const UNKNOWN: &str = "?";

/// A count. One that is below zero as a signed number is nonsense.
pub fn number(count: u64) -> String {
    i64::try_from(count).map_or_else(|_| UNKNOWN.to_owned(), |count| count.to_string())
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

/// Control characters made visible.
pub fn harmless(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
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
        assert_eq!(harmless("a\x1b[2J\u{9b}"), "a\\u{1b}[2J\\u{9b}");
        for (then, now, shown) in [(0, 5, "?"), (5_000_000_000, 0, "0s"), (1, 2_000_000_001, "2s"), (u64::MAX, 1, "?")]
        {
            assert_eq!(age(then, now), shown, "{then} {now}");
        }
    }
}
