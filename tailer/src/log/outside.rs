//! A source as it is seen from outside: what of it waits, and why it is not read.

use std::fs;

use crate::file::identity::Identity;
use crate::file::open::Stamp;
use crate::log::blank::content_end;
use crate::log::generation::Generation;
use crate::log::settings::StartAt;
use crate::log::source::Source;

impl Source {
    /// Bytes of unfinished lines that are held until they are whole.
    pub fn held_bytes(&self) -> u64 {
        self.chain.iter().map(|generation| generation.cursor.held().len() as u64).sum()
    }

    /// Whether an output has the beginning of a line, and waits for the rest.
    pub fn is_inside_line(&self) -> bool {
        self.chain.iter().any(|generation| generation.cursor.is_inside_line())
    }

    /// Bytes that its files had when they were last looked at, and that were not read.
    pub fn unread_bytes(&self) -> u64 {
        self.chain.iter().map(unread_bytes).sum()
    }

    /// The most zeros that one of its files ends in, and that are not read.
    pub fn blank_bytes(&self) -> u64 {
        self.chain.iter().map(Generation::blank_bytes).max().unwrap_or(0)
    }

    /// How far the zeros were looked at that its files end in, and how much of packed ones gave nothing.
    pub fn looked_at_bytes(&self) -> u64 {
        self.chain.iter().map(|generation| generation.blank.until() + generation.unyielding).sum()
    }

    /// Whether packed files are gone through before anything is decided, and read.
    pub fn is_comparing(&self) -> bool {
        self.walks.are_under_way()
    }

    /// Whether its name is a mount of its own, in which a rotation by renaming cannot be seen.
    pub fn is_mount(&self) -> bool {
        self.name.is_mount()
    }

    /// Bytes that are there and not delivered, but for an unfinished line at the end; asks the kernel.
    pub fn left_bytes(&self) -> u64 {
        let is_open = self.chain.back().is_some_and(Generation::is_open);
        let unopened = if is_open { 0 } else { self.unopened_bytes().unwrap_or(0) };
        self.chain.iter().map(left_bytes).sum::<u64>() + unopened
    }

    /// What the file under its name has beyond what was read of it, as far as that is to be delivered.
    fn unopened_bytes(&self) -> Option<u64> {
        let metadata = fs::metadata(self.path()).ok().filter(|_| !self.name.is_refused())?;
        let identity = Identity::from(&metadata);
        let known = self.agenda.restored().and_then(|state| state.generations.last());
        let from = if let Some(last) = self.chain.back() {
            (last.inode == identity).then(|| last.size.max(last.seen()))
        } else if let Some(known) = known {
            (known.origin.identity == identity).then_some(known.offset)
        } else if !self.agenda.is_untouched() || self.settings.start_at == StartAt::Beginning {
            None
        } else {
            return None;
        };
        Some(metadata.len().saturating_sub(from.unwrap_or(0)))
    }

    /// Whether its files have more now than was read; asks the kernel.
    pub fn has_unread(&self) -> bool {
        let has_more = |generation: &Generation| {
            let stamp = generation.file().and_then(|file| file.metadata().ok()).map(|metadata| Stamp::from(&metadata));
            let is_read = |stamp: Stamp| generation.at_end == Some(stamp) && generation.blank_bytes() > 0;
            stamp.is_some_and(|stamp| stamp.size > generation.seen() && !is_read(stamp))
        };
        self.chain.iter().filter(|generation| generation.twin.is_none()).any(has_more)
    }

    /// Why it is not read, as far as that is not a matter of time. `None`: it is read.
    pub fn complaint(&self) -> Option<String> {
        let of_one = self.chain.iter().find_map(|generation| generation.trouble).map(|trouble| trouble.errno);
        self.name.complaint(of_one)
    }
}

fn left_bytes(generation: &Generation) -> u64 {
    let seen = generation.seen();
    let len = generation.file().and_then(|file| Some((file, file.metadata().ok()?.len())));
    let unread = len.map_or_else(
        || unread_bytes(generation),
        |(file, len)| content_end(file, seen, len).unwrap_or(len).saturating_sub(seen),
    );
    // What is held is an unfinished line only where nothing follows it.
    let held = if unread > 0 { generation.cursor.held().len() as u64 } else { 0 };
    generation.cursor.on_its_way() + held + unread
}

fn unread_bytes(generation: &Generation) -> u64 {
    if generation.at_end.is_some() || generation.twin.is_some() {
        0
    } else {
        generation.size.saturating_sub(generation.seen()) - generation.blank_bytes()
    }
}
