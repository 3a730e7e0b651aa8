//! Names of parts: given at birth, never changed, sorted by time, saying their state.
//!
//! ```text
//! 2026-11-21T10-00-00.000000Z.log       a segment: plain text
//! 2026-11-21T10-00-00.000000Z.log.zst   its archive
//! 2026-11-21T10-00-00.000000Z.times     marks of the segment, until the archive has them
//! ```
//! A name is ours only if one of the directory's patterns gives it back exactly; every other file is foreign. Whether
//! the file behind a name is ours (regular, our uid's) is not asked here.

mod counter;
mod pattern;

use std::ffi::OsStr;
use std::fmt;

pub use self::pattern::Pattern;

/// The stem that segment, archive and marks of one part share.
///
/// The order is that of the parts, whichever patterns gave the names: by the beginning of the time that is told, then
/// by the counter. Among names of one pattern it is the order of the bytes as well.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartName {
    birth_us: i64,
    /// `None`: the time is exact.
    counter: Option<u64>,
    stem: String,
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
    /// Takes a file name apart. `None`: none of `patterns` gives it.
    pub fn parse(file_name: &OsStr, patterns: &[Pattern]) -> Option<(PartName, PartKind)> {
        let name = file_name.to_str()?;
        let (stem, kind) = [PartKind::Archive, PartKind::Segment, PartKind::Marks]
            .into_iter()
            .find_map(|kind| Some((name.strip_suffix(kind.suffix())?, kind)))?;
        let part = patterns.iter().find_map(|pattern| pattern.parse(stem))?;
        Some((part, kind))
    }

    /// When it was born by the name alone, ns since the epoch: for a coarse name the beginning of the period it tells.
    pub fn birth_ns(&self) -> i64 {
        self.birth_us.saturating_mul(1000)
    }

    /// Whether [`PartName::birth_ns`] is the birth to the microsecond.
    pub fn is_exact(&self) -> bool {
        self.counter.is_none()
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

    fn default_patterns() -> Vec<Pattern> {
        vec![Pattern::default()]
    }

    #[test]
    fn a_name_gives_back_its_birth() {
        let name = Pattern::default().born(NOW, None);
        assert_eq!(name.stem(), "2026-11-21T10-00-00.123456Z");
        for kind in [PartKind::Segment, PartKind::Archive, PartKind::Marks] {
            let parsed = PartName::parse(OsStr::new(&name.file(kind)), &default_patterns());
            assert_eq!(parsed, Some((name.clone(), kind)));
        }
        assert_eq!(name.birth_ns(), NOW / 1000 * 1000);
    }

    #[test]
    fn names_rise_when_the_clock_does_not() {
        let first = Pattern::default().born(NOW, None);
        let second = Pattern::default().born(NOW - 86_400_000_000_000, Some(&first));
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
            "+026-11-21T10-00-00.000000Z.log",
            "9999-11-21T10-00-00.000000Z.log",
            " 2026-11-21T10-00-00.000000Z.log",
            "2026-11-21T10-00-00.000000Z",
            ".log",
        ] {
            assert_eq!(PartName::parse(OsStr::new(name), &default_patterns()), None, "{name}");
        }
    }
}
