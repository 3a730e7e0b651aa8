//! `LOGS/.problems`: what stands in the way of a pipe, or of all of them, until somebody fixes it.
//!
//! Invariants: the file is there only while something stands in the way; it is written under another name and renamed, so
//! whoever reads it sees one state of it. It costs nothing while all is well. One that cannot be kept is one warning.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::sync::{Arc, Mutex, PoisonError};

use standpipe_common::error::{Cannot, Result};
use standpipe_common::own::begins_with;
use standpipe_common::shown::harmless;
use standpipe_common::{called, clock};

use crate::disk::{self, Dir, FileMode};

/// Name of the file in a log root.
pub const PROBLEMS: &str = ".problems";
const FRESH: &str = ".problems.new";
/// Its first line.
const HEAD: &[u8] = b"problems 1\n";
/// Whoever may read the logs may read this.
const MODE: FileMode = FileMode { mode: 0o640, group: None };
/// Most bytes that are read of it: some hundred for each of more pipes than a process may have descriptors.
pub const BYTES_MAX: u64 = 64 << 20;

/// What stands in the way, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProblemKind {
    /// Something in the pipes directory does not count; it is no pipe's.
    Configuration,
    /// No FIFO can be opened at the end of a link.
    Link,
    /// Parts cannot be archived.
    Archive,
    /// The hook fails.
    Hook,
    /// Another policy is in force than its files say.
    Policy,
}

impl ProblemKind {
    const ALL: [ProblemKind; 5] =
        [ProblemKind::Configuration, ProblemKind::Link, ProblemKind::Archive, ProblemKind::Hook, ProblemKind::Policy];

    /// A word for it, in the file and for programs.
    pub fn word(self) -> &'static str {
        match self {
            ProblemKind::Configuration => "configuration",
            ProblemKind::Link => "link",
            ProblemKind::Archive => "archive",
            ProblemKind::Hook => "hook",
            ProblemKind::Policy => "policy",
        }
    }
}

/// Something that stands in the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Of which pipe; empty: of all.
    pub pipe: OsString,
    /// What it is.
    pub kind: ProblemKind,
    /// Since when, ns since the epoch.
    pub since_ns: u64,
    /// The cause, in one line.
    pub text: String,
}

impl Problem {
    /// One that is there now. Of a text with a picture the first line is kept.
    pub fn new(pipe: &OsStr, kind: ProblemKind, text: &str) -> Problem {
        let text = harmless(text.lines().next().unwrap_or_default());
        Problem { pipe: pipe.to_owned(), kind, since_ns: clock::now_ns() as u64, text }
    }
}

/// All that stand, and their file.
#[derive(Debug)]
pub struct Problems {
    dir: Arc<Dir>,
    standing: Mutex<Vec<Problem>>,
}

impl Problems {
    /// None, whatever a reader before us left.
    ///
    /// # Errors
    /// Something that is not ours has the name of the file.
    pub fn none(dir: Arc<Dir>) -> Result<Problems> {
        for name in [FRESH, PROBLEMS] {
            if dir.stat(name).is_ok() {
                dir.remove_own(name, begins_with(HEAD))?;
            }
        }
        Ok(Problems { dir, standing: Mutex::default() })
    }

    /// Of these kinds, these alone stand from here on. One that stood before keeps its beginning.
    pub fn replace(&self, kinds: &[ProblemKind], new: Vec<Problem>) {
        debug_assert!(new.iter().all(|problem| kinds.contains(&problem.kind)), "it would never go");
        self.change(|problem| kinds.contains(&problem.kind), new);
    }

    /// What stands in the way of one pipe in one matter; `None`: nothing any more.
    pub fn set(&self, pipe: &OsStr, kind: ProblemKind, text: Option<&str>) {
        let new = text.map(|text| Problem::new(pipe, kind, text));
        self.change(|problem| problem.kind == kind && problem.pipe == pipe, new.into_iter().collect());
    }

    /// A pipe is no more.
    pub fn forget(&self, pipe: &OsStr) {
        self.change(|problem| problem.pipe == pipe, Vec::new());
    }

    /// The end of the work.
    pub fn clear(&self) {
        self.change(|_| true, Vec::new());
    }

    fn change(&self, is_old: impl Fn(&Problem) -> bool, new: Vec<Problem>) {
        let mut standing = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        let (old, mut all): (Vec<_>, Vec<_>) = standing.iter().cloned().partition(is_old);
        all.extend(new.into_iter().map(|problem| {
            let is_same = |old: &&Problem| (&old.pipe, old.kind) == (&problem.pipe, problem.kind);
            let since_ns = old.iter().find(is_same).map_or(problem.since_ns, |old| old.since_ns);
            Problem { since_ns, ..problem }
        }));
        all.sort_by(|a, b| (&a.pipe, a.kind).cmp(&(&b.pipe, b.kind)));
        if *standing != all {
            *standing = all;
            if let Err(error) = self.write(&standing) {
                log::warn!("{error}; `{}` shows old problems", called::short("reader", "status"));
            }
        }
    }

    fn write(&self, standing: &[Problem]) -> Result<()> {
        if standing.is_empty() {
            return self.dir.remove_own(PROBLEMS, begins_with(HEAD));
        }
        self.dir.require_own(PROBLEMS, begins_with(HEAD))?;
        if self.dir.stat(FRESH).is_ok() {
            self.dir.remove_own(FRESH, begins_with(HEAD))?;
        }
        let file = self.dir.create(FRESH, MODE)?;
        disk::write_at(&file, &encode(standing), 0).cannot("write", self.dir.path_of(FRESH))?;
        self.dir.rename_over(FRESH, PROBLEMS)
    }
}

/// A line each: kind, since, pipe and text, with a tab between. No name has one, and no text.
fn encode(problems: &[Problem]) -> Vec<u8> {
    let mut bytes = HEAD.to_vec();
    for Problem { pipe, kind, since_ns, text } in problems {
        bytes.extend(format!("{}\t{since_ns}\t", kind.word()).bytes());
        bytes.extend(pipe.as_bytes());
        bytes.extend(format!("\t{text}\n").bytes());
    }
    bytes
}

/// What a file says; lines that say nothing to us are left out.
pub fn decode(bytes: &[u8]) -> Vec<Problem> {
    let lines = bytes.strip_prefix(HEAD).unwrap_or_default().split(|byte| *byte == b'\n');
    let problem = |line: &[u8]| {
        let mut words = line.splitn(4, |byte| *byte == b'\t');
        let mut word = || words.next();
        let (kind, since) = (word()?, word()?);
        let kind = ProblemKind::ALL.into_iter().find(|known| known.word().as_bytes() == kind)?;
        let since_ns = str::from_utf8(since).ok()?.parse().ok()?;
        let (pipe, text) = (OsString::from_vec(word()?.to_vec()), harmless(&String::from_utf8_lossy(word()?)));
        Some(Problem { pipe, kind, since_ns, text })
    };
    lines.filter_map(problem).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(dir: &tempfile::TempDir) -> Option<Vec<Problem>> {
        std::fs::read(dir.path().join(PROBLEMS)).ok().map(|bytes| decode(&bytes))
    }

    fn names(problems: Option<Vec<Problem>>) -> Vec<String> {
        let shown = |problem: Problem| format!("{:?} {}: {}", problem.pipe, problem.kind.word(), problem.text);
        problems.unwrap_or_default().into_iter().map(shown).collect()
    }

    #[test]
    fn the_file_has_what_stands_and_goes_with_the_last() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(PROBLEMS), HEAD).unwrap();
        let problems = Problems::none(Arc::new(Dir::open(dir.path()).unwrap())).unwrap();
        assert_eq!(read(&dir), None, "that of the reader before us");
        let odd = OsStr::from_bytes(b"caf\xe9");
        problems.set(odd, ProblemKind::Hook, Some("no\tsuch program\n | picture"));
        let since_ns = read(&dir).unwrap()[0].since_ns;
        problems.set(odd, ProblemKind::Hook, Some("its exit code was 1"));
        assert_eq!(names(read(&dir)), [r#""caf\xE9" hook: its exit code was 1"#]);
        assert_eq!(read(&dir).unwrap()[0].since_ns, since_ns);
        let link = Problem::new(OsStr::new("app"), ProblemKind::Link, "nothing there");
        problems.replace(&[ProblemKind::Link, ProblemKind::Policy], vec![link]);
        assert_eq!(names(read(&dir)).len(), 2);
        problems.replace(&[ProblemKind::Link], Vec::new());
        problems.forget(odd);
        assert_eq!((read(&dir), std::fs::read_dir(dir.path()).unwrap().count()), (None, 0));
    }

    #[test]
    fn a_file_that_says_nothing_to_us_is_no_problem() {
        for bytes in
            [&b""[..], b"problems 2\nhook\t1\ta\tb\n", b"problems 1\nhook\t1\ta", b"problems 1\nhook\tx\ta\tb\n\n"]
        {
            assert_eq!(decode(bytes), []);
        }
        assert_eq!(decode(b"problems 1\nhook\t1\ta\tb\tc\x1b").len(), 1);
    }
}
