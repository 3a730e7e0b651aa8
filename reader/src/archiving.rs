//! Makes archives of the sealed segments of one log directory.
//!
//! Invariants: an archive is whole or absent; it is durable before its segment goes. Its file is as old as the newest
//! arrival in it, so that its age is told without opening it. Who wants it, and when, is not known here.

use std::fs::{File, Metadata};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use standpipe_common::archive::format::is_beginning;
use standpipe_common::archive::{Guess, Mark, Spec, Summary, Writer, marks};
use standpipe_common::error::{Cannot, Error, Result};
use standpipe_common::part::{PartKind, PartName};
use standpipe_common::policy::{Level, SearchFilter};
use standpipe_common::rename::is_unsupported;
use standpipe_common::serial::Serial;
use standpipe_common::{clock, seam};

use crate::disk::{self, Dir, FileMode};
use crate::line_end;
use crate::listing::{Files, Listing, note_todo, remove_marks, unfinished_name};
use crate::nuls::Runs;
use crate::pairs::{self, Pairs};
use crate::serials::serial_of;
use crate::status::board::Gauge;

/// What `level = "auto"` is while segments wait, or come fast.
const LEVEL_QUICK: i32 = 1;
/// What it is else. Of real logs 8 makes 12 to 23 % less than 1, at 6 to 10 times the CPU; 9 makes no less than 8, and
/// 2 to 7 are slower than 1 and often larger.
const LEVEL_CALM: i32 = 8;
/// A segment that filled faster than this is compressed quickly, bytes a second: so the better level costs 2 % of a
/// core at most.
const CALM_RATE: u64 = 1 << 20;

/// So much may the clock that files get their times from be ahead of the one that is asked.
const FILE_CLOCK_NS: i64 = 1_000_000_000;

/// How an archive is made.
#[derive(Clone, Copy, Debug)]
pub struct How {
    /// As the policy has it; `auto` is decided for each part.
    pub level: Level,
    /// How long a segment stays plain.
    pub after: Duration,
    /// Whether segments of other logs wait.
    pub others_wait: bool,
    /// Whether it gets a search filter.
    pub filter: SearchFilter,
    /// How the file is made.
    pub mode: FileMode,
    /// Whether it is to be handed over: then a `.todo` says so before it is there.
    pub has_hook: bool,
    /// Whether NUL bytes in it are what a power cut left.
    pub tells_nuls: bool,
}

/// What every archive is made with.
#[derive(Default)]
pub struct ArchiveTools {
    /// Compresses; made for the first archive, and megabytes large after it.
    writer: Option<Writer>,
    /// Knows the parts that have both files.
    pub pairs: Pairs,
    /// A file without a name that has room for the next archive.
    pub room: Option<File>,
}

impl ArchiveTools {
    /// Lets go of what the next archive can make again.
    pub fn put_down(&mut self) {
        self.writer = None;
    }

    fn writer(&mut self) -> io::Result<&mut Writer> {
        let writer = self.writer.take().map_or_else(Writer::new, Ok)?;
        Ok(self.writer.insert(writer))
    }
}

/// One turn: archives the oldest segment before `active` that waits. What waited, that one included, and still does.
///
/// # Errors
/// The part could not be archived; it waits as before.
pub fn archive_next(
    dir: &Dir,
    active: &PartName,
    how: How,
    tools: &mut ArchiveTools,
    gauge: &Gauge,
) -> Result<Backlog> {
    let show = |left: Backlog| gauge.backlog(left.parts, left.bytes);
    let listing = Listing::read(dir)?;
    for name in &listing.leftovers {
        dir.remove_own(name, is_beginning)?;
    }
    tools.pairs.retain(dir, &listing.pairs())?;
    let mut waiting = waiting(dir, &listing, active, &mut tools.pairs)?;
    let held = hold_back(&mut waiting, how.after);
    show(Backlog::of(&waiting));
    let mut refused = None;
    for (at, WaitingSegment { name, files, .. }) in waiting.iter().enumerate() {
        let rest: Vec<_> = waiting[..at].iter().chain(&waiting[at + 1..]).copied().collect();
        let left = Backlog { held, shrank: true, ..Backlog::of(&rest) };
        let tells_nuls = listing.is_of_earlier_boot(name);
        let how = How { others_wait: how.others_wait || left.parts > 0, tells_nuls, ..how };
        let begins_inside = line_end::part_before_is_open(dir, &listing, name);
        let standing = Standing { begins_inside, serial: serial_of(dir, &listing, name)? };
        let began = Instant::now();
        match archive_part(dir, name, *files, standing, how, tools) {
            // Somebody writes this one; the next need not wait for that.
            Err(error) if error.errno().is_none() => refused = refused.or(Some(error)),
            Err(error) => return Err(error),
            Ok(summary) => {
                gauge.archived(&summary, began.elapsed());
                show(left);
                return Ok(left);
            }
        }
    }
    refused.map_or(Ok(Backlog { held, ..Backlog::default() }), Err)
}

/// A segment that is to be archived.
#[derive(Clone, Copy, Debug)]
struct WaitingSegment<'a> {
    name: &'a PartName,
    files: Files,
    bytes: u64,
    sealed_ns: i64,
}

/// The segments of ours before `active` that are to be archived, oldest first.
fn waiting<'a>(
    dir: &Dir,
    listing: &'a Listing,
    active: &PartName,
    pairs: &mut Pairs,
) -> Result<Vec<WaitingSegment<'a>>> {
    let mut waiting = Vec::new();
    for (name, files) in listing.segments_before(active) {
        let stat = dir.stat(name.file(PartKind::Segment)).ok().filter(disk::is_ours);
        let Some(stat) = stat else { continue };
        let is_waiting = !files.archive
            || match pairs.settle(dir, name) {
                // Somebody removed one of the two.
                Err(error) if error.errno() == Some(Errno::ENOENT) => false,
                settled => settled?,
            };
        if is_waiting {
            let sealed_ns = stat.st_ctime.saturating_mul(1_000_000_000).saturating_add(stat.st_ctime_nsec);
            waiting.push(WaitingSegment { name, files, bytes: stat.st_size as u64, sealed_ns });
        }
    }
    debug_assert!(waiting.iter().all(|part| part.name < active), "the active segment is no archive's");
    Ok(waiting)
}

/// Leaves those that were sealed `after` ago or earlier, and says when the first of the others will be.
fn hold_back(waiting: &mut Vec<WaitingSegment<'_>>, after: Duration) -> Option<Duration> {
    if after.is_zero() {
        return None;
    }
    let now_ns = clock::file_ns();
    let left = |part: &WaitingSegment<'_>| left_of(after, part.sealed_ns, now_ns);
    let held = waiting.iter().filter_map(left).min();
    waiting.retain(|part| left(part).is_none());
    held
}

/// How much is left of the time for which a part stays plain. One that was sealed at a time that cannot be waits no longer.
fn left_of(after: Duration, sealed_ns: i64, now_ns: i64) -> Option<Duration> {
    let age_ns = now_ns.checked_sub(sealed_ns).filter(|age| *age > -FILE_CLOCK_NS)?;
    let age = Duration::from_nanos(u64::try_from(age_ns).unwrap_or(0));
    after.checked_sub(age).filter(|left| !left.is_zero())
}

/// Tells of the NUL bytes in the segments that an earlier boot left and that stay plain.
pub fn tell_nuls(dir: &Dir, active: &PartName) -> Result<()> {
    let listing = Listing::read(dir)?;
    let plain = listing.segments_before(active).filter(|(_, files)| !files.archive);
    for (name, _) in plain.filter(|(name, _)| listing.is_of_earlier_boot(name)) {
        let file_name = name.file(PartKind::Segment);
        if dir.stat(&file_name).is_ok_and(|stat| disk::is_ours(&stat)) {
            let path = dir.path_of(&file_name);
            Runs::of(&dir.open_read(&file_name)?).cannot("read", &path)?.tell(&path);
        }
    }
    Ok(())
}

/// Segments that wait for their archive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// How many there are, without those that are held.
    pub parts: usize,
    /// Bytes in them.
    pub bytes: u64,
    /// When the first of those is due that stay plain for a while, which are not among them.
    pub held: Option<Duration>,
    /// One was archived.
    pub shrank: bool,
}

impl Backlog {
    fn of(waiting: &[WaitingSegment<'_>]) -> Backlog {
        let bytes = waiting.iter().map(|part| part.bytes).sum();
        Backlog { parts: waiting.len(), bytes, ..Backlog::default() }
    }
}

/// What `level = "auto"` is for a segment of `bytes` that filled within `span_ns`.
fn auto_level(bytes: u64, span_ns: i64, others_wait: bool) -> i32 {
    let fast = u128::from(bytes) * 1_000_000_000 > u128::from(CALM_RATE) * span_ns.max(0) as u128;
    if others_wait || fast { LEVEL_QUICK } else { LEVEL_CALM }
}

/// Where in its log a part stands.
#[derive(Clone, Copy, Debug)]
struct Standing {
    begins_inside: bool,
    serial: Option<Serial>,
}

fn archive_part(
    dir: &Dir,
    name: &PartName,
    files: Files,
    standing: Standing,
    how: How,
    tools: &mut ArchiveTools,
) -> Result<Summary> {
    let segment_name = name.file(PartKind::Segment);
    let path = dir.path_of(&segment_name);
    let segment = dir.open_read(&segment_name)?;
    let metadata = segment.metadata().cannot("inspect", &path)?;
    if disk::is_written(&segment) {
        return Err(Error::because("archive", path, "another program is writing to it"));
    }
    let marks = if files.marks { read_marks(dir, name, metadata.len()) } else { Vec::new() };
    let last_ns = disk::modified_ns(&metadata);
    let made_ns = if name.is_exact() { None } else { disk::birth_ns(&metadata) };
    let guess = Guess { birth_ns: made_ns.unwrap_or_else(|| name.birth_ns()), last_ns };
    let level = match how.level {
        Level::Auto => auto_level(metadata.len(), guess.last_ns.saturating_sub(guess.birth_ns), how.others_wait),
        Level::Fixed(level) => level,
    };
    let room = tools.room.take();
    let has_room = room.is_some();
    let (file, unfinished) = new_file(dir, name, how.mode, room)?;
    let mut out = Out::of(&file);
    let mut source = SegmentReader { file: &segment, nuls: how.tells_nuls.then(Runs::default) };
    // Nothing that waits waits for that as well.
    let filter = how.filter == SearchFilter::Auto && !how.others_wait;
    let Standing { begins_inside, serial } = standing;
    let spec = Spec { level, begins_inside, serial, marks, guess, filter };
    let written = tools.writer().and_then(|writer| writer.write(&mut source, &mut out, spec));
    let summary = written.cannot("archive", &path)?;
    let archive_bytes = out.bytes();
    debug_assert_eq!(archive_bytes, summary.compressed_bytes, "what was written is what was made");
    let now = segment.metadata().cannot("inspect", &path)?;
    let is_same = |now: &Metadata| now.len() == metadata.len() && now.modified().ok() == metadata.modified().ok();
    if summary.raw_bytes != metadata.len() || !is_same(&now) || disk::is_written(&segment) {
        return Err(Error::because("archive", path, "it changed while being compressed"));
    }
    if has_room {
        disk::set_len(&file, archive_bytes).cannot("truncate the archive of", &path)?;
    }
    disk::set_modified(&file, summary.last_ns).cannot("set the modification time of the archive of", &path)?;
    if how.has_hook {
        note_todo(dir, name, how.mode)?;
    }
    // Before it counts: what is told twice is better than what is never told.
    if let Some(nuls) = source.nuls {
        nuls.tell(&dir.path_of(name.file(PartKind::Archive)));
    }
    publish(dir, name, &file, unfinished)?;
    remove_segment(dir, name, metadata.ino())?;
    Ok(summary)
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

/// Removes what was archived, unless another file took its name meanwhile.
fn remove_segment(dir: &Dir, name: &PartName, ino: u64) -> Result<()> {
    let segment = name.file(PartKind::Segment);
    let is_it = dir.stat(&segment).is_ok_and(|stat| stat.st_ino == ino);
    if is_it { pairs::remove_segment(dir, name) } else { remove_marks(dir, name) }
}

/// A file that nobody sees yet: without a name, or where the file system has no such files, with a hidden one. `room` is
/// one that was made before.
pub fn new_file(dir: &Dir, name: &PartName, mode: FileMode, room: Option<File>) -> Result<(File, Option<String>)> {
    match dir.create_unnamed(mode, room) {
        Ok(file) => Ok((file, None)),
        Err(error) if error.errno().is_some_and(|errno| is_unsupported(errno) || errno == Errno::EISDIR) => {
            let unfinished = unfinished_name(name);
            dir.remove_own(&unfinished, is_beginning)?;
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
        log::warn!("{error}; estimating the arrival times of {name}");
        Vec::new()
    })
}

/// The segment, as the archive reads it.
struct SegmentReader<'a> {
    file: &'a File,
    /// Looked for in parts of an earlier boot.
    nuls: Option<Runs>,
}

impl Read for SegmentReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        seam::pass("archive-read")?;
        let n = self.file.read(buffer)?;
        if let Some(nuls) = &mut self.nuls {
            nuls.feed(&buffer[..n]);
        }
        Ok(n)
    }
}

/// The archive, through the seam.
pub struct Out<'a> {
    file: &'a File,
    at: u64,
}

impl<'a> Out<'a> {
    /// From the beginning of a file on.
    pub fn of(file: &'a File) -> Out<'a> {
        Out { file, at: 0 }
    }

    /// How many bytes were written.
    pub fn bytes(&self) -> u64 {
        self.at
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_held_back_from_its_seal_on_unless_that_cannot_be() {
        const SECOND: i64 = 1_000_000_000;
        let after = Duration::from_secs(60);
        for (sealed, left) in [(1000, Some(60)), (999, Some(59)), (941, Some(1)), (940, None), (0, None), (1002, None)]
        {
            let found = left_of(after, sealed * SECOND, 1000 * SECOND);
            assert_eq!(found, left.map(Duration::from_secs), "{sealed}");
        }
        assert_eq!(left_of(after, 1000 * SECOND + 5_000_000, 1000 * SECOND), Some(after), "a finer clock");
    }

    #[test]
    fn whoever_waits_or_comes_fast_is_compressed_quickly() {
        const SECOND: i64 = 1_000_000_000;
        for (bytes, span_ns, others_wait, level) in [
            (64 << 20, 64 * SECOND, false, LEVEL_CALM),
            (64 << 20, 63 * SECOND, false, LEVEL_QUICK),
            (64 << 20, 86_400 * SECOND, true, LEVEL_QUICK),
            (1000, SECOND, false, LEVEL_CALM),
            (1000, 0, false, LEVEL_QUICK),
            (1000, -SECOND, false, LEVEL_QUICK),
        ] {
            assert_eq!(auto_level(bytes, span_ns, others_wait), level, "{bytes} {span_ns} {others_wait}");
        }
    }
}
