//! What is told of all that happens, on standard error, in the status file, and in metrics: from the words of logs and
//! outputs into events and figures.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use standpipe_common::called;
use standpipe_common::clock;
use standpipe_common::error::{Cannot, Error, Result};
use standpipe_common::metrics::exporter::Exporter;
use standpipe_common::retry::Once;
use standpipe_common::shown::{Shown as _, counted};

use crate::config::{Config, LineForm, Order, Records};
use crate::events::{Event, EventForm, Printer};
use crate::file::identity::Identity;
use crate::file::lease;
use crate::log::blank::TOLD_BYTES_MIN;
use crate::log::generation::Generation;
use crate::log::happening::Happening;
use crate::metrics;
use crate::out::outputs::Outputs;
use crate::spool::set::Spools;
use crate::stage::message::Severity;
use crate::status::board::Board;
use crate::status::format::{Counts, Figures};
use crate::turns::rate::{Backlog, Throttle};
use crate::turns::roster::{Followed, Roster};
use crate::turns::{Stand, Turns};

/// So many files are named of which something is left at the end.
const LEFT_MAX: usize = 100;

/// All ways on which something is told.
pub struct Report {
    printer: Printer,
    pub(super) board: Board,
    metrics: Option<Exporter>,
    /// Files that could not be opened or read.
    failures: usize,
    is_debug: bool,
    /// It was said how many files are watched.
    watching_said: Once<()>,
    /// It was said whether leases tell of writers.
    leases_said: Once<()>,
}

impl Report {
    /// On standard error alone.
    pub fn new(config: &Config, is_debug: bool) -> Report {
        let form = if config.output == LineForm::Json { EventForm::Json } else { EventForm::Text };
        Report {
            printer: Printer::new(form),
            board: Board::default(),
            metrics: None,
            failures: 0,
            is_debug,
            watching_said: Once::default(),
            leases_said: Once::default(),
        }
    }

    /// Makes the status file beside the state file, if there is one of those.
    pub fn begin_board(&mut self, config: &Config) {
        let Some(state) = &config.state_file else { return };
        match Board::make(state, clock::now_ns()) {
            Ok(board) => self.board = board,
            Err(error) => self.print(&Event::Warning(unseen(&error))),
        }
    }

    /// Keeps the metrics file, if there is to be one.
    pub fn begin_metrics(&mut self, config: &Config) {
        match metrics::start(config, self.printer.form()) {
            Ok(metrics) => self.metrics = metrics,
            Err(error) => self.print(&Event::Error(error.to_string())),
        }
    }

    /// How far the backlog of the start is delivered is shown from now on to whoever sits at a terminal.
    pub fn begin_to_catch_up(&mut self) {
        self.printer.begin_to_catch_up();
    }

    /// Whether that is to be shown.
    pub fn is_catching_up(&mut self, now: Instant) -> bool {
        self.printer.catch_up().is_due(now)
    }

    /// So many bytes of it are left.
    pub fn show_backlog(&mut self, left_bytes: u64) {
        self.printer.catch_up().show(left_bytes);
    }

    /// Writes the last page of metrics, and leaves the terminal as it was.
    pub fn end(&mut self) {
        self.metrics = None;
        self.printer.catch_up().clear();
    }

    /// When something of it is due.
    pub fn due(&self) -> Option<Instant> {
        self.board.due().into_iter().chain(self.metrics.as_ref().map(Exporter::due)).min()
    }

    /// Says this.
    pub fn print(&mut self, event: &Event) {
        self.printer.print(event);
    }

    /// Says these, one after the other.
    pub fn print_all(&mut self, events: impl IntoIterator<Item = Event>) {
        self.printer.print_all(events);
    }

    /// Fails if a file could not be opened or read.
    ///
    /// # Errors
    /// What was not read was said when it failed.
    pub fn check_whole(&self) -> Result<()> {
        match self.failures {
            0 => Ok(()),
            failures => Err(io::Error::other(format!("{failures} of them failed"))).cannot("read", "all files"),
        }
    }

    /// How many files are followed, and how.
    pub fn tell_watching(&mut self, files: usize, inotify: bool, config: &Config) {
        self.watching_said.is_news(());
        self.print(&Event::Watching { files, interval: config.poll_interval, inotify });
        if self.is_debug {
            let window = config.window.filter(|_| config.order == Order::Timestamp);
            let order = if config.order == Order::Timestamp { "timestamp" } else { "read" };
            self.print(&Event::Order { order, window });
        }
    }

    /// Whether that was not said, and is to be, for a file is there now.
    pub fn lacks_watching(&self, happenings: &[Happening]) -> bool {
        self.watching_said.current().is_none()
            && happenings.iter().any(|happening| matches!(happening, Happening::Opened { .. }))
    }

    /// Which way it becomes known that a rotated file is finished: once, when a file is there to be asked.
    pub fn tell_leases(&mut self, roster: &Roster) {
        if !self.is_debug || self.leases_said.current().is_some() {
            return;
        }
        let files = roster.iter().filter_map(|followed| followed.source.live()?.file());
        let answers: Vec<bool> = files.map(lease::is_available).collect();
        if !answers.is_empty() {
            self.leases_said.is_news(());
            self.print(&Event::Leases { available: answers.iter().all(|available| *available) });
        }
    }

    /// What happened to a log since the last time. `is_only`: nothing else is followed.
    pub fn tell_of(&mut self, followed: &mut Followed, happenings: Vec<Happening>, is_only: bool) {
        if happenings.is_empty() {
            // What was not said when it happened, if it may be by now.
            if followed.said.spacing.is_holding() {
                self.print_all(followed.said.spacing.take(Instant::now()));
            }
            return;
        }
        for happening in happenings {
            count(&mut followed.account.counts, &happening);
            followed.account.was_too_old |= matches!(happening, Happening::Ignored { .. });
            self.failures += usize::from(matches!(happening, Happening::OpenError { .. }));
            let is_detail =
                matches!(happening, Happening::Finished { .. } | Happening::CopyMatched { bytes: Some(0), .. });
            if !is_detail || self.is_debug {
                let (path, identity) =
                    (followed.source.path(), followed.source.live().map(Generation::inode).unwrap_or_default());
                let event = event(happening, &followed.name, path, identity, is_only);
                self.say(followed, event);
            }
        }
        for generation in followed.source.generations().filter(|_| self.is_debug) {
            let (name, identity) = (followed.name.clone(), generation.inode());
            let (read, delivered) = (generation.cursor().put(), generation.cursor().delivered());
            self.printer.print(&Event::Debug { name, identity, read, delivered });
        }
    }

    /// Says something of a log, if it does not say so all the time.
    fn say(&mut self, followed: &mut Followed, event: Event) {
        self.print_all(followed.said.spacing.admit(event, Instant::now()));
    }

    /// What its limit does to a log.
    pub fn tell_backlog(&mut self, followed: &mut Followed, backlog: Option<Backlog>) {
        let (name, bytes) = (followed.name.clone(), followed.source.unread_bytes());
        match (backlog, followed.throttle.as_ref().map(Throttle::rate)) {
            (Some(Backlog::Began), Some(rate)) => self.say(followed, Event::Backlog { name, rate, bytes }),
            (Some(Backlog::Ended(after)), _) => self.say(followed, Event::BacklogOver { name, after }),
            (Some(Backlog::Began), None) | (None, _) => {}
        }
    }

    /// What a read showed of what stands in its file.
    pub fn tell_of_content(&mut self, followed: &mut Followed) {
        let mut sentences = Vec::new();
        if let Some(offset) = followed.unwrapper.take_odd() {
            let kind = if followed.file.format == Records::Docker { "Docker" } else { "CRI" };
            sentences.push(format!(
                "{}: the line at offset {offset} is not a {kind} record; delivering such lines unchanged",
                followed.name
            ));
        }
        let is_utf16 = |generation: &Generation| generation.cursor().memory().is_utf16();
        if followed.source.generations().any(is_utf16) && followed.said.utf16.is_news(()) {
            sentences.push(format!(
                "{} is UTF-16: delivering its bytes unchanged, without finding times or levels",
                followed.name
            ));
        }
        let bytes = followed.source.blank_bytes();
        let is_new = bytes >= TOLD_BYTES_MIN && followed.said.blank.is_news(());
        let blank = is_new.then(|| Event::Preallocated { name: followed.name.clone(), bytes });
        for event in sentences.into_iter().map(Event::Warning).chain(blank) {
            self.print(&event);
        }
    }

    /// What outputs have to say.
    pub fn tell_of_outputs(&mut self, outputs: &mut Outputs, roster: &mut Roster, is_batch: bool) {
        for message in outputs.take_messages() {
            self.print(&match message.severity {
                Severity::Note => Event::Note(message.text),
                Severity::Warning => Event::Warning(message.text),
                Severity::Error => Event::Error(message.text),
            });
        }
        for oddity in outputs.take_oddities() {
            let Some(followed) = roster.get(oddity.source) else { continue };
            followed.account.counts.late_lines += oddity.late;
            let name = followed.name.clone();
            if oddity.is_untimed {
                let what = if is_batch { "come first" } else { "are ordered by the time they were read" };
                self.print(&Event::Warning(format!("no times found in {name}: its lines {what}")));
            }
            if oddity.late > 0 {
                self.say(followed, Event::Late { name, count: oddity.late });
            }
        }
    }

    /// What stays behind at the end: how many bytes of which log or spool.
    pub fn tell_left(&mut self, left: &[(String, u64)], has_state: bool) {
        let then = if has_state {
            "the next run continues"
        } else {
            "without a state file, the next run cannot continue from here"
        };
        self.print(&Event::Warning(format!("not everything could be delivered; {then}")));
        for (name, bytes) in left.iter().take(LEFT_MAX) {
            self.print(&Event::Warning(format!("{name}: {} left", counted(*bytes, "byte"))));
        }
        if let Some(rest) = left.get(LEFT_MAX..).filter(|rest| !rest.is_empty()) {
            let bytes: u64 = rest.iter().map(|(_, bytes)| bytes).sum();
            let (more, bytes) = (counted(rest.len() as u64, "more source"), counted(bytes, "byte"));
            self.print(&Event::Warning(format!("{more}: {bytes} left")));
        }
    }

    /// Stores what changed, if that is due.
    pub fn show(
        &mut self,
        roster: &mut Roster,
        spools: &mut Spools,
        outputs: &mut Outputs,
        turns: &Turns,
        (now, now_ns): (Instant, i64),
    ) {
        spools.take_changed().into_iter().for_each(|id| self.board.mark(id));
        for id in self.board.take_due(now) {
            let stored = if let Some(spool) = spools.get(id) {
                let has_room = spool.can_use(outputs.get_straight(spool.output()).room(id));
                let (figures, error) = spool.figures(outputs.is_full(spool.output()), has_room, now_ns);
                self.board.store(id, &spool.config().dir, &figures, &error)
            } else if let Some(followed) = roster.get(id) {
                let (figures, error) = figures(followed, outputs.is_full(followed.output), turns.stand(id), now_ns);
                self.board.store(id, followed.source.path(), &figures, &error)
            } else {
                continue;
            };
            if let Err(error) = stored {
                self.print(&Event::Error(unseen(&error)));
            }
        }
        self.metrics.iter_mut().for_each(|metrics| metrics.turn(now));
    }
}

/// What is to be said of a source, and what is wrong with it; `is_full`: its output waits for room.
fn figures(followed: &mut Followed, is_full: bool, stand: Stand, now_ns: i64) -> (Figures, String) {
    let source = &followed.source;
    let on_their_way: u64 = source.generations().map(|all| all.cursor().on_its_way()).sum();
    let lag_bytes = source.unread_bytes() + on_their_way;
    let is_blocked =
        (stand == Stand::WaitsForRoom && (lag_bytes > 0 || source.has_unread())) || (is_full && on_their_way > 0);
    let (behind_ns, blocked_ns) = followed.account.delay.note(lag_bytes > 0, is_blocked, now_ns);
    let last = source.generations().last();
    let identity = last.map(Generation::inode).unwrap_or_default();
    let figures = Figures {
        is_spool: false,
        dev: identity.dev,
        ino: identity.ino,
        born_ns: identity.born_ns as u64,
        offset: last.map_or(0, |last| last.cursor().delivered()),
        size: last.map_or(0, |last| last.extent().size().max(last.seen())),
        lag_bytes,
        behind_ns,
        generations: source.generations().count() as u64,
        open: followed.account.open as u64,
        counts: followed.account.counts,
        was_too_old: followed.account.was_too_old,
        is_blank: source.blank_bytes() >= TOLD_BYTES_MIN,
        is_mount: source.is_mount(),
        wants_descriptor: source.wants_descriptor(),
        is_limited: followed.throttle.as_ref().is_some_and(Throttle::is_backlog),
        blocked_ns,
    };
    (figures, source.complaint().unwrap_or_default())
}

/// What is said of a status file that cannot be kept.
fn unseen(error: &Error) -> String {
    format!("{error}; `{}` cannot show this run", called::short("tailer", "status"))
}

/// Counts what happened.
fn count(counts: &mut Counts, happening: &Happening) {
    match happening {
        Happening::Truncated(_) => counts.truncations += 1,
        Happening::CopyMatched { .. } => counts.copies += 1,
        Happening::Lost { bytes } => counts.lost_bytes += bytes,
        Happening::GenerationMissing { .. } => counts.lost_unknown += 1,
        Happening::Late { bytes } => counts.late_bytes += bytes,
        _ => {}
    }
}

/// `is_only`: no other file is followed.
fn event(happening: Happening, name: &str, live: &Path, identity: Identity, is_only: bool) -> Event {
    let name = name.to_owned();
    match happening {
        Happening::Opened { path, identity, offset } => Event::Source { name, path, identity, offset },
        Happening::Rotated { old, new } => Event::Rotated { name, old, new },
        Happening::Missed { path, identity } => Event::Source { name, path, identity, offset: 0 },
        Happening::Truncated(how) => Event::Truncated { name, identity, how },
        Happening::CopyMatched { path, offset, bytes } => Event::CopyMatched { name, path, offset, bytes },
        Happening::Ignored { path, bytes } => {
            let bytes = counted(bytes, "byte");
            Event::Note(format!("{} has not changed within its ignore_older; skipped its {bytes}", path.shown()))
        }
        Happening::Replaced { path, offset } => {
            let (path, bytes) = (path.shown(), counted(offset, "byte"));
            Event::Note(format!("{path} was replaced or trimmed; skipped {bytes} at its beginning, already delivered"))
        }
        Happening::KeptBack { path } => Event::Note(format!(
            "{} is a copy of the beginning of another followed file; not delivering it unless it changes",
            path.shown()
        )),
        Happening::Unplaced { path } => Event::Warning(format!(
            "{} was replaced or trimmed; reading it from its beginning, because it is not certain which of its lines were \
             delivered before",
            path.shown()
        )),
        Happening::Lost { bytes } => Event::Lost { name, bytes: Some(bytes) },
        Happening::GenerationMissing { .. } => Event::GenerationsMissing { name, bytes: None },
        Happening::Unlisted { dir, errno } => Event::Unlisted { name, dir, errno },
        Happening::Unreadable { path, bytes, why } => Event::Unreadable { name, path, bytes, why },
        Happening::Hole { bytes } => Event::Hole { name, bytes },
        Happening::Unfinished { bytes } => Event::Unfinished { name, bytes },
        Happening::OpenError { path, errno } => Event::OpenError { path, errno },
        Happening::Retry { after } => {
            let after = Duration::from_secs(after.as_secs_f64().round() as u64);
            Event::Retry { path: live.to_path_buf(), after, is_only }
        }
        Happening::Mount { path } => Event::Mount { name, path },
        Happening::Recovered { path } => Event::Recovered { path },
        Happening::Refused { path, refusal } => Event::Refused { path, reason: refusal.to_string() },
        Happening::Ambiguous { path, files, why } => Event::Ambiguous { name, path, files, why },
        Happening::Late { bytes } => {
            Event::Note(format!("{name}: {} arrived late in a rotated file", counted(bytes, "byte")))
        }
        Happening::Finished { identity, .. } => Event::Finished { name, identity },
    }
}
