//! The values that limit how much of a log is kept: `keep_size`, `keep_files`, `keep_age`, `keep_free`, `keep_min`.
//!
//! Invariants as in [`super::value`]: what parsed needs no further check. A limit that would keep nothing at all is
//! refused, for nobody means it.

use std::fmt;
use std::time::Duration;

use crate::units::{ByteSize, Limit, Span, Value, parses_as_value};

/// Shortest `keep_age`.
const AGE_MIN: Duration = Duration::from_secs(1);

parses_as_value!(KeepSize, KeepFiles, KeepAge, KeepFree, KeepMin);

/// How much of a log is kept: the limits of one pipe together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// Bytes on disk, at least 1.
    pub size: Limit<u64>,
    /// Sealed parts, at least 1.
    pub files: Limit<u64>,
    /// Since the newest arrival in a part, at least 1 s.
    pub age: Limit<Duration>,
    /// What stays free on the file system.
    pub free: Limit<Floor>,
    /// Parts that `free` never takes.
    pub min: u64,
}

/// The bytes that a log may take on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepSize(pub Limit<u64>);

impl Value for KeepSize {
    const EXPECTED: &'static str = "a size such as \"1GiB\", or \"off\"";

    fn from_text(text: &str) -> Result<Self, String> {
        match Limit::<ByteSize>::from_text(text)? {
            Limit::At(ByteSize(0)) => Err("0 bytes would keep nothing: write 1KiB or more, or off".to_string()),
            limit => Ok(KeepSize(limit.map(|size| size.0))),
        }
    }
}

/// The number of sealed parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepFiles(pub Limit<u64>);

impl Value for KeepFiles {
    const EXPECTED: &'static str = "a number such as 100, or \"off\"";

    fn from_text(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(KeepFiles(Limit::Off));
        }
        match text.parse() {
            Ok(0) => Err("0 would keep nothing: write 1 or more, or off".to_string()),
            Ok(files) => Ok(KeepFiles(Limit::At(files))),
            Err(_) => Err(format!("`{text}` is not a number of files: write 1 or more, or off")),
        }
    }
}

/// The time since the newest arrival in a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepAge(pub Limit<Duration>);

impl Value for KeepAge {
    const EXPECTED: &'static str = "a span such as \"30d\", or \"off\"";

    fn from_text(text: &str) -> Result<Self, String> {
        match Limit::<Span>::from_text(text)? {
            Limit::At(age) if age.0 < AGE_MIN => Err(format!("{age} would keep nothing: write 1s or more, or off")),
            limit => Ok(KeepAge(limit.map(|age| age.0))),
        }
    }
}

/// The free space below which old parts go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Floor {
    /// So many hundredths of the file system, 1 to 99.
    Percent(u8),
    /// So many bytes, at least 1.
    Bytes(u64),
    /// The smaller of the two.
    PercentAtMost(u8, u64),
}

impl Floor {
    /// In bytes, on a file system of that size.
    pub fn bytes(self, file_system_bytes: u64) -> u64 {
        let share = |percent: u8| (u128::from(file_system_bytes) * u128::from(percent) / 100) as u64;
        match self {
            Floor::Percent(percent) => share(percent),
            Floor::Bytes(bytes) => bytes,
            Floor::PercentAtMost(percent, bytes) => share(percent).min(bytes),
        }
    }
}

impl fmt::Display for Floor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Floor::Percent(percent) => write!(f, "{percent}%"),
            Floor::Bytes(bytes) => ByteSize(bytes).fmt(f),
            Floor::PercentAtMost(percent, bytes) => write!(f, "{percent}%, at most {}", ByteSize(bytes)),
        }
    }
}

/// What stays free on the file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepFree(pub Limit<Floor>);

impl Value for KeepFree {
    const EXPECTED: &'static str = "a share such as \"5%\", a size such as \"4GiB\", \"5%, at most 4GiB\", or \"off\"";

    fn from_text(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(KeepFree(Limit::Off));
        }
        let Some((percent, rest)) = text.split_once('%') else {
            let bytes = some_bytes(text).map_err(|refusal| format!("{refusal}; or 5%, or off"))?;
            return Ok(KeepFree(Limit::At(Floor::Bytes(bytes))));
        };
        let percent = percent.trim_end().parse().ok().filter(|percent| (1..=99).contains(percent));
        let percent = percent.ok_or_else(|| format!("`{text}` is not a share: write 1% to 99%, or off"))?;
        if rest.is_empty() {
            return Ok(KeepFree(Limit::At(Floor::Percent(percent))));
        }
        let most = rest.strip_prefix(',').and_then(|rest| rest.trim_start().strip_prefix("at most "));
        let most = most.ok_or_else(|| {
            format!("`{text}` is not a limit on free space: write \"{percent}%\" or \"{percent}%, at most 4GiB\"")
        })?;
        Ok(KeepFree(Limit::At(Floor::PercentAtMost(percent, some_bytes(most.trim_start())?))))
    }
}

fn some_bytes(text: &str) -> Result<u64, String> {
    match ByteSize::from_text(text)? {
        ByteSize(0) => Err("0 bytes are always free: write off to turn keep_free off".to_string()),
        ByteSize(bytes) => Ok(bytes),
    }
}

/// The number of parts that `keep_free` never takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepMin(pub u64);

impl Value for KeepMin {
    const EXPECTED: &'static str = "a number such as 10";

    fn from_text(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(KeepMin(0)),
            _ => text.parse().map(KeepMin).map_err(|_| format!("`{text}` is not a number of files: write 0 or more")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Policy;

    fn takes<T: Value + PartialEq + fmt::Debug>(table: &[(&str, T)]) {
        for (text, value) in table {
            assert_eq!(T::from_text(text).as_ref(), Ok(value), "{text}");
        }
    }

    fn refuses<T: Value + fmt::Debug>(table: &[(&str, &str)]) {
        for (text, complaint) in table {
            let refusal = T::from_text(text).unwrap_err();
            assert!(refusal.contains(complaint), "{text}: {refusal}");
        }
    }

    #[test]
    fn a_limit_keeps_something_or_is_off() {
        takes(&[("off", KeepSize(Limit::Off)), ("1G", KeepSize(Limit::At(1 << 30))), ("1", KeepSize(Limit::At(1)))]);
        takes(&[("off", KeepFiles(Limit::Off)), ("1", KeepFiles(Limit::At(1)))]);
        takes(&[("off", KeepAge(Limit::Off)), ("1s", KeepAge(Limit::At(Duration::from_secs(1))))]);
        takes(&[("off", KeepMin(0)), ("0", KeepMin(0)), ("10", KeepMin(10))]);
        refuses::<KeepSize>(&[("0", "would keep nothing"), ("1GB", "1000 or 1024?"), ("x", "or off")]);
        refuses::<KeepFiles>(&[("0", "would keep nothing"), ("-1", "not a number"), ("1K", "not a number")]);
        refuses::<KeepAge>(&[("0s", "would keep nothing"), ("999ms", "would keep nothing"), ("30", "30 has no unit")]);
        refuses::<KeepMin>(&[("-1", "not a number"), ("many", "not a number")]);
    }

    #[test]
    fn free_space_is_a_share_a_size_or_the_smaller_of_both() {
        let at = |floor| KeepFree(Limit::At(floor));
        takes(&[
            ("off", KeepFree(Limit::Off)),
            ("5%", at(Floor::Percent(5))),
            ("4GiB", at(Floor::Bytes(4 << 30))),
            ("1024", at(Floor::Bytes(1024))),
            ("5%, at most 4GiB", at(Floor::PercentAtMost(5, 4 << 30))),
            ("5 %,at most 4G", at(Floor::PercentAtMost(5, 4 << 30))),
        ]);
        refuses::<KeepFree>(&[
            ("0%", "1% to 99%"),
            ("100%", "1% to 99%"),
            ("%", "1% to 99%"),
            ("5.5%", "1% to 99%"),
            ("5% or 4GiB", "write \"5%\" or \"5%, at most 4GiB\""),
            ("5%, at most", "write \"5%\" or \"5%, at most 4GiB\""),
            ("5%, at most 4GB", "1000 or 1024?"),
            ("5%, at most 0", "always free"),
            ("0", "always free"),
            ("lots", "or 5%, or off"),
        ]);
        for floor in [Floor::Percent(5), Floor::Bytes(4 << 30), Floor::PercentAtMost(5, 4 << 30)] {
            assert_eq!(KeepFree::from_text(&floor.to_string()), Ok(at(floor)), "{floor}");
        }
    }

    #[test]
    fn the_default_is_five_hundredths_and_four_gibibytes_at_most() {
        let Limit::At(floor) = Policy::default().keep.free else { panic!("it is on") };
        assert_eq!(floor.bytes(4 << 20), (4 << 20) / 20);
        assert_eq!(floor.bytes(1 << 40), 4 << 30);
        assert_eq!(Floor::Percent(99).bytes(u64::MAX), u64::MAX / 100 * 99 + u64::MAX % 100 * 99 / 100);
    }
}
