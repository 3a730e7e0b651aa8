//! One draining thread: its lanes, its mailbox, and whose turn it is.
//!
//! mio is edge-triggered, so a lane that may have more stays on the ready list until a look says that it is empty;
//! each gets one chunk a round. A lane whose log fails keeps the mailbox and the thread goes on with another: one
//! sick lane delays no other. What a pipe is, and what the program does beside draining, is not known here.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, VecDeque};
use std::io;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use standpipe_common::clock;
use standpipe_common::error::{Cannot, Error, Result};
use standpipe_common::fifo::{Fifo, Identity};

use crate::glance::Glance;
use crate::lane::{Halt, Lane, Tools};
use crate::mailbox::Mailbox;
use crate::mailboxes::Mailboxes;
use crate::pace::{self, Next, Pace, Seen};
use crate::recovery::Settled;
use crate::root::Root;

/// How long the last bytes are read after TERM.
const LAST_TURNS_SPAN: Duration = Duration::from_secs(2);
/// How often replaced pipes are looked at.
const RETIRED_LOOK_SPAN: Duration = Duration::from_millis(500);

/// A lane, and when it is looked at.
#[allow(clippy::struct_excessive_bools)] // Four facts that come and go each on its own.
struct Slot {
    lane: Lane,
    pace: Pace,
    registered: bool,
    is_ready: bool,
    /// Where its part stands in `dues`.
    due_ns: Option<i64>,
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
    ready: VecDeque<usize>,
    /// Lanes to be looked at at a moment: ticks, retries, replaced pipes.
    wakes: BinaryHeap<Reverse<(Instant, usize)>>,
    /// Parts that are due by the clock.
    dues: BTreeSet<(i64, usize)>,
    mailboxes: Mailboxes,
    mailbox: Option<Mailbox>,
    glance: Glance,
    started: Instant,
}

impl Drain {
    /// A thread without lanes. Tokens of the poll set from 0 on are lanes.
    pub fn new(root: Root, registry: Registry, mut mailboxes: Mailboxes) -> Result<Drain> {
        let mailbox = Some(mailboxes.take()?);
        let glance = Glance::new().cannot("make", "a pipe to look into others")?;
        Ok(Drain {
            root,
            registry,
            slots: Vec::new(),
            ready: VecDeque::new(),
            wakes: BinaryHeap::new(),
            dues: BTreeSet::new(),
            mailboxes,
            mailbox,
            glance,
            started: Instant::now(),
        })
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
        let lane = &mut self.slots[index].lane;
        if let Err(error) = lane.replace_fifo(fifo, now) {
            log::error!("{error}");
        }
        self.wakes.push(Reverse((now + RETIRED_LOOK_SPAN, index)));
        if let Err(error) = self.begin(index) {
            log::error!("{error}");
        }
        self.make_ready(index);
    }

    /// The poll set said something of a lane.
    pub fn on_event(&mut self, index: usize, event: &Event) {
        self.slots[index].hung_up |= event.is_read_closed();
        self.make_ready(index);
    }

    /// How long the poll set may be waited for.
    pub fn timeout(&self, now: Instant) -> Option<Duration> {
        if !self.ready.is_empty() {
            return Some(Duration::ZERO);
        }
        let wake = self.wakes.peek().map(|Reverse((at, _))| at.saturating_duration_since(now));
        let due = self.dues.first().map(|(due_ns, _)| {
            let left = u64::try_from(due_ns.saturating_sub(clock::now_ns())).unwrap_or(0);
            // A millisecond more, for the poll set counts in those.
            Duration::from_nanos(left) + Duration::from_millis(1)
        });
        wake.into_iter().chain(due).min()
    }

    /// Does what is due: rotations, ticks, retries, and one round over the ready lanes.
    pub fn work(&mut self, now: Instant) {
        self.rotate_due(clock::now_ns());
        while let Some(Reverse((_, index))) = self.wakes.peek().filter(|Reverse((at, _))| *at <= now).copied() {
            self.wakes.pop();
            self.wake(index, now);
        }
        for _ in 0..self.ready.len() {
            let Some(index) = self.ready.pop_front() else { break };
            self.slots[index].is_ready = false;
            self.turn(index, now);
        }
    }

    /// The pipe of a lane.
    pub fn identity(&self, index: usize) -> Identity {
        self.slots[index].lane.fifo().identity()
    }

    /// Asks every lane for a rotation.
    pub fn ask_rotation(&mut self) {
        let now_ns = clock::now_ns();
        for index in 0..self.slots.len() {
            self.slots[index].lane.ask_rotation();
            self.rotate(index, now_ns);
        }
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
            let mut left = self.slots[index].lane.queued();
            while left > 0 && Instant::now() < deadline {
                let taken = self.turn(index, Instant::now());
                left = if taken == 0 { 0 } else { left.saturating_sub(taken) };
            }
        }
        for slot in &self.slots {
            let left = slot.lane.queued();
            if left > 0 {
                log::info!("{}: {left} bytes stay in the pipe", slot.lane.name().display());
            }
        }
    }

    fn push(&mut self, lane: Lane) -> usize {
        self.slots.push(Slot {
            lane,
            pace: Pace::Quiet,
            registered: false,
            is_ready: false,
            due_ns: None,
            hung_up: false,
            ended: false,
        });
        self.slots.len() - 1
    }

    fn wake(&mut self, index: usize, now: Instant) {
        let lane = &mut self.slots[index].lane;
        if lane.has_retired() {
            lane.release_retired(now);
            self.wakes.push(Reverse((now + RETIRED_LOOK_SPAN, index)));
        }
        self.make_ready(index);
    }

    fn make_ready(&mut self, index: usize) {
        let slot = &mut self.slots[index];
        if !slot.is_ready {
            slot.is_ready = true;
            self.ready.push_back(index);
        }
    }

    /// One turn of a lane, and what comes next. Returns the bytes taken.
    fn turn(&mut self, index: usize, now: Instant) -> usize {
        if !self.is_fit(index, now) {
            return 0;
        }
        let Some(mut mailbox) = self.take_mailbox(index) else { return 0 };
        let slot = &mut self.slots[index];
        let full = slot.pace != Pace::Quiet && slot.lane.fifo().is_full().unwrap_or(false);
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
        let seen = Seen { queued: turn.queued, full, capacity: slot.lane.capacity() };
        let (pace, next) = pace::after(slot.pace, seen, now);
        slot.pace = pace;
        self.follow(index, next, now);
        self.note_due(index);
        turn.taken
    }

    fn follow(&mut self, index: usize, next: Next, now: Instant) {
        match next {
            Next::Again => self.make_ready(index),
            Next::Tick => {
                self.deregister(index);
                let tick = self.slots[index].lane.settings().tick;
                self.wakes.push(Reverse((self.next_tick(now, tick), index)));
            }
            Next::Wait => {
                if let Err(error) = self.register(index) {
                    let name = self.slots[index].lane.name().to_owned();
                    self.fall_sick(index, &Error::new("watch pipe", name, error), None);
                }
            }
        }
    }

    /// Ticks of all lanes fall on one grid, so that many busy lanes wake us as often as one.
    fn next_tick(&self, now: Instant, tick: Duration) -> Instant {
        let passed = now.duration_since(self.started).as_nanos() / tick.as_nanos().max(1);
        self.started + tick * u32::try_from(passed + 1).unwrap_or(u32::MAX)
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
        self.wakes.push(Reverse((lane.retry_at().unwrap_or(now), index)));
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

    fn rotate_due(&mut self, now_ns: i64) {
        while let Some((_, index)) = self.dues.first().filter(|(due_ns, _)| *due_ns <= now_ns).copied() {
            let before = self.slots[index].due_ns;
            self.rotate(index, now_ns);
            if self.slots[index].due_ns == before {
                // It waits for the end of a line, which comes with the next chunk.
                self.forget_due(index);
            }
        }
    }

    fn rotate(&mut self, index: usize, now_ns: i64) {
        if let Err(error) = self.slots[index].lane.on_time(now_ns) {
            self.fall_sick(index, &error, None);
        }
        self.note_due(index);
    }

    fn note_due(&mut self, index: usize) {
        let due_ns = self.slots[index].lane.due_ns();
        if due_ns != self.slots[index].due_ns {
            self.forget_due(index);
            self.slots[index].due_ns = due_ns;
            self.dues.extend(due_ns.map(|due_ns| (due_ns, index)));
        }
    }

    fn forget_due(&mut self, index: usize) {
        if let Some(due_ns) = self.slots[index].due_ns.take() {
            self.dues.remove(&(due_ns, index));
        }
    }

    fn register(&mut self, index: usize) -> io::Result<()> {
        let slot = &mut self.slots[index];
        if !slot.registered {
            for fd in slot.lane.fifos().map(AsRawFd::as_raw_fd) {
                self.registry.register(&mut SourceFd(&fd), Token(index), Interest::READABLE)?;
            }
            slot.registered = true;
        }
        Ok(())
    }

    fn deregister(&mut self, index: usize) {
        let slot = &mut self.slots[index];
        if slot.registered {
            for fd in slot.lane.fifos().map(AsRawFd::as_raw_fd) {
                self.registry.deregister(&mut SourceFd(&fd)).ok();
            }
            slot.registered = false;
        }
    }
}
