//! `.standpipe`, the file by which a log directory is ours: the boot of its last writer, the id of the log, every pattern
//! that names of its parts were ever made by, the newest part that an earlier boot left, since when no link leads to it,
//! if none does, and which number and offset in the log its newest parts have.
//!
//! ```text
//! standpipe 1
//! boot 0f2d…
//! log 7c1e…
//! pattern %Y-%m-%dT%H-%M-%S.%6fZ
//! pattern %Y-%m-%d
//! rebooted 2026-11-21T09-00-00.000000Z
//! unlinked 2026-11-21T10:00:00Z
//! part 17 1140850688 2026-11-21T09-00-00.000000Z
//! part 18 1207959552 2026-11-21T10-00-00.000000Z
//! ```
//! Invariants: but for the parts it is whole or as it was; a pattern stands in it before the first part has a name of it.
//! A file that is empty or damaged says what an empty one does: the built-in pattern, no boot and no log. One of a later
//! version is left as it is, and the directory with it: what else it says would be lost.
//!
//! Parts are added at the end, in place, for a drain that never syncs cannot replace a file of which a power cut may leave
//! nothing. Whatever a kill or a power cut leaves of such a line is no line, or says what is true: numbers never change.

use std::fs::File;
use std::io::{self, Read};

use jiff::Timestamp;
use standpipe_common::error::{Cannot, Error, Result};
use standpipe_common::own;
use standpipe_common::part::Pattern;
use standpipe_common::serial::{LogId, Serial};

use crate::disk::{self, Dir, FileMode};

/// Name of the file.
pub const STATE_FILE: &str = ".standpipe";

/// Patterns of one log directory at most: each name in it is held against all of them.
pub const PATTERNS_MAX: usize = 64;

/// Parts whose numbers are kept: the newest. Those of older ones follow from them.
const PARTS_KEPT: usize = 32;

/// With so many it is time to drop the oldest.
const PARTS_MAX: usize = 2 * PARTS_KEPT;

/// How the line of a part begins.
const PART: &str = "part ";

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
    /// The log's id; `None` where its last writer knew of none.
    pub log: Option<LogId>,
    /// In the order in which they were first used; at least one.
    pub patterns: Vec<Pattern>,
    /// Stem of the newest part of the last boot but this one: power may have been cut while it or an older one was written.
    pub rebooted: Option<String>,
    /// When the archiver found first that no link leads to it, ns since the epoch.
    pub unlinked_ns: Option<i64>,
    /// The newest parts, oldest first.
    pub parts: Vec<Numbered>,
}

/// The number of a part and its offset in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbered {
    /// How many parts came before it.
    pub number: u64,
    /// How many bytes came before it.
    pub offset: u64,
    /// The stem of its name.
    pub stem: String,
}

impl Numbered {
    /// A part, by its stem.
    pub fn of(serial: Serial, stem: &str) -> Numbered {
        Numbered { number: serial.number, offset: serial.offset, stem: stem.to_owned() }
    }

    fn parse(line: &str) -> Option<Numbered> {
        let mut words = line.strip_prefix(PART)?.splitn(3, ' ');
        let [number, offset] = [words.next()?.parse().ok()?, words.next()?.parse().ok()?];
        let stem = words.next().filter(|stem| !stem.is_empty())?;
        Some(Numbered { number, offset, stem: stem.to_owned() })
    }

    fn line(&self) -> String {
        format!("{PART}{} {} {}\n", self.number, self.offset, self.stem)
    }
}

impl Default for State {
    fn default() -> State {
        let patterns = vec![Pattern::default()];
        State { boot: None, log: None, patterns, rebooted: None, unlinked_ns: None, parts: Vec::new() }
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

    /// Adds a part to the file of `dir`, which is ours.
    pub fn add_part(dir: &Dir, part: &Numbered) -> Result<()> {
        let path = dir.path_of(STATE_FILE);
        if !disk::is_ours(&dir.stat(STATE_FILE).cannot("inspect", &path)?) {
            return Err(own::refusal(&path));
        }
        append_part(&dir.open_write(STATE_FILE)?, part).cannot("write", path)
    }

    /// What it says of a part.
    pub fn serial_of(&self, stem: &str) -> Option<Serial> {
        let part = self.parts.iter().rfind(|part| part.stem == stem)?;
        self.log.map(|log| Serial { log, number: part.number, offset: part.offset })
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
        let log = values("log ").next().and_then(|text| text.parse().ok());
        // What a kill left of the last one is none.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let mut parts: Vec<_> = whole.lines().filter_map(Numbered::parse).collect();
        parts.sort_by_key(|part| part.number);
        State { boot, log, patterns, rebooted, unlinked_ns, parts }
    }

    fn text(&self) -> String {
        let boot = self.boot.iter().map(|boot| format!("boot {boot}\n"));
        let log = self.log.iter().map(|log| format!("log {log}\n"));
        let patterns = self.patterns.iter().map(|pattern| format!("pattern {}\n", pattern.listed()));
        let rebooted = self.rebooted.iter().map(|stem| format!("rebooted {stem}\n"));
        let unlinked = self.unlinked_ns.and_then(|ns| Timestamp::from_nanosecond(i128::from(ns)).ok());
        let unlinked = unlinked.map(|time| format!("unlinked {time}\n"));
        std::iter::once("standpipe 1\n".to_owned())
            .chain(boot)
            .chain(log)
            .chain(patterns)
            .chain(rebooted)
            .chain(unlinked)
            .chain(newest(&self.parts).iter().map(Numbered::line))
            .collect()
    }
}

/// Those of the parts that are kept.
fn newest(parts: &[Numbered]) -> &[Numbered] {
    &parts[parts.len().saturating_sub(PARTS_KEPT)..]
}

/// Adds the line of a part; if there are too many, the newest ones take the places of the oldest.
fn append_part(file: &File, part: &Numbered) -> io::Result<()> {
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    if !bytes.starts_with(BEGIN) {
        return Err(io::Error::other("it is damaged"));
    }
    let mut parts = State::parse(&String::from_utf8_lossy(&bytes)).parts;
    parts.push(part.clone());
    let torn = if bytes.last().is_none_or(|last| *last == b'\n') { "" } else { "\n" };
    if parts.len() <= PARTS_MAX {
        return disk::write_at(file, format!("{torn}{}", part.line()).as_bytes(), bytes.len() as u64);
    }
    let first = memchr::memmem::find(&bytes, format!("\n{PART}").as_bytes()).map_or(bytes.len(), |at| at + 1);
    let lines: String = newest(&parts).iter().map(Numbered::line).collect();
    disk::write_at(file, lines.as_bytes(), first as u64)?;
    disk::set_len(file, (first + lines.len()) as u64)
}

/// What its first line says. `None`: it is damaged.
fn version_of(text: &str) -> Option<u64> {
    let digits: String = text.strip_prefix("standpipe ")?.chars().take_while(char::is_ascii_digit).collect();
    // More digits than a number can have are later than ours, too.
    (!digits.is_empty()).then(|| digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use std::io::Seek;

    use super::*;

    const ID: &str = "00112233445566778899aabbccddeeff";

    fn numbered(number: u64, stem: &str) -> Numbered {
        Numbered { number, offset: number * 10, stem: stem.to_owned() }
    }

    #[test]
    fn parts_are_added_behind_what_a_kill_left_and_the_oldest_go() {
        let mut file = tempfile::tempfile().unwrap();
        let head = format!("standpipe 1\nlog {ID}\npattern %Y\n");
        disk::write_at(&file, format!("{head}part 1 10 a\npart 2 2").as_bytes(), 0).unwrap();
        let read = |file: &mut File| {
            let mut text = String::new();
            file.rewind().unwrap();
            file.read_to_string(&mut text).unwrap();
            text
        };
        for number in 3..=PARTS_MAX as u64 + 1 {
            file.rewind().unwrap();
            append_part(&file, &numbered(number, "x")).unwrap();
        }
        let text = read(&mut file);
        assert!(text.starts_with(&format!("{head}part 1 10 a\npart 2 2\npart 3 30 x\n")), "{text}");
        assert_eq!(State::parse(&text).parts.len(), PARTS_MAX, "{text}");
        file.rewind().unwrap();
        append_part(&file, &numbered(100, "y")).unwrap();
        let text = read(&mut file);
        assert!(text.starts_with(&head) && text.ends_with("\npart 100 1000 y\n"), "{text}");
        let kept = State::parse(&text).parts;
        assert_eq!((kept.len(), kept[0].number), (PARTS_KEPT, PARTS_MAX as u64 + 3 - PARTS_KEPT as u64), "{text}");
        let serial = State::parse(&text).serial_of("y").unwrap();
        assert_eq!((serial.log.to_string().as_str(), serial.number, serial.offset), (ID, 100, 1000));
    }

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
            log: Some(ID.parse().unwrap()),
            parts: vec![numbered(3, "with blanks 2026"), numbered(4, "2026")],
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
