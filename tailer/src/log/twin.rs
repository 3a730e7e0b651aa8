//! Keeping a new file under a glob back as long as it holds nothing but what another log begins with: it is a copy
//! (`cp app.log backup.log`, the other half of copytruncate under a name of its own), or another log that so far has the
//! same first lines.
//!
//! When it grows beyond or differs it is its own, and read from its beginning. So it is when somebody has it open for
//! writing for a while: who copies closes it.

use std::time::{Duration, Instant};

use standpipe_common::retry::Once;

use crate::checkpoint::state::DoneState;
use crate::file::guard::{Guard, Head};
use crate::file::lease::Writers;
use crate::file::packed::packer;
use crate::log::eyes::Eyes;
use crate::log::generation::Generation;
use crate::log::sample::Sample;

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
    pub(crate) said: Once<()>,
}

impl Twin {
    /// When it is to be looked at though it did not change.
    pub(crate) fn due(&self, now: Instant) -> Option<Instant> {
        let spans = [COPYING_SPAN_MAX, SILENT_SPAN];
        spans.into_iter().map(|span| self.since + span).find(|at| *at > now)
    }
}

/// What keeping a file back comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keeping {
    /// It is its own.
    No,
    /// From now on.
    Anew,
    /// As before.
    Still,
    /// The same, and that is to be said.
    ForLong,
    /// The one that it is a copy of goes on in it.
    Anothers,
}

/// Whether a live file of this size, of which nothing was given yet, is kept back.
pub(crate) fn keep_back(live: &mut Generation, size: u64, eyes: &mut Eyes<'_>) -> Keeping {
    debug_assert!(live.is_live() && live.seen() == 0, "what was given is not kept back");
    let (writers, now) = (eyes.settings.writers, eyes.now);
    let Some(file) = live.file() else { return Keeping::No };
    if live.beginning().twin().is_some() && eyes.around.is_anothers(&live.inode()) {
        return Keeping::Anothers;
    }
    if let Some(twin) = live.beginning().twin().filter(|twin| twin.file.size == size) {
        let age = now.saturating_duration_since(twin.since);
        if age >= COPYING_SPAN_MAX && writers(file) == Writers::Somebody {
            *live.beginning_mut().twin_mut() = None;
            return Keeping::No;
        }
        let is_long = |twin: &mut Twin| age >= SILENT_SPAN && twin.said.is_news(());
        let is_to_say = live.beginning_mut().twin_mut().as_mut().is_some_and(is_long);
        return if is_to_say { Keeping::ForLong } else { Keeping::Still };
    }
    if live.beginning().first().and_then(packer).is_some() {
        return Keeping::No;
    }
    let sample = eyes.around.is_copy(file, size).then(|| Sample::of_file(file, size, size).ok()).flatten();
    let said = live.beginning_mut().twin_mut().take().map(|twin| twin.said).unwrap_or_default();
    let Some(sample) = sample else { return Keeping::No };
    let (head, guard) = (Head::of(&sample.head), Some(Guard::of_end(&sample.before)));
    let file = DoneState { origin: live.inode().into(), offset: None, guard, head, size, ..DoneState::default() };
    *live.beginning_mut().twin_mut() = Some(Twin { file, since: now, said });
    Keeping::Anew
}
