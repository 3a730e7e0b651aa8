//! What the tests of crashes, faults and refusals share: a reader on a scratch directory, whose disk can be made to
//! fail, and a pipe that somebody else keeps open.

#![allow(dead_code)] // Each test file uses a part of it.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::libc;
use standpipe_tests::daemon::{Daemon, Launch};
use standpipe_tests::deadline::until;
use standpipe_tests::pipe::queued;
use standpipe_tests::privilege;
use standpipe_tests::scratch::{KEEP_ALL, Scratch};
use standpipe_tests::stored::stream_of;

/// Exit code of a program that SIGKILL ended.
pub const KILLED: i32 = 128 + 9;
/// Bytes of a mailbox file: header, fill, data.
pub const MAILBOX_BYTES: usize = 2 * PAGE + (1 << 20);
/// A page.
pub const PAGE: usize = 4096;

/// A scratch directory with files for faults and for the points passed.
pub struct Bench {
    pub scratch: Scratch,
}

impl Bench {
    pub fn new() -> Bench {
        let bench = Bench { scratch: Scratch::new() };
        bench.scratch.write_policy("defaults.toml", KEEP_ALL);
        fs::write(bench.trace_path(), "").expect("a file of our own");
        privilege::give(&bench.trace_path());
        bench.faults("");
        bench
    }

    /// A reader on it, with the faults of the moment.
    pub fn reader(&self) -> Launch {
        self.plain_reader().env("STANDPIPE_TEST_FAULTS", self.faults_path())
    }

    /// The same, which also notes each point that it passes.
    pub fn traced_reader(&self) -> Launch {
        self.reader().env("STANDPIPE_TEST_TRACE", self.trace_path())
    }

    /// A reader without faults.
    pub fn plain_reader(&self) -> Launch {
        Launch::new("reader").arg(self.scratch.pipes()).arg("--logs").arg(self.scratch.logs())
    }

    /// The faults from now on, in the words of the seam.
    pub fn faults(&self, lines: &str) {
        let fresh = self.scratch.path().join("faults.new");
        fs::write(&fresh, lines).expect("a file of our own");
        fs::set_permissions(&fresh, fs::Permissions::from_mode(0o644)).expect("a file of our own");
        fs::rename(fresh, self.faults_path()).expect("a file of our own");
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
        let dir = self.log(name);
        until(&format!("{} bytes are stored in {}", expected.len(), dir.display()), || {
            stream_of(&dir).len() >= expected.len()
        });
        assert_same(&stream_of(&dir), expected, &dir.display().to_string());
    }

    /// Files of the log root whose names begin so.
    pub fn root_files(&self, prefix: &str) -> Vec<PathBuf> {
        files_of(&self.scratch.logs(), |name| name.starts_with(prefix))
    }

    fn faults_path(&self) -> PathBuf {
        self.scratch.path().join("faults")
    }

    fn trace_path(&self) -> PathBuf {
        self.scratch.path().join("trace")
    }
}

/// Sorted paths of a directory's files with such names.
pub fn files_of(dir: &Path, wanted: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap_or_else(|error| panic!("cannot list {}: {error}", dir.display()));
    let mut found: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry"))
        .filter(|entry| wanted(&entry.file_name().to_string_lossy()))
        .map(|entry| entry.path())
        .collect();
    found.sort();
    found
}

/// Those whose names end so.
pub fn files_ending(dir: &Path, ending: &str) -> Vec<PathBuf> {
    files_of(dir, |name| name.ends_with(ending))
}

/// Opens a FIFO read+write, as a holder does: it stays as long as this does.
pub fn hold(fifo: &Path) -> File {
    let opened = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(fifo);
    opened.unwrap_or_else(|error| panic!("cannot hold {}: {error}", fifo.display()))
}

/// One `write(2)` that the pipe takes whole.
pub fn put(pipe: &File, bytes: &[u8]) {
    let taken = { pipe }.write(bytes).expect("room in the pipe");
    assert_eq!(taken, bytes.len(), "the pipe takes it whole");
}

/// Waits until the reader has emptied a pipe.
pub fn wait_empty(pipe: &File) {
    until("the pipe is empty", || queued(pipe) == 0);
}

/// Compares long streams without printing them.
pub fn assert_same(found: &[u8], expected: &[u8], what: &str) {
    if found == expected {
        return;
    }
    let at = found.iter().zip(expected).position(|(a, b)| a != b).unwrap_or(found.len().min(expected.len()));
    let around = |bytes: &[u8]| bytes[at.saturating_sub(20).min(bytes.len())..(at + 60).min(bytes.len())].to_vec();
    panic!(
        "{what}: {} bytes instead of {}, different from byte {at} on:\n{:?}\ninstead of\n{:?}",
        found.len(),
        expected.len(),
        String::from_utf8_lossy(&around(found)),
        String::from_utf8_lossy(&around(expected)),
    );
}

/// Starts a reader that is to be killed by its faults, and waits for that.
pub fn run_to_kill(launch: Launch) {
    let mut reader = launch.start_unready();
    let code = reader.wait_exit();
    assert_eq!(code, KILLED, "{}", reader.stderr());
}

/// Stops a reader in order.
pub fn stop(mut reader: Daemon) -> String {
    assert_eq!(reader.terminate(), 0, "{}", reader.stderr());
    reader.stderr()
}

/// CPU time that a process took so far, in ticks of 10 ms.
pub fn cpu_ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("a running process");
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    fields[11..13].iter().map(|ticks| ticks.parse::<u64>().expect("a number")).sum()
}

/// The state letter of a process.
pub fn state_of(pid: u32) -> char {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("a running process");
    stat.rsplit(") ").next().and_then(|rest| rest.chars().next()).expect("a state")
}

/// Whether a process has this FIFO open.
pub fn has_open(pid: u32, fifo: &Path) -> bool {
    let wanted = fs::metadata(fifo).map(|is| (is.dev(), is.ino())).expect("a FIFO");
    let fds = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    fds.filter_map(|fd| fs::metadata(fd.path()).ok()).any(|is| (is.dev(), is.ino()) == wanted)
}
