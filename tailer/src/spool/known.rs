//! What the output knows of files: how far those are delivered that a run before put and that are there still.
//!
//! The record of a pipe has a position of each file until it is removed. What it says is taken up once the directory
//! can be read, and before anything of the spool is put.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::io;

use super::Spool;
use super::dir::{self, Brief, Dir, Looked, Stands};
use super::part::Current;
use super::scan::{Candidate, FILES_MAX};
use crate::follow::memory::Memory;
use crate::identity::{Identity, Origin};
use crate::stage::Position;

/// How far a file was delivered.
#[derive(Clone, Debug)]
pub struct Progress {
    /// Which of its lives.
    pub(super) epoch: u32,
    pub(super) offset: u64,
    /// What stands before that. What is not known fits no file: it is delivered again rather than torn.
    pub(super) memory: Memory,
}

impl Spool {
    /// Learns what an output knows of files that a run before delivered and that are there still. Not while the
    /// directory cannot be read: nobody knows then which these are.
    pub fn take_up(&mut self, positions: &[Position]) {
        self.is_taken_up = positions.is_empty() || self.find_known(positions).is_ok();
    }

    /// Whether it has.
    pub fn is_taken_up(&self) -> bool {
        self.is_taken_up
    }

    /// The lives of files that the output has to know of.
    pub fn origins(&self) -> impl Iterator<Item = Origin> {
        let known = self.known.iter().map(|(identity, known)| Origin { identity: *identity, epoch: known.epoch });
        let here = self.current.iter().map(Current::origin);
        let on_their_way = self.flights.iter().chain(&self.landed).map(|flight| flight.origin);
        known.chain(here).chain(on_their_way)
    }

    /// Takes over what another one of the same directory knows of files that are there still.
    pub fn inherit(&mut self, old: &mut Spool) {
        self.known = std::mem::take(&mut old.known);
    }

    /// What is there no more, under any name, needs not be known. For a look that found all files.
    pub(super) fn forget_gone(&mut self, found: &[Candidate]) {
        if self.known.is_empty() || found.len() >= FILES_MAX {
            return;
        }
        let there: HashSet<(u64, u64)> = found.iter().filter_map(|found| Some(found.file?.id)).collect();
        let is_there = |identity: &Identity| there.contains(&(identity.dev, identity.ino));
        let gone = self.known.extract_if(|identity, _| !is_there(identity) && !self.flying.contains(identity));
        self.gone.extend(gone.map(|(identity, Progress { epoch, .. })| Origin { identity, epoch }));
    }

    fn find_known(&mut self, positions: &[Position]) -> io::Result<()> {
        let dir = Dir::open(&self.config.dir)?;
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

    fn know(&mut self, name: &OsStr, looked: &Looked, lives: &[Position]) {
        let lives = lives.iter().filter(|life| life.origin.identity == looked.identity);
        let Some(last) = lives.max_by_key(|life| life.origin.epoch) else { return };
        let Position { origin, offset, guard, head } = *last;
        let memory = Memory::Guards { head, tail: Some(guard) };
        self.known.insert(origin.identity, Progress { epoch: origin.epoch, offset, memory });
        if offset < looked.size {
            self.begun.insert(dir::kept(name));
        }
    }
}
