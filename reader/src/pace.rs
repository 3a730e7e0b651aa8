//! When a lane is looked at next. Pure: what a turn saw goes in, the next pace comes out.
//!
//! A server that writes line by line would wake its reader line by line. So the first bytes after a quiet moment are
//! taken at once, and after that a lane leaves the poll set and is looked at once a tick. While a tick brings little
//! the next one is twice as long, up to four times: what a look costs is then shared by more bytes, and the wait stays
//! below 10 ms. Once the longest brought nothing the lane waits in the poll set again. A pipe that fills up within a
//! tick is read without ticks for a while, and one that is too small for a tick always.

use std::time::{Duration, Instant};

use crate::pipes::Seen;

/// A pipe smaller than this fills within a tick.
pub const TICKED_CAPACITY_MIN: usize = 256 << 10;
/// How long a lane is read without ticks after it was found full.
const HOT_SPAN: Duration = Duration::from_millis(50);
/// How often a tick is doubled, at most.
const DOUBLED_MAX: u32 = 2;

/// How a lane is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// When the poll set says that there is something.
    Quiet,
    /// Once a tick, doubled so many times.
    Ticking(u32),
    /// As fast as it goes, until then.
    Hot(Instant),
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Another turn, after those of the others.
    Again,
    /// A turn when the next tick, doubled so many times, begins, and out of the poll set until then.
    Tick(u32),
    /// In the poll set, when it says so.
    Wait,
}

/// Decides after a turn.
pub fn after(pace: Pace, seen: Seen, now: Instant) -> (Pace, Next) {
    if seen.capacity < TICKED_CAPACITY_MIN {
        return (Pace::Quiet, if seen.queued > 0 { Next::Again } else { Next::Wait });
    }
    let crowded = seen.queued > 0 && (seen.full || seen.queued >= seen.capacity / 4 * 3);
    let ticking = |doubled| (Pace::Ticking(doubled), Next::Tick(doubled));
    match pace {
        Pace::Quiet if seen.queued == 0 => (Pace::Quiet, Next::Wait),
        _ if crowded => (Pace::Hot(now + HOT_SPAN), Next::Again),
        Pace::Hot(until) if now < until => (pace, if seen.queued > 0 { Next::Again } else { Next::Wait }),
        Pace::Ticking(DOUBLED_MAX) if seen.queued == 0 => (Pace::Quiet, Next::Wait),
        Pace::Ticking(doubled) if seen.queued >= seen.capacity / 8 => ticking(doubled.saturating_sub(1)),
        Pace::Ticking(doubled) if seen.queued >= seen.capacity / 16 => ticking(doubled),
        Pace::Ticking(doubled) => ticking((doubled + 1).min(DOUBLED_MAX)),
        _ => ticking(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_ticks_while_it_is_busy_and_waits_when_it_is_quiet() {
        let now = Instant::now();
        let hot = Pace::Hot(now + HOT_SPAN);
        let cases = [
            // pace, queued, full, capacity, next
            (Pace::Quiet, 0, false, 1 << 20, (Pace::Quiet, Next::Wait)),
            (Pace::Quiet, 100, false, 1 << 20, (Pace::Ticking(0), Next::Tick(0))),
            (Pace::Ticking(0), 5, false, 1 << 20, (Pace::Ticking(1), Next::Tick(1))),
            (Pace::Ticking(1), 0, false, 1 << 20, (Pace::Ticking(2), Next::Tick(2))),
            (Pace::Ticking(2), 5, false, 1 << 20, (Pace::Ticking(2), Next::Tick(2))),
            (Pace::Ticking(2), 0, false, 1 << 20, (Pace::Quiet, Next::Wait)),
            (Pace::Ticking(2), 300 << 10, false, 1 << 20, (Pace::Ticking(1), Next::Tick(1))),
            (Pace::Ticking(1), 80 << 10, false, 1 << 20, (Pace::Ticking(1), Next::Tick(1))),
            (Pace::Ticking(0), 300 << 10, false, 1 << 20, (Pace::Ticking(0), Next::Tick(0))),
            (Pace::Ticking(0), 800 << 10, false, 1 << 20, (hot, Next::Again)),
            (Pace::Ticking(0), 500, true, 1 << 20, (hot, Next::Again)),
            (Pace::Ticking(0), 0, true, 1 << 20, (Pace::Ticking(1), Next::Tick(1))),
            (hot, 500, false, 1 << 20, (hot, Next::Again)),
            (hot, 0, false, 1 << 20, (hot, Next::Wait)),
            (Pace::Hot(now), 500, false, 1 << 20, (Pace::Ticking(0), Next::Tick(0))),
            (Pace::Quiet, 500, true, 64 << 10, (Pace::Quiet, Next::Again)),
            (Pace::Quiet, 0, false, 64 << 10, (Pace::Quiet, Next::Wait)),
        ];
        for (pace, queued, full, capacity, expected) in cases {
            let seen = Seen { queued, full, capacity };
            assert_eq!(after(pace, seen, now), expected, "{pace:?} {seen:?}");
        }
    }
}
