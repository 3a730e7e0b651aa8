//! The way to a directory, name by name as the kernel walks it, with a watch on each directory that is passed.
//!
//! Each directory is watched first and looked at then: what changes in between raises an event. A directory on the way
//! that may not be read cannot be watched; it is passed all the same, for a change there is found by the next scan.

use std::ffi::OsString;
use std::fs;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, WatchDescriptor};

/// What is watched where names come and go.
pub const NAMES: AddWatchFlags = AddWatchFlags::IN_CREATE
    .union(AddWatchFlags::IN_MOVE)
    .union(AddWatchFlags::IN_DELETE)
    .union(AddWatchFlags::IN_ATTRIB)
    .union(AddWatchFlags::IN_DELETE_SELF)
    .union(AddWatchFlags::IN_MOVE_SELF);

/// Links that lead to links are followed so far, as by the kernel.
pub(in crate::names) const HOPS_MAX: usize = 40;

/// A walk to a directory.
#[derive(Debug)]
pub struct Walk {
    /// Watched directories, and the name that was passed in each; for the directory at the end an empty one.
    pub steps: Vec<(WatchDescriptor, OsString)>,
    /// How it ended.
    pub end: RoadEnd,
}

/// How a walk ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoadEnd {
    /// At the directory, which is watched.
    Watched(WatchDescriptor),
    /// At a name that is missing, or is no directory. The directory where it is missing is watched.
    Missing,
    /// The directory, or the one where a name is missing, cannot be watched.
    Unwatched(Errno),
}

/// Walks to `dir`. `watch` adds to what a directory is watched for.
pub fn walk(dir: &Path, mut watch: impl FnMut(&Path, AddWatchFlags) -> Result<WatchDescriptor, Errno>) -> Walk {
    let mut steps = Vec::new();
    let mut here = PathBuf::from(if dir.is_absolute() { "/" } else { "." });
    let mut rest = names(dir);
    let mut hops = 0;
    while let Some(name) = rest.pop() {
        if name == ".." {
            here.push("..");
            continue;
        }
        let mut flags = AddWatchFlags::IN_MOVE;
        if rest.is_empty() {
            // One that is removed while somebody has it open does not tell so itself. One further up cannot be removed
            // before what is in it.
            flags |= AddWatchFlags::IN_DELETE;
        }
        let step = watch(&here, flags);
        let next = here.join(&name);
        let mut stands = look(&next);
        let mut watched = step;
        if stands != Ground::Directory {
            watched = watch(&here, NAMES);
            stands = look(&next);
        }
        match watched {
            Ok(watch) => steps.push((watch, name)),
            Err(errno) if stands == Ground::Nothing => return Walk { steps, end: RoadEnd::Unwatched(errno) },
            Err(_) => {}
        }
        match stands {
            Ground::Directory => here = next,
            Ground::Link(target) if hops < HOPS_MAX => {
                hops += 1;
                if target.is_absolute() {
                    here = PathBuf::from("/");
                }
                rest.extend(names(&target));
            }
            Ground::Link(_) | Ground::Nothing => return Walk { steps, end: RoadEnd::Missing },
        }
    }
    match watch(&here, NAMES) {
        Ok(watch) => {
            steps.push((watch, OsString::new()));
            Walk { steps, end: RoadEnd::Watched(watch) }
        }
        Err(errno) => Walk { steps, end: RoadEnd::Unwatched(errno) },
    }
}

#[derive(PartialEq, Eq)]
enum Ground {
    Directory,
    Link(PathBuf),
    Nothing,
}

fn look(path: &Path) -> Ground {
    let Ok(metadata) = fs::symlink_metadata(path) else { return Ground::Nothing };
    if metadata.is_dir() {
        return Ground::Directory;
    }
    fs::read_link(path).map_or(Ground::Nothing, Ground::Link)
}

/// The names of a path, last one first.
fn names(path: &Path) -> Vec<OsString> {
    let names = path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_os_string()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    });
    names.rev().collect()
}
