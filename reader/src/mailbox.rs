//! The mailbox: where a chunk is from the moment it leaves the pipe until it stands in the log.
//!
//! A preallocated file mapped `MAP_SHARED`, so its pages belong to the kernel and outlive this process. `read(2)` moves
//! the bytes from the pipe into them in one system call; whoever dies afterwards loses nothing. One word says how far
//! all the rest is to be believed:
//!
//! | word | what it promises |
//! |---|---|
//! | EMPTY | the data area is all fill |
//! | ARMED | the record is whole; the data area is fill, or holds what one read brought |
//! | FULL(n) | record and `n` bytes of data are whole; the part has none, some or all of them |
//! | DONE | the part has them all |
//!
//! Invariants: the fill is made of bytes that UTF-8 text never contains, so that what a read brought shows without a
//! word about it; the word is stored by [`Mapping::store_word`] alone, everything it speaks of before it.
//! Not here: what to do with a word found at start ([`crate::recovery`]), and where the bytes go
//! ([`crate::segment`]).

use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

use nix::errno::Errno;
use standpipe_common::boot::{self, BOOT_ID_BYTES};
use standpipe_common::error::{Cannot, Error, Result};
use standpipe_common::fifo::Identity;
use standpipe_common::sys::{Mapping, PAGE_BYTES};
use standpipe_common::{own, seam};

use crate::disk::{self, Dir, FileMode};
use crate::record::Record;

/// Most bytes of one chunk: what a pipe holds that an unprivileged user may have.
pub const DATA_BYTES_MAX: usize = 1 << 20;

/// Names of mailboxes in a log root: this and a number.
pub const NAME_PREFIX: &str = ".mailbox-";

const MAGIC: &[u8; 8] = b"mailbox\n";
const VERSION: u32 = 1;
const MAGIC_AT: usize = 0;
const VERSION_AT: usize = 8;
const DATA_BYTES_AT: usize = 12;
const BOOT_AT: usize = 16;
const ROOT_AT: usize = 56;
const WORD_AT: usize = 128;
const RECORD_AT: usize = 192;
const FILL_AT: usize = PAGE_BYTES;
const DATA_START: usize = 2 * PAGE_BYTES;

/// The bytes that UTF-8 never has: C0, C1, F5 to FF.
const NEVER_IN_TEXT: [u8; 13] = [0xC0, 0xC1, 0xF5, 0xF6, 0xF7, 0xF8, 0xF9, 0xFA, 0xFB, 0xFC, 0xFD, 0xFE, 0xFF];

/// How far a chunk has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nothing is on its way.
    Empty,
    /// A read may have happened.
    Armed,
    /// A read brought so many bytes.
    Full(usize),
    /// They stand in the part.
    Done,
}

/// Where and when a mailbox is valid: the log root and the boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    /// Device and inode of the log root.
    pub root: Identity,
    /// The boot, as [`standpipe_common::boot::id`] gives it.
    pub boot: String,
}

/// Why the content of a mailbox cannot be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// Its maker died before it was done; nothing was ever read into it.
    Unfinished,
    /// It is no mailbox, or not whole.
    Damaged,
    /// A later program wrote it.
    Version(u32),
    /// Its log root was copied or moved to another file system.
    OtherRoot,
    /// After a power cut header and data are of different moments.
    OtherBoot,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unfit::Unfinished => f.write_str("it was never finished"),
            Unfit::Damaged => f.write_str("it is damaged"),
            Unfit::Version(version) => write!(f, "it has version {version}; this reader knows {VERSION}"),
            Unfit::OtherRoot => f.write_str("it belongs to another log root"),
            Unfit::OtherBoot => f.write_str("it is from another boot"),
        }
    }
}

/// One mailbox, mapped.
#[derive(Debug)]
pub struct Mailbox {
    name: String,
    map: Mapping,
}

impl Mailbox {
    /// Makes a new one, EMPTY, with room for chunks of `data_bytes`, all of it allocated: the file `file` of `dir`,
    /// called `name` in the log root.
    ///
    /// # Errors
    /// No room; or a file system without shared mappings, which the sentence says.
    pub fn create(dir: &Dir, file: &str, name: &str, home: &Home, data_bytes: usize) -> Result<Mailbox> {
        assert!(is_size(data_bytes), "a data area of {data_bytes} bytes");
        let path = dir.path_of(file);
        let file_bytes = DATA_START + data_bytes;
        let fresh = dir.create(file, FileMode { mode: 0o600, group: None })?;
        let made = (|file: &File| {
            disk::allocate(file, file_bytes).map_err(|error| no_room(dir, &path, file_bytes, error))?;
            let mut mailbox = Mailbox { name: name.to_owned(), map: map(dir, &path, file, file_bytes)? };
            mailbox.make_writable().map_err(|error| no_room(dir, &path, file_bytes, error))?;
            mailbox.write_header(home).cannot("create mailbox", &path)?;
            Ok(mailbox)
        })(&fresh);
        if made.is_err() {
            own::remove_this(&path, &fresh).ok();
        }
        made
    }

    /// Maps one that is there, as [`Mailbox::create`]. `Err` inside: why its content cannot be believed.
    pub fn open(
        dir: &Dir,
        file: impl AsRef<OsStr>,
        name: &str,
        home: &Home,
    ) -> Result<std::result::Result<Mailbox, Unfit>> {
        let path = dir.path_of(&file);
        let file = dir.open_write(file)?;
        let file_bytes = match judge(&file, home).cannot("read mailbox", &path)? {
            Ok(file_bytes) => file_bytes,
            Err(unfit) => return Ok(Err(unfit)),
        };
        let mailbox = Mailbox { name: name.to_owned(), map: map(dir, &path, &file, file_bytes)? };
        Ok(if mailbox.phase().is_some() { Ok(mailbox) } else { Err(Unfit::Damaged) })
    }

    /// Its name in the log root.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Most bytes of a chunk of its.
    pub fn data_bytes(&self) -> usize {
        self.map.bytes().len() - DATA_START
    }

    /// How far its chunk has come. `None`: the word is none of ours.
    pub fn phase(&self) -> Option<Phase> {
        decode_word(self.map.load_word(WORD_AT), self.data_bytes())
    }

    /// The record that goes with ARMED and FULL. `None`: a field is impossible.
    pub fn record(&self) -> Option<Record> {
        Record::decode(&self.map.bytes()[RECORD_AT..FILL_AT]).filter(|record| record.want <= self.data_bytes())
    }

    /// The first `n` bytes of the data area.
    pub fn data(&self, n: usize) -> &[u8] {
        &self.map.bytes()[DATA_START..DATA_START + n]
    }

    /// The fill byte that belongs at `offset` of the data area.
    pub fn fill_at(&self, offset: usize) -> u8 {
        self.map.bytes()[FILL_AT + offset % PAGE_BYTES]
    }

    /// EMPTY to ARMED: stores the record, and makes the pages writable that the read will bring bytes to. A fault
    /// inside `read` would happen under the pipe's lock, and with it every writer would hang.
    ///
    /// # Errors
    /// There is no room for the pages; the mailbox is EMPTY again.
    pub fn arm(&mut self, record: &Record) -> io::Result<()> {
        debug_assert!(record.want <= record.queued, "a read that could wait for {} bytes", record.want);
        debug_assert!(self.phase() != Some(Phase::Empty) || self.is_filled(record.want), "EMPTY, but not all fill");
        record.encode(&mut self.map.bytes_mut()[RECORD_AT..FILL_AT]);
        debug_assert_eq!(self.record().as_ref(), Some(record), "what is read back is what was recorded");
        self.store(Phase::Armed);
        let populated = seam::pass("populate").and_then(|()| self.map.populate(0..DATA_START + record.want));
        if populated.is_err() {
            self.store(Phase::Empty);
        }
        populated
    }

    /// ARMED to FULL: moves at most `want` bytes from the pipe into the data area. Returns how many came.
    ///
    /// `want` is never more than FIONREAD said, and nobody else reads the pipe: so the kernel gives all of it, or, if
    /// we are killed before it began, nothing.
    pub fn read(&mut self, pipe: impl AsFd, want: usize) -> io::Result<usize> {
        seam::pass("read")?;
        #[cfg(any(debug_assertions, feature = "test-seams"))]
        self.stop_read_at_a_page();
        let data = &mut self.map.bytes_mut()[DATA_START..DATA_START + want];
        let read = nix::unistd::read(pipe, data);
        #[cfg(any(debug_assertions, feature = "test-seams"))]
        self.map.unprotect();
        let n = match read {
            Ok(n) => n,
            Err(Errno::EAGAIN | Errno::EINTR) => 0,
            Err(errno) => {
                self.clear(want);
                return Err(errno.into());
            }
        };
        debug_assert!(n <= want, "{n} bytes came where {want} were asked for");
        seam::pass("arrived")?;
        self.store(Phase::Full(n));
        Ok(n)
    }

    /// ARMED to FULL, of a chunk that was there already.
    pub fn found(&mut self, n: usize) {
        self.store(Phase::Full(n));
    }

    /// FULL to DONE to EMPTY: the part has the chunk. `want` bytes are filled again, however many came: a read that
    /// stopped early may have left bytes here that are still in the pipe.
    pub fn clear(&mut self, want: usize) {
        self.store(Phase::Done);
        let (header, data) = self.map.bytes_mut().split_at_mut(DATA_START);
        let fill = &header[FILL_AT..];
        for page in data[..want].chunks_mut(PAGE_BYTES) {
            page.copy_from_slice(&fill[..page.len()]);
        }
        self.store(Phase::Empty);
    }

    /// Makes all its pages writable, as far as a file system can promise that: a store into one that finds no room, as
    /// after a snapshot, is SIGBUS.
    pub fn make_writable(&self) -> io::Result<()> {
        self.map.populate(0..DATA_START + self.data_bytes())
    }

    /// Fills all of it again, whatever was there.
    pub fn clear_all(&mut self) {
        self.clear(self.data_bytes());
    }

    /// Whether the first `n` bytes of the data area are fill.
    fn is_filled(&self, n: usize) -> bool {
        let fill = &self.map.bytes()[FILL_AT..DATA_START];
        self.data(n).chunks(PAGE_BYTES).all(|page| page == &fill[..page.len()])
    }

    fn store(&mut self, phase: Phase) {
        debug_assert!(follows(self.phase(), phase), "{phase:?} after {:?}", self.phase());
        seam::pass("word").ok();
        self.map.store_word(WORD_AT, encode_word(phase));
    }

    fn write_header(&mut self, home: &Home) -> io::Result<()> {
        let (fill, data_bytes) = (random_fill()?, self.data_bytes() as u32);
        let header = self.map.bytes_mut();
        header[FILL_AT..DATA_START].copy_from_slice(&fill);
        header[VERSION_AT..VERSION_AT + 4].copy_from_slice(&VERSION.to_le_bytes());
        header[DATA_BYTES_AT..DATA_BYTES_AT + 4].copy_from_slice(&data_bytes.to_le_bytes());
        header[BOOT_AT..BOOT_AT + BOOT_ID_BYTES].copy_from_slice(&boot::bytes(&home.boot));
        header[ROOT_AT..ROOT_AT + 8].copy_from_slice(&home.root.dev.to_le_bytes());
        header[ROOT_AT + 8..ROOT_AT + 16].copy_from_slice(&home.root.ino.to_le_bytes());
        self.clear_all();
        self.map.bytes_mut()[MAGIC_AT..MAGIC_AT + 8].copy_from_slice(MAGIC);
        Ok(())
    }

    /// `STANDPIPE_TEST_STOP=OFFSET`: the copy into the data area faults at the page of that offset, as it does when
    /// writeback protects a page again while we are killed.
    #[cfg(any(debug_assertions, feature = "test-seams"))]
    fn stop_read_at_a_page(&self) {
        if let Some(offset) = std::env::var("STANDPIPE_TEST_STOP").ok().and_then(|text| text.parse::<usize>().ok()) {
            self.map.protect_page(DATA_START + offset);
        }
    }
}

/// Whether a data area may have so many bytes.
fn is_size(data_bytes: usize) -> bool {
    (PAGE_BYTES..=DATA_BYTES_MAX).contains(&data_bytes) && data_bytes.is_multiple_of(PAGE_BYTES)
}

/// The size of a mailbox file by its header, or what speaks against that, in this home.
fn judge(file: &File, home: &Home) -> io::Result<std::result::Result<usize, Unfit>> {
    let mut header = [0; PAGE_BYTES];
    let len = file.metadata()?.len();
    if len < PAGE_BYTES as u64 {
        return Ok(Err(if len == 0 { Unfit::Unfinished } else { Unfit::Damaged }));
    }
    file.read_exact_at(&mut header, 0)?;
    let u32_at = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().unwrap_or_default());
    let u64_at = |at: usize| u64::from_le_bytes(header[at..at + 8].try_into().unwrap_or_default());
    let version = u32_at(VERSION_AT);
    let data_bytes = u32_at(DATA_BYTES_AT) as usize;
    let right_size = is_size(data_bytes) && len == (DATA_START + data_bytes) as u64;
    let root = Identity { dev: u64_at(ROOT_AT), ino: u64_at(ROOT_AT + 8) };
    // The magic is written last of all, and the first record after it.
    let is_unfinished = header[MAGIC_AT..MAGIC_AT + 8] == [0; 8]
        && [0, VERSION].contains(&version)
        && header[RECORD_AT..].iter().all(|byte| *byte == 0);
    Ok(if is_unfinished {
        Err(Unfit::Unfinished)
    } else if &header[MAGIC_AT..MAGIC_AT + 8] != MAGIC {
        Err(Unfit::Damaged)
    } else if version != VERSION {
        Err(Unfit::Version(version))
    } else if !right_size {
        Err(Unfit::Damaged)
    } else if root != home.root {
        Err(Unfit::OtherRoot)
    } else if header[BOOT_AT..BOOT_AT + BOOT_ID_BYTES] != boot::bytes(&home.boot) {
        Err(Unfit::OtherBoot)
    } else {
        Ok(DATA_START + data_bytes)
    })
}

/// What the mailbox in `file` holds, told without mapping it: lane, and bytes that a read brought at least.
/// `None`: nothing, or it is no mailbox.
pub fn peek(file: &File) -> io::Result<Option<(Record, usize)>> {
    let mut header = vec![0; DATA_START];
    file.read_exact_at(&mut header, 0)?;
    if &header[MAGIC_AT..MAGIC_AT + 8] != MAGIC {
        return Ok(None);
    }
    let word = u64::from_le_bytes(header[WORD_AT..WORD_AT + 8].try_into().unwrap_or_default());
    let Some(record) = Record::decode(&header[RECORD_AT..FILL_AT]).filter(|record| record.want <= DATA_BYTES_MAX)
    else {
        return Ok(None);
    };
    let n = match decode_word(word, DATA_BYTES_MAX) {
        Some(Phase::Full(n)) => n,
        Some(Phase::Armed) => {
            let mut data = vec![0; record.want];
            file.read_exact_at(&mut data, DATA_START as u64)?;
            let fill = &header[FILL_AT..];
            data.iter().enumerate().rposition(|(at, byte)| *byte != fill[at % PAGE_BYTES]).map_or(0, |last| last + 1)
        }
        _ => 0,
    };
    Ok((n > 0).then_some((record, n)))
}

/// Whether one word may be stored after another, which is `None` where it is none of ours.
fn follows(before: Option<Phase>, phase: Phase) -> bool {
    match phase {
        Phase::Armed => matches!(before, Some(Phase::Empty | Phase::Armed)),
        Phase::Full(_) => matches!(before, Some(Phase::Armed | Phase::Full(_))),
        Phase::Done => true,
        Phase::Empty => matches!(before, Some(Phase::Done | Phase::Armed)),
    }
}

fn encode_word(phase: Phase) -> u64 {
    match phase {
        Phase::Empty => 1,
        Phase::Armed => 2,
        Phase::Full(n) => 3 | (n as u64) << 8,
        Phase::Done => 4,
    }
}

/// `None`: it is none of ours, or speaks of more than `data_bytes`.
fn decode_word(word: u64, data_bytes: usize) -> Option<Phase> {
    let n = (word >> 8) as usize;
    match (word & 0xFF, n) {
        (1, 0) => Some(Phase::Empty),
        (2, 0) => Some(Phase::Armed),
        (3, n) if n <= data_bytes => Some(Phase::Full(n)),
        (4, 0) => Some(Phase::Done),
        _ => None,
    }
}

fn random_fill() -> io::Result<Vec<u8>> {
    let mut fill = vec![0; PAGE_BYTES];
    File::open("/dev/urandom")?.read_exact(&mut fill)?;
    for byte in &mut fill {
        *byte = NEVER_IN_TEXT[usize::from(*byte) % NEVER_IN_TEXT.len()];
    }
    Ok(fill)
}

fn no_room(dir: &Dir, path: &Path, file_bytes: usize, error: io::Error) -> Error {
    let free = dir.free_bytes();
    let is_no_room = match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENOSPC | Errno::EDQUOT) => true,
        // A page that cannot be had, or a disk that cannot be read.
        Some(Errno::EFAULT) => free.as_ref().is_ok_and(|free| *free < file_bytes as u64),
        _ => false,
    };
    if !is_no_room {
        return Error::new("create mailbox", path, error);
    }
    let free = free.map_or_else(|_| "?".to_owned(), |free| free.to_string());
    Error::no_room("create mailbox", path, format!("a mailbox needs {file_bytes} bytes, but only {free} are free"))
}

fn map(dir: &Dir, path: &Path, file: &File, file_bytes: usize) -> Result<Mapping> {
    seam::pass("map").and_then(|()| Mapping::shared(file, file_bytes)).map_err(|error| {
        match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::ENODEV | Errno::EINVAL | Errno::EACCES) => {
                let magic = dir.file_system().unwrap_or(0);
                let cause = format!(
                    "its file system (type {magic:#x}) has no shared mappings; set mailbox_dir to a directory on another one"
                );
                Error::because("map mailbox", path, cause)
            }
            _ => Error::new("map mailbox", path, error),
        }
    })
}
