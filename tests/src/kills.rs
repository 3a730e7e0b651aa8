//! The crash tests. All of them are one loop, [`run`]: programs live for a while, some of them die, and the next ones
//! start, until it is enough.
//!
//! Who dies, who else is at work meanwhile, and what must hold afterwards is the matter of each test.

pub mod power_cuts;
pub mod reader;
pub mod tailer;

use std::fmt;
use std::mem;
use std::ops::{Deref, DerefMut};
use std::thread;
use std::time::Duration;

use crate::programs::{Daemon, Launch};
use crate::world::Random;

/// One in so many programs that come again is not waited for: it may die before it is ready.
const EARLY_EVERY: usize = 4;

/// How long lives are.
#[derive(Clone, Debug)]
pub struct Lives {
    min: Duration,
    spread: Duration,
    random: Random,
}

impl Lives {
    /// Of any length up to this one.
    pub fn up_to(max: Duration, seed: u64) -> Lives {
        Lives::between(Duration::ZERO, max, seed)
    }

    /// Of any length between these.
    pub fn between(min: Duration, max: Duration, seed: u64) -> Lives {
        Lives { min, spread: max.saturating_sub(min), random: Random(seed) }
    }

    /// As long as the test itself waits.
    pub fn of_tests_choice() -> Lives {
        Lives::up_to(Duration::ZERO, 1)
    }
}

/// The loop: after each life `kill` ends some and starts the next, until `is_over` after so many turns. How many there
/// were.
pub fn run<S>(
    stage: &mut S,
    mut lives: Lives,
    mut is_over: impl FnMut(&mut S, u64) -> bool,
    mut kill: impl FnMut(&mut S, u64, &mut Random),
) -> u64 {
    let mut turns = 0;
    while !is_over(stage, turns) {
        // The length of a life is the experiment itself, not a wait for something.
        thread::sleep(lives.min + lives.random.span(lives.spread));
        kill(stage, turns, &mut lives.random);
        turns += 1;
    }
    turns
}

/// What came of it, as the beginning of a table.
fn write_rows(f: &mut fmt::Formatter<'_>, title: &str, rows: &[(&str, u64)]) -> fmt::Result {
    writeln!(f, "| {title} | |\n|---|---|")?;
    rows.iter().try_for_each(|(what, count)| writeln!(f, "| {what} | {count} |"))
}

/// A program that dies and comes again. It is to be used as the [`Daemon`] that lives now.
#[derive(Debug)]
pub struct Mortal {
    launch: Launch,
    says_ready: bool,
    living: Daemon,
}

impl Mortal {
    /// Starts the first, and waits until it is ready, as is done for all that follow.
    pub fn start(launch: Launch) -> Mortal {
        Mortal { living: launch.clone().start(), says_ready: true, launch }
    }

    /// The same of a program that does not say when it is ready.
    pub fn start_unready(launch: Launch) -> Mortal {
        Mortal { living: launch.clone().start_unready(), says_ready: false, launch }
    }

    /// Kills it, and starts the next; the one that died.
    pub fn kill(&mut self) -> Daemon {
        self.kill9();
        self.revive()
    }

    /// Ends it in order, and starts the next; the one that ended.
    pub fn restart(&mut self) -> Daemon {
        assert_eq!(self.terminate(), 0, "{}", self.stderr());
        self.revive()
    }

    /// Starts the next; the one before, which has ended.
    pub fn revive(&mut self) -> Daemon {
        let launch = self.launch.clone();
        mem::replace(&mut self.living, if self.says_ready { launch.start() } else { launch.start_unready() })
    }

    /// The same; now and then without waiting until it is ready.
    pub fn revive_or_rush(&mut self, random: &mut Random) -> Daemon {
        if random.one_in(EARLY_EVERY) {
            mem::replace(&mut self.living, self.launch.clone().start_unready())
        } else {
            self.revive()
        }
    }
}

impl Deref for Mortal {
    type Target = Daemon;

    fn deref(&self) -> &Daemon {
        &self.living
    }
}

impl DerefMut for Mortal {
    fn deref_mut(&mut self) -> &mut Daemon {
        &mut self.living
    }
}
