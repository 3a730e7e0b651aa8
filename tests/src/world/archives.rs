//! Logs made by hand, with arrival times of the test's choice.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use standpipe_common::archive::{Guess, Mark, Spec, Writer};
use standpipe_common::serial::Serial;

use crate::directory::Scratch;
use crate::privilege::give;

/// 2026-11-21T10:00:00Z, ns since the epoch.
pub const TEN_NS: i64 = 1_795_255_200_000_000_000;
/// A second, ns.
pub const SECOND_NS: i64 = 1_000_000_000;

/// The log directory of a pipe.
pub fn log_dir(scratch: &Scratch, name: &str) -> PathBuf {
    scratch.make_dir(&format!("logs/{name}"))
}

/// The name that a part gets which is begun that many minutes, less than 60, after ten.
pub fn stem(minute: u32) -> String {
    assert!(minute < 60, "no such minute");
    format!("2026-11-21T10-{minute:02}-00.000000Z")
}

/// Marks by offset and seconds after ten.
pub fn marks(marks: &[(u64, i64)]) -> Vec<Mark> {
    marks.iter().map(|&(offset, second)| Mark { offset, time_ns: TEN_NS + second * SECOND_NS }).collect()
}

/// Writes an archive of `raw`.
pub fn archive(dir: &Path, stem: &str, raw: &[u8], marks: Vec<Mark>, begins_inside: bool) -> PathBuf {
    write_archive(dir, stem, raw, spec(marks, begins_inside, true))
}

/// The same without a search filter.
pub fn plain_archive(dir: &Path, stem: &str, raw: &[u8], marks: Vec<Mark>, begins_inside: bool) -> PathBuf {
    write_archive(dir, stem, raw, spec(marks, begins_inside, false))
}

/// The same of a part that says which one it is.
pub fn numbered_archive(dir: &Path, stem: &str, raw: &[u8], serial: Serial) -> PathBuf {
    let spec = Spec { serial: Some(serial), ..spec(Vec::new(), false, true) };
    write_archive(dir, stem, raw, spec)
}

fn spec(marks: Vec<Mark>, begins_inside: bool, filter: bool) -> Spec {
    let guess = Guess { birth_ns: TEN_NS, last_ns: TEN_NS + SECOND_NS };
    Spec { level: 1, begins_inside, serial: None, marks, guess, filter }
}

fn write_archive(dir: &Path, stem: &str, raw: &[u8], spec: Spec) -> PathBuf {
    let path = dir.join(format!("{stem}.log.zst"));
    let mut file = File::create(&path).expect("a directory of our own");
    Writer::new().expect("zstd").write(&mut &raw[..], &mut file, spec).expect("an archive");
    give(&path);
    path
}

/// Writes a segment of `raw`, with its marks beside it if there are any.
pub fn segment(dir: &Path, stem: &str, raw: &[u8], marks: &[Mark]) -> PathBuf {
    let path = dir.join(format!("{stem}.log"));
    fs::write(&path, raw).expect("a directory of our own");
    give(&path);
    if !marks.is_empty() {
        let records: Vec<u8> = marks.iter().flat_map(|mark| mark.to_bytes()).collect();
        let times = dir.join(format!("{stem}.times"));
        fs::write(&times, records).expect("a directory of our own");
        give(&times);
    }
    path
}
