//! The form of a state file: JSON that a person can read, one line a source.
//!
//! ```text
//! {"checksum":"xxh3-64:5b1f9d2f0c6a7e44",
//! "version":1,"files":{
//! "/var/log/app.log":{"dev":64768,"ino":4198401,"offset":123456,"last_line_hash":"0123456789abcdef",…},
//! "/var/log/b.log":{…}
//! }}
//! ```
//!
//! - `checksum`: xxh3-64 of all bytes behind the first line.
//! - `files`, by path ([`SourceState::path`]; how one is spelled that is not UTF-8, `spelling` says), in the order of
//!   their paths. Each has `live` ([`SourceState::is_live`]) and the fields of its last generation: `dev`, `ino`,
//!   `offset`, `last_line_hash`, `born_ns`, `epoch`, `guard` and `head` (`bytes`, `hash`), `copy`; none of them if there
//!   is no generation. `older`: the generations before that one, oldest first, with the same fields. `done`,
//!   `since_ns` and `left_ns` as [`SourceState`] has them.
//! - `run` ([`Author`]) stands in `FILE.durable` only.
//! - A hash is `xxh3-64:` and 16 hexadecimal digits, a `last_line_hash` these alone, or with that before them; one of
//!   another form counts as none.
//! - Keys that are not known here are ignored.
//!
//! A file that has none of our own fields (only `version` and, in `files`, `dev`, `ino`, `offset`, `last_line_hash`) is
//! taken without a checksum: people and other programs write it. Any other file without a fitting checksum is damaged,
//! whatever it says, for a flipped byte may as well have hit the word `checksum`.
//!
//! A version above ours is taken at its word even where the checksum does not fit: that version may have another, and
//! to refuse a damaged file by mistake costs less than to replace a newer one.

pub mod changes;
mod entry;

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;
use std::marker::PhantomData;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::spelling;
use crate::checkpoint::state::SourceState;
use entry::Entry;

/// The version that is written here, and the only one that can be read.
pub const VERSION: u64 = 1;

/// Why a file without a byte, as `touch` makes one, is no state.
pub const EMPTY: &str = "it is empty";

/// What every state file that is written here begins with.
pub const BEFORE_SUM: &[u8] = b"{\"checksum\":\"";
const BEHIND_SUM: &[u8] = b"\",\n";

/// A state file, as the changes that go with it name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Base {
    /// The checksum in its first line.
    pub sum: u64,
    /// Its length.
    pub bytes: u64,
}

/// Why bytes are no state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// They are not what was written, and why.
    Damaged(String),
    /// They are of this version.
    Newer(u64),
}

/// The bytes of a state file.
///
/// # Panics
/// Two states have the same path (in debug builds; such a file could not be read).
pub fn render<'a>(states: impl IntoIterator<Item = &'a SourceState>) -> Vec<u8> {
    render_of(None, states)
}

/// The same with what it says of a run.
pub fn render_of<'a>(run: Option<&Author>, states: impl IntoIterator<Item = &'a SourceState>) -> Vec<u8> {
    let mut sorted: Vec<&SourceState> = states.into_iter().collect();
    sorted.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    debug_assert!(sorted.is_sorted_by(|a, b| a.path < b.path), "two entries for one path");
    let mut bytes = first_line(0);
    let first_line_bytes = bytes.len();
    write(&mut bytes, format_args!("\"version\":{VERSION},"));
    if let Some(run) = run {
        bytes.extend_from_slice(b"\"run\":");
        json(&mut bytes, run);
        bytes.push(b',');
    }
    bytes.extend_from_slice(b"\"files\":{");
    for (at, state) in sorted.into_iter().enumerate() {
        bytes.extend_from_slice(if at == 0 { b"\n" } else { b",\n" });
        write_entry(&mut bytes, state);
    }
    bytes.extend_from_slice(b"\n}}\n");
    let sum = xxh3_64(&bytes[first_line_bytes..]);
    bytes[..first_line_bytes].copy_from_slice(&first_line(sum));
    bytes
}

/// The states that these bytes say, in the order of their paths.
///
/// # Errors
/// Why they say none.
pub fn parse(bytes: &[u8]) -> Result<Vec<SourceState>, Flaw> {
    let damaged = |why: String| Flaw::Damaged(why);
    if bytes.is_empty() {
        return Err(damaged(EMPTY.to_owned()));
    }
    let header: Header =
        serde_json::from_slice(bytes).map_err(|error| damaged(format!("not a state file: {error}")))?;
    if header.version > VERSION {
        return Err(Flaw::Newer(header.version));
    }
    if header.version != VERSION {
        return Err(damaged(format!("unknown version {}", header.version)));
    }
    let sum = Sum::of(bytes);
    if sum == Sum::Differs {
        return Err(damaged("its checksum is wrong".to_owned()));
    }
    let content: Body = serde_json::from_slice(bytes).map_err(|error| damaged(format!("not a state file: {error}")))?;
    if sum == Sum::Missing && content.files.0.values().any(Entry::has_fields_of_ours) {
        return Err(damaged("it has no checksum".to_owned()));
    }
    let mut states = Vec::with_capacity(content.files.0.len());
    for (text, entry) in content.files.0 {
        let path = spelling::path(&text).ok_or_else(|| damaged(format!("{text} is not a path")))?;
        states.push(entry.into_source(path).map_err(|why| damaged(format!("{text}: {why}")))?);
    }
    states.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    Ok(states)
}

/// Which state file these bytes are. `None`: none that has a checksum.
pub fn base_of(bytes: &[u8]) -> Option<Base> {
    let (line, rest) = bytes.split_at_checked(first_line(0).len())?;
    let sum = xxh3_64(rest);
    (line == first_line(sum)).then_some(Base { sum, bytes: bytes.len() as u64 })
}

/// What bytes that are whole say of a run.
pub fn run_of(bytes: &[u8]) -> Option<Author> {
    serde_json::from_slice::<Header>(bytes).ok()?.run
}

/// The run that wrote a state.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Author {
    /// The boot.
    pub boot: String,
    /// It has ended in order, and whoever reads its pipes had taken everything.
    pub has_ended: bool,
}

/// What every version has.
#[derive(Deserialize)]
struct Header {
    version: u64,
    run: Option<Author>,
}

#[derive(Deserialize)]
struct Body {
    files: Entries<Entry>,
}

/// By spelled path, each of them once: of two entries either could be the right one.
struct Entries<T>(BTreeMap<String, T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Entries<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Entries<T>, D::Error> {
        struct Each<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Each<T> {
            type Value = Entries<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("files by path")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries<T>, A::Error> {
                let mut entries = BTreeMap::new();
                while let Some((path, entry)) = map.next_entry::<String, T>()? {
                    if entries.contains_key(&path) {
                        return Err(serde::de::Error::custom(format_args!("{path} appears twice")));
                    }
                    entries.insert(path, entry);
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(Each(PhantomData))
    }
}

/// What the first line says about the bytes behind it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sum {
    Fits,
    Differs,
    /// It is not a first line of ours.
    Missing,
}

impl Sum {
    fn of(bytes: &[u8]) -> Sum {
        let Some((line, rest)) = bytes.split_at_checked(first_line(0).len()) else { return Sum::Missing };
        if line == first_line(xxh3_64(rest)) {
            Sum::Fits
        } else if line.starts_with(BEFORE_SUM) && line.ends_with(BEHIND_SUM) {
            Sum::Differs
        } else {
            Sum::Missing
        }
    }
}

fn first_line(sum: u64) -> Vec<u8> {
    [BEFORE_SUM, entry::Hash(sum).to_string().as_bytes(), BEHIND_SUM].concat()
}

/// A source by its path.
fn write_entry(bytes: &mut Vec<u8>, state: &SourceState) {
    json(bytes, &spelling::of(&state.path));
    bytes.push(b':');
    json(bytes, &Entry::of_source(state));
}

fn json(bytes: &mut Vec<u8>, value: &impl serde::Serialize) {
    serde_json::to_writer(bytes, value).expect("numbers and strings have a form in JSON, and a Vec takes them");
}

fn write(bytes: &mut Vec<u8>, text: fmt::Arguments<'_>) {
    bytes.write_fmt(text).expect("a Vec takes all that is written to it");
}

#[cfg(test)]
mod tests;
