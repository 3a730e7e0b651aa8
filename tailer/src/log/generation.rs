//! A generation: one life of one inode, from its first byte to the truncation or the end of the file.
//!
//! Of a file of which nothing was read nobody can tell whether it was truncated. So a look sees its first bytes, then goes
//! through the files around it, and only what still stands there after that is given.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use memchr::memchr;
use nix::errno::Errno;

use crate::checkpoint::state::GenerationState;
use crate::file::guard::{GUARD_BYTES_MAX, Head};
use crate::file::identity::{Identity, Origin};
use crate::file::lease::Writers;
use crate::file::open::{Stamp, errno};
use crate::log::blank::{Blank, without_blank};
use crate::log::cursor::Cursor;
use crate::log::finish::{Facts, ask_again_after, judge};
use crate::log::happening::{Happening, Truncation};
use crate::log::life::{Course, Hand, Life};
use crate::log::memory::{Memory, read_up_to};
use crate::log::notes::Notes;
use crate::log::replaced::Doubt;
use crate::log::settings::Settings;
use crate::log::trouble::Trouble;
use crate::log::twin::Twin;
use crate::out::lines::GenerationId;

/// What the kernel was asked about its writers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked {
    /// How often since it grew.
    pub times: u32,
    /// Not again before. `None`: at once.
    pub next: Option<Instant>,
    /// The last answer.
    pub writers: Option<Writers>,
}

/// One life of one inode.
#[derive(Debug)]
pub struct Generation {
    /// Its number in this run.
    pub id: GenerationId,
    /// Which life of which inode.
    pub origin: Origin,
    /// The inode that its bytes are read from: that of its origin, or a copy of it.
    pub inode: Identity,
    /// Where that was last seen.
    pub path: PathBuf,
    /// What becomes of it.
    pub life: Life,
    /// How far it is.
    pub cursor: Cursor,
    /// What stood at its beginning when it was last looked at, as long as nothing of it was given. `None`: nothing did.
    pub first: Option<Vec<u8>>,
    /// Where it begins for us is decided.
    pub is_placed: bool,
    /// It cannot be decided yet.
    pub(crate) doubt: Option<Doubt>,
    /// So far it holds nothing but what another log begins with.
    pub(crate) twin: Option<Twin>,
    /// Zeros before this offset are what a truncation left.
    pub zeros_until: u64,
    /// The zeros behind `seen`.
    pub blank: Blank,
    /// How much was taken of a packed file that gave nothing.
    pub unyielding: u64,
    /// When the file was last looked at before a read that found its end.
    pub at_end: Option<Stamp>,
    /// How long the file was at the last look.
    pub size: u64,
    /// How long this life ever was: after a size was seen, what had been read still stood there.
    pub longest: u64,
    /// It has a name.
    pub has_name: bool,
    /// When it lost the live name. `None`: it has it.
    pub rotated: Option<Instant>,
    /// When it was last seen to have grown.
    pub grown: Instant,
    /// When a writer was last seen to close it.
    pub closed: Option<Instant>,
    /// The kernel about its writers.
    pub asked: Asked,
    /// Its bytes are in a copy that was complete before it was found: nobody adds to it.
    pub is_complete: bool,
    /// Why it cannot be read now.
    pub trouble: Option<Trouble>,
}

impl Generation {
    /// A generation that is read from its first byte.
    pub fn new(id: GenerationId, origin: Origin, path: PathBuf, hand: Hand, now: Instant) -> Generation {
        Generation {
            id,
            origin,
            inode: origin.identity,
            path,
            life: Life::new(hand),
            cursor: Cursor::default(),
            first: None,
            is_placed: false,
            doubt: None,
            twin: None,
            zeros_until: 0,
            blank: Blank::default(),
            unyielding: 0,
            at_end: None,
            size: 0,
            longest: 0,
            has_name: true,
            rotated: Some(now),
            grown: now,
            closed: None,
            asked: Asked::default(),
            is_complete: false,
            trouble: None,
        }
    }

    /// The same from an offset on, of which `memory` is.
    #[must_use]
    pub fn starting_at(mut self, offset: u64, memory: Memory) -> Generation {
        self.cursor.begin_at(offset, memory);
        self
    }

    /// Offset behind the last byte that was read.
    pub fn seen(&self) -> u64 {
        self.cursor.seen()
    }

    /// Longer it is not.
    pub fn bytes_max(&self) -> u64 {
        match self.life.hand() {
            Hand::Open(file) => file.metadata().map_or(u64::MAX, |metadata| metadata.len()),
            Hand::Unpacking(_) => u64::MAX,
            Hand::Parked => self.size.max(self.longest).max(self.seen()),
        }
    }

    /// Whether it has the live name.
    pub fn is_live(&self) -> bool {
        self.rotated.is_none()
    }

    /// Whether its file is gone, or begins anew, and the rest is looked for.
    pub fn is_sought(&self) -> bool {
        self.life.is_sought()
    }

    /// Whether nothing of it is on its way.
    pub fn is_delivered(&self) -> bool {
        self.cursor.is_delivered()
    }

    /// Whether it was read to its end, all of it is put, and its end is final.
    pub fn is_concluded(&self) -> bool {
        self.life.course() == Course::Over && !self.cursor.has_open_line()
    }

    /// The same, and all of it is delivered.
    pub fn is_over(&self) -> bool {
        self.is_concluded() && self.is_delivered()
    }

    /// Whether it waits for nothing but more bytes.
    pub fn is_at_rest(&self) -> bool {
        self.life.is_reading() && self.trouble.is_none() && self.is_delivered()
    }

    /// Whether its file is open.
    pub fn is_open(&self) -> bool {
        !matches!(self.life.hand(), Hand::Parked)
    }

    /// Whether its bytes are unpacked.
    pub fn is_packed(&self) -> bool {
        matches!(self.life.hand(), Hand::Unpacking(_))
    }

    /// Whether it was closed to be opened again.
    pub fn is_parked(&self) -> bool {
        matches!(self.life.hand(), Hand::Parked) && self.life.is_reading()
    }

    /// Whether its file may be closed: it was read to its end, or `may_break`, and can be found again; or nothing is left.
    pub fn may_park(&self, may_break: bool) -> bool {
        let is_at_rest = may_break || (self.at_end.is_some() && self.is_delivered());
        let may_come_back = self.life.is_reading() && self.has_name && is_at_rest;
        let is_read = self.life.course() == Course::Over && self.cursor.held().is_empty();
        self.file().is_some() && (may_come_back || is_read)
    }

    /// The open file, unless its bytes are packed.
    pub fn file(&self) -> Option<&File> {
        match self.life.hand() {
            Hand::Open(file) => Some(file),
            _ => None,
        }
    }

    /// Gives the descriptor back; it is opened again when the file grew.
    pub fn park(&mut self) {
        self.cursor.park();
        self.life.park();
    }

    /// It has another name, or another file has its name.
    pub fn rename(&mut self, is_live: bool, now: Instant) {
        match (is_live, self.rotated) {
            (true, _) => self.rotated = None,
            (false, None) => {
                self.rotated = Some(now);
                self.asked = Asked::default();
            }
            (false, Some(_)) => {}
        }
    }

    /// It has the live name again, at this path.
    pub fn come_back(&mut self, path: &Path, now: Instant) {
        self.rename(true, now);
        self.path = path.to_path_buf();
        self.life.come_back();
    }

    /// Its bytes are read from another file from now on, which has the same before the offset.
    pub(crate) fn move_to(&mut self, inode: Identity, path: PathBuf, life: Life) {
        if let Hand::Open(file) = life.hand()
            && let Some(memory) = self.cursor.memory().same_in(file, self.cursor.read())
        {
            self.cursor.know(memory);
        }
        (self.inode, self.path, self.life) = (inode, path, life);
        self.blank = Blank::default();
    }

    /// Goes on in a file that was opened again; `true`: it is not what it was.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn resume(&mut self, file: File) -> Result<bool, Errno> {
        let is_another = match Memory::of_file(&file, self.cursor.read()).map_err(|error| errno(&error))? {
            Some(memory) if self.cursor.memory().is_same(&memory) => {
                self.cursor.know(memory);
                None
            }
            Some(_) => Some(Truncation::ContentChanged),
            None => Some(Truncation::SizeDecreased),
        };
        self.at_end = None;
        self.blank = Blank::default();
        self.life.go_on(Hand::Open(file));
        if let Some(truncation) = is_another {
            self.life.cut(truncation);
        }
        Ok(is_another.is_some())
    }

    /// Looks at the open file; `Ok(true)`: it changed since its end was reached.
    pub fn has_changed(&mut self, now: Instant) -> Result<bool, Errno> {
        let Hand::Open(file) = self.life.hand() else { return Ok(true) };
        let metadata = file.metadata().map_err(|error| errno(&error))?;
        let stamp = Stamp::from(&metadata);
        self.has_name = metadata.nlink() > 0;
        if stamp.size > self.size {
            self.grown = now;
            self.asked = Asked { next: self.asked.next, ..Asked::default() };
        }
        self.size = stamp.size;
        self.blank.cut(stamp.size);
        let is_same = self.at_end == Some(stamp) && !self.is_written_over();
        self.at_end = Some(stamp);
        Ok(!is_same)
    }

    /// Whether something stands where its zeros began. Who writes through a mapping of the file changes neither its size
    /// nor, page by page, its time.
    pub fn is_written_over(&self) -> bool {
        let mut byte = [0];
        let file = self.file().filter(|_| self.blank_bytes() > 0);
        file.is_some_and(|file| matches!(read_up_to(file, &mut byte, self.seen()), Ok(1)) && byte != [0])
    }

    /// The size that was seen last was one of this life, not of one that began anew.
    pub fn confirm_size(&mut self) {
        self.longest = self.longest.max(self.size);
    }

    /// How long it was when it ended, as far as is known.
    pub fn known_size(&self) -> Option<u64> {
        let seen = self.seen();
        let size = if self.blank.covers(seen, self.longest) { seen } else { self.longest.max(seen) };
        (size > 0).then_some(size)
    }

    /// How many zeros it ends in that are not read, for something may be written over them.
    pub fn blank_bytes(&self) -> u64 {
        let seen = self.seen();
        if self.blank.covers(seen, self.size) { self.size - seen } else { 0 }
    }

    /// What decides whether it is finished.
    pub fn facts(&self, now: Instant) -> Facts {
        let rotated = self.rotated.unwrap_or(now);
        Facts {
            is_live: self.is_live(),
            writers: self.asked.writers,
            was_closed: self.closed.is_some_and(|closed| closed >= self.grown),
            has_name: self.has_name,
            is_inside_line: self.cursor.put() < self.size,
            quiet: now.saturating_duration_since(rotated.max(self.grown)),
            rotated: now.saturating_duration_since(rotated),
        }
    }

    /// When something is to be done with it though nothing happens to it. `None`: never.
    pub fn next_look(&self, settings: &Settings, now: Instant) -> Option<Instant> {
        // What is due and was not tried waits for something else: for room, or for a descriptor.
        if let Some(trouble) = self.trouble {
            return trouble.retry.until(now);
        }
        self.rotated.filter(|_| self.life.is_reading() && self.is_open())?;
        let (_, left) = judge(&self.facts(now), settings);
        let asked = self.asked.next.filter(|next| *next > now);
        left.map(|left| now + left).into_iter().chain(asked).min()
    }

    /// Asks who can write to it, if that is due.
    pub fn ask(&mut self, writers: fn(&File) -> Writers, now: Instant) {
        let Hand::Open(file) = self.life.hand() else {
            let answer = if self.is_packed() { Writers::Nobody } else { Writers::Unknown };
            self.asked.writers.get_or_insert(answer);
            return;
        };
        if self.asked.next.is_some_and(|next| now < next) {
            return;
        }
        self.asked.writers = Some(match writers(file) {
            Writers::Unknown if self.is_complete => Writers::Nobody,
            answer => answer,
        });
        self.asked.times += 1;
        let closed = self.closed.map(|closed| now.saturating_duration_since(closed));
        self.asked.next = Some(now + ask_again_after(self.asked.times, closed));
    }

    /// What a checkpoint says of it.
    pub fn state(&self) -> GenerationState {
        let (offset, guard) = self.cursor.delivered_guard(self.file());
        let last_line_hash = self.cursor.line_hash_at(offset);
        GenerationState {
            origin: self.origin,
            copy: (self.inode != self.origin.identity).then_some(self.inode),
            offset,
            guard,
            last_line_hash,
            head: self.head(),
        }
    }

    /// Whether a file that begins with these bytes may be a copy of it, as far as is known.
    pub fn may_begin_with(&self, bytes: &[u8]) -> bool {
        let fits = self.cursor.remembered().head_fits(bytes).or_else(|| self.head().fits(bytes));
        fits != Some(false)
    }

    /// What it begins with, also where that was not read yet: by that it is known again in a copy.
    fn head(&self) -> Head {
        let known = self.cursor.memory().head();
        let Hand::Open(file) = self.life.hand() else { return known };
        if known.is_whole() || self.at_end.is_some() {
            return known;
        }
        let mut bytes = vec![0; GUARD_BYTES_MAX];
        let read = read_up_to(file, &mut bytes, 0).unwrap_or_default();
        // What was truncated meanwhile is another life.
        let is_this = self.cursor.memory().head_fits(&bytes[..read]) != Some(false);
        if is_this { known.or(Head::of(without_blank(&bytes[..read]))) } else { known }
    }

    /// Whether a look has to see its first bytes before they are given: a truncation would not show.
    pub fn wants_peek(&self) -> bool {
        self.is_live() && self.seen() == 0 && self.size > 0 && self.first.is_none() && self.file().is_some()
    }

    /// Reads its first bytes, if none was read before; whether there are some.
    pub fn peek(&mut self) -> bool {
        if !self.is_live() || self.seen() > 0 {
            return false;
        }
        let mut bytes = vec![0; GUARD_BYTES_MAX];
        self.first = match self.file().map(|file| read_up_to(file, &mut bytes, 0)) {
            None | Some(Ok(0)) => None,
            // Zeros may be a hole: the read that follows finds out, as it does of an error.
            Some(Ok(read)) => Some(bytes[..memchr(0, &bytes[..read]).unwrap_or(read)].to_vec()),
            Some(Err(_)) => Some(Vec::new()),
        };
        self.begin_length();
        self.first.is_some()
    }

    /// Forgets the first bytes if they are not there any more: a copy of them may be on the list already.
    pub fn confirm_first(&mut self) {
        let Some(first) = &self.first else { return };
        let mut bytes = vec![0; first.len()];
        let read = self.file().map(|file| read_up_to(file, &mut bytes, 0));
        if matches!(read, Some(Ok(_))) && bytes != *first {
            self.first = None;
            self.begin_length();
        }
    }

    /// How long it was before these first bytes says nothing of the life that they begin.
    fn begin_length(&mut self) {
        self.longest = self.file().and_then(|file| file.metadata().ok()).map_or(0, |metadata| metadata.len());
    }

    /// Its file could not be opened or read.
    pub fn fail(&mut self, errno: Errno, now: Instant, notes: &mut Notes) {
        let is_new = self.trouble.is_none_or(|trouble| trouble.errno != errno);
        let trouble = Trouble::after(self.trouble, errno, now);
        self.trouble = Some(trouble);
        if is_new {
            notes.tell(Happening::OpenError { path: self.path.clone(), errno });
            notes.tell(Happening::Retry { after: trouble.retry.wait() });
        }
    }

    /// Its file was read.
    pub fn recover(&mut self, notes: &mut Notes) {
        if self.trouble.take().is_some() {
            notes.tell(Happening::Recovered { path: self.path.clone() });
        }
    }

    /// Its file changed: what failed may go now.
    pub fn try_again(&mut self, now: Instant) {
        if let Some(trouble) = &mut self.trouble {
            trouble.retry.hasten(now);
        }
    }

    /// Whether it is not to be tried yet.
    pub fn must_wait(&self, now: Instant) -> bool {
        self.trouble.is_some_and(|trouble| trouble.retry.until(now).is_some())
    }

    /// Whether it is the live one, some of its end is gone, and that may come back.
    pub(crate) fn is_cut(&self) -> bool {
        self.is_live() && !self.is_placed && self.cursor.read() > 0 && self.doubt.is_some()
    }

    /// Whether it is the live one, has something, and where it begins for us is not decided.
    pub(crate) fn is_unplaced(&self) -> bool {
        let has_bytes = self.first.as_ref().is_some_and(|first| !first.is_empty());
        self.is_live() && !self.is_placed && self.seen() == 0 && has_bytes && self.file().is_some()
    }
}
