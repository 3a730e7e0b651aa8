//! A program of ours at work: started, waited for, spoken to by signals, and ended with the test at the latest.
//!
//! Each wait has a deadline, and a program that misses it fails the test with all it said.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{PipeWriter, Read, pipe};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::proc::{Thread, threads};
use super::{Process, command, program};
use crate::deadline::{CONDITION_SPAN, PROGRAM_SPAN, until, within};
use crate::directory::Scratch;
use crate::privilege;

/// Exit code of a program that SIGKILL ended.
pub const KILLED: i32 = 128 + 9;

/// How a program is to be started, once or over and over.
#[derive(Clone, Debug)]
pub struct Launch {
    program: String,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    cwd: Option<PathBuf>,
    /// Nothing, if there is none.
    stdin: Option<Arc<OwnedFd>>,
    user: Option<u32>,
    prelude: String,
    under: Vec<OsString>,
}

/// What a program that ended by itself came to.
#[derive(Debug)]
pub struct Output {
    /// Its exit code; 128 and the signal's number if one ended it, as a shell has it.
    pub code: i32,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: String,
}

impl Launch {
    /// A program by its name: as an ordinary user, in `/`, without input and without our own environment's steering.
    pub fn new(program: &str) -> Launch {
        Launch {
            program: program.to_owned(),
            args: Vec::new(),
            env: Vec::new(),
            cwd: None,
            stdin: None,
            user: privilege::ordinary_user(),
            prelude: String::new(),
            under: Vec::new(),
        }
    }

    /// One more argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Launch {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// More arguments.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Launch {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// A variable of its environment.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Launch {
        self.env.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Its current directory.
    #[must_use]
    pub fn cwd(mut self, dir: impl AsRef<Path>) -> Launch {
        self.cwd = Some(dir.as_ref().to_owned());
        self
    }

    /// Its standard input.
    #[must_use]
    pub fn stdin(mut self, stdin: impl Into<OwnedFd>) -> Launch {
        self.stdin = Some(Arc::new(stdin.into()));
        self
    }

    /// As whoever runs the tests: as root where that is root.
    #[must_use]
    pub fn as_tests(mut self) -> Launch {
        self.user = None;
        self
    }

    /// As the user and group of this number, where the tests run as root.
    #[must_use]
    pub fn as_user(mut self, id: u32) -> Launch {
        self.user = privilege::is_root().then_some(id);
        self
    }

    /// Shell commands before it starts, such as `ulimit -n 24`.
    #[must_use]
    pub fn prelude(mut self, commands: &str) -> Launch {
        self.prelude = format!("{commands} && ");
        self
    }

    /// Through another program, which takes ours and its arguments behind its own.
    #[must_use]
    pub fn under<A: AsRef<OsStr>>(mut self, wrapper: impl IntoIterator<Item = A>) -> Launch {
        self.under = wrapper.into_iter().map(|arg| arg.as_ref().to_owned()).collect();
        self
    }

    /// Starts it and waits until it says by `--notify-fd` that it is ready.
    pub fn start(self) -> Daemon {
        let mut daemon = self.args(["--notify-fd", "3"]).spawn(Stdio::piped());
        daemon.wait_ready();
        daemon
    }

    /// Starts it without asking for readiness.
    pub fn start_unready(self) -> Daemon {
        self.spawn(Stdio::null())
    }

    /// The same, with its standard output led there.
    pub fn start_into(self, stdout: impl Into<Stdio>) -> Daemon {
        self.spawn_with(stdout.into(), "")
    }

    /// Starts a program that its faults are to kill, and waits for that.
    pub fn run_to_kill(self) {
        let mut killed = self.start_unready();
        assert_eq!(killed.wait_exit(), KILLED, "{}", killed.stderr());
    }

    /// Runs it to its end.
    pub fn run(self) -> Output {
        let stdout = tempfile::tempfile().expect("a temporary file");
        let mut daemon = self.spawn_with(stdout.try_clone().expect("a descriptor").into(), "");
        let code = daemon.wait_exit();
        Output { code, stdout: content(&stdout), stderr: daemon.stderr() }
    }

    /// Descriptor 3 is what the tests see as its standard output; its own goes nowhere.
    fn spawn(self, notify: Stdio) -> Daemon {
        self.spawn_with(notify, "3>&1 1>/dev/null")
    }

    fn spawn_with(self, stdout: Stdio, redirections: &str) -> Daemon {
        let stderr = tempfile::tempfile().expect("a temporary file");
        let mut command = command("sh");
        command.arg("-c").arg(format!("{}exec \"$0\" \"$@\" {redirections}", self.prelude));
        command.args(self.under).arg(program::path(&self.program)).args(self.args);
        for name in ["NOTIFY_SOCKET", "JOURNAL_STREAM", "STANDPIPE_LOGS", "STANDPIPE_DIR"] {
            command.env_remove(name);
        }
        command.envs(self.env).current_dir(self.cwd.as_deref().unwrap_or(Path::new("/")));
        let stdin = self.stdin.map(|stdin| stdin.try_clone().expect("a descriptor"));
        command
            .stdin(stdin.map_or_else(Stdio::null, Stdio::from))
            .stdout(stdout)
            .stderr(stderr.try_clone().expect("a descriptor"));
        if let Some(id) = self.user {
            command.uid(id).gid(id);
        }
        let mut process = Process::start(&mut command);
        Daemon { program: self.program, notify: process.stdout.take(), process, stderr, ended: None }
    }
}

/// A program that was started. It is killed, with what it started, when this is dropped.
#[derive(Debug)]
pub struct Daemon {
    program: String,
    process: Process,
    notify: Option<ChildStdout>,
    /// Read by position, so that the program's own position in it stays where it is.
    stderr: File,
    ended: Option<i32>,
}

impl Daemon {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// All that it said on standard error.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&content(&self.stderr)).into_owned()
    }

    /// The same, line by line.
    pub fn lines(&self) -> Vec<String> {
        self.stderr().lines().map(str::to_owned).collect()
    }

    /// The lines that contain `text`.
    pub fn lines_with(&self, text: &str) -> Vec<String> {
        self.lines().into_iter().filter(|line| line.contains(text)).collect()
    }

    /// Waits for a line that contains `text`, and returns it.
    pub fn wait_line(&self, text: &str) -> String {
        self.wait_lines(text, 1).remove(0)
    }

    /// Waits until that many lines contain `text`, and returns them.
    pub fn wait_lines(&self, text: &str, count: usize) -> Vec<String> {
        let found = within(CONDITION_SPAN, || self.lines_with(text).len() >= count);
        assert!(found, "{} said `{text}` less than {count} times:\n{}", self.program, self.stderr());
        self.lines_with(text)
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid() as i32), signal)
            .unwrap_or_else(|error| panic!("cannot send {signal} to {}: {error}\n{}", self.program, self.stderr()));
    }

    /// Stops it as a freezer does, and waits until none of its threads runs; SIGCONT lets it go on.
    pub fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
        until("the process stands still", || self.threads().iter().all(|thread| thread.state == 'T'));
    }

    /// Waits until a process has dealt with every signal sent to it: none is pending and all its threads sleep.
    pub fn wait_signals_handled(&self) {
        let is_idle = || self.threads().iter().all(|thread| thread.state == 'S' && !thread.has_pending);
        // Twice, for a thread may have been woken by another that was looked at after it.
        until("the process has dealt with its signals", || is_idle() && is_idle());
    }

    fn threads(&self) -> Vec<Thread> {
        threads(self.pid()).expect("a living process")
    }

    /// Sends HUP and waits until that many lines contain `text`: what the program says when it is done with it.
    pub fn hang_up(&self, text: &str) -> String {
        let before = self.lines_with(text).len();
        self.signal(Signal::SIGHUP);
        self.wait_lines(text, before + 1).remove(before)
    }

    /// Kills it as nothing else can, and reaps it.
    pub fn kill9(&mut self) {
        self.process.kill().unwrap_or_else(|error| panic!("cannot kill {}: {error}", self.program));
        self.wait_exit();
    }

    /// Ends it in order; what it said.
    pub fn stop(mut self) -> String {
        assert_eq!(self.terminate(), 0, "{}", self.stderr());
        self.stderr()
    }

    /// Sends TERM, waits for its end and returns the exit code.
    pub fn terminate(&mut self) -> i32 {
        self.signal(Signal::SIGTERM);
        self.wait_exit()
    }

    /// Waits for its end and returns the exit code; 128 and the number of the signal that ended it.
    pub fn wait_exit(&mut self) -> i32 {
        self.wait_exit_within(PROGRAM_SPAN)
    }

    /// The same, with a deadline of one's own.
    pub fn wait_exit_within(&mut self, span: Duration) -> i32 {
        let ended = within(span, || !self.is_running());
        assert!(ended, "{} does not end within {span:?}:\n{}", self.program, self.stderr());
        self.ended.unwrap_or_default()
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        if self.ended.is_none() {
            self.ended = self.process.try_wait().expect("our own child").map(code);
        }
        self.ended.is_none()
    }

    fn wait_ready(&mut self) {
        let mut notify = self.notify.take().expect("started with a descriptor for readiness");
        let mut asked = [PollFd::new(notify.as_fd(), PollFlags::POLLIN)];
        let timeout = PollTimeout::try_from(PROGRAM_SPAN).expect("a short span");
        let said = poll(&mut asked, timeout).expect("poll");
        assert!(said > 0, "{} is not ready within {PROGRAM_SPAN:?}:\n{}", self.program, self.stderr());
        let mut newline = [0];
        let taken = notify.read(&mut newline).expect("a pipe of our own");
        if taken != 1 || newline != *b"\n" {
            let code = self.wait_exit();
            panic!("{} did not become ready, but ended with {code}:\n{}", self.program, self.stderr());
        }
    }
}

/// A holder of a directory's pipes.
pub fn holder(scratch: &Scratch) -> Launch {
    Launch::new("holder").arg(scratch.pipes())
}

/// A reader of them.
pub fn reader(scratch: &Scratch) -> Launch {
    Launch::new("reader").arg(scratch.pipes()).arg("--logs").arg(scratch.logs())
}

/// A reader of its standard input, into that log directory.
pub fn reader_stdin(log: impl AsRef<Path>) -> Launch {
    Launch::new("reader").arg("stdin").arg(log.as_ref())
}

/// A reader of an anonymous pipe, and the end that a server would write to.
pub fn fed(launch: Launch) -> (Daemon, PipeWriter) {
    let (input, output) = pipe().expect("a pipe");
    (launch.stdin(input).start(), output)
}

/// `reader COMMAND --logs LOGS`.
pub fn query(command: &str, scratch: &Scratch) -> Launch {
    Launch::new("reader").arg(command).arg("--logs").arg(scratch.logs())
}

/// The JSON that is printed.
pub fn object(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// What is printed, as text.
pub fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
}

fn content(file: &File) -> Vec<u8> {
    let mut bytes = vec![0; file.metadata().map_or(0, |metadata| metadata.len() as usize)];
    let taken = file.read_at(&mut bytes, 0).unwrap_or_default();
    bytes.truncate(taken);
    bytes
}
