//! Searching by filters: an id that stands once in everything, one that is nowhere, and what the filters cost.
//!
//! The archives are made here, a part of 64 MiB after the other and never as plain text, so that there is room for many
//! times what a disk holds. With `--tables filter --keep DIR` they stay for the next run, in a directory of their own.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use standpipe_common::archive::{Guess, Mark, Spec, Writer};
use standpipe_common::error::{Cannot, Error, Result};
use standpipe_common::part::{PartKind, PartName, Pattern};
use standpipe_tests::deadline::cpu_of_thread;

use super::job::{Job, OURS, Spent};
use super::lines::{Kind, Lines};
use super::scan::NOWHERE;
use crate::follow::Failures;
use crate::machine;
use crate::stage::Stage;
use crate::stats::best;
use crate::table::{Bound, Figure, Table, number};

/// Raw bytes of a part.
const PART_BYTES: usize = 64 << 20;
/// Of each log, to measure what a filter costs: parts.
const COST_PARTS: u64 = 2;
/// The file that says what is in the directory, and which id stands once.
const MADE: &str = "made";

const ONCE_MS_MAX: f64 = 100.0;
const NOWHERE_MS_MAX: f64 = 500.0;
const NOWHERE_CPU_MIN: f64 = 25.0;
/// What a filter may add to an archive of each level, %.
const SIZES_MAX: [(i32, f64); 2] = [(1, 8.0), (8, 10.0)];
const CPU_MAX: f64 = 20.0;

/// Measures, and prints the tables.
pub fn run(stage: &Stage, kept: Option<&Path>, bytes: u64, rounds: u32) -> Result<()> {
    let dir = kept.map_or_else(|| stage.path().join("filtered"), Path::to_path_buf);
    let once = open(&dir, bytes)?;
    let stored = warm(&dir)?;
    print!("{}", machine::describe_searchers(stage.path()));
    let (raw, stored) = (number(bytes as f64 / 1e6), number(stored as f64 / 1e6));
    println!(
        "\n{raw} MB of three logs in {stored} MB of archives with filters, in the page cache; best of {rounds} rounds.\n"
    );
    search(stage, &dir.join("logs"), &once, rounds)?;
    cost(bytes, rounds)
}

/// Takes the archives that were kept, or makes them. The id that stands once.
fn open(dir: &Path, bytes: u64) -> Result<String> {
    let made = dir.join(MADE);
    let title = format!("standpipe bench search filter 1, {bytes} bytes\n");
    if let Some(once) = fs::read_to_string(&made).ok().and_then(|text| text.strip_prefix(&title).map(str::to_owned)) {
        return Ok(once.trim_end().to_owned());
    }
    fs::create_dir_all(dir).cannot("make", dir)?;
    fs::create_dir(dir.join("logs")).cannot("make", dir.join("logs"))?;
    let mut once = None;
    for kind in Kind::ALL {
        eprintln!("bench: making the archives of {} ...", kind.name());
        let found = make(&dir.join("logs").join(kind.name()), kind, bytes / Kind::ALL.len() as u64)?;
        once = once.or(found);
    }
    let once = once.ok_or_else(|| Error::because("search", dir, "there is no id in it: make it larger"))?;
    fs::write(&made, format!("{title}{once}\n")).cannot("write", &made)?;
    Ok(once)
}

/// Makes the archives of a log. A trace id from about its middle.
fn make(log_dir: &Path, kind: Kind, bytes: u64) -> Result<Option<String>> {
    fs::create_dir(log_dir).cannot("make", log_dir)?;
    let mut text = Text { lines: Lines::new(kind, bytes), left: bytes };
    let mut writer = Writer::new().cannot("start", "zstd")?;
    let (mut last, mut once): (Option<PartName>, Option<String>) = (None, None);
    while let Some((raw, time_ns)) = text.part() {
        let name = Pattern::default().born(time_ns, last.as_ref());
        let path = log_dir.join(name.file(PartKind::Archive));
        let mut file = File::create(&path).cannot("make", &path)?;
        writer.write(&mut &raw[..], &mut file, spec(1, true, time_ns)).cannot("write", &path)?;
        if text.left <= bytes / 2 {
            once = once.or_else(|| trace_id(&raw));
        }
        last = Some(name);
    }
    Ok(once)
}

fn spec(level: i32, filter: bool, time_ns: i64) -> Spec {
    let marks = vec![Mark { offset: 0, time_ns }];
    Spec {
        level,
        begins_inside: false,
        serial: None,
        marks,
        guess: Guess { birth_ns: time_ns, last_ns: time_ns },
        filter,
    }
}

/// The lines of a log, a part at a time.
struct Text {
    lines: Lines,
    left: u64,
}

impl Text {
    /// The next part, and when its first line came.
    fn part(&mut self) -> Option<(Vec<u8>, i64)> {
        if self.left == 0 {
            return None;
        }
        let most = usize::try_from(self.left).map_or(PART_BYTES, |left| left.min(PART_BYTES));
        let mut raw = Vec::with_capacity(most + 1024);
        let first_ns = self.lines.push_next(&mut raw);
        while raw.len() < most {
            self.lines.push_next(&mut raw);
        }
        self.left = self.left.saturating_sub(raw.len() as u64);
        Some((raw, first_ns))
    }
}

/// The last trace id in a JSON log.
fn trace_id(raw: &[u8]) -> Option<String> {
    const FIELD: &[u8] = br#""trace_id":""#;
    let at = memchr::memmem::rfind(raw, FIELD)? + FIELD.len();
    Some(String::from_utf8_lossy(raw.get(at..at + 32)?).into_owned())
}

/// Reads all archives once. Their bytes.
fn warm(dir: &Path) -> Result<u64> {
    let mut bytes = 0;
    for kind in Kind::ALL {
        let log_dir = dir.join("logs").join(kind.name());
        for entry in fs::read_dir(&log_dir).cannot("list", &log_dir)? {
            let path: PathBuf = entry.cannot("list", &log_dir)?.path();
            bytes += io::copy(&mut File::open(&path).cannot("open", &path)?, &mut io::sink()).cannot("read", &path)?;
        }
    }
    Ok(bytes)
}

/// What is looked for, with filters and without.
fn search(stage: &Stage, root: &Path, once: &str, rounds: u32) -> Result<()> {
    let job = |label: &str, words: &str, id: &str| {
        let words: Vec<&str> = words.split_whitespace().chain(["-g", id]).collect();
        Job::new(OURS, label).then_logs(&words, root.to_path_buf())
    };
    let (with, without) = ("-c -F --threads 1", "-c -F --threads 1 --no-filter");
    let jobs = [
        (job("an id of 32 digits that stands once", with, once), 1),
        (job("the same with --no-filter", without, once), 1),
        (job("a uuid that is nowhere", with, NOWHERE), 0),
        (job("the same with --no-filter ", without, NOWHERE), 0),
    ];
    let mut failures = Failures::default();
    let mut spent: Vec<Vec<Spent>> = vec![Vec::new(); jobs.len()];
    for _ in 0..rounds {
        for (runs, (job, expected)) in spent.iter_mut().zip(&jobs) {
            let count = failures.note(job.label(), job.count(stage));
            if count.is_some_and(|count| count != *expected) {
                return Err(Error::because("believe", job.label(), format!("it counts {count:?}, not {expected}")));
            }
            let path = stage.path().join("output");
            runs.push(job.run(stage, &File::create(&path).cannot("make", &path)?)?);
        }
    }
    let least = |place: usize, of: fn(&Spent) -> f64| best(&spent[place].iter().map(of).collect::<Vec<_>>());
    let mut table = Table::new(&["`reader logs -c -F --threads 1`", "wall ms", "CPU ms"]);
    for (place, (job, _)) in jobs.iter().enumerate() {
        let times = [least(place, |run| run.wall), least(place, |run| run.cpu)];
        table.row(
            std::iter::once(job.label().trim_matches('`').to_owned()).chain(times.map(|time| number(time * 1000.0))),
        );
    }
    println!("{table}{failures}");
    let wall = |place| least(place, |run| run.wall) * 1000.0;
    let times = least(3, |run| run.cpu) / least(2, |run| run.cpu);
    for figure in [
        Figure::new("an id that stands once, wall", wall(0), Bound::AtMost(ONCE_MS_MAX), "ms"),
        Figure::new("a uuid that is nowhere, wall", wall(2), Bound::AtMost(NOWHERE_MS_MAX), "ms"),
        Figure::new("a uuid that is nowhere, CPU without filters", times, Bound::AtLeast(NOWHERE_CPU_MIN), "times"),
    ] {
        println!("{figure}");
    }
    Ok(())
}

/// What filters add to archives and to the work of making them.
fn cost(bytes: u64, rounds: u32) -> Result<()> {
    let mut table =
        Table::new(&["log, level", "MB", "MB with filter", "more %", "CPU s", "CPU s with filter", "more %"]);
    let mut writer = Writer::new().cannot("start", "zstd")?;
    let mut figures = Vec::new();
    for (level, size_max) in SIZES_MAX {
        let mut all = [(0.0, 0.0); 2];
        for kind in Kind::ALL {
            let of_log = (bytes / Kind::ALL.len() as u64).min(COST_PARTS * PART_BYTES as u64);
            let mut text = Text { lines: Lines::new(kind, of_log), left: of_log };
            let mut parts = Vec::new();
            while let Some(part) = text.part() {
                parts.push(part);
            }
            let mut both = [(0.0, 0.0); 2];
            for (place, filter) in [false, true].into_iter().enumerate() {
                let runs = (0..rounds.min(3)).map(|_| archived(&mut writer, &parts, level, filter));
                let runs = runs.collect::<Result<Vec<_>>>()?;
                both[place] = (runs[0].0, best(&runs.iter().map(|run| run.1).collect::<Vec<_>>()));
                (all[place].0, all[place].1) = (all[place].0 + both[place].0, all[place].1 + both[place].1);
            }
            row(&mut table, &format!("{}, level {level}", kind.name()), both);
        }
        row(&mut table, &format!("all, level {level}"), all);
        let what = format!("filters in archives of level {level}");
        figures.push(Figure::new(what, more(all[0].0, all[1].0), Bound::AtMost(size_max), "%"));
        if level > 1 {
            let what = format!("CPU for filters at level {level}");
            figures.push(Figure::new(what, more(all[0].1, all[1].1), Bound::AtMost(CPU_MAX), "%"));
        }
    }
    println!("\nWhat filters add, at most {COST_PARTS} parts of each log.\n\n{table}");
    for figure in figures {
        println!("{figure}");
    }
    Ok(())
}

fn row(table: &mut Table, name: &str, [without, with]: [(f64, f64); 2]) {
    let numbers = [without.0, with.0, more(without.0, with.0), without.1, with.1, more(without.1, with.1)].map(number);
    table.row(std::iter::once(name.to_owned()).chain(numbers));
}

fn more(without: f64, with: f64) -> f64 {
    (with / without - 1.0) * 100.0
}

/// MB of the archives of these parts, and the CPU time that they took, seconds.
fn archived(writer: &mut Writer, parts: &[(Vec<u8>, i64)], level: i32, filter: bool) -> Result<(f64, f64)> {
    let mut bytes = 0;
    let before = cpu_of_thread();
    for (raw, time_ns) in parts {
        let mut out = Counted(0);
        writer.write(&mut &raw[..], &mut out, spec(level, filter, *time_ns)).cannot("write", "an archive")?;
        bytes += out.0;
    }
    Ok((bytes as f64 / 1e6, cpu_of_thread().saturating_sub(before).as_secs_f64()))
}

/// Counts what is written.
struct Counted(u64);

impl io::Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
