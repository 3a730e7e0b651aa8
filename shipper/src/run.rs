//! The loop: gives each pipe its turns, on a thread of its own each time, and waits.
//!
//! Here alone it is decided when anything happens. Whoever has no news costs nothing: no timer runs for a log that is all
//! sent. While logs are busy the loop wakes at most every tenth of a second.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver as Ends, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use glob::{MatchOptions, Pattern};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use standpipe_common::descriptors::Descriptors;
use standpipe_common::error::{Cannot, Result, Stop};
use standpipe_common::fifo::Identity;
use standpipe_common::ready::ready;
use standpipe_common::shown::{Shown as _, counted};
use standpipe_common::{logger, seam, standard};
use standpipe_reader::disk::Dir;
use standpipe_reader::logs::select;

use crate::cli::Cli;
use crate::client::Client;
use crate::config::Config;
use crate::fleet::Fleet;
use crate::host;
use crate::inbox::{Asked, Inbox};
use crate::pipe::{Desk, Next, Pipe};
use crate::watch::{UNWATCHED_SPAN, Watch};

/// The shortest time between two looks at what changed: a busy reader writes hundreds of times a second.
const TICK: Duration = Duration::from_millis(100);
/// How long the requests under way may take at the end.
const STOP_SPAN: Duration = Duration::from_secs(5);
/// When it is tried again to take over a log that another shipper sends.
const TAKEN_SPAN: Duration = Duration::from_secs(10);

/// Runs until TERM or INT; with `--check-config` as long as that takes.
pub fn run(cli: &Cli) -> std::result::Result<(), Stop> {
    logger::init();
    let (config, mut mistakes) = Config::load(cli);
    mistakes.extend(config.iter().flat_map(Config::unreadable).map(|error| error.to_string()));
    if let Some(last) = mistakes.pop() {
        mistakes.iter().for_each(standard::error);
        return Err(Stop::Usage(last));
    }
    let Some(config) = config else { unreachable!("what is not there is a mistake") };
    // First of all: a signal that comes before its handler would end us.
    let inbox = Inbox::new()?;
    let client = Client::new(&config, inbox.stopping().clone()).map_err(|error| Stop::Usage(error.to_string()))?;
    if cli.check_config {
        return Ok(());
    }
    Descriptors::raise(0)?;
    let mut shipper = Shipper::new(config, client, inbox)?;
    shipper.scan()?;
    if let Some(dir) = shipper.taken.first() {
        return Err(Stop::Io(shipper.refusal(dir)));
    }
    let (pipes, logs) = (counted(shipper.fleet.len() as u64, "pipe"), shipper.config.logs.shown());
    log::info!("sends {pipes} of {logs} to {}", shipper.config.url);
    ready(cli.notify_fd)?;
    shipper.serve()?;
    Ok(())
}

struct Shipper {
    config: Config,
    client: Arc<Client>,
    inbox: Inbox,
    watch: Watch,
    fleet: Fleet<Box<Pipe>>,
    host: Vec<(&'static str, String)>,
    /// Desks that nobody works at, the one that was left last on top: it is in memory already.
    desks: Vec<Desk>,
    ends: (Sender<End>, Ends<End>),
    /// Logs that another shipper sends.
    taken: BTreeSet<PathBuf>,
    /// What was said of directories that cannot be used.
    told: BTreeSet<String>,
    /// The directory of each pipe, by which another one of its name is known.
    identities: BTreeMap<PathBuf, Identity>,
    /// When there may be other logs.
    next_scan: Option<Instant>,
}

/// A turn is over.
struct End {
    dir: PathBuf,
    pipe: Box<Pipe>,
    desk: Desk,
    next: Next,
}

impl Shipper {
    fn new(config: Config, client: Client, inbox: Inbox) -> Result<Shipper> {
        let watch = Watch::new(&config.logs)?;
        Ok(Shipper {
            client: Arc::new(client),
            config,
            inbox,
            watch,
            fleet: Fleet::default(),
            host: host::attributes(),
            desks: Vec::new(),
            ends: channel(),
            taken: BTreeSet::new(),
            told: BTreeSet::new(),
            identities: BTreeMap::new(),
            next_scan: None,
        })
    }

    /// Until TERM or INT.
    fn serve(&mut self) -> Result<()> {
        // Where the last look found something, the next one comes after a while.
        let mut next_look = None;
        loop {
            let now = Instant::now();
            let asked = self.inbox.asked();
            seam::pass("shipper-asked").cannot("take over", "signals")?;
            self.take_ends(now);
            match asked {
                Asked::Nothing => {}
                Asked::Reread => {
                    self.client.read_headers();
                    self.fleet.hurry(now);
                }
                Asked::Stop => return self.finish(),
            }
            if next_look.is_none_or(|next_look| now >= next_look) {
                next_look = self.look(now)?.then_some(now + TICK);
            }
            while let Some((dir, pipe)) = self.fleet.begin(now) {
                self.start_turn(dir, pipe)?;
            }
            self.wait(now, next_look)?;
        }
    }

    /// The requests under way are waited for; what they bring is written down by their turns.
    fn finish(&mut self) -> Result<()> {
        let end = Instant::now() + STOP_SPAN;
        while self.fleet.turns() > 0 && Instant::now() < end {
            self.inbox.asked();
            self.take_ends(Instant::now());
            if self.fleet.turns() > 0 {
                self.poll(Some(end.saturating_duration_since(Instant::now())), false)?;
            }
        }
        Ok(())
    }

    fn take_ends(&mut self, now: Instant) {
        while let Ok(End { dir, pipe, desk, next }) = self.ends.1.try_recv() {
            let due = match next {
                Next::News => None,
                Next::Soon => Some(now),
                Next::After(span) => Some(now + span),
            };
            self.desks.push(desk);
            self.fleet.end(&dir, pipe, due, now, self.config.linger);
            // It went meanwhile, and another one may have come.
            if !self.fleet.has(&dir) {
                self.next_scan = Some(now);
            }
        }
    }

    fn start_turn(&mut self, dir: PathBuf, mut pipe: Box<Pipe>) -> Result<()> {
        let mut desk = self.desks.pop().map_or_else(Desk::new, Ok)?;
        let (client, batch) = (Arc::clone(&self.client), self.config.batch);
        let (ends, bell) = (self.ends.0.clone(), self.inbox.bell().try_clone()?);
        let turn = move || {
            // A turn that fails on a mistake of ours ends the program, as a kill would: nobody waits for it in vain.
            let _guard = AbortOnPanic;
            let next = pipe.turn(&client, batch, &mut desk);
            ends.send(End { dir, pipe, desk, next }).ok();
            bell.ring();
        };
        thread::Builder::new().name("turn".to_owned()).spawn(turn).map(drop).cannot("start", "a thread")
    }

    /// Looks what may have changed. Whether anything may have.
    fn look(&mut self, now: Instant) -> Result<bool> {
        let news = self.watch.news();
        for dir in &news.logs {
            self.fleet.news(dir, now, self.config.linger);
        }
        for dir in self.watch.unwatched().clone() {
            self.fleet.news(&dir, now, self.config.linger);
        }
        if news.has_other_logs || self.next_scan.is_some_and(|next_scan| now >= next_scan) {
            self.scan()?;
            for dir in self.taken.clone() {
                self.tell(&self.refusal(&dir));
            }
        }
        Ok(news.has_other_logs || !news.logs.is_empty())
    }

    /// Takes up the logs that have come, and lets go of those that are gone.
    fn scan(&mut self) -> Result<()> {
        self.watch.add_root();
        let now = Instant::now();
        let Some(dirs) = self.log_dirs()? else { return Ok(()) };
        let found: BTreeSet<PathBuf> = dirs.iter().map(|dir| dir.path().to_path_buf()).collect();
        for dir in self.identities.keys().filter(|dir| !found.contains(*dir)).cloned().collect::<Vec<_>>() {
            self.let_go(&dir);
        }
        self.taken.retain(|dir| found.contains(dir));
        for dir in dirs {
            if let Err(error) = self.take_up(dir, now) {
                self.tell(&error);
            }
        }
        self.next_scan = (!self.taken.is_empty()).then(|| now + TAKEN_SPAN);
        Ok(())
    }

    /// Why a log is not sent.
    fn refusal(&self, dir: &Path) -> String {
        let lock = dir.join(self.config.receiver.lock_file());
        let lock = lock.shown();
        format!(
            "cannot lock {lock}: another shipper sends this log under that name (for a second receiver give --name)"
        )
    }

    /// Sends the log in this directory from now on, if it is not sent already.
    fn take_up(&mut self, dir: Dir, now: Instant) -> Result<()> {
        let (path, identity) = (dir.path().to_path_buf(), dir.identity()?);
        if self.identities.get(&path).is_some_and(|known| *known != identity) {
            self.let_go(&path);
        }
        if self.fleet.has(&path) {
            return Ok(());
        }
        let host: Vec<(&str, &str)> = self.host.iter().map(|(key, value)| (*key, value.as_str())).collect();
        let Some(pipe) = Pipe::open(dir, &self.config.receiver, &host)? else {
            self.taken.insert(path);
            return Ok(());
        };
        self.taken.remove(&path);
        self.watch.add_log(&path);
        self.identities.insert(path.clone(), identity);
        self.fleet.add(path, Box::new(pipe), now);
        Ok(())
    }

    fn let_go(&mut self, dir: &Path) {
        self.identities.remove(dir);
        self.watch.forget(dir);
        self.fleet.remove(dir);
    }

    /// The log directories that are to be sent. `None`: that cannot be found out now.
    fn log_dirs(&mut self) -> Result<Option<Vec<Dir>>> {
        let logs = self.config.logs.clone();
        let root = Dir::open(&logs)?.identity()?;
        let selection = match select::log_dirs(&[with_slash(&logs)], None) {
            Ok(selection) => selection,
            // There is none yet.
            Err(Stop::Usage(_)) => return Ok(Some(Vec::new())),
            Err(Stop::Io(sentence)) => {
                self.tell(&sentence);
                return Ok(None);
            }
        };
        for error in &selection.closed {
            self.tell(error);
        }
        let pipes = &self.config.pipes;
        let is_wanted = |dir: &Dir| dir.identity().is_ok_and(|dir| dir == root) || is_meant(pipes, dir.path());
        Ok(Some(selection.dirs.into_iter().filter(is_wanted).collect()))
    }

    fn tell(&mut self, error: &impl Display) {
        let sentence = error.to_string();
        if self.told.insert(sentence.clone()) {
            log::error!("{sentence}");
        }
    }

    /// Until something is due, or happens; to logs before `next_look` whatever may.
    fn wait(&self, now: Instant, next_look: Option<Instant>) -> Result<()> {
        let unwatched = (!self.watch.unwatched().is_empty()).then(|| now + UNWATCHED_SPAN);
        let until = [next_look, self.next_scan, unwatched, self.fleet.next_due()].into_iter().flatten().min();
        self.poll(until.map(|until| until.saturating_duration_since(Instant::now())), next_look.is_none())
    }

    fn poll(&self, span: Option<Duration>, with_logs: bool) -> Result<()> {
        let mut fds = vec![PollFd::new(self.inbox.as_fd(), PollFlags::POLLIN)];
        if with_logs {
            fds.push(PollFd::new(self.watch.as_fd(), PollFlags::POLLIN));
        }
        // Not a moment too early, or it would be asked again and again until then.
        let ms = span.map(|span| i32::try_from(span.as_millis() + 1).unwrap_or(i32::MAX));
        match poll(&mut fds, ms.map_or(PollTimeout::NONE, |ms| PollTimeout::try_from(ms).unwrap_or(PollTimeout::MAX))) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(errno) => Err(errno).cannot("wait for", "logs"),
        }
    }
}

/// A root that is named without a slash would be the name of a pipe.
fn with_slash(path: &Path) -> PathBuf {
    Path::new(".").join(path).join("")
}

fn is_meant(pipes: &[Pattern], dir: &Path) -> bool {
    let options = MatchOptions { require_literal_leading_dot: false, ..MatchOptions::new() };
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    pipes.iter().any(|pattern| pattern.matches_with(&name, options))
}

struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            std::process::abort();
        }
    }
}
