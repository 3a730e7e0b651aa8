//! Notices that a log may have more, and that there may be other logs, by inotify on their directories.
//!
//! An event is a hint: whoever is told looks. What the cursors themselves raise is none. A directory that cannot be
//! watched is due for a look every [`UNWATCHED_SPAN`].

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::fs;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};
use standpipe_common::cursor;
use standpipe_common::error::{Cannot, Result};

/// How often a directory is looked at that cannot be watched.
pub const UNWATCHED_SPAN: Duration = Duration::from_secs(1);

/// What changes a log.
const OF_LOG: AddWatchFlags = AddWatchFlags::IN_MODIFY
    .union(AddWatchFlags::IN_CREATE)
    .union(AddWatchFlags::IN_MOVED_TO)
    .union(AddWatchFlags::IN_DELETE);
/// What changes which logs there are.
const OF_ROOT: AddWatchFlags = AddWatchFlags::IN_CREATE
    .union(AddWatchFlags::IN_MOVED_TO)
    .union(AddWatchFlags::IN_MOVED_FROM)
    .union(AddWatchFlags::IN_DELETE)
    .union(AddWatchFlags::IN_ONLYDIR);

/// Watches a log root and the logs in it.
pub struct Watch {
    inotify: Inotify,
    root: PathBuf,
    watched: HashMap<WatchDescriptor, Watched>,
    unwatched: BTreeSet<PathBuf>,
}

enum Watched {
    Log(PathBuf),
    /// The root, or a directory in it that may become a log.
    Root,
}

/// What may have changed.
#[derive(Debug, Default)]
pub struct News {
    /// The directories of logs that may have more.
    pub logs: BTreeSet<PathBuf>,
    /// There may be other logs.
    pub has_other_logs: bool,
}

impl Watch {
    /// Watches `root`.
    pub fn new(root: &Path) -> Result<Watch> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC).cannot("start", "inotify")?;
        Ok(Watch { inotify, root: root.to_path_buf(), watched: HashMap::new(), unwatched: BTreeSet::new() })
    }

    /// Watches the root, and the directories in it of which none is a log yet.
    pub fn add_root(&mut self) {
        let root = self.root.clone();
        let below = fs::read_dir(&root).into_iter().flatten().flatten();
        let below = below.filter(|entry| entry.file_type().is_ok_and(|is| is.is_dir())).map(|entry| entry.path());
        for dir in [root.clone()].into_iter().chain(below) {
            // One that is watched as a log keeps that watch.
            let is_log = self.watched.values().any(|place| matches!(place, Watched::Log(log) if *log == dir));
            if !is_log && let Ok(watch) = self.inotify.add_watch(&dir, OF_ROOT) {
                self.watched.entry(watch).or_insert(Watched::Root);
            }
        }
    }

    /// Watches the directory of a log.
    pub fn add_log(&mut self, dir: &Path) {
        match self.inotify.add_watch(dir, OF_LOG) {
            Ok(watch) => drop(self.watched.insert(watch, Watched::Log(dir.to_path_buf()))),
            Err(_) => drop(self.unwatched.insert(dir.to_path_buf())),
        }
    }

    /// The logs that cannot be watched.
    pub fn unwatched(&self) -> &BTreeSet<PathBuf> {
        &self.unwatched
    }

    /// The log is no more.
    pub fn forget(&mut self, dir: &Path) {
        self.unwatched.remove(dir);
        let of = self.watched.iter().find(|(_, place)| matches!(place, Watched::Log(log) if log == dir));
        if let Some(watch) = of.map(|(watch, _)| *watch) {
            self.watched.remove(&watch);
            // The kernel removes that of a directory that is gone.
            self.inotify.rm_watch(watch).ok();
        }
    }

    /// What may have changed since this was asked last.
    pub fn news(&mut self) -> News {
        let mut news = News::default();
        // EAGAIN: there are no more.
        while let Ok(events) = self.inotify.read_events() {
            for event in events {
                self.add(&event, &mut news);
            }
        }
        news
    }

    fn add(&self, event: &InotifyEvent, news: &mut News) {
        if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
            news.has_other_logs = true;
            news.logs.extend(self.watched.values().filter_map(|place| match place {
                Watched::Log(dir) => Some(dir.clone()),
                Watched::Root => None,
            }));
            return;
        }
        let name = event.name.as_deref().unwrap_or(OsStr::new(""));
        match self.watched.get(&event.wd) {
            Some(Watched::Log(dir)) if !cursor::is_of_cursor(name) => drop(news.logs.insert(dir.clone())),
            // By its own files a root changes all the time; by `.standpipe` a directory becomes a log.
            Some(Watched::Root) if !name.as_bytes().starts_with(b".") || name == ".standpipe" => {
                news.has_other_logs = true;
            }
            _ => {}
        }
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}
