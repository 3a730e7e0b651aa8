//! The reader behind a pipe: takes what comes, and keeps it.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::open_reader;

/// Between two looks at an empty pipe.
const LOOK_SPAN: Duration = Duration::from_millis(1);
/// Most bytes of one read.
const CHUNK_BYTES: usize = 64 << 10;

/// A thread that drains a FIFO into memory for as long as this lives.
#[derive(Debug)]
pub struct Drain {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    bytes: Mutex<Vec<u8>>,
    is_resting: AtomicBool,
    has_ended: AtomicBool,
}

impl Drain {
    /// Opens the FIFO and begins.
    pub fn start(fifo: &Path) -> Drain {
        let (shared, pipe) = (Arc::new(Shared::default()), open_reader(fifo));
        let of_thread = shared.clone();
        Drain { shared, thread: Some(thread::spawn(move || of_thread.drain(pipe))) }
    }

    /// Stops or goes on; the pipe stays open.
    pub fn set_draining(&self, is_draining: bool) {
        self.shared.is_resting.store(!is_draining, Ordering::SeqCst);
    }

    /// All that came so far.
    pub fn bytes(&self) -> Vec<u8> {
        self.shared.bytes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Drain {
    fn drop(&mut self) {
        self.shared.has_ended.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

impl Shared {
    fn drain(&self, mut pipe: File) {
        let mut chunk = vec![0; CHUNK_BYTES];
        while !self.has_ended.load(Ordering::SeqCst) {
            if self.is_resting.load(Ordering::SeqCst) {
                thread::sleep(LOOK_SPAN);
                continue;
            }
            match pipe.read(&mut chunk) {
                // Nobody has it open for writing at this moment.
                Ok(0) => thread::sleep(LOOK_SPAN),
                Ok(taken) => {
                    let mut bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
                    bytes.extend_from_slice(&chunk[..taken]);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(LOOK_SPAN),
                Err(error) => panic!("cannot read from a pipe: {error}"),
            }
        }
    }
}
