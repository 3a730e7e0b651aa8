//! `reader [DIR]`: the daemon that drains every pipe of a pipes directory.
//!
//! Order at start: check the command line, lock the log root, make the mailboxes; only then open pipes, for one that
//! is opened and closed again kills a server that came in; recover; archive; drain. A bad pipe or policy is one line,
//! and every good pipe runs on.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::stat::{Mode, umask};
use standpipe_common::error::{Cannot, Error, Stop};
use standpipe_common::fifo::{self, Fifo, Identity};
use standpipe_common::pipes::{Entry, Scan, scan};
use standpipe_common::policy::Policy;
use standpipe_common::ready;
use standpipe_common::watch::Watch;
use standpipe_common::{clock, logger};

use crate::archiver;
use crate::cli::DaemonArgs;
use crate::drain::Drain;
use crate::lane::Lane;
use crate::mailboxes::Mailboxes;
use crate::queue::ArchiveQueue;
use crate::root::Root;
use crate::settings::Settings;
use crate::signals::{Ask, Inbox};
use crate::upkeep::Upkeep;

const SIGNALS: Token = Token(usize::MAX);
const WATCH: Token = Token(usize::MAX - 1);
const EVENTS_MAX: usize = 256;

/// How often a test clock is looked at.
pub const TEST_CLOCK_SPAN: Duration = Duration::from_millis(10);

/// Runs until TERM. The exit code.
pub fn run(args: &DaemonArgs) -> Result<u8, Stop> {
    logger::init("reader");
    let dir = args.dir.clone().unwrap_or_else(|| PathBuf::from("."));
    let scan = scan(&dir)?;
    if args.dir.is_none() && scan.nothing_of_ours() {
        let hint = "there are no pipes here; usage: reader [DIR] --logs LOGS (see reader --help)";
        return Err(Stop::Usage(hint.to_owned()));
    }
    scan.log_findings();
    if args.check_config {
        return Ok(if scan.check() { 0 } else { standpipe_common::error::EXIT_USAGE });
    }
    let Some(logs) = args.logs.clone().or_else(|| scan.logs.clone()) else {
        let hint = format!("no log root: give --logs LOGS, or set logs in {}/defaults.toml", dir.display());
        return Err(Stop::Usage(hint));
    };
    let mut daemon = Daemon::start(&scan, &logs)?;
    ready::ready(args.notify_fd)?;
    daemon.serve()?;
    Ok(0)
}

/// A pipe of the directory, as it stood when it was last looked at.
struct Place {
    entry: Entry,
    /// Its lane, once its FIFO could be opened.
    lane: Option<usize>,
    /// What was said last about what stands there instead of a FIFO.
    alarm: Option<String>,
}

struct Daemon {
    poll: Poll,
    inbox: Inbox,
    watch: Watch<usize>,
    places: Vec<Place>,
    drain: Drain,
    queue: ArchiveQueue,
}

impl Daemon {
    fn start(scan: &Scan, logs: &Path) -> Result<Daemon, Stop> {
        raise_descriptor_limit();
        // Files get exactly the mode that the policy says.
        let inherited = umask(Mode::empty());
        let poll = Poll::new().cannot("make", "the poll set")?;
        let root = Root::open(logs)?;
        if nix::unistd::geteuid().is_root() {
            log::warn!("running as root; an unprivileged user such as standpipe is enough");
        }
        let mut inbox = Inbox::new(logs)?;
        poll.registry().register(&mut inbox.source, SIGNALS, Interest::READABLE).cannot("watch", "signals")?;
        let (mailboxes, holding) = Mailboxes::take_up(root.dir().try_clone()?, root.home().clone())?;
        let watch = Watch::new()?;
        poll.registry()
            .register(&mut SourceFd(&watch.raw_fd()), WATCH, Interest::READABLE)
            .cannot("watch", "the links")?;
        let registry = poll.registry().try_clone().cannot("make", "the poll set")?;
        let drain = Drain::new(root, registry, mailboxes)?;
        let mut daemon = Daemon { poll, inbox, watch, places: Vec::new(), drain, queue: ArchiveQueue::default() };
        daemon.queue.hooks().keep_umask(inherited.bits());
        daemon.open(scan);
        let recovered = daemon.drain.recover(holding);
        daemon.tell_archiver(scan);
        archiver::start(&daemon.queue, daemon.drain.root().dir().try_clone()?)?;
        daemon.drain.start()?;
        let pipes = daemon.places.iter().filter(|place| place.lane.is_some()).count();
        let plural = if pipes == 1 { "" } else { "s" };
        log::info!(
            "{pipes} pipe{plural} of {} into {}, {recovered} bytes recovered",
            scan.dir.display(),
            logs.display()
        );
        Ok(daemon)
    }

    /// Opens every pipe, and only then the logs, which may take their time.
    fn open(&mut self, scan: &Scan) {
        let mut seen = HashMap::new();
        let opened: Vec<_> = scan
            .entries
            .iter()
            .map(|entry| {
                self.watch.add(&self.places.len(), &entry.link);
                let fifo = Fifo::open(&entry.link).and_then(|fifo| refuse_twin(&mut seen, entry, fifo));
                let alarm = fifo.as_ref().err().map(ToString::to_string);
                if let Some(sentence) = &alarm {
                    log::error!("{sentence}");
                }
                self.places.push(Place { entry: entry.clone(), lane: None, alarm });
                fifo.ok()
            })
            .collect();
        for (index, fifo) in opened.into_iter().enumerate() {
            if let Some(fifo) = fifo {
                self.add_lane(index, fifo);
            }
        }
    }

    fn add_lane(&mut self, index: usize, fifo: Fifo) {
        let entry = &self.places[index].entry;
        let mut is_usable = true;
        let settings = Settings::from_policy(&entry.policy).or_else(|error| {
            is_usable = false;
            log::error!("{error}; {} is drained with built-in defaults", entry.name);
            Settings::from_policy(&Policy::default())
        });
        let Ok(mut settings) = settings else { return };
        if !entry.sound || !is_usable {
            settings = settings.harmless();
        }
        let lane = Lane::new(entry.name.as_os_str().to_owned(), fifo, settings, self.queue.clone());
        self.places[index].lane = Some(self.drain.add(lane));
    }

    /// Logs in the root that belong to no pipe go on expiring by the defaults.
    fn tell_archiver(&self, scan: &Scan) {
        let names = scan.entries.iter().map(|entry| entry.name.as_os_str().to_owned()).collect();
        let others = scan.defaults.as_ref().and_then(|policy| Settings::from_policy(policy).ok());
        self.queue.set_pipes(names, others.map(|settings| Upkeep::clone(&settings.upkeep)));
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
                    lane => self.drain.on_event(lane.0, event),
                }
            }
            if self.watch.next_look().is_some_and(|at| at <= now) {
                self.look_again(now);
            }
            self.drain.work(now);
        }
    }

    fn wait(&mut self, events: &mut Events) -> Result<(), Stop> {
        let now = Instant::now();
        let look = self.watch.next_look().map(|at| at.saturating_duration_since(now));
        let test = clock::is_test().then_some(TEST_CLOCK_SPAN);
        let timeout = self.drain.timeout(now).into_iter().chain(look).chain(test).min();
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
                Ask::Rotate => self.drain.ask_rotation(),
                Ask::Reread => log::warn!("HUP: rereading the pipes directory is not there yet; restart instead"),
                Ask::Stop => {}
            }
        }
        asked.contains(&Ask::Stop)
    }

    /// Something may have changed at the end of some links.
    fn look_again(&mut self, now: Instant) {
        for index in self.watch.changed(now) {
            let link = self.places[index].entry.link.clone();
            self.watch.add(&index, &link);
            self.look_at(index, &link, now);
        }
    }

    fn look_at(&mut self, index: usize, link: &Path, now: Instant) {
        let place = &mut self.places[index];
        let held = place.lane.map(|lane| self.drain.identity(lane));
        let opened = match fifo::look(link) {
            Ok(identity) if Some(identity) == held => {
                place.alarm = None;
                return;
            }
            Ok(identity) => match self.holder_of(identity) {
                Some(other) => Err(Error::because("drain", link, format!("it leads to the same FIFO as {other}"))),
                None => Fifo::open(link),
            },
            Err(error) => Err(error),
        };
        let place = &mut self.places[index];
        match opened {
            Ok(fifo) => {
                log::info!("{}: takes the new FIFO", place.entry.name);
                place.alarm = None;
                match place.lane {
                    Some(lane) => self.drain.replace_fifo(lane, fifo, now),
                    None => self.take_late(index, fifo),
                }
            }
            Err(error) => {
                let sentence = error.to_string();
                if place.alarm.as_ref() != Some(&sentence) {
                    log::error!("{sentence}");
                    place.alarm = Some(sentence);
                }
            }
        }
    }

    /// The pipe that is drained from this FIFO already.
    fn holder_of(&self, identity: Identity) -> Option<String> {
        let has = |place: &&Place| place.lane.is_some_and(|lane| self.drain.identity(lane) == identity);
        self.places.iter().find(has).map(|place| place.entry.link.display().to_string())
    }

    fn take_late(&mut self, index: usize, fifo: Fifo) {
        self.add_lane(index, fifo);
        if let Some(lane) = self.places[index].lane
            && let Err(error) = self.drain.begin(lane)
        {
            log::error!("{error}");
        }
    }
}

fn refuse_twin(
    seen: &mut HashMap<Identity, PathBuf>,
    entry: &Entry,
    fifo: Fifo,
) -> standpipe_common::error::Result<Fifo> {
    if let Some(first) = seen.get(&fifo.identity()) {
        let cause = format!("it leads to the same FIFO as {}", first.display());
        return Err(Error::because("drain", &entry.link, cause));
    }
    seen.insert(fifo.identity(), entry.link.clone());
    Ok(fifo)
}

/// As many descriptors as we may have.
fn raise_descriptor_limit() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard).ok();
    }
}
