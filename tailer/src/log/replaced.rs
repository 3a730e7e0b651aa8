//! Where a live file begins for us that may hold again what was delivered: a longer copy that rsync or an
//! editor put in the place of the log, a backup that was restored, or what is left of a log that was trimmed. Reading
//! goes on behind what was delivered before.
//!
//! A rotator is no editor: where the file before has a name still, the live one is another generation, whatever it
//! holds; and so it is where a copy has the rest of a truncated life. A file that is written anew in its place begins as
//! it did and is shorter: it is given time. What is found by less than [`BYTES_MIN`], or in
//! several places, is delivered again rather than lost. None of the live file is given before this is decided.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use memchr::{memchr_iter, memmem, memrchr};

use crate::file::guard::{GUARD_BYTES_MAX, Guard};
use crate::file::identity::Identity;
use crate::log::generation::Generation;
use crate::log::memory::{Memory, read_up_to};

/// Fewer bytes stand in two files by chance.
const BYTES_MIN: usize = 32;

/// Of a longer file only so much is searched, its end.
const SEARCHED_MAX: u64 = 16 << 20;

/// The same where each line end costs a hash.
const HASHED_MAX: u64 = 4 << 20;

/// So many bytes in a row are enough where what stood before them cannot be compared any more.
const CERTAIN_BYTES: usize = 1024;

/// How long a file that begins as the one before may still be written, or that one lose its name: an editor renames it,
/// and removes it when the new one is whole.
const SETTLE_SPAN: Duration = Duration::from_secs(1);

/// The same while it goes on growing.
const DOUBT_SPAN_MAX: Duration = Duration::from_secs(5);

/// How long it is remembered what stood in the live file before, while that is empty or missing.
const REMEMBERED_SPAN: Duration = Duration::from_secs(10);

/// What was delivered before the live file.
#[derive(Debug)]
pub(crate) struct Before {
    /// Where its bytes were last, and where they were first.
    inode: Identity,
    origin: Identity,
    read: u64,
    memory: Memory,
    /// Open, if it was when it was finished.
    pub(crate) file: Option<File>,
    has_name: bool,
    since: Instant,
}

/// A live file of which it cannot be said yet where it begins for us.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Doubt {
    first: Instant,
    /// When it was first seen at this size.
    grown: Instant,
    size: u64,
}

impl Doubt {
    /// From now on.
    pub(crate) fn new(size: u64, now: Instant) -> Doubt {
        Doubt { first: now, grown: now, size }
    }

    /// When it is decided, if nothing happens before.
    pub(crate) fn ends(&self) -> Instant {
        self.grown + SETTLE_SPAN
    }
}

/// Where in a live file goes on what was delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spot {
    /// Behind this offset.
    Behind(u64),
    /// It holds some of it, but there is more than one answer.
    Unclear,
    /// Nothing of it was found.
    Nowhere,
}

impl Before {
    pub(crate) fn of(generation: &Generation, now: Instant) -> Before {
        Before {
            inode: generation.inode(),
            origin: generation.origin().identity,
            read: generation.cursor().read(),
            memory: generation.cursor().memory().clone(),
            file: generation.file().and_then(|file| file.try_clone().ok()),
            has_name: generation.has_name(),
            since: now,
        }
    }

    /// Whether it was so long ago that it counts no more.
    pub(crate) fn is_forgotten(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) >= REMEMBERED_SPAN
    }

    /// Whether another name leads to it.
    fn is_elsewhere(&self, live: &Identity) -> bool {
        let links = self.file.as_ref().and_then(|file| file.metadata().ok()).map(|metadata| metadata.nlink());
        self.inode != *live && links.map_or(self.has_name, |links| links > 0)
    }

    /// Where the bytes before the offset end in a file of this size.
    fn find_in(&self, file: &File, size: u64) -> Spot {
        let is_enough = self.read >= BYTES_MIN as u64;
        if is_enough && size >= self.read && self.memory.same_in(file, self.read).is_some() {
            return Spot::Behind(self.read);
        }
        match &self.memory {
            Memory::Bytes { tail, .. } => {
                let Some((bytes, from)) = end_of(file, size, SEARCHED_MAX) else { return Spot::Nowhere };
                let spot = find_bytes(&bytes, tail, from == 0, || self.content());
                if let Spot::Behind(at) = spot { Spot::Behind(from + at) } else { spot }
            }
            Memory::Guards { tail: Some(guard), .. } if guard.len as usize >= BYTES_MIN => {
                let Some((bytes, from)) = end_of(file, size, HASHED_MAX) else { return Spot::Nowhere };
                let spot = find_guard(&bytes, *guard);
                if let Spot::Behind(at) = spot { Spot::Behind(from + at) } else { spot }
            }
            Memory::Guards { .. } => Spot::Nowhere,
        }
    }

    /// All bytes before the offset, if they can be had.
    fn content(&self) -> Option<Vec<u8>> {
        match (&self.memory, &self.file) {
            (Memory::Bytes { tail, .. }, _) if tail.len() as u64 == self.read => Some(tail.clone()),
            (_, Some(file)) if self.read <= SEARCHED_MAX => {
                let mut bytes = vec![0; self.read as usize];
                let is_whole = read_up_to(file, &mut bytes, 0).ok()? == bytes.len();
                is_whole.then_some(bytes)
            }
            _ => None,
        }
    }

    /// Whether a file has the first of the bytes before the offset and nothing else, as far as that is remembered: they
    /// may be written to it again.
    fn is_begun_in(&self, file: &File, size: u64) -> bool {
        if !(BYTES_MIN as u64..self.read).contains(&size) {
            return false;
        }
        let remembered = self.memory.tail();
        let window = self.read - remembered.len() as u64;
        let mut head = vec![0; size.min(GUARD_BYTES_MAX as u64) as usize];
        let mut tail = vec![0; size.saturating_sub(window) as usize];
        let is_there = |bytes: &mut [u8], at| read_up_to(file, bytes, at).is_ok_and(|read| read == bytes.len());
        is_there(&mut head, 0)
            && is_there(&mut tail, window)
            && self.memory.head_fits(&head) == Some(true)
            && remembered.starts_with(&tail)
    }

    /// Whether all that a file has so far are lines of this one, in order.
    fn has_all_of(&self, live: &File, size: u64) -> bool {
        let is_worth_it = (BYTES_MIN as u64..=self.read).contains(&size) && size <= SEARCHED_MAX;
        let Some((bytes, _)) = is_worth_it.then(|| end_of(live, size, SEARCHED_MAX)).flatten() else { return false };
        self.content().is_some_and(|content| {
            let whole = memrchr(b'\n', &bytes).map_or(0, |newline| newline + 1);
            content.starts_with(&bytes) || (whole > 0 && are_lines_of(&bytes[..whole - 1], &content))
        })
    }

    /// How many of the bytes behind `at` are those behind the offset of the file before, which are still read there:
    /// whole lines.
    fn common(&self, live: &File, at: u64) -> u64 {
        let Some(file) = self.file.as_ref().filter(|_| self.read > 0) else { return 0 };
        let mut common = 0;
        let (mut left, mut right) = (vec![0; 64 << 10], vec![0; 64 << 10]);
        while common < SEARCHED_MAX {
            let read = |file: &File, bytes: &mut [u8], from| read_up_to(file, bytes, from).unwrap_or(0);
            let (one, other) = (read(file, &mut left, self.read + common), read(live, &mut right, at + common));
            let same = left[..one].iter().zip(&right[..other]).take_while(|(one, other)| one == other).count();
            let is_whole = same == left.len();
            common +=
                if is_whole { same } else { memrchr(b'\n', &left[..same]).map_or(0, |newline| newline + 1) } as u64;
            if !is_whole {
                break;
            }
        }
        common
    }
}

/// Where a live file begins for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Placing {
    /// It cannot be said yet.
    Later,
    /// Behind this offset: what stands before it was delivered.
    Behind(u64),
    /// It holds nothing of what was delivered, as far as can be told.
    Whole {
        /// Of so many bytes.
        size: u64,
        /// It holds some of it, but where that ends is not certain.
        is_unclear: bool,
    },
}

/// Where the live file, of which nothing was given yet, begins for us, by what was delivered before.
pub(crate) fn place(live: &mut Generation, before: Option<&Before>, now: Instant) -> Placing {
    debug_assert!(live.is_unplaced(), "it is decided once");
    let Some(file) = live.file() else { return Placing::Later };
    let size = size_of(file);
    let Some(before) = before else { return Placing::Whole { size, is_unclear: false } };
    let inode = live.inode();
    let has_copy = before.origin == inode && before.inode != inode;
    let is_other = before.inode != inode;
    let spot = if has_copy { Spot::Nowhere } else { before.find_in(file, size) };
    let is_part = spot == Spot::Nowhere && is_other && !has_copy && before.has_all_of(file, size);
    let is_named = before.is_elsewhere(&inode);
    let is_begun = spot == Spot::Nowhere && !is_other && before.is_begun_in(file, size);
    // More of it than is gone: else it may as well be another file that begins alike.
    let part = if is_part && size >= before.read - size { size } else { 0 };
    let offset = match spot {
        _ if is_named => 0,
        Spot::Behind(offset) => offset + if is_other { before.common(file, offset) } else { 0 },
        Spot::Nowhere => part,
        Spot::Unclear => 0,
    };
    if is_begun && !has_settled(live, size, true, now) {
        return Placing::Later;
    }
    if spot == Spot::Nowhere && !is_part {
        return Placing::Whole { size, is_unclear: false };
    }
    if (is_named || is_part) && !has_settled(live, size, !is_named, now) {
        return Placing::Later;
    }
    if offset > 0 {
        Placing::Behind(offset)
    } else {
        Placing::Whole { size, is_unclear: spot == Spot::Unclear && !is_named }
    }
}

/// The end of the live file seems to be cut off, and reading to go on there: but what was there may be on its way back.
pub(crate) fn place_cut(live: &mut Generation, before: Option<&Before>, now: Instant) -> Placing {
    debug_assert!(live.is_cut(), "some of it is gone");
    if let Some((before, file)) = before.zip(live.file()) {
        if before.memory.same_in(file, before.read).is_some() {
            return Placing::Behind(before.read);
        }
        let size = size_of(file);
        if before.is_begun_in(file, size) && !has_settled(live, size, true, now) {
            return Placing::Later;
        }
    }
    Placing::Behind(0)
}

/// Whether the live file was given time to become what it is to be. `by_size`: since it grew last.
fn has_settled(live: &mut Generation, size: u64, by_size: bool, now: Instant) -> bool {
    let mut doubt = live.beginning().doubt().unwrap_or(Doubt::new(size, now));
    if doubt.size != size {
        (doubt.grown, doubt.size) = (now, size);
    }
    live.beginning_mut().doubt_it(doubt);
    let is_long = now.saturating_duration_since(doubt.first) >= DOUBT_SPAN_MAX;
    let since = if by_size { doubt.grown } else { doubt.first };
    is_long || now.saturating_duration_since(since) >= SETTLE_SPAN
}

fn size_of(file: &File) -> u64 {
    file.metadata().map_or(0, |metadata| metadata.len())
}

/// The last bytes of a file, and where they begin.
fn end_of(file: &File, size: u64, most: u64) -> Option<(Vec<u8>, u64)> {
    let from = size.saturating_sub(most);
    let mut bytes = vec![0; (size - from) as usize];
    let read = read_up_to(file, &mut bytes, from).ok()?;
    bytes.truncate(read);
    Some((bytes, from))
}

/// Where `tail`, the last bytes that were delivered, ends in `bytes`. `is_beginning`: these are all bytes of the file.
fn find_bytes(bytes: &[u8], tail: &[u8], is_beginning: bool, content: impl FnOnce() -> Option<Vec<u8>>) -> Spot {
    if tail.len() < BYTES_MIN {
        return Spot::Nowhere;
    }
    let ends_of = |part: &[u8]| memmem::find_iter(bytes, part).map(|at| at + part.len()).take(2).collect::<Vec<_>>();
    match ends_of(tail)[..] {
        [end] => return Spot::Behind(end as u64),
        [] => {}
        _ => return Spot::Unclear,
    }
    // Trimmed to less than is remembered.
    let is_end =
        |end: &usize| *end < tail.len() && tail.ends_with(&bytes[..*end]) && tail[tail.len() - end - 1] == b'\n';
    let lines = memchr_iter(b'\n', &bytes[..bytes.len().min(tail.len())]).map(|newline| newline + 1);
    let ends: Vec<usize> = lines.filter(|_| is_beginning).filter(is_end).collect();
    match ends[..] {
        [end] if end >= BYTES_MIN => return Spot::Behind(end as u64),
        [] | [_] => {}
        _ => return Spot::Unclear,
    }
    // Lines were taken out, some of them near the end.
    let mut starts = memchr_iter(b'\n', &tail[..tail.len() - BYTES_MIN]).map(|newline| newline + 1);
    let suffix = &tail[starts.next_back().unwrap_or(0)..];
    match ends_of(suffix)[..] {
        [] => Spot::Nowhere,
        [end] => {
            let same = tail.iter().rev().zip(bytes[..end].iter().rev()).take_while(|(one, other)| one == other).count();
            let is_it = match content() {
                Some(content) => is_beginning && are_lines_of(&bytes[..end - 1], &content),
                None => same >= CERTAIN_BYTES,
            };
            if is_it { Spot::Behind(end as u64) } else { Spot::Nowhere }
        }
        _ => Spot::Unclear,
    }
}

/// Whether all lines are among these, in order.
fn are_lines_of(lines: &[u8], content: &[u8]) -> bool {
    let mut content = content.split(|byte| *byte == b'\n');
    lines.split(|byte| *byte == b'\n').all(|line| content.any(|other| other == line))
}

/// The only line end before which stands what a guard covers.
fn find_guard(bytes: &[u8], guard: Guard) -> Spot {
    let len = guard.len as usize;
    debug_assert!(len <= GUARD_BYTES_MAX, "a guard covers no more");
    let ends = memchr_iter(b'\n', bytes).map(|newline| newline + 1).filter(|end| *end >= len);
    let ends: Vec<usize> = ends.filter(|end| guard.fits_end(&bytes[end - len..*end]) == Some(true)).take(2).collect();
    match ends[..] {
        [] => Spot::Nowhere,
        [end] => Spot::Behind(end as u64),
        _ => Spot::Unclear,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(range: std::ops::Range<u32>) -> String {
        range.fold(String::new(), |text, n| text + &format!("line {n}\n"))
    }

    #[test]
    fn what_was_delivered_last_is_found_where_it_is_once() {
        let all = lines(1..1000);
        let tail = &all[all.len() - 4096..];
        let behind = |text: &str| Spot::Behind(text.len() as u64);
        let new = "new 1\nnew 2\n";
        let same = "the same line in every file\n".repeat(100);
        for (name, bytes, tail, expected) in [
            ("a longer copy", all.clone() + new, tail, behind(&all)),
            ("trimmed to many", lines(300..1000) + new, tail, behind(&lines(300..1000))),
            ("trimmed to few", lines(990..1000) + new, tail, behind(&lines(990..1000))),
            ("trimmed to too few", lines(998..1000) + new, tail, Spot::Nowhere),
            (
                "some taken out",
                lines(1..900) + &lines(910..1000) + new,
                tail,
                behind(&(lines(1..900) + &lines(910..1000))),
            ),
            ("twice", lines(1..1000) + &lines(1..1000), tail, Spot::Unclear),
            ("something else", lines(2000..3000), tail, Spot::Nowhere),
            ("the same again and again", same.clone(), &same[..same.len() / 2], Spot::Unclear),
        ] {
            let found = find_bytes(bytes.as_bytes(), tail.as_bytes(), true, || Some(all.clone().into_bytes()));
            assert_eq!(found, expected, "{name}");
        }
        let guard = Guard::of_end(tail.as_bytes());
        assert_eq!(find_guard((lines(300..1000) + new).as_bytes(), guard), behind(&lines(300..1000)));
        assert_eq!(find_guard(new.as_bytes(), guard), Spot::Nowhere);
    }
}
