//! What a log directory holds, as one stream of bytes: every part in the order of its name.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The parts of a log directory, sorted; a segment that has an archive too counts once, as its archive.
pub fn parts(log_dir: &Path) -> Vec<PathBuf> {
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
    parts.into_values().collect()
}

/// Everything that is stored, in order.
///
/// A part that is archived and removed while this reads is looked for again.
pub fn stream_of(log_dir: &Path) -> Vec<u8> {
    const TRIES_MAX: usize = 100;
    for _ in 0..TRIES_MAX {
        let read: std::io::Result<Vec<Vec<u8>>> = parts(log_dir).iter().map(|part| content(part)).collect();
        match read {
            Ok(parts) => return parts.concat(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => panic!("cannot read back {}: {error}", log_dir.display()),
        }
    }
    panic!("the parts of {} do not stand still", log_dir.display());
}

/// The log bytes of one part. An archive is read by the zstd library alone: what is ours in it must not matter.
pub fn content(part: &Path) -> std::io::Result<Vec<u8>> {
    let file = fs::File::open(part)?;
    let mut bytes = Vec::new();
    if part.extension().is_some_and(|extension| extension == "zst") {
        zstd::stream::read::Decoder::new(file)?.read_to_end(&mut bytes)?;
    } else {
        (&file).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}
