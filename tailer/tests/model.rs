//! Random steps of a server, a rotator and an operator against a reference that knows which bytes were destroyed unread.
//!
//! Lines are numbered. After each step the source runs to rest, or provably does not look; at the end every line that
//! was not destroyed unread was given exactly once, in the order in which it was written.

mod follower;

use std::collections::BTreeSet;

use follower::Follower;
use standpipe_tailer::state::SourceState;

/// A small generator of numbers that look random; a seed says all of a run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

struct World {
    follower: Follower,
    random: Random,
    next: u32,
    /// Written, whole lines, and ends of files without a newline.
    written: Vec<String>,
    /// Of these: destroyed before they were looked at.
    destroyed: BTreeSet<String>,
    /// Lines of the live file that no look has seen.
    unseen: Vec<String>,
    /// The unfinished line of the live file, and whether a look has seen it.
    partial: Option<(String, bool)>,
    /// A line that was completed since the last look, as that saw it.
    begun: Option<String>,
    /// The live file was opened by a look.
    is_opened: bool,
    stopped: Option<SourceState>,
    leases: bool,
    trace: Vec<String>,
}

impl World {
    fn new(seed: u64, leases: bool) -> World {
        let mut follower = Follower::new(leases);
        follower.append("app.log", "");
        follower.turn();
        World {
            follower,
            random: Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            next: 0,
            written: Vec::new(),
            destroyed: BTreeSet::new(),
            unseen: Vec::new(),
            partial: None,
            begun: None,
            is_opened: true,
            stopped: None,
            leases,
            trace: Vec::new(),
        }
    }

    fn write(&mut self) {
        let mut text = String::new();
        if let Some((partial, is_seen)) = self.partial.take() {
            text += "-end\n";
            self.begun = is_seen.then(|| partial.clone());
            self.written.push(partial.clone() + "-end");
            self.unseen.push(partial + "-end");
        }
        for _ in 0..self.random.below(30) {
            let line = format!("{:08} a line", self.next);
            self.next += 1;
            text += &(line.clone() + "\n");
            self.written.push(line.clone());
            self.unseen.push(line);
        }
        self.follower.append("app.log", text);
    }

    fn write_partial(&mut self) {
        if self.partial.is_none() {
            let line = format!("{:08} half", self.next);
            self.next += 1;
            self.follower.append("app.log", &line);
            self.partial = Some((line, false));
        }
    }

    /// The live file gets no more bytes, and all it has can be read.
    fn end_of_file(&mut self) {
        if let Some((partial, _)) = self.partial.take() {
            self.written.push(partial);
        }
        self.unseen.clear();
        self.begun = None;
    }

    /// The live file is gone with all that no look has seen.
    fn destroy(&mut self) {
        if let Some(begun) = self.begun.take() {
            // Its end alone is gone.
            for line in self.written.iter_mut().filter(|line| **line == format!("{begun}-end")) {
                line.clone_from(&begun);
            }
        }
        self.destroyed.extend(self.unseen.drain(..));
        if let Some((partial, is_seen)) = self.partial.take() {
            self.written.push(partial.clone());
            if !is_seen {
                self.destroyed.insert(partial);
            }
        }
    }

    fn shift(&mut self) {
        for number in (1..200).rev() {
            let from = format!("app.log.{number}");
            if self.follower.path(&from).exists() {
                self.follower.rename(&from, &format!("app.log.{}", number + 1));
            }
        }
    }

    fn create(&mut self) {
        // Births are as fine as the clock of the kernel.
        std::thread::sleep(std::time::Duration::from_millis(5));
        self.follower.append("app.log", "");
        self.is_opened = false;
    }

    fn look(&mut self) {
        if self.stopped.is_none() {
            self.follower.turn();
            // Where nobody says that a file is finished, each next one waits for a second of quiet.
            for _ in 0..if self.leases { 0 } else { 2 + self.follower.source.generations().count() } {
                self.follower.advance(1100);
                self.follower.turn();
            }
            self.unseen.clear();
            self.begun = None;
            self.is_opened = true;
            if let Some((_, is_seen)) = &mut self.partial {
                *is_seen = true;
            }
        }
    }

    fn step(&mut self) {
        let action = self.random.below(12);
        self.trace.push(format!("{action}"));
        if std::env::var_os("STANDPIPE_TEST_SHOW").is_some() {
            let given = self.follower.text();
            let last: Vec<&str> = given.lines().rev().take(2).collect();
            println!(
                "{action} stopped {} next {} {last:?} {:?}",
                self.stopped.is_some(),
                self.next,
                self.follower.happenings
            );
            self.follower.happenings.clear();
        }
        match action {
            0..=2 => self.write(),
            3 => self.write_partial(),
            4 | 5 => {
                self.shift();
                self.end_of_file();
                self.follower.rename("app.log", "app.log.1");
                self.create();
            }
            6 | 7 => {
                self.shift();
                self.end_of_file();
                self.follower.copy("app.log", "app.log.1");
                if self.random.below(2) == 0 {
                    self.look();
                }
                self.follower.truncate("app.log", 0);
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            8 => {
                self.destroy();
                self.follower.truncate("app.log", 0);
            }
            9 => {
                if self.is_opened && self.stopped.is_none() {
                    self.end_of_file();
                } else {
                    self.destroy();
                }
                self.follower.remove("app.log");
                self.create();
            }
            10 => match self.stopped.take() {
                None => {
                    self.stopped = Some(self.follower.stop());
                    self.begun = None;
                    // What is held is read again, if it is there then.
                    if let Some((_, is_seen)) = &mut self.partial {
                        *is_seen = false;
                    }
                }
                Some(state) => self.follower.start(state),
            },
            _ => self.follower.advance(3000),
        }
        if self.random.below(3) > 0 {
            self.look();
        }
    }

    fn check(&mut self, seed: u64, leases: bool) {
        if let Some(state) = self.stopped.take() {
            self.follower.start(state);
        }
        self.end_of_file();
        self.shift();
        self.follower.rename("app.log", "app.log.1");
        self.follower.settle();
        let text = self.follower.text();
        let given: Vec<&str> = text.lines().collect();
        let expected: Vec<&str> =
            self.written.iter().filter(|line| !self.destroyed.contains(*line)).map(String::as_str).collect();
        // Where nobody says that a file is finished, its last line waits for the newline while the next file is read,
        // and is gone when the file is unlinked and the program ends.
        let (mut given, mut expected) = (given, expected);
        if !leases {
            given.retain(|line| !line.ends_with("half"));
            expected.retain(|line| !line.ends_with("half"));
        }
        for index in 0..given.len().max(expected.len()) {
            assert_eq!(
                given.get(index),
                expected.get(index),
                "seed {seed}, leases {leases}, line {index}, steps {}",
                self.trace.join(" ")
            );
        }
    }
}

#[test]
fn random_rotations_give_what_was_not_destroyed_once_and_in_order() {
    let seeds: u64 = std::env::var("STANDPIPE_TEST_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(30);
    for seed in 1..=seeds {
        for leases in [true, false] {
            let mut world = World::new(seed, leases);
            for _ in 0..25 {
                world.step();
            }
            world.check(seed, leases);
        }
    }
}
