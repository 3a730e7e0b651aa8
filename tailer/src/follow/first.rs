//! What a live file begins with, before any of it was read.
//!
//! Of a file of which nothing was read nobody can tell whether it was truncated. So a look sees its first bytes, then
//! goes through the files around it, and only what still stands there after that is given.

use memchr::memchr;

use crate::follow::generation::Generation;
use crate::follow::memory::read_up_to;
use crate::guard::GUARD_BYTES_MAX;

impl Generation {
    /// Whether a look has to see its first bytes before they are given: a truncation would not show.
    pub fn wants_peek(&self) -> bool {
        self.is_live() && self.seen() == 0 && self.size > 0 && self.first.is_none() && self.file().is_some()
    }

    /// Reads its first bytes, if none was read before; whether there are some.
    pub fn peek(&mut self) -> bool {
        if !self.is_live() || self.seen() > 0 {
            return false;
        }
        let mut bytes = vec![0; GUARD_BYTES_MAX];
        self.first = match self.file().map(|file| read_up_to(file, &mut bytes, 0)) {
            None | Some(Ok(0)) => None,
            // Zeros may be a hole: the read that follows finds out, as it does of an error.
            Some(Ok(read)) => Some(bytes[..memchr(0, &bytes[..read]).unwrap_or(read)].to_vec()),
            Some(Err(_)) => Some(Vec::new()),
        };
        self.begin_length();
        self.first.is_some()
    }

    /// Forgets the first bytes if they are not there any more: a copy of them may be on the list already.
    pub fn confirm_first(&mut self) {
        let Some(first) = &self.first else { return };
        let mut bytes = vec![0; first.len()];
        let read = self.file().map(|file| read_up_to(file, &mut bytes, 0));
        if matches!(read, Some(Ok(_))) && bytes != *first {
            self.first = None;
            self.begin_length();
        }
    }

    /// How long it was before these first bytes says nothing of the life that they begin.
    fn begin_length(&mut self) {
        self.longest = self.file().and_then(|file| file.metadata().ok()).map_or(0, |metadata| metadata.len());
    }
}
