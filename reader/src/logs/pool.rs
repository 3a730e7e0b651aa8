//! Threads that look through blocks.
//!
//! Invariants: what is asked for is answered, in whatever order the threads finish; each answer is waited for by its
//! own ticket, so the order of what is printed never depends on them. With one thread there is no other: whoever waits
//! for an answer works it out. Buffers come back and are used again.

use std::ops::Range;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use standpipe_common::error::{Cannot, Result};

use super::part::{Part, Scratch};
use super::scan::{Scan, Scanned};

/// Threads at most, if nobody says how many: more are not faster, since one prints.
pub const THREADS_MAX: usize = 8;

/// A block to look through.
pub struct Job {
    /// What is looked for.
    pub scan: Arc<Scan>,
    /// In which part.
    pub part: Arc<Part>,
    /// In which block of it.
    pub number: usize,
    /// Between which offsets of the part.
    pub bounds: Range<u64>,
}

/// Someone waits for it.
pub enum Ticket {
    /// A thread has it.
    Given(Receiver<Scanned>),
    /// It is done when it is waited for.
    Later(Job),
}

type Order = (Job, SyncSender<Scanned>);

/// The threads.
pub struct Pool {
    threads: usize,
    orders: Option<mpsc::Sender<Order>>,
    buffers: Arc<Buffers>,
    scratch: Scratch,
    /// Blocks that were decompressed or read.
    read: u64,
}

#[derive(Default)]
struct Buffers(Mutex<Vec<Vec<u8>>>);

impl Buffers {
    fn take(&self) -> Vec<u8> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    fn put(&self, buffer: Vec<u8>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(buffer);
    }
}

impl Pool {
    /// One of so many threads; they begin with the first block that can be looked through beside another.
    pub fn new(threads: usize) -> Result<Pool> {
        Ok(Pool { threads, orders: None, buffers: Arc::default(), scratch: Scratch::new()?, read: 0 })
    }

    /// How many threads there are.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// How many blocks were read.
    pub fn read(&self) -> u64 {
        self.read
    }

    /// For what whoever owns the pool reads itself.
    pub fn scratch(&mut self) -> &mut Scratch {
        &mut self.scratch
    }

    /// Asks for a block. `alone`: no other is asked for before its answer.
    pub fn ask(&mut self, job: Job, alone: bool) -> Result<Ticket> {
        self.read += 1;
        if self.threads < 2 || alone || job.part.is_stream() {
            return Ok(Ticket::Later(job));
        }
        if self.orders.is_none() {
            self.orders = Some(self.start()?);
        }
        let (answer, ticket) = mpsc::sync_channel(1);
        let orders = self.orders.as_ref().expect("they have just begun");
        // The threads live as long as the pool.
        orders.send((job, answer)).ok();
        Ok(Ticket::Given(ticket))
    }

    /// Waits for an answer. `None`: the thread that had it is gone.
    pub fn wait(&mut self, ticket: Ticket) -> Option<Scanned> {
        match ticket {
            Ticket::Given(answer) => answer.recv().ok(),
            Ticket::Later(Job { scan, part, number, bounds }) => {
                Some(scan.block(part, number, bounds, &mut self.scratch, self.buffers.take()))
            }
        }
    }

    /// Takes back the buffer of an answer that is done with.
    pub fn give_back(&self, buffer: Vec<u8>) {
        self.buffers.put(buffer);
    }

    fn start(&self) -> Result<mpsc::Sender<Order>> {
        let (orders, queue) = mpsc::channel::<Order>();
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..self.threads {
            let queue = queue.clone();
            let buffers = self.buffers.clone();
            let mut scratch = Scratch::new()?;
            let work = move || {
                loop {
                    let order = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok((Job { scan, part, number, bounds }, answer)) = order else { return };
                    // Nobody may want it any more.
                    answer.send(scan.block(part, number, bounds, &mut scratch, buffers.take())).ok();
                }
            };
            thread::Builder::new().name("search".to_owned()).spawn(work).cannot("start", "a thread")?;
        }
        Ok(orders)
    }
}
