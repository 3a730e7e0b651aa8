//! The loop: waits for signals, for changes behind the links, and for the moment that something pending is due.
//!
//! Only here is the clock read. While nothing is pending there is no timer.

use std::io;
use std::path::Path;
use std::time::Instant;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use nix::unistd::Uid;
use signal_hook::consts::{SIGALRM, SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook_mio::v1_0::Signals;
use standpipe_common::command_line;
use standpipe_common::descriptors::Descriptors;
use standpipe_common::error::{Cannot, Result, Stop};
use standpipe_common::name::PipeName;
use standpipe_common::pipes::{Finding, Scan, scan};
use standpipe_common::ready::ready;
use standpipe_common::shown::{Shown as _, counted};
use standpipe_common::standard;
use standpipe_common::watch::Watch;

use crate::cli::{Cli, DaemonArgs};
use crate::holdings::Holdings;

const SIGNALS: Token = Token(0);
const WATCH: Token = Token(1);
/// Descriptors that pipes may not use up: the directory and its policies must be readable on HUP.
const RESERVE: u64 = 8;
/// Two sources, each of which is asked until it has no more.
const EVENTS_MAX: usize = 4;

/// Runs until TERM or INT; with `--check-config`, as long as that takes.
pub fn run(args: &DaemonArgs) -> std::result::Result<(), Stop> {
    let dir = args.dir.as_deref().unwrap_or(Path::new("."));
    if args.check_config {
        return check_config(&scan_or_usage(args, dir)?);
    }
    // First of all: a signal that comes before its handler would end us.
    let (poll, mut signals) = sources().cannot("wait for", "signals")?;
    let descriptors = Descriptors::raise(RESERVE)?;
    let scan = scan_or_usage(args, dir)?;
    descriptors.keep_back();
    if Uid::effective().is_root() {
        log::warn!("running as root is unnecessary: run it as user `standpipe`");
    }
    let watch = watch(&poll)?;
    let mut holder = Holder { poll, watch, holdings: Holdings::default(), descriptors };
    holder.reconcile(scan);
    ready(args.notify_fd)?;
    holder.attend(&mut signals, dir)?;
    holder.holdings.farewell();
    Ok(())
}

/// Prints every finding; waits for whoever reads them.
fn check_config(scan: &Scan) -> std::result::Result<(), Stop> {
    for finding in &scan.findings {
        let level = if matches!(finding, Finding::Error(_)) { "error" } else { "warning" };
        standard::say(format_args!("{level}: {finding}"));
    }
    if scan.check() {
        return Ok(());
    }
    Err(Stop::Usage(format!("pipes directory {} has errors", scan.dir.shown())))
}

fn scan_or_usage(args: &DaemonArgs, dir: &Path) -> std::result::Result<Scan, Stop> {
    let scan = scan(dir)?;
    if args.dir.is_none() && scan.nothing_of_ours() {
        let usage = command_line::usage::<Cli>("holder", None);
        return Err(Stop::Usage(format!("no pipes in the current directory: name the pipes directory\n\n{usage}")));
    }
    Ok(scan)
}

fn sources() -> io::Result<(Poll, Signals)> {
    let poll = Poll::new()?;
    // The last three would end us by default, and mean something to the reader.
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP, SIGALRM, SIGUSR1, SIGUSR2])?;
    poll.registry().register(&mut signals, SIGNALS, Interest::READABLE)?;
    Ok((poll, signals))
}

/// A watch on nothing yet, in the poll set.
fn watch(poll: &Poll) -> Result<Watch<PipeName>> {
    let watch = Watch::new()?;
    poll.registry()
        .register(&mut SourceFd(&watch.raw_fd()), WATCH, Interest::READABLE)
        .cannot("wait for", "inotify")?;
    Ok(watch)
}

struct Holder {
    poll: Poll,
    watch: Watch<PipeName>,
    holdings: Holdings,
    descriptors: Descriptors,
}

impl Holder {
    /// Until TERM or INT.
    fn attend(&mut self, signals: &mut Signals, dir: &Path) -> Result<()> {
        let mut events = Events::with_capacity(EVENTS_MAX);
        loop {
            let due = self.holdings.next_look().into_iter().chain(self.watch.next_look()).min();
            let timeout = due.map(|due| due.saturating_duration_since(Instant::now()));
            match self.poll.poll(&mut events, timeout) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                polled => polled.cannot("wait for", "signals")?,
            }
            for signal in signals.pending() {
                match signal {
                    SIGTERM | SIGINT => return Ok(()),
                    SIGHUP => self.reread(dir),
                    _ => {}
                }
            }
            let now = Instant::now();
            let changed = self.watch.changed(now);
            if !changed.is_empty() {
                self.holdings.look_again(&changed, &mut self.watch, now);
            }
            self.holdings.mind(now);
        }
    }

    /// After HUP: what cannot be read changes nothing.
    fn reread(&mut self, dir: &Path) {
        self.descriptors.release();
        let scan = scan(dir);
        self.descriptors.keep_back();
        match scan {
            Ok(scan) => self.reconcile(scan),
            Err(error) => log::error!("{error}; keeping the previous configuration"),
        }
    }

    fn reconcile(&mut self, scan: Scan) {
        scan.log_findings();
        let before = self.watch.forget();
        let starved = self.holdings.reconcile(scan.entries, &mut self.watch, Instant::now());
        self.watch.leave(before);
        if starved > 0 {
            log::error!(
                "cannot open {starved} of the pipes: at most {} files may be open; raise that limit (`ulimit -n`, \
                 LimitNOFILE=) and restart",
                self.descriptors.hard()
            );
        }
        log::info!("holds {} of {}", counted(self.holdings.count() as u64, "pipe"), scan.dir.shown());
    }
}
