//! The part of a look that searches all files around for a generation, under whatever names, before it is called gone:
//! by what the file is, then by what it holds; and that names what stands there and cannot be read.

use std::time::Instant;

use crate::file::open::{At, Found, Opened, look};
use crate::file::packed::Packing;
use crate::log::candidate::{Candidate, Obstacle};
use crate::log::choice::choose;
use crate::log::generation::Generation;
use crate::log::happening::Happening;
use crate::log::life::{Hand, Phase};
use crate::log::names::resume;
use crate::log::sample::Fit;
use crate::log::settings::Surroundings;
use crate::log::source::Source;
use crate::log::truncation::judge;
use crate::names::siblings::Unlisted;

/// Most generations that are looked for where nothing can be listed: a log that is truncated again and again there
/// would have no end of them.
const HIDDEN_MAX: usize = 16;

impl Source {
    /// The file of a generation that is looked for may have a name that no rotator gives; `true`: it has.
    pub(crate) fn find_renamed(&mut self, index: usize, now: Instant, around: &mut dyn Surroundings) -> bool {
        let inode = self.chain[index].inode;
        if self.chain.iter().filter(|other| other.inode == inode).count() > 1 {
            // Another life of it is read.
            return false;
        }
        let is_this = |found: &Found| found.identity == inode;
        for path in around.others(Some(&inode)) {
            let At::File(found) = look(&path) else { continue };
            if !is_this(&found) {
                continue;
            }
            let opened = found.open();
            if matches!(&opened, Opened::File(file) if Packing::of_file(file).is_some()) {
                return false;
            }
            let generation = self.chain.alter(index);
            generation.path = path;
            generation.life.go_on(Hand::Parked);
            let resumed = match opened {
                Opened::File(file) => resume(generation, file).map(|_| ()),
                Opened::Failed(errno) => Err(errno),
                Opened::Refused(_) => return false,
            };
            if let Err(errno) = resumed {
                generation.fail(errno, now, &mut self.happenings);
            } else {
                let (path, offset) = (generation.path.clone(), generation.cursor.read());
                self.tell(Happening::Opened { path, identity: inode, offset });
            }
            return true;
        }
        false
    }

    /// Its rest may stand in a file whose name says nothing; `true`: it does, and is read on there.
    pub(crate) fn find_elsewhere(&mut self, index: usize, now: Instant, around: &mut dyn Surroundings) -> bool {
        let mut candidates = Vec::new();
        for path in around.others(None) {
            let At::File(found) = look(&path) else { continue };
            let identity = &found.identity;
            if self.knows(identity) || around.is_ours(identity) || around.is_anothers(identity) {
                continue;
            }
            let mut candidate = Candidate::found(path, &found);
            candidate.is_packed |= around.is_packed(&candidate.path);
            let generation = &self.chain[index];
            // A copy is no older than what it is a copy of, and what is looked for is behind what was read.
            let is_too_old = candidate.changed_by_ns() < generation.origin.identity.born_ns;
            if is_too_old || (!candidate.is_packed && candidate.size < generation.seen()) {
                continue;
            }
            if let Opened::File(file) = found.open() {
                candidate.is_packed |= Packing::of_file(&file).is_some();
                candidate.file = Some(file).filter(|_| !candidate.is_packed);
            }
            let seen = generation.seen();
            let size = if let Phase::Sought { size, .. } = generation.life.phase() { size.unwrap_or(0) } else { 0 };
            let stops = [seen, seen + 1, size, size.saturating_add(1)];
            let ends = |head: &[u8]| if generation.may_begin_with(head) { stops.to_vec() } else { Vec::new() };
            if !candidate.is_packed || candidate.unpack(ends, false, &mut self.walks, around).is_ok() {
                candidates.push(candidate);
            }
        }
        let (fits, _) = judge(&self.chain[index], &mut candidates, self.settings.writers, &mut self.walks, around);
        let choice = choose(&fits, &candidates, &mut self.walks, around).filter(|choice| choice.fit == Fit::Full);
        if self.walks.are_under_way() {
            // It may be in one that is not gone through yet.
            return true;
        }
        let Some(choice) = choice else { return false };
        let candidate = candidates.swap_remove(choice.at);
        self.go_on_in(index, candidate, choice, now, around);
        true
    }

    /// Where a directory cannot be listed its rest may stand there; `true`: it is not given up.
    pub(crate) fn hide(
        &mut self,
        index: usize,
        size: Option<u64>,
        now: Instant,
        around: &mut dyn Surroundings,
    ) -> bool {
        let Some(unlisted) = around.unlisted() else { return false };
        let hidden =
            self.chain.iter().filter(|generation| matches!(generation.life.phase(), Phase::Hidden { .. })).count();
        let generation = self.chain.at(index);
        let has_rest = size.is_none_or(|size| size > generation.seen());
        if !has_rest || hidden >= HIDDEN_MAX {
            return false;
        }
        // Nothing goes into the middle of a line.
        if !generation.cursor.has_open_line() {
            generation.life.hide();
        }
        self.list_again(now);
        if self.unlisted.as_ref() != Some(&unlisted) {
            let Unlisted { dir, errno } = self.unlisted.insert(unlisted).clone();
            self.tell(Happening::Unlisted { dir, errno });
        }
        true
    }

    /// Names what may be a generation that is found nowhere, and cannot be read; `true`: there is something.
    pub(crate) fn tell_all_unread(
        &mut self,
        index: usize,
        candidates: &[Candidate],
        around: &mut dyn Surroundings,
    ) -> bool {
        let born_ns = self.chain[index].origin.identity.born_ns;
        let mut is_there = false;
        for candidate in candidates.iter().filter(|candidate| candidate.changed_by_ns() >= born_ns) {
            is_there |= candidate.obstacle.is_some();
            self.tell_unread(candidate);
        }
        // What cannot be unpacked is done with, as far as reading goes.
        for path in around.candidates().into_iter().filter(|path| around.is_packed(path)).collect::<Vec<_>>() {
            let At::File(found) = look(&path) else { continue };
            let Opened::File(file) = found.open() else { continue };
            let Err(error) = around.unpack(file, &path) else { continue };
            let is_elsewhere = |generation: &Generation| generation.inode == found.identity;
            let obstacle = Some(Obstacle::Packing(error.to_string()));
            let candidate = Candidate { obstacle, ..Candidate::found(path, &found) };
            if candidate.changed_by_ns() >= born_ns && !self.chain.iter().any(is_elsewhere) {
                is_there = true;
                self.tell_unread(&candidate);
            }
        }
        is_there
    }
}
