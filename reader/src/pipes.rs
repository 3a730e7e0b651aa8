//! The pipe of a lane, and the pipes that stood under its name before.
//!
//! A pipe that was replaced is held for reading only, so that its last writer can be seen to leave, and drained until
//! then; what it holds comes before what the present one holds.

use std::io;
use std::time::Instant;

use standpipe_common::fifo::{Fifo, Identity, RETIRED_MAX, retired_span};

/// All pipes that are read for one lane.
#[derive(Debug)]
pub struct Pipes {
    present: Fifo,
    capacity: usize,
    retired: Vec<Retired>,
}

#[derive(Debug)]
struct Retired {
    fifo: Fifo,
    until: Instant,
    /// We no longer count as a writer ourselves.
    is_read_only: bool,
}

/// What a look at the present pipe saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Bytes that were waiting.
    pub queued: usize,
    /// A writer would have had to wait.
    pub full: bool,
    /// What the pipe can hold.
    pub capacity: usize,
}

/// One of the pipes of a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhichPipe {
    /// The one that stands there now.
    Present,
    /// One of those before, by its place.
    Retired(usize),
}

impl Pipes {
    /// A pipe that nothing stood before.
    pub fn new(present: Fifo) -> Pipes {
        Pipes { capacity: present.capacity().unwrap_or(0), present, retired: Vec::new() }
    }

    /// The one that stands there now.
    pub fn present(&self) -> &Fifo {
        &self.present
    }

    /// Bytes that it can hold.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Whether a writer of the present one would have to wait, where `queued` bytes are in it.
    pub fn is_full(&self, queued: usize) -> bool {
        self.present.is_full(queued, self.capacity).unwrap_or(false)
    }

    /// Asks again how much the present one can hold.
    pub fn measure(&mut self) {
        self.capacity = self.present.capacity().unwrap_or(self.capacity);
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &Fifo> {
        self.retired.iter().map(|old| &old.fifo).chain([&self.present])
    }

    /// The pipe of a [`WhichPipe`].
    pub fn at(&self, source: WhichPipe) -> &Fifo {
        match source {
            WhichPipe::Present => &self.present,
            WhichPipe::Retired(place) => &self.retired[place].fifo,
        }
    }

    /// Which pipe is read next, and how many bytes wait in it.
    pub fn source(&self) -> io::Result<(WhichPipe, usize)> {
        for (place, old) in self.retired.iter().enumerate() {
            let queued = old.fifo.queued()?;
            if queued > 0 {
                return Ok((WhichPipe::Retired(place), queued));
            }
        }
        Ok((WhichPipe::Present, self.present.queued()?))
    }

    /// Bytes that wait in all of them.
    pub fn queued(&self) -> usize {
        self.all().map(|fifo| fifo.queued().unwrap_or(0)).sum()
    }

    /// Another pipe took the place of the one before.
    pub fn replace(&mut self, fifo: Fifo, now: Instant) {
        self.capacity = fifo.capacity().unwrap_or(0);
        let old = std::mem::replace(&mut self.present, fifo);
        // Where it cannot be opened anew, as by a mode that was changed, it is held as it was until its time is over.
        let (fifo, is_read_only) = old.read_only().map_or((old, false), |fifo| (fifo, true));
        self.retired.push(Retired { fifo, until: now + retired_span(), is_read_only });
    }

    /// The present pipe is to go: from here on its last writer can be seen to leave.
    pub fn see_off(&mut self) {
        if let Ok(fifo) = self.present.read_only() {
            self.present = fifo;
        }
    }

    /// Nothing is left in any of them, and nobody is there to write more.
    pub fn are_over(&self) -> bool {
        self.queued() == 0 && self.present.is_abandoned().unwrap_or(false)
    }

    /// The pipe that was to go stays, opened anew as `fifo`.
    pub fn keep(&mut self, fifo: Fifo) {
        self.present = fifo;
    }

    /// The pipe of that identity.
    pub fn find(&self, identity: Identity) -> Option<&Fifo> {
        self.all().find(|fifo| fifo.identity() == identity)
    }

    /// Lets go of replaced pipes that are another lane's now.
    pub fn drop_retired(&mut self, is_taken: impl Fn(Identity) -> bool) {
        self.retired.retain(|old| !is_taken(old.fifo.identity()));
    }

    /// Pipes were replaced and have still to be drained.
    pub fn has_retired(&self) -> bool {
        !self.retired.is_empty()
    }

    /// Lets go of replaced pipes that are empty and that nobody writes to any more, or whose time is over, and of the oldest
    /// where there are more than [`RETIRED_MAX`]. Returns the bytes that went with them.
    pub fn release(&mut self, now: Instant) -> usize {
        let too_many = self.retired.len().saturating_sub(RETIRED_MAX);
        let mut lost = self.retired.drain(..too_many).map(|old| old.fifo.queued().unwrap_or(0)).sum();
        self.retired.retain(|old| {
            let left = old.fifo.queued().unwrap_or(0);
            if now >= old.until {
                lost += left;
                return false;
            }
            left > 0 || !old.is_read_only || !old.fifo.is_abandoned().unwrap_or(true)
        });
        debug_assert!(self.retired.len() <= RETIRED_MAX, "{} pipes of one lane", self.retired.len());
        lost
    }
}
