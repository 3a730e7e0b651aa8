//! A reader on a scratch directory, whose disk and clock can be steered, and pipes that the test itself holds.

use std::fs::{self, File};
use std::ops::Deref;
use std::path::PathBuf;

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::signal::Signal;

use crate::deadline::{CONDITION_SPAN, until, within};
use crate::directory::{KEEP_ALL, Scratch, files_of, names, replace};
use crate::privilege;
use crate::programs::{self, Daemon, Launch, query};
use crate::world::{archives, hold, is_archive, parts, raw, stream_of, wait_stored, write_all};

/// Bytes of a mailbox file: header, fill, data.
pub const MAILBOX_BYTES: usize = 2 * PAGE + (1 << 20);
/// A page.
pub const PAGE: usize = 4096;

/// What holders give a pipe.
const PIPE_BYTES: i32 = 1 << 20;

/// A scratch directory with files for faults and for the points passed.
#[derive(Debug)]
pub struct Bench {
    /// All of it.
    pub scratch: Scratch,
}

impl Default for Bench {
    fn default() -> Bench {
        Bench::new()
    }
}

impl Bench {
    /// Without pipes, and with a policy by which nothing is removed.
    pub fn new() -> Bench {
        Bench::with_policy("")
    }

    /// With that policy for all pipes; nothing is removed unless it says so.
    pub fn with_policy(policy: &str) -> Bench {
        let bench = Bench { scratch: Scratch::new() };
        let keep = if policy.contains("keep_") { "" } else { KEEP_ALL };
        bench.scratch.write_policy("defaults.toml", &format!("{keep}{policy}"));
        fs::write(bench.trace_path(), "").expect("a file of our own");
        privilege::give(&bench.trace_path());
        bench.faults("");
        bench
    }

    /// A reader of its pipes.
    pub fn reader(&self) -> Launch {
        programs::reader(&self.scratch)
    }

    /// The same, with the faults of the moment.
    pub fn steered_reader(&self) -> Launch {
        self.steer(self.reader())
    }

    /// Whoever is started so meets the faults of the moment.
    pub fn steer(&self, launch: Launch) -> Launch {
        launch.env("STANDPIPE_TEST_FAULTS", self.fault_file())
    }

    /// The same, and notes each point that it passes.
    pub fn trace(&self, launch: Launch) -> Launch {
        self.steer(launch).env("STANDPIPE_TEST_TRACE", self.trace_path())
    }

    /// The same, which also notes each point that it passes.
    pub fn traced_reader(&self) -> Launch {
        self.trace(self.reader())
    }

    /// The faults from now on, in the words of the seam.
    pub fn faults(&self, lines: &str) {
        replace(&self.fault_file(), lines);
    }

    fn fault_file(&self) -> PathBuf {
        self.scratch.path().join("faults")
    }

    /// The points passed so far by traced readers, in order.
    pub fn points(&self) -> Vec<String> {
        fs::read_to_string(self.trace_path()).expect("a file of our own").lines().map(str::to_owned).collect()
    }

    /// How often a point was passed.
    pub fn passes(&self, point: &str) -> usize {
        self.points().iter().filter(|passed| *passed == point).count()
    }

    /// The log directory of a pipe.
    pub fn log(&self, name: &str) -> PathBuf {
        self.scratch.logs().join(name)
    }

    /// Waits until exactly that is stored for a pipe.
    pub fn wait_stored(&self, name: &str, expected: &[u8]) {
        wait_stored(&self.log(name), expected);
    }

    /// With a pipe of that name, held as a holder does.
    pub fn holding(self, name: &str) -> (Bench, File) {
        let pipe = hold(&self.scratch.pipe(name));
        (self, pipe)
    }

    /// Has `reader rotate` rotate the logs.
    pub fn ask_to_rotate(&self) {
        let output = query("rotate", &self.scratch).run();
        assert_eq!(output.code, 0, "{output:?}");
    }

    /// Files of the log root whose names begin so.
    pub fn root_files(&self, prefix: &str) -> Vec<PathBuf> {
        files_of(&self.scratch.logs(), |name| name.starts_with(prefix))
    }

    fn trace_path(&self) -> PathBuf {
        self.scratch.path().join("trace")
    }
}

/// The pipe `app` of such a directory, and its log.
#[derive(Debug)]
pub struct Stand {
    bench: Bench,
    /// Where the pipe stands.
    pub fifo: PathBuf,
    /// Held open, so that writers may come and go while no reader is there.
    pub pipe: File,
}

impl Stand {
    /// With that policy for all pipes; nothing is removed unless it says so.
    pub fn new(policy: &str) -> Stand {
        let bench = Bench::with_policy(policy);
        let (fifo, pipe) = add_pipe(&bench.scratch, "app");
        Stand { bench, fifo, pipe }
    }

    /// The same, and a reader that is at work.
    pub fn started(policy: &str) -> (Stand, Daemon) {
        let stand = Stand::new(policy);
        let reader = stand.reader().start();
        (stand, reader)
    }

    /// The same, where the clock of the reader says this time.
    pub fn started_at(policy: &str, time: &str) -> (Stand, Clock, Daemon) {
        let stand = Stand::new(policy);
        let clock = Clock::new(&stand.scratch, time);
        let reader = clock.steer(stand.reader()).start();
        (stand, clock, reader)
    }

    /// `reader logs`, which looks into the log root.
    pub fn logs(&self) -> Launch {
        query("logs", &self.scratch)
    }

    /// The log directory of `app`.
    pub fn log_dir(&self) -> PathBuf {
        self.log("app")
    }

    /// Writes all of it, in pieces as they fit.
    pub fn write(&self, bytes: &[u8]) {
        write_all(&self.pipe, bytes);
    }

    /// Waits until the log holds exactly this.
    pub fn wait_stored(&self, expected: &[u8]) {
        wait_stored(&self.log_dir(), expected);
    }

    /// Writes a line and waits until the log ends in it: by then the reader has done all that came before.
    pub fn write_and_wait(&self, line: &str) {
        self.write(line.as_bytes());
        until("the line is stored", || stream_of(&self.log_dir()).ends_with(line.as_bytes()));
    }

    /// Writes a line and has its part sealed.
    pub fn seal(&self, reader: &Daemon, line: &str) {
        self.write_and_wait(line);
        reader.signal(Signal::SIGALRM);
        until("it is sealed", || self.segments().last().is_some_and(|part| raw(part).is_empty()));
    }

    /// The same, and waits until it is archived.
    pub fn rotate(&self, reader: &Daemon, line: &str) {
        self.seal(reader, line);
        until("it is archived", || self.segments().len() == 1);
    }

    /// Archives, in the order of their names.
    pub fn archives(&self) -> Vec<PathBuf> {
        archives(&self.log_dir())
    }

    /// Segments, the active one last.
    pub fn segments(&self) -> Vec<PathBuf> {
        parts(&self.log_dir()).into_iter().filter(|part| !is_archive(part)).collect()
    }

    /// Waits until there are exactly that many archives, and beside them the active segment and its marks alone.
    pub fn wait_archived(&self, count: usize) -> Vec<PathBuf> {
        let is_done = || {
            let names = names(&self.log_dir());
            let stems = |end: &str| names.iter().filter_map(|name| name.strip_suffix(end)).collect::<Vec<_>>();
            let (segments, marks) = (stems(".log"), stems(".times"));
            stems(".log.zst").len() == count && segments.len() == 1 && marks.iter().all(|stem| *stem == segments[0])
        };
        let done = within(CONDITION_SPAN, is_done);
        assert!(done, "{count} archives expected: {:#?}", names(&self.log_dir()));
        self.archives()
    }
}

impl Deref for Stand {
    type Target = Bench;

    fn deref(&self) -> &Bench {
        &self.bench
    }
}

/// The reader's wall clock, in the hand of the test.
#[derive(Debug)]
pub struct Clock(PathBuf);

impl Clock {
    /// A clock that says this time.
    pub fn new(scratch: &Scratch, time: &str) -> Clock {
        let clock = Clock(scratch.path().join("clock"));
        clock.set(time);
        clock
    }

    /// From now on it says this time.
    pub fn set(&self, time: &str) {
        replace(&self.0, time);
    }

    /// It says these times one after the other, each once the archiver has looked at the one before: when this returns
    /// it has done all that was due but at the last of them.
    pub fn pass(&self, scratch: &Scratch, times: &[&str]) {
        for time in times {
            self.set(time);
            let looked = || fs::read_to_string(scratch.logs().join(".clock")).unwrap_or_default();
            until("the archiver looks at the clock", || looked().contains(&format!("\nwall {time}\n")));
        }
    }

    /// Whoever is started so lives by it.
    pub fn steer(&self, launch: Launch) -> Launch {
        launch.env("STANDPIPE_TEST_CLOCK", &self.0)
    }
}

/// Makes one more pipe, of the size that holders give, and holds it.
pub fn add_pipe(scratch: &Scratch, name: &str) -> (PathBuf, File) {
    let fifo = scratch.pipe(name);
    let pipe = hold(&fifo);
    fcntl(&pipe, FcntlArg::F_SETPIPE_SZ(PIPE_BYTES)).expect("a pipe of 1 MiB");
    (fifo, pipe)
}
