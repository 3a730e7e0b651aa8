//! What is read in a round: of whom, how much, and when each of them is read again.
//!
//! A source that has more goes on in one of three ways: in the next round; when its output has more room; or when its
//! limit lets it. Each is entered in one place here, so none is lost and none turns the loop in vain.

use std::time::Instant;

use super::Tailer;
use crate::events::Event;
use crate::follow::settings::Hints;
use crate::lines::SourceId;
use crate::meter::Meter;
use crate::output::Standing;
use crate::rate::Backlog;
use crate::share::{Shares, Turn};
use crate::spool::part::Hands;
use crate::turns::{Stand, Waiting};

/// Sources that share the room of their outputs, one after the other.
const READS_MAX: usize = 64;

/// What a read of a source came to.
struct Outcome {
    standing: Standing,
    had_room: bool,
    has_moved: bool,
    /// Room that its output has left.
    room: usize,
    rests_until: Option<Instant>,
    backlog: Option<Backlog>,
}

impl Tailer {
    /// Reads what there is, each source and spool in its turn, as far as its output has room and its limit allows.
    pub(super) fn read(&mut self, now: Instant, now_ns: i64) {
        self.turns.wake_rested(now);
        let step = self.intake.begin();
        // Who is ready again by then is read in the next round.
        for _ in 0..self.turns.ready_count().div_ceil(READS_MAX).max(1) {
            self.read_some(now, now_ns);
            if step.is_over() {
                break;
            }
        }
        self.intake.end(step);
    }

    fn read_some(&mut self, now: Instant, now_ns: i64) {
        let mut turns = self.turns(now);
        self.lots.order(&mut turns);
        let mut shares = Shares::of(&turns);
        for turn in turns {
            let Some(spool) = self.spools.get(turn.id) else {
                self.read_one(turn.id, &turn, &mut shares, now);
                continue;
            };
            let is_awaited = self.outputs.is_ordered(turn.output) || self.turns.is_wanted(turn.output);
            let output = self.outputs.get_straight(turn.output);
            let bytes_max = shares.next(&turn, output.room(turn.id));
            spool.read(&mut Hands { output, is_awaited, buffer: &mut self.buffer, bytes_max, now, now_ns });
        }
    }

    /// Who is read next.
    fn turns(&mut self, now: Instant) -> Vec<Turn> {
        self.spools.settle(&mut self.turns, &mut self.outputs, now);
        let turn = |id| {
            if let Some(turn) = self.spools.turn(id, &mut self.outputs) {
                return Some(turn);
            }
            let followed = self.roster.get(id)?;
            let (output, priority, fed_at) = (followed.output, followed.file.priority, followed.fed_at);
            let has_room = self.outputs.get(output).room(id) > 0;
            Some(Turn { id, output, priority, is_inside: false, has_room, fed_at })
        };
        self.turns.take_ready(READS_MAX).into_iter().filter_map(turn).collect()
    }

    fn read_one(&mut self, id: SourceId, turn: &Turn, shares: &mut Shares, now: Instant) {
        let Some(followed) = self.roster.get(id) else { return };
        if followed.next_output != followed.output && followed.is_delivered() {
            self.outputs.part(followed.output, id);
            followed.output = followed.next_output;
        }
        if followed.next_output != followed.output {
            return;
        }
        let room = self.outputs.get(followed.output).room(id);
        if room == 0 && self.spools.hold(followed.output) && followed.source.has_unread() {
            self.turns.want(followed.output);
        }
        let share = shares.next(turn, room);
        let outcome = self.take_from(id, room, share, now);
        let Some(outcome) = outcome else { return };
        self.go_on(id, &outcome, now);
        self.touch(id);
        self.tell_backlog(id, outcome.backlog);
        self.tell_of_content(id);
        self.tell_of(id);
    }

    /// Reads one source once.
    fn take_from(&mut self, id: SourceId, room: usize, share: usize, now: Instant) -> Option<Outcome> {
        let followed = self.roster.get(id)?;
        let output = self.outputs.get(followed.output);
        let allowed = followed.throttle.as_mut().map_or(usize::MAX, |throttle| throttle.allowance(now));
        // Others wait for the rest of a line that was begun: what it takes too much is paid back.
        let allowed = if followed.source.is_inside_line() { usize::MAX } else { allowed };
        let mut lines = followed.unwrapper.around(output);
        let mut meter = Meter::around(&mut lines, followed.throttle.is_some());
        let held = followed.source.held_bytes();
        let looked_at = followed.source.looked_at_bytes();
        let standing = if room == 0 || allowed == 0 {
            Standing::Behind
        } else {
            followed.source.read(&mut meter, &mut self.buffer, share.min(allowed), now, self.clock.now_ns())
        };
        let (put, lines) = (meter.bytes, meter.lines);
        let head_level = followed.source.head_level();
        if self.has_globs && head_level != followed.head_level {
            followed.head_level = head_level;
            self.taken.twins.set(id, followed.source.lives());
        }
        let has_looked = followed.source.looked_at_bytes() != looked_at;
        let has_moved = put > 0 || followed.source.held_bytes() != held || has_looked;
        let is_at_end = standing != Standing::Behind || followed.source.unread_bytes() == 0;
        let mut outcome =
            Outcome { standing, had_room: room > 0, has_moved, room: 0, rests_until: None, backlog: None };
        if let Some(throttle) = &mut followed.throttle {
            // What is held was read as well, and is not counted again when it is put.
            throttle.take((put + followed.source.held_bytes()).saturating_sub(held), lines);
            outcome.rests_until = throttle.rests_until().filter(|_| !followed.source.is_inside_line());
            outcome.backlog = if room == 0 { None } else { throttle.note(is_at_end, now) };
        }
        outcome.room = self.outputs.get(followed.output).room(id);
        Some(outcome)
    }

    /// Sees to it that it is read again.
    fn go_on(&mut self, id: SourceId, outcome: &Outcome, now: Instant) {
        let Some(followed) = self.roster.get(id) else { return };
        // What a batch closed in the middle is opened when there is room again.
        let is_starved = self.turns.starved().has(id);
        let is_to_open = self.is_batch && outcome.had_room && !is_starved && followed.source.is_next_parked();
        let wants_look = is_to_open || followed.source.wants_look();
        let is_shut = self.is_batch && is_starved && followed.source.is_shut();
        let is_behind = outcome.standing == Standing::Behind && !wants_look && !is_shut;
        let rests = outcome.rests_until.filter(|_| is_behind);
        // Where a read moved nothing, what room there is does not do: a line has to fit.
        let is_to_wait = rests.is_none() && is_behind && (outcome.room == 0 || !outcome.has_moved);
        if outcome.has_moved {
            followed.fed_at = Some(now);
        }
        let (output, priority, fed_at) = (followed.output, followed.file.priority, followed.fed_at);
        let interval = followed.interval(self.config.poll_interval);
        let next_look = followed.source.next_look(now).map_or(now + interval, |at| at.min(now + interval));
        if wants_look {
            self.turns.hint(id, Hints::default());
        } else {
            self.turns.look_at(id, next_look);
        }
        match rests {
            Some(until) => self.turns.set(id, Stand::Rests(until)),
            None if is_to_wait => {
                self.turns.wait_for_room(id, Waiting { output, priority, fed_at, room: outcome.room });
            }
            None if is_behind => self.turns.make_ready(id),
            None => {}
        }
    }

    fn tell_backlog(&mut self, id: SourceId, backlog: Option<Backlog>) {
        let Some((followed, backlog)) = self.roster.get(id).zip(backlog) else { return };
        let name = followed.name.clone();
        let event = match (backlog, &followed.throttle) {
            (Backlog::Began, Some(throttle)) => {
                Event::Backlog { name, rate: throttle.rate(), bytes: followed.source.unread_bytes() }
            }
            (Backlog::Ended(after), _) => Event::BacklogOver { name, after },
            (Backlog::Began, None) => return,
        };
        self.say(id, event);
    }
}
