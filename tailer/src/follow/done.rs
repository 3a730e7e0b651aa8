//! The part of a look that deals with what is over: generations leave the list, and their files are remembered as done
//! with, so that none is read again.

use std::collections::HashSet;
use std::fs::{self, Metadata};
use std::path::PathBuf;
use std::time::Instant;

use crate::follow::copies::Copy;
use crate::follow::generation::Generation;
use crate::follow::happening::Happening;
use crate::follow::replaced::Before;
use crate::identity::{Identity, Origin};
use crate::lines::GenerationId;
use crate::open::Stamp;
use crate::source::Source;
use crate::state::{DoneState, GenerationState};

/// Most files that are remembered as done with.
pub(crate) const DONE_MAX: usize = 1024;

/// Most of them that are not there any more: copies of them may still come.
const GONE_MAX: usize = 32;

/// So many of those that are there, the newest by name, are looked at for more: each look costs a system call a file.
pub(crate) const ASIDE_MAX: usize = 4;

/// A file that is done with and is still there: somebody may append to it by its name.
#[derive(Debug)]
pub(crate) struct Aside {
    pub(crate) path: PathBuf,
    pub(crate) identity: Identity,
    /// How far it was read.
    pub(crate) offset: u64,
    /// As what it was read in this run.
    pub(crate) generation: Option<GenerationId>,
}

impl Aside {
    /// Whether it is longer than what was read of it.
    pub(crate) fn has_grown(&self) -> bool {
        let is_longer = |metadata: Metadata| metadata.len() > self.offset && Identity::from(&metadata) == self.identity;
        fs::metadata(&self.path).is_ok_and(is_longer)
    }
}

impl Source {
    /// Takes generations off the list that are finished and delivered.
    pub(crate) fn let_go(&mut self, now: Instant) {
        let mut index = 0;
        while index < self.chain.len() {
            // In a batch the live one is over as well, and stays for the checkpoint: more may come before the next.
            if !self.chain[index].is_over() || self.chain[index].is_live() {
                index += 1;
                continue;
            }
            if let Some(generation) = self.chain.remove(index) {
                self.finish(&generation, now);
            }
        }
    }

    /// Of files that have no name any more all that was read is all that anybody will get: they are finished, whoever
    /// still has them open. For the end of the program; `true`: there was one.
    pub fn conclude_nameless(&mut self) -> bool {
        let is_read = |generation: &&mut Generation| generation.is_open() && generation.at_end.is_some();
        let is_nameless = |generation: &&mut Generation| !generation.has_name && generation.life.is_reading();
        let nameless = self.chain.iter_mut().filter(is_read).filter(is_nameless);
        nameless.map(|generation| generation.life.finish()).count() > 0
    }

    fn finish(&mut self, generation: &Generation, now: Instant) {
        let (copies, others): (Vec<Copy>, Vec<Copy>) =
            std::mem::take(&mut self.copies).into_iter().partition(|copy| copy.of == generation.id);
        self.copies = others;
        // What is known of a copy already says more.
        let is_known = |done: &DoneState, of: &Copy| done.origin.identity == of.identity();
        for copy in copies {
            if !self.done.iter().any(|done| is_known(done, &copy)) {
                self.set_done(copy.file);
            }
        }
        if self.live().is_none_or(|live| !live.is_placed) && !self.settings.is_batch {
            self.before = Some(Before::of(generation, now));
        }
        if self.chain.iter().any(|other| other.inode == generation.inode) {
            // The life of an inode that goes on in another generation.
            return;
        }
        let GenerationState { origin, offset, guard, head, copy, .. } = generation.state();
        let origin = copy.map_or(origin, |identity| Origin { identity, epoch: 0 });
        self.tell(Happening::Finished { identity: origin.identity, offset });
        if generation.has_name && generation.file().is_some() {
            self.put_aside(generation.path.clone(), generation.inode, offset, Some(generation.id));
        }
        // Where a look has just made its end uncertain again, the file itself tells whether it is as it was read.
        let is_as_read = |stamp: &Stamp| stamp.size == offset;
        let of_file = || Some(Stamp::from(&generation.file()?.metadata().ok()?)).filter(is_as_read);
        let changed_ns = generation.at_end.or_else(of_file).map_or(0, |stamp| stamp.changed_ns());
        self.set_done(DoneState { origin, offset: Some(offset), guard, head, size: offset, changed_ns });
    }

    pub(crate) fn set_done(&mut self, done: DoneState) {
        self.is_changed = true;
        self.done.retain(|other| other.origin.identity != done.origin.identity);
        if self.done.len() == DONE_MAX {
            let born_ns = |done: &DoneState| done.origin.identity.born_ns;
            let oldest = (0..DONE_MAX).min_by_key(|index| born_ns(&self.done[*index])).unwrap_or(0);
            self.forget(oldest);
        }
        self.done.push(done);
    }

    /// A file that is done with is there, read so far.
    pub(crate) fn put_aside(&mut self, path: PathBuf, identity: Identity, offset: u64, as_read: Option<GenerationId>) {
        let before = self.aside.iter().position(|aside| aside.identity == identity).map(|at| self.aside.remove(at));
        let generation = as_read.or(before.and_then(|before| before.generation));
        self.aside.push(Aside { path, identity, offset, generation });
        self.aside.drain(..self.aside.len().saturating_sub(ASIDE_MAX));
    }

    /// Whether what was read as this generation may still grow, though it is done with.
    pub fn is_aside(&self, generation: GenerationId) -> bool {
        self.aside.iter().any(|aside| aside.generation == Some(generation))
    }

    /// Of the files that are done with and not `here` any more, the last few are remembered.
    pub(crate) fn forget_gone(&mut self, here: &HashSet<Identity>) {
        let is_gone = |done: &DoneState| done.origin.identity.born_ns > 0 && !here.contains(&done.origin.identity);
        let mut surplus = self.done.iter().filter(|done| is_gone(done)).count().saturating_sub(GONE_MAX);
        while surplus > 0
            && let Some(index) = self.done.iter().position(is_gone)
        {
            self.forget(index);
            surplus -= 1;
        }
    }

    /// A file that is done with is remembered by the time of its birth alone: what is older never was ours.
    fn forget(&mut self, index: usize) {
        let done = self.done.remove(index);
        self.since_ns = self.since_ns.max(done.origin.identity.born_ns + 1);
        self.is_changed = true;
    }
}
