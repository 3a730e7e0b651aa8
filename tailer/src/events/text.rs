//! Events as sentences.

use std::time::Duration;

use super::{Event, Truncation};
use crate::log::happening::Why;

use standpipe_common::shown::{Shown as _, counted};

pub(super) fn sentence(event: &Event) -> String {
    match event {
        Event::Watching { files, interval, inotify } => {
            let (noun, also) = (counted(*files as u64, "file"), if *inotify { " (inotify)" } else { "" });
            format!("watching {noun} with poll() interval={}{also}", millis(*interval))
        }
        Event::Order { order, window: Some(window) } => format!("order={order} window={}", millis(*window)),
        Event::Order { order, window: None } => format!("order={order}"),
        Event::Source { path, identity, .. } => format!("{} inode={}", path.shown(), identity.ino),
        Event::Rotated { name, old, new } => {
            format!("{name} rotated (inode changed {} -> {}), reopening", old.ino, new.ino)
        }
        Event::Truncated { name, how, .. } => format!("{name} truncated ({}), reset offset", how.text()),
        Event::CopyMatched { name, path, offset, bytes } => {
            let length = bytes.map_or(String::new(), |bytes| format!(", {}", counted(bytes, "byte")));
            format!("{name} continues in its copy {} at offset {offset}{length}", path.shown())
        }
        Event::Lost { name, bytes } => {
            format!("{name} lost {}, destroyed before being read", some(*bytes))
        }
        Event::GenerationsMissing { name, bytes } => {
            format!("{name} lost {}: files rotated since the last run were removed", some(*bytes))
        }
        Event::Unlisted { name, dir, errno } => format!(
            "{name}: cannot list {}: {errno:?}; looking for files rotated there until it can be listed",
            dir.shown()
        ),
        Event::Unreadable { name, path, bytes, why } => {
            let bytes = counted(*bytes, "byte");
            format!("{name}: {} ({bytes}) may hold lines that were not delivered: {why}", path.shown())
        }
        Event::Hole { name, bytes } => format!("{name}: skipped a hole of {}", counted(*bytes, "byte")),
        Event::Preallocated { name, bytes } => format!(
            "{name} ends in {}: they are not delivered until something is written over or after them",
            counted(*bytes, "zero byte")
        ),
        Event::Mount { path, .. } => format!(
            "{} is a separate mount: rotation by renaming is not visible here; mount its directory instead",
            path.shown()
        ),
        Event::Unfinished { name, bytes } => {
            format!("{name} ended without a newline, added one to its last line of {}", counted(*bytes, "byte"))
        }
        Event::OpenError { path, errno } => format!("error opening {}: {errno:?}", path.shown()),
        Event::Retry { after, is_only: true, .. } => format!("retry in {}s (backoff)", after.as_secs()),
        Event::Retry { path, after, .. } => format!("retry in {}s (backoff): {}", after.as_secs(), path.shown()),
        Event::Recovered { path } => format!("{} opened after all", path.shown()),
        Event::Refused { path, reason } => format!("{} refused: {reason}", path.shown()),
        Event::Waiting { name, more: 0 } => format!("{name} is waiting for a file descriptor; raise the limit on open files: `ulimit -n`, LimitNOFILE="),
        Event::Waiting { name, more } => {
            format!("{name} and {} are waiting for file descriptors; raise the limit on open files: `ulimit -n`, LimitNOFILE=", counted(*more as u64, "more file"))
        }
        Event::Backlog { name, rate, bytes } => {
            format!("{name} is held back by its rate_limit ({rate}); {} still to be read", counted(*bytes, "byte"))
        }
        Event::BacklogOver { name, after } => {
            format!("{name} is no longer held back by its rate_limit, after {}s", after.as_secs())
        }
        Event::Leases { available: true } => "using file leases to detect when a rotated file has no writer".to_string(),
        Event::Leases { available: false } => {
            "file leases unavailable (need CAP_LEASE or file ownership); rotated files are closed after max_idle_ms of silence".to_string()
        }
        Event::InotifyLimit { sysctl } => format!("inotify limit reached, polling instead: raise {sysctl}"),
        Event::Overflow => "inotify queue overflowed, checking all files".to_string(),
        Event::Late { name, count: 1 } => format!("{name}: 1 line arrived too late and was written out of order"),
        Event::Late { name, count } => format!("{name}: {count} lines arrived too late and were written out of order"),
        Event::Ambiguous { name, path, files, why } => {
            format!("{name}: {files} copies match equally; using {}, {}", path.shown(), why.text())
        }
        Event::Finished { name, identity } => format!("{name} inode={} finished", identity.ino),
        Event::Debug { name, identity, read, delivered } => {
            format!("{name} dev={} inode={} read={read} delivered={delivered}", identity.dev, identity.ino)
        }
        Event::Note(sentence) => sentence.clone(),
        Event::Warning(sentence) => format!("warning: {sentence}"),
        Event::Error(sentence) => format!("error: {sentence}"),
    }
}

impl Truncation {
    pub(super) fn text(self) -> &'static str {
        match self {
            Truncation::SizeDecreased | Truncation::EndCut => "size decreased",
            Truncation::ContentChanged => "content changed",
        }
    }
}

impl Why {
    fn text(self) -> &'static str {
        match self {
            Why::Oldest => "the oldest",
            Why::Longer => "which contains the oldest and more",
            Why::First => "the first listed, because none is older",
        }
    }
}

fn millis(span: Duration) -> String {
    format!("{}ms", span.as_millis())
}

fn some(bytes: Option<u64>) -> String {
    bytes.map_or("an unknown number of bytes".to_string(), |bytes| counted(bytes, "byte"))
}
