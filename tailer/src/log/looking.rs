//! A look at a log: finds out what there is, and gives no bytes. What follows from what it finds is decided by those whom it
//! asks, and done by the [`Lives`]; here is in which order.
//!
//! The live name comes first. A truncation is found before files are compared, for a copy is told by what was read; and
//! it is made sure after that that there was none meanwhile, before anything is done about what was found. What was
//! compared may come before the live file, so where that begins is decided last.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::checkpoint::state::SourceState;
use crate::file::identity::Identity;
use crate::file::open::{At, FoundFile, Opened, Refusal, is_out_of_descriptors, look};
use crate::file::packed::Packing;
use crate::log::agenda::Task;
use crate::log::candidate::{Candidate, Obstacle, open};
use crate::log::eyes::Eyes;
use crate::log::generation::Generation;
use crate::log::happening::Happening;
use crate::log::live_name::LiveName;
use crate::log::lives::Lives;
use crate::log::ours::Sighting;
use crate::log::replaced::Placing;
use crate::log::settings::Hints;
use crate::log::twin::Keeping;
use crate::log::walk::unpack;

/// How often names are gone through while somebody renames them: a rotator is done within milliseconds.
const SURVEYS_MAX: usize = 32;

/// What a look changes, and with what it is made.
pub(crate) struct Looking<'a> {
    pub(crate) name: &'a mut LiveName,
    pub(crate) lives: &'a mut Lives,
    pub(crate) eyes: Eyes<'a>,
}

impl Looking<'_> {
    /// All of it.
    pub(crate) fn look(&mut self, hints: Hints) {
        let now = self.eyes.now;
        if hints.content {
            self.lives.try_again(now);
        }
        let (task, mut lists) = self.eyes.agenda.begin_look(hints.names, now);
        let is_new = task.is_first && task.restored.is_none();
        if is_new {
            self.lives.begin_empty();
        }
        if let Some(state) = &task.restored {
            self.take_up(state);
        }
        lists |= self.lives.done().has_grown();
        lists |= self.look_at_name(is_new);
        // What it had before was copied before that: the copies are found now, and come first.
        lists |= self.lives.peek();
        if lists {
            self.lives.verify();
        }
        let is_sought = self.lives.end_truncated(&mut self.eyes);
        self.eyes.agenda.note_cut(is_sought);
        if lists || is_sought {
            let task = self.eyes.agenda.resume(task);
            self.list(&task);
            if self.eyes.walks.are_under_way() {
                return self.eyes.agenda.postpone(task);
            }
        }
        self.place_live();
        self.lives.wake(false, &mut self.eyes);
        if self.eyes.settings.is_batch && !self.eyes.agenda.wants_descriptor() {
            self.lives.give_up_next(&mut self.eyes);
        }
        self.lives.let_go(&mut self.eyes);
    }

    /// Builds the list of generations from a checkpoint.
    fn take_up(&mut self, state: &SourceState) {
        let last = state.generations.last().filter(|_| state.is_live).map(|last| last.origin.identity);
        self.name.take_up(!state.generations.is_empty(), last);
        for _ in 1..SURVEYS_MAX {
            let before = self.survey();
            let told = self.eyes.notes.count();
            self.lives.take_up(state, self.name.path(), &mut self.eyes);
            if before.len() == 1 && self.lives.chain().iter().all(Generation::is_open) {
                return;
            }
            self.eyes.around.refresh();
            if self.survey() == before {
                return;
            }
            self.eyes.notes.take_back(told);
        }
        self.lives.take_up(state, self.name.path(), &mut self.eyes);
    }

    /// What stands at each path. While a rotator shifts names, a file can be at none of them for who goes through them one
    /// by one, and the one after it seems to be the next. Two surveys that are equal tell that nobody did in between.
    fn survey(&mut self) -> Vec<(PathBuf, Option<Identity>)> {
        let paths = self.eyes.around.candidates().into_iter().chain([self.name.path().to_path_buf()]);
        let identity = |path: &PathBuf| fs::metadata(path).ok().map(|metadata| Identity::from(&metadata));
        paths.map(|path| (path.clone(), identity(&path))).collect()
    }

    /// Looks who has the live name; `true`: not the same as before. `may_start_at_end`: nothing is known of it from an
    /// earlier run.
    fn look_at_name(&mut self, may_start_at_end: bool) -> bool {
        let Looking { name, lives, eyes } = self;
        match look(name.path()) {
            At::File(found) => {
                name.see(found.is_mount(), eyes.settings, eyes.notes);
                let is_same = lives.chain().live().is_some_and(|live| live.inode() == found.identity);
                if is_same || lives.take_copied_up(&found, name, eyes) {
                    name.settle(eyes.notes);
                    false
                } else if eyes.around.is_ours(&found.identity) {
                    self.refuse(Refusal::Ours)
                } else if eyes.around.is_anothers(&found.identity) {
                    self.refuse(Refusal::Followed)
                } else {
                    self.take_live(&found, may_start_at_end)
                }
            }
            At::Missing => {
                let was_live = lives.leave_live(eyes.now);
                name.miss(eyes.settings, eyes.now, eyes.notes);
                was_live
            }
            At::Refused(refusal) => self.refuse(refusal),
            At::Failed(errno) => {
                self.fail(errno);
                false
            }
        }
    }

    /// Another file has the live name.
    fn take_live(&mut self, found: &FoundFile, may_start_at_end: bool) -> bool {
        let Looking { name, lives, eyes } = self;
        // An older name may have been given back.
        if !lives.give_back_live(&found.identity, name.path(), eyes.now) {
            let file = match found.open() {
                Opened::File(file) => file,
                Opened::Refused(refusal) => return self.refuse(refusal),
                Opened::Failed(errno) => {
                    // Whoever had the name before has it no longer, although nobody can be read in its place.
                    let was_live = lives.leave_live(eyes.now);
                    self.fail(errno);
                    return was_live;
                }
            };
            let offset = lives.begin_live(found, file, may_start_at_end, name.path(), eyes);
            if name.last().is_none() {
                eyes.tell(Happening::Opened { path: name.path().to_path_buf(), identity: found.identity, offset });
            }
        }
        name.take(found.identity, eyes.notes);
        true
    }

    /// What has the live name is not read.
    fn refuse(&mut self, refusal: Refusal) -> bool {
        self.name.refuse(refusal, self.eyes.settings, self.eyes.now, self.eyes.notes);
        self.lives.leave_live(self.eyes.now)
    }

    fn fail(&mut self, errno: Errno) {
        if !self.eyes.lacks_descriptor(errno) {
            self.name.fail(errno, self.eyes.settings, self.eyes.now, self.eyes.notes);
        }
    }

    /// Decides where the live file begins for us, if nothing of it was given yet.
    fn place_live(&mut self) {
        let (offset, is_unclear) = match self.lives.place_live(&self.eyes) {
            Placing::Later => return,
            Placing::Behind(offset) => (offset, false),
            Placing::Whole { size, .. } if self.keep_back(size) => return,
            Placing::Whole { is_unclear, .. } => (0, is_unclear),
        };
        self.lives.put_live(offset, self.name.path(), &mut self.eyes);
        if is_unclear {
            self.eyes.tell(Happening::Unplaced { path: self.name.path().to_path_buf() });
        }
    }

    /// Whether the live file, of which nothing was given yet, is kept back.
    fn keep_back(&mut self, size: u64) -> bool {
        if !self.eyes.settings.may_keep_back(self.eyes.agenda.is_first()) {
            return false;
        }
        match self.lives.keep_back(size, &mut self.eyes) {
            Keeping::No => return false,
            Keeping::Anew | Keeping::Still => {}
            Keeping::ForLong => self.eyes.tell(Happening::KeptBack { path: self.name.path().to_path_buf() }),
            Keeping::Anothers => {
                self.lives.remove_live();
                self.refuse(Refusal::Followed);
            }
        }
        true
    }

    /// Goes through the files around the live one.
    fn list(&mut self, task: &Task) {
        self.eyes.agenda.begin_list();
        self.lives.seek_again(self.eyes.now);
        self.eyes.walks.begin();
        let (mut candidates, here) = self.unknown();
        // A closed file is opened under the name that it has by now: a copy of it is told by its content.
        let sought = self.lives.sought();
        self.lives.wake(!candidates.is_empty(), &mut self.eyes);
        if self.lives.end_truncated(&mut self.eyes) || self.lives.sought() > sought {
            self.eyes.around.refresh();
            return self.list(task);
        }
        unpack(self.lives.ours(), &mut candidates, &here, &mut self.eyes);
        if self.eyes.is_postponed() {
            return;
        }
        self.lives.find_rests(&mut candidates, &mut self.eyes);
        if self.eyes.is_postponed() {
            return;
        }
        if self.lives.sought() > 0 {
            // It may be in one that cannot be unpacked yet.
            candidates.retain(|candidate| !candidate.is_packed);
        }
        let ours = self.lives.ours();
        let judge = |candidate| ours.judge(candidate, &here, task, &mut self.eyes);
        let sightings: Vec<Sighting> = candidates.iter().map(judge).collect();
        if self.eyes.is_postponed() {
            return;
        }
        if self.lives.verify() {
            // A file was truncated while others were compared with it: a copy of it may be taken for something else, or
            // is not among them yet.
            self.eyes.around.refresh();
            self.lives.end_truncated(&mut self.eyes);
            return self.list(task);
        }
        self.lives.confirm_first();
        self.settle(candidates.into_iter().zip(sightings), &here);
        if !self.eyes.is_postponed() {
            self.eyes.walks.end();
        }
    }

    /// Acts on what the files around are.
    fn settle(&mut self, seen: impl Iterator<Item = (Candidate, Sighting)>, here: &HashSet<Identity>) {
        let Looking { lives, eyes, .. } = self;
        let mut missed: Vec<_> = seen.filter_map(|(one, sighting)| lives.settle(one, sighting, here, eyes)).collect();
        let is_any = !missed.is_empty();
        let ranks = if is_any { lives.ours().oldest_first(eyes.around.candidates()) } else { Vec::new() };
        let rank = |path: &Path| ranks.iter().position(|other| other == path);
        missed.sort_by_key(|candidate| (candidate.order_ns(), rank(&candidate.path)));
        for candidate in missed {
            lives.take_missed(candidate, &ranks, eyes);
        }
        if eyes.around.unlisted().is_none() {
            eyes.notes.listed_all();
            // Not before: what is gone may have been packed.
            lives.forget_gone(here);
        }
    }

    /// The files around the live one that are neither on the list nor done with, open, and all that are there. Those on
    /// the list are told their names.
    fn unknown(&mut self) -> (Vec<Candidate>, HashSet<Identity>) {
        for _ in 1..SURVEYS_MAX {
            let before = self.survey();
            // Another file may have the live name since the look began: rotated files would be taken for older than
            // the one that had it.
            self.look_at_name(false);
            let candidates = self.unknown_at_once();
            // A directory of ten thousand logs is not listed again for each of them: not where there is nothing but the
            // live name, for nothing can have been shifted then; nor where nothing has that name, and all others are
            // known, for then nothing is decided.
            let is_alone = before.len() == 1;
            let is_away = before.last().is_some_and(|(_, live)| live.is_none()) && self.lives.chain().live().is_none();
            let is_all_known = candidates.0.is_empty() && self.lives.ours().is_all_here(&candidates.1);
            if (is_alone || is_away && is_all_known) && self.lives.sought() == 0 {
                return candidates;
            }
            self.eyes.around.refresh();
            if self.survey() == before {
                return candidates;
            }
        }
        self.unknown_at_once()
    }

    fn unknown_at_once(&mut self) -> (Vec<Candidate>, HashSet<Identity>) {
        let Looking { name, lives, eyes } = self;
        let mut candidates: Vec<Candidate> = Vec::new();
        let mut here = HashSet::new();
        for path in eyes.around.candidates() {
            let At::File(found) = look(&path) else { continue };
            let is_listed = !here.insert(found.identity) || path == name.path();
            if is_listed || eyes.around.is_ours(&found.identity) || eyes.around.is_anothers(&found.identity) {
                continue;
            }
            let mut is_packed = eyes.around.is_packed(&path);
            if lives.note_name(&found, &path)
                || lives.ours().is_forgotten(&found.identity)
                || lives.is_done(&found, &path, is_packed, eyes)
            {
                continue;
            }
            let (mut file, mut obstacle) = (None, None);
            if !is_packed {
                match open(&found, eyes) {
                    Ok(opened) if Packing::of_file(&opened).is_some() => is_packed = true,
                    Ok(opened) => file = Some(opened),
                    Err(errno) if is_out_of_descriptors(errno) => {}
                    Err(errno) => obstacle = Some(Obstacle::Errno(errno)),
                }
            }
            if !is_packed || !lives.ours().is_packed_copy(&found) {
                candidates.push(Candidate { is_packed, file, obstacle, ..Candidate::found(path, &found) });
            }
        }
        lives.retain_aside(&here);
        (candidates, here)
    }
}
