//! What inotify is asked to watch for each log, and what it tells.

use std::os::fd::RawFd;
use std::time::Instant;

use crate::events::Event;
use crate::file::network;
use crate::names::ear::Ear;
use crate::names::watch::{Heard, Watch};
use crate::spacing::Spacing;
use crate::turns::roster::Followed;

/// What there is too little of where no inotify can be had; the errno does not tell it from too few descriptors.
const INSTANCES: &str = "fs.inotify.max_user_instances";

/// What tells of changes, if anything does.
#[derive(Default)]
pub struct Hearing {
    watch: Option<Watch>,
    /// It has more to tell than could be heard in one go, and nothing will say so.
    has_more: bool,
    /// What is said of what it could not tell.
    overflows: Spacing,
}

impl Hearing {
    /// Inotify, if it is wanted and can be had; and what is to be said if it cannot.
    pub fn begin(is_wanted: bool) -> (Hearing, Option<Event>) {
        match is_wanted.then(Watch::new).transpose() {
            Ok(watch) => (Hearing { watch, ..Hearing::default() }, None),
            Err(error) if error.is_out_of_descriptors() => {
                (Hearing::default(), Some(Event::InotifyLimit { sysctl: INSTANCES }))
            }
            Err(error) => (Hearing::default(), Some(Event::Warning(format!("{error}; polling instead")))),
        }
    }

    /// It, to be asked for more.
    pub fn watch(&mut self) -> Option<&mut Watch> {
        self.watch.as_mut()
    }

    /// For the poll set.
    pub fn raw_fd(&self) -> Option<RawFd> {
        self.watch.as_ref().map(Watch::raw_fd)
    }

    /// Whether more was told than was heard.
    pub fn has_more(&self) -> bool {
        self.has_more
    }

    /// What it told since this was asked last, and what is to be said of that.
    pub fn hear(&mut self, now: Instant) -> (Heard, Vec<Event>) {
        let Some(watch) = &mut self.watch else { return Default::default() };
        let hints = watch.hints();
        let mut events = Vec::from_iter(watch.warning().map(|sysctl| Event::InotifyLimit { sysctl }));
        self.has_more = hints.more;
        if hints.overflow {
            events.extend(self.overflows.admit(Event::Overflow, now));
        }
        (hints, events)
    }

    /// Watches the names of a log, along the way that its path takes now.
    pub fn add_names(&mut self, followed: &mut Followed) {
        let Some(watch) = &mut self.watch else { return };
        let rotated = followed.siblings.watched();
        let path = followed.source.path();
        let is_watched = watch.add_names(followed.source.id(), path, rotated.as_deref());
        followed.watched.ear = Ear::of(is_watched && network::is_local(path));
    }

    /// Watches the files that a log has open, and those no longer that it is done with, but for the last ones: they may
    /// still be appended to by name. One that is parked stays watched.
    pub fn watch_files(&mut self, followed: &mut Followed) {
        let Some(watch) = &mut self.watch else { return };
        let Followed { source, watched, .. } = followed;
        watched.files.retain(|id| {
            let is_there = source.may_grow(*id);
            if !is_there {
                watch.remove_file(*id);
            }
            is_there
        });
        for generation in source.generations() {
            if let Some(file) = generation.file()
                && !watched.files.contains(&generation.id())
            {
                if watch.add_file(source.id(), generation.id(), file) {
                    watched.files.insert(generation.id());
                } else {
                    watched.ear = Ear::Polls;
                }
            }
        }
    }

    /// Watches nothing of a log any more.
    pub fn leave(&mut self, followed: &mut Followed) {
        let Some(watch) = &mut self.watch else { return };
        watch.remove_names(followed.source.id());
        followed.watched.files.iter().for_each(|generation| watch.remove_file(*generation));
        followed.watched.files.clear();
    }
}
