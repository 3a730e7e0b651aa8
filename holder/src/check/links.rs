//! Rules about links: what stands at the end of one, and whether another one leads there too.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::access::{READ_BY_PEOPLE, move_away};
use super::facts::{Credentials, Facts};
use super::finding::{Finding, Severity};
use crate::advice::{as_root, as_writer, maker, quoted};
use crate::survey::{End, Pipe};

/// What is wrong with a link.
pub fn of_pipe(pipe: &Pipe, facts: &Facts) -> Vec<Finding> {
    let target = quoted(&pipe.target);
    if let Some(turn) = &pipe.turn {
        let finding = Finding::of(pipe, Severity::Error, "unsafe_path", turn.to_string())
            .why(
                "whoever controls that part of the path could put another FIFO or file in its place, so holder does \
                 not open it",
            )
            .mend(format!("namei -l {}", quoted(&pipe.entry.link)))
            .at(&pipe.entry.link);
        return vec![finding];
    }
    let found = match &pipe.end {
        End::Fifo(..) => twin(pipe),
        End::Missing(error) => Some(
            Finding::of(pipe, Severity::Error, "dangling", error.to_string())
                .why("a server that opens it gets an error, or creates a regular file that nobody reads")
                .mend(in_place(pipe, facts, || make(pipe, None, facts)))
                .at(&pipe.entry.link),
        ),
        End::Other(error) => Some(other(pipe, &error.to_string(), facts)),
        End::Hidden(error) => Some(
            Finding::of(pipe, Severity::Warning, "unreachable", error.to_string())
                .why("without that permission, neither holder nor reader can open it")
                .mend(format!("namei -l {target}"))
                .at(&pipe.entry.link),
        ),
    };
    found.into_iter().collect()
}

/// The command for a FIFO where it is to stand; in a place that would be the next finding, one for another place.
fn in_place(pipe: &Pipe, facts: &Facts, make: impl FnOnce() -> String) -> String {
    if pipe.target.starts_with(READ_BY_PEOPLE) { move_away(pipe, facts) } else { make() }
}

/// Makes the FIFO so that holder, reader and server may use it; `server` is the file that its server made.
fn make(pipe: &Pipe, server: Option<&fs::Metadata>, facts: &Facts) -> String {
    let fifo = &pipe.entry.policy.fifo;
    let target = quoted(&pipe.target);
    // Whoever owned the file is to write to the FIFO, and may be whoever makes it.
    let maker = maker(&pipe.target);
    let their_owner = server.map(MetadataExt::uid).filter(|owner| *owner != maker);
    let owner = fifo.owner.clone().or_else(|| their_owner.map(|owner| owner.to_string()));
    let their_group = server.map(MetadataExt::gid);
    // What they make themselves is theirs.
    let is_theirs = |account: &&Credentials| owner.is_none() && account.uid == maker;
    let ours = facts.account.as_ref().filter(|account| account.uid != 0 && !is_theirs(account));
    // As one of another group it would shut out holder and reader.
    let our_group = ours.filter(|account| their_group.is_none_or(|group| !account.gids.contains(&group)));
    let our_group = our_group.and_then(|account| account.gids.first()).map(u32::to_string);
    let their_group = their_group.filter(|_| their_owner.is_some()).map(|group| group.to_string());
    let group = fifo.group.clone().or(our_group).or(their_group);
    let account = match (owner, group) {
        (None, None) => None,
        (owner, group) => {
            let group = group.map_or_else(String::new, |group| format!(":{group}"));
            Some(as_root(&format!("chown -h {}{group} {target}", owner.unwrap_or_default())))
        }
    };
    let dir = pipe.target.parent().filter(|dir| *dir != Path::new("") && !dir.exists());
    let dir = dir.map(|dir| as_writer(&[dir], &format!("mkdir -p {}", quoted(dir))));
    let made = as_writer(&[&pipe.target], &format!("mkfifo -m {:04o} {target}", fifo.mode));
    dir.into_iter().chain([made]).chain(account).collect::<Vec<_>>().join(" && ")
}

fn other(pipe: &Pipe, what: &str, facts: &Facts) -> Finding {
    let finding = Finding::of(pipe, Severity::Error, "not_a_fifo", what);
    if let Some(file) = fs::metadata(&pipe.target).ok().filter(fs::Metadata::is_file) {
        let (target, aside) = (quoted(&pipe.target), quoted(&aside(&pipe.target)));
        let moved = as_writer(&[&pipe.target], &format!("mv -n {target} {aside}"));
        let mend = in_place(pipe, facts, || format!("{moved} && {}", make(pipe, Some(&file), facts)));
        return finding
            .why(
                "its server logs into that file, which reader does not read; a rotating logger or logrotate created it, or \
                 the server started before the FIFO existed; make the server reopen its log afterwards",
            )
            .mend(mend);
    }
    let linked = format!("ln -sfn /run/standpipe/{} {}", name(pipe), quoted(&pipe.entry.link));
    finding
        .why("holder and reader open FIFOs only, so this link has no effect")
        .mend(as_writer(&[&pipe.entry.link], &linked))
}

/// A name beside it that is free: `.aside`, `.aside.1` and so on.
pub fn aside(target: &Path) -> PathBuf {
    let named = |suffix: &str| {
        let mut aside = target.as_os_str().to_owned();
        aside.push(suffix);
        PathBuf::from(aside)
    };
    let counted = (1_u32..).map(|count| named(&format!(".aside.{count}")));
    let mut all = [named(".aside")].into_iter().chain(counted);
    all.find(|path| path.symlink_metadata().is_err()).unwrap_or_else(|| named(".aside"))
}

fn name(pipe: &Pipe) -> String {
    quoted(Path::new(pipe.entry.name.as_os_str()))
}

fn twin(pipe: &Pipe) -> Option<Finding> {
    let twin = pipe.twin.as_ref()?;
    Some(
        Finding::of(pipe, Severity::Error, "twin", format!("it leads to the same FIFO as {twin}"))
            .why("each line goes to one log only, so holder and reader ignore this name")
            .mend(as_writer(&[&pipe.entry.link], &format!("rm {}", quoted(&pipe.entry.link))))
            .at(&pipe.entry.link),
    )
}
