//! The crash test: servers write into eight pipes while reader and holder are killed over and over, and then every
//! line must be there once, whole, in its own log.
//!
//! The reader dies at any moment: while it reads, rotates, archives, starts, recovers. Now and then the holder dies
//! while the reader lives. Before some of the kills a part is read, and must still begin with the same bytes at the
//! end. Counts are the caller's: small ones in the tests, full ones in the benchmark.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::deadline::{until, within};
use crate::directory::{KEEP_ALL, Scratch};
use crate::programs::{Daemon, holder, reader};
use crate::world::{self, Check, Random, STAMP_BYTES, Tally, Writer, is_archive};

use super::{Lives, Mortal, write_rows};

/// Pipes, all drained by one thread.
pub const PIPES: usize = 8;
/// Writers that share the first pipe; every other pipe has one.
const WRITERS_OF_FIRST: u16 = 4;
/// How long the archives may take at the end: killed archivers leave a backlog of gigabytes.
const ARCHIVE_SPAN: Duration = Duration::from_secs(600);
/// One in so many kills takes the holder along before.
const HOLDER_EVERY: u64 = 10;

/// How much of it.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// SIGKILLs of the reader, at least.
    pub kills: u64,
    /// Lines of all writers, at least.
    pub lines: u64,
    /// `rotate_size`, MiB.
    pub rotate_mib: u64,
    /// Longest life of a reader between two kills.
    pub life_max: Duration,
    /// Rest of a writer after each line; that of the last pipe never rests.
    pub pause: Duration,
    /// For the lengths of lives.
    pub seed: u64,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Report {
    /// SIGKILLs of the reader.
    pub kills: u64,
    /// SIGKILLs of the holder while the reader lived.
    pub holder_kills: u64,
    /// Starts of the reader that found a chunk in the mailbox.
    pub recoveries: u64,
    /// Writers that got an error instead of going on.
    pub writers_died: u64,
    /// Parts that were read before a kill, and how many of them differ afterwards.
    pub snapshots: (u64, u64),
    /// Archives at the end.
    pub archives: u64,
    /// What became of the lines of all pipes.
    pub tally: Tally,
    /// How long it took.
    pub span: Duration,
}

impl Report {
    /// Nothing was lost, repeated, torn or misplaced, and no writer noticed.
    pub fn is_clean(&self) -> bool {
        self.tally.is_whole() && self.writers_died == 0 && self.snapshots.1 == 0
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tally = &self.tally;
        let rows = [
            ("lines found", tally.found),
            ("SIGKILLs of the reader", self.kills),
            ("SIGKILLs of the holder", self.holder_kills),
            ("starts that recovered a chunk", self.recoveries),
            ("archives", self.archives),
            ("lost", tally.lost),
            ("repeated", tally.repeated),
            ("out of order", tally.disordered),
            ("torn", tally.torn),
            ("in another pipe's log, or nobody's", tally.foreign),
            ("writers that died", self.writers_died),
            ("parts read before a kill", self.snapshots.0),
            ("of these changed by it", self.snapshots.1),
            ("seconds", self.span.as_secs()),
        ];
        write_rows(f, &format!("{PIPES} pipes, one thread"), &rows)
    }
}

/// Carries out a plan.
pub fn run(plan: Plan) -> Report {
    let start = Instant::now();
    let mut stage = Stage::set(plan);
    let is_over = |stage: &mut Stage, kills| kills >= plan.kills && stage.written() >= plan.lines;
    let kills = super::run(&mut stage, Lives::up_to(plan.life_max, plan.seed), is_over, Stage::kill_once);
    Report { kills, span: start.elapsed(), ..stage.finish() }
}

/// A part as it was read before a kill.
struct Snapshot {
    log_dir: PathBuf,
    stem: String,
    bytes: Vec<u8>,
}

struct Stage {
    scratch: Scratch,
    holder: Mortal,
    reader: Mortal,
    /// Writers, each with the place of its pipe.
    writers: Vec<(usize, Writer)>,
    snapshots: Vec<Snapshot>,
    report: Report,
}

impl Stage {
    fn set(plan: Plan) -> Stage {
        let scratch = Scratch::new();
        scratch.write_policy("defaults.toml", &format!("{KEEP_ALL}rotate_size = \"{}MiB\"\n", plan.rotate_mib));
        let fifos: Vec<PathBuf> = (0..PIPES).map(|place| scratch.pipe(&name(place))).collect();
        for place in (0..PIPES).filter(|place| is_stamped(*place)) {
            scratch.write_policy(&format!("{}.toml", name(place)), "stamp = \"iso\"\n");
        }
        let holder = Mortal::start(holder(&scratch));
        let reader = Mortal::start(reader(&scratch));
        let of_first = (0..WRITERS_OF_FIRST).map(|_| 0);
        let places = of_first.chain(1..PIPES);
        let writers = places
            .zip(1..)
            .map(|(place, number)| {
                let pause = if place + 1 == PIPES { Duration::ZERO } else { plan.pause };
                (place, Writer::start(&fifos[place], number, None, pause))
            })
            .collect();
        Stage { scratch, holder, reader, writers, snapshots: Vec::new(), report: Report::default() }
    }

    fn written(&self) -> u64 {
        self.writers.iter().map(|(_, writer)| writer.lines()).sum()
    }

    /// The reader dies, now and then after the holder.
    fn kill_once(&mut self, kills: u64, random: &mut Random) {
        if kills % HOLDER_EVERY == 1 {
            self.kill_holder();
        }
        if kills % HOLDER_EVERY == 2 {
            self.snapshot(random);
        }
        self.reader.kill9();
        let dead = self.reader.revive_or_rush(random);
        self.note_recovery(&dead);
    }

    /// The reader must be up: with nobody else the pipes would go with the holder.
    fn kill_holder(&mut self) {
        if self.reader.lines_with("; recovered ").is_empty() {
            return;
        }
        self.holder.kill();
        self.report.holder_kills += 1;
    }

    fn snapshot(&mut self, random: &mut Random) {
        let place = random.below(PIPES);
        let log_dir = self.scratch.logs().join(name(place));
        let Some(part) = world::parts(&log_dir).pop() else { return };
        let Ok(bytes) = world::content(&part) else { return };
        self.snapshots.push(Snapshot { log_dir, stem: stem(&part), bytes });
    }

    fn note_recovery(&mut self, dead: &Daemon) {
        let line = dead.lines_with("; recovered ").pop().unwrap_or_default();
        self.report.recoveries += u64::from(!line.is_empty() && !line.contains("; recovered 0 bytes"));
    }

    fn finish(mut self) -> Report {
        let written: Vec<_> = self.writers.drain(..).map(|(place, writer)| (place, writer.stop())).collect();
        self.report.writers_died = written.iter().filter(|(_, written)| written.error.is_some()).count() as u64;
        let dead = self.reader.kill();
        self.note_recovery(&dead);
        for place in 0..PIPES {
            let fifo = world::open_reader(&self.scratch.run(&name(place)));
            until("the pipes are empty", || world::queued(&fifo) == 0);
        }
        self.reader.signal(Signal::SIGALRM);
        let logs = self.scratch.logs();
        let archived = within(ARCHIVE_SPAN, || (0..PIPES).all(|place| is_archived(&logs.join(name(place)))));
        assert!(archived, "sealed segments stay plain:\n{}", self.reader.stderr());
        assert_eq!(self.reader.terminate(), 0, "{}", self.reader.stderr());
        for place in 0..PIPES {
            let lines: BTreeMap<u16, u64> = written
                .iter()
                .filter(|(at, _)| *at == place)
                .map(|(_, written)| (written.writer, written.lines))
                .collect();
            self.count(place, &lines.into_iter().collect::<Vec<_>>());
        }
        self.report.snapshots.0 = self.snapshots.len() as u64;
        self.report.snapshots.1 = self.snapshots.iter().filter(|snapshot| !snapshot.is_kept()).count() as u64;
        self.report
    }

    fn count(&mut self, place: usize, written: &[(u16, u64)]) {
        let mut check = if is_stamped(place) { Check::stamped(STAMP_BYTES) } else { Check::new() };
        let parts = world::parts(&self.scratch.logs().join(name(place)));
        self.report.archives += parts.iter().filter(|part| is_archive(part)).count() as u64;
        for part in parts {
            check.feed(&world::content(&part).expect("a part that nobody touches any more"));
        }
        self.report.tally += check.finish(written);
    }
}

impl Snapshot {
    /// Whether the part, plain or archived by now, still begins with these bytes. An empty one may go.
    fn is_kept(&self) -> bool {
        if self.bytes.is_empty() {
            return true;
        }
        let part = world::parts(&self.log_dir).into_iter().find(|part| stem(part) == self.stem);
        part.and_then(|part| world::content(&part).ok()).is_some_and(|now| now.starts_with(&self.bytes))
    }
}

fn name(place: usize) -> String {
    format!("pipe{place}")
}

fn is_stamped(place: usize) -> bool {
    place % 2 == 1
}

fn stem(part: &Path) -> String {
    let name = part.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    name.split(".log").next().unwrap_or_default().to_owned()
}

/// Every part but an empty one is an archive.
fn is_archived(log_dir: &Path) -> bool {
    let mut plain = world::parts(log_dir).into_iter().filter(|part| !is_archive(part));
    plain.all(|part| std::fs::metadata(part).is_ok_and(|at| at.len() == 0))
}
