//! Holder and reader of some pipes, killed and restarted while a server is at work, and the server itself.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::example::{at_home, read, rounds};
use standpipe_tests::deadline::until;
use standpipe_tests::directory::{KEEP_ALL, Scratch};
use standpipe_tests::kills::{self, Lives, Mortal};
use standpipe_tests::privilege::{give, ordinary_user};
use standpipe_tests::programs::{Launch, Process, command};
use standpipe_tests::world::stream_of;

/// The two, started in their order.
pub struct Stack {
    pub scratch: Scratch,
    holder: Mortal,
    reader: Mortal,
}

impl Stack {
    /// With these pipes. The log rotates often.
    pub fn start(pipes: &[&str]) -> Stack {
        let scratch = Scratch::new();
        for pipe in pipes {
            scratch.pipe(pipe);
        }
        let logs = scratch.logs().display().to_string();
        scratch.write_policy("defaults.toml", &format!("logs = \"{logs}\"\nrotate_size = \"256KiB\"\n{KEEP_ALL}"));
        let holder = start(&scratch, "holder");
        let reader = start(&scratch, "reader");
        Stack { scratch, holder, reader }
    }

    /// Writes an example's configuration, as the test has it, below the scratch directory.
    pub fn configure(&self, name: &str, edit: impl FnOnce(String) -> String) -> PathBuf {
        let path = self.scratch.path().join(Path::new(name).file_name().expect("a name"));
        fs::write(&path, edit(at_home(&read(name), &self.scratch))).expect("a file");
        give(&path);
        path
    }

    /// Kills and restarts each of the two, and ends and restarts each, while `is_busy`, and some rounds at least.
    /// Between them `meanwhile` is done, which may disturb the server.
    pub fn shake_while(&mut self, mut is_busy: impl FnMut() -> bool, mut meanwhile: impl FnMut()) {
        let is_over = |_: &mut Stack, round| !is_busy() && round >= rounds() as u64;
        kills::run(self, Lives::of_tests_choice(), is_over, |stack, _, _| {
            stack.reader.kill();
            stack.holder.kill();
            stack.reader.restart();
            stack.holder.restart();
            meanwhile();
        });
    }

    /// Begins a new part.
    pub fn rotate(&self) {
        self.reader.signal(Signal::SIGALRM);
    }

    /// Does something while no reader runs.
    pub fn without_reader(&mut self, act: impl FnOnce()) {
        assert_eq!(self.reader.terminate(), 0, "{}", self.reader.stderr());
        act();
        self.reader.revive();
    }

    /// Ends reader and holder, in this order; the server has ended before. What was logged can be read by [`Logs`].
    pub fn stop(mut self) -> Logs {
        assert_eq!(self.reader.terminate(), 0, "{}", self.reader.stderr());
        assert_eq!(self.holder.terminate(), 0, "{}", self.holder.stderr());
        Logs(self.scratch)
    }
}

fn start(scratch: &Scratch, program: &str) -> Mortal {
    Mortal::start(Launch::new(program).arg(scratch.pipes()))
}

/// What a stack has left.
pub struct Logs(pub Scratch);

impl Logs {
    /// The lines of a pipe.
    pub fn lines(&self, pipe: &str) -> Vec<String> {
        let stream = String::from_utf8_lossy(&stream_of(&self.0.logs().join(pipe))).into_owned();
        assert!(stream.is_empty() || stream.ends_with('\n'), "{pipe} ends within a line");
        stream.lines().map(str::to_owned).collect()
    }

    /// The same, sorted; each is there once.
    pub fn sorted(&self, pipe: &str) -> Vec<String> {
        let mut lines = self.lines(pipe);
        lines.sort_unstable();
        let repeated = lines.windows(2).find(|two| two[0] == two[1]);
        assert!(repeated.is_none(), "{pipe}: {repeated:?} is there more than once");
        lines
    }
}

/// How much work a server gets, for ten rounds so many times `unit`.
pub fn work(unit: usize) -> usize {
    unit * rounds()
}

/// A port that nobody listens on, below those that the kernel gives to whoever connects.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        let port = 12_000 + (std::process::id() as u16 % 1000) * 10 + NEXT.fetch_add(1, Ordering::Relaxed) % 10_000;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

/// A command as the user that programs run as, without input.
pub fn as_user(program: &str) -> Command {
    let mut command = command(program);
    if let Some(id) = ordinary_user() {
        command.uid(id).gid(id);
    }
    command.stdin(Stdio::null()).current_dir("/");
    command
}

/// A server, or what loads one, with a file that takes what it says.
pub struct Server {
    process: Process,
    said: PathBuf,
}

impl Server {
    /// Starts it.
    pub fn start(command: &mut Command, said: PathBuf) -> Server {
        let out = File::create(&said).expect("a file");
        command.stdout(out.try_clone().expect("a descriptor")).stderr(out);
        Server { process: Process::start(command), said }
    }

    /// The same, with its standard output led elsewhere.
    pub fn start_into(command: &mut Command, stdout: File, said: PathBuf) -> Server {
        command.stdout(stdout).stderr(File::create(&said).expect("a file"));
        Server { process: Process::start(command), said }
    }

    /// What it said.
    pub fn said(&self) -> String {
        fs::read_to_string(&self.said).unwrap_or_default()
    }

    /// Waits until it listens.
    pub fn wait_listening(&mut self, port: u16) {
        until("the server listens", || {
            assert!(self.is_running(), "it has ended: {}", self.said());
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
        });
    }

    /// Whether it runs.
    pub fn is_running(&mut self) -> bool {
        self.process.try_wait().expect("our own child").is_none()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.process.id() as i32), signal).expect("a server that runs");
    }

    /// Sends a signal that ends it, and waits for its end.
    pub fn stop(mut self, signal: Signal) {
        self.signal(signal);
        until("the server ends", || !self.is_running());
    }

    /// The same once a second, for a server that forgets a signal that comes while it restarts.
    pub fn insist(mut self, signal: Signal) {
        let mut asked: Option<Instant> = None;
        until("the server ends", || {
            let is_running = self.is_running();
            if is_running && asked.is_none_or(|asked| asked.elapsed() > Duration::from_secs(1)) {
                self.signal(signal);
                asked = Some(Instant::now());
            }
            !is_running
        });
    }

    /// Waits until it has ended by itself, which is success.
    pub fn finish(mut self) -> String {
        until("it ends", || !self.is_running());
        let status = self.process.wait().expect("our own child");
        assert!(status.success(), "{status}: {}", self.said());
        self.said()
    }
}
