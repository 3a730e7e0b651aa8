//! What stands around a followed file: its rotated generations by name, packed or not, and the files that are ours.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::config::Config;
use crate::file::identity::Identity;
use crate::file::open::is_out_of_descriptors;
use crate::file::packed::{Packed, Packing};
use crate::log::settings::Surroundings;
use crate::log::twins::Twins;
use crate::names::siblings::directories::Directories;
use crate::names::siblings::{Listed, Sibling, Siblings, Unlisted};
use crate::out::lines::SourceId;

/// Files that no source may follow, and files that one source follows already.
///
/// A file belongs to the source that followed it first, whatever it is called later, for as long as that remembers it.
/// While that has not begun to read it, and may keep it back, it may turn out to be the rest of another log, and is that
/// one's then.
#[derive(Debug, Default)]
pub struct Taken {
    /// Files that we have open for writing, by device and inode. Not the state file, which is another inode after each
    /// save: it is known by its name.
    ours: Vec<(u64, u64)>,
    /// Whose a file is.
    owners: HashMap<Identity, SourceId>,
    /// The files of each.
    files: HashMap<SourceId, Vec<Identity>>,
    /// The one of them that it has not begun to read.
    unbegun: HashMap<SourceId, Identity>,
    /// Those of which nobody has looked at that yet.
    unseen: HashSet<SourceId>,
    /// What they begin with.
    pub twins: Twins,
}

impl Taken {
    /// With the files that we have open for writing.
    pub fn new(ours: Vec<(u64, u64)>) -> Taken {
        Taken { ours, ..Taken::default() }
    }

    /// These are the files of a source now, in place of those that were; what another has begun to read stays that one's.
    pub fn set(&mut self, source: SourceId, files: Vec<Identity>, unbegun: Option<Identity>) {
        debug_assert!(unbegun.is_none_or(|file| files.contains(&file)), "it is one of them");
        self.release(source);
        for file in &files {
            if unbegun != Some(*file) && self.owner(file).is_some() && self.reader(file).is_none() {
                self.owners.insert(*file, source);
            }
            self.owners.entry(*file).or_insert(source);
        }
        self.files.insert(source, files);
        self.unbegun.extend(unbegun.map(|file| (source, file)));
    }

    /// And this one; nobody has looked at it yet.
    pub fn add(&mut self, source: SourceId, file: Identity, may_keep_back: bool) {
        self.owners.entry(file).or_insert(source);
        self.files.entry(source).or_default().push(file);
        if may_keep_back {
            self.unbegun.insert(source, file);
            self.unseen.insert(source);
        }
    }

    /// It was looked at.
    pub fn see(&mut self, source: SourceId) {
        self.unseen.remove(&source);
    }

    /// Whether each was looked at that may be the rest of another.
    pub fn are_all_seen(&self) -> bool {
        self.unseen.is_empty()
    }

    /// It is followed no longer.
    pub fn release(&mut self, source: SourceId) {
        self.unbegun.remove(&source);
        self.unseen.remove(&source);
        for file in self.files.remove(&source).unwrap_or_default() {
            if self.owners.get(&file) == Some(&source) {
                self.owners.remove(&file);
            }
        }
    }

    /// Whether we write to a file.
    fn is_ours(&self, file: &Identity) -> bool {
        self.ours.contains(&(file.dev, file.ino))
    }

    /// Whose a file is, or was when it was read.
    pub fn owner(&self, file: &Identity) -> Option<SourceId> {
        self.owners.get(file).copied()
    }

    /// Who has begun to read a file, or may not keep it back.
    fn reader(&self, file: &Identity) -> Option<SourceId> {
        self.owner(file).filter(|owner| self.unbegun.get(owner) != Some(file))
    }

    /// The file that a source has not begun to read.
    pub fn unbegun(&self, source: SourceId) -> Option<Identity> {
        self.unbegun.get(&source).copied()
    }
}

/// The surroundings of one source for one look.
pub struct Around<'a> {
    /// Whose.
    pub source: SourceId,
    /// Where its rotated generations are looked for.
    pub siblings: &'a mut Siblings,
    /// Where files of it are besides, under names that tell nothing.
    pub also: &'a BTreeSet<PathBuf>,
    /// What directories hold, read once a round.
    pub directories: &'a mut Directories,
    /// What it may not follow.
    pub taken: &'a Taken,
    /// The names of our state.
    pub config: &'a Config,
    /// How many bytes may still be unpacked in this look. `None`: all.
    pub unpack_left: Option<u64>,
    /// The last list lacks what no descriptor was left for.
    pub was_short: bool,
    /// And what stands in this directory.
    pub unlisted: Option<Unlisted>,
    /// The file with its live name is another source's, or a copy of one: whose.
    pub met: Option<SourceId>,
}

impl<'a> Around<'a> {
    /// Before the first list.
    pub fn new(
        source: SourceId,
        siblings: &'a mut Siblings,
        also: &'a BTreeSet<PathBuf>,
        directories: &'a mut Directories,
        taken: &'a Taken,
        config: &'a Config,
    ) -> Around<'a> {
        let (unpack_left, was_short, unlisted, met) = (None, false, None, None);
        Around { source, siblings, also, directories, taken, config, unpack_left, was_short, unlisted, met }
    }
}

impl Surroundings for Around<'_> {
    fn candidates(&mut self) -> Vec<PathBuf> {
        let Listed { siblings, unlisted } = self.siblings.list(self.directories);
        self.was_short = unlisted.as_ref().is_some_and(|unlisted| is_out_of_descriptors(unlisted.errno));
        self.unlisted = unlisted.filter(|_| !self.was_short);
        let is_one = |sibling: &Sibling| !self.config.is_state(&sibling.path);
        let named = siblings.into_iter().filter(is_one).map(|sibling| sibling.path);
        self.also.iter().cloned().chain(named.filter(|path| !self.also.contains(path))).collect()
    }

    fn others(&mut self, file: Option<&Identity>) -> Vec<PathBuf> {
        let (taken, source) = (self.taken, self.source);
        let is_anothers =
            |file: &Identity| taken.is_ours(file) || taken.reader(file).is_some_and(|owner| owner != source);
        let mut others = self.siblings.others(self.directories, file, is_anothers);
        others.retain(|path| !self.config.is_state(path));
        others
    }

    fn refresh(&mut self) {
        self.directories.forget_round();
    }

    fn was_short(&self) -> bool {
        self.was_short
    }

    fn unlisted(&self) -> Option<Unlisted> {
        self.unlisted.clone()
    }

    fn is_packed(&self, path: &Path) -> bool {
        packing(path).is_some()
    }

    fn unpack(&mut self, file: File, path: &Path) -> io::Result<Box<dyn Read>> {
        let packing = Packing::of_file(&file).or_else(|| packing(path)).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(Box::new(Packed::open(file, packing)?))
    }

    fn unpack_left(&mut self) -> Option<&mut u64> {
        self.unpack_left.as_mut()
    }

    fn is_ours(&self, identity: &Identity) -> bool {
        self.taken.is_ours(identity)
    }

    fn is_copy(&mut self, file: &File, size: u64) -> bool {
        let original = self.taken.twins.original(file, size, self.source);
        self.met = self.met.or(original);
        original.is_some()
    }

    fn may_be_missed(&self, path: &Path) -> bool {
        !self.also.contains(path)
    }

    fn is_begun(&self, identity: &Identity) -> bool {
        self.taken.reader(identity).is_some_and(|reader| reader != self.source)
    }

    fn is_anothers(&mut self, identity: &Identity) -> bool {
        let owner = self.taken.owner(identity).filter(|owner| *owner != self.source);
        self.met = self.met.or(owner);
        owner.is_some()
    }
}

fn packing(path: &Path) -> Option<Packing> {
    Packing::of(path.file_name()?).map(|(_, packing)| packing)
}
