//! A rule about worlds of mounts: a holder, reader or server that sees something else where the FIFO stands.
//!
//! systemd gives a service a `/tmp` of its own (`PrivateTmp=`) or hides the homes (`ProtectHome=`). No signal helps there:
//! the FIFO has to stand elsewhere.

use std::fs;
use std::path::Path;

use standpipe_common::fifo::Identity;

use super::access::move_away;
use super::facts::Facts;
use super::finding::{Finding, Severity};
use crate::daemons::{as_seen_by, sees};
use crate::openers::{Process, command_of, has_open};
use crate::survey::Pipe;

/// What is wrong with a pipe.
pub fn of_pipe(pipe: &Pipe, facts: &Facts) -> Vec<Finding> {
    if pipe.end.identity().is_none() {
        return Vec::new();
    }
    let blind: Vec<&Process> =
        [&facts.holder, &facts.reader].into_iter().flatten().map(|is| &**is).filter(|is| is_blind(is, pipe)).collect();
    let ours = (!blind.is_empty()).then(|| {
        let names: Vec<_> = blind.iter().map(|process| named(process.pid)).collect();
        let what = format!("{} cannot see it, because {}", names.join(" and "), cause(&pipe.target));
        Finding::of(pipe, Severity::Error, "hidden", what)
            .why("a signal does not help: the FIFO must be where services see it; name its new path in its server's configuration")
            .mend(move_away(pipe, facts))
    });
    let theirs = facts.worlds.iter().find_map(|pid| stranger(pipe, *pid, facts));
    ours.into_iter().chain(theirs).collect()
}

/// Whether a process is known not to see the FIFO.
pub fn is_blind(process: &Process, pipe: &Pipe) -> bool {
    pipe.end.identity().is_some_and(|fifo| sees(process.pid, &pipe.target, fifo) == Some(false))
}

/// Why it is not the same place for everybody, as far as the path tells.
pub fn cause(target: &Path) -> &'static str {
    match () {
        () if target.starts_with("/tmp") || target.starts_with("/var/tmp") => {
            "it is in /tmp, and services can have a private /tmp (PrivateTmp=)"
        }
        () if ["/home", "/root", "/run/user"].iter().any(|home| target.starts_with(home)) => {
            "it is in a home directory, which can be hidden from services (ProtectHome=)"
        }
        () => "that directory is a different one in the service's own mount namespace",
    }
}

/// A regular file in another world, at the path of the FIFO, that somebody logs into.
fn stranger(pipe: &Pipe, world: u32, facts: &Facts) -> Option<Finding> {
    let there = fs::metadata(as_seen_by(world, &pipe.target)).ok().filter(fs::Metadata::is_file)?;
    let writer = has_open(Identity::from(&there))?;
    let what = format!("{} logs into a regular file at that path, because {}", named(writer), cause(&pipe.target));
    Some(
        Finding::of(pipe, Severity::Error, "hidden_from_server", what)
            .why(
                "its lines do not reach this log: put the FIFO where every service sees it, and restart the server \
                 that logs into it",
            )
            .mend(move_away(pipe, facts)),
    )
}

fn named(pid: u32) -> String {
    format!("{} (pid {pid})", command_of(pid))
}
