//! What a look is made with, as hands are what a read is made with: what it is told, what it asks, and where it notes what
//! it finds out. All that is decided of one moment is decided at `now`.

use std::time::{Duration, Instant};

use nix::errno::Errno;

use crate::file::open::is_out_of_descriptors;
use crate::log::agenda::Agenda;
use crate::log::happening::Happening;
use crate::log::notes::Notes;
use crate::log::settings::{Settings, Surroundings};
use crate::log::walk::Walks;

/// Of one look.
pub(crate) struct Eyes<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) agenda: &'a mut Agenda,
    pub(crate) notes: &'a mut Notes,
    pub(crate) walks: &'a mut Walks,
    pub(crate) around: &'a mut dyn Surroundings,
    pub(crate) now: Instant,
}

impl Eyes<'_> {
    pub(crate) fn tell(&mut self, happening: Happening) {
        self.notes.tell(happening);
    }

    /// The files around are listed again before long, without a hint.
    pub(crate) fn list_again(&mut self) {
        self.agenda.list_by(self.now + self.settings.reconcile.min(Duration::from_secs(1)));
    }

    /// Whether this failed for want of a descriptor, which is then waited for.
    pub(crate) fn lacks_descriptor(&mut self, errno: Errno) -> bool {
        let lacks = is_out_of_descriptors(errno);
        self.agenda.want_descriptor(lacks);
        lacks
    }

    /// Whether there are files that could not be looked at for want of one.
    pub(crate) fn is_short(&mut self) -> bool {
        self.agenda.want_descriptor(self.around.was_short());
        self.agenda.wants_descriptor()
    }

    /// Whether nothing is to be decided before the next look, for a packed file is not gone through yet.
    pub(crate) fn is_postponed(&mut self) -> bool {
        let is_postponed = self.walks.are_under_way();
        if is_postponed {
            self.walks.end();
            self.agenda.list_by(self.now);
        }
        is_postponed
    }
}
