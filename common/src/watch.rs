//! Notices that something else may stand at the end of a link, by inotify on the directories along it.
//!
//! Only changes of names and attributes are watched, never what a server's write raises. An event is a hint: whoever
//! asked looks at the link again. Whoever may write a directory can raise events without end: a link is looked at a few
//! times at once and then once a second, and what happens meanwhile is seen at the next look. A directory that cannot be watched (no permission, no watch left) makes its links
//! due for a look every 60 s. The pipes directory itself is not watched: a new link takes a HUP.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};

use crate::error::{Cannot, Result};

/// How often a link is due whose directory cannot be watched.
pub const UNWATCHED_SPAN: Duration = Duration::from_secs(60);
/// The same for one that could not be opened for want of descriptors.
const STARVED_SPAN: Duration = Duration::from_secs(1);

/// Looks at one link that may follow each other at once; one more comes with each second.
const LOOKS_MAX: u32 = 10;
const LOOK_SPAN: Duration = Duration::from_secs(1);

/// Links that lead to links are followed so far, as by the kernel.
const HOPS_MAX: usize = 40;

/// Watches the ends of links. `K` is what the caller calls a link by.
pub struct Watch<K> {
    inotify: Inotify,
    /// Who wants to know about which name in a watched directory: thousands, where links share one.
    wanted: HashMap<WatchDescriptor, HashMap<OsString, HashSet<K>>>,
    unwatched: HashSet<K>,
    next_look: Instant,
    /// Links that were looked at lately.
    looks: HashMap<K, Looks>,
    /// Of those, the ones that want a look and have had too many.
    waiting: HashSet<K>,
}

/// How many looks a link may still have at once, and since when it may have that many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Looks {
    left: u32,
    since: Instant,
}

impl Looks {
    /// Those that it has at `now`.
    fn at(self, now: Instant) -> Looks {
        let more = u32::try_from(now.saturating_duration_since(self.since).as_secs()).unwrap_or(u32::MAX);
        Looks { left: self.left.saturating_add(more).min(LOOKS_MAX), since: self.since + LOOK_SPAN * more }
    }

    fn next(self) -> Instant {
        debug_assert!(self.left < LOOKS_MAX, "whoever has all of them waits for none");
        self.since + LOOK_SPAN
    }
}

/// What was watched until now.
#[must_use]
pub struct Forgotten(Vec<WatchDescriptor>);

impl<K: Clone + Eq + std::hash::Hash> Watch<K> {
    /// Watches nothing yet.
    pub fn new() -> Result<Watch<K>> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC).cannot("start", "inotify")?;
        Ok(Watch {
            inotify,
            wanted: HashMap::new(),
            unwatched: HashSet::new(),
            next_look: Instant::now(),
            looks: HashMap::new(),
            waiting: HashSet::new(),
        })
    }

    /// For the poll set.
    pub fn raw_fd(&self) -> RawFd {
        self.inotify.as_fd().as_raw_fd()
    }

    /// Watches every directory on the way from `link` to its end, again if need be.
    pub fn add(&mut self, key: &K, link: &Path) {
        let mut name = link.to_path_buf();
        for _ in 0..HOPS_MAX {
            let Ok(target) = fs::read_link(&name) else { break };
            name = name.parent().unwrap_or(Path::new("/")).join(target);
            self.add_name(key, &name);
        }
    }

    /// Forgets all links, which are to be added anew, and then [`Watch::leave`] is to be called. What is watched before
    /// and after is watched in between; another inotify would cost the close of this one, 10 ms.
    pub fn forget(&mut self) -> Forgotten {
        self.unwatched.clear();
        self.waiting.clear();
        Forgotten(mem::take(&mut self.wanted).into_keys().collect())
    }

    /// Watches no longer what nobody wants to know any more.
    pub fn leave(&mut self, Forgotten(before): Forgotten) {
        for watch in before.into_iter().filter(|watch| !self.wanted.contains_key(watch)) {
            // One whose directory is gone is no more.
            self.inotify.rm_watch(watch).ok();
        }
    }

    /// When links are due that no event will tell of: those of unwatched directories, and those that wait. `None`: there
    /// are none.
    pub fn next_look(&self) -> Option<Instant> {
        let waiting = self.waiting.iter().filter_map(|key| self.looks.get(key)).map(|looks| looks.next());
        waiting.chain((!self.unwatched.is_empty()).then_some(self.next_look)).min()
    }

    /// The links that want a look now.
    pub fn changed(&mut self, now: Instant) -> HashSet<K> {
        let mut changed = HashSet::new();
        loop {
            match self.inotify.read_events() {
                Ok(events) => events.iter().for_each(|event| self.collect(event, &mut changed)),
                Err(Errno::EINTR) => {}
                Err(_) => break,
            }
        }
        if !self.unwatched.is_empty() && now >= self.next_look {
            self.next_look = now + UNWATCHED_SPAN;
            changed.extend(self.unwatched.drain());
        }
        changed.extend(self.waiting.drain());
        self.within_limits(changed, now)
    }

    /// Those that may be looked at now; the others wait.
    fn within_limits(&mut self, changed: HashSet<K>, now: Instant) -> HashSet<K> {
        self.looks.retain(|_, looks| looks.at(now).left < LOOKS_MAX);
        let (due, waiting): (HashSet<K>, _) = changed.into_iter().partition(|key| {
            let looks = self.looks.get(key).map_or(Looks { left: LOOKS_MAX, since: now }, |looks| looks.at(now));
            let left = looks.left.checked_sub(1);
            self.looks.insert(key.clone(), Looks { left: left.unwrap_or(0), ..looks });
            left.is_some()
        });
        debug_assert!(due.is_disjoint(&waiting), "who waits is not looked at");
        self.waiting = waiting;
        due
    }

    fn add_name(&mut self, key: &K, name: &Path) {
        let flags = AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_MOVE
            | AddWatchFlags::IN_ATTRIB
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_MOVE_SELF;
        for _ in 0..HOPS_MAX {
            let (dir, missing) = nearest(name);
            // A directory that goes tells so only when nobody has it open any more, the one above it at once. That one
            // comes first: whatever is watched next is then what stands there, or an event tells.
            if let (Some(above), Some(itself)) = (dir.parent(), dir.file_name()) {
                let above = if above == Path::new("") { Path::new(".") } else { above };
                self.watch(above, AddWatchFlags::IN_DELETE | AddWatchFlags::IN_MOVE, itself, key);
            }
            let watched = self.watch(&dir, flags, &missing, key);
            if nearest(name).0 != dir {
                // A directory came or went before the watch stood: no event will tell.
                continue;
            }
            if watched {
                return;
            }
            break;
        }
        self.look_within(UNWATCHED_SPAN, key);
    }

    /// What is behind the link could not be opened for want of descriptors: it wants a look once some may be free.
    pub fn look_soon(&mut self, key: &K) {
        self.look_within(STARVED_SPAN, key);
    }

    /// No event will tell of this link: it wants a look after a span at the latest.
    fn look_within(&mut self, span: Duration, key: &K) {
        let at = Instant::now() + span;
        self.next_look = if self.unwatched.is_empty() { at } else { self.next_look.min(at) };
        self.unwatched.insert(key.clone());
    }

    /// Watches `dir` for `name`, beside what it is watched for already. False: it cannot be watched.
    fn watch(&mut self, dir: &Path, flags: AddWatchFlags, name: &OsStr, key: &K) -> bool {
        let flags = flags | AddWatchFlags::IN_ONLYDIR | AddWatchFlags::from_bits_retain(libc::IN_MASK_ADD);
        let Ok(watch) = self.inotify.add_watch(dir, flags) else { return false };
        let names = self.wanted.entry(watch).or_default();
        let keys = match names.get_mut(name) {
            Some(keys) => keys,
            None => names.entry(name.to_os_string()).or_default(),
        };
        if !keys.contains(key) {
            keys.insert(key.clone());
        }
        true
    }

    fn collect(&mut self, event: &InotifyEvent, changed: &mut HashSet<K>) {
        if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
            changed.extend(self.wanted.values().flat_map(HashMap::values).flatten().cloned());
            return;
        }
        let Some(names) = self.wanted.get(&event.wd) else { return };
        match &event.name {
            Some(name) => changed.extend(names.get(name).into_iter().flatten().cloned()),
            None => changed.extend(names.values().flatten().cloned()),
        }
        if event.mask.contains(AddWatchFlags::IN_IGNORED) {
            // The directory is gone, and its number is not given again.
            self.wanted.remove(&event.wd);
        }
    }
}

/// The directory of `name` and its name there; where that directory does not exist, the nearest one above that does
/// and the name of what is missing in it.
fn nearest(name: &Path) -> (PathBuf, OsString) {
    let mut name = name;
    loop {
        let dir = match name.parent() {
            Some(dir) if dir == Path::new("") => Path::new("."),
            Some(dir) => dir,
            None => return (PathBuf::from("/"), OsString::new()),
        };
        if dir.is_dir() || dir == Path::new(".") {
            return (dir.to_path_buf(), name.file_name().unwrap_or(OsStr::new("")).to_os_string());
        }
        name = dir;
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_link_is_due_when_its_target_or_a_directory_on_the_way_appears_or_goes() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("app");
        let target = dir.path().join("run/app/log");
        symlink("run/app/log", &link).unwrap();
        let mut watch = Watch::new().unwrap();
        let mut due = |step: &dyn Fn()| {
            watch.add(&"app", &link);
            step();
            watch.changed(Instant::now()).contains("app")
        };
        assert!(due(&|| fs::create_dir(dir.path().join("run")).unwrap()));
        assert!(due(&|| fs::create_dir(dir.path().join("run/app")).unwrap()));
        assert!(!due(&|| fs::write(dir.path().join("run/app/other"), "").unwrap()));
        assert!(due(&|| fs::write(&target, "").unwrap()));
        assert!(!due(&|| fs::write(&target, "more").unwrap()), "a write raises no look");
        assert!(due(&|| fs::rename(&target, dir.path().join("gone")).unwrap()));
        assert!(due(&|| fs::remove_dir_all(dir.path().join("run/app")).unwrap()));
    }

    #[test]
    fn a_link_that_changes_all_the_time_is_looked_at_once_a_second_and_others_at_once() {
        let mut watch = Watch::<&str>::new().unwrap();
        let start = Instant::now();
        let ask = |watch: &mut Watch<&'static str>, keys: &[&'static str], now| {
            watch.within_limits(keys.iter().copied().collect(), now)
        };
        for _ in 0..LOOKS_MAX {
            assert_eq!(ask(&mut watch, &["busy"], start).len(), 1);
        }
        assert_eq!(ask(&mut watch, &["busy", "other"], start), HashSet::from(["other"]));
        assert_eq!(watch.next_look(), Some(start + LOOK_SPAN));
        assert!(watch.changed(start + LOOK_SPAN / 2).is_empty());
        assert_eq!(watch.changed(start + LOOK_SPAN), HashSet::from(["busy"]), "what it waited for is not forgotten");
        assert!(watch.next_look().is_none() && watch.changed(start + LOOK_SPAN).is_empty());
        ask(&mut watch, &[], start + LOOK_SPAN * (LOOKS_MAX + 2));
        assert!(watch.looks.is_empty());
    }

    #[test]
    fn links_that_are_added_anew_are_watched_in_between_and_others_no_more() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a", "b"] {
            fs::create_dir(dir.path().join(format!("run-{name}"))).unwrap();
            symlink(format!("run-{name}/log"), dir.path().join(name)).unwrap();
        }
        let mut watch = Watch::new().unwrap();
        watch.add(&"a", &dir.path().join("a"));
        watch.add(&"b", &dir.path().join("b"));
        let before = watch.forget();
        fs::write(dir.path().join("run-b/log"), "").unwrap();
        watch.add(&"b", &dir.path().join("b"));
        watch.leave(before);
        assert_eq!(watch.changed(Instant::now()), HashSet::from(["b"]), "an event in between is not lost");
        fs::write(dir.path().join("run-a/log"), "").unwrap();
        assert!(watch.changed(Instant::now()).is_empty());
    }

    #[test]
    fn a_directory_that_is_made_anew_is_noticed_although_somebody_has_the_old_one_open() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("app");
        symlink("run/log", &link).unwrap();
        let run = dir.path().join("run");
        fs::create_dir(&run).unwrap();
        let mut watch = Watch::new().unwrap();
        watch.add(&"app", &link);
        let _open = fs::File::open(&run).unwrap();
        fs::remove_dir(&run).unwrap();
        fs::create_dir(&run).unwrap();
        assert!(watch.changed(Instant::now()).contains("app"));
        watch.add(&"app", &link);
        fs::write(run.join("log"), "").unwrap();
        assert!(watch.changed(Instant::now()).contains("app"));
    }

    #[test]
    fn a_link_added_after_its_directory_was_made_anew_is_due_as_well() {
        let dir = tempfile::tempdir().unwrap();
        let [first, second] = ["app", "web"].map(|name| dir.path().join(name));
        symlink("run/app", &first).unwrap();
        symlink("run/web", &second).unwrap();
        let run = dir.path().join("run");
        fs::create_dir(&run).unwrap();
        let mut watch = Watch::new().unwrap();
        watch.add(&"app", &first);
        let _open = fs::File::open(&run).unwrap();
        fs::remove_dir(&run).unwrap();
        fs::create_dir(&run).unwrap();
        watch.add(&"web", &second);
        assert_eq!(watch.changed(Instant::now()), HashSet::from(["app", "web"]));
        watch.add(&"web", &second);
        fs::write(run.join("web"), "").unwrap();
        assert_eq!(watch.changed(Instant::now()), HashSet::from(["web"]));
    }

    #[test]
    fn directories_that_come_and_go_leave_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("app");
        symlink("run/log", &link).unwrap();
        let mut watch = Watch::new().unwrap();
        let start = Instant::now();
        for round in 0..20 {
            fs::create_dir(dir.path().join("run")).unwrap();
            watch.add(&"app", &link);
            fs::remove_dir(dir.path().join("run")).unwrap();
            // So far apart that no look waits.
            let now = start + 2 * round * LOOK_SPAN;
            assert!(watch.changed(now).contains("app"), "{round}");
        }
        assert!(watch.wanted.len() <= 3, "{:?}", watch.wanted);
    }
}
