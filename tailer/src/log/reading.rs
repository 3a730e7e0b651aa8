//! The way of bytes from a generation to an output, as far as it goes, and whether that is its end for good: one step reads
//! once and gives what came, as whole lines.
//!
//! Every read begins with the bytes that stand before the offset: if they are not what is remembered, the file was
//! truncated in the meantime, and nothing of the read is given. Of a live file of which nothing was read nobody could
//! tell: it begins with what the last look saw, before it looked for copies. Zeros that were never written, the holes
//! of a sparse file, are skipped, and those that a file ends in are left alone. Nothing here opens or closes a file.

use std::fs::File;
use std::ops::Range;
use std::os::fd::AsFd;
use std::time::Instant;

use memchr::{memchr, memrchr};
use nix::errno::Errno;
use nix::unistd::{Whence, lseek};
use xxhash_rust::xxh3::xxh3_64;

use crate::file::guard::GUARD_BYTES_MAX;
use crate::file::open::{Refusal, Stamp, errno};
use crate::file::packed::{BEGINNING_BYTES, TAKE_COST_BYTES, goes_on, packer};
use crate::log::blank::{Zeros, zeros};
use crate::log::finish::judge;
use crate::log::generation::Generation;
use crate::log::happening::{Happening, Truncation};
use crate::log::life::Course;
use crate::log::memory::{Memory, read_up_to};
use crate::log::notes::Notes;
use crate::log::settings::Settings;
use crate::out::lines::{End, Lines, SourceId};
use crate::out::output::Output;

/// Most bytes that one step reads.
pub const READ_BYTES_MAX: usize = 256 << 10;

/// How long a buffer for [`step`] is.
pub const BUFFER_BYTES: usize = GUARD_BYTES_MAX + READ_BYTES_MAX;

/// Shorter runs of zeros are not asked to be holes: no file system has smaller blocks.
const HOLE_BYTES_MIN: u64 = 512;

/// What a step is made with.
pub struct Hands<'a> {
    /// Whose bytes.
    pub source: SourceId,
    /// Where they go.
    pub output: &'a mut dyn Output,
    /// At least [`BUFFER_BYTES`] long; its content means nothing between steps.
    pub buffer: &'a mut [u8],
    /// Most bytes that a step reads.
    pub bytes_max: usize,
    /// Longest line that is held until it is whole.
    pub line_bytes_max: usize,
    /// The monotonic clock.
    pub now: Instant,
    /// The wall clock, never less than before.
    pub now_ns: i64,
    /// Who hears of what happens.
    pub notes: &'a mut Notes,
}

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It read, or gave, so many bytes.
    Went(usize),
    /// The output has no room, or a look has to come first.
    Full,
    /// Nothing more is there.
    AtEnd,
    /// What was read is not there any more.
    Truncated(Truncation),
    /// The file cannot be read.
    Failed(Errno),
}

/// What reading a generation came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// More can be read now, or when there is room, or after a look.
    Behind,
    /// All was read that is there.
    AtEnd,
    /// And that is final.
    Finished,
}

/// Reads as far as it goes, at most about `left` bytes, of which what was read is taken.
pub fn drain(generation: &mut Generation, hands: &mut Hands<'_>, settings: &Settings, left: &mut usize) -> Outcome {
    if generation.must_wait(hands.now) {
        return Outcome::AtEnd;
    }
    loop {
        match generation.life().course() {
            Course::Over => {
                return if conclude(generation, hands) { Outcome::Finished } else { Outcome::Behind };
            }
            Course::Cut(_) => return Outcome::Behind,
            Course::Sought { .. } => return Outcome::AtEnd,
            Course::Hidden { .. } => return Outcome::Finished,
            Course::Reading => {}
        }
        hands.bytes_max = *left;
        match step(generation, hands) {
            Step::Went(bytes) => {
                generation.recover(hands.notes);
                let taken = if generation.is_packed() { TAKE_COST_BYTES } else { 0 };
                *left = left.saturating_sub(bytes + taken);
                if *left == 0 {
                    return Outcome::Behind;
                }
            }
            Step::Full => return Outcome::Behind,
            Step::Truncated(truncation) => generation.life_mut().cut(truncation),
            Step::Failed(errno) => {
                fail(generation, hands, settings, errno);
                if generation.life().is_reading() {
                    return Outcome::AtEnd;
                }
            }
            Step::AtEnd => {
                if generation.is_open() {
                    generation.recover(hands.notes);
                }
                if !is_over(generation, hands, settings) {
                    return Outcome::AtEnd;
                }
            }
        }
    }
}

/// Whether the generation at whose end we are is finished; if so, it is from now on. `true` also if more was found.
fn is_over(generation: &mut Generation, hands: &mut Hands<'_>, settings: &Settings) -> bool {
    if !generation.is_live() && !settings.is_batch {
        generation.ask(settings.writers, hands.now);
    }
    let (verdict, _) = judge(&generation.facts(hands.now), settings);
    if verdict.is_finished && !generation.is_parked() {
        // What was written before the last writer was gone is read first: one more step must find nothing.
        let seen = generation.seen();
        generation.extent_mut().unsettle();
        generation.extent_mut().admit_zeros(seen);
        match step(generation, hands) {
            Step::AtEnd => generation.life_mut().finish(),
            Step::Truncated(truncation) => generation.life_mut().cut(truncation),
            Step::Failed(errno) => fail(generation, hands, settings, errno),
            Step::Went(_) | Step::Full => generation.ask_anew(),
        }
        return !generation.life().is_reading() || generation.extent().at_end().is_none();
    }
    if verdict.may_close && generation.is_delivered() && generation.file().is_some() {
        generation.park();
    }
    false
}

fn fail(generation: &mut Generation, hands: &mut Hands<'_>, settings: &Settings, errno: Errno) {
    // A damaged packed file does not heal, and its stream cannot be wound back; and a batch waits for nothing.
    if settings.is_batch || generation.is_packed() {
        hands.notes.tell(Happening::OpenError { path: generation.path().clone(), errno });
        generation.life_mut().finish();
    } else {
        generation.fail(errno, hands.now, hands.notes);
    }
}

/// Reads once, and gives what can be given.
pub fn step(generation: &mut Generation, hands: &mut Hands<'_>) -> Step {
    if !generation.life().is_reading() || !generation.is_open() {
        return Step::AtEnd;
    }
    if generation.is_live() && (generation.beginning().doubt().is_some() || generation.beginning().twin().is_some()) {
        return Step::AtEnd;
    }
    let room = hands.output.room(hands.source);
    if let Some(step) = give_held(generation, hands, room) {
        return step;
    }
    match generation.has_changed(hands.now) {
        Ok(true) => {}
        Ok(false) => return Step::AtEnd,
        Err(errno) => return Step::Failed(errno),
    }
    if generation.wants_peek() {
        generation.extent_mut().unsettle();
        return Step::Full;
    }
    if let Some(packer) = packed_by(generation) {
        return pass_over(generation, hands, packer);
    }
    let held = generation.cursor().held().len();
    let most = READ_BYTES_MAX.min(hands.bytes_max).min(room - held.min(room));
    if most > 0
        && let Some(first) = generation.beginning_mut().take_first()
    {
        generation.extent_mut().unsettle();
        return take_bytes(generation, hands, &first[..most.min(first.len())], 0);
    }
    if most == 0 && generation.is_packed() {
        // Only a read tells whether a packed file has an end here.
        return Step::Full;
    }
    let fetched = fetch(generation, hands.buffer, most);
    // Where nothing was read before, nothing was compared.
    if matches!(fetched, Fetched::Bytes(_) | Fetched::End) && generation.seen() > 0 {
        generation.extent_mut().confirm();
    }
    match fetched {
        Fetched::Bytes(range) => {
            let stamp = generation.extent_mut().unsettle();
            let step = take(generation, hands, range);
            if step == Step::AtEnd {
                generation.extent_mut().settle(stamp);
            }
            step
        }
        Fetched::End if most == 0 && generation.extent().size() > generation.seen() => {
            generation.extent_mut().unsettle();
            Step::Full
        }
        Fetched::End => Step::AtEnd,
        Fetched::Nothing => {
            generation.extent_mut().pass(TAKE_COST_BYTES);
            Step::Went(TAKE_COST_BYTES)
        }
        Fetched::Truncated(truncation) => Step::Truncated(truncation),
        Fetched::Failed(errno) => {
            generation.extent_mut().unsettle();
            Step::Failed(errno)
        }
    }
}

/// Of an unfinished line that takes all the room a piece is given, if it must be cut. `None`: there is room behind it.
fn give_held(generation: &mut Generation, hands: &mut Hands<'_>, room: usize) -> Option<Step> {
    let held = generation.cursor().held().len();
    if held == 0 || held < room.min(hands.line_bytes_max) {
        return None;
    }
    let must_be_cut = held >= hands.line_bytes_max
        || generation.cursor().is_inside_line()
        || hands.output.is_room_final(hands.source);
    if room == 0 || !must_be_cut {
        return Some(Step::Full);
    }
    give_piece(generation, hands, room);
    Some(Step::Went(held.min(room)))
}

/// What packed a plain file, by its first bytes.
fn packed_by(generation: &Generation) -> Option<&'static str> {
    let file = generation.file()?;
    if let Memory::Bytes { head, .. } = generation.cursor().memory()
        && generation.cursor().read() > 0
    {
        return packer(head);
    }
    let mut first = [0; BEGINNING_BYTES];
    let read = read_up_to(file, &mut first, 0).unwrap_or(0);
    packer(&first[..read])
}

/// Packed bytes are no lines: none of them is given, and that is said once.
fn pass_over(generation: &mut Generation, hands: &mut Hands<'_>, packer: &'static str) -> Step {
    let Some(file) = generation.file() else { return Step::AtEnd };
    let size = generation.extent().size();
    let memory = match Memory::of_file(file, size) {
        Ok(Some(memory)) => memory,
        Ok(None) => return Step::Truncated(Truncation::SizeDecreased),
        Err(error) => return Step::Failed(errno(&error)),
    };
    if generation.cursor().read() == 0 {
        hands.notes.tell(Happening::Refused { path: generation.path().clone(), refusal: Refusal::Packed(packer) });
    }
    generation.beginning_mut().see(None);
    generation.cursor_mut().begin_at(size, memory);
    Step::AtEnd
}

/// Gives the unfinished line of a generation that is finished, and the newline that it lacks. `false`: no room yet.
pub fn conclude(generation: &mut Generation, hands: &mut Hands<'_>) -> bool {
    while generation.cursor().has_open_line() {
        let room = hands.output.room(hands.source);
        let held = generation.cursor().held().len();
        if room < held.max(1) {
            if room == 0 || !hands.output.is_room_final(hands.source) {
                return false;
            }
            give_piece(generation, hands, room);
            continue;
        }
        let line = generation.cursor_mut().take_held();
        give(generation, hands, &line, End::Added);
        hands.notes.tell(Happening::Unfinished { bytes: held as u64 });
    }
    true
}

/// Whether what was read is still there, as far as the bytes before the offset say.
pub fn verify(generation: &Generation) -> Result<Option<Truncation>, Errno> {
    let Some(file) = generation.file() else { return Ok(None) };
    let metadata = file.metadata().map_err(|error| errno(&error))?;
    if metadata.len() < generation.seen() {
        return Ok(Some(Truncation::SizeDecreased));
    }
    if generation.extent().at_end() == Some(Stamp::from(&metadata)) {
        return Ok(None);
    }
    let (tail, held) = remembered(generation);
    let known = [tail, held].concat();
    let mut bytes = vec![0; known.len()];
    let from = generation.seen() - known.len() as u64;
    let read = read_up_to(file, &mut bytes, from).map_err(|error| errno(&error))?;
    Ok(if read < known.len() {
        Some(Truncation::SizeDecreased)
    } else if bytes != known {
        Some(Truncation::ContentChanged)
    } else {
        None
    })
}

enum Fetched {
    Bytes(Range<usize>),
    /// What was taken of a packed file gave nothing yet.
    Nothing,
    End,
    Truncated(Truncation),
    Failed(Errno),
}

fn fetch(generation: &mut Generation, buffer: &mut [u8], most: usize) -> Fetched {
    let seen = generation.seen();
    if let Some(stream) = generation.life_mut().unpacking() {
        return match stream.read(&mut buffer[..most]) {
            Ok(0) => Fetched::End,
            Ok(read) => Fetched::Bytes(0..read),
            Err(error) if goes_on(&error) => Fetched::Nothing,
            Err(error) => Fetched::Failed(errno(&error)),
        };
    }
    let Some(file) = generation.file() else { return Fetched::End };
    let known = remembered(generation);
    let overlap = known.0.len() + known.1.len();
    let read = match read_up_to(file, &mut buffer[..overlap + most], seen - overlap as u64) {
        Ok(read) => read,
        Err(error) => return Fetched::Failed(errno(&error)),
    };
    if read < overlap || generation.extent().size() < seen {
        return Fetched::Truncated(Truncation::SizeDecreased);
    }
    if buffer[..known.0.len()] != *known.0 || buffer[known.0.len()..overlap] != *known.1 {
        return Fetched::Truncated(Truncation::ContentChanged);
    }
    if read == overlap { Fetched::End } else { Fetched::Bytes(overlap..read) }
}

/// The last bytes that were read, at most as many as a guard covers: those that were given, and those that are held.
fn remembered(generation: &Generation) -> (&[u8], &[u8]) {
    let held = generation.cursor().held();
    let held = &held[held.len().saturating_sub(GUARD_BYTES_MAX)..];
    let tail = generation.cursor().memory().tail();
    (&tail[tail.len().saturating_sub(GUARD_BYTES_MAX - held.len())..], held)
}

/// Gives the whole lines among the new bytes and holds the rest.
fn take(generation: &mut Generation, hands: &mut Hands<'_>, range: Range<usize>) -> Step {
    let buffer = std::mem::take(&mut hands.buffer);
    let step = take_bytes(generation, hands, &buffer[..range.end], range.start);
    hands.buffer = buffer;
    step
}

/// The new bytes begin at `at`.
fn take_bytes(generation: &mut Generation, hands: &mut Hands<'_>, bytes: &[u8], at: usize) -> Step {
    let new = &bytes[at..];
    let new = match gap(generation, new) {
        Gap::None => new,
        Gap::At(offset) => &new[..offset],
        Gap::Here(bytes) => return skip(generation, hands, bytes),
        Gap::Tail => return Step::AtEnd,
        Gap::Unknown(bytes) => return Step::Went(bytes.min(READ_BYTES_MAX as u64) as usize),
    };
    if let Some(bytes) = generation.cursor_mut().take_skipped() {
        hands.notes.tell(Happening::Hole { bytes });
    }
    let Some(end) = memrchr(b'\n', new).map(|newline| newline + 1) else {
        generation.cursor_mut().hold(new);
        return Step::Went(new.len());
    };
    let held = generation.cursor_mut().take_held();
    if held.len() <= at {
        // It was read again with the new bytes, and stands before them.
        give_lines(generation, hands, &bytes[at - held.len()..at + end]);
    } else {
        give_lines(generation, hands, &[&held, &new[..end]].concat());
    }
    generation.cursor_mut().hold(&new[end..]);
    Step::Went(new.len())
}

/// Gives whole lines; the rest of a line whose beginning was given goes first and alone.
fn give_lines(generation: &mut Generation, hands: &mut Hands<'_>, lines: &[u8]) {
    let rest = match memchr(b'\n', lines) {
        Some(newline) if generation.cursor().is_inside_line() => newline + 1,
        _ => 0,
    };
    for lines in [&lines[..rest], &lines[rest..]] {
        if !lines.is_empty() {
            give(generation, hands, lines, End::Line);
        }
    }
}

/// Gives as much of the unfinished line as there is room for.
fn give_piece(generation: &mut Generation, hands: &mut Hands<'_>, room: usize) {
    let mut line = generation.cursor_mut().take_held();
    let rest = line.split_off(room.min(line.len()));
    give(generation, hands, &line, End::Open);
    generation.cursor_mut().hold(&rest);
}

fn give(generation: &mut Generation, hands: &mut Hands<'_>, bytes: &[u8], ends: End) {
    let start = generation.cursor().read();
    let with_newline;
    let given = if ends == End::Added {
        with_newline = [bytes, b"\n"].concat();
        &with_newline
    } else {
        bytes
    };
    hands.output.put(&Lines {
        source: hands.source,
        generation: generation.id(),
        origin: generation.origin(),
        start,
        end: start + bytes.len() as u64,
        bytes: given,
        ends,
        read_ns: hands.now_ns,
        record: None,
    });
    generation.cursor_mut().put_on(bytes, last_line_hash(given, ends));
}

/// Of the last line of what was given, unless that is a piece of one. A newline of ours counts: it was delivered.
fn last_line_hash(given: &[u8], ends: End) -> Option<u64> {
    let before = &given[..given.len() - 1];
    let start = memrchr(b'\n', before).map_or(0, |newline| newline + 1);
    (ends != End::Open).then(|| xxh3_64(&given[start..]))
}

/// Zeros among new bytes that nobody wrote.
enum Gap {
    None,
    /// So far behind the first new byte.
    At(usize),
    /// So many, from the first new byte on.
    Here(u64),
    /// From here to the end of the file: room that was made in advance, or a truncation that made it longer.
    Tail,
    /// So many more were looked at, and that is not known yet, or other bytes stand there by now.
    Unknown(u64),
}

fn gap(generation: &mut Generation, new: &[u8]) -> Gap {
    let seen = generation.seen();
    let Some((file, extent, cursor)) = generation.parts() else { return Gap::None };
    let (mut from, mut is_confirmed) = (0, false);
    while let Some(zero) = memchr(0, &new[from..]).map(|zero| from + zero) {
        let run = zeros(&new[zero..]) as u64;
        let is_last = zero + run as usize == new.len();
        if is_last && zero == 0 {
            match extent.look_at_zeros(file, seen, seen + run) {
                Zeros::Last => return Gap::Tail,
                Zeros::Unknown(bytes) => return Gap::Unknown(bytes),
                Zeros::Content => {}
            }
        } else if is_last {
            return Gap::At(zero);
        }
        // What stands behind them was seen later than they were: a line may have been written over them in between.
        if !std::mem::replace(&mut is_confirmed, true) && !stands_there(file, seen + zero as u64, &new[zero..]) {
            return if zero > 0 { Gap::At(zero) } else { Gap::Unknown(run) };
        }
        let hole = hole_in(file, seen + zero as u64, run, extent.size());
        let is_left = cursor.is_skipping() || seen < extent.zeros_until();
        match hole {
            Some(_) if zero > 0 => return Gap::At(zero),
            Some(hole) => {
                let Some(data) = data_after(file, hole) else { return Gap::Tail };
                return Gap::Here(run.max(data - seen));
            }
            None if zero == 0 && cursor.is_skipping() => return Gap::Here(run),
            None if zero == 0 && is_left => return Gap::Here(run.min(extent.zeros_until() - seen)),
            None => from = zero + run as usize,
        }
    }
    Gap::None
}

/// Whether these bytes are there still. What cannot be read shows in the next read.
fn stands_there(file: &File, at: u64, bytes: &[u8]) -> bool {
    let mut now = vec![0; bytes.len()];
    read_up_to(file, &mut now, at).map_or(true, |read| now[..read] == *bytes)
}

/// Where a hole begins within a run of zeros; the end of the file is none.
fn hole_in(file: &File, from: u64, run: u64, size: u64) -> Option<u64> {
    if run < HOLE_BYTES_MIN {
        return None;
    }
    let hole = lseek(file.as_fd(), from as i64, Whence::SeekHole).ok()? as u64;
    (hole < size.min(from + run)).then_some(hole)
}

fn data_after(file: &File, from: u64) -> Option<u64> {
    lseek(file.as_fd(), from as i64, Whence::SeekData).ok().map(|data| data as u64)
}

/// Goes on behind zeros. A line that is unfinished before them ends there.
fn skip(generation: &mut Generation, hands: &mut Hands<'_>, bytes: u64) -> Step {
    if !conclude(generation, hands) {
        return Step::Full;
    }
    generation.cursor_mut().skip(bytes);
    Step::Went(bytes.min(READ_BYTES_MAX as u64) as usize)
}
