//! Logs as applications write them, in numbered lines, and what rotators do to them.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use super::{length, line};
use crate::privilege;

/// To whom the logs belong: whether the tailer may ask by a lease who writes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// To the user that the tailer runs as.
    Tailer,
    /// To root, while the tailer is nobody: a test of this kind needs root.
    Other,
}

/// Both, as far as there are rights for it: what is told of rotations and late writers holds with and without leases.
pub fn owners() -> Vec<Owner> {
    if privilege::is_root() { vec![Owner::Tailer, Owner::Other] } else { vec![Owner::Tailer] }
}

/// An application with its log open, which writes each line by one `write(2)` at the end of the file.
#[derive(Debug)]
pub struct Log {
    /// Where it stands.
    pub path: PathBuf,
    file: File,
    owner: Owner,
    writer: u16,
    lines: u64,
    /// How much of the next line is written already.
    begun: usize,
}

impl Log {
    /// Opens `path`, made if it is not there.
    pub fn open(path: &Path, writer: u16, owner: Owner) -> Log {
        Log { path: path.to_owned(), file: open(path, owner), owner, writer, lines: 0, begun: 0 }
    }

    /// Its number, and how many lines it wrote.
    pub fn written(&self) -> (u16, u64) {
        (self.writer, self.lines)
    }

    /// Writes that many lines.
    pub fn write(&mut self, count: u64) {
        for _ in 0..count {
            let line = self.next_line();
            self.file.write_all(&line[self.begun..]).expect("a file of our own");
            (self.lines, self.begun) = (self.lines + 1, 0);
        }
    }

    /// Writes the next line up to its middle; the next [`Log::write`] completes it.
    pub fn begin_line(&mut self) {
        let line = self.next_line();
        let half = line.len() / 2;
        self.file.write_all(&line[self.begun..half]).expect("a file of our own");
        self.begun = half;
    }

    /// Opens its path anew, as after a rotation; the descriptor that it had goes to whoever writes late. Lines of two
    /// descriptors come in no order between them.
    pub fn reopen(&mut self) -> File {
        std::mem::replace(&mut self.file, open(&self.path, self.owner))
    }

    /// Opens another path; its descriptor of the old one.
    pub fn reopen_elsewhere(&mut self, path: &Path) -> File {
        path.clone_into(&mut self.path);
        self.reopen()
    }

    /// Writes that many of its lines through another descriptor.
    pub fn write_through(&mut self, file: &mut File, count: u64) {
        std::mem::swap(file, &mut self.file);
        self.write(count);
        std::mem::swap(file, &mut self.file);
    }

    fn next_line(&self) -> Vec<u8> {
        line(self.writer, self.lines, length(self.writer, self.lines))
    }
}

/// Renames the log to `.1`, the older ones one further, and lets the application open a new one; its old descriptor.
pub fn rename_and_create(log: &mut Log) -> File {
    shift(&log.path);
    log.reopen()
}

/// `.2` to `.3`, `.1` to `.2`, the live name to `.1`; nothing is made in its place.
pub fn shift(path: &Path) {
    make_room(path);
    rename(path, &numbered(path, 1));
}

/// Copies the log to `.1`, the older ones one further, and truncates it, as logrotate does without a pause between.
/// What the application writes meanwhile is destroyed, by the rotator.
pub fn copytruncate(log: &Log) {
    make_room(&log.path);
    let aside = numbered(&log.path, 1);
    fs::copy(&log.path, &aside).expect("a copy");
    if log.owner == Owner::Tailer {
        privilege::give(&aside);
    }
    log.file.set_len(0).expect("a file of our own");
}

/// `app.log.3`.
pub fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

/// `.2` to `.3`, `.1` to `.2`.
fn make_room(path: &Path) {
    let mut count = 0;
    while numbered(path, count + 1).exists() {
        count += 1;
    }
    for number in (1..=count).rev() {
        rename(&numbered(path, number), &numbered(path, number + 1));
    }
}

fn rename(from: &Path, to: &Path) {
    fs::rename(from, to).unwrap_or_else(|error| panic!("cannot rename {}: {error}", from.display()));
}

fn open(path: &Path, owner: Owner) -> File {
    let opened = OpenOptions::new().append(true).create(true).open(path);
    let file = opened.unwrap_or_else(|error| panic!("cannot open {}: {error}", path.display()));
    if owner == Owner::Tailer {
        privilege::give(path);
    }
    file
}
