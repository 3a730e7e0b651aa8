//! Keeps what of all sources is to be remembered, and writes it down when that is due, if there is a state file.
//!
//! Invariants: a changed list of generations is on disk before bytes of it are on their way (without a sync: it outlives
//! this process); positions follow once a second, durably. What is remembered of files that are not followed now is kept
//! until they are followed again, or for a week if they are gone; logs under globs of which no file was left are
//! remembered for this run only, the last of them. A disk that refuses stops nothing: it is said once, and tried again.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use standpipe_common::error::Error;
use standpipe_common::retry::Retry;

use crate::checkpoint::Checkpoint;
use crate::checkpoint::durable::{Durable, Flow};
use crate::checkpoint::state::{SourceState, States};
use crate::file::identity::Identity;

/// How often positions are made durable while they change.
const SAVE_SPAN: Duration = Duration::from_secs(1);

/// How long it is kept at least what is remembered of a file that is not followed.
const FORGET_AFTER_NS: i64 = 7 * 24 * 3600 * 1_000_000_000;

/// How often it is asked which of them are gone.
const FORGET_SPAN: Duration = Duration::from_secs(3600);

/// Most logs under globs that are remembered although no file of them is left: one may be moved back, under any name. A
/// directory of short-lived files may have as many every hour.
const GONE_MAX: usize = 1024;

/// What is remembered, and what of it is not yet in the checkpoint.
#[derive(Debug)]
pub struct Keeper {
    /// `None`: it is remembered for this run only.
    checkpoint: Option<Checkpoint>,
    /// What the next checkpoint says, and of whom it says something else than the last one.
    states: States,
    changed: BTreeSet<PathBuf>,
    /// Of files that are not followed now.
    others: BTreeMap<PathBuf, SourceState>,
    /// Of logs under globs of which nothing was left, oldest first.
    gone: VecDeque<SourceState>,
    /// When those that are gone are forgotten next.
    forget_at: Instant,
    /// What is on disk at the other end of pipes, too.
    durable: Option<Durable>,
    is_changed: bool,
    saved: Instant,
    trouble: Retry,
}

/// A save that failed.
#[derive(Debug)]
pub struct Unsaved {
    /// Why.
    pub error: Error,
    /// The one before it did not.
    pub is_first: bool,
}

impl Keeper {
    /// Begins with what was loaded.
    pub fn new(checkpoint: Option<Checkpoint>, known: Vec<SourceState>, now: Instant) -> Keeper {
        let mut keeper = Keeper {
            checkpoint,
            states: States::new(),
            changed: BTreeSet::new(),
            others: BTreeMap::new(),
            gone: VecDeque::new(),
            forget_at: now,
            durable: None,
            is_changed: false,
            saved: now,
            trouble: Retry::default(),
        };
        for state in known {
            keeper.set(state.clone());
            keeper.others.insert(state.path.clone(), state);
        }
        keeper
    }

    /// Keeps as well what a run after a power cut goes back to, and writes down whose run this is.
    ///
    /// # Errors
    /// It cannot be written; it is kept all the same.
    pub fn keep_durable(&mut self, durable: Option<Durable>) -> Result<(), Error> {
        self.durable = durable;
        self.durable.as_mut().map_or(Ok(()), Durable::begin)
    }

    /// Whether it outlives this run.
    pub fn has_file(&self) -> bool {
        self.checkpoint.is_some()
    }

    /// Whether something is remembered of a path that is not followed.
    pub fn knows(&self, path: &Path) -> bool {
        self.others.contains_key(path)
    }

    /// What is remembered of a log that is followed from now on: by its path, else by `file`, which stands there and may
    /// have been read under another name.
    pub fn take(&mut self, path: &Path, file: Option<&Identity>) -> Option<SourceState> {
        let has_read = |state: &SourceState| file.is_some_and(|file| state.has_read(file));
        let is_it = |state: &SourceState| state.path == path || has_read(state);
        let state = if let Some(state) = self.others.remove(path) {
            state
        } else if let Some(at) = self.gone.iter().position(is_it) {
            self.gone.remove(at)?
        } else {
            let before = self.others.values().find(|state| has_read(state))?.path.clone();
            self.unset(&before);
            self.others.remove(&before)?
        };
        Some(SourceState { path: path.to_path_buf(), left_ns: 0, ..state })
    }

    /// A file is followed no longer.
    pub fn give_back(&mut self, state: SourceState) {
        self.is_changed = true;
        self.set(state.clone());
        self.others.insert(state.path.clone(), state);
    }

    /// The same of a log under a glob of which nothing is left.
    pub fn give_back_gone(&mut self, state: SourceState) {
        self.is_changed = true;
        self.unset(&state.path);
        self.gone.push_back(state);
        self.gone.drain(..self.gone.len().saturating_sub(GONE_MAX));
    }

    /// Paths that are remembered and not followed.
    pub fn others(&self) -> impl Iterator<Item = &SourceState> {
        self.others.values()
    }

    /// A position changed.
    pub fn note(&mut self) {
        self.is_changed = true;
    }

    /// When positions are to be written. `None`: nothing changed.
    pub fn due(&self) -> Option<Instant> {
        let next = self.trouble.due().unwrap_or(self.saved + SAVE_SPAN);
        let durable = self.durable.as_ref().and_then(|durable| durable.due(self.saved)).map(|due| due.max(next));
        (self.is_changed && self.has_file()).then_some(next).or(durable)
    }

    /// Writes what changed: `states` is what followed sources say to which something happened since the last save, and
    /// `flows` what went through pipes. `now_ns`: by the wall clock, for what is not followed is remembered across runs.
    ///
    /// # Errors
    /// The disk's; it is tried again when it is [due](Keeper::due).
    pub fn save(
        &mut self,
        states: Vec<SourceState>,
        flows: &[Flow],
        is_durable: bool,
        now: Instant,
        now_ns: i64,
    ) -> Result<(), Unsaved> {
        self.forget(now, now_ns);
        for state in states {
            self.set(state);
        }
        let changed = std::mem::take(&mut self.changed);
        let Some(checkpoint) = &mut self.checkpoint else { return Ok(()) };
        let is_kept = self.durable.as_mut().map_or(Ok(()), |durable| {
            let state = |path: PathBuf| {
                self.states.get(&path).cloned().map_or((path.clone(), None), |state| (path, Some(state)))
            };
            durable.note(changed.into_iter().map(state), flows, now);
            // First: what is durable must not run ahead of it.
            durable.save(is_durable)
        });
        match is_kept.and_then(|()| checkpoint.save(&self.states, is_durable)) {
            Ok(()) => {
                self.is_changed = !is_durable;
                if is_durable {
                    self.saved = now;
                }
                self.trouble.succeeded();
                Ok(())
            }
            Err(error) => {
                self.is_changed = true;
                let is_first = self.trouble.due().is_none();
                self.trouble.failed(now);
                Err(Unsaved { error, is_first })
            }
        }
    }

    /// The next save is the last of this run: it leaves one file each.
    pub fn write_all_next(&mut self) {
        self.checkpoint.iter_mut().for_each(Checkpoint::write_all_next);
        self.durable.iter_mut().for_each(Durable::write_all_next);
    }

    /// The run ends in order, and all that it delivered was taken.
    ///
    /// # Errors
    /// It cannot be written down: a run after another boot repeats more.
    pub fn end(&mut self) -> Result<(), Error> {
        let Some(durable) = &mut self.durable else { return Ok(()) };
        durable.end();
        durable.save(true)
    }

    /// Whether the checkpoint says of a source that it is as far as this. What files begin with may be known since.
    pub fn says(&self, state: &SourceState) -> bool {
        let far = |state: &SourceState| -> Vec<_> {
            state.generations.iter().map(|saved| (saved.origin, saved.copy, saved.offset)).collect()
        };
        self.states.get(&state.path).is_some_and(|said| far(said) == far(state) && said.done.len() == state.done.len())
    }

    fn set(&mut self, state: SourceState) {
        let Some(checkpoint) = &mut self.checkpoint else { return };
        if self.states.get(&state.path).is_some_and(|said| **said == state) {
            return;
        }
        checkpoint.touch(&state.path);
        self.changed.insert(state.path.clone());
        self.states.insert(state.path.clone(), Rc::new(state));
    }

    fn unset(&mut self, path: &Path) {
        if self.states.remove(path).is_some() {
            self.checkpoint.iter_mut().for_each(|checkpoint| checkpoint.touch(path));
            self.changed.insert(path.to_owned());
        }
    }

    fn forget(&mut self, now: Instant, now_ns: i64) {
        let left = self.others.values_mut().filter(|state| state.left_ns == 0);
        let left: Vec<_> = left.map(|state| SourceState { left_ns: now_ns, ..std::mem::take(state) }).collect();
        for state in left {
            self.set(state.clone());
            self.others.insert(state.path.clone(), state);
        }
        if self.forget_at <= now {
            self.forget_at = now + FORGET_SPAN;
            // Ten thousand of them may have been in one directory: it is read once.
            let mut listed = Listed::new();
            let is_recent = |state: &SourceState| now_ns - state.left_ns < FORGET_AFTER_NS;
            let mut is_over = |state: &SourceState| !is_recent(state) && is_gone(state, &mut listed);
            let over = self.others.iter().filter(|(_, state)| is_over(state)).map(|(path, _)| path.clone());
            for path in over.collect::<Vec<_>>() {
                self.others.remove(&path);
                self.unset(&path);
            }
        }
    }
}

/// Inode numbers of all that is in a directory, by its path. `None`: it cannot be read, or not to its end.
type Listed = HashMap<PathBuf, Option<HashSet<u64>>>;

/// Whether none of its files is there any more, under its name or beside it. What cannot be looked at may be there.
fn is_gone(state: &SourceState, listed: &mut Listed) -> bool {
    let generations = state.generations.iter().map(|generation| generation.copy.unwrap_or(generation.origin.identity));
    let done = state.done.iter().map(|done| done.origin.identity);
    let inodes: HashSet<u64> = generations.chain(done).map(|identity| identity.ino).collect();
    let is_elsewhere = match fs::metadata(&state.path) {
        Ok(metadata) => !inodes.contains(&metadata.ino()),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    };
    let Some(dir) = state.path.parent().filter(|_| is_elsewhere) else { return is_elsewhere };
    let beside = listed.entry(dir.to_path_buf()).or_insert_with(|| inodes_in(dir).ok());
    beside.as_ref().is_some_and(|beside| beside.is_disjoint(&inodes))
}

fn inodes_in(dir: &Path) -> io::Result<HashSet<u64>> {
    match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(HashSet::new()),
        entries => entries?.map(|entry| Ok(entry?.metadata()?.ino())).collect(),
    }
}

#[cfg(test)]
mod tests {
    use standpipe_tests::deadline::cpu_of_thread;

    use super::*;
    use crate::checkpoint::state::GenerationState;
    use crate::checkpoint::{OnCorrupt, Start};
    use crate::file::identity::{Identity, Origin};

    const HOUR_NS: i64 = 3600 * 1_000_000_000;

    fn keeper(state: &Path, known: Vec<SourceState>, now: Instant) -> Keeper {
        Keeper::new(Some(Checkpoint::open(state, OnCorrupt::Fail).unwrap().checkpoint), known, now)
    }

    #[test]
    fn what_is_not_followed_is_remembered_for_a_week_and_while_it_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let (app, state) = (dir.path().join("app"), dir.path().join("state.json"));
        fs::create_dir(&app).unwrap();
        let source = |name: &str| {
            let path = app.join(name);
            fs::write(&path, name).unwrap();
            let origin = Origin { identity: Identity::from(&fs::metadata(&path).unwrap()), epoch: 0 };
            let generations = vec![GenerationState { origin, ..GenerationState::default() }];
            SourceState { path, generations, ..SourceState::default() }
        };
        let states = ["gone", "there", "rotated", "again"].map(source).to_vec();
        fs::rename(app.join("rotated"), app.join("rotated.1")).unwrap();
        fs::remove_file(app.join("gone")).unwrap();
        let start = Instant::now();
        let mut keeper = keeper(&state, states, start);
        let mut kept_after = |hours: i64| {
            let now = start + Duration::from_secs(hours as u64 * 3600);
            keeper.save(Vec::new(), &[], false, now, hours * HOUR_NS + 1).unwrap();
            if hours == 100 {
                let again = keeper.take(&app.join("again"), None).unwrap();
                assert_eq!(again.left_ns, 0);
                fs::remove_file(app.join("again")).unwrap();
                keeper.give_back(again);
            }
            keeper.others().map(|state| state.path.file_name().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(kept_after(0).len(), 4);
        assert_eq!(kept_after(100).len(), 4);
        assert_eq!(kept_after(101).len(), 4);
        assert_eq!(kept_after(167), ["again", "gone", "rotated", "there"]);
        assert_eq!(kept_after(168), ["again", "rotated", "there"]);
        // It was followed in between.
        assert_eq!(kept_after(270), ["rotated", "there"].map(std::ffi::OsString::from));
    }

    #[test]
    fn a_save_is_told_of_those_to_whom_something_happened_and_says_all() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state.json");
        let start = Instant::now();
        let mut keeper = keeper(&state, Vec::new(), start);
        let source = |name: &str, since_ns| SourceState { path: dir.path().join(name), since_ns, ..Default::default() };
        let mut save = |states: &[SourceState]| keeper.save(states.to_vec(), &[], true, start, 1).unwrap();
        save(&[source("a", 1), source("b", 1), source("c", 1)]);
        save(&[source("b", 2)]);
        save(&[]);
        keeper.give_back(source("c", 3));
        keeper.give_back_gone(source("a", 3));
        keeper.save(vec![source("b", 3)], &[], true, start, 7).unwrap();
        drop(keeper);
        let Start::Known(known) = Checkpoint::open(&state, OnCorrupt::Fail).unwrap().start else { panic!() };
        assert_eq!(known, [source("b", 3), SourceState { left_ns: 7, ..source("c", 3) }]);
    }

    #[test]
    fn how_long_ago_it_was_followed_is_known_across_runs() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state.json");
        let known = vec![SourceState { path: dir.path().join("gone"), ..SourceState::default() }];
        let start = Instant::now();
        keeper(&state, known, start).save(Vec::new(), &[], true, start, 7).unwrap();
        let Start::Known(known) = Checkpoint::open(&state, OnCorrupt::Fail).unwrap().start else { panic!() };
        assert_eq!(known[0].left_ns, 7);
        let mut keeper = keeper(&state, known, start);
        keeper.save(Vec::new(), &[], true, start, 7 + FORGET_AFTER_NS).unwrap();
        assert_eq!(keeper.others().count(), 0);
    }

    #[test]
    fn thousands_in_one_directory_are_forgotten_without_a_pause() {
        let dir = tempfile::tempdir().unwrap();
        let source = |number: u64| {
            let path = dir.path().join(number.to_string());
            fs::write(&path, "another file").unwrap();
            let identity = Identity { ino: u64::MAX - number, ..Identity::default() };
            let generations = vec![GenerationState { origin: Origin { identity, epoch: 0 }, ..Default::default() }];
            SourceState { path, generations, left_ns: 1, ..SourceState::default() }
        };
        let start = Instant::now();
        let mut keeper = keeper(&dir.path().join("state.json"), (0..2000).map(source).collect(), start);
        let began = cpu_of_thread();
        keeper.save(Vec::new(), &[], false, start, 1 + FORGET_AFTER_NS).unwrap();
        assert_eq!(keeper.others().count(), 0);
        // Once for each of them the directory would be four million files.
        let spent = cpu_of_thread().saturating_sub(began);
        assert!(spent < Duration::from_secs(5), "{spent:?}");
    }
}
