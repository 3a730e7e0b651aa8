//! All outputs: one for each pipe, and standard output, each with or without putting its lines in order.

use std::cmp::Reverse;
use std::path::{Path, PathBuf};
use std::time::Instant;

use standpipe_common::error::Result;

use crate::checkpoint::durable::Flow;
use crate::identity::Origin;
use crate::lines::SourceId;
use crate::order::{Oddity, Window};
use crate::output::{Delivered, Output, Standing, Waits};
use crate::stage::message::Message;
use crate::stage::{Position, Stage};
use crate::stdout::Stdout;
use crate::timestamp::Format;

/// An output.
pub enum Kind {
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
#[derive(Default)]
pub struct Outputs {
    list: Vec<Slot>,
}

struct Slot {
    /// `None`: standard output.
    pipe: Option<PathBuf>,
    kind: Kind,
    waiting: Vec<Waiting>,
    /// One of them has bytes that were seen.
    is_wanted: bool,
}

/// A source with lines for which an output has not enough room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// It.
    pub source: SourceId,
    /// The highest is served first.
    pub priority: i32,
    /// When some of it were taken last: it comes after those of its priority that have waited longer.
    pub fed_at: Option<Instant>,
    /// The room that was not enough.
    pub room: usize,
}

impl Waiting {
    fn is_over(&self, output: &dyn Output) -> bool {
        let room = output.room(self.source);
        room > self.room || (room > 0 && output.is_room_final(self.source))
    }
}

impl Kind {
    fn output(&mut self) -> &mut dyn Output {
        match self {
            Kind::Stdout(output) => output,
            Kind::OrderedStdout(output) => output,
            Kind::Stage(output) => output,
            Kind::OrderedStage(output) => output,
        }
    }

    fn stage(&mut self) -> Option<&mut Stage> {
        match self {
            Kind::Stage(stage) => Some(stage),
            Kind::OrderedStage(window) => Some(window.inner()),
            Kind::Stdout(_) | Kind::OrderedStdout(_) => None,
        }
    }

    fn introduce(&mut self, source: SourceId, name: &str, format: Format) {
        match self {
            Kind::Stdout(stdout) => stdout.formatter().add(source, name, format),
            Kind::OrderedStdout(window) => {
                window.add(source, format.clone());
                window.inner().formatter().add(source, name, format);
            }
            Kind::OrderedStage(window) => window.add(source, format),
            Kind::Stage(_) => {}
        }
    }

    fn keep_files_apart(&mut self, source: SourceId) {
        match self {
            Kind::Stdout(stdout) => stdout.formatter().keep_files_apart(source),
            Kind::OrderedStdout(window) => window.inner().formatter().keep_files_apart(source),
            Kind::Stage(_) | Kind::OrderedStage(_) => {}
        }
    }

    fn take_oddities(&mut self) -> Vec<Oddity> {
        match self {
            Kind::OrderedStdout(window) => window.take_oddities(),
            Kind::OrderedStage(window) => window.take_oddities(),
            Kind::Stdout(_) | Kind::Stage(_) => Vec::new(),
        }
    }
}

impl Outputs {
    /// The one into `pipe`; `None` is standard output.
    pub fn find(&self, pipe: Option<&Path>) -> Option<usize> {
        self.list.iter().position(|slot| slot.pipe.as_deref() == pipe)
    }

    /// Adds one, and says which it is.
    pub fn add(&mut self, pipe: Option<&Path>, kind: Kind) -> usize {
        let pipe = pipe.map(Path::to_path_buf);
        self.list.push(Slot { pipe, kind, waiting: Vec::new(), is_wanted: false });
        self.list.len() - 1
    }

    /// One of them.
    pub fn get(&mut self, index: usize) -> &mut dyn Output {
        self.list[index].kind.output()
    }

    /// One of them, past what puts its lines in order: for what is to stay in one piece.
    pub fn get_straight(&mut self, index: usize) -> &mut dyn Output {
        match &mut self.list[index].kind {
            Kind::Stdout(output) => output,
            Kind::Stage(output) => output,
            Kind::OrderedStdout(window) => window.inner(),
            Kind::OrderedStage(window) => window.inner(),
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

    /// A source has more for it than it has room now. To be said once, until the source is roused.
    pub fn wait_for(&mut self, index: usize, waiting: Waiting) {
        self.list[index].waiting.push(waiting);
    }

    /// A source brings one of them nothing more: it waits for no room there, and nobody waits for it.
    pub fn part(&mut self, index: usize, source: SourceId) {
        let slot = &mut self.list[index];
        slot.waiting.retain(|waiting| waiting.source != source);
        slot.kind.output().note(source, Standing::Ended);
    }

    /// Each does what it can. Returns what they wait for; `roused` gets the sources for which there is room again.
    pub fn turn(
        &mut self,
        now: Instant,
        now_ns: i64,
        delivered: &mut Vec<Delivered>,
        roused: &mut Vec<SourceId>,
    ) -> Result<Vec<Waits>> {
        let mut waits = Vec::with_capacity(self.list.len());
        for slot in &mut self.list {
            let output = slot.kind.output();
            waits.push(output.turn(now, now_ns, delivered)?);
            roused.extend(rouse(&mut slot.waiting, output));
            slot.is_wanted &= !slot.waiting.is_empty();
        }
        Ok(waits)
    }

    /// Nothing is held back any more.
    pub fn hurry(&mut self) {
        self.list.iter_mut().for_each(|slot| slot.kind.output().hurry());
    }

    /// Whether all is delivered.
    pub fn is_empty(&mut self) -> bool {
        self.list.iter_mut().all(|slot| slot.kind.output().is_empty())
    }

    /// What went through each pipe.
    pub fn flows(&mut self) -> Vec<Flow> {
        self.list.iter_mut().filter_map(|slot| slot.kind.stage()).map(|stage| stage.flow()).collect()
    }

    /// Whether a source has more than there was room for.
    pub fn are_awaited(&self) -> bool {
        self.list.iter().any(|slot| !slot.waiting.is_empty())
    }

    /// Whether others than a spool want this one: they wait for room, or for their place in the order of times.
    pub fn is_awaited(&self, index: usize) -> bool {
        let slot = &self.list[index];
        let is_ordered = matches!(slot.kind, Kind::OrderedStage(_) | Kind::OrderedStdout(_));
        is_ordered || slot.is_wanted
    }

    /// A source has bytes for it, and it has no room for any.
    pub fn want(&mut self, index: usize) {
        self.list[index].is_wanted = true;
    }

    /// Whether something that a killed process left on its way did not arrive yet.
    pub fn are_recovering(&mut self) -> bool {
        self.list.iter_mut().filter_map(|slot| slot.kind.stage()).any(|stage| stage.is_recovering())
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
        self.list.iter_mut().filter_map(|slot| slot.kind.stage()).map(|stage| stage.slot_count()).sum()
    }

    /// How many pipes they will open that are not open.
    pub fn pipes_to_open(&mut self) -> usize {
        self.list.iter_mut().filter_map(|slot| slot.kind.stage()).map(|stage| stage.pipes_to_open()).sum()
    }

    /// Pipes need to know of these generations only.
    pub fn retain(&mut self, origins: &[Origin]) {
        for stage in self.list.iter_mut().filter_map(|slot| slot.kind.stage()) {
            stage.retain(origins);
        }
    }

    /// What pipes have to say since the last time.
    pub fn take_messages(&mut self) -> Vec<Message> {
        self.list.iter_mut().filter_map(|slot| slot.kind.stage()).flat_map(Stage::take_messages).collect()
    }

    /// What was out of order since the last time.
    pub fn take_oddities(&mut self) -> Vec<Oddity> {
        self.list.iter_mut().flat_map(|slot| slot.kind.take_oddities()).collect()
    }
}

/// Takes those for which there is room again, in the order in which they are served.
fn rouse(waiting: &mut Vec<Waiting>, output: &dyn Output) -> Vec<SourceId> {
    let mut roused: Vec<Waiting> = waiting.extract_if(.., |waiting| waiting.is_over(output)).collect();
    roused.sort_by_key(|waiting| (Reverse(waiting.priority), waiting.fed_at));
    roused.into_iter().map(|waiting| waiting.source).collect()
}
