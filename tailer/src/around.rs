//! What stands around a followed file: its rotated generations by name, packed or not, and the files that are ours.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::config::Config;
use crate::file::identity::Identity;
use crate::file::open::is_out_of_descriptors;
use crate::file::packed::{Packed, Packing};
use crate::log::settings::Surroundings;
use crate::names::siblings::directories::Directories;
use crate::names::siblings::{Listed, Sibling, Siblings, Unlisted};
use crate::out::lines::SourceId;
use crate::taken::Taken;

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
    /// The end is near: nothing is put off any more.
    pub is_last: bool,
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
        let (unpack_left, was_short, unlisted, met, is_last) = (None, false, None, None, false);
        Around { source, siblings, also, directories, taken, config, unpack_left, was_short, unlisted, met, is_last }
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
        let original = self.taken.twins().original(file, size, self.source);
        self.met = self.met.or(original);
        original.is_some()
    }

    fn may_be_missed(&self, path: &Path) -> bool {
        !self.also.contains(path)
    }

    fn is_last(&self) -> bool {
        self.is_last
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
