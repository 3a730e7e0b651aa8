//! `holder status`: a row a pipe, for people or for scripts.
//!
//! What cannot be known is `?`, and null for scripts; what there is none of is `-`; `+?` says that there may be more. A
//! staging pipe has no row of its own: `yes +stage` says that it is held, `5 +70` that beside five bytes in the pipe
//! seventy are on their way into it.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::rc::Rc;

use nix::unistd::{Gid, Uid};
use serde::Serialize;
use standpipe_common::account::group_name;
use standpipe_common::called::typed;
use standpipe_common::error::Stop;
use standpipe_common::name::Printable;
use standpipe_common::standard;
use standpipe_common::table::{Screen, render};
use standpipe_common::units::ByteSize;

use crate::advice;
use crate::beside::Beside;
use crate::check::facts::{Credentials, account_of, at_work, user_name};
use crate::check::hidden::{cause, is_blind};
use crate::cli::LookArgs;
use crate::level::Fill;
use crate::openers::{Opener, Process, Role};
use crate::print;
use crate::survey::{Answer, End, Pipe, Survey, answer, survey};

/// Version of the JSON text.
const VERSION: u32 = 1;
/// The column that keeps its width longest: paths.
const LAST_TO_SHORTEN: usize = 1;
/// So many processes are named in a cell, more are counted.
const NAMED_MAX: usize = 2;

const TITLES: [&str; 8] = ["PIPE", "TARGET", "HELD", "READERS", "WRITERS", "QUEUED", "SIZE", "FULL"];

/// Prints it. The exit code: 0 if every pipe is held, and read where it is full; 1 if not, or if that cannot be known.
pub fn run(args: &LookArgs) -> Result<u8, Stop> {
    let survey = survey(args.dir.as_deref(), "status")?;
    let (text, object) = shown(&survey, Screen::of_stdout())?;
    if args.json {
        standard::print_json(&object)?;
    } else {
        standard::print(&text)?;
    }
    Ok(u8::from(!survey.pipes.iter().all(is_good)))
}

/// The table, and the object for scripts.
pub fn shown(survey: &Survey, screen: Screen) -> Result<(String, String), Stop> {
    let holder = at_work(survey, Role::Holder);
    let account = account_of(holder.as_deref());
    let keeper = Keeper { holder, account };
    Ok((table(survey, &keeper, screen), print::json(&StatusReport::of(survey, &keeper))?))
}

/// The holder of the directory, and whose rights it has.
struct Keeper {
    holder: Option<Rc<Process>>,
    account: Option<Credentials>,
}

const NO_HOLDER: &str = "no holder is running";

impl Keeper {
    /// Why a FIFO is not held.
    fn reason(&self, pipe: &Pipe) -> Option<String> {
        let End::Fifo(_, fifo) = &pipe.end else { return None };
        if pipe.held() == Answer::Yes || pipe.twin.is_some() {
            return None;
        }
        let Some(holder) = &self.holder else {
            // Of hidden processes one may be at work.
            return (pipe.held() == Answer::No).then(|| NO_HOLDER.to_owned());
        };
        let pid = holder.pid;
        if is_blind(holder, pipe) {
            return Some(format!("holder (pid {pid}) cannot see it, because {}", cause(&pipe.target)));
        }
        let (mode, owner, group) = (fifo.mode() & 0o7777, fifo.uid(), fifo.gid());
        let shut_out = self.account.as_ref().filter(|account| !account.may(0o6, mode, owner, group));
        Some(match shut_out {
            Some(account) => format!(
                "holder runs as user {}, who cannot read and write it (mode {mode:04o}, owner {}, group {})",
                account.name,
                user_name(owner),
                group_name(Gid::from_raw(group))
            ),
            None => {
                format!("holder (pid {pid}) has not opened it: send it HUP if the pipe is new, or read its messages")
            }
        })
    }
}

fn is_good(pipe: &Pipe) -> bool {
    let is_held_beside = || pipe.beside.as_ref().is_none_or(|beside| beside.held() == Answer::Yes);
    pipe.held() == Answer::Yes && problem(pipe).is_none() && is_held_beside()
}

fn table(survey: &Survey, keeper: &Keeper, screen: Screen) -> String {
    if survey.pipes.is_empty() {
        return print::shown("no pipes\n", screen);
    }
    let rows: Vec<_> = survey.pipes.iter().map(row).collect();
    let mut text = render(&TITLES, LAST_TO_SHORTEN, &rows, screen);
    for pipe in &survey.pipes {
        // That of all of them is said once.
        let reason = keeper.reason(pipe).filter(|reason| reason != NO_HOLDER);
        if let Some(problem) = problem(pipe).or(reason) {
            text.push_str(&print::wrapped(&format!("{}: {problem}", pipe.entry.name), "", "  ", screen));
        }
    }
    if survey.pipes.iter().any(|pipe| keeper.reason(pipe).is_some_and(|reason| reason == NO_HOLDER)) {
        let check = format!("{} {}", typed("holder", "check"), advice::quoted(&survey.dir));
        text.push_str(&print::wrapped(&format!("{NO_HOLDER}: `{check}` says how to start one"), "", "  ", screen));
    }
    let is_doubtful = |pipe: &Pipe| !pipe.all_seen || pipe.beside.as_ref().is_some_and(|beside| !beside.all_seen);
    if survey.pipes.iter().any(is_doubtful) {
        text.push_str(&print::wrapped(&format!("?: {}", unseen(survey)), "", "  ", screen));
    }
    text
}

/// Who may have a pipe open unseen, and how they can be seen.
fn unseen(survey: &Survey) -> String {
    let command = || advice::as_root(&format!("{} {}", typed("holder", "status"), advice::quoted(&survey.dir)));
    let cure = if Uid::effective().is_root() { String::new() } else { format!("; as root: {}", command()) };
    format!("{}{cure}", survey.unseen())
}

fn row(pipe: &Pipe) -> Vec<String> {
    let is_fifo = matches!(pipe.end, End::Fifo(..));
    // Of a FIFO that nobody has open there is no level.
    let unknown = if is_fifo && answer(pipe.openers.len(), pipe.all_seen) != Answer::No { "?" } else { "-" };
    let number = |number: Option<String>| number.unwrap_or_else(|| unknown.to_owned());
    let who = |openers: Vec<&Opener>| if is_fifo { processes(&openers, pipe.all_seen) } else { unknown.to_owned() };
    vec![
        pipe.entry.name.to_string(),
        path(&pipe.target),
        held(pipe) + stage_held(pipe),
        who(pipe.readers().collect()),
        who(pipe.writers().collect()),
        number(pipe.level.map(|level| level.queued.to_string())) + &stage_queued(pipe),
        number(pipe.level.map(|level| ByteSize(level.capacity as u64).to_string())),
        number(pipe.level.map(|level| full(pipe, level).to_owned())),
    ]
}

fn full(pipe: &Pipe, level: Fill) -> &'static str {
    match level.is_full {
        false => "no",
        true if pipe.read() == Answer::Yes => "yes",
        true => "yes, not read",
    }
}

fn held(pipe: &Pipe) -> String {
    match (pipe.held(), pipe.holders().count()) {
        (Answer::Yes, 0 | 1) => "yes".to_owned(),
        (Answer::Yes, count) => format!("{count} holders"),
        (Answer::No, _) => "no".to_owned(),
        (Answer::Unknown, _) => "?".to_owned(),
    }
}

fn stage_held(pipe: &Pipe) -> &'static str {
    match pipe.beside.as_ref().map(Beside::held) {
        None => "",
        Some(Answer::Yes) => " +stage",
        Some(Answer::No) => " -stage",
        Some(Answer::Unknown) => " ?stage",
    }
}

/// Nothing, as nearly always, is not shown.
fn stage_queued(pipe: &Pipe) -> String {
    let queued = pipe.beside.as_ref().and_then(|beside| beside.queued).filter(|&queued| queued > 0);
    queued.map_or_else(String::new, |queued| format!(" +{queued}"))
}

fn processes(openers: &[&Opener], all_seen: bool) -> String {
    let known = match openers {
        [] => return if all_seen { "-" } else { "?" }.to_owned(),
        few if few.len() <= NAMED_MAX => few.iter().map(|opener| named(&opener.process)).collect::<Vec<_>>().join(", "),
        many => format!("{} processes", many.len()),
    };
    if all_seen { known } else { format!("{known} +?") }
}

fn named(process: &Process) -> String {
    format!("{} {}", Printable(&process.command), process.pid)
}

fn problem(pipe: &Pipe) -> Option<String> {
    let twin = || pipe.twin.as_ref().map(|twin| format!("it leads to the same FIFO as {twin}"));
    pipe.trouble().map(ToString::to_string).or_else(twin).or_else(|| stuck(pipe).map(str::to_owned))
}

/// A full pipe that a reader is about to empty is nothing to worry about.
fn stuck(pipe: &Pipe) -> Option<&'static str> {
    pipe.level.filter(|level| level.is_full)?;
    match pipe.read() {
        Answer::Yes => None,
        Answer::No => Some("the pipe is full and nobody reads it; its server waits in its next write"),
        Answer::Unknown => Some("the pipe is full and no reader is visible; its server waits in its next write"),
    }
}

fn path(path: &Path) -> String {
    Printable(path.as_os_str()).to_string()
}

/// All of it for scripts. Unknown is null.
#[derive(Serialize)]
struct StatusReport {
    version: u32,
    dir: String,
    all_processes_seen: bool,
    hidden_processes: Vec<ProcessReport>,
    pipes: Vec<PipeReport>,
}

#[derive(Serialize)]
struct PipeReport {
    name: String,
    target: String,
    held: Option<bool>,
    holders: Option<Vec<ProcessReport>>,
    readers: Option<Vec<ProcessReport>>,
    writers: Option<Vec<ProcessReport>>,
    all_openers_seen: bool,
    queued_bytes: Option<usize>,
    capacity_bytes: Option<usize>,
    full: Option<bool>,
    stage: Option<StageReport>,
    problem: Option<String>,
}

/// Null where there is none and none is wanted.
#[derive(Serialize)]
struct StageReport {
    held: Option<bool>,
    queued_bytes: Option<usize>,
}

#[derive(Serialize)]
struct ProcessReport {
    pid: u32,
    command: String,
    uid: u32,
}

impl StatusReport {
    fn of(survey: &Survey, keeper: &Keeper) -> StatusReport {
        StatusReport {
            version: VERSION,
            dir: path(&survey.dir),
            all_processes_seen: survey.hidden.is_empty() && !survey.is_proc_hidden,
            hidden_processes: survey.hidden.iter().map(|process| ProcessReport::of(process)).collect(),
            pipes: survey.pipes.iter().map(|pipe| PipeReport::of(pipe, keeper)).collect(),
        }
    }
}

impl PipeReport {
    fn of(pipe: &Pipe, keeper: &Keeper) -> PipeReport {
        let is_hidden = matches!(pipe.end, End::Hidden(_));
        let list = |openers: Vec<&Opener>| {
            let known = !openers.is_empty() || (pipe.all_seen && !is_hidden) || pipe.held() == Answer::No;
            known.then(|| openers.iter().map(|opener| ProcessReport::of(&opener.process)).collect())
        };
        PipeReport {
            name: pipe.entry.name.to_string(),
            target: path(&pipe.target),
            held: known(pipe.held()),
            holders: list(pipe.holders().collect()),
            readers: list(pipe.readers().collect()),
            writers: list(pipe.writers().collect()),
            all_openers_seen: pipe.all_seen && !is_hidden,
            queued_bytes: pipe.level.map(|level| level.queued),
            capacity_bytes: pipe.level.map(|level| level.capacity),
            full: pipe.level.map(|level| level.is_full),
            stage: pipe.beside.as_ref().map(StageReport::of),
            problem: problem(pipe).or_else(|| keeper.reason(pipe)),
        }
    }
}

impl StageReport {
    fn of(beside: &Beside) -> StageReport {
        StageReport { held: known(beside.held()), queued_bytes: beside.queued }
    }
}

fn known(answer: Answer) -> Option<bool> {
    match answer {
        Answer::Yes => Some(true),
        Answer::No => Some(false),
        Answer::Unknown => None,
    }
}

impl ProcessReport {
    fn of(process: &Process) -> ProcessReport {
        ProcessReport { pid: process.pid, command: Printable(&process.command).to_string(), uid: process.uid }
    }
}
