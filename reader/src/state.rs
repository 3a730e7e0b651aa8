//! `.standpipe`, the file by which a log directory is ours: the boot of its last writer, every pattern that names of
//! its parts were ever made by, the newest part that an earlier boot left, and since when no link leads to it, if none
//! does.
//!
//! ```text
//! standpipe 1
//! boot 0f2d…
//! pattern %Y-%m-%dT%H-%M-%S.%6fZ
//! pattern %Y-%m-%d
//! rebooted 2026-11-21T09-00-00.000000Z
//! unlinked 2026-11-21T10:00:00Z
//! ```
//! Invariants: it is whole or as it was; a pattern stands in it before the first part has a name of it. A file that is
//! empty or damaged says what an empty one does: the built-in pattern, and no boot. One of a later version is left as it
//! is, and the directory with it: what else it says would be lost.

use std::io::Read;

use jiff::Timestamp;
use standpipe_common::error::{Cannot, Error, Result};
use standpipe_common::own;
use standpipe_common::part::Pattern;

use crate::disk::{self, Dir, FileMode};

/// Name of the file.
pub const STATE_FILE: &str = ".standpipe";

/// Patterns of one log directory at most: each name in it is held against all of them.
pub const PATTERNS_MAX: usize = 64;

/// How it begins, whatever its version.
const BEGIN: &[u8] = b"standpipe ";

/// The version that we read and write.
const VERSION: u64 = 1;

/// Most bytes that are read of it: twice what so many patterns take.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// What the file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// The boot of the last writer.
    pub boot: Option<String>,
    /// In the order in which they were first used; at least one.
    pub patterns: Vec<Pattern>,
    /// Stem of the newest part of the last boot but this one: power may have been cut while it or an older one was written.
    pub rebooted: Option<String>,
    /// When the archiver found first that no link leads to it, ns since the epoch.
    pub unlinked_ns: Option<i64>,
}

impl Default for State {
    fn default() -> State {
        State { boot: None, patterns: vec![Pattern::default()], rebooted: None, unlinked_ns: None }
    }
}

impl State {
    /// Reads the file of `dir`, which is there.
    ///
    /// # Errors
    /// The disk's; it is of a later version.
    pub fn read(dir: &Dir) -> Result<State> {
        let mut bytes = Vec::new();
        let file = dir.open_read(STATE_FILE)?;
        file.take(FILE_BYTES_MAX).read_to_end(&mut bytes).cannot("read", dir.path_of(STATE_FILE))?;
        let text = String::from_utf8_lossy(&bytes);
        match version_of(&text) {
            Some(version) if version > VERSION => {
                let cause = format!("{STATE_FILE} in it has version {version}; this reader knows {VERSION}");
                Err(Error::because("use log directory", dir.path(), cause))
            }
            _ => Ok(State::parse(&text)),
        }
    }

    /// Puts the file of `dir` in place, for the same readers as the parts: without it they know none of them.
    pub fn write(&self, dir: &Dir, mode: FileMode) -> Result<()> {
        const FRESH: &str = ".standpipe.new";
        dir.remove_own(FRESH, own::begins_with(BEGIN))?;
        dir.require_own(STATE_FILE, own::begins_with(BEGIN))?;
        let file = dir.create(FRESH, mode)?;
        disk::write_at(&file, self.text().as_bytes(), 0).cannot("write", dir.path_of(FRESH))?;
        if *self.patterns != [Pattern::default()] {
            // An empty file after a power cut would make parts foreign.
            disk::sync(&file).cannot("sync", dir.path_of(FRESH))?;
        }
        dir.rename_over(FRESH, STATE_FILE)
    }

    fn parse(text: &str) -> State {
        let values = |key: &'static str| text.lines().filter_map(move |line| line.strip_prefix(key));
        let mut patterns: Vec<Pattern> = Vec::new();
        for pattern in values("pattern ").filter_map(Pattern::from_listed).take(PATTERNS_MAX) {
            if !patterns.contains(&pattern) {
                patterns.push(pattern);
            }
        }
        if patterns.is_empty() {
            patterns.push(Pattern::default());
        }
        let unlinked = values("unlinked ").next().and_then(|text| text.parse::<Timestamp>().ok());
        let unlinked_ns = unlinked.and_then(|time| i64::try_from(time.as_nanosecond()).ok());
        let [boot, rebooted] = ["boot ", "rebooted "].map(|key| values(key).next().map(str::to_owned));
        State { boot, patterns, rebooted, unlinked_ns }
    }

    fn text(&self) -> String {
        let boot = self.boot.iter().map(|boot| format!("boot {boot}\n"));
        let patterns = self.patterns.iter().map(|pattern| format!("pattern {}\n", pattern.listed()));
        let rebooted = self.rebooted.iter().map(|stem| format!("rebooted {stem}\n"));
        let unlinked = self.unlinked_ns.and_then(|ns| Timestamp::from_nanosecond(i128::from(ns)).ok());
        let unlinked = unlinked.map(|time| format!("unlinked {time}\n"));
        std::iter::once("standpipe 1\n".to_owned())
            .chain(boot)
            .chain(patterns)
            .chain(rebooted)
            .chain(unlinked)
            .collect()
    }
}

/// What its first line says. `None`: it is damaged.
fn version_of(text: &str) -> Option<u64> {
    let digits: String = text.strip_prefix("standpipe ")?.chars().take_while(char::is_ascii_digit).collect();
    // More digits than a number can have are later than ours, too.
    (!digits.is_empty()).then(|| digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_tells_the_version() {
        for (text, version) in [
            ("standpipe 1\nboot x\n", Some(1)),
            ("standpipe 2\n", Some(2)),
            ("standpipe 12 more\n", Some(12)),
            ("standpipe 99999999999999999999999\n", Some(u64::MAX)),
            ("standpipe ", None),
            ("standpipe x", None),
            ("", None),
        ] {
            assert_eq!(version_of(text), version, "{text}");
        }
    }

    #[test]
    fn what_was_written_comes_back_and_what_is_damaged_lists_the_built_in_pattern() {
        let patterns = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        let state = State {
            boot: Some("b".to_owned()),
            patterns: patterns(&["%Y", Pattern::DEFAULT, "app-%Y-%m"]),
            rebooted: Some("2026".to_owned()),
            unlinked_ns: Some(1_795_255_200_123_456_789),
        };
        assert_eq!(State::parse(&state.text()), state);
        for (text, boot, listed) in [
            ("", None, &[Pattern::DEFAULT][..]),
            ("\0\0\0", None, &[Pattern::DEFAULT]),
            ("standpipe 1\nboot x\n", Some("x"), &[Pattern::DEFAULT]),
            ("standpipe 1\nboot x\npattern %d\npattern %Y\npattern %Y\npatt", Some("x"), &["%Y"]),
        ] {
            let expected = State { boot: boot.map(str::to_owned), patterns: patterns(listed), ..State::default() };
            assert_eq!(State::parse(text), expected, "{text:?}");
        }
    }
}
