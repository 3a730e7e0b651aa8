//! What is known of the files of a spool: which are on their way, which are delivered and not removed, and how far those
//! are delivered that a run before put and that are there still.
//!
//! ```text
//! begin ─▶ flying, read ─▶ put ─▶ in flight ─▶ delivered ─▶ landed ─▶ removed: forgotten
//!                                                                └──▶ stays: known, not to be delivered again
//! ```
//! The record of a pipe has a position of each file until it is removed. What it says is taken up once the directory
//! can be read, and before anything of the spool is put.
//!
//! Invariant: what is in flight or landed is flying; a file that flies is not begun.

use std::collections::{HashMap, HashSet, VecDeque};
use std::ffi::OsStr;
use std::io;
use std::path::Path;

use super::dir::{self, Brief, Dir, Name, Readable, Stands};
use super::remove::Flight;
use super::scan::{Arrival, FILES_MAX};
use crate::file::identity::{Identity, Origin};
use crate::log::memory::Memory;
use crate::out::lines::{GenerationId, SourceId};
use crate::out::output::Delivered;
use crate::stage::Position;

/// How far a file was delivered.
#[derive(Clone, Debug)]
struct Progress {
    /// Which of its lives.
    epoch: u32,
    offset: u64,
    /// What stands before that. What is not known fits no file: it is delivered again rather than torn.
    memory: Memory,
}

/// What is known of a file from before.
pub struct Known {
    /// Which of its lives this is.
    pub origin: Origin,
    /// How far that is delivered.
    pub offset: u64,
    /// What stands before that.
    pub memory: Memory,
    /// The life before, if this one was not met yet.
    pub before: Option<Origin>,
}

/// All of it, of one spool.
#[derive(Debug)]
pub struct Ledger {
    spool: SourceId,
    generations: u32,
    /// Whether it is known what the output knows.
    is_taken_up: bool,
    /// Put and not delivered, in order.
    flights: VecDeque<Flight>,
    /// Begun and not removed, by what they are.
    flying: HashSet<Identity>,
    /// Delivered and not removed.
    landed: Vec<Flight>,
    /// Of files that are there still.
    known: HashMap<Identity, Progress>,
    /// What a part of is delivered.
    begun: HashSet<Name>,
    /// What the output need not know of any more.
    gone: Vec<Origin>,
}

impl Ledger {
    /// That knows nothing of its files.
    pub fn new(spool: SourceId) -> Ledger {
        Ledger {
            spool,
            generations: 0,
            is_taken_up: false,
            flights: VecDeque::new(),
            flying: HashSet::new(),
            landed: Vec::new(),
            known: HashMap::new(),
            begun: HashSet::new(),
            gone: Vec::new(),
        }
    }

    /// A number for the next file.
    pub fn new_id(&mut self) -> GenerationId {
        self.generations = self.generations.wrapping_add(1);
        GenerationId::new(self.spool, self.generations)
    }

    /// Learns what an output knows of files that a run before delivered and that are there still. Not while the
    /// directory cannot be read: nobody knows then which these are.
    pub fn take_up(&mut self, dir: &Path, positions: &[Position]) {
        self.is_taken_up = positions.is_empty() || self.find_known(dir, positions).is_ok();
    }

    /// Whether it has.
    pub fn is_taken_up(&self) -> bool {
        self.is_taken_up
    }

    fn find_known(&mut self, dir: &Path, positions: &[Position]) -> io::Result<()> {
        let dir = Dir::open(dir)?;
        let mut of_inodes: HashMap<(u64, u64), Vec<Position>> = HashMap::new();
        for position in positions {
            let Identity { dev, ino, .. } = position.origin.identity;
            of_inodes.entry((dev, ino)).or_default().push(*position);
        }
        let mut failed = None;
        dir.each_name(|name| match dir.brief(name) {
            Ok(Some(Brief { id, odd: None, .. })) => {
                let Some(lives) = of_inodes.get(&id) else { return };
                match dir.look(name) {
                    Ok(Stands::File(looked)) => self.know(name, &looked, lives),
                    Ok(_) => {}
                    Err(error) => failed = Some(error),
                }
            }
            Ok(_) => {}
            Err(error) => failed = Some(error),
        })?;
        failed.map_or(Ok(()), Err)
    }

    fn know(&mut self, name: &OsStr, looked: &Readable, lives: &[Position]) {
        let lives = lives.iter().filter(|life| life.origin.identity == looked.identity);
        let Some(last) = lives.max_by_key(|life| life.origin.epoch) else { return };
        let Position { origin, offset, guard, head } = *last;
        let memory = Memory::Guards { head, tail: Some(guard) };
        self.keep(origin, offset, memory);
        if offset < looked.size {
            self.begun.insert(dir::kept(name));
        }
    }

    /// Of this life so much is delivered, and the file stays.
    fn keep(&mut self, origin: Origin, offset: u64, memory: Memory) {
        self.known.insert(origin.identity, Progress { epoch: origin.epoch, offset, memory });
    }

    /// The lives of files that the output has to know of, beside the one that is being put.
    pub fn origins(&self) -> impl Iterator<Item = Origin> {
        let known = self.known.iter().map(|(identity, known)| Origin { identity: *identity, epoch: known.epoch });
        known.chain(self.flights.iter().chain(&self.landed).map(|flight| flight.origin))
    }

    /// Takes over what another one of the same directory knows of files that are there still.
    pub fn inherit(&mut self, old: &mut Ledger) {
        self.known = std::mem::take(&mut old.known);
    }

    /// Which life of a file this is, and how far it was delivered.
    pub fn known(&self, looked: &Readable) -> io::Result<Known> {
        let identity = looked.identity;
        let anew = |origin| Known { origin, offset: 0, memory: Memory::default(), before: None };
        let Some(Progress { epoch, offset, memory }) = self.known.get(&identity) else {
            return Ok(anew(Origin { identity, epoch: 0 }));
        };
        let origin = Origin { identity, epoch: *epoch };
        if let Some(memory) = memory.found_in(&looked.open()?, *offset)? {
            return Ok(Known { origin, offset: *offset, memory, before: None });
        }
        // It was written anew under the same name.
        Ok(Known { before: Some(origin), ..anew(Origin { epoch: epoch + 1, ..origin }) })
    }

    /// From now on only the new life of a file counts.
    pub fn begin_life(&mut self, origin: Origin, before: Origin) {
        debug_assert!(origin.identity == before.identity && origin.epoch == before.epoch + 1);
        self.keep(origin, 0, Memory::default());
        self.gone.push(before);
    }

    /// Whether a part of a file of this name is delivered.
    pub fn was_begun(&self, name: &OsStr) -> bool {
        self.begun.contains(name)
    }

    /// And whether any is.
    pub fn has_begun(&self) -> bool {
        !self.begun.is_empty()
    }

    /// The same, and it is begun again now.
    pub fn take_begun(&mut self, name: &Name) -> bool {
        self.begun.remove(name)
    }

    /// It could not be.
    pub fn give_back_begun(&mut self, name: Name) {
        self.begun.insert(name);
    }

    /// Only of these.
    pub fn retain_begun(&mut self, is_there: impl FnMut(&Name) -> bool) {
        self.begun.retain(is_there);
    }

    /// A file is being put, or is to be removed without.
    pub fn fly(&mut self, identity: Identity) {
        let is_new = self.flying.insert(identity);
        debug_assert!(is_new, "a file that flies is not begun");
    }

    /// Whether it is.
    pub fn is_flying(&self, identity: &Identity) -> bool {
        self.flying.contains(identity)
    }

    /// Those that are not of these that were found.
    pub fn leave_out_flying(&self, found: &mut Vec<Arrival>) {
        if !self.flying.is_empty() {
            let flying: HashSet<_> = self.flying.iter().map(|identity| (identity.dev, identity.ino)).collect();
            found.retain(|found| found.file.is_none_or(|file| !flying.contains(&file.id)));
        }
    }

    /// It was put to its end.
    pub fn put(&mut self, flight: Flight) {
        debug_assert!(self.is_flying(&flight.origin.identity));
        self.flights.push_back(flight);
    }

    /// It could not be: so much of it is on its way, and the rest is tried again.
    pub fn abandon(&mut self, origin: Origin, offset: u64, memory: Memory) {
        let flew = self.flying.remove(&origin.identity);
        debug_assert!(flew, "what is put is flying");
        self.keep(origin, offset, memory);
    }

    /// Nothing of it has to be delivered: it is to be removed.
    pub fn land(&mut self, flight: Flight) {
        self.fly(flight.origin.identity);
        self.landed.push(flight);
    }

    /// The output delivered something. How many bytes the files have that are delivered with it.
    pub fn deliver(&mut self, delivered: Delivered) -> u64 {
        let mut bytes = 0;
        while let Some(first) = self.flights.front() {
            // What comes later was put later.
            let is_there = first.generation == delivered.generation && first.end <= delivered.offset;
            if !is_there && first.generation >= delivered.generation {
                break;
            }
            let Some(flight) = self.flights.pop_front() else { break };
            bytes += flight.end;
            self.landed.push(flight);
        }
        bytes
    }

    /// Those that are delivered, to be removed now.
    pub fn take_landed(&mut self) -> Vec<Flight> {
        let landed = std::mem::take(&mut self.landed);
        for flight in &landed {
            let flew = self.flying.remove(&flight.origin.identity);
            debug_assert!(flew, "what landed is flying");
        }
        landed
    }

    /// One of these stays: it is not to be delivered again.
    pub fn stay(&mut self, flight: Flight) {
        self.keep(flight.origin, flight.end, flight.memory);
    }

    /// One is there no more.
    pub fn forget(&mut self, origin: Origin) {
        self.known.remove(&origin.identity);
        self.gone.push(origin);
    }

    /// What is there no more, under any name, needs not be known. For a look that found all files.
    pub fn forget_gone(&mut self, found: &[Arrival]) {
        if self.known.is_empty() || found.len() >= FILES_MAX {
            return;
        }
        let there: HashSet<(u64, u64)> = found.iter().filter_map(|found| Some(found.file?.id)).collect();
        let is_there = |identity: &Identity| there.contains(&(identity.dev, identity.ino));
        let gone = self.known.extract_if(|identity, _| !is_there(identity) && !self.flying.contains(identity));
        self.gone.extend(gone.map(|(identity, Progress { epoch, .. })| Origin { identity, epoch }));
    }

    /// What the output need not know of any more.
    pub fn take_gone(&mut self) -> Vec<Origin> {
        std::mem::take(&mut self.gone)
    }

    /// How many files are put and not delivered, and how many bytes they have.
    pub fn on_their_way(&self) -> (u64, u64) {
        (self.flights.len() as u64, self.flights.iter().map(|flight| flight.end).sum())
    }

    /// Whether all that was put is delivered, and removed as far as it can be.
    pub fn is_idle(&self) -> bool {
        self.flights.is_empty() && self.landed.is_empty()
    }

    /// How many files are known that are there still.
    #[cfg(test)]
    pub fn known_count(&self) -> usize {
        self.known.len()
    }
}
