//! Makes archives of sealed segments, on a thread of its own behind everybody else.
//!
//! Invariants: an archive is whole or absent; it is durable before its segment goes; what waits is told by the log
//! directories alone, so the queue holds names of lanes and no more. Nobody waits for it: while it is slow, sealed
//! segments stay on disk. A failure is one line, retried with growing waits.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use standpipe_common::archive::{Archive, Guess, Mark, Spec, Writer, marks};
use standpipe_common::error::{Cannot, Error, Result};
use standpipe_common::part::{PartKind, PartName};
use standpipe_common::policy::Level;
use standpipe_common::{seam, sys};

use crate::disk::{self, Dir, FileMode};
use crate::line_end;
use crate::listing::{Files, Listing, unfinished_name};
use crate::status::board::Gauge;

/// What `level = "auto"` stands for.
const LEVEL_AUTO: i32 = 1;
/// The first wait after a failure; it doubles up to [`RETRY_SPAN_MAX`].
const RETRY_SPAN: Duration = Duration::from_secs(1);
/// The longest wait after a failure.
const RETRY_SPAN_MAX: Duration = Duration::from_secs(60);

/// How the sealed segments of a lane are archived.
#[derive(Clone, Debug)]
pub struct Order {
    /// The segment that is written: every older one is sealed, and nothing else is.
    pub active: PartName,
    /// Compression level.
    pub level: Level,
    /// How the files are made.
    pub mode: FileMode,
    /// Where the lane shows how much waits.
    pub gauge: Gauge,
}

/// Lanes that have sealed segments.
#[derive(Clone, Debug, Default)]
pub struct ArchiveQueue {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    orders: BTreeMap<OsString, Order>,
    failed: BTreeMap<OsString, Failure>,
    busy: bool,
}

#[derive(Clone, Debug)]
struct Failure {
    order: Order,
    retry_at: Instant,
    wait: Duration,
}

impl ArchiveQueue {
    /// Says that a lane has sealed segments. Never blocks for longer than a few stores.
    pub fn put(&self, lane: &OsStr, order: Order) {
        self.lock().orders.insert(lane.to_owned(), order);
        self.shared.changed.notify_all();
    }

    /// Waits until nothing is left to do, at most `span`. `false`: something is.
    pub fn wait_idle(&self, span: Duration) -> bool {
        let working = |state: &mut State| state.busy || !state.orders.is_empty() || !state.failed.is_empty();
        let (state, _) =
            self.shared.changed.wait_timeout_while(self.lock(), span, working).unwrap_or_else(PoisonError::into_inner);
        !state.busy && state.orders.is_empty() && state.failed.is_empty()
    }

    /// Starts the thread that works the queue off, in the log root `root`.
    pub fn start(&self, root: Dir) -> Result<()> {
        let queue = self.clone();
        let path = root.path().to_path_buf();
        let work = move || {
            sys::lower_thread_priority();
            match Writer::new() {
                Ok(mut writer) => queue.work(&root, &mut writer),
                Err(error) => log::error!("{}", Error::new("archive in", root.path(), error)),
            }
        };
        thread::Builder::new().name("archiver".to_owned()).spawn(work).map(drop).cannot("start the archiver of", path)
    }

    fn work(&self, root: &Dir, writer: &mut Writer) {
        loop {
            let (lane, order) = self.next();
            let done = archive_lane(root, &lane, &order, writer);
            let mut state = self.lock();
            state.busy = false;
            match done {
                Ok(()) => {
                    if state.failed.remove(&lane).is_some() {
                        log::info!("{}: archived again", lane.display());
                    }
                }
                Err(error) => state.fail(lane, order, &error),
            }
            drop(state);
            self.shared.changed.notify_all();
        }
    }

    /// The next lane to look at; waits until there is one.
    fn next(&self) -> (OsString, Order) {
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            state.revive(now);
            if let Some((lane, order)) = state.orders.pop_first() {
                state.busy = true;
                return (lane, order);
            }
            let next = state.failed.values().map(|failure| failure.retry_at).min();
            let span = next.map_or(RETRY_SPAN_MAX, |at| at.saturating_duration_since(now));
            state = self.shared.changed.wait_timeout(state, span).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Failed lanes whose wait is over are due again. A new segment in one does not make it due earlier.
    fn revive(&mut self, now: Instant) {
        for (lane, failure) in &mut self.failed {
            if let Some(order) = self.orders.remove(lane) {
                failure.order = order;
            }
            if now >= failure.retry_at {
                self.orders.insert(lane.clone(), failure.order.clone());
            }
        }
    }

    fn fail(&mut self, lane: OsString, order: Order, error: &Error) {
        let wait = self.failed.get(&lane).map_or(RETRY_SPAN, |failure| (failure.wait * 2).min(RETRY_SPAN_MAX));
        log::error!("{error}; the segment stays plain, next try in {} s", wait.as_secs());
        self.failed.insert(lane, Failure { order, retry_at: Instant::now() + wait, wait });
    }
}

/// Archives every sealed segment of a lane, oldest first.
fn archive_lane(root: &Dir, lane: &OsStr, order: &Order, writer: &mut Writer) -> Result<()> {
    let dir = match root.existing_sub(lane) {
        // Somebody removed the whole log: nothing is left to do.
        Err(error) if error.errno() == Some(Errno::ENOENT) => return Ok(()),
        other => other?,
    };
    let listing = Listing::read(&dir)?;
    let sealed = || listing.segments_before(&order.active);
    let (mut parts_left, mut bytes_left) =
        (sealed().count(), sealed().map(|(name, _)| segment_bytes(&dir, name)).sum());
    for (name, files) in sealed() {
        order.gauge.backlog(parts_left, bytes_left);
        parts_left -= 1;
        bytes_left = bytes_left.saturating_sub(segment_bytes(&dir, name));
        let segment = name.file(PartKind::Segment);
        if !dir.stat(&segment).is_ok_and(|stat| disk::is_ours(&stat)) {
            continue;
        }
        if files.archive && !drop_if_different(&dir, name)? {
            remove_segment(&dir, name)?;
            continue;
        }
        let begins_inside = line_end::part_before_is_open(&dir, &listing, name);
        archive_part(&dir, name, files, begins_inside, order, writer)?;
    }
    order.gauge.backlog(0, 0);
    Ok(())
}

fn segment_bytes(dir: &Dir, name: &PartName) -> u64 {
    dir.stat(name.file(PartKind::Segment)).map_or(0, |stat| stat.st_size as u64)
}

/// Of a part that has both: whether the archive was not that of the segment and had to be set aside.
fn drop_if_different(dir: &Dir, name: &PartName) -> Result<bool> {
    let archive_name = name.file(PartKind::Archive);
    let path = dir.path_of(&archive_name);
    let segment_bytes = dir.stat(name.file(PartKind::Segment)).cannot("look at", &path)?.st_size as u64;
    let archive = Archive::open(dir.open_read(&archive_name)?, &path)?;
    if archive.complete().is_ok() && archive.raw_bytes() == segment_bytes {
        return Ok(false);
    }
    let aside = format!("{archive_name}.damaged");
    dir.rename_new(&archive_name, &aside)?;
    log::error!("{} is not the whole of its segment; set aside as {aside}, made again", path.display());
    Ok(true)
}

fn archive_part(
    dir: &Dir,
    name: &PartName,
    files: Files,
    begins_inside: bool,
    order: &Order,
    writer: &mut Writer,
) -> Result<()> {
    let segment_name = name.file(PartKind::Segment);
    let path = dir.path_of(&segment_name);
    let segment = dir.open_read(&segment_name)?;
    let metadata = segment.metadata().cannot("look at", &path)?;
    let marks = if files.marks { read_marks(dir, name, metadata.len()) } else { Vec::new() };
    let last_ns = metadata.mtime() * 1_000_000_000 + metadata.mtime_nsec();
    let made_ns = if name.is_exact() { None } else { disk::birth_ns(&metadata) };
    let guess = Guess { birth_ns: made_ns.unwrap_or_else(|| name.birth_ns()), last_ns };
    let level = match order.level {
        Level::Auto => LEVEL_AUTO,
        Level::Fixed(level) => level,
    };
    let (file, unfinished) = new_file(dir, name, order.mode)?;
    let mut out = Out { file: &file, at: 0 };
    let spec = Spec { level, begins_inside, marks, guess };
    let summary = writer.write(&mut Source(&segment), &mut out, spec).cannot("archive", &path)?;
    if summary.raw_bytes != metadata.len() {
        return Err(Error::because("archive", path, "its length changed meanwhile"));
    }
    publish(dir, name, &file, unfinished)?;
    remove_segment(dir, name)
}

/// Gives the finished archive its name, durable before anything is removed.
fn publish(dir: &Dir, name: &PartName, file: &File, unfinished: Option<String>) -> Result<()> {
    let archive_name = name.file(PartKind::Archive);
    disk::sync(file).cannot("sync", dir.path_of(&archive_name))?;
    match unfinished {
        None => dir.link(file, &archive_name)?,
        Some(unfinished) => dir.rename_new(&unfinished, &archive_name)?,
    }
    dir.sync()
}

fn remove_segment(dir: &Dir, name: &PartName) -> Result<()> {
    dir.remove(name.file(PartKind::Segment))?;
    dir.remove(name.file(PartKind::Marks))
}

/// A file that nobody sees yet: without a name, or where the file system has no such files, with a hidden one.
fn new_file(dir: &Dir, name: &PartName, mode: FileMode) -> Result<(File, Option<String>)> {
    match dir.create_unnamed(mode) {
        Ok(file) => Ok((file, None)),
        Err(error) if matches!(error.errno(), Some(Errno::EOPNOTSUPP | Errno::EISDIR | Errno::EINVAL)) => {
            let unfinished = unfinished_name(name);
            dir.remove(&unfinished)?;
            Ok((dir.create(&unfinished, mode)?, Some(unfinished)))
        }
        Err(error) => Err(error),
    }
}

fn read_marks(dir: &Dir, name: &PartName, part_bytes: u64) -> Vec<Mark> {
    let file_name = name.file(PartKind::Marks);
    let read = dir
        .open_read(&file_name)
        .and_then(|mut file| marks::read_records(&mut file, part_bytes).cannot("read", dir.path_of(&file_name)));
    read.unwrap_or_else(|error| {
        log::warn!("{error}; arrival times of {name} are guessed");
        Vec::new()
    })
}

/// The segment, as the archive reads it.
struct Source<'a>(&'a File);

impl Read for Source<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        seam::pass("archive-read")?;
        self.0.read(buffer)
    }
}

/// The archive, through the seam.
struct Out<'a> {
    file: &'a File,
    at: u64,
}

impl Write for Out<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        disk::write_at(self.file, bytes, self.at)?;
        self.at += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
