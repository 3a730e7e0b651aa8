//! A source on a directory of its own, an output that collects what it is given, and a clock that tests move.

#![allow(dead_code)]

use std::cell::Cell;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use standpipe_common::error::Result;
use standpipe_tailer::checkpoint::state::SourceState;
use standpipe_tailer::file::identity::Identity;
use standpipe_tailer::file::lease::Writers;
use standpipe_tailer::log::happening::Happening;
use standpipe_tailer::log::reading::BUFFER_BYTES;
use standpipe_tailer::log::settings::{Hints, Settings, StartAt, Surroundings};
use standpipe_tailer::log::source::Source;
use standpipe_tailer::out::lines::{End, GenerationId, Lines, SourceId};
use standpipe_tailer::out::output::{Delivered, Outlet, Output, Standing, Waits};
use tempfile::TempDir;

/// One run of lines that was put.
#[derive(Clone, Debug)]
pub struct Put {
    pub generation: GenerationId,
    pub start: u64,
    pub end: u64,
    pub bytes: Vec<u8>,
    pub ends: End,
}

/// Collects what it is given.
#[derive(Debug)]
pub struct Collector {
    pub puts: Vec<Put>,
    pub room: usize,
    pub is_empty: Cell<bool>,
    waiting: Vec<Delivered>,
}

impl Output for Collector {
    fn room(&self, _source: SourceId) -> usize {
        self.room
    }

    fn put(&mut self, lines: &Lines<'_>) {
        let added = usize::from(lines.ends == End::Added);
        assert!(!lines.bytes.is_empty());
        assert!(lines.bytes.len() <= self.room + added, "{} bytes into {}", lines.bytes.len(), self.room);
        assert_eq!(lines.bytes.len() - added, (lines.end - lines.start) as usize);
        assert_eq!(lines.ends != End::Open, lines.bytes.ends_with(b"\n"));
        let last = self.puts.iter().rev().find(|put| put.generation == lines.generation);
        assert!(last.is_none_or(|put| put.end <= lines.start), "bytes are given once");
        self.puts.push(Put {
            generation: lines.generation,
            start: lines.start,
            end: lines.end,
            bytes: lines.bytes.to_vec(),
            ends: lines.ends,
        });
        self.waiting.push(Delivered { generation: lines.generation, offset: lines.end });
        self.is_empty.set(false);
    }

    fn is_room_final(&self, _source: SourceId) -> bool {
        self.is_empty.get()
    }

    fn note(&mut self, _source: SourceId, _standing: Standing) {}
}

impl Outlet for Collector {
    fn hold(&mut self, _: SourceId, _: bool) {}

    fn turn(&mut self, _now: Instant, _now_ns: i64, delivered: &mut Vec<Delivered>) -> Result<Waits> {
        delivered.append(&mut self.waiting);
        self.is_empty.set(true);
        Ok(Waits::default())
    }

    fn hurry(&mut self) {}

    fn is_empty(&self) -> bool {
        self.is_empty.get()
    }
}

/// The files of a directory whose names begin with that of the log, by birth of their numbers; `.gz` is packed.
#[derive(Default)]
pub struct Beside {
    pub log: PathBuf,
    pub also: Vec<PathBuf>,
    pub ours: Vec<Identity>,
    /// Whose names say nothing.
    pub others: Vec<PathBuf>,
    /// Another log that is followed begins with all that any file has.
    pub has_twin: bool,
    /// What a look may still unpack to compare it. `None`: all.
    pub unpack_left: Option<u64>,
}

impl Surroundings for Beside {
    fn candidates(&mut self) -> Vec<PathBuf> {
        let name = self.log.file_name().unwrap().to_str().unwrap().to_owned();
        let mut paths = Vec::new();
        for dir in [self.log.parent().unwrap().to_path_buf()].iter().chain(&self.also) {
            let entries = fs::read_dir(dir).into_iter().flatten().flatten();
            paths.extend(entries.map(|entry| entry.path()).filter(|path| {
                let other = path.file_name().unwrap().to_str().unwrap();
                other.starts_with(&name) && other != name
            }));
        }
        let number = |path: &PathBuf| -> i64 {
            let name = path.to_str().unwrap().trim_end_matches(".gz");
            name.rsplit('.').next().and_then(|part| part.parse().ok()).unwrap_or(0)
        };
        paths.sort_by_key(|path| -number(path));
        paths
    }

    fn others(&mut self, _file: Option<&Identity>) -> Vec<PathBuf> {
        self.others.clone()
    }

    fn is_copy(&mut self, _file: &File, _size: u64) -> bool {
        self.has_twin
    }

    fn is_packed(&self, path: &Path) -> bool {
        path.extension().is_some_and(|extension| extension == "gz")
    }

    fn unpack(&mut self, file: File, _path: &Path) -> io::Result<Box<dyn Read>> {
        Ok(Box::new(flate2::read::MultiGzDecoder::new(file)))
    }

    fn unpack_left(&mut self) -> Option<&mut u64> {
        self.unpack_left.as_mut()
    }

    fn is_ours(&self, identity: &Identity) -> bool {
        self.ours.contains(identity)
    }
}

/// The kernel says nothing.
pub fn unknown(_file: &File) -> Writers {
    Writers::Unknown
}

/// Whether leases can be had: each scenario of rotation is played with both.
pub const BOTH: [bool; 2] = [true, false];

pub struct Follower {
    pub dir: TempDir,
    pub log: PathBuf,
    pub source: Source,
    pub output: Collector,
    pub beside: Beside,
    pub now: Instant,
    pub settings: Settings,
    pub happenings: Vec<Happening>,
    pub delivers: bool,
    /// How often a look changed the list of generations: so often a checkpoint is written at once.
    pub lists: usize,
    buffer: Vec<u8>,
}

impl Follower {
    /// Follows `app.log` of a new directory from its first byte.
    pub fn new(has_leases: bool) -> Follower {
        let settings = Settings { start_at: StartAt::Beginning, ..Settings::default() };
        Follower::with(has_leases, settings)
    }

    pub fn with(has_leases: bool, mut settings: Settings) -> Follower {
        if !has_leases {
            settings.writers = unknown;
        }
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("app.log");
        let source = Source::new(SourceId(0), log.clone(), Arc::new(settings.clone()));
        let output = Collector { puts: Vec::new(), room: 1 << 20, is_empty: Cell::new(true), waiting: Vec::new() };
        let beside = Beside { log: log.clone(), ..Beside::default() };
        Follower {
            dir,
            log,
            source,
            output,
            beside,
            now: Instant::now(),
            settings,
            happenings: Vec::new(),
            delivers: true,
            lists: 0,
            buffer: vec![0; BUFFER_BYTES],
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn append(&self, name: &str, text: impl AsRef<[u8]>) {
        self.writer(name).write_all(text.as_ref()).unwrap();
    }

    pub fn writer(&self, name: &str) -> File {
        OpenOptions::new().create(true).append(true).open(self.path(name)).unwrap()
    }

    pub fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).unwrap();
    }

    pub fn copy(&self, from: &str, to: &str) {
        fs::copy(self.path(from), self.path(to)).unwrap();
    }

    pub fn remove(&self, name: &str) {
        fs::remove_file(self.path(name)).unwrap();
    }

    pub fn truncate(&self, name: &str, size: u64) {
        OpenOptions::new().write(true).open(self.path(name)).unwrap().set_len(size).unwrap();
    }

    pub fn pack(&self, name: &str) {
        let from = self.path(name);
        let packed = File::create(self.path(&format!("{name}.gz"))).unwrap();
        let mut encoder = flate2::write::GzEncoder::new(packed, flate2::Compression::fast());
        encoder.write_all(&fs::read(&from).unwrap()).unwrap();
        let changed = fs::metadata(&from).unwrap().modified().unwrap();
        encoder.finish().unwrap().set_modified(changed).unwrap();
        fs::remove_file(from).unwrap();
    }

    pub fn identity(&self, name: &str) -> Identity {
        Identity::from(&fs::metadata(self.path(name)).unwrap())
    }

    /// One look and reads until nothing is behind.
    pub fn turn_with(&mut self, hints: Hints) -> Standing {
        self.look(hints);
        for _ in 0..10_000 {
            let standing = self.read();
            if self.source.wants_look() {
                self.look(Hints::default());
            } else if standing != Standing::Behind || !self.delivers {
                self.happenings.extend(self.source.take_happenings());
                return standing;
            }
        }
        panic!("it never comes to rest");
    }

    /// Packed files are gone through in as many looks as it takes reads.
    fn look(&mut self, hints: Hints) {
        self.beside.unpack_left = Some(1);
        self.source.look(self.now, hints, &mut self.beside);
        self.beside.unpack_left = None;
        self.lists += usize::from(self.source.take_changed());
    }

    pub fn read(&mut self) -> Standing {
        let now_ns = 1;
        let standing = self.source.read(&mut self.output, &mut self.buffer, 1 << 22, self.now, now_ns);
        if self.delivers {
            self.deliver();
        }
        standing
    }

    pub fn deliver(&mut self) {
        let mut delivered = Vec::new();
        self.output.turn(self.now, 1, &mut delivered).unwrap();
        for Delivered { generation, offset } in delivered {
            self.source.delivered(generation, offset);
        }
    }

    /// A turn on hints.
    pub fn turn(&mut self) -> Standing {
        self.turn_with(Hints { names: true, content: true })
    }

    /// A turn without a hint.
    pub fn poll(&mut self) -> Standing {
        self.turn_with(Hints::default())
    }

    pub fn advance(&mut self, ms: u64) {
        self.now += Duration::from_millis(ms);
    }

    /// Turns until the time for everything that waits is over.
    pub fn settle(&mut self) {
        for _ in 0..80 {
            self.turn();
            self.advance(1000);
        }
    }

    /// The program ends and begins again.
    pub fn restart(&mut self) -> SourceState {
        let state = self.stop();
        self.start(state.clone());
        state
    }

    pub fn stop(&mut self) -> SourceState {
        self.source.state()
    }

    pub fn start(&mut self, state: SourceState) {
        self.source = Source::restore(SourceId(0), state, Arc::new(self.settings.clone()));
        self.output.waiting.clear();
        // Numbers of generations begin anew.
        for put in &mut self.output.puts {
            put.generation = GenerationId(u64::MAX);
        }
        self.output.is_empty.set(true);
    }

    /// All that was given.
    pub fn text(&self) -> String {
        let bytes: Vec<u8> = self.output.puts.iter().flat_map(|put| put.bytes.clone()).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// What was given since this was last asked.
    pub fn take(&mut self) -> String {
        let text = self.text();
        self.output.puts.clear();
        text
    }

    pub fn heard(&self, is: impl Fn(&Happening) -> bool) -> usize {
        self.happenings.iter().filter(|happening| is(happening)).count()
    }
}

/// Numbered lines.
pub fn lines(range: std::ops::Range<u32>) -> String {
    range.fold(String::new(), |text, n| text + &format!("f=app n={n:08}\n"))
}

/// Compares long texts and shows where they differ.
#[track_caller]
pub fn same(text: &str, expected: &str) {
    let (mut left, mut right) = (text.lines(), expected.lines());
    for line in 0.. {
        let (left, right) = (left.next(), right.next());
        assert_eq!(left, right, "line {line}");
        if left.is_none() {
            break;
        }
    }
    assert!(text == expected);
}
