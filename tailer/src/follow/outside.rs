//! A source as it is seen from outside: what of it waits, and why it is not read.

use crate::follow::generation::Generation;
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

    /// Whether its files have more now than was read; asks the kernel.
    pub fn has_unread(&self) -> bool {
        let len = |generation: &Generation| generation.file()?.metadata().ok().map(|metadata| metadata.len());
        self.chain.iter().any(|generation| len(generation).is_some_and(|len| len > generation.seen()))
    }

    /// Why it is not read, as far as that is not a matter of time. `None`: it is read.
    pub fn complaint(&self) -> Option<String> {
        // What is followed under another name is followed.
        let refused = self.refused.filter(|refusal| *refusal != Refusal::Followed).map(|refusal| refusal.to_string());
        let of_one = self.chain.iter().find_map(|generation| generation.trouble).map(|trouble| trouble.errno);
        refused.or_else(|| self.said.or(of_one).map(|errno| format!("{errno:?}: {}", errno.desc())))
    }
}

fn unread_bytes(generation: &Generation) -> u64 {
    if generation.at_end.is_some() { 0 } else { generation.size.saturating_sub(generation.seen()) }
}
