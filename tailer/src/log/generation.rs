//! A generation: one life of one inode, from its first byte to the truncation or the end of the file.
//!
//! Where it begins for us, how long its file is, and how far it was read are told by what it is made of.

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
use crate::log::beginning::Beginning;
use crate::log::blank::without_blank;
use crate::log::cursor::Cursor;
use crate::log::extent::Extent;
use crate::log::finish::{Facts, ask_again_after, judge};
use crate::log::happening::{Happening, Truncation};
use crate::log::life::{Hand, Life};
use crate::log::memory::{Memory, read_up_to};
use crate::log::notes::Notes;
use crate::log::settings::Settings;
use crate::log::trouble::Trouble;
use crate::log::twins::KnownHead;
use crate::out::lines::GenerationId;

/// What is known of those who write to a file.
#[derive(Clone, Copy, Debug, Default)]
struct Asked {
    /// How often the kernel was asked since it grew.
    times: u32,
    /// Not again before. `None`: at once.
    next: Option<Instant>,
    /// The last answer.
    writers: Option<Writers>,
    /// When one was last seen to close it.
    closed: Option<Instant>,
    /// It is a copy that was complete before it was found: nobody adds to it.
    is_complete: bool,
}

/// One life of one inode.
#[derive(Debug)]
pub struct Generation {
    id: GenerationId,
    /// Which life of which inode.
    origin: Origin,
    /// The inode that its bytes are read from: that of its origin, or a copy of it.
    inode: Identity,
    /// Where that was last seen.
    path: PathBuf,
    has_name: bool,
    /// When it lost the live name. `None`: it has it.
    rotated: Option<Instant>,
    life: Life,
    cursor: Cursor,
    beginning: Beginning,
    extent: Extent,
    asked: Asked,
    /// Why it cannot be read now.
    trouble: Option<Trouble>,
}

impl Generation {
    /// A generation that is read from its first byte.
    pub fn new(id: GenerationId, origin: Origin, path: PathBuf, hand: Hand, now: Instant) -> Generation {
        Generation {
            id,
            origin,
            inode: origin.identity,
            path,
            has_name: true,
            rotated: Some(now),
            life: Life::new(hand),
            cursor: Cursor::default(),
            beginning: Beginning::default(),
            extent: Extent::new(now),
            asked: Asked::default(),
            trouble: None,
        }
    }

    /// One that a checkpoint says, whose file is not open.
    pub(crate) fn restored(id: GenerationId, saved: &GenerationState, path: PathBuf, now: Instant) -> Generation {
        let cursor = Cursor::restored(saved.offset, saved.into(), saved.last_line_hash);
        Generation { cursor, ..Generation::new(id, saved.origin, path, Hand::Parked, now) }
    }

    /// The life that begins where the file of this one was truncated.
    pub(crate) fn next_life(&self, id: GenerationId, now: Instant) -> Generation {
        let origin = Origin { epoch: self.origin.epoch + 1, ..self.origin };
        Generation { rotated: self.rotated, ..Generation::new(id, origin, self.path.clone(), Hand::Parked, now) }
    }

    /// Its number in this run.
    pub fn id(&self) -> GenerationId {
        self.id
    }

    /// Which life of which inode.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// The inode that its bytes are read from.
    pub fn inode(&self) -> Identity {
        self.inode
    }

    /// Where that was last seen.
    pub fn path(&self) -> &PathBuf {
        &self.path
    }

    /// What becomes of it.
    pub fn life(&self) -> &Life {
        &self.life
    }

    pub(crate) fn life_mut(&mut self) -> &mut Life {
        &mut self.life
    }

    /// How far it is.
    pub fn cursor(&self) -> &Cursor {
        &self.cursor
    }

    pub(crate) fn cursor_mut(&mut self) -> &mut Cursor {
        &mut self.cursor
    }

    pub(crate) fn beginning(&self) -> &Beginning {
        &self.beginning
    }

    pub(crate) fn beginning_mut(&mut self) -> &mut Beginning {
        &mut self.beginning
    }

    /// How long its file is.
    pub fn extent(&self) -> &Extent {
        &self.extent
    }

    pub(crate) fn extent_mut(&mut self) -> &mut Extent {
        &mut self.extent
    }

    /// Its open file, how long that is, and how far it was read.
    pub(crate) fn parts(&mut self) -> Option<(&File, &mut Extent, &Cursor)> {
        let Hand::Open(file) = self.life.hand() else { return None };
        Some((file, &mut self.extent, &self.cursor))
    }

    /// Why it cannot be read now.
    pub(crate) fn trouble(&self) -> Option<Errno> {
        self.trouble.map(|trouble| trouble.errno)
    }

    pub(crate) fn has_name(&self) -> bool {
        self.has_name
    }

    /// What the kernel said of its writers.
    pub fn writers(&self) -> Option<Writers> {
        self.asked.writers
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
            Hand::Parked => self.extent.size().max(self.extent.longest()).max(self.seen()),
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
        self.life.is_over() && !self.cursor.has_open_line()
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
        let is_at_rest = may_break || (self.extent.at_end().is_some() && self.is_delivered());
        let may_come_back = self.life.is_reading() && self.has_name && is_at_rest;
        let is_read = self.life.is_over() && self.cursor.held().is_empty();
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
                self.ask_anew();
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
        self.extent.reopen();
    }

    /// What it is read from; it is none of ours.
    pub(crate) fn into_file(self) -> (Identity, PathBuf, Life) {
        (self.inode, self.path, self.life)
    }

    /// Its file is a copy that was found under a name. `is_complete`: that was made before it was truncated.
    pub(crate) fn go_on_in_copy(&mut self, is_complete: bool, now: Instant) {
        debug_assert!(self.life.is_reading() && !self.is_parked(), "it was found, and is open");
        self.extent.begin_anew(now);
        self.has_name = true;
        self.asked.is_complete = is_complete;
    }

    /// No file of it is left.
    pub(crate) fn give_up(&mut self) {
        debug_assert!(self.is_sought(), "nothing else is given up");
        self.life.finish();
        self.has_name = false;
    }

    /// Its file was last seen at this path.
    pub(crate) fn set_path(&mut self, path: &Path) {
        self.path = path.to_path_buf();
    }

    /// Its file has this number.
    pub(crate) fn renumber(&mut self, inode: Identity) {
        self.inode = inode;
    }

    /// It begins here for us, and what it has before was delivered.
    pub(crate) fn begin_behind(&mut self, offset: u64, memory: Memory, now: Instant) {
        debug_assert!(self.is_live() && self.is_delivered(), "nothing of it is on its way");
        self.beginning.see(None);
        self.cursor.begin_at(offset, memory);
        self.extent.grow(now);
    }

    /// A writer closed its file.
    pub(crate) fn closed(&mut self, now: Instant) {
        self.asked.closed = Some(now);
        (self.asked.times, self.asked.next) = (0, None);
        self.extent.unsettle();
    }

    /// What the kernel said of its writers counts no more.
    pub(crate) fn ask_anew(&mut self) {
        let Asked { closed, is_complete, .. } = self.asked;
        self.asked = Asked { closed, is_complete, ..Asked::default() };
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
        self.extent.reopen();
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
        let is_same = self.extent.at_end() == Some(stamp);
        if self.extent.see(stamp, now) {
            let next = self.asked.next;
            self.ask_anew();
            self.asked.next = next;
        }
        Ok(!is_same || self.is_written_over())
    }

    /// Whether something stands where its zeros began. Who writes through a mapping of the file changes neither its size
    /// nor, page by page, its time.
    pub fn is_written_over(&self) -> bool {
        let mut byte = [0];
        let file = self.file().filter(|_| self.blank_bytes() > 0);
        file.is_some_and(|file| matches!(read_up_to(file, &mut byte, self.seen()), Ok(1)) && byte != [0])
    }

    /// How long it was when it ended, as far as is known.
    pub(crate) fn known_size(&self) -> Option<u64> {
        self.extent.known_size(self.seen())
    }

    /// How many zeros it ends in that are not read, for something may be written over them.
    pub fn blank_bytes(&self) -> u64 {
        self.extent.blank_bytes(self.seen())
    }

    /// What decides whether it is finished.
    pub fn facts(&self, now: Instant) -> Facts {
        let rotated = self.rotated.unwrap_or(now);
        Facts {
            is_live: self.is_live(),
            writers: self.asked.writers,
            was_closed: self.asked.closed.is_some_and(|closed| closed >= self.extent.grown()),
            has_name: self.has_name,
            is_inside_line: self.cursor.put() < self.extent.size(),
            quiet: now.saturating_duration_since(rotated.max(self.extent.grown())),
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
        debug_assert!(!self.is_live(), "who writes to the live one does not matter");
        let Hand::Open(file) = self.life.hand() else {
            let answer = if self.is_packed() { Writers::Nobody } else { Writers::Unknown };
            self.asked.writers.get_or_insert(answer);
            return;
        };
        if self.asked.next.is_some_and(|next| now < next) {
            return;
        }
        self.asked.writers = Some(match writers(file) {
            Writers::Unknown if self.asked.is_complete => Writers::Nobody,
            answer => answer,
        });
        self.asked.times += 1;
        let closed = self.asked.closed.map(|closed| now.saturating_duration_since(closed));
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

    /// How much of what it begins with is known, without looking.
    pub(crate) fn known_head(&self) -> KnownHead {
        let first_bytes = self.beginning.first().map_or(0, <[u8]>::len);
        KnownHead { read_bytes: self.cursor.read().min(GUARD_BYTES_MAX as u64), seen: Head::level_of(first_bytes) }
    }

    /// What it begins with, also where that was not read yet: by that it is known again in a copy.
    pub(crate) fn head(&self) -> Head {
        let known = self.cursor.memory().head();
        let Hand::Open(file) = self.life.hand() else { return known };
        if known.is_whole() || self.extent.at_end().is_some() {
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
        self.is_live()
            && self.seen() == 0
            && self.extent.size() > 0
            && self.beginning.first().is_none()
            && self.file().is_some()
    }

    /// Reads its first bytes, if none was read before; whether there are some.
    pub fn peek(&mut self) -> bool {
        if !self.is_live() || self.seen() > 0 {
            return false;
        }
        let mut bytes = vec![0; GUARD_BYTES_MAX];
        let first = match self.file().map(|file| read_up_to(file, &mut bytes, 0)) {
            None | Some(Ok(0)) => None,
            // Zeros may be a hole: the read that follows finds out, as it does of an error.
            Some(Ok(read)) => Some(bytes[..memchr(0, &bytes[..read]).unwrap_or(read)].to_vec()),
            Some(Err(_)) => Some(Vec::new()),
        };
        self.begin_with(first);
        self.beginning.first().is_some()
    }

    /// Forgets the first bytes if they are not there any more: a copy of them may be on the list already.
    pub fn confirm_first(&mut self) {
        let Some(first) = self.beginning.first() else { return };
        let mut bytes = vec![0; first.len()];
        let read = self.file().map(|file| read_up_to(file, &mut bytes, 0));
        if matches!(read, Some(Ok(_))) && bytes != first {
            self.begin_with(None);
        }
    }

    /// How long it was before these first bytes says nothing of the life that they begin.
    fn begin_with(&mut self, first: Option<Vec<u8>>) {
        self.beginning.see(first);
        let len = self.file().and_then(|file| file.metadata().ok()).map_or(0, |metadata| metadata.len());
        self.extent.begin(len);
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

    /// The same, and it is not said before that is given up.
    pub(crate) fn fail_silently(&mut self, errno: Errno, now: Instant) {
        self.trouble = Some(Trouble::after(self.trouble, errno, now));
    }

    /// It is not waited for: nothing more of it is read. Why.
    pub(crate) fn give_up_waiting(&mut self) -> Errno {
        self.life.finish();
        self.trouble.take().map_or(Errno::ENOENT, |trouble| trouble.errno)
    }

    /// Whether it is not to be tried yet.
    pub fn must_wait(&self, now: Instant) -> bool {
        self.trouble.is_some_and(|trouble| trouble.retry.until(now).is_some())
    }

    /// Whether it is the live one, some of its end is gone, and that may come back.
    pub(crate) fn is_cut(&self) -> bool {
        self.is_live() && self.cursor.read() > 0 && self.beginning.doubt().is_some()
    }

    /// Whether it is the live one, has something, and where it begins for us is not decided.
    pub(crate) fn is_unplaced(&self) -> bool {
        let has_bytes = self.beginning.first().is_some_and(|first| !first.is_empty());
        self.is_live() && !self.beginning.is_decided() && self.seen() == 0 && has_bytes && self.file().is_some()
    }
}
