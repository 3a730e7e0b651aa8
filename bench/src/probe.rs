//! How long a line takes from `write(2)` until it can be read in the file.
//!
//! One thread writes a numbered line and then reads the file behind its former end until the line is there, sleeping
//! 50 µs between two looks (with a timer slack of 1 µs, so about 55 µs): each delay is too long by half of that on
//! average, and a look costs some microseconds of the other core. A file that is rotated meanwhile is read to its end,
//! and then the new one.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::prctl;
use standpipe_common::error::{Cannot, Error, Result};

use crate::sinks::Running;

const LOOK_SPAN: Duration = Duration::from_micros(50);
const TIMER_SLACK_NS: u64 = 1000;
/// A line that is not there by then will not come.
const DELAY_MAX: Duration = Duration::from_secs(10);
const BUFFER_BYTES: usize = 256 << 10;

/// Writes lines into the pipe of a sink and waits for them in its file.
pub struct Probe<'a> {
    running: &'a Running,
    pipe: File,
    live: PathBuf,
    file: File,
    at: u64,
    number: u64,
    buffer: Vec<u8>,
}

impl<'a> Probe<'a> {
    /// On a sink that has its file already.
    pub fn new(running: &'a Running, pipe: File) -> Result<Probe<'a>> {
        prctl::set_timerslack(TIMER_SLACK_NS).cannot("set", "the timer slack")?;
        let live = running.live();
        let file = File::open(&live).cannot("open", &live)?;
        Ok(Probe { running, pipe, live, file, at: 0, number: 0, buffer: vec![0; BUFFER_BYTES] })
    }

    /// One line, and its delay.
    pub fn once(&mut self) -> Result<Duration> {
        self.catch_up().cannot("follow", &self.live)?;
        self.number += 1;
        let mark = format!("probe {:010} sees how long it takes\n", self.number);
        let start = Instant::now();
        self.pipe.write_all(mark.as_bytes()).cannot("write to", "a pipe")?;
        let mut known = 0;
        loop {
            if self.sees(mark.as_bytes(), &mut known).cannot("follow", &self.live)? {
                return Ok(start.elapsed());
            }
            if start.elapsed() > DELAY_MAX {
                return Err(Error::because("find a line in", &self.live, "it did not come within 10 s"));
            }
            thread::sleep(LOOK_SPAN);
        }
    }

    /// To the end of the newest file: the next line comes behind it.
    fn catch_up(&mut self) -> io::Result<()> {
        if self.is_rotated() {
            self.open()?;
        }
        self.at = self.file.metadata()?.len();
        Ok(())
    }

    /// Whether the line is in what is new. `known` bytes of its beginning may have been at the end before.
    fn sees(&mut self, mark: &[u8], known: &mut usize) -> io::Result<bool> {
        loop {
            let is_rotated = self.is_rotated();
            let taken = self.file.read_at(&mut self.buffer[*known..], self.at)?;
            self.at += taken as u64;
            let end = *known + taken;
            if memchr::memmem::find(&self.buffer[..end], mark).is_some() {
                return Ok(true);
            }
            let kept = end.min(mark.len() - 1);
            self.buffer.copy_within(end - kept..end, 0);
            *known = kept;
            match taken {
                // Asked before the read: what was written until the rotation has been read.
                0 if is_rotated => {
                    self.open()?;
                    *known = 0;
                }
                0 => return Ok(false),
                _ => {}
            }
        }
    }

    fn is_rotated(&self) -> bool {
        let (Ok(open), Ok(live)) = (self.file.metadata(), self.live.metadata()) else { return false };
        (open.dev(), open.ino()) != (live.dev(), live.ino())
    }

    fn open(&mut self) -> io::Result<()> {
        self.live = self.running.live();
        self.file = File::open(&self.live)?;
        self.at = 0;
        Ok(())
    }
}
