//! Rules about those who have the FIFO open: nobody holds it, nobody or the wrong one reads it, it is full.

use standpipe_common::name::Printable;

use super::facts::{Facts, user_name};
use super::finding::{Finding, Severity, quoted};
use crate::openers::{Opener, Role};
use crate::survey::{Answer, End, Pipe, Survey, answer};

/// So many names are told of many.
pub const NAMED_MAX: usize = 8;

/// What nobody can tell who may not see every process.
pub fn unseen(survey: &Survey) -> Option<Finding> {
    let is_open = |pipe: &&Pipe| {
        let is_fifo = matches!(pipe.end, End::Fifo(..));
        is_fifo && (pipe.held(survey.all_seen) == Answer::Unknown || pipe.readers().count() == 0)
    };
    let pipes: Vec<&Pipe> = survey.pipes.iter().filter(is_open).collect();
    if survey.all_seen || pipes.is_empty() {
        return None;
    }
    Some(Finding {
        pipe: None,
        severity: Severity::Hint,
        kind: "unseen",
        what: match survey.hidden {
            0 => "processes of other users are hidden".to_owned(),
            1 => "1 process cannot be looked at".to_owned(),
            hidden => format!("{hidden} processes cannot be looked at"),
        },
        path: "/proc".into(),
        why: format!("who holds or reads these pipes cannot be told: {}", names(&pipes)),
        mend: format!("sudo holder check {}", quoted(&survey.dir)),
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

fn held(pipe: &Pipe, survey: &Survey, facts: &Facts) -> Option<Finding> {
    (pipe.held(survey.all_seen) == Answer::No).then(|| {
        Finding::of(pipe, Severity::Error, "not_held", "nobody holds it")
            .why("a server that opens it waits for a reader, and gets SIGPIPE or an error when its reader goes")
            .mend(start_or_tell("holder", facts.holder, survey))
    })
}

fn read(pipe: &Pipe, survey: &Survey, facts: &Facts) -> Option<Finding> {
    let ours: Vec<_> = pipe.readers().filter(|opener| opener.process.role == Role::Reader).collect();
    if let [first, .., last] = &ours[..] {
        let what = format!("{} readers drain it, {} and {}", ours.len(), first.process.pid, last.process.pid);
        return Some(
            Finding::of(pipe, Severity::Error, "two_readers", what)
                .why("each line comes to one of them, and pieces of it to both")
                .mend(format!("kill {}", last.process.pid)),
        );
    }
    (answer(pipe.readers().count(), survey.all_seen) == Answer::No).then(|| {
        Finding::of(pipe, Severity::Warning, "not_read", "nobody reads it")
            .why("when it is full its server waits; what it holds goes when the last process that has it open ends")
            // A reader takes up new pipes when it starts.
            .mend(match facts.reader {
                Some(pid) => format!("kill {pid} && reader {}", quoted(&survey.dir)),
                None => format!("reader {}", quoted(&survey.dir)),
            })
    })
}

fn stranger(pipe: &Pipe, opener: &Opener) -> Option<Finding> {
    let process = &opener.process;
    if process.role != Role::Stranger {
        return None;
    }
    let who = format!("{} (pid {}, user {})", Printable(&process.command), process.pid, user_name(process.uid));
    let mend = format!("kill {}", process.pid);
    Some(if opener.writes {
        Finding::of(pipe, Severity::Hint, "could_read", format!("{who} has it open for reading and writing"))
            .why("if that is its server, all is well; if it reads, it takes lines away")
            .mend(mend)
    } else {
        Finding::of(pipe, Severity::Error, "stranger_reads", format!("{who} reads it"))
            .why("what it reads is missing from the log")
            .mend(mend)
    })
}

fn full(pipe: &Pipe, survey: &Survey, facts: &Facts) -> Option<Finding> {
    let level = pipe.level.filter(|level| level.is_full)?;
    let what = format!("it is full now, with {} of {} bytes", level.queued, level.capacity);
    let finding = Finding::of(pipe, Severity::Error, "full", what).why("its server waits in its next write");
    let reader = pipe.readers().find(|opener| opener.process.role == Role::Reader);
    Some(match reader {
        // Its log root is full or broken, or it is stopped: that is to be seen at the reader.
        Some(reader) => finding.mend(format!("grep State /proc/{}/status; df -h", reader.process.pid)),
        None => finding.mend(start_or_tell("reader", facts.reader, survey)),
    })
}

/// The command that makes a program see what it does not see yet.
pub fn start_or_tell(program: &str, running: Option<u32>, survey: &Survey) -> String {
    match running {
        Some(pid) if program == "holder" => format!("kill -HUP {pid}"),
        Some(pid) => format!("kill {pid} && {program} {}", quoted(&survey.dir)),
        None => format!("{program} {}", quoted(&survey.dir)),
    }
}
