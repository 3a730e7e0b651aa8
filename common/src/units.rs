//! Sizes and spans as people write them in a policy file or a flag, and back.
//!
//! Invariants: what [`std::fmt::Display`] prints parses to the same value; a sum that does not fit is refused, never
//! wrapped. Deliberately not here: fractions (`1.5G`), decimal units (two readings of `10MB` are one too many),
//! months and years.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Visitor};

/// Longest span that is accepted: a hundred years, so that a time in ns plus a span still fits an `i64`.
pub const SPAN_MAX: Duration = Duration::from_secs(36_500 * 24 * 60 * 60);

/// A value that is written as a word in a flag and as a string or an integer in TOML.
///
/// One parser for both, so that a flag and a key of the same name never disagree; an `Err` is a sentence without the
/// key's name, because clap and toml both say where it stood.
pub trait Value: Sized {
    /// What is wanted, after "expected": `a size such as 64MiB`.
    const EXPECTED: &'static str;

    /// From a flag or a TOML string.
    fn from_text(text: &str) -> Result<Self, String>;

    /// From a TOML integer; the same as its digits unless the type says otherwise.
    fn from_integer(number: u64) -> Result<Self, String> {
        Self::from_text(&number.to_string())
    }

    /// From a TOML float; refused unless the type says otherwise.
    fn from_float(number: f64) -> Result<Self, String> {
        Err(format!("{number} is a fraction, expected {}", Self::EXPECTED))
    }
}

/// Deserializes a [`Value`] without an untagged enum, whose errors would not name what was wanted.
pub fn deserialize_value<'de, T: Value, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    deserializer.deserialize_any(TextOrInteger(PhantomData))
}

struct TextOrInteger<T>(PhantomData<T>);

impl<T: Value> Visitor<'_> for TextOrInteger<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        T::from_text(text).map_err(E::custom)
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<T, E> {
        T::from_integer(number).map_err(E::custom)
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<T, E> {
        T::from_float(number).map_err(E::custom)
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<T, E> {
        let number = u64::try_from(number).map_err(|_| E::custom(format!("{number} is negative")))?;
        self.visit_u64(number)
    }
}

/// `FromStr` and `Deserialize` for types that implement [`Value`].
macro_rules! parses_as_value {
    ($($name:ty),+ $(,)?) => {$(
        impl std::str::FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                <Self as $crate::units::Value>::from_text(text)
            }
        }

        impl<'de> serde::de::Deserialize<'de> for $name {
            fn deserialize<D: serde::de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::units::deserialize_value(deserializer)
            }
        }
    )+};
}
pub(crate) use parses_as_value;

parses_as_value!(ByteSize, Span);

/// A number of bytes: `67108864`, `64M`, `64MiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub u64);

/// Units of [`ByteSize`], largest first, with the power of two each stands for.
const BINARY_UNITS: [(&str, &str, u32); 4] = [("T", "TiB", 40), ("G", "GiB", 30), ("M", "MiB", 20), ("K", "KiB", 10)];

impl Value for ByteSize {
    const EXPECTED: &'static str = "a size such as \"64MiB\", \"64M\" or 67108864";

    fn from_text(text: &str) -> Result<Self, String> {
        let (digits, unit) = split_number(text);
        if digits.is_empty() {
            return Err(format!("`{text}` is not a size: write 64MiB, 64M or 67108864"));
        }
        let too_large = || format!("`{text}` is too large");
        let count: u64 = digits.parse().map_err(|_| too_large())?;
        if unit.is_empty() {
            return Ok(ByteSize(count));
        }
        if let Some((_, _, shift)) = BINARY_UNITS.iter().find(|(short, long, _)| unit == *short || unit == *long) {
            return count.checked_mul(1 << shift).map(ByteSize).ok_or_else(too_large);
        }
        Err(decimal_unit(count, unit)
            .unwrap_or_else(|| format!("unknown unit in `{text}`: write K, M, G or T (or KiB, MiB, GiB, TiB)")))
    }
}

/// The refusal of `10MB`, with both spellings; none where `unit` is no decimal unit.
fn decimal_unit(count: u64, unit: &str) -> Option<String> {
    let (short, thousands) = match unit {
        "kB" | "KB" => ("K", 1),
        "MB" => ("M", 2),
        "GB" => ("G", 3),
        "TB" => ("T", 4),
        _ => return None,
    };
    let binary = 1_u64 << (10 * thousands);
    let decimal = u128::from(count) * 1000_u128.pow(thousands);
    Some(format!("1000 or 1024? write {count}{short} ({count} × {binary}) or {decimal}"))
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (_, long, shift) in BINARY_UNITS {
            if self.0 != 0 && self.0.trailing_zeros() >= shift {
                return write!(f, "{}{long}", self.0 >> shift);
            }
        }
        write!(f, "{}", self.0)
    }
}

/// A length of time in whole milliseconds: `500ms`, `30s`, `1h30m`, `1d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(pub Duration);

/// Units of [`Span`] in milliseconds, largest first.
const SPAN_UNITS: [(&str, u64); 6] =
    [("w", 604_800_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

impl Value for Span {
    const EXPECTED: &'static str = "a span such as \"30s\", \"1h30m\" or \"1d\"";

    fn from_text(text: &str) -> Result<Self, String> {
        let mut rest = text;
        let mut sum_ms = 0_u64;
        let mut units_left = &SPAN_UNITS[..];
        while !rest.is_empty() || text.is_empty() {
            let (digits, after) = split_number(rest);
            let unit_bytes = after.find(|c: char| c.is_ascii_digit() || c == ' ').unwrap_or(after.len());
            let (unit, after) = after.split_at(unit_bytes);
            if digits.is_empty() {
                return Err(format!("`{text}` is not a span: write 500ms, 30s, 5m, 1h30m, 1d or 2w"));
            }
            if unit.is_empty() {
                return Err(format!("{digits} has no unit: write {digits}s, {digits}m, {digits}h or {digits}d"));
            }
            let place = units_left.iter().position(|(name, _)| *name == unit);
            let place = place.ok_or_else(|| unit_refused(text, unit))?;
            let count: u64 = digits.parse().map_err(|_| span_too_long(text))?;
            let part_ms = count.checked_mul(units_left[place].1).ok_or_else(|| span_too_long(text))?;
            sum_ms = sum_ms.checked_add(part_ms).ok_or_else(|| span_too_long(text))?;
            units_left = &units_left[place + 1..];
            rest = after.trim_start_matches(' ');
        }
        let span = Duration::from_millis(sum_ms);
        if span > SPAN_MAX { Err(span_too_long(text)) } else { Ok(Span(span)) }
    }
}

fn unit_refused(text: &str, unit: &str) -> String {
    if SPAN_UNITS.iter().any(|(name, _)| *name == unit) {
        format!("`{text}` has its units out of order: write larger units first, each once, as in 1h30m")
    } else {
        format!("unknown unit `{unit}` in `{text}`: write ms, s, m, h, d or w")
    }
}

fn span_too_long(text: &str) -> String {
    format!("`{text}` is too long: write at most a hundred years")
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut left_ms = self.0.as_millis();
        if left_ms == 0 {
            return f.write_str("0s");
        }
        for (unit, unit_ms) in SPAN_UNITS {
            let unit_ms = u128::from(unit_ms);
            if left_ms >= unit_ms {
                write!(f, "{}{unit}", left_ms / unit_ms)?;
                left_ms %= unit_ms;
            }
        }
        Ok(())
    }
}

/// A limit or a trigger that can be turned off with the word `off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Limit<T> {
    /// Never reached.
    Off,
    /// Reached at this value.
    At(T),
}

impl<T> Limit<T> {
    /// The same limit in another type or unit.
    pub fn map<U>(self, convert: impl FnOnce(T) -> U) -> Limit<U> {
        match self {
            Limit::Off => Limit::Off,
            Limit::At(value) => Limit::At(convert(value)),
        }
    }

    /// The value, if the limit is on.
    pub fn at(self) -> Option<T> {
        match self {
            Limit::Off => None,
            Limit::At(value) => Some(value),
        }
    }
}

impl<T: Value> Value for Limit<T> {
    const EXPECTED: &'static str = T::EXPECTED;

    fn from_text(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Limit::Off);
        }
        T::from_text(text).map(Limit::At).map_err(|refusal| format!("{refusal}; or off"))
    }

    fn from_integer(number: u64) -> Result<Self, String> {
        T::from_integer(number).map(Limit::At)
    }

    fn from_float(number: f64) -> Result<Self, String> {
        T::from_float(number).map(Limit::At)
    }
}

impl<T: Value> FromStr for Limit<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Value::from_text(text)
    }
}

impl<'de, T: Value> Deserialize<'de> for Limit<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize_value(deserializer)
    }
}

impl<T: fmt::Display> fmt::Display for Limit<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Limit::Off => f.write_str("off"),
            Limit::At(value) => value.fmt(f),
        }
    }
}

/// Leading digits and what follows them, without the spaces between.
fn split_number(text: &str) -> (&str, &str) {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    (&text[..digits], text[digits..].trim_start_matches(' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binary_sizes_are_powers_of_1024_and_print_as_the_shortest_exact_one() {
        for (text, bytes, printed) in [
            ("0", 0, "0"),
            ("1", 1, "1"),
            ("1000", 1000, "1000"),
            ("1K", 1 << 10, "1KiB"),
            ("1536", 1536, "1536"),
            ("64MiB", 64 << 20, "64MiB"),
            ("64 MiB", 64 << 20, "64MiB"),
            ("67108864", 64 << 20, "64MiB"),
            ("1025K", 1025 << 10, "1025KiB"),
            ("1024G", 1 << 40, "1TiB"),
            ("3T", 3 << 40, "3TiB"),
            ("18446744073709551615", u64::MAX, "18446744073709551615"),
        ] {
            let size: ByteSize = text.parse().unwrap();
            assert_eq!((size.0, size.to_string().as_str()), (bytes, printed), "{text}");
            assert_eq!(printed.parse(), Ok(size), "{printed}");
        }
    }

    #[test]
    fn a_decimal_unit_is_refused_with_both_spellings() {
        for (text, offer) in [
            ("10MB", "1000 or 1024? write 10M (10 × 1048576) or 10000000"),
            ("4kB", "1000 or 1024? write 4K (4 × 1024) or 4000"),
            ("4KB", "1000 or 1024? write 4K (4 × 1024) or 4000"),
            ("1GB", "1000 or 1024? write 1G (1 × 1073741824) or 1000000000"),
            ("2TB", "1000 or 1024? write 2T (2 × 1099511627776) or 2000000000000"),
        ] {
            assert_eq!(ByteSize::from_text(text), Err(offer.to_string()));
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in ["", "M", "-1", "1.5G", "10m", "10Mb", "1_000", "0x10", "20000000T", "18446744073709551616", "off"]
        {
            assert!(ByteSize::from_text(text).is_err(), "{text}");
        }
    }

    #[test]
    fn spans_add_up_and_print_in_their_largest_units() {
        for (text, millis, printed) in [
            ("2ms", 2, "2ms"),
            ("1500ms", 1500, "1s500ms"),
            ("90s", 90_000, "1m30s"),
            ("1h30m", 5_400_000, "1h30m"),
            ("1h 30m", 5_400_000, "1h30m"),
            ("1d", 86_400_000, "1d"),
            ("7d", 604_800_000, "1w"),
            ("1w1d1h1m1s1ms", 694_861_001, "1w1d1h1m1s1ms"),
            ("0s", 0, "0s"),
        ] {
            let span: Span = text.parse().unwrap();
            assert_eq!((span.0, span.to_string().as_str()), (Duration::from_millis(millis), printed), "{text}");
            assert_eq!(printed.parse(), Ok(span), "{printed}");
        }
    }

    #[test]
    fn a_bare_number_is_no_span_and_the_refusal_offers_units() {
        for text in ["30", "1h30"] {
            assert_eq!(Span::from_text(text), Err("30 has no unit: write 30s, 30m, 30h or 30d".to_string()));
        }
    }

    #[test]
    fn what_is_no_span_is_refused() {
        for text in ["", "s", "-1s", "1.5h", "1M", "1y", "1day", "30m1h", "1h1h", "5300w", "99999999999999999999s"] {
            assert!(Span::from_text(text).is_err(), "{text}");
        }
    }

    #[test]
    fn any_limit_can_be_off() {
        assert_eq!("off".parse(), Ok(Limit::<ByteSize>::Off));
        assert_eq!("1K".parse(), Ok(Limit::At(ByteSize(1024))));
        assert!(Limit::<Span>::from_text("5 bananas").unwrap_err().ends_with("; or off"));
        assert_eq!(Limit::At(Span(Duration::from_secs(60))).to_string(), "1m");
        assert_eq!(Limit::<Span>::Off.to_string(), "off");
    }

    #[derive(Debug, PartialEq, serde::Deserialize)]
    struct Sample {
        size: Limit<ByteSize>,
        span: Span,
    }

    #[test]
    fn toml_takes_strings_and_integers_where_an_integer_has_a_meaning() {
        let good: Sample = toml::from_str("size = 1024\nspan = \"1m\"").unwrap();
        assert_eq!(good, Sample { size: Limit::At(ByteSize(1024)), span: Span(Duration::from_secs(60)) });
        for (text, complaint) in [
            ("size = -1\nspan = \"1m\"", "-1 is negative"),
            ("size = \"off\"\nspan = 5", "5 has no unit"),
            ("size = true\nspan = \"1m\"", "invalid type: boolean `true`, expected a size such as"),
        ] {
            let error = toml::from_str::<Sample>(text).unwrap_err().to_string();
            assert!(error.contains(complaint), "{error}");
            assert!(error.contains('^'), "no caret: {error}");
        }
    }
}
