//! What is in a mailbox on its way into a log: of a reader that died it is not lost, but not in the log yet either.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use crate::disk::{self, Dir};
use crate::listing::{LOCK, SELF};
use crate::mailbox::{NAME_PREFIX, peek};
use crate::mailboxes::SALVAGED_PREFIX;
use crate::record::Record;
use crate::shelf;

use standpipe_common::shown::{Shown as _, counted};

/// One sentence on what waits for the log directory `dir`, in its own mailboxes or those of the log root above it.
pub fn sentence(dir: &Dir) -> Option<String> {
    let lane = dir.path().canonicalize().ok()?.file_name()?.to_owned();
    let parent = dir.parent().ok();
    let own = look(dir, OsStr::new(SELF));
    let above = parent.as_ref().map(|parent| look(parent, &lane)).unwrap_or_default();
    let mut words = Vec::new();
    let bytes = own.bytes + above.bytes;
    if bytes > 0 {
        words.push(format!(
            "{} in the mailbox of a reader that was killed; the next start of reader adds them to the log",
            counted(bytes as u64, "more byte")
        ));
    }
    for name in own.salvaged.iter().chain(&above.salvaged) {
        words.push(format!("{name} contains bytes that did not fit into the log"));
    }
    (!words.is_empty()).then(|| format!("{}: {}", lane.shown(), words.join("; ")))
}

/// Where in that segment of `dir` the chunk begins that is on its way into it. What stands there and behind may be some
/// of it, and the mark that tells when it came may not be there yet. `None`: none is on its way.
pub fn chunk_begin(dir: &Dir, segment: &str) -> Option<u64> {
    let lane = dir.path().canonicalize().ok()?.file_name()?.to_owned();
    let parent = dir.parent().ok();
    let own = chunks(dir, OsStr::new(SELF));
    let above = parent.iter().flat_map(|parent| chunks(parent, &lane));
    own.chain(above).filter(|record| record.part == segment).map(|record| record.base).min()
}

/// The records of the chunks of `lane` that are in a mailbox of `root`.
fn chunks<'a>(root: &'a Dir, lane: &'a OsStr) -> impl Iterator<Item = Record> + 'a {
    let names = root.names().unwrap_or_default().into_iter().filter(|name| starts_with(name, NAME_PREFIX));
    let held = names.filter_map(|name| peek(&shelf::open_read(root, &name).ok()?).ok().flatten());
    held.map(|(record, _)| record).filter(move |record| record.lane == lane)
}

#[derive(Default)]
struct Found {
    bytes: usize,
    salvaged: Vec<String>,
}

/// The chunks of `lane` in the mailboxes of `root`, if no reader is alive there. What we may not read is not told.
fn look(root: &Dir, lane: &OsStr) -> Found {
    let mut found = Found::default();
    let alive = root.open_read(LOCK).is_ok_and(|lock| disk::is_locked(&lock).unwrap_or(false));
    for name in root.names().unwrap_or_default() {
        let salvaged = starts_with(&name, SALVAGED_PREFIX);
        if !salvaged && (alive || !starts_with(&name, NAME_PREFIX)) {
            continue;
        }
        let held = shelf::open_read(root, &name).ok().and_then(|file| peek(&file).ok().flatten());
        let Some((record, n)) = held.filter(|(record, _)| record.lane == lane) else { continue };
        if salvaged {
            found.salvaged.push(root.path_of(&name).shown().to_string());
        } else {
            // What a crash during the write already brought into the log counts once.
            let there = root_part_len(root, &record.lane, &record.part).saturating_sub(record.base);
            found.bytes += n.saturating_sub(usize::try_from(there).unwrap_or(usize::MAX));
        }
    }
    found
}

fn root_part_len(root: &Dir, lane: &OsStr, part: &str) -> u64 {
    let dir = root.path().join(lane).join(part);
    std::fs::metadata(dir).map_or(0, |metadata| metadata.len())
}

fn starts_with(name: &OsString, prefix: &str) -> bool {
    name.as_bytes().starts_with(prefix.as_bytes())
}
