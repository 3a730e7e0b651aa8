//! The followed sources, and of which of them the next checkpoint is to say something else.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use standpipe_common::retry::Once;

use crate::config::FileConfig;
use crate::log::source::Source;
use crate::names::ear::Ear;
use crate::names::siblings::Siblings;
use crate::out::lines::{GenerationId, SourceId};
use crate::out::output::{Output, Standing};
use crate::out::unwrap::Unwrapper;
use crate::spacing::Spacing;
use crate::status::format::{Counts, Delay};
use crate::turns::meter::Meter;
use crate::turns::rate::{Backlog, Throttle};

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
    /// Which output takes its lines.
    pub output: usize,
    /// Which is to take them once the other one has delivered.
    pub next_output: usize,
    /// What tells of its changes.
    pub watched: Watched,
    /// What is counted of it, and since when what is so.
    pub account: Account,
    /// How fast it may be read. `None`: as fast as it can be.
    pub throttle: Option<Throttle>,
    /// From records of its file to lines.
    pub unwrapper: Unwrapper,
    /// What is said of it.
    pub said: Said,
}

/// What tells of changes of a source.
#[derive(Debug, Default)]
pub struct Watched {
    /// Whether something does of all of them.
    pub ear: Ear,
    /// Generations whose files are watched.
    pub files: BTreeSet<GenerationId>,
}

/// What is counted of a source, and since when what is so.
#[derive(Debug, Default)]
pub struct Account {
    /// What happened to it in this run.
    pub counts: Counts,
    /// How many files it had open when it was last looked at.
    pub open: usize,
    /// When bytes of it were taken last.
    pub fed_at: Option<Instant>,
    /// Since when bytes of it wait, as the status file knows it.
    pub delay: Delay,
    /// What it held at first sight was skipped, for it was too old.
    pub was_too_old: bool,
}

/// What is said of a source, and what was.
#[derive(Debug, Default)]
pub struct Said {
    /// How often it is.
    pub spacing: Spacing,
    /// That its text cannot be read.
    pub utf16: Once<()>,
    /// That its file ends in zeros.
    pub blank: Once<()>,
}

impl Followed {
    /// One that was not looked at yet.
    pub fn new(source: Source, name: String, file: FileConfig, siblings: Siblings, output: usize) -> Followed {
        Followed {
            unwrapper: Unwrapper::new(file.format),
            source,
            name,
            file,
            siblings,
            also: BTreeSet::new(),
            output,
            next_output: output,
            watched: Watched::default(),
            account: Account::default(),
            throttle: None,
            said: Said::default(),
        }
    }

    /// Whether all that was read of it is delivered, but for pieces of a line whose end is not there.
    pub fn is_delivered(&self) -> bool {
        self.source.generations().all(|generation| {
            let is_held = |from| generation.cursor().delivered() >= from;
            generation.is_delivered() || self.unwrapper.held_from(generation.id()).is_some_and(is_held)
        })
    }

    /// Is limited from now on as its entry says.
    pub fn limit(&mut self, now: Instant) {
        let rate = self.file.rate_limit;
        if self.throttle.as_ref().map(Throttle::rate) != rate {
            self.throttle = rate.map(|rate| Throttle::new(rate, now));
        }
    }

    /// Reads it once, about so many bytes of the room that there is, and as many as its limit allows.
    pub fn read(&mut self, output: &mut dyn Output, buffer: &mut [u8], share: usize, now: Instant, now_ns: i64) -> Fed {
        let id = self.source.id();
        let room = output.room(id);
        let allowed = self.throttle.as_mut().map_or(usize::MAX, |throttle| throttle.allowance(now));
        // Others wait for the rest of a line that was begun: what it takes too much is paid back.
        let allowed = if self.source.is_inside_line() { usize::MAX } else { allowed };
        let mut lines = self.unwrapper.around(output);
        let mut meter = Meter::around(&mut lines, self.throttle.is_some());
        let held = self.source.held_bytes();
        let looked_at = self.source.looked_at_bytes();
        let standing = if room == 0 || allowed == 0 {
            Standing::Behind
        } else {
            self.source.read(&mut meter, buffer, share.min(allowed), now, now_ns)
        };
        let (put, lines) = (meter.bytes, meter.lines);
        let has_moved = put > 0 || self.source.held_bytes() != held || self.source.looked_at_bytes() != looked_at;
        let is_at_end = standing != Standing::Behind || self.source.unread_bytes() == 0;
        let mut fed =
            Fed { standing, had_room: room > 0, has_moved, room: output.room(id), rests_until: None, backlog: None };
        if let Some(throttle) = &mut self.throttle {
            // What is held was read as well, and is not counted again when it is put.
            throttle.take((put + self.source.held_bytes()).saturating_sub(held), lines);
            fed.rests_until = throttle.rests_until().filter(|_| !self.source.is_inside_line());
            fed.backlog = if room == 0 { None } else { throttle.note(is_at_end, now) };
        }
        if has_moved {
            self.account.fed_at = Some(now);
        }
        fed
    }

    /// How long after a look the next one is due without a hint. None may come of what is written over zeros.
    pub fn interval(&self, poll_interval: Duration) -> Duration {
        let ear = if self.source.blank_bytes() == 0 { self.watched.ear } else { Ear::Polls };
        ear.interval(poll_interval)
    }
}

/// What a read of a log came to.
pub struct Fed {
    /// What it is at.
    pub standing: Standing,
    /// Its output had room before.
    pub had_room: bool,
    /// Something of it was taken.
    pub has_moved: bool,
    /// Room that its output has left.
    pub room: usize,
    /// Its limit keeps it until then.
    pub rests_until: Option<Instant>,
    /// What its limit does to what waits.
    pub backlog: Option<Backlog>,
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
