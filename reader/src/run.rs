//! `reader [DIR]`: the daemon that drains every pipe of a pipes directory.
//!
//! Order at start: check the command line, lock the log root, make the mailboxes; only then open pipes, for one that
//! is opened and closed again kills a server that came in; recover; archive; drain. A bad pipe or policy is one line,
//! and every good pipe runs on.

use std::env;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use nix::sys::stat::{Mode, umask};
use standpipe_common::descriptors::Descriptors;
use standpipe_common::error::{Cannot, Error, Stop};
use standpipe_common::name::PipeName;
use standpipe_common::pipes::{Scan, scan};
use standpipe_common::policy::Policy;
use standpipe_common::ready;
use standpipe_common::shown::{Shown as _, counted};
use standpipe_common::watch::Watch;
use standpipe_common::{called, clock, logger};

use crate::archiver;
use crate::cli::DaemonArgs;
use crate::control::Control;
use crate::drain::Drain;
use crate::due::TEST_CLOCK_SPAN;
use crate::mailboxes::{Mailboxes, Supply};
use crate::metrics::Metrics;
use crate::opener::Opener;
use crate::places::{Changes, Places};
use crate::queue::{ArchiveQueue, Orphans};
use crate::root::Root;
use crate::settings::Settings;
use crate::shelf::Shelf;
use crate::signals::{Inbox, Request, Role};
use crate::status::problems::{Problem, ProblemKind};
use crate::upkeep::Upkeep;

const SIGNALS: Token = Token(usize::MAX);
const WATCH: Token = Token(usize::MAX - 1);
const CONTROL: Token = Token(usize::MAX - 2);
/// Descriptors that pipes may not use up: for the log root, mailboxes, an archive that is made, hooks, and the logs of
/// lanes at work.
const RESERVE: u64 = 64;
const EVENTS_MAX: usize = 256;

/// Runs until TERM. The exit code.
pub fn run(args: &DaemonArgs) -> Result<u8, Stop> {
    logger::init();
    let dir = args.dir.clone().unwrap_or_else(|| PathBuf::from("."));
    let scan = scan(&dir)?;
    if args.dir.is_none() && scan.nothing_of_ours() {
        let us = called::short("reader", "");
        let hint = format!("no pipes in the current directory; usage: {us} [DIR] --logs LOGS (see {us} --help)");
        return Err(Stop::Usage(hint));
    }
    scan.log_findings();
    if args.check_config {
        scan.log_remarks();
        return Ok(if scan.check() { 0 } else { standpipe_common::error::EXIT_USAGE });
    }
    let Some(logs) = args.logs.clone().or_else(|| declared(&scan)) else {
        let hint = format!("no log root: give --logs LOGS, or set logs in {}/defaults.toml", dir.shown());
        return Err(Stop::Usage(hint));
    };
    let mut daemon = Daemon::start(scan, &logs, args)?;
    ready::ready(args.notify_fd)?;
    daemon.serve()?;
    Ok(0)
}

/// The log root that the pipes directory names, or else systemd, by `LogsDirectory=`.
fn declared(scan: &Scan) -> Option<PathBuf> {
    let of_unit = || {
        let dirs = env::var_os("LOGS_DIRECTORY")?;
        let first = dirs.as_bytes().split(|byte| *byte == b':').next().filter(|first| !first.is_empty())?;
        Some(PathBuf::from(OsStr::from_bytes(first)))
    };
    scan.logs.clone().or_else(of_unit)
}

struct Daemon {
    dir: PathBuf,
    logs: PathBuf,
    /// `defaults.toml` named the log root, not the command line.
    logs_are_declared: bool,
    mailbox_dir: Option<PathBuf>,
    metrics: Metrics,
    poll: Poll,
    inbox: Inbox,
    places: Places,
    drain: Drain,
    control: Control,
    queue: ArchiveQueue,
    descriptors: Descriptors,
}

impl Daemon {
    fn start(scan: Scan, logs: &Path, args: &DaemonArgs) -> Result<Daemon, Stop> {
        // Files get exactly the mode that the policy says.
        let inherited = umask(Mode::empty());
        let descriptors = Descriptors::raise(RESERVE)?;
        let poll = Poll::new().cannot("create", "the poll set")?;
        let mut root = Root::open(logs)?;
        if nix::unistd::geteuid().is_root() {
            log::warn!("running as root is unnecessary: run it as user `standpipe`");
        }
        let mut inbox = Inbox::new(logs, Role::Daemon)?;
        poll.registry().register(&mut inbox.source, SIGNALS, Interest::READABLE).cannot("watch", "signals")?;
        let shelf = Shelf::open(root.dir().try_clone()?, scan.mailbox_dir.as_deref())?;
        let queue = ArchiveQueue::default();
        queue.hooks().start(root.dir(), inherited.bits())?;
        let (mailboxes, holding) = Mailboxes::take_up(shelf, root.home().clone(), Supply::MANY_LANES)?;
        let metrics = Metrics::start(scan.metrics_file.clone(), root.dir());
        let opener = if args.no_sandbox { None } else { Some(confine(&mut root, &mailboxes)?) };
        let registry = poll.registry().try_clone().cannot("create", "the poll set")?;
        let for_logs = descriptors.beside(scan.entries.len());
        let control = Control::make(root.dir(), poll.registry(), CONTROL);
        let drain = Drain::new(root, registry, mailboxes, for_logs)?;
        let places = Places::new(watch(&poll)?, queue.clone(), descriptors, opener);
        let (dir, logs, mailbox_dir) = (scan.dir.clone(), logs.to_path_buf(), scan.mailbox_dir.clone());
        let mut daemon = Daemon {
            dir,
            logs,
            logs_are_declared: args.logs.is_none(),
            mailbox_dir,
            metrics,
            poll,
            inbox,
            places,
            drain,
            control,
            queue,
            descriptors,
        };
        daemon.take(scan);
        let recovered = daemon.drain.recover(holding);
        daemon.drain.start()?;
        // Last, for nobody waits for it.
        archiver::start(&daemon.queue, daemon.drain.root().dir().try_clone()?)?;
        let (pipes, recovered) = (counted(daemon.places.count() as u64, "pipe"), counted(recovered as u64, "byte"));
        let (dir, logs) = (daemon.dir.shown(), daemon.logs.shown());
        log::info!("reading {pipes} of {dir} into {logs}; recovered {recovered}");
        Ok(daemon)
    }

    /// Brings the lanes in line with the pipes directory. Those that are new are not read yet.
    fn take(&mut self, scan: Scan) -> (Changes, Vec<usize>) {
        // Before a log directory is taken up: one whose pipe came back is no orphan any more.
        self.tell_archiver(&scan);
        self.drain.share_descriptors(self.descriptors.beside(scan.entries.len()));
        self.show_mistakes(scan.mistakes());
        let done = self.places.take(scan.entries, &mut self.drain, Instant::now());
        self.show_places();
        if done.0.starved > 0 {
            log::error!(
                "cannot open {} of the pipes: at most {} files may be open; raise that limit (`ulimit -n`, \
                 LimitNOFILE=) and restart",
                done.0.starved,
                self.descriptors.hard()
            );
        }
        done
    }

    /// Logs in the root that belong to no pipe go on expiring by their own file or by the defaults. Nobody says any
    /// more what is to be run for them.
    fn tell_archiver(&self, scan: &Scan) {
        let names = scan.entries.iter().map(|entry| entry.name.as_os_str().to_owned()).collect();
        let upkeep = |policy: &Policy| {
            let settings = Settings::from_policy(policy).ok()?;
            Some(Arc::new(Upkeep { hook: None, ..Upkeep::clone(&settings.upkeep) }))
        };
        let own = |(name, policy): (&PipeName, &Option<Policy>)| {
            (name.as_os_str().to_owned(), policy.as_ref().and_then(upkeep))
        };
        let own = scan.unlinked.own.iter().map(own).collect();
        self.queue.set_pipes(names, Orphans { own, others: scan.unlinked.others.as_ref().and_then(upkeep) });
    }

    fn serve(&mut self) -> Result<(), Stop> {
        let mut events = Events::with_capacity(EVENTS_MAX);
        loop {
            self.wait(&mut events)?;
            let now = Instant::now();
            for event in &events {
                match event.token() {
                    SIGNALS => {
                        if self.is_asked_to_stop() {
                            self.drain.finish();
                            return Ok(());
                        }
                    }
                    WATCH => self.look_again(now),
                    CONTROL => self.control.on_event(),
                    lane => self.drain.on_event(lane.0, event),
                }
            }
            if self.places.watch().next_look().is_some_and(|at| at <= now) {
                self.look_again(now);
            }
            self.control.obey(&mut self.drain, now);
            self.drain.work(now);
            self.metrics.turn(now);
        }
    }

    fn wait(&mut self, events: &mut Events) -> Result<(), Stop> {
        let now = Instant::now();
        let look = self.places.watch().next_look().map(|at| at.saturating_duration_since(now));
        let test = clock::is_test().then_some(TEST_CLOCK_SPAN);
        let command = self.control.timeout(now);
        let metrics = self.metrics.timeout(now);
        let timeout = self.drain.timeout(now).into_iter().chain(look).chain(command).chain(metrics).chain(test).min();
        match self.poll.poll(events, timeout) {
            Err(error) if error.kind() != std::io::ErrorKind::Interrupted => {
                Err(Error::new("wait for", "the pipes", error).into())
            }
            _ => Ok(()),
        }
    }

    /// Answers the signals that came; TERM is the caller's.
    fn is_asked_to_stop(&mut self) -> bool {
        let asked = self.inbox.asked();
        for ask in &asked {
            match ask {
                Request::Rotate => drop(self.drain.ask_rotation()),
                Request::Reread => {
                    if let Err(stop) = self.reread() {
                        let sentence = format!("{stop}; keeping the previous configuration");
                        log::error!("{sentence}");
                        self.show_mistakes([sentence.as_str()]);
                    }
                }
                Request::Stop | Request::EndWithInput => {}
            }
        }
        asked.contains(&Request::Stop)
    }

    /// After HUP. What cannot be read changes nothing.
    fn reread(&mut self) -> Result<(), Stop> {
        let scan = scan(&self.dir)?;
        scan.log_findings();
        self.tell_kept(&scan);
        let (changes, fresh) = self.take(scan);
        self.begin(fresh);
        let Changes { added, removed, changed, .. } = changes;
        let (pipes, dir) = (counted(self.places.count() as u64, "pipe"), self.dir.shown());
        log::info!("{pipes} of {dir} after HUP: {added} added, {removed} removed, {changed} changed");
        Ok(())
    }

    /// Says what HUP does not take up. What pipes say is taken up by them.
    fn tell_kept(&self, scan: &Scan) {
        let Scan { logs: _, mailbox_dir, metrics_file, dir: _, entries: _, unlinked: _, findings: _, ours: _ } = scan;
        if self.logs_are_declared && declared(scan).as_ref() != Some(&self.logs) {
            log::warn!("{} remains the log root until reader restarts", self.logs.shown());
        }
        if *mailbox_dir != self.mailbox_dir {
            let place = self.mailbox_dir.as_ref().unwrap_or(&self.logs).shown();
            log::warn!("mailbox_dir takes effect when reader restarts; until then mailboxes stay in {place}");
        }
        if metrics_file.as_deref() != self.metrics.file() {
            log::warn!("metrics_file takes effect when reader restarts");
        }
    }

    /// Something may have changed at the end of some links.
    fn look_again(&mut self, now: Instant) {
        let fresh = self.places.look_again(&mut self.drain, now);
        self.show_places();
        self.begin(fresh);
    }

    /// What does not count in the pipes directory, for `reader status`.
    fn show_mistakes<'a>(&self, mistakes: impl IntoIterator<Item = &'a str>) {
        let of_all = |mistake| Problem::new(OsStr::new(""), ProblemKind::Configuration, mistake);
        let problems = mistakes.into_iter().map(of_all).collect();
        self.drain.board().replace_problems(&[ProblemKind::Configuration], problems);
    }

    fn show_places(&self) {
        self.drain.board().replace_problems(&[ProblemKind::Link, ProblemKind::Policy], self.places.problems());
    }

    fn begin(&mut self, lanes: Vec<usize>) {
        for lane in lanes {
            if let Err(error) = self.drain.begin(lane) {
                log::error!("{error}");
            }
        }
    }
}

/// From here on this thread can change nothing but logs, and another opens FIFOs for it.
fn confine(root: &mut Root, mailboxes: &Mailboxes) -> Result<Opener, Error> {
    let opener = Opener::start()?;
    root.confine(mailboxes.outside()?)?;
    Ok(opener)
}

/// A watch on nothing yet, in the poll set.
fn watch(poll: &Poll) -> Result<Watch<usize>, Error> {
    let watch = Watch::new()?;
    let registry = poll.registry();
    registry.register(&mut SourceFd(&watch.raw_fd()), WATCH, Interest::READABLE).cannot("watch", "the links")?;
    Ok(watch)
}
