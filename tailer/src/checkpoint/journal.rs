//! The journal of a state file, `FILE.changes`: what changed since `FILE`, its *base*, was written, so that a save of many
//! sources writes no more than changed ([`form::changes`] has its form).
//!
//! Invariants:
//! - it belongs to exactly one base, by that one's checksum; beside any other it says nothing, and the next save that
//!   writes everything removes it;
//! - a save costs in proportion to what was touched since the last one, whatever the number of sources;
//! - it only grows, by one line a save, and never beyond the length of its base: then everything is written anew, so a
//!   byte that changed costs about two that are written;
//! - a base of up to [`SMALL_BYTES`] has none. A longer one is durable before it has one;
//! - a line that a kill or a full disk cut short does not count, nor does anything behind it. Whatever fails, or is not as it
//!   was left, makes the next save write everything: nothing that a failed sync may have lost is relied on;
//! - what stands under its name and is not ours is neither followed, replaced nor removed: everything is written at each
//!   save then.

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::hash::{Hash, Hasher};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use nix::libc;
use standpipe_common::error::{Cannot, Result};
use standpipe_common::shown::Shown as _;
use standpipe_common::{own, seam};
use xxhash_rust::xxh3::xxh3_64;

use super::files::{MODE, Saved, beside, newer, sync_dir_of};
use super::form::{self, Base, changes};
use crate::checkpoint::state::{SourceState, States};
use crate::file::identity::Identity;

/// A state file up to this length is always written whole: a few hundred files. Tests save a thousand times.
pub(super) const SMALL_BYTES: usize = if cfg!(test) { 16 << 10 } else { 64 << 10 };

/// That of one state file.
#[derive(Debug)]
pub(super) struct Journal {
    /// The base.
    state: PathBuf,
    path: PathBuf,
    /// Something may stand at the path.
    may_be_there: bool,
    /// Where the next line goes. `None`: everything is to be written.
    tip: Option<Tip>,
    /// Paths of sources that may say something else than what is on disk, or are gone.
    touched: BTreeSet<PathBuf>,
}

/// What is on disk, as far as it matters to who goes on there.
#[derive(Debug)]
struct Tip {
    base: Base,
    /// The file that it is.
    base_identity: Identity,
    /// The journal, once it is there.
    identity: Option<Identity>,
    /// Its length.
    bytes: u64,
    /// Checksum of its last line, or of the base.
    sum: u64,
    /// Up to here it is on disk durably.
    synced: u64,
    /// By their paths, hashes of the sources that base and journal say.
    known: HashMap<OsString, u64>,
}

impl Journal {
    /// That of the state file at `state`.
    pub(super) fn of(state: &Path) -> Journal {
        Journal {
            state: state.to_owned(),
            path: beside(state, ".changes"),
            may_be_there: true,
            tip: None,
            touched: BTreeSet::new(),
        }
    }

    /// Fails where what stands under its name is not ours.
    pub(super) fn require_own(&self) -> Result<()> {
        own::require(&self.path, own::begins_with(changes::BEGIN))
    }

    /// Makes of what a base said what it became. What is said then has to be read: a part of the journal does not count.
    /// What is there is not added to, for a sync of it may have failed in the run before; the next save writes everything.
    ///
    /// # Errors
    /// It is of a newer version.
    pub(super) fn take_up(&mut self, saved: &mut Saved) -> Result<Option<String>> {
        self.tip = None;
        let Some(base) = saved.base.filter(|_| self.require_own().is_ok()) else { return Ok(None) };
        let bytes = match self.read(base.bytes) {
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.may_be_there = false;
                self.tip = self.tip_of(base, &saved.states);
                return Ok(None);
            }
            Err(error) => return Ok(Some(self.lost(&format!("cannot be read ({error})")))),
        };
        let applied = changes::apply(&bytes, base.sum, &mut saved.states);
        let Some(end) = applied.map_err(|version| newer(&self.path, version))? else { return Ok(None) };
        let place = end.bytes;
        Ok(end.is_damaged.then(|| self.lost(&format!("is damaged after its first {place} bytes"))))
    }

    fn lost(&self, why: &str) -> String {
        format!("{} {why}: lines delivered after that point may be repeated", self.path.shown())
    }

    /// Its bytes, of which there are `most` at most.
    fn read(&self, most: u64) -> io::Result<Vec<u8>> {
        let mut options = OpenOptions::new();
        let file = options.read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(&self.path)?;
        seam::pass("changes-read")?;
        let mut bytes = Vec::new();
        file.take(most).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// The source at this path says something else, or is gone.
    pub(super) fn touch(&mut self, path: &Path) {
        self.touched.insert(path.to_owned());
    }

    /// All that is on disk may be gone.
    #[cfg(test)]
    pub(super) fn touch_all_known(&mut self) {
        self.touched.extend(self.tip.iter().flat_map(|tip| tip.known.keys()).map(PathBuf::from));
    }

    /// Writes what of these states was touched and is not on disk yet; `false`: everything is to be written instead.
    ///
    /// # Errors
    /// The disk's.
    pub(super) fn append(&mut self, states: &States, is_durable: bool) -> Result<bool> {
        // It is put back where all went well.
        let Some(mut tip) = self.tip.take() else { return Ok(false) };
        let (changed, gone) = tip.differences(states, std::mem::take(&mut self.touched));
        let has_changed = !changed.is_empty() || !gone.is_empty();
        if !has_changed && (tip.synced == tip.bytes || !is_durable) {
            self.tip = Some(tip);
            return Ok(true);
        }
        let is_new = tip.identity.is_none();
        let (bytes, sum) = if has_changed { tip.line(&changed, &gone) } else { (Vec::new(), tip.sum) };
        if tip.bytes + bytes.len() as u64 > tip.base.bytes {
            return Ok(false);
        }
        let Some(file) = self.open(&tip)? else { return Ok(false) };
        if has_changed {
            self.write(&file, &bytes, tip.bytes)?;
            tip.identity = Some(Identity::from(&file.metadata().cannot("examine", &self.path)?));
            (tip.bytes, tip.sum) = (tip.bytes + bytes.len() as u64, sum);
            tip.take_in(&changed, &gone);
        }
        debug_assert_eq!(tip.known.len(), states.len(), "who comes or goes is touched");
        if is_durable {
            seam::pass("changes-sync").and_then(|()| file.sync_data()).cannot("sync", &self.path)?;
            tip.synced = tip.bytes;
        }
        if is_new {
            sync_dir_of(&self.path)?;
        }
        self.tip = Some(tip);
        Ok(true)
    }

    /// Where it begins beside this base, which stands there.
    fn tip_of<'a>(&self, base: Base, states: impl IntoIterator<Item = &'a SourceState>) -> Option<Tip> {
        Tip::new(base, standing(&self.state)?.0, states)
    }

    /// What is appended to: ours, as it was left. `None`: it is not, or its base is not.
    fn open(&mut self, tip: &Tip) -> Result<Option<File>> {
        if standing(&self.state) != Some((tip.base_identity, tip.base.bytes)) {
            return Ok(None);
        }
        self.may_be_there = true;
        let mut options = OpenOptions::new();
        options.write(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
        seam::pass("changes-open").cannot("open", &self.path)?;
        let file = match options.create_new(tip.identity.is_none()).mode(MODE).open(&self.path) {
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::AlreadyExists) => return Ok(None),
            opened => opened.cannot("open", &self.path)?,
        };
        let metadata = file.metadata().cannot("examine", &self.path)?;
        let is_as_left = tip.identity.is_none_or(|identity| identity == Identity::from(&metadata));
        Ok((is_as_left && metadata.len() == tip.bytes).then_some(file))
    }

    fn write(&self, file: &File, bytes: &[u8], at: u64) -> Result<()> {
        let allowed = seam::pass_write("changes-write", bytes.len()).cannot("write", &self.path)?;
        file.write_all_at(&bytes[..allowed], at).cannot("write", &self.path)?;
        if allowed < bytes.len() {
            seam::die();
        }
        Ok(())
    }

    /// Everything is written at the next save.
    pub(super) fn write_all_next(&mut self) {
        self.tip = None;
    }

    /// Whether something that counts may stand there, beside its base.
    pub(super) fn may_be_there(&self) -> bool {
        self.may_be_there
    }

    /// These bytes, which say `states`, are the state file from now on, durably if they are not few. Changes of the one
    /// before it go.
    ///
    /// # Errors
    /// The disk's.
    pub(super) fn begin(&mut self, base: &[u8], states: &States) -> Result<()> {
        self.tip = None;
        self.touched.clear();
        if self.may_be_there {
            if self.require_own().is_err() {
                return Ok(());
            }
            self.remove()?;
        }
        self.tip = form::base_of(base).and_then(|base| self.tip_of(base, states.values().map(Rc::as_ref)));
        Ok(())
    }

    /// Removes it, durably: the next base may equal the one that it belongs to.
    pub(super) fn remove(&mut self) -> Result<()> {
        self.tip = None;
        if fs::symlink_metadata(&self.path).is_ok() {
            seam::pass("changes-remove").cannot("remove", &self.path)?;
            own::remove(&self.path, own::begins_with(changes::BEGIN))?;
            sync_dir_of(&self.path)?;
        }
        self.may_be_there = false;
        Ok(())
    }
}

impl Tip {
    /// Of a base that has no journal yet, if it is to have one.
    fn new<'a>(base: Base, base_identity: Identity, states: impl IntoIterator<Item = &'a SourceState>) -> Option<Tip> {
        (base.bytes > SMALL_BYTES as u64).then(|| {
            let mut scratch = Hashed::default();
            let known = states.into_iter().map(|state| (state.path.clone().into_os_string(), scratch.hash_of(state)));
            Tip { base, base_identity, identity: None, bytes: 0, sum: base.sum, synced: 0, known: known.collect() }
        })
    }

    /// Which of the touched states are not what is known, with their hashes, and which paths are none of theirs any more.
    fn differences<'a>(
        &self,
        states: &'a States,
        touched: BTreeSet<PathBuf>,
    ) -> (Vec<(&'a SourceState, u64)>, Vec<PathBuf>) {
        let (mut scratch, mut changed, mut gone) = (Hashed::default(), Vec::new(), Vec::new());
        for path in touched {
            let known = self.known.get(path.as_os_str());
            if let Some(state) = states.get(&path) {
                let hash = scratch.hash_of(state);
                if known != Some(&hash) {
                    changed.push((state.as_ref(), hash));
                }
            } else if known.is_some() {
                gone.push(path);
            }
        }
        (changed, gone)
    }

    /// What says these changes, behind the head if it is the first; and its checksum.
    fn line(&self, changed: &[(&SourceState, u64)], gone: &[PathBuf]) -> (Vec<u8>, u64) {
        let head = if self.identity.is_none() { changes::head(self.base.sum) } else { Vec::new() };
        let states = changed.iter().map(|(state, _)| *state);
        let (line, sum) = changes::line(self.sum, states, gone.iter().map(PathBuf::as_path));
        ([head, line].concat(), sum)
    }

    /// These are on their way to the disk.
    fn take_in(&mut self, changed: &[(&SourceState, u64)], gone: &[PathBuf]) {
        assert!(self.bytes <= self.base.bytes, "a journal is no longer than its base");
        for path in gone {
            self.known.remove(path.as_os_str());
        }
        self.known.extend(changed.iter().map(|(state, hash)| (state.path.clone().into_os_string(), *hash)));
    }
}

/// The file at a path, and its length.
fn standing(path: &Path) -> Option<(Identity, u64)> {
    let metadata = fs::metadata(path).ok()?;
    Some((Identity::from(&metadata), metadata.len()))
}

/// What is hashed, in one piece: a hasher that is fed by the word costs several times as much.
#[derive(Default)]
struct Hashed(Vec<u8>);

impl Hashed {
    /// Of all that is remembered of a source but its path. A new field does not compile before it is in here.
    fn hash_of(&mut self, state: &SourceState) -> u64 {
        let SourceState { path: _, generations, is_live, done, since_ns, left_ns } = state;
        self.0.clear();
        (generations, is_live, done, since_ns, left_ns).hash(self);
        self.finish()
    }
}

impl Hasher for Hashed {
    fn write(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn finish(&self) -> u64 {
        xxh3_64(&self.0)
    }
}
