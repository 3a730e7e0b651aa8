//! What happens to the files that are followed, told on standard error: `[tailer] ` and a sentence, or a JSON object a
//! line.
//!
//! Invariants: what can be told is a closed list; the sentences do not change (tests compare them); one event is one
//! write that never waits: what finds no room is dropped, and counted before the next that does.
//! Not here: when something is told, and how often.

mod json;
mod text;

use std::path::PathBuf;
use std::time::Duration;

use log::Level;
use nix::errno::Errno;
use standpipe_common::logger::{self, Stderr};
use standpipe_common::shown::{counted, harmless};

use crate::catch_up::CatchUp;
use crate::file::identity::Identity;
use crate::log::happening::{Truncation, Why};
use crate::turns::rate::Rate;

/// What happened. `name` is that of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "a field is named after what it holds")]
pub enum Event {
    /// The start: how many files, how often they are looked at, and whether inotify tells of changes too.
    Watching { files: usize, interval: Duration, inotify: bool },
    /// In which order lines come out. `window`: none where there is no clock.
    Order { order: &'static str, window: Option<Duration> },
    /// A file is followed.
    Source { name: String, path: PathBuf, identity: Identity, offset: u64 },
    /// Another file has the name now.
    Rotated { name: String, old: Identity, new: Identity },
    /// The file begins anew.
    Truncated { name: String, identity: Identity, how: Truncation },
    /// What was truncated is read on in a copy.
    CopyMatched { name: String, path: PathBuf, offset: u64, bytes: Option<u64> },
    /// Bytes were destroyed before they could be read. `None`: nobody knows how many.
    Lost { name: String, bytes: Option<u64> },
    /// Files of before this start are no longer there.
    GenerationsMissing { name: String, bytes: Option<u64> },
    /// What was rotated may stand in a directory that cannot be listed.
    Unlisted { name: String, dir: PathBuf, errno: Errno },
    /// A rotated file cannot be read.
    Unreadable { name: String, path: PathBuf, bytes: u64, why: String },
    /// A part of the file was never written, and was passed.
    Hole { name: String, bytes: u64 },
    /// The file ends in zeros, over which lines may still be written.
    Preallocated { name: String, bytes: u64 },
    /// The file is a mount of its own: a rotation that renames it is not seen.
    Mount { name: String, path: PathBuf },
    /// A last line had no newline; it has one now.
    Unfinished { name: String, bytes: u64 },
    /// A file cannot be opened.
    OpenError { path: PathBuf, errno: Errno },
    /// It is tried again. `is_only`: there is no other file that could be meant.
    Retry { path: PathBuf, after: Duration, is_only: bool },
    /// It was opened after all.
    Recovered { path: PathBuf },
    /// What is there is not followed.
    Refused { path: PathBuf, reason: String },
    /// A file, and so many more, wait for a descriptor.
    Waiting { name: String, more: usize },
    /// Its limit keeps what waits in a file.
    Backlog { name: String, rate: Rate, bytes: u64 },
    /// That is read now, after so long.
    BacklogOver { name: String, after: Duration },
    /// Whether leases tell when nobody writes to a file any more.
    Leases { available: bool },
    /// The kernel's limit of watches is reached: polling takes over.
    InotifyLimit { sysctl: &'static str },
    /// Events were lost, all is looked at.
    Overflow,
    /// Lines came out behind later ones.
    Late { name: String, count: u64 },
    /// Several files hold what was read; reading goes on in one of them.
    Ambiguous { name: String, path: PathBuf, files: usize, why: Why },
    /// A rotated file is at its end, and nobody writes to it.
    Finished { name: String, identity: Identity },
    /// Where a source is.
    Debug { name: String, identity: Identity, read: u64, delivered: u64 },
    /// In other words.
    Note(String),
    /// In other words: somebody should look.
    Warning(String),
    /// In other words: something failed.
    Error(String),
}

/// What events look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventForm {
    /// For people.
    Text,
    /// JSON lines.
    Json,
}

/// Tells events on standard error.
pub struct Printer {
    form: EventForm,
    stderr: Stderr,
    /// Events lost since the last that got through.
    dropped: u64,
    catch_up: CatchUp,
}

impl Event {
    /// How grave it is.
    pub fn level(&self) -> Level {
        match self {
            Event::Error(_) => Level::Error,
            Event::Lost { .. }
            | Event::GenerationsMissing { .. }
            | Event::Unlisted { .. }
            | Event::Unreadable { .. }
            | Event::OpenError { .. }
            | Event::Refused { .. }
            | Event::Preallocated { .. }
            | Event::Mount { .. }
            | Event::Waiting { .. }
            | Event::Backlog { .. }
            | Event::InotifyLimit { .. }
            | Event::Overflow
            | Event::Ambiguous { .. }
            | Event::Warning(_) => Level::Warn,
            Event::Finished { .. } | Event::Debug { .. } => Level::Debug,
            _ => Level::Info,
        }
    }

    /// The sentence, behind `[tailer] `.
    pub fn text(&self) -> String {
        format!("[tailer] {}", harmless(&text::sentence(self)))
    }

    /// The JSON object.
    pub fn json(&self) -> String {
        json::object(self)
    }
}

impl Printer {
    /// Of this program's standard error.
    pub fn new(form: EventForm) -> Printer {
        Printer { form, stderr: Stderr::open(), dropped: 0, catch_up: CatchUp::silent() }
    }

    /// What its events look like.
    pub fn form(&self) -> EventForm {
        self.form
    }

    /// Tells these, one after the other.
    pub fn print_all(&mut self, events: impl IntoIterator<Item = Event>) {
        events.into_iter().for_each(|event| self.print(&event));
    }

    /// From now on shows between events how far the backlog of the start is delivered, where people look on.
    pub fn begin_to_catch_up(&mut self) {
        if self.form == EventForm::Text {
            self.catch_up = CatchUp::on_terminal();
        }
    }

    /// How far that is.
    pub fn catch_up(&mut self) -> &mut CatchUp {
        &mut self.catch_up
    }

    /// Tells one event.
    pub fn print(&mut self, event: &Event) {
        self.catch_up.clear();
        let mut lines = String::new();
        if self.dropped > 0 {
            self.push(&Event::Warning(format!("{} dropped", counted(self.dropped, "message"))), &mut lines);
        }
        self.push(event, &mut lines);
        self.dropped = if self.stderr.put(lines) { 0 } else { self.dropped + 1 };
    }

    fn push(&self, event: &Event, lines: &mut String) {
        match self.form {
            EventForm::Json => lines.push_str(&event.json()),
            EventForm::Text => {
                if self.stderr.is_journal() {
                    lines.push_str(logger::number(event.level()));
                }
                lines.push_str(&event.text());
            }
        }
        lines.push('\n');
    }
}

#[cfg(test)]
mod tests;
