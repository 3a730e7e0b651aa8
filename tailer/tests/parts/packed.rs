//! What packed files beside a log cost: each is unpacked at most once, and only as far as it may be a copy.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::follower::{Follower, lines, same};
use standpipe_tailer::file::identity::Identity;
use standpipe_tailer::log::settings::{Hints, Surroundings};

/// Counts what is unpacked.
struct Counted<'a> {
    beside: &'a mut crate::follower::Beside,
    bytes: Rc<Cell<usize>>,
}

struct Stream(Box<dyn Read>, Rc<Cell<usize>>);

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.0.read(buffer)?;
        self.1.set(self.1.get() + read);
        Ok(read)
    }
}

impl Surroundings for Counted<'_> {
    fn candidates(&mut self) -> Vec<PathBuf> {
        self.beside.candidates()
    }

    fn is_packed(&self, path: &Path) -> bool {
        self.beside.is_packed(path)
    }

    fn unpack(&mut self, file: File, path: &Path) -> io::Result<Box<dyn Read>> {
        Ok(Box::new(Stream(self.beside.unpack(file, path)?, self.bytes.clone())))
    }

    fn is_ours(&self, identity: &Identity) -> bool {
        self.beside.is_ours(identity)
    }
}

/// How many bytes a look unpacks, and the reads after it.
fn unpacked_by_a_turn(follower: &mut Follower) -> usize {
    let bytes = Rc::new(Cell::new(0));
    let mut around = Counted { beside: &mut follower.beside, bytes: bytes.clone() };
    follower.source.look(follower.now, Hints { names: true, content: true }, &mut around);
    follower.read();
    follower.advance(1000);
    bytes.get()
}

#[test]
fn of_packed_files_that_are_no_copies_the_beginning_is_enough_and_once() {
    const FILES: u32 = 100;
    let mut follower = Follower::new(true);
    let size = lines(0..2000).len();
    for number in 1..=FILES {
        follower.append(&format!("app.log.{number}"), lines(number * 10_000..number * 10_000 + 2000));
        follower.pack(&format!("app.log.{number}"));
    }
    follower.settings.since_ns = i64::MAX;
    follower.source = standpipe_tailer::log::source::Source::new(
        standpipe_tailer::out::lines::SourceId(0),
        follower.log.clone(),
        std::sync::Arc::new(follower.settings.clone()),
    );
    // Nothing of it was read when they are looked at first.
    follower.append("app.log", lines(0..2000));
    let first = unpacked_by_a_turn(&mut follower);
    assert!(first <= FILES as usize * 4096, "{first} bytes of {FILES} files of {size}");
    assert_eq!(unpacked_by_a_turn(&mut follower), 0);
    same(&follower.text(), &lines(0..2000));
}

#[test]
fn what_was_delivered_is_known_in_its_packed_copy_by_its_beginning_and_its_last_change() {
    let mut follower = Follower::new(true);
    follower.append("app.log", lines(0..2000));
    follower.turn();
    follower.rename("app.log", "app.log.1");
    follower.append("app.log", lines(2000..2010));
    follower.settle();
    follower.pack("app.log.1");
    let unpacked = unpacked_by_a_turn(&mut follower);
    assert!(unpacked <= 4096, "{unpacked} bytes");
    assert_eq!(unpacked_by_a_turn(&mut follower), 0);
    // Not when it was written to after that.
    follower.rename("app.log", "app.log.2");
    follower.append("app.log", lines(2020..2030));
    follower.settle();
    follower.append("app.log.2", lines(2010..2020));
    follower.pack("app.log.2");
    follower.settle();
    same(&follower.text(), &(lines(0..2010) + &lines(2020..2030) + &lines(2010..2020)));
}
