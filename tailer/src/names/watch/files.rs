//! Open files that are watched, each inode once however many generations it is.

use std::collections::HashMap;

use nix::sys::inotify::{AddWatchFlags, InotifyEvent, WatchDescriptor};

use crate::names::watch::Heard;
use crate::out::lines::{GenerationId, SourceId};

/// What is watched of an open file.
pub const CHANGES: AddWatchFlags = AddWatchFlags::IN_MODIFY
    .union(AddWatchFlags::IN_ATTRIB)
    .union(AddWatchFlags::IN_CLOSE_WRITE)
    .union(AddWatchFlags::IN_DELETE_SELF)
    .union(AddWatchFlags::IN_MOVE_SELF);

/// Which generations a watch is for, and the other way round.
#[derive(Debug, Default)]
pub struct WatchedFiles {
    by_watch: HashMap<WatchDescriptor, Vec<(SourceId, GenerationId)>>,
    by_generation: HashMap<GenerationId, WatchDescriptor>,
}

impl WatchedFiles {
    /// Adds a generation. Returns a watch that is not needed any more, if it had another.
    pub fn add(
        &mut self,
        watch: WatchDescriptor,
        source: SourceId,
        generation: GenerationId,
    ) -> Option<WatchDescriptor> {
        if self.by_generation.get(&generation) == Some(&watch) {
            return None;
        }
        let surplus = self.remove(generation);
        debug_assert!(surplus != Some(watch), "it had another");
        self.by_watch.entry(watch).or_default().push((source, generation));
        self.by_generation.insert(generation, watch);
        surplus
    }

    /// Removes it. Returns its watch if nothing else needs it.
    pub fn remove(&mut self, generation: GenerationId) -> Option<WatchDescriptor> {
        let watch = self.by_generation.remove(&generation)?;
        let known = self.by_watch.get_mut(&watch)?;
        debug_assert!(known.iter().any(|(_, other)| *other == generation), "both ways say the same");
        known.retain(|(_, other)| *other != generation);
        if !known.is_empty() {
            return None;
        }
        self.by_watch.remove(&watch);
        Some(watch)
    }

    /// Whether this is the watch of a file.
    pub fn contains(&self, watch: WatchDescriptor) -> bool {
        self.by_watch.contains_key(&watch)
    }

    /// Whether none is watched.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.by_watch.is_empty() && self.by_generation.is_empty()
    }

    /// Makes hints of an event.
    pub fn take(&mut self, event: &InotifyEvent, hints: &mut Heard) {
        let Some(known) = self.by_watch.get(&event.wd) else { return };
        if event.mask.contains(AddWatchFlags::IN_MODIFY) {
            hints.grown.extend(known.iter().map(|(source, _)| *source));
        } else if event.mask.contains(AddWatchFlags::IN_CLOSE_WRITE) {
            hints.closed.extend(known);
        } else {
            hints.names.extend(known.iter().map(|(source, _)| *source));
        }
        if event.mask.contains(AddWatchFlags::IN_IGNORED) {
            // The inode is gone, and the number of its watch is not given again.
            for (_, generation) in self.by_watch.remove(&event.wd).into_iter().flatten() {
                self.by_generation.remove(&generation);
            }
        }
    }
}
