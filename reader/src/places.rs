//! The pipes directory at work: its links, the lane that drains what each leads to, and what is wrong with it.
//!
//! Invariants: a pipe is opened before any log directory is, so that nobody waits for a disk; one FIFO has one lane,
//! that of the link which has it already, or leads there the straightest; a link that leads to nothing sound leaves its lane as it was, and so does
//! a policy with mistakes. A reread touches no lane whose link and policy are as they were.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::mem;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use standpipe_common::descriptors::Descriptors;
use standpipe_common::error::{Error, Result};
use standpipe_common::fifo::{self, Fifo, Identity};
use standpipe_common::name::PipeName;
use standpipe_common::pipes::Entry;
use standpipe_common::policy::Policy;
use standpipe_common::shown::Shown as _;
use standpipe_common::watch::Watch;
use standpipe_common::way::Pass;

use crate::drain::Drain;
use crate::lane::Lane;
use crate::opener::Opener;
use crate::queue::ArchiveQueue;
use crate::settings::Settings;
use crate::status::problems::{Problem, ProblemKind};

/// A link of the directory, as it stood when it was last looked at.
struct Link {
    entry: Entry,
    /// Its lane, once its FIFO could be opened.
    lane: Option<usize>,
    /// What was said last about what stands there instead of a FIFO.
    alarm: Option<String>,
    /// Its files had a mistake when they were read last.
    is_mistaken: bool,
    /// Why this machine cannot do what its policy says.
    refusal: Option<String>,
}

const BUILT_IN: &str = "the built-in defaults apply, no old log is removed, and no hook runs";
const PREVIOUS: &str = "the previous policy stays in force";

/// What a reread found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Pipes that were not there before.
    pub added: usize,
    /// Pipes whose link is gone.
    pub removed: usize,
    /// Pipes whose policy is another one.
    pub changed: usize,
    /// Pipes that could not be opened, for no descriptor was left.
    pub starved: usize,
}

/// All links of the pipes directory.
pub struct Places {
    all: Vec<Link>,
    watch: Watch<usize>,
    /// Which place each FIFO belongs to.
    taken: HashMap<Identity, usize>,
    queue: ArchiveQueue,
    descriptors: Descriptors,
    models: Models,
    /// Opens FIFOs, where this thread cannot.
    opener: Option<Opener>,
}

/// The settings that were made last, for the next pipe has the same policy in most cases.
#[derive(Default)]
struct Models(Option<(Arc<Policy>, bool, Arc<Settings>)>);

impl Models {
    /// While its policy file is wrong, nothing is deleted and no hook runs for a pipe.
    fn settings_of(&mut self, entry: &Entry) -> Result<Arc<Settings>> {
        if let Some((policy, sound, settings)) = &self.0
            && Arc::ptr_eq(policy, &entry.policy)
            && *sound == entry.sound
        {
            return Ok(Arc::clone(settings));
        }
        let settings = Settings::from_policy(&entry.policy)?;
        let settings = Arc::new(if entry.sound { settings } else { settings.harmless() });
        self.0 = Some((Arc::clone(&entry.policy), entry.sound, Arc::clone(&settings)));
        Ok(settings)
    }
}

impl Places {
    /// Of links that [`Places::take`] brings.
    pub fn new(watch: Watch<usize>, queue: ArchiveQueue, descriptors: Descriptors, opener: Option<Opener>) -> Places {
        let models = Models::default();
        Places { all: Vec::new(), watch, taken: HashMap::new(), queue, descriptors, models, opener }
    }

    /// Notices what changes at the ends of the links.
    pub fn watch(&self) -> &Watch<usize> {
        &self.watch
    }

    /// How many pipes are drained.
    pub fn count(&self) -> usize {
        self.all.iter().filter(|place| place.lane.is_some()).count()
    }

    /// Brings everything in line with the entries of a new scan. The lanes that are new are returned, and not read yet.
    pub fn take(&mut self, entries: Vec<Entry>, drain: &mut Drain, now: Instant) -> (Changes, Vec<usize>) {
        let mut changes = Changes::default();
        let before = mem::take(&mut self.all);
        let mut before: HashMap<PipeName, Link> =
            before.into_iter().map(|place| (place.entry.name.clone(), place)).collect();
        for entry in entries {
            let place = if let Some(mut place) = before.remove(&entry.name) {
                changes.changed += usize::from(place.update(entry, &mut self.models, drain));
                place
            } else {
                changes.added += 1;
                Link::new(entry)
            };
            self.all.push(place);
        }
        self.descriptors.keep_back();
        let opened = self.open(drain, now, &mut changes.starved);
        self.descriptors.release();
        changes.removed = before.len();
        for lane in before.into_values().filter_map(|place| place.lane) {
            let is_taken = self.taken.contains_key(&drain.identity(lane));
            drain.leave(lane, is_taken, now);
        }
        let mut leaving = drain.leaving();
        let mut fresh = Vec::new();
        for (index, fifo) in opened {
            fresh.extend(self.settle_in(index, fifo, &mut leaving, drain, now));
        }
        debug_assert!(self.are_apart(drain), "two lanes drain one FIFO");
        (changes, fresh)
    }

    /// Whether one FIFO has one lane.
    fn are_apart(&self, drain: &Drain) -> bool {
        let mut seen = HashSet::new();
        self.all.iter().filter_map(|link| link.lane).all(|lane| seen.insert(drain.identity(lane)))
    }

    /// Looks again at the links behind which something may have changed. The lanes that are new are returned, and not
    /// read yet.
    pub fn look_again(&mut self, drain: &mut Drain, now: Instant) -> Vec<usize> {
        let mut fresh = Vec::new();
        // However many pipes come, a log can be opened.
        self.descriptors.keep_back();
        for index in self.watch.changed(now) {
            let link = self.all[index].entry.link.clone();
            self.watch.add(&index, &link);
            if let Some(fifo) = self.look(index, &link, drain, now).unwrap_or_else(|error| self.raise(index, &error)) {
                fresh.extend(self.settle_in(index, fifo, &mut drain.leaving(), drain, now));
            }
        }
        self.descriptors.release();
        fresh
    }

    /// Opens the pipe of every place that has another one than before. Those without a lane are returned.
    fn open(&mut self, drain: &mut Drain, now: Instant, starved: &mut usize) -> Vec<(usize, Fifo)> {
        let _walks = Pass::begin();
        let links = self.all.iter().enumerate().map(|(index, place)| (index, &place.entry.link));
        let has = |index: usize, identity| self.all[index].lane.is_some_and(|lane| drain.identity(lane) == identity);
        self.taken = fifo::claims(links, has);
        let watched = self.watch.forget();
        let mut opened = Vec::new();
        for index in 0..self.all.len() {
            let link = self.all[index].entry.link.clone();
            // What happens after the look must raise an event, so the watch comes first.
            self.watch.add(&index, &link);
            self.all[index].alarm = None;
            match self.look(index, &link, drain, now) {
                Ok(fifo) => opened.extend(fifo.map(|fifo| (index, fifo))),
                Err(error) => {
                    *starved += usize::from(error.is_out_of_descriptors());
                    self.raise(index, &error);
                }
            }
        }
        self.watch.leave(watched);
        // A link that leads to nothing leaves its lane the pipe it has: nobody else drains that.
        let held: HashMap<Identity, usize> = (self.all.iter().enumerate())
            .filter_map(|(index, place)| Some((drain.identity(place.lane?), index)))
            .collect();
        opened.retain(|(index, fifo)| {
            let Some(first) = held.get(&fifo.identity()) else { return true };
            let cause = format!("{} still has the same FIFO", self.all[*first].entry.link.shown());
            let error = Error::because("drain", &self.all[*index].entry.link, cause);
            self.raise(*index, &error);
            false
        });
        // Whatever their links lead to, the others go on with the pipes that they have.
        for (index, place) in self.all.iter().enumerate() {
            if let Some(lane) = place.lane {
                self.taken.entry(drain.identity(lane)).or_insert(index);
                drain.drop_retired(lane, |identity| self.taken.contains_key(&identity));
            }
        }
        opened
    }

    /// Brings a lane in line with what its link leads to. Returns the pipe of a place without one.
    fn look(&mut self, index: usize, link: &Path, drain: &mut Drain, now: Instant) -> Result<Option<Fifo>> {
        let identity = fifo::look(link)?;
        let first = *self.taken.entry(identity).or_insert(index);
        if first != index {
            let cause = format!("it leads to the same FIFO as {}", self.all[first].entry.link.shown());
            return Err(Error::because("drain", link, cause));
        }
        let place = &mut self.all[index];
        let held = place.lane.map(|lane| drain.identity(lane));
        if held == Some(identity) {
            place.alarm = None;
            return Ok(None);
        }
        let opened = match &self.opener {
            Some(opener) => Fifo::open_by(link, |place| opener.open(place)),
            None => Fifo::open(link),
        };
        let fifo = opened.inspect_err(|_| {
            self.taken.remove(&identity);
        })?;
        let place = &mut self.all[index];
        let was_told = place.alarm.take().is_some();
        if held.is_some() {
            log::info!("{}: FIFO was replaced; now reading the new one", place.entry.name);
        } else if was_told {
            log::info!("{}: now reading its FIFO", place.entry.name);
        }
        let Some(lane) = place.lane else { return Ok(Some(fifo)) };
        self.taken.retain(|identity, place| *place != index || *identity == fifo.identity());
        drain.replace_fifo(lane, fifo, now);
        Ok(None)
    }

    /// What stands in the way of some, for `reader status`.
    pub fn problems(&self) -> Vec<Problem> {
        self.all.iter().flat_map(Link::problems).collect()
    }

    /// Says what is wrong with a place, once. Descriptors that were short for a moment may be there before long.
    fn raise(&mut self, index: usize, error: &Error) -> Option<Fifo> {
        if error.is_out_of_descriptors() {
            self.watch.look_soon(&index);
        }
        let sentence = error.to_string();
        let place = &mut self.all[index];
        if place.alarm.as_ref() != Some(&sentence) {
            log::error!("{sentence}");
            place.alarm = Some(sentence);
        }
        None
    }

    /// Gives a place without a lane the one of its name that is about to leave, or a new one, which is returned.
    fn settle_in(
        &mut self,
        index: usize,
        fifo: Fifo,
        leaving: &mut HashMap<OsString, usize>,
        drain: &mut Drain,
        now: Instant,
    ) -> Option<usize> {
        match leaving.remove(self.all[index].entry.name.as_os_str()) {
            Some(lane) => {
                self.come_back(index, lane, fifo, drain, now);
                None
            }
            None => self.add_lane(index, fifo, drain),
        }
    }

    fn add_lane(&mut self, index: usize, fifo: Fifo, drain: &mut Drain) -> Option<usize> {
        let place = &mut self.all[index];
        let settings = self
            .models
            .settings_of(&place.entry)
            .or_else(|error| {
                log::error!("{error}; using the built-in defaults for {}", place.entry.name);
                place.refusal = Some(format!("{error}; {BUILT_IN}"));
                Settings::from_policy(&Policy::default()).map(|settings| Arc::new(settings.harmless()))
            })
            .ok()?;
        let name = place.entry.name.as_os_str().to_owned();
        place.lane = Some(drain.add(Lane::new(name, fifo, settings, self.queue.clone())));
        place.lane
    }

    /// The link of a lane that was about to leave is there again.
    fn come_back(&mut self, index: usize, lane: usize, fifo: Fifo, drain: &mut Drain, now: Instant) {
        let place = &mut self.all[index];
        place.lane = Some(lane);
        drain.come_back(lane, fifo, now);
        match self.models.settings_of(&place.entry) {
            // The policy in force stays.
            _ if !place.entry.sound => {}
            settings => place.change(lane, settings, drain),
        }
    }
}

impl Link {
    fn new(entry: Entry) -> Link {
        let is_mistaken = !entry.sound;
        Link { entry, lane: None, alarm: None, is_mistaken, refusal: None }
    }

    /// What stands in its way: its link, its policy.
    fn problems(&self) -> impl Iterator<Item = Problem> {
        let name = self.entry.name.as_os_str();
        let link = self.alarm.as_ref().map(|alarm| Problem::new(name, ProblemKind::Link, alarm));
        let effect = if self.entry.sound { PREVIOUS } else { BUILT_IN };
        let mistake = self.is_mistaken.then(|| format!("its policy files have a mistake: {effect}"));
        let policy = mistake.or_else(|| self.refusal.clone());
        link.into_iter().chain(policy.map(|text| Problem::new(name, ProblemKind::Policy, &text)))
    }

    fn change(&mut self, lane: usize, settings: Result<Arc<Settings>>, drain: &mut Drain) {
        self.refusal = match settings {
            Ok(settings) => {
                drain.change(lane, settings);
                None
            }
            Err(error) => {
                log::error!("{error}; keeping the previous policy of {}", self.entry.name);
                Some(format!("{error}; {PREVIOUS}"))
            }
        };
    }

    /// Takes over what a new scan says. A policy with mistakes changes nothing. Whether the lane writes in another way
    /// now.
    fn update(&mut self, entry: Entry, models: &mut Models, drain: &mut Drain) -> bool {
        self.is_mistaken = !entry.sound;
        if !entry.sound {
            return false;
        }
        let is_other = entry.policy != self.entry.policy || !self.entry.sound;
        self.entry = entry;
        let Some(lane) = self.lane.filter(|_| is_other) else { return false };
        let settings = models.settings_of(&self.entry);
        self.change(lane, settings, drain);
        true
    }
}
