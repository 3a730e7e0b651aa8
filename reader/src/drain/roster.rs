//! The lanes of a thread that come, change and go, and the chunks that readers before us left for them.
//!
//! A lane that leaves is drained to its end first and its part is sealed; one whose pipe another link leads to goes at
//! once, so that no pipe has two lanes.

use std::collections::HashMap;
use std::ffi::OsString;
use std::sync::Arc;
use std::time::Instant;

use standpipe_common::error::{Cannot, Error, Result};
use standpipe_common::fifo::{Fifo, Identity, retired_span};
use standpipe_common::shown::{Shown as _, counted};

use super::Drain;
use crate::lane::Lane;
use crate::mailbox::Mailbox;
use crate::settings::Settings;

impl Drain {
    /// Adds a lane, whose log is opened now. A log that cannot be opened makes it sick, no more. Nothing is read yet.
    pub fn add(&mut self, lane: Lane) -> usize {
        let index = self.push(lane);
        self.rouse(index);
        index
    }

    /// Adds the only lane, without whose log there is no work, unless it may be had once there is room.
    pub fn add_only(&mut self, lane: Lane) -> Result<()> {
        let index = self.push(lane);
        match self.attach(index) {
            Err(error) if error.is_no_room() => {
                self.fall_sick(index, &error, None);
                Ok(())
            }
            attached => attached,
        }
    }

    /// Settles the chunks that readers before us left. Returns the bytes that went into logs.
    pub fn recover(&mut self, holding: Vec<Mailbox>) -> usize {
        holding.into_iter().map(|mailbox| self.recover_one(mailbox)).sum()
    }

    /// Starts to read: every lane goes into the poll set, which tells of those with bytes.
    pub fn start(&mut self) -> Result<()> {
        for index in self.slots.numbers() {
            self.begin(index)?;
        }
        Ok(())
    }

    /// Starts to read one lane.
    pub fn begin(&mut self, index: usize) -> Result<()> {
        let name = self.slots[index].lane.name().to_owned();
        self.slots[index].register(&self.registry, index).cannot("watch pipe", name)?;
        self.slots[index].lane.rest();
        Ok(())
    }

    /// The pipe at the end of a lane's link is another one now.
    pub fn replace_fifo(&mut self, index: usize, fifo: Fifo, now: Instant) {
        self.slots[index].deregister(&self.registry);
        self.slots[index].lane.pipes_mut().replace(fifo, now);
        self.agenda.wake_at(now, index);
        if let Err(error) = self.begin(index) {
            log::error!("{error}");
        }
        self.agenda.make_ready(index);
    }

    /// Of the pipes that a lane had before, those that are another lane's now are no longer read for it.
    pub fn drop_retired(&mut self, index: usize, is_taken: impl Fn(Identity) -> bool) {
        self.slots[index].lane.pipes_mut().drop_retired(is_taken);
    }

    /// A lane writes in another way from here on.
    pub fn change(&mut self, index: usize, settings: Arc<Settings>) {
        self.slots[index].lane.change(settings);
        self.rouse(index);
        self.note_rest(index, Instant::now());
    }

    /// A lane's link is gone. It is drained until it is empty and nobody writes to it any more, for a limited time; at
    /// once if its pipe `is_taken` by another lane. Then its part is sealed.
    pub fn leave(&mut self, index: usize, is_taken: bool, now: Instant) {
        let slot = &mut self.slots[index];
        slot.deregister(&self.registry);
        if is_taken {
            self.say_goodbye(index);
            return;
        }
        slot.lane.pipes_mut().see_off();
        slot.leave(now + retired_span());
        if let Err(error) = slot.register(&self.registry, index) {
            log::error!("{}", Error::new("watch pipe", slot.lane.name(), error));
        }
        self.agenda.wake_at(now, index);
    }

    /// Lanes that are about to leave, by name.
    pub fn leaving(&self) -> HashMap<OsString, usize> {
        let leaving = |index: &usize| self.slots[*index].leaving().is_some();
        let name = |index: usize| (self.slots[index].lane.name().to_owned(), index);
        self.slots.numbers().into_iter().filter(leaving).map(name).collect()
    }

    /// The link of a lane that was about to leave is there again, and leads to `fifo`.
    pub fn come_back(&mut self, index: usize, fifo: Fifo, now: Instant) {
        let slot = &mut self.slots[index];
        slot.stay();
        if slot.lane.pipes().present().identity() != fifo.identity() {
            self.replace_fifo(index, fifo, now);
            return;
        }
        slot.deregister(&self.registry);
        slot.lane.pipes_mut().keep(fifo);
        if let Err(error) = self.begin(index) {
            log::error!("{error}");
        }
        self.agenda.make_ready(index);
    }

    /// Ends a lane whose time has come.
    pub(super) fn say_goodbye(&mut self, index: usize) {
        let sealed = if self.slots[index].lane.holds_chunk() { Ok(()) } else { self.seal(index) };
        if let Err(error) = sealed {
            log::error!("{error}");
        }
        self.agenda.set_due(index, None);
        let Some(mut slot) = self.slots.remove(index) else { return };
        slot.deregister(&self.registry);
        self.board.release(slot.lane.gauge());
        slot.lane.queue().forget(slot.lane.name());
        let name = slot.lane.name().shown();
        match slot.lane.pipes().queued() {
            0 => log::info!("{name}: link removed; stopped reading it"),
            left if slot.leaving().is_some() => {
                self.board.lost(left);
                log::error!("{name}: link removed; lost {} left in its pipe", counted(left as u64, "byte"));
            }
            _ => log::info!("{name}: its FIFO is now used by another link"),
        }
        if slot.lane.holds_chunk() {
            log::error!("{name}: cannot write its last bytes now; they will be written at the next start");
        }
    }

    fn push(&mut self, mut lane: Lane) -> usize {
        lane.set_gauge(self.board.slot(lane.name()));
        let index = self.slots.add(lane, Instant::now());
        self.agenda.add(index);
        index
    }

    fn recover_one(&mut self, mut mailbox: Mailbox) -> usize {
        let Some(record) = mailbox.record() else { return self.set_aside(mailbox, "its record is damaged") };
        let index = self.find(&record.lane);
        let settled = match index {
            Some(index) => self.attach(index).and_then(|()| self.slots[index].lane.settle(&mut mailbox)),
            None => self.root.settle_without_lane(&mut mailbox, &record),
        };
        match settled {
            Ok(settled) => self.put_away(mailbox, settled),
            Err(error) => {
                match index {
                    Some(index) => self.fall_sick(index, &error, Some(mailbox)),
                    None => log::error!("{error}; trying {} again at the next start", mailbox.name()),
                }
                0
            }
        }
    }
}
