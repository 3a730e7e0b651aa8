//! One pipe that the test itself holds, and a reader behind it: what the tests of the reader's bytes share.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use standpipe_common::archive::Archive;
use standpipe_tests::daemon::Launch;
use standpipe_tests::deadline::{CONDITION_SPAN, until, within};
use standpipe_tests::pipe::queued;
use standpipe_tests::scratch::{KEEP_ALL, Scratch};
use standpipe_tests::stored::{content, parts, stream_of};

/// Bytes of a stamp of the kind `iso` in UTC, with its space.
pub const STAMP_BYTES: usize = "2026-11-21T10:00:00.000000Z ".len();

/// What holders give a pipe.
const PIPE_BYTES: i32 = 1 << 20;

/// The pipe `app` and its log.
pub struct Stand {
    pub scratch: Scratch,
    pub fifo: PathBuf,
    /// Held open, so that writers may come and go while no reader is there.
    pub pipe: File,
}

impl Stand {
    /// With that policy for all pipes; nothing is removed unless it says so.
    pub fn new(policy: &str) -> Stand {
        let scratch = Scratch::new();
        let keep = if policy.contains("keep_") { "" } else { KEEP_ALL };
        scratch.write_policy("defaults.toml", &format!("{keep}{policy}"));
        let (fifo, pipe) = add_pipe(&scratch, "app");
        Stand { scratch, fifo, pipe }
    }

    /// A reader of the pipes directory.
    pub fn reader(&self) -> Launch {
        Launch::new("reader").arg(self.scratch.pipes()).arg("--logs").arg(self.scratch.logs())
    }

    /// `reader logs`, which looks into the log root.
    pub fn logs(&self) -> Launch {
        Launch::new("reader").arg("logs").arg("--logs").arg(self.scratch.logs())
    }

    /// The log directory of `app`.
    pub fn log_dir(&self) -> PathBuf {
        self.scratch.logs().join("app")
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

    /// Makes the reader's faults these from now on.
    pub fn set_faults(&self, faults: &str) {
        replace(&self.fault_file(), faults);
    }

    /// The file that `STANDPIPE_TEST_FAULTS` is to name.
    pub fn fault_file(&self) -> PathBuf {
        self.scratch.path().join("faults")
    }
}

/// The reader's wall clock, in the hand of the test.
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
    let opened = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(&fifo);
    let pipe = opened.expect("a FIFO of our own");
    fcntl(&pipe, FcntlArg::F_SETPIPE_SZ(PIPE_BYTES)).expect("a pipe of 1 MiB");
    (fifo, pipe)
}

/// Writes all of it into a pipe that does not block, in pieces as they fit.
pub fn write_all(mut pipe: &File, bytes: &[u8]) {
    let mut rest = bytes;
    let written = within(CONDITION_SPAN, || {
        while !rest.is_empty() {
            match pipe.write(rest) {
                Ok(taken) => rest = &rest[taken..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                Err(error) => panic!("cannot write: {error}"),
            }
        }
        true
    });
    assert!(written, "{} of {} bytes do not go into the pipe: nobody reads it", rest.len(), bytes.len());
}

/// Waits until a log holds exactly this.
pub fn wait_stored(log_dir: &Path, expected: &[u8]) {
    if within(CONDITION_SPAN, || stream_of(log_dir) == expected) {
        return;
    }
    let found = stream_of(log_dir);
    let same = found.iter().zip(expected).take_while(|(found, expected)| found == expected).count();
    panic!(
        "{}: {} bytes instead of {}, different from byte {same} on: {:?} instead of {:?}",
        log_dir.display(),
        found.len(),
        expected.len(),
        found[same..][..40.min(found.len() - same)].escape_ascii().to_string(),
        expected[same..][..40.min(expected.len() - same)].escape_ascii().to_string(),
    );
}

/// Waits until nothing waits in a pipe.
pub fn wait_empty(pipe: &File) {
    until("the pipe is empty", || queued(pipe) == 0);
}

/// The stream without the stamp of each line.
///
/// # Panics
/// A line has none.
pub fn unstamped(stream: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for line in stream.split_inclusive(|byte| *byte == b'\n') {
        let shape: Vec<u8> =
            line.iter().take(STAMP_BYTES).map(|byte| if byte.is_ascii_digit() { b'0' } else { *byte }).collect();
        assert_eq!(shape, b"0000-00-00T00:00:00.000000Z ", "no stamp: {:?}", line.escape_ascii().to_string());
        bytes.extend_from_slice(&line[STAMP_BYTES..]);
    }
    bytes
}

/// Archives in a log directory, in the order of their names.
pub fn archives(log_dir: &Path) -> Vec<PathBuf> {
    parts(log_dir).into_iter().filter(|part| is_archive(part)).collect()
}

/// The name without its directory.
pub fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Everything in a directory, sorted.
pub fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| name(&entry.path())).collect();
    names.sort();
    names
}

/// Opens an archive as our own programs do.
pub fn open_archive(path: &Path) -> Archive {
    let file = File::open(path).unwrap_or_else(|error| panic!("cannot open {}: {error}", path.display()));
    Archive::open(file, path).expect("an archive can be read")
}

/// The log bytes of a part that stands still.
pub fn raw(part: &Path) -> Vec<u8> {
    content(part).unwrap_or_else(|error| panic!("cannot read {}: {error}", part.display()))
}

/// Lines as a server writes them, numbered, each of `len` bytes.
pub fn lines(first: usize, count: usize, len: usize) -> Vec<u8> {
    let line = |number| format!("{:<width$}\n", format!("line {number} of app"), width = len - 1);
    (first..first + count).map(line).collect::<String>().into_bytes()
}

/// CPU time that a process has used.
pub fn cpu_time(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("a living process");
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: u64 = fields[11..13].iter().map(|ticks| ticks.parse::<u64>().expect("ticks")).sum();
    Duration::from_millis(ticks * 10)
}

fn is_archive(part: &Path) -> bool {
    part.extension().is_some_and(|extension| extension == "zst")
}

/// The file is the old one or the new one at any time.
fn replace(path: &Path, text: &str) {
    let fresh = path.with_extension("new");
    fs::write(&fresh, text).expect("a file in a directory of our own");
    fs::rename(&fresh, path).expect("a file in a directory of our own");
}
