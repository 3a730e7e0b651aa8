//! A lane: one pipe at work, from the bytes that wait in it to the segment that has them.
//!
//! Invariants: at most one chunk is in flight, in one mailbox; a part begins and ends between chunks only. A lane
//! whose log cannot be written stops being read, so its writers wait and nothing is lost; it keeps the mailbox with
//! the chunk that could not be put. A lane without work rests: it has its pipe open and nothing else, and takes up its
//! log directory again as it finds it. When a turn comes is not decided here ([`crate::pace`], [`crate::drain`]).

mod sickness;

use std::ffi::{OsStr, OsString};
use std::sync::Arc;
use std::time::{Duration, Instant};

use standpipe_common::error::{Cannot, Error, Result};
use standpipe_common::fifo::{Fifo, Identity};
use standpipe_common::part::{PartKind, PartName};
use standpipe_common::policy::Durability;

use self::sickness::Sick;
use crate::disk::Dir;
use crate::glance::Glance;
use crate::listing::Listing;
use crate::log_dir::LogDir;
use crate::mailbox::Mailbox;
use crate::pipes::{Pipes, Seen, WhichPipe};
use crate::queue::ArchiveQueue;
use crate::record::Record;
use crate::rotation::{self, ActivePart, PartEnd, Verdict};
use crate::segment::Segment;
use crate::settings::Settings;
use crate::status::board::Gauge;
use crate::upkeep::Order;

/// How often the active segment is looked for under its name while it is written: somebody may have renamed it.
const VERIFY_SPAN: Duration = Duration::from_millis(900);

/// What a lane works with beside its own: one set for all lanes of a thread.
pub struct Tools<'a> {
    /// For this chunk.
    pub mailbox: &'a mut Mailbox,
    /// To look before a read.
    pub glance: &'a mut Glance,
    /// Wall clock, ns since the epoch.
    pub now_ns: i64,
    /// Whether to ask if a writer would have to wait.
    pub asks_full: bool,
}

/// What a turn did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// The pipe before it.
    pub seen: Seen,
    /// Bytes that went into the log.
    pub taken: usize,
}

/// Why a turn could not be done.
#[derive(Debug)]
pub enum Halt {
    /// Bytes wait, and the log directory is not open: see [`Lane::attach`].
    Resting,
    /// Nothing was taken.
    Before(Error),
    /// The mailbox holds a chunk that cannot be put yet.
    Holding(Error),
}

/// One pipe at work.
#[derive(Debug)]
pub struct Lane {
    name: OsString,
    pipes: Pipes,
    settings: Arc<Settings>,
    queue: ArchiveQueue,
    /// What is seen of it from outside.
    gauge: Gauge,
    log: Option<LogDir>,
    sick: Option<Sick>,
    /// When its part ends.
    end: PartEnd,
    /// The active segment as the archiver was told last. `None`: it was not, or something else changed since.
    told: Option<PartName>,
    /// What each line start of this turn gets in front.
    text: Vec<u8>,
    verified: Instant,
}

impl Lane {
    /// A lane without its log yet: see [`Lane::attach`].
    pub fn new(name: OsString, fifo: Fifo, settings: Arc<Settings>, queue: ArchiveQueue) -> Lane {
        Lane {
            name,
            pipes: Pipes::new(fifo),
            settings,
            queue,
            gauge: Gauge::default(),
            log: None,
            sick: None,
            end: PartEnd::default(),
            told: None,
            text: Vec::new(),
            verified: Instant::now(),
        }
    }

    /// Name of the pipe and of its log directory.
    pub fn name(&self) -> &OsStr {
        &self.name
    }

    /// Its pipe, and those that stood there before.
    pub fn pipes(&self) -> &Pipes {
        &self.pipes
    }

    /// The same, to be changed.
    pub fn pipes_mut(&mut self) -> &mut Pipes {
        &mut self.pipes
    }

    /// How it writes.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Who archives its sealed segments.
    pub fn queue(&self) -> &ArchiveQueue {
        &self.queue
    }

    /// Its log directory is open.
    pub fn is_awake(&self) -> bool {
        self.log.is_some()
    }

    /// What is seen of it from outside.
    pub fn gauge(&self) -> &Gauge {
        &self.gauge
    }

    /// Where it shows itself from now on.
    pub fn set_gauge(&mut self, gauge: Gauge) {
        gauge.pipe(self.pipes.queued(), self.pipes.capacity());
        self.gauge = gauge;
    }

    /// Gives the lane its log directory, and the archiver its sealed segments.
    pub fn attach(&mut self, dir: Dir, boot: &str, now_ns: i64) -> Result<()> {
        let log = LogDir::open(dir, boot, self.settings.mode, Some(&self.settings.filename), now_ns)?;
        let news = log.has_sealed() || self.told.as_ref() != Some(log.segment().name());
        if self.told.is_none()
            && let Some(refusal) = log.refusal()
        {
            log::error!("{refusal}; keeping the previous names of parts");
        }
        self.log = Some(log);
        if news {
            self.order_archive();
        }
        Ok(())
    }

    /// Lets go of the log directory, unless something is under way in it. `false`: it is still open.
    pub fn rest(&mut self) -> bool {
        if !self.holds_chunk() && self.end.waiting().is_none() {
            self.log = None;
        }
        self.log.is_none()
    }

    /// From here on it writes in another way, and so its log directory is taken up anew.
    pub fn change(&mut self, settings: Arc<Settings>) {
        self.settings = settings;
        self.end.forget_clock();
        self.told = None;
        self.queue.change(&self.name, &self.settings.upkeep);
        if !self.holds_chunk() {
            self.log = None;
        }
    }

    /// When its part is due by the clock, ns since the epoch. `None`: never as it stands.
    pub fn due_ns(&mut self, now_ns: i64) -> Option<i64> {
        let (segment, _, _) = self.log.as_mut()?.segment_mut();
        if segment.is_empty() {
            return None;
        }
        self.end.due_ns(|| segment.begun_ns(now_ns), &self.settings.triggers)
    }

    /// Asks for a rotation at the next line end.
    pub fn ask_rotation(&mut self) {
        self.end.ask(self.log.as_ref().is_none_or(|log| log.segment().is_empty()));
    }

    /// Whether a rotation that was asked for is not over.
    pub fn is_to_rotate(&self) -> bool {
        self.end.is_asked()
    }

    /// Rotates if that is due and no line is open, whether bytes wait or not.
    pub fn on_time(&mut self, now_ns: i64) -> Result<()> {
        if self.log.is_some() && !self.holds_chunk() && self.verdict(0, now_ns) == Verdict::Rotate {
            self.rotate(now_ns)?;
        }
        Ok(())
    }

    /// Takes one chunk, as much as waits and belongs to one part.
    pub fn turn(&mut self, tools: &mut Tools<'_>) -> std::result::Result<Turn, Halt> {
        let (source, queued) = self.pipes.source().cannot("inspect pipe", &self.name).map_err(Halt::Before)?;
        if queued == 0 {
            return Ok(self.nothing());
        }
        if self.log.is_none() {
            return Err(Halt::Resting);
        }
        let full = tools.asks_full && self.pipes.is_full(queued);
        if !tools.asks_full {
            // After a quiet moment: a holder may have made it larger.
            self.pipes.measure();
        }
        let now_ns = tools.now_ns;
        self.text.clear();
        self.settings.stamper.render(now_ns, &mut self.text);
        let want = self.make_room(source, queued.min(tools.mailbox.data_bytes()), tools).map_err(Halt::Before)?;
        debug_assert!(want <= queued && !self.holds_chunk(), "one chunk is in flight, of what waits");
        if want == 0 {
            return Ok(self.nothing());
        }
        let fifo = self.pipes.at(source);
        let Some(log) = &mut self.log else { return Err(Halt::Resting) };
        if log.segment().is_busy() {
            self.queue.spare().need(log.dir());
        }
        let rotate_size = self.settings.triggers.size.at();
        log.reserve(want as u64, rotate_size).map_err(Halt::Before)?;
        let segment = log.segment();
        let record = Record {
            lane: self.name.clone(),
            part: segment.name().file(PartKind::Segment),
            part_ino: segment.ino(),
            base: segment.len(),
            open: segment.is_open(),
            clock_ns: now_ns,
            text: self.text.clone(),
            queued,
            want,
            fifo: fifo.identity(),
        };
        let path = log.dir().path_of(&record.part);
        tools.mailbox.arm(&record).cannot("reserve memory for", &path).map_err(Halt::Before)?;
        let taken = tools.mailbox.read(fifo, want).cannot("read pipe", &self.name).map_err(Halt::Before)?;
        let (segment, dir, mode) = log.segment_mut();
        let put = segment.put(dir, &record, tools.mailbox.data(taken), mode);
        let lines = put.cannot("write", &path).map_err(Halt::Holding)?;
        self.gauge.took(taken, lines, now_ns);
        tools.mailbox.clear(want);
        if self.syncs_active() {
            self.queue.sync().written(&self.name);
        }
        // The line that a due rotation waited for may have ended. A failure comes again before the next chunk.
        self.on_time(now_ns).ok();
        Ok(Turn { seen: Seen { queued, full, capacity: self.pipes.capacity() }, taken })
    }

    /// A turn in which nothing waited.
    fn nothing(&self) -> Turn {
        Turn { seen: Seen { queued: 0, full: false, capacity: self.pipes.capacity() }, taken: 0 }
    }

    /// Ends the part whatever it holds, as at the end of input.
    pub fn seal(&mut self, now_ns: i64) -> Result<()> {
        self.rotate(now_ns)
    }

    /// Room in the active part for the next read: rotates as often as need be and says how many bytes to take.
    fn make_room(&mut self, source: WhichPipe, queued: usize, tools: &mut Tools<'_>) -> Result<usize> {
        let now_ns = tools.now_ns;
        self.verify(now_ns)?;
        if self.syncs_active() && self.queue.sync().take_distrusted(&self.name) {
            self.ask_rotation();
        }
        loop {
            match self.verdict(queued, now_ns) {
                Verdict::Keep => return Ok(queued),
                Verdict::Rotate => self.rotate(now_ns)?,
                Verdict::Look => {
                    let fifo = self.pipes.at(source);
                    let head = tools.glance.look(fifo, queued).cannot("inspect pipe", &self.name)?;
                    if head.is_empty() {
                        // Somebody else took what was there.
                        return Ok(0);
                    }
                    match rotation::share(head, self.active_part(), &self.settings.triggers) {
                        0 => self.rotate(now_ns)?,
                        share => return Ok(share),
                    }
                }
            }
        }
    }

    fn verdict(&mut self, queued: usize, now_ns: i64) -> Verdict {
        let part = self.active_part();
        let due =
            self.end.is_asked() || self.due_ns(now_ns).is_some_and(|due| due <= now_ns) || self.end.waiting().is_some();
        let full = self.settings.triggers.size.at().is_some_and(|size| part.len >= size);
        if (due || full) && part.open {
            self.end.wait(now_ns, part.len);
        }
        rotation::decide(self.active_part(), due, queued, now_ns, &self.settings.triggers)
    }

    fn syncs_active(&self) -> bool {
        matches!(self.settings.upkeep.sync, Durability::Every(_))
    }

    fn active_part(&self) -> ActivePart {
        let segment = self.log.as_ref().map(LogDir::segment);
        ActivePart {
            len: segment.map_or(0, Segment::len),
            open: segment.is_some_and(Segment::is_open),
            text_len: self.text.len(),
            waiting: self.end.waiting(),
        }
    }

    fn rotate(&mut self, now_ns: i64) -> Result<()> {
        self.look(now_ns)?;
        let Some(log) = &mut self.log else { return Ok(()) };
        let bytes = log.segment().len();
        let sealed = log.rotate(now_ns)?;
        self.end.renew();
        if sealed.is_some() {
            self.gauge.sealed(bytes, self.settings.upkeep.archives_at_once());
            self.order_archive();
        }
        Ok(())
    }

    /// Before a chunk: the active segment as others left it.
    fn verify(&mut self, now_ns: i64) -> Result<()> {
        self.look(now_ns)?;
        let Some(log) = &mut self.log else { return Err(no_log(&self.name)) };
        if self.verified.elapsed() >= VERIFY_SPAN {
            self.verified = Instant::now();
            let said = log.verify(now_ns)?;
            self.note_meddling(said);
        }
        if let Some(log) = &mut self.log {
            log.freshen(now_ns)?;
        }
        Ok(())
    }

    fn look(&mut self, now_ns: i64) -> Result<()> {
        if let Some(log) = &mut self.log {
            let said = log.look(now_ns)?;
            self.note_meddling(said);
        }
        Ok(())
    }

    fn note_meddling(&mut self, said: Option<String>) {
        if let Some(sentence) = said {
            log::error!("{sentence}");
            self.end.wait_no_more();
            self.order_archive();
        }
    }

    fn order_archive(&mut self) {
        if let Some(log) = &self.log
            && let Ok(dir) = log.dir().identity()
        {
            let active = log.segment().name().clone();
            self.order(dir, active);
        }
    }

    /// Its log directory cannot be taken up for want of room, which the archiver may make there: old parts may go, and
    /// sealed ones shrink.
    pub fn order_as_found(&mut self, dir: &Dir) {
        let newest = Listing::read(dir).ok().and_then(|listing| listing.newest().cloned());
        if let (Some(newest), Ok(dir)) = (newest, dir.identity()) {
            self.order(dir, newest);
        }
    }

    fn order(&mut self, dir: Identity, active: PartName) {
        self.told = Some(active.clone());
        let (upkeep, gauge) = (self.settings.upkeep.clone(), self.gauge.clone());
        self.queue.put(&self.name, Order { dir, active, upkeep, gauge });
    }
}

fn no_log(name: &OsStr) -> Error {
    Error::because("drain", name, "its log directory is not open")
}
