//! `reader status`: a table of the lanes, then a sentence for each thing that is not as it should be.
//!
//! Exit 0: all is well; 1: a sentence says what is not; 2: asked wrongly; 3: it cannot be read. For programs there is
//! one JSON object with the same.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use standpipe_common::called::typed;
use standpipe_common::clock;
use standpipe_common::cursor::Cursor;
use standpipe_common::error::Stop;
use standpipe_common::shown::Shown as _;
use standpipe_common::shown::{UNKNOWN, harmless, number, passed_ns, size, span};
use standpipe_common::standard;
use standpipe_common::table::{Screen, render};

use super::format::{LastError, SANDBOX_OFF, SANDBOX_ON, SANDBOX_UNAVAILABLE, SICK, WELL};
use super::lag::{Lag, Unsent};
use super::problems::{Problem, ProblemKind};
use super::snapshot::{SeenLane, Snapshot};
use crate::cli::StatusArgs;
use crate::listing::SELF;
use crate::logs::log_root::{LogRoot, hinted};
use crate::logs::select::{is_path, offered};
use crate::moments;

/// Exit code of a finding.
const EXIT_FINDING: u8 = 1;
/// How far a receiver may be behind unless something else is asked.
const BEHIND_MAX: Duration = Duration::from_secs(300);
/// Version of the JSON object.
const JSON_VERSION: u32 = 1;

/// Shows what was asked for. The exit code.
pub fn run(args: &StatusArgs) -> Result<u8, Stop> {
    let (root, snapshot) = look(args).map_err(|stop| hinted(stop, &args.what))?;
    let behind_max = args.behind.unwrap_or(BEHIND_MAX);
    let report = View { snapshot: &snapshot, root: &root.path, behind_max, now_ns: clock::now_ns() };
    let findings = report.findings();
    if args.json {
        standard::print_json(&report.json(&findings))?;
    } else {
        standard::print(&report.text(&findings, Screen::of_stdout()))?;
    }
    Ok(if findings.iter().any(|finding| finding.is_trouble) { EXIT_FINDING } else { 0 })
}

/// The log root, and what was asked for in it.
fn look(args: &StatusArgs) -> Result<(LogRoot, Snapshot), Stop> {
    let (root, names) = split(args)?;
    let picked = Snapshot::of(&root.path).map_err(Stop::from).and_then(|mut snapshot| {
        pick(&mut snapshot, &root.path, &names)?;
        Ok(snapshot)
    });
    let snapshot = picked.map_err(|stop| root.explain(stop))?;
    Ok((root, snapshot))
}

/// The log root and the names among the arguments.
fn split(args: &StatusArgs) -> Result<(LogRoot, Vec<OsString>), Stop> {
    let (paths, names): (Vec<_>, Vec<_>) = args.what.iter().partition(|what| is_path(what));
    let names = names.into_iter().map(|name| name.clone().into_os_string()).collect();
    match paths[..] {
        [] => Ok((LogRoot::find(args.logs.as_deref())?, names)),
        [root] => Ok((LogRoot::find(Some(root))?, names)),
        _ => Err(Stop::Usage("give exactly one log root".to_owned())),
    }
}

/// Leaves the lanes of these names, or all.
fn pick(snapshot: &mut Snapshot, root: &Path, names: &[OsString]) -> Result<(), Stop> {
    if let Some(name) = names.iter().find(|name| snapshot.find(name).is_none()) {
        let known: Vec<_> = snapshot.lanes.iter().map(|lane| shown_name(lane, root)).collect();
        return Err(Stop::Usage(unknown_name(root, name, &known)));
    }
    if !names.is_empty() {
        snapshot.lanes.retain(|lane| lane.name.as_ref().is_some_and(|name| names.contains(name)));
    }
    Ok(())
}

/// The sentence on a name that is no lane's.
pub fn unknown_name(root: &Path, name: &OsStr, known: &[String]) -> String {
    format!("no pipe named `{}` in {}; there are: {}", name.shown(), root.shown(), offered(known))
}

/// Something to be said under the table.
struct Notice {
    sentence: String,
    /// Not only worth knowing.
    is_trouble: bool,
}

struct View<'a> {
    snapshot: &'a Snapshot,
    root: &'a Path,
    behind_max: Duration,
    now_ns: i64,
}

impl View<'_> {
    fn text(&self, findings: &[Notice], screen: Screen) -> String {
        const TITLES: [&str; 7] = ["PIPE", "BYTES", "LINES", "LAST", "PARTS", "BACKLOG", "STATE"];
        let rows: Vec<Vec<String>> = self.snapshot.lanes.iter().map(|lane| self.row(lane)).collect();
        let mut text = format!("{}\n", screen.text(&self.headline()));
        if rows.is_empty() {
            text.push_str("no pipes\n");
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
        let root = self.root.shown();
        let (pid, since) = (number(self.snapshot.pid), self.age(self.snapshot.start_ns));
        match self.snapshot.running {
            Some(true) => {
                format!("{root}: reader {pid} has been running for {since}; BYTES and LINES count from its start")
            }
            Some(false) => format!("{root}: no reader is running; the last one, {pid}, started {since} ago"),
            None => format!("{root}: reader {pid} started {since} ago; cannot see whether it is still running"),
        }
    }

    fn row(&self, lane: &SeenLane) -> Vec<String> {
        let slot = &lane.slot;
        let backlog = match slot.backlog_parts {
            0 => "-".to_owned(),
            parts => format!("{} ({})", number(parts), size(slot.backlog_bytes)),
        };
        let nothing = || "-".to_owned();
        let last = slot.taken.arrival_ns.map_or_else(nothing, |ns| self.age(ns));
        let lines = slot.taken.lines.map_or_else(nothing, number);
        let (bytes, parts) = (size(slot.taken.bytes), number(slot.taken.parts));
        vec![shown_name(lane, self.root), bytes, lines, last, parts, backlog, self.state(lane)]
    }

    fn state(&self, lane: &SeenLane) -> String {
        let slot = &lane.slot;
        match slot.state {
            _ if self.snapshot.running == Some(false) => "not running".to_owned(),
            WELL => match (slot.fill.blocked_ns, lane.problems.first()) {
                (Some(ns), _) => format!("blocked {}", self.age(ns)),
                (None, Some(problem)) => in_row(problem.kind).to_owned(),
                (None, None) => "ok".to_owned(),
            },
            SICK => "sick".to_owned(),
            _ => UNKNOWN.to_owned(),
        }
    }

    fn findings(&self) -> Vec<Notice> {
        let mut findings = Vec::new();
        let mut say = |is_trouble, sentence| findings.push(Notice { sentence, is_trouble });
        if self.snapshot.running == Some(false) {
            say(
                true,
                format!(
                    "no reader is running on {}: servers can write until their pipes are full, then they wait",
                    self.root.shown()
                ),
            );
        }
        self.policies().into_iter().for_each(|sentence| say(true, sentence));
        for lane in &self.snapshot.lanes {
            let (slot, name) = (&lane.slot, shown_name(lane, self.root));
            for problem in lane.problems.iter().filter(|problem| problem.kind != ProblemKind::Policy) {
                say(true, format!("{name}: {}", self.problem(problem)));
            }
            let runs = self.snapshot.running != Some(false);
            let error = text(slot.error.text.as_deref());
            if slot.state == SICK && runs {
                let since = self.age(slot.error.at_ns.unwrap_or(0));
                say(true, format!("{name}: not read for {since}: {error}; {}", self.retry(&slot.error)));
            } else if let Some(at_ns) = slot.error.at_ns
                && !lane.problems.iter().any(|problem| problem.text == error)
            {
                say(false, format!("{name}: the last error, {} ago: {error}", self.age(at_ns)));
            }
            if let Some(since_ns) = slot.fill.blocked_ns.filter(|_| runs) {
                let is_trouble = self.span_ns(since_ns).is_some_and(|span| span >= slot.fill.warn_after_ns);
                let (queued, capacity) = (number(slot.fill.queued), number(slot.fill.capacity));
                let since = self.age(since_ns);
                let fill = format!("{queued} of {capacity} bytes are waiting in it");
                say(is_trouble, format!("{name}: the pipe has been full or nearly full for {since}; {fill}"));
            }
            for lag in &lane.lags {
                let (is_trouble, sentence) = self.lag(lag);
                say(is_trouble, format!("{name}: {sentence}"));
            }
            for path in &lane.damaged {
                say(
                    true,
                    format!(
                        "{path} was set aside: another file of that part is in use; delete it once you no longer need it"
                    ),
                );
            }
        }
        for path in &self.snapshot.salvaged {
            say(
                true,
                format!("{path} contains bytes that did not fit into the log; delete it once you no longer need it"),
            );
        }
        findings
    }

    /// What is wrong with the configuration, and which pipes have another policy for that. A mistake of `defaults.toml`
    /// is one of every pipe, so those with the same sentence share it.
    fn policies(&self) -> Vec<String> {
        let reader = match self.snapshot.running {
            Some(false) => "start reader again".to_owned(),
            _ => format!("send HUP to reader (pid {})", number(self.snapshot.pid)),
        };
        let mut by_text: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for lane in &self.snapshot.lanes {
            for problem in lane.problems.iter().filter(|problem| problem.kind == ProblemKind::Policy) {
                by_text.entry(&problem.text).or_default().push(shown_name(lane, self.root));
            }
        }
        let mistakes = self.snapshot.problems.iter().map(|problem| format!("{}; fix it, then {reader}", problem.text));
        let effects = by_text.into_iter().map(|(text, names)| match &names[..] {
            [name] => format!("{name}: {text}"),
            _ => format!("{}, each: {text}", offered(&names)),
        });
        mistakes.chain(effects).collect()
    }

    /// What stands in the way of a pipe, and what helps.
    fn problem(&self, problem: &Problem) -> String {
        let (since, text) = (self.age(problem.since_ns), &problem.text);
        match problem.kind {
            ProblemKind::Link => format!(
                "not read for {since}: {text}; reading begins when a FIFO is there: `{}` says how to make one",
                typed("holder", "check")
            ),
            ProblemKind::Archive => {
                format!("no archive for {since}: {text}; parts stay uncompressed; retrying")
            }
            ProblemKind::Hook => format!(
                "the hook has failed for {since}: {text}; archives wait; retrying; fix the program, whose messages are \
                 in the log of reader"
            ),
            ProblemKind::Configuration | ProblemKind::Policy => text.clone(),
        }
    }

    /// Whether a receiver is too far behind, and what is said of it.
    fn lag(&self, lag: &Lag) -> (bool, String) {
        let receiver = &lag.receiver;
        let (cursor, unsent) = match &lag.unsent {
            Ok(told) => told,
            Err(error) => return (true, format!("nobody knows how far {receiver} has got: {error}")),
        };
        let age_ns = self.behind_ns(*unsent);
        let is_trouble = age_ns.is_some_and(|age| u128::from(age) > self.behind_max.as_nanos());
        let place = match age_ns {
            None if unsent.bytes == 0 => "has everything".to_owned(),
            None => format!("is {} behind", size(unsent.bytes)),
            Some(age) => format!("is {} and {} behind", size(unsent.bytes), span(age)),
        };
        let answer = cursor.answer().map_or_else(String::new, |(at_ns, text)| {
            let at = u64::try_from(at_ns).map_or_else(|_| UNKNOWN.to_owned(), |at| self.age(at));
            format!("; its last answer, {at} ago: {}", harmless(text))
        });
        let lost = match cursor.lost_bytes() {
            0 => String::new(),
            bytes => format!("; lost {}, removed before being sent", size(bytes)),
        };
        (is_trouble, format!("{receiver} {place}{answer}{lost}"))
    }

    /// How long a receiver has not had a line that is stored.
    fn behind_ns(&self, unsent: Unsent) -> Option<u64> {
        unsent.since_ns.map(|since| u64::try_from(self.now_ns.saturating_sub(since)).unwrap_or(0))
    }

    fn json_lag(&self, lag: &Lag) -> Value {
        let told = lag.unsent.as_ref().ok();
        let count = |of: fn(&Cursor) -> u64| told.map(|(cursor, _)| of(cursor));
        let answer = told.and_then(|(cursor, _)| cursor.answer());
        let age_ns = told.map(|(_, unsent)| self.behind_ns(*unsent).unwrap_or(0));
        json!({
            "receiver": lag.receiver.to_string(),
            "behind_bytes": told.map(|(_, unsent)| unsent.bytes),
            "behind_seconds": age_ns.map(|age| age as f64 / 1e9),
            "sent_bytes": count(Cursor::sent_bytes),
            "refused_lines": count(Cursor::refused_lines),
            "lost_bytes": count(Cursor::lost_bytes),
            "last_answer": answer.map(|(at_ns, text)| json!({ "at": moment(u64::try_from(at_ns).unwrap_or(0)), "text": text })),
            "error": lag.unsent.as_ref().err().map(ToString::to_string),
        })
    }

    fn retry(&self, error: &LastError) -> String {
        match i64::try_from(error.retry_ns).ok().and_then(|at| u64::try_from(at.checked_sub(self.now_ns)?).ok()) {
            Some(left) => format!("retrying in {}", span(left)),
            None => "retrying now".to_owned(),
        }
    }

    fn json(&self, findings: &[Notice]) -> String {
        let sentences = |is_trouble| -> Vec<&str> {
            let wanted = findings.iter().filter(|finding| finding.is_trouble == is_trouble);
            wanted.map(|finding| finding.sentence.as_str()).collect()
        };
        let object = json!({
            "version": JSON_VERSION,
            "logs": self.root.to_string_lossy(),
            "running": self.snapshot.running,
            "pid": self.snapshot.pid,
            "started": moment(self.snapshot.start_ns),
            "sandbox": sandbox(self.snapshot.sandbox),
            "pipes": self.snapshot.lanes.iter().map(|lane| self.json_lane(lane)).collect::<Vec<_>>(),
            "problems": self.snapshot.problems.iter().map(json_problem).collect::<Vec<_>>(),
            "salvaged": self.snapshot.salvaged,
            "findings": sentences(true),
            "remarks": sentences(false),
        });
        format!("{object:#}\n")
    }

    fn json_lane(&self, lane: &SeenLane) -> Value {
        let slot = &lane.slot;
        let state = match slot.state {
            WELL if slot.fill.blocked_ns.is_some() => Value::from("blocked"),
            WELL => Value::from(lane.problems.first().map_or("ok", |problem| problem.kind.word())),
            SICK => Value::from("sick"),
            _ => Value::Null,
        };
        json!({
            "pipe": lane.name.as_ref().map(|_| shown_name(lane, self.root)),
            "state": state,
            "bytes": slot.taken.bytes,
            "lines": slot.taken.lines,
            "last_arrival": slot.taken.arrival_ns.map(moment),
            "parts": slot.taken.parts,
            "backlog": { "parts": slot.backlog_parts, "bytes": slot.backlog_bytes },
            "queued_bytes": slot.fill.queued,
            "capacity_bytes": slot.fill.capacity,
            "blocked_since": slot.fill.blocked_ns.map(moment),
            "retry_at": (slot.state == SICK).then(|| moment(slot.error.retry_ns)),
            "last_error": slot.error.at_ns.map(|at_ns| {
                json!({ "at": moment(at_ns), "text": slot.error.text.as_deref().map(|said| text(Some(said))) })
            }),
            "problems": lane.problems.iter().map(json_problem).collect::<Vec<_>>(),
            "damaged": lane.damaged,
            "receivers": lane.lags.iter().map(|lag| self.json_lag(lag)).collect::<Vec<_>>(),
        })
    }

    fn age(&self, then_ns: u64) -> String {
        self.span_ns(then_ns).map_or_else(|| UNKNOWN.to_owned(), span)
    }

    fn span_ns(&self, then_ns: u64) -> Option<u64> {
        passed_ns(then_ns, self.now_ns)
    }
}

/// The state of a lane with such a problem.
fn in_row(kind: ProblemKind) -> &'static str {
    match kind {
        ProblemKind::Link => "no FIFO",
        ProblemKind::Archive => "archive fails",
        ProblemKind::Hook => "hook fails",
        ProblemKind::Configuration | ProblemKind::Policy => "policy",
    }
}

fn json_problem(problem: &Problem) -> Value {
    json!({ "kind": problem.kind.word(), "since": moment(problem.since_ns), "text": problem.text })
}

/// Under what name a lane is shown: that of `reader stdin` by the name of its directory.
fn shown_name(lane: &SeenLane, root: &Path) -> String {
    let name = match &lane.name {
        Some(name) if name == SELF => {
            let real = root.canonicalize().ok();
            real.and_then(|root| Some(root.file_name()?.to_owned())).unwrap_or_else(|| name.clone())
        }
        Some(name) => name.clone(),
        None => return UNKNOWN.to_owned(),
    };
    harmless(&name.to_string_lossy())
}

fn text(text: Option<&[u8]>) -> String {
    text.map_or_else(|| UNKNOWN.to_owned(), |text| harmless(&String::from_utf8_lossy(text)))
}

/// Whether a reader is confined, for programs; null: it does not say.
fn sandbox(word: u64) -> Value {
    match word {
        SANDBOX_ON => Value::from("on"),
        SANDBOX_OFF => Value::from("off"),
        SANDBOX_UNAVAILABLE => Value::from("unavailable"),
        _ => Value::Null,
    }
}

/// A moment for programs; null: never, or no time at all.
fn moment(ns: u64) -> Value {
    i64::try_from(ns).ok().filter(|ns| *ns != 0).map_or(Value::Null, moments::json)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_for_programs() {
        assert_eq!((moment(0), moment(u64::MAX)), (Value::Null, Value::Null));
        assert_eq!(moment(1)["time"], "1970-01-01T00:00:00.000000001Z");
    }
}
