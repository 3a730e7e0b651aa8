//! The loop: looks at what is due, reads what is there, lets outputs go on, keeps the checkpoint, waits.
//!
//! Only here is the clock read. In this order, for each step needs the one before: a changed list of generations is
//! written down before bytes of it are read into an output, and what outputs delivered before the checkpoint says so.

use std::io;
use std::os::fd::RawFd;
use std::thread;
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use nix::libc::STDOUT_FILENO;
use standpipe_common::clock;
use standpipe_common::error::{Cannot, Result, Stop};
use standpipe_common::ready::ready;
use standpipe_common::standard;

use crate::cli::Cli;
use crate::daemon::{FEED_SPAN, Tailer};
use crate::signals::{Ask, Inbox};

const SIGNALS: Token = Token(0);
const WATCH: Token = Token(1);
const OUTPUTS: Token = Token(2);
const STDOUT: Token = Token(3);
/// Signals, inotify, the end of whoever reads standard output, and outputs that are full.
const EVENTS_MAX: usize = 64;
/// The shortest time between two rounds: a server that writes line by line would wake us line by line.
const TICK: Duration = Duration::from_millis(2);
/// How often a test clock is looked at.
const TEST_CLOCK_SPAN: Duration = Duration::from_millis(10);
/// How long it takes to be ready at most, where names come and go all the time.
const START_SPAN: Duration = Duration::from_secs(10);
/// How long the end may take: looks, and what is said of each source and remembered of it, about so long. Of the two
/// seconds that are promised the rest is for readers that take what was delivered last, and for a disk that is busy.
const STOP_SPAN: Duration = Duration::from_millis(1300);
const STOP_COST: Duration = Duration::from_micros(10);
/// How much of that is left for what was held back to be put in order.
const HURRY_SPAN: Duration = Duration::from_millis(300);

/// Runs until TERM or INT; with `--batch` until everything is read; with `--check-config` as long as that takes.
pub fn run(cli: &Cli) -> std::result::Result<(), Stop> {
    if cli.check_config {
        cli.configuration()?;
        return Ok(());
    }
    // First of all: a signal that comes before its handler would end us.
    let mut wakes = Wakes::new()?;
    let mut tailer = Tailer::start(cli, Instant::now())?;
    if let Some(fd) = tailer.watch_fd() {
        wakes.add(WATCH, fd, Interest::READABLE).cannot("wait for", "inotify")?;
    }
    // Its end wakes us, and standard output is asked in each round. What cannot be waited for, such as a file, has none.
    wakes.add(STDOUT, STDOUT_FILENO, Interest::PRIORITY).ok();
    let ended = serve(cli, &mut tailer, &mut wakes);
    // Also where an output failed: what it took is not to be repeated.
    let kept = tailer.keep_last(Instant::now());
    tailer.end_showing();
    // Twenty thousand open files are given back faster by the end of the process.
    std::mem::forget(tailer);
    if let (Err(_), Err(error)) = (&ended, &kept) {
        standard::error(error);
    }
    Ok(ended.and(kept)?)
}

fn serve(cli: &Cli, tailer: &mut Tailer, wakes: &mut Wakes) -> Result<()> {
    // Each file was looked at before we are ready, if that can be had: what is renamed from then on is known.
    let end = Instant::now() + START_SPAN;
    loop {
        tailer.round(Instant::now(), clock::now_ns())?;
        if !tailer.is_looking() || Instant::now() >= end {
            break;
        }
    }
    ready(cli.notify_fd)?;
    if cli.batch {
        return batch(tailer, wakes);
    }
    attend(cli, tailer, wakes)?;
    finish(tailer, wakes)
}

fn attend(cli: &Cli, tailer: &mut Tailer, wakes: &mut Wakes) -> Result<()> {
    loop {
        let began = Instant::now();
        tailer.round(began, clock::now_ns())?;
        for ask in wakes.wait(tailer, began, None)? {
            match ask {
                Ask::Stop => return Ok(()),
                Ask::Reread => tailer.reread(cli, began),
            }
        }
        // What comes within a tick is taken together.
        thread::sleep(if tailer.is_behind() { Duration::ZERO } else { TICK.saturating_sub(began.elapsed()) });
    }
}

/// Reads everything that is there, and delivers it.
fn batch(tailer: &mut Tailer, wakes: &mut Wakes) -> Result<()> {
    loop {
        let began = Instant::now();
        tailer.round(began, clock::now_ns())?;
        if tailer.is_done() {
            return tailer.check_whole();
        }
        if wakes.wait(tailer, began, None)?.contains(&Ask::Stop) {
            return Ok(());
        }
    }
}

/// Reads what is there, and gives out all that was held back.
fn finish(tailer: &mut Tailer, wakes: &mut Wakes) -> Result<()> {
    let cost = STOP_COST.saturating_mul(tailer.sources() as u32).min(STOP_SPAN / 2);
    let end = Instant::now() + STOP_SPAN.saturating_sub(cost);
    tailer.last_look(end);
    let mut is_hurried = false;
    loop {
        let began = Instant::now();
        tailer.round(began, clock::now_ns())?;
        if began < end && !tailer.is_behind() && tailer.conclude_nameless() {
            continue;
        }
        // Descriptors may come free, and limits may let go, in time.
        let is_kept = tailer.is_starved() || tailer.rests_end_before(end);
        if began >= end || (!tailer.is_behind() && !is_kept && tailer.is_delivered()) {
            tailer.farewell();
            return Ok(());
        }
        let is_read = !tailer.is_behind() && !is_kept;
        if (is_read || began + HURRY_SPAN >= end) && !std::mem::replace(&mut is_hurried, true) {
            // What was held back goes out in a round without a wait before it.
            tailer.hurry();
            continue;
        }
        let until = if tailer.is_starved() { end.min(began + FEED_SPAN) } else { end };
        wakes.wait(tailer, began, Some(until))?;
    }
}

/// All that can wake the loop.
struct Wakes {
    poll: Poll,
    events: Events,
    signals: Inbox,
}

impl Wakes {
    fn new() -> Result<Wakes> {
        let mut signals = Inbox::new()?;
        let poll = Poll::new().cannot("wait for", "signals")?;
        poll.registry().register(&mut signals.source, SIGNALS, Interest::READABLE).cannot("wait for", "signals")?;
        Ok(Wakes { poll, events: Events::with_capacity(EVENTS_MAX), signals })
    }

    fn add(&self, token: Token, fd: RawFd, interest: Interest) -> io::Result<()> {
        self.poll.registry().register(&mut SourceFd(&fd), token, interest)
    }

    /// Until something is due, or happens; no longer than to the end, if there is one. What signals asked.
    fn wait(&mut self, tailer: &Tailer, began: Instant, end: Option<Instant>) -> Result<Vec<Ask>> {
        let mut until = tailer.due(Instant::now()).into_iter().chain(end).min();
        if clock::is_test() {
            let look = began + TEST_CLOCK_SPAN;
            until = Some(until.map_or(look, |until| until.min(look)));
        }
        let timeout = until.map(|until| until.saturating_duration_since(Instant::now()));
        let full: Vec<RawFd> = tailer.waits().iter().filter_map(|waits| waits.writable).collect();
        // Added anew each time, so that one that can be written already wakes us.
        for fd in &full {
            self.add(OUTPUTS, *fd, Interest::WRITABLE).cannot("wait for", "an output")?;
        }
        let polled = self.poll.poll(&mut self.events, timeout);
        for fd in &full {
            self.poll.registry().deregister(&mut SourceFd(fd)).ok();
        }
        match polled {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(self.signals.asked()),
            Err(error) => Err(error).cannot("wait for", "signals"),
            Ok(()) if self.events.iter().any(|event| event.token() == SIGNALS) => Ok(self.signals.asked()),
            Ok(()) => Ok(Vec::new()),
        }
    }
}
