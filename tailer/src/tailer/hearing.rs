//! What inotify is asked to watch for each source, and what becomes of what it tells.

use std::time::Instant;

use super::Tailer;
use crate::events::Event;
use crate::follow::settings::Hints;
use crate::network;
use crate::roster::Followed;
use crate::watch::Watch;

impl Tailer {
    /// Takes what inotify tells as hints.
    pub(super) fn hear(&mut self, now: Instant) {
        let Some(watch) = &mut self.watch else { return };
        let hints = watch.hints();
        if let Some(sysctl) = watch.warning() {
            self.printer.print(&Event::InotifyLimit { sysctl });
        }
        self.has_more_hints = hints.more;
        for id in hints.grown {
            self.turns.hint(id, Hints { content: true, ..Hints::default() });
        }
        for (id, generation) in hints.closed {
            if let Some(followed) = self.roster.get(id) {
                followed.source.closed(generation, now);
            }
            self.turns.hint(id, Hints { content: true, ..Hints::default() });
        }
        for id in hints.names {
            self.turns.hint(id, Hints { names: true, ..Hints::default() });
        }
        self.globs.hint(&hints.globs);
        self.spools.hint(&hints.spools);
        if hints.overflow {
            self.printer.print_all(self.overflows.admit(Event::Overflow, now));
            self.spools.hint_all();
            self.turns.hint_logs(Hints { names: true, content: true });
            self.globs.hint_all(now);
        }
    }
}

/// Watches the names of a source, along the way that its path takes now.
pub(super) fn add_names(followed: &mut Followed, watch: Option<&mut Watch>) {
    let Some(watch) = watch else { return };
    let rotated = followed.siblings.watched();
    let path = followed.source.path();
    let is_watched = watch.add_names(followed.source.id(), path, rotated.as_deref());
    followed.is_polled = !is_watched || !network::is_local(path);
}

/// Watches the files that a source has open, and those no longer that it is done with, but for the last ones: they may
/// still be appended to by name. One that is parked stays watched.
pub(super) fn watch_files(followed: &mut Followed, watch: Option<&mut Watch>) {
    let Some(watch) = watch else { return };
    let Followed { source, watched, is_polled, .. } = followed;
    watched.retain(|id| {
        let is_there = source.generations().any(|generation| generation.id == *id) || source.done.is_aside(*id);
        if !is_there {
            watch.remove_file(*id);
        }
        is_there
    });
    for generation in source.generations() {
        if let Some(file) = generation.file()
            && !watched.contains(&generation.id)
        {
            if watch.add_file(source.id(), generation.id, file) {
                watched.insert(generation.id);
            } else {
                *is_polled = true;
            }
        }
    }
}
