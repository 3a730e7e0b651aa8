//! The layout of the status file: pure, both ways.
//!
//! ```text
//! header, from byte 48 on   boot id, sandbox, bytes lost
//! slots of 640 bytes        numbers, name, last error, totals
//! ```
//! The rest is that of [`standpipe_common::board`]. Version 1 had slots of 512 bytes without the totals; it is still read,
//! for a program may be newer than the reader.

use std::array;

use standpipe_common::board::{Layout, MORE_AT, PID_AT, START_AT, STATE_AT, Unreadable};
use standpipe_common::boot::BOOT_ID_BYTES;
use standpipe_common::mapped_text::{text, word};

/// How the file is laid out. Version 1 had slots without the totals.
pub static LAYOUT: Layout = Layout {
    program: "reader",
    magic: u64::from_ne_bytes(*b"status\n\0"),
    versions: &[(1, SLOT_BYTES_V1), (2, SLOT_BYTES)],
    // More pipes than a process may have descriptors.
    slots_max: 1 << 17,
    point: "allocate",
};
/// Bytes of a slot.
pub const SLOT_BYTES: usize = 640;
/// Bytes of a slot of version 1, which are the first ones of each.
const SLOT_BYTES_V1: usize = 512;

/// The boot, as text.
pub const BOOT_AT: usize = MORE_AT;
/// Bytes that were lost with pipes whose links are gone, and that no slot tells of any more.
pub const LOST_AT: usize = 128;

/// Whether the reader is confined: one of the three below; 0: it is of a version that does not say.
pub const SANDBOX_AT: usize = BOOT_AT + BOOT_ID_BYTES.next_multiple_of(8);
/// It is confined.
pub const SANDBOX_ON: u64 = 1;
/// It was told not to be.
pub const SANDBOX_OFF: u64 = 2;
/// Its kernel has no such thing.
pub const SANDBOX_UNAVAILABLE: u64 = 3;

/// Offsets in a slot, whose state is [`WELL`] or [`SICK`]: bytes taken from the pipe since the reader started.
pub const BYTES_AT: usize = 8;
/// Line ends among them; [`UNCOUNTED`] where nobody counts them.
pub const LINES_AT: usize = 16;
/// Parts sealed since then.
pub const PARTS_AT: usize = 24;
/// Arrival of the last chunk, ns since the epoch.
pub const ARRIVAL_AT: usize = 32;
/// Since when the pipe is crowded, ns since the epoch; 0: it is not.
pub const BLOCKED_AT: usize = 40;
/// How long it may be so before that is a finding, ns; [`u64::MAX`]: forever.
pub const WARN_AFTER_AT: usize = 48;
/// Sealed segments without their archive.
pub const BACKLOG_PARTS_AT: usize = 56;
/// Bytes in those.
pub const BACKLOG_BYTES_AT: usize = 64;
/// Bytes that waited in the pipe at the last look.
pub const QUEUED_AT: usize = 72;
/// Bytes that it can hold.
pub const CAPACITY_AT: usize = 80;
/// When a sick lane is tried again, ns since the epoch.
pub const RETRY_AT: usize = 88;
/// When the last error was, ns since the epoch; 0: never.
pub const ERROR_TIME_AT: usize = 96;
/// Length, checksum and bytes of the name.
pub const NAME_AT: usize = 104;
/// Most bytes of a name.
pub const NAME_MAX: usize = 200;
/// Length, checksum and bytes of the last error.
pub const ERROR_AT: usize = NAME_AT + 16 + NAME_MAX;
/// Most bytes of an error.
pub const ERROR_MAX: usize = SLOT_BYTES_V1 - ERROR_AT - 16;
/// Totals since the reader started: parts archived.
pub const ARCHIVED_PARTS_AT: usize = SLOT_BYTES_V1;
/// Bytes of the log in them.
pub const ARCHIVED_BYTES_AT: usize = ARCHIVED_PARTS_AT + 8;
/// Bytes of their archives.
pub const ARCHIVE_BYTES_AT: usize = ARCHIVED_PARTS_AT + 16;
/// How long it took to make these, ns.
pub const ARCHIVE_NS_AT: usize = ARCHIVED_PARTS_AT + 24;
/// How long the pipe was crowded, ns.
pub const CROWDED_NS_AT: usize = ARCHIVED_PARTS_AT + 32;
/// Bytes lost with a FIFO that was replaced.
pub const LOST_BYTES_AT: usize = ARCHIVED_PARTS_AT + 40;
/// Parts removed, by the key in [`LIMITS`].
pub const REMOVED_AT: usize = ARCHIVED_PARTS_AT + 48;
/// Failures, by [`Step`].
pub const FAILURES_AT: usize = REMOVED_AT + 8 * LIMITS.len();
/// Lines of the parts archived.
pub const ARCHIVED_LINES_AT: usize = FAILURES_AT + 8 * STEPS.len();

/// The limits that remove parts, by their keys.
pub const LIMITS: [&str; 4] = ["keep_size", "keep_files", "keep_age", "keep_free"];

/// What is done for a lane, and can fail while the reader goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Its pipe is read and its log written.
    Drain,
    /// A part is archived.
    Archive,
    /// An archive is handed over.
    Hook,
}

impl Step {
    /// A word for it.
    pub fn name(self) -> &'static str {
        match self {
            Step::Drain => "drain",
            Step::Archive => "archive",
            Step::Hook => "hook",
        }
    }
}

/// All of them, in the order of their words.
pub const STEPS: [Step; 3] = [Step::Drain, Step::Archive, Step::Hook];

/// Lines of a lane whose bytes go into the log as they are.
pub const UNCOUNTED: u64 = u64::MAX;

/// State of a lane that is drained.
pub const WELL: u64 = 1;
/// State of a lane that is not read until something is mended.
pub const SICK: u64 = 2;

/// What a slot says of a lane, as it stands there; a text is `None` while it is being written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LaneStatus {
    /// Name of the pipe.
    pub name: Option<Vec<u8>>,
    /// [`WELL`], [`SICK`], or what nobody knows.
    pub state: u64,
    /// What came out of the pipe since the reader started.
    pub taken: Taken,
    /// The pipe at the last look.
    pub fill: Fill,
    /// Sealed segments without an archive.
    pub backlog_parts: u64,
    /// Their bytes.
    pub backlog_bytes: u64,
    /// The last error, whether it is over or not.
    pub error: LastError,
    /// What happened since the reader started.
    pub totals: Totals,
}

/// What came out of a pipe since the reader started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Bytes of it.
    pub bytes: u64,
    /// Line ends among them; `None` where nobody counts them.
    pub lines: Option<u64>,
    /// Parts that were sealed.
    pub parts: u64,
    /// When the last bytes arrived, ns since the epoch. `None`: none did yet.
    pub arrival_ns: Option<u64>,
}

/// How full a pipe was at the last look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fill {
    /// Bytes that waited in it.
    pub queued: u64,
    /// Bytes that it can hold.
    pub capacity: u64,
    /// Since when it is crowded, ns since the epoch. `None`: it is not.
    pub blocked_ns: Option<u64>,
    /// How long it may be so before that is a finding, ns.
    pub warn_after_ns: u64,
}

/// What failed last, and what becomes of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LastError {
    /// The sentence that was logged, or its beginning.
    pub text: Option<Vec<u8>>,
    /// When that was, ns since the epoch. `None`: never.
    pub at_ns: Option<u64>,
    /// When a sick lane is tried again, ns since the epoch.
    pub retry_ns: u64,
}

/// What happened to a lane since the reader started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Parts archived.
    pub archived_parts: u64,
    /// Bytes of the log in them.
    pub archived_bytes: u64,
    /// Lines in them.
    pub archived_lines: u64,
    /// Bytes of their archives.
    pub archive_bytes: u64,
    /// How long it took to make these, ns.
    pub archive_ns: u64,
    /// How long the pipe was crowded, ns.
    pub crowded_ns: u64,
    /// Bytes lost with a FIFO that was replaced.
    pub lost_bytes: u64,
    /// Parts removed, in the order of [`LIMITS`].
    pub removed: [u64; LIMITS.len()],
    /// Failures, in the order of [`STEPS`].
    pub failures: [u64; STEPS.len()],
}

/// What a status file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Process id of the reader.
    pub pid: u64,
    /// When it started, ns since the epoch.
    pub start_ns: u64,
    /// The boot; empty where that is no text.
    pub boot: String,
    /// Bytes lost with pipes whose links are gone.
    pub lost_bytes: u64,
    /// Whether it is confined, as it stands at [`SANDBOX_AT`].
    pub sandbox: u64,
    /// Its lanes, in no order.
    pub slots: Vec<LaneStatus>,
}

/// Reads a whole file.
pub fn decode(file: &[u8]) -> Result<Status, Unreadable> {
    let slots = LAYOUT.slots(file)?.map(lane_status).collect();
    let boot = std::str::from_utf8(&file[BOOT_AT..BOOT_AT + BOOT_ID_BYTES]).unwrap_or_default();
    Ok(Status {
        pid: word(file, PID_AT),
        start_ns: word(file, START_AT),
        boot: boot.trim_end_matches('\0').to_owned(),
        lost_bytes: word(file, LOST_AT),
        sandbox: word(file, SANDBOX_AT),
        slots,
    })
}

fn lane_status(slot: &[u8]) -> LaneStatus {
    let at = |offset| word(slot, offset);
    let moment = |offset| Some(at(offset)).filter(|ns| *ns != 0);
    // Version 1 has none.
    let totals = if slot.len() < SLOT_BYTES { Totals::default() } else { totals(slot) };
    LaneStatus {
        name: text(slot, NAME_AT, NAME_MAX),
        state: at(STATE_AT),
        taken: Taken {
            bytes: at(BYTES_AT),
            lines: Some(at(LINES_AT)).filter(|lines| *lines != UNCOUNTED),
            parts: at(PARTS_AT),
            arrival_ns: moment(ARRIVAL_AT),
        },
        fill: Fill {
            queued: at(QUEUED_AT),
            capacity: at(CAPACITY_AT),
            blocked_ns: moment(BLOCKED_AT),
            warn_after_ns: at(WARN_AFTER_AT),
        },
        backlog_parts: at(BACKLOG_PARTS_AT),
        backlog_bytes: at(BACKLOG_BYTES_AT),
        error: LastError {
            text: text(slot, ERROR_AT, ERROR_MAX),
            at_ns: moment(ERROR_TIME_AT),
            retry_ns: at(RETRY_AT),
        },
        totals,
    }
}

fn totals(slot: &[u8]) -> Totals {
    let at = |offset| word(slot, offset);
    Totals {
        archived_parts: at(ARCHIVED_PARTS_AT),
        archived_bytes: at(ARCHIVED_BYTES_AT),
        archived_lines: at(ARCHIVED_LINES_AT),
        archive_bytes: at(ARCHIVE_BYTES_AT),
        archive_ns: at(ARCHIVE_NS_AT),
        crowded_ns: at(CROWDED_NS_AT),
        lost_bytes: at(LOST_BYTES_AT),
        removed: array::from_fn(|index| at(REMOVED_AT + 8 * index)),
        failures: array::from_fn(|index| at(FAILURES_AT + 8 * index)),
    }
}

#[cfg(test)]
mod tests {
    use standpipe_common::board::{HEADER_BYTES, SLOT_BYTES_AT, VERSION_AT};
    use standpipe_common::mapped_text;

    use super::*;

    fn put(file: &mut [u8], at: usize, words: &[u64]) {
        for (index, word) in words.iter().enumerate() {
            file[at + 8 * index..at + 8 * index + 8].copy_from_slice(&word.to_ne_bytes());
        }
    }

    /// A file of two slots, of which the second is in use.
    fn file() -> Vec<u8> {
        let mut file = vec![0; HEADER_BYTES + 2 * SLOT_BYTES];
        put(&mut file, 0, &[LAYOUT.magic, 2, 7, 1000, 2, SLOT_BYTES as u64]);
        file[BOOT_AT..BOOT_AT + 4].copy_from_slice(b"boot");
        put(&mut file, SANDBOX_AT, &[SANDBOX_ON]);
        let second = HEADER_BYTES + SLOT_BYTES;
        put(&mut file, second, &[SICK, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13]);
        put(&mut file, second + NAME_AT, &mapped_text::words("größe".as_bytes(), NAME_MAX));
        put(&mut file, second + ERROR_AT, &mapped_text::words(b"no room", ERROR_MAX));
        put(&mut file, second + ARCHIVED_PARTS_AT, &(21..35).collect::<Vec<_>>());
        put(&mut file, LOST_AT, &[99]);
        file
    }

    #[test]
    fn what_was_stored_is_read() {
        let content = decode(&file()).unwrap();
        assert_eq!((content.pid, content.start_ns, content.boot.as_str()), (7, 1000, "boot"));
        assert_eq!(content.sandbox, SANDBOX_ON);
        let [slot] = &content.slots[..] else { panic!("{:?}", content.slots) };
        assert_eq!(slot.name.as_deref(), Some("größe".as_bytes()));
        assert_eq!((slot.state, slot.backlog_parts, slot.backlog_bytes), (SICK, 8, 9));
        assert_eq!(slot.taken, Taken { bytes: 2, lines: Some(3), parts: 4, arrival_ns: Some(5) });
        assert_eq!(slot.fill, Fill { queued: 10, capacity: 11, blocked_ns: Some(6), warn_after_ns: 7 });
        assert_eq!(slot.error, LastError { text: Some(b"no room".into()), at_ns: Some(13), retry_ns: 12 });
        let totals = Totals {
            archived_parts: 21,
            archived_bytes: 22,
            archived_lines: 34,
            archive_bytes: 23,
            archive_ns: 24,
            crowded_ns: 25,
            lost_bytes: 26,
            removed: [27, 28, 29, 30],
            failures: [31, 32, 33],
        };
        assert_eq!((&slot.totals, content.lost_bytes), (&totals, 99));
    }

    #[test]
    fn a_reader_that_is_older_than_us_is_seen_without_its_totals() {
        let (new, mut old) = (file(), vec![0; HEADER_BYTES]);
        old.copy_from_slice(&new[..HEADER_BYTES]);
        for slot in new[HEADER_BYTES..].chunks_exact(SLOT_BYTES) {
            old.extend(&slot[..SLOT_BYTES_V1]);
        }
        put(&mut old, VERSION_AT, &[1]);
        assert_eq!(decode(&old).map(drop), Err(Unreadable::Damaged), "by the bytes of its slots");
        put(&mut old, SLOT_BYTES_AT, &[SLOT_BYTES_V1 as u64]);
        let expected = LaneStatus { totals: Totals::default(), ..decode(&new).unwrap().slots.remove(0) };
        assert_eq!(decode(&old).unwrap().slots, [expected]);
    }

    #[test]
    fn a_text_that_is_being_written_is_not_believed() {
        let good = file();
        let second = HEADER_BYTES + SLOT_BYTES;
        for at in [NAME_AT, NAME_AT + 8, NAME_AT + 16, NAME_AT + 20] {
            let mut torn = good.clone();
            torn[second + at] ^= 1;
            let slot = &decode(&torn).unwrap().slots[0];
            assert_eq!((slot.name.as_ref(), slot.error.text.is_some()), (None, true), "{at}");
        }
        let mut never = good;
        put(&mut never, second + ERROR_AT, &[0, 0]);
        assert_eq!(decode(&never).unwrap().slots[0].error.text, None);
    }

    #[test]
    fn the_layout_fills_a_slot() {
        assert_eq!(ERROR_AT % 8 + NAME_AT % 8 + ERROR_MAX % 8, 0);
        assert_eq!(ERROR_AT + 16 + ERROR_MAX, SLOT_BYTES_V1);
        const { assert!(ARCHIVED_LINES_AT + 8 <= SLOT_BYTES && LOST_AT + 8 <= HEADER_BYTES) };
        const { assert!(SANDBOX_AT + 8 <= LOST_AT && ERROR_MAX > 160) };
    }

    /// xorshift64*: the same bytes each time.
    fn random(state: &mut u64) -> u64 {
        *state ^= *state >> 12;
        *state ^= *state << 25;
        *state ^= *state >> 27;
        state.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    #[test]
    fn no_bytes_whatever_make_it_panic() {
        let mut seed = 0x5EED;
        for round in 0..2000 {
            let mut file = file();
            let from = if round % 2 == 0 { HEADER_BYTES } else { 0 };
            for _ in 0..=random(&mut seed) % 64 {
                let at = from + random(&mut seed) as usize % (file.len() - from);
                file[at] = random(&mut seed) as u8;
            }
            file.truncate(file.len() - if round % 5 == 0 { random(&mut seed) as usize % file.len() } else { 0 });
            decode(&file).ok();
        }
    }
}
