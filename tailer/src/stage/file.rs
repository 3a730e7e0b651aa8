//! The file of a record: made, judged, mapped, and made longer.
//!
//! All of it is allocated, so that a full disk is an error here and no SIGBUS later. A file that is no sound record is
//! renamed, never overwritten; removed is only what we made and did not finish. Not here: what a record says ([`super::record`]).

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use nix::fcntl::AT_FDCWD;
use nix::libc;
use nix::unistd::Uid;
use standpipe_common::boot::{self, BOOT_ID_BYTES};
use standpipe_common::error::{Cannot, Error, Result};
use standpipe_common::rename::rename_new;
use standpipe_common::shown::Shown as _;
use standpipe_common::sys::{Mapping, PAGE_BYTES};
use standpipe_common::{mapped, own, seam};

use super::decide::{BlockPhase, Word};
use super::message::Messages;
use super::record::{AREA_BYTES_AT, BOOT_AT, MAGIC_AT, Record, VERSION_AT, WORD_AT, slots_start};
use super::slots::{SLOT_BYTES, SLOTS_MAX, put_u32, u32_at, u64_at};

const MAGIC: &[u8; 8] = b"staging\n";
const VERSION: u32 = 2;
/// Slots of a new record: a page of them.
const SLOTS_MIN: usize = PAGE_BYTES / SLOT_BYTES;

/// A record and the file that it is in.
#[derive(Debug)]
pub struct RecordFile {
    /// What it says.
    pub record: Record,
    path: PathBuf,
    file: File,
}

/// When and how a record is opened.
#[derive(Clone, Copy, Debug)]
pub struct Setting<'a> {
    /// The boot, as [`standpipe_common::boot::id`] gives it: what was in a pipe before it is gone.
    pub boot: &'a str,
    /// Wall clock, ns since the epoch.
    pub now_ns: i64,
    /// How large the areas of a new record are.
    pub area_bytes: usize,
}

impl RecordFile {
    /// Opens the record at `path`, or makes one. One that cannot be believed is set aside, which is said.
    ///
    /// # Errors
    /// There is no room, or the kernel refuses.
    pub fn open(path: &Path, setting: Setting<'_>, said: &mut Messages) -> Result<RecordFile> {
        if let Some(file) = open(path)? {
            match judge(&file).cannot("read", path)? {
                Worth::Fit(area_bytes) => {
                    let map = map(&file, path)?;
                    let mut found = RecordFile { record: Record::of(map, area_bytes), path: path.to_path_buf(), file };
                    if found.record.is_sound() {
                        found.settle_boot(setting.boot, said);
                        return Ok(found);
                    }
                    set_aside(path, setting.now_ns, "it is damaged", said)?;
                }
                Worth::Unfinished => own::remove_this(path, &file).cannot("remove", path)?,
                Worth::Unfit(cause) => set_aside(path, setting.now_ns, &cause, said)?,
            }
        }
        seam::pass("stage-make").cannot("create", path)?;
        let file = options().create_new(true).mode(0o600).open(path).cannot("create", path)?;
        let made = RecordFile::make(&file, path, setting);
        match made {
            Ok(record) => Ok(RecordFile { record, path: path.to_path_buf(), file }),
            Err(error) => {
                own::remove_this(path, &file).ok();
                Err(error)
            }
        }
    }

    /// Makes room for twice as many slots.
    ///
    /// # Errors
    /// There is no room; the record is as it was.
    pub fn grow(&mut self) -> Result<()> {
        let count = self.record.slot_count() * 2;
        if count > SLOTS_MAX {
            return Err(Error::because("write", &self.path, format!("all of its {SLOTS_MAX} positions are in use")));
        }
        let area_bytes = self.record.area_bytes();
        let end_of = |count: usize| slots_start(area_bytes) + count * SLOT_BYTES;
        seam::pass("stage-grow")
            .and_then(|()| mapped::allocate(&self.file, end_of(count / 2)..end_of(count)))
            .cannot("write", &self.path)?;
        self.record = Record::of(map(&self.file, &self.path)?, area_bytes);
        Ok(())
    }

    fn make(file: &File, path: &Path, setting: Setting<'_>) -> Result<Record> {
        let bytes = slots_start(setting.area_bytes) + SLOTS_MIN * SLOT_BYTES;
        seam::pass("stage-allocate").and_then(|()| mapped::allocate(file, 0..bytes)).cannot("create", path)?;
        let mut map = map(file, path)?;
        map.populate(0..bytes).cannot("create", path)?;
        let header = map.bytes_mut();
        put_u32(header, VERSION_AT, VERSION);
        put_u32(header, AREA_BYTES_AT, setting.area_bytes as u32);
        header[BOOT_AT..BOOT_AT + BOOT_ID_BYTES].copy_from_slice(&boot::bytes(setting.boot));
        map.store_word(WORD_AT, Word::idle(0).encode());
        // The magic last: without it nothing was ever recorded here.
        map.store_word(MAGIC_AT, u64::from_le_bytes(*MAGIC));
        Ok(Record::of(map, setting.area_bytes))
    }

    /// After another boot nothing of the block in flight is in any pipe, header and block may be of different moments, and
    /// what was delivered may not be on disk at the other end: positions are the checkpoint's alone.
    fn settle_boot(&mut self, boot: &str, said: &mut Messages) {
        let boot = boot::bytes(boot);
        if self.record.map_mut().bytes()[BOOT_AT..BOOT_AT + BOOT_ID_BYTES] == boot {
            return;
        }
        let word = self.record.word();
        if word.phase() != BlockPhase::Idle {
            said.note(format!("{}: the block in flight is from another boot; reading it again", self.path.shown()));
        }
        self.record.store_word(Word::idle(word.area()));
        self.record.release_all();
        self.record.map_mut().bytes_mut()[BOOT_AT..BOOT_AT + BOOT_ID_BYTES].copy_from_slice(&boot);
    }
}

/// What a file is worth.
enum Worth {
    /// A record with areas of so many bytes.
    Fit(usize),
    /// Its maker died before it was done.
    Unfinished,
    /// Not to be believed, for this reason.
    Unfit(String),
}

fn judge(file: &File) -> io::Result<Worth> {
    let metadata = file.metadata()?;
    let len = metadata.len() as usize;
    let is_own = metadata.uid() == Uid::effective().as_raw();
    let mut header = [0; PAGE_BYTES];
    if len < PAGE_BYTES {
        let is_unfinished = len == 0 && is_own;
        return Ok(if is_unfinished { Worth::Unfinished } else { Worth::Unfit("it is damaged".to_owned()) });
    }
    file.read_exact_at(&mut header, 0)?;
    let version = u32_at(&header, VERSION_AT);
    let area_bytes = u32_at(&header, AREA_BYTES_AT) as usize;
    let is_sized = area_bytes.is_multiple_of(PAGE_BYTES)
        && (PAGE_BYTES..=super::decide::POSITION_MAX).contains(&area_bytes)
        && len >= slots_start(area_bytes) + SLOTS_MIN * SLOT_BYTES;
    Ok(match &header[MAGIC_AT..MAGIC_AT + 8] {
        [0, 0, 0, 0, 0, 0, 0, 0] if is_own && is_blank(file, &header)? => Worth::Unfinished,
        magic if magic != MAGIC => Worth::Unfit("it is damaged".to_owned()),
        _ if version != VERSION => Worth::Unfit(format!("it has version {version}; this tailer knows {VERSION}")),
        _ if !is_sized => Worth::Unfit("it is damaged".to_owned()),
        _ => Worth::Fit(area_bytes),
    })
}

/// Whether a file of ours without the magic has nothing but what its maker writes before that.
fn is_blank(file: &File, header: &[u8; PAGE_BYTES]) -> io::Result<bool> {
    let mut rest = *header;
    for (at, bytes) in [(VERSION_AT, 4), (AREA_BYTES_AT, 4), (BOOT_AT, BOOT_ID_BYTES), (WORD_AT, 8)] {
        rest[at..at + bytes].fill(0);
    }
    let is_idle = [0, Word::idle(0).encode()].contains(&u64_at(header, WORD_AT));
    let mut is_blank = is_idle && rest.iter().all(|byte| *byte == 0);
    let mut block = vec![0; 64 << 10];
    let mut at = PAGE_BYTES as u64;
    while is_blank {
        let read = file.read_at(&mut block, at)?;
        if read == 0 {
            break;
        }
        is_blank = block[..read].iter().all(|byte| *byte == 0);
        at += read as u64;
    }
    Ok(is_blank)
}

fn set_aside(path: &Path, now_ns: i64, cause: &str, said: &mut Messages) -> Result<()> {
    let time = Timestamp::from_nanosecond(i128::from(now_ns)).unwrap_or_default().strftime("%Y%m%dT%H%M%SZ");
    let mut aside = path.as_os_str().to_owned();
    aside.push(format!(".broken-{time}"));
    let aside = PathBuf::from(aside);
    // One that was set aside within the same second stays.
    rename_new(AT_FDCWD, path, &aside).cannot("set aside", path)?;
    said.error(format!(
        "cannot use {}: {cause}; moved it to {}; lines delivered since the last checkpoint, up to a second, may be \
         repeated",
        path.shown(),
        aside.shown()
    ));
    Ok(())
}

/// A FIFO is not opened: a server that waits for a reader of it would be let in.
fn open(path: &Path) -> Result<Option<File>> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Ok(metadata) if !metadata.is_file() => Err(own::refusal(path)),
        _ => options().open(path).map(Some).cannot("open", path),
    }
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC);
    options
}

fn map(file: &File, path: &Path) -> Result<Mapping> {
    let len = file.metadata().cannot("inspect", path)?.len() as usize;
    Mapping::shared(file, len).cannot("map", path)
}
