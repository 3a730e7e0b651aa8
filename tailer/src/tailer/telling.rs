//! What is told of all that happens: from the words of sources and outputs into events.

use std::path::Path;
use std::time::{Duration, Instant};

use super::Tailer;
use super::showing::count;
use crate::config::{Order, Records};
use crate::events::{self, Event};
use crate::follow::blank::TOLD_BYTES_MIN;
use crate::follow::generation::Generation;
use crate::follow::happening::{Happening, Truncation};
use crate::identity::Identity;
use crate::lease;
use crate::lines::SourceId;
use crate::roster::Followed;
use crate::stage::message::Severity;
use crate::turns::Stand;

use standpipe_common::shown::Shown as _;

/// So many files are named of which something is left at the end.
const LEFT_MAX: usize = 100;

impl Tailer {
    /// How many files are followed, and how.
    pub(super) fn tell_watching(&mut self) {
        let files = self.roster.iter().filter(|followed| !self.is_leaving(followed)).count();
        let (interval, inotify) = (self.config.poll_interval, self.watch.is_some());
        self.printer.print(&Event::Watching { files, interval, inotify });
        if self.is_debug {
            let window = (!self.is_batch && self.config.order == Order::Timestamp).then_some(self.config.window);
            let order = if self.config.order == Order::Timestamp { "timestamp" } else { "read" };
            self.printer.print(&Event::Order { order, window });
        }
    }

    /// The same at the start, if any file is there. Else it is told when the first comes: nothing is watched before.
    pub(super) fn tell_watching_if_any(&mut self) {
        let is_there = |followed: &Followed| followed.source.path().exists();
        if self.roster.is_empty() || self.roster.iter().any(is_there) {
            self.is_watching_said = true;
            self.tell_watching();
        }
    }

    /// Which way it becomes known that a rotated file is finished: once, when a file is there to be asked.
    pub(super) fn tell_leases(&mut self) {
        if self.are_leases_said || self.is_batch || !self.is_debug {
            return;
        }
        let files = self.roster.iter().filter_map(|followed| followed.source.live()?.file());
        let answers: Vec<bool> = files.map(lease::is_available).collect();
        if !answers.is_empty() {
            self.are_leases_said = true;
            self.printer.print(&Event::Leases { available: answers.iter().all(|available| *available) });
        }
    }

    /// What happened to a source since the last time.
    pub(super) fn tell_of(&mut self, id: SourceId) {
        let is_only = self.roster.len() == 1 && self.spools.iter().next().is_none();
        let Some(followed) = self.roster.get(id) else { return };
        let happenings = followed.source.take_happenings();
        if happenings.is_empty() {
            return self.tell_held_back(id);
        }
        let name = followed.name.clone();
        let path = followed.source.path().to_path_buf();
        let identity = followed.live.unwrap_or_default();
        for happening in &happenings {
            count(&mut followed.counts, happening);
            followed.was_too_old |= matches!(happening, Happening::Ignored { .. });
        }
        for happening in happenings {
            let is_detail =
                matches!(happening, Happening::Finished { .. } | Happening::CopyMatched { bytes: Some(0), .. });
            if is_detail && !self.is_debug {
                continue;
            }
            if matches!(happening, Happening::Opened { .. }) && !std::mem::replace(&mut self.is_watching_said, true) {
                self.tell_watching();
            }
            self.failures += usize::from(matches!(happening, Happening::OpenError { .. }));
            self.say(id, event(happening, &name, &path, identity, is_only));
        }
        if self.is_debug
            && let Some(followed) = self.roster.get(id)
        {
            for generation in followed.source.generations() {
                let (identity, read, delivered) =
                    (generation.inode, generation.cursor.put(), generation.cursor.delivered());
                self.printer.print(&Event::Debug { name: name.clone(), identity, read, delivered });
            }
        }
    }

    /// Says something of a source, if it does not say so all the time.
    pub(super) fn say(&mut self, id: SourceId, event: Event) {
        let now = Instant::now();
        let admitted = self.roster.get(id).map(|followed| followed.spacing.admit(event, now));
        self.printer.print_all(admitted.into_iter().flatten());
    }

    /// What was not said of a source when it happened, if it may be by now.
    fn tell_held_back(&mut self, id: SourceId) {
        let Some(followed) = self.roster.get(id).filter(|followed| followed.spacing.is_holding()) else { return };
        self.printer.print_all(followed.spacing.take(Instant::now()));
    }

    /// What a read showed of what stands in its file.
    pub(super) fn tell_of_content(&mut self, id: SourceId) {
        let Some(followed) = self.roster.get(id) else { return };
        let mut sentences = Vec::new();
        if let Some(offset) = followed.unwrapper.take_odd() {
            let kind = if followed.file.format == Records::Docker { "Docker" } else { "CRI" };
            sentences.push(format!(
                "{}: the line at offset {offset} is not a {kind} record; delivering such lines unchanged",
                followed.name
            ));
        }
        let is_utf16 = |generation: &Generation| generation.cursor.memory().is_utf16();
        if !followed.is_utf16_said && followed.source.generations().any(is_utf16) {
            followed.is_utf16_said = true;
            sentences.push(format!(
                "{} is UTF-16: delivering its bytes unchanged, without finding times or levels",
                followed.name
            ));
        }
        let bytes = followed.source.blank_bytes();
        let is_new = bytes >= TOLD_BYTES_MIN && !std::mem::replace(&mut followed.is_blank_said, true);
        let blank = is_new.then(|| Event::Preallocated { name: followed.name.clone(), bytes });
        for event in sentences.into_iter().map(Event::Warning).chain(blank) {
            self.printer.print(&event);
        }
    }

    /// What outputs have to say.
    pub(super) fn tell_of_outputs(&mut self) {
        for message in self.outputs.take_messages() {
            let event = match message.severity {
                Severity::Note => Event::Note(message.text),
                Severity::Warning => Event::Warning(message.text),
                Severity::Error => Event::Error(message.text),
            };
            self.printer.print(&event);
        }
        for oddity in self.outputs.take_oddities() {
            let Some(followed) = self.roster.get(oddity.source) else { continue };
            followed.counts.late_lines += oddity.late;
            let name = followed.name.clone();
            if oddity.is_untimed {
                let what = if self.is_batch { "come first" } else { "are ordered by the time they were read" };
                self.printer.print(&Event::Warning(format!("no times found in {name}: its lines {what}")));
            }
            if oddity.late > 0 {
                self.say(oddity.source, Event::Late { name, count: oddity.late });
            }
        }
    }

    /// What stays behind at the end, file by file.
    pub fn farewell(&mut self) {
        for id in self.roster.ids() {
            let held = self.roster.get(id).map(|followed| followed.spacing.take_all());
            self.printer.print_all(held.into_iter().flatten());
        }
        let left = self.left();
        if left.is_empty() && self.is_delivered() && self.turns.rest_end().is_none() && !self.is_starved() {
            return;
        }
        let then = if self.keeper.has_file() {
            "the next run continues"
        } else {
            "without a state file the next run cannot know"
        };
        self.printer.print(&Event::Warning(format!("not everything could be delivered; {then}")));
        for (name, bytes) in left.iter().take(LEFT_MAX) {
            self.printer.print(&Event::Warning(format!("{name}: {bytes} bytes left")));
        }
        if let Some(rest) = left.get(LEFT_MAX..).filter(|rest| !rest.is_empty()) {
            let bytes: u64 = rest.iter().map(|(_, bytes)| bytes).sum();
            self.printer.print(&Event::Warning(format!("{} more files: {bytes} bytes left", rest.len())));
        }
    }

    /// Tells whoever sits at a terminal how far the backlog of the start is delivered.
    pub(super) fn tell_backlog_of_start(&mut self, now: Instant) {
        if self.printer.catch_up().is_due(now) {
            let left = self.left().iter().map(|(_, bytes)| bytes).sum();
            self.printer.catch_up().show(left);
        }
    }

    fn is_leaving(&self, followed: &Followed) -> bool {
        self.turns.stand(followed.source.id()) == Stand::Leaving
    }

    /// What of each source and spool is there and not delivered, bytes.
    fn left(&self) -> Vec<(String, u64)> {
        let followed = self.roster.iter().filter(|followed| !self.is_leaving(followed));
        let sources = followed.map(|followed| (followed.name.clone(), followed.source.left_bytes()));
        let spools = self.spools.iter().map(|spool| (spool.name(), spool.waiting_bytes()));
        sources.chain(spools).filter(|(_, bytes)| *bytes > 0).collect()
    }
}

/// `is_only`: no other file is followed.
fn event(happening: Happening, name: &str, live: &Path, identity: Identity, is_only: bool) -> Event {
    let name = name.to_owned();
    match happening {
        Happening::Opened { path, identity, offset } => Event::Source { name, path, identity, offset },
        Happening::Rotated { old, new } => Event::Rotated { name, old, new },
        Happening::Missed { path, identity } => Event::Source { name, path, identity, offset: 0 },
        Happening::Truncated(how) => {
            let how = match how {
                Truncation::SizeDecreased | Truncation::EndCut => events::Truncation::SizeDecreased,
                Truncation::ContentChanged => events::Truncation::ContentChanged,
            };
            Event::Truncated { name, identity, how }
        }
        Happening::CopyMatched { path, offset, bytes } => Event::CopyMatched { name, path, offset, bytes },
        Happening::Ignored { path, bytes } => {
            Event::Note(format!("{} has not changed within its ignore_older; skipped its {bytes} bytes", path.shown()))
        }
        Happening::Replaced { path, offset } => {
            let path = path.shown();
            Event::Note(format!(
                "{path} was replaced or trimmed; skipped its first {offset} bytes, which were delivered before"
            ))
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
        Happening::Late { bytes } => Event::Note(format!("{name}: {bytes} bytes arrived late in a rotated file")),
        Happening::Finished { identity, .. } => Event::Finished { name, identity },
    }
}
