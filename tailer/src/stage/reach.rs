//! Getting at the target and its staging pipe: what cannot be had, or fails, is tried again and again, and that is said
//! once. Not here: what goes through them.

use std::io;
use std::path::Path;
use std::time::Instant;

use nix::errno::Errno;
use standpipe_common::shown::Shown as _;

use super::message::{Messages, Severity};
use super::retry::Outage;
use super::steps::Pipes;
use super::target::{Target, Turnout};

/// A target that is there, or will be.
#[derive(Debug)]
pub struct Reach {
    /// It, open or not.
    pub target: Target,
    target_retry: Outage,
    pipe_retry: Outage,
}

impl Reach {
    /// The target at this path; nothing is opened yet.
    pub fn new(path: &Path) -> Reach {
        Reach { target: Target::new(path), target_retry: Outage::default(), pipe_retry: Outage::default() }
    }

    /// Opens what is not open. Returns until when there is nothing to be done because the target cannot be opened.
    pub fn connect(&mut self, said: &mut Messages, now: Instant) -> Option<Instant> {
        if self.target.raw_fd().is_some() {
            return None;
        }
        if let Some(until) = self.target_retry.until(now).or_else(|| self.locked_until(now)) {
            return Some(until);
        }
        if let Err(error) = self.target.open() {
            let reason = match error.errno() {
                Some(Errno::ENXIO) => "no reader or holder has it open; waiting".to_owned(),
                _ => error.to_string(),
            };
            self.target_retry.failed(now, said, Severity::Error, &reason);
            return self.target_retry.until(now);
        }
        if self.target_retry.succeeded() {
            said.note("delivering again");
        }
        self.find_stage(said, now);
        self.locked_until(now)
    }

    /// When it is looked again whether somebody else still has the lock of the staging pipe. Until then the target is
    /// not open: two that deliver would mix.
    fn locked_until(&self, now: Instant) -> Option<Instant> {
        self.pipe_retry.until(now).filter(|_| self.target.is_locked_out())
    }

    /// Looks for the staging pipe. Whether another one, or none that can be used, is there now.
    pub fn find_stage(&mut self, said: &mut Messages, now: Instant) -> bool {
        let before = self.target.stage();
        if before.is_none() && self.pipe_retry.until(now).is_some() {
            return false;
        }
        let was_locked_out = self.target.is_locked_out();
        match self.target.find_stage() {
            Ok(Turnout::Same) => {}
            Ok(Turnout::Opened { path, is_held }) => {
                let was_told = self.pipe_retry.succeeded();
                if was_locked_out {
                    said.note("delivering again");
                }
                if !is_held {
                    let path = path.shown();
                    said.warning(format!("no holder has {path} open: a crash may repeat what is in it"));
                } else if was_told && !was_locked_out {
                    said.note(format!("{} exists now: a crash no longer repeats lines", path.shown()));
                }
            }
            Ok(Turnout::Missing(path)) => {
                let reason = format!(
                    "{} does not exist: a crash may repeat up to 256 KiB; set `stage = true` in the policy of this pipe so \
                     that holder creates it",
                    path.shown()
                );
                self.pipe_retry.failed(now, said, Severity::Warning, &reason);
            }
            Err(error) => {
                let is_locked_out = self.target.is_locked_out();
                let what_comes = if is_locked_out { "waiting" } else { "a crash may repeat up to 256 KiB" };
                self.pipe_retry.failed(now, said, Severity::Error, &format!("{error}; {what_comes}"));
                if is_locked_out {
                    self.target.close();
                    return true;
                }
            }
        }
        self.target.stage() != before
    }

    /// A step failed.
    pub fn lost(&mut self, said: &mut Messages, now: Instant, error: &io::Error) {
        let errno = error.raw_os_error().map(Errno::from_raw);
        if errno == Some(Errno::EINTR) {
            return;
        }
        if errno.is_none() && self.target.stage().is_some() {
            // Our own sentence about a staging pipe that does not work.
            let reason = format!("cannot use the staging pipe: {error}; a crash may repeat up to 256 KiB");
            self.pipe_retry.failed(now, said, Severity::Error, &reason);
            self.target.close_stage();
            return;
        }
        let reason = match errno {
            Some(Errno::EPIPE | Errno::ENXIO) => "no reader or holder has it open; waiting".to_owned(),
            Some(errno) => format!("cannot deliver: {}; retrying", errno.desc()),
            None => format!("cannot deliver: {error}; retrying"),
        };
        self.target_retry.failed(now, said, Severity::Error, &reason);
        self.target.close();
    }
}
