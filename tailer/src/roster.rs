//! The followed sources, and of which of them the next checkpoint is to say something else.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::config::FileConfig;
use crate::identity::Identity;
use crate::lines::{GenerationId, SourceId};
use crate::rate::Throttle;
use crate::siblings::Siblings;
use crate::source::Source;
use crate::spacing::Spacing;
use crate::status::format::Counts;
use crate::unwrap::Unwrapper;

/// How often everything is looked at although nothing tells of a change.
pub const RECONCILE_SPAN: Duration = Duration::from_secs(5);

/// A source at work.
#[derive(Debug)]
pub struct Followed {
    /// It.
    pub source: Source,
    /// What it is called.
    pub name: String,
    /// What its entry of the configuration says of it.
    pub file: FileConfig,
    /// Where its rotated generations are looked for.
    pub siblings: Siblings,
    /// Where files of it are besides: they were found under a glob, where other files are sources.
    pub also: BTreeSet<PathBuf>,
    /// How much was known of the beginning of its file when that was entered among those of all.
    pub head_level: usize,
    /// Which output takes its lines.
    pub output: usize,
    /// Which is to take them once the other one has delivered.
    pub next_output: usize,
    /// Nothing tells of its changes.
    pub is_polled: bool,
    /// Generations whose files are watched.
    pub watched: BTreeSet<GenerationId>,
    /// What it followed under its live name when it was last looked at.
    pub live: Option<Identity>,
    /// How many files it had open then.
    pub open: usize,
    /// When bytes of it were taken last.
    pub fed_at: Option<Instant>,
    /// Since when bytes of it wait, ns since the epoch, as the status file knows it.
    pub behind_ns: Option<i64>,
    /// Since when its output took nothing of what it has.
    pub blocked_ns: Option<i64>,
    /// What happened to it in this run.
    pub counts: Counts,
    /// How fast it may be read. `None`: as fast as it can be.
    pub throttle: Option<Throttle>,
    /// From records of its file to lines.
    pub unwrapper: Unwrapper,
    /// It was told that its text cannot be read.
    pub is_utf16_said: bool,
    /// It was told that its file ends in zeros.
    pub is_blank_said: bool,
    /// What is said of it, and how often.
    pub spacing: Spacing,
    /// What it held at first sight was skipped, for it was too old.
    pub was_too_old: bool,
}

impl Followed {
    /// Counts its open files again, and with them those of all.
    pub fn recount(&mut self, all: &mut usize) {
        *all = *all + self.source.descriptors_open() - self.open;
        self.open = self.source.descriptors_open();
    }

    /// One that was not looked at yet.
    pub fn new(source: Source, name: String, file: FileConfig, siblings: Siblings, output: usize) -> Followed {
        Followed {
            unwrapper: Unwrapper::new(file.format),
            is_utf16_said: false,
            is_blank_said: false,
            source,
            name,
            file,
            siblings,
            also: BTreeSet::new(),
            head_level: 0,
            output,
            next_output: output,
            is_polled: true,
            watched: BTreeSet::new(),
            live: None,
            open: 0,
            fed_at: None,
            behind_ns: None,
            blocked_ns: None,
            counts: Counts::default(),
            throttle: None,
            spacing: Spacing::default(),
            was_too_old: false,
        }
    }

    /// Whether all that was read of it is delivered, but for pieces of a line whose end is not there.
    pub fn is_delivered(&self) -> bool {
        self.source.generations().all(|generation| {
            let is_held = |from| generation.cursor.delivered() >= from;
            generation.is_delivered() || self.unwrapper.held_from(generation.id).is_some_and(is_held)
        })
    }

    /// Is limited from now on as its entry says. A batch has no limits: nothing else is there to be spared.
    pub fn limit(&mut self, is_batch: bool, now: Instant) {
        let rate = self.file.rate_limit.filter(|_| !is_batch);
        if self.throttle.as_ref().map(Throttle::rate) != rate {
            self.throttle = rate.map(|rate| Throttle::new(rate, now));
        }
    }

    /// How long after a look the next one is due without a hint. None may come of what is written over zeros.
    pub fn interval(&self, poll_interval: Duration) -> Duration {
        if self.is_polled || self.source.blank_bytes() > 0 { poll_interval } else { RECONCILE_SPAN }
    }
}

/// All of them.
#[derive(Debug, Default)]
pub struct Roster {
    /// In boxes: half of what the map has room for may be empty.
    followed: BTreeMap<SourceId, Box<Followed>>,
    /// Something happened to them since it was last asked who these are.
    touched: BTreeSet<SourceId>,
    made: u32,
}

impl Roster {
    /// A name for the next source.
    pub fn next_id(&mut self) -> SourceId {
        self.made += 1;
        SourceId(self.made - 1)
    }

    /// Adds one.
    pub fn add(&mut self, followed: Followed) {
        let id = followed.source.id();
        self.touch(id);
        self.followed.insert(id, Box::new(followed));
    }

    /// Takes one off.
    pub fn remove(&mut self, id: SourceId) -> Option<Box<Followed>> {
        self.followed.remove(&id)
    }

    /// One of them.
    pub fn get(&mut self, id: SourceId) -> Option<&mut Followed> {
        self.followed.get_mut(&id).map(Box::as_mut)
    }

    /// All of them, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = &Followed> {
        self.followed.values().map(Box::as_ref)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.followed.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.followed.is_empty()
    }

    /// Which there are.
    pub fn ids(&self) -> Vec<SourceId> {
        self.followed.keys().copied().collect()
    }

    /// It may have something else to remember than before.
    pub fn touch(&mut self, id: SourceId) {
        self.touched.insert(id);
    }

    /// All may have.
    pub fn touch_all(&mut self) {
        self.touched.extend(self.followed.keys());
    }

    /// Those that may, once.
    pub fn take_touched(&mut self) -> impl Iterator<Item = &Followed> {
        let touched = std::mem::take(&mut self.touched);
        touched.into_iter().filter_map(|id| self.followed.get(&id)).map(Box::as_ref)
    }
}
