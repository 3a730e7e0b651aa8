//! The crash test of the tailer: a log is written and rotated all the time while who follows it into a held pipe is
//! killed over and over; then what the reader stored must be what was written, byte for byte.
//!
//! One writer, so that there is one right order. The tailer dies at any moment: while it reads, delivers, writes its
//! checkpoint, starts, recovers. Where a plan says so, the holder dies in the same moment: what was in the staging pipe
//! goes with it, and the next tailer says how much of it it may repeat. Rotated files are kept, for the promise is
//! about everything that can still be read.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::deadline::{until, within};
use crate::directory::{KEEP_ALL, Scratch};
use crate::privilege;
use crate::programs::{Daemon, Launch, holder, reader};
use crate::world::{self, Check, Random, Tally, length, line};

use super::{Lives, Mortal, write_rows};

/// How long the last tailer may take for the next bytes of what the others left behind.
const REST_SPAN: Duration = Duration::from_secs(60);
/// The writer of the log.
const WRITER: u16 = 1;

/// How much of it.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// SIGKILLs of the tailer.
    pub kills: u64,
    /// Whether the holder is killed with it.
    pub with_holder: bool,
    /// Between two rotations.
    pub rotate_span: Duration,
    /// Longest life of a tailer.
    pub life_max: Duration,
    /// Lines that are written at once.
    pub burst: u64,
    /// Rest of the writer after them.
    pub pause: Duration,
    /// For the lengths of lives.
    pub seed: u64,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Report {
    /// SIGKILLs of the tailer.
    pub kills: u64,
    /// How often the holder died with it.
    pub holder_kills: u64,
    /// Rotations meanwhile.
    pub rotations: u64,
    /// What became of the lines.
    pub tally: Tally,
    /// Bytes that are stored once more than written.
    pub bytes_repeated: u64,
    /// How many starts said that bytes may be repeated.
    pub repeats_said: u64,
    /// And how many bytes they said at most.
    pub bytes_said: u64,
    /// Whether what is stored is what was written, byte for byte.
    pub is_identical: bool,
    /// How long it took.
    pub span: Duration,
}

impl Report {
    /// Not a byte more, less or elsewhere, and nothing said of any.
    pub fn is_clean(&self) -> bool {
        self.is_identical && self.tally.is_whole() && self.repeats_said == 0
    }

    /// Nothing lost or torn, and no more repeated than was said.
    pub fn is_honest(&self) -> bool {
        let Tally { lost, torn, foreign, .. } = self.tally;
        (lost, torn, foreign) == (0, 0, 0) && self.bytes_repeated <= self.bytes_said
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tally = &self.tally;
        let rows = [
            ("lines found", tally.found),
            ("rotations", self.rotations),
            ("SIGKILLs of the tailer", self.kills),
            ("of these with the holder", self.holder_kills),
            ("lost", tally.lost),
            ("repeated", tally.repeated),
            ("out of order", tally.disordered),
            ("torn", tally.torn + tally.foreign),
            ("starts that said bytes may be repeated", self.repeats_said),
            ("seconds", self.span.as_secs()),
        ];
        write_rows(f, "a followed log, into a held pipe", &rows)?;
        writeln!(f, "| byte for byte as written | {} |", if self.is_identical { "yes" } else { "no" })
    }
}

/// Carries out a plan.
pub fn run(plan: Plan) -> Report {
    let start = Instant::now();
    let mut theatre = Theatre::set(plan);
    let log = RotatingLog::start(theatre.scratch.path().join("app/app.log"), plan);
    let lives = Lives::up_to(plan.life_max, plan.seed);
    let kills = super::run(&mut theatre, lives, |_, kills| kills == plan.kills, Theatre::kill_once);
    let (lines, rotations) = log.stop();
    let report = theatre.finish(lines);
    Report { kills, rotations, span: start.elapsed(), ..report }
}

struct Theatre {
    plan: Plan,
    scratch: Scratch,
    holder: Mortal,
    reader: Daemon,
    tailer: Mortal,
    report: Report,
}

impl Theatre {
    fn set(plan: Plan) -> Theatre {
        let scratch = Scratch::new();
        let fifo = scratch.pipe("out");
        scratch.write_policy("defaults.toml", &format!("{KEEP_ALL}compress = \"none\"\nstage = true\n"));
        for name in ["app", "tailer"] {
            scratch.make_dir(name);
        }
        let path = scratch.path().join("app/app.log");
        let (path, pipe) = (path.display(), fifo.display());
        let file = format!("[[files]]\npath = \"{path}\"\npipe = \"{pipe}\"\nstart_at = \"beginning\"\n");
        let toml = format!("state_file = \"state.json\"\n{file}");
        fs::write(scratch.path().join("tailer/tailer.toml"), toml).expect("a file of our own");
        let holder = Mortal::start(holder(&scratch));
        let reader = reader(&scratch).start();
        let tailer = Launch::new("tailer").arg("--config").arg(scratch.path().join("tailer/tailer.toml"));
        let tailer = Mortal::start(tailer);
        // A kill before that makes the next start the first one, and what was rotated until then is not of its time.
        until("the first checkpoint", || scratch.path().join("tailer/state.json").exists());
        Theatre { plan, scratch, holder, reader, tailer, report: Report::default() }
    }

    /// The tailer dies, and with it the holder, if that is the plan.
    fn kill_once(&mut self, _: u64, random: &mut Random) {
        self.tailer.kill9();
        if self.plan.with_holder {
            self.holder.kill();
            self.report.holder_kills += 1;
        }
        let dead = self.tailer.revive_or_rush(random);
        self.note_said(&dead.stderr());
    }

    /// Counts what a tailer said it may repeat.
    fn note_said(&mut self, stderr: &str) {
        for said in stderr.lines().filter(|line| line.contains("may be repeated")) {
            self.report.repeats_said += 1;
            let mut numbers = said.split(' ').filter_map(|word| word.parse::<u64>().ok());
            self.report.bytes_said += numbers.next_back().unwrap_or_default();
        }
    }

    fn finish(mut self, lines: u64) -> Report {
        let written: Vec<u8> = (0..lines).flat_map(|seq| line(WRITER, seq, length(WRITER, seq))).collect();
        let log_dir = self.scratch.logs().join("out");
        let size = |part: PathBuf| fs::metadata(part).map_or(0, |metadata| metadata.len());
        let stored = || world::parts(&log_dir).into_iter().map(size).sum::<u64>();
        let all = written.len() as u64;
        let (mut before, mut now) = (0, stored());
        while now < all && now > before {
            within(REST_SPAN, || stored() > now);
            (before, now) = (now, stored());
        }
        assert_eq!(self.tailer.terminate(), 0, "{}", self.tailer.stderr());
        let last = self.tailer.stderr();
        self.note_said(&last);
        assert_eq!(self.reader.terminate(), 0, "{}", self.reader.stderr());
        let bytes = world::stream_of(&log_dir);
        let mut check = Check::new();
        check.feed(&bytes);
        self.report.tally = check.finish(&[(WRITER, lines)]);
        self.report.bytes_repeated = (bytes.len() as u64).saturating_sub(all);
        self.report.is_identical = bytes == written;
        if !self.report.is_identical {
            println!("the last tailer said:\n{last}");
        }
        self.report
    }
}

/// An application that writes a log, and whoever rotates it: rename and create.
struct RotatingLog {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<io::Result<(u64, u64)>>,
}

impl RotatingLog {
    fn start(path: PathBuf, plan: Plan) -> RotatingLog {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let mut file = open(&path).expect("a file of our own");
        let thread = thread::spawn(move || {
            let (mut lines, mut rotations, mut rotated) = (0, 0, Instant::now());
            while !stopped.load(Ordering::Relaxed) {
                for _ in 0..plan.burst {
                    file.write_all(&line(WRITER, lines, length(WRITER, lines)))?;
                    lines += 1;
                }
                if rotated.elapsed() >= plan.rotate_span {
                    shift(&path, rotations)?;
                    file = open(&path)?;
                    rotations += 1;
                    rotated = Instant::now();
                }
                thread::sleep(plan.pause);
            }
            Ok((lines, rotations))
        });
        RotatingLog { stop, thread }
    }

    /// Lines, and rotations.
    fn stop(self) -> (u64, u64) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("a writer does not panic").expect("files of our own")
    }
}

/// `.2` to `.3`, `.1` to `.2`, the live name to `.1`.
fn shift(path: &Path, count: u64) -> io::Result<()> {
    let numbered = |number| PathBuf::from(format!("{}.{number}", path.display()));
    for number in (1..=count).rev() {
        fs::rename(numbered(number), numbered(number + 1))?;
    }
    fs::rename(path, numbered(1))
}

fn open(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().append(true).create(true).open(path)?;
    privilege::give(path);
    Ok(file)
}
