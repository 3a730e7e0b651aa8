//! A tailer that follows numbered logs into a file or a held pipe, and what became
//! of their lines.
//!
//! The tailer works in `tailer` below the scratch directory (configuration, state, faults), the logs stand in `app`.
//! Its output is raw, so each line is there as it was written.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

use crate::deadline::{CONDITION_SPAN, until_next_stamp, within};
use crate::directory::{Scratch, replace};
use crate::privilege;
use crate::programs::{Daemon, Launch, holder};
use crate::world::{Check, Drain, Log, Owner, Tally, count_lines};

/// Looks often, takes everything, writes nothing that the test does not ask for.
pub const QUICK: &str = "poll_interval_ms = 50\nstate_file = \"state.json\"\n";

/// Where the lines go.
#[derive(Debug)]
enum Target {
    /// Standard output, appended to this file by each run.
    File(PathBuf),
    /// This FIFO, held, and drained into memory.
    Pipe { fifo: PathBuf, drain: Drain, _holder: Box<Daemon> },
}

/// A tailer on a scratch directory.
#[derive(Debug)]
pub struct Tailing {
    /// All of it.
    pub scratch: Scratch,
    target: Target,
    owner: Owner,
    daemon: Option<Daemon>,
}

impl Tailing {
    /// Into standard output.
    pub fn to_stdout(owner: Owner) -> Tailing {
        let scratch = scratch(owner);
        let output = scratch.path().join("output");
        fs::write(&output, "").expect("a file of our own");
        Tailing { scratch, target: Target::File(output), owner, daemon: None }
    }

    /// Into the pipe `out`, which a holder holds and the test drains; with a staging pipe beside it, or without.
    pub fn into_pipe(owner: Owner, has_stage: bool) -> Tailing {
        let scratch = scratch(owner);
        let fifo = scratch.pipe("out");
        if has_stage {
            scratch.write_policy("out.toml", "stage = true\n");
        }
        let holder = Box::new(holder(&scratch).start());
        let drain = Drain::start(&fifo);
        Tailing { scratch, target: Target::Pipe { fifo, drain, _holder: holder }, owner, daemon: None }
    }

    /// The directory of the logs.
    pub fn logs(&self) -> PathBuf {
        self.scratch.path().join("app")
    }

    /// The path of the log `name`, which need not be there.
    pub fn log_path(&self, name: &str) -> PathBuf {
        self.logs().join(name)
    }

    /// Makes the log `name`, whose lines carry the number `writer`.
    pub fn log(&self, name: &str, writer: u16) -> Log {
        Log::open(&self.log_path(name), writer, self.owner)
    }

    /// The file `name` where the tailer works, such as `state.json`.
    pub fn work(&self, name: &str) -> PathBuf {
        self.scratch.path().join("tailer").join(name)
    }

    /// Writes the configuration: [`QUICK`], the keys of `general`, and for each of `files`, by the name of a log (or a
    /// glob) in their directory, a table with these keys; from the beginning unless they say otherwise, and into the
    /// pipe, if there is one.
    pub fn configure(&self, general: &str, files: &[(&str, &str)]) {
        let pipe = match &self.target {
            Target::File(_) => String::new(),
            Target::Pipe { fifo, .. } => format!("pipe = {}\n", quoted(fifo)),
        };
        let table = |(name, keys): &(&str, &str)| {
            let path = quoted(&self.log_path(name));
            let start = if keys.contains("start_at") { "" } else { "start_at = \"beginning\"\n" };
            format!("\n[[files]]\npath = {path}\n{start}{pipe}{keys}")
        };
        let toml = format!("{QUICK}{general}{}", files.iter().map(table).collect::<String>());
        fs::write(self.work("tailer.toml"), toml).expect("a file of our own");
    }

    /// A tailer by this configuration, with the faults of the moment.
    pub fn launch(&self) -> Launch {
        let launch = Launch::new("tailer").arg("--config").arg(self.work("tailer.toml")).args(["--output", "raw"]);
        launch.env("STANDPIPE_TEST_FAULTS", self.work("faults"))
    }

    /// The faults from now on, in the words of the seam.
    pub fn faults(&self, lines: &str) {
        replace(&self.work("faults"), lines);
    }

    /// Starts it, and waits until it has looked at its files.
    pub fn start(&mut self) {
        let ready = self.work("ready");
        fs::remove_file(&ready).ok();
        let launch = self.launch().prelude(&format!("exec 3>{}", quoted(&ready))).args(["--notify-fd", "3"]);
        self.start_by(launch);
        let is_ready = within(CONDITION_SPAN, || fs::metadata(&ready).is_ok_and(|ready| ready.len() > 0));
        assert!(is_ready, "not ready:\n{}", self.daemon().stderr());
    }

    /// Starts one that was changed, and does not wait.
    pub fn start_by(&mut self, launch: Launch) {
        let stdout = match &self.target {
            Target::File(output) => output.as_path(),
            Target::Pipe { .. } => Path::new("/dev/null"),
        };
        let stdout = OpenOptions::new().append(true).open(stdout).expect("a file of our own");
        // What was made before counts as made before.
        until_next_stamp();
        self.daemon = Some(launch.start_into(stdout));
    }

    /// The running tailer, or the last one.
    pub fn daemon(&self) -> &Daemon {
        self.daemon.as_ref().expect("a tailer was started")
    }

    /// Whether it runs.
    pub fn is_running(&mut self) -> bool {
        self.daemon_mut().is_running()
    }

    /// What it ended with: 128 and the number of the signal that ended it.
    pub fn exit_code(&mut self) -> i32 {
        self.daemon_mut().wait_exit()
    }

    /// Kills it as nothing else can.
    pub fn kill9(&mut self) {
        self.daemon_mut().kill9();
    }

    /// The same, and starts the next.
    pub fn kill9_and_start(&mut self) {
        self.kill9();
        self.start();
    }

    /// Ends it in order; what it said.
    pub fn stop(&mut self) -> String {
        let code = self.daemon_mut().terminate();
        let said = self.daemon().stderr();
        assert_eq!(code, 0, "{said}");
        said
    }

    /// Waits for its end, which something else brought about; its exit code.
    pub fn wait_exit(&mut self) -> i32 {
        self.daemon_mut().wait_exit()
    }

    /// Stops or lets go on what drains the pipe: back-pressure.
    pub fn set_draining(&self, is_draining: bool) {
        match &self.target {
            Target::File(_) => panic!("a file is never full"),
            Target::Pipe { drain, .. } => drain.set_draining(is_draining),
        }
    }

    /// All that was delivered so far.
    pub fn delivered(&self) -> Vec<u8> {
        match &self.target {
            Target::File(output) => fs::read(output).expect("a file of our own"),
            Target::Pipe { drain, .. } => drain.bytes(),
        }
    }

    /// How many lines these are.
    pub fn lines_delivered(&self) -> usize {
        count_lines(&self.delivered())
    }

    /// What became of the lines of these logs.
    pub fn tally(&self, logs: &[&Log]) -> Tally {
        let mut check = Check::new();
        check.feed(&self.delivered());
        check.finish(&logs.iter().map(|log| log.written()).collect::<Vec<_>>())
    }

    /// Waits until as many lines were delivered as these logs got.
    pub fn wait_delivered(&self, logs: &[&Log]) {
        let lines: u64 = logs.iter().map(|log| log.written().1).sum();
        let all = || self.lines_delivered() as u64 >= lines;
        let done = within(CONDITION_SPAN, all);
        assert!(done, "not all of {lines} lines: {:?}\n{}", self.tally(logs), self.daemon().stderr());
    }

    /// Waits for all lines, ends the tailer, and demands each line once, whole and in the order of its log.
    pub fn finish(&mut self, logs: &[&Log]) {
        self.wait_delivered(logs);
        let said = self.stop();
        let tally = self.tally(logs);
        assert!(tally.is_whole(), "{tally:?}\n{said}");
    }

    fn daemon_mut(&mut self) -> &mut Daemon {
        self.daemon.as_mut().expect("a tailer was started")
    }
}

/// How a scenario of one followed log begins: with `app.log` of the tailer's own user, read from its beginning, unless it
/// is said otherwise.
#[derive(Clone, Debug)]
pub struct Following {
    into_pipe: bool,
    owner: Owner,
    name: String,
    general: String,
    keys: String,
}

impl Following {
    /// Into standard output.
    pub fn to_stdout() -> Following {
        let [general, keys] = [String::new(), String::new()];
        Following { into_pipe: false, owner: Owner::Tailer, name: "app.log".to_owned(), general, keys }
    }

    /// Into a held pipe with a staging pipe beside it.
    pub fn into_pipe() -> Following {
        Following { into_pipe: true, ..Following::to_stdout() }
    }

    /// Whose the log is.
    #[must_use]
    pub fn owner(self, owner: Owner) -> Following {
        Following { owner, ..self }
    }

    /// What it is called.
    #[must_use]
    pub fn log(self, name: &str) -> Following {
        Following { name: name.to_owned(), ..self }
    }

    /// Keys of the configuration besides [`QUICK`].
    #[must_use]
    pub fn general(self, toml: &str) -> Following {
        Following { general: toml.to_owned(), ..self }
    }

    /// Keys of the log.
    #[must_use]
    pub fn keys(self, toml: &str) -> Following {
        Following { keys: toml.to_owned(), ..self }
    }

    /// All is there, and the tailer is to be started.
    pub fn prepare(self) -> (Tailing, Log) {
        let Following { into_pipe, owner, name, general, keys } = self;
        let stand = if into_pipe { Tailing::into_pipe(owner, true) } else { Tailing::to_stdout(owner) };
        stand.configure(&general, &[(&name, &keys)]);
        let log = stand.log(&name, 1);
        (stand, log)
    }

    /// The tailer has looked at its log.
    pub fn start(self) -> (Tailing, Log) {
        let (mut stand, log) = self.prepare();
        stand.start();
        (stand, log)
    }
}

fn scratch(owner: Owner) -> Scratch {
    assert!(owner == Owner::Tailer || privilege::is_root(), "only root can give the logs another owner");
    let scratch = Scratch::new();
    scratch.make_dir("app");
    scratch.make_dir("tailer");
    fs::write(scratch.path().join("tailer/faults"), "").expect("a file of our own");
    scratch
}

/// As a string of TOML.
pub(super) fn quoted(path: &Path) -> String {
    format!("{:?}", path.to_str().expect("a path of our own is UTF-8"))
}
