//! All outputs: one for each pipe, and standard output, each with or without putting its lines in order.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::tz::TimeZone;
use standpipe_common::error::{Error, Result, Stop};
use standpipe_common::{boot, clock};

use crate::checkpoint::durable::Flow;
use crate::config::{Config, Order};
use crate::daemon::past::Past;
use crate::file::identity::Origin;
use crate::out::format::Formatter;
use crate::out::lines::SourceId;
use crate::out::order::{Oddity, Patience, Window};
use crate::out::output::{Delivered, Outlet, Output, Standing, Waits};
use crate::out::stdout::Stdout;
use crate::out::timestamp::Format;
use crate::stage::message::Message;
use crate::stage::{Position, Stage};

enum OutputKind {
    /// Standard output, as lines are read.
    Stdout(Stdout),
    /// Standard output, in the order of times.
    OrderedStdout(Window<Stdout>),
    /// A pipe, as lines are read.
    Stage(Stage),
    /// A pipe, in the order of times.
    OrderedStage(Window<Stage>),
}

/// The outputs, by the order in which they were first asked for.
pub struct Outputs {
    list: Vec<Destination>,
    /// What they waited for after their last turn.
    waits: Vec<Waits>,
    /// Standard output has color.
    has_color: bool,
}

struct Destination {
    /// `None`: standard output.
    pipe: Option<PathBuf>,
    kind: OutputKind,
}

impl OutputKind {
    fn outlet(&mut self) -> &mut dyn Outlet {
        match self {
            OutputKind::Stdout(output) => output,
            OutputKind::OrderedStdout(output) => output,
            OutputKind::Stage(output) => output,
            OutputKind::OrderedStage(output) => output,
        }
    }

    fn stage(&mut self) -> Option<&mut Stage> {
        match self {
            OutputKind::Stage(stage) => Some(stage),
            OutputKind::OrderedStage(window) => Some(window.inner()),
            OutputKind::Stdout(_) | OutputKind::OrderedStdout(_) => None,
        }
    }

    fn introduce(&mut self, source: SourceId, name: &str, format: Format) {
        match self {
            OutputKind::Stdout(stdout) => stdout.formatter().add(source, name, format),
            OutputKind::OrderedStdout(window) => {
                window.add(source, format.clone());
                window.inner().formatter().add(source, name, format);
            }
            OutputKind::OrderedStage(window) => window.add(source, format),
            OutputKind::Stage(_) => {}
        }
    }

    fn keep_files_apart(&mut self, source: SourceId) {
        match self {
            OutputKind::Stdout(stdout) => stdout.formatter().keep_files_apart(source),
            OutputKind::OrderedStdout(window) => window.inner().formatter().keep_files_apart(source),
            OutputKind::Stage(_) | OutputKind::OrderedStage(_) => {}
        }
    }

    fn allow_for(&mut self, interval: Duration) {
        match self {
            OutputKind::OrderedStdout(window) => window.allow_for(interval),
            OutputKind::OrderedStage(window) => window.allow_for(interval),
            OutputKind::Stdout(_) | OutputKind::Stage(_) => {}
        }
    }

    fn take_oddities(&mut self) -> Vec<Oddity> {
        match self {
            OutputKind::OrderedStdout(window) => window.take_oddities(),
            OutputKind::OrderedStage(window) => window.take_oddities(),
            OutputKind::Stdout(_) | OutputKind::Stage(_) => Vec::new(),
        }
    }
}

impl Outputs {
    /// None yet.
    pub fn new(has_color: bool) -> Outputs {
        Outputs { list: Vec::new(), waits: Vec::new(), has_color }
    }

    /// Whether one of them is standard output.
    pub fn has_stdout(&self) -> bool {
        self.list.iter().any(|one| one.pipe.is_none())
    }

    /// Which one takes lines for `pipe`, made if need be; `None` is standard output.
    ///
    /// # Errors
    /// It cannot be had.
    pub fn of(&mut self, pipe: Option<&Path>, config: &Config, past: &mut Past) -> std::result::Result<usize, Stop> {
        if let Some(index) = self.list.iter().position(|one| one.pipe.as_deref() == pipe) {
            return Ok(index);
        }
        let zone = TimeZone::system();
        // Into a pipe a file keeps its order: how far it is delivered is all that the next run knows of it.
        let patience = match (config.window, pipe) {
            (Some(window), _) => Patience::Window(window),
            (None, None) => Patience::Sorted,
            (None, Some(_)) => Patience::Batch,
        };
        let is_ordered = config.order == Order::Timestamp;
        let kind = match pipe {
            None => {
                let stdout = Stdout::new(Formatter::new(config.output, self.has_color, zone.clone()))?;
                if is_ordered {
                    OutputKind::OrderedStdout(Window::new(stdout, patience, zone))
                } else {
                    OutputKind::Stdout(stdout)
                }
            }
            Some(pipe) => {
                let no_state = || Error::because("deliver into", pipe, "there is no state file");
                let state = config.state_file.as_ref().ok_or_else(no_state)?;
                let stage = Stage::open(pipe, state, &boot::id()?, clock::now_ns())?;
                past.learn(stage.delivered_positions(), stage.positions());
                if is_ordered {
                    OutputKind::OrderedStage(Window::new(stage, patience, zone))
                } else {
                    OutputKind::Stage(stage)
                }
            }
        };
        self.list.push(Destination { pipe: pipe.map(Path::to_path_buf), kind });
        Ok(self.list.len() - 1)
    }

    /// One of them.
    pub fn get(&mut self, index: usize) -> &mut dyn Output {
        self.list[index].kind.outlet()
    }

    /// One of them, past what puts its lines in order: for what is to stay in one piece.
    pub fn get_straight(&mut self, index: usize) -> &mut dyn Outlet {
        match &mut self.list[index].kind {
            OutputKind::Stdout(output) => output,
            OutputKind::Stage(output) => output,
            OutputKind::OrderedStdout(window) => window.inner(),
            OutputKind::OrderedStage(window) => window.inner(),
        }
    }

    /// The pipe of one of them need not know of these generations any more.
    pub fn forget(&mut self, index: usize, origins: &[Origin]) {
        if let Some(stage) = self.list[index].kind.stage() {
            stage.forget(origins);
        }
    }

    /// Tells one of them what a source is called and what its times look like, before its first line.
    pub fn introduce(&mut self, index: usize, source: SourceId, name: &str, format: Format) {
        self.list[index].kind.introduce(source, name, format);
    }

    /// Tells one of them that the files of a source have nothing to do with each other; after [`Outputs::introduce`].
    pub fn keep_files_apart(&mut self, index: usize, source: SourceId) {
        self.list[index].kind.keep_files_apart(source);
    }

    /// Tells one of them that nothing tells of changes of a source of its: it is polled at this interval.
    pub fn allow_for(&mut self, index: usize, interval: Duration) {
        self.list[index].kind.allow_for(interval);
    }

    /// A source brings one of them nothing more: nobody waits for it there.
    pub fn part(&mut self, index: usize, source: SourceId) {
        self.get(index).note(source, Standing::Ended);
    }

    /// Each does what it can.
    ///
    /// # Errors
    /// One that no later turn can mend.
    pub fn turn(&mut self, now: Instant, now_ns: i64, delivered: &mut Vec<Delivered>) -> Result<()> {
        let turns = self.list.iter_mut().map(|one| one.kind.outlet().turn(now, now_ns, delivered));
        self.waits = turns.collect::<Result<_>>()?;
        Ok(())
    }

    /// What they wait for.
    pub fn waits(&self) -> &[Waits] {
        &self.waits
    }

    /// Whether one of them waits for room at its other end.
    pub fn is_full(&self, index: usize) -> bool {
        self.waits.get(index).is_some_and(|waits| waits.writable.is_some())
    }

    /// Nothing is held back any more.
    pub fn hurry(&mut self) {
        self.list.iter_mut().for_each(|one| one.kind.outlet().hurry());
    }

    /// Whether all is delivered.
    pub fn is_empty(&mut self) -> bool {
        self.list.iter_mut().all(|one| one.kind.outlet().is_empty())
    }

    fn stages(&mut self) -> impl Iterator<Item = &mut Stage> {
        self.list.iter_mut().filter_map(|one| one.kind.stage())
    }

    /// What went through each pipe.
    pub fn flows(&mut self) -> Vec<Flow> {
        self.stages().map(|stage| stage.flow()).collect()
    }

    /// Whether one of them puts its lines in order.
    pub fn is_ordered(&self, index: usize) -> bool {
        matches!(self.list[index].kind, OutputKind::OrderedStage(_) | OutputKind::OrderedStdout(_))
    }

    /// Whether something that a killed process left on its way did not arrive yet.
    pub fn are_recovering(&mut self) -> bool {
        self.stages().any(|stage| stage.is_recovering())
    }

    /// The same of one of them.
    pub fn is_recovering(&mut self, index: usize) -> bool {
        self.list[index].kind.stage().is_some_and(|stage| stage.is_recovering())
    }

    /// What the pipe of one of them knows, what is on its way counted.
    pub fn positions_of(&mut self, index: usize) -> Vec<Position> {
        self.list[index].kind.stage().map_or_else(Vec::new, |stage| stage.positions())
    }

    /// How many positions pipes know.
    pub fn positions(&mut self) -> usize {
        self.stages().map(|stage| stage.slot_count()).sum()
    }

    /// How many pipes they will open that are not open.
    pub fn pipes_to_open(&mut self) -> usize {
        self.stages().map(|stage| stage.pipes_to_open()).sum()
    }

    /// Pipes need to know of these generations only.
    pub fn retain(&mut self, origins: &[Origin]) {
        for stage in self.stages() {
            stage.retain(origins);
        }
    }

    /// What pipes have to say since the last time.
    pub fn take_messages(&mut self) -> Vec<Message> {
        self.stages().flat_map(Stage::take_messages).collect()
    }

    /// What was out of order since the last time.
    pub fn take_oddities(&mut self) -> Vec<Oddity> {
        self.list.iter_mut().flat_map(|one| one.kind.take_oddities()).collect()
    }
}
