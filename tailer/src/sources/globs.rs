//! The globs of the configuration, what was found under each, and when each is looked through again.
//!
//! Its directories are watched for the names that it can match, and no other name costs anything. A directory is
//! watched before it is looked into: what comes after that is told by a hint. All globs are looked through now and then
//! all the same, for a hint may be missing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use standpipe_common::error::Error;

use crate::config::Config;
use crate::names::ear::Ear;
use crate::names::siblings::directories::Directories;
use crate::names::watch::{Waiter, Watch};
use crate::sources::walk::{Glob, Matches};

/// Walks of one look. Where directories are made faster than that, the next round goes on.
const WALKS_MAX: usize = 8;

/// All globs, by the entry of `files` that each is.
#[derive(Debug, Default)]
pub struct Globs {
    known: BTreeMap<usize, Searched>,
    /// Names came that one of these may match.
    hinted: BTreeSet<usize>,
    /// When all are looked through though nothing tells of a change.
    all_at: Option<Instant>,
    /// None is before that.
    rests_until: Option<Instant>,
    /// Something that was found is to be taken up once more, although nothing changes.
    is_again: bool,
    /// What could not be looked into, as it was told.
    said: BTreeSet<String>,
    unsaid: Vec<String>,
}

#[derive(Debug)]
struct Searched {
    glob: Glob,
    matches: Matches,
    ear: Ear,
}

impl Globs {
    /// Those of a configuration instead of what was there before: to be looked through.
    pub fn set(&mut self, config: &Config, watch: Option<&mut Watch>) {
        let globs = config.files.iter().enumerate().filter(|(_, file)| file.is_glob);
        let fresh = |glob| Searched { glob, matches: Matches::default(), ear: Ear::Polls };
        let before = std::mem::take(&mut self.known);
        self.known = globs.map(|(index, file)| (index, fresh(Glob::of(file)))).collect();
        self.hinted = self.known.keys().copied().collect();
        (self.all_at, self.rests_until, self.is_again) = (None, None, false);
        self.said.clear();
        let Some(watch) = watch else { return };
        for index in before.into_keys().filter(|index| !self.known.contains_key(index)) {
            watch.add_directories(Waiter::Glob(index), &[]);
        }
    }

    /// The glob of an entry, if it is one, and what was found under it.
    pub fn get(&self, index: usize) -> Option<(&Glob, &[PathBuf])> {
        self.known.get(&index).map(|known| (&known.glob, known.matches.files.as_slice()))
    }

    /// Names came that these wait for.
    pub fn hint(&mut self, globs: &BTreeSet<usize>) {
        self.hinted.extend(globs.iter().filter(|index| self.known.contains_key(index)));
    }

    /// All are to be looked through.
    pub fn hint_all(&mut self, now: Instant) {
        self.all_at = self.all_at.map(|_| now);
    }

    /// What was found could not be taken up: it is returned once more though nothing changes.
    pub fn again(&mut self) {
        self.is_again = true;
    }

    /// None is to be looked through before that.
    pub fn rest(&mut self, until: Instant) {
        self.rests_until = Some(until);
    }

    /// When the next one is to be looked through.
    pub fn due(&self, now: Instant) -> Option<Instant> {
        let due = if self.hinted.is_empty() { self.all_at } else { Some(now) };
        due.max(self.rests_until.filter(|_| due.is_some()))
    }

    /// When all are looked through, if that is owed and did not happen yet.
    pub fn owed(&self, now: Instant) -> Option<Instant> {
        let at = self.all_at.filter(|at| *at <= now)?;
        Some(self.rests_until.map_or(at, |rests_until| rests_until.max(at)))
    }

    /// Looks through those that are due. Whether there may be sources that were not there before.
    pub fn look(
        &mut self,
        now: Instant,
        poll_interval: Duration,
        mut watch: Option<&mut Watch>,
        directories: &mut Directories,
    ) -> bool {
        if self.due(now).is_none_or(|due| due > now) {
            return false;
        }
        let hinted = std::mem::take(&mut self.hinted);
        let are_all_due = self.all_at.is_none_or(|at| at <= now);
        let mut may_be_new = !hinted.is_empty();
        let mut unreadable = Vec::new();
        for (index, known) in self.known.iter_mut().filter(|(index, _)| are_all_due || hinted.contains(index)) {
            let look = known.look(Waiter::Glob(*index), watch.as_deref_mut(), directories, &mut unreadable);
            may_be_new |= look.is_changed;
            if !look.is_settled {
                self.hinted.insert(*index);
            }
        }
        self.tell(are_all_due, &unreadable);
        let next =
            self.known.values().map(|known| known.ear.interval(poll_interval)).min().map(|interval| now + interval);
        if are_all_due {
            self.all_at = next;
            may_be_new |= std::mem::take(&mut self.is_again);
        } else {
            self.all_at = self.all_at.min(next);
        }
        may_be_new
    }

    /// What could not be looked into since this was asked last; each once, as long as that lasts.
    pub fn take_unreadable(&mut self) -> Vec<String> {
        std::mem::take(&mut self.unsaid)
    }

    fn tell(&mut self, are_all: bool, unreadable: &[Error]) {
        let sentences: BTreeSet<String> = unreadable.iter().map(Error::to_string).collect();
        self.unsaid.extend(sentences.difference(&self.said).cloned());
        if are_all {
            self.said = sentences;
        } else {
            self.said.extend(sentences);
        }
    }
}

/// How a look went.
struct Outlook {
    is_changed: bool,
    /// Each directory was looked into after it was watched.
    is_settled: bool,
}

impl Searched {
    fn look(
        &mut self,
        waiter: Waiter,
        mut watch: Option<&mut Watch>,
        directories: &mut Directories,
        unreadable: &mut Vec<Error>,
    ) -> Outlook {
        let mut look = Outlook { is_changed: false, is_settled: watch.is_none() };
        for _ in 0..WALKS_MAX {
            if let Some(watch) = &mut watch {
                self.ear = Ear::of(watch.add_directories(waiter, &self.glob.awaited(&self.matches)));
            }
            directories.forget_round();
            let matches = self.glob.walk(directories, unreadable);
            look.is_settled |= matches.has_ways_of(&self.matches);
            look.is_changed |= matches != self.matches;
            self.matches = matches;
            if look.is_settled {
                break;
            }
        }
        look
    }
}
