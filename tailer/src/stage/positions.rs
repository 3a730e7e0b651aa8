//! What the record knows of generations: the slot of each that came here, and what is to be stored there.
//!
//! Invariants: a generation has one slot, and the record says so; a slot that the block in flight names is not freed.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use super::file::RecordFile;
use super::gather::Runs;
use super::heads::Heads;
use super::message::{Messages, Severity};
use super::record::{Portion, Record};
use super::retry::Outage;
use crate::file::guard::Guard;
use crate::file::identity::Origin;

/// A record, and who has which slot of it.
#[derive(Debug)]
pub struct Positions {
    file: RecordFile,
    slots: HashMap<Origin, usize>,
    heads: Heads,
    retry: Outage,
}

impl Positions {
    /// Of a record as it was found, or made.
    pub fn of(file: RecordFile) -> Positions {
        let record = &file.record;
        let slots = (0..record.slot_count()).filter_map(|slot| Some((record.origin(slot)?, slot))).collect();
        Positions { file, slots, heads: Heads::default(), retry: Outage::default() }
    }

    /// The record.
    pub fn record(&self) -> &Record {
        &self.file.record
    }

    /// The same, for the bytes and the steps of a block.
    pub fn record_mut(&mut self) -> &mut Record {
        &mut self.file.record
    }

    /// How many generations have one.
    pub fn count(&self) -> usize {
        self.slots.len()
    }

    /// Forgets all generations but these, and those on their way.
    pub fn retain(&mut self, origins: &[Origin]) {
        let kept: HashSet<&Origin> = origins.iter().collect();
        let gone: Vec<Origin> = self.slots.keys().filter(|origin| !kept.contains(origin)).copied().collect();
        self.forget(&gone);
    }

    /// Forgets these generations, but those on their way.
    pub fn forget(&mut self, origins: &[Origin]) {
        let record = &mut self.file.record;
        let on_their_way: HashSet<usize> = record.entries().iter().map(|entry| entry.slot).collect();
        for origin in origins {
            if let Some(slot) = self.slots.get(origin).copied().filter(|slot| !on_their_way.contains(slot)) {
                debug_assert_eq!(record.origin(slot), Some(*origin));
                record.release_slot(slot);
                self.heads.forget(slot);
                self.slots.remove(origin);
            }
        }
    }

    /// What the record is to say of these runs. `Err`: it has no room for their positions, and is asked again then.
    pub fn entries(&mut self, runs: &Runs, said: &mut Messages, now: Instant) -> Result<Vec<Portion>, Option<Instant>> {
        if let until @ Some(_) = self.retry.until(now) {
            return Err(until);
        }
        let mut entries = Vec::with_capacity(runs.len());
        for run in runs.iter() {
            let slot = match self.slots.get(&run.origin) {
                Some(slot) => *slot,
                None => self.take_slot(run.origin, said, now).ok_or_else(|| self.retry.until(now))?,
            };
            if let Some(stops) = &run.stops {
                // The bytes of the file are others: its head is not known by them.
                let stop = stops.last().filter(|stop| stop.end == run.end).expect("a block ends at a stop");
                entries.push(Portion { slot, end: run.end, offset: stop.offset, guard: stop.guard });
                continue;
            }
            let record = &mut self.file.record;
            let bytes = &record.area(runs.area(), run.file_end)[run.begin..];
            // Of a newline alone that was added nothing is to be known: what was known before holds.
            let before = record.position(slot).filter(|_| bytes.is_empty());
            let guard = before.map_or(Guard::of_end(bytes), |before| before.guard);
            if let Some(head) = self.heads.add(slot, run.offset - bytes.len() as u64, bytes) {
                record.store_head(slot, head);
            }
            entries.push(Portion { slot, end: run.end, offset: run.offset, guard });
        }
        debug_assert!(entries.is_sorted_by(|one, next| one.end < next.end));
        Ok(entries)
    }

    fn take_slot(&mut self, origin: Origin, said: &mut Messages, now: Instant) -> Option<usize> {
        loop {
            if let Some(slot) = self.file.record.take_slot(origin) {
                let before = self.slots.insert(origin, slot);
                debug_assert!(before.is_none(), "a generation has one slot");
                self.retry.succeeded();
                return Some(slot);
            }
            if let Err(error) = self.file.grow() {
                self.retry.failed(now, said, Severity::Error, &format!("{error}; waiting"));
                return None;
            }
        }
    }
}
