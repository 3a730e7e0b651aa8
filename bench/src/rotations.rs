//! What a server and a rotator do to a file while it is followed.
//!
//! Each line has the next number, from 1 on, and several lines come with one `write(2)`, as from a server that buffers.
//! What the rotator keeps stands beside the file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use standpipe_common::error::{Cannot, Error, Result};

use crate::tally::line;

/// A way to rotate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// A: 200 lines, rename, create, 0.1 s; 20 times.
    Renames,
    /// B: the same without a pause.
    FastRenames,
    /// C: 50 lines, rename, create, and 50 ms later 20 more into the renamed file; 20 times.
    LateWriter,
    /// D: truncated and at once as long as before with other lines, 0.3 s; 10 times.
    Truncations,
    /// Copied and truncated beside a writer of three lines a millisecond, 0.4 s; 8 times.
    CopyTruncate,
}

const RENAMES: u32 = 20;
const LINES: u32 = 200;
const RENAME_PAUSE: Duration = Duration::from_millis(100);
const LATE_LINES: u32 = 20;
const EARLY_LINES: u32 = 50;
const LATE_PAUSE: Duration = Duration::from_millis(50);
const TRUNCATIONS: u32 = 10;
const TRUNCATION_PAUSE: Duration = Duration::from_millis(300);
const COPIES: u32 = 8;
const COPY_PAUSE: Duration = Duration::from_millis(400);
const LINES_PER_MS: u32 = 3;

/// What the table says of them.
pub const DESCRIPTION: &str = "\
    A: 20 x (200 lines, rename, create, 0.1 s), 4,200 lines. B: the same without a pause. C: 20 x (50 lines, rename,\n\
    create, 50 ms later 20 lines more into the renamed file), 1,450 lines. D: 10 x (truncated and as long again at once,\n\
    0.3 s), 2,000 lines. copytruncate: 8 x (copy, truncate, 0.4 s) beside 3 lines a millisecond, about 9,900 lines.";

/// All of them, in the order of the table.
pub const ALL: [Rotation; 5] =
    [Rotation::Renames, Rotation::FastRenames, Rotation::LateWriter, Rotation::Truncations, Rotation::CopyTruncate];

impl Rotation {
    /// How the table calls it.
    pub fn label(self) -> &'static str {
        match self {
            Rotation::Renames => "A",
            Rotation::FastRenames => "B",
            Rotation::LateWriter => "C",
            Rotation::Truncations => "D",
            Rotation::CopyTruncate => "copytruncate",
        }
    }

    /// Does it to `path`, which is there. Returns how many lines were written.
    pub fn run(self, path: &Path) -> Result<u32> {
        let done = match self {
            Rotation::Renames => renames(path, RENAME_PAUSE),
            Rotation::FastRenames => renames(path, Duration::ZERO),
            Rotation::LateWriter => late_writer(path),
            Rotation::Truncations => truncations(path),
            Rotation::CopyTruncate => return copy_truncate(path),
        };
        done.cannot("rotate", path)
    }
}

/// A server that numbers its lines.
struct Server {
    number: u32,
}

impl Server {
    fn write(&mut self, mut file: &File, lines: u32) -> io::Result<()> {
        let first = self.number + 1;
        self.number += lines;
        let text: Vec<u8> = (first..=self.number).flat_map(line).collect();
        file.write_all(&text)
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

fn rotated(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

fn renames(path: &Path, pause: Duration) -> io::Result<u32> {
    let mut server = Server { number: 0 };
    let mut file = open(path)?;
    for round in 1..=RENAMES {
        server.write(&file, LINES)?;
        fs::rename(path, rotated(path, round))?;
        file = open(path)?;
        thread::sleep(pause);
    }
    server.write(&file, LINES)?;
    Ok(server.number)
}

fn late_writer(path: &Path) -> io::Result<u32> {
    let mut server = Server { number: 0 };
    let mut file = open(path)?;
    for round in 1..=RENAMES {
        server.write(&file, EARLY_LINES)?;
        fs::rename(path, rotated(path, round))?;
        let next = open(path)?;
        thread::sleep(LATE_PAUSE);
        server.write(&file, LATE_LINES)?;
        file = next;
    }
    server.write(&file, EARLY_LINES)?;
    Ok(server.number)
}

fn truncations(path: &Path) -> io::Result<u32> {
    let mut server = Server { number: 0 };
    let file = open(path)?;
    for _ in 0..TRUNCATIONS {
        file.set_len(0)?;
        server.write(&file, LINES)?;
        thread::sleep(TRUNCATION_PAUSE);
    }
    Ok(server.number)
}

fn copy_truncate(path: &Path) -> Result<u32> {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let writer = scope.spawn(|| steady(path, &stop));
        let rotated = (1..=COPIES).try_for_each(|round| {
            thread::sleep(COPY_PAUSE);
            fs::copy(path, rotated(path, round))?;
            OpenOptions::new().write(true).open(path)?.set_len(0)
        });
        thread::sleep(COPY_PAUSE / 4);
        stop.store(true, Ordering::Relaxed);
        let written = writer.join().unwrap_or_else(|_| Err(io::Error::other("the writer panicked")));
        rotated.cannot("rotate", path)?;
        written.map_err(|error| Error::new("write", path, error))
    })
}

/// Three lines a millisecond, whatever the machine did meanwhile, until it is told to stop.
fn steady(path: &Path, stop: &AtomicBool) -> io::Result<u32> {
    let mut server = Server { number: 0 };
    let file = open(path)?;
    let start = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        let due = start.elapsed().as_millis() as u32 * LINES_PER_MS;
        server.write(&file, due.saturating_sub(server.number))?;
        thread::sleep(Duration::from_millis(1));
    }
    Ok(server.number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_writes_what_the_table_says_and_keeps_what_its_rotator_keeps() {
        let dir = tempfile::tempdir().unwrap();
        for (rotation, written, kept) in [(Rotation::FastRenames, 4200, 21), (Rotation::LateWriter, 1450, 21)] {
            let path = dir.path().join(rotation.label()).join("app.log");
            fs::create_dir(path.parent().unwrap()).unwrap();
            assert_eq!(rotation.run(&path).unwrap(), written);
            assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), kept);
        }
    }
}
