//! What may stand under `timestamp`: a form by its name, or a strptime pattern that can be read with.
//!
//! Reading times from lines is deliberately elsewhere.

use jiff::civil::date;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;

use crate::out::timestamp::{Format, NAMED};

/// The names of formats, to be told.
pub fn names() -> String {
    NAMED.map(|(name, _)| format!("`{name}`")).join(", ")
}

/// Why `text` is neither the name of a form nor a pattern that a time can be written and read back with.
pub fn refusal(text: &str) -> Option<String> {
    if Format::of(text) != Format::Pattern(text.to_owned()) {
        return None;
    }
    if !text.contains('%') {
        return Some(format!(
            "`{}` is not a timestamp format: write one of {}, or a strptime pattern such as \"%Y-%m-%d %H:%M:%S\"",
            text.escape_debug(),
            names()
        ));
    }
    impossible(text).map(|cause| format!("cannot read times with `{}`: {cause}", text.escape_debug()))
}

/// Writes a time with the pattern, and reads it back.
fn impossible(pattern: &str) -> Option<String> {
    let sample = date(2026, 11, 21).at(10, 20, 30, 123_456_789).to_zoned(TimeZone::UTC).ok()?;
    let written = match strtime::format(pattern, &sample) {
        Ok(written) => written,
        Err(cause) => return Some(cause.to_string()),
    };
    let mut read = match strtime::parse(pattern, &written) {
        Ok(read) => read,
        Err(cause) => return Some(cause.to_string()),
    };
    if read.timestamp().is_some() {
        return None;
    }
    if read.hour().is_none() {
        return Some("it has no time of day: add %H:%M:%S, or use %s".to_string());
    }
    // The year may be missing, as in syslog: it is the one that is nearest.
    if read.year().is_none() && read.month().is_some() && read.day().is_some() {
        read.set_year(Some(sample.year())).ok()?;
    }
    let no_date = read.to_datetime().is_err();
    no_date.then(|| "it has no date: add %Y-%m-%d, or %b %d".to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_patterns_that_read_a_time_are_taken() {
        for text in NAMED.map(|(name, _)| name).into_iter().chain([
            "%Y-%m-%d %H:%M:%S",
            "%d/%b/%Y:%H:%M:%S %z",
            "%b %e %H:%M:%S",
            "[%Y-%m-%dT%H:%M:%S%.f]",
            "%s",
            "%m-%d %I:%M %p",
            "%Y-%j %H:%M:%S%.3f",
            "%F %T 100%%",
        ]) {
            assert_eq!(refusal(text), None, "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused_with_the_reason() {
        for (text, complaint) in [
            ("", "is not a timestamp format: write one of `auto`, `iso8601`"),
            ("Auto", "is not a timestamp format"),
            ("iso", "is not a timestamp format"),
            ("YYYY-MM-DD", "or a strptime pattern such as"),
            ("%Y-%m-%d", "no time of day"),
            ("%H:%M:%S%.3f", "it has no date: add %Y-%m-%d"),
            ("%Y %H:%M", "it has no date"),
            ("100%%", "no time of day"),
            ("%H:%M:%", "cannot read times with `%H:%M:%`"),
            ("%H:%M:%K", "cannot read times with"),
        ] {
            let sentence = refusal(text).unwrap();
            assert!(sentence.contains(complaint), "{text}: {sentence}");
        }
    }
}
