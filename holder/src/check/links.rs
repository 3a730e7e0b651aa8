//! Rules about links: what stands at the end of one, and whether another one leads there too.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::finding::{Finding, Severity};
use crate::advice::{as_owner, as_root, as_writer, quoted, stranger_around};
use crate::survey::{End, Pipe};

/// What is wrong with a link.
pub fn of_pipe(pipe: &Pipe) -> Vec<Finding> {
    let target = quoted(&pipe.target);
    if let Some(turn) = &pipe.turn {
        let finding = Finding::of(pipe, Severity::Error, "unsafe_path", turn.to_string())
            .why("whoever controls that step could put another FIFO or file in its place, so holder does not open it")
            .mend(format!("namei -l {}", quoted(&pipe.entry.link)))
            .at(&pipe.entry.link);
        return vec![finding];
    }
    let found = match &pipe.end {
        End::Fifo(..) => twin(pipe),
        End::Missing(error) => Some(
            Finding::of(pipe, Severity::Error, "dangling", error.to_string())
                .why("a server that opens it gets an error, or creates a regular file that nobody reads")
                .mend(make(pipe, &target))
                .at(&pipe.entry.link),
        ),
        End::Other(error) => Some(other(pipe, &error.to_string(), &target)),
        End::Hidden(error) => Some(
            Finding::of(pipe, Severity::Warning, "unreachable", error.to_string())
                .why("without that permission, neither holder nor reader can open it")
                .mend(format!("namei -l {target}"))
                .at(&pipe.entry.link),
        ),
    };
    found.into_iter().collect()
}

fn make(pipe: &Pipe, target: &str) -> String {
    let fifo = &pipe.entry.policy.fifo;
    let account = match (&fifo.owner, &fifo.group) {
        (None, None) => None,
        (owner, group) => {
            let group = group.as_ref().map_or_else(String::new, |group| format!(":{group}"));
            Some(as_root(&format!("chown -h {}{group} {target}", owner.as_deref().unwrap_or_default())))
        }
    };
    let dir = pipe.target.parent().filter(|dir| *dir != Path::new("") && !dir.exists());
    let dir = dir.map(|dir| as_writer(&[dir], &format!("mkdir -p {}", quoted(dir))));
    let made = as_writer(&[&pipe.target], &format!("mkfifo -m {:04o} {target}", fifo.mode));
    dir.into_iter().chain([made]).chain(account).collect::<Vec<_>>().join(" && ")
}

fn other(pipe: &Pipe, what: &str, target: &str) -> Finding {
    let finding = Finding::of(pipe, Severity::Error, "not_a_fifo", what);
    if pipe.target.is_file() {
        let aside = quoted(&aside(&pipe.target));
        let fifo = &pipe.entry.policy.fifo;
        // Whoever logged into the file is to write to the FIFO.
        let maker = stranger_around(&pipe.target);
        let is_his = std::fs::metadata(&pipe.target).is_ok_and(|is| Some(is.uid()) == maker);
        let owner = match (&fifo.owner, &fifo.group) {
            (None, None) if !is_his => {
                format!(" && {}", as_owner(&pipe.target, &format!("chown -h --reference={aside} {target}")))
            }
            _ => String::new(),
        };
        let moved = as_writer(&[&pipe.target], &format!("mv -n {target} {aside}"));
        let mend = format!("{moved} && {}{owner}", make(pipe, target));
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
