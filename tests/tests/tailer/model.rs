//! Random steps of an application, a rotator and an operator around a real tailer, which delivers through a staging
//! pipe. Nothing is destroyed before the tailer could read it, so every line arrives once, whole and in the order of its
//! writer: after each step for which the tailer runs, and whatever SIGKILL and SIGSTOP come in between.
//!
//! `STANDPIPE_TEST_SEED` and `STANDPIPE_TEST_STEPS` make other runs of it. What may be destroyed is played by the model
//! inside of the tailer's own tests.

use std::fs::{self, File, OpenOptions};

use nix::sys::signal::Signal;

use standpipe_tests::stands::Tailing;
use standpipe_tests::world::{Log, Owner, Random, copytruncate, numbered, rename_and_create, shift};

/// Numbers of writers go from 0 to 99.
const LATE_MAX: u16 = 90;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    Running,
    Paused,
    Down,
}

struct World {
    stand: Tailing,
    log: Log,
    is_begun: bool,
    /// Writers that still have an old file; each has a number of its own.
    late: Vec<(Log, File)>,
    /// Those that have gone.
    gone: Vec<Log>,
    standing: Standing,
    is_draining: bool,
    kills: u32,
}

impl World {
    fn new() -> World {
        let mut stand = Tailing::into_pipe(Owner::Tailer, true);
        stand.configure("late_writer_max_ms = 500\n", &[("app.log", "")]);
        let mut log = stand.log("app.log", 0);
        stand.start();
        // A tailer that has looked: before that, a kill makes the next start the first one, and what was rotated until
        // then is not of its time.
        log.write(1);
        stand.wait_delivered(&[&log]);
        let (late, gone) = (Vec::new(), Vec::new());
        World { stand, log, is_begun: false, late, gone, standing: Standing::Running, is_draining: true, kills: 0 }
    }

    fn logs(&self) -> Vec<&Log> {
        self.late.iter().map(|(log, _)| log).chain(&self.gone).chain([&self.log]).collect()
    }

    fn is_running(&self) -> bool {
        self.standing == Standing::Running
    }

    fn can_rest(&self) -> bool {
        self.is_running() && self.is_draining
    }

    fn step(&mut self, random: &mut Random) {
        let few = 1 + random.below(20);
        let action = random.below(32);
        // Shown where the test fails.
        print!("{action}:{few}{} ", if self.can_rest() { "" } else { "*" });
        match action {
            0..=7 => self.write(if few == 1 { 2000 } else { few }),
            8..=9 => {
                self.log.begin_line();
                self.is_begun = true;
            }
            10..=14 => self.rotate(few),
            15..=17 => {
                self.complete();
                copytruncate(&self.log);
            }
            18..=20 => {
                if let Some((log, file)) = self.late.first_mut() {
                    log.write_through(file, few);
                }
            }
            21 => {
                if !self.late.is_empty() {
                    self.gone.push(self.late.remove(0).0);
                }
            }
            22 => self.truncate(),
            23 => self.remove_oldest(),
            24 => {
                // No new file yet, and the application goes on in the old one.
                self.complete();
                shift(&self.log.path);
                self.write(few);
                drop(self.log.reopen());
            }
            25 if self.is_running() => {
                self.stand.daemon().freeze();
                self.standing = Standing::Paused;
            }
            26..=27 if self.standing != Standing::Down => {
                self.stand.kill9();
                self.kills += 1;
                self.standing = Standing::Down;
            }
            28 if self.can_rest() => {
                self.stand.stop();
                self.standing = Standing::Down;
            }
            25..=30 => self.go_on(),
            _ => {
                self.is_draining = !self.is_draining;
                self.stand.set_draining(self.is_draining);
            }
        }
        if self.can_rest() {
            self.stand.wait_delivered(&self.logs());
        }
    }

    fn write(&mut self, lines: u64) {
        self.log.write(lines);
        self.is_begun = false;
    }

    /// No line may be torn by what comes next.
    fn complete(&mut self) {
        if self.is_begun {
            self.write(1);
        }
    }

    /// Now and then a line is begun in the old file and completed there after the new one is open.
    fn rotate(&mut self, few: u64) {
        let was_begun = std::mem::take(&mut self.is_begun);
        let mut old = rename_and_create(&mut self.log);
        if was_begun {
            self.log.write_through(&mut old, 1);
        }
        let writer = 1 + (self.late.len() + self.gone.len()) as u16;
        if few.is_multiple_of(3) && writer < LATE_MAX {
            self.late.push((self.stand.log("other.log", writer), old));
        }
    }

    /// All that is there is delivered.
    fn truncate(&mut self) {
        self.complete();
        if self.can_rest() {
            self.stand.wait_delivered(&self.logs());
            OpenOptions::new().write(true).open(&self.log.path).unwrap().set_len(0).unwrap();
        }
    }

    fn remove_oldest(&mut self) {
        if !self.can_rest() || !self.late.is_empty() {
            return;
        }
        self.stand.wait_delivered(&self.logs());
        if let Some(oldest) = (1..1000).map(|n| numbered(&self.log.path, n)).take_while(|path| path.exists()).last() {
            fs::remove_file(oldest).unwrap();
        }
    }

    fn go_on(&mut self) {
        match self.standing {
            Standing::Running => {}
            Standing::Paused => self.stand.daemon().signal(Signal::SIGCONT),
            Standing::Down => self.stand.start(),
        }
        self.standing = Standing::Running;
    }

    fn finish(mut self) -> String {
        self.complete();
        self.stand.set_draining(true);
        self.go_on();
        let logs: Vec<&Log> = self.late.iter().map(|(log, _)| log).chain(&self.gone).chain([&self.log]).collect();
        self.stand.finish(&logs);
        let lines: u64 = logs.iter().map(|log| log.written().1).sum();
        format!("{lines} lines, {} kills, {} late writers", self.kills, logs.len() - 1)
    }
}

fn number_of(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

#[test]
fn every_line_arrives_once_whatever_rotates_and_whoever_is_killed() {
    let seed = number_of("STANDPIPE_TEST_SEED", 1);
    let steps = number_of("STANDPIPE_TEST_STEPS", 150);
    println!("seed {seed}, {steps} steps");
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut world = World::new();
    for _ in 0..steps {
        world.step(&mut random);
    }
    println!("{}", world.finish());
}
