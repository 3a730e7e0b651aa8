//! What is said of a spool. Each complaint once: what was said already is remembered.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use standpipe_common::error::Error;
use standpipe_common::retry::Once;
use standpipe_common::shown::{Shown as _, counted};

use super::dir::{Dir, Name, kept, refusal};
use crate::events::Event;

/// Most names of which a complaint is remembered.
const NAMES_MAX: usize = 1000;

/// All of it, of one spool.
#[derive(Debug, Default)]
pub struct Voice {
    events: Vec<Event>,
    trouble: Once<String>,
    names: HashSet<(Name, &'static str)>,
    /// What is said once of the whole spool, and was.
    told: HashSet<&'static str>,
    /// Markers without their files that were removed.
    orphans: u64,
    orphans_told: u64,
}

impl Voice {
    /// This is to be said.
    pub fn say(&mut self, event: Event) {
        self.events.push(event);
    }

    /// What is to be said since this was last asked.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// What is wrong with the directory: told once, and again when it is something else.
    pub fn trouble(&mut self, sentence: &str) {
        if self.trouble.is_news(sentence.to_owned()) {
            self.say(Event::Error(format!("{sentence}; retrying")));
        }
    }

    /// What is wrong with it now, and why it is not read.
    pub fn complaint(&self) -> Option<String> {
        self.trouble.current().cloned()
    }

    /// Nothing is wrong with it. Whether that is news.
    pub fn recover(&mut self, dir: &Path) -> bool {
        let is_news = self.trouble.end();
        if is_news {
            self.say(Event::Recovered { path: dir.to_path_buf() });
        }
        is_news
    }

    /// This is wrong with a name. Whether that is news, and is to be told: not of more names than are remembered.
    pub fn is_new(&mut self, name: &OsStr, what: &'static str) -> bool {
        debug_assert!(self.names.len() <= NAMES_MAX);
        self.names.len() < NAMES_MAX && self.names.insert((kept(name), what))
    }

    /// What stands there is left. Told once of a name.
    pub fn refuse(&mut self, path: PathBuf, name: &OsStr, what: &'static str, wanted: &str) {
        if self.is_new(name, what) {
            self.say(Event::Refused { path, reason: format!("{}; left in place", refusal(what, wanted)) });
        }
    }

    /// That no more names are complained of, once there were so many.
    pub fn tell_full(&mut self, dir: &Path) {
        if self.names.len() >= NAMES_MAX && self.told.insert("full") {
            self.say(Event::Warning(format!("{}: further problems in it are not reported", dir.shown())));
        }
    }

    /// One more marker without a file was removed.
    pub fn count_orphan(&mut self) {
        self.orphans += 1;
    }

    /// How many were.
    pub fn orphans(&self) -> u64 {
        self.orphans
    }

    /// That more were than were told of.
    pub fn tell_orphans(&mut self, name: &str) {
        debug_assert!(self.orphans_told <= self.orphans);
        let more = self.orphans - std::mem::replace(&mut self.orphans_told, self.orphans);
        if more > 0 {
            let (all, markers) = (self.orphans, counted(more, "old marker"));
            self.say(Event::Note(format!("{name}: removed {markers} without a file, {all} in total")));
        }
    }

    /// That the kernel does not tell who writes, once.
    pub fn tell_unknown(&mut self, dir: &Dir, name: &OsStr, has_markers: bool) {
        if !self.told.insert("unknown writers") {
            return;
        }
        self.say(if has_markers {
            Event::Note(format!(
                "file leases unavailable (need CAP_LEASE or file ownership): only markers show when files in {} are complete",
                dir.path.shown()
            ))
        } else {
            let cause =
                "file leases unavailable (need CAP_LEASE or file ownership): set `done`, so that markers show when a file is complete";
            Event::Error(Error::because("deliver", dir.path_of(name), cause).to_string())
        });
    }

    /// That something cannot be removed, once. It is tried again, but not soon: it may be so for all that there are.
    pub fn tell_removal(&mut self, dir: &Dir, name: &OsStr, error: io::Error) {
        if self.told.insert("removal") {
            let sentence = Error::new("remove", dir.path_of(name), error);
            self.say(Event::Error(format!("{sentence}; delivering it anyway, like others in this state")));
        }
    }
}
