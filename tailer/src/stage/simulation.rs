//! The steps against a model of both pipes, stopped before every store, write, read and splice, and again while they
//! recover: whatever the stop, every line arrives once, whole and in the order of its source.
//!
//! Record and steps are the real ones; the pipes are lists of pages as the kernel's are.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::path::Path;
use std::rc::Rc;

use standpipe_common::sys::PAGE_BYTES;

use super::file::{RecordFile, Setting};
use super::message::Messages;
use super::pieces::PIECE_BYTES_MAX;
use super::record::Portion;
use super::steps::{Pipes, Steps, Went};
use crate::file::guard::Guard;
use crate::file::identity::{Identity, Origin};

const CANARY: u8 = 0xFF;
const AREA_BYTES: usize = 5 * PAGE_BYTES;

/// A pipe: pages, each with what was written into it.
#[derive(Default)]
struct Pipe {
    pages: VecDeque<Vec<u8>>,
    pages_max: usize,
}

impl Pipe {
    fn bytes(&self) -> usize {
        self.pages.iter().map(Vec::len).sum()
    }

    fn write(&mut self, bytes: &[u8]) -> usize {
        // The odd end of a write goes first, into the last page if it fits there.
        let odd = bytes.len() % PAGE_BYTES;
        let mut done = 0;
        if let Some(last) = self.pages.back_mut()
            && odd > 0
            && last.len() + odd <= PAGE_BYTES
        {
            last.extend_from_slice(&bytes[..odd]);
            done = odd;
        }
        while done < bytes.len() && self.pages.len() < self.pages_max {
            let len = (bytes.len() - done).min(PAGE_BYTES);
            self.pages.push_back(bytes[done..done + len].to_vec());
            done += len;
        }
        done
    }

    fn read(&mut self, bytes_max: usize) -> Vec<u8> {
        let mut read = Vec::new();
        while read.len() < bytes_max
            && let Some(mut page) = self.pages.pop_front()
        {
            let left = page.split_off(page.len().min(bytes_max - read.len()));
            read.extend(page);
            if !left.is_empty() {
                self.pages.push_front(left);
            }
        }
        read
    }

    fn splice(&mut self, into: &mut Pipe, bytes_max: usize) -> usize {
        let mut moved = 0;
        while moved < bytes_max && into.pages.len() < into.pages_max && !self.pages.is_empty() {
            let len = self.pages[0].len().min(bytes_max - moved);
            into.pages.push_back(self.read(len));
            moved += len;
        }
        moved
    }
}

/// What outlives a process, and the stop that awaits it.
struct Kernel {
    stage: Option<Pipe>,
    stage_says_pages: usize,
    target: Pipe,
    arrived: Vec<u8>,
    passes: usize,
    stop_at: usize,
}

#[derive(Clone)]
struct Model(Rc<RefCell<Kernel>>);

impl Pipes for Model {
    fn pass(&mut self, _point: &'static str) -> io::Result<()> {
        let mut kernel = self.0.borrow_mut();
        kernel.passes += 1;
        if kernel.passes == kernel.stop_at { Err(io::Error::other("killed")) } else { Ok(()) }
    }

    fn stage(&self) -> Option<Identity> {
        self.0.borrow().stage.as_ref().map(|_| Identity { dev: 1, ino: 2, born_ns: 3 })
    }

    fn stage_pages(&self) -> io::Result<usize> {
        Ok(self.0.borrow().stage_says_pages)
    }

    fn staged(&mut self) -> io::Result<usize> {
        Ok(self.0.borrow().stage.as_ref().unwrap().bytes())
    }

    fn look(&mut self) -> io::Result<Vec<u8>> {
        Ok(self.0.borrow().stage.as_ref().unwrap().pages.iter().flatten().copied().collect())
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(self.0.borrow_mut().stage.as_mut().unwrap().write(bytes))
    }

    fn take(&mut self, bytes_max: usize) -> io::Result<usize> {
        Ok(self.0.borrow_mut().stage.as_mut().unwrap().read(bytes_max).len())
    }

    fn forward(&mut self, bytes_max: usize) -> io::Result<usize> {
        let kernel = &mut *self.0.borrow_mut();
        Ok(kernel.stage.as_mut().unwrap().splice(&mut kernel.target, bytes_max))
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(self.0.borrow_mut().target.write(bytes))
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % end
    }
}

/// The sources: their lines begin with their letter and a number.
fn sources(random: &mut Random) -> Vec<Vec<u8>> {
    let source = |letter: u8, random: &mut Random| {
        let mut bytes = Vec::new();
        for number in 0..5 + random.below(12) {
            let len = match random.below(10) {
                0 => 4000 + random.below(9000),
                1..=4 => 700 + random.below(1500),
                _ => 10 + random.below(100),
            };
            bytes.extend(format!("{}{number:04} ", letter as char).bytes());
            bytes.extend((0..len).map(|at| b'a' + ((at * 7 + number) % 26) as u8));
            bytes.push(b'\n');
        }
        bytes
    };
    vec![source(b'A', random), source(b'B', random)]
}

fn origin(source: usize) -> Origin {
    Origin { identity: Identity { dev: 1, ino: source as u64 + 10, born_ns: 0 }, epoch: 0 }
}

/// A process, from its start until all is delivered or it is killed (`false`).
fn run(path: &Path, model: &Model, sources: &[Vec<u8>], seed: u64, said: &mut Messages) -> bool {
    let mut random = Random(seed);
    let setting = Setting { boot: "this", now_ns: 0, area_bytes: AREA_BYTES };
    let mut record = RecordFile::open(path, setting, said).unwrap().record;
    let positions = record.positions();
    let mut offsets: Vec<usize> = (0..sources.len())
        .map(|source| {
            let known = positions.iter().find(|position| position.origin == origin(source));
            if let Some(known) = known {
                let end = &sources[source][..known.offset as usize];
                assert!(known.guard.fits_end(end) != Some(false), "a guard of other bytes");
            }
            known.map_or(0, |known| known.offset as usize)
        })
        .collect();
    let mut slots: HashMap<usize, usize> = HashMap::new();
    for slot in 0..record.slot_count() {
        let source = record.origin(slot).and_then(|found| (0..sources.len()).find(|source| origin(*source) == found));
        slots.extend(source.map(|source| (source, slot)));
    }
    let mut pipes = model.clone();
    let mut steps = Steps::new(CANARY);
    for _ in 0..100_000 {
        let drained = random.below(3 * PAGE_BYTES);
        {
            let kernel = &mut *model.0.borrow_mut();
            let read = kernel.target.read(drained);
            kernel.arrived.extend(read);
        }
        match steps.step(&mut record, &mut pipes, said) {
            Err(error) if error.to_string() != "killed" => panic!("{error}"),
            Err(_) => return false,
            Ok(Went::On | Went::Full | Went::Delivered) => continue,
            Ok(Went::Rest) => {}
        }
        let area = record.word().other_area();
        let mut entries: Vec<Portion> = Vec::new();
        let mut filled = 0;
        for _ in 0..=random.below(4) {
            let source = random.below(sources.len());
            let rest = &sources[source][offsets[source]..];
            let lines: usize =
                rest.split_inclusive(|byte| *byte == b'\n').take(1 + random.below(3)).map(<[u8]>::len).sum();
            if lines == 0 || filled + lines > AREA_BYTES {
                continue;
            }
            record.area_mut(area)[filled..filled + lines].copy_from_slice(&rest[..lines]);
            let slot = *slots.entry(source).or_insert_with(|| record.take_slot(origin(source)).unwrap());
            filled += lines;
            offsets[source] += lines;
            let guard = Guard::of_end(&rest[..lines]);
            entries.push(Portion { slot, end: filled, offset: offsets[source] as u64, guard });
            if pipes.pass("put").is_err() {
                return false;
            }
        }
        if filled > 0 {
            if steps.begin(&mut record, &mut pipes, area, &entries).is_err() {
                return false;
            }
        } else if (0..sources.len()).all(|source| offsets[source] == sources[source].len()) {
            return true;
        }
    }
    panic!("it never ends: {:?}", record.word());
}

/// What happens to the staging pipe besides the kills.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Held,
    /// It is empty after each kill: nobody held it.
    Unheld,
    /// There is none.
    Missing,
    /// It takes less than it says.
    Smaller,
    /// After each kill somebody has written into it.
    Written,
}

struct Ending {
    passes: usize,
    arrived: Vec<u8>,
    said: Vec<String>,
}

/// Runs with kills at the given passes, each counted from the start of its process.
fn live(sources: &[Vec<u8>], seed: u64, fate: Fate, kills: &[usize]) -> Ending {
    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let path = dir.path().join("record");
    let mut random = Random(seed);
    let pages_max = [2, 3, 5, 8][random.below(4)];
    let says = if fate == Fate::Smaller { 8 } else { pages_max };
    let kernel = Kernel {
        stage: (fate != Fate::Missing).then(|| Pipe { pages: VecDeque::new(), pages_max }),
        stage_says_pages: says,
        target: Pipe { pages: VecDeque::new(), pages_max: [1, 2, 4, 16][random.below(4)] },
        arrived: Vec::new(),
        passes: 0,
        stop_at: 0,
    };
    let model = Model(Rc::new(RefCell::new(kernel)));
    let mut said = Messages::about(Path::new("T"));
    let mut kills = kills.iter();
    let mut passes = 0;
    loop {
        model.0.borrow_mut().stop_at = kills.next().copied().unwrap_or(0);
        let is_done = run(&path, &model, sources, seed, &mut said);
        let kernel = &mut *model.0.borrow_mut();
        passes = passes.max(kernel.passes);
        kernel.passes = 0;
        if is_done {
            let rest = kernel.target.read(usize::MAX);
            kernel.arrived.extend(rest);
            let said = said.take().into_iter().map(|message| message.text).collect();
            return Ending { passes, arrived: std::mem::take(&mut kernel.arrived), said };
        }
        match (fate, &mut kernel.stage) {
            (Fate::Unheld, Some(stage)) => stage.pages.clear(),
            (Fate::Written, Some(stage)) => drop(stage.write(b"a line of somebody else\n")),
            _ => {}
        }
    }
}

/// What is wrong with what arrived: lines of each source in order, none missing; repeated ones only if that was said.
fn judge(sources: &[Vec<u8>], outcome: &Ending, fate: Fate) -> Result<usize, String> {
    let may_repeat = match fate {
        Fate::Held | Fate::Smaller => false,
        Fate::Missing => true,
        Fate::Unheld | Fate::Written => outcome.said.iter().any(|text| text.contains("may be repeated")),
    };
    let mut repeated = 0;
    let mut torn = 0;
    for source in sources {
        let mut next = source.split_inclusive(|byte| *byte == b'\n').peekable();
        let all: Vec<&[u8]> = next.clone().collect();
        let letter = source[0];
        for line in outcome.arrived.split_inclusive(|byte| *byte == b'\n').filter(|line| line[0] == letter) {
            // A long line that was repeated from its middle is all there and looks like none.
            while may_repeat && next.peek().is_some_and(|next| next.len() > PIECE_BYTES_MAX && *next != line) {
                next.next();
            }
            if next.peek() == Some(&line) {
                next.next();
            } else if all.contains(&line) {
                repeated += 1;
            } else {
                torn += 1;
            }
        }
        let is_missing = |line: &&&[u8]| !may_repeat || line.len() <= PIECE_BYTES_MAX;
        if let Some(line) = next.peek().filter(is_missing) {
            return Err(format!("lost: {:?}", String::from_utf8_lossy(&line[..20.min(line.len())])));
        }
    }
    let total: usize = sources.iter().map(Vec::len).sum();
    let is_same = outcome.arrived.len() == total && repeated == 0 && torn == 0;
    // Where nothing happened but kills, there is nothing to be said either.
    let is_same = is_same && (fate != Fate::Held || outcome.said.is_empty());
    if is_same || may_repeat {
        Ok(repeated)
    } else {
        Err(format!("{repeated} repeated, {torn} torn, {:?}", outcome.said))
    }
}

/// Every pass as a stop, and for some of them every early pass of the recovery as a second one.
fn stop_everywhere(fate: Fate, seeds: std::ops::Range<u64>, second_stops: usize) -> usize {
    let mut runs = 0;
    for seed in seeds {
        let seed = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let sources = sources(&mut Random(seed));
        let whole = live(&sources, seed, fate, &[]);
        judge(&sources, &whole, fate).unwrap_or_else(|wrong| panic!("{fate:?} {seed}: {wrong}"));
        for first in 1..=whole.passes {
            let mut stops = vec![vec![first]];
            stops.extend((1..=second_stops).map(|second| vec![first, second + (first * 5) % 3]));
            for kills in stops {
                let outcome = live(&sources, seed, fate, &kills);
                runs += 1;
                if let Err(wrong) = judge(&sources, &outcome, fate) {
                    panic!("{fate:?} {seed} killed at {kills:?}: {wrong}");
                }
            }
        }
    }
    runs
}

#[test]
fn whatever_the_stop_every_line_arrives_once() {
    let runs = stop_everywhere(Fate::Held, 1..5, 4);
    assert!(runs > 1500, "{runs}");
}

#[test]
fn a_staging_pipe_that_takes_less_than_it_says_changes_nothing() {
    stop_everywhere(Fate::Smaller, 20..24, 1);
}

#[test]
fn nothing_is_lost_and_no_repeat_unsaid_when_the_staging_pipe_was_emptied() {
    stop_everywhere(Fate::Unheld, 40..44, 1);
}

#[test]
fn nothing_is_lost_without_a_staging_pipe() {
    stop_everywhere(Fate::Missing, 60..64, 1);
}

#[test]
fn what_others_do_to_the_staging_pipe_is_seen() {
    stop_everywhere(Fate::Written, 90..93, 1);
}
