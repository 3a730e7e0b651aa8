//! What the kernel tells of a process.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::deadline::within;

/// What `/proc/PID/stat` says behind the name, which may hold anything.
fn stat(pid: u32) -> Vec<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("a living process");
    stat.rsplit(')').next().unwrap_or_default().split_whitespace().map(str::to_owned).collect()
}

/// CPU time that a process has used, in steps of 10 ms.
pub fn cpu_time(pid: u32) -> Duration {
    let ticks: u64 = stat(pid)[11..13].iter().map(|ticks| ticks.parse::<u64>().expect("ticks")).sum();
    Duration::from_millis(ticks * 10)
}

/// The state letter of a process.
pub fn state_of(pid: u32) -> char {
    stat(pid)[0].chars().next().expect("a state")
}

/// What the kernel tells of one thread.
#[derive(Clone, Copy, Debug)]
pub(super) struct Thread {
    /// Its state letter; a space once it has gone.
    pub state: char,
    /// A signal waits for it, or for the whole process.
    pub has_pending: bool,
}

/// The threads of a process. `None`: there is no such process.
pub(super) fn threads(pid: u32) -> Option<Vec<Thread>> {
    let of = |status: String| {
        let field = |name| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim();
        let pending = ["SigPnd:", "ShdPnd:"].map(field).concat();
        Thread {
            state: field("State:").chars().next().unwrap_or(' '),
            has_pending: pending.bytes().any(|digit| digit != b'0'),
        }
    };
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    Some(tasks.flatten().map(|task| of(fs::read_to_string(task.path().join("status")).unwrap_or_default())).collect())
}

/// Whether a process has this file open.
pub fn has_open(pid: u32, path: &Path) -> bool {
    let wanted = fs::metadata(path).map(|is| (is.dev(), is.ino())).expect("a file");
    let fds = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    fds.filter_map(|fd| fs::metadata(fd.path()).ok()).any(|is| (is.dev(), is.ino()) == wanted)
}

/// For how long others kept a process from a processor and from the disk: for that no program can answer.
#[derive(Debug)]
pub struct KeptOff {
    pid: u32,
    queued_before: Duration,
    queued: Duration,
    at_disk: Duration,
    last_look: Instant,
}

impl KeptOff {
    /// From now on.
    pub fn watch(pid: u32) -> KeptOff {
        let queued = queued(pid).expect("a living process");
        KeptOff { pid, queued_before: queued, queued, at_disk: Duration::ZERO, last_look: Instant::now() }
    }

    /// The same as [`within`]; looks at the process as often as at the condition.
    pub fn within(&mut self, span: Duration, mut condition: impl FnMut() -> bool) -> bool {
        within(span, || {
            self.look();
            condition()
        })
    }

    /// How long it was until the last look.
    pub fn span(&self) -> Duration {
        self.queued.saturating_sub(self.queued_before) + self.at_disk
    }

    fn look(&mut self) {
        let now = Instant::now();
        self.queued = queued(self.pid).unwrap_or(self.queued);
        // A wait that no signal ends, as for a disk.
        if threads(self.pid).unwrap_or_default().iter().any(|thread| thread.state == 'D') {
            self.at_disk += now - self.last_look;
        }
        self.last_look = now;
    }
}

/// For how long a process could have run so far, and others did.
fn queued(pid: u32) -> Option<Duration> {
    let schedstat = fs::read_to_string(format!("/proc/{pid}/schedstat")).ok()?;
    schedstat.split_whitespace().nth(1)?.parse().ok().map(Duration::from_nanos)
}
