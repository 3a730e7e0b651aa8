//! Delivery into a FIFO, exactly once across `kill -9`.
//!
//! A write into a pipe says how much it took only to the process that made it: who dies before it could note that does
//! not know what arrived. So the bytes go through a second pipe, the *staging pipe*, which the holder keeps alive: they
//! are written into it while a mapped record says so, and moved from there into the target by `splice(2)`, which takes
//! them out of the one and puts them into the other in one step of the kernel. What is left in the staging pipe is
//! what is not delivered, whoever is dead.
//!
//! | room | what it has |
//! |---|---|
//! | [`gather`] | which run of a block came from which generation |
//! | [`heads`] | what generations begin with |
//! | [`pieces`] | cutting a block where no other writer can tear it |
//! | [`record`], [`slots`], [`mod@file`] | the mapped record, its table of positions, its file |
//! | [`positions`] | which generation has which slot of it |
//! | [`decide`] | the table of what to do next |
//! | [`verify`] | whether the staging pipe has what the record says |
//! | [`steps`] | doing it, one repeatable step at a time |
//! | [`target`] | the two pipes: opening, permissions, system calls |
//! | [`reach`] | the same again and again, until they can be had |
//! | [`deliver`] | when: the output that the program sees |
//! | [`retry`], [`message`] | what fails for a while, what is to be said |
//!
//! Without a staging pipe the same blocks go by `write(2)` straight into the target, and a crash may repeat one piece.

pub mod decide;
pub mod deliver;
pub mod file;
pub mod gather;
pub mod heads;
pub mod message;
pub mod pieces;
pub mod positions;
pub mod reach;
pub mod record;
pub mod retry;
pub mod slots;
pub mod steps;
pub mod target;
pub mod verify;

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use standpipe_common::error::Result;
use standpipe_common::shown::counted;
use xxhash_rust::xxh3::xxh3_64;

use self::decide::BlockPhase;
use self::deliver::OpenLine;
use self::file::{RecordFile, Setting};
use self::gather::Runs;
use self::message::Messages;
pub use self::message::{Message, Severity};
use self::positions::Positions;
use self::reach::Reach;
use self::record::AREA_BYTES;
pub use self::slots::Position;
use self::steps::Steps;
use crate::checkpoint::durable::Flow;
use crate::file::identity::Origin;
use crate::out::output::{Delivered, RightOfWay};

/// The bytes that UTF-8 never has: one of them is the canary.
const NEVER_IN_TEXT: [u8; 13] = [0xC0, 0xC1, 0xF5, 0xF6, 0xF7, 0xF8, 0xF9, 0xFA, 0xFB, 0xFC, 0xFD, 0xFE, 0xFF];

/// One target FIFO and all that is on its way into it.
#[derive(Debug)]
pub struct Stage {
    reach: Reach,
    positions: Positions,
    steps: Steps,
    said: Messages,
    /// What is being filled.
    gathered: Runs,
    /// `None`: none, or one that an earlier run began.
    in_flight: Option<InFlight>,
    /// The line that is not finished: what is no part of it begins one.
    open: Option<OpenLine>,
    way: RightOfWay,
    /// Until when a long line waits for an empty target.
    long_until: Option<Instant>,
    is_hurried: bool,
    /// Bytes that this run delivered.
    delivered: u64,
}

/// A block in flight that this run began.
#[derive(Debug)]
struct InFlight {
    bytes: usize,
    /// What will be delivered with it.
    delivers: Vec<Delivered>,
}

impl Stage {
    /// The stage of the target at `path`, with its record beside the state file `state`. What a killed process left
    /// on its way is delivered in the turns that follow, before anything else.
    ///
    /// # Errors
    /// The record cannot be made.
    pub fn open(path: &Path, state: &Path, boot: &str, now_ns: i64) -> Result<Stage> {
        let record_path = record_path(path, state);
        let mut said = Messages::about(path);
        let setting = Setting { boot, now_ns, area_bytes: AREA_BYTES };
        let positions = Positions::of(RecordFile::open(&record_path, setting, &mut said)?);
        let record = positions.record();
        let word = record.word();
        if word.phase() == BlockPhase::Direct {
            let bytes = pieces::next(&record.block()[record.moved()..]);
            let bytes = counted(bytes as u64, "byte");
            said.warning(format!("without a staging pipe, up to {bytes} may be repeated"));
        }
        Ok(Stage {
            reach: Reach::new(path),
            steps: Steps::new(canary_of(&record_path)),
            said,
            gathered: Runs::new(word.other_area()),
            in_flight: None,
            open: OpenLine::left_in(record),
            way: RightOfWay::default(),
            long_until: None,
            is_hurried: false,
            delivered: 0,
            positions,
        })
    }

    /// How far every generation that ever came here is delivered; what is on its way counts, for it will arrive.
    pub fn positions(&self) -> Vec<Position> {
        self.positions.record().positions()
    }

    /// The same without what is on its way.
    pub fn delivered_positions(&self) -> Vec<Position> {
        self.positions.record().delivered_positions()
    }

    /// Whether what a killed process left on its way did not arrive yet.
    pub fn is_recovering(&self) -> bool {
        self.in_flight.is_none() && self.positions.record().word().end() > 0
    }

    /// How much went into the target, and how much of it is there no more: what others put into it counts as ours.
    pub fn flow(&self) -> Flow {
        let queued = self.reach.target.queued();
        let taken = queued.map_or(0, |queued| self.delivered.saturating_sub(queued as u64));
        Flow { delivered: self.delivered, taken }
    }

    /// How many generations have a position here.
    pub fn slot_count(&self) -> usize {
        self.positions.count()
    }

    /// How many pipes it will open that are not open: target and staging pipe, which may not be there.
    pub fn pipes_to_open(&self) -> usize {
        if self.reach.target.raw_fd().is_none() { 2 } else { 0 }
    }

    /// Forgets the positions of all generations but these (and those on their way). To be called when a durable
    /// checkpoint says that the others are done with.
    pub fn retain(&mut self, origins: &[Origin]) {
        self.positions.retain(origins);
    }

    /// Forgets the positions of these generations, which are delivered and gone for good.
    pub fn forget(&mut self, origins: &[Origin]) {
        self.positions.forget(origins);
    }

    /// What is to be said since the last time.
    pub fn take_messages(&mut self) -> Vec<Message> {
        self.said.take()
    }
}

/// Where the record of a target is: beside the state file.
pub fn record_path(target: &Path, state: &Path) -> PathBuf {
    let absolute = std::path::absolute(target).unwrap_or_else(|_| target.to_path_buf());
    let mut name = OsString::from(state);
    name.push(format!(".stage-{:016x}", xxh3_64(absolute.as_os_str().as_bytes())));
    name.into()
}

/// The canary of a record: with it what another tailer, with another state, left in the staging pipe is not taken for
/// our own.
fn canary_of(record: &Path) -> u8 {
    let absolute = std::path::absolute(record).unwrap_or_else(|_| record.to_path_buf());
    NEVER_IN_TEXT[(xxh3_64(absolute.as_os_str().as_bytes()) % NEVER_IN_TEXT.len() as u64) as usize]
}

#[cfg(test)]
mod simulation;
