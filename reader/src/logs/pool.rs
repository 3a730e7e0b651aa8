//! Threads that look through blocks.
//!
//! Invariants: what is asked for is answered, in whatever order the threads finish; each answer is waited for by its
//! own ticket, so the order of what is printed never depends on them. Whoever waits works meanwhile on what is asked
//! for, so with one thread there is no other. Buffers come back and are used again.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::mpsc::{self, Receiver, SyncSender, TryRecvError};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

use standpipe_common::error::{Cannot, Result};
use standpipe_common::progress::Progress;

use super::part::{Part, Scratch};
use super::scan::{Scan, Scanned};

/// Threads at most, if nobody says how many: more are not faster, since what they read has to come from somewhere, and
/// one prints.
const THREADS_MAX: usize = 8;

/// Threads that read, if nobody says how many: one for each core, but not too many.
pub fn usual_threads() -> usize {
    thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX)
}

/// A smaller buffer was one line's and is not kept.
const BUFFER_BYTES_MIN: usize = 256 << 10;
/// Buffers that are kept for later, beside one for each log.
const BUFFERS_MAX: usize = 12;

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

impl Job {
    fn work(self, scratch: &mut Scratch, buffers: &Buffers) -> Scanned {
        let Job { scan, part, number, bounds } = self;
        scan.block(part, number, bounds, scratch, buffers.take())
    }
}

/// Someone waits for it.
pub enum Ticket {
    /// It is among the orders, or a thread has it.
    Given(Receiver<Scanned>),
    /// It is done when it is waited for.
    Later(Job),
}

type Order = (Job, SyncSender<Scanned>);

/// What nobody works on yet.
#[derive(Default)]
struct Orders {
    waiting: Mutex<VecDeque<Order>>,
    more: Condvar,
}

impl Orders {
    fn put(&self, order: Order) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push_back(order);
        self.more.notify_one();
    }

    fn try_take(&self) -> Option<Order> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    fn take(&self) -> Order {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match waiting.pop_front() {
                Some(order) => return order,
                None => waiting = self.more.wait(waiting).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}

/// Threads that look through blocks, and what they share.
pub struct Pool {
    threads: usize,
    started: bool,
    orders: Arc<Orders>,
    buffers: Arc<Buffers>,
    scratch: Scratch,
    /// Blocks that were decompressed or read.
    read: u64,
    progress: Progress,
    /// Parts that are to be gone through, and how many were: blocks in which nothing can be wanted count as well.
    parts: usize,
    passed: f64,
}

struct Buffers {
    kept: Mutex<Vec<Vec<u8>>>,
    kept_max: usize,
}

impl Buffers {
    fn take(&self) -> Vec<u8> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    fn put(&self, buffer: Vec<u8>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if buffer.capacity() >= BUFFER_BYTES_MIN && kept.len() < self.kept_max {
            kept.push(buffer);
        }
    }
}

impl Pool {
    /// One of so many threads for so many logs; they begin with the first block that can be looked through beside another.
    pub fn new(threads: usize, logs: usize) -> Result<Pool> {
        Ok(Pool {
            threads,
            started: false,
            orders: Arc::default(),
            buffers: Arc::new(Buffers { kept: Mutex::default(), kept_max: BUFFERS_MAX + logs }),
            scratch: Scratch::new()?,
            read: 0,
            progress: Progress::silent(),
            parts: 0,
            passed: 0.0,
        })
    }

    /// From now on it shows on a terminal how far it has got with so many parts.
    pub fn show_progress(&mut self, parts: usize) {
        (self.progress, self.parts, self.passed) = (Progress::on_terminal(), parts, 0.0);
    }

    /// From now on it does not.
    pub fn end_progress(&mut self) {
        self.progress = Progress::silent();
    }

    /// Makes room for other lines on the terminal.
    pub fn clear_progress(&mut self) {
        self.progress.clear();
    }

    /// So much of a part has been gone through.
    pub fn pass(&mut self, share: f64) {
        let (parts, passed) = (self.parts, self.passed + share);
        self.passed = passed;
        self.progress
            .show(passed / parts.max(1) as f64, || format!("{} of {parts} parts", (passed as usize).min(parts)));
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
        if !self.started {
            self.started = true;
            for _ in 1..self.threads {
                self.start()?;
            }
        }
        let (answer, ticket) = mpsc::sync_channel(1);
        self.orders.put((job, answer));
        Ok(Ticket::Given(ticket))
    }

    /// Waits for an answer. `None`: the thread that had it is gone.
    pub fn wait(&mut self, ticket: Ticket) -> Option<Scanned> {
        let answer = self.answer(ticket);
        debug_assert!(answer.as_ref().is_none_or(Scanned::holds_together), "lines that are not there");
        answer
    }

    fn answer(&mut self, ticket: Ticket) -> Option<Scanned> {
        let ticket = match ticket {
            Ticket::Given(ticket) => ticket,
            Ticket::Later(job) => return Some(job.work(&mut self.scratch, &self.buffers)),
        };
        loop {
            match ticket.try_recv() {
                Ok(scanned) => return Some(scanned),
                Err(TryRecvError::Disconnected) => return None,
                Err(TryRecvError::Empty) => {}
            }
            let Some((job, answer)) = self.orders.try_take() else { return ticket.recv().ok() };
            // Nobody may want it any more.
            answer.send(job.work(&mut self.scratch, &self.buffers)).ok();
        }
    }

    /// Takes back the buffer of an answer that is done with.
    pub fn give_back(&self, buffer: Vec<u8>) {
        self.buffers.put(buffer);
    }

    /// The threads end with the process.
    fn start(&self) -> Result<()> {
        let (orders, buffers) = (self.orders.clone(), self.buffers.clone());
        let mut scratch = Scratch::new()?;
        let work = move || {
            loop {
                let (job, answer) = orders.take();
                answer.send(job.work(&mut scratch, &buffers)).ok();
            }
        };
        thread::Builder::new().name("search".to_owned()).spawn(work).cannot("start", "a thread")?;
        Ok(())
    }
}
