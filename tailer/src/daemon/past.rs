//! What the last run left, and what the next one is told: what the checkpoint and the records of pipes said at the start,
//! and what of it counts for which log.

use std::collections::HashMap;
use std::path::Path;
use std::time::Instant;

use standpipe_common::error::Result;
use standpipe_common::shown::counted;
use standpipe_common::{boot, clock};

use crate::checkpoint::durable::{self, Durable, Flow};
use crate::checkpoint::held_back::HeldBack;
use crate::checkpoint::keeper::{Keeper, Unsaved};
use crate::checkpoint::state::{GenerationState, SourceState};
use crate::checkpoint::{Checkpoint, Start};
use crate::config::{Config, FileConfig, StartAt};
use crate::file::identity::Origin;
use crate::log::settings::Settings;
use crate::log::source::Source;
use crate::stage::Position;
use crate::turns::roster::Roster;

/// When a file was found.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Occasion {
    /// At the start, or by a configuration that names it for the first time: `start_at` says where to begin.
    Named,
    /// Under a glob that was there before: it is new, so it is read whole.
    Appeared,
}

/// All of it.
#[derive(Debug)]
pub struct Past {
    /// What is remembered of all logs.
    keeper: Keeper,
    held_back: HeldBack,
    /// There was a state.
    has_known: bool,
    /// When a tailer with this state was started for the first time, ns since the epoch; and when this one was.
    since_ns: i64,
    began_ns: i64,
    /// What counts in place of what files say of their beginning, for the state was lost.
    start_at: Option<StartAt>,
    /// How far outputs had delivered each generation when the last run ended.
    positions: HashMap<Origin, Position>,
    /// How far they will have, once what that run left on its way has arrived.
    on_their_way: HashMap<Origin, Position>,
}

impl Past {
    /// What stands in the state file, if there is one. What is odd about it is told in the second place.
    ///
    /// # Errors
    /// It cannot be used.
    pub fn open(config: &Config, now: Instant) -> Result<(Past, Vec<String>)> {
        // As files are stamped: one that is made from now on is never older.
        let began_ns = clock::file_ns();
        let mut past = Past {
            keeper: Keeper::new(None, Vec::new(), now),
            held_back: HeldBack::default(),
            has_known: false,
            since_ns: began_ns,
            began_ns,
            start_at: None,
            positions: HashMap::new(),
            on_their_way: HashMap::new(),
        };
        let Some(path) = &config.state_file else { return Ok((past, Vec::new())) };
        let opened = Checkpoint::open(path, config.on_corrupt)?;
        let (start_at, known) = match opened.start {
            Start::First => (None, Vec::new()),
            Start::Known(states) => (None, states),
            Start::Beginning => (Some(StartAt::Beginning), Vec::new()),
            Start::End => (Some(StartAt::End), Vec::new()),
        };
        let mut findings = opened.findings;
        let (durable, known) = take_up_durable(path, config, known, &mut findings)?;
        let first = known.iter().map(|state| state.since_ns).filter(|since| *since > 0).min();
        (past.start_at, past.since_ns, past.has_known) = (start_at, first.unwrap_or(began_ns), !known.is_empty());
        past.keeper = Keeper::new(Some(opened.checkpoint), known, now);
        past.keeper.keep_durable(durable).unwrap_or_else(|error| {
            findings.push(format!("{error}; a power failure may lose lines already delivered into a pipe"));
        });
        Ok((past, findings))
    }

    /// What is remembered of all logs.
    pub fn keeper(&self) -> &Keeper {
        &self.keeper
    }

    /// The same, to remember more.
    pub fn keeper_mut(&mut self) -> &mut Keeper {
        &mut self.keeper
    }

    /// What the record of a pipe knows as well: of what is delivered, and of what will be once all has arrived. A log may
    /// have come from another pipe, which is where it was before: the greater offset counts.
    pub fn learn(&mut self, delivered: Vec<Position>, on_their_way: Vec<Position>) {
        lay_over(&mut self.positions, delivered);
        lay_over(&mut self.on_their_way, on_their_way);
    }

    /// How a log is followed that was found now.
    pub fn settings(&self, config: &Config, file: &FileConfig, occasion: Occasion) -> Settings {
        let start_at = match (occasion, self.start_at.unwrap_or(file.start_at)) {
            (Occasion::Named, StartAt::End) if !config.is_batch() => StartAt::End,
            _ => StartAt::Beginning,
        };
        Settings {
            start_at,
            since_ns: if file.is_glob || occasion == Occasion::Appeared { self.since_ns } else { self.began_ns },
            ignore_older: file.ignore_older,
            max_idle: file.max_idle,
            late_writer_max: config.late_writer_max,
            is_batch: config.is_batch(),
            may_be_missing: file.is_glob,
            is_late: occasion == Occasion::Appeared || self.has_known,
            ..Settings::default()
        }
    }

    /// Lays what an output knows better over what the checkpoint says. `is_recovering`: something that the last run left
    /// on its way did not arrive yet.
    pub fn overlay(&mut self, state: &mut SourceState, is_recovering: bool) {
        for generation in &mut state.generations {
            overlay(generation, &self.positions);
            let before = generation.clone();
            overlay(generation, &self.on_their_way);
            if generation.offset > before.offset && is_recovering {
                self.held_back.add(state.path.clone(), before);
            }
        }
    }

    /// What the last run left on its way has arrived. Whether that is news.
    pub fn has_arrived(&mut self) -> bool {
        let is_news = !self.held_back.is_empty();
        self.held_back.clear();
        is_news
    }

    /// Writes the checkpoint, if there is a state file.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn save(
        &mut self,
        roster: &mut Roster,
        flows: &[Flow],
        is_durable: bool,
        now: Instant,
    ) -> std::result::Result<(), Unsaved> {
        if !self.keeper.has_file() {
            return Ok(());
        }
        let touched = roster.take_touched().map(|followed| &followed.source);
        let mut states: Vec<_> = touched.filter(|source| source.is_known()).map(Source::state).collect();
        self.held_back.apply(&mut states);
        self.keeper.save(states, flows, is_durable, now, clock::now_ns())?;
        let is_all_said = || {
            let mut known = roster.iter().map(|followed| &followed.source).filter(|source| source.is_known());
            known.all(|source| self.keeper.says(&source.state()))
        };
        debug_assert!(
            !is_durable || !self.held_back.is_empty() || is_all_said(),
            "to whom something happens is touched"
        );
        Ok(())
    }
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
    let bytes = match durable::repeated_bytes(&known, &back) {
        0 => String::new(),
        bytes => format!("up to {}, and ", counted(bytes, "byte")),
    };
    findings.push(format!(
        "the machine stopped without shutting down: delivering again what may not have reached the disk; {bytes}lines \
         from the last second before that may be repeated"
    ));
    Ok((Some(durable), back))
}

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

fn overlay(generation: &mut GenerationState, positions: &HashMap<Origin, Position>) {
    let Some(position) = positions.get(&generation.origin) else { return };
    generation.head = generation.head.or(position.head);
    if position.offset > generation.offset {
        generation.offset = position.offset;
        generation.guard = Some(position.guard);
        generation.last_line_hash = None;
    }
}
