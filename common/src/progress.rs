//! How far a long run has got: one line of a terminal that is written again and again, and gone at the end.
//!
//! Where standard error is no terminal it is silent, and so it is in the first second, unless a test has the clock.
//! Invariant: what is shown is
//! narrower than the terminal, so that the next one covers it.

use std::io::{IsTerminal as _, Write as _, stderr};
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use crate::clock;
use crate::table::width_of;

/// A run that is over by then shows nothing.
const FIRST_SPAN: Duration = Duration::from_secs(1);
/// Between two lines.
const STEP_SPAN: Duration = Duration::from_millis(200);
const CELLS: usize = 30;

/// The line.
#[derive(Debug)]
pub struct Progress {
    since: Instant,
    /// `None`: never.
    next: Option<Instant>,
    is_shown: bool,
}

impl Progress {
    /// Of a run that begins now, shown on standard error if that is a terminal.
    pub fn on_terminal() -> Progress {
        let since = Instant::now();
        let first = since + if clock::is_test() { Duration::ZERO } else { FIRST_SPAN };
        Progress { since, next: stderr().is_terminal().then_some(first), is_shown: false }
    }

    /// One that is never seen.
    pub fn silent() -> Progress {
        Progress { since: Instant::now(), next: None, is_shown: false }
    }

    /// Whether [`show`](Progress::show) would show anything.
    pub fn is_due(&self, now: Instant) -> bool {
        self.next.is_some_and(|next| next <= now)
    }

    /// So much of the whole is done, from 0 to 1; `what` says it in the units of the run. It is shown now and then.
    pub fn show(&mut self, share: f64, what: impl FnOnce() -> String) {
        let now = Instant::now();
        if !self.is_due(now) {
            return;
        }
        let elapsed = now - self.since;
        write!(stderr(), "\r\x1b[K{}", line(share, &what(), elapsed, width_of(stderr().as_fd()).into())).ok();
        self.next = Some(now + STEP_SPAN);
        self.is_shown = true;
    }

    /// Makes room for other lines.
    pub fn clear(&mut self) {
        if self.is_shown {
            write!(stderr(), "\r\x1b[K").ok();
            self.is_shown = false;
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

/// The bar goes first where there is no room for all of it, then what is behind the share.
fn line(share: f64, what: &str, elapsed: Duration, width: usize) -> String {
    let share = share.clamp(0.0, 1.0);
    let filled = (share * CELLS as f64) as usize;
    let bar = format!("[{}{}] ", "#".repeat(filled), ".".repeat(CELLS - filled));
    let rest = format!("{:3} %  {what}{}", (share * 100.0) as u32, left(share, elapsed));
    let line = if bar.len() + rest.chars().count() < width { bar + &rest } else { rest };
    line.chars().take(width.saturating_sub(1)).collect()
}

/// How long it takes yet, if it goes on as it went. Nothing is said of the first hundredth.
fn left(share: f64, elapsed: Duration) -> String {
    if share < 0.01 {
        return String::new();
    }
    let seconds = (elapsed.as_secs_f64() * (1.0 - share) / share).ceil() as u64;
    let span = match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds.div_ceil(60)),
        _ => format!("{} h", seconds.div_ceil(3600)),
    };
    format!(", about {span} left")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_has_share_units_and_an_estimate_as_far_as_there_is_room() {
        let (two, hour) = (Duration::from_secs(2), Duration::from_secs(3600));
        for (share, elapsed, width, expected) in [
            (0.5, two, 80, "[###############...............]  50 %  1 of 2 parts, about 2 s left"),
            (0.5, two, 60, " 50 %  1 of 2 parts, about 2 s left"),
            (0.5, two, 20, " 50 %  1 of 2 parts"),
            (0.5, two, 0, ""),
            (0.0, two, 80, "[..............................]   0 %  1 of 2 parts"),
            (0.9, hour, 80, "[###########################...]  90 %  1 of 2 parts, about 7 min left"),
            (0.1, hour, 80, "[###...........................]  10 %  1 of 2 parts, about 9 h left"),
            (7.0, two, 80, "[##############################] 100 %  1 of 2 parts, about 0 s left"),
        ] {
            assert_eq!(line(share, "1 of 2 parts", elapsed, width), expected, "{share} {width}");
        }
    }

    #[test]
    fn a_silent_one_asks_for_no_words() {
        Progress::silent().show(0.5, || unreachable!("nobody sees them"));
    }
}
