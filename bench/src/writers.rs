//! The load: threads that write lines into a pipe, one `write(2)` a line, at a pace.
//!
//! A writer allocates nothing per line. With a pace it looks at the clock, writes what is due, and sleeps for at least
//! 0.1 ms: at 50,000 lines/s each it wakes about 6,000 times a second. Its own CPU time is measured beside.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use standpipe_common::error::{Cannot, Error, Result};
use standpipe_tests::deadline::cpu_of_thread;
use standpipe_tests::world;

/// Bytes of every line, its newline included.
pub const LINE_BYTES: usize = 100;
/// Shortest sleep.
const SLEEP_MIN: Duration = Duration::from_micros(100);

/// What is written, and how fast.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Threads.
    pub writers: u16,
    /// Of all of them together. `None`: as fast as the pipe takes them.
    pub lines_per_second: Option<u64>,
    /// Lines that can be told from each other when they are read back; they cost the writer more.
    pub numbered: bool,
}

/// A load at work.
#[derive(Debug)]
pub struct Writers {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<io::Result<Sent>>>,
}

/// What one writer did.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    /// Its number.
    pub writer: u16,
    /// Lines that the pipe took.
    pub lines: u64,
    /// CPU time of its thread.
    pub cpu: Duration,
}

impl Load {
    /// Starts all writers on this pipe.
    pub fn start(self, pipe: impl AsFd) -> Result<Writers> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::new();
        for writer in 0..self.writers {
            let pipe = File::from(pipe.as_fd().try_clone_to_owned().cannot("write to", "a pipe")?);
            let stop = stop.clone();
            threads.push(thread::spawn(move || self.write(writer, pipe, &stop)));
        }
        Ok(Writers { stop, threads })
    }

    fn write(self, writer: u16, mut pipe: File, stop: &AtomicBool) -> io::Result<Sent> {
        let mut line = plain_line(writer);
        let pace = self.lines_per_second.map(|lines| Pace::new(lines, self.writers, writer));
        let start = Instant::now();
        let mut sent = Sent { writer, lines: 0, cpu: Duration::ZERO };
        while !stop.load(Ordering::Relaxed) {
            let due = pace.as_ref().map_or(sent.lines + 1, |pace| pace.due(start.elapsed()));
            while sent.lines < due && !stop.load(Ordering::Relaxed) {
                if self.numbered {
                    world::line_into(&mut line, writer, sent.lines, LINE_BYTES);
                }
                pipe.write_all(&line)?;
                sent.lines += 1;
            }
            if let Some(pace) = &pace {
                thread::sleep(pace.time_of(sent.lines).saturating_sub(start.elapsed()).max(SLEEP_MIN));
            }
        }
        sent.cpu = cpu_of_thread();
        Ok(sent)
    }
}

impl Writers {
    /// Stops them and returns what each did.
    pub fn stop(self) -> Result<Vec<Sent>> {
        self.stop.store(true, Ordering::Relaxed);
        let done =
            self.threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err(io::Error::other("panic"))));
        done.map(|sent| sent.map_err(|error| Error::new("write to", "a pipe", error))).collect()
    }
}

/// When the lines of one of several writers are due.
#[derive(Clone, Copy, Debug)]
struct Pace {
    interval_ns: u64,
    /// The writers take turns.
    offset_ns: u64,
}

impl Pace {
    fn new(lines_per_second: u64, writers: u16, writer: u16) -> Pace {
        let interval_ns = 1_000_000_000 * u64::from(writers) / lines_per_second.max(1);
        Pace { interval_ns, offset_ns: interval_ns * u64::from(writer) / u64::from(writers) }
    }

    /// How many are due after so long.
    fn due(&self, elapsed: Duration) -> u64 {
        let elapsed_ns = elapsed.as_nanos() as u64;
        elapsed_ns.checked_sub(self.offset_ns).map_or(0, |since_ns| since_ns / self.interval_ns + 1)
    }

    /// When the line of this number is due.
    fn time_of(&self, line: u64) -> Duration {
        Duration::from_nanos(self.offset_ns + line * self.interval_ns)
    }
}

/// A pipe as a shell makes it: the end for a program's standard input, and the one for its writers.
pub fn pipe() -> Result<(io::PipeReader, OwnedFd)> {
    let (reader, writer) = io::pipe().cannot("make", "a pipe")?;
    Ok((reader, writer.into()))
}

/// Waits until a pipe is empty.
pub fn wait_empty(pipe: impl AsFd) -> Result<()> {
    const LOOK_SPAN: Duration = Duration::from_millis(1);
    while standpipe_common::sys::bytes_queued(&pipe).cannot("look into", "a pipe")? > 0 {
        thread::sleep(LOOK_SPAN);
    }
    Ok(())
}

fn plain_line(writer: u16) -> Vec<u8> {
    let mut line = format!("writer {writer} says what a server says, again and again ").into_bytes();
    line.resize(LINE_BYTES - 1, b'.');
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_comes_to_its_rate_and_writers_take_turns() {
        let paces: Vec<Pace> = (0..4).map(|writer| Pace::new(2000, 4, writer)).collect();
        for (micros, due) in [(0, [1, 0, 0, 0]), (500, [1, 1, 0, 0]), (1999, [1; 4]), (2000, [2, 1, 1, 1])] {
            let counted: Vec<u64> = paces.iter().map(|pace| pace.due(Duration::from_micros(micros))).collect();
            assert_eq!(counted, due, "{micros}");
        }
        let all: u64 = paces.iter().map(|pace| pace.due(Duration::from_secs(5))).sum();
        assert!((9_997..=10_004).contains(&all), "{all}");
        assert_eq!(paces[1].time_of(3), Duration::from_micros(500 + 3 * 2000));
    }

    #[test]
    fn a_line_is_as_long_as_is_said() {
        let line = plain_line(3);
        assert_eq!((line.len(), memchr::memchr(b'\n', &line)), (LINE_BYTES, Some(LINE_BYTES - 1)));
    }
}
