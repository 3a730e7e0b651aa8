//! The life of a file that was truncated ends, and another begins: what is left of the first, and which files may have its
//! rest.
//!
//! A copy of a truncated file was made before the truncation: one list of the files around it shows whether there is
//! one. Only while one of them cannot be judged is the answer waited for.

use std::fs::File;

use crate::file::guard::GUARD_BYTES_MAX;
use crate::file::identity::Identity;
use crate::file::lease::Writers;
use crate::log::candidate::{Candidate, Obstacle};
use crate::log::choice::{Choice, choose};
use crate::log::eyes::Eyes;
use crate::log::generation::Generation;
use crate::log::happening::{Happening, Truncation};
use crate::log::life::Hand;
use crate::log::memory::{Memory, read_up_to};
use crate::log::replaced::Doubt;
use crate::log::sample::Fit;
use crate::out::lines::GenerationId;

/// What is left of a file that was cut is at least so long, or more than half of it.
const CUT_BYTES_MIN: u64 = 32;

/// Ends a life whose truncation showed; `file` is what was read, and begins anew as the one of this number, which is
/// returned. `None`: it goes on.
pub(crate) fn end_life(
    ended: &mut Generation,
    truncation: Truncation,
    file: File,
    id: GenerationId,
    eyes: &mut Eyes<'_>,
) -> Option<Generation> {
    debug_assert!(ended.life().is_over(), "it ended, and its file is another's");
    let cut = if truncation == Truncation::SizeDecreased { cut_end(ended, &file) } else { None };
    if let Some(size) = cut.filter(|size| *size >= ended.cursor().read()) {
        // Only of the unfinished line something is gone.
        let lost = ended.cursor_mut().cut_held(size);
        ended.life_mut().go_on(Hand::Open(file));
        ended.extent_mut().unsettle();
        ended.extent_mut().begin(size);
        eyes.tell(Happening::Truncated(Truncation::EndCut));
        eyes.tell(Happening::Lost { bytes: lost });
        return None;
    }
    let mut next = ended.next_life(id, eyes.now);
    let was_live = ended.is_live();
    let gone = cut.map_or(0, |size| ended.seen() - size);
    ended.rename(false, eyes.now);
    let kept = cut.and_then(|size| Some((size, Memory::of_file(&file, size).ok()??)));
    if let Some((size, memory)) = kept {
        let held = ended.cursor_mut().take_held();
        next.cursor_mut().begin_at(size, memory);
        // It may be on its way back, unless it is so little that it would be there by chance.
        let may_come_back = was_live && !eyes.settings.is_batch && gone >= CUT_BYTES_MIN;
        if may_come_back {
            next.beginning_mut().doubt_it(Doubt::new(size, eyes.now));
        }
        eyes.tell(Happening::Truncated(Truncation::EndCut));
        if !held.is_empty() {
            eyes.tell(Happening::Lost { bytes: held.len() as u64 });
        }
    } else {
        let size = ended.known_size();
        ended.life_mut().seek(eyes.now, size);
        next.extent_mut().begin_with_zeros(ended.seen());
        eyes.tell(Happening::Truncated(truncation));
    }
    next.life_mut().go_on(Hand::Open(file));
    Some(next)
}

/// Whether a file that is followed for itself may be the copy of a life of `identity` of which nothing was read, and
/// which had `size` bytes: it is younger, and has as many.
pub(crate) fn may_be_copy(other: &Generation, identity: Identity, size: Option<u64>) -> bool {
    let is_younger = other.inode() != identity && other.inode().born_ns >= identity.born_ns;
    let has_as_many = |file: &File| file.metadata().is_ok_and(|all| size.is_none_or(|size| all.len() >= size));
    is_younger && !other.is_live() && other.file().is_none_or(has_as_many)
}

/// The size of a file whose end was cut off, where what is left is what was read and is no less than what is gone: a log
/// that begins anew with its usual first line is not taken for it.
fn cut_end(generation: &Generation, file: &File) -> Option<u64> {
    let size = file.metadata().ok()?.len();
    let seen = generation.seen();
    let memory = generation.cursor().remembered();
    let Memory::Bytes { head, tail } = &memory else { return None };
    let window = seen - tail.len() as u64;
    if size >= seen || size <= window || size < (seen - size).max(CUT_BYTES_MIN.min(seen / 2 + 1)) {
        return None;
    }
    let mut left = vec![0; (size - window) as usize];
    let mut first = vec![0; size.min(GUARD_BYTES_MAX as u64) as usize];
    let is_whole =
        read_up_to(file, &mut left, window).ok()? == left.len() && read_up_to(file, &mut first, 0).ok()? == first.len();
    (is_whole && tail[..left.len()] == *left && head[..first.len().min(head.len())] == *first).then_some(size)
}

/// Which of the files has the rest of a life that ended, if one has; and whether one that may cannot be judged yet. A
/// snapshot from before the copy reaches less far.
pub(crate) fn choose_rest(
    generation: &Generation,
    candidates: &[Candidate],
    eyes: &mut Eyes<'_>,
) -> (Option<Choice>, bool) {
    let mut fits = Vec::new();
    let mut is_undecided = false;
    if !generation.cursor().memory().says_something() && generation.cursor().held().is_empty() {
        return (None, false);
    }
    for (index, candidate) in candidates.iter().enumerate() {
        debug_assert!(!candidate.is_packed || candidate.file.is_none(), "packed bytes are compared unpacked");
        if candidate.head().is_some_and(|head| !generation.may_begin_with(&head)) {
            continue;
        }
        let Some(sample) = candidate.sample(generation.seen(), eyes.walks, eyes.around) else {
            // What is packed in a way that is not read stays so.
            is_undecided |= !matches!(candidate.obstacle, Some(Obstacle::Packing(_)));
            continue;
        };
        let fit = sample.fit(generation);
        let is_written =
            || candidate.file.as_ref().is_some_and(|file| (eyes.settings.writers)(file) == Writers::Somebody);
        if fit == Fit::Short && is_written() {
            is_undecided = true;
        } else if fit != Fit::No {
            // With where it ends, as far as one byte behind what was seen.
            let more =
                if fit == Fit::Full { candidate.sample(generation.seen() + 1, eyes.walks, eyes.around) } else { None };
            fits.push((fit, more.unwrap_or(sample).at, index));
        }
    }
    (choose(&fits, candidates, eyes.walks, eyes.around), is_undecided)
}
