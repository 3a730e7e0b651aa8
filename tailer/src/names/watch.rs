//! Notices that there is something to read, or other names to look at, by inotify.
//!
//! Events are hints: they say where to look, never what is there. Whoever gets a hint about names adds them again
//! first (watch, then look) and then looks. An event may be missing where a mount came in between, where a directory
//! may not be read, or on a network; so everything is looked at now and then all the same, only less often.
//!
//! Invariants: each directory and each file is watched once, however many ask; a watch that nobody asks for any more is
//! given back; what an event concerns is found by its name, not by asking all sources.

mod files;
mod names;
mod road;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ffi::OsString;
use std::fs::{self, File};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::libc;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};
use standpipe_common::error::{Cannot, Result};

use crate::names::watch::files::WatchedFiles;
use crate::names::watch::names::{Names, Want};
use crate::names::watch::road::{HOPS_MAX, RoadEnd, walk};
use crate::out::lines::{GenerationId, SourceId};
use crate::sources::part::Awaited;

/// Reads of 4 KiB a call. 16,384 events, the kernel's most unless told otherwise, take 200 to 300.
const READS_MAX: usize = 400;

/// Who waits for names that come to directories.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Waiter {
    /// The glob of an entry of the configuration.
    Glob(usize),
    /// A spool.
    Spool(SourceId),
}

/// Who wants to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Who {
    Source(SourceId),
    Waiter(Waiter),
    /// All that lead along it.
    Road(RoadId),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct RoadId(u32);

/// Where to look.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// Events were lost: everything is due.
    pub overflow: bool,
    /// Files of these were written or truncated.
    pub grown: BTreeSet<SourceId>,
    /// Names of these changed, or who may read them: to be added again and then looked at.
    pub names: BTreeSet<SourceId>,
    /// Somebody who had these open for writing closed them.
    pub closed: BTreeSet<(SourceId, GenerationId)>,
    /// Names came that these wait for: to be added again and then looked through.
    pub globs: BTreeSet<usize>,
    /// The same of spools.
    pub spools: BTreeSet<SourceId>,
    /// There are more events: ask again after what is due now, whatever poll says.
    pub more: bool,
}

/// Watches names, directories and open files.
pub struct Watch {
    inotify: Inotify,
    directories: HashMap<WatchDescriptor, Names>,
    roads: HashMap<RoadId, Road>,
    roads_by_dir: HashMap<PathBuf, RoadId>,
    next_road: u32,
    /// What was added, to be taken back.
    marks: HashMap<Who, Box<[Mark]>>,
    files: WatchedFiles,
    shortage: Shortage,
}

/// The way to a directory, shared by all that live there.
#[derive(Debug)]
struct Road {
    dir: PathBuf,
    steps: Vec<(WatchDescriptor, OsString)>,
    /// `None`: it may lead elsewhere by now, or could not be watched; it is to be walked again.
    end: Option<RoadEnd>,
    users: HashSet<Who>,
}

/// What somebody wants to know about a directory.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Mark {
    road: RoadId,
    directory: Option<WatchDescriptor>,
    want: Want,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shortage {
    None,
    Unsaid,
    Said,
}

impl Watch {
    /// Watches nothing yet.
    ///
    /// # Errors
    /// There is no inotify: everything is to be polled.
    pub fn new() -> Result<Watch> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC).cannot("start", "inotify")?;
        Ok(Watch {
            inotify,
            directories: HashMap::new(),
            roads: HashMap::new(),
            roads_by_dir: HashMap::new(),
            next_road: 0,
            marks: HashMap::new(),
            files: WatchedFiles::default(),
            shortage: Shortage::None,
        })
    }

    /// For the poll set.
    pub fn raw_fd(&self) -> RawFd {
        self.inotify.as_fd().as_raw_fd()
    }

    /// Watches the names of a source: its path, each name on the way of links, and its rotated generations, either by
    /// the names that rotators give or by `rotated`, directories and what names there begin with. What was added for
    /// the source before and is not needed any more is given back. False: something cannot be watched, poll it.
    pub fn add_names(&mut self, source: SourceId, path: &Path, rotated: Option<&[(PathBuf, OsString)]>) -> bool {
        let who = Who::Source(source);
        let mut marks = Vec::new();
        let mut is_whole = true;
        let mut path = path.to_path_buf();
        for _ in 0..HOPS_MAX {
            let dir = path.parent().unwrap_or(Path::new("/")).to_path_buf();
            let Some(name) = path.file_name() else { break };
            let mut wants = vec![Want::Exactly(name.to_os_string())];
            if rotated.is_none() {
                wants.push(Want::RotationOf(name.to_os_string()));
            }
            is_whole &= self.mark(who, &dir, wants, &mut marks);
            let Ok(target) = fs::read_link(&path) else { break };
            path = dir.join(target);
        }
        for (dir, beginning) in rotated.unwrap_or_default() {
            is_whole &= self.mark(who, dir, vec![Want::Beginning(beginning.clone())], &mut marks);
        }
        self.replace(who, marks);
        is_whole
    }

    /// Watches no names of this source any more.
    pub fn remove_names(&mut self, source: SourceId) {
        self.replace(Who::Source(source), Vec::new());
    }

    /// Watches for names that are awaited in these directories, and no longer for what was added for this waiter
    /// before. False: one of them cannot be watched, poll it.
    pub fn add_directories(&mut self, waiter: Waiter, dirs: &[(PathBuf, Vec<Awaited>)]) -> bool {
        let who = Who::Waiter(waiter);
        let mut marks = Vec::new();
        let mut is_whole = true;
        for (dir, awaited) in dirs {
            let wants = awaited.iter().cloned().map(Want::Awaited).collect();
            is_whole &= self.mark(who, dir, wants, &mut marks);
        }
        self.replace(who, marks);
        is_whole
    }

    /// Watches an open file, whatever its name is by now. False: it cannot be watched, poll it.
    pub fn add_file(&mut self, source: SourceId, generation: GenerationId, file: &File) -> bool {
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        match self.inotify.add_watch(path.as_str(), files::CHANGES) {
            Ok(watch) => {
                let surplus = self.files.add(watch, source, generation);
                self.give_back(surplus);
                true
            }
            Err(errno) => {
                self.note_shortage(errno);
                false
            }
        }
    }

    /// Watches it no longer; before its descriptor is closed or after.
    pub fn remove_file(&mut self, generation: GenerationId) {
        let surplus = self.files.remove(generation);
        self.give_back(surplus);
    }

    /// The limit to name once, when watches have run out.
    pub fn warning(&mut self) -> Option<&'static str> {
        (self.shortage == Shortage::Unsaid).then(|| {
            self.shortage = Shortage::Said;
            "fs.inotify.max_user_watches"
        })
    }

    /// What happened since the last call, as far as it can be read in one go.
    pub fn hints(&mut self) -> Heard {
        let mut hints = Heard::default();
        for _ in 0..READS_MAX {
            match self.inotify.read_events() {
                Ok(events) => events.iter().for_each(|event| self.take(event, &mut hints)),
                Err(Errno::EINTR) => {}
                Err(_) => return hints,
            }
        }
        hints.more = true;
        hints
    }

    fn take(&mut self, event: &InotifyEvent, hints: &mut Heard) {
        if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
            hints.overflow = true;
            self.roads.values_mut().for_each(|road| road.end = None);
        } else if self.files.contains(event.wd) {
            self.files.take(event, hints);
        } else if self.directories.contains_key(&event.wd) {
            self.take_of_directory(event, hints);
        }
    }

    fn take_of_directory(&mut self, event: &InotifyEvent, hints: &mut Heard) {
        let names = &self.directories[&event.wd];
        let (concerned, brings) = match &event.name {
            Some(name) => {
                let brings = event.mask.intersects(AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO);
                let is_directory = event.mask.contains(AddWatchFlags::IN_ISDIR);
                (names.concerned(name, is_directory).collect::<Vec<_>>(), brings)
            }
            // The directory itself moved or went.
            None => (names.everybody().collect(), true),
        };
        for who in concerned {
            match who {
                Who::Source(_) => hint(who, hints),
                Who::Waiter(_) if brings => hint(who, hints),
                Who::Waiter(_) => {}
                Who::Road(road) => {
                    let Some(road) = self.roads.get_mut(&road) else { continue };
                    road.end = None;
                    road.users.iter().for_each(|user| hint(*user, hints));
                }
            }
        }
        if event.mask.contains(AddWatchFlags::IN_IGNORED) {
            self.directories.remove(&event.wd);
        }
    }

    /// Marks names in a directory. False: it cannot be watched.
    fn mark(&mut self, who: Who, dir: &Path, wants: Vec<Want>, marks: &mut Vec<Mark>) -> bool {
        let (road, end) = self.road_to(dir);
        if let Some(road) = self.roads.get_mut(&road) {
            road.users.insert(who);
        }
        let directory = if let RoadEnd::Watched(directory) = end { Some(directory) } else { None };
        for want in wants {
            if let Some(directory) = directory {
                self.directories.entry(directory).or_default().add(&want, who);
            }
            marks.push(Mark { road, directory, want });
        }
        !matches!(end, RoadEnd::Unwatched(_))
    }

    /// Takes back what `who` had marked and did not mark again.
    fn replace(&mut self, who: Who, marks: Vec<Mark>) {
        let before = self.marks.remove(&who).unwrap_or_default();
        let now: HashSet<&Mark> = marks.iter().collect();
        let roads: HashSet<RoadId> = marks.iter().map(|mark| mark.road).collect();
        for mark in before.iter().filter(|mark| !now.contains(mark)) {
            if let Some(directory) = mark.directory {
                self.unmark(directory, &mark.want, who);
            }
            if !roads.contains(&mark.road) {
                self.leave(mark.road, who);
            }
        }
        if !marks.is_empty() {
            self.marks.insert(who, marks.into_boxed_slice());
        }
    }

    fn unmark(&mut self, directory: WatchDescriptor, want: &Want, who: Who) {
        let Some(names) = self.directories.get_mut(&directory) else { return };
        names.remove(want, who);
        if names.is_empty() {
            self.directories.remove(&directory);
            self.give_back(Some(directory));
        }
    }

    /// The road to a directory, walked again if it went astray.
    fn road_to(&mut self, dir: &Path) -> (RoadId, RoadEnd) {
        let known = self.roads_by_dir.get(dir).copied();
        if let Some(id) = known
            && let Some(end) = self.roads.get(&id).and_then(|road| road.end)
        {
            return (id, end);
        }
        let id = known.unwrap_or_else(|| {
            self.next_road += 1;
            RoadId(self.next_road)
        });
        let mut walk = walk(dir, |dir, flags| {
            let add = AddWatchFlags::IN_ONLYDIR | AddWatchFlags::from_bits_retain(libc::IN_MASK_ADD);
            self.inotify.add_watch(dir, flags | add)
        });
        for (directory, name) in &walk.steps {
            self.directories.entry(*directory).or_default().add(&Want::Exactly(name.clone()), Who::Road(id));
        }
        if let RoadEnd::Unwatched(errno) = walk.end {
            self.note_shortage(errno);
        }
        let end = walk.end;
        let road = self.roads.entry(id).or_insert_with(|| {
            self.roads_by_dir.insert(dir.to_path_buf(), id);
            let dir = dir.to_path_buf();
            Road { dir, steps: Vec::new(), end: None, users: HashSet::new() }
        });
        road.end = Some(end).filter(|end| !matches!(end, RoadEnd::Unwatched(_)));
        std::mem::swap(&mut road.steps, &mut walk.steps);
        let steps = road.steps.clone();
        for (directory, name) in walk.steps.into_iter().filter(|step| !steps.contains(step)) {
            self.unmark(directory, &Want::Exactly(name), Who::Road(id));
        }
        (id, end)
    }

    fn leave(&mut self, id: RoadId, who: Who) {
        let Some(road) = self.roads.get_mut(&id) else { return };
        road.users.remove(&who);
        if !road.users.is_empty() {
            return;
        }
        let Some(road) = self.roads.remove(&id) else { return };
        let known = self.roads_by_dir.remove(&road.dir);
        debug_assert_eq!(known, Some(id));
        for (directory, name) in road.steps {
            self.unmark(directory, &Want::Exactly(name), Who::Road(id));
        }
    }

    fn give_back(&self, watch: Option<WatchDescriptor>) {
        // What is gone is not watched any more, and that is no error.
        watch.map(|watch| self.inotify.rm_watch(watch).ok());
    }

    fn note_shortage(&mut self, errno: Errno) {
        if errno == Errno::ENOSPC && self.shortage == Shortage::None {
            self.shortage = Shortage::Unsaid;
        }
    }
}

fn hint(who: Who, hints: &mut Heard) {
    match who {
        Who::Source(source) => hints.names.insert(source),
        Who::Waiter(Waiter::Glob(glob)) => hints.globs.insert(glob),
        Who::Waiter(Waiter::Spool(spool)) => hints.spools.insert(spool),
        Who::Road(_) => false,
    };
}

#[cfg(test)]
mod tests;
