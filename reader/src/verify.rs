//! `reader verify`: reads every byte that is stored and says what is wrong with it, a sentence each, in order.
//!
//! - [`examine`]: one part;
//! - [`chain`]: each part against the one before it.
//!
//! Several threads take the parts, each from its own place on; what they find is told in the order of the parts all the
//! same. Nothing that is found ends it.

pub mod chain;
pub mod examine;

use std::collections::BTreeMap;
use std::io::{ErrorKind, Write};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use standpipe_common::error::{Cannot, EXIT_IO, Stop};
use standpipe_common::part::{PartKind, PartName};
use standpipe_common::progress::Progress;
use standpipe_common::shown::{counted, push_escaped, size};
use standpipe_common::standard;

use crate::cli::VerifyArgs;
use crate::disk::Dir;
use crate::inventory::{Inventory, pipe_name, select};
use crate::logs::pool::usual_threads;
use chain::Chain;
use examine::{Examined, Examiner, Finding};

/// Exit code of a finding.
const EXIT_FINDING: u8 = 1;
/// Version of the JSON object.
const JSON_VERSION: u32 = 1;
/// How often the progress is looked at.
const PROGRESS_SPAN: Duration = Duration::from_millis(200);

/// Verifies what was asked for. The exit code.
pub fn run(args: &VerifyArgs) -> Result<u8, Stop> {
    let (dirs, errors) = select(&args.selection)?;
    let inventories = dirs.iter().map(Inventory::of).collect::<Result<Vec<_>, _>>()?;
    let jobs = dirs.iter().zip(&inventories).enumerate().flat_map(|(pipe, (dir, inventory))| {
        inventory.names().iter().map(move |name| Unexamined { pipe, dir, inventory, name })
    });
    let mut report = Report { pipes: dirs.iter().map(VerifiedPipe::of).collect(), errors, ..Report::default() };
    verify(&jobs.collect::<Vec<_>>(), args.json, &mut report)?;
    if args.json {
        standard::print_json(&report.json())?;
    } else {
        standard::say(report.summary());
    }
    Ok(match (report.count, report.errors.is_empty()) {
        (0, true) => 0,
        (0, false) => EXIT_IO,
        _ => EXIT_FINDING,
    })
}

/// A part that is to be examined.
struct Unexamined<'a> {
    pipe: usize,
    dir: &'a Dir,
    inventory: &'a Inventory<'a>,
    name: &'a PartName,
}

impl Unexamined<'_> {
    /// Bytes of its file, as far as can be seen.
    fn bytes(&self) -> u64 {
        let stat = |kind| self.dir.stat(self.name.file(kind)).ok();
        let stat = stat(PartKind::Archive).or_else(|| stat(PartKind::Segment));
        stat.map_or(0, |stat| u64::try_from(stat.st_size).unwrap_or(0))
    }
}

/// Examines the parts on several threads, and takes what they find in the order of the parts.
fn verify(jobs: &[Unexamined<'_>], is_for_programs: bool, report: &mut Report) -> Result<(), Stop> {
    let threads = usual_threads().min(jobs.len());
    let tools = (0..threads).map(|_| Examiner::new()).collect::<Result<Vec<_>, _>>()?;
    let (next, done) = (AtomicUsize::new(0), AtomicU64::new(0));
    let (results, found) = mpsc::channel();
    let mut progress = Progress::on_terminal();
    let total: u64 = jobs.iter().map(Unexamined::bytes).sum();
    thread::scope(|scope| {
        for mut tools in tools {
            let (results, next, done) = (results.clone(), &next, &done);
            scope.spawn(move || {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(job) = jobs.get(number) else { return };
                    let examined =
                        job.inventory.open(job.name).map(|item| examine::part(job.dir, item, &mut tools, done));
                    // Nobody takes it any more.
                    if results.send((number, examined)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(results);
        let (found, mut early, mut chain) = (found, BTreeMap::new(), Chain::default());
        let mut jobs = jobs.iter().enumerate().peekable();
        while let Some((number, job)) = jobs.peek() {
            if let Some(examined) = early.remove(number) {
                progress.clear();
                let findings = chain.link(job.pipe, examined);
                if !report.take(job.pipe, findings, is_for_programs)? {
                    return Ok(());
                }
                jobs.next();
                continue;
            }
            match found.recv_timeout(PROGRESS_SPAN) {
                Ok((number, examined)) => drop(early.insert(number, examined)),
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => panic!("a thread that verifies has ended early"),
            }
            let done = done.load(Ordering::Relaxed);
            progress.show(done as f64 / total.max(1) as f64, || format!("{} of {}", size(done), size(total)));
        }
        Ok(())
    })
}

/// What has been found so far.
#[derive(Default)]
struct Report {
    pipes: Vec<VerifiedPipe>,
    findings: Vec<Value>,
    count: usize,
    errors: Vec<String>,
}

/// A log, and what was examined of it.
struct VerifiedPipe {
    name: String,
    dir: String,
    parts: u64,
    raw_bytes: u64,
}

impl VerifiedPipe {
    fn of(dir: &Dir) -> VerifiedPipe {
        VerifiedPipe { name: pipe_name(dir), dir: dir.path().to_string_lossy().into_owned(), parts: 0, raw_bytes: 0 }
    }
}

impl Report {
    /// Adds a part, and says what was found in it. `false`: whoever read it has seen enough.
    fn take(&mut self, pipe: usize, examined: Option<Examined>, is_for_programs: bool) -> Result<bool, Stop> {
        let Some(examined) = examined else { return Ok(true) };
        let pipe = &mut self.pipes[pipe];
        pipe.parts += 1;
        pipe.raw_bytes += examined.raw_bytes;
        if let Some(error) = examined.closed {
            standard::error(&error);
            self.errors.push(error);
        }
        self.count += examined.findings.len();
        for Finding { kind, file, text, offset } in examined.findings {
            if is_for_programs {
                self.findings.push(json!({
                    "pipe": pipe.name, "file": file, "kind": kind.name(), "offset": offset, "text": text,
                }));
            } else if !say(&text)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn summary(&self) -> String {
        let parts: u64 = self.pipes.iter().map(|pipe| pipe.parts).sum();
        let raw_bytes = self.pipes.iter().map(|pipe| pipe.raw_bytes).sum();
        let (pipes, parts) = (counted(self.pipes.len() as u64, "pipe"), counted(parts, "part"));
        let findings = if self.count == 0 { "no findings".to_owned() } else { counted(self.count as u64, "finding") };
        format!("verified {pipes}, {parts}, {} of log: {findings}", size(raw_bytes))
    }

    fn json(&self) -> String {
        let pipe = |pipe: &VerifiedPipe| json!({ "pipe": pipe.name, "dir": pipe.dir, "parts": pipe.parts, "raw_bytes": pipe.raw_bytes });
        let object = json!({
            "version": JSON_VERSION,
            "pipes": self.pipes.iter().map(pipe).collect::<Vec<_>>(),
            "findings": self.findings,
            "errors": self.errors,
        });
        format!("{object:#}\n")
    }
}

/// Prints a finding. `false`: nobody reads standard output any more.
fn say(text: &str) -> Result<bool, Stop> {
    let mut line = String::new();
    push_escaped(text, &mut line);
    line.push('\n');
    let mut output = standard::output()?.lock();
    match output.write_all(line.as_bytes()).and_then(|()| output.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        written => written.cannot("write to", standard::OUTPUT).map(|()| true).map_err(Stop::from),
    }
}
