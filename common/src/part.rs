//! Names of parts: given at birth, never changed, sorted by time, saying their state.
//!
//! ```text
//! 2026-11-21T10-00-00.000000Z.log       a segment: plain text
//! 2026-11-21T10-00-00.000000Z.log.zst   its archive
//! 2026-11-21T10-00-00.000000Z.times     marks of the segment, until the archive has them
//! ```
//! A name is ours only if it is given back exactly by the pattern; every other file is foreign. Whether the file
//! behind a name is ours (regular, our uid's) is not asked here.

use std::ffi::OsStr;
use std::fmt;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// The stem that segment, archive and marks of one part share.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartName {
    stem: String,
    birth_us: i64,
}

/// What a file of a part is, by the end of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PartKind {
    /// `….log`
    Segment,
    /// `….log.zst`
    Archive,
    /// `….times`
    Marks,
}

impl PartKind {
    /// The end of the file's name.
    pub fn suffix(self) -> &'static str {
        match self {
            PartKind::Segment => ".log",
            PartKind::Archive => ".log.zst",
            PartKind::Marks => ".times",
        }
    }
}

impl PartName {
    /// The pattern of all names, for [`jiff::fmt::strtime`]: UTC, microseconds.
    pub const PATTERN: &str = "%Y-%m-%dT%H-%M-%S.%6fZ";

    /// The name of a part that is born at `now_ns` and comes after `last`: greater than it even if the clock is not.
    pub fn born(now_ns: i64, last: Option<&PartName>) -> PartName {
        let now_us = now_ns.div_euclid(1000);
        PartName::at(last.map_or(now_us, |last| now_us.max(last.birth_us + 1)))
    }

    fn at(birth_us: i64) -> PartName {
        let time = Timestamp::from_microsecond(birth_us).unwrap_or(Timestamp::UNIX_EPOCH);
        let stem = time.strftime(PartName::PATTERN).to_string();
        PartName { stem, birth_us }
    }

    /// Takes a file name apart. `None`: not ours.
    pub fn parse(file_name: &OsStr) -> Option<(PartName, PartKind)> {
        let name = file_name.to_str()?;
        let (stem, kind) = [PartKind::Archive, PartKind::Segment, PartKind::Marks]
            .into_iter()
            .find_map(|kind| Some((name.strip_suffix(kind.suffix())?, kind)))?;
        let birth = DateTime::strptime(PartName::PATTERN, stem).ok()?.to_zoned(TimeZone::UTC).ok()?;
        let part = PartName::at(birth.timestamp().as_microsecond());
        (part.stem == stem).then_some((part, kind))
    }

    /// When it was born, ns since the epoch, by the name alone.
    pub fn birth_ns(&self) -> i64 {
        self.birth_us * 1000
    }

    /// The name without what says its state.
    pub fn stem(&self) -> &str {
        &self.stem
    }

    /// The name of one of its files.
    pub fn file(&self, kind: PartKind) -> String {
        format!("{}{}", self.stem, kind.suffix())
    }
}

impl fmt::Display for PartName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.stem)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_795_255_200_123_456_789;

    #[test]
    fn a_name_gives_back_its_birth() {
        let name = PartName::born(NOW, None);
        assert_eq!(name.stem(), "2026-11-21T10-00-00.123456Z");
        for kind in [PartKind::Segment, PartKind::Archive, PartKind::Marks] {
            assert_eq!(PartName::parse(OsStr::new(&name.file(kind))), Some((name.clone(), kind)));
        }
        assert_eq!(name.birth_ns(), NOW / 1000 * 1000);
    }

    #[test]
    fn names_rise_when_the_clock_does_not() {
        let first = PartName::born(NOW, None);
        let second = PartName::born(NOW - 86_400_000_000_000, Some(&first));
        assert!(second > first);
        assert_eq!(second.stem(), "2026-11-21T10-00-00.123457Z");
    }

    #[test]
    fn whatever_the_pattern_does_not_give_back_is_foreign() {
        for name in [
            "access.log",
            "2026-11-21T10-00-00.000000Z.log.zst.bak",
            "2026-11-21T10-00-00.000000Z.log~",
            "x2026-11-21T10-00-00.000000Z.log",
            "2026-11-21T10-00-00.00000Z.log",
            "2026-11-21T10-00-00.000000000Z.log",
            "2026-13-21T10-00-00.000000Z.log",
            "2026-02-30T10-00-00.000000Z.log",
            "2026-11-21T10-00-60.000000Z.log",
            " 2026-11-21T10-00-00.000000Z.log",
            "2026-11-21T10-00-00.000000Z",
            ".log",
        ] {
            assert_eq!(PartName::parse(OsStr::new(name)), None, "{name}");
        }
    }
}
