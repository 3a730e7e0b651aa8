//! Tables over all of the text: searching for what is nowhere, printing what matches, printing everything.
//!
//! Every command has one turn a round, in another order each time, after a first run that counts for nothing but shows
//! that it gives the same result as the others.

use std::fmt;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::iter;
use std::path::{Path, PathBuf};
use std::slice;

use standpipe_common::error::{Cannot, Error, Result};

use super::job::{Job, OURS, Spent};
use super::store::{Log, Store};
use crate::drain::order;
use crate::follow::Failures;
use crate::stage::Stage;
use crate::stats::best;
use crate::table::{Bound, Figure, Table, number};

/// A uuid that is nowhere.
pub const NOWHERE: &str = "0b5e55ed-1dea-4bad-8bad-c0ffee15dead";
/// The same, as far as one knows it.
const NOWHERE_RE: &str = "0b5e55ed-[0-9a-f]{4}-4bad-8bad-[0-9a-f]{12}";

const REQUIRED_ONE_THREAD: f64 = 2.0;
const REQUIRED_THREADS: f64 = 3.5;
const REQUIRED_UGREP: f64 = 1.5;
const REQUIRED_MATCHES: f64 = 2.0;
const REQUIRED_PRINT: f64 = 1.2;

/// Labels of rows that figures compare.
const ZSTDGREP: &str = "zstdgrep";
const UGREP: &str = "ugrep";
const ZSTDCAT: &str = "zstdcat";
const ONE_THREAD: &str = "ours, one thread";
const THREADS: &str = "ours";
const FILTERS: &str = "ours, as it comes";

/// A command and what its runs took.
struct Row {
    /// What figures know it by.
    key: &'static str,
    job: Job,
    /// What its label says beside the command.
    note: &'static str,
    runs: Vec<Spent>,
    /// It runs, and gives what it should.
    works: bool,
}

impl Row {
    fn new(key: &'static str, job: Job) -> Row {
        Row { key, job, note: "", runs: Vec::new(), works: false }
    }

    fn noted(self, note: &'static str) -> Row {
        Row { note, ..self }
    }

    fn label(&self) -> String {
        let missing = if self.job.is_installed() { "" } else { "not installed" };
        [self.job.label(), self.note, missing]
            .into_iter()
            .filter(|word| !word.is_empty())
            .collect::<Vec<_>>()
            .join(", ")
    }

    fn cpu(&self) -> f64 {
        best(&self.runs.iter().map(|run| run.cpu).collect::<Vec<_>>())
    }

    fn wall(&self) -> f64 {
        best(&self.runs.iter().map(|run| run.wall).collect::<Vec<_>>())
    }
}

/// A table under measurement.
pub struct Scans<'a> {
    /// Where.
    pub stage: &'a Stage,
    /// What is searched.
    pub store: &'a Store,
    /// Rounds.
    pub rounds: u32,
}

impl Scans<'_> {
    /// A uuid that is nowhere.
    pub fn literal(&self) -> Result<()> {
        let table = self.nowhere("-F", "-F", NOWHERE)?;
        println!("\nA uuid that is nowhere, in all logs: {NOWHERE}\n\n{table}");
        let figures = [
            table.figure(
                "a literal on one thread, CPU beside zstdgrep",
                Row::cpu,
                ZSTDGREP,
                ONE_THREAD,
                REQUIRED_ONE_THREAD,
            ),
            table.figure("a literal, wall beside zstdgrep", Row::wall, ZSTDGREP, THREADS, REQUIRED_THREADS),
            table.figure("the same with search filters", Row::wall, ZSTDGREP, FILTERS, REQUIRED_THREADS),
            table.figure("a literal, wall beside ugrep", Row::wall, UGREP, THREADS, REQUIRED_UGREP),
        ];
        for figure in figures {
            println!("{figure}");
        }
        Ok(())
    }

    /// A pattern that is nowhere.
    pub fn regex(&self) -> Result<()> {
        let table = self.nowhere("-E", "", NOWHERE_RE)?;
        println!("\nA pattern that is nowhere, in all logs: {NOWHERE_RE}\n\n{table}");
        Ok(())
    }

    /// `greps` is how the kind of the pattern is told to the greps, `ours` how to us and to rg, who have one kind only.
    fn nowhere(&self, greps: &str, ours: &str, pattern: &str) -> Result<Finished> {
        let (archives, plain, root) = (self.store.archives(), self.store.plain(), self.store.root());
        let peer = |key, program, options: &str, files: &[PathBuf]| {
            let words: Vec<&str> = options.split_whitespace().chain(["-e", pattern]).collect();
            Row::new(key, Job::new(program, &format!("{program} {options}")).then(&words, files))
        };
        let logs = |key, options: &str| {
            let words: Vec<&str> = options.split_whitespace().chain(["-g", pattern]).collect();
            Row::new(key, Job::new(OURS, &format!("reader logs {options}")).then_logs(&words, root.clone()))
        };
        let shell = |program, label: &str, line: &str| {
            let line = format!("{line} -c {greps} -e '{pattern}'");
            Row::new("", Job::new(program, &format!("{label} -c {greps}")).then_shell(&line, &archives))
        };
        let rows = vec![
            logs(ONE_THREAD, &format!("-c {ours} --no-filter --threads 1")),
            logs(THREADS, &format!("-c {ours} --no-filter")),
            logs(FILTERS, &format!("-c {ours}")),
            peer(ZSTDGREP, "zstdgrep", &format!("-c {greps}"), &archives),
            shell(ZSTDCAT, "zstdcat | grep", "zstdcat \"$@\" | grep"),
            shell("xargs", "xargs -P2 zstdgrep", "printf '%s\\0' \"$@\" | xargs -0 -P2 -n1 zstdgrep"),
            peer("", "rg", &format!("-z -c {ours} -j1"), &archives),
            peer("", "rg", &format!("-z -c {ours}"), &archives),
            peer(UGREP, "ugrep", &format!("-z -c {greps}"), &archives),
            peer("", "grep", &format!("-c {greps}"), &plain).noted("plain text"),
        ];
        self.measure(rows, &Check::Count(0))
    }

    /// A word that prints some of the lines.
    pub fn matches(&self, word: &str) -> Result<()> {
        let zstdgrep = self.a_log(ZSTDGREP, "zstdgrep", &["-h", "-F", "-e", word], |log| &log.archives);
        let expected = self.kept(&zstdgrep.job)?;
        let rows = vec![
            self.ours_a_log(ONE_THREAD, &["-F", "-g", word, "--threads", "1"]),
            self.ours_a_log(THREADS, &["-F", "-g", word]),
            zstdgrep,
            self.a_log("", "rg", &["-z", "-I", "-N", "-j1", "-F", "-e", word], |log| &log.archives),
            self.a_log(UGREP, "ugrep", &["-z", "-h", "-J1", "-F", "-e", word], |log| &log.archives),
            self.a_log("", "grep", &["-h", "-F", "-e", word], |log| slice::from_ref(&log.plain)).noted("plain text"),
        ];
        let share = len(&expected)? as f64 / self.store.raw_bytes as f64 * 100.0;
        let table = self.measure(rows, &Check::Same(expected))?;
        println!("\nPrinting the lines with `{word}`, {} % of the bytes, log by log into a file;", number(share));
        println!("each the same bytes.\n\n{table}");
        let what = "printing matches on one thread, CPU beside zstdgrep";
        println!("{}", table.figure(what, Row::cpu, ZSTDGREP, ONE_THREAD, REQUIRED_MATCHES));
        let what = "printing matches, wall beside zstdgrep";
        println!("{}", table.figure(what, Row::wall, ZSTDGREP, THREADS, REQUIRED_MATCHES));
        Ok(())
    }

    /// Everything.
    pub fn print(&self) -> Result<()> {
        let rows = vec![
            self.ours_a_log(ONE_THREAD, &["--threads", "1"]),
            self.ours_a_log(THREADS, &[]),
            self.a_log(ZSTDCAT, "zstdcat", &[], |log| &log.archives),
            self.a_log("", "cat", &[], |log| slice::from_ref(&log.plain)).noted("plain text"),
        ];
        let table = self.measure(rows, &Check::Plain(self.store.plain()))?;
        println!("\nPrinting everything, log by log, to /dev/null.\n\n{table}");
        let what = "printing everything, wall beside zstdcat";
        println!("{}", table.figure(what, Row::wall, ZSTDCAT, THREADS, REQUIRED_PRINT));
        Ok(())
    }

    /// Ours, once for each log: several at once would be merged by time.
    fn ours_a_log(&self, key: &'static str, words: &[&str]) -> Row {
        let job = Job::new(OURS, &format!("reader logs NAME {}", words.join(" ")));
        let with = |name| [&[name], words].concat();
        let logs = self.store.logs.iter();
        Row::new(key, logs.fold(job, |job, log| job.then_logs(&with(log.name.as_str()), self.store.root())))
    }

    fn a_log(&self, key: &'static str, program: &'static str, words: &[&str], files: fn(&Log) -> &[PathBuf]) -> Row {
        let job = Job::new(program, &format!("{program} {}", words.join(" ")));
        Row::new(key, self.store.logs.iter().fold(job, |job, log| job.then(words, files(log))))
    }

    /// The output of a job, kept beside that of others.
    fn kept(&self, job: &Job) -> Result<PathBuf> {
        let (output, kept) = (job.output(self.stage)?, self.stage.path().join("expected"));
        std::fs::rename(&output, &kept).cannot("rename", &output)?;
        Ok(kept)
    }

    fn measure(&self, mut rows: Vec<Row>, check: &Check) -> Result<Finished> {
        let mut failures = Failures::default();
        for row in &mut rows {
            if !row.job.is_installed() {
                continue;
            }
            let checked = check.pass(self.stage, &row.job);
            row.works = failures.note(row.job.label(), checked).is_some();
        }
        let stdout = check.stdout(self.stage)?;
        for round in 0..self.rounds {
            for place in order(round, rows.len()) {
                let row = &mut rows[place];
                if row.works {
                    stdout.truncate()?;
                    row.runs.push(row.job.run(self.stage, &stdout.0)?);
                }
            }
        }
        Ok(Finished { rows, failures, raw_bytes: self.store.raw_bytes })
    }
}

/// What the runs of a table must give.
enum Check {
    /// So many matches.
    Count(u64),
    /// What stands in this file.
    Same(PathBuf),
    /// What stands in these files; and then nobody looks at it.
    Plain(Vec<PathBuf>),
}

/// Where the output goes while times are taken.
struct Stdout(File);

impl Stdout {
    fn truncate(&self) -> Result<()> {
        // /dev/null has no length.
        if self.0.metadata().is_ok_and(|is| is.is_file()) {
            self.0.set_len(0).cannot("truncate", "the output")?;
            (&self.0).seek(SeekFrom::Start(0)).cannot("truncate", "the output")?;
        }
        Ok(())
    }
}

impl Check {
    fn pass(&self, stage: &Stage, job: &Job) -> Result<()> {
        match self {
            Check::Count(expected) => match job.count(stage)? {
                count if count == *expected => Ok(()),
                count => Err(Error::because("believe", job.label(), format!("it counts {count}, not {expected}"))),
            },
            Check::Same(expected) => same(&job.output(stage)?, slice::from_ref(expected)),
            Check::Plain(expected) => same(&job.output(stage)?, expected),
        }
    }

    fn stdout(&self, stage: &Stage) -> Result<Stdout> {
        let path = match self {
            Check::Plain(_) => PathBuf::from("/dev/null"),
            _ => stage.path().join("output"),
        };
        File::options().write(true).create(true).truncate(false).open(&path).cannot("open", &path).map(Stdout)
    }
}

/// Fails where a file does not hold what the others hold together.
pub fn same(found: &Path, expected: &[PathBuf]) -> Result<()> {
    let open = |path: &Path| File::open(path).map(|file| BufReader::with_capacity(1 << 20, file)).cannot("open", path);
    let mut found_bytes = open(found)?;
    let (mut ours, mut theirs) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    let mut at = 0;
    for path in expected {
        let mut file = open(path)?;
        loop {
            let taken = file.read(&mut theirs).cannot("read", path)?;
            if taken == 0 {
                break;
            }
            let whole = found_bytes.read_exact(&mut ours[..taken]).is_ok();
            if !whole || ours[..taken] != theirs[..taken] {
                return Err(Error::because(
                    "believe",
                    found,
                    format!("it is not the same from byte {at} on, or before {}", at + taken),
                ));
            }
            at += taken;
        }
    }
    match found_bytes.read(&mut ours).cannot("read", found)? {
        0 => Ok(()),
        _ => Err(Error::because("believe", found, format!("there is more than the {at} bytes that should be"))),
    }
}

/// A table that was measured.
struct Finished {
    rows: Vec<Row>,
    failures: Failures,
    raw_bytes: u64,
}

impl Finished {
    fn figure(&self, what: &str, of: fn(&Row) -> f64, theirs: &str, ours: &str, least: f64) -> Figure {
        let value = |key: &str| self.rows.iter().find(|row| row.key == key).map_or(f64::NAN, of);
        Figure::new(what, value(theirs) / value(ours), Bound::AtLeast(least), "times")
    }
}

impl fmt::Display for Finished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let titles = ["command", "CPU s", "MB per CPU s", "wall s", "CPU to ours, one thread", "wall to ours"];
        let mut table = Table::new(&titles);
        let of =
            |key: &str, value: fn(&Row) -> f64| self.rows.iter().find(|row| row.key == key).map_or(f64::NAN, value);
        for row in &self.rows {
            let (cpu, wall) = (row.cpu(), row.wall());
            let numbers = [
                cpu,
                self.raw_bytes as f64 / 1e6 / cpu,
                wall,
                cpu / of(ONE_THREAD, Row::cpu),
                wall / of(THREADS, Row::wall),
            ];
            table.row(iter::once(row.label()).chain(numbers.map(number)));
        }
        write!(f, "{table}{}", self.failures)
    }
}

fn len(path: &Path) -> Result<u64> {
    std::fs::metadata(path).map(|is| is.len()).cannot("look at", path)
}
