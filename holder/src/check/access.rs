//! Rules about rights: who may use the FIFO, replace it, or change the pipes directory.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use standpipe_common::name::Printable;

use super::facts::{Facts, user_name};
use super::finding::{Finding, Severity};
use crate::advice::{as_owner, as_root, as_writer, chmod, hang_up, quoted, stranger_around};
use crate::survey::{End, Pipe, Survey};

const STICKY: u32 = 0o1000;
/// Where FIFOs are at home.
const HOME: &str = "/run/standpipe";
/// Where people read files as they come.
pub const READ_BY_PEOPLE: &str = "/var/log";

/// What of a file decides about rights.
#[derive(Clone, Copy, Debug)]
struct Rights {
    mode: u32,
    owner: u32,
    group: u32,
}

impl From<&fs::Metadata> for Rights {
    fn from(metadata: &fs::Metadata) -> Rights {
        Rights { mode: metadata.mode() & 0o7777, owner: metadata.uid(), group: metadata.gid() }
    }
}

/// The pipes directory itself.
pub fn of_directory(survey: &Survey, _: &Facts) -> Option<Finding> {
    let rights = Rights::from(&fs::metadata(&survey.dir).ok()?);
    let who = writable_by(rights)?;
    Some(Finding {
        pipe: None,
        severity: if rights.mode & 0o002 != 0 { Severity::Error } else { Severity::Warning },
        kind: "open_directory",
        what: format!("{who} can write to it (mode {:04o})", rights.mode),
        path: survey.dir.clone(),
        why: "whoever can write to it decides which pipes are held and where lines go".to_owned(),
        mend: chmod("go-w", &survey.dir),
    })
}

/// Others, or members of a group that is not root's.
fn writable_by(rights: Rights) -> Option<String> {
    match rights.mode {
        mode if mode & 0o002 != 0 => Some("everybody".to_owned()),
        mode if mode & 0o020 != 0 && rights.group != 0 => Some(format!("group {}", rights.group)),
        _ => None,
    }
}

/// The FIFO of a pipe and the directory that it is in.
pub fn of_pipe(pipe: &Pipe, facts: &Facts) -> Vec<Finding> {
    let End::Fifo(_, metadata) = &pipe.end else { return Vec::new() };
    let fifo = Rights::from(metadata);
    let dir = pipe.target.parent().and_then(|dir| Some((dir, Rights::from(&fs::metadata(dir).ok()?))));
    let mut findings: Vec<Finding> =
        [others(pipe, fifo), server(pipe, fifo), ours(pipe, fifo, facts), place(pipe, facts)]
            .into_iter()
            .flatten()
            .collect();
    findings.extend(dir.and_then(|(dir, rights)| foreign(pipe, fifo, dir, rights, facts)));
    findings.extend(dir.and_then(|(dir, rights)| directory(pipe, fifo, dir, rights, facts)));
    findings
}

/// Who owns the directory decides what stands there. Where the holder refuses the way, that is told already.
fn foreign(pipe: &Pipe, fifo: Rights, dir: &Path, rights: Rights, facts: &Facts) -> Option<Finding> {
    let holder = facts.account.as_ref()?.uid;
    if pipe.turn.is_some() || [0, holder, fifo.owner].contains(&rights.owner) {
        return None;
    }
    let owner = user_name(rights.owner);
    let what = format!(
        "user {owner} owns {}, but the FIFO belongs to user {}",
        Printable(dir.as_os_str()),
        user_name(fifo.owner)
    );
    Some(
        Finding::of(pipe, Severity::Warning, "foreign_directory", what)
            .why(format!(
                "user {owner} can put another FIFO in its place, and so read its lines or add lines to its log"
            ))
            .mend(move_away(pipe, facts))
            .at(dir),
    )
}

fn others(pipe: &Pipe, fifo: Rights) -> Option<Finding> {
    let (what, why) = match fifo.mode & 0o006 {
        0 => return None,
        0o002 => ("write to", "anybody can add lines to the log, or fill the pipe so that its server waits"),
        0o004 => ("read from", "anybody can take lines away"),
        _ => ("use", "anybody can add lines to the log, take lines away, or fill the pipe so that its server waits"),
    };
    let what = format!("everybody can {what} it (mode {:04o})", fifo.mode);
    Some(Finding::of(pipe, Severity::Warning, "open_to_others", what).why(why).mend(chmod("o-rw", &pipe.target)))
}

/// The owner is the server's user, by convention.
fn server(pipe: &Pipe, fifo: Rights) -> Option<Finding> {
    if fifo.owner == 0 || fifo.mode & 0o200 != 0 {
        return None;
    }
    let what = format!("its owner {} cannot write to it (mode {:04o})", user_name(fifo.owner), fifo.mode);
    Some(
        Finding::of(pipe, Severity::Error, "server_shut_out", what)
            .why("the owner should be its server's user, which cannot open its log like this")
            .mend(chmod("u+w", &pipe.target)),
    )
}

/// Holder and reader both read and write, for only so no end of the pipe comes.
fn ours(pipe: &Pipe, fifo: Rights, facts: &Facts) -> Option<Finding> {
    let account = facts.account.as_ref()?;
    if account.may(0o6, fifo.mode, fifo.owner, fifo.group) {
        return None;
    }
    let target = quoted(&pipe.target);
    let chmod = |bits: &str| chmod(bits, &pipe.target);
    let mend = match account.gids.first() {
        _ if account.uid == fifo.owner => chmod("u+rw"),
        Some(gid) if !account.gids.contains(&fifo.group) => {
            format!("{} && {}", as_owner(&pipe.target, &format!("chgrp -h {gid} {target}")), chmod("g+rw"))
        }
        _ => chmod("g+rw"),
    };
    let what = format!(
        "user {} cannot read and write it (mode {:04o}, owner {}, group {})",
        account.name,
        fifo.mode,
        user_name(fifo.owner),
        fifo.group
    );
    Some(
        Finding::of(pipe, Severity::Error, "shut_out", what)
            .why("holder and reader run as that user, and open it for reading and writing")
            .mend(mend),
    )
}

fn place(pipe: &Pipe, facts: &Facts) -> Option<Finding> {
    pipe.target.starts_with(READ_BY_PEOPLE).then(|| {
        Finding::of(pipe, Severity::Hint, "among_logs", format!("it is in {READ_BY_PEOPLE}"))
            .why("people use cat and tail there, and whoever reads a FIFO takes lines away; make its server reopen its log afterwards")
            .mend(move_away(pipe, facts))
    })
}

fn directory(pipe: &Pipe, fifo: Rights, dir: &Path, rights: Rights, facts: &Facts) -> Option<Finding> {
    let shown = Printable(dir.as_os_str());
    if rights.mode & STICKY == 0 {
        return (rights.mode & 0o002 != 0).then(|| {
            Finding::of(pipe, Severity::Warning, "replaceable", format!("everybody can write to {shown}"))
                .why("anybody can put another FIFO or a file in its place")
                .mend(chmod("o-w", dir))
                .at(dir)
        });
    }
    is_protected(fifo, rights, facts.protected_fifos).then(|| {
        let what =
            format!("it is in the sticky directory {shown}, and fs.protected_fifos is {}", facts.protected_fifos);
        Finding::of(pipe, Severity::Warning, "sticky", what)
            .why(format!(
                "a server that opens its log with O_CREAT, as most do, gets EACCES, even as root, unless it runs as {}; \
                 make it reopen its log afterwards",
                user_name(fifo.owner)
            ))
            .mend(if dir == Path::new(HOME) { chmod("-t", dir) } else { move_away(pipe, facts) })
    })
}

/// As the kernel's `may_create_in_sticky` has it.
fn is_protected(fifo: Rights, dir: Rights, protected_fifos: u32) -> bool {
    let by_others = dir.mode & 0o002 != 0 || dir.mode & 0o020 != 0 && protected_fifos >= 2;
    protected_fifos > 0 && dir.mode & STICKY != 0 && by_others && fifo.owner != dir.owner
}

/// The command that gives the pipe a FIFO at home instead. A link that leads elsewhere is seen after HUP.
pub fn move_away(pipe: &Pipe, facts: &Facts) -> String {
    let new = Path::new(HOME).join(pipe.entry.name.as_os_str());
    let (old, at, link) = (quoted(&pipe.target), quoted(&new), quoted(&pipe.entry.link));
    let dir = (!Path::new(HOME).exists()).then(|| as_writer(&[Path::new(HOME)], &format!("mkdir -m 0755 {HOME}")));
    let moved = match &pipe.end {
        // What root moved out of his directory would be what he put there.
        End::Fifo(_, fifo) if stranger_around(&pipe.target).is_some() => {
            let made = as_writer(&[&new], &format!("mkfifo -m {:04o} {at}", fifo.mode() & 0o777));
            format!("{made} && {}", as_root(&format!("chown -h {}:{} {at}", fifo.uid(), fifo.gid())))
        }
        End::Fifo(..) => as_writer(&[&pipe.target, &new], &format!("mv -n {old} {at}")),
        _ => {
            let made = as_writer(&[&new], &format!("mkfifo -m {:04o} {at}", pipe.entry.policy.fifo.mode));
            // Whoever logged into a file there is to write, and we are to read.
            let server = fs::metadata(&pipe.target).ok().filter(fs::Metadata::is_file);
            let group = facts.account.as_ref().and_then(|account| account.gids.first());
            let given =
                server.zip(group).map(|(file, group)| as_root(&format!("chown -h {}:{group} {at}", file.uid())));
            [made].into_iter().chain(given).collect::<Vec<_>>().join(" && ")
        }
    };
    let linked = as_writer(&[&pipe.entry.link], &format!("ln -sfn {at} {link}"));
    let told = [&facts.holder, &facts.reader].into_iter().flatten().map(|process| hang_up(process));
    dir.into_iter().chain([moved, linked]).chain(told).collect::<Vec<_>>().join(" && ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fifos_of_others_are_protected_where_the_kernel_says_so() {
        for (setting, dir_mode, dir_owner, protected) in [
            (0, 0o1777, 0, false),
            (1, 0o1777, 0, true),
            (1, 0o0777, 0, false),
            (1, 0o1777, 7, false),
            (1, 0o1775, 0, false),
            (2, 0o1775, 0, true),
            (2, 0o1755, 0, false),
        ] {
            let fifo = Rights { mode: 0o660, owner: 7, group: 7 };
            let dir = Rights { mode: dir_mode, owner: dir_owner, group: 0 };
            assert_eq!(is_protected(fifo, dir, setting), protected, "{setting} {dir_mode:o} {dir_owner}");
        }
    }

    #[test]
    fn a_directory_may_be_written_by_its_owner_and_by_roots_group() {
        for (mode, group, open) in
            [(0o755, 7, false), (0o775, 0, false), (0o775, 7, true), (0o757, 0, true), (0o1777, 0, true)]
        {
            assert_eq!(writable_by(Rights { mode, owner: 0, group }).is_some(), open, "{mode:o} {group}");
        }
    }
}
