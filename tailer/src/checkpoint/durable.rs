//! `FILE.durable`: the state from which a run after a power cut goes on. What was delivered into a pipe is on disk only
//! some time after its reader took it, and a checkpoint that is durable at once would run ahead of it.
//!
//! Invariants: it says no more than was taken from all pipes a span before it was written; it knows every source from
//! its first position on; it names the boot. A run of the same boot goes on from `FILE` and leaves what it says; a run of
//! another boot goes back to it, unless the run before ended in order, which the whole machine then did.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use standpipe_common::error::Result;

use super::files::{FoundState, beside, read, remove_own, rename, sync_dir_of, write_anew};
use super::form::{self, Author};
use super::journal::Journal;
use crate::checkpoint::state::{SourceState, States};
use crate::file::identity::Origin;

/// How often it is asked whether readers have taken what was delivered.
const ASK_SPAN: Duration = Duration::from_secs(1);

/// How much went into a pipe, bytes since the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Into it.
    pub delivered: u64,
    /// Out of it again, for certain.
    pub taken: u64,
}

/// What is on disk for certain.
#[derive(Debug)]
pub struct Durable {
    path: PathBuf,
    journal: Journal,
    run: Author,
    span: Duration,
    kept: States,
    next: Option<Next>,
    /// What changed since then.
    later: Changes,
    file: OnDisk,
}

/// What stands in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OnDisk {
    /// It is not one of ours.
    Nothing,
    /// Not all that is kept.
    Less,
    /// What is kept.
    All,
}

/// What sources say instead of what is kept, by their paths; `None`: they are gone.
type Changes = BTreeMap<PathBuf, Option<Rc<SourceState>>>;

/// What is kept next.
#[derive(Debug)]
struct Next {
    changes: Changes,
    /// Bytes that every pipe had been given then.
    delivered: Vec<u64>,
    /// When all of them had been taken.
    taken: Option<Instant>,
}

impl Durable {
    /// That of the state file `state`, which says `known`. The second value is what this run has to go back to.
    pub fn open(
        state: &Path,
        boot: String,
        span: Duration,
        known: &[SourceState],
    ) -> (Durable, Option<Vec<SourceState>>) {
        let path = path_of(state);
        let of_paths =
            |states: &[SourceState]| states.iter().map(|state| (state.path.clone(), Rc::new(state.clone()))).collect();
        let run = Author { boot, has_ended: false };
        let mut durable = Durable {
            journal: Journal::of(&path),
            path,
            run,
            span,
            kept: of_paths(known),
            next: None,
            later: Changes::new(),
            file: OnDisk::Nothing,
        };
        let before = fs::read(&durable.path).ok().and_then(|bytes| form::run_of(&bytes));
        let (Some(before), FoundState::Whole(mut saved)) = (before, read(&durable.path)) else {
            return (durable, None);
        };
        if known.is_empty() {
            // The state was removed, to begin as for the first time.
            return (durable, None);
        }
        // What of its journal does not count is a reason to go back further, which is told.
        durable.journal.take_up(&mut saved).ok();
        if before == durable.run {
            durable.file = OnDisk::All;
        } else {
            durable.file = OnDisk::Less;
            durable.journal.write_all_next();
        }
        if before.boot != durable.run.boot && before.has_ended {
            return (durable, None);
        }
        let is_cut = before.boot != durable.run.boot;
        durable.kept.extend(of_paths(&saved.states));
        let back = is_cut.then(|| durable.kept.values().map(|state| state.as_ref().clone()).collect());
        (durable, back)
    }

    /// Writes down at the start whose run this is, if anything is known.
    pub fn begin(&mut self) -> Result<()> {
        if self.kept.is_empty() && !self.path.exists() { Ok(()) } else { self.save(true) }
    }

    /// Takes in what sources say that changed since this was last called, `None` of those that are gone, and how much went
    /// through the pipes.
    pub fn note(
        &mut self,
        changes: impl IntoIterator<Item = (PathBuf, Option<Rc<SourceState>>)>,
        flows: &[Flow],
        now: Instant,
    ) {
        for (path, state) in changes {
            if let Some(state) = state.as_ref().filter(|_| !self.kept.contains_key(&path)) {
                self.keep(path, Some(state.clone()));
            } else {
                self.later.insert(path, state);
            }
        }
        if flows.is_empty() {
            return;
        }
        if let Some(next) = &mut self.next
            && next.taken.is_none()
            && next.delivered.iter().zip(flows).all(|(delivered, flow)| flow.taken >= *delivered)
        {
            next.taken = Some(now);
        }
        if let Some(next) = self.next.take_if(|next| next.taken.is_some_and(|taken| now >= taken + self.span)) {
            for (path, state) in next.changes {
                self.keep(path, state);
            }
        }
        if self.next.is_none() {
            let mut changes = std::mem::take(&mut self.later);
            changes.retain(|path, state| self.kept.get(path) != state.as_ref());
            let delivered = flows.iter().map(|flow| flow.delivered).collect();
            self.next = (!changes.is_empty()).then_some(Next { changes, delivered, taken: None });
        }
    }

    fn keep(&mut self, path: PathBuf, state: Option<Rc<SourceState>>) {
        self.journal.touch(&path);
        self.changed();
        match state {
            Some(state) => self.kept.insert(path, state),
            None => self.kept.remove(&path),
        };
    }

    /// What is kept is no longer what stands in the file.
    fn changed(&mut self) {
        if self.file == OnDisk::All {
            self.file = OnDisk::Less;
        }
    }

    /// When it is to be noted again. `None`: what is kept is all there is.
    pub fn due(&self, now: Instant) -> Option<Instant> {
        self.next.as_ref().map(|next| next.taken.map_or(now + ASK_SPAN, |taken| taken + self.span))
    }

    /// This run ends in order, and all that it delivered was taken.
    pub fn end(&mut self) {
        self.run.has_ended = true;
        self.changed();
        self.journal.write_all_next();
    }

    /// The next save leaves everything in one file.
    pub fn write_all_next(&mut self) {
        if self.journal.may_be_there() {
            self.changed();
        }
        self.journal.write_all_next();
    }

    /// Writes it down if it changed, before anything is delivered, and else with a checkpoint that is durable.
    pub fn save(&mut self, is_durable: bool) -> Result<()> {
        if self.file == OnDisk::All || self.file == OnDisk::Less && !is_durable {
            return Ok(());
        }
        if self.file == OnDisk::Nothing || !self.journal.append(&self.kept, true)? {
            let fresh = beside(&self.path, ".new");
            let bytes = form::render_of(Some(&self.run), self.kept.values().map(Rc::as_ref));
            write_anew(&fresh, &bytes, true)?;
            rename("state-durable", &fresh, &self.path)?;
            sync_dir_of(&self.path)?;
            self.journal.begin(&bytes, &self.kept)?;
        }
        self.file = OnDisk::All;
        Ok(())
    }
}

/// Where it is.
pub fn path_of(state: &Path) -> PathBuf {
    beside(state, ".durable")
}

/// Removes it where nothing is delivered into a pipe: it would grow old.
pub fn remove(state: &Path) -> Result<()> {
    let path = path_of(state);
    // Without what it belongs to it says nothing.
    remove_own(&path)?;
    Journal::of(&path).remove()
}

/// How many bytes are delivered again by going back from `known` to `before`, at most.
pub fn repeated_bytes(known: &[SourceState], before: &[SourceState]) -> u64 {
    let before: BTreeMap<&Path, &SourceState> = before.iter().map(|state| (state.path.as_path(), state)).collect();
    let offset_of = |state: &SourceState, origin: Origin| {
        let generations = &before.get(state.path.as_path())?.generations;
        generations.iter().find(|generation| generation.origin == origin).map(|generation| generation.offset)
    };
    let was_done = |state: &SourceState, origin: Origin| {
        before.get(state.path.as_path()).is_some_and(|before| before.done.iter().any(|done| done.origin == origin))
    };
    let of_source = |state: &SourceState| {
        let open = state.generations.iter().map(|generation| (generation.origin, generation.offset));
        let done = state.done.iter().filter(|done| !was_done(state, done.origin));
        let all = open.chain(done.map(|done| (done.origin, done.offset.unwrap_or(done.size))));
        all.map(|(origin, offset)| offset.saturating_sub(offset_of(state, origin).unwrap_or(0))).sum::<u64>()
    };
    known.iter().map(of_source).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::state::GenerationState;
    use crate::file::identity::Identity;

    const SPAN: Duration = Duration::from_secs(10);

    fn states(offset: u64) -> Vec<SourceState> {
        let origin = Origin { identity: Identity { ino: 7, ..Identity::default() }, epoch: 0 };
        let generations = vec![GenerationState { origin, offset, ..GenerationState::default() }];
        vec![SourceState { path: "/a".into(), generations, is_live: true, ..SourceState::default() }]
    }

    fn all(states: Vec<SourceState>) -> impl Iterator<Item = (PathBuf, Option<Rc<SourceState>>)> {
        states.into_iter().map(|state| (state.path.clone(), Some(Rc::new(state))))
    }

    #[test]
    fn what_was_taken_a_span_ago_is_gone_back_to_after_a_cut_and_never_in_the_same_boot() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state.json");
        let start = Instant::now();
        let at = |secs: u64| start + Duration::from_secs(secs);
        let open = |boot: &str, known: u64| Durable::open(&state, boot.to_owned(), SPAN, &states(known));
        let (mut durable, back) = open("one", 5);
        assert_eq!(back, None);
        let flow = |delivered, taken| [Flow { delivered, taken }];
        for (secs, offset, flow, kept) in [
            (0, 10, flow(10, 0), 5),
            // Not taken yet, then taken, then a span old.
            (20, 20, flow(20, 9), 5),
            (21, 30, flow(30, 10), 5),
            (30, 40, flow(40, 40), 5),
            (31, 50, flow(50, 40), 10),
            (32, 50, flow(50, 50), 10),
            (42, 50, flow(50, 50), 50),
        ] {
            durable.note(all(states(offset)), &flow, at(secs));
            durable.save(true).unwrap();
            assert_eq!(open("one", 60).1, None);
            assert_eq!(open("two", 60).1, Some(states(kept)), "{secs}");
        }
        assert_eq!(durable.due(at(42)), None, "nothing is left to be kept");
        assert_eq!(repeated_bytes(&states(60), &states(50)), 10);
        // The machine went down in order.
        durable.end();
        durable.save(true).unwrap();
        assert_eq!(open("two", 60).1, None);
        // Not if the tailer was only started again.
        let (mut again, back) = open("one", 60);
        assert_eq!(back, None);
        again.save(true).unwrap();
        assert_eq!(open("two", 60).1, Some(states(50)));
    }
    #[test]
    fn of_many_sources_it_writes_what_changed_and_ends_as_one_file() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state.json");
        let path = path_of(&state);
        let changes = dir.path().join("state.json.durable.changes");
        let many = |offset: u64| {
            let template = states(7).remove(0);
            let quiet =
                (0..1000).map(|number| SourceState { path: format!("/b/{number:03}").into(), ..template.clone() });
            let mut all = states(offset);
            all.extend(quiet);
            all.sort_by(|a, b| a.path.cmp(&b.path));
            all
        };
        let start = Instant::now();
        let open = |boot: &str| Durable::open(&state, boot.to_owned(), SPAN, &many(99));
        let (mut durable, _) = Durable::open(&state, "one".to_owned(), SPAN, &many(1));
        durable.begin().unwrap();
        let file = || Identity::from(&fs::metadata(&path).unwrap());
        let (mut base, mut bases) = (file(), 0);
        let kept =
            |durable: &Durable| Some(durable.kept.values().map(|state| state.as_ref().clone()).collect::<Vec<_>>());
        for round in 1..30u64 {
            let now = start + SPAN * round as u32;
            durable.note(all(many(round)), &[Flow { delivered: round, taken: round }], now);
            durable.save(true).unwrap();
            assert_eq!(open("two").1, kept(&durable), "{round}");
            bases += u32::from(file() != base);
            base = file();
            if round == 10 {
                // The next run puts it in one file.
                durable = open("one").0;
            }
        }
        assert_eq!(bases, 1);
        assert!(fs::metadata(&changes).unwrap().len() < 10_000);
        durable.write_all_next();
        durable.save(true).unwrap();
        assert!(!changes.exists());
        assert_eq!(open("two").1, kept(&durable));
        assert!(durable.kept[Path::new("/a")].generations[0].offset > 20, "it went on");
        durable.end();
        durable.save(true).unwrap();
        assert_eq!(open("two").1, None);
        remove(&state).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
