//! The form of a journal: what changed since a state file was written, a line a save.
//!
//! ```text
//! {"changes_of":"xxh3-64:5b1f9d2f0c6a7e44","version":1}
//! {"checksum":"xxh3-64:90c2a1f3b8e4d677","files":{"/var/log/app.log":{…},"/var/log/gone.log":null}}
//! {"checksum":"xxh3-64:1b7fe0d2c9a84c35","files":{"/var/log/app.log":{…}}}
//! ```
//!
//! - `changes_of`: the `checksum` of the state file that these are changes of.
//! - `checksum`: xxh3-64 of all bytes behind it in its line, seeded with the checksum of the line before, or `changes_of`:
//!   a line counts only behind those that it was written behind.
//! - `files`: as in a state file, but only those that changed; `null`: no longer remembered.
//!
//! Lines count up to the first one that is not whole.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::entry::{Entry, Hash};
use super::{BEFORE_SUM, Entries, VERSION, json, write, write_entry};
use crate::checkpoint::spelling;
use crate::checkpoint::state::SourceState;

/// What every journal begins with, of whatever version.
pub const BEGIN: &[u8] = b"{\"changes_of\":\"";

/// Between the checksum and `files`. What the checksum covers begins with it.
const BEHIND_SUM: &[u8] = b"\",";

/// How far changes count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Length of the head and the lines that count.
    pub bytes: usize,
    /// What the next line is seeded with.
    pub sum: u64,
    /// More stands behind it than the beginning of one line, which a kill leaves.
    pub is_damaged: bool,
}

/// The first line, for a state file of this checksum.
pub fn head(base: u64) -> Vec<u8> {
    let mut bytes = BEGIN.to_vec();
    write(&mut bytes, format_args!("{}\",\"version\":{VERSION}}}\n", Hash(base)));
    bytes
}

/// A line of changes behind one of the checksum `seed`; and its own checksum.
pub fn line<'a>(
    seed: u64,
    changed: impl IntoIterator<Item = &'a SourceState>,
    gone: impl IntoIterator<Item = &'a Path>,
) -> (Vec<u8>, u64) {
    let mut bytes = sum_of(0);
    let covered_from = bytes.len();
    bytes.extend_from_slice(BEHIND_SUM);
    bytes.extend_from_slice(b"\"files\":{");
    let mut is_first = true;
    let mut separate = |bytes: &mut Vec<u8>| {
        if !std::mem::take(&mut is_first) {
            bytes.push(b',');
        }
    };
    for state in changed {
        separate(&mut bytes);
        write_entry(&mut bytes, state);
    }
    for path in gone {
        separate(&mut bytes);
        json(&mut bytes, &spelling::of(path));
        bytes.extend_from_slice(b":null");
    }
    bytes.extend_from_slice(b"}}\n");
    let sum = xxh3_64_with_seed(&bytes[covered_from..], seed);
    bytes[..covered_from].copy_from_slice(&sum_of(sum));
    (bytes, sum)
}

/// Makes of `states`, which the state file of the checksum `base` says, what these bytes say they became. `None`: they
/// are no changes of that.
///
/// # Errors
/// They are of this newer version.
pub fn apply(bytes: &[u8], base: u64, states: &mut Vec<SourceState>) -> Result<Option<Applied>, u64> {
    let Some(first) = first_line(bytes) else { return Ok(None) };
    if first != head(base) {
        let version = serde_json::from_slice::<ChangesHead>(first).map_or(0, |head| head.version);
        return if version > VERSION { Err(version) } else { Ok(None) };
    }
    let mut end = Applied { bytes: first.len(), sum: base, is_damaged: false };
    let mut by_path: BTreeMap<PathBuf, SourceState> = BTreeMap::new();
    by_path.extend(std::mem::take(states).into_iter().map(|state| (state.path.clone(), state)));
    while let Some(line) = first_line(&bytes[end.bytes..]) {
        let Some((sum, changes)) = read_line(line, end.sum) else {
            end.is_damaged = true;
            break;
        };
        for (path, state) in changes {
            match state {
                Some(state) => by_path.insert(path, state),
                None => by_path.remove(&path),
            };
        }
        (end.bytes, end.sum) = (end.bytes + line.len(), sum);
    }
    *states = by_path.into_values().collect();
    Ok(Some(end))
}

#[derive(Deserialize)]
struct ChangesHead {
    version: u64,
}

#[derive(Deserialize)]
struct ChangesLine {
    files: Entries<Option<Entry>>,
}

/// A source as it is now. `None`: it is no longer remembered.
type Change = (PathBuf, Option<SourceState>);

/// What a whole line says, and its checksum. `None`: it was not written behind one of the checksum `seed`.
fn read_line(line: &[u8], seed: u64) -> Option<(u64, Vec<Change>)> {
    let (begin, covered) = line.split_at_checked(sum_of(0).len())?;
    let sum = xxh3_64_with_seed(covered, seed);
    if begin != sum_of(sum) {
        return None;
    }
    let Entries(entries) = serde_json::from_slice::<ChangesLine>(line).ok()?.files;
    let read = |(text, entry): (String, Option<Entry>)| {
        let path = spelling::path(&text)?;
        let state = entry.map(|entry| entry.into_source(path.clone())).transpose().ok()?;
        Some((path, state))
    };
    Some((sum, entries.into_iter().map(read).collect::<Option<_>>()?))
}

/// What a line of this checksum begins with.
fn sum_of(sum: u64) -> Vec<u8> {
    [BEFORE_SUM, Hash(sum).to_string().as_bytes()].concat()
}

/// The first line, with its newline.
fn first_line(bytes: &[u8]) -> Option<&[u8]> {
    let newline = memchr::memchr(b'\n', bytes)?;
    Some(&bytes[..=newline])
}
