//! The checkpoint: which generations of which sources there are and how far each is delivered, on disk, so that the
//! next run goes on where this one ended.
//!
//! Invariants:
//! - one tailer a state file, by the lock `FILE.lock` (rooms below: [`form`], `files`, `journal`, `lock`);
//! - from the first save on, whatever fails or is killed, `FILE` or the generation before it, `FILE.1`, is whole. Only
//!   what is durable becomes `FILE.1`, and it does before it is replaced: power loss may take what was saved without a
//!   sync, never both;
//! - what cannot be read is never passed over in silence: the previous generation is used and a finding says so, or the
//!   declared policy decides. What a newer version wrote is never replaced.
//! - a save writes everything anew, so nothing that a failed sync may have lost is ever relied on; where that is much, it adds
//!   what changed to the journal of a `FILE` that is durable (`journal`), and of that the same holds;
//! - where `FILE` is a mount of its own, which nothing can be renamed over, it is written in place: after the same bytes
//!   are durable as `FILE.1`.
//!
//! It does not decide when to save, says nothing by itself, and does not compare the states with the files that they
//! are about.

pub mod durable;
mod files;
pub mod form;
pub mod held_back;
mod journal;
pub mod keeper;
mod lock;
mod spelling;
pub mod state;

use std::fs::File;
use std::path::Path;
use std::rc::Rc;

use standpipe_common::error::{Error, Result};
use standpipe_common::shown::Shown as _;

use crate::checkpoint::state::{SourceState, States};
pub use crate::config::OnCorrupt;
use files::{Files, FoundState, newer};
use form::EMPTY;
use journal::{Journal, SMALL_BYTES};

/// From where a run starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// There was no state: the first start.
    First,
    /// From these, in the order of their paths.
    Known(Vec<SourceState>),
    /// From the beginning of every file, for the state is damaged and the policy says so.
    Beginning,
    /// From the end of every file, for the same reason.
    End,
}

/// What was found, and what to save to.
#[derive(Debug)]
pub struct Loaded {
    /// To save to.
    pub checkpoint: Checkpoint,
    /// From where to start.
    pub start: Start,
    /// Sentences that whoever runs this program has to read.
    pub findings: Vec<String>,
}

/// A state file that is ours for as long as this lives.
#[derive(Debug)]
pub struct Checkpoint {
    files: Files,
    journal: Journal,
    /// What stands at `FILE`.
    current: Incumbent,
    _lock: File,
}

/// What stands at `FILE`, as far as it matters to who replaces it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Incumbent {
    /// Nothing.
    Absent,
    /// A whole generation that power loss may take.
    Whole,
    /// A whole generation that it cannot take.
    Durable,
    /// Something else, and whether `FILE.1` is whole.
    Damaged { previous_is_whole: bool },
}

impl Checkpoint {
    /// Locks and reads the state file at `path`.
    ///
    /// # Errors
    /// Another tailer has it; it was written by a newer version; nothing can be read and the policy is to fail; there
    /// is no such directory, or nothing can be made there. All of them end the program.
    pub fn open(path: &Path, on_corrupt: OnCorrupt) -> Result<Loaded> {
        let files = Files::new(path);
        files.require_safe_way()?;
        let lock = lock::take(path, &files.lock)?;
        files.try_out()?;
        let mut journal = Journal::of(path);
        journal.require_own()?;
        let mut current = files::read(&files.file);
        let mut previous =
            if matches!(current, FoundState::Whole(_)) { FoundState::Absent } else { files::read(&files.previous) };
        let lost = match (&mut current, &mut previous) {
            (FoundState::Whole(saved), _) | (_, FoundState::Whole(saved)) => journal.take_up(saved)?,
            _ => None,
        };
        // A file that somebody made beforehand is no state; where there was one before, it has lost it.
        let is_new = current == FoundState::Damaged(EMPTY.to_owned()) && previous == FoundState::Absent;
        let current = if is_new { FoundState::Absent } else { current };
        let is_durable = matches!(current, FoundState::Whole(_)) && files.make_durable().is_ok();
        let standing = match (&current, &previous) {
            (FoundState::Whole(_), _) if is_durable => Incumbent::Durable,
            (FoundState::Whole(_), _) => Incumbent::Whole,
            (FoundState::Absent, _) => Incumbent::Absent,
            (_, previous) => Incumbent::Damaged { previous_is_whole: matches!(previous, FoundState::Whole(_)) },
        };
        let (start, mut findings) = choose(&files, current, previous, on_corrupt)?;
        findings.extend(lost);
        if files.is_mount {
            findings.push(format!(
                "{} is a separate mount and is written in place; files beside it are outside that mount: mount its \
                 directory instead",
                path.shown()
            ));
        }
        Ok(Loaded { checkpoint: Checkpoint { files, journal, current: standing, _lock: lock }, start, findings })
    }

    /// The source at this path says something else than at the last save, or is gone.
    pub fn touch(&mut self, path: &Path) {
        self.journal.touch(path);
    }

    /// Replaces what was saved by these states, of which those that changed were [touched](Checkpoint::touch). A durable
    /// save survives power loss, any other the end of this process only, and takes no sync.
    ///
    /// # Errors
    /// The disk's. What was saved before still stands; the next save is to be durable again if this one was to be.
    pub fn save(&mut self, states: &States, durable: bool) -> Result<()> {
        if self.current == Incumbent::Durable && !self.files.is_mount && self.journal.append(states, durable)? {
            return Ok(());
        }
        let bytes = form::render(states.values().map(Rc::as_ref));
        // What changes are added to, or takes the place of changes that may be durable, is durable. Both are seldom.
        let is_durable = durable || bytes.len() > SMALL_BYTES || self.journal.may_be_there();
        let saved = self.replace(&bytes, is_durable).and_then(|()| self.journal.begin(&bytes, states));
        // What is left of a failure takes the room that may be what is missing.
        saved.inspect_err(|_| self.files.remove_new())
    }

    /// The next save leaves everything in one file: so a tailer that knows of no journal can go on.
    pub fn write_all_next(&mut self) {
        self.journal.write_all_next();
    }

    fn replace(&mut self, bytes: &[u8], durable: bool) -> Result<()> {
        if self.files.is_mount {
            return self.replace_in_place(bytes);
        }
        if !self.files.is_there() {
            self.current = Incumbent::Absent;
        }
        // What replaces nothing or damage may be all that is whole.
        let sync = durable || !matches!(self.current, Incumbent::Whole | Incumbent::Durable);
        self.files.write_next(bytes, sync)?;
        match self.current {
            Incumbent::Durable => self.files.keep_previous()?,
            Incumbent::Damaged { previous_is_whole } => {
                if !previous_is_whole {
                    self.files.write_previous(bytes)?;
                    self.current = Incumbent::Damaged { previous_is_whole: true };
                }
                self.files.put_aside()?;
                self.current = Incumbent::Absent;
            }
            Incumbent::Absent | Incumbent::Whole => {}
        }
        self.files.replace()?;
        self.current = Incumbent::Whole;
        if sync {
            self.files.sync_dir()?;
            self.current = Incumbent::Durable;
        }
        Ok(())
    }

    /// The same where `FILE` stays what it is: a kill while it is written leaves the same bytes in `FILE.1`.
    fn replace_in_place(&mut self, bytes: &[u8]) -> Result<()> {
        if matches!(self.current, Incumbent::Damaged { .. }) {
            self.files.copy_aside()?;
        }
        self.files.write_previous(bytes)?;
        self.files.overwrite(bytes)?;
        self.current = Incumbent::Durable;
        Ok(())
    }
}

/// The newest generation that is whole, else what the policy says.
fn choose(
    files: &Files,
    current: FoundState,
    previous: FoundState,
    on_corrupt: OnCorrupt,
) -> Result<(Start, Vec<String>)> {
    let file = files.file.shown();
    let before = files.previous.shown();
    let (why, why_before) = match (current, previous) {
        (FoundState::Whole(saved), _) => return Ok((Start::Known(saved.states), Vec::new())),
        (FoundState::Absent, FoundState::Absent) => return Ok((Start::First, Vec::new())),
        (FoundState::Newer(version), _) => return Err(newer(&files.file, version)),
        (_, FoundState::Newer(version)) => return Err(newer(&files.previous, version)),
        (FoundState::Absent, FoundState::Whole(saved)) => {
            let finding = format!("{file} is missing; using the previous state, {before}");
            return Ok((Start::Known(saved.states), vec![finding]));
        }
        (FoundState::Damaged(why), FoundState::Whole(saved)) => {
            let finding = format!(
                "{file} is damaged ({why}); using the previous state, {before}; the damaged file is kept as {}",
                files.damaged.shown(),
            );
            return Ok((Start::Known(saved.states), vec![finding]));
        }
        (FoundState::Absent, FoundState::Damaged(why)) => (None, Some(why)),
        (FoundState::Damaged(why), FoundState::Absent) => (Some(why), None),
        (FoundState::Damaged(why), FoundState::Damaged(why_before)) => (Some(why), Some(why_before)),
    };
    let [is, is_before] =
        [why, why_before].map(|why| why.map_or_else(|| "is missing".to_owned(), |why| format!("is damaged ({why})")));
    let (start, place) = match on_corrupt {
        OnCorrupt::Fail => {
            let what_to_do = format!(
                "it {is}, and {before} {is_before}: restore one of them, or set on_corrupt to \"beginning\" or \
                 \"end\", or remove what is left of them to start from scratch"
            );
            return Err(Error::because("use", &files.file, what_to_do));
        }
        OnCorrupt::Beginning => (Start::Beginning, "beginning"),
        OnCorrupt::End => (Start::End, "end"),
    };
    let finding =
        format!("{file} {is}, and {before} {is_before}: reading every file from its {place}, as on_corrupt says");
    Ok((start, vec![finding]))
}

#[cfg(test)]
mod tests;
