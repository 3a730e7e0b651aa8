//! Which files are to be followed at a moment: what paths and globs find, and whose each of these files is.

use std::collections::BTreeSet;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use standpipe_common::error::Stop;
use standpipe_common::retry::Retry;

use super::hearing::Hearing;
use super::report::Report;
use crate::checkpoint::keeper::Keeper;
use crate::config::Config;
use crate::events::Event;
use crate::file::identity::Identity;
use crate::log::twins::KnownHead;
use crate::names::siblings::Siblings;
use crate::names::siblings::directories::Directories;
use crate::names::siblings::names::is_rotation_of;
use crate::out::lines::SourceId;
use crate::sources::globs::Globs;
use crate::sources::{self, FoundSource, Remembered};
use crate::spool::place::Spooled;
use crate::taken::Taken;
use crate::turns::roster::{Followed, Roster};

/// So long what was truncated waits at most until new files are found and looked at: its rest may be in one of them.
const FOUND_SPAN_MAX: Duration = Duration::from_secs(1);

/// So long it waits at least for a look at one that was found.
const SEEN_SPAN: Duration = Duration::from_millis(5);

/// Which files are looked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Among {
    /// All that are to be sources.
    All,
    /// Those that are none yet.
    New,
}

/// All that is known of where files are.
#[derive(Debug)]
pub struct Discovery {
    pub(super) globs: Globs,
    /// New files may appear, and be copies.
    has_globs: bool,
    pub(super) taken: Taken,
    pub(super) directories: Directories,
    /// When what could not be followed as the configuration says is tried again, and what was said of it.
    pub(super) unfollowed: Retry,
    complaints: BTreeSet<String>,
}

impl Discovery {
    /// Of nothing yet.
    pub fn new(now: Instant) -> Discovery {
        Discovery {
            globs: Globs::default(),
            has_globs: false,
            taken: Taken::new(ours()),
            directories: Directories::new(now),
            unfollowed: Retry::default(),
            complaints: BTreeSet::new(),
        }
    }

    /// Of what a configuration says, in place of the one before.
    pub fn set(&mut self, config: &Config, hearing: &mut Hearing, report: &mut Report, now: Instant) {
        self.has_globs = config.files.iter().any(|file| file.is_glob) && !config.is_batch();
        self.complaints.clear();
        self.unfollowed.succeeded();
        self.globs.set(config, hearing.watch());
        self.look_through_globs(config, hearing, report, now);
    }

    /// Looks through the globs that are due. Whether there may be sources that were not there before.
    pub fn look_through_globs(
        &mut self,
        config: &Config,
        hearing: &mut Hearing,
        report: &mut Report,
        now: Instant,
    ) -> bool {
        let may_be_new = self.globs.look(now, config.poll_interval, hearing.watch(), &mut self.directories);
        for sentence in self.globs.take_unreadable() {
            report.print(&Event::Warning(sentence));
        }
        may_be_new
    }

    /// The files that are sources now.
    pub fn find(
        &mut self,
        among: Among,
        config: &Config,
        roster: &Roster,
        keeper: &Keeper,
        report: &mut Report,
    ) -> Vec<FoundSource> {
        let mut known = Remembered::default();
        for followed in roster.iter() {
            let path = followed.source.path();
            if among == Among::New {
                known.followed.insert(path);
                known.names.insert(&followed.name);
            } else {
                known.remembered.insert(path);
                known.away.extend(followed.source.is_away().then_some(path));
            }
        }
        // What was rotated before this run is read although nothing has the live name.
        for state in keeper.others() {
            known.remembered.insert(&state.path);
            let listed = Siblings::new(&state.path, None).map(|mut all| all.list(&mut self.directories));
            if listed.is_ok_and(|listed| !listed.is_empty()) {
                known.away.push(&state.path);
            }
        }
        let mut sources = sources::expand(config, &self.globs, &known, &is_rotation_of);
        report.board.set_excluded(sources.excluded as u64);
        let mut spooled = Spooled::of(config);
        sources.found.retain(|found| !config.files[found.file].is_glob || !spooled.has(&found.path));
        sources.found
    }

    /// When a file that may have the rest of what was truncated is found, or looked at, that was not. What is looked for
    /// since then waits no longer than for [`FOUND_SPAN_MAX`]. `are_taken_up`: all that were found are followed.
    pub fn is_to_find(&self, since: Instant, are_taken_up: bool, now: Instant) -> Option<Instant> {
        let search = self.globs.owed(now).filter(|_| self.has_globs);
        let look = (!are_taken_up || !self.taken.are_all_seen()).then(|| now + SEEN_SPAN);
        let end = since + FOUND_SPAN_MAX;
        search.or(look).map(|at| at.min(end)).filter(|_| now < end)
    }

    /// Whether a look may have told who holds copies of whose beginnings; `is_changed`: its list of generations changed.
    /// What it looks for may be in a file that nobody knows yet.
    pub fn note_files(&mut self, followed: &Followed, is_changed: bool, now: Instant) {
        let (id, unbegun) = (followed.source.id(), followed.source.unbegun());
        self.taken.see(id);
        if is_changed || unbegun != self.taken.unbegun(id) {
            self.taken.set(id, followed.source.inodes(), unbegun);
        }
        if self.note_heads(followed, is_changed) && !self.taken.twins().seeking().is_empty() {
            self.globs.hint_all(now);
        }
    }

    /// What files of a log begin with may be known by now. Whether it is noted.
    pub fn note_heads(&mut self, followed: &Followed, is_changed: bool) -> bool {
        let known = followed.source.known_head();
        let (twins, id) = (self.taken.twins_mut(), followed.source.id());
        let is_news = self.has_globs && (is_changed || known != twins.known_head(id));
        if is_news {
            twins.set(id, known, followed.source.originals());
        }
        is_news
    }

    /// These are the files of a log from now on.
    pub fn enroll(&mut self, followed: &Followed) {
        let id = followed.source.id();
        self.taken.set(id, followed.source.inodes(), followed.source.unbegun());
        if self.has_globs {
            self.taken.twins_mut().set(id, KnownHead::default(), followed.source.originals());
        }
    }

    /// A log is followed no longer; `is_gone`: nothing of it is left.
    pub fn release(&mut self, id: SourceId, is_gone: bool) {
        self.taken.release(id);
        if is_gone {
            self.taken.twins_mut().retire(id);
        } else {
            self.taken.twins_mut().release(id);
        }
    }

    /// Whether no file of a log under a glob is left, under any name. What cannot be listed may be there.
    pub fn is_gone(&mut self, followed: &mut Followed) -> bool {
        if !followed.file.is_glob || !followed.source.is_gone() {
            return false;
        }
        let (taken, id) = (&self.taken, followed.source.id());
        followed.also.retain(|path| identity(path).is_some_and(|file| taken.owner(&file) == Some(id)));
        followed.also.is_empty() && followed.siblings.list(&mut self.directories).is_empty()
    }

    /// Something cannot be followed: that is said once, until the configuration is read again.
    pub fn complain(&mut self, stop: &Stop, report: &mut Report) {
        if self.complaints.insert(stop.to_string()) {
            report.print(&Event::Error(stop.to_string()));
        }
    }
}

/// Which file stands at a path.
pub fn identity(path: &Path) -> Option<Identity> {
    fs::metadata(path).ok().filter(Metadata::is_file).map(|metadata| Identity::from(&metadata))
}

/// Files that we write, so that none of them is followed.
fn ours() -> Vec<(u64, u64)> {
    let stdout = fs::metadata("/proc/self/fd/1").ok().filter(Metadata::is_file);
    let stderr = fs::metadata("/proc/self/fd/2").ok().filter(Metadata::is_file);
    stdout.into_iter().chain(stderr).map(|metadata| (metadata.dev(), metadata.ino())).collect()
}
