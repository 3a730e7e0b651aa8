//! The part of a look that keeps a new file under a glob back as long as it holds nothing but what another log begins
//! with: it is a copy (`cp app.log backup.log`, the other half of copytruncate under a name of its own), or another log
//! that so far has the same first lines.
//!
//! When it grows beyond or differs it is its own, and read from its beginning. So it is when somebody has it open for
//! writing for a while: who copies closes it.

use std::time::{Duration, Instant};

use crate::checkpoint::state::DoneState;
use crate::file::guard::{Guard, Head};
use crate::file::identity::Origin;
use crate::file::lease::Writers;
use crate::file::open::Refusal;
use crate::file::packed::packer;
use crate::log::generation::Generation;
use crate::log::happening::Happening;
use crate::log::sample::Sample;
use crate::log::settings::Surroundings;
use crate::log::source::Source;
use crate::log::twins::{Bytes, Original};

/// So long somebody may have a copy open.
const COPYING_SPAN_MAX: Duration = Duration::from_secs(5);

/// So long it is kept back before that is said: most differ by their second line.
const SILENT_SPAN: Duration = Duration::from_secs(10);

/// A file that is kept back.
#[derive(Debug)]
pub(crate) struct Twin {
    /// It, as it was then: for the next run it is none of ours.
    pub(crate) file: DoneState,
    since: Instant,
    pub(crate) is_said: bool,
}

impl Twin {
    /// When it is to be looked at though it did not change.
    pub(crate) fn due(&self, now: Instant) -> Option<Instant> {
        let spans = [COPYING_SPAN_MAX, SILENT_SPAN];
        spans.into_iter().map(|span| self.since + span).find(|at| *at > now)
    }
}

impl Source {
    /// Whether the live file, of which nothing was given yet, is kept back.
    pub(crate) fn keep_back(&mut self, size: u64, now: Instant, around: &mut dyn Surroundings) -> bool {
        // At the first start all that is there is read.
        let is_new = !self.agenda.is_first() || self.settings.is_late;
        if self.settings.is_batch || !self.settings.may_be_missing || !is_new {
            return false;
        }
        let writers = self.settings.writers;
        let Some(live) = self.chain.live_mut() else { return false };
        let Some(file) = live.file() else { return false };
        if live.twin.is_some() && around.is_anothers(&live.inode) {
            // The one that it is a copy of goes on in it.
            self.chain.remove_live();
            self.refuse(Refusal::Followed, now);
            return true;
        }
        if let Some(twin) = live.twin.as_ref().filter(|twin| twin.file.size == size) {
            let age = now.saturating_duration_since(twin.since);
            if age >= COPYING_SPAN_MAX && writers(file) == Writers::Somebody {
                live.twin = None;
                return false;
            }
            let is_to_say = age >= SILENT_SPAN && !twin.is_said;
            if let Some(twin) = live.twin.as_mut().filter(|_| is_to_say) {
                twin.is_said = true;
                let path = self.path().to_path_buf();
                self.tell(Happening::KeptBack { path });
            }
            return true;
        }
        if live.first.as_deref().and_then(packer).is_some() {
            return false;
        }
        let sample = around.is_copy(file, size).then(|| Sample::of_file(file, size, size).ok()).flatten();
        let is_said = live.twin.take().is_some_and(|twin| twin.is_said);
        let Some(sample) = sample else { return false };
        let origin = Origin { identity: live.inode, epoch: 0 };
        let (head, guard) = (Head::of(&sample.head), Some(Guard::of_end(&sample.before)));
        let file = DoneState { origin, offset: None, guard, head, size, ..DoneState::default() };
        let live = self.chain.alter_live();
        live.map(|live| live.twin = Some(Twin { file, since: now, is_said })).is_some()
    }

    /// What it follows and followed, by which copies of it are told.
    pub fn lives(&self) -> Vec<Original> {
        let there = |path, identity, head| Original { head, bytes: Bytes::There { path, identity } };
        let of_one = |generation: &Generation| {
            let known = generation.cursor.memory().head();
            let head = known.or(generation.first.as_ref().map_or(known, |first| Head::of(first)));
            if generation.is_sought() {
                let (read, guard) = (generation.cursor.read(), generation.cursor.memory().tail_guard());
                return Original { head, bytes: Bytes::Sought { read, guard } };
            }
            there(generation.path.clone(), generation.inode, head)
        };
        let saved = self.agenda.restored().into_iter().flat_map(|state| {
            let identity =
                |saved: &crate::checkpoint::state::GenerationState| saved.copy.unwrap_or(saved.origin.identity);
            state.generations.iter().map(move |saved| there(state.path.clone(), identity(saved), saved.head))
        });
        let done = self.done.files().iter().filter(|done| done.offset.is_some() && done.size > 0);
        let done = done.map(|done| Original { head: done.head, bytes: Bytes::Done(done.clone()) });
        let own = self.chain.iter().filter(|generation| generation.twin.is_none());
        own.map(of_one).chain(saved).chain(done).collect()
    }

    /// How much is known of what its newest file begins with.
    pub fn head_level(&self) -> usize {
        self.chain.back().map_or(0, |last| last.cursor.memory().head_level())
    }
}
