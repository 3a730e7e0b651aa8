//! An application that writes without a pause of its own while a rotator is at work, and reopens its log when told.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::{Log, length, line};
use crate::deadline::until;

/// Rest after each line: some thousand lines a second.
const REST: Duration = Duration::from_micros(50);

/// A log that a thread writes into.
#[derive(Debug)]
pub struct Busy {
    stop: Arc<AtomicBool>,
    lines: Arc<AtomicU64>,
    thread: JoinHandle<Log>,
    writer: u16,
    /// Where this file appears, the log is opened anew, and the file is removed.
    pub asked: PathBuf,
}

impl Busy {
    /// Begins to write; it reopens its log when the file `asked` appears, as on a signal.
    pub fn start(mut log: Log, asked: &Path) -> Busy {
        let (stop, lines) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let writer = log.written().0;
        let (stopped, count, asking) = (stop.clone(), lines.clone(), asked.to_owned());
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::SeqCst) {
                log.write(1);
                count.store(log.written().1, Ordering::SeqCst);
                if asking.exists() {
                    drop(log.reopen());
                    fs::remove_file(&asking).expect("a file of our own");
                }
                thread::sleep(REST);
            }
            log
        });
        Busy { stop, lines, thread, writer, asked: asked.to_owned() }
    }

    /// Waits until it has written that many lines more.
    pub fn wait_lines(&self, count: u64) {
        let goal = self.lines.load(Ordering::SeqCst) + count;
        until("an application writes on", || self.lines.load(Ordering::SeqCst) >= goal);
    }

    /// A line that it will write, after this moment.
    pub fn next_line(&self) -> Vec<u8> {
        let seq = self.lines.load(Ordering::SeqCst) + 1;
        line(self.writer, seq, length(self.writer, seq))
    }

    /// Ends it.
    pub fn stop(self) -> Log {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().expect("a writer does not panic")
    }
}
