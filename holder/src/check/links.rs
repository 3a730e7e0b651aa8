//! Rules about links: what stands at the end of one, and whether another one leads there too.

use std::path::Path;

use super::finding::{Finding, Severity, quoted};
use crate::survey::{End, Pipe};

/// What is wrong with a link.
pub fn of_pipe(pipe: &Pipe) -> Vec<Finding> {
    let target = quoted(&pipe.target);
    let found = match &pipe.end {
        End::Fifo(..) => twin(pipe),
        End::Missing(error) => Some(
            Finding::of(pipe, Severity::Error, "dangling", error.to_string())
                .why("a server that opens it gets an error, or makes a regular file that nobody reads")
                .mend(make(pipe, &target))
                .at(&pipe.entry.link),
        ),
        End::Other(error) => Some(other(pipe, &error.to_string(), &target)),
        End::Hidden(error) => Some(
            Finding::of(pipe, Severity::Warning, "unreachable", error.to_string())
                .why("nobody without that permission, the holder included, can hold or read it")
                .mend(format!("namei -l {target}"))
                .at(&pipe.entry.link),
        ),
    };
    found.into_iter().collect()
}

fn make(pipe: &Pipe, target: &str) -> String {
    let fifo = &pipe.entry.policy.fifo;
    let account = match (&fifo.owner, &fifo.group) {
        (None, None) => String::new(),
        (owner, group) => format!(
            " && chown {}{} {target}",
            owner.as_deref().unwrap_or_default(),
            group.as_ref().map_or_else(String::new, |group| format!(":{group}"))
        ),
    };
    let dir = pipe.target.parent().filter(|dir| *dir != Path::new("") && !dir.exists());
    let dir = dir.map_or_else(String::new, |dir| format!("mkdir -p {} && ", quoted(dir)));
    format!("{dir}mkfifo -m {:04o} {target}{account}", fifo.mode)
}

fn other(pipe: &Pipe, what: &str, target: &str) -> Finding {
    let finding = Finding::of(pipe, Severity::Error, "not_a_fifo", what);
    if pipe.target.is_file() {
        let aside = quoted(&aside(&pipe.target));
        let fifo = &pipe.entry.policy.fifo;
        // Whoever logged into the file is to write to the FIFO.
        let owner = match (&fifo.owner, &fifo.group) {
            (None, None) => format!(" && chown --reference={aside} {target}"),
            _ => String::new(),
        };
        let mend = format!("mv -n {target} {aside} && {}{owner}", make(pipe, target));
        return finding
            .why(
                "its server logs into that file and no reader sees it: a rotating logger or logrotate put it there, or \
                 the server was first; let it reopen its log afterwards",
            )
            .mend(mend);
    }
    finding.why("it is never opened, so this link does nothing").mend(format!(
        "ln -sfn /run/standpipe/{0} {1}",
        name(pipe),
        quoted(&pipe.entry.link)
    ))
}

fn aside(target: &Path) -> std::path::PathBuf {
    let mut aside = target.as_os_str().to_owned();
    aside.push(".aside");
    aside.into()
}

fn name(pipe: &Pipe) -> String {
    quoted(Path::new(pipe.entry.name.as_os_str()))
}

fn twin(pipe: &Pipe) -> Option<Finding> {
    let twin = pipe.twin.as_ref()?;
    Some(
        Finding::of(pipe, Severity::Error, "twin", format!("it leads to the same FIFO as {twin}"))
            .why("a line has one log only: this name is left alone by holder and reader")
            .mend(format!("rm {}", quoted(&pipe.entry.link)))
            .at(&pipe.entry.link),
    )
}
