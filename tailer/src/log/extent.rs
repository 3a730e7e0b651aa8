//! How long the file of a generation is, as far as it was seen: when it was looked at last, and ever; whether its end was
//! read; and the zeros that it ends in.
//!
//! Invariant: zeros are known no further than the file was long at the last look, unless they are to be read.

use std::fs::File;
use std::time::Instant;

use crate::file::open::Stamp;
use crate::log::blank::{Blank, Zeros};

/// Of one life of one inode.
#[derive(Debug)]
pub struct Extent {
    /// When the file was last looked at before a read that found its end.
    at_end: Option<Stamp>,
    /// How long it was at the last look.
    size: u64,
    /// How long this life ever was: after a size was seen, what had been read still stood there.
    longest: u64,
    /// When it was last seen to have grown.
    grown: Instant,
    /// The zeros behind what was read.
    blank: Blank,
    /// Zeros before this offset are what a truncation left.
    zeros_until: u64,
    /// How much was taken of a packed file that gave nothing.
    unyielding: u64,
}

impl Extent {
    /// Nothing is known of it.
    pub(crate) fn new(now: Instant) -> Extent {
        Extent { at_end: None, size: 0, longest: 0, grown: now, blank: Blank::default(), zeros_until: 0, unyielding: 0 }
    }

    /// How long it was at the last look.
    pub fn size(&self) -> u64 {
        self.size
    }

    pub(crate) fn longest(&self) -> u64 {
        self.longest
    }

    pub(crate) fn grown(&self) -> Instant {
        self.grown
    }

    pub(crate) fn at_end(&self) -> Option<Stamp> {
        self.at_end
    }

    pub(crate) fn zeros_until(&self) -> u64 {
        self.zeros_until
    }

    /// How far the zeros were looked at that it ends in, and how much of a packed one gave nothing.
    pub(crate) fn looked_at(&self) -> u64 {
        self.blank.until() + self.unyielding
    }

    /// It is looked at, before a read; whether it grew since the last look.
    pub(crate) fn see(&mut self, stamp: Stamp, now: Instant) -> bool {
        let has_grown = stamp.size > self.size;
        if has_grown {
            self.grown = now;
        }
        self.size = stamp.size;
        self.blank.cut(stamp.size);
        self.at_end = Some(stamp);
        has_grown
    }

    /// Its end is not known, or not any more.
    pub(crate) fn unsettle(&mut self) -> Option<Stamp> {
        self.at_end.take()
    }

    /// What was read was its end after all.
    pub(crate) fn settle(&mut self, at_end: Option<Stamp>) {
        debug_assert!(at_end.is_none_or(|stamp| stamp.size == self.size), "it is as it was looked at");
        self.at_end = at_end;
    }

    /// The size that was seen last was one of this life, not of one that began anew.
    pub(crate) fn confirm(&mut self) {
        self.longest = self.longest.max(self.size);
    }

    /// It was so long, and nothing before tells of this life.
    pub(crate) fn begin(&mut self, longest: u64) {
        self.longest = longest;
    }

    /// Zeros before this offset are what a truncation left.
    pub(crate) fn begin_with_zeros(&mut self, until: u64) {
        self.zeros_until = until;
    }

    /// Lines appear to have come in it now.
    pub(crate) fn grow(&mut self, now: Instant) {
        self.at_end = None;
        self.grown = now;
    }

    /// The same file was opened again, or one with the same bytes.
    pub(crate) fn reopen(&mut self) {
        self.at_end = None;
        self.blank = Blank::default();
    }

    /// Its bytes are those of another file, of which nothing was seen.
    pub(crate) fn begin_anew(&mut self, now: Instant) {
        *self = Extent { longest: self.longest, unyielding: self.unyielding, ..Extent::new(now) };
    }

    /// Some was taken of a packed file that gave nothing.
    pub(crate) fn pass(&mut self, bytes: usize) {
        self.unyielding += bytes as u64;
    }

    /// What the zeros between these places are.
    pub(crate) fn look_at_zeros(&mut self, file: &File, from: u64, until: u64) -> Zeros {
        let zeros = self.blank.look(file, from, until, self.size);
        debug_assert!(zeros != Zeros::Last || self.blank.until() <= self.size, "{self:?}");
        zeros
    }

    /// How many zeros it ends in that are not read, for something may be written over them; `seen`: all before was read.
    pub(crate) fn blank_bytes(&self, seen: u64) -> u64 {
        if self.blank.covers(seen, self.size) { self.size - seen } else { 0 }
    }

    /// Nobody writes over them any more.
    pub(crate) fn admit_zeros(&mut self, seen: u64) {
        if self.blank_bytes(seen) > 0 {
            self.blank.admit(self.size);
        }
    }

    /// How long it was when it ended, as far as is known.
    pub(crate) fn known_size(&self, seen: u64) -> Option<u64> {
        let size = if self.blank.covers(seen, self.longest) { seen } else { self.longest.max(seen) };
        (size > 0).then_some(size)
    }
}
