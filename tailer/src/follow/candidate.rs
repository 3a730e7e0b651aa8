//! A file beside the live one that is not known yet, and what is asked about it before it is judged.

use std::fs::File;
use std::path::PathBuf;

use crate::follow::memory::Memory;
use crate::follow::sample::Sample;
use crate::follow::settings::Surroundings;
use crate::guard::{Guard, Head};
use crate::identity::Identity;

/// Births are as old as the last tick of the kernel's clock, changes are not: so much later a change may seem to be than
/// the birth of the next file.
const TICK_NS: i64 = 20_000_000;

/// A file beside the live one that is not known.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub(crate) path: PathBuf,
    pub(crate) identity: Identity,
    pub(crate) size: u64,
    /// Last change of its content, ns since the epoch: a packed file keeps that of what was packed.
    pub(crate) changed_ns: i64,
    pub(crate) is_packed: bool,
    /// Open, unless it is packed or could not be opened.
    pub(crate) file: Option<File>,
}

impl Candidate {
    /// Its head, and what stands before `offset`. `None`: it cannot be read, or not yet.
    pub(crate) fn sample(&self, offset: u64, around: &mut dyn Surroundings) -> Option<Sample> {
        if self.is_packed {
            return Sample::of_stream(&mut *around.unpack(&self.path).ok()?, offset).ok();
        }
        Sample::of_file(self.file.as_ref()?, self.size, offset).ok()
    }

    /// By what it is older or newer than another: birth, and for a packed file the last change.
    pub(crate) fn age_ns(&self) -> i64 {
        if self.is_packed || self.identity.born_ns == 0 { self.changed_ns } else { self.identity.born_ns }
    }

    /// The same for putting files in order.
    pub(crate) fn order_ns(&self) -> i64 {
        if self.is_packed { self.changed_ns - TICK_NS } else { self.age_ns() }
    }
}

/// The unpacked stream of a file from `seen` on, and what stands before `read` in it.
pub(crate) fn unpacked(
    candidate: &Candidate,
    read: u64,
    seen: u64,
    around: &mut dyn Surroundings,
) -> Option<(Memory, Box<dyn std::io::Read>)> {
    let mut stream = around.unpack(&candidate.path).ok()?;
    let sample = Sample::of_stream(&mut *stream, read).ok()?;
    Sample::of_stream(&mut *stream, seen - read).ok()?;
    Some((Memory::Bytes { head: sample.head, tail: sample.before }, stream))
}

/// Head and end of a file, by which a copy of it is known.
pub(crate) fn guards(candidate: &Candidate) -> (Head, Option<Guard>) {
    let Some(file) = &candidate.file else { return (Head::default(), None) };
    match Sample::of_file(file, candidate.size, candidate.size) {
        Ok(sample) => (Head::of(&sample.head), Some(Guard::of_end(&sample.before))),
        Err(_) => (Head::default(), None),
    }
}
