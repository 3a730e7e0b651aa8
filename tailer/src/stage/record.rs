//! The record: a file mapped `MAP_SHARED` that says what is on its way into one target, and how far each generation is
//! delivered. Its pages belong to the kernel and outlive this process.
//!
//! A page of header; two lists of entries; two areas for blocks; the table of [`Slots`]. One word ([`Word`]) says which
//! area holds the block in flight and what it is at; everything that it speaks of is stored before it, by
//! [`Mapping::store_word`] alone. The other area, and its list, are free to be filled meanwhile and count for nothing.
//!
//! An *entry* is a run of a block that came from one generation: where it ends in the block, and what to store in the
//! slot of its generation once the block is delivered.
//!
//! Not here: what the steps are ([`super::decide`]), making and judging the file ([`super::file`]).

use std::ops::Range;

use standpipe_common::sys::{Mapping, PAGE_BYTES};

use super::decide::Word;
use super::slots::{Position, SLOT_BYTES, Slots, put_u32, put_u64, u32_at, u64_at};
use crate::file::guard::{Guard, Head};
use crate::file::identity::{Identity, Origin};

/// Bytes of an area, and so of a block. More is not faster.
pub const AREA_BYTES: usize = 256 << 10;
/// Most entries of a block.
pub const ENTRIES_MAX: usize = 512;

pub(super) const MAGIC_AT: usize = 0;
pub(super) const VERSION_AT: usize = 8;
pub(super) const AREA_BYTES_AT: usize = 12;
pub(super) const BOOT_AT: usize = 16;
pub(super) const WORD_AT: usize = 128;
const MOVED_AT: usize = 136;
const COUNTS_AT: usize = 144;
const PIPE_AT: usize = 160;
const INSIDE_AT: usize = 184;
const ENTRIES_AT: usize = PAGE_BYTES;
const ENTRY_BYTES: usize = 32;
/// In the word of an open line, in place of a slot that was released.
const RELEASED: u64 = u64::MAX;
const AREAS_AT: usize = ENTRIES_AT + 2 * ENTRIES_MAX * ENTRY_BYTES;

/// A run of a block that came from one generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Portion {
    /// Whose position it moves.
    pub slot: usize,
    /// Where it ends in the block.
    pub end: usize,
    /// Where it ends in its file.
    pub offset: u64,
    /// What stands before that in the file.
    pub guard: Guard,
}

/// A record, mapped.
#[derive(Debug)]
pub struct Record {
    map: Mapping,
    area_bytes: usize,
    slots: Slots,
    /// All slots before this one are taken.
    free_from: usize,
}

/// Where the slots begin.
pub(super) fn slots_start(area_bytes: usize) -> usize {
    AREAS_AT + 2 * area_bytes
}

impl Record {
    /// Of a mapping that has a header and whole slots.
    pub(super) fn of(map: Mapping, area_bytes: usize) -> Record {
        let start = slots_start(area_bytes);
        let count = (map.bytes().len() - start) / SLOT_BYTES;
        Record { map, area_bytes, slots: Slots { start, count }, free_from: 0 }
    }

    /// Whether word, entries and slots are such as we write them.
    pub(super) fn is_sound(&self) -> bool {
        let Some(word) = Word::decode(self.map.load_word(WORD_AT)) else { return false };
        let count = u64_at(self.map.bytes(), COUNTS_AT + 8 * word.area()) as usize;
        if !self.slots.are_sound(&self.map) || word.end() > self.area_bytes {
            return false;
        }
        if word.end() == 0 {
            return true;
        }
        if count == 0 || count > ENTRIES_MAX || self.moved() > word.end() {
            return false;
        }
        let entries = self.entries();
        entries.is_sorted_by_key(|entry| entry.end)
            && entries.last().is_some_and(|last| last.end == word.end())
            && entries.iter().all(|entry| entry.slot < self.slots.count && self.origin(entry.slot).is_some())
    }

    /// How large a block can be.
    pub fn area_bytes(&self) -> usize {
        self.area_bytes
    }

    /// What the block in flight is at.
    pub fn word(&self) -> Word {
        Word::decode(self.map.load_word(WORD_AT)).unwrap_or(Word::idle(0))
    }

    /// Stores that; everything that it speaks of was stored before.
    pub fn store_word(&mut self, word: Word) {
        self.map.store_word(WORD_AT, word.encode());
    }

    /// How much of the block in flight is known to be delivered; never more than is.
    pub fn moved(&self) -> usize {
        self.map.load_word(MOVED_AT) as usize
    }

    /// Stores that.
    pub fn store_moved(&mut self, moved: usize) {
        debug_assert!(moved <= self.area_bytes);
        self.map.store_word(MOVED_AT, moved as u64);
    }

    /// The staging pipe that the block in flight went into.
    pub fn pipe(&self) -> Identity {
        let bytes = self.map.bytes();
        Identity {
            dev: u64_at(bytes, PIPE_AT),
            ino: u64_at(bytes, PIPE_AT + 8),
            born_ns: u64_at(bytes, PIPE_AT + 16) as i64,
        }
    }

    /// Stores that, while there is no block or nothing that was staged of it counts.
    pub fn store_pipe(&mut self, pipe: Identity) {
        let bytes = self.map.bytes_mut();
        put_u64(bytes, PIPE_AT, pipe.dev);
        put_u64(bytes, PIPE_AT + 8, pipe.ino);
        put_u64(bytes, PIPE_AT + 16, pipe.born_ns as u64);
    }

    /// The block in flight; empty if there is none.
    pub fn block(&self) -> &[u8] {
        let word = self.word();
        self.area(word.area(), word.end())
    }

    /// The first `len` bytes of an area.
    pub fn area(&self, area: usize, len: usize) -> &[u8] {
        &self.map.bytes()[self.area_at(area)..][..len]
    }

    /// All of an area, to be filled: never that of the block in flight.
    pub fn area_mut(&mut self, area: usize) -> &mut [u8] {
        let at = self.area_at(area);
        &mut self.map.bytes_mut()[at..][..self.area_bytes]
    }

    /// Copies a range of an area to the beginning of the other one, which has no block in flight.
    pub fn copy(&mut self, from: usize, range: Range<usize>, to: usize) {
        let (from, to) = (self.area_at(from), self.area_at(to));
        self.map.bytes_mut().copy_within(from + range.start..from + range.end, to);
    }

    /// The entries of the block in flight; none if there is none.
    pub fn entries(&self) -> Vec<Portion> {
        let word = self.word();
        let bytes = self.map.bytes();
        let count = if word.end() == 0 { 0 } else { u64_at(bytes, COUNTS_AT + 8 * word.area()) as usize };
        let entry = |index: usize| {
            let at = entry_at(word.area(), index);
            Portion {
                slot: u32_at(bytes, at) as usize,
                end: u32_at(bytes, at + 4) as usize,
                offset: u64_at(bytes, at + 8),
                guard: Guard { len: u32_at(bytes, at + 16), hash: u64_at(bytes, at + 24) },
            }
        };
        (0..count.min(ENTRIES_MAX)).map(entry).collect()
    }

    /// Writes the entries of a block that is about to be in flight.
    pub fn store_entries(&mut self, area: usize, entries: &[Portion]) {
        assert!(entries.len() <= ENTRIES_MAX);
        debug_assert!(area != self.word().area() || self.word().end() == 0, "the entries of the block in flight stay");
        debug_assert!(entries.iter().all(|entry| self.origin(entry.slot).is_some()), "an entry names a taken slot");
        let bytes = self.map.bytes_mut();
        for (index, entry) in entries.iter().enumerate() {
            let at = entry_at(area, index);
            put_u32(bytes, at, entry.slot as u32);
            put_u32(bytes, at + 4, entry.end as u32);
            put_u64(bytes, at + 8, entry.offset);
            put_u32(bytes, at + 16, entry.guard.len);
            put_u64(bytes, at + 24, entry.guard.hash);
        }
        put_u64(bytes, COUNTS_AT + 8 * area, entries.len() as u64);
    }

    /// The generation that has this slot.
    pub fn origin(&self, slot: usize) -> Option<Origin> {
        self.slots.origin(&self.map, slot)
    }

    /// How far it is delivered.
    pub fn position(&self, slot: usize) -> Option<Position> {
        self.slots.position(&self.map, slot)
    }

    /// How many slots there are, free or not.
    pub fn slot_count(&self) -> usize {
        self.slots.count
    }

    /// Gives a generation a slot. `None`: all are taken.
    pub fn take_slot(&mut self, origin: Origin) -> Option<usize> {
        let slot = self.slots.free(&self.map, self.free_from)?;
        debug_assert!(slot >= self.free_from && self.origin(slot).is_none());
        self.free_from = slot + 1;
        self.slots.take(&mut self.map, slot, origin);
        Some(slot)
    }

    /// Stores what the slot of a delivered entry is to know.
    pub fn store_position(&mut self, entry: &Portion) {
        self.slots.store(&mut self.map, entry.slot, entry.offset, entry.guard);
    }

    /// Stores what the generation that has this slot begins with.
    pub fn store_head(&mut self, slot: usize, head: Head) {
        self.slots.store_head(&mut self.map, slot, head);
    }

    /// Stores whether the block in flight, which is delivered, ends inside a line, and whose. May be repeated.
    pub fn store_inside(&mut self) {
        let slot = self.entries().last().filter(|_| self.ends_inside()).map(|last| last.slot as u64 + 1);
        self.map.store_word(INSIDE_AT, slot.unwrap_or(0));
    }

    /// Whether the block in flight begins inside a line; or, if there is none, the next one.
    pub fn begins_inside(&self) -> bool {
        self.map.load_word(INSIDE_AT) != 0
    }

    /// The generation whose line is not at its end once all is delivered, and where it goes on in its file.
    pub fn open_line(&self) -> Option<(Origin, u64)> {
        if let Some(last) = self.entries().last() {
            return self.ends_inside().then_some((self.origin(last.slot)?, last.offset));
        }
        let slot = match self.map.load_word(INSIDE_AT) {
            0 => return None,
            inside => (inside - 1) as usize,
        };
        let position = (slot < self.slots.count).then(|| self.slots.position(&self.map, slot)).flatten();
        Some(position.map_or((Origin::default(), 0), |position| (position.origin, position.offset)))
    }

    fn ends_inside(&self) -> bool {
        self.block().last().is_some_and(|last| *last != b'\n')
    }

    /// Frees a slot that no entry names.
    pub fn release_slot(&mut self, slot: usize) {
        if self.map.load_word(INSIDE_AT) == slot as u64 + 1 {
            self.map.store_word(INSIDE_AT, RELEASED);
        }
        self.free_from = self.free_from.min(slot);
        self.slots.release(&mut self.map, slot);
    }

    /// Frees all slots, where no block is in flight. The next line begins a line.
    pub(super) fn release_all(&mut self) {
        (0..self.slots.count).for_each(|slot| self.release_slot(slot));
        self.map.store_word(INSIDE_AT, 0);
    }

    /// How far every generation is delivered once the block in flight is, which this record will see to.
    pub fn positions(&self) -> Vec<Position> {
        let mut known: Vec<Option<Position>> = self.slot_positions().collect();
        for entry in self.entries() {
            let origin = self.origin(entry.slot);
            let head = self.slots.head(&self.map, entry.slot);
            let (offset, guard) = (entry.offset, entry.guard);
            known[entry.slot] = origin.map(|origin| Position { origin, offset, guard, head });
        }
        known.into_iter().flatten().collect()
    }

    /// How far every generation is delivered, without the block in flight.
    pub fn delivered_positions(&self) -> Vec<Position> {
        self.slot_positions().flatten().collect()
    }

    fn slot_positions(&self) -> impl Iterator<Item = Option<Position>> {
        (0..self.slots.count).map(|slot| self.position(slot))
    }

    fn area_at(&self, area: usize) -> usize {
        AREAS_AT + area * self.area_bytes
    }

    pub(super) fn map_mut(&mut self) -> &mut Mapping {
        &mut self.map
    }
}

fn entry_at(area: usize, index: usize) -> usize {
    ENTRIES_AT + (area * ENTRIES_MAX + index) * ENTRY_BYTES
}
