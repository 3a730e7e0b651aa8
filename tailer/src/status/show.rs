//! `tailer status`: a table of the sources, then a sentence for each thing that is not as it should be.
//!
//! Exit 0: all is well; 1: a sentence says what is not; 2: asked wrongly; 3: it cannot be read. For programs there is
//! one JSON object with the same.
//!
//! A source is *behind* when bytes of it have waited for 5 s, whatever keeps them: a full pipe, its limit, a
//! tailer that does not run.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::{Value, json};
use standpipe_common::called;
use standpipe_common::clock;
use standpipe_common::error::{EXIT_IO, Stop};
use standpipe_common::shown::{Shown as _, UNKNOWN, age, counted, harmless, number, passed_ns, size};
use standpipe_common::standard;
use standpipe_common::table::{Screen, render};

use super::format::{Counts, Figures};
use super::found;
use super::snapshot::{Seen, Snapshot};
use crate::cli::StatusArgs;
use crate::config::{Overrides, load};

/// Exit code of a finding.
const EXIT_FINDING: u8 = 1;
/// Version of the JSON object.
const JSON_VERSION: u32 = 1;
/// How long bytes may wait before that is a finding, ns.
const BEHIND_NS: u64 = 5_000_000_000;

/// Shows what was asked for. The exit code.
pub fn run(args: &StatusArgs) -> Result<u8, Stop> {
    if args.all {
        return run_all(args.json);
    }
    let state = state_file(args)?;
    let snapshot = Snapshot::of(&state)?;
    let report = Overview { snapshot: &snapshot, state: &state, now_ns: clock::now_ns() };
    let findings = report.findings();
    if args.json {
        standard::print_json(&format!("{:#}\n", report.json(&findings)))?;
    } else {
        standard::print(&report.text(&findings, Screen::of_stdout()))?;
    }
    Ok(exit_code(&findings))
}

/// Every tailer that can be seen, one below the other. That there is none is nothing wrong.
fn run_all(is_json: bool) -> Result<u8, Stop> {
    let (mut texts, mut objects, mut worst) = (Vec::new(), Vec::new(), 0);
    for state in found::state_files()? {
        let snapshot = match Snapshot::of(&state) {
            Ok(snapshot) => snapshot,
            Err(error) => {
                standard::error(error);
                worst = EXIT_IO;
                continue;
            }
        };
        let report = Overview { snapshot: &snapshot, state: &state, now_ns: clock::now_ns() };
        let findings = report.findings();
        worst = worst.max(exit_code(&findings));
        if is_json {
            objects.push(report.json(&findings));
        } else {
            texts.push(report.text(&findings, Screen::of_stdout()));
        }
    }
    if is_json {
        standard::print_json(&format!("{:#}\n", json!({ "version": JSON_VERSION, "tailers": objects })))?;
    } else if texts.is_empty() && worst == 0 {
        standard::print("no tailers\n")?;
    } else {
        standard::print(&texts.join("\n"))?;
    }
    Ok(worst)
}

fn exit_code(findings: &[Finding]) -> u8 {
    if findings.iter().any(|finding| finding.is_trouble) { EXIT_FINDING } else { 0 }
}

fn state_file(args: &StatusArgs) -> Result<PathBuf, Stop> {
    if let Some(state) = &args.state {
        return Ok(state.clone());
    }
    let Some(config) = &args.config else {
        return Err(Stop::Usage("give --config FILE, --state FILE, or --all".to_owned()));
    };
    let no_state = || {
        let config = config.shown();
        Stop::Usage(format!("{config} has no `state_file`, which `{}` needs", called::short("tailer", "status")))
    };
    load(config, &Overrides::default())?.state_file.ok_or_else(no_state)
}

/// Something to be said under the table.
struct Finding {
    sentence: String,
    /// Not only worth knowing.
    is_trouble: bool,
}

struct Overview<'a> {
    snapshot: &'a Snapshot,
    state: &'a Path,
    now_ns: i64,
}

impl Overview<'_> {
    fn text(&self, findings: &[Finding], screen: Screen) -> String {
        const TITLES: [&str; 6] = ["PATH", "INODE", "OFFSET", "LAG", "OPEN", "STATE"];
        let rows: Vec<Vec<String>> = self.snapshot.sources.iter().map(|source| self.row(source)).collect();
        let mut text = format!("{}\n", screen.text(&self.headline()));
        if rows.is_empty() {
            text.push_str("no files\n");
        } else {
            text.push_str(&render(&TITLES, 0, &rows, screen));
        }
        for finding in findings {
            text.push_str(&screen.text(&finding.sentence));
            text.push('\n');
        }
        text
    }

    fn headline(&self) -> String {
        let state = harmless(&self.state.to_string_lossy());
        let (pid, since) = (number(self.snapshot.pid), age(self.snapshot.start_ns, self.now_ns));
        match self.snapshot.running {
            Some(true) => format!("{state}: tailer {pid} has been running for {since}"),
            Some(false) => format!("{state}: no tailer is running; the last one, {pid}, started {since} ago"),
            None => format!("{state}: tailer {pid} started {since} ago; cannot see whether it is still running"),
        }
    }

    fn row(&self, source: &Seen) -> Vec<String> {
        let figures = &source.figures;
        let none_or = |count: u64, shown: String| if count == 0 { "-".to_owned() } else { shown };
        let lag = format!("{} {}", waiting(figures), age(figures.behind_ns, self.now_ns));
        let is_behind = u64::from(is_waiting(figures));
        vec![
            shown_path(source),
            none_or(figures.ino, figures.ino.to_string()),
            number(figures.offset),
            none_or(is_behind, lag),
            number(figures.open),
            self.state(source).to_owned(),
        ]
    }

    fn state(&self, source: &Seen) -> &'static str {
        let figures = &source.figures;
        match source.error.as_deref() {
            _ if self.snapshot.running == Some(false) => "stopped",
            None => UNKNOWN,
            Some(error) if !error.is_empty() => "unreadable",
            _ if figures.wants_descriptor => "no descriptor",
            _ if self.has_waited(figures.blocked_ns) => "blocked",
            _ if figures.is_limited => "limited",
            _ if self.is_behind(source) => "behind",
            _ if figures.is_blank => "preallocated",
            _ if figures.is_mount => "mount",
            _ => "ok",
        }
    }

    fn is_behind(&self, source: &Seen) -> bool {
        is_waiting(&source.figures) && self.has_waited(source.figures.behind_ns)
    }

    fn has_waited(&self, since_ns: u64) -> bool {
        passed_ns(since_ns, self.now_ns).is_some_and(|span| span >= BEHIND_NS)
    }

    fn findings(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let runs = self.snapshot.running != Some(false);
        if !runs {
            let state = harmless(&self.state.to_string_lossy());
            let sentence = format!("no tailer is running with {state}: lines wait in the files until one is started");
            findings.push(Finding { sentence, is_trouble: true });
        }
        for source in &self.snapshot.sources {
            let path = shown_path(source);
            let said = self.findings_of(source, runs);
            findings.extend(
                said.into_iter().map(|(is_trouble, what)| Finding { sentence: format!("{path}{what}"), is_trouble }),
            );
        }
        if self.snapshot.excluded > 0 {
            let sentence = format!("`exclude` leaves out {}", counted(self.snapshot.excluded, "file"));
            findings.push(Finding { sentence, is_trouble: false });
        }
        findings
    }

    fn findings_of(&self, source: &Seen, runs: bool) -> Vec<(bool, String)> {
        let figures = &source.figures;
        let error = source.error.as_deref().unwrap_or_default();
        let since = |ns: u64| age(ns, self.now_ns);
        let why = if figures.is_limited && runs { ", limited by its rate_limit" } else { "" };
        let behind = format!(" is behind for {}, {} waiting{why}", since(figures.behind_ns), waiting(figures));
        let blocked = format!(" is blocked: its output has accepted nothing for {}", since(figures.blocked_ns));
        let starved = " is waiting for a file descriptor; raise the limit on open files: `ulimit -n`, LimitNOFILE=";
        let too_old = " had not changed within its `ignore_older`: its content was skipped";
        let blank = " ends in zero bytes: they are not delivered until something is written over or after them";
        let mount = " is a separate mount: rotation by renaming is not visible here; mount its directory instead";
        let said = [
            (!error.is_empty(), true, format!(" is not read: {}", harmless(error))),
            (figures.wants_descriptor && runs, true, starved.to_owned()),
            (self.is_behind(source), true, behind),
            (runs && self.has_waited(figures.blocked_ns), true, blocked),
            (figures.was_too_old, false, too_old.to_owned()),
            (figures.is_blank, false, blank.to_owned()),
            (figures.is_mount, false, mount.to_owned()),
        ];
        let said = said.into_iter().filter(|(is_so, ..)| *is_so).map(|(_, is_trouble, what)| (is_trouble, what));
        said.chain(remarks(&figures.counts).into_iter().map(|remark| (false, remark))).collect()
    }

    fn json(&self, findings: &[Finding]) -> Value {
        let sentences = |is_trouble| -> Vec<&str> {
            let wanted = findings.iter().filter(|finding| finding.is_trouble == is_trouble);
            wanted.map(|finding| finding.sentence.as_str()).collect()
        };
        json!({
            "version": JSON_VERSION,
            "state_file": self.state.to_string_lossy(),
            "running": self.snapshot.running,
            "pid": self.snapshot.pid,
            "started": moment(self.snapshot.start_ns),
            "excluded": self.snapshot.excluded,
            "sources": self.snapshot.sources.iter().map(|source| self.json_source(source)).collect::<Vec<_>>(),
            "findings": sentences(true),
            "remarks": sentences(false),
        })
    }

    fn json_source(&self, source: &Seen) -> Value {
        let (figures, counts) = (&source.figures, &source.figures.counts);
        let lag_ns = if is_waiting(figures) { passed_ns(figures.behind_ns, self.now_ns) } else { Some(0) };
        let mut object = json!({
            "path": source.path.as_ref().map(|path| path.to_string_lossy()),
            "state": self.state(source),
            "identity": { "dev": figures.dev, "ino": figures.ino },
            "lag": { "bytes": figures.lag_bytes, "seconds": lag_ns.map(|ns| ns as f64 / 1e9) },
            "behind_since": if is_waiting(figures) { moment(figures.behind_ns) } else { Value::Null },
            "waits_for_descriptor": figures.wants_descriptor,
            "limited": figures.is_limited,
            "blocked_since": moment(figures.blocked_ns),
            "error": source.error.as_deref().filter(|error| !error.is_empty()),
        });
        let own = if figures.is_spool {
            json!({
                "kind": "spool",
                "delivered_bytes": figures.offset,
                "waiting": { "files": figures.generations, "bytes": figures.lag_bytes },
                "old_markers_removed": counts.orphans,
            })
        } else {
            object["identity"]["born_ns"] = figures.born_ns.into();
            json!({
                "kind": "file",
                "offset": figures.offset,
                "generations": { "known": figures.generations, "open": figures.open },
                "was_too_old": figures.was_too_old,
                "preallocated": figures.is_blank,
                "mount": figures.is_mount,
                "truncations": counts.truncations,
                "copies_matched": counts.copies,
                "lost": { "bytes": counts.lost_bytes, "times_unknown": counts.lost_unknown },
                "late": { "lines": counts.late_lines, "bytes": counts.late_bytes },
            })
        };
        if figures.ino == 0 {
            object["identity"] = Value::Null;
        }
        for (key, value) in own.as_object().into_iter().flatten() {
            object[key] = value.clone();
        }
        object
    }
}

fn is_waiting(figures: &Figures) -> bool {
    figures.lag_bytes > 0 || (figures.is_spool && figures.generations > 0)
}

/// What of a source waits, in words.
fn waiting(figures: &Figures) -> String {
    let bytes = size(figures.lag_bytes);
    if figures.is_spool { format!("{}, {bytes}", counted(figures.generations, "file")) } else { bytes }
}

/// What happened to a source since the tailer started, in words.
fn remarks(counts: &Counts) -> Vec<String> {
    let times = |count: u64| if count == 1 { "once".to_owned() } else { format!("{} times", number(count)) };

    let Counts { truncations, copies, lost_bytes, lost_unknown, late_lines, late_bytes, orphans, .. } = *counts;
    let remarks = [
        (truncations, format!(" was truncated {}", times(truncations))),
        (copies, format!(": reading continued in a rotated copy {}", times(copies))),
        (lost_bytes, format!(" lost {}, destroyed before being read", size(lost_bytes))),
        (
            lost_unknown,
            format!(" lost an unknown number of bytes {}: rotated files had been removed", times(lost_unknown)),
        ),
        (late_lines, format!(" had {} written out of order", counted(late_lines, "line"))),
        (late_bytes, format!(" had {} arrive late in a rotated file", size(late_bytes))),
        (orphans, format!(": removed {} without a file", counted(orphans, "old marker"))),
    ];
    remarks.into_iter().filter(|(count, _)| *count > 0).map(|(_, remark)| remark).collect()
}

fn shown_path(source: &Seen) -> String {
    source.path.as_ref().map_or_else(|| UNKNOWN.to_owned(), |path| harmless(&path.to_string_lossy()))
}

/// A moment for programs; null: never, or no time at all.
fn moment(ns: u64) -> Value {
    let time = i64::try_from(ns).ok().filter(|ns| *ns != 0);
    let time = time.and_then(|ns| Timestamp::from_nanosecond(i128::from(ns)).ok());
    time.map_or(Value::Null, |time| json!({ "time": format!("{time:.9}"), "ns": ns }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_NS: i64 = 100_000_000_000;

    fn source(figures: Figures, error: &str) -> Seen {
        Seen { path: Some("/l/a.log".into()), figures, error: Some(error.to_owned()) }
    }

    #[test]
    fn each_trouble_is_a_state_and_a_sentence() {
        let behind = |ago_ns: u64| Figures { lag_bytes: 2048, behind_ns: NOW_NS as u64 - ago_ns, ..Figures::default() };
        let long = BEHIND_NS + 1;
        for (figures, error, state, sentences) in [
            (Figures::default(), "", "ok", vec![]),
            (behind(BEHIND_NS - 1), "", "ok", vec![]),
            (behind(long), "", "behind", vec![" is behind for 5s, 2.0 KiB waiting"]),
            (
                Figures { is_limited: true, ..behind(long) },
                "",
                "limited",
                vec![" is behind for 5s, 2.0 KiB waiting, limited by its rate_limit"],
            ),
            (
                Figures { blocked_ns: NOW_NS as u64 - long, ..behind(long) },
                "",
                "blocked",
                vec![" is behind for 5s, 2.0 KiB waiting", " is blocked: its output has accepted nothing for 5s"],
            ),
            (Figures::default(), "E\x1b", "unreadable", vec![" is not read: E\\x1b"]),
            (
                Figures { wants_descriptor: true, ..Figures::default() },
                "",
                "no descriptor",
                vec![" is waiting for a file descriptor; raise the limit on open files: `ulimit -n`, LimitNOFILE="],
            ),
        ] {
            let sources = vec![source(figures, error)];
            let snapshot = Snapshot { running: Some(true), pid: 1, start_ns: 1, excluded: 0, sources };
            let report = Overview { snapshot: &snapshot, state: Path::new("/s"), now_ns: NOW_NS };
            let said = report.findings();
            let expected: Vec<String> = sentences.iter().map(|sentence| format!("/l/a.log{sentence}")).collect();
            assert_eq!(said.iter().map(|finding| finding.sentence.clone()).collect::<Vec<_>>(), expected);
            assert!(said.iter().all(|finding| finding.is_trouble));
            assert_eq!(report.state(&snapshot.sources[0]), state);
        }
    }

    #[test]
    fn what_happened_is_a_remark() {
        let counts = Counts { truncations: 1, lost_bytes: 7, lost_unknown: 2, ..Counts::default() };
        let expected = [
            " was truncated once",
            " lost 7 B, destroyed before being read",
            " lost an unknown number of bytes 2 times: rotated files had been removed",
        ];
        assert_eq!(remarks(&counts), expected);
        let sources = vec![source(Figures { counts, ..Figures::default() }, "")];
        let snapshot = Snapshot { running: None, pid: 1, start_ns: 1, excluded: 0, sources };
        let report = Overview { snapshot: &snapshot, state: Path::new("/s"), now_ns: NOW_NS };
        let said = report.findings();
        assert!(said.len() == 3 && said.iter().all(|finding| !finding.is_trouble));
    }
}
