//! The lanes of one thread by number, each with what is known of it beside its log.
//!
//! A number is a lane's token in the poll set and its place on the agenda. That of a lane that left is given to the
//! next one that comes, so whoever has a number from an event or a moment asks first whether somebody has it.

use std::io;
use std::ops::{Index, IndexMut};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};

use crate::congestion::Congestion;
use crate::lane::Lane;
use crate::pace::Pace;

/// A lane without bytes for so long rests.
const REST_SPAN: Duration = Duration::from_secs(3);

/// How often pipes that are to go are looked at.
const RETIRED_LOOK_SPAN: Duration = Duration::from_millis(500);

/// A lane, and when it is looked at.
#[derive(Debug)]
pub struct Slot {
    /// Who has the number, until it has left.
    pub lane: Lane,
    /// How it is looked at.
    pub pace: Pace,
    /// Whether its pipe is full for too long.
    pub congestion: Congestion,
    /// Nobody can write to the pipe any more.
    pub hung_up: bool,
    /// It is empty and nobody can write to it.
    pub ended: bool,
    /// When bytes were taken last.
    active: Instant,
    /// It was noted to look then whether the lane may rest.
    rest_at: Option<Instant>,
    /// Its link is gone; then it goes at the latest.
    leaving: Option<Instant>,
    /// It was noted to look then at pipes that are to go.
    look_at: Option<Instant>,
    registered: bool,
}

impl Slot {
    fn new(lane: Lane, now: Instant) -> Slot {
        Slot {
            lane,
            pace: Pace::Quiet,
            congestion: Congestion::default(),
            hung_up: false,
            ended: false,
            active: now,
            rest_at: None,
            leaving: None,
            look_at: None,
            registered: false,
        }
    }

    /// Bytes were taken.
    pub fn be_active(&mut self, now: Instant) {
        self.active = now;
    }

    /// Notes when to look whether the lane may rest. `None`: that is noted already, or it rests.
    pub fn note_rest(&mut self, now: Instant) -> Option<Instant> {
        if self.rest_at.is_some() || !self.lane.is_awake() {
            return None;
        }
        self.rest_at = Some((self.active + REST_SPAN).max(now + REST_SPAN / 4));
        self.rest_at
    }

    /// Lets the lane rest if that was noted for now. Returns when to look again, if it has been busy meanwhile.
    pub fn rest_if_quiet(&mut self, now: Instant) -> Option<Instant> {
        if self.rest_at.is_none_or(|at| at > now) {
            return None;
        }
        self.rest_at = None;
        let quiet = now >= self.active + REST_SPAN;
        if quiet && self.lane.rest() { None } else { self.note_rest(now) }
    }

    /// The lane's link is gone: it is drained until `until` at the latest.
    pub fn leave(&mut self, until: Instant) {
        self.leaving = Some(until);
    }

    /// The lane's link is there again.
    pub fn stay(&mut self) {
        self.leaving = None;
    }

    /// When the lane goes at the latest, if its link is gone.
    pub fn leaving(&self) -> Option<Instant> {
        self.leaving
    }

    /// Notes when to look at pipes that are to go. `None`: that is noted already.
    pub fn note_look(&mut self, now: Instant) -> Option<Instant> {
        if self.look_at.is_some_and(|at| at > now) {
            return None;
        }
        self.look_at = Some(now + RETIRED_LOOK_SPAN);
        self.look_at
    }

    /// Puts its pipes into the poll set, if they are not there.
    pub fn register(&mut self, registry: &Registry, index: usize) -> io::Result<()> {
        if !self.registered {
            for fd in self.lane.pipes().all().map(AsRawFd::as_raw_fd) {
                registry.register(&mut SourceFd(&fd), Token(index), Interest::READABLE)?;
            }
            self.registered = true;
        }
        Ok(())
    }

    /// Takes its pipes out of the poll set.
    pub fn deregister(&mut self, registry: &Registry) {
        if self.registered {
            for fd in self.lane.pipes().all().map(AsRawFd::as_raw_fd) {
                registry.deregister(&mut SourceFd(&fd)).ok();
            }
            self.registered = false;
        }
    }
}

/// All lanes of a thread.
#[derive(Debug, Default)]
pub struct Slots {
    slots: Vec<Option<Slot>>,
    free: Vec<usize>,
}

impl Slots {
    /// Takes in a lane. Its number.
    pub fn add(&mut self, lane: Lane, now: Instant) -> usize {
        let slot = Some(Slot::new(lane, now));
        if let Some(index) = self.free.pop() {
            debug_assert!(self.slots[index].is_none(), "number {index} is free and has a lane");
            self.slots[index] = slot;
            return index;
        }
        self.slots.push(slot);
        self.slots.len() - 1
    }

    /// Gives away a lane, and its number with it.
    pub fn remove(&mut self, index: usize) -> Option<Slot> {
        let slot = self.slots[index].take();
        if slot.is_some() {
            self.free.push(index);
        }
        slot
    }

    /// Whether a lane has this number.
    pub fn has(&self, index: usize) -> bool {
        self.slots.get(index).is_some_and(Option::is_some)
    }

    /// Numbers of all lanes.
    pub fn numbers(&self) -> Vec<usize> {
        debug_assert_eq!(self.iter().count() + self.free.len(), self.slots.len(), "a number is given or free");
        (0..self.slots.len()).filter(|index| self.has(*index)).collect()
    }

    /// Every lane that has a number.
    pub fn iter(&self) -> impl Iterator<Item = &Slot> {
        self.slots.iter().flatten()
    }
}

impl Index<usize> for Slots {
    type Output = Slot;

    fn index(&self, index: usize) -> &Slot {
        self.slots[index].as_ref().expect("a lane has this number")
    }
}

impl IndexMut<usize> for Slots {
    fn index_mut(&mut self, index: usize) -> &mut Slot {
        self.slots[index].as_mut().expect("a lane has this number")
    }
}
