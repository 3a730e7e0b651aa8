//! A spool: a directory into which many short-lived processes write a file each, and from which every file goes to an
//! output whole, once, in the order in which they became complete, and is then removed.
//!
//! ```text
//! scan ─▶ candidates ─▶ decide ─▶ part by part into the output ─▶ delivered ─▶ file removed ─▶ marker removed
//! ```
//! | room | what it has |
//! |---|---|
//! | [`place`] | whether the directory may be a spool |
//! | [`dir`](mod@dir), [`scan`] | its names, in order |
//! | [`decide`] | the table of what to do with a file |
//! | [`examine`] | finding out what is known of one, and doing that |
//! | [`queue`] | what is to be examined |
//! | [`known`] | what the output knows from the run before |
//! | [`part`] | reading it into the output |
//! | [`pace`] | how fast |
//! | [`remove`] | taking it away |
//! | [`said`] | what was complained of |
//! | [`outside`] | what can be seen from outside |
//! | [`set`] | all spools |
//!
//! Invariants:
//! - nothing is removed that was not delivered, but by `stale = "remove"`;
//! - a file is in one piece: while a part of it is put, its output takes lines of this spool alone, also after a
//!   restart, where the file that was begun comes first;
//! - what was delivered and is not removed yet is known by its identity from the position that the output keeps: the
//!   checkpoint knows nothing of single files. On standard output, which keeps none, a file may come twice after a kill;
//! - the file goes before its marker. A kill in between leaves a marker that is older than the next file of that name,
//!   so it does not count; it is removed when it is old.
//!
//! A process opens its file once and closes it once. What is appended to a file after it was delivered is delivered
//! too, but not in one piece with it.

pub mod decide;
pub mod dir;
pub mod examine;
pub mod known;
pub mod outside;
pub mod pace;
pub mod part;
pub mod place;
pub mod queue;
pub mod remove;
pub mod said;
pub mod scan;
pub mod set;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet, VecDeque};
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use standpipe_common::error::Error;
use standpipe_common::shown::Shown as _;

use self::dir::{Dir, Name};
use self::known::Progress;
use self::outside::Shown;
use self::part::Current;
use self::place::Neighbour;
use self::queue::Queue;
use self::remove::Flight;
use self::said::Said;
use self::scan::{Files, Found};
use crate::config::spool::SpoolConfig;
use crate::events::Event;
use crate::identity::{Identity, Origin};
use crate::lines::{GenerationId, SourceId};
use crate::rate::Throttle;
use crate::roster::RECONCILE_SPAN;
use crate::sources::part::Awaited;

/// The longest between two looks for files that never became complete.
const SWEEP_SPAN_MAX: Duration = Duration::from_secs(60);

/// The directories of a spool, opened.
#[derive(Clone, Debug)]
struct Place {
    dir: Rc<Dir>,
    done: Option<Rc<Dir>>,
}

/// One spool at work.
#[derive(Debug)]
pub struct Spool {
    id: SourceId,
    config: SpoolConfig,
    /// Which output takes its files.
    pub output: usize,
    place: Option<Place>,
    neighbours: Vec<Neighbour>,
    /// What may be complete, oldest first.
    queue: Queue,
    current: Option<Current>,
    /// How fast it may be read. `None`: as fast as it can be.
    throttle: Option<Throttle>,
    /// When its output last took something of it.
    fed_at: Option<Instant>,
    /// A file was begun since the last look.
    has_begun: bool,
    /// Put and not delivered, in order.
    flights: VecDeque<Flight>,
    /// Put and not removed, by what they are.
    flying: HashSet<Identity>,
    /// Delivered and not removed.
    landed: Vec<Flight>,
    /// Whether it is known what the output knows.
    is_taken_up: bool,
    /// Of files that are there still.
    known: HashMap<Identity, Progress>,
    /// What a part of is delivered.
    begun: HashSet<Name>,
    /// What the output need not know of any more.
    gone: Vec<Origin>,
    generations: u32,
    is_leaving: bool,
    /// Nothing tells of new names.
    pub is_polled: bool,
    /// Something is not complete yet.
    is_waiting: bool,
    /// It could not open a file for want of descriptors.
    is_starved: bool,
    /// `None`: it is to be looked at at once.
    looked_at: Option<Instant>,
    last_look: Instant,
    poll_interval: Duration,
    next_sweep: Instant,
    said: Said,
    /// Markers without their files that were removed.
    orphans: u64,
    orphans_told: u64,
    shown: Shown,
    events: Vec<Event>,
}

impl Spool {
    /// One that is due at once. `neighbours`: see [`place::neighbours`].
    pub fn new(id: SourceId, config: SpoolConfig, output: usize, neighbours: Vec<Neighbour>, now: Instant) -> Spool {
        Spool {
            id,
            throttle: config.rate_limit.map(|rate| Throttle::new(rate, now)),
            config,
            output,
            place: None,
            neighbours,
            queue: Queue::default(),
            current: None,
            has_begun: false,
            flights: VecDeque::new(),
            flying: HashSet::new(),
            landed: Vec::new(),
            is_taken_up: false,
            known: HashMap::new(),
            begun: HashSet::new(),
            gone: Vec::new(),
            generations: 0,
            is_leaving: false,
            fed_at: None,
            is_polled: true,
            is_waiting: false,
            is_starved: false,
            looked_at: None,
            last_look: now,
            poll_interval: RECONCILE_SPAN,
            next_sweep: now,
            said: Said::default(),
            orphans: 0,
            orphans_told: 0,
            shown: Shown::unseen(),
            events: Vec::new(),
        }
    }

    /// Its number.
    pub fn id(&self) -> SourceId {
        self.id
    }

    /// What the configuration says of it.
    pub fn config(&self) -> &SpoolConfig {
        &self.config
    }

    /// What it is called: as its directory.
    pub fn name(&self) -> String {
        let name = self.config.dir.file_name().unwrap_or(self.config.dir.as_os_str());
        name.shown().to_string()
    }

    /// Where names that concern it come: all but hidden ones.
    pub fn awaited(&self) -> Vec<(PathBuf, Vec<Awaited>)> {
        let dirs = [Some(&self.config.dir), self.config.done.as_ref()].into_iter().flatten();
        dirs.map(|dir| (dir.clone(), vec![Awaited::visible(dir)])).collect()
    }

    /// Something tells that a name came.
    pub fn hint(&mut self) {
        self.looked_at = None;
    }

    /// When it is to be looked at, if it is not due at once.
    pub fn next_look(&self, now: Instant) -> Option<Instant> {
        if self.has_work() && !self.is_leaving {
            // What came since is to be seen from outside, and older ones come first.
            return self.shown.blocked_ns.map(|_| self.last_look + RECONCILE_SPAN);
        }
        let interval = if self.is_polled || self.is_waiting { self.poll_interval } else { RECONCILE_SPAN };
        (!self.is_leaving).then_some(self.looked_at.map_or(now, |at| (at + interval).min(self.next_sweep)))
    }

    /// It begins no file any more.
    pub fn leave(&mut self) {
        self.is_leaving = true;
        self.throttle = None;
        self.queue.clear();
        self.begun.clear();
    }

    /// Where other sources live now.
    pub fn set_neighbours(&mut self, neighbours: Vec<Neighbour>) {
        self.neighbours = neighbours;
        self.place = None;
        // All are found again, once the directory is judged.
        self.queue.clear();
        self.looked_at = None;
    }

    /// Whether it does not.
    pub fn is_leaving(&self) -> bool {
        self.is_leaving
    }

    /// Whether a file was begun, by this run or the one before, whose rest nothing may come before.
    pub fn is_inside(&self) -> bool {
        self.current.is_some() || !self.begun.is_empty()
    }

    /// When its output last took something of it.
    pub fn fed_at(&self) -> Option<Instant> {
        self.fed_at
    }

    /// Whether all that was put is delivered, and removed as far as it can be.
    pub fn is_idle(&self) -> bool {
        self.current.is_none() && self.flights.is_empty() && self.landed.is_empty()
    }

    /// What happened since the last time.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// What its output can forget.
    pub fn take_gone(&mut self) -> Vec<Origin> {
        std::mem::take(&mut self.gone)
    }

    /// Looks for files, if that is due.
    pub fn look(&mut self, now: Instant, now_ns: i64, poll_interval: Duration) {
        if self.next_look(now).is_none_or(|at| at > now) {
            return;
        }
        self.looked_at = Some(now);
        self.last_look = now;
        self.poll_interval = poll_interval;
        self.is_waiting = false;
        self.tell_orphans();
        let is_sweep = self.next_sweep <= now;
        let Some(place) = self.find_place(is_sweep) else {
            // It is judged anew, and all is found again, once it is there.
            self.place = None;
            self.queue.clear();
            self.next_sweep = now + poll_interval;
            self.is_waiting = true;
            return;
        };
        if is_sweep {
            self.next_sweep = now + (self.config.max_age / 8).clamp(poll_interval, SWEEP_SPAN_MAX);
        }
        let files = match self.config.done {
            None => Files::All,
            Some(_) if is_sweep => Files::Old(self.config.max_age, now_ns),
            Some(_) => Files::None,
        };
        let mut found = match scan::scan(&place.dir, place.done.as_deref(), files, |name| self.begun.contains(name)) {
            Ok(found) => found,
            Err(error) => {
                self.trouble(&Error::new("inspect spool", &self.config.dir, error).to_string());
                return;
            }
        };
        self.refuse_odd(&place, &found);
        if self.said.is_over() {
            self.shown.is_changed = true;
            self.events.push(Event::Recovered { path: self.config.dir.clone() });
        }
        if is_sweep {
            let is_there = |name: &Name| found.candidates.iter().any(|found| !found.is_last && found.name == *name);
            self.begun.retain(is_there);
        }
        if matches!(files, Files::All) {
            self.forget_gone(&found.candidates);
        }
        if !self.flying.is_empty() {
            let flying: HashSet<_> = self.flying.iter().map(|identity| (identity.dev, identity.ino)).collect();
            found.candidates.retain(|found| found.file.is_none_or(|file| !flying.contains(&file.id)));
        }
        self.shown.is_changed |= !found.candidates.is_empty() || !self.queue.is_empty();
        // Nothing is begun before it is known what is delivered already.
        if self.is_taken_up {
            self.queue.set(found.candidates);
        } else {
            self.is_waiting = true;
        }
        self.has_begun = false;
        self.is_starved = false;
        if self.queue.is_empty() {
            self.tell_backlog(now);
        }
    }

    /// The open directories, opened anew if others are there now. They are judged then, and in each sweep.
    fn find_place(&mut self, is_sweep: bool) -> Option<Place> {
        let found = self.look_for_place(is_sweep);
        match found {
            Ok(place) => {
                self.place = Some(place.clone());
                Some(place)
            }
            Err(sentence) => {
                self.trouble(&sentence);
                None
            }
        }
    }

    fn look_for_place(&self, is_sweep: bool) -> Result<Place, String> {
        let choose = |opened: io::Result<Dir>, path: &Path, before: Option<&Rc<Dir>>| {
            let same = before.filter(|before| opened.as_ref().is_ok_and(|dir| dir.id == before.id)).cloned();
            match same {
                Some(same) if !is_sweep => Ok(same),
                same => place::judge(opened, path, &self.neighbours).map(|dir| same.unwrap_or(Rc::new(dir))),
            }
        };
        let before = self.place.as_ref();
        let path = &self.config.dir;
        let dir = choose(Dir::open(path), path, before.map(|place| &place.dir))?;
        let Some(path) = &self.config.done else { return Ok(Place { dir, done: None }) };
        let done = choose(dir.open_other(path), path, before.and_then(|place| place.done.as_ref()))?;
        match place::refuse_markers(&dir, &done) {
            Some(cause) => Err(Error::because("use spool", &dir.path, cause).to_string()),
            None => Ok(Place { dir, done: Some(done) }),
        }
    }

    /// Told once, and again when it is something else.
    fn trouble(&mut self, sentence: &str) {
        self.shown.is_changed = true;
        if self.said.is_new_trouble(sentence) {
            self.events.push(Event::Error(format!("{sentence}; retrying")));
        }
    }

    fn refuse_odd(&mut self, place: &Place, found: &Found) {
        for (name, what) in &found.odd_files {
            self.refuse(place.dir.path_of(name), name, what, "not a regular file");
        }
        for (name, what) in &found.odd_markers {
            let done = place.done.as_ref().map_or_else(PathBuf::new, |done| done.path_of(name));
            self.refuse(done, name, what, "not a marker, which is an empty file");
        }
        if self.said.is_newly_full() {
            let sentence = format!("{}: further problems in it are not reported", self.config.dir.shown());
            self.events.push(Event::Warning(sentence));
        }
    }

    /// Told once of a name.
    fn refuse(&mut self, path: PathBuf, name: &OsStr, what: &'static str, wanted: &str) {
        if self.said.is_new(name, what) {
            self.events.push(Event::Refused { path, reason: format!("{what}, {wanted}; left in place") });
        }
    }

    fn tell_orphans(&mut self) {
        let more = self.orphans - std::mem::replace(&mut self.orphans_told, self.orphans);
        if more > 0 {
            let (name, all, markers) = (self.name(), self.orphans, if more == 1 { "marker" } else { "markers" });
            self.events
                .push(Event::Note(format!("{name}: removed {more} old {markers} without a file, {all} in total")));
        }
    }

    fn next_generation(&mut self) -> GenerationId {
        self.generations = self.generations.wrapping_add(1);
        GenerationId::new(self.id, self.generations)
    }
}
