//! A spool: a directory into which many short-lived processes write a file each, and from which every file goes to an
//! output whole, once, in the order in which they became complete, and is then removed.
//!
//! ```text
//! scan ─▶ candidates ─▶ decide ─▶ part by part into the output ─▶ delivered ─▶ file removed ─▶ marker removed
//! ```
//! | room | what it has |
//! |---|---|
//! | [`place`] | where it is, and whether the directory may be a spool |
//! | [`schedule`] | when it is looked at |
//! | [`ledger`] | what is known of its files |
//! | [`voice`] | what is said of it |
//! | [`dir`](mod@dir), [`scan`] | its names, in order |
//! | [`decide`] | the table of what to do with a file |
//! | [`queue`] | what is to be examined |
//! | [`part`] | finding out what is known of one, and reading it into the output |
//! | [`pace`] | how fast |
//! | [`mod@remove`] | taking it away |
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
pub mod ledger;
pub mod outside;
pub mod pace;
pub mod part;
pub mod place;
pub mod queue;
pub mod remove;
pub mod scan;
pub mod schedule;
pub mod set;
pub mod voice;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use standpipe_common::error::Error;
use standpipe_common::shown::Shown as _;

use self::ledger::Ledger;
use self::outside::Shown;
use self::pace::Pace;
use self::part::{Current, PART_BYTES_MIN};
use self::place::{Neighbour, Place, Site};
use self::queue::Queue;
use self::remove::{After, remove};
use self::scan::{Scanned, Scope};
use self::schedule::Schedule;
use self::voice::Voice;
use crate::config::spool::SpoolConfig;
use crate::events::Event;
use crate::file::identity::Origin;
use crate::names::ear::Ear;
use crate::out::lines::SourceId;
use crate::out::output::Delivered;
use crate::sources::part::Awaited;
use crate::stage::Position;
use crate::status::format::Figures;
use crate::turns::Stand;
use crate::turns::rate::{Backlog, Throttle};

/// One spool at work.
#[derive(Debug)]
pub struct Spool {
    id: SourceId,
    config: SpoolConfig,
    /// Which output takes its files.
    output: usize,
    site: Site,
    schedule: Schedule,
    pace: Pace,
    ledger: Ledger,
    voice: Voice,
    shown: Shown,
    /// What may be complete, oldest first.
    queue: Queue,
    current: Option<Current>,
    is_leaving: bool,
}

impl Spool {
    /// One that is due at once. `neighbours`: see [`place::neighbours`].
    pub fn new(id: SourceId, config: SpoolConfig, output: usize, neighbours: Vec<Neighbour>, now: Instant) -> Spool {
        Spool {
            id,
            output,
            site: Site::new(neighbours),
            schedule: Schedule::new(now),
            pace: Pace::new(config.rate_limit, now),
            ledger: Ledger::new(id),
            voice: Voice::default(),
            shown: Shown::unseen(),
            queue: Queue::default(),
            current: None,
            is_leaving: false,
            config,
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

    /// Which output takes its files.
    pub fn output(&self) -> usize {
        self.output
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

    /// Whether something tells of these.
    pub fn set_watched(&mut self, is_watched: bool) {
        self.schedule.hear(Ear::of(is_watched));
    }

    /// Something tells that a name came.
    pub fn hint(&mut self) {
        self.schedule.hint();
    }

    /// When it is to be looked at, if it is not due at once.
    pub fn next_look(&self, now: Instant) -> Option<Instant> {
        if self.is_leaving { None } else { self.schedule.next_look(self.has_work(), self.shown.is_blocked(), now) }
    }

    /// It begins no file any more.
    pub fn leave(&mut self) {
        self.is_leaving = true;
        self.pace.throttle = None;
        self.queue.clear();
        self.ledger.retain_begun(|_| false);
    }

    /// Whether it does not.
    pub fn is_leaving(&self) -> bool {
        self.is_leaving
    }

    /// Where other sources live now.
    pub fn set_neighbours(&mut self, neighbours: Vec<Neighbour>) {
        self.site = Site::new(neighbours);
        // All are found again, once the directory is judged.
        self.queue.clear();
        self.schedule.hint();
    }

    /// Learns what an output knows of files that a run before delivered and that are there still.
    pub fn take_up(&mut self, positions: &[Position]) {
        self.ledger.take_up(&self.config.dir, positions);
    }

    /// Whether it has.
    pub fn is_taken_up(&self) -> bool {
        self.ledger.is_taken_up()
    }

    /// The lives of files that the output has to know of.
    pub fn origins(&self) -> impl Iterator<Item = Origin> {
        self.ledger.origins().chain(self.current.iter().map(Current::origin))
    }

    /// Takes over what another one of the same directory knows of files that are there still.
    pub fn inherit(&mut self, old: &mut Spool) {
        self.ledger.inherit(&mut old.ledger);
    }

    /// Whether a file was begun, by this run or the one before, whose rest nothing may come before.
    pub fn is_inside(&self) -> bool {
        self.current.is_some() || self.ledger.has_begun()
    }

    /// When its output last took something of it.
    pub fn fed_at(&self) -> Option<Instant> {
        self.pace.fed_at
    }

    /// Whether all that was put is delivered, and removed as far as it can be.
    pub fn is_idle(&self) -> bool {
        self.current.is_none() && self.ledger.is_idle()
    }

    /// Whether it could not open a file for want of descriptors.
    pub fn is_starved(&self) -> bool {
        self.schedule.is_starved()
    }

    /// Whether anything waits to be put, or is put in part.
    pub fn has_work(&self) -> bool {
        self.current.is_some() || !self.queue.is_empty()
    }

    /// Whether something waits that can be put where there is so much room.
    pub fn can_use(&self, room: usize) -> bool {
        match &self.current {
            Some(current) => room >= PART_BYTES_MIN || current.rest() < room as u64,
            None => room > 1 && !self.queue.is_empty() && !self.is_leaving,
        }
    }

    /// Whether its files are read next, where its output has so much room; `is_awaited`: others want that.
    pub fn stand(&self, is_awaited: bool, room: usize, now: Instant) -> Stand {
        if !self.has_work() {
            return if self.is_leaving { Stand::Leaving } else { Stand::Idle };
        }
        let is_urgent = is_awaited && self.current.is_some();
        match self.pace.rests_until(now).filter(|_| !is_urgent) {
            Some(until) => Stand::Rests(until),
            None if self.can_use(room) => Stand::Ready,
            None => Stand::WaitsForRoom,
        }
    }

    /// What happened since the last time.
    pub fn take_events(&mut self) -> Vec<Event> {
        self.voice.take_events()
    }

    /// What its output can forget.
    pub fn take_gone(&mut self) -> Vec<Origin> {
        self.ledger.take_gone()
    }

    /// Looks for files, if that is due.
    pub fn look(&mut self, now: Instant, now_ns: i64, poll_interval: Duration) {
        if self.next_look(now).is_none_or(|at| at > now) {
            return;
        }
        let is_sweep = self.schedule.begin_look(now, poll_interval);
        self.voice.tell_orphans(&self.name());
        let place = match self.site.find(&self.config.dir, self.config.done.as_deref(), is_sweep) {
            Ok(place) => place,
            Err(sentence) => {
                // It is judged anew, and all is found again, once it is there.
                self.trouble(&sentence);
                self.queue.clear();
                return self.schedule.put_off(now);
            }
        };
        if is_sweep {
            self.schedule.set_sweep(self.config.max_age, now);
        }
        let files = match self.config.done {
            None => Scope::All,
            Some(_) if is_sweep => Scope::Old(self.config.max_age, now_ns),
            Some(_) => Scope::None,
        };
        match scan::scan(&place.dir, place.done.as_deref(), files, |name| self.ledger.was_begun(name)) {
            Ok(found) => {
                self.schedule.found();
                self.take(&place, found, is_sweep);
            }
            Err(error) => return self.trouble(&Error::new("inspect spool", &self.config.dir, error).to_string()),
        }
        if self.queue.is_empty() {
            self.tell_backlog(now);
        }
    }

    /// What a look found.
    fn take(&mut self, place: &Place, mut found: Scanned, is_sweep: bool) {
        for (name, what) in &found.odd_files {
            self.voice.refuse(place.dir.path_of(name), name, what, "a regular file");
        }
        for (name, what) in &found.odd_markers {
            let done = place.done.as_ref().map_or_else(PathBuf::new, |done| done.path_of(name));
            self.voice.refuse(done, name, what, "a marker");
        }
        self.voice.tell_full(&self.config.dir);
        if self.voice.recover(&self.config.dir) {
            self.shown.note();
        }
        if is_sweep {
            let candidates = &found.candidates;
            self.ledger.retain_begun(|name| candidates.iter().any(|found| !found.is_last && found.name == *name));
        }
        if self.config.done.is_none() {
            self.ledger.forget_gone(&found.candidates);
        }
        self.ledger.leave_out_flying(&mut found.candidates);
        if !found.candidates.is_empty() || !self.queue.is_empty() {
            self.shown.note();
        }
        // Nothing is begun before it is known what is delivered already.
        if self.is_taken_up() {
            self.queue.set(found.candidates);
        } else {
            self.schedule.wait();
        }
    }

    fn trouble(&mut self, sentence: &str) {
        self.shown.note();
        self.voice.trouble(sentence);
    }

    /// Tells a backlog as it begins, and as it ends, which is when a look finds nothing more.
    fn tell_backlog(&mut self, now: Instant) {
        let is_at_end = !self.has_work();
        if is_at_end && self.schedule.is_before(self.pace.fed_at) {
            // What became complete meanwhile belongs to it.
            if self.pace.throttle.is_some() {
                self.schedule.hint();
            }
            return;
        }
        let name = self.name();
        match self.pace.note(is_at_end, now) {
            Some((Backlog::Began, rate)) => {
                self.voice.say(Event::Backlog { name, rate, bytes: self.waiting_bytes() });
            }
            Some((Backlog::Ended(after), _)) => self.voice.say(Event::BacklogOver { name, after }),
            None => {}
        }
    }

    /// The output delivered something of this spool.
    pub fn delivered(&mut self, delivered: Delivered) {
        self.shown.count(self.ledger.deliver(delivered));
    }

    /// Removes what is delivered. What stays is not to be delivered again.
    pub fn remove_delivered(&mut self) {
        for flight in self.ledger.take_landed() {
            if remove(&flight, &mut self.ledger, &mut self.voice, &mut self.schedule) == After::Stays {
                self.ledger.stay(flight);
            }
        }
    }

    /// Bytes of complete files that are not delivered, as long as they were when they were found.
    pub fn waiting_bytes(&self) -> u64 {
        let here = self.current.as_ref().map_or(0, Current::rest);
        self.queue.bytes() + here + self.ledger.on_their_way().1
    }

    /// Whether something happened since it was last asked.
    pub fn take_changed(&mut self) -> bool {
        self.shown.take_changed()
    }

    /// What is to be said of it, and what is wrong with it; `is_full`: its output waits for room, `has_room`: it has
    /// some for this spool.
    pub fn figures(&mut self, is_full: bool, has_room: bool, now_ns: i64) -> (Figures, String) {
        let (flights, _) = self.ledger.on_their_way();
        let files = self.queue.files() + u64::from(self.current.is_some()) + flights;
        let is_blocked = (self.has_work() && !has_room) || (is_full && flights > 0);
        let metadata = self.site.opened().and_then(|place| place.dir.metadata().ok());
        let figures = Figures {
            lag_bytes: self.waiting_bytes(),
            generations: files,
            open: u64::from(self.current.is_some()),
            wants_descriptor: self.schedule.is_starved(),
            is_limited: self.pace.throttle.as_ref().is_some_and(Throttle::is_backlog),
            ..self.shown.figures(metadata, files > 0, is_blocked, self.voice.orphans(), now_ns)
        };
        (figures, self.voice.complaint().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests;
