//! The layout of the status file: pure, both ways.
//!
//! ```text
//! header, from byte 48 on   files left out
//! slots of 1024 bytes       numbers, path, what is wrong
//! ```
//! The rest is that of [`standpipe_common::board`].

use standpipe_common::board::{Layout, MORE_AT, PID_AT, START_AT, Unreadable};
use standpipe_common::mapped_text::{self, HEAD_BYTES, text, word};

/// How the file is laid out.
pub static LAYOUT: Layout = Layout {
    program: "tailer",
    magic: u64::from_ne_bytes(*b"tailer\n\0"),
    versions: &[(1, SLOT_BYTES)],
    // A quarter of a million sources.
    slots_max: 1 << 18,
    point: "status-grow",
};
/// Bytes of a slot: four of them are a page.
pub const SLOT_BYTES: usize = 1024;

/// Offset in the header of how many files `exclude` leaves out.
pub const EXCLUDED_AT: usize = MORE_AT;

/// Offset in a slot, whose state is [`USED`], of the numbers, in the order of [`Figures::words`].
const NUMBERS_AT: usize = 8;
const NUMBERS: usize = 18;
/// Of length, checksum and bytes of the path.
pub const PATH_AT: usize = NUMBERS_AT + 8 * NUMBERS;
/// Most bytes of a path.
pub const PATH_MAX: usize = 688;
/// Of what is wrong with it, in words; an empty text: nothing is.
pub const ERROR_AT: usize = PATH_AT + HEAD_BYTES + PATH_MAX;
/// Most bytes of that. Earlier programs had the rest of the slot for it, and can still be read and read us.
pub const ERROR_MAX: usize = DELIVERED_AT - ERROR_AT - HEAD_BYTES;
/// Of the bytes that were delivered.
const DELIVERED_AT: usize = SLOT_BYTES - 8;

/// State of a slot that says something.
pub const USED: u64 = 1;

/// Which of the numbers is the flags.
const FLAGS: usize = 15;

/// What happened to a source since the tailer started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Lives of its files that ended by a truncation.
    pub truncations: u64,
    /// Copies in which it was read on.
    pub copies: u64,
    /// Bytes that are known to be destroyed before they were read.
    pub lost_bytes: u64,
    /// How often nobody knows how many were.
    pub lost_unknown: u64,
    /// Lines that came out behind later ones.
    pub late_lines: u64,
    /// Bytes of a rotated file that came behind those of the next one.
    pub late_bytes: u64,
    /// Of a spool: markers without a file that were removed.
    pub orphans: u64,
    /// Bytes that were delivered.
    pub delivered_bytes: u64,
}

/// What a slot says of a source in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// It is a spool: device and inode are those of its directory, it has no birth, and no size.
    pub is_spool: bool,
    /// The file with the live name, or the last one: device.
    pub dev: u64,
    /// Its inode; 0: there is none.
    pub ino: u64,
    /// Its birth, ns since the epoch.
    pub born_ns: u64,
    /// Delivered of it; of a spool: by this run.
    pub offset: u64,
    /// How long it was at the last look.
    pub size: u64,
    /// Bytes of all its files that were seen, and are not delivered.
    pub lag_bytes: u64,
    /// Since when there are such, ns since the epoch; 0: there are none.
    pub behind_ns: u64,
    /// Files that it is not done with; of a spool: complete ones that are not delivered.
    pub generations: u64,
    /// Files that it has open.
    pub open: u64,
    /// What happened.
    pub counts: Counts,
    /// What it held at first sight was skipped by `ignore_older`.
    pub was_too_old: bool,
    /// Its file ends in zeros, over which lines may still be written.
    pub is_blank: bool,
    /// It is a mount of its own.
    pub is_mount: bool,
    /// It waits for a descriptor.
    pub wants_descriptor: bool,
    /// Its `rate_limit` keeps it.
    pub is_limited: bool,
    /// Since when its output took nothing of what it has, ns since the epoch; 0: it takes all.
    pub blocked_ns: u64,
}

/// Since when something of a source waits, and since when its output took nothing of that, ns since the epoch.
#[derive(Debug, Default)]
pub struct Delay {
    behind: Option<i64>,
    blocked: Option<i64>,
}

impl Delay {
    /// Its output took something.
    pub fn end_block(&mut self) {
        self.blocked = None;
    }

    /// Whether its output took nothing when that was asked last.
    pub fn is_blocked(&self) -> bool {
        self.blocked.is_some()
    }

    /// How it is now, as [`Figures`] have it.
    pub fn note(&mut self, is_behind: bool, is_blocked: bool, now_ns: i64) -> (u64, u64) {
        let since = |is_so: bool, since: &mut Option<i64>| {
            *since = is_so.then(|| since.unwrap_or(now_ns));
            since.map_or(0, |since| since as u64)
        };
        (since(is_behind, &mut self.behind), since(is_blocked, &mut self.blocked))
    }
}

/// Which of the numbers each figure is, and which of the flags, both ways.
macro_rules! layout {
    (
        numbers { $($number:ident: $at:expr,)+ }
        counts { $($count:ident: $count_at:expr,)+ }
        flags { $($flag:ident: $bit:expr,)+ }
    ) => {
        /// As words of a slot.
        fn words(&self) -> [u64; NUMBERS] {
            let mut words = [0; NUMBERS];
            $(words[$at] = self.$number;)+
            $(words[$count_at] = self.counts.$count;)+
            $(words[FLAGS] |= if self.$flag { 1 << $bit } else { 0 };)+
            words
        }

        fn of(slot: &[u8]) -> Figures {
            let at = |index: usize| word(slot, NUMBERS_AT + 8 * index);
            let delivered_bytes = word(slot, DELIVERED_AT);
            Figures {
                $($number: at($at),)+
                counts: Counts { $($count: at($count_at),)+ delivered_bytes },
                $($flag: at(FLAGS) & (1 << $bit) != 0,)+
            }
        }
    };
}

impl Figures {
    layout! {
        numbers {
            dev: 0, ino: 1, born_ns: 2, offset: 3, size: 4, lag_bytes: 5, behind_ns: 6, generations: 7, open: 8,
            blocked_ns: 16,
        }
        counts {
            truncations: 9, copies: 10, lost_bytes: 11, lost_unknown: 12, late_lines: 13, late_bytes: 14, orphans: 17,
        }
        flags {
            wants_descriptor: 0, is_limited: 1, is_spool: 2, was_too_old: 3, is_blank: 16, is_mount: 17,
        }
    }

    /// Where each word goes in a slot.
    pub fn stores(&self) -> impl Iterator<Item = (usize, u64)> {
        let numbers = self.words().into_iter().enumerate().map(|(index, word)| (NUMBERS_AT + 8 * index, word));
        numbers.chain([(DELIVERED_AT, self.counts.delivered_bytes)])
    }
}

/// What a slot says; a text is `None` while it is being written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slot {
    /// The path that is followed.
    pub path: Option<Vec<u8>>,
    /// The numbers.
    pub figures: Figures,
    /// What is wrong with it; empty: nothing.
    pub error: Option<Vec<u8>>,
}

/// What a status file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// Process id of the tailer.
    pub pid: u64,
    /// When it started, ns since the epoch.
    pub start_ns: u64,
    /// Files that `exclude` leaves out.
    pub excluded: u64,
    /// Its sources, in no order.
    pub slots: Vec<Slot>,
}

/// The words of a path. Of one that is too long its end is kept.
pub fn path_words(path: &[u8]) -> Vec<u64> {
    const MARK: &[u8] = "…".as_bytes();
    if path.len() <= PATH_MAX {
        return mapped_text::words(path, PATH_MAX);
    }
    let end = &path[path.len() - (PATH_MAX - MARK.len())..];
    let start = end.iter().position(|byte| byte & 0xC0 != 0x80).unwrap_or(0);
    mapped_text::words(&[MARK, &end[start..]].concat(), PATH_MAX)
}

/// Reads a whole file.
pub fn decode(file: &[u8]) -> Result<Content, Unreadable> {
    let slots = LAYOUT.slots(file)?.map(|slot| Slot {
        path: text(slot, PATH_AT, PATH_MAX),
        figures: Figures::of(slot),
        error: text(slot, ERROR_AT, ERROR_MAX),
    });
    let (pid, start_ns, excluded) = (word(file, PID_AT), word(file, START_AT), word(file, EXCLUDED_AT));
    Ok(Content { pid, start_ns, excluded, slots: slots.collect() })
}

#[cfg(test)]
mod tests {
    use standpipe_common::board::HEADER_BYTES;

    use super::*;

    fn put(file: &mut [u8], at: usize, words: &[u64]) {
        for (index, word) in words.iter().enumerate() {
            file[at + 8 * index..at + 8 * index + 8].copy_from_slice(&word.to_ne_bytes());
        }
    }

    fn figures() -> Figures {
        let counts = Counts {
            truncations: 10,
            copies: 11,
            lost_bytes: 12,
            lost_unknown: 13,
            late_lines: 14,
            late_bytes: 15,
            orphans: 17,
            delivered_bytes: 18,
        };
        Figures {
            is_spool: true,
            dev: 1,
            ino: 2,
            born_ns: 3,
            offset: 4,
            size: 5,
            lag_bytes: 6,
            behind_ns: 7,
            generations: 8,
            open: 9,
            counts,
            was_too_old: true,
            is_blank: true,
            is_mount: true,
            wants_descriptor: true,
            is_limited: true,
            blocked_ns: 16,
        }
    }

    /// A file of two slots, of which the second is in use.
    fn file(figures: &Figures) -> Vec<u8> {
        let mut file = vec![0; HEADER_BYTES + 2 * SLOT_BYTES];
        put(&mut file, 0, &[LAYOUT.magic, 1, 7, 1000, 2, SLOT_BYTES as u64]);
        let second = HEADER_BYTES + SLOT_BYTES;
        put(&mut file, second, &[USED]);
        figures.stores().for_each(|(at, word)| put(&mut file, second + at, &[word]));
        put(&mut file, second + PATH_AT, &path_words("/l/größe".as_bytes()));
        put(&mut file, second + ERROR_AT, &mapped_text::words(b"EACCES", ERROR_MAX));
        file
    }

    #[test]
    fn what_was_stored_is_read() {
        for figures in [
            figures(),
            Figures { wants_descriptor: false, ..figures() },
            Figures { is_limited: false, ..figures() },
            Figures { was_too_old: false, ..figures() },
            Figures { is_blank: false, ..figures() },
            Figures { is_mount: false, ..figures() },
            Figures { is_spool: false, ..figures() },
            Figures::default(),
        ] {
            let content = decode(&file(&figures)).unwrap();
            assert_eq!((content.pid, content.start_ns), (7, 1000));
            let path = Some("/l/größe".as_bytes().to_vec());
            assert_eq!(content.slots, [Slot { path, figures, error: Some(b"EACCES".to_vec()) }]);
        }
    }

    #[test]
    fn the_layout_fills_a_slot() {
        assert_eq!(PATH_AT % 8 + PATH_MAX % 8 + ERROR_AT % 8 + ERROR_MAX % 8, 0);
        assert_eq!(ERROR_AT + HEAD_BYTES + ERROR_MAX + 8, SLOT_BYTES);
        const { assert!(ERROR_MAX >= 120 && SLOT_BYTES.is_power_of_two()) };
    }

    #[test]
    fn of_a_long_path_the_end_is_kept() {
        let long = format!("{}/größe.log", "/ä".repeat(400));
        let mut slot = vec![0; SLOT_BYTES];
        put(&mut slot, PATH_AT, &path_words(long.as_bytes()));
        let kept = String::from_utf8(text(&slot, PATH_AT, PATH_MAX).unwrap()).unwrap();
        let end = kept.strip_prefix('…').unwrap();
        assert!(long.ends_with(end) && kept.len() > PATH_MAX - 4, "{kept}");
    }
}
