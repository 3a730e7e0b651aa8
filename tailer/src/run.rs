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
use standpipe_common::clock;
use standpipe_common::error::{Cannot, Result, Stop};
use standpipe_common::ready::ready;

use crate::cli::Cli;
use crate::signals::{Ask, Inbox};
use crate::stdout;
use crate::tailer::Tailer;

const SIGNALS: Token = Token(0);
const WATCH: Token = Token(1);
const OUTPUTS: Token = Token(2);
/// Signals, inotify, and outputs that are full.
const EVENTS_MAX: usize = 64;
/// The shortest time between two rounds: a server that writes line by line would wake us line by line.
const TICK: Duration = Duration::from_millis(2);
/// How often a test clock is looked at.
const TEST_CLOCK_SPAN: Duration = Duration::from_millis(10);
/// How long the end may take.
const STOP_SPAN: Duration = Duration::from_millis(1800);

/// Runs until TERM or INT; with `--batch` until everything is read; with `--check-config` as long as that takes.
pub fn run(cli: &Cli) -> std::result::Result<(), Stop> {
    if cli.check_config {
        cli.configuration()?;
        return Ok(());
    }
    // First of all: a signal that comes before its handler would end us.
    let mut signals = Inbox::new()?;
    let mut poll = Poll::new().cannot("wait for", "signals")?;
    poll.registry().register(&mut signals.source, SIGNALS, Interest::READABLE).cannot("wait for", "signals")?;
    let mut tailer = Tailer::start(cli, Instant::now())?;
    if let Some(fd) = tailer.watch_fd() {
        poll.registry().register(&mut SourceFd(&fd), WATCH, Interest::READABLE).cannot("wait for", "inotify")?;
    }
    ready(cli.notify_fd)?;
    let ended = if cli.batch {
        batch(&mut tailer, &mut poll, &mut signals)
    } else {
        attend(cli, &mut tailer, &mut poll, &mut signals).and_then(|()| finish(&mut tailer, &mut poll))
    };
    // Also where an output failed: what it took is not to be repeated.
    tailer.keep(true, Instant::now());
    match ended {
        Err(error) if stdout::is_closed(&error) => Ok(()),
        ended => Ok(ended?),
    }
}

fn attend(cli: &Cli, tailer: &mut Tailer, poll: &mut Poll, signals: &mut Inbox) -> Result<()> {
    loop {
        let began = Instant::now();
        tailer.round(began, clock::now_ns())?;
        for ask in signals.asked() {
            match ask {
                Ask::Stop => return Ok(()),
                Ask::Reread => tailer.reread(cli, began),
            }
        }
        wait(poll, tailer, began, None)?;
        // What comes within a tick is taken together.
        thread::sleep(if tailer.is_behind() { Duration::ZERO } else { TICK.saturating_sub(began.elapsed()) });
    }
}

/// Reads everything that is there, and delivers it.
fn batch(tailer: &mut Tailer, poll: &mut Poll, signals: &mut Inbox) -> Result<()> {
    loop {
        let began = Instant::now();
        tailer.round(began, clock::now_ns())?;
        if tailer.is_done() || signals.asked().contains(&Ask::Stop) {
            return Ok(());
        }
        wait(poll, tailer, began, None)?;
    }
}

/// Reads what is there, and gives out all that was held back.
fn finish(tailer: &mut Tailer, poll: &mut Poll) -> Result<()> {
    let end = Instant::now() + STOP_SPAN;
    tailer.last_look();
    let mut is_hurried = false;
    loop {
        let began = Instant::now();
        tailer.round(began, clock::now_ns())?;
        if began >= end || (!tailer.is_behind() && tailer.is_delivered()) {
            tailer.farewell();
            return Ok(());
        }
        if !tailer.is_behind() && !std::mem::replace(&mut is_hurried, true) {
            // What was held back goes out in a round without a wait before it.
            tailer.hurry();
            continue;
        }
        wait(poll, tailer, began, Some(end))?;
    }
}

/// Until something is due, or happens; no longer than to the end, if there is one.
fn wait(poll: &mut Poll, tailer: &Tailer, began: Instant, end: Option<Instant>) -> Result<()> {
    let mut until = tailer.due(Instant::now()).into_iter().chain(end).min();
    if clock::is_test() {
        let look = began + TEST_CLOCK_SPAN;
        until = Some(until.map_or(look, |until| until.min(look)));
    }
    let timeout = until.map(|until| until.saturating_duration_since(Instant::now()));
    let full: Vec<RawFd> = tailer.waits().iter().filter_map(|waits| waits.writable).collect();
    // Registered anew each time, so that one that can be written already wakes us.
    for fd in &full {
        poll.registry().register(&mut SourceFd(fd), OUTPUTS, Interest::WRITABLE).cannot("wait for", "an output")?;
    }
    let polled = poll.poll(&mut Events::with_capacity(EVENTS_MAX), timeout);
    for fd in &full {
        poll.registry().deregister(&mut SourceFd(fd)).ok();
    }
    match polled {
        Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error).cannot("wait for", "signals"),
        _ => Ok(()),
    }
}
