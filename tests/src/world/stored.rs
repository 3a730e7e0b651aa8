//! What a log directory holds, as one stream of bytes: every part in the order of its name.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use standpipe_common::archive::Archive;

use crate::deadline::{CONDITION_SPAN, within};

/// Bytes of a stamp of the kind `iso` in UTC, with its space.
pub const STAMP_BYTES: usize = "2026-11-21T10:00:00.000000Z ".len();

/// The parts of a log directory, sorted; a segment that has an archive too counts once, as its archive.
///
/// A listing may lack a part whose archive was made behind its place and whose segment went before its place: the next
/// one has it. None is newer than the newest of the first.
pub fn parts(log_dir: &Path) -> Vec<PathBuf> {
    let mut parts = listed(log_dir);
    if let Some(newest) = parts.keys().next_back().cloned() {
        for (stem, path) in listed(log_dir).into_iter().filter(|(stem, _)| *stem <= newest) {
            parts.entry(stem).or_insert(path);
        }
    }
    parts.into_values().collect()
}

fn listed(log_dir: &Path) -> BTreeMap<String, PathBuf> {
    let mut parts: BTreeMap<String, PathBuf> = BTreeMap::new();
    for entry in fs::read_dir(log_dir).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') {
            continue;
        }
        if let Some(stem) = name.strip_suffix(".log.zst") {
            parts.insert(stem.to_owned(), entry.path());
        } else if let Some(stem) = name.strip_suffix(".log") {
            parts.entry(stem.to_owned()).or_insert_with(|| entry.path());
        }
    }
    parts
}

/// Everything that is stored, in order.
pub fn stream_of(log_dir: &Path) -> Vec<u8> {
    contents(log_dir).concat()
}

/// The log bytes of each part, in order.
///
/// A part that is archived and removed while this reads is looked for again.
pub fn contents(log_dir: &Path) -> Vec<Vec<u8>> {
    const TRIES_MAX: usize = 100;
    for _ in 0..TRIES_MAX {
        let read: std::io::Result<Vec<Vec<u8>>> = parts(log_dir).iter().map(|part| content(part)).collect();
        match read {
            Ok(contents) => return contents,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => panic!("cannot read back {}: {error}", log_dir.display()),
        }
    }
    panic!("the parts of {} do not stand still", log_dir.display());
}

/// Whether the newest of these parts is empty: the one before it is sealed. One that has gone meanwhile is not.
pub fn newest_is_empty(parts: &[PathBuf]) -> bool {
    parts.last().is_some_and(|part| content(part).is_ok_and(|bytes| bytes.is_empty()))
}

/// The log bytes of one part. An archive is read by the zstd library alone: what is ours in it must not matter.
pub fn content(part: &Path) -> std::io::Result<Vec<u8>> {
    let file = File::open(part)?;
    let mut bytes = Vec::new();
    if is_archive(part) {
        zstd::stream::read::Decoder::new(file)?.read_to_end(&mut bytes)?;
    } else {
        (&file).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

/// Opens an archive as our own programs do.
pub fn open_archive(path: &Path) -> Archive {
    let file = File::open(path).unwrap_or_else(|error| panic!("cannot open {}: {error}", path.display()));
    Archive::open(file, path).expect("an archive can be read")
}

/// The log bytes of a part that stands still.
pub fn raw(part: &Path) -> Vec<u8> {
    content(part).unwrap_or_else(|error| panic!("cannot read {}: {error}", part.display()))
}

/// Archives in a log directory, in the order of their names.
pub fn archives(log_dir: &Path) -> Vec<PathBuf> {
    parts(log_dir).into_iter().filter(|part| is_archive(part)).collect()
}

/// Whether a part is an archive.
pub fn is_archive(part: &Path) -> bool {
    part.extension().is_some_and(|extension| extension == "zst")
}

/// Waits until a log holds exactly this.
pub fn wait_stored(log_dir: &Path, expected: &[u8]) {
    if !within(CONDITION_SPAN, || stream_of(log_dir) == expected) {
        assert_same(&stream_of(log_dir), expected, &log_dir.display().to_string());
    }
}

/// Compares long streams without printing them.
pub fn assert_same(found: &[u8], expected: &[u8], what: &str) {
    if found == expected {
        return;
    }
    let at = found.iter().zip(expected).position(|(a, b)| a != b).unwrap_or(found.len().min(expected.len()));
    let around = |bytes: &[u8]| bytes[at.saturating_sub(20).min(bytes.len())..(at + 60).min(bytes.len())].to_vec();
    panic!(
        "{what}: {} bytes instead of {}, different from byte {at} on:\n{:?}\ninstead of\n{:?}",
        found.len(),
        expected.len(),
        String::from_utf8_lossy(&around(found)),
        String::from_utf8_lossy(&around(expected)),
    );
}

/// The stream without the stamp of each line.
///
/// # Panics
/// A line has none.
pub fn unstamped(stream: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for line in stream.split_inclusive(|byte| *byte == b'\n') {
        let shape: Vec<u8> =
            line.iter().take(STAMP_BYTES).map(|byte| if byte.is_ascii_digit() { b'0' } else { *byte }).collect();
        assert_eq!(shape, b"0000-00-00T00:00:00.000000Z ", "no stamp: {:?}", line.escape_ascii().to_string());
        bytes.extend_from_slice(&line[STAMP_BYTES..]);
    }
    bytes
}
