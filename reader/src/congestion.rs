//! Whether a pipe is so full for so long that somebody should know: one warning, and one line when it is over.
//!
//! A pipe is crowded if it takes no more bytes, or holds more than `warn_fill` of what it can hold. A lane that is
//! drained is looked at when it has its turn anyway. A timer is asked for only while something is pending: a pipe
//! that was found crowded a moment ago, or a lane that is sick and so has no turns. Idle lanes cost nothing.

use std::time::{Duration, Instant};

use standpipe_common::clock;
use standpipe_common::units::{Limit, Span};

use crate::lane::Lane;
use crate::pace::TICKED_CAPACITY_MIN;
use crate::pipes::Seen;
use crate::title;

/// A pipe that was not found crowded for so long has room again.
const CALM_SPAN: Duration = Duration::from_millis(250);
/// How often the pipe of a sick lane is looked at, at most.
const SICK_LOOK_SPAN: Duration = Duration::from_secs(1);
/// The shortest time between two looks that a timer asks for.
const LOOK_SPAN_MIN: Duration = Duration::from_millis(20);

/// What is known of one pipe.
#[derive(Debug, Default)]
pub struct Congestion {
    episode: Option<Episode>,
    /// A look is on the agenda for then.
    look_at: Option<Instant>,
    /// When a small pipe was asked last whether it is full.
    asked: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Episode {
    since: Instant,
    since_ns: i64,
    /// When it was found crowded last; the gauge has been told of the time until then.
    last: Instant,
    is_said: bool,
}

/// What a look means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Crowding {
    /// There is room.
    Calm,
    /// It is crowded, or was a moment ago.
    Pending,
    /// It has been crowded for so long that it must be said now.
    Warn(Duration),
    /// What was said is over, after so long.
    Over(Duration),
}

impl Congestion {
    /// Whether the turn that comes should ask if the pipe is full. A small pipe is not asked for its pace, so it is
    /// asked here, now and then.
    pub fn asks(&mut self, capacity: usize, now: Instant) -> bool {
        let asks = capacity < TICKED_CAPACITY_MIN && self.asked.is_none_or(|at| now >= at + LOOK_SPAN_MIN);
        if asks {
            self.asked = Some(now);
        }
        asks
    }

    /// After a turn of a lane: what it saw before it took anything. When the lane is to be looked at again.
    pub fn after_turn(&mut self, lane: &Lane, seen: Seen, now: Instant) -> Option<Instant> {
        let Seen { queued, full, capacity } = seen;
        lane.gauge().pipe(queued, capacity);
        let crowded = queued > 0 && (full || is_beyond(lane.settings().warn_fill, queued, capacity));
        if !crowded && self.episode.is_none() {
            return None;
        }
        self.see(lane, queued, crowded, now).then_some(CALM_SPAN).and_then(|span| self.ask_look(lane, span, now))
    }

    /// Looks at the pipe of a lane that is sick and so has no turns. When to look again.
    pub fn look(&mut self, lane: &Lane, now: Instant) -> Option<Instant> {
        if self.look_at.is_some_and(|at| at > now) {
            return None;
        }
        let pipe = lane.pipes().present();
        let queued = pipe.queued().unwrap_or(0);
        let full = queued > 0 && lane.pipes().is_full(queued);
        lane.gauge().pipe(queued, lane.pipes().capacity());
        let crowded = full || is_beyond(lane.settings().warn_fill, queued, lane.pipes().capacity());
        self.see(lane, queued, crowded, now);
        self.ask_look(lane, SICK_LOOK_SPAN, now)
    }

    /// Judges, says it, and shows it. Whether something is pending.
    fn see(&mut self, lane: &Lane, queued: usize, crowded: bool, now: Instant) -> bool {
        let warn_after = lane.settings().warn_after;
        if let Some(episode) = self.episode.filter(|_| crowded) {
            lane.gauge().crowded(now - episode.last);
        }
        let verdict = judge(&mut self.episode, crowded, now, warn_after);
        let name = title::of(lane.name());
        match verdict {
            Crowding::Warn(span) => log::warn!(
                "{name}: the pipe has been full or nearly full for {}; {queued} of {} bytes are waiting in it",
                seconds(span),
                lane.pipes().capacity()
            ),
            Crowding::Over(span) => log::info!("{name}: the pipe has room again after {}", seconds(span)),
            Crowding::Calm | Crowding::Pending => {}
        }
        lane.gauge().blocked(self.episode.map(|episode| episode.since_ns), warn_after);
        self.episode.is_some()
    }

    /// One look at a time is on the agenda.
    fn ask_look(&mut self, lane: &Lane, span: Duration, now: Instant) -> Option<Instant> {
        if self.look_at.is_some_and(|at| at > now) {
            return None;
        }
        let warn_after = lane.settings().warn_after.at().unwrap_or(span);
        self.look_at = Some(now + span.min(warn_after).max(LOOK_SPAN_MIN));
        self.look_at
    }
}

fn judge(episode: &mut Option<Episode>, crowded: bool, now: Instant, warn_after: Limit<Duration>) -> Crowding {
    let Some(running) = episode else {
        if !crowded {
            return Crowding::Calm;
        }
        *episode = Some(Episode { since: now, since_ns: clock::now_ns(), last: now, is_said: false });
        return Crowding::Pending;
    };
    if crowded {
        running.last = now;
        let span = now - running.since;
        if !running.is_said && warn_after.at().is_some_and(|after| span >= after) {
            running.is_said = true;
            return Crowding::Warn(span);
        }
        return Crowding::Pending;
    }
    if now - running.last < CALM_SPAN {
        return Crowding::Pending;
    }
    let over = *running;
    *episode = None;
    if over.is_said { Crowding::Over(over.last - over.since) } else { Crowding::Calm }
}

fn is_beyond(warn_fill: Limit<f64>, queued: usize, capacity: usize) -> bool {
    warn_fill.at().is_some_and(|fill| capacity > 0 && queued as f64 >= fill * capacity as f64)
}

/// In whole seconds from one second on.
fn seconds(span: Duration) -> Span {
    let whole = Duration::from_secs(span.as_secs());
    Span(if whole.is_zero() { Duration::from_millis(span.as_millis() as u64) } else { whole })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_episode_is_said_once_and_its_end_once() {
        let start = Instant::now();
        let after = Limit::At(Duration::from_secs(1));
        let mut episode = None;
        let mut judged = |ms: u64, crowded| judge(&mut episode, crowded, start + Duration::from_millis(ms), after);
        let span = Duration::from_millis;
        for (ms, crowded, verdict) in [
            (0, false, Crowding::Calm),
            (1, true, Crowding::Pending),
            (200, false, Crowding::Pending),
            (251, false, Crowding::Calm),
            // A look between two others that finds room for a moment is no end of it.
            (300, true, Crowding::Pending),
            (500, false, Crowding::Pending),
            (700, true, Crowding::Pending),
            (1299, true, Crowding::Pending),
            (1300, true, Crowding::Warn(span(1000))),
            (2000, true, Crowding::Pending),
            (9000, true, Crowding::Pending),
            (9100, false, Crowding::Pending),
            (9250, false, Crowding::Over(span(8700))),
            (9251, false, Crowding::Calm),
            (9300, true, Crowding::Pending),
        ] {
            assert_eq!(judged(ms, crowded), verdict, "{ms}");
        }
    }

    #[test]
    fn both_limits_can_be_off() {
        let now = Instant::now();
        let mut episode = None;
        for ms in [0, 1000, 1_000_000] {
            assert_eq!(judge(&mut episode, true, now + Duration::from_millis(ms), Limit::Off), Crowding::Pending);
        }
        for (fill, queued, beyond) in [
            (Limit::At(0.75), 75, true),
            (Limit::At(0.75), 74, false),
            (Limit::At(1.0), 100, true),
            (Limit::Off, 100, false),
        ] {
            assert_eq!(is_beyond(fill, queued, 100), beyond, "{fill:?} {queued}");
        }
        assert!(!is_beyond(Limit::At(0.75), 10, 0), "a pipe that does not tell its capacity");
    }

    #[test]
    fn spans_are_said_in_seconds() {
        for (ms, said) in [(5004, "5s"), (300, "300ms"), (65_900, "1m5s")] {
            assert_eq!(seconds(Duration::from_millis(ms)).to_string(), said);
        }
    }
}
