//! `reader stdin LOGDIR`: drains standard input, with the same mailbox and the same log directory as the daemon.
//!
//! Standard input is inherited: no flag of it is set and no lock taken, and a read never asks for more than waits, so
//! it never blocks. The end of input is that nobody can write any more, and then that nothing waits. Until then an
//! interrupt from the terminal, which every program of a pipeline gets, does not end it.

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};
use nix::sys::stat::{Mode, umask};
use standpipe_common::capability::is_privileged_for_pipes;
use standpipe_common::error::{Cannot, EXIT_IO, Error, Stop};
use standpipe_common::fifo::Fifo;
use standpipe_common::policy::Policy;
use standpipe_common::shown::{Shown as _, counted};
use standpipe_common::{called, clock, logger, ready, sys};

use crate::archiver;
use crate::cli::StdinArgs;
use crate::control::Control;
use crate::drain::Drain;
use crate::due::TEST_CLOCK_SPAN;
use crate::lane::Lane;
use crate::listing::SELF;
use crate::mailbox::DATA_BYTES_MAX;
use crate::mailboxes::{Mailboxes, Supply};
use crate::metrics::Metrics;
use crate::queue::ArchiveQueue;
use crate::root::Root;
use crate::settings::Settings;
use crate::shelf::Shelf;
use crate::signals::{Inbox, Request, Role};
use crate::title;

const SIGNALS: Token = Token(usize::MAX);
const CONTROL: Token = Token(usize::MAX - 1);
const LANE: usize = 0;
/// What the one log directory takes.
const LOG_DIR_DESCRIPTORS: usize = 4;

/// After so long without work memory is let go of: there is one of us beside each service, and most of them are quiet.
const QUIET_SPAN: Duration = Duration::from_millis(250);

/// How long the last archive is waited for.
const LAST_ARCHIVE_SPAN: Duration = Duration::from_secs(60);

/// Runs until the end of input, TERM, or a second INT. The exit code.
pub fn run(args: &StdinArgs) -> Result<u8, Stop> {
    logger::init();
    let Some(input) = Fifo::inherited(io::stdin().as_fd()).cannot("inspect", "standard input")? else {
        let (us, log_dir) = (called::short("reader", "stdin"), args.log_dir.shown());
        let hint = format!("standard input is not a pipe; try: cat FILE | {us} {log_dir}");
        return Err(Stop::Usage(hint));
    };
    let policy = Policy::from_flags(&args.policy);
    policy.oddities().iter().for_each(|odd| log::warn!("{odd}"));
    let settings = Settings::from_policy(&policy).map_err(|error| Stop::Usage(error.to_string()))?;
    let mut service = Service::start(args, input, settings)?;
    ready::ready(args.notify_fd)?;
    let code = if service.serve()? == Ending::Asked || args.leave_open {
        service.drain.finish();
        0
    } else {
        service.seal(args)?
    };
    service.clear_away();
    Ok(code)
}

#[derive(PartialEq, Eq)]
enum Ending {
    Asked,
    EndOfInput,
}

struct Service {
    poll: Poll,
    inbox: Inbox,
    drain: Drain,
    control: Control,
    queue: ArchiveQueue,
    metrics: Metrics,
}

impl Service {
    fn start(args: &StdinArgs, input: Fifo, settings: Settings) -> Result<Service, Stop> {
        sys::keep_no_large_blocks();
        // Files get exactly the mode that the policy says.
        let inherited = umask(Mode::empty());
        let poll = Poll::new().cannot("create", "the poll set")?;
        let mut root = Root::open_log_dir(&args.log_dir)?;
        title::set_log_dir(&args.log_dir);
        let mut inbox = Inbox::new(&args.log_dir, Role::Filter { ignores_term: args.ignore_term })?;
        poll.registry().register(&mut inbox.source, SIGNALS, Interest::READABLE).cannot("watch", "signals")?;
        let shelf = Shelf::open(root.dir().try_clone()?, args.mailbox_dir.as_deref())?;
        let (mailboxes, holding) = Mailboxes::take_up(shelf, root.home().clone(), Supply::ONE_LANE)?;
        // A refusal is no harm: the pipe stays as it is.
        if input.capacity().is_ok_and(|capacity| capacity < DATA_BYTES_MAX) && is_privileged_for_pipes() {
            input.set_capacity(DATA_BYTES_MAX).ok();
        }
        let queue = ArchiveQueue::default();
        queue.spare().wait_for_need();
        if settings.upkeep.hook.is_some() {
            queue.hooks().start(root.dir(), inherited.bits())?;
        }
        let metrics = Metrics::start(args.metrics_file.clone(), root.dir());
        if !args.no_sandbox {
            root.confine(mailboxes.outside()?)?;
        }
        let registry = poll.registry().try_clone().cannot("create", "the poll set")?;
        let control = Control::make(root.dir(), poll.registry(), CONTROL);
        let mut drain = Drain::new(root, registry, mailboxes, LOG_DIR_DESCRIPTORS)?;
        drain.add_only(Lane::new(SELF.into(), input, settings.into(), queue.clone()))?;
        let recovered = drain.recover(holding);
        archiver::start(&queue, drain.root().dir().try_clone()?)?;
        drain.start()?;
        let recovered = counted(recovered as u64, "byte");
        log::info!("reading standard input into {}; recovered {recovered}", args.log_dir.shown());
        Ok(Service { poll, inbox, drain, control, queue, metrics })
    }

    fn serve(&mut self) -> Result<Ending, Stop> {
        let mut events = Events::with_capacity(8);
        let mut is_light = false;
        loop {
            let test = clock::is_test().then_some(TEST_CLOCK_SPAN);
            let now = Instant::now();
            let command = self.control.timeout(now);
            let metrics = self.metrics.timeout(now);
            let due = self.drain.timeout(now).into_iter().chain(command).chain(metrics).chain(test).min();
            let may_be_quiet = !is_light && due.is_none_or(|due| due > QUIET_SPAN);
            let timeout = if may_be_quiet { Some(QUIET_SPAN) } else { due };
            match self.poll.poll(&mut events, timeout) {
                Ok(()) => is_light = may_be_quiet && events.is_empty(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => is_light = false,
                Err(error) => return Err(Error::new("wait for", "standard input", error).into()),
            }
            if is_light {
                sys::release_memory();
                continue;
            }
            let now = Instant::now();
            for event in &events {
                match event.token() {
                    CONTROL => self.control.on_event(),
                    SIGNALS => {
                        if self.is_asked_to_stop() {
                            return Ok(Ending::Asked);
                        }
                    }
                    lane => self.drain.on_event(lane.0, event),
                }
            }
            self.control.obey(&mut self.drain, now);
            self.drain.work(now);
            self.metrics.turn(now);
            if self.drain.has_ended(LANE) {
                self.inbox.note_end_of_input()?;
                return Ok(Ending::EndOfInput);
            }
        }
    }

    /// Answers the signals that came; TERM is the caller's.
    fn is_asked_to_stop(&mut self) -> bool {
        let asked = self.inbox.asked();
        if asked.contains(&Request::Rotate) {
            self.drain.ask_rotation();
        }
        if asked.contains(&Request::EndWithInput) {
            log::info!("interrupted; reading until the input ends, or a second interrupt");
        }
        asked.contains(&Request::Stop)
    }

    /// The log alone stays, and the last page of metrics, which is made of what goes.
    fn clear_away(&mut self) {
        self.metrics = Metrics::default();
        self.control.clear_away(self.drain.root().dir());
        self.drain.clear_away();
    }

    /// Seals the last part and waits for its archive.
    fn seal(&mut self, args: &StdinArgs) -> Result<u8, Stop> {
        self.drain.seal(LANE)?;
        self.queue.end();
        let deadline = Instant::now() + LAST_ARCHIVE_SPAN;
        if !self.queue.wait_idle(LAST_ARCHIVE_SPAN) {
            log::error!("{}: the last part stays uncompressed, because its archive is not ready", args.log_dir.shown());
            return Ok(EXIT_IO);
        }
        if !self.queue.hooks().wait_idle(deadline.saturating_duration_since(Instant::now())) {
            log::error!(
                "{}: the hook has not processed all archives; it gets the rest at the next start",
                args.log_dir.shown()
            );
            return Ok(EXIT_IO);
        }
        Ok(0)
    }
}
