//! One draining thread: its lanes, its mailbox, and whose turn it is.
//!
//! mio is edge-triggered, so a lane that may have more stays on the ready list until a look says that it is empty;
//! each gets one chunk a round. A lane whose log fails keeps the mailbox and the thread goes on with another: one
//! sick lane delays no other. What a pipe is, and what the program does beside draining, is not known here.

use std::io;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use standpipe_common::clock;
use standpipe_common::error::{Cannot, Error, Result};
use standpipe_common::fifo::{Fifo, Identity};

use crate::agenda::Agenda;
use crate::congestion::Congestion;
use crate::glance::Glance;
use crate::lane::{Halt, Lane, Tools};
use crate::mailbox::Mailbox;
use crate::mailboxes::Mailboxes;
use crate::pace::{self, Next, Pace, Seen};
use crate::recovery::Settled;
use crate::root::Root;
use crate::status::board::Board;

/// How long the last bytes are read after TERM.
const LAST_TURNS_SPAN: Duration = Duration::from_secs(2);
/// How often replaced pipes are looked at.
const RETIRED_LOOK_SPAN: Duration = Duration::from_millis(500);

/// A lane, and when it is looked at.
struct Slot {
    lane: Lane,
    pace: Pace,
    congestion: Congestion,
    registered: bool,
    /// Nobody can write to the pipe any more.
    hung_up: bool,
    /// It is empty and nobody can write to it.
    ended: bool,
}

/// The lanes of one thread.
pub struct Drain {
    root: Root,
    registry: Registry,
    slots: Vec<Slot>,
    agenda: Agenda,
    mailboxes: Mailboxes,
    mailbox: Option<Mailbox>,
    glance: Glance,
    board: Board,
}

impl Drain {
    /// A thread without lanes. Tokens of the poll set from 0 on are lanes.
    pub fn new(root: Root, registry: Registry, mut mailboxes: Mailboxes) -> Result<Drain> {
        let mailbox = Some(mailboxes.take()?);
        let glance = Glance::new().cannot("make", "a pipe to look into others")?;
        let (agenda, board) = (Agenda::new(Instant::now()), Board::make(root.dir()));
        Ok(Drain { root, registry, slots: Vec::new(), agenda, mailboxes, mailbox, glance, board })
    }

    /// The log root.
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// Adds a lane, whose log is opened now. A log that cannot be opened makes it sick, no more. Nothing is read yet.
    pub fn add(&mut self, lane: Lane) -> usize {
        let index = self.push(lane);
        if let Err(error) = self.attach(index) {
            self.fall_sick(index, &error, None);
        }
        index
    }

    /// Adds the only lane, without whose log there is no work.
    pub fn add_only(&mut self, lane: Lane) -> Result<()> {
        let index = self.push(lane);
        self.attach(index)
    }

    /// Settles the chunks that readers before us left. Returns the bytes that went into logs.
    pub fn recover(&mut self, holding: Vec<Mailbox>) -> usize {
        holding.into_iter().map(|mailbox| self.recover_one(mailbox)).sum()
    }

    /// Starts to read: every lane goes into the poll set, which tells of those with bytes.
    pub fn start(&mut self) -> Result<()> {
        for index in 0..self.slots.len() {
            self.begin(index)?;
        }
        Ok(())
    }

    /// Starts to read one lane.
    pub fn begin(&mut self, index: usize) -> Result<()> {
        let name = self.slots[index].lane.name().to_owned();
        self.register(index).cannot("watch pipe", name)?;
        self.note_due(index);
        Ok(())
    }

    /// The pipe at the end of a lane's link is another one now.
    pub fn replace_fifo(&mut self, index: usize, fifo: Fifo, now: Instant) {
        self.deregister(index);
        self.slots[index].lane.pipes_mut().replace(fifo, now);
        self.agenda.wake_at(now + RETIRED_LOOK_SPAN, index);
        if let Err(error) = self.begin(index) {
            log::error!("{error}");
        }
        self.agenda.make_ready(index);
    }

    /// The poll set said something of a lane.
    pub fn on_event(&mut self, index: usize, event: &Event) {
        self.slots[index].hung_up |= event.is_read_closed();
        self.agenda.make_ready(index);
    }

    /// How long the poll set may be waited for.
    pub fn timeout(&self, now: Instant) -> Option<Duration> {
        self.agenda.timeout(now, clock::now_ns())
    }

    /// Does what is due: rotations, ticks, retries, and one round over the ready lanes.
    pub fn work(&mut self, now: Instant) {
        let now_ns = clock::now_ns();
        while let Some(index) = self.agenda.next_due(now_ns) {
            self.rotate(index, now_ns);
        }
        while let Some(index) = self.agenda.next_wake(now) {
            self.wake(index, now);
        }
        for _ in 0..self.agenda.round() {
            if let Some(index) = self.agenda.next_ready() {
                self.turn(index, now);
            }
        }
    }

    /// The pipe of a lane.
    pub fn identity(&self, index: usize) -> Identity {
        self.slots[index].lane.pipes().present().identity()
    }

    /// Asks every lane for a rotation.
    pub fn ask_rotation(&mut self) {
        let now_ns = clock::now_ns();
        for index in 0..self.slots.len() {
            self.slots[index].lane.ask_rotation();
            self.rotate(index, now_ns);
        }
    }

    /// Asks one lane for a rotation. `false`: there is none of that name.
    pub fn ask_rotation_of(&mut self, name: &std::ffi::OsStr) -> bool {
        let Some(index) = self.slots.iter().position(|slot| slot.lane.name() == name) else { return false };
        self.slots[index].lane.ask_rotation();
        self.rotate(index, clock::now_ns());
        true
    }

    /// Whether a lane's input is at its end.
    pub fn has_ended(&self, index: usize) -> bool {
        self.slots[index].ended
    }

    /// Ends a lane's part, at the end of its input.
    pub fn seal(&mut self, index: usize) -> Result<()> {
        self.slots[index].lane.seal(clock::now_ns())
    }

    /// Before the exit: takes what the pipes hold now, for a limited time, and says what is left in them.
    pub fn finish(&mut self) {
        let deadline = Instant::now() + LAST_TURNS_SPAN;
        for index in 0..self.slots.len() {
            let mut left = self.slots[index].lane.pipes().queued();
            while left > 0 && Instant::now() < deadline {
                let taken = self.turn(index, Instant::now());
                left = if taken == 0 { 0 } else { left.saturating_sub(taken) };
            }
        }
        for slot in &self.slots {
            let left = slot.lane.pipes().queued();
            if left > 0 {
                log::info!("{}: {left} bytes stay in the pipe", slot.lane.name().display());
            }
        }
    }

    fn push(&mut self, mut lane: Lane) -> usize {
        lane.set_gauge(self.board.slot(lane.name()));
        let (pace, congestion) = (Pace::Quiet, Congestion::default());
        self.slots.push(Slot { lane, pace, congestion, registered: false, hung_up: false, ended: false });
        self.agenda.add()
    }

    fn wake(&mut self, index: usize, now: Instant) {
        let lane = &mut self.slots[index].lane;
        if lane.pipes().has_retired() {
            let lost = lane.pipes_mut().release(now);
            if lost > 0 {
                log::error!("{}: {lost} bytes went with the pipe that was replaced", lane.name().display());
            }
            self.agenda.wake_at(now + RETIRED_LOOK_SPAN, index);
        }
        self.agenda.make_ready(index);
    }

    /// One turn of a lane, and what comes next. Returns the bytes taken.
    fn turn(&mut self, index: usize, now: Instant) -> usize {
        if !self.is_fit(index, now) {
            self.look(index, now);
            return 0;
        }
        let Some(mut mailbox) = self.take_mailbox(index) else { return 0 };
        let slot = &mut self.slots[index];
        let asks = slot.pace != Pace::Quiet || slot.congestion.asks(slot.lane.pipes().capacity(), now);
        let full = asks && slot.lane.pipes().present().is_full().unwrap_or(false);
        let mut tools = Tools { mailbox: &mut mailbox, glance: &mut self.glance, now_ns: clock::now_ns() };
        let done = slot.lane.turn(&mut tools);
        let turn = match done {
            Ok(turn) => turn,
            Err(Halt::Before(error)) => {
                self.mailbox = Some(mailbox);
                self.fall_sick(index, &error, None);
                return 0;
            }
            Err(Halt::Holding(error)) => {
                self.fall_sick(index, &error, Some(mailbox));
                return 0;
            }
        };
        self.mailbox = Some(mailbox);
        slot.lane.be_well();
        slot.ended = slot.hung_up && turn.queued == 0;
        let look_at = slot.congestion.after_turn(&slot.lane, turn.queued, full, now);
        self.agenda.wake_at(look_at, index);
        let seen = Seen { queued: turn.queued, full, capacity: slot.lane.pipes().capacity() };
        let (pace, next) = pace::after(slot.pace, seen, now);
        slot.pace = pace;
        self.follow(index, next, now);
        self.note_due(index);
        turn.taken
    }

    fn follow(&mut self, index: usize, next: Next, now: Instant) {
        match next {
            Next::Again => self.agenda.make_ready(index),
            Next::Tick => {
                self.deregister(index);
                let tick = self.slots[index].lane.settings().tick;
                self.agenda.wake_at_tick(now, tick, index);
            }
            Next::Wait => {
                if let Err(error) = self.register(index) {
                    let name = self.slots[index].lane.name().to_owned();
                    self.fall_sick(index, &Error::new("watch pipe", name, error), None);
                }
            }
        }
    }

    fn take_mailbox(&mut self, index: usize) -> Option<Mailbox> {
        if let Some(mailbox) = self.mailbox.take() {
            return Some(mailbox);
        }
        match self.mailboxes.take() {
            Ok(mailbox) => Some(mailbox),
            Err(error) => {
                self.fall_sick(index, &error, None);
                None
            }
        }
    }

    fn fall_sick(&mut self, index: usize, error: &Error, holding: Option<Mailbox>) {
        let now = Instant::now();
        let lane = &mut self.slots[index].lane;
        lane.fall_sick(error, holding, now);
        self.agenda.wake_at(lane.retry_at(), index);
        self.look(index, now);
    }

    /// Looks at the pipe of a lane that is not read, now and then.
    fn look(&mut self, index: usize, now: Instant) {
        let slot = &mut self.slots[index];
        self.agenda.wake_at(slot.congestion.look(&slot.lane, now), index);
    }

    /// Whether a lane may have a turn: it is well, or it is time to try again and what failed before works now.
    fn is_fit(&mut self, index: usize, now: Instant) -> bool {
        match self.slots[index].lane.retry_at() {
            None => return true,
            Some(at) if at > now => return false,
            Some(_) => {}
        }
        match self.attach(index).and_then(|()| self.slots[index].lane.settle_held()) {
            Ok(held) => {
                if let Some((mailbox, settled)) = held {
                    self.put_away(mailbox, settled);
                }
                true
            }
            Err(error) => {
                self.fall_sick(index, &error, None);
                false
            }
        }
    }

    fn attach(&mut self, index: usize) -> Result<()> {
        let lane = &mut self.slots[index].lane;
        if lane.log().is_some() {
            return Ok(());
        }
        let dir = self.root.lane_dir(lane.name())?;
        lane.attach(dir, self.root.boot(), clock::now_ns())
    }

    fn recover_one(&mut self, mut mailbox: Mailbox) -> usize {
        let Some(record) = mailbox.record() else { return self.set_aside(mailbox, "its record is damaged") };
        let index = self.slots.iter().position(|slot| slot.lane.name() == record.lane);
        let settled = match index {
            Some(index) => self.slots[index].lane.settle(&mut mailbox),
            None => self.root.settle_without_lane(&mut mailbox, &record),
        };
        match settled {
            Ok(settled) => self.put_away(mailbox, settled),
            Err(error) => {
                match index {
                    Some(index) => self.fall_sick(index, &error, Some(mailbox)),
                    None => log::error!("{error}; {} waits for the next start", mailbox.name()),
                }
                0
            }
        }
    }

    /// A settled mailbox serves again, or is set aside. Returns the bytes that went from it into the log.
    fn put_away(&mut self, mailbox: Mailbox, settled: Settled) -> usize {
        match settled {
            Settled::Recovered(bytes) => {
                self.mailboxes.give_back(mailbox);
                bytes
            }
            Settled::Misfit(reason) => self.set_aside(mailbox, &reason),
        }
    }

    fn set_aside(&self, mailbox: Mailbox, reason: &str) -> usize {
        let name = mailbox.name().to_owned();
        drop(mailbox);
        if let Err(error) = self.mailboxes.set_aside(&name, reason) {
            log::error!("{error}");
        }
        0
    }

    /// What cannot be rotated now is noted again after the lane's next turn.
    fn rotate(&mut self, index: usize, now_ns: i64) {
        if let Err(error) = self.slots[index].lane.on_time(now_ns) {
            self.fall_sick(index, &error, None);
        }
        let due_ns = self.slots[index].lane.due_ns();
        self.agenda.set_due(index, due_ns.filter(|due_ns| *due_ns > now_ns));
    }

    fn note_due(&mut self, index: usize) {
        let due_ns = self.slots[index].lane.due_ns();
        self.agenda.set_due(index, due_ns);
    }

    fn register(&mut self, index: usize) -> io::Result<()> {
        let slot = &mut self.slots[index];
        if !slot.registered {
            for fd in slot.lane.pipes().all().map(AsRawFd::as_raw_fd) {
                self.registry.register(&mut SourceFd(&fd), Token(index), Interest::READABLE)?;
            }
            slot.registered = true;
        }
        Ok(())
    }

    fn deregister(&mut self, index: usize) {
        let slot = &mut self.slots[index];
        if slot.registered {
            for fd in slot.lane.pipes().all().map(AsRawFd::as_raw_fd) {
                self.registry.deregister(&mut SourceFd(&fd)).ok();
            }
            slot.registered = false;
        }
    }
}
