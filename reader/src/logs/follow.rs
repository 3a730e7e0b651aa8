//! Waits until a log may have more lines.
//!
//! By inotify on the log directories, and on the log roots in which pipes may appear; a directory that cannot be
//! watched is looked at every `UNWATCHED_MS`. An event is a hint: whoever waits looks again. That nobody reads
//! standard output any more ends the wait at once, and so do the ends that were asked for.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use standpipe_common::clock;
use standpipe_common::error::{Cannot, Result};

/// How often a directory is looked at that cannot be watched.
const UNWATCHED_MS: u16 = 500;
/// The longest wait: an end may be told by the test clock, or by a signal that came just before.
const WAIT_MS: u16 = 1000;

/// What changes a log, or a root.
const CHANGES: AddWatchFlags = AddWatchFlags::IN_MODIFY
    .union(AddWatchFlags::IN_CREATE)
    .union(AddWatchFlags::IN_MOVED_TO)
    .union(AddWatchFlags::IN_DELETE);

/// Why the wait is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// Logs may have more.
    Logs,
    /// Nobody reads standard output any more.
    Closed,
    /// No later lines are wanted, or a signal came.
    Ended,
    /// It took too long.
    TimedOut,
}

/// Waits for lines.
pub struct Follow {
    inotify: Inotify,
    watched: HashMap<WatchDescriptor, Watched>,
    /// Logs that may have more, and whether they may have other parts.
    touched: BTreeMap<usize, bool>,
    /// Logs whose directory cannot be watched.
    unwatched: Vec<usize>,
    /// Roots in which logs may have appeared, and whether they may have.
    roots: Vec<PathBuf>,
    has_new_logs: bool,
    until_ns: Option<i64>,
    deadline: Option<Instant>,
}

#[derive(Clone, Copy)]
enum Watched {
    Log(usize),
    Root,
}

impl Follow {
    /// Waits until `until_ns`, and for `timeout` at most.
    pub fn new(roots: &[PathBuf], until_ns: Option<i64>, timeout: Option<Duration>) -> Result<Follow> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC).cannot("start", "inotify")?;
        let mut follow = Follow {
            inotify,
            watched: HashMap::new(),
            touched: BTreeMap::new(),
            unwatched: Vec::new(),
            roots: roots.to_vec(),
            has_new_logs: !roots.is_empty(),
            until_ns,
            deadline: timeout.map(|timeout| Instant::now() + timeout),
        };
        follow.watch_roots();
        Ok(follow)
    }

    /// Watches the directory of a log, which counts as changed.
    pub fn watch(&mut self, log: usize, dir: &Path) {
        match self.inotify.add_watch(dir, CHANGES) {
            Ok(watch) => drop(self.watched.insert(watch, Watched::Log(log))),
            Err(_) => self.unwatched.push(log),
        }
        self.touched.insert(log, true);
    }

    /// The logs that may have more, and whether they may have other parts.
    pub fn take_touched(&mut self) -> BTreeMap<usize, bool> {
        std::mem::take(&mut self.touched)
    }

    /// Whether there may be logs that were not there.
    pub fn take_new_logs(&mut self) -> bool {
        let has_new_logs = std::mem::take(&mut self.has_new_logs);
        if has_new_logs {
            self.watch_roots();
        }
        has_new_logs
    }

    /// Waits for something to do.
    pub fn wait(&mut self, out: BorrowedFd<'_>, told_to_end: &AtomicBool) -> Result<Wake> {
        loop {
            self.read_events();
            if is_closed(out) {
                return Ok(Wake::Closed);
            }
            if told_to_end.load(Ordering::Relaxed) {
                return Ok(Wake::Ended);
            }
            if !self.touched.is_empty() || self.has_new_logs {
                return Ok(Wake::Logs);
            }
            if self.until_ns.is_some_and(|until_ns| clock::now_ns() > until_ns) {
                return Ok(Wake::Ended);
            }
            if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Ok(Wake::TimedOut);
            }
            let mut fds = [PollFd::new(self.inotify.as_fd(), PollFlags::POLLIN), PollFd::new(out, PollFlags::empty())];
            match poll(&mut fds, PollTimeout::from(self.span_ms())) {
                Ok(0) => {
                    self.touched.extend(self.unwatched.iter().map(|log| (*log, true)));
                }
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno).cannot("wait for", "new lines"),
            }
        }
    }

    /// How long to wait at most.
    fn span_ms(&self) -> u16 {
        let mut span_ms = if self.unwatched.is_empty() { WAIT_MS } else { UNWATCHED_MS };
        let mut shorten = |left: Duration| {
            let left_ms = left.as_millis().saturating_add(1);
            span_ms = span_ms.min(u16::try_from(left_ms).unwrap_or(u16::MAX));
        };
        if let Some(deadline) = self.deadline {
            shorten(deadline.saturating_duration_since(Instant::now()));
        }
        if let Some(until_ns) = self.until_ns {
            shorten(Duration::from_nanos(u64::try_from(until_ns.saturating_sub(clock::now_ns())).unwrap_or(0)));
        }
        span_ms
    }

    fn read_events(&mut self) {
        // EAGAIN: there are no more.
        while let Ok(events) = self.inotify.read_events() {
            for event in events {
                if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
                    let logs: Vec<usize> = self.watched.values().filter_map(|place| place.log()).collect();
                    self.touched.extend(logs.into_iter().map(|log| (log, true)));
                    self.has_new_logs = !self.roots.is_empty();
                    continue;
                }
                match self.watched.get(&event.wd) {
                    Some(Watched::Log(log)) => {
                        let is_growth = event.mask == AddWatchFlags::IN_MODIFY;
                        *self.touched.entry(*log).or_default() |= !is_growth;
                    }
                    Some(Watched::Root) => self.has_new_logs = true,
                    None => {}
                }
            }
        }
    }

    /// Watches the roots, and the directories in them that may become logs.
    fn watch_roots(&mut self) {
        for root in self.roots.clone() {
            let below = fs::read_dir(&root).into_iter().flatten().flatten().map(|entry| entry.path());
            for dir in std::iter::once(root.clone()).chain(below.filter(|path| path.is_dir())) {
                // One that is watched already keeps its watch.
                if let Ok(watch) = self.inotify.add_watch(&dir, CHANGES) {
                    self.watched.entry(watch).or_insert(Watched::Root);
                }
            }
        }
    }
}

impl Watched {
    fn log(self) -> Option<usize> {
        if let Watched::Log(log) = self { Some(log) } else { None }
    }
}

/// Whether nobody reads what is written there.
fn is_closed(out: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::new(out, PollFlags::empty())];
    let gone = PollFlags::POLLERR | PollFlags::POLLHUP;
    poll(&mut fds, PollTimeout::ZERO).is_ok() && fds[0].revents().is_some_and(|events| events.intersects(gone))
}
