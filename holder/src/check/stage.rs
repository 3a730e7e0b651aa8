//! Rules about the staging pipe: missing, of another group than its pipe, open to others, held by nobody.

use std::fs;
use std::os::unix::fs::MetadataExt;

use nix::unistd::Gid;
use standpipe_common::account;
use standpipe_common::shown::Shown as _;
use standpipe_common::staging;

use super::facts::Facts;
use super::finding::{Finding, Severity};
use super::links::aside;
use super::traffic::start_or_tell;
use crate::advice::{as_owner, as_root, as_writer, chmod, hang_up, quoted};
use crate::beside::{Beside, There};
use crate::survey::{Answer, End, Pipe, Survey};

const WITHOUT: &str = "without a staging pipe, a tailer that is killed may repeat up to 256 KiB";

/// What is wrong with the staging pipe of a pipe.
pub fn of_pipe(pipe: &Pipe, survey: &Survey, facts: &Facts) -> Option<Finding> {
    let (End::Fifo(_, target), Some(beside), None) = (&pipe.end, &pipe.beside, &pipe.twin) else { return None };
    let finding = match &beside.there {
        There::Nothing => missing(pipe, beside, target, survey, facts),
        There::Other => other(pipe, beside, facts),
        There::Fifo(staging) => {
            rights(pipe, beside, target, staging).or_else(|| unheld(pipe, beside, survey, facts))?
        }
    };
    Some(finding.at(&beside.path))
}

fn missing(pipe: &Pipe, beside: &Beside, target: &fs::Metadata, survey: &Survey, facts: &Facts) -> Finding {
    let account = facts.account.as_ref();
    let path = quoted(&beside.path);
    let dir = beside.path.parent().and_then(|dir| fs::metadata(dir).ok());
    let is_ours = account.zip(dir).is_none_or(|(account, dir)| {
        let is_member = account.uid == 0 || account.gids.contains(&target.gid());
        is_member && account.may(0o3, dir.mode(), dir.uid(), dir.gid())
    });
    // Where the holder may not make it, it holds what others made.
    let mend = match account {
        Some(account) if !is_ours => {
            let owner = format!("{}:{}", account.uid, target.gid());
            let made = as_writer(&[&beside.path], &format!("mkfifo -m {:04o} {path}", staging::MODE));
            let given = as_root(&format!("chown -h {owner} {path}"));
            format!("{made} && {given} && {}", start_or_tell("holder", survey, facts))
        }
        _ => start_or_tell("holder", survey, facts),
    };
    let what = format!("stage = true, but {} does not exist", beside.path.shown());
    Finding::of(pipe, Severity::Warning, "stage_missing", what).why(WITHOUT).mend(mend)
}

fn other(pipe: &Pipe, beside: &Beside, facts: &Facts) -> Finding {
    let (path, aside) = (quoted(&beside.path), quoted(&aside(&beside.path)));
    let moved = as_writer(&[&beside.path], &format!("mv -n {path} {aside}"));
    let tell = facts.holder.as_ref().map_or_else(String::new, |holder| format!(" && {}", hang_up(holder)));
    let what = format!("stage = true, but {} is not a FIFO", beside.path.shown());
    Finding::of(pipe, Severity::Warning, "stage_no_fifo", what)
        .why(format!("holder opens FIFOs only; {WITHOUT}"))
        .mend(moved + &tell)
}

fn rights(pipe: &Pipe, beside: &Beside, target: &fs::Metadata, staging: &fs::Metadata) -> Option<Finding> {
    let mode = staging.mode() & 0o7777;
    let what = match (staging.gid() == target.gid(), mode & 0o007) {
        (true, 0) => return None,
        (true, _) => format!("everybody can use {} (mode {mode:04o})", beside.path.shown()),
        (false, _) => {
            let [is, should] = [staging.gid(), target.gid()].map(|gid| account::group_name(Gid::from_raw(gid)));
            format!("{} has group {is}, but its pipe has group {should}", beside.path.shown())
        }
    };
    let path = quoted(&beside.path);
    Some(
        Finding::of(pipe, Severity::Warning, "stage_rights", what)
            .why("tailer refuses it, because users without access to the pipe could read or change lines in it")
            .mend(format!(
                "{} && {}",
                as_owner(&beside.path, &format!("chgrp -h {} {path}", target.gid())),
                chmod(&format!("{:04o}", staging::MODE), &beside.path)
            )),
    )
}

/// A pipe that nobody holds either is a finding of its own.
fn unheld(pipe: &Pipe, beside: &Beside, survey: &Survey, facts: &Facts) -> Option<Finding> {
    let is_forgotten = pipe.held() == Answer::Yes && beside.held() == Answer::No;
    is_forgotten.then(|| {
        let what = format!("nobody holds {}", beside.path.shown());
        Finding::of(pipe, Severity::Warning, "stage_not_held", what)
            .why("what is in it is lost if tailer is killed, and tailer may then repeat up to 256 KiB")
            .mend(start_or_tell("holder", survey, facts))
    })
}
