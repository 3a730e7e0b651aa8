//! Whether the wall clock can be believed: it leapt if it moved by more than a day that did not pass.
//!
//! After a leap no age is judged before the clock has run on for an hour, so a bad answer of a time server or a dead
//! battery, which is put right within that, removes nothing. The last look stands in [`CLOCK_FILE`] of the log root and
//! counts on over restarts; of time that passed while the machine was off only the wall clock can tell, so a longer
//! rest is confirmed in the same way. Without that file, as at the first start of all, nothing speaks against the clock.

use std::io::Read;
use std::str::FromStr;

use jiff::Timestamp;
use standpipe_common::shown::Shown as _;
use standpipe_common::{boot, clock};

use crate::disk::Dir;

/// Name of the file in the log root.
pub const CLOCK_FILE: &str = ".clock";

/// How the file begins, whatever its version.
const BEGIN: &str = "standpipe clock ";

/// What a clock may move by itself, by drift, corrections, or a short rest of the machine.
pub const DAY_NS: i64 = 86_400_000_000_000;
/// How long it must run on after a leap.
const STEADY_NS: i64 = 3_600_000_000_000;
/// How often the last look is written down at least.
const WRITE_NS: i64 = 600_000_000_000;
/// Most bytes that are read of the file.
const FILE_BYTES_MAX: u64 = 4096;
/// 2020-01-01T00:00:00Z: no log of ours is older, but where a machine had no time of its own yet.
const FIRST_NS: i64 = 1_577_836_800_000_000_000;

/// Whether something can have happened at `time_ns`, as the clock stands.
pub fn is_plausible(time_ns: i64, now_ns: i64) -> bool {
    time_ns <= now_ns && (time_ns >= FIRST_NS || now_ns < FIRST_NS)
}

/// Both clocks at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clocks {
    /// The wall clock, ns since the epoch.
    pub wall_ns: i64,
    /// The time that has passed since some moment, ns.
    pub passed_ns: i64,
}

impl Clocks {
    /// By how much the wall clock moved since `before` that did not pass, ns.
    pub fn moved_ns(self, before: Clocks) -> i64 {
        let moved = i128::from(self.wall_ns) - i128::from(before.wall_ns);
        let passed = i128::from(self.passed_ns) - i128::from(before.passed_ns);
        i64::try_from(moved - passed).unwrap_or(i64::MAX)
    }
}

/// What is known of the wall clock.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    last: Clocks,
    boot: String,
    /// What it said right after the last leap.
    leapt_ns: Option<i64>,
}

/// Whoever looks at the wall clock now and then.
#[derive(Debug, Default)]
pub struct ClockWatch {
    known: Option<Known>,
    /// The file is of a later version: it stays as it is.
    is_newer: bool,
    /// What of it was written down last, and when by the wall clock.
    written: Option<(Option<i64>, i64)>,
}

impl ClockWatch {
    /// Goes on where the reader before us stopped, in the log root `root`.
    pub fn take_up(root: &Dir) -> ClockWatch {
        let mut text = String::new();
        let read = root.open_read(CLOCK_FILE).map(|file| file.take(FILE_BYTES_MAX).read_to_string(&mut text).ok());
        let is_newer = text.strip_prefix(BEGIN).is_some_and(|version| !version.starts_with("1\n"));
        if is_newer {
            log::warn!("{} has a later version; this reader ignores it", root.path_of(CLOCK_FILE).shown());
        }
        ClockWatch { known: read.ok().and_then(|_| text.parse().ok()).filter(|_| !is_newer), is_newer, written: None }
    }

    /// Looks, and says in one line that the clock leapt.
    pub fn look(&mut self) {
        let look = Clocks { wall_ns: clock::now_ns(), passed_ns: clock::since_boot_ns() };
        let boot = boot::id().unwrap_or_default();
        let (known, leap) = judge(self.known.as_ref(), look, &boot);
        if let Some(from_ns) = leap {
            log::warn!(
                "the clock jumped from {} to {}; removing no part by age until it has run steadily for an hour",
                shown(from_ns),
                shown(look.wall_ns)
            );
        }
        self.known = Some(known);
    }

    /// The text that is to be written down now, if any: after a leap, and now and then.
    pub fn to_write(&mut self) -> Option<String> {
        let known = self.known.as_ref().filter(|_| !self.is_newer)?;
        let is_fresh = |written_ns: i64| (0..WRITE_NS).contains(&known.last.wall_ns.saturating_sub(written_ns));
        if self.written.is_some_and(|(leapt_ns, at_ns)| leapt_ns == known.leapt_ns && is_fresh(at_ns)) {
            return None;
        }
        self.written = Some((known.leapt_ns, known.last.wall_ns));
        Some(known.to_string())
    }

    /// The wall clock at the last look, if ages can be told by it.
    pub fn steady_ns(&self) -> Option<i64> {
        let known = self.known.as_ref()?;
        let is_steady = |leapt_ns| known.last.wall_ns.saturating_sub(leapt_ns) >= STEADY_NS;
        known.leapt_ns.is_none_or(is_steady).then_some(known.last.wall_ns)
    }
}

/// What is known after a look, and if the clock leapt, from which time.
fn judge(before: Option<&Known>, look: Clocks, boot: &str) -> (Known, Option<i64>) {
    let Some(before) = before else {
        return (Known { last: look, boot: boot.to_owned(), leapt_ns: None }, None);
    };
    let was = if before.boot == boot {
        before.last
    } else {
        // Nobody knows how long the machine was off.
        Clocks { passed_ns: look.passed_ns, ..before.last }
    };
    let leap = (look.moved_ns(was).unsigned_abs() > DAY_NS.unsigned_abs()).then_some(was.wall_ns);
    let leapt_ns = if leap.is_some() { Some(look.wall_ns) } else { before.leapt_ns };
    (Known { last: look, boot: boot.to_owned(), leapt_ns }, leap)
}

/// A time for people, to the second.
pub fn shown(time_ns: i64) -> Timestamp {
    timestamp(time_ns.div_euclid(1_000_000_000) * 1_000_000_000)
}

fn timestamp(time_ns: i64) -> Timestamp {
    Timestamp::from_nanosecond(i128::from(time_ns)).unwrap_or_default()
}

impl std::fmt::Display for Known {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{BEGIN}1")?;
        writeln!(f, "boot {}", self.boot)?;
        writeln!(f, "wall {}", timestamp(self.last.wall_ns))?;
        writeln!(f, "passed {}", self.last.passed_ns)?;
        self.leapt_ns.map_or(Ok(()), |leapt_ns| writeln!(f, "leapt {}", timestamp(leapt_ns)))
    }
}

impl FromStr for Known {
    type Err = ();

    fn from_str(text: &str) -> Result<Known, ()> {
        let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
        let time = |key| i64::try_from(value(key)?.parse::<Timestamp>().ok()?.as_nanosecond()).ok();
        let passed_ns = value("passed").and_then(|digits| digits.parse().ok());
        let last = Clocks { wall_ns: time("wall").ok_or(())?, passed_ns: passed_ns.ok_or(())? };
        Ok(Known { last, boot: value("boot").ok_or(())?.to_owned(), leapt_ns: time("leapt") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = STEADY_NS;
    const NOW: i64 = 1_795_255_200_000_000_000;

    fn known(wall_ns: i64, passed_ns: i64, leapt_ns: Option<i64>) -> Known {
        Known { last: Clocks { wall_ns, passed_ns }, boot: "b".to_owned(), leapt_ns }
    }

    #[test]
    fn a_clock_leaps_by_more_than_a_day_that_did_not_pass() {
        let before = known(NOW, HOUR, None);
        // by how much the wall clock moved, by how much time passed, the same boot, leap
        for (moved, passed, same_boot, leaps) in [
            (HOUR, HOUR, true, false),
            (DAY_NS, 0, true, false),
            (DAY_NS + 1, 0, true, true),
            (-DAY_NS - 1, 0, true, true),
            (30 * DAY_NS, 30 * DAY_NS, true, false),
            (0, 30 * DAY_NS, true, true),
            (DAY_NS, -HOUR, false, false),
            (30 * DAY_NS, 30 * DAY_NS - HOUR, false, true),
            (i64::MAX - NOW, 0, true, true),
            (-NOW, 0, false, true),
        ] {
            let look = Clocks { wall_ns: NOW + moved, passed_ns: HOUR + passed };
            let (after, leap) = judge(Some(&before), look, if same_boot { "b" } else { "c" });
            assert_eq!(leap, leaps.then_some(NOW), "{moved} {passed} {same_boot}");
            assert_eq!((after.last, after.leapt_ns), (look, leaps.then_some(look.wall_ns)));
        }
    }

    #[test]
    fn it_is_steady_again_after_an_hour() {
        for (now, leapt_ns, is_steady) in [
            (NOW, None, true),
            (NOW, Some(NOW), false),
            (NOW + HOUR - 1, Some(NOW), false),
            (NOW + HOUR, Some(NOW), true),
            (NOW - HOUR, Some(NOW), false),
        ] {
            let watch = ClockWatch { known: Some(known(now, 0, leapt_ns)), is_newer: false, written: None };
            assert_eq!(watch.steady_ns(), is_steady.then_some(now), "{now} {leapt_ns:?}");
        }
    }

    #[test]
    fn what_is_written_down_comes_back_and_nonsense_is_nothing() {
        for known in [known(NOW, 5, None), known(-1, 0, Some(NOW))] {
            assert_eq!(known.to_string().parse(), Ok(known));
        }
        for text in ["", "standpipe clock 1\nboot b\nwall x\npassed 1\n", "wall 1\npassed 1\n"] {
            assert_eq!(text.parse::<Known>(), Err(()), "{text}");
        }
    }

    #[test]
    fn times_of_the_future_and_from_before_there_was_a_clock_are_none() {
        for (time, now, plausible) in [
            (NOW, NOW, true),
            (NOW + 1, NOW, false),
            (FIRST_NS, NOW, true),
            (0, NOW, false),
            (0, 5, true),
            (6, 5, false),
        ] {
            assert_eq!(is_plausible(time, now), plausible, "{time} at {now}");
        }
    }
}
