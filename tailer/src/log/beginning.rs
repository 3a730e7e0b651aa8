//! Where a generation begins for us, while it has the live name and nothing of it was given.
//!
//! Of a file of which nothing was read nobody can tell whether it was truncated. So a look sees its first bytes, then goes
//! through the files around it, and only what still stands there after that is given.
//!
//! Invariant: what is decided is not in doubt.

use std::time::Instant;

use crate::log::replaced::Doubt;
use crate::log::twin::Twin;

/// Whether it is decided where that is.
#[derive(Clone, Copy, Debug, Default)]
enum Placement {
    #[default]
    Open,
    Doubted(Doubt),
    Decided,
}

/// Of one generation.
#[derive(Debug, Default)]
pub(crate) struct Beginning {
    /// What stood there when it was last looked at, as long as nothing of it was given. `None`: nothing did.
    first: Option<Vec<u8>>,
    placement: Placement,
    /// So far it holds nothing but what another log begins with.
    twin: Option<Twin>,
}

impl Beginning {
    pub(crate) fn first(&self) -> Option<&[u8]> {
        self.first.as_deref()
    }

    pub(crate) fn see(&mut self, first: Option<Vec<u8>>) {
        self.first = first;
    }

    /// Its first bytes, which are given now.
    pub(crate) fn take_first(&mut self) -> Option<Vec<u8>> {
        self.first.take_if(|first| !first.is_empty())
    }

    pub(crate) fn is_decided(&self) -> bool {
        matches!(self.placement, Placement::Decided)
    }

    pub(crate) fn decide(&mut self) {
        self.placement = Placement::Decided;
    }

    pub(crate) fn doubt(&self) -> Option<Doubt> {
        if let Placement::Doubted(doubt) = self.placement { Some(doubt) } else { None }
    }

    /// It cannot be decided yet.
    pub(crate) fn doubt_it(&mut self, doubt: Doubt) {
        debug_assert!(!self.is_decided(), "what is decided is not in doubt");
        self.placement = Placement::Doubted(doubt);
    }

    pub(crate) fn twin(&self) -> Option<&Twin> {
        self.twin.as_ref()
    }

    pub(crate) fn twin_mut(&mut self) -> &mut Option<Twin> {
        &mut self.twin
    }

    /// When it is to be looked at, though nothing happens to it.
    pub(crate) fn next_look(&self, now: Instant) -> Option<Instant> {
        let doubt = self.doubt().map(|doubt| doubt.ends());
        doubt.into_iter().chain(self.twin().and_then(|twin| twin.due(now))).min()
    }
}
