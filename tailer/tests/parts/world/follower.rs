//! Who follows: a source, its checkpoint in the form that it has on disk, and an output that delivers late.

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::unistd::{Uid, setfsuid};
use standpipe_common::clock;
use standpipe_common::error::Result;
use standpipe_tailer::around::Around;
use standpipe_tailer::checkpoint::form;
use standpipe_tailer::checkpoint::state::SourceState;
use standpipe_tailer::config::Config;
use standpipe_tailer::file::guard::Guard;
use standpipe_tailer::file::identity::{Identity, Origin};
use standpipe_tailer::file::lease::Writers;
use standpipe_tailer::log::generation::Generation;
use standpipe_tailer::log::reading::BUFFER_BYTES;
use standpipe_tailer::log::settings::{Hints, Settings, StartAt};
use standpipe_tailer::log::source::Source;
use standpipe_tailer::names::siblings::Siblings;
use standpipe_tailer::names::siblings::directories::Directories;
use standpipe_tailer::out::lines::{GenerationId, Lines, SourceId};
use standpipe_tailer::out::output::{Delivered, Outlet, Output, Standing, Waits};
use standpipe_tailer::taken::Taken;

use super::steps::Setting;

const ID: SourceId = SourceId(0);
/// Who may open no file that is locked.
const NOBODY: u32 = 65_534;
/// More reads than any step needs.
const READS_MAX: usize = 10_000;

/// One run of lines on its way.
#[derive(Debug)]
struct Put {
    generation: GenerationId,
    origin: Origin,
    end: u64,
    bytes: Vec<u8>,
    /// How many of them stand in the file.
    file_bytes: usize,
}

/// What was put and is not delivered.
#[derive(Debug, Default)]
pub struct Queue {
    room: usize,
    is_clogged: bool,
    queued: Vec<Put>,
    /// Bytes that were put, or delivered, since this was last asked.
    pub put: Vec<u8>,
    pub delivered: Vec<u8>,
    /// How far each generation is delivered, as the record of a pipe has it.
    slots: HashMap<Origin, (u64, Guard)>,
}

impl Output for Queue {
    fn room(&self, _source: SourceId) -> usize {
        if self.is_clogged { 1 << 20 } else { self.room - self.bytes().min(self.room) }
    }

    fn put(&mut self, lines: &Lines<'_>) {
        assert!(lines.bytes.len() <= self.room(ID) + 1, "{} bytes into {}", lines.bytes.len(), self.room(ID));
        self.put.extend_from_slice(lines.bytes);
        let (generation, origin, end) = (lines.generation, lines.origin, lines.end);
        let file_bytes = (lines.end - lines.start) as usize;
        self.queued.push(Put { generation, origin, end, bytes: lines.bytes.to_vec(), file_bytes });
    }

    fn is_room_final(&self, _source: SourceId) -> bool {
        self.queued.is_empty()
    }

    fn note(&mut self, _source: SourceId, _standing: Standing) {}
}

impl Outlet for Queue {
    fn hold(&mut self, _: SourceId, _: bool) {}

    fn turn(&mut self, _now: Instant, _now_ns: i64, delivered: &mut Vec<Delivered>) -> Result<Waits> {
        if !self.is_clogged {
            let count = self.queued.len();
            self.deliver(count, delivered);
        }
        Ok(Waits::default())
    }

    fn hurry(&mut self) {}

    fn is_empty(&self) -> bool {
        self.queued.is_empty()
    }
}

impl Queue {
    fn bytes(&self) -> usize {
        self.queued.iter().map(|put| put.bytes.len()).sum()
    }

    fn deliver(&mut self, count: usize, delivered: &mut Vec<Delivered>) {
        for put in self.queued.drain(..count) {
            self.delivered.extend_from_slice(&put.bytes);
            self.slots.insert(put.origin, (put.end, Guard::of_end(&put.bytes[..put.file_bytes])));
            delivered.push(Delivered { generation: put.generation, offset: put.end });
        }
    }
}

pub struct Follower {
    path: PathBuf,
    siblings: Siblings,
    settings: Arc<Settings>,
    source: Option<Source>,
    pub output: Queue,
    /// The state file.
    saved: Option<Vec<u8>>,
    pub now: Instant,
    buffer: Vec<u8>,
    /// What it told.
    pub told: Vec<String>,
}

fn unknown(_file: &File) -> Writers {
    Writers::Unknown
}

impl Follower {
    pub fn new(path: &Path, rotated: Option<&[String]>, setting: Setting) -> Follower {
        let mut settings = Settings { start_at: StartAt::Beginning, since_ns: clock::now_ns(), ..Settings::default() };
        if !setting.has_leases {
            settings.writers = unknown;
        }
        let mut follower = Follower {
            path: path.to_path_buf(),
            siblings: Siblings::new(path, rotated).unwrap(),
            settings: Arc::new(settings),
            source: None,
            output: Queue { room: setting.room, ..Queue::default() },
            saved: None,
            now: Instant::now(),
            buffer: vec![0; BUFFER_BYTES],
            told: Vec::new(),
        };
        follower.start();
        follower
    }

    pub fn is_running(&self) -> bool {
        self.source.is_some()
    }

    /// Takes up what the checkpoint says, and what the record of the pipe knows better.
    pub fn start(&mut self) {
        let settings = self.settings.clone();
        let known = self.saved.as_ref().map(|bytes| form::parse(bytes).unwrap().remove(0));
        self.source = Some(match known {
            None => Source::new(ID, self.path.clone(), settings),
            Some(mut state) => {
                self.overlay(&mut state);
                Source::restore(ID, state, settings)
            }
        });
    }

    fn overlay(&mut self, state: &mut SourceState) {
        // What the checkpoint does not know is forgotten.
        self.output.slots.retain(|origin, _| state.generations.iter().any(|generation| generation.origin == *origin));
        for generation in &mut state.generations {
            if let Some((offset, guard)) = self.output.slots.get(&generation.origin)
                && *offset > generation.offset
            {
                generation.offset = *offset;
                generation.guard = Some(*guard);
            }
        }
    }

    pub fn save(&mut self) {
        if let Some(source) = &self.source {
            self.saved = Some(form::render(&[source.state()]));
        }
    }

    /// The process is gone; the first `arrives` quarters of what was on its way are delivered by the next.
    pub fn kill(&mut self, arrives: usize) {
        self.source = None;
        let count = self.output.queued.len() * arrives.min(4) / 4;
        self.output.deliver(count, &mut Vec::new());
        self.output.queued.clear();
        self.output.is_clogged = false;
    }

    pub fn set_clogged(&mut self, is_clogged: bool) {
        self.output.is_clogged = is_clogged;
        self.deliver();
    }

    fn deliver(&mut self) {
        let mut delivered = Vec::new();
        self.output.turn(self.now, 1, &mut delivered).unwrap();
        let Some(source) = &mut self.source else { return };
        for Delivered { generation, offset } in delivered {
            source.delivered(generation, offset);
        }
    }

    /// Looks and reads until nothing more is to be done now.
    /// Somebody closed each of its files.
    pub fn tell_closed(&mut self) {
        let ids: Vec<GenerationId> = self.generations().map(Generation::id).collect();
        for id in ids {
            self.source.iter_mut().for_each(|source| source.closed(id, self.now));
        }
    }

    pub fn turn(&mut self, hints: Hints) {
        self.look(hints);
        for _ in 0..READS_MAX {
            let Some(source) = &mut self.source else { return };
            let standing = source.read(&mut self.output, &mut self.buffer, 1 << 22, self.now, 1);
            self.deliver();
            let Some(source) = &self.source else { return };
            if source.wants_look() && !(self.output.is_clogged && standing != Standing::Behind) {
                self.look(Hints::default());
            } else if standing != Standing::Behind {
                return;
            }
        }
        panic!("it never comes to rest");
    }

    fn look(&mut self, hints: Hints) {
        let Some(source) = &mut self.source else { return };
        let mut directories = Directories::new(self.now);
        let (taken, config, also) = (Taken::default(), Config::default(), BTreeSet::new());
        let mut around = Around::new(ID, &mut self.siblings, &also, &mut directories, &taken, &config);
        // Packed files are gone through in as many looks as it takes reads.
        around.unpack_left = Some(1);
        // Root can open everything.
        let before = setfsuid(Uid::from_raw(NOBODY));
        source.look(self.now, hints, &mut around);
        setfsuid(before);
        self.told.extend(source.take_happenings().iter().map(|happening| format!("{happening:?}")));
        if source.take_changed() {
            self.save();
        }
    }

    pub fn advance(&mut self, ms: u64) {
        self.now += Duration::from_millis(ms);
    }

    pub fn generations(&self) -> impl Iterator<Item = &Generation> {
        self.source.iter().flat_map(Source::generations)
    }

    /// Whether it has this file open.
    pub fn holds(&self, identity: &Identity) -> bool {
        self.generations().any(|generation| generation.inode() == *identity && generation.file().is_some())
    }

    pub fn describe(&self) -> String {
        let generations: Vec<String> =
            self.generations().map(|generation| format!("\n  {}", brief(generation))).collect();
        let generations = generations.concat();
        format!("generations:{generations}\ntold:\n  {}", self.told[self.told.len().saturating_sub(40)..].join("\n  "))
    }
}

fn brief(generation: &Generation) -> String {
    let (origin, inode, life, cursor) =
        (generation.origin(), generation.inode(), generation.life(), generation.cursor());
    let name = generation.path().file_name().unwrap_or_default().to_string_lossy();
    let (ino, epoch, copy) = (origin.identity.ino, origin.epoch, inode.ino);
    let (read, put, delivered, held) = (cursor.read(), cursor.put(), cursor.delivered(), cursor.held().len());
    let live = generation.is_live();
    format!(
        "{name} {ino}.{epoch} in {copy} {life:?} read {read} put {put} delivered {delivered} held {held} live {live} \
         writers {:?}",
        generation.writers()
    )
}

/// Which file has this name.
pub fn identity(path: &Path) -> Option<Identity> {
    fs::metadata(path).ok().map(|metadata| Identity::from(&metadata))
}
