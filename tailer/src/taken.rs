//! Whose each file is: ours, no source may follow it; a source's that follows it, for as long as that remembers it.
//!
//! Invariant: a file that some source has begun to read is not another's.

use std::collections::{HashMap, HashSet};

use crate::file::identity::Identity;
use crate::log::twins::Twins;
use crate::out::lines::SourceId;

/// Files that no source may follow, and files that one source follows already.
///
/// A file belongs to the source that followed it first, whatever it is called later, for as long as that remembers it.
/// While that has not decided whether it is its own, it may turn out to be the rest of another log, and is that one's
/// then; one that is kept back as a copy is nobody's.
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
    twins: Twins,
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

    /// What they begin with.
    pub fn twins(&self) -> &Twins {
        &self.twins
    }

    /// What they begin with, which may be known better now.
    pub fn twins_mut(&mut self) -> &mut Twins {
        &mut self.twins
    }

    /// Whether we write to a file.
    pub fn is_ours(&self, file: &Identity) -> bool {
        self.ours.contains(&(file.dev, file.ino))
    }

    /// Whose a file is, or was when it was read.
    pub fn owner(&self, file: &Identity) -> Option<SourceId> {
        self.owners.get(file).copied()
    }

    /// Who has begun to read a file, or may not keep it back.
    pub fn reader(&self, file: &Identity) -> Option<SourceId> {
        self.owner(file).filter(|owner| self.unbegun.get(owner) != Some(file))
    }

    /// The file that a source has not begun to read.
    pub fn unbegun(&self, source: SourceId) -> Option<Identity> {
        self.unbegun.get(&source).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(ino: u64) -> Identity {
        Identity { dev: 1, ino, born_ns: ino as i64 }
    }

    #[test]
    fn a_file_is_whose_it_was_first_unless_that_has_not_begun_to_read_it() {
        let (one, other) = (SourceId(1), SourceId(2));
        let mut taken = Taken::default();
        taken.add(one, file(7), true);
        assert_eq!((taken.owner(&file(7)), taken.reader(&file(7)), taken.are_all_seen()), (Some(one), None, false));
        // It turns out to be the rest of another's.
        taken.set(other, vec![file(8), file(7)], None);
        assert_eq!((taken.owner(&file(7)), taken.reader(&file(7))), (Some(other), Some(other)));
        taken.see(one);
        taken.set(one, vec![], None);
        assert_eq!((taken.reader(&file(7)), taken.are_all_seen()), (Some(other), true));
        // What one has begun to read stays that one's.
        taken.set(one, vec![file(7), file(8), file(9)], None);
        assert_eq!([7, 8, 9].map(|ino| taken.owner(&file(ino))), [Some(other), Some(other), Some(one)]);
        taken.release(other);
        assert_eq!([7, 8, 9].map(|ino| taken.owner(&file(ino))), [None, None, Some(one)]);
    }

    #[test]
    fn a_file_that_may_not_be_kept_back_is_read_from_the_first_moment_on() {
        let mut taken = Taken::default();
        taken.add(SourceId(1), file(7), false);
        taken.set(SourceId(2), vec![file(7)], None);
        assert_eq!((taken.reader(&file(7)), taken.are_all_seen()), (Some(SourceId(1)), true));
    }
}
