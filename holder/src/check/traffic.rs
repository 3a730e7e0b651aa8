//! Rules about those who have the FIFO open: nobody holds it, nobody or the wrong one reads it, it is full.
//!
//! Who runs under a supervisor, and which, is not always known. So no command ends anything, and one that starts a program
//! comes with a word on how else it is started.

use nix::unistd::Uid;
use standpipe_common::called::typed;
use standpipe_common::name::Printable;

use super::facts::{Facts, user_name};
use super::finding::{Finding, Severity};
use super::hidden::is_blind;
use crate::advice::{as_root, hang_up, quoted, who};
use crate::openers::{Opener, Role};
use crate::survey::{Answer, End, Pipe, Survey};

/// How a program that a supervisor may run is stopped.
const STARTED: &str = "it was started (systemctl stop, s6-svc -d, sv down, Ctrl-C)";
/// So many names are told of many.
pub const NAMED_MAX: usize = 8;

/// What nobody can tell who may not see every process.
pub fn unseen(survey: &Survey) -> Option<Finding> {
    let is_open = |pipe: &&Pipe| {
        let is_fifo = matches!(pipe.end, End::Fifo(..));
        is_fifo && !pipe.all_seen && (pipe.held() == Answer::Unknown || pipe.readers().count() == 0)
    };
    let pipes: Vec<&Pipe> = survey.pipes.iter().filter(is_open).collect();
    if pipes.is_empty() {
        return None;
    }
    let is_root = Uid::effective().is_root();
    let cause = if is_root { "; not even root can see that here" } else { "" };
    Some(Finding {
        pipe: None,
        severity: Severity::Hint,
        kind: "unseen",
        what: survey.unseen(),
        path: "/proc".into(),
        why: format!("other processes may hold or read these pipes: {}{cause}", names(&pipes)),
        mend: match is_root {
            false => as_root(&format!("{} {}", typed("holder", "check"), quoted(&survey.dir))),
            true if survey.is_proc_hidden => "findmnt /proc".to_owned(),
            true => who(survey.hidden.iter().map(|process| &**process)),
        },
    })
}

/// Some names, and how many more there are.
pub fn names(pipes: &[&Pipe]) -> String {
    let named: Vec<_> = pipes.iter().take(NAMED_MAX).map(|pipe| pipe.entry.name.to_string()).collect();
    let more = pipes.len() - named.len();
    named.join(", ") + &if more == 0 { String::new() } else { format!(" and {more} more") }
}

/// All about one pipe.
pub fn of_pipe(pipe: &Pipe, survey: &Survey, facts: &Facts) -> Vec<Finding> {
    // A twin is the matter of the name that comes first.
    if !matches!(pipe.end, End::Fifo(..)) || pipe.twin.is_some() {
        return Vec::new();
    }
    let mut findings: Vec<Finding> = held(pipe, survey, facts).into_iter().chain(full(pipe, survey, facts)).collect();
    findings.extend(read(pipe, survey, facts));
    findings.extend(pipe.readers().filter_map(|opener| stranger(pipe, opener)));
    findings
}

/// Where no link leads to a FIFO yet, that nobody would hold or read one.
pub fn nobody(survey: &Survey, facts: &Facts) -> Vec<Finding> {
    let has_fifo = survey.pipes.iter().any(|pipe| pipe.end.identity().is_some());
    // Of hidden processes one may be at work.
    let is_told = has_fifo || survey.pipes.is_empty() || survey.is_proc_hidden || !Uid::effective().is_root();
    let missing = [("holder", "not_held", &facts.holder), ("reader", "not_read", &facts.reader)];
    let missing = missing.into_iter().filter(|(.., running)| !is_told && running.is_none());
    missing
        .map(|(name, kind, _)| Finding {
            pipe: None,
            severity: Severity::Warning,
            kind,
            what: format!("no {name} runs for this directory"),
            path: survey.dir.clone(),
            why: format!("once there are FIFOs, both must run{}", how_to_start(name, facts)),
            mend: start_or_tell(name, survey, facts),
        })
        .collect()
}

fn held(pipe: &Pipe, survey: &Survey, facts: &Facts) -> Option<Finding> {
    if facts.holder.as_deref().is_some_and(|holder| is_blind(holder, pipe)) {
        return None;
    }
    (pipe.held() == Answer::No).then(|| {
        let why = "a server that opens it waits for a reader, and gets SIGPIPE or an error when that reader stops";
        Finding::of(pipe, Severity::Error, "not_held", "nobody holds it")
            .why(format!("{why}{}", how_to_start("holder", facts)))
            .mend(start_or_tell("holder", survey, facts))
    })
}

fn read(pipe: &Pipe, survey: &Survey, facts: &Facts) -> Option<Finding> {
    let ours: Vec<_> = pipe.readers().filter(|opener| opener.process.role == Role::Reader).collect();
    if let [first @ .., last] = &ours[..]
        && !first.is_empty()
    {
        let pids: Vec<_> = first.iter().map(|opener| opener.process.pid.to_string()).collect();
        let what = format!("{} readers read it: pid {} and {}", ours.len(), pids.join(", "), last.process.pid);
        return Some(
            Finding::of(pipe, Severity::Error, "two_readers", what)
                .why(format!(
                    "each gets only some of the lines, and a line can be split between them; stop one the way {STARTED}"
                ))
                .mend(who(ours.iter().map(|opener| &*opener.process))),
        );
    }
    if facts.reader.as_deref().is_some_and(|reader| is_blind(reader, pipe)) {
        return None;
    }
    (pipe.readers().count() == 0 && pipe.read() == Answer::No).then(|| {
        let why = "once the pipe is full, its server waits; bytes in it are lost when the last process closes the pipe";
        Finding::of(pipe, Severity::Warning, "not_read", "nobody reads it")
            .why(format!("{why}{}", how_to_start("reader", facts)))
            .mend(start_or_tell("reader", survey, facts))
    })
}

fn stranger(pipe: &Pipe, opener: &Opener) -> Option<Finding> {
    let process = &opener.process;
    if process.role != Role::Stranger {
        return None;
    }
    let name = format!("{} (pid {}, user {})", Printable(&process.command), process.pid, user_name(process.uid));
    Some(if opener.writes {
        Finding::of(pipe, Severity::Hint, "could_read", format!("{name} has it open for reading and writing"))
            .why("fine if this is its server; if it reads, it takes lines away")
            .mend(who([&**process]))
    } else {
        Finding::of(pipe, Severity::Error, "stranger_reads", format!("{name} reads it"))
            .why(format!("the lines it reads are missing from the log; stop it the way {STARTED}"))
            .mend(who([&**process]))
    })
}

fn full(pipe: &Pipe, survey: &Survey, facts: &Facts) -> Option<Finding> {
    let level = pipe.level.filter(|level| level.is_full)?;
    let what = format!("it is full, with {} of {} bytes", level.queued, level.capacity);
    let finding = Finding::of(pipe, Severity::Error, "full", what);
    let why = "its server waits in its next write";
    let reader = pipe.readers().find(|opener| opener.process.role == Role::Reader);
    Some(match reader {
        // Its log root is full or broken, or it is stopped: that is to be seen at the reader.
        Some(reader) => finding.why(why).mend(format!("grep State /proc/{}/status; df -h", reader.process.pid)),
        None => {
            finding.why(format!("{why}{}", how_to_start("reader", facts))).mend(start_or_tell("reader", survey, facts))
        }
    })
}

/// The command that makes `holder` or `reader` see what it does not see yet, or starts it as the user that it is meant
/// for.
pub fn start_or_tell(name: &str, survey: &Survey, facts: &Facts) -> String {
    let running = if name == "holder" { &facts.holder } else { &facts.reader };
    if let Some(process) = running {
        return hang_up(process);
    }
    if let Some(start) = facts.start(name) {
        return start.clone();
    }
    let start = format!("{} {}", typed(name, ""), quoted(&survey.dir));
    match &facts.account {
        Some(account) if Uid::effective().is_root() && account.uid != 0 => {
            format!("runuser -u {} -- {start}", account.name)
        }
        _ => start,
    }
}

/// What else starts a program that does not run, unless that is known.
fn how_to_start(name: &str, facts: &Facts) -> &'static str {
    let running = if name == "holder" { &facts.holder } else { &facts.reader };
    if running.is_some() || facts.start(name).is_some() {
        return "";
    }
    "; start it with its supervisor (systemctl start, s6-svc -u, sv up), or by hand"
}
