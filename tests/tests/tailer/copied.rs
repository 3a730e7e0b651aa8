//! Copies under names that no rotator gives are told by what they hold, in whatever order they, their originals and what
//! became of those are seen: each line of a log comes once.

use std::fs::{self, OpenOptions};

use nix::sys::signal::Signal;
use standpipe_tests::deadline::until;
use standpipe_tests::privilege;

use crate::once::{Stand, WAYS};

/// What the tailer does while a log is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meanwhile {
    Follows,
    StandsStill,
    IsAway,
}

/// A log of numbered lines that is copied.
struct Copied {
    stand: Stand,
    meanwhile: Meanwhile,
    lines: usize,
    copies: usize,
}

/// Names before and behind that of the log, and in another directory.
const NAMES: [&str; 3] = ["a", "z", "sub/b"];

impl Copied {
    fn new(way: (bool, bool), meanwhile: Meanwhile, copies: usize) -> Copied {
        let stand = Stand::new(way, &["*.log", "*/*.log"]);
        let sub = stand.tailing.log_path("sub");
        fs::create_dir(&sub).unwrap();
        privilege::give(&sub);
        let mut copied = Copied { stand, meanwhile, lines: 0, copies };
        copied.write(150);
        copied.wait();
        copied
    }

    fn write(&mut self, lines: usize) {
        let line = |n| format!("2026-11-28T10:00:00 line {n:05} of many\n");
        let text: String = (self.lines..self.lines + lines).map(line).collect();
        self.stand.append("app.log", text);
        self.lines += lines;
    }

    fn copy(&mut self) {
        self.copies += 1;
        self.copy_to(&format!("{}{}.log", NAMES[self.copies % NAMES.len()], self.copies));
    }

    fn copy_to(&self, name: &str) {
        let path = self.stand.tailing.log_path(name);
        fs::copy(self.stand.tailing.log_path("app.log"), &path).unwrap();
        privilege::give(&path);
    }

    fn truncate(&self) {
        OpenOptions::new().write(true).truncate(true).open(self.stand.tailing.log_path("app.log")).unwrap();
    }

    fn rename(&self, to: &str) {
        fs::rename(self.stand.tailing.log_path("app.log"), self.stand.tailing.log_path(to)).unwrap();
    }

    /// All that was written came.
    #[track_caller]
    fn wait(&mut self) {
        until(&format!("{} lines", self.lines), || self.stand.lines().len() >= self.lines);
    }

    /// What happens to the log, and what is to be written behind it.
    #[track_caller]
    fn happen(&mut self, what: &str, more: usize, happening: impl FnOnce(&mut Copied)) {
        match self.meanwhile {
            Meanwhile::Follows => {}
            Meanwhile::StandsStill => self.stand.tailing.daemon().freeze(),
            Meanwhile::IsAway => _ = self.stand.tailing.stop(),
        }
        happening(self);
        if more > 0 {
            self.write(more);
        }
        match self.meanwhile {
            Meanwhile::Follows => {}
            Meanwhile::StandsStill => self.stand.tailing.daemon().signal(Signal::SIGCONT),
            Meanwhile::IsAway => self.stand.tailing.start(),
        }
        self.wait();
        self.stand.look_at_all();
        let mut lines = self.stand.lines();
        lines.sort_unstable();
        let (count, meanwhile) = (lines.len(), self.meanwhile);
        lines.dedup();
        let stderr = || self.stand.tailing.daemon().stderr().clone();
        assert_eq!((lines.len(), count), (self.lines, self.lines), "{what} while it {meanwhile:?}: {}", stderr());
    }

    /// All that may happen to it, one after the other; from this name on.
    fn undergo(way: (bool, bool), meanwhile: Meanwhile, first_name: usize) {
        let mut copied = Copied::new(way, meanwhile, first_name);
        copied.happen("a copy, truncated", 5, |log| {
            log.copy();
            log.truncate();
        });
        copied.happen("a copy, truncated and filled with more", 300, |log| {
            log.copy();
            log.truncate();
        });
        copied.happen("a backup", 5, Copied::copy);
        copied.happen("a backup, and a copy with what was not read yet, truncated", 5, |log| {
            log.copy();
            log.write(100);
            log.copy();
            log.truncate();
        });
        copied.happen("a backup of all", 0, Copied::copy);
        copied.happen("a copy beside that, as a rotator makes it, truncated", 5, |log| {
            log.copy_to(&format!("app.log.{}", log.copies));
            log.truncate();
        });
        copied.happen("a copy, removed", 5, |log| {
            log.copy();
            fs::remove_file(log.stand.tailing.log_path("app.log")).unwrap();
        });
        copied.happen("a copy, removed, and nothing for a while", 0, |log| {
            log.copy();
            fs::remove_file(log.stand.tailing.log_path("app.log")).unwrap();
        });
        copied.happen("the next one", 5, |_| {});
        copied.happen("a copy with what was not read yet, removed", 5, |log| {
            log.write(100);
            log.copy();
            fs::remove_file(log.stand.tailing.log_path("app.log")).unwrap();
        });
        copied.happen("a copy, renamed", 5, |log| {
            log.copy();
            log.rename("app.log.1");
        });
        let name = format!("moved-{}.log", copied.copies);
        copied.happen("a copy of what nobody saw", 5, |log| {
            log.rename(&name);
            log.write(200);
            log.copy();
            log.truncate();
        });
        copied.stand.tailing.stop();
    }
}

/// Each way begins with another name.
fn undergo_each_way(meanwhile: Meanwhile) {
    for (index, way) in WAYS.into_iter().enumerate() {
        if meanwhile != Meanwhile::IsAway {
            Copied::undergo(way, meanwhile, index);
        } else if way.0 {
            NAMES.iter().enumerate().for_each(|(index, _)| Copied::undergo(way, meanwhile, index));
        }
    }
}

#[test]
fn a_copy_is_known_whatever_is_seen_first() {
    undergo_each_way(Meanwhile::Follows);
}

#[test]
fn a_copy_that_was_made_while_the_tailer_stood_still_is_known() {
    undergo_each_way(Meanwhile::StandsStill);
}

#[test]
fn a_copy_that_was_made_while_nobody_followed_is_known() {
    undergo_each_way(Meanwhile::IsAway);
}
