//! The start: everything is opened, and what the last run left is taken up.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::io::IsTerminal;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Instant;

use jiff::tz::TimeZone;
use nix::unistd::geteuid;
use standpipe_common::descriptors::Descriptors;
use standpipe_common::error::{Error, Result, Stop};
use standpipe_common::{boot, clock};

use super::{SLOTS_MAX, Tailer};
use crate::around::Taken;
use crate::backoff::Backoff;
use crate::checkpoint::durable::{self, Durable};
use crate::checkpoint::{self, Checkpoint, Start};
use crate::cli::Cli;
use crate::config::{Config, Format, OnCorrupt, Order, StartAt};
use crate::events::{self, Event, Printer};
use crate::follow::reading::BUFFER_BYTES;
use crate::format::{self, Formatter};
use crate::held_back::HeldBack;
use crate::identity::Origin;
use crate::intake::Intake;
use crate::keeper::Keeper;
use crate::metrics;
use crate::order::{Patience, Window};
use crate::outputs::{Kind, Outputs};
use crate::roster::Roster;
use crate::share::Lots;
use crate::siblings::directories::Directories;
use crate::slices::Slices;
use crate::sources::Found;
use crate::sources::globs::Globs;
use crate::spacing::Spacing;
use crate::spool::set::Spools;
use crate::stage::{Position, Stage};
use crate::state::SourceState;
use crate::status::board::Board;
use crate::stdout::Stdout;
use crate::steady::Steady;
use crate::turns::Turns;
use crate::watch::Watch;

use super::roll::{Among, Occasion, has_globs};
use super::showing::unseen;

/// What there is too little of where no inotify can be had; the errno does not tell it from too few descriptors.
const INSTANCES: &str = "fs.inotify.max_user_instances";

const AS_ROOT: &str = "running as root is unnecessary: run it as user `standpipe`";

/// What a checkpoint starts with, taken apart.
struct Begin {
    keeper: Keeper,
    /// What counts in place of `start_at`.
    start_at: Option<StartAt>,
    /// The first start of all, ns since the epoch.
    since_ns: i64,
    findings: Vec<String>,
}

impl Tailer {
    /// Takes everything up. Nothing was read when this returns.
    ///
    /// # Errors
    /// The configuration is wrong, or something without which there is no work cannot be had.
    pub fn start(cli: &Cli, now: Instant) -> std::result::Result<Tailer, Stop> {
        let config = cli.configuration()?;
        let descriptors = Descriptors::raise(0)?;
        let mut begin = begin(&config, now)?;
        let findings = std::mem::take(&mut begin.findings);
        let (watch, trouble) = watch(&config);
        let mut tailer = Tailer::new(cli, config, descriptors, begin, watch, now);
        for finding in findings {
            tailer.printer.print(&Event::Warning(finding));
        }
        // Whoever looks at files of the moment as root means to.
        if geteuid().is_root() && tailer.config.state_file.is_some() && !tailer.is_batch {
            tailer.printer.print(&Event::Warning(AS_ROOT.to_owned()));
        }
        tailer.set_board();
        tailer.set_globs(now);
        let found = tailer.find(Among::All);
        if tailer.is_batch {
            tailer.clock = Steady::new(now, last_change_ns(&found));
        }
        if let Some(stop) = tailer.enroll_new(found.iter(), Occasion::Named).into_iter().next() {
            return Err(stop);
        }
        tailer.enroll_spools(now)?;
        tailer.spools.take_up(&mut tailer.outputs);
        tailer.forget_finished();
        tailer.share_descriptors(now);
        tailer.tell_watching_if_any();
        if let Some(event) = &trouble {
            tailer.printer.print(event);
        }
        // Lines on a terminal and a line that is written again and again do not go together.
        if !(tailer.outputs.find(None).is_some() && std::io::stdout().is_terminal()) {
            tailer.printer.begin_to_catch_up();
        }
        if !tailer.is_batch {
            tailer.set_metrics();
        }
        Ok(tailer)
    }

    /// With nothing enrolled.
    fn new(
        cli: &Cli,
        config: Config,
        descriptors: Descriptors,
        begin: Begin,
        watch: Option<Watch>,
        now: Instant,
    ) -> Tailer {
        let form = if config.output == Format::Json { events::Form::Json } else { events::Form::Text };
        let has_known = begin.keeper.others().next().is_some();
        Tailer {
            is_batch: cli.batch,
            is_debug: cli.debug,
            has_color: has_color(cli),
            roster: Roster::default(),
            turns: Turns::default(),
            intake: Intake::new(now),
            spools: Spools::default(),
            outputs: Outputs::default(),
            taken: Taken::new(ours()),
            directories: Directories::new(now),
            watch,
            has_more_hints: false,
            overflows: Spacing::default(),
            is_watching_said: false,
            are_leases_said: false,
            has_globs: has_globs(&config) && !cli.batch,
            has_known,
            keeper: begin.keeper,
            board: Board::default(),
            metrics: None,
            printer: Printer::new(form),
            descriptors,
            open_max: 0,
            count_at: now,
            open_beside: None,
            open: 0,
            open_starved: 0,
            slices: Slices::default(),
            has_fed: false,
            failures: 0,
            lots: Lots::default(),
            is_starving_said: false,
            waits: Vec::new(),
            buffer: vec![0; BUFFER_BYTES],
            clock: Steady::new(now, clock::now_ns()),
            globs: Globs::default(),
            unfollowed: Backoff::default(),
            complaints: BTreeSet::new(),
            since_ns: begin.since_ns,
            began_ns: clock::file_ns(),
            start_at: begin.start_at,
            positions: HashMap::new(),
            on_their_way: HashMap::new(),
            held_back: HeldBack::default(),
            config,
        }
    }

    /// Makes the status file beside the state file, if there is one of those.
    fn set_board(&mut self) {
        let Some(state) = &self.config.state_file else { return };
        match Board::make(state, clock::now_ns()) {
            Ok(board) => self.board = board,
            Err(error) => {
                self.printer.print(&Event::Warning(unseen(&error)));
            }
        }
    }

    fn set_metrics(&mut self) {
        match metrics::start(&self.config, self.printer.form()) {
            Ok(metrics) => self.metrics = metrics,
            Err(error) => self.printer.print(&Event::Error(error.to_string())),
        }
    }

    /// Which output takes the lines for `pipe`, made if need be.
    pub(super) fn output_for(&mut self, pipe: Option<&Path>) -> std::result::Result<usize, Stop> {
        if let Some(index) = self.outputs.find(pipe) {
            return Ok(index);
        }
        let zone = TimeZone::system();
        // Into a pipe a file keeps its order: how far it is delivered is all that the next run knows of it.
        let patience = match pipe {
            _ if !self.is_batch => Patience::Window(self.config.window),
            None => Patience::Sorted,
            Some(_) => Patience::Batch,
        };
        let is_ordered = self.config.order == Order::Timestamp;
        let kind = match pipe {
            None => {
                let form = match self.config.output {
                    Format::Text => format::Form::Text,
                    Format::Json => format::Form::Json,
                    Format::Raw => format::Form::Raw,
                };
                let stdout = Stdout::new(Formatter::new(form, self.has_color, zone.clone()))?;
                if is_ordered { Kind::OrderedStdout(Window::new(stdout, patience, zone)) } else { Kind::Stdout(stdout) }
            }
            Some(pipe) => {
                let stage = self.stage(pipe)?;
                if is_ordered { Kind::OrderedStage(Window::new(stage, patience, zone)) } else { Kind::Stage(stage) }
            }
        };
        Ok(self.outputs.add(pipe, kind))
    }

    fn stage(&mut self, pipe: &Path) -> Result<Stage> {
        let no_state = || Error::because("deliver into", pipe, "there is no state file");
        let state = self.config.state_file.as_ref().ok_or_else(no_state)?;
        let stage = Stage::open(pipe, state, &boot::id()?, clock::now_ns())?;
        lay_over(&mut self.positions, stage.delivered_positions());
        lay_over(&mut self.on_their_way, stage.positions());
        Ok(stage)
    }

    /// Pipes need no longer know of what the checkpoint does not know, once that is much: it may be of a spool that is
    /// not configured now, and will be again.
    pub(super) fn forget_finished(&mut self) {
        if self.outputs.positions() <= SLOTS_MAX.max(2 * self.generations()) {
            return;
        }
        // Where nobody knows which files are there, everything is remembered.
        let Some(spooled) = self.spools.origins() else { return };
        let states: Vec<_> = self.roster.iter().map(|followed| followed.source.state()).collect();
        let all = states.iter().chain(self.keeper.others()).flat_map(|state| &state.generations);
        let origins: Vec<_> = all.map(|generation| generation.origin).chain(spooled).collect();
        self.outputs.retain(&origins);
    }
}

/// A source may have come from another pipe, which is where it was before: the greater offset counts.
fn lay_over(known: &mut HashMap<Origin, Position>, positions: Vec<Position>) {
    for position in positions {
        let known = known.entry(position.origin).or_insert(position);
        let head = known.head.or(position.head);
        if known.offset < position.offset {
            *known = position;
        }
        known.head = head;
    }
}

/// What tells of changes, if it is wanted and can be had; and what is to be said if it cannot.
fn watch(config: &Config) -> (Option<Watch>, Option<Event>) {
    match config.inotify.then(Watch::new).transpose() {
        Ok(watch) => (watch, None),
        Err(error) if error.is_out_of_descriptors() => (None, Some(Event::InotifyLimit { sysctl: INSTANCES })),
        Err(error) => (None, Some(Event::Warning(format!("{error}; polling instead")))),
    }
}

fn begin(config: &Config, now: Instant) -> Result<Begin> {
    // As files are stamped: one that is made from now on is never older.
    let since_ns = clock::file_ns();
    let nothing = Begin { keeper: Keeper::new(None, Vec::new(), now), start_at: None, since_ns, findings: Vec::new() };
    let Some(path) = &config.state_file else { return Ok(nothing) };
    let on_corrupt = match config.on_corrupt {
        OnCorrupt::Fail => checkpoint::OnCorrupt::Fail,
        OnCorrupt::Beginning => checkpoint::OnCorrupt::Beginning,
        OnCorrupt::End => checkpoint::OnCorrupt::End,
    };
    let opened = Checkpoint::open(path, on_corrupt)?;
    let (start_at, known) = match opened.start {
        Start::First => (None, Vec::new()),
        Start::Known(states) => (None, states),
        Start::Beginning => (Some(StartAt::Beginning), Vec::new()),
        Start::End => (Some(StartAt::End), Vec::new()),
    };
    let mut findings = opened.findings;
    let (durable, known) = take_up_durable(path, config, known, &mut findings)?;
    let first = known.iter().map(|state| state.since_ns).filter(|since| *since > 0).min();
    let mut keeper = Keeper::new(Some(opened.checkpoint), known, now);
    keeper.keep_durable(durable).unwrap_or_else(|error| {
        findings.push(format!("{error}; a power failure may lose lines at the other end of a pipe"));
    });
    Ok(Begin { keeper, start_at, since_ns: first.unwrap_or(since_ns), findings })
}

/// What is on disk for certain at the other end of pipes, if there are any, and from where to go on: after a power cut
/// from there.
fn take_up_durable(
    path: &Path,
    config: &Config,
    known: Vec<SourceState>,
    findings: &mut Vec<String>,
) -> Result<(Option<Durable>, Vec<SourceState>)> {
    if config.files.iter().all(|file| file.pipe.is_none()) && config.spools.is_empty() {
        durable::remove(path).unwrap_or_else(|error| findings.push(error.to_string()));
        return Ok((None, known));
    }
    let (durable, back) = Durable::open(path, boot::id()?, config.durable_span, &known);
    let Some(back) = back else { return Ok((Some(durable), known)) };
    // What was delivered behind the last checkpoint nobody can count.
    let bytes = durable::repeated_bytes(&known, &back);
    findings.push(format!(
        "the machine stopped without shutting down: delivering again what may not have reached the disk; up to {bytes} \
         bytes, and lines of the last second before, may be repeated"
    ));
    Ok((Some(durable), back))
}

/// When one of the files was changed last: the only time of lines without one that makes a batch a function of its
/// files.
fn last_change_ns(found: &[Found]) -> i64 {
    let changes = found.iter().filter_map(|found| fs::metadata(&found.path).ok());
    changes.map(|metadata| metadata.mtime() * 1_000_000_000 + metadata.mtime_nsec()).max().unwrap_or(0)
}

/// Files that we write, so that none of them is followed.
fn ours() -> Vec<(u64, u64)> {
    let stdout = fs::metadata("/proc/self/fd/1").ok().filter(fs::Metadata::is_file);
    let stderr = fs::metadata("/proc/self/fd/2").ok().filter(fs::Metadata::is_file);
    stdout.into_iter().chain(stderr).map(|metadata| (metadata.dev(), metadata.ino())).collect()
}

fn has_color(cli: &Cli) -> bool {
    let has_objection = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    cli.color.is_on(std::io::stdout().is_terminal(), has_objection)
}
