//! A status file: kept by a program with plain stores into shared pages, and read meanwhile by whoever may, without a
//! lock.
//!
//! ```text
//! 0     header, padded to a page   magic, version, pid, start (ns), slots, bytes of a slot; then what its program adds
//! 4096  slots of one size          a word of state, 0: it says nothing; then figures and texts
//! ```
//! All numbers are aligned 64-bit words of the machine, each whole or absent whenever it is read; texts are those of
//! [`mapped_text`](crate::mapped_text). At worst a reader of the file shows `?` once.
//!
//! Invariants: every page is allocated and writable before a slot in it is given out, so a full disk makes no store
//! fail; no slot is given out twice; what is stored makes no system call. What the words mean is their program's affair.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{Cannot, Error, Result};
use crate::mapped::allocate;
use crate::mapped_text::word;
use crate::sys::Words;
use crate::{own, seam};

/// Bytes before the first slot: a page.
pub const HEADER_BYTES: usize = 4096;
/// Offset of the version in the header.
pub const VERSION_AT: usize = 8;
/// Of the process id of its program.
pub const PID_AT: usize = 16;
/// Of the time when that started, ns since the epoch.
pub const START_AT: usize = 24;
/// Of the number of slots.
pub const SLOTS_AT: usize = 32;
/// Of the size of each.
pub const SLOT_BYTES_AT: usize = 40;
/// Where the header is free for what its program adds.
pub const MORE_AT: usize = 48;
/// Offset of the state in a slot.
pub const STATE_AT: usize = 0;
/// State of a slot that says nothing.
pub const FREE: u64 = 0;

/// Slots that a file begins with and grows by at least.
const STEP_MIN: usize = 32;
/// Slots that it grows by at most.
const STEP_MAX: usize = 1024;
/// How often a file is read again in which a text was just being written.
const LOOKS_MAX: usize = 3;

/// How the file of one program is laid out.
#[derive(Debug)]
pub struct Layout {
    /// The program.
    pub program: &'static str,
    /// First word of the file.
    pub magic: u64,
    /// Its versions, oldest first, and the bytes of a slot in each. What a slot had before stands where it stood.
    pub versions: &'static [(u64, usize)],
    /// Most slots of a file.
    pub slots_max: usize,
    /// The point of [`seam`] that is passed where it grows.
    pub point: &'static str,
}

/// Why a file says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// It is no status file, or not whole.
    Damaged,
    /// A later program wrote it.
    Version(u64),
}

impl Layout {
    /// The version that is written.
    pub fn version(&self) -> u64 {
        self.newest().0
    }

    /// Bytes of a slot of that version.
    pub fn slot_bytes(&self) -> usize {
        self.newest().1
    }

    fn newest(&self) -> (u64, usize) {
        *self.versions.last().expect("it has a version")
    }

    /// Whether a status file of any version begins so.
    pub fn is_beginning(&self, head: &[u8]) -> bool {
        own::begins_with(&self.magic.to_ne_bytes())(head)
    }

    /// The slots of a whole file that say something, in no order.
    pub fn slots<'a>(
        &self,
        file: &'a [u8],
    ) -> std::result::Result<impl Iterator<Item = &'a [u8]> + use<'a>, Unreadable> {
        if file.len() < HEADER_BYTES || word(file, 0) != self.magic {
            return Err(Unreadable::Damaged);
        }
        let version = word(file, VERSION_AT);
        let Some((_, slot_bytes)) = self.versions.iter().find(|(known, _)| *known == version) else {
            return Err(if version > self.version() { Unreadable::Version(version) } else { Unreadable::Damaged });
        };
        let count = usize::try_from(word(file, SLOTS_AT)).ok().filter(|count| *count <= self.slots_max);
        let slots = count.and_then(|count| file[HEADER_BYTES..].get(..count * slot_bytes));
        let Some(slots) = slots.filter(|_| word(file, SLOT_BYTES_AT) == *slot_bytes as u64) else {
            return Err(Unreadable::Damaged);
        };
        Ok(slots.chunks_exact(*slot_bytes).filter(|slot| word(slot, STATE_AT) != FREE))
    }

    /// What a file at `path` says, as `decode` reads it. One that is not `whole`, for a text is being written, is read
    /// again, but not for long.
    pub fn read<C>(
        &self,
        path: &Path,
        open: impl Fn() -> Result<File>,
        decode: impl Fn(&[u8]) -> std::result::Result<C, Unreadable>,
        is_whole: impl Fn(&C) -> bool,
    ) -> Result<C> {
        let bytes_max = (HEADER_BYTES + self.slots_max * self.slot_bytes()) as u64;
        let read = || {
            let mut bytes = Vec::new();
            open()?.take(bytes_max).read_to_end(&mut bytes).cannot("read", path)?;
            decode(&bytes).map_err(|unreadable| Error::because("read", path, self.explain(unreadable)))
        };
        let mut content = read()?;
        for _ in 1..LOOKS_MAX {
            if is_whole(&content) {
                break;
            }
            content = read()?;
        }
        Ok(content)
    }

    fn explain(&self, unreadable: Unreadable) -> String {
        match unreadable {
            Unreadable::Damaged => format!("it is damaged; the next start of {} replaces it", self.program),
            Unreadable::Version(version) => {
                format!("it has version {version}; this program knows {}", self.version())
            }
        }
    }
}

/// A status file at work.
#[derive(Debug)]
pub struct Sheet {
    layout: &'static Layout,
    path: PathBuf,
    file: File,
    shared: Arc<Shared>,
    /// Slots that the file has room for.
    room: usize,
    /// Slots given out, from the first on.
    used: usize,
    /// Those of them that were given back.
    free: Vec<usize>,
}

/// The mapped file. Texts are written by one thread at a time.
#[derive(Debug)]
struct Shared {
    words: Words,
    texts: Mutex<()>,
}

impl Sheet {
    /// Makes header and first slots in `file`, which is new and is to be renamed to `path`.
    ///
    /// # Errors
    /// There is no room, or the kernel refuses.
    pub fn make(layout: &'static Layout, file: File, path: &Path, start_ns: i64) -> Result<Sheet> {
        debug_assert!(layout.versions.is_sorted() && layout.versions.iter().all(|(_, bytes)| bytes.is_multiple_of(8)));
        let shared = map(layout, &file, 0, STEP_MIN).cannot("create", path)?;
        let (pid, start) = (u64::from(std::process::id()), start_ns as u64);
        let header = [layout.magic, layout.version(), pid, start, STEP_MIN as u64, layout.slot_bytes() as u64];
        let path = path.to_path_buf();
        let sheet = Sheet { layout, path, file, shared, room: STEP_MIN, used: 0, free: Vec::new() };
        sheet.store_all(0, &header);
        Ok(sheet)
    }

    /// Takes the file away, if it is still the one that has the name.
    pub fn remove(&self) -> io::Result<()> {
        own::remove_this(&self.path, &self.file)
    }

    /// Stores words of the header, from [`MORE_AT`] on.
    pub fn store_all(&self, at: usize, words: &[u64]) {
        debug_assert!(at + 8 * words.len() <= HEADER_BYTES, "{} words at {at} are a slot's", words.len());
        self.shared.store_all(at, words);
    }

    /// Adds to a word of the header.
    pub fn add(&self, at: usize, more: u64) {
        debug_assert!((MORE_AT..HEADER_BYTES).contains(&at), "a program adds to words of its own, not {at}");
        self.shared.words.add(at, more);
    }

    /// A slot that nobody has, all zeros. The file grows where there is none; slots keep the mapping that they have.
    ///
    /// # Errors
    /// There are as many as there may be, or there is no room.
    pub fn berth(&mut self) -> Result<Berth> {
        let index = match self.free.pop() {
            Some(index) => index,
            None => self.next()?,
        };
        debug_assert!(index < self.used && self.used <= self.room, "slot {index} of {} in {}", self.used, self.room);
        let bytes = self.layout.slot_bytes();
        let berth = Berth { shared: Arc::clone(&self.shared), at: HEADER_BYTES + index * bytes, bytes };
        debug_assert!(berth.load(STATE_AT) == FREE, "slot {index} is somebody's");
        (0..bytes).step_by(8).for_each(|at| berth.store(at, 0));
        Ok(berth)
    }

    /// Takes a slot back.
    pub fn give_back(&mut self, berth: &Berth) {
        berth.store(STATE_AT, FREE);
        let index = (berth.at - HEADER_BYTES) / self.layout.slot_bytes();
        debug_assert!(!self.free.contains(&index), "slot {index} was given back before");
        self.free.push(index);
    }

    /// A slot that was never given out.
    fn next(&mut self) -> Result<usize> {
        if self.used == self.room {
            let room = self.room + self.room.clamp(STEP_MIN, STEP_MAX);
            if room > self.layout.slots_max {
                return Err(Error::because("grow", &self.path, format!("all of its {} slots are in use", self.room)));
            }
            self.shared = map(self.layout, &self.file, self.room, room).cannot("grow", &self.path)?;
            self.store_all(SLOTS_AT, &[room as u64]);
            self.room = room;
        }
        self.used += 1;
        Ok(self.used - 1)
    }
}

/// Maps the file with room for `slots` slots, of which it has `before` already; the header comes with the first.
fn map(layout: &Layout, file: &File, before: usize, slots: usize) -> io::Result<Arc<Shared>> {
    seam::pass(layout.point)?;
    let end_of = |slots: usize| if slots == 0 { 0 } else { HEADER_BYTES + slots * layout.slot_bytes() };
    let range = end_of(before)..end_of(slots);
    allocate(file, range.clone())?;
    let words = Words::shared(file, range.end)?;
    words.populate(range)?;
    Ok(Arc::new(Shared { words, texts: Mutex::new(()) }))
}

impl Shared {
    fn store_all(&self, at: usize, words: &[u64]) {
        for (index, word) in words.iter().enumerate() {
            self.words.store(at + 8 * index, *word);
        }
    }
}

/// A slot that was given out. Clones are the same slot and may be used by other threads; none of its methods fails or
/// makes a system call.
#[derive(Clone, Debug)]
pub struct Berth {
    shared: Arc<Shared>,
    at: usize,
    bytes: usize,
}

impl Berth {
    /// Loads the word at an offset in the slot.
    pub fn load(&self, offset: usize) -> u64 {
        self.shared.words.load(self.place(offset, 8))
    }

    /// Stores it.
    pub fn store(&self, offset: usize, word: u64) {
        self.shared.words.store(self.place(offset, 8), word);
    }

    /// Adds to it.
    pub fn add(&self, offset: usize, more: u64) {
        self.shared.words.add(self.place(offset, 8), more);
    }

    /// Stores words of [`mapped_text`](crate::mapped_text).
    pub fn store_text(&self, offset: usize, text: &[u64]) {
        let at = self.place(offset, 8 * text.len());
        let _writing = self.shared.texts.lock().unwrap_or_else(PoisonError::into_inner);
        self.shared.store_all(at, text);
    }

    fn place(&self, offset: usize, bytes: usize) -> usize {
        debug_assert!(offset + bytes <= self.bytes, "{bytes} bytes at {offset} are the next slot's");
        self.at + offset
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapped_text;

    const LAYOUT: Layout = Layout {
        program: "tester",
        magic: u64::from_ne_bytes(*b"testing\n"),
        versions: &[(1, 64), (2, 128)],
        slots_max: 100,
        point: "test-grow",
    };

    fn sheet(dir: &Path) -> (Sheet, PathBuf) {
        let path = dir.join("status");
        let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
        (Sheet::make(&LAYOUT, file, &path, 5).unwrap(), path)
    }

    fn in_use(file: &[u8]) -> Vec<u64> {
        LAYOUT.slots(file).unwrap().map(|slot| word(slot, 8)).collect()
    }

    #[test]
    fn a_file_that_grows_keeps_what_its_slots_say_until_there_are_as_many_as_may_be() {
        let dir = tempfile::tempdir().unwrap();
        let (mut sheet, path) = sheet(dir.path());
        let berths: Vec<Berth> = (0..64).map(|_| sheet.berth().unwrap()).collect();
        for (index, berth) in berths.iter().enumerate() {
            berth.store(STATE_AT, 1);
            berth.add(8, index as u64);
        }
        let file = std::fs::read(&path).unwrap();
        assert_eq!(in_use(&file), (0..64).collect::<Vec<u64>>());
        let header: Vec<u64> = (0..48).step_by(8).map(|at| word(&file, at)).collect();
        assert_eq!(header, [LAYOUT.magic, 2, u64::from(std::process::id()), 5, 64, 128]);
        let refusal = sheet.berth().unwrap_err().to_string();
        assert!(refusal.ends_with("status: all of its 64 slots are in use"), "{refusal}");
    }

    #[test]
    fn a_slot_given_back_serves_the_next_without_a_trace() {
        let dir = tempfile::tempdir().unwrap();
        let (mut sheet, path) = sheet(dir.path());
        let (one, two) = (sheet.berth().unwrap(), sheet.berth().unwrap());
        for berth in [&one, &two] {
            berth.store(STATE_AT, 1);
            berth.store_text(16, &mapped_text::words(b"secret", 40));
        }
        sheet.give_back(&one);
        let again = sheet.berth().unwrap();
        again.store(STATE_AT, 1);
        let file = std::fs::read(&path).unwrap();
        let texts: Vec<_> = LAYOUT.slots(&file).unwrap().map(|slot| mapped_text::text(slot, 16, 40)).collect();
        assert_eq!(texts, [None, Some(b"secret".to_vec())]);
    }

    #[test]
    fn other_versions_and_damage_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let (mut sheet, path) = sheet(dir.path());
        sheet.berth().unwrap().store(STATE_AT, 1);
        let good = std::fs::read(&path).unwrap();
        let with = |words: &[(usize, u64)]| {
            let mut file = good.clone();
            for (at, word) in words {
                file[*at..at + 8].copy_from_slice(&word.to_ne_bytes());
            }
            LAYOUT.slots(&file).map(Iterator::count)
        };
        assert_eq!((with(&[]), with(&[(VERSION_AT, 1), (SLOT_BYTES_AT, 64)])), (Ok(1), Ok(1)));
        assert_eq!(with(&[(VERSION_AT, 3)]), Err(Unreadable::Version(3)));
        for (at, word) in
            [(0, 0), (VERSION_AT, 0), (VERSION_AT, 1), (SLOTS_AT, 33), (SLOTS_AT, u64::MAX), (SLOT_BYTES_AT, 256)]
        {
            assert_eq!(with(&[(at, word)]), Err(Unreadable::Damaged), "{at} {word}");
        }
        for len in [0, 7, 4095, good.len() - 1] {
            assert_eq!(LAYOUT.slots(&good[..len]).map(Iterator::count), Err(Unreadable::Damaged), "{len}");
        }
    }

    #[test]
    fn a_text_that_is_being_written_is_waited_for_but_not_for_long() {
        let dir = tempfile::tempdir().unwrap();
        let (_, path) = sheet(dir.path());
        for whole_at in [1, 2, 9] {
            let looks = std::cell::Cell::new(0);
            let open = || File::open(&path).cannot("open", &path);
            let decode = |_: &[u8]| Ok(looks.replace(looks.get() + 1));
            LAYOUT.read(&path, open, decode, |_| looks.get() == whole_at).unwrap();
            assert_eq!(looks.get(), whole_at.min(LOOKS_MAX));
        }
    }
}
