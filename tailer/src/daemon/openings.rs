//! More files than can be open at once: who gives descriptors back, and who gets them.

use std::fs;
use std::time::{Duration, Instant};

use standpipe_common::retry::Once;

use crate::events::Event;
use crate::log::settings::Hints;
use crate::out::lines::SourceId;
use crate::out::outputs::Outputs;
use crate::turns::budget;
use crate::turns::roster::{Followed, Roster};
use crate::turns::{Stand, Turns};

/// Descriptors that a spool has at once: its directories, one that is listed, and a file.
const SPOOL_FILES: usize = 5;

/// A name for each descriptor that is open; from Linux 6.2 on its size says how many that are.
const OPEN_DIR: &str = "/proc/self/fd";

/// How often it is counted what is open, while that matters.
const COUNT_SPAN: Duration = Duration::from_secs(1);

/// Files that are open, of as many as may be.
#[derive(Debug)]
pub struct Openings {
    /// How many descriptors there may be of all kinds.
    limit: u64,
    /// Followed files that are open, and how many may be.
    open: usize,
    max: usize,
    /// Descriptors beside these when they were counted last, if the kernel says so; and when that is done again.
    beside: Option<usize>,
    count_at: Instant,
    /// How many files were open when the last log began to wait for a descriptor.
    open_starved: usize,
    /// How many of these the last round gave one.
    fed: usize,
    starving_said: Once<()>,
    /// Nobody writes to the files: those that were not read to their ends can be closed as well.
    may_break: bool,
}

impl Openings {
    /// With none open.
    pub fn new(limit: u64, may_break: bool, now: Instant) -> Openings {
        Openings {
            limit,
            open: 0,
            max: 0,
            beside: None,
            count_at: now,
            open_starved: 0,
            fed: 0,
            starving_said: Once::default(),
            may_break,
        }
    }

    /// Counts what is open beside followed files, from what the kernel says, and with it what those may have. Pipes that
    /// are not open yet will be.
    pub fn share(&mut self, pipes_to_open: usize, now: Instant) {
        self.count_at = now + COUNT_SPAN;
        // What was inherited with a number beyond the limit takes none.
        let counts = |entry: &fs::DirEntry| {
            let number = entry.file_name().to_string_lossy().parse::<u64>();
            number.is_ok_and(|number| number < self.limit)
        };
        let Ok(entries) = fs::read_dir(OPEN_DIR) else { return };
        // The one of the listing itself is closed with it.
        let all = entries.flatten().filter(counts).count().saturating_sub(1);
        let others = all.saturating_sub(self.open) + pipes_to_open;
        let before = std::mem::replace(&mut self.max, budget::for_files(self.limit, others));
        if self.max > before {
            self.open_starved = self.max;
        }
    }

    /// Counts again where files come near the limit. A list of ten thousand takes the kernel 8 ms: where it says that as
    /// many are open beside followed files as the last time, that one still holds.
    pub fn recount_all(&mut self, turns: &Turns, outputs: &mut Outputs, now: Instant) {
        let is_near = !turns.starved().is_empty() || self.open >= self.max / 2;
        if !is_near || self.count_at > now {
            return;
        }
        self.count_at = now + COUNT_SPAN;
        let all = fs::metadata(OPEN_DIR).map_or(0, |dir| dir.len() as usize);
        let others = (all > 0).then(|| all.saturating_sub(self.open));
        if others.is_none() || others != self.beside {
            self.beside = others;
            self.share(outputs.pipes_to_open(), now);
        }
    }

    /// Counts the open files of a log again.
    pub fn recount(&mut self, followed: &mut Followed) {
        let before = std::mem::replace(&mut followed.account.open, followed.source.descriptors_open());
        debug_assert!(self.open >= before, "they were counted");
        self.open = self.open + followed.account.open - before;
    }

    /// A log is followed no longer: its files are closed.
    pub fn release(&mut self, followed: &Followed) {
        debug_assert!(self.open >= followed.account.open, "they were counted");
        self.open -= followed.account.open;
    }

    /// Closes files where more are open than may be.
    pub fn keep_to_limit(&mut self, roster: &mut Roster, turns: &Turns) {
        if self.open > self.max {
            self.park(self.open - self.max, roster, turns);
        }
    }

    /// Closes at least `needed` files of sources that were read to their ends, as far as there are such; they are
    /// opened again when they grow.
    fn park(&mut self, needed: usize, roster: &mut Roster, turns: &Turns) {
        // Several at once: choosing goes over all sources.
        let needed = needed.max(self.max / 8);
        let candidate = |followed: &Followed| budget::Parkable {
            source: followed.source.id(),
            priority: followed.file.priority,
            last_growth: followed.source.last_growth(),
            open: followed.source.parkable(self.may_break(turns, followed)),
        };
        for id in budget::choose(roster.iter().map(candidate), needed) {
            let Some(followed) = roster.get(id) else { continue };
            followed.source.park(self.may_break(turns, followed));
            self.recount(followed);
        }
    }

    /// Whether files of a log may be closed that were not read to their ends: it waits for room, or for another of them.
    fn may_break(&self, turns: &Turns, followed: &Followed) -> bool {
        let id = followed.source.id();
        let waits = turns.stand(id) == Stand::WaitsForRoom;
        self.may_break && (waits || (turns.starved().has(id) && followed.source.is_shut()))
    }

    /// Whether a look at a log has to wait until files are closed: it has none open and would open one. What is kept
    /// back for listings and checkpoints stays free where many files are new at once.
    pub fn must_wait(&mut self, followed: &Followed, turns: &mut Turns) -> bool {
        let opens = followed.account.open == 0 && (self.may_break || !followed.source.was_looked_at());
        let must_wait = opens && self.open >= self.max;
        if must_wait {
            self.starve(followed.source.id(), turns);
        }
        must_wait
    }

    /// Notes that a log waits for a descriptor.
    pub fn starve(&mut self, id: SourceId, turns: &mut Turns) {
        if turns.starve(id) {
            self.open_starved = self.open;
        }
    }

    /// Gives descriptors to logs that could not open their files, the highest priority first, and to spools.
    /// `is_all_known`: nobody else will be found to be such. What is to be said of it.
    pub fn feed(
        &mut self,
        roster: &mut Roster,
        turns: &mut Turns,
        are_spools_starved: bool,
        is_all_known: bool,
    ) -> Option<Event> {
        self.fed = 0;
        if are_spools_starved {
            self.park(SPOOL_FILES, roster, turns);
        }
        let starved = turns.starved().len();
        let first = turns.starved().first()?;
        let is_news = is_all_known && self.starving_said.is_news(());
        let name = |followed: &mut Followed| Event::Waiting { name: followed.name.clone(), more: starved - 1 };
        let event = if is_news { roster.get(first).map(name) } else { None };
        self.park(starved.min(self.max / 2), roster, turns);
        let free = self.open_starved.min(self.max).saturating_sub(self.open);
        let priority = |id: &SourceId| roster.get(*id).map_or(0, |followed| followed.file.priority);
        let fed = if free > 0 { turns.take_starved(free, priority) } else { Vec::new() };
        self.fed = fed.len();
        for id in fed {
            turns.hint(id, Hints { content: true, ..Hints::default() });
        }
        event
    }

    /// Whether a log was just given one, and is to be looked at with it.
    pub fn has_fed(&self) -> bool {
        self.fed > 0
    }

    /// Whether logs wait for descriptors of others, and no file can be closed before it was read to its end. Packed files
    /// are such.
    pub fn are_stuck(&self, roster: &Roster, turns: &Turns) -> bool {
        let parkable = |followed: &Followed| followed.source.parkable(self.may_break(turns, followed));
        self.may_break && !turns.starved().is_empty() && roster.iter().all(|followed| parkable(followed) == 0)
    }
}
