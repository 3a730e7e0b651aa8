//! What inotify is to tell of one source.

use crate::network;
use crate::roster::Followed;
use crate::watch::Watch;

/// Watches the names of a source, along the way that its path takes now.
pub(super) fn add_names(followed: &mut Followed, watch: Option<&mut Watch>) {
    let Some(watch) = watch else { return };
    let rotated = followed.siblings.watched();
    let path = followed.source.path();
    let is_watched = watch.add_names(followed.source.id(), path, rotated.as_deref());
    followed.is_polled = !is_watched || !network::is_local(path);
}

/// Watches the files that a source has open, and those no longer that it is done with. One that is parked stays watched.
pub(super) fn watch_files(followed: &mut Followed, watch: Option<&mut Watch>) {
    let Some(watch) = watch else { return };
    let Followed { source, watched, is_polled, .. } = followed;
    watched.retain(|id| {
        let is_there = source.generations().any(|generation| generation.id == *id);
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
