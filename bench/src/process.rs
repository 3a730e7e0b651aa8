//! A program at work: started, timed, asked by signals, and killed with us at the latest.
//!
//! Waits have no deadline of their own: the one of the whole run ends them all. What a program says on standard error
//! goes to a file and is shown if it fails.

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use standpipe_common::error::{Cannot, Error, Result};

use crate::usage;

/// A program that was started.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    said: PathBuf,
    ended: bool,
}

/// How a program ended.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// When it was gone.
    pub at: Instant,
    /// CPU time of its whole life, with that of its children.
    pub cpu: Duration,
}

impl Process {
    /// Starts a program whose standard error is added to the file `said`.
    pub fn start(mut command: Command, said: &Path) -> Result<Process> {
        let name = command.get_program().to_string_lossy().into_owned();
        let stderr = File::options().create(true).append(true).open(said).cannot("open", said)?;
        let child = command.stderr(stderr).spawn().cannot("start", &name)?;
        Ok(Process { name, child, said: said.to_owned(), ended: false })
    }

    /// The same with one of ours, which says by `--notify-fd` that it is ready. Returns how long that took.
    pub fn start_ready(mut command: Command, said: &Path) -> Result<(Process, Duration)> {
        let (mut answer, asked) = std::io::pipe().cannot("make", "a pipe for readiness")?;
        // No other thread starts a program meanwhile, so nobody else gets this descriptor.
        fcntl(&asked, FcntlArg::F_SETFD(FdFlag::empty())).cannot("pass on", "a pipe for readiness")?;
        command.arg("--notify-fd").arg(asked.as_raw_fd().to_string());
        let start = Instant::now();
        let process = Process::start(command, said)?;
        drop(asked);
        let mut newline = [0];
        let taken = answer.read(&mut newline).cannot("wait for", &process.name)?;
        let span = start.elapsed();
        if taken == 0 {
            return Err(process.complaint("it did not become ready"));
        }
        Ok((process, span))
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// CPU time of its living threads.
    pub fn cpu(&self) -> Duration {
        usage::cpu(self.pid())
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.ended = self.ended || !matches!(self.child.try_wait(), Ok(None));
        !self.ended
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill(Pid::from_raw(self.pid() as i32), signal).cannot("send a signal to", &self.name)
    }

    /// Kills it as nothing else can, and reaps it.
    pub fn kill9(&mut self) -> Result<()> {
        self.child.kill().cannot("kill", &self.name)?;
        self.child.wait().cannot("wait for", &self.name)?;
        self.ended = true;
        Ok(())
    }

    /// Sends TERM and waits for the end. Returns how long that took.
    pub fn terminate(self) -> Result<Duration> {
        let start = Instant::now();
        self.signal(Signal::SIGTERM)?;
        Ok(self.wait()?.at - start)
    }

    /// Waits for its end. An end by TERM is as good as one with 0: some programs know no other.
    pub fn wait(self) -> Result<Ended> {
        self.wait_for(&[0])
    }

    /// The same of one that may as well end with other codes.
    pub fn wait_for(mut self, codes: &[i32]) -> Result<Ended> {
        let before = usage::cpu_of_ended();
        let status = self.child.wait().cannot("wait for", &self.name)?;
        let at = Instant::now();
        self.ended = true;
        let is_fine = status.code().is_some_and(|code| codes.contains(&code));
        if !is_fine && status.signal() != Some(Signal::SIGTERM as i32) {
            return Err(self.complaint(&status.to_string()));
        }
        Ok(Ended { at, cpu: usage::cpu_of_ended().saturating_sub(before) })
    }

    /// What it said on standard error, since the file was made.
    pub fn said(&self) -> String {
        fs::read(&self.said).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    fn complaint(&self, what: &str) -> Error {
        let said = self.said();
        let mut lines = said.lines().filter(|line| !line.is_empty());
        // What comes behind it are hints.
        let error = lines.clone().rfind(|line| line.contains("error: "));
        let last = error.or(lines.next_back()).unwrap_or("it said nothing");
        Error::because("go on with", &self.name, format!("{what}: {last}"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.ended {
            self.child.kill().ok();
            self.child.wait().ok();
        }
    }
}
