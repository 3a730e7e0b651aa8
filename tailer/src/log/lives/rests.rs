//! The part of [`Lives`] that finds the rest of a life that ended before it was read, or whose file has another name: in
//! files that are not known, in the live one, and then in all files around, under whatever names, by what the file is and
//! by what it holds. Only then it is called gone, and what stands there and cannot be read is named.

use std::path::PathBuf;
use std::time::Instant;

use super::Lives;
use crate::checkpoint::state::DoneState;
use crate::file::open::{At, FoundFile, Opened, look};
use crate::file::packed::Packing;
use crate::log::candidate::{Candidate, Obstacle};
use crate::log::choice::Choice;
use crate::log::eyes::Eyes;
use crate::log::generation::Generation;
use crate::log::happening::Happening;
use crate::log::life::{Course, Hand, Life};
use crate::log::sample::{Fit, Sample};
use crate::log::truncation::{choose_rest, may_be_copy};
use crate::out::lines::GenerationId;

/// Most generations that are looked for where nothing can be listed: a log that is truncated again and again there
/// would have no end of them.
const HIDDEN_MAX: usize = 16;

impl Lives {
    /// What may stand where nothing could be listed is looked for again.
    pub(crate) fn seek_again(&mut self, now: Instant) {
        for generation in self.chain.iter_mut() {
            if let Course::Hidden { size } = generation.life().course() {
                generation.life_mut().seek(now, size);
            }
        }
    }

    /// Looks for the rest of each life that ended among files that are not known. What is taken is taken off the list.
    pub(crate) fn find_rests(&mut self, candidates: &mut Vec<Candidate>, eyes: &mut Eyes<'_>) {
        let sought = self.chain.iter().filter(|generation| generation.is_sought());
        let sought: Vec<GenerationId> = sought.map(Generation::id).collect();
        for id in sought {
            let Some(index) = self.chain.iter().position(|generation| generation.id() == id) else { continue };
            self.find_rest(index, candidates, eyes);
        }
    }

    fn find_rest(&mut self, index: usize, candidates: &mut Vec<Candidate>, eyes: &mut Eyes<'_>) {
        let Course::Sought { since, size } = self.chain[index].life().course() else { return };
        if self.find_renamed(index, eyes) {
            return;
        }
        let (choice, is_undecided) = choose_rest(&self.chain[index], candidates, eyes);
        if eyes.walks.are_under_way() {
            return;
        }
        // What a name tells is a rotated file. Of others one that was made later may have more.
        let is_certain =
            |choice: &Choice| choice.fit == Fit::Full && eyes.around.may_be_missed(&candidates[choice.at].path);
        let is_uncertain = choice.as_ref().is_none_or(|choice| !is_certain(choice));
        let was_found_now = eyes.agenda.is_first() && since == eyes.now;
        if is_uncertain && (eyes.agenda.is_cut() || was_found_now) && !eyes.around.is_last() {
            // It is looked for once more, when new files were found; what may be it is not judged before.
            candidates.retain(|candidate| !may_be_rest(&self.chain[index], candidate, eyes));
            return eyes.agenda.note_cut(true);
        }
        let chosen = choice.map(|choice| (candidates.remove(choice.at), choice));
        match chosen {
            Some((candidate, choice)) if !is_uncertain => self.go_on_in(index, candidate, choice, eyes),
            Some((candidate, _)) => {
                if !self.find_elsewhere(index, Some(candidate), candidates, eyes) {
                    eyes.list_again();
                }
            }
            None => {
                let is_early = eyes.now.saturating_duration_since(since) < eyes.settings.reconcile;
                if eyes.is_short() || (is_undecided && is_early) {
                    eyes.list_again();
                } else if !self.go_on_in_live(index, eyes)
                    && !self.find_elsewhere(index, None, candidates, eyes)
                    && !self.hide(index, size, eyes)
                {
                    self.give_up(index, size, candidates, eyes);
                }
            }
        }
    }

    /// The file of a generation that is looked for may have a name that no rotator gives; `true`: it has.
    fn find_renamed(&mut self, index: usize, eyes: &mut Eyes<'_>) -> bool {
        let inode = self.chain[index].inode();
        if self.chain.iter().filter(|other| other.inode() == inode).count() > 1 {
            // Another life of it is read.
            return false;
        }
        let found = |path: PathBuf| match look(&path) {
            At::File(found) if found.identity == inode => Some((path, found)),
            _ => None,
        };
        let Some((path, found)) = eyes.around.others(Some(&inode)).into_iter().find_map(found) else { return false };
        let opened = found.open();
        if matches!(&opened, Opened::File(file) if Packing::of_file(file).is_some()) {
            return false;
        }
        let generation = self.chain.alter(index);
        generation.set_path(&path);
        generation.life_mut().go_on(Hand::Parked);
        let resumed = match opened {
            Opened::File(file) => generation.resume(file),
            Opened::Failed(errno) => Err(errno),
            Opened::Refused(_) => return false,
        };
        match resumed {
            Ok(_) => eyes.tell(Happening::Opened { path, identity: inode, offset: generation.cursor().read() }),
            Err(errno) => generation.fail(errno, eyes.now, eyes.notes),
        }
        true
    }

    /// The file with the live name is a copy of a generation of the checkpoint that is nowhere else: it was restored, or
    /// moved from another file system.
    fn go_on_in_live(&mut self, index: usize, eyes: &mut Eyes<'_>) -> bool {
        let sought = &self.chain[index];
        let is_unread = |live: &&Generation| live.cursor().put() == 0 && live.cursor().read() == 0;
        let Some(live) = self.chain.live().filter(is_unread) else { return false };
        let is_another_life =
            self.chain.iter().any(|other| other.inode() == sought.inode() && other.id() != sought.id());
        let sample = live.file().map(|file| {
            let size = file.metadata().map_or(0, |metadata| metadata.len());
            Sample::of_file(file, size, sought.seen())
        });
        let is_copy = matches!(sample, Some(Ok(sample)) if sample.fit(sought) == Fit::Full);
        if sought.extent().longest() > 0 || is_another_life || !is_copy {
            return false;
        }
        let (Some(live), Some(mut sought)) = (self.chain.remove_live(), self.chain.remove(index)) else { return false };
        let (inode, path, life) = live.into_file();
        sought.move_to(inode, path, life);
        sought.rename(true, eyes.now);
        eyes.tell(Happening::CopyMatched { path: sought.path().clone(), offset: sought.cursor().read(), bytes: None });
        self.chain.push(sought);
        true
    }

    /// Its rest may stand in a file whose name says nothing, or in the one that is `known` to have some; `true`: it does,
    /// and is read on there, or it cannot be said yet. It is in none of the `others`.
    fn find_elsewhere(
        &mut self,
        index: usize,
        known: Option<Candidate>,
        others: &[Candidate],
        eyes: &mut Eyes<'_>,
    ) -> bool {
        let Course::Sought { size, .. } = self.chain[index].life().course() else { return false };
        let known_file = known.as_ref().map(|known| known.identity);
        let mut candidates: Vec<Candidate> = known.into_iter().collect();
        for path in eyes.around.others(None) {
            let At::File(found) = look(&path) else { continue };
            let identity = &found.identity;
            let is_listed = others.iter().any(|other| other.identity == *identity);
            let is_known = is_listed || known_file.as_ref() == Some(identity) || self.ours().has(identity);
            if !is_known && !eyes.around.is_ours(identity) && !eyes.around.is_begun(identity) {
                candidates.extend(may_have_rest(&self.chain[index], path.clone(), &found, eyes));
            }
        }
        let (choice, _) = choose_rest(&self.chain[index], &candidates, eyes);
        if eyes.walks.are_under_way() {
            // It may be in one that is not gone through yet.
            return true;
        }
        let Some(choice) = choice else { return false };
        let candidate = candidates.swap_remove(choice.at);
        if choice.fit == Fit::Full {
            self.go_on_in(index, candidate, choice, eyes);
        } else if known_file.is_some() {
            self.end_of_copy_was_passed(index, &candidate, size, eyes);
        }
        choice.fit == Fit::Full || known_file.is_some()
    }

    /// Where a directory cannot be listed its rest may stand there; `true`: it is not given up.
    fn hide(&mut self, index: usize, size: Option<u64>, eyes: &mut Eyes<'_>) -> bool {
        let Some(unlisted) = eyes.around.unlisted() else { return false };
        let is_hidden = |generation: &&Generation| matches!(generation.life().course(), Course::Hidden { .. });
        let hidden = self.chain.iter().filter(is_hidden).count();
        let generation = self.chain.at(index);
        let has_rest = size.is_none_or(|size| size > generation.seen());
        if !has_rest || hidden >= HIDDEN_MAX {
            return false;
        }
        // Nothing goes into the middle of a line.
        if !generation.cursor().has_open_line() {
            generation.life_mut().hide();
        }
        eyes.list_again();
        eyes.notes.tell_unlisted(unlisted);
        true
    }

    /// No file has the rest, as far as can be told: of a generation that had nothing when that was last known, any
    /// younger file may have it, and is read from its beginning.
    fn give_up(&mut self, index: usize, size: Option<u64>, candidates: &[Candidate], eyes: &mut Eyes<'_>) {
        let is_unread = self.tell_all_unread(index, candidates, eyes);
        let generation = self.chain.alter(index);
        generation.give_up();
        let (seen, identity, is_restored) =
            (generation.seen(), generation.origin().identity, generation.extent().longest() == 0);
        let is_unknown = seen == 0 && !generation.cursor().memory().says_something();
        let has_next = self.chain.iter().filter(|other| other.inode() == identity).count() > 1;
        let may_have_it = |candidate: &Candidate| candidate.changed_by_ns() >= identity.born_ns;
        let is_followed = is_unknown && self.chain.iter().any(|other| may_be_copy(other, identity, size));
        if is_unread || is_followed || (is_unknown && candidates.iter().any(may_have_it)) {
            // What it has is not gone.
        } else if is_restored && !has_next {
            eyes.tell(Happening::GenerationMissing { identity, offset: seen });
        } else {
            tell_lost(seen, size, eyes);
        }
    }

    /// Names what may be a generation that is found nowhere, and cannot be read; `true`: there is something.
    fn tell_all_unread(&self, index: usize, candidates: &[Candidate], eyes: &mut Eyes<'_>) -> bool {
        let born_ns = self.chain[index].origin().identity.born_ns;
        let mut is_there = false;
        for candidate in candidates.iter().filter(|candidate| candidate.changed_by_ns() >= born_ns) {
            is_there |= candidate.obstacle.is_some();
            eyes.notes.tell_unread(candidate);
        }
        // What cannot be unpacked is done with, as far as reading goes.
        for path in eyes.around.candidates().into_iter().filter(|path| eyes.around.is_packed(path)).collect::<Vec<_>>()
        {
            let At::File(found) = look(&path) else { continue };
            let Opened::File(file) = found.open() else { continue };
            let Err(error) = eyes.around.unpack(file, &path) else { continue };
            let is_elsewhere = |generation: &Generation| generation.inode() == found.identity;
            let obstacle = Some(Obstacle::Packing(error.to_string()));
            let candidate = Candidate { obstacle, ..Candidate::found(path, &found) };
            if candidate.changed_by_ns() >= born_ns && !self.chain.iter().any(is_elsewhere) {
                is_there = true;
                eyes.notes.tell_unread(&candidate);
            }
        }
        is_there
    }

    /// The copy was made before we had read as far as we did: nothing is to be fetched from it.
    fn end_of_copy_was_passed(&mut self, index: usize, copy: &Candidate, size: Option<u64>, eyes: &mut Eyes<'_>) {
        // What is appended to it is not.
        let done = copy.as_done();
        self.done.set(DoneState { offset: Some(done.size), ..done });
        let generation = self.chain.alter(index);
        generation.life_mut().finish();
        let seen = generation.seen();
        eyes.tell(Happening::CopyMatched { path: copy.path.clone(), offset: seen, bytes: Some(0) });
        tell_lost(seen, size, eyes);
    }

    /// Reads on in the file that was chosen. One that cannot be opened now is looked for again.
    fn go_on_in(&mut self, index: usize, candidate: Candidate, choice: Choice, eyes: &mut Eyes<'_>) {
        let generation = self.chain.at(index);
        let Course::Sought { size, .. } = generation.life().course() else { return };
        let seen = generation.seen();
        let mut had = candidate.size;
        let (hand, bytes) = if candidate.is_packed {
            let end = candidate.sample(size.unwrap_or(0), eyes.walks, eyes.around);
            had = end.map_or(u64::MAX, |sample| sample.at);
            let stream = eyes.walks.stream(&candidate, generation.cursor().read(), seen, eyes.around);
            let Ok((memory, stream)) = stream else { return eyes.list_again() };
            generation.cursor_mut().know(memory);
            (Hand::Unpacking(stream), None)
        } else {
            let Some(file) = candidate.file else { return eyes.list_again() };
            (Hand::Open(file), Some(candidate.size.saturating_sub(seen)))
        };
        let generation = self.chain.alter(index);
        generation.move_to(candidate.identity, candidate.path.clone(), Life::new(hand));
        generation.go_on_in_copy(size.is_some(), eyes.now);
        eyes.tell(Happening::CopyMatched { path: candidate.path.clone(), offset: seen, bytes });
        if let Choice { files: files @ 2.., why, .. } = choice {
            eyes.tell(Happening::Ambiguous { path: candidate.path, files, why });
        }
        tell_lost(had, size, eyes);
    }
}

/// Whether a file holds what was read of a generation, or what that begins with.
fn may_be_rest(generation: &Generation, candidate: &Candidate, eyes: &mut Eyes<'_>) -> bool {
    let is_known = generation.cursor().memory().says_something() || !generation.cursor().held().is_empty();
    if !is_known || candidate.head().is_some_and(|head| !generation.may_begin_with(&head)) {
        return false;
    }
    let sample = candidate.sample(generation.seen(), eyes.walks, eyes.around);
    sample.is_some_and(|sample| sample.fit(generation) != Fit::No)
}

/// A file under a name that says nothing, if it may have the rest of a generation.
fn may_have_rest(generation: &Generation, path: PathBuf, found: &FoundFile, eyes: &mut Eyes<'_>) -> Option<Candidate> {
    let mut candidate = Candidate::found(path, found);
    candidate.is_packed |= eyes.around.is_packed(&candidate.path);
    // A copy is no older than what it is a copy of, and what is looked for is behind what was read.
    let is_too_old = candidate.changed_by_ns() < generation.origin().identity.born_ns;
    if is_too_old || (!candidate.is_packed && candidate.size < generation.seen()) {
        return None;
    }
    if let Opened::File(file) = found.open() {
        candidate.is_packed |= Packing::of_file(&file).is_some();
        candidate.file = Some(file).filter(|_| !candidate.is_packed);
    }
    let seen = generation.seen();
    let size = if let Course::Sought { size, .. } = generation.life().course() { size.unwrap_or(0) } else { 0 };
    let stops = [seen, seen + 1, size, size.saturating_add(1)];
    let ends = |head: &[u8]| if generation.may_begin_with(head) { stops.to_vec() } else { Vec::new() };
    let is_seen = !candidate.is_packed || candidate.unpack(ends, false, eyes.walks, eyes.around).is_ok();
    is_seen.then_some(candidate)
}

fn tell_lost(had: u64, size: Option<u64>, eyes: &mut Eyes<'_>) {
    let bytes = size.unwrap_or(0).saturating_sub(had);
    if bytes > 0 {
        eyes.tell(Happening::Lost { bytes });
    }
}
