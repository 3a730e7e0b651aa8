//! The generations of a checkpoint: each is found again by identity and content, or looked for among the copies.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use memchr::memrchr;
use xxhash_rust::xxh3::xxh3_64;

use crate::checkpoint::state::{GenerationState, SourceState};
use crate::file::guard::Head;
use crate::file::identity::Identity;
use crate::file::open::{At, FoundFile, Opened, look};
use crate::file::packed::Packing;
use crate::log::eyes::Eyes;
use crate::log::generation::Generation;
use crate::log::happening::Happening;
use crate::log::memory::{Memory, read_up_to};
use crate::log::settings::Surroundings;
use crate::out::lines::GenerationId;

/// Longest line whose hash is verified.
const LINE_BYTES_MAX: u64 = 1 << 20;

/// The generations that a checkpoint says of the log at `path`, with numbers from `new_id`.
pub(crate) fn generations(
    state: &SourceState,
    path: &Path,
    mut new_id: impl FnMut() -> GenerationId,
    eyes: &mut Eyes<'_>,
) -> Vec<Generation> {
    let files = files(path, eyes.around);
    let live = identity_at(path);
    let mut generations = Vec::new();
    for (index, saved) in state.generations.iter().enumerate() {
        let identity = saved.inode();
        let is_last_life = saved.copy.is_some()
            || !state.generations[index + 1..].iter().any(|later| later.origin.identity == identity);
        let found = if is_last_life { find(saved, identity, &files) } else { None };
        let mut generation = Generation::restored(new_id(), saved, path.to_path_buf(), eyes.now);
        match found {
            Some((path, found)) => take_up(&mut generation, saved, &path, &found, live, eyes),
            None => generation.life_mut().seek(eyes.now, None),
        }
        generations.push(generation);
    }
    generations
}

/// A generation was found. `live`: which file has the live name.
fn take_up(
    generation: &mut Generation,
    saved: &GenerationState,
    path: &Path,
    found: &FoundFile,
    live: Option<Identity>,
    eyes: &mut Eyes<'_>,
) {
    generation.renumber(found.identity);
    if live == Some(found.identity) {
        generation.rename(true, eyes.now);
    } else {
        generation.set_path(path);
    }
    match found.open() {
        // What it holds is known again, not what it is.
        Opened::File(file) if Packing::of_file(&file).is_some() => generation.life_mut().seek(eyes.now, None),
        Opened::File(file) => {
            generation.cursor_mut().know(remembered(saved, &file));
            // What cannot be read now is opened again in this look, and then said.
            generation.resume(file).ok();
            let path = generation.path().clone();
            eyes.tell(Happening::Opened { path, identity: found.identity, offset: saved.offset });
        }
        Opened::Failed(_) | Opened::Refused(_) => {}
    }
}

fn identity_at(path: &Path) -> Option<Identity> {
    match look(path) {
        At::File(found) => Some(found.identity),
        _ => None,
    }
}

/// The file that a generation was in. Device numbers may change when the machine is started again: the same inode
/// number and birth do where the content is the same.
fn find(
    saved: &GenerationState,
    identity: Identity,
    files: &HashMap<Identity, PathBuf>,
) -> Option<(PathBuf, FoundFile)> {
    let open = |path: &PathBuf, identity: &Identity| match look(path) {
        At::File(found) if found.identity == *identity => Some((path.clone(), found)),
        _ => None,
    };
    if let Some(path) = files.get(&identity) {
        return open(path, &identity);
    }
    let is_same = |other: &Identity| {
        let (birth, known) = (other.born_ns == identity.born_ns, identity.born_ns != 0 || other.born_ns == 0);
        other.ino == identity.ino && (birth && known || identity.born_ns == 0 && other.dev == identity.dev)
    };
    let (identity, path) = files.iter().find(|(other, _)| is_same(other))?;
    let (path, found) = open(path, identity)?;
    let Opened::File(file) = found.open() else { return None };
    let there = Memory::of_file(&file, saved.offset).ok().flatten()?;
    // Without a guard it is found out where it is taken up which life of the file this is.
    let is_it = saved.guard.is_none() || remembered(saved, &file).is_same(&there);
    is_it.then_some((path, found))
}

/// All files that a generation may be in, by identity.
fn files(live: &Path, around: &mut dyn Surroundings) -> HashMap<Identity, PathBuf> {
    // Packed bytes are no bytes of ours: such a file is known again by what it unpacks to.
    let mut paths = around.candidates();
    paths.retain(|path| !around.is_packed(path));
    paths.push(live.to_path_buf());
    paths.into_iter().filter_map(|path| Some((identity_at(&path)?, path))).collect()
}

/// What a checkpoint remembers of the file of this identity. One that has no guard remembers what stands there, if its
/// head and its last line do not contradict: identity and size have to do then, and only here. Otherwise it remembers
/// nothing, which no file fits.
fn remembered(saved: &GenerationState, file: &File) -> Memory {
    if saved.guard.is_some() {
        return saved.into();
    }
    let there = Memory::of_file(file, saved.offset).ok().flatten().filter(|_| last_line_fits(file, saved));
    let is_head = |there: &Memory| matches!(there, Memory::Bytes { head, .. } if saved.head.fits(head) != Some(false));
    there.filter(is_head).unwrap_or(Memory::Guards { head: Head::default(), tail: None })
}

/// Whether the last line before the offset is the one that a checkpoint of another form has the hash of. Without a
/// hash, or where the line is too long, identity and size have to do.
fn last_line_fits(file: &File, saved: &GenerationState) -> bool {
    let Some(hash) = saved.last_line_hash else { return true };
    let from = saved.offset.saturating_sub(LINE_BYTES_MAX);
    let mut bytes = vec![0; (saved.offset - from) as usize];
    let Ok(read) = read_up_to(file, &mut bytes, from) else { return true };
    if read < bytes.len() {
        return false;
    }
    let line = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    let start = memrchr(b'\n', line).map_or(0, |newline| newline + 1);
    (start == 0 && from > 0) || xxh3_64(&bytes[start..]) == hash
}
