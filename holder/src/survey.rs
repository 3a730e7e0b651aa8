//! What can be seen of a pipes directory from outside: its links, where they lead, who has those FIFOs open, how full
//! they are. `status` and `check` both start here.
//!
//! Invariant: a FIFO is opened only if /proc showed that a holder or reader has it open (see [`crate::level`]).

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use nix::unistd::Uid;
use standpipe_common::account;
use standpipe_common::command_line;
use standpipe_common::error::{Error, Stop};
use standpipe_common::fifo::{self, Identity};
use standpipe_common::name::PipeName;
use standpipe_common::pipes::{Entry, Finding, SYSTEM_DIR, scan, scan_usual};
use standpipe_common::way::{self, Pass};

use crate::advice;
use crate::beside::{self, Beside};
use crate::check::facts;
use crate::cli::Cli;
use crate::create;
use crate::level::{Fill, level};
use crate::openers::{Opener, Openers, Process, Role};

/// A pipes directory at one moment.
#[derive(Debug)]
pub struct Survey {
    /// The directory, as it was named.
    pub dir: PathBuf,
    /// The log root that it names.
    pub logs: Option<PathBuf>,
    /// Its links, sorted by name.
    pub pipes: Vec<Pipe>,
    /// What is wrong with its files.
    pub findings: Vec<Finding>,
    /// Processes that may have one of the pipes open unseen.
    pub hidden: Vec<Rc<Process>>,
    /// Whether /proc does not even list other users' processes.
    pub is_proc_hidden: bool,
}

/// One link.
#[derive(Debug)]
pub struct Pipe {
    /// What the directory says of it.
    pub entry: Entry,
    /// Where it leads in the end, whether or not anything is there.
    pub target: PathBuf,
    /// What stands there.
    pub end: End,
    /// Why the holder does not take the way there.
    pub turn: Option<Error>,
    /// An earlier link leads to the same FIFO.
    pub twin: Option<PipeName>,
    /// Who has it open, by number.
    pub openers: Vec<Opener>,
    /// Whether nobody else can have it open.
    pub all_seen: bool,
    /// How full it is. `None`: it may not be asked.
    pub level: Option<Fill>,
    /// The staging pipe beside it. `None`: there is none, and none is wanted.
    pub beside: Option<Beside>,
}

/// The end of a link.
#[derive(Debug)]
pub enum End {
    /// A FIFO.
    Fifo(Identity, fs::Metadata),
    /// Nothing.
    Missing(Error),
    /// Something else.
    Other(Error),
    /// It cannot be reached, so nothing is known.
    Hidden(Error),
}

/// An answer that may not be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It was seen.
    Yes,
    /// It would have been seen.
    No,
    /// What is not seen may be there all the same.
    Unknown,
}

impl Pipe {
    /// What is wrong with its way or at its end.
    pub fn trouble(&self) -> Option<&Error> {
        match &self.end {
            End::Fifo(..) => self.turn.as_ref(),
            End::Missing(error) | End::Other(error) | End::Hidden(error) => Some(error),
        }
    }

    /// Holders that have it open, so that no end of it comes.
    pub fn holders(&self) -> impl Iterator<Item = &Opener> {
        self.openers.iter().filter(|opener| opener.process.role == Role::Holder && opener.keeps())
    }

    /// Everybody else who could read from it.
    pub fn readers(&self) -> impl Iterator<Item = &Opener> {
        self.openers.iter().filter(|opener| opener.process.role != Role::Holder && opener.reads)
    }

    /// Everybody who could write to it, but for holders and readers, who never do.
    pub fn writers(&self) -> impl Iterator<Item = &Opener> {
        self.openers.iter().filter(|opener| opener.process.role == Role::Stranger && opener.writes)
    }

    /// Whether a holder holds it.
    pub fn held(&self) -> Answer {
        self.of_fifo(self.holders().count())
    }

    /// Whether somebody takes lines out of it. Of whoever has it open for writing, too, as some servers do, that
    /// cannot be told.
    pub fn read(&self) -> Answer {
        let certain = self.readers().filter(|opener| opener.process.role == Role::Reader || !opener.writes).count();
        if certain == 0 && self.readers().count() > 0 { Answer::Unknown } else { self.of_fifo(certain) }
    }

    fn of_fifo(&self, found: usize) -> Answer {
        match &self.end {
            End::Hidden(_) => Answer::Unknown,
            End::Missing(_) | End::Other(_) => Answer::No,
            End::Fifo(..) => answer(found, self.all_seen),
        }
    }
}

impl Survey {
    /// Who may have a pipe open unseen. Where nobody may, this says nothing of use.
    pub fn unseen(&self) -> String {
        if self.is_proc_hidden {
            return "/proc does not list other users' processes".to_owned();
        }
        format!("cannot inspect {}", advice::listed(self.hidden.iter().map(|process| &**process)))
    }
}

/// What a number of processes found says.
pub fn answer(found: usize, all_seen: bool) -> Answer {
    match (found, all_seen) {
        (1.., _) => Answer::Yes,
        (0, true) => Answer::No,
        (0, false) => Answer::Unknown,
    }
}

/// Looks at the pipes directory that the command line names, or at the usual one.
///
/// # Errors
/// None is named and nothing here is ours; or it cannot be read.
pub fn survey(dir: Option<&Path>, command: &str) -> Result<Survey, Stop> {
    let _walks = Pass::begin();
    let scan = match dir {
        Some(dir) => scan(dir)?,
        None => scan_usual().ok_or_else(|| {
            let usage = command_line::usage::<Cli>("holder", Some(command));
            Stop::Usage(format!(
                "no pipes in the current directory, nor in {SYSTEM_DIR}: name the pipes directory\n\n{usage}"
            ))
        })?,
    };
    let ends: Vec<End> = scan.entries.iter().map(|entry| end(&entry.link)).collect();
    let beside = scan.entries.iter().zip(&ends).map(|(entry, end)| match end {
        End::Fifo(..) => beside::look(&target(&entry.link), entry.policy.stage),
        _ => None,
    });
    let beside: Vec<Option<Beside>> = beside.collect();
    let all = ends.iter().filter_map(End::identity).chain(beside.iter().flatten().filter_map(Beside::identity));
    let openers = Openers::of(&all.collect::<HashSet<_>>());
    let holder = holder_of(&openers);
    let names: Vec<_> = scan.entries.iter().map(|entry| entry.name.clone()).collect();
    let links = scan.entries.iter().enumerate().map(|(index, entry)| (index, &entry.link));
    let claims = fifo::claims(links, |_, _| false);
    let mut first: HashMap<_, _> = claims.into_iter().map(|(id, index)| (id, names[index].clone())).collect();
    let each = scan.entries.into_iter().zip(ends).zip(beside);
    let pipes = each.map(|((entry, end), beside)| pipe(entry, end, beside, &openers, &mut first, holder)).collect();
    let (hidden, is_proc_hidden) = (openers.hidden().to_vec(), openers.is_proc_hidden());
    Ok(Survey { dir: scan.dir, logs: scan.logs, pipes, findings: scan.findings, hidden, is_proc_hidden })
}

impl End {
    /// The FIFO that stands there.
    pub fn identity(&self) -> Option<Identity> {
        if let End::Fifo(identity, _) = self { Some(*identity) } else { None }
    }
}

fn pipe(
    entry: Entry,
    end: End,
    beside: Option<Beside>,
    all: &Openers,
    first: &mut HashMap<Identity, PipeName>,
    holder: Option<Uid>,
) -> Pipe {
    let target = target(&entry.link);
    let turn = holder.and_then(|holder| way::turn_for(holder, &entry.link));
    let turn = turn.map(|turn| Error::new("open", &entry.link, turn));
    let Some(identity) = end.identity() else {
        let openers = Vec::new();
        return Pipe { entry, target, end, turn, twin: None, openers, all_seen: true, level: None, beside: None };
    };
    let first = first.entry(identity).or_insert_with(|| entry.name.clone());
    let twin = (*first != entry.name).then(|| first.clone());
    let openers = all.on(identity).to_vec();
    let may_ask = turn.is_none() && openers.iter().any(Opener::keeps);
    let level = may_ask.then(|| level(&entry.link, identity)).flatten();
    let (all_seen, beside) = (all.all_seen_on(identity), beside.map(|beside| beside.seen(all)));
    Pipe { entry, target, end, turn, twin, openers, all_seen, level, beside }
}

/// Who runs the holder, or is to where none is at work: whoever asks, or the user `standpipe` where root does. `None`:
/// one may be at work unseen.
fn holder_of(openers: &Openers) -> Option<Uid> {
    let asker = Uid::effective();
    let at_work = openers.all().find(|opener| opener.process.role == Role::Holder && opener.keeps());
    let usual = || account::user(facts::USUAL).ok().flatten();
    match at_work {
        Some(opener) => Some(Uid::from_raw(opener.process.uid)),
        None if asker.is_root() => Some(usual().unwrap_or(asker)),
        None if openers.is_proc_hidden() || !openers.hidden().is_empty() => None,
        None => Some(asker),
    }
}

fn end(link: &Path) -> End {
    match fifo::look_from_outside(link) {
        Ok(metadata) => End::Fifo(Identity::from(&metadata), metadata),
        Err(error) if fs::metadata(link).is_ok() => End::Other(error),
        Err(error) if create::is_missing(link) => End::Missing(error),
        Err(error) => End::Hidden(error),
    }
}

/// As short as it can be had: of what is missing, at least its directory is resolved.
fn target(link: &Path) -> PathBuf {
    let missing = || {
        let end = create::end_of(link).unwrap_or_else(|_| link.to_path_buf());
        let dir = end.parent().and_then(|dir| fs::canonicalize(dir).ok());
        dir.zip(end.file_name()).map(|(dir, name)| dir.join(name)).unwrap_or(end)
    };
    fs::canonicalize(link).unwrap_or_else(|_| missing())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_sees_everybody_can_say_no() {
        for (found, all_seen, expected) in
            [(0, true, Answer::No), (0, false, Answer::Unknown), (1, true, Answer::Yes), (2, false, Answer::Yes)]
        {
            assert_eq!(answer(found, all_seen), expected);
        }
    }
}
