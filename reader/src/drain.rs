//! One draining thread: its lanes, its mailbox, and whose turn it is.
//!
//! mio is edge-triggered, so a lane that may have more stays on the ready list until a look says that it is empty;
//! each gets one chunk a round. A lane whose log fails keeps the mailbox and the thread goes on with another: one
//! sick lane delays no other. A lane that was quiet for a while rests, with its pipe open and nothing else, so that
//! descriptors and memory follow the lanes at work. What a pipe is, and what the program does beside draining, is not
//! known here.

mod roster;

use std::collections::{BTreeSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::time::{Duration, Instant};

use mio::Registry;
use mio::event::Event;
use standpipe_common::clock;
use standpipe_common::error::{Cannot, Error, Result};
use standpipe_common::fifo::Identity;
use standpipe_common::shown::counted;

use crate::agenda::Agenda;
use crate::glance::Glance;
use crate::lane::{Halt, Lane, Tools};
use crate::leap::Clocks;
use crate::mailbox::{Mailbox, Phase};
use crate::mailboxes::Mailboxes;
use crate::pace::{self, Next, Pace};
use crate::recovery::Settled;
use crate::root::Root;
use crate::slots::Slots;
use crate::status::board::Board;
use crate::title;

/// How long the last bytes are read after TERM.
const LAST_TURNS_SPAN: Duration = Duration::from_secs(2);

/// A step of the wall clock by more than this moves what was noted by it.
const STEP_NS: u64 = 60_000_000_000;

/// Lanes that have their log directory open at a time, at most.
const AWAKE_MAX: usize = 1024;
/// At most three for a log directory, and one to spare.
const DESCRIPTORS_AWAKE: usize = 4;

/// The lanes of one thread.
pub struct Drain {
    root: Root,
    registry: Registry,
    slots: Slots,
    agenda: Agenda,
    mailboxes: Mailboxes,
    mailbox: Option<Mailbox>,
    glance: Glance,
    /// Lanes in the order in which they woke up; some of them rest again by now.
    awake: VecDeque<usize>,
    awake_max: usize,
    board: Board,
    started: Instant,
    /// The clocks when there was work last.
    looked: Clocks,
}

/// Why a rotation that was asked for is not over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// A line has no end yet.
    Waits,
    /// The log cannot be written at the moment.
    Sick,
}

impl Drain {
    /// A thread without lanes. Tokens of the poll set from 0 on are lanes. Log directories may use `descriptors`.
    pub fn new(root: Root, registry: Registry, mut mailboxes: Mailboxes, descriptors: usize) -> Result<Drain> {
        let mailbox = mailboxes.take_ready();
        let glance = Glance::with_capacity(mailboxes.data_bytes()).cannot("create", "a pipe to inspect others")?;
        let (agenda, board) = (Agenda::new(Instant::now()), Board::make(root.dir(), root.sandbox()));
        let awake_max = awake_max(descriptors);
        let (slots, awake) = (Slots::default(), VecDeque::new());
        let (started, looked) = (Instant::now(), Clocks { wall_ns: clock::now_ns(), passed_ns: 0 });
        Ok(Drain {
            root,
            registry,
            slots,
            agenda,
            mailboxes,
            mailbox,
            glance,
            awake,
            awake_max,
            board,
            started,
            looked,
        })
    }

    /// From here on log directories may use so many descriptors.
    pub fn share_descriptors(&mut self, descriptors: usize) {
        self.awake_max = awake_max(descriptors);
        while self.awake.len() > self.awake_max {
            self.rest_first(usize::MAX);
        }
    }

    /// The log root.
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// What is seen of this reader from outside.
    pub fn board(&self) -> &Board {
        &self.board
    }

    /// The poll set said something of a lane.
    pub fn on_event(&mut self, index: usize, event: &Event) {
        if self.slots.has(index) {
            self.slots[index].hung_up |= event.is_read_closed();
            self.agenda.make_ready(index);
        }
    }

    /// How long the poll set may be waited for.
    pub fn timeout(&self, now: Instant) -> Option<Duration> {
        self.agenda.timeout(now, clock::now_ns())
    }

    /// Does what is due: rotations, ticks, retries, and one round over the ready lanes.
    pub fn work(&mut self, now: Instant) {
        let now_ns = clock::now_ns();
        self.look_at_clock(now, now_ns);
        while let Some(index) = self.agenda.next_due(now_ns) {
            if self.slots.has(index) {
                self.rotate(index, now_ns);
            }
        }
        while let Some(index) = self.agenda.next_wake(now) {
            if self.slots.has(index) {
                self.wake(index, now);
            }
        }
        for _ in 0..self.agenda.round() {
            if let Some(index) = self.agenda.next_ready().filter(|index| self.slots.has(*index)) {
                self.turn(index, now);
            }
        }
    }

    /// After a step of the wall clock every part is due at another moment, those of lanes that rest as well.
    fn look_at_clock(&mut self, now: Instant, now_ns: i64) {
        let passed_ns = i64::try_from(now.duration_since(self.started).as_nanos()).unwrap_or(i64::MAX);
        let look = Clocks { wall_ns: now_ns, passed_ns };
        if look.moved_ns(std::mem::replace(&mut self.looked, look)).unsigned_abs() > STEP_NS {
            if let Some(slot) = self.slots.iter().next() {
                slot.lane.queue().clock().look();
            }
            for index in self.slots.numbers() {
                if self.slots[index].lane.retry_at().is_none() {
                    self.rotate(index, now_ns);
                }
            }
        }
    }

    /// The pipe of a lane.
    pub fn identity(&self, index: usize) -> Identity {
        self.slots[index].lane.pipes().present().identity()
    }

    /// Asks every lane for a rotation. Their names.
    pub fn ask_rotation(&mut self) -> BTreeSet<OsString> {
        let now_ns = clock::now_ns();
        let numbers = self.slots.numbers();
        for index in &numbers {
            self.ask_rotation_at(*index, now_ns);
        }
        numbers.into_iter().map(|index| self.slots[index].lane.name().to_owned()).collect()
    }

    /// Asks one lane for a rotation. `false`: there is none of that name.
    pub fn ask_rotation_of(&mut self, name: &OsStr) -> bool {
        let index = self.find(name);
        if let Some(index) = index {
            self.ask_rotation_at(index, clock::now_ns());
        }
        index.is_some()
    }

    /// Of these lanes, those whose rotation is not over. One that is no more has sealed its part.
    pub fn rotating(&self, names: &BTreeSet<OsString>) -> Vec<(OsString, Rotation)> {
        let rotation = |lane: &Lane| match lane.retry_at() {
            Some(_) => Some(Rotation::Sick),
            None => lane.is_to_rotate().then_some(Rotation::Waits),
        };
        let lanes = self.slots.iter().map(|slot| &slot.lane).filter(|lane| names.contains(lane.name()));
        lanes.filter_map(|lane| Some((lane.name().to_owned(), rotation(lane)?))).collect()
    }

    /// Whether a lane's input is at its end.
    pub fn has_ended(&self, index: usize) -> bool {
        self.slots[index].ended
    }

    /// Ends a lane's part, at the end of its input.
    pub fn seal(&mut self, index: usize) -> Result<()> {
        self.attach(index)?;
        self.slots[index].lane.seal(clock::now_ns())
    }

    /// Before the exit: takes what the pipes hold now, for a limited time, and says what is left in them.
    pub fn finish(&mut self) {
        let deadline = Instant::now() + LAST_TURNS_SPAN;
        for index in self.slots.numbers() {
            let mut left = self.slots[index].lane.pipes().queued();
            while left > 0 && Instant::now() < deadline {
                let taken = self.turn(index, Instant::now());
                left = if taken == 0 { 0 } else { left.saturating_sub(taken) };
            }
        }
        for slot in self.slots.iter() {
            let left = slot.lane.pipes().queued();
            if left > 0 {
                log::info!("{}: {} left in the pipe", title::of(slot.lane.name()), counted(left as u64, "byte"));
            }
        }
    }

    /// Removes what stands in the log root for the time of the work only, at the end of it. A mailbox with a chunk stays.
    pub fn clear_away(&mut self) {
        if let Some(mailbox) = self.mailbox.take() {
            self.mailboxes.give_back(mailbox);
        }
        self.mailboxes.clear_away();
        self.board.clear_away();
    }

    fn ask_rotation_at(&mut self, index: usize, now_ns: i64) {
        if self.rouse(index) {
            self.slots[index].lane.ask_rotation();
            self.rotate(index, now_ns);
        }
    }

    /// The lane of that name.
    fn find(&self, name: &OsStr) -> Option<usize> {
        self.slots.numbers().into_iter().find(|index| self.slots[*index].lane.name() == name)
    }

    fn wake(&mut self, index: usize, now: Instant) {
        let slot = &mut self.slots[index];
        let lane = &mut slot.lane;
        if lane.pipes().has_retired() {
            let lost = lane.pipes_mut().release(now);
            if lost > 0 {
                lane.gauge().lost(lost);
                let lost = counted(lost as u64, "byte");
                log::error!("{}: lost {lost} left in the replaced pipe", title::of(lane.name()));
            }
        }
        if let Some(until) = slot.leaving()
            && !slot.lane.holds_chunk()
            && (now >= until || slot.lane.pipes().are_over())
        {
            self.say_goodbye(index);
            return;
        }
        if slot.leaving().is_some() || slot.lane.pipes().has_retired() {
            self.agenda.wake_at(slot.note_look(now), index);
        }
        self.agenda.wake_at(slot.rest_if_quiet(now), index);
        self.agenda.make_ready(index);
    }

    fn note_rest(&mut self, index: usize, now: Instant) {
        self.agenda.wake_at(self.slots[index].note_rest(now), index);
    }

    /// One turn of a lane, and what comes next. Returns the bytes taken.
    fn turn(&mut self, index: usize, now: Instant) -> usize {
        if !self.is_fit(index, now) {
            self.look(index, now);
            return 0;
        }
        let Some(mut mailbox) = self.take_mailbox(index) else { return 0 };
        debug_assert!(mailbox.phase().is_some_and(|phase| !matches!(phase, Phase::Full(_))), "its chunk would be lost");
        let slot = &mut self.slots[index];
        let asks_full = slot.pace != Pace::Quiet || slot.congestion.asks(slot.lane.pipes().capacity(), now);
        let now_ns = clock::now_ns();
        let mut tools = Tools { mailbox: &mut mailbox, glance: &mut self.glance, now_ns, asks_full };
        let done = slot.lane.turn(&mut tools);
        let turn = match done {
            Ok(turn) => turn,
            Err(Halt::Resting) => {
                self.mailbox = Some(mailbox);
                return self.wake_up(index, now);
            }
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
        if turn.taken > 0 {
            slot.be_active(now);
        }
        slot.ended = slot.hung_up && turn.seen.queued == 0;
        let look_at = slot.congestion.after_turn(&slot.lane, turn.seen, now);
        self.agenda.wake_at(look_at, index);
        let (pace, next) = pace::after(slot.pace, turn.seen, now);
        slot.pace = pace;
        self.follow(index, next, now);
        self.note_due(index, now_ns);
        turn.taken
    }

    /// Bytes came for a lane that rests: its turn, with its log directory open.
    fn wake_up(&mut self, index: usize, now: Instant) -> usize {
        if self.rouse(index) { self.turn(index, now) } else { 0 }
    }

    fn follow(&mut self, index: usize, next: Next, now: Instant) {
        match next {
            Next::Again => self.agenda.make_ready(index),
            Next::Tick(doubled) => {
                self.slots[index].deregister(&self.registry);
                let tick = self.slots[index].lane.settings().tick * (1 << doubled);
                self.agenda.wake_at_tick(now, tick, index);
            }
            Next::Wait => {
                if let Err(error) = self.slots[index].register(&self.registry, index) {
                    let name = self.slots[index].lane.name().to_owned();
                    // Without its number: want of room for a watch is none that old archives could give.
                    self.fall_sick(index, &Error::because("watch pipe", name, error.to_string()), None);
                }
                self.note_rest(index, now);
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
            Some(_) if self.slots[index].lane.leaves_room(now) => {
                self.agenda.wake_at(self.slots[index].lane.retry_at(), index);
                return false;
            }
            Some(_) => {}
        }
        match self.attach(index).and_then(|()| self.slots[index].lane.settle_held()) {
            Ok(held) => {
                if let Some((mailbox, settled)) = held {
                    self.put_away(mailbox, settled);
                    return self.rouse(index);
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
        if lane.is_awake() {
            return Ok(());
        }
        let dir = self.root.lane_dir(lane.name())?;
        let now_ns = clock::now_ns();
        if let Err(error) = lane.attach(dir, self.root.boot(), now_ns) {
            if error.is_no_room() {
                lane.order_as_found(&self.root.lane_dir(lane.name())?);
            }
            return Err(self.root.explain(lane.name(), error));
        }
        self.note_due(index, now_ns);
        self.awake.push_back(index);
        if self.awake.len() > self.awake_max {
            self.rest_first(index);
        }
        debug_assert!(self.awake.len() <= self.awake_max, "{} lanes are awake", self.awake.len());
        Ok(())
    }

    /// Opens the log directory of a lane that rests. `false`: it cannot be opened, and the lane is sick.
    fn rouse(&mut self, index: usize) -> bool {
        let opened = self.attach(index);
        if let Err(error) = &opened {
            self.fall_sick(index, error, None);
        }
        opened.is_ok()
    }

    /// Lets the lane rest that woke up first, unless it is `but`. If it has work it wakes up again.
    fn rest_first(&mut self, but: usize) {
        if let Some(first) = self.awake.pop_front().filter(|first| *first != but && self.slots.has(*first)) {
            self.slots[first].lane.rest();
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
        let done = self.attach(index).and_then(|()| self.slots[index].lane.on_time(now_ns));
        if let Err(error) = done {
            self.fall_sick(index, &error, None);
        }
        let due_ns = self.slots[index].lane.due_ns(now_ns);
        self.agenda.set_due(index, due_ns.filter(|due_ns| *due_ns > now_ns));
        self.note_rest(index, Instant::now());
    }

    /// What was noted of a lane that rests stays true.
    fn note_due(&mut self, index: usize, now_ns: i64) {
        let lane = &mut self.slots[index].lane;
        if lane.is_awake() {
            let due_ns = lane.due_ns(now_ns);
            self.agenda.set_due(index, due_ns);
        }
    }
}

/// How many lanes may have their log directory open where log directories may use so many descriptors.
fn awake_max(descriptors: usize) -> usize {
    (descriptors / DESCRIPTORS_AWAKE).clamp(1, AWAKE_MAX)
}
