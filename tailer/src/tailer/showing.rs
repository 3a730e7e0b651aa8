//! What the status file is told of each source, and when.

use std::time::Instant;

use standpipe_common::called;
use standpipe_common::error::Error;

use super::Tailer;
use crate::events::Event;
use crate::follow::blank::TOLD_BYTES_MIN;
use crate::follow::happening::Happening;
use crate::rate::Throttle;
use crate::roster::Followed;
use crate::status::format::{Counts, Figures};
use crate::turns::Stand;

impl Tailer {
    /// Stores what changed, if that is due.
    pub(super) fn show(&mut self, now: Instant, now_ns: i64) {
        self.spools.take_changed().into_iter().for_each(|id| self.board.mark(id));
        for id in self.board.take_due(now) {
            let is_full = |output: usize| self.waits.get(output).is_some_and(|waits| waits.writable.is_some());
            let stored = if let Some(spool) = self.spools.get(id) {
                let has_room = spool.can_use(self.outputs.get_straight(spool.output).room(id));
                let (figures, error) = spool.figures(is_full(spool.output), has_room, now_ns);
                self.board.store(id, &spool.config().dir, &figures, &error)
            } else if let Some(followed) = self.roster.get(id) {
                let (figures, error) = figures(followed, is_full(followed.output), self.turns.stand(id), now_ns);
                self.board.store(id, followed.source.path(), &figures, &error)
            } else {
                continue;
            };
            if let Err(error) = stored {
                self.printer.print(&Event::Error(unseen(&error)));
            }
        }
    }
}

/// What is to be said of a source, and what is wrong with it; `is_full`: its output waits for room.
fn figures(followed: &mut Followed, is_full: bool, stand: Stand, now_ns: i64) -> (Figures, String) {
    let source = &followed.source;
    let on_their_way: u64 = source.generations().map(|all| all.cursor.on_its_way()).sum();
    let lag_bytes = source.unread_bytes() + on_their_way;
    let since = |is_so: bool, since: &mut Option<i64>| {
        *since = is_so.then(|| since.unwrap_or(now_ns));
        since.map_or(0, |since| since as u64)
    };
    let behind_ns = since(lag_bytes > 0, &mut followed.behind_ns);
    let is_blocked =
        (stand == Stand::WaitsForRoom && (lag_bytes > 0 || source.has_unread())) || (is_full && on_their_way > 0);
    let blocked_ns = since(is_blocked, &mut followed.blocked_ns);
    let source = &followed.source;
    let last = source.generations().last();
    let identity = last.map(|last| last.inode).unwrap_or_default();
    let figures = Figures {
        is_spool: false,
        dev: identity.dev,
        ino: identity.ino,
        born_ns: identity.born_ns as u64,
        offset: last.map_or(0, |last| last.cursor.delivered()),
        size: last.map_or(0, |last| last.size.max(last.seen())),
        lag_bytes,
        behind_ns,
        generations: source.generations().count() as u64,
        open: followed.open as u64,
        counts: followed.counts,
        was_too_old: followed.was_too_old,
        is_blank: source.blank_bytes() >= TOLD_BYTES_MIN,
        is_mount: source.is_mount(),
        wants_descriptor: source.wants_descriptor(),
        is_limited: followed.throttle.as_ref().is_some_and(Throttle::is_backlog),
        blocked_ns,
    };
    (figures, source.complaint().unwrap_or_default())
}

/// What is said of a status file that cannot be kept.
pub(super) fn unseen(error: &Error) -> String {
    format!("{error}; `{}` cannot show this run", called::short("tailer", "status"))
}

/// Counts what happened.
pub(super) fn count(counts: &mut Counts, happening: &Happening) {
    match happening {
        Happening::Truncated(_) => counts.truncations += 1,
        Happening::CopyMatched { .. } => counts.copies += 1,
        Happening::Lost { bytes } => counts.lost_bytes += bytes,
        Happening::GenerationMissing { .. } => counts.lost_unknown += 1,
        Happening::Late { bytes } => counts.late_bytes += bytes,
        _ => {}
    }
}
