//! A lane whose log cannot be written: it is not read, keeps its chunk, and tries again with growing waits.

use std::time::{Duration, Instant};

use standpipe_common::error::{Error, Result};
use standpipe_common::retry::Retry;

use super::{Lane, no_log};
use crate::mailbox::Mailbox;
use crate::recovery::{self, Settled};
use crate::status::format::Step;
use crate::title;

/// The wait for room: the archiver has been asked to make some, and a try costs little.
const ROOM_SPAN: Duration = Duration::from_millis(500);
/// The same while the archiver needs what there is.
const CLAIM_SPAN: Duration = Duration::from_millis(50);

/// A failure that lasts.
#[derive(Debug)]
pub(super) struct Sick {
    retry: Retry,
    /// What it waits for is room.
    lacks_room: bool,
    /// The mailbox with the chunk that could not be put.
    holding: Option<Mailbox>,
}

impl Lane {
    /// When it is worth trying again. `None`: it is well.
    pub fn retry_at(&self) -> Option<Instant> {
        self.sick.as_ref()?.retry.due()
    }

    /// Waits on if it waits for room that the archiver needs first; `false`: it does not.
    pub fn leaves_room(&mut self, now: Instant) -> bool {
        let waits_on = |sick: &&mut Sick| sick.lacks_room && self.queue.is_room_claimed();
        self.sick.as_mut().filter(waits_on).map(|sick| sick.retry.put_off(now + CLAIM_SPAN)).is_some()
    }

    /// A chunk waits to be put; until then the part must stay as it is.
    pub fn holds_chunk(&self) -> bool {
        self.sick.as_ref().is_some_and(|sick| sick.holding.is_some())
    }

    /// Stops being read for a while; `holding` is the mailbox with the chunk that could not be put. Said once, however
    /// often it is tried again.
    pub fn fall_sick(&mut self, error: &Error, holding: Option<Mailbox>, now: Instant) {
        debug_assert!(holding.is_none() || !self.holds_chunk(), "two chunks are in flight");
        let before = self.sick.take();
        if before.is_none() {
            log::error!("{error}; not reading {} until this is fixed", title::of(&self.name));
            self.gauge.failed(Step::Drain);
        }
        let mut retry = match &before {
            _ if error.is_no_room() => Retry::new(ROOM_SPAN, ROOM_SPAN),
            Some(sick) if !sick.lacks_room => sick.retry,
            _ => Retry::default(),
        };
        if error.is_no_room() {
            self.queue.ask_room(&self.name);
        }
        self.gauge.sick(error, retry.failed(now));
        let holding = holding.or(before.and_then(|sick| sick.holding));
        if holding.is_none() {
            // The next try begins with the log directory as it is then: this one may have been removed.
            self.log = None;
        }
        self.sick = Some(Sick { retry, lacks_room: error.is_no_room(), holding });
    }

    /// Tries again to put the chunk that is held. Gives back its mailbox, settled.
    pub fn settle_held(&mut self) -> Result<Option<(Mailbox, Settled)>> {
        let Some(mut mailbox) = self.sick.as_mut().and_then(|sick| sick.holding.take()) else { return Ok(None) };
        match self.settle(&mut mailbox) {
            Ok(settled) => {
                if self.told.is_none() || matches!(settled, Settled::Misfit(_)) {
                    // It writes in another way meanwhile, or the segment is not what it was.
                    self.log = None;
                }
                Ok(Some((mailbox, settled)))
            }
            Err(error) => {
                if let Some(sick) = &mut self.sick {
                    sick.holding = Some(mailbox);
                }
                Err(error)
            }
        }
    }

    /// A turn went well.
    pub fn be_well(&mut self) {
        if self.sick.take().is_some() {
            self.gauge.well();
            log::info!("{}: recovered; reading again", title::of(&self.name));
        }
    }

    /// Settles a chunk that a reader before us left in `mailbox`.
    pub fn settle(&mut self, mailbox: &mut Mailbox) -> Result<Settled> {
        let log = self.log.as_mut().ok_or_else(|| no_log(&self.name))?;
        let fifo = mailbox.record().and_then(|record| self.pipes.find(record.fifo));
        recovery::settle(mailbox, log, fifo)
    }
}
