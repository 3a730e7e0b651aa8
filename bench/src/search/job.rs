//! A command line under measurement, ours or a peer's: what it takes, and what it says.
//!
//! A job is one command, or several that run one after the other, a pipe each. Its costs are those of all its processes,
//! children included. What a job puts out goes where its caller says; never to /dev/null where grep writes to it, which
//! would stop at the first match.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use standpipe_common::error::{Cannot, Error, Result};
use standpipe_tests::programs;

use crate::machine;
use crate::process::Process;
use crate::stage::Stage;

/// The program that is ours.
pub const OURS: &str = "reader";
/// No match is no failure.
const GREP_CODES: &[i32] = &[0, 1];
/// The same of one among several that xargs started.
const XARGS_CODES: &[i32] = &[0, 1, 123];

/// Command lines, one after the other.
#[derive(Clone, Debug)]
pub struct Job {
    label: String,
    /// What must be on the PATH.
    program: &'static str,
    steps: Vec<Vec<OsString>>,
}

/// What a run of a job took.
#[derive(Clone, Copy, Debug)]
pub struct Spent {
    /// Of all its processes, seconds.
    pub cpu: f64,
    /// Seconds.
    pub wall: f64,
}

impl Job {
    /// Of this program, which must be on the PATH, or is our reader; told so in a table. It has no command yet.
    pub fn new(program: &'static str, label: &str) -> Job {
        Job {
            label: format!("`{}`", label.split_whitespace().collect::<Vec<_>>().join(" ")),
            program,
            steps: Vec::new(),
        }
    }

    /// And then its program with these words and files.
    #[must_use]
    pub fn then(self, words: &[&str], files: &[PathBuf]) -> Job {
        let program = if self.program == OURS { programs::path(OURS).into() } else { self.program.into() };
        self.step(program, words, files)
    }

    /// And then ours on the logs of a log root.
    #[must_use]
    pub fn then_logs(self, words: &[&str], root: PathBuf) -> Job {
        self.then(&[&["logs"], words, &["--logs"]].concat(), &[root])
    }

    /// And then a line of shell, in which `"$@"` are the files.
    #[must_use]
    pub fn then_shell(self, line: &str, files: &[PathBuf]) -> Job {
        self.step("sh".into(), &["-c", line, "sh"], files)
    }

    fn step(mut self, program: OsString, words: &[&str], files: &[PathBuf]) -> Job {
        let words = words.iter().map(OsString::from);
        self.steps.push(std::iter::once(program).chain(words).chain(files.iter().map(OsString::from)).collect());
        self
    }

    /// How it is told in a table.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Whether it can be run here.
    pub fn is_installed(&self) -> bool {
        self.program == OURS || machine::is_installed(self.program)
    }

    /// Runs it with this standard output.
    pub fn run(&self, stage: &Stage, stdout: &File) -> Result<Spent> {
        let said = said(stage);
        fs::write(&said, "").cannot("write", &said)?;
        let (start, mut cpu) = (Instant::now(), Duration::ZERO);
        for step in &self.steps {
            let command = command(step, stdout.try_clone().cannot("pass on", "standard output")?);
            cpu += Process::start(command, &said)?.wait_for(self.codes())?.cpu;
        }
        Ok(Spent { cpu: cpu.as_secs_f64(), wall: start.elapsed().as_secs_f64() })
    }

    /// Starts its only step, and leaves it running.
    pub fn start(&self, stage: &Stage, stdout: impl Into<Stdio>) -> Result<Process> {
        let said = said(stage);
        fs::write(&said, "").cannot("write", &said)?;
        let step = self.steps.first().ok_or_else(|| Error::because("start", &self.label, "there is no command"))?;
        Process::start(command(step, stdout), &said)
    }

    /// Runs it once. What it put out, in a file that the next run replaces.
    pub fn output(&self, stage: &Stage) -> Result<PathBuf> {
        let path = stage.path().join("output");
        self.run(stage, &File::create(&path).cannot("make", &path)?)?;
        Ok(path)
    }

    /// Runs one that counts, once. The sum of all counts.
    pub fn count(&self, stage: &Stage) -> Result<u64> {
        let path = self.output(stage)?;
        let text = fs::read_to_string(&path).cannot("read", &path)?;
        let counts = text.lines().map(|line| line.rsplit([':', ' ', '\t']).next().unwrap_or_default().parse::<u64>());
        counts.sum::<std::result::Result<u64, _>>().map_err(|_| {
            Error::because("count with", &self.label, format!("it printed {:?}", text.lines().next().unwrap_or("")))
        })
    }

    fn codes(&self) -> &'static [i32] {
        if self.program == "xargs" { XARGS_CODES } else { GREP_CODES }
    }
}

/// What the last run said on standard error.
pub fn said_last(stage: &Stage) -> String {
    fs::read(said(stage)).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

fn said(stage: &Stage) -> PathBuf {
    stage.path().join("said")
}

fn command(step: &[OsString], stdout: impl Into<Stdio>) -> Command {
    let program: &OsStr = step.first().map_or(OsStr::new("true"), OsString::as_os_str);
    let mut command = Command::new(program);
    command.args(step.iter().skip(1)).stdin(Stdio::null()).stdout(stdout);
    // Bytes are bytes: the fastest for all of them. Nobody's own settings count.
    command.env("LC_ALL", "C").env_remove("GREP_COLORS").env_remove("RIPGREP_CONFIG_PATH");
    for ours in ["STANDPIPE_LOGS", "STANDPIPE_DIR", "STANDPIPE_MAX_OUTPUT"] {
        command.env_remove(ours);
    }
    command
}
