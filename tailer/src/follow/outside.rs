//! A source as it is seen from outside: what of it waits, and why it is not read.

use std::fs;

use crate::follow::generation::Generation;
use crate::follow::settings::StartAt;
use crate::identity::Identity;
use crate::open::Refusal;
use crate::source::Source;

impl Source {
    /// Bytes of unfinished lines that are held until they are whole.
    pub fn held_bytes(&self) -> u64 {
        self.chain.iter().map(|generation| generation.held.len() as u64).sum()
    }

    /// Whether an output has the beginning of a line, and waits for the rest.
    pub fn is_inside_line(&self) -> bool {
        self.chain.iter().any(|generation| generation.is_inside_line)
    }

    /// Bytes that its files had when they were last looked at, and that were not read.
    pub fn unread_bytes(&self) -> u64 {
        self.chain.iter().map(unread_bytes).sum()
    }

    /// Bytes that are there and not delivered, but for an unfinished line at the end; asks the kernel.
    pub fn left_bytes(&self) -> u64 {
        let is_open = self.chain.back().is_some_and(Generation::is_open);
        let unopened = if is_open { 0 } else { self.unopened_bytes().unwrap_or(0) };
        self.chain.iter().map(left_bytes).sum::<u64>() + unopened
    }

    /// What the file under its name has beyond what was read of it, as far as that is to be delivered.
    fn unopened_bytes(&self) -> Option<u64> {
        let metadata = fs::metadata(&self.path).ok().filter(|_| self.refused.is_none())?;
        let identity = Identity::from(&metadata);
        let known = self.restored.as_ref().and_then(|state| state.generations.last());
        let from = if let Some(last) = self.chain.back() {
            (last.inode == identity).then(|| last.size.max(last.seen()))
        } else if let Some(known) = known {
            (known.origin.identity == identity).then_some(known.offset)
        } else if self.looks > 0 || self.settings.start_at == StartAt::Beginning {
            None
        } else {
            return None;
        };
        Some(metadata.len().saturating_sub(from.unwrap_or(0)))
    }

    /// Whether its files have more now than was read; asks the kernel.
    pub fn has_unread(&self) -> bool {
        let len = |generation: &Generation| generation.file()?.metadata().ok().map(|metadata| metadata.len());
        let mut given = self.chain.iter().filter(|generation| generation.twin.is_none());
        given.any(|generation| len(generation).is_some_and(|len| len > generation.seen()))
    }

    /// Why it is not read, as far as that is not a matter of time. `None`: it is read.
    pub fn complaint(&self) -> Option<String> {
        // What is followed under another name is followed.
        let refused = self.refused.filter(|refusal| *refusal != Refusal::Followed).map(|refusal| refusal.to_string());
        let of_one = self.chain.iter().find_map(|generation| generation.trouble).map(|trouble| trouble.errno);
        refused.or_else(|| self.said.or(of_one).map(|errno| format!("{errno:?}: {}", errno.desc())))
    }
}

fn left_bytes(generation: &Generation) -> u64 {
    let len = generation.file().and_then(|file| file.metadata().ok()).map(|metadata| metadata.len());
    let unread = len.map_or_else(|| unread_bytes(generation), |len| len.saturating_sub(generation.seen()));
    // What is held is an unfinished line only where nothing follows it.
    let held = if unread > 0 { generation.held.len() as u64 } else { 0 };
    generation.put.saturating_sub(generation.delivered) + held + unread
}

fn unread_bytes(generation: &Generation) -> u64 {
    if generation.at_end.is_some() || generation.twin.is_some() {
        0
    } else {
        generation.size.saturating_sub(generation.seen())
    }
}
